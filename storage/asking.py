"""What every batch asks of the database, told to the driver as it is: the text of a question is put together once, its answer is
plain tuples. And asked ahead: what a transaction is going to ask is sent to PostgreSQL in one go, because each question and
answer of its own costs both sides more than finding a few rows does.

An answer that came ahead is given to the one question with the same text and values in the same transaction; whatever
was guessed wrong is asked as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import repeat
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, RootTransaction, Select, Update, exc, func, select
from sqlalchemy.sql.compiler import SQLCompiler

from .lines import change, converse
from .many import among, bind_values
from .rows import Row, Table, chunks, send_before

_HELD = "asked ahead"
Answer = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Question:
    """A select, or a change that returns columns, that was built once, and the values of its marks."""

    query: Select[Any] | Update
    values: Mapping[str, Any]


# PostgreSQL 18, plancache.c: a prepared statement is planned anew each time while plans for the values at hand look cheaper, and
# lists of unknown length never do. Finding rows by keys has one good plan, and planning takes longer than finding a few.
_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
}
_BY_INDEX = Question(select(*(func.set_config(name, value, True) for name, value in _PLANS.items())), {})


@dataclass(slots=True)
class _Held:
    """Answers that came ahead, of one transaction."""

    owner: RootTransaction | None
    answers: list[tuple[Question, Answer]]


def ask(tx: Connection, question: Question) -> Answer:
    """The answer's rows as tuples, values as SQLAlchemy reads them."""
    held = tx.info.get(_HELD)
    if held is not None and held.owner is tx.get_transaction():
        for place, (known, answer) in enumerate(held.answers):
            if known.query is question.query and known.values == question.values:
                del held.answers[place]
                return list(answer)
    asked = _asked(tx.dialect, question.query)
    line: Any = tx.connection.driver_connection
    try:
        if tx.dialect.name == "sqlite":
            found: Answer = line.execute(asked.text, asked.bind(question.values)).fetchall()
        else:
            send_before(tx)
            (found,) = converse(tx, [(asked.text, asked.bind(question.values))])
    except tx.dialect.loaded_dbapi.Error as error:
        raise _told(tx, error) from error
    return asked.read(found)


def ask_rows(tx: Connection, question: Question) -> list[Row]:
    """The same as dictionaries by the names of columns."""
    names = _asked(tx.dialect, question.query).names
    return [*map(dict, map(zip, repeat(names), ask(tx, question)))]


def ask_by(
    tx: Connection,
    table: Table,
    names: tuple[str, ...],
    column: str,
    values: Iterable[int | str],
    *,
    lock: bool = False,
) -> list[Row]:
    """These columns of every row whose `column` is one of `values`, in primary-key order within a chunk; with `lock` nobody
    else changes the rows until this transaction ends."""
    return [row for asked in about_by(tx, table, names, column, values, lock=lock) for row in ask_rows(tx, asked)]


def about_by(
    tx: Connection,
    table: Table,
    names: tuple[str, ...],
    column: str,
    values: Iterable[int | str],
    *,
    lock: bool = False,
) -> list[Question]:
    """What `ask_by` asks."""
    query = _found_by(tx.dialect.name, table, names, column, lock)
    return [Question(query, bind_values(tx, chunk)) for chunk in chunks(sorted(set(values)))]


@lru_cache(maxsize=256)
def _found_by(dialect: str, table: Table, names: tuple[str, ...], column: str, lock: bool) -> Select[Any]:
    found = (
        select(*[table.c[name] for name in names]).where(among(dialect, table.c[column])).order_by(*table.primary_key)
    )
    return found.with_for_update() if lock else found


def tell(tx: Connection, statement: Update | Delete, values: Mapping[str, Any]) -> int:
    """A change that was built once, with the values of its marks; how many rows it changed."""
    told = _asked(tx.dialect, statement)
    bound = told.bind(values)
    if tx.dialect.name == "sqlite":
        return tx.exec_driver_sql(told.text, bound if told.places is None else tuple(bound)).rowcount
    send_before(tx)
    try:
        return change(tx, [(told.text, bound)])
    except tx.dialect.loaded_dbapi.Error as error:
        raise _told(tx, error) from error


def ask_ahead(tx: Connection, questions: Sequence[Question]) -> None:
    """Send these questions now, in this order, and keep the answers for whoever asks. SQLite has nothing to gain."""
    if tx.dialect.name == "sqlite" or not questions:
        return
    questions = [_BY_INDEX, *questions]
    asked = [_asked(tx.dialect, question.query) for question in questions]
    try:
        found = converse(
            tx, [(each.text, each.bind(question.values)) for each, question in zip(asked, questions, strict=True)]
        )
    except tx.dialect.loaded_dbapi.Error as error:
        raise _told(tx, error) from error
    answers = [(question, each.read(answer)) for question, each, answer in zip(questions, asked, found, strict=True)]
    owner = tx.get_transaction()
    held = tx.info.get(_HELD)
    if held is not None and held.owner is owner:
        held.answers += answers
    else:
        tx.info[_HELD] = _Held(owner, answers)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as text for the driver. `places` are the marks in their order where they have no names; `constants` those that
    nobody binds; `readers` make of a column's values what SQLAlchemy makes of them."""

    text: str
    names: tuple[str, ...]
    places: tuple[str, ...] | None
    constants: Mapping[str, Any]
    readers: tuple[tuple[int, Callable[[Any], Any]], ...]

    def bind(self, values: Mapping[str, Any]) -> Any:
        told = {**self.constants, **values} if self.constants else values
        return told if self.places is None else [told[name] for name in self.places]

    def read(self, found: Answer) -> Answer:
        if not self.readers or not found:
            return found
        columns: list[Iterable[Any]] = [*zip(*found, strict=True)]
        for place, reader in self.readers:
            columns[place] = map(reader, columns[place])
        return [*zip(*columns, strict=True)]


@cache
def _asked(dialect: Dialect, query: Select[Any] | Update | Delete) -> _Asked:
    compiled = query.compile(dialect=dialect)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("a question is a select, what is told a change")
    columns: Any = query.selected_columns if isinstance(query, Select) else query.exported_columns
    readers = []
    for place, column in enumerate(columns):
        reader = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if reader is not None:
            readers.append((place, reader))
    places = compiled.positiontup if compiled.positional else None
    return _Asked(
        text=str(compiled),
        names=tuple(columns.keys()),
        places=None if places is None else tuple(places),
        constants={name: value for name, value in compiled.params.items() if value is not None},
        readers=tuple(readers),
    )


def _told(tx: Connection, error: Exception) -> BaseException:
    """The driver's error as SQLAlchemy tells it."""
    line: Any = tx.connection.driver_connection
    lost = tx.dialect.is_disconnect(error, line, None)  # type: ignore[arg-type]
    if lost:
        tx.invalidate(error)
    errors: type[Exception] = tx.dialect.loaded_dbapi.Error
    return exc.DBAPIError.instance(
        None, None, error, errors, hide_parameters=True, connection_invalidated=lost, dialect=tx.dialect
    )
