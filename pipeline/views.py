"""What is stored, as plain values for people and partners: read only, bounded, keyset-paged, masked by default.

Money is {"minor": 1230, "text": "12.30"}, times are RFC 3339 text in UTC, ids are text: order numbers, and EX… for
exceptions. Nothing here counts or walks a growing table: counts stop at a limit and say so ("more"), and a filter that no
index serves looks at a window of rows and hands back where it stopped, so a page may be short and still have a `next`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, tuple_

from domain.errors import RefusedError
from domain.money import from_minor
from domain.numbers import read_order_number
from storage import tables as t
from storage.rows import Row, rows_of
from storage.times import maybe_moment, micros

from .bootstrap import Hub
from .console_views import exception_id, exception_ref, open_detail
from .cursor_text import read_cursor, write_cursor
from .directory import Directory, read_directory
from .exceptional import LASTING
from .review import _NOT_WAIVABLE

MAX_PAGE = 200
COUNT_LIMIT = 10_000
_WINDOW = 5_000
# Transactions that began before a list was read may commit after it: the next walk starts this much earlier.
_SETTLED = 60_000_000
_BASICS = ("number", "external_id", "status", "source_status", "payment", "currency", "country", "region", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`next` is where the list goes on ("" at its end). `resume` (orders only) is the `updated_since` of the next walk: it
    lies before this walk began, so a walk that starts there sees what changed or appeared meanwhile."""

    rows: list[dict[str, Any]]
    next: str = ""
    resume: str = ""


def list_orders(
    hub: Hub,
    *,
    partner_id: int | None = None,
    account: str = "",
    status: str = "",
    updated_since: datetime | None = None,
    search: str = "",
    after_cursor: str = "",
    limit: int = 50,
) -> Page:
    """Orders by last change, the oldest first. An order that changes during a walk comes again at its end. `search` is an
    exact order number, external id, tracking number or the last four digits of the phone. RefusedError `cursor`."""
    o = t.orders
    since = micros(updated_since) if updated_since is not None else 0
    about = f"orders|{partner_id}|{account}|{status}|{since}|{search}"
    began, *position = read_cursor(hub.vault, about, after_cursor, 3) if after_cursor else (hub.now(), since, -1)
    base: list[Any] = [tuple_(o.c.updated_at, o.c.id) > tuple_(*position)]
    if partner_id is not None:
        base.append(o.c.partner_id == partner_id)
    limit = max(1, min(limit, MAX_PAGE))
    with hub.read() as tx:
        directory = read_directory(hub, tx)
        filters: list[Any] = [o.c.status == status] if status else []
        if account:
            filters.append(o.c.account_id.in_([a.id for a in directory.accounts.values() if a.name == account]))
        end: Any = None
        if search:
            base.append(o.c.id.in_(_found(hub, tx, directory, search, partner_id)))
        elif filters:
            walk = select(o.c.updated_at, o.c.id).where(*base).order_by(o.c.updated_at, o.c.id)
            end = tx.execute(walk.offset(_WINDOW - 1).limit(1)).one_or_none()
            filters += [tuple_(o.c.updated_at, o.c.id) <= tuple_(*end)] if end is not None else []
        query = select(o).where(*base, *filters).order_by(o.c.updated_at, o.c.id).limit(limit + 1)
        found = rows_of(tx, query)
    rows = [order_row(directory, row) for row in found[:limit]]
    resume = show_time(max(since, began - _SETTLED)) or ""
    if len(found) > limit:
        last = found[limit - 1]
        return Page(
            rows=rows, next=write_cursor(hub.vault, about, (began, last["updated_at"], last["id"])), resume=resume
        )
    if end is not None:
        return Page(rows=rows, next=write_cursor(hub.vault, about, (began, *end)), resume=resume)
    return Page(rows=rows, resume=resume)


