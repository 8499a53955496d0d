"""What an order document does to what is stored: a new order, a newer version, an older one, a close."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from domain.allocation import Shares, shares_of, split_units
from domain.errors import HubError
from domain.numbers import order_number
from domain.order import AfterSale, Component, Consignee, Line, Order, consignee_values
from domain.states import is_newer
from domain.values import changed
from storage.events import GENESIS
from storage.rows import Row
from storage.times import maybe_micros, micros
from storage.vault import Vault

from .cancel import cancel_order, intercept
from .corrections import apply_corrections
from .directory import Account
from .dossier import Dossier
from .exceptional import APPROVE, clear_exceptions, raise_exception
from .extracts import is_over
from .gifts import gift_lines, own_lines
from .plan import KNOWN_OUTSIDE, drop_plan, plan_order
from .reading import newest_content
from .workspace import Workspace

_MONEY = hashlib.blake2b(digest_size=12)  # copied for each order, which costs less than making one
_SHIPPED_ELSEWHERE = frozenset({"shipped", "completed"})
_WAIVED_FOR = {
    "remark": frozenset({"hold_remark", "hold_flag"}),
    "consignee": frozenset(
        {
            "hold_address_changed",
            "address_incomplete",
            "address_unknown_region",
            "address_masked",
            "phone_invalid",
            "out_of_delivery_range",
        }
    ),
    "lines": frozenset({"money_mismatch", "price_below_floor", "out_of_stock", "stock_stale", "sku_delisted"}),
}


def take_order(ws: Workspace, account: Account, order: Order, inbox_id: int, *, again: bool = False) -> tuple[int, str]:
    """Store one version of one order. Returns (order id, how the document ended: done | stale). `again`: the stored version is
    read once more because a person, a mapping or a listing changed, not the source."""
    key = (account.id, order.external_id)
    known = ws.by_external.get(key)
    if known is None:
        dossier = _new_dossier(ws, account, order, inbox_id)
        ws.keep(dossier)
        return dossier.id, "done"
    dossier = ws.dossier(known)
    if not again and not is_newer(order.version, dossier.order["version"]):
        dossier.note(f"account:{account.name}", "stale_version", version=order.version)
        ws.keep(dossier)
        return known, "stale"
    _newer_version(ws, dossier, account, order, inbox_id)
    ws.keep(dossier)
    return known, "done"


def read_again(ws: Workspace, dossier: Dossier, account: Account) -> None:
    """Check and decide a stored order anew from what its source said last and what a person corrected since."""
    order = aligned(dossier, newest_content(ws, dossier, account))
    _write_content(ws, dossier, account, order, dossier.order["inbox_id"])
    plan_order(ws, dossier, frozen(dossier, order), account)


def buyer_hash(vault: Vault, order: Order) -> bytes | None:
    """The keyed hash by which a buyer's orders are counted."""
    return vault.search_hash("buyer", order.buyer_id) if order.buyer_id else None


def known_buyer(ws: Workspace, order: Order) -> bytes | None:
    """`buyer_hash`, worked out once for each buyer of a batch: it depends on nothing else of an order."""
    known = ws.buyer_hashes.get(order.buyer_id)
    if known is None and (known := buyer_hash(ws.hub.vault, order)) is not None:
        ws.buyer_hashes[order.buyer_id] = known
    return known


def _person_hashes(vault: Vault, account_id: int, order: Order) -> tuple[bytes | None, bytes | None, bytes]:
    """Keyed hashes by which orders can be found or merged without reading anybody's data: of the phone, of its last digits, and
    of who gets it where."""
    to = order.consignee
    phone, hashed = to.phone, vault.search_hash
    who = (
        f"{account_id}|{order.buyer_id}|{to.name}|{phone}|{to.token}|"
        f"{to.country}|{to.region}|{to.province}|{to.city}|{to.district}|{to.town}|{to.street}|{to.postcode}"
    )
    return (
        hashed("phone", phone) if phone and not to.masked else None,
        hashed("phone_tail", phone[-4:]) if len(phone) >= 4 else None,
        hashed("merge", who),
    )


