"""Hints: orders that a webhook named, to be read by the poll of their account. One row per (account, external id)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from sqlalchemy import Connection, Delete, bindparam, delete, select, update

from .asking import Question, ask, tell
from .many import among, bind_values
from .rows import insert_missing
from .tables import hints

# Asked after every poll: built once.
_DUE = (
    select(hints.c.external_id, hints.c.due_at)
    .where(hints.c.account_id == bindparam("account_id"), hints.c.due_at <= bindparam("now"))
    .order_by(hints.c.due_at)
    .limit(bindparam("limit"))
)


def put_hints(tx: Connection, account_id: int, external_ids: Iterable[str], *, due_at: int) -> None:
    """Remember orders to be read from `due_at` (µs) on; one that is hinted at already stays as it is."""
    rows = [
        {"account_id": account_id, "external_id": external_id, "due_at": due_at, "attempts": 0}
        for external_id in external_ids
    ]
    insert_missing(tx, hints, rows)


def list_due_hints(tx: Connection, account_id: int, *, now: int, limit: int) -> list[tuple[str, int]]:
    """(external id, due_at in µs) of an account's hints that are due, the earliest first."""
    asked = ask(tx, Question(_DUE, {"account_id": account_id, "now": now, "limit": limit}))
    return [(external_id, due_at) for external_id, due_at in asked]


def delete_hints(tx: Connection, account_id: int, external_ids: Sequence[str]) -> None:
    """Forget hints that were followed."""
    if external_ids:
        tell(tx, _followed(tx.dialect.name), {"account_id": account_id, **bind_values(tx, external_ids)})


@cache
def _followed(dialect: str) -> Delete:
    h = hints.c
    return delete(hints).where(h.account_id == bindparam("account_id"), among(dialect, h.external_id))


def postpone_hints(tx: Connection, account_id: int, external_ids: Sequence[str], *, tries: int, due_at: int) -> None:
    """Count one failed attempt more and try again at `due_at` (µs); after `tries` attempts a hint is given up."""
    h = hints
    mine, lost = h.c.account_id == account_id, h.c.external_id.in_(external_ids)
    tx.execute(delete(h).where(mine, lost, h.c.attempts + 1 >= tries))
    tx.execute(update(h).where(mine, lost).values(attempts=h.c.attempts + 1, due_at=due_at))
