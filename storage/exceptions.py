"""Exceptions opened, changed and resolved outside any order's dossier. At most one is open per (subject, code)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, select, text, update

from .asking import Question, ask_rows
from .many import among, bind_values
from .rows import Row, chunks, insert_missing, rows_of, update_rows
from .tables import exceptions

# As the index says it: a plan that is kept for any values knows only what stands in the statement.
OPEN = text("exceptions.state <> 'resolved'")


def put_exceptions(tx: Connection, rows: Sequence[Row]) -> None:
    """Open exceptions (full rows); one that is open already of the same subject and code stays as it is."""
    insert_missing(tx, exceptions, rows)


def point_exceptions(tx: Connection, rows: Iterable[Row]) -> None:
    """The same fault in a newer version of a document: the open exception of each row's subject and code is about the row's
    `inbox_id` now."""
    x = exceptions
    for row in rows:
        where = (x.c.subject == row["subject"], x.c.code == row["code"], OPEN, x.c.id != row["id"])
        tx.execute(update(x).where(*where).values(inbox_id=row["inbox_id"]))


def load_open_subjects(tx: Connection, subjects: Iterable[str]) -> list[Row]:
    """Full rows of what is not resolved about these subjects."""
    return [row for question in about_subjects(tx, subjects) for row in ask_rows(tx, question)]


def about_subjects(tx: Connection, subjects: Iterable[str]) -> list[Question]:
    """What `load_open_subjects` asks."""
    query = _open_about(tx.dialect.name)
    return [Question(query, bind_values(tx, chunk)) for chunk in chunks(sorted(set(subjects)))]


@cache
def _open_about(dialect: str) -> Select[Any]:
    x = exceptions
    return select(x).where(among(dialect, x.c.subject), OPEN)


def list_curable_orders(tx: Connection, codes: Iterable[str], *, account_id: int | None, limit: int) -> list[int]:
    """Ids of orders with an exception of these codes that nobody has resolved, the oldest exception first."""
    x = exceptions
    query = select(x.c.order_id).where(
        x.c.state.in_(("open", "snoozed")), x.c.code.in_(sorted(codes)), x.c.order_id.is_not(None)
    )
    if account_id is not None:
        query = query.where(x.c.account_id == account_id)
    return list(tx.execute(query.order_by(x.c.id).limit(limit)).scalars())


def lock_exception(tx: Connection, row_id: int) -> Row:
    """The full row of an exception that is there, locked until the transaction ends."""
    return rows_of(tx, select(exceptions).where(exceptions.c.id == row_id).with_for_update())[0]


def save_exception(tx: Connection, row_id: int, values: Mapping[str, Any]) -> None:
    """Change columns of one exception."""
    tx.execute(update(exceptions).where(exceptions.c.id == row_id).values(dict(values)))


def save_resolutions(tx: Connection, rows: Sequence[Row]) -> None:
    """Write state, resolved_at (µs), resolved_by and resolution of rows."""
    update_rows(tx, exceptions, rows, ("state", "resolved_at", "resolved_by", "resolution"))


def save_documents(tx: Connection, rows: Sequence[Row]) -> None:
    """Write which document rows are about, and its fault: inbox_id and detail (sealed)."""
    update_rows(tx, exceptions, rows, ("inbox_id", "detail"))


def resolve_subject(tx: Connection, subject: str, *, now: int, by: str, how: str) -> int:
    """Resolve what is open about one subject (`account:ID`, `warehouse:ID`, `document:…`); returns how many (now in µs)."""
    x = exceptions
    values = {"state": "resolved", "resolved_at": now, "resolved_by": by, "resolution": how, "snoozed_until": None}
    return tx.execute(update(x).where(x.c.subject == subject, OPEN).values(values)).rowcount


def resolve_code(tx: Connection, subject: str, code: str, *, now: int, by: str, how: str) -> int:
    """Resolve what is open about one subject under one code; returns how many (now in µs)."""
    x = exceptions
    values = {"state": "resolved", "resolved_at": now, "resolved_by": by, "resolution": how}
    mine = (x.c.subject == subject, x.c.code == code, OPEN)
    return tx.execute(update(x).where(*mine).values(values)).rowcount


def wake_exceptions(tx: Connection, *, now: int) -> int:
    """Open again what was snoozed until now (µs); returns how many."""
    x = exceptions
    where = (x.c.state == "snoozed", x.c.snoozed_until <= now)
    return tx.execute(update(x).where(*where).values(state="open", snoozed_until=None)).rowcount
