"""Figures over bounded windows: every count stops at a `limit` of rows, so that no figure costs more as a table grows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, exists, func, or_, select

from .asking import Question, ask
from .inbox import NEW
from .outbox import ALIVE, WAITING
from .rows import Row, rows_of
from .tables import exceptions, hints, inbox, orders, outbox

# Asked ten times a second by whoever waits for quiet.
UNFINISHED = Question(
    select(
        or_(
            exists(select(inbox.c.id).where(NEW)),
            exists(select(outbox.c.id).where(ALIVE)),
            exists(select(outbox.c.id).where(WAITING)),
        ).label("unfinished")
    ),
    {},
)


def count_exceptions(tx: Connection, state: str, limit: int) -> int:
    """How many exceptions are in a state."""
    some = select(exceptions.c.id).where(exceptions.c.state == state).limit(limit).subquery()
    return int(tx.execute(select(func.count()).select_from(some)).scalar_one())


def count_exceptions_by_code(
    tx: Connection, state: str, limit: int, *, partner_id: int | None = None
) -> dict[str, int]:
    """The oldest exceptions in a state, by code; a partner's only, when one is named."""
    x = exceptions
    mine: list[Any] = [x.c.partner_id == partner_id] if partner_id is not None else []
    some = select(x.c.code).where(x.c.state == state, *mine).order_by(x.c.id).limit(limit).subquery()
    query = select(some.c.code, func.count()).group_by(some.c.code)
    return {str(code): int(count) for code, count in tx.execute(query)}


def count_orders_by_status(tx: Connection, limit: int, *, partner_id: int | None = None) -> dict[str, int]:
    """The orders that changed last, by status; a partner's only, when one is named."""
    o = orders
    mine: list[Any] = [o.c.partner_id == partner_id] if partner_id is not None else []
    recent = select(o.c.status).where(*mine).order_by(o.c.updated_at.desc(), o.c.id.desc()).limit(limit).subquery()
    query = select(recent.c.status, func.count()).group_by(recent.c.status)
    return {str(status): int(count) for status, count in tx.execute(query)}


def count_orders_by_time(tx: Connection, *, since_id: int, span: int, limit: int) -> list[Row]:
    """The newest orders from the id `since_id` on, grouped by time, status and currency. Rows of `slot` (created_at
    divided by `span` µs, rounded down), `status`, `currency`, `orders` (how many), `paid` (sum, minor units)."""
    o = orders
    newest = (
        select((o.c.created_at // span).label("slot"), o.c.status, o.c.currency, o.c.paid)
        .where(o.c.id >= since_id)
        .order_by(o.c.id.desc())
        .limit(limit)
        .subquery()
    )
    columns = (newest.c.slot, newest.c.status, newest.c.currency)
    query = select(*columns, func.count().label("orders"), func.sum(newest.c.paid).label("paid")).group_by(*columns)
    numbers = ("slot", "orders", "paid")  # a sum of bigints comes back as Decimal from PostgreSQL
    return [row | {name: int(row[name]) for name in numbers} for row in rows_of(tx, query)]


def count_warehouse_work(tx: Connection, limit: int) -> list[Row]:
    """What waits for each warehouse. Rows of `target_id`, `state` (due, sending, unknown), `rows`, `oldest` (its earliest
    due_at in µs)."""
    x = outbox
    work = (select(x.c.target_kind, x.c.target_id, x.c.state, x.c.due_at).where(ALIVE).limit(limit)).subquery()
    query = (
        select(work.c.target_id, work.c.state, func.count().label("rows"), func.min(work.c.due_at).label("oldest"))
        .where(work.c.target_kind == "warehouse")
        .group_by(work.c.target_id, work.c.state)
    )
    return rows_of(tx, query)


def count_new_documents(tx: Connection, limit: int) -> tuple[int, int | None]:
    """Documents that wait to be absorbed, and when the earliest came (µs); served by the partial index on state new."""
    waiting = select(inbox.c.received_at).where(NEW).order_by(inbox.c.id).limit(limit).subquery()
    return _count_and_least(tx, waiting.c.received_at)


def count_due_effects(tx: Connection, *, now: int, limit: int) -> tuple[int, int | None]:
    """Effects that are due or under way, and since when the earliest is (times in µs); served by the partial index on what
    is alive."""
    o = outbox
    alive = select(o.c.due_at).where(ALIVE, o.c.due_at <= now).order_by(o.c.due_at).limit(limit)
    return _count_and_least(tx, alive.subquery().c.due_at)


def count_hints(tx: Connection, limit: int) -> int:
    """How many hints wait to be followed."""
    some = select(hints.c.external_id).limit(limit).subquery()
    return int(tx.execute(select(func.count()).select_from(some)).scalar_one())


def find_unfinished(tx: Connection) -> bool:
    """Whether anything waits to be absorbed or sent. Parked work waits for a person and is not counted."""
    return bool(ask(tx, UNFINISHED)[0][0])


def _count_and_least(tx: Connection, column: Any) -> tuple[int, int | None]:
    count, least = tx.execute(select(func.count(), func.min(column))).one()
    return int(count), None if least is None else int(least)
