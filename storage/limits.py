"""What is used up of a limit: fulfilments per warehouse and day, credit per owner. Each has one row that is locked before
anything of it changes; credits before capacity, both in the order of ids, and both before stock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, case, delete, func, or_, select

from .rows import Row, dialect_insert, insert_missing, rows_of, update_rows
from .tables import capacity, credits, exceptions, orders

_LOCK_DAY = 0
_OVER = ("completed", "closed")
NOT_COUNTED = "credit_exceeded"


def lock_credits(tx: Connection, owners: Iterable[int]) -> dict[int, int | None]:
    """Credit in use by owner (minor units), locked until the transaction ends; None for one never counted."""
    wanted = sorted(set(owners))
    insert_missing(tx, credits, [{"owner_id": owner, "used": None} for owner in wanted])
    query = select(credits).where(credits.c.owner_id.in_(wanted)).order_by(credits.c.owner_id).with_for_update()
    return {row["owner_id"]: row["used"] for row in rows_of(tx, query)}


def load_credits(tx: Connection, owners: Iterable[int]) -> dict[int, int]:
    """Credit in use by owner (minor units), as it was at this moment."""
    query = select(credits).where(credits.c.owner_id.in_(sorted(owners)))
    return {row["owner_id"]: row["used"] or 0 for row in rows_of(tx, query)}


def sum_open_orders(tx: Connection, *, accounts: Sequence[int], currency: str) -> int:
    """What the open orders of these accounts come to, but for those that are stopped because the credit is exceeded."""
    o = orders
    where = (
        o.c.account_id.in_(accounts),
        o.c.status.not_in(_OVER),
        o.c.currency == currency,
        o.c.verdicts.not_like(f"%{NOT_COUNTED}%"),
    )
    return int(tx.execute(select(func.coalesce(func.sum(o.c.paid), 0)).where(*where)).scalar_one())


def save_credits(tx: Connection, used: Iterable[tuple[int, int]]) -> None:
    """Write what locked owners use now: (owner, minor units)."""
    update_rows(tx, credits, [{"owner_id": owner, "used": units} for owner, units in sorted(used)], ("used",))


def forget_credit(tx: Connection, owner: int) -> None:
    """Let the next reader count anew: the limit, or who belongs to it, has changed."""
    tx.execute(delete(credits).where(credits.c.owner_id == owner))


def list_exceeded(tx: Connection, *, limit: int) -> list[Row]:
    """Orders that wait for credit, the oldest first: order_id, account_id, paid, currency."""
    x, o = exceptions, orders
    query = select(x.c.order_id, o.c.account_id, o.c.paid, o.c.currency).join(o, o.c.id == x.c.order_id)
    return rows_of(tx, query.where(x.c.state == "open", x.c.code == NOT_COUNTED).order_by(x.c.id).limit(limit))


def lock_capacity(tx: Connection, days: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """How many fulfilments these (warehouse, day) have; all days of these warehouses are locked until the transaction
    ends. A day is a proleptic ordinal (`date.toordinal`)."""
    wanted = dict(sorted(days))
    c = capacity
    insert_missing(tx, c, [{"warehouse_id": each, "day": _LOCK_DAY, "planned": 0} for each in wanted])
    mine = (c.c.warehouse_id.in_(list(wanted)), c.c.day == _LOCK_DAY)
    tx.execute(select(c.c.warehouse_id).where(*mine).order_by(c.c.warehouse_id).with_for_update()).all()
    these = or_(*((c.c.warehouse_id == place) & (c.c.day == day) for place, day in wanted.items()))
    return {(row["warehouse_id"], row["day"]): row["planned"] for row in rows_of(tx, select(c).where(these))}


def add_planned(tx: Connection, changes: Iterable[tuple[int, int, int]]) -> None:
    """Add to days of locked warehouses: (warehouse, day, fulfilments), which may be negative; no day falls below zero."""
    rows = [{"warehouse_id": place, "day": day, "planned": count} for place, day, count in sorted(changes) if count]
    if rows:
        statement = dialect_insert(tx, capacity)
        more = capacity.c.planned + statement.excluded.planned
        kept = case((more > 0, more), else_=0)
        tx.execute(
            statement.on_conflict_do_update(index_elements=["warehouse_id", "day"], set_={"planned": kept}), rows
        )
