"""Node numbers, so that ids made by two processes never meet: one row per running process, with a lease."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update

from domain.errors import RetryableError

from .rows import insert_missing
from .tables import decisions, exceptions, fulfilments, inbox, nodes, orders, outbox, packages

_NODES = 1024


def claim_node(tx: Connection, holder: str, *, now: int, lease: int) -> int:
    """Take the lowest node number that nobody holds (times in µs)."""
    rows = {row.id: row for row in tx.execute(select(nodes).with_for_update())}
    for number in range(_NODES):
        row = rows.get(number)
        if row is None:
            insert_missing(tx, nodes, [{"id": number, "holder": holder, "lease_until": now + lease}])
            if tx.execute(select(nodes.c.holder).where(nodes.c.id == number)).scalar() == holder:
                return number
        elif row.lease_until <= now:
            tx.execute(update(nodes).where(nodes.c.id == number).values(holder=holder, lease_until=now + lease))
            return number
    raise RetryableError("no_node", f"all {_NODES} node numbers are in use")


def list_holders(tx: Connection, *, now: int) -> list[str]:
    """Who holds a node number now (µs): the processes that are running."""
    return list(tx.execute(select(nodes.c.holder).where(nodes.c.lease_until > now).order_by(nodes.c.id)).scalars())


def lease_end(tx: Connection, number: int) -> int:
    """Until when a node number is held (µs)."""
    return int(tx.execute(select(nodes.c.lease_until).where(nodes.c.id == number)).scalar_one())


def newest_id(tx: Connection) -> int:
    """The largest id any process has made: where a process whose clock was set back must go on from."""
    tables = (inbox, orders, fulfilments, packages, outbox, exceptions, decisions)
    newest = [tx.execute(select(func.max(table.c.id))).scalar() for table in tables]
    return max((number for number in newest if number is not None), default=0)


def keep_node(tx: Connection, number: int, holder: str, *, now: int, lease: int) -> bool:
    """Prolong our lease; False when somebody else has the number now."""
    where = (nodes.c.id == number, nodes.c.holder == holder)
    return tx.execute(update(nodes).where(*where).values(lease_until=now + lease)).rowcount == 1


def free_node(tx: Connection, number: int, holder: str, *, now: int) -> None:
    """Give a node number back: it is free from `now` (µs), which must be later than any id made with it."""
    tx.execute(update(nodes).where(nodes.c.id == number, nodes.c.holder == holder).values(lease_until=now))
