"""Rows come back as they were given, few or many, and a fault among many is told as a fault of one."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from storage import tables as t
from storage.rows import Row, insert_missing, insert_rows, insert_tuples, rows_of, update_rows
from storage.stock import level_row

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


@pytest.mark.parametrize("count", [1, 2, 16, 17, 700])
def test_changed_rows_are_changed_as_they_were_given_and_no_others(store: Store, count: int) -> None:
    rows = exceptions_of(store, count + 5)
    with store.write() as tx:
        insert_rows(tx, t.exceptions, rows)
    columns = ("state", "detail", "snoozed_until", "order_id", "resolution")
    fresh: list[Row] = [
        {"state": "snoozed", "detail": b"\\x00'" * (place % 2), "order_id": None, "assignee": "not asked for"}
        | {"snoozed_until": NOW + place if place % 3 else None, "resolution": TEXTS[-1 - place % len(TEXTS)]}
        | {"id": row["id"]}
        for place, row in enumerate(rows[:count])
    ]
    with store.write() as tx:
        update_rows(tx, t.exceptions, fresh, columns)
    told = [row | {name: new[name] for name in columns} for row, new in zip(rows, fresh, strict=False)]
    assert stored(store) == [*told, *rows[count:]]


def test_truth_is_changed_as_truth(store: Store) -> None:
    blank: Row = {"on_hand": 1, "reserved": 0, "buffer": 0, "source_time": 0, "moved_at": 0, "updated_at": 0}
    rows: list[Row] = [blank | {"warehouse_id": 5, "sku": f"S{n}", "backorder": bool(n % 2)} for n in range(40)]
    with store.write() as tx:
        insert_rows(tx, t.stock, rows)
        update_rows(tx, t.stock, [row | {"backorder": not row["backorder"]} for row in rows], ("backorder",))
    with store.engine.connect() as tx:
        told = {row["sku"]: row["backorder"] for row in rows_of(tx, select(t.stock))}
    assert told == {f"S{n}": not n % 2 for n in range(40)}


@pytest.mark.parametrize("count", COUNTS)
def test_only_missing_rows_are_counted(store: Store, count: int) -> None:
    rows = exceptions_of(store, count)
    with store.write() as tx:
        assert insert_missing(tx, t.exceptions, rows[::2]) == len(rows[::2])
        assert insert_missing(tx, t.exceptions, rows) == len(rows[1::2])
    assert stored(store) == rows


@pytest.mark.parametrize("count", COUNTS)
def test_tuples_are_rows_in_the_order_of_the_table(store: Store, count: int) -> None:
    rows = exceptions_of(store, count)
    names = tuple(column.name for column in t.exceptions.c)
    with store.write() as tx:
        insert_tuples(tx, t.exceptions, names, [tuple(row[name] for name in names) for row in rows])
    assert stored(store) == rows
    with pytest.raises(ValueError, match="order of the table"), store.write() as tx:
        insert_tuples(tx, t.exceptions, names[::-1], [tuple(rows[0][name] for name in names[::-1])])


def test_a_stock_row_has_the_names_of_its_table_in_their_order() -> None:
    names = [column.name for column in t.stock.c]
    assert list(level_row((1, "A", 2, 3, 4, True, 5, 6, 7)).items()) == list(
        zip(names, (1, "A", 2, 3, 4, True, 5, 6, 7), strict=True)
    )
