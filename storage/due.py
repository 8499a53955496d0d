"""What is due, and whose turn it is to say so: work stands in rows, and once per tick one of the schedulers turns what is due
into jobs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, exists, literal, select, text, true

from .inbox import NEW
from .outbox import ALIVE
from .rows import dialect_insert
from .tables import accounts, cursors, fulfilments, inbox, outbox, ticks, warehouses

_LOOK = 1_000
_HASTEN = text(
    "SELECT set_config('synchronous_commit', 'off', true), set_config('idle_in_transaction_session_timeout', '3s', true)"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job to be done: `key` names it, `name` its kind, `subject_id` and `part` what it is about. It makes up to `width` calls
    at once; of the jobs of its `lane`, `room` may run at once."""

    key: str
    name: str
    lane: str
    subject_id: int = 0
    part: str = ""
    width: int = 1
    room: int = 1


def hasten(tx: Connection) -> None:
    """This transaction holds nothing but ticks and jobs: its commit does not wait for the disk, and the server ends it soon
    when its process freezes inside it, because the others wait for the tick."""
    if tx.dialect.name == "postgresql":
        tx.execute(_HASTEN)


def take_tick(tx: Connection, name: str, tick: int) -> bool:
    """Whether the caller is the one that plans this tick (µs): of several schedulers with one tick only one is, and an older
    tick has passed. The others wait until its transaction has ended."""
    statement = dialect_insert(tx, ticks).values(name=name, tick=tick)
    later = statement.on_conflict_do_update(
        index_elements=["name"], set_={"tick": statement.excluded.tick}, where=ticks.c.tick < statement.excluded.tick
    )
    return tx.execute(later.returning(ticks.c.name)).first() is not None


def list_due_streams(tx: Connection, *, now: int) -> list[tuple[int, str]]:
    """(account id, stream) of what is to be read and nobody reads, the longest due first."""
    where = (cursors.c.due_at <= now, cursors.c.lease_until <= now, accounts.c.enabled, accounts.c.state == "active")
    query = select(cursors.c.account_id, cursors.c.stream).join(accounts, accounts.c.id == cursors.c.account_id)
    return [(row[0], row[1]) for row in tx.execute(query.where(*where).order_by(cursors.c.due_at).limit(_LOOK))]


def list_due_targets(tx: Connection, *, now: int) -> list[int]:
    """Ids of warehouses and accounts to which something is to be sent."""
    found: list[int] = []
    for table in (warehouses, accounts):
        waits = exists(select(literal(1)).where(outbox.c.target_id == table.c.id, ALIVE, outbox.c.due_at <= now))
        found += tx.execute(select(table.c.id).where(table.c.enabled, table.c.state == "active", waits)).scalars()
    return found


def list_due_news(tx: Connection, *, now: int) -> list[int]:
    """Ids of warehouses with fulfilments that are quiet for too long, of the first of these."""
    f = fulfilments
    some = select(f.c.warehouse_id).where(f.c.news_due_at <= now).order_by(f.c.news_due_at).limit(_LOOK).subquery()
    return list(tx.execute(select(some.c.warehouse_id).distinct()).scalars())


def list_due_stock(tx: Connection, *, now: int) -> list[int]:
    """Ids of warehouses whose levels are to be read."""
    w = warehouses
    return list(tx.execute(select(w.c.id).where(w.c.enabled, w.c.state == "active", w.c.stock_due_at <= now)).scalars())


def is_inbox_waiting(tx: Connection) -> bool:
    """Whether any document waits to be absorbed."""
    return tx.execute(select(true()).where(exists(select(inbox.c.id).where(NEW)))).first() is not None