def _found(hub: Hub, tx: Connection, directory: Directory, text: str, partner_id: int | None) -> list[int]:
    """Ids of at most 200 orders that a typed text names exactly; a partner's search never meets another's orders."""
    text = text.strip()
    try:
        return [read_order_number(text)[1]]
    except RefusedError:
        pass
    o, p = t.orders, t.packages
    mine: list[Any] = [o.c.partner_id == partner_id] if partner_id is not None else []
    shops = [a.id for a in directory.accounts.values() if partner_id in {None, a.partner_id}]
    by_tracking = select(o.c.id).join(p, p.c.order_id == o.c.id).where(p.c.tracking == text, *mine)
    queries = [select(o.c.id).where(o.c.account_id.in_(shops), o.c.external_id == text), by_tracking]
    if len(text) == 4:
        tail = hub.vault.search_hash("phone_tail", text)
        queries.append(select(o.c.id).where(o.c.tail_hash == tail, *mine).order_by(o.c.id.desc()))
    found = {row_id for query in queries for row_id in tx.execute(query.limit(MAX_PAGE)).scalars()}
    return sorted(found, reverse=True)[:MAX_PAGE]


def order_row(directory: Directory, row: Row) -> dict[str, Any]:
    """One order as lists show it: nothing about the consignee."""
    account = directory.accounts.get(row["account_id"])
    currency = row["currency"]
    return {name: row[name] for name in _BASICS} | {
        "account": account.name if account else "",
        "channel": account.channel.name if account else "",
        "blocked": bool(row["blocked"]),
        "cancelled": row["cancelled_at"] is not None,
        "revision": row["revision"],
        "tags": json.loads(row["tags"]),
        "amounts": {name: show_money(row[name], currency) for name in ("goods", "freight", "tax", "discount", "paid")},
        "placed_at": show_time(row["placed_at"]),
        "paid_at": show_time(row["paid_at"]),
        "created_at": show_time(row["created_at"]),
        "updated_at": show_time(row["updated_at"]),
    }


def list_exceptions(
    hub: Hub,
    *,
    partner_id: int | None = None,
    state: str = "open",
    code: str = "",
    account: str = "",
    after: str = "",
    limit: int = 50,
) -> Page:
    """Exceptions in one state, the oldest first. RefusedError `cursor`."""
    x = t.exceptions
    about = f"exceptions|{partner_id}|{state}|{code}|{account}"
    (position,) = read_cursor(hub.vault, about, after, 1) if after else (-1,)
    base: list[Any] = [x.c.state == state, x.c.id > position]
    filters: list[Any] = [x.c.code == code] if code else []
    if partner_id is not None:
        filters.append(x.c.partner_id == partner_id)
    limit = max(1, min(limit, MAX_PAGE))
    with hub.read() as tx:
        directory = read_directory(hub, tx)
        if account:
            filters.append(x.c.account_id.in_([a.id for a in directory.accounts.values() if a.name == account]))
        end = None
        if filters:
            end = tx.execute(select(x.c.id).where(*base).order_by(x.c.id).offset(_WINDOW - 1).limit(1)).scalar()
            filters += [x.c.id <= end] if end is not None else []
        found = rows_of(tx, select(x).where(*base, *filters).order_by(x.c.id).limit(limit + 1))
        rows = exception_rows(hub, tx, directory, found[:limit])
    end = found[limit - 1]["id"] if len(found) > limit else end
    return Page(rows=rows, next=write_cursor(hub.vault, about, (end,)) if end is not None else "")


def exception_view(hub: Hub, ref: str, *, partner_id: int | None = None) -> dict[str, Any]:
    """One exception with the values a person may choose from. RefusedError `not_found`, also for another partner's."""
    row_id = exception_id(ref)
    with hub.read() as tx:
        directory = read_directory(hub, tx)
        found = rows_of(tx, select(t.exceptions).where(t.exceptions.c.id == row_id))
        if not found or (partner_id is not None and found[0]["partner_id"] != partner_id):
            raise RefusedError("not_found", "there is no such exception")
        return exception_rows(hub, tx, directory, found)[0]


