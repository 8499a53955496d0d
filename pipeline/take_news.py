"""What a warehouse's news does: packages, states, stock, and one confirmation per package owed to the channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from domain.order import Parcel, ShippingNews
from domain.states import FULFILMENT, may_move
from storage.rows import Row
from storage.times import maybe_micros

from .dossier import Dossier
from .exceptional import clear_exceptions, raise_exception
from .gifts import FIRST, own_lines
from .plan import add_outbox, drop_plan, hold_unpushed, refresh_status, set_state, shipped_units
from .workspace import Workspace

_PROGRESS = frozenset({"accepted", "picking"})
_GONE = frozenset({"cancelled"})
_ENDED = frozenset({"cancelled", "shipped", "delivered"})
_LONGEST_NUMBER = 100


def take_news(ws: Workspace, dossier: Dossier, news: ShippingNews, owners: Mapping[str, set[int]]) -> None:
    """Apply one event about one fulfilment. Told twice, or late, it does nothing twice."""
    fulfilment = next(row for row in dossier.fulfilments.values() if row["code"] == news.reference)
    if news.warehouse_ref and not fulfilment["warehouse_ref"]:
        fulfilment["warehouse_ref"] = news.warehouse_ref
    if fulfilment["state"] in _ENDED:
        fulfilment["news_due_at"] = None
    _proves_arrival(ws, dossier, fulfilment, news)
    for parcel in news.parcels:
        _take_parcel(ws, dossier, fulfilment, parcel, news, owners)
    if news.state == "delivered" and fulfilment["state"] == "shipped":
        _delivered(ws, dossier, fulfilment)
    else:
        _move(ws, dossier, fulfilment, news)
    if news.state == "exception":
        detail = {"fulfilment": fulfilment["code"], "status": news.source_status, "detail": news.detail}
        raise_exception(ws, dossier, "warehouse_exception", detail)
    refresh_status(dossier)


def _proves_arrival(ws: Workspace, dossier: Dossier, fulfilment: Row, news: ShippingNews) -> None:
    """News about a fulfilment means its push arrived, whatever became of the answer."""
    push = dossier.outbox_of("push", fulfilment["id"])
    if push is None or push["state"] not in {"unknown", "sending", "parked"}:
        return
    if push["state"] == "unknown" or push["state"] == "parked" or news.parcels:
        push |= {"state": "done", "outcome": "proved by news", "updated_at": ws.now}
        _wake_cancel(ws, dossier, fulfilment)
        if fulfilment["state"] in {"unknown", "pushing"}:
            set_state(ws, fulfilment, "accepted")


def _wake_cancel(ws: Workspace, dossier: Dossier, fulfilment: Row) -> None:
    asked = dossier.outbox_of("cancel", fulfilment["id"])
    if asked is not None and asked["state"] == "waiting":
        asked |= {"state": "due", "due_at": ws.now, "updated_at": ws.now}


def _take_parcel(
    ws: Workspace, dossier: Dossier, fulfilment: Row, parcel: Parcel, news: ShippingNews, owners: Mapping[str, set[int]]
) -> None:
    code = fulfilment["code"]
    fault = _number_fault(parcel.tracking)
    if fault:
        raise_exception(ws, dossier, "tracking_conflict", {"fulfilment": code, "detail": fault})
        return
    if owners.get(parcel.tracking, set()) - {dossier.id}:
        detail = {"fulfilment": code, "tracking": parcel.tracking, "detail": "another order has this number"}
        raise_exception(ws, dossier, "tracking_duplicate", detail)
        return
    packed = _match_lines(dossier, fulfilment, parcel)
    known = next(
        (
            p
            for p in dossier.packages.values()
            if p["fulfilment_id"] == fulfilment["id"] and p["tracking"] == parcel.tracking
        ),
        None,
    )
    if known is not None:
        _told_again(ws, dossier, fulfilment, parcel, known)
        return
    fits, over = _within(dossier, fulfilment, packed)
    if over:
        raise_exception(
            ws, dossier, "over_ship", {"fulfilment": code, "tracking": parcel.tracking, "units": dict(over)}
        )
    if not fits:
        if not over:
            detail = {"fulfilment": code, "tracking": parcel.tracking, "detail": "nothing is left for another parcel"}
            raise_exception(ws, dossier, "tracking_conflict", detail)
        return
    _add_package(ws, dossier, fulfilment, parcel, fits, news)


def _number_fault(tracking: str) -> str:
    """Why this can be no waybill number, "" when it can."""
    if not tracking.strip():
        return "a parcel without a number"
    if len(tracking) > _LONGEST_NUMBER or not tracking.isprintable():
        return f"not a waybill number: {tracking[:40]!r}"
    return ""


def _told_again(ws: Workspace, dossier: Dossier, fulfilment: Row, parcel: Parcel, known: Row) -> None:
    had: Counter[str] = Counter()
    for key, row in dossier.package_lines.items():
        if key[0] == known["id"]:
            had[row["sku"]] += row["quantity"]
    told: Counter[str] = Counter()
    for line in parcel.lines:
        told[line.sku] += line.quantity
    if told and had != told:
        detail = {
            "fulfilment": fulfilment["code"],
            "tracking": parcel.tracking,
            "detail": "the same number with other goods",
        }
        raise_exception(ws, dossier, "tracking_conflict", detail)


def _match_lines(dossier: Dossier, fulfilment: Row, parcel: Parcel) -> list[tuple[int | None, str, int]]:
    """(our line, SKU, units): by the line number the warehouse gave back, else by SKU in line order. A parcel without
    a list of goods holds everything that is left."""
    rows = sorted(dossier.lines_of(fulfilment["id"]), key=lambda row: (row["line"], row["sku"]))
    if not parcel.lines:
        return [
            (row["line"], row["sku"], row["quantity"] - row["shipped"])
            for row in rows
            if row["quantity"] > row["shipped"]
        ]
    left = {(row["line"], row["sku"]): row["quantity"] - row["shipped"] for row in rows}
    numbers = {key: str(place) for place, key in enumerate(left, 1)}  # as `line_ref` counts
    matched: list[tuple[int | None, str, int]] = []
    for packed in parcel.lines:
        units = packed.quantity
        alike = [key for key in left if key[1] == packed.sku]
        places = [key for key in alike if packed.line_ref in {"", numbers[key]}] or alike
        for key in places:
            take = min(units, left[key])
            if take:
                matched.append((key[0], key[1], take))
                left[key] -= take
                units -= take
        if units:
            matched.append((None, packed.sku, units))
    return matched


def line_ref(line: int, sku: str, rows: list[Row]) -> str:
    """The number a warehouse knows a fulfilment line by: its place in (line, SKU) order, from 1."""
    ordered = sorted((row["line"], row["sku"]) for row in rows)
    return str(ordered.index((line, sku)) + 1)


def _within(
    dossier: Dossier, fulfilment: Row, packed: list[tuple[int | None, str, int]]
) -> tuple[list[tuple[int, str, int]], Counter[str]]:
    fits: list[tuple[int, str, int]] = []
    over: Counter[str] = Counter()
    for line, sku, units in packed:
        if line is None:
            over[sku] += units
        else:
            fits.append((line, sku, units))
    return fits, over


def _add_package(
    ws: Workspace,
    dossier: Dossier,
    fulfilment: Row,
    parcel: Parcel,
    packed: list[tuple[int, str, int]],
    news: ShippingNews,
) -> None:
    account = ws.directory.accounts[dossier.order["account_id"]]
    row_id = ws.new_id()
    # The channel knows nothing of gifts: a parcel of nothing else is not told.
    known = any(line < FIRST for line, _, _ in packed)
    confirms = account.channel.confirm is not None and dossier.order["cancelled_at"] is None and known
    dossier.packages[row_id] = {
        "id": row_id,
        "fulfilment_id": fulfilment["id"],
        "order_id": dossier.id,
        "tracking": parcel.tracking,
        "carrier": parcel.carrier,
        "carrier_name": parcel.carrier_name,
        "state": "shipped",
        "confirm_state": "due" if confirms else "none" if account.channel.confirm is None or not known else "held",
        "shipped_at": maybe_micros(news.source_time) or ws.now,
        "created_at": ws.now,
        "updated_at": ws.now,
    }
    _pack(dossier, fulfilment, row_id, packed)
    code = fulfilment["code"]
    dossier.note("warehouse", "shipped", fulfilment=code, tracking=parcel.tracking, carrier=parcel.carrier)
    if not known:
        dossier.note("hub", "gift_parcel", tracking=parcel.tracking, why="only gifts: nothing to confirm")
    if confirms:
        add_outbox(ws, dossier, "confirm", "account", account.id, fulfilment, due_at=ws.now, package_id=row_id)
    _raise_if_unwanted(ws, dossier, fulfilment, parcel)


def _pack(dossier: Dossier, fulfilment: Row, package_id: int, packed: list[tuple[int, str, int]]) -> None:
    """What the parcel holds, unit by unit linked to the fulfilment's lines, and gone from stock."""
    units: Counter[tuple[int, str]] = Counter()
    for line, sku, quantity in packed:
        units[line, sku] += quantity
    for (line, sku), quantity in units.items():
        row = {"package_id": package_id, "line": line, "sku": sku, "quantity": quantity}
        dossier.package_lines[package_id, line, sku] = row
        dossier.fulfilment_lines[fulfilment["id"], line, sku]["shipped"] += quantity
        # What an ended fulfilment had still reserved was given back when it ended; only the goods are gone now.
        kept = 0 if fulfilment["state"] in _ENDED else quantity
        dossier.moves.append((fulfilment["warehouse_id"], sku, -quantity, -kept))


