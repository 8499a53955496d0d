"""Bulk statements for any table: one prepared statement per call, however many rows. The caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

import psycopg
from sqlalchemy import Column, Connection, Select, Table, delete, exc, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from .lines import Said, converse
from .many import among, bind_values
from .statements import Statement, copy_of, insert_missing_of, insert_of, update_many_of, update_of, widened

__all__ = [
    "Row",
    "Table",
    "chunks",
    "delete_rows",
    "dialect_insert",
    "insert_missing",
    "insert_rows",
    "insert_tuples",
    "load_rows",
    "rows_of",
    "send_before",
    "sent_together",
    "update_rows",
    "upsert_rows",
]
Row = dict[str, Any]
_CHUNK = 500
# From so many rows on, PostgreSQL takes them faster as one stream than as statements, each planned and answered by itself.
_MANY = 32
# Rows that SQLite takes with one statement: beyond some twenty nothing is gained.
_WIDE = 16
_TOGETHER = "sent together"


@contextmanager
def sent_together(tx: Connection, rows: int = 1) -> Iterator[None]:
    """Statements whose answers nobody looks at, sent to PostgreSQL one after the other without waiting in between; when this
    ends, all of them were done, or the first that failed is raised as SQLAlchemy raises it. Nothing inside may read, nor ask
    how many rows there were. `rows`: about how many each statement has; many go as streams, which need an answer each."""
    if tx.dialect.name == "sqlite" or rows >= _MANY:
        yield
        return
    info, waiting = tx.info, list[Said]()
    info[_TOGETHER] = waiting
    try:
        yield
        _send_waiting(tx, waiting)
    finally:
        info.pop(_TOGETHER, None)


def _send_waiting(tx: Connection, waiting: list[Said]) -> None:
    if not waiting:
        return
    said, errors = waiting[:], tx.dialect.loaded_dbapi.Error
    waiting.clear()
    try:
        converse(tx, said)
    except errors as error:
        line: Any = tx.connection.driver_connection
        lost = tx.dialect.is_disconnect(error, line, None)
        if lost:
            tx.invalidate(error)
        raise exc.DBAPIError.instance(
            None, None, error, errors, hide_parameters=True, connection_invalidated=lost, dialect=tx.dialect
        ) from error


def send_before(tx: Connection) -> None:
    """Send what was said to be sent together so far: somebody says something by himself, and it comes after that."""
    if waiting := tx.info.get(_TOGETHER):
        _send_waiting(tx, waiting)


def insert_rows(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns."""
    if rows:
        statement = insert_of(tx.dialect, table, tuple(rows[0]))
        _put(tx, table, statement, list(map(statement.pick, rows)))


def insert_tuples(tx: Connection, table: Table, names: tuple[str, ...], values: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows given as tuples of these columns, which are named in the order of the table."""
    if values:
        statement = insert_of(tx.dialect, table, names)
        if statement.names != names:
            raise ValueError(f"{table.name}: the columns are not in the order of the table")
        _put(tx, table, statement, values)


def _put(tx: Connection, table: Table, statement: Statement, values: Sequence[tuple[Any, ...]]) -> None:
    if tx.dialect.name == "sqlite":
        _insert(tx, statement, values)
    elif len(values) >= _MANY and not _is_sending_together(tx):
        _copy(tx, table, statement.names, values)
    else:
        _say(tx, [(statement.text, each) for each in values])


def _say(tx: Connection, said: list[Said]) -> None:
    """Say these to PostgreSQL, with what else is to be sent together or at once."""
    waiting = tx.info.get(_TOGETHER)
    if waiting is None:
        _send_waiting(tx, said)
    else:
        waiting += said


def _is_sending_together(tx: Connection) -> bool:
    """A stream of rows needs the line for itself."""
    return tx.info.get(_TOGETHER) is not None


def insert_missing(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows; one that meets an existing row of any unique index is left out. Returns how many were inserted."""
    if not rows:
        return 0
    statement = insert_missing_of(tx.dialect, table, tuple(rows[0]))
    return _insert(tx, statement, list(map(statement.pick, rows)))


def upsert_rows(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, keep: Collection[str] = ()) -> None:
    """Insert rows, or replace the non-key columns of those whose primary key is there; `keep` columns stay as they are."""
    if not rows:
        return
    statement = dialect_insert(tx, table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys and name not in keep}
    tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def update_rows(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...]) -> None:
    """Set `columns` of rows found by their primary key, each row once."""
    if len(rows) > 1 and tx.dialect.name == "postgresql":
        many = update_many_of(tx.dialect, table, columns)
        _say(tx, [(many.text, [*map(list, zip(*map(many.pick, rows), strict=True))])])
    elif rows:
        statement = update_of(tx.dialect, table, columns)
        _run(tx, statement.text, list(map(statement.pick, rows)))


