"""What the staff console shows, as plain values: bounded, keyset-paged, masked. Nothing here changes anything.

Lists never count or walk a growing table: a tab says "1000+", and a filter that no index serves looks at a window of
rows and hands back where it stopped. Ids leave only as numbers for people (`order_number`, prefix EX for exceptions)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from domain.numbers import order_number
from storage import order_lists
from storage.counts import count_exceptions, count_exceptions_by_code
from storage.exception_lists import find_stuck_orders, list_exceptions
from storage.order_reads import load_order_rows, load_warehouses_of
from storage.rows import Row
from storage.standing import find_account_id, load_account_names

from .bootstrap import Hub
from .privacy import mask_name, open_detail, open_private, ship_to_of
from .references import exception_id, exception_ref, named_id, row_id_of

COUNT_LIMIT = 1_000
_TABS_LIMIT = 20_000
_WINDOW = 5_000
PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Rows of a list. `next` is where the list goes on ("" at its end); `partial`: the window ended before the page was full."""

    rows: list[Row]
    next: str = ""
    partial: bool = False


def remembered(hub: Hub, key: str, span: int, make: Callable[[], Any]) -> Any:
    """A value kept for `span` microseconds: figures that every page shows are counted once a moment, not once a page."""
    now = hub.now()
    known = hub.memory.get(f"console:{key}")
    if known is None or not known[0] <= now < known[0] + span:
        known = hub.memory[f"console:{key}"] = (now, make())
    return known[1]


def account_names(hub: Hub) -> dict[int, str]:
    """Name by id, in the order of names."""
    with hub.read() as tx:
        return load_account_names(tx)


def exception_tabs(hub: Hub) -> dict[str, Any]:
    """Open exceptions by code, and how many are snoozed; counted over the oldest 20 000, kept for a second."""
    return remembered(hub, "tabs", 1_000_000, lambda: _count_tabs(hub))  # type: ignore[no-any-return]


def _count_tabs(hub: Hub) -> dict[str, Any]:
    with hub.read() as tx:
        found = count_exceptions_by_code(tx, "open", _TABS_LIMIT)
        asleep = count_exceptions(tx, "snoozed", COUNT_LIMIT)
    codes = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    total = sum(count for _, count in codes)
    return {"codes": codes, "open": total, "more": total >= _TABS_LIMIT, "snoozed": asleep}


def list_open(
    hub: Hub,
    *,
    state: str = "open",
    code: str = "",
    account: str = "",
    assignee: str = "",
    text: str = "",
    after: str = "",
    limit: int = PAGE,
) -> Page:
    """Exceptions, the oldest first; resolved ones the newest first. RefusedError `not_found` for a cursor that is none."""
    newest_first = state == "resolved"
    cursor = exception_id(after) if after else None
    with hub.read() as tx:
        found, floor = list_exceptions(
            tx,
            state,
            after=cursor,
            limit=limit + 1,
            newest_first=newest_first,
            code=code,
            assignee=assignee,
            account_ids=[find_account_id(tx, account) or 0] if account else None,
            order_ids=find_order_ids(hub, tx, text) if text else None,
            window=_WINDOW if newest_first else None,  # what is open stays few; what was resolved only grows
        )
        rows = show_exceptions(hub, tx, found[:limit])
    if len(found) > limit:
        return Page(rows=rows, next=rows[-1]["ref"])
    return Page(rows=rows, next=exception_ref(floor) if floor is not None else "", partial=floor is not None)


def show_exceptions(hub: Hub, tx: Connection, found: Sequence[Row]) -> list[Row]:
    """Exceptions as lists show them: with their account and order, the buyer masked."""
    accounts = load_account_names(tx)
    orders = load_order_rows(tx, [row["order_id"] for row in found if row["order_id"] is not None])
    return [_show(hub, row, orders.get(row["order_id"]), accounts) for row in found]


def _show(hub: Hub, row: Row, order: Row | None, accounts: Mapping[int, str]) -> Row:
    shown: Row = {
        name: row[name] for name in ("code", "state", "assignee", "opened_at", "snoozed_until", "resolved_at")
    }
    shown |= {"resolved_by": row["resolved_by"], "resolution": row["resolution"], "ref": exception_ref(row["id"])}
    shown |= {"account": accounts.get(row["account_id"], ""), "order": None, "buyer": "", "document": ""}
    if order is not None:
        private = open_private(hub, order)
        shown["order"] = {name: order[name] for name in ("number", "external_id", "status", "currency", "paid")}
        shown["buyer"] = mask_name(str(ship_to_of(private).get("name") or ""))
    elif row["order_id"] is None:
        shown["document"] = str(open_detail(hub, row).get("external_id", ""))
    return shown


def find_order_ids(hub: Hub, tx: Connection, text: str, limit: int = PAGE) -> list[int]:
    """Orders that a typed text names exactly: order number, external id, tracking number, last four of the phone."""
    text = text.strip()[:100]
    numbered = named_id(text)
    if numbered is not None:
        return [numbered]
    accounts = list(load_account_names(tx))
    tail = hub.vault.search_hash("phone_tail", text) if len(text) == 4 else None
    return order_lists.find_order_ids(tx, text, account_ids=accounts, tail_hash=tail, limit=limit)


def list_orders_page(
    hub: Hub, *, text: str = "", status: str = "", account: str = "", after: str = "", limit: int = PAGE
) -> Page:
    """Orders, the newest first. With a filter at most a window of rows is looked at; `partial` says that it ended."""
    before = row_id_of(after) if after else None
    with hub.read() as tx:
        accounts = load_account_names(tx)
        wanted = next((row_id for row_id, name in accounts.items() if name == account), 0)
        found, floor = order_lists.list_newest_orders(
            tx,
            before=before,
            status=status,
            account_id=wanted if account else None,
            ids=find_order_ids(hub, tx, text) if text else None,
            window=_WINDOW,
            limit=limit + 1,
        )
        ids = [row["id"] for row in found]
        stuck = find_stuck_orders(tx, ids)
        places = _warehouses_of(tx, ids)
    rows = [_order_row(hub, row, accounts, row["id"] in stuck, places) for row in found[:limit]]
    if len(found) > limit:
        return Page(rows=rows, next=rows[-1]["number"])
    partial = floor is not None
    return Page(rows=rows, next=order_number(floor, "X") if floor is not None else "", partial=partial)


def _warehouses_of(tx: Connection, ids: Iterable[int]) -> dict[int, str]:
    found: dict[int, list[str]] = {}
    for order_id, name in load_warehouses_of(tx, list(ids)):
        names = found.setdefault(order_id, [])
        if name not in names:
            names.append(name)
    return {order_id: ", ".join(names) for order_id, names in found.items()}


def _order_row(hub: Hub, row: Row, accounts: Mapping[int, str], stuck: bool, places: Mapping[int, str]) -> Row:
    names = ("number", "external_id", "status", "currency", "paid", "placed_at", "country")
    to = ship_to_of(open_private(hub, row))
    place = " ".join(part for part in (str(to.get("province") or ""), str(to.get("city") or "")) if part)
    return {name: row[name] for name in names} | {
        "account": accounts.get(row["account_id"], ""),
        "buyer": mask_name(str(to.get("name") or "")),
        "place": place,
        "stuck": stuck,
        "warehouse": places.get(row["id"], ""),
        "tags": json.loads(row["tags"]),
    }