def _raise_if_unwanted(ws: Workspace, dossier: Dossier, fulfilment: Row, parcel: Parcel) -> None:
    """A parcel that left although it should have stayed is work for a person."""
    detail = {"fulfilment": fulfilment["code"], "tracking": parcel.tracking}
    if fulfilment["state"] in _GONE:
        raise_exception(ws, dossier, "ship_after_cancel", detail)
        hold_unpushed(ws, dossier)
    elif dossier.order["cancelled_at"] is not None:
        raise_exception(ws, dossier, "cancel_too_late", detail)
    elif fulfilment["state"] == "cancelling":
        # Called back because the order changed, but it had left: it went out as the order was before.
        raise_exception(ws, dossier, "change_too_late", detail)


def _short(dossier: Dossier) -> bool:
    """Whether a part that ended still lacks units."""
    return any(
        line["shipped"] < line["quantity"]
        for row in dossier.live()
        if row["state"] in _ENDED
        for line in dossier.lines_of(row["id"])
    )


def _completed_late(ws: Workspace, dossier: Dossier) -> None:
    """The parcel that a short final message lacked was told after all; what was planned again for its units is dropped."""
    if _short(dossier):
        return
    clear_exceptions(ws, dossier, {"short_ship"}, actor="warehouse", how="the missing parcel was told later")
    open_lines = [line for line in own_lines(dossier).values() if line["state"] != "cancelled"]
    if all(shipped_units(dossier, line) >= line["quantity"] for line in open_lines):
        drop_plan(ws, dossier)


