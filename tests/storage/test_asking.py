"""Questions told to the driver as they are: the answers are SQLAlchemy's, and one that came ahead is told once, to the transaction
that asked for it."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from storage import tables as t
from storage.asking import Question, ask, ask_ahead, ask_rows
from storage.goods import about_goods, load_goods_rows, put_goods_rows
from storage.idempotency import about_replies, load_replies, put_replies
from storage.locks import about_identities, lock_identities
from storage.rows import insert_rows
from storage.stock import about_stock, lock_stock

from .conftest import NOW, Store

GOODS = {"title": "", "weight_grams": 1, "volume_ml": 1, "supplier": "", "classes": ["a"], "updated_at": NOW}
LEVEL = {"on_hand": 3, "reserved": 0, "buffer": 0, "source_time": 0, "moved_at": 0, "updated_at": NOW}
PLACES = [(7, "s", "k'1"), (7, "s", "k2"), (8, "s", "")]


def furnish(store: Store) -> None:
    warehouse = {"name": "w", "kind": "k", "settings": b"", "info": "{}", "enabled": True, "state": "active"}
    rest = {"state_reason": "", "stock_due_at": 0, "created_at": NOW, "updated_at": NOW}
    reply = {"body_hash": b"\x00\xff", "status": 201, "reply": b"\x80", "created_at": NOW, "expires_at": NOW}
    with store.write() as tx:
        insert_rows(tx, t.warehouses, [warehouse | rest | {"id": 1}])
        insert_rows(tx, t.stock, [LEVEL | {"warehouse_id": 1, "sku": sku, "backorder": sku == "A"} for sku in "AB"])
        put_goods_rows(tx, [GOODS | {"sku": sku} for sku in "AB"])
        put_replies(tx, [reply | {"partner_id": 7, "scope": "s", "key": key} for key in ("k'1", "k2", "k3")])


def told(tx: Connection, question: Question) -> list[tuple[object, ...]]:
    return [tuple(row) for row in tx.execute(question.query, dict(question.values)).all()]


def test_an_answer_is_what_sqlalchemy_would_tell(store: Store) -> None:
    furnish(store)
    with store.write() as tx:
        asked = [*about_stock(tx, "AB"), *about_goods(tx, "ABC"), *about_replies(tx, PLACES)]
        for question in asked:
            answer = ask(tx, question)
            assert answer == told(tx, question)
            assert [[type(value) for value in row] for row in answer] == [
                [type(value) for value in row] for row in told(tx, question)
            ]
        assert sorted(row["key"] for row in load_replies(tx, PLACES)) == ["k'1", "k2"]
        assert [row["backorder"] for row in ask_rows(tx, about_stock(tx, "AB")[0])] == [True, False]


def test_what_came_ahead_is_told_once_and_then_asked(pg_store: Store) -> None:
    furnish(pg_store)
    with pg_store.write() as tx:
        ask_ahead(tx, [*about_goods(tx, "AB"), *about_stock(tx, "A")])
        tx.execute(t.goods.update().values(title="new"))
        assert {row["title"] for row in load_goods_rows(tx, "AB").values()} == {""}
        assert {row["title"] for row in load_goods_rows(tx, "AB").values()} == {"new"}
        assert {key[1] for key in lock_stock(tx, "AB")} == {"A", "B"}, "another question than the one asked ahead"


def test_no_other_transaction_hears_what_was_asked_ahead(pg_store: Store) -> None:
    furnish(pg_store)
    with pg_store.write() as tx:
        ask_ahead(tx, about_goods(tx, "A"))
        line = tx.connection.driver_connection
    with pg_store.write() as tx:
        assert tx.connection.driver_connection is line
        tx.execute(t.goods.update().values(title="new"))
        assert load_goods_rows(tx, "A")["A"]["title"] == "new"
        assert tx.execute(text("show plan_cache_mode")).scalar() == "auto"


def test_questions_ahead_are_asked_in_their_order(pg_store: Store) -> None:
    """Whatever comes after a lock sees what its last holder wrote."""
    furnish(pg_store)
    keys = [(7, "PO-1")]
    with pg_store.write() as tx:
        ask_ahead(tx, [*about_identities(tx, keys), *about_goods(tx, "A")])
        lock_identities(tx, keys)
        held = select(func.count()).select_from(text("pg_locks where locktype = 'advisory'"))
        assert tx.execute(held).scalar_one() == 1


def test_a_question_that_fails_is_told_as_sqlalchemy_tells_it(store: Store) -> None:
    nowhere = Question(select(text("1")).select_from(text("nowhere")), {})
    with pytest.raises(DBAPIError), store.write() as tx:
        ask(tx, nowhere)
    with store.write() as tx:
        assert load_goods_rows(tx, "A") == {}


@pytest.mark.parametrize("ahead", [False, True])
def test_a_line_that_breaks_is_known_to_be_lost(pg_store: Store, ahead: bool) -> None:
    def break_and_ask(tx: Connection) -> None:
        number = tx.execute(text("select pg_backend_pid()")).scalar_one()
        with pg_store.engine.connect() as other:
            other.execute(text("select pg_terminate_backend(:number, 5000)"), {"number": number})
        if ahead:
            ask_ahead(tx, about_goods(tx, "A"))
        else:
            load_goods_rows(tx, "A")

    with pytest.raises(DBAPIError) as raised, pg_store.write() as tx:
        break_and_ask(tx)
    assert raised.value.connection_invalidated
    with pg_store.write() as tx:
        assert load_goods_rows(tx, "A") == {}
