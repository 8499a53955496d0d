"""Decisions read back in chunks, newest first, for a replay. Only reads."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from .rows import Row, rows_of
from .tables import decisions, orders

_READ = (decisions.c.id, decisions.c.order_id, decisions.c.ruleset, decisions.c.record, decisions.c.created_at)


def list_decisions(tx: Connection, *, before: int, since: int, limit: int) -> list[Row]:
    """Decisions with an id below `before`, made at or after `since` (µs), the newest first; `record` stays sealed."""
    query = select(*_READ).where(decisions.c.id < before, decisions.c.created_at >= since)
    return rows_of(tx, query.order_by(decisions.c.id.desc()).limit(limit))


def load_order_numbers(tx: Connection, order_ids: Collection[int]) -> dict[int, str]:
    """Order numbers by id."""
    query = select(orders.c.id, orders.c.number).where(orders.c.id.in_(sorted(order_ids)))
    return {row[0]: row[1] for row in tx.execute(query)}