def _move(ws: Workspace, dossier: Dossier, fulfilment: Row, news: ShippingNews) -> None:
    lines = dossier.lines_of(fulfilment["id"])
    complete = all(row["shipped"] == row["quantity"] for row in lines)
    shipped_any = any(row["shipped"] for row in lines)
    state = fulfilment["state"]
    if complete and state in _ENDED:
        _completed_late(ws, dossier)
    if complete or (news.final and shipped_any):
        target = "shipped"
    elif shipped_any and state != "cancelling":
        target = "picking"
    elif news.state == "cancelled":
        _cancelled_there(ws, dossier, fulfilment, news)
        return
    elif news.state == "rejected":
        _rejected_there(ws, dossier, fulfilment, news)
        return
    elif news.state in _PROGRESS and state in {"unknown", "pushing", "accepted"}:
        target = news.state
    else:
        if not news.state and not news.parcels:
            dossier.note("warehouse", "unknown_status", fulfilment=fulfilment["code"], status=news.source_status)
        return
    if state == target or not may_move(FULFILMENT, state, target):
        return
    set_state(ws, fulfilment, target)
    if target == "shipped" and not complete:
        for row in lines:
            short = row["quantity"] - row["shipped"]
            if short:
                dossier.moves.append((fulfilment["warehouse_id"], row["sku"], 0, -short))
        # A message of a parcel may be lost: the warehouse is asked at once what it knows in all.
        fulfilment["news_due_at"] = ws.now
        raise_exception(ws, dossier, "short_ship", {"fulfilment": fulfilment["code"]})


def _delivered(ws: Workspace, dossier: Dossier, fulfilment: Row) -> None:
    """Signed for: the source tells it of the whole fulfilment, so of every parcel that left."""
    set_state(ws, fulfilment, "delivered")
    for package in dossier.packages.values():
        if package["fulfilment_id"] == fulfilment["id"] and package["state"] == "shipped":
            package |= {"state": "delivered", "updated_at": ws.now}
    dossier.note("warehouse", "delivered", fulfilment=fulfilment["code"])


def _cancelled_there(ws: Workspace, dossier: Dossier, fulfilment: Row, news: ShippingNews) -> None:
    if fulfilment["state"] in {"cancelled", "shipped", "delivered"}:
        return
    asked = fulfilment["state"] == "cancelling"
    if asked:
        # The answer to our own question decides; its sender settles it.
        return
    if not may_move(FULFILMENT, fulfilment["state"], "cancelled"):
        return
    for row in dossier.lines_of(fulfilment["id"]):
        dossier.moves.append((fulfilment["warehouse_id"], row["sku"], 0, row["shipped"] - row["quantity"]))
    set_state(ws, fulfilment, "cancelled")
    raise_exception(
        ws, dossier, "warehouse_cancelled", {"fulfilment": fulfilment["code"], "status": news.source_status}
    )


def _rejected_there(ws: Workspace, dossier: Dossier, fulfilment: Row, news: ShippingNews) -> None:
    if may_move(FULFILMENT, fulfilment["state"], "rejected"):
        set_state(ws, fulfilment, "rejected")
        raise_exception(
            ws,
            dossier,
            "warehouse_rejected",
            {"fulfilment": fulfilment["code"], "status": news.source_status, "detail": news.detail},
        )