def load_rows(
    tx: Connection, table: Table, column: Column[Any], values: Iterable[Any], *, lock: bool = False
) -> Iterator[Row]:
    """Every row whose `column` is one of `values`, in primary-key order within a chunk; with `lock` nobody else changes
    them until this transaction ends."""
    query = _found_by(tx.dialect.name, table, column.name, lock)
    for chunk in chunks(sorted(set(values))):
        yield from rows_of(tx, query, bind_values(tx, chunk))


@lru_cache(maxsize=256)
def _found_by(dialect: str, table: Table, column: str, lock: bool) -> Select[Any]:
    """Built once: putting a statement together costs more than running it on a few rows."""
    found = select(table).where(among(dialect, table.c[column])).order_by(*table.primary_key)
    return found.with_for_update() if lock else found


def delete_rows(tx: Connection, table: Table, column: Column[Any], values: Iterable[Any]) -> None:
    for chunk in chunks(sorted(set(values))):
        tx.execute(delete(table).where(column.in_(chunk)))


def rows_of(tx: Connection, query: Any, values: Mapping[str, Any] | None = None) -> list[Row]:
    """The rows of a query as plain dictionaries."""
    result = tx.execute(query, values)
    names = tuple(result.keys())
    return [*map(dict, map(zip, repeat(names), result.all()))]


def chunks(values: Sequence[Any], size: int = _CHUNK) -> Iterator[Sequence[Any]]:
    """Pieces that stay under the parameter limits of both databases."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def dialect_insert(tx: Connection, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT, in the dialect of this transaction."""
    return sqlite.insert(table) if tx.dialect.name == "sqlite" else postgresql.insert(table)


def _insert(tx: Connection, statement: Statement, values: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows, on SQLite several with one statement: each looks up the table and every index of it anew."""
    if tx.dialect.name != "sqlite" or len(values) < _WIDE:
        return _run(tx, statement.text, values)
    whole = len(values) - len(values) % _WIDE
    wide = [tuple(chain.from_iterable(values[at : at + _WIDE])) for at in range(0, whole, _WIDE)]
    return _run(tx, widened(statement.text, _WIDE), wide) + _run(tx, statement.text, values[whole:])


def _run(tx: Connection, text: str, values: Sequence[tuple[Any, ...]]) -> int:
    if not values:
        return 0
    if (waiting := tx.info.get(_TOGETHER)) is not None:
        waiting += [(text, each) for each in values]
        return 0
    # One row is an ordinary statement: many are sent as a pipeline, which has its price.
    told: Any = values if len(values) > 1 else values[0]
    return tx.exec_driver_sql(text, told).rowcount


def _copy(tx: Connection, table: Table, names: tuple[str, ...], values: Sequence[tuple[Any, ...]]) -> None:
    """COPY, which keeps every constraint as INSERT does; the driver's errors are told as those of any other statement."""
    text, types = copy_of(tx.dialect, table, names)
    connection: Any = tx.connection.driver_connection
    try:
        with connection.cursor() as cursor, cursor.copy(text) as copy:
            copy.set_types(types)
            for row in values:
                copy.write_row(row)
    except psycopg.Error as error:
        raise DBAPIError.instance(text, None, error, psycopg.Error, hide_parameters=True, dialect=tx.dialect) from error