def _new_dossier(ws: Workspace, account: Account, order: Order, inbox_id: int) -> Dossier:
    order_id = ws.new_id()
    row: Row = {
        "id": order_id,
        "number": order_number(order_id, account.channel.order_prefix),
        "account_id": account.id,
        "partner_id": account.partner_id,
        "external_id": order.external_id,
        "status": "pending_payment" if order.payment == "unpaid" else "pending_shipment",
        "verdicts": "{}",
        "tags": "[]",
        "blocked": False,
        "private": b"",
        "event_seq": 0,
        "event_hash": GENESIS,
        "revision": 0,
        "cancelled_at": None,
        "reserved_until": None,
        "created_at": ws.now,
        "updated_at": ws.now,
    }
    dossier = Dossier(order=row, private={}, new=True)
    shares = _write_content(ws, dossier, account, order, inbox_id)
    dossier.note(f"account:{account.name}", "received", external_id=order.external_id, version=order.version)
    tombstone = (account.id, order.external_id) in ws.tombstones
    if tombstone or order.status == "closed":
        row |= {"status": "closed", "cancelled_at": ws.now}
        dossier.note("hub", "born_closed", why="cancelled before it came" if tombstone else order.source_status)
    elif order.status in _SHIPPED_ELSEWHERE:
        row["status"] = order.status
        dossier.note("hub", "shipped_elsewhere", source_status=order.source_status)
    else:
        if order.status == "partially_shipped":
            raise_exception(ws, dossier, "partly_shipped_elsewhere", {"source_status": order.source_status})
        plan_order(ws, dossier, order, account, shares)  # nothing else is frozen on an order that was not there
    return dossier


def _newer_version(ws: Workspace, dossier: Dossier, account: Account, order: Order, inbox_id: int) -> None:
    order = aligned(dossier, apply_corrections(order, dossier.private.get("corrections", [])))
    changes = _changes(dossier, order)
    moved = order.source_status != dossier.order["source_status"]
    if "consignee" in changes and dossier.order["status"] != "pending_payment":
        dossier.private["address_changed"] = True
    _write_content(ws, dossier, account, order, inbox_id)
    _forget_waivers(dossier, changes)
    if changes or moved:
        dossier.note(
            f"account:{account.name}", "changed", what=changes, source_status=order.source_status, version=order.version
        )
    if order.status == "closed":
        cancel_order(ws, dossier, actor=f"account:{account.name}", why=order.source_status or "closed at the source")
        return
    if is_over(dossier.order):
        return
    outside = [row for row in dossier.live() if row["state"] in KNOWN_OUTSIDE]
    if order.status in _SHIPPED_ELSEWHERE and not dossier.packages:
        _shipped_elsewhere(ws, dossier, order, outside)
        return
    waiting_outside = [row for row in outside if row["state"] not in {"shipped", "delivered"}]
    if outside and _must_stop(dossier, order, changes):
        if waiting_outside:
            intercept(ws, dossier, waiting_outside, why=f"changed: {', '.join(changes) or 'shipping forbidden'}")
        if len(waiting_outside) < len(outside) and changes:
            raise_exception(ws, dossier, "change_too_late", {"changed": changes})
    elif outside and changes:
        dossier.note("hub", "changed_after_push", what=changes)
    plan_order(ws, dossier, frozen(dossier, order), account)


def _forget_waivers(dossier: Dossier, changes: list[str]) -> None:
    """What a person waved through was what stood there then: a new remark, address or line is judged anew."""
    gone = {code for what in changes for code in _WAIVED_FOR[what]}
    waived = dossier.private.get("waived", [])
    if {"lines", "consignee"} & set(changes):
        gone |= {code for code in waived if code.startswith(APPROVE)}
        dossier.private.pop("at_once", None)
    if gone & set(waived):
        dossier.private["waived"] = [code for code in waived if code not in gone]


def _shipped_elsewhere(ws: Workspace, dossier: Dossier, order: Order, outside: list[Row]) -> None:
    """Somebody shipped it past us. Nothing of ours may go out any more."""
    dossier.note("hub", "shipped_elsewhere", source_status=order.source_status)
    drop_plan(ws, dossier)
    if outside:
        intercept(ws, dossier, outside, why="shipped elsewhere")
    else:
        clear_exceptions(ws, dossier, None, actor="hub", how="shipped elsewhere")
        if dossier.order["status"] in {"pending_payment", "pending_shipment"}:
            dossier.order["status"] = order.status


def _must_stop(dossier: Dossier, order: Order, changes: list[str]) -> bool:
    claimed = any(line.state == "after_sale" for line in order.lines)
    return bool({"lines", "consignee"} & set(changes)) or bool(order.forbids_shipping) or claimed


