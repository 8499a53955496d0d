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

from sqlalchemy import Connection

from domain.errors import RefusedError
from domain.money import from_minor
from storage import counts, exception_lists, order_lists
from storage.order_reads import load_order_heads
from storage.rows import Row
from storage.tables import ORDER_STATUSES
from storage.times import maybe_moment, micros

from .bootstrap import Hub
from .cursor_text import read_cursor, write_cursor
from .directory import Directory, read_directory
from .exceptional import LASTING
from .privacy import open_detail
from .references import exception_id, exception_ref, named_id
from .review import NOT_WAIVABLE

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
    since = micros(updated_since) if updated_since is not None else 0
    about = f"orders|{partner_id}|{account}|{status}|{since}|{search}"
    began, *position = read_cursor(hub.vault, about, after_cursor, 3) if after_cursor else (hub.now(), since, -1)
    limit = max(1, min(limit, MAX_PAGE))
    with hub.read() as tx:
        directory = read_directory(hub, tx)
        found, end = order_lists.list_changed_orders(
            tx,
            after=position,
            partner_id=partner_id,
            status=status,
            account_ids=_ids_of(directory, account) if account else None,
            ids=_found(hub, tx, directory, search, partner_id) if search else None,
            window=_WINDOW,
            limit=limit + 1,
        )
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
    numbered = named_id(text)
    if numbered is not None:
        return [numbered]
    shops = [a.id for a in directory.accounts.values() if partner_id in {None, a.partner_id}]
    tail = hub.vault.search_hash("phone_tail", text) if len(text) == 4 else None
    return order_lists.find_order_ids(
        tx, text, account_ids=shops, tail_hash=tail, limit=MAX_PAGE, partner_id=partner_id
    )


def _ids_of(directory: Directory, account: str) -> list[int]:
    return [each.id for each in directory.accounts.values() if each.name == account]


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
    about = f"exceptions|{partner_id}|{state}|{code}|{account}"
    (position,) = read_cursor(hub.vault, about, after, 1) if after else (-1,)
    limit = max(1, min(limit, MAX_PAGE))
    with hub.read() as tx:
        directory = read_directory(hub, tx)
        found, end = exception_lists.list_exceptions(
            tx,
            state,
            after=position,
            limit=limit + 1,
            code=code,
            account_ids=_ids_of(directory, account) if account else None,
            partner_id=partner_id,
            window=_WINDOW,
        )
        rows = exception_rows(hub, tx, directory, found[:limit])
    end = found[limit - 1]["id"] if len(found) > limit else end
    return Page(rows=rows, next=write_cursor(hub.vault, about, (end,)) if end is not None else "")


def exception_view(hub: Hub, ref: str, *, partner_id: int | None = None) -> dict[str, Any]:
    """One exception with the values a person may choose from. RefusedError `not_found`, also for another partner's."""
    row_id = exception_id(ref)
    with hub.read() as tx:
        directory = read_directory(hub, tx)
        found = exception_lists.find_exception(tx, row_id)
        if found is None or (partner_id is not None and found["partner_id"] != partner_id):
            raise RefusedError("not_found", "there is no such exception")
        return exception_rows(hub, tx, directory, [found])[0]


def exception_rows(hub: Hub, tx: Connection, directory: Directory, found: Sequence[Row]) -> list[dict[str, Any]]:
    """Exceptions with their order, what is wrong, what to choose from and what can be done."""
    orders = load_order_heads(tx, [row["order_id"] for row in found if row["order_id"] is not None])
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
    return ("fix", "retry", "cancel") if row["code"] in NOT_WAIVABLE else ("fix", "release", "retry", "cancel")


def count_exceptions(hub: Hub, *, partner_id: int | None = None) -> dict[str, Any]:
    """Open and snoozed exceptions, and the open ones by code; counted up to 10 000 each, then `more`."""
    told: dict[str, Any] = {"more": False, "codes": {}}
    with hub.read() as tx:
        for state in ("open", "snoozed"):
            codes = counts.count_exceptions_by_code(tx, state, COUNT_LIMIT, partner_id=partner_id)
            told[state] = sum(codes.values())
            told["more"] = told["more"] or told[state] >= COUNT_LIMIT
            if state == "open":
                told["codes"] = dict(sorted(codes.items()))
    return told


def count_orders(hub: Hub, *, partner_id: int | None = None) -> dict[str, Any]:
    """Orders by status among the 10 000 that changed last; `more` when there are older ones."""
    with hub.read() as tx:
        found = counts.count_orders_by_status(tx, COUNT_LIMIT, partner_id=partner_id)
    statuses = {status: found.get(status, 0) for status in ORDER_STATUSES}
    return {"statuses": statuses, "more": sum(found.values()) >= COUNT_LIMIT}


def show_money(amount: int, currency: str) -> dict[str, Any]:
    return {"minor": amount, "text": from_minor(amount, currency)}


def show_time(value: int | None) -> str | None:
    """Microseconds as RFC 3339 text in UTC."""
    told = maybe_moment(value)
    return None if told is None else told.isoformat().replace("+00:00", "Z")
