"""The overview: where work waits, how fresh each account is, how each warehouse does, what came in during the last day.

Figures are counted over bounded windows and kept for some seconds, so that a hundred open overviews cost what one does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from storage import tables as t
from storage.rows import Row, rows_of

from .bootstrap import Hub
from .console_views import list_open, remembered

_HOUR = 3_600_000_000
_KEPT = 10_000_000
_NEWEST = 20_000
_BACKLOG = 5_000
_HOURS = 24
# An id holds milliseconds since 2020-01-01 UTC above its 22 low bits (domain/numbers.py).
_EPOCH_MS = 1_577_836_800_000


def overview(hub: Hub) -> dict[str, Any]:
    """Everything on the first page, at most ten seconds old."""
    shown: dict[str, Any] = remembered(hub, "overview", _KEPT, lambda: _look(hub))
    return shown


def _look(hub: Hub) -> dict[str, Any]:
    now = hub.now()
    with hub.read() as tx:
        day = _last_day(tx, now)
        accounts = _accounts(tx, now)
        targets = _warehouses(tx, now)
    oldest = list_open(hub, limit=5).rows
    return {"now": now, "oldest": oldest, "accounts": accounts, "warehouses": targets} | day


def first_id(moment: int) -> int:
    """The smallest id made at or after a moment (microseconds)."""
    return max(0, moment // 1_000 - _EPOCH_MS) << 22


def _last_day(tx: Connection, now: int) -> dict[str, Any]:
    """Orders that came in the last 24 hours: by hour, by status, and what they are worth, per currency."""
    o = t.orders
    end = now // _HOUR + 1
    start = (end - _HOURS) * _HOUR
    newest = (
        select((o.c.created_at // _HOUR).label("hour"), o.c.status, o.c.currency, o.c.paid)
        .where(o.c.id >= first_id(start))
        .order_by(o.c.id.desc())
        .limit(_NEWEST)
        .subquery()
    )
    columns = (newest.c.hour, newest.c.status, newest.c.currency)
    query = select(*columns, func.count().label("orders"), func.sum(newest.c.paid).label("paid")).group_by(*columns)
    hours = [{"at": (end - _HOURS + index) * _HOUR, "orders": 0, "paid": {}} for index in range(_HOURS)]
    statuses: dict[str, int] = {}
    paid: dict[str, int] = {}
    total = 0
    for row in tx.execute(query):
        index = int(row.hour) - (end - _HOURS)
        statuses[row.status] = statuses.get(row.status, 0) + int(row.orders)
        total += int(row.orders)
        if row.status != "closed":
            paid[row.currency] = paid.get(row.currency, 0) + int(row.paid)
        if 0 <= index < _HOURS:
            _add(hours[index], row.currency, int(row.orders), int(row.paid) if row.status != "closed" else 0)
    return {"hours": hours, "statuses": statuses, "paid": paid, "orders": total, "more": total >= _NEWEST}


def _add(hour: dict[str, Any], currency: str, orders: int, paid: int) -> None:
    hour["orders"] += orders
    hour["paid"][currency] = hour["paid"].get(currency, 0) + paid


def _accounts(tx: Connection, now: int) -> list[Row]:
    """Each account with the state of its poll; those in trouble first."""
    a, c = t.accounts, t.cursors
    query = (
        select(a.c.name, a.c.channel, a.c.enabled, a.c.state, a.c.state_reason)
        .add_columns(c.c.ran_at, c.c.watermark, c.c.failures, c.c.error, c.c.due_at)
        .outerjoin(c, (c.c.account_id == a.c.id) & (c.c.stream == "poll"))
        .order_by(a.c.state.desc(), c.c.failures.desc(), a.c.name)
        .limit(50)
    )
    rows = rows_of(tx, query)
    for row in rows:
        row["lag"] = max(0, now - row["watermark"]) if row["watermark"] else None
    return rows


def _warehouses(tx: Connection, now: int) -> list[Row]:
    """Each warehouse with what waits for it and what came to rest."""
    w, x = t.warehouses, t.outbox
    work = (
        select(x.c.target_kind, x.c.target_id, x.c.state, x.c.due_at)
        .where(x.c.state.in_(("due", "sending", "unknown")))
        .limit(_BACKLOG)
        .subquery()
    )
    query = (
        select(work.c.target_id, work.c.state, func.count().label("rows"), func.min(work.c.due_at).label("oldest"))
        .where(work.c.target_kind == "warehouse")
        .group_by(work.c.target_id, work.c.state)
    )
    waiting: dict[int, Row] = {}
    for row in tx.execute(query):
        entry = waiting.setdefault(row.target_id, {"due": 0, "sending": 0, "unknown": 0, "oldest": None})
        entry[row.state] = int(row.rows)
        if row.state == "due" and row.oldest <= now:
            entry["oldest"] = now - row.oldest
    empty: Row = {"due": 0, "sending": 0, "unknown": 0, "oldest": None}
    columns = (w.c.id, w.c.name, w.c.kind, w.c.enabled, w.c.state, w.c.state_reason)
    return [row | waiting.get(row["id"], empty) for row in rows_of(tx, select(*columns).order_by(w.c.name).limit(50))]