def _write_content(
    ws: Workspace, dossier: Dossier, account: Account, order: Order, inbox_id: int
) -> Sequence[Shares] | None:
    """Bring the rows to what the source now says. `order` is aligned with the stored lines. Returns what its lines carry, where
    that was allocated now."""
    amounts, to = order.amounts, order.consignee
    shares = _write_lines(dossier, order)
    phone, tail, merge = _person_hashes(ws.hub.vault, account.id, order)
    dossier.order |= {
        "source_status": order.source_status,
        "payment": order.payment,
        "currency": order.currency,
        "goods": amounts.goods,
        "freight": amounts.freight,
        "tax": amounts.tax,
        "discount": amounts.discount,
        "paid": amounts.paid,
        "version": order.version,
        "source_time": micros(order.source_time),
        "placed_at": micros(order.placed_at),
        "paid_at": maybe_micros(order.paid_at),
        "country": to.country,
        "region": to.region,
        "inbox_id": inbox_id,
        "buyer_hash": known_buyer(ws, order),
        "phone_hash": phone,
        "tail_hash": tail,
        "merge_hash": merge,
    }
    dossier.private |= {
        "consignee": consignee_values(to),
        "buyer_id": order.buyer_id,
        "buyer_message": order.buyer_message,
        "seller_memo": order.seller_memo,
        "seller_flag": order.seller_flag,
        "forbids": [*order.forbids_shipping],
        "notes": [*order.notes],
        "extra": [list(pair) for pair in order.extra] if order.extra else [],
    }
    for after_sale in order.after_sales:
        _write_after_sale(ws, dossier, after_sale)
    return shares


def _write_lines(dossier: Dossier, order: Order) -> Sequence[Shares] | None:
    """Money is allocated when lines or totals are new. Units that only went away, and whatever happens after a parcel left,
    re-spread nothing: what stays keeps the figures it was frozen with, to the unit."""
    key = _money_key(order)
    if key == dossier.private.get("money"):
        for number, line in enumerate(order.lines):
            dossier.lines[number] |= {"state": line.state, "title": line.title}
        return None
    dossier.private["money"] = key
    order_id, kept, lines = dossier.order["id"], dossier.lines, order.lines
    if kept and (dossier.packages or _only_less(dossier, order)):
        for number, line in enumerate(lines):
            old = kept.get(number)
            share = (line.discount, line.freight, line.tax, line.paid)
            kept[number] = _line_row(order_id, number, line, None, share) if old is None else _less_of(old, line)
        return None
    shares = _shares(order)
    rows = gift_lines(dossier) if kept else {}
    for number, line in enumerate(lines):
        share = (line.discount, line.freight, line.tax, line.paid) if shares is None else shares[number]
        rows[number] = _line_row(order_id, number, line, kept.get(number), share)
    dossier.lines = rows
    return shares


def aligned(dossier: Dossier, order: Order) -> Order:
    """The order with its lines at the numbers they were stored under: a source may list them in another order, add some
    (they come last) or drop some (they stay, cancelled)."""
    told = {line.external_id: line for line in order.lines}
    lines = [
        told[row["external_id"]] if row["external_id"] in told else _gone(row)
        for _, row in sorted(own_lines(dossier).items())
    ]
    stored = {row["external_id"] for row in own_lines(dossier).values()}
    lines += [line for line in order.lines if line.external_id not in stored]
    return order if lines == list(order.lines) else changed(order, lines=tuple(lines))


def _gone(row: Row) -> Line:
    return Line(
        external_id=row["external_id"],
        external_sku=row["external_sku"],
        quantity=row["quantity"],
        unit_price=0,
        amount=0,
        share=0,
        title=row["title"],
        state="cancelled",
    )


def _only_less(dossier: Dossier, order: Order) -> bool:
    """No new line, no unit more, and every line that kept its units kept its price."""
    for number, line in enumerate(order.lines):
        row = dossier.lines.get(number)
        if row is None or line.quantity > row["quantity"]:
            return False
        if line.state != "cancelled" and line.quantity == row["quantity"] and line.amount != row["amount"]:
            return False
    return any(
        line.state == "cancelled" or line.quantity < dossier.lines[n]["quantity"] for n, line in enumerate(order.lines)
    )


def _less_of(row: Row, line: Line) -> Row:
    """The stored line with the units that are left, each with its frozen share."""
    left = row | {"state": line.state, "title": line.title}
    if line.state == "cancelled" or line.quantity >= row["quantity"]:
        return left
    for name in ("amount", "discount", "freight", "tax", "paid"):
        left[name] = sum(split_units(row[name], row["quantity"])[: line.quantity])
    return left | {"quantity": line.quantity}


