"""Bulk statements for any table: one prepared statement per call, however many rows. The caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

import psycopg
from sqlalchemy import Column, Connection, Dialect, Select, Table, bindparam, delete, exc, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import Compiled, SQLCompiler

from .many import among, bind_values

__all__ = [
    "Row",
    "Table",
    "chunks",
    "delete_rows",
    "dialect_insert",
    "insert_missing",
    "insert_rows",
    "load_rows",
    "rows_of",
    "sent_together",
    "update_rows",
    "upsert_rows",
]
Row = dict[str, Any]
_CHUNK = 500
# From so many rows on, PostgreSQL takes them faster as one stream than as statements, each planned and answered by itself.
_MANY = 32


@contextmanager
def sent_together(tx: Connection, rows: int = 1) -> Iterator[None]:
    """Statements whose answers nobody looks at, sent to PostgreSQL one after the other without waiting in between; when this
    ends, all of them were done, or the first that failed is raised as SQLAlchemy raises it. Nothing inside may read, nor ask
    how many rows there were. `rows`: about how many each statement has; many go as streams, which need an answer each."""
    line: Any = tx.connection.driver_connection
    if tx.dialect.name == "sqlite" or rows >= _MANY:
        yield
        return
    errors = tx.dialect.loaded_dbapi.Error
    try:
        with line.pipeline():
            yield
    except errors as error:
        lost = tx.dialect.is_disconnect(error, line, None)
        if lost:
            tx.invalidate(error)
        raise exc.DBAPIError.instance(
            None, None, error, errors, hide_parameters=True, connection_invalidated=lost, dialect=tx.dialect
        ) from error


def insert_rows(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns. Values go to the driver as they are: naming and converting every value of
    every row, as the statement compiler does, costs more than the insert itself."""
    if len(rows) >= _MANY and tx.dialect.name == "postgresql" and not _is_sending_together(tx):
        _copy_rows(tx, table, tuple(rows[0]), rows)
    elif rows:
        _run(tx, _compiled_insert(tx.dialect, table, tuple(rows[0])), rows)


def _is_sending_together(tx: Connection) -> bool:
    """A stream of rows needs the line for itself."""
    line: Any = tx.connection.driver_connection
    return bool(line.pgconn.pipeline_status != psycopg.pq.PipelineStatus.OFF)


def insert_missing(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows; one that meets an existing row of any unique index is left out. Returns how many were inserted."""
    return _run(tx, _compiled_missing(tx.dialect, table, tuple(rows[0])), rows) if rows else 0


def upsert_rows(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, keep: Collection[str] = ()) -> None:
    """Insert rows, or replace the non-key columns of those whose primary key is there; `keep` columns stay as they are."""
    if not rows:
        return
    statement = dialect_insert(tx, table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys and name not in keep}
    tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def update_rows(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...]) -> None:
    """Set `columns` of rows found by their primary key."""
    if rows:
        names = (*(column.name for column in table.primary_key), *columns)
        _run(
            tx,
            _compiled_update(tx.dialect, table, columns),
            [{f"b_{name}": row[name] for name in names} for row in rows],
        )


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
    return [dict(zip(names, row, strict=True)) for row in result.all()]


def chunks(values: Sequence[Any], size: int = _CHUNK) -> Iterator[Sequence[Any]]:
    """Pieces that stay under the parameter limits of both databases."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def dialect_insert(tx: Connection, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT, in the dialect of this transaction."""
    return sqlite.insert(table) if tx.dialect.name == "sqlite" else postgresql.insert(table)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as text for the driver; `pick` brings a row's values in the order of its marks, None where they are named."""

    text: str
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...]] | None


def _run(tx: Connection, statement: _Compiled, rows: Sequence[Mapping[str, Any]]) -> int:
    pick = statement.pick
    values: Any = [dict(row) for row in rows] if pick is None else [pick(row) for row in rows]
    # One row is an ordinary statement: many are sent as a pipeline, which has its price.
    if len(values) == 1:
        values = values[0]
    return tx.exec_driver_sql(statement.text, values).rowcount


def _copy_rows(tx: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> None:
    """COPY, which keeps every constraint as INSERT does; the driver's errors are told as those of any other statement."""
    text, pick = _copy_text(tx.dialect, table, names), itemgetter(*names)
    connection: Any = tx.connection.driver_connection
    try:
        with connection.cursor() as cursor, cursor.copy(text) as copy:
            for row in rows:
                copy.write_row(pick(row))
    except psycopg.Error as error:
        raise DBAPIError.instance(text, None, error, psycopg.Error, hide_parameters=True, dialect=tx.dialect) from error


@lru_cache(maxsize=256)
def _copy_text(dialect: Dialect, table: Table, names: tuple[str, ...]) -> str:
    quoted = dialect.identifier_preparer
    columns = ", ".join([quoted.format_column(table.c[name]) for name in names])
    return f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN"


@lru_cache(maxsize=1024)
def _compiled_insert(dialect: Dialect, table: Table, names: tuple[str, ...]) -> _Compiled:
    return _compiled(insert(table).compile(dialect=dialect, column_keys=names))


@lru_cache(maxsize=1024)
def _compiled_missing(dialect: Dialect, table: Table, names: tuple[str, ...]) -> _Compiled:
    statement = sqlite.insert(table) if dialect.name == "sqlite" else postgresql.insert(table)
    return _compiled(statement.on_conflict_do_nothing().compile(dialect=dialect, column_keys=names))


@lru_cache(maxsize=1024)
def _compiled_update(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> _Compiled:
    statement = update(table).values({name: bindparam(f"b_{name}") for name in columns})
    for key in table.primary_key:
        statement = statement.where(key == bindparam(f"b_{key.name}"))
    return _compiled(statement.compile(dialect=dialect))


def _compiled(statement: Compiled) -> _Compiled:
    marks = statement.positiontup if isinstance(statement, SQLCompiler) and statement.positional else None
    if marks is None:
        return _Compiled(str(statement), None)
    if len(marks) == 1:
        (name,) = marks
        return _Compiled(str(statement), lambda row: (row[name],))
    return _Compiled(str(statement), itemgetter(*marks))
