"""Figures about the running hub: is it ready, what waits and since when, how fresh each account is. Bounded."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from storage import tables as t

from .bootstrap import Hub
from .directory import read_directory
from .views import COUNT_LIMIT, count_exceptions, count_orders, show_time

_ALIVE = ("due", "sending", "unknown")


def ready(hub: Hub) -> None:
    """Ask the database for its schema; raises what the database raises when it is not there or not migrated."""
    with hub.read() as tx:
        tx.execute(select(t.nodes.c.id).limit(1)).all()
        tx.execute(select(t.orders.c.id).limit(1)).all()


def overview(hub: Hub) -> dict[str, Any]:
    """Orders, exceptions, queues, accounts and warehouses at a glance. Ages are seconds."""
    with hub.read() as tx:
        now = hub.now()
        directory = read_directory(hub, tx)
        queues = {"inbox": _inbox(tx, now), "outbox": _outbox(tx, now), "hints": _hints(tx)}
        cursors = {
            row.account_id: row
            for row in tx.execute(
                select(t.cursors.c.account_id, t.cursors.c.ran_at, t.cursors.c.failures, t.cursors.c.error).where(
                    t.cursors.c.stream == "poll"
                )
            )
        }
    return {
        "orders": count_orders(hub),
        "exceptions": count_exceptions(hub),
        "queues": queues,
        "accounts": [
            {
                "name": account.name,
                "channel": account.channel.name,
                "enabled": account.enabled,
                "state": account.state,
                **_freshness(cursors.get(account.id), now),
            }
            for account in sorted(directory.accounts.values(), key=lambda account: account.name)
        ],
        "warehouses": [
            {"name": target.name, "kind": target.kind.name, "enabled": target.enabled, "state": target.state}
            for target in sorted(directory.targets.values(), key=lambda target: target.name)
        ],
    }


def _inbox(tx: Connection, now: int) -> dict[str, Any]:
    """Documents that wait to be absorbed (served by the partial index on state new)."""
    waiting = select(t.inbox.c.received_at).where(t.inbox.c.state == "new").order_by(t.inbox.c.id).limit(COUNT_LIMIT)
    return _queue(tx, waiting.subquery().c.received_at, now)


def _outbox(tx: Connection, now: int) -> dict[str, Any]:
    """Effects that are due or under way (served by the partial index on what is alive)."""
    o = t.outbox
    alive = select(o.c.due_at).where(o.c.state.in_(_ALIVE), o.c.due_at <= now).order_by(o.c.due_at).limit(COUNT_LIMIT)
    return _queue(tx, alive.subquery().c.due_at, now)


def _hints(tx: Connection) -> dict[str, Any]:
    some = select(t.hints.c.external_id).limit(COUNT_LIMIT).subquery()
    return {"waiting": int(tx.execute(select(func.count()).select_from(some)).scalar_one()), "oldest_seconds": 0}


def _queue(tx: Connection, column: Any, now: int) -> dict[str, Any]:
    count, oldest = tx.execute(select(func.count(), func.min(column))).one()
    return {"waiting": int(count), "oldest_seconds": 0 if oldest is None else max(0, (now - int(oldest)) // 1_000_000)}


def _freshness(cursor: Any, now: int) -> dict[str, Any]:
    if cursor is None:
        return {"polled_at": None, "age_seconds": None, "failures": 0, "error": ""}
    age = None if cursor.ran_at is None else max(0, (now - cursor.ran_at) // 1_000_000)
    return {
        "polled_at": show_time(cursor.ran_at),
        "age_seconds": age,
        "failures": cursor.failures,
        "error": cursor.error,
    }
