"""What the staff console shows, as plain values: bounded, keyset-paged, masked. Nothing here changes anything.

Lists never count or walk a growing table: a tab says "1000+", and a filter that no index serves looks at a window of
rows and hands back where it stopped. Ids leave only as numbers for people (`order_number`, prefix EX for exceptions)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select

from domain.errors import ConfigError, RefusedError
from domain.numbers import order_number, read_order_number
from storage import tables as t
from storage.rows import Row, load_rows, rows_of

from .bootstrap import Hub
from .dossier import DETAIL, PRIVATE

PREFIX = "EX"
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


def exception_ref(row_id: int) -> str:
    """The opaque form of an exception's id, with a check at its end."""
    return order_number(row_id, PREFIX, "plain")


def exception_id(ref: str) -> int:
    """The id behind `exception_ref`. RefusedError `not_found` for anything else."""
    return _id_of(ref, PREFIX)


def _id_of(ref: str, wanted: str | None = None) -> int:
    try:
        prefix, row_id = read_order_number(ref)
    except RefusedError:
        raise RefusedError("not_found", "there is no such thing") from None
    if wanted is not None and prefix != wanted:
        raise RefusedError("not_found", "there is no such thing")
    return row_id


def remembered(hub: Hub, key: str, span: int, make: Callable[[], Any]) -> Any:
    """A value kept for `span` microseconds: figures that every page shows are counted once a moment, not once a page."""
    now = hub.now()
    known = hub.memory.get(f"console:{key}")
    if known is None or not known[0] <= now < known[0] + span:
        known = hub.memory[f"console:{key}"] = (now, make())
    return known[1]


def account_names(hub: Hub) -> dict[int, str]:
    with hub.read() as tx:
        return dict(tx.execute(select(t.accounts.c.id, t.accounts.c.name).order_by(t.accounts.c.name)).all())


def exception_tabs(hub: Hub) -> dict[str, Any]:
    """Open exceptions by code, and how many are snoozed; counted over the oldest 20 000, kept for a second."""
    return remembered(hub, "tabs", 1_000_000, lambda: _count_tabs(hub))  # type: ignore[no-any-return]


def _count_tabs(hub: Hub) -> dict[str, Any]:
    x = t.exceptions
    window = select(x.c.code).where(x.c.state == "open").order_by(x.c.id).limit(_TABS_LIMIT).subquery()
    snoozed = select(x.c.id).where(x.c.state == "snoozed").limit(COUNT_LIMIT).subquery()
    with hub.read() as tx:
        rows = tx.execute(select(window.c.code, func.count()).group_by(window.c.code)).all()
        asleep = int(tx.execute(select(func.count()).select_from(snoozed)).scalar_one())
    codes = sorted(((str(code), int(count)) for code, count in rows), key=lambda pair: (-pair[1], pair[0]))
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
    x = t.exceptions
    newest_first = state == "resolved"
    base: list[Any] = [x.c.state == state]
    if after:
        cursor = exception_id(after)
        base.append(x.c.id < cursor if newest_first else x.c.id > cursor)
    order = x.c.id.desc() if newest_first else x.c.id
    filters: list[Any] = [x.c.code == code] if code else []
    filters += [x.c.assignee == assignee] if assignee else []
    floor = None
    with hub.read() as tx:
        if account:
            filters.append(x.c.account_id == _account_id(tx, account))
        if text:
            filters.append(x.c.order_id.in_(find_order_ids(hub, tx, text)))
        elif newest_first and filters:  # what is open stays few; what was resolved only grows
            floor = tx.execute(select(x.c.id).where(*base).order_by(order).offset(_WINDOW - 1).limit(1)).scalar()
            filters += [x.c.id >= floor] if floor is not None else []
        found = rows_of(tx, select(x).where(*base, *filters).order_by(order).limit(limit + 1))
        rows = show_exceptions(hub, tx, found[:limit])
    if len(found) > limit:
        return Page(rows=rows, next=rows[-1]["ref"])
    return Page(rows=rows, next=exception_ref(floor) if floor is not None else "", partial=floor is not None)


def _account_id(tx: Connection, name: str) -> int:
    return int(tx.execute(select(t.accounts.c.id).where(t.accounts.c.name == name)).scalar() or 0)


def show_exceptions(hub: Hub, tx: Connection, found: Sequence[Row]) -> list[Row]:
    accounts = dict(tx.execute(select(t.accounts.c.id, t.accounts.c.name)).all())
    wanted = [row["order_id"] for row in found if row["order_id"] is not None]
    orders = {row["id"]: row for row in load_rows(tx, t.orders, t.orders.c.id, wanted)}
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
        shown["buyer"] = mask_name(str(_ship_to(private).get("name") or ""))
    elif row["order_id"] is None:
        shown["document"] = str(open_detail(hub, row).get("external_id", ""))
    return shown


def open_private(hub: Hub, order: Row) -> dict[str, Any]:
    """The sealed part of an order; empty when its key is gone: the page must still be usable."""
    try:
        opened: dict[str, Any] = hub.vault.open_json(PRIVATE, order["id"], order["private"])
    except ConfigError:
        return {}
    return opened


def open_detail(hub: Hub, row: Row) -> dict[str, Any]:
    """What an exception says about itself; empty when its key is gone."""
    try:
        opened: dict[str, Any] = hub.vault.open_json(DETAIL, row["id"], row["detail"])
    except ConfigError:
        return {}
    return opened


