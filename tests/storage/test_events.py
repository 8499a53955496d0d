"""The log of an order is a chain: an edit, a removal, a reorder and a cut tail all show (P20)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from sqlalchemy import update

from storage import tables as t
from storage.events import GENESIS, broken_link, link, load_events, verify_order
from storage.rows import Row, insert_rows

from .conftest import NOW, Store

ORDER = 77


def chain(length: int) -> tuple[list[Row], bytes]:
    rows, previous = [], GENESIS
    for seq in range(1, length + 1):
        told: Row = {"order_id": ORDER, "seq": seq, "at": NOW + seq, "actor": "hub", "kind": f"k{seq}", "detail": "{}"}
        previous = link(previous, ORDER, seq, told["at"], told["actor"], told["kind"], told["detail"])
        rows.append(told | {"hash": previous})
    return rows, previous


def stored(store: Store, length: int) -> None:
    rows, head = chain(length)
    order: Row = {c.name: 0 for c in t.orders.c}
    texts = ("number", "external_id", "source_status", "payment", "currency", "version", "country", "region")
    order |= dict.fromkeys(texts, "x") | dict.fromkeys(("partner_id", "paid_at", "cancelled_at"))
    order |= dict.fromkeys(("buyer_hash", "phone_hash", "tail_hash", "merge_hash")) | {"blocked": False}
    order |= {"id": ORDER, "status": "pending_shipment", "verdicts": "{}", "tags": "[]", "private": b""}
    with store.write() as tx:
        insert_rows(tx, t.orders, [order | {"event_seq": length, "event_hash": head}])
        insert_rows(tx, t.events, rows)


def test_a_chain_that_nobody_touched_verifies(store: Store) -> None:
    stored(store, 5)
    with store.write() as tx:
        assert verify_order(tx, ORDER) is None
        assert [row["seq"] for row in load_events(tx, ORDER)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("column", ["at", "actor", "kind", "detail", "hash"])
def test_an_edited_entry_shows(store: Store, column: str) -> None:
    stored(store, 5)
    value: Any = {"at": 1, "hash": b"\x00" * 32}.get(column, "forged")
    with store.write() as tx:
        tx.execute(update(t.events).where(t.events.c.seq == 3).values({column: value}))
        assert verify_order(tx, ORDER) == 3


@pytest.mark.parametrize("seq", [1, 3, 5])
def test_a_removed_entry_and_a_cut_tail_show(store: Store, seq: int) -> None:
    stored(store, 5)
    with store.write() as tx:
        tx.execute(t.events.delete().where(t.events.c.seq == seq))
        assert verify_order(tx, ORDER) == seq


def test_two_entries_in_each_others_place_show(store: Store) -> None:
    stored(store, 5)
    with store.write() as tx:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            tx.execute(update(t.events).where(t.events.c.seq == old).values(seq=new))
        assert verify_order(tx, ORDER) == 2


def test_an_added_entry_and_a_whole_log_removed_show(store: Store) -> None:
    stored(store, 2)
    with store.write() as tx:
        rows, head = chain(3)
        insert_rows(tx, t.events, rows[2:])
        assert verify_order(tx, ORDER) is not None
        tx.execute(t.events.delete())
        assert verify_order(tx, ORDER) == 1
        assert head


def test_a_thousand_random_tampers_are_a_thousand_findings() -> None:
    random = Random(7)
    rows, head = chain(12)
    found = 0
    for _ in range(1000):
        spoilt = [dict(row) for row in rows]
        at = random.randrange(len(spoilt))
        how = random.choice(["edit", "drop", "swap", "cut", "double"])
        if how == "edit":
            column = random.choice(["at", "actor", "kind", "detail"])
            spoilt[at][column] = spoilt[at][column] + (1 if column == "at" else random.choice("abc|{}"))
        elif how == "drop":
            del spoilt[at]
        elif how == "cut":
            del spoilt[at:]
        elif how == "double":
            spoilt.insert(at, dict(spoilt[at]))
        else:
            other = (at + 1 + random.randrange(len(spoilt) - 1)) % len(spoilt)
            spoilt[at], spoilt[other] = spoilt[other], spoilt[at]
        found += broken_link(spoilt, ORDER, 12, head) is not None
    assert found == 1000


def test_words_cannot_be_moved_from_one_field_into_the_next() -> None:
    assert link(GENESIS, 1, 1, 1, "ab", "c", "") != link(GENESIS, 1, 1, 1, "a", "bc", "")
    assert link(GENESIS, 1, 1, 1, "a", "b", "c") != link(GENESIS, 1, 1, 1, "a", "bc", "")
