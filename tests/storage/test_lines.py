"""Statements said to PostgreSQL in one go say what the same statements say one by one."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, select, text

from storage import inbox
from storage import tables as t
from storage.asking import ask_ahead
from storage.database import reading
from storage.lines import converse
from storage.rows import insert_rows, rows_of

from .conftest import NOW, Store

SIXTY_FOUR = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
VALUES = {
    "bigint": SIXTY_FOUR,
    "boolean": st.booleans(),
    "text": TEXTS,
    "bytea": st.binary(max_size=12),
    "bigint[]": st.lists(st.none() | SIXTY_FOUR, max_size=4),
    "boolean[]": st.lists(st.none() | st.booleans(), max_size=4),
    "text[]": st.lists(st.none() | TEXTS, max_size=4),
    "bytea[]": st.lists(st.none() | st.binary(max_size=4), max_size=4),
    "double precision": st.floats(allow_nan=False, allow_infinity=False),
}
ONE = st.sampled_from(sorted(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), st.none() | VALUES[kind]))


def said_alone(tx: Connection, kind: str, value: Any) -> Any:
    line: Any = tx.connection.driver_connection
    return line.execute(f"select %s::{kind}", [value]).fetchone()[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(ONE, min_size=1, max_size=6))
def test_every_value_arrives_as_it_does_alone(pg_store: Store, values: list[tuple[str, Any]]) -> None:
    with pg_store.write() as tx:
        answers = converse(tx, [(f"select %(v)s::{kind}, %(w)s::text, '%%'", {"w": "x", "v": v}) for kind, v in values])
        assert [answer[0] for answer in answers] == [(said_alone(tx, kind, v), "x", "%") for kind, v in values]


def test_the_first_that_fails_is_told_and_nothing_after_it_is_done(pg_store: Store) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), pg_store.write() as tx:
        converse(tx, [("select 1", []), ("select 1 / %s", [0]), ("select pg_notify('a', 'b')", [])])
    with pg_store.write() as tx:
        assert converse(tx, [("select 6 / %s", [2])]) == [[(3,)]]


def test_a_zero_byte_in_a_text_is_refused_and_not_cut_off(pg_store: Store) -> None:
    with pytest.raises(psycopg.DataError), pg_store.write() as tx:
        converse(tx, [("select %s::text", ["a\x00b"])])


def test_what_the_server_was_made_to_forget_is_prepared_anew(pg_store: Store) -> None:
    """psycopg has everything forgotten after a rollback, as soon as it has prepared something itself."""
    for turn in range(3):
        with pytest.raises(ZeroDivisionError):
            _prepare_and_roll_back(pg_store, turn)
    with pg_store.write() as tx:
        assert converse(tx, [("select %s::bigint", [4])]) == [[(4,)]]
        line: Any = tx.connection.driver_connection
        line.execute("deallocate all")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            converse(tx, [("select %s::bigint", [5])])
    with pg_store.write() as tx:
        assert converse(tx, [("select %s::bigint", [6])]) == [[(6,)]]


def _prepare_and_roll_back(store: Store, turn: int) -> None:
    with store.write() as tx:
        assert converse(tx, [("select %s::bigint", [turn])]) == [[(turn,)]]
        for _ in range(8):
            tx.execute(text("select 1"))
        raise ZeroDivisionError


def test_more_than_the_line_holds_at_once_is_said_and_heard(pg_store: Store) -> None:
    large = b"x" * 4_000_000
    with pg_store.write() as tx:
        said = [("select %s::bytea", [large])] * 8
        assert [len(answer[0][0]) for answer in converse(tx, said)] == [len(large)] * 8


def test_what_begins_with_it_is_one_transaction(pg_store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        _say_write_and_roll_back(pg_store)
    with pg_store.write() as tx:
        assert rows_of(tx, select(t.hints)) == []


def _say_write_and_roll_back(store: Store) -> None:
    insert = "insert into hints (account_id, external_id, due_at, attempts) values (%s, %s, %s, %s)"
    with store.write() as tx:
        converse(tx, [(insert, [2, "B", NOW, 0])])
        insert_rows(tx, t.hints, [{"account_id": 1, "external_id": "A", "due_at": NOW, "attempts": 0}])
        raise ZeroDivisionError


def test_reading_leaves_no_transaction_open_and_no_setting_behind(pg_store: Store) -> None:
    with reading(pg_store.engine).connect() as tx:
        line: Any = tx.connection.driver_connection
        ask_ahead(tx, [inbox.about_due(9)])
        assert line.pgconn.transaction_status == TransactionStatus.IDLE
        assert converse(tx, [("select current_setting('plan_cache_mode')", [])]) == [[("auto",)]]
    with pg_store.write() as tx:
        line = tx.connection.driver_connection
        ask_ahead(tx, [inbox.about_due(9)])
        assert line.pgconn.transaction_status == TransactionStatus.INTRANS