def _ship_to(private: Mapping[str, Any]) -> dict[str, Any]:
    return private.get("ship_to") or private.get("consignee") or {}


def mask_name(name: str) -> str:
    """The first character: enough to tell two orders apart on a screen that others can see."""
    return name[:1] + "**" if name else ""


def mask_consignee(ship_to: Mapping[str, Any]) -> dict[str, str]:
    """Divisions, country and postcode as they are; the person and the door hidden."""
    phone, email, street = (str(ship_to.get(name) or "") for name in ("phone", "email", "street"))
    masked = {
        "name": mask_name(str(ship_to.get("name") or "")),
        "phone": f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 9 else "***" if phone else "",
        "street": f"{street[:2]}***" if street else "",
        "email": f"{email[:1]}***@{email.rpartition('@')[2]}" if "@" in email else "***" if email else "",
        "company": mask_name(str(ship_to.get("company") or "")),
    }
    plain = ("country", "province", "city", "district", "town", "postcode", "region")
    return {name: str(ship_to.get(name) or "") for name in plain} | masked


def find_order_ids(hub: Hub, tx: Connection, text: str, limit: int = PAGE) -> list[int]:
    """Orders that a typed text names exactly: order number, external id, tracking number, last four of the phone."""
    text = text.strip()[:100]
    try:
        return [read_order_number(text)[1]]
    except RefusedError:
        pass
    accounts = list(tx.execute(select(t.accounts.c.id)).scalars())
    o = t.orders
    by_external = select(o.c.id).where(o.c.account_id.in_(accounts), o.c.external_id == text).limit(limit)
    by_tracking = select(t.packages.c.order_id).where(t.packages.c.tracking == text).limit(limit)
    found = [*tx.execute(by_external).scalars(), *tx.execute(by_tracking).scalars()]
    if len(text) == 4:
        tail = hub.vault.search_hash("phone_tail", text)
        found += tx.execute(select(o.c.id).where(o.c.tail_hash == tail).order_by(o.c.id.desc()).limit(limit)).scalars()
    return sorted(set(found), reverse=True)[:limit]


def list_orders_page(
    hub: Hub, *, text: str = "", status: str = "", account: str = "", after: str = "", limit: int = PAGE
) -> Page:
    """Orders, the newest first. With a filter at most a window of rows is looked at; `partial` says that it ended."""
    o = t.orders
    where: list[Any] = [o.c.id < _id_of(after)] if after else []
    filters: list[Any] = [o.c.status == status] if status else []
    with hub.read() as tx:
        accounts = dict(tx.execute(select(t.accounts.c.id, t.accounts.c.name)).all())
        if account:
            wanted = next((row_id for row_id, name in accounts.items() if name == account), 0)
            filters.append(o.c.account_id + 0 == wanted)  # by id, newest first: an index on accounts would have to sort
        floor = None
        if text:
            filters.append(o.c.id.in_(find_order_ids(hub, tx, text)))
        elif filters:
            walk = select(o.c.id).where(*where).order_by(o.c.id.desc()).offset(_WINDOW - 1).limit(1)
            floor = tx.execute(walk).scalar()
            filters += [o.c.id >= floor] if floor is not None else []
        query = select(o).where(*where, *filters).order_by(o.c.id.desc()).limit(limit + 1)
        found = rows_of(tx, query)
        stuck = _with_open_exceptions(tx, [row["id"] for row in found])
        places = _warehouses_of(tx, [row["id"] for row in found])
    rows = [_order_row(hub, row, accounts, row["id"] in stuck, places) for row in found[:limit]]
    if len(found) > limit:
        return Page(rows=rows, next=rows[-1]["number"])
    partial = floor is not None
    return Page(rows=rows, next=order_number(floor, "X") if floor is not None else "", partial=partial)


def _with_open_exceptions(tx: Connection, ids: Iterable[int]) -> set[int]:
    x = t.exceptions
    return set(tx.execute(select(x.c.order_id).where(x.c.order_id.in_(list(ids)), x.c.state != "resolved")).scalars())


def _warehouses_of(tx: Connection, ids: Iterable[int]) -> dict[int, str]:
    f, w = t.fulfilments, t.warehouses
    query = (
        select(f.c.order_id, w.c.name)
        .join(w, and_(w.c.id == f.c.warehouse_id))
        .where(f.c.order_id.in_(list(ids)), f.c.state != "cancelled")
    )
    found: dict[int, list[str]] = {}
    for order_id, name in tx.execute(query):
        names = found.setdefault(order_id, [])
        if name not in names:
            names.append(name)
    return {order_id: ", ".join(names) for order_id, names in found.items()}


def _order_row(hub: Hub, row: Row, accounts: Mapping[int, str], stuck: bool, places: Mapping[int, str]) -> Row:
    names = ("number", "external_id", "status", "currency", "paid", "placed_at", "country")
    to = _ship_to(open_private(hub, row))
    place = " ".join(part for part in (str(to.get("province") or ""), str(to.get("city") or "")) if part)
    return {name: row[name] for name in names} | {
        "account": accounts.get(row["account_id"], ""),
        "buyer": mask_name(str(to.get("name") or "")),
        "place": place,
        "stuck": stuck,
        "warehouse": places.get(row["id"], ""),
        "tags": json.loads(row["tags"]),
    }