def _shares(order: Order) -> Sequence[Shares] | None:
    try:
        return shares_of(order) if order.lines else None
    except (HubError, ValueError):
        # Totals that do not add up are a verdict of the money check, for a person; the lines stay as the source states them.
        return None


def frozen(dossier: Dossier, order: Order) -> Order:
    """The order with what was frozen when it was taken: the money of each line, a bundle's parts, and the SKU of what a
    warehouse knows of already. Goods nobody knows of yet are mapped anew, so a corrected listing counts."""
    outside = {
        line["line"] for row in dossier.live() if row["state"] in KNOWN_OUTSIDE for line in dossier.lines_of(row["id"])
    }
    lines = []
    for number, line in enumerate(order.lines):
        row = dossier.lines[number]
        kept = line
        if row["sku"] and (row["components"] or number in outside):
            parts = json.loads(row["components"]) if row["components"] else []
            kept = changed(line, sku=row["sku"], components=tuple(Component(sku, quantity) for sku, quantity in parts))
        lines.append(changed(kept, discount=row["discount"], freight=row["freight"], tax=row["tax"], paid=row["paid"]))
    notes = (*order.notes, "address_changed") if dossier.private.get("address_changed") else order.notes
    return changed(order, lines=tuple(lines), notes=notes)


def _money_key(order: Order) -> str:
    a = order.amounts
    lines = "|".join(
        [f"{x.external_id},{x.external_sku},{x.quantity},{x.unit_price},{x.amount},{x.share}" for x in order.lines]
    )
    found = _MONEY.copy()
    found.update(f"{order.currency}|{a.goods}|{a.freight}|{a.tax}|{a.discount}|{a.paid}|{lines}".encode())
    return found.hexdigest()


def _line_row(order_id: int, number: int, line: Line, old: Row | None, share: Shares) -> Row:
    same = old if old is not None and old["external_sku"] == line.external_sku else None
    discount, freight, tax, paid = share
    return {
        "order_id": order_id,
        "line": number,
        "external_id": line.external_id,
        "external_sku": line.external_sku,
        "listing_id": line.listing_id,
        "sku": line.sku if same is None else same["sku"],
        "title": line.title,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "amount": line.amount,
        "discount": discount,
        "freight": freight,
        "tax": tax,
        "paid": paid,
        "weight_grams": line.weight_grams,
        "state": line.state,
        "requires_shipping": line.requires_shipping,
        "components": None if same is None else same["components"],
    }


def _changes(dossier: Dossier, order: Order) -> list[str]:
    """What a warehouse would have to know: lines, consignee, remark. Names only, for the log."""
    changes = []
    rows = [row for _, row in sorted(own_lines(dossier).items())]
    stored = [(row["external_id"], row["quantity"], row["state"] == "cancelled") for row in rows]
    told = [(line.external_id, line.quantity, line.state == "cancelled") for line in order.lines]
    if stored[: len(told)] != told or any(not gone for *_, gone in stored[len(told) :]):
        changes.append("lines")
    if _place(Consignee(**dossier.private["consignee"])) != _place(order.consignee):
        changes.append("consignee")
    if (dossier.private["buyer_message"], dossier.private["seller_memo"]) != (order.buyer_message, order.seller_memo):
        changes.append("remark")
    return changes


def _place(to: Consignee) -> tuple[object, ...]:
    """What the source said about where and who, without what the checks derived from it."""
    return (to.name, to.phone, to.country, to.province, to.city, to.district, to.street, to.postcode, to.token)


def _write_after_sale(ws: Workspace, dossier: Dossier, told: AfterSale) -> None:
    row = dossier.after_sales.get(told.external_id)
    numbers = {line["external_id"]: line["line"] for line in own_lines(dossier).values()}
    if row is None:
        row_id = ws.new_id()
        row = dossier.after_sales[told.external_id] = {
            "id": row_id,
            "order_id": dossier.id,
            "external_id": told.external_id,
            "kind": told.kind,
            "created_at": ws.now,
            "state": "",
        }
        dossier.after_sale_lines += [
            {"after_sale_id": row_id, "line": numbers[line], "quantity": units}
            for line, units in told.lines
            if line in numbers
        ]
    if row["state"] != told.state:
        dossier.note("hub", "after_sale", external_id=told.external_id, state=told.state)
    row |= {
        "state": told.state,
        "source_status": told.source_status,
        "amount": told.amount,
        "source_time": maybe_micros(told.source_time),
        "updated_at": ws.now,
    }
