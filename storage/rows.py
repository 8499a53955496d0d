"""Bulk statements for any table: one prepared statement per call, however many rows. The caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

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
    "update_rows",
    "upsert_rows",
]
Row = dict[str, Any]
_CHUNK = 500


def insert_rows(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns. Values go to the driver as they are: naming and converting every value of
    every row, as the statement compiler does, costs more than the insert itself."""
    if rows:
        names = tuple(rows[0])
        tx.exec_driver_sql(_insert_sql(tx.dialect.name, table, names), list(map(_picked(names), rows)))


def insert_missing(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; one that meets an existing row of any unique index is left out."""
    if rows:
        tx.execute(dialect_insert(tx, table).on_conflict_do_nothing(), rows)


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
        names = (*columns, *(column.name for column in table.primary_key))
        tx.exec_driver_sql(_update_sql(tx.dialect.name, table, columns), list(map(_picked(names), rows)))


def load_rows(
    tx: Connection, table: Table, column: Column[Any], values: Iterable[Any], *, lock: bool = False
) -> Iterator[Row]:
    """Every row whose `column` is one of `values`, in primary-key order within a chunk; with `lock` nobody else changes
    them until this transaction ends."""
    statement = select(table).order_by(*table.primary_key)
    for chunk in chunks(sorted(set(values))):
        query = statement.where(column.in_(chunk))
        yield from rows_of(tx, query.with_for_update() if lock else query)


def delete_rows(tx: Connection, table: Table, column: Column[Any], values: Iterable[Any]) -> None:
    for chunk in chunks(sorted(set(values))):
        tx.execute(delete(table).where(column.in_(chunk)))


def rows_of(tx: Connection, query: Any) -> list[Row]:
    """The rows of a query as plain dictionaries."""
    return [dict(row) for row in tx.execute(query).mappings().all()]


def chunks(values: Sequence[Any], size: int = _CHUNK) -> Iterator[Sequence[Any]]:
    """Pieces that stay under the parameter limits of both databases."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def dialect_insert(tx: Connection, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT, in the dialect of this transaction."""
    return sqlite.insert(table) if tx.dialect.name == "sqlite" else postgresql.insert(table)


@cache
def _picked(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) == 1:
        return lambda row: (row[names[0]],)
    return itemgetter(*names)


@cache
def _insert_sql(dialect: str, table: Table, names: tuple[str, ...]) -> str:
    unknown = [name for name in names if name not in table.c]
    if unknown:
        raise KeyError(f"{table.name} has no column {unknown[0]}")
    marks = ", ".join([_mark(dialect)] * len(names))
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - names of our own tables


@cache
def _update_sql(dialect: str, table: Table, columns: tuple[str, ...]) -> str:
    mark = _mark(dialect)
    changed = ", ".join(f"{name} = {mark}" for name in columns)
    found = " AND ".join(f"{column.name} = {mark}" for column in table.primary_key)
    return f"UPDATE {table.name} SET {changed} WHERE {found}"  # noqa: S608 - names of our own tables


def _mark(dialect: str) -> str:
    return "?" if dialect == "sqlite" else "%s"
