"""Statements sent together: the same rows as one by one, and the same errors."""

from __future__ import annotations

import pytest
from sqlalchemy import exc, select, text

from storage import tables as t
from storage.hints import put_hints
from storage.rows import insert_missing, insert_rows, rows_of, sent_together, upsert_rows

from .conftest import NOW, Store


def _hints(*names: str) -> list[dict[str, object]]:
    return [{"account_id": 1, "external_id": name, "due_at": NOW, "attempts": 0} for name in names]


def test_what_is_sent_together_is_there_when_it_ends(store: Store) -> None:
    with store.write() as tx:
        with sent_together(tx):
            insert_rows(tx, t.hints, _hints("A"))
            insert_rows(tx, t.hints, _hints("B", "C"))
            put_hints(tx, 1, ["A", "D"], due_at=NOW)
            upsert_rows(tx, t.hints, [row | {"attempts": 2} for row in _hints("B")])
        assert {(row["external_id"], row["attempts"]) for row in rows_of(tx, select(t.hints))} == {
            ("A", 0),
            ("B", 2),
            ("C", 0),
            ("D", 0),
        }


def test_many_rows_are_sent_together_too(store: Store) -> None:
    names = [f"H{number}" for number in range(100)]
    with store.write() as tx, sent_together(tx):
        insert_rows(tx, t.hints, _hints("A"))
        insert_rows(tx, t.hints, _hints(*names))
    with store.write() as tx:
        assert {row["external_id"] for row in rows_of(tx, select(t.hints))} == {"A", *names}


def test_a_row_that_is_there_fails_what_is_sent_together(store: Store) -> None:
    with store.write() as tx:
        insert_rows(tx, t.hints, _hints("A"))
    with pytest.raises(exc.IntegrityError):
        _insert_one_that_is_there(store)
    with store.write() as tx:
        assert [row["external_id"] for row in rows_of(tx, select(t.hints))] == ["A"]
        assert insert_missing(tx, t.hints, _hints("B")) == 1


def test_a_connection_that_is_lost_is_told_as_lost(pg_store: Store) -> None:
    with pytest.raises(exc.OperationalError):
        _insert_over_a_lost_connection(pg_store)
    with pg_store.write() as tx:
        insert_rows(tx, t.hints, _hints("A"))


def _insert_one_that_is_there(store: Store) -> None:
    with store.write() as tx, sent_together(tx):
        insert_rows(tx, t.hints, _hints("B"))
        insert_rows(tx, t.hints, _hints("A"))
        insert_rows(tx, t.hints, _hints("C", "D"))


def _insert_over_a_lost_connection(store: Store) -> None:
    with store.write() as tx:
        mine = tx.execute(text("select pg_backend_pid()")).scalar_one()
        with store.write() as other:
            other.execute(text("select pg_terminate_backend(:pid)"), {"pid": mine})
        with sent_together(tx):
            insert_rows(tx, t.hints, _hints("A"))
