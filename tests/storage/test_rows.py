"""Rows come back as they were given, few or many, and a fault among many is told as a fault of one."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from storage import tables as t
from storage.rows import Row, insert_rows, rows_of

from .conftest import NOW, Store

# What a stream of rows has signs of its own for, and what only looks like them.
TEXTS = ("", "\\N", "\\.", "a\tb\nc\r\\", "'\"`${}", "浙江省 🧧", "NULL", " x ")
COUNTS = (1, 31, 32, 700)


def exceptions_of(store: Store, count: int) -> list[Row]:
    blank: Row = dict.fromkeys(
        ("account_id", "partner_id", "inbox_id", "outbox_id", "snoozed_until", "resolved_at"), None
    )
    told: Row = {"code": "out_of_stock", "state": "open", "opened_at": NOW, "assignee": "", "resolved_by": ""}
    return [
        blank
        | told
        | {"id": row_id, "order_id": row_id if place % 2 else None, "subject": f"order:{row_id}"}
        | {"detail": bytes(range(256)) * (place % 3), "resolution": TEXTS[place % len(TEXTS)]}
        for place, row_id in enumerate(store.ids(count))
    ]


def stored(store: Store) -> list[Row]:
    with store.engine.connect() as tx:
        return rows_of(tx, select(t.exceptions).order_by(t.exceptions.c.id))


@pytest.mark.parametrize("count", COUNTS)
def test_rows_come_back_as_they_were_given(store: Store, count: int) -> None:
    rows = exceptions_of(store, count)
    with store.write() as tx:
        insert_rows(tx, t.exceptions, rows)
    assert stored(store) == sorted(rows, key=lambda row: int(row["id"]))


@pytest.mark.parametrize("count", COUNTS[1:])
def test_a_row_that_is_there_already_is_told_and_none_of_the_others_stays(store: Store, count: int) -> None:
    rows = exceptions_of(store, count)
    with pytest.raises(IntegrityError), store.write() as tx:
        insert_rows(tx, t.exceptions, [*rows, rows[0] | {"subject": "another"}])
    assert stored(store) == []


@pytest.mark.parametrize("count", COUNTS[1:])
def test_a_state_that_is_none_is_told(store: Store, count: int) -> None:
    rows = exceptions_of(store, count)
    rows[-1]["state"] = "lost"
    with pytest.raises(IntegrityError), store.write() as tx:
        insert_rows(tx, t.exceptions, rows)
    assert stored(store) == []


@pytest.mark.parametrize("count", COUNTS[1:])
def test_a_text_that_no_database_keeps_is_told(pg_store: Store, count: int) -> None:
    rows = exceptions_of(pg_store, count)
    rows[-1]["resolution"] = "a\x00b"
    with pytest.raises(DBAPIError), pg_store.write() as tx:
        insert_rows(tx, t.exceptions, rows)
    assert stored(pg_store) == []


def _insert_unconnected(store: Store, rows: list[Row]) -> None:
    with store.write() as tx:
        pid = tx.execute(text("select pg_backend_pid()")).scalar_one()
        with store.engine.connect() as other:
            other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        insert_rows(tx, t.exceptions, rows)


@pytest.mark.parametrize("count", COUNTS[1:])
def test_a_lost_connection_is_told_and_the_next_transaction_has_another(pg_store: Store, count: int) -> None:
    rows = exceptions_of(pg_store, count)
    with pytest.raises(OperationalError):
        _insert_unconnected(pg_store, rows)
    with pg_store.write() as tx:
        insert_rows(tx, t.exceptions, rows)
    assert len(stored(pg_store)) == count


def test_an_error_shows_no_values(pg_store: Store) -> None:
    rows = exceptions_of(pg_store, 40)
    with pytest.raises(IntegrityError) as caught, pg_store.write() as tx:
        insert_rows(tx, t.exceptions, [*rows, rows[0]])
    assert caught.value.params is None
    assert caught.value.hide_parameters
    assert getattr(caught.value.orig, "sqlstate", "") == "23505"