def exception_rows(hub: Hub, tx: Connection, directory: Directory, found: Sequence[Row]) -> list[dict[str, Any]]:
    """Exceptions with their order, what is wrong, what to choose from and what can be done."""
    ids = [row["order_id"] for row in found if row["order_id"] is not None]
    query = select(t.orders.c.id, t.orders.c.number, t.orders.c.external_id, t.orders.c.status).where(
        t.orders.c.id.in_(ids)
    )
    orders = {row["id"]: row for row in rows_of(tx, query)} if ids else {}
    return [_exception(hub, directory, row, orders.get(row["order_id"])) for row in found]


def _exception(hub: Hub, directory: Directory, row: Row, order: Row | None) -> dict[str, Any]:
    detail = open_detail(hub, row)
    account = directory.accounts.get(row["account_id"]) if row["account_id"] is not None else None
    problems = detail.pop("problems", [])
    return {
        "id": exception_ref(row["id"]),
        "code": row["code"],
        "state": row["state"],
        "account": account.name if account else "",
        "order": {name: order[name] for name in ("number", "external_id", "status")} if order else None,
        "external_id": order["external_id"] if order else detail.get("external_id", ""),
        "problems": problems,
        "suggestions": [
            {"path": problem["path"], "values": problem["candidates"]} for problem in problems if problem["candidates"]
        ],
        "detail": {name: value for name, value in detail.items() if isinstance(value, str | int)},
        "actions": list(actions_for(row)),
        "assignee": row["assignee"],
        "opened_at": show_time(row["opened_at"]),
        "snoozed_until": show_time(row["snoozed_until"]),
        "resolved_at": show_time(row["resolved_at"]),
        "resolved_by": row["resolved_by"],
        "resolution": row["resolution"],
    }


def actions_for(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a person may do about an exception (pipeline.review)."""
    if row["state"] == "resolved":
        return ()
    if row["order_id"] is None:
        return ("retry", "dismiss")
    if row["code"] in LASTING:
        return ("retry", "dismiss", "cancel")
    return ("fix", "retry", "cancel") if row["code"] in _NOT_WAIVABLE else ("fix", "release", "retry", "cancel")


def count_exceptions(hub: Hub, *, partner_id: int | None = None) -> dict[str, Any]:
    """Open and snoozed exceptions, and the open ones by code; counted up to 10 000 each, then `more`."""
    x = t.exceptions
    mine: list[Any] = [x.c.partner_id == partner_id] if partner_id is not None else []
    told: dict[str, Any] = {"more": False, "codes": {}}
    with hub.read() as tx:
        for state in ("open", "snoozed"):
            some = select(x.c.code).where(x.c.state == state, *mine).limit(COUNT_LIMIT).subquery()
            codes = {row[0]: row[1] for row in tx.execute(select(some.c.code, func.count()).group_by(some.c.code))}
            told[state] = sum(codes.values())
            told["more"] = told["more"] or told[state] >= COUNT_LIMIT
            if state == "open":
                told["codes"] = dict(sorted(codes.items()))
    return told


def count_orders(hub: Hub, *, partner_id: int | None = None) -> dict[str, Any]:
    """Orders by status among the 10 000 that changed last; `more` when there are older ones."""
    o = t.orders
    mine: list[Any] = [o.c.partner_id == partner_id] if partner_id is not None else []
    recent = (
        select(o.c.status).where(*mine).order_by(o.c.updated_at.desc(), o.c.id.desc()).limit(COUNT_LIMIT).subquery()
    )
    with hub.read() as tx:
        found = {row[0]: row[1] for row in tx.execute(select(recent.c.status, func.count()).group_by(recent.c.status))}
    statuses = {status: found.get(status, 0) for status in t.ORDER_STATUSES}
    return {"statuses": statuses, "more": sum(found.values()) >= COUNT_LIMIT}


def show_money(amount: int, currency: str) -> dict[str, Any]:
    return {"minor": amount, "text": from_minor(amount, currency)}


def show_time(value: int | None) -> str | None:
    """Microseconds as RFC 3339 text in UTC."""
    told = maybe_moment(value)
    return None if told is None else told.isoformat().replace("+00:00", "Z")
