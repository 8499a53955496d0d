"""Statements as text for the driver, put together once: naming and converting every value of every row, as the statement
compiler does, costs more than writing the row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, cast

from sqlalchemy import Dialect, Table, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.compiler import Compiled, SQLCompiler

_Pick = Callable[[Mapping[str, Any]], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Statement:
    """`names` are the columns of its marks in their order; `pick` brings a row's values in it."""

    text: str
    names: tuple[str, ...]
    pick: _Pick


@lru_cache(maxsize=1024)
def insert_of(dialect: Dialect, table: Table, names: tuple[str, ...]) -> Statement:
    """An INSERT of one row of these columns. On SQLite a row that fails leaves what its statement has written before it, as
    with a statement for each: the caller's transaction ends anyway, and no copy of every touched page is kept for it."""
    statement = insert(table)
    if dialect.name == "sqlite":
        statement = statement.prefix_with("OR FAIL")
    return _read(statement.compile(dialect=_by_place(dialect), column_keys=names))


@lru_cache(maxsize=1024)
def insert_missing_of(dialect: Dialect, table: Table, names: tuple[str, ...]) -> Statement:
    """The same, for a row that no unique index knows; any other is left out."""
    statement = sqlite.insert(table) if dialect.name == "sqlite" else postgresql.insert(table)
    return _read(statement.on_conflict_do_nothing().compile(dialect=_by_place(dialect), column_keys=names))


@lru_cache(maxsize=1024)
def insert_many_of(dialect: Dialect, table: Table, names: tuple[str, ...], *, missing: bool) -> Statement:
    """The same for several rows of PostgreSQL at once: each mark takes a list, the values of one column of all rows. `missing`: a
    row that a unique index knows is left out."""
    lists = [bindparam(f"b_{name}", type_=ARRAY(table.c[name].type)) for name in names]
    told = func.unnest(*lists).table_valued(*names).render_derived("told")
    rows = select(*[told.c[name] for name in names])
    statement = postgresql.insert(table).from_select(list(names), rows, include_defaults=False)
    read = _read((statement.on_conflict_do_nothing() if missing else statement).compile(dialect=_by_place(dialect)))
    marks = tuple([name.removeprefix("b_") for name in read.names])
    return Statement(read.text, marks, _picker(marks))


@lru_cache(maxsize=1024)
def widened(text: str, rows: int) -> str:
    """An INSERT of one row as one of so many."""
    head, values, marks_and_tail = text.partition(" VALUES (")
    marks, end, tail = marks_and_tail.partition(")")
    if not values or not end or set(marks) - set("?, "):
        raise ValueError("not an INSERT of one row by question marks")
    return f"{head}{values}{'), ('.join([marks] * rows)}){tail}"


@lru_cache(maxsize=1024)
def update_of(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> Statement:
    """An UPDATE of these columns of the row with this primary key."""
    statement = update(table).values({name: bindparam(f"b_{name}") for name in columns})
    for key in table.primary_key:
        statement = statement.where(key == bindparam(f"b_{key.name}"))
    read = _read(statement.compile(dialect=_by_place(dialect)))
    names = tuple([name.removeprefix("b_") for name in read.names])
    return Statement(read.text, names, _picker(names))


@lru_cache(maxsize=1024)
def update_many_of(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> Statement:
    """The same for many rows of PostgreSQL at once: each mark takes a list, the values of one column of all rows."""
    keys = [column.name for column in table.primary_key]
    names = (*keys, *columns)
    lists = [bindparam(f"b_{name}", type_=ARRAY(table.c[name].type)) for name in names]
    told = func.unnest(*lists).table_valued(*names).render_derived("told")
    statement = update(table).values({name: told.c[name] for name in columns})
    for name in keys:
        statement = statement.where(table.c[name] == told.c[name])
    read = _read(statement.compile(dialect=_by_place(dialect)))
    marks = tuple([name.removeprefix("b_") for name in read.names])
    return Statement(read.text, marks, _picker(marks))


@lru_cache(maxsize=1024)
def copy_of(dialect: Dialect, table: Table, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """COPY of these columns from the client, and their types, which it has to be told: values go as the server keeps them,
    and neither side writes numbers and bytes as text."""
    quoted = dialect.identifier_preparer
    columns = ", ".join([quoted.format_column(table.c[name]) for name in names])
    types = tuple([table.c[name].type.compile(dialect).lower() for name in names])
    return f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN (FORMAT BINARY)", types


@cache
def _by_place(dialect: Dialect) -> Dialect:
    """The dialect with marks that are known by their place."""
    made: Any = PGDialect_psycopg
    return dialect if dialect.name == "sqlite" else cast(Dialect, made(paramstyle="format"))


def _read(statement: Compiled) -> Statement:
    if not isinstance(statement, SQLCompiler) or statement.positiontup is None:
        raise TypeError("a statement of ours has its marks by place")
    names = tuple(statement.positiontup)
    return Statement(str(statement), names, _picker(names))


def _picker(names: tuple[str, ...]) -> _Pick:
    if len(names) == 1:
        (name,) = names
        return lambda row: (row[name],)
    return itemgetter(*names)
