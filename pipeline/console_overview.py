"""The overview: where work waits, how fresh each account is, how each warehouse does, what came in during the last day.

Figures are counted over bounded windows and kept for some seconds, so that a hundred open overviews cost what one does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from storage.counts import count_orders_by_time, count_warehouse_work
from storage.rows import Row
from storage.standing import list_polled_accounts, list_warehouses

from .bootstrap import Hub
from .console_views import list_open, remembered

_HOUR = 3_600_000_000
_KEPT = 10_000_000
_NEWEST = 20_000
_BACKLOG = 5_000
_HOURS = 24
_SHOWN = 50
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
    end = now // _HOUR + 1
    start = (end - _HOURS) * _HOUR
    hours = [{"at": (end - _HOURS + index) * _HOUR, "orders": 0, "paid": {}} for index in range(_HOURS)]
    statuses: dict[str, int] = {}
    paid: dict[str, int] = {}
    total = 0
    for row in count_orders_by_time(tx, since_id=first_id(start), span=_HOUR, limit=_NEWEST):
        index = row["slot"] - (end - _HOURS)
        status, currency = row["status"], row["currency"]
        statuses[status] = statuses.get(status, 0) + row["orders"]
        total += row["orders"]
        if status != "closed":
            paid[currency] = paid.get(currency, 0) + row["paid"]
        if 0 <= index < _HOURS:
            _add(hours[index], currency, row["orders"], row["paid"] if status != "closed" else 0)
    return {"hours": hours, "statuses": statuses, "paid": paid, "orders": total, "more": total >= _NEWEST}


def _add(hour: dict[str, Any], currency: str, orders: int, paid: int) -> None:
    hour["orders"] += orders
    hour["paid"][currency] = hour["paid"].get(currency, 0) + paid


def _accounts(tx: Connection, now: int) -> list[Row]:
    """Each account with the state of its poll; those in trouble first."""
    rows = list_polled_accounts(tx, _SHOWN)
    for row in rows:
        row["lag"] = max(0, now - row["watermark"]) if row["watermark"] else None
    return rows


def _warehouses(tx: Connection, now: int) -> list[Row]:
    """Each warehouse with what waits for it and what came to rest."""
    waiting: dict[int, Row] = {}
    for row in count_warehouse_work(tx, _BACKLOG):
        entry = waiting.setdefault(row["target_id"], {"due": 0, "sending": 0, "unknown": 0, "oldest": None})
        entry[row["state"]] = row["rows"]
        if row["state"] == "due" and row["oldest"] <= now:
            entry["oldest"] = now - row["oldest"]
    empty: Row = {"due": 0, "sending": 0, "unknown": 0, "oldest": None}
    return [row | waiting.get(row["id"], empty) for row in list_warehouses(tx, _SHOWN)]
