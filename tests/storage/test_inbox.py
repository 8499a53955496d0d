"""The inbox keeps every version once: by a unique index, not by a look-up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import DatabaseError

from storage import tables as t
from storage.inbox import (
    Arrival,
    claim_documents,
    due_documents,
    known_versions,
    load_documents,
    make_new,
    open_body,
    part_of,
    put_arrivals,
    seal_arrival,
    seal_arrivals,
    settle_documents,
    versions_of,
)
from storage.rows import rows_of

from .conftest import NOW, Store


def told(body: bytes, ident: str = "1", *, source: int = 1, kind: str = "order", version: str = "") -> Arrival:
    return Arrival(source_kind="account", source_id=source, kind=kind, external_id=ident, body=body, version=version)


def put(store: Store, *arrivals: Arrival, now: int = NOW) -> dict[int, int]:
    with store.write() as tx:
        return put_arrivals(tx, seal_arrivals(store.vault, store.ids, arrivals), now)


def bodies(store: Store, ident: str = "1") -> list[bytes]:
    with store.write() as tx:
        rows = rows_of(tx, select(t.inbox).where(t.inbox.c.external_id == ident).order_by(t.inbox.c.seq))
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        return [open_body(store.vault, row) for row in rows]


def test_identical_to_the_latest_is_dropped_and_an_older_one_that_comes_back_is_new(store: Store) -> None:
    assert len(put(store, told(b"a"))) == 1
    assert put(store, told(b"a")) == {}
    assert len(put(store, told(b"b"))) == 1
    assert len(put(store, told(b"a"))) == 1
    assert bodies(store) == [b"a", b"b", b"a"]


def test_of_two_versions_the_later_has_the_higher_id_however_early_it_was_sealed(store: Store) -> None:
    (early,) = seal_arrivals(store.vault, store.ids, [told(b"b")])
    put(store, told(b"a"))
    anew = partial(seal_arrival, store.vault, store.ids)
    with store.write() as tx:
        (made,) = make_new(tx, [early], NOW, anew).values()
        assert open_body(store.vault, made) == b"b"
        (stored,) = put_arrivals(tx, [early], NOW, anew).values()
    assert early.id < made["id"] < stored
    assert bodies(store) == [b"a", b"b"]
    with store.write() as tx:
        assert [row["id"] for row in versions_of(tx, "account", 1, "order", "1")][-1] == stored


def test_what_says_the_same_in_other_bytes_is_kept_as_it_came_first(store: Store) -> None:
    def answer(body: bytes, says: bytes) -> Arrival:
        return Arrival(source_kind="account", source_id=1, kind="order", external_id="1", body=body, says=says)

    assert len(put(store, answer(b"paid #1", b"paid"))) == 1
    assert put(store, answer(b"paid #2", b"paid")) == {}
    assert len(put(store, answer(b"sent #3", b"sent"))) == 1
    assert len(put(store, answer(b"paid #4", b"paid"))) == 1
    assert bodies(store) == [b"paid #1", b"sent #3", b"paid #4"]


def test_one_page_may_hold_the_same_document_several_times(store: Store) -> None:
    stored = put(store, told(b"a"), told(b"a"), told(b"b"), told(b"x", "2"), told(b"a"))
    assert sorted(stored) == [0, 2, 3, 4]
    assert bodies(store) == [b"a", b"b", b"a"]


def test_ids_that_differ_in_anything_are_different_documents(store: Store) -> None:
    idents = ["123", "000123", "123 ", "１２３", "abc", "ABC"]
    assert len(put(store, *(told(b"a", ident) for ident in idents))) == 6
    assert len(put(store, told(b"a", "123", source=2), told(b"a", "123", kind="after_sale"))) == 2


def test_a_document_without_an_id_is_never_stored(store: Store) -> None:
    with pytest.raises(DatabaseError):
        put(store, told(b"a", ""))


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pages=st.lists(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from([b"1", b"2"])), max_size=5), max_size=3)
)
def test_what_is_stored_is_every_change_and_nothing_else(store: Store, pages: list[list[tuple[str, bytes]]]) -> None:
    run = store.ids(1)[0]
    expected: dict[str, list[bytes]] = {}
    for page in pages:
        put(store, *(told(body, f"{run}-{ident}") for ident, body in page))
        for ident, body in page:
            kept = expected.setdefault(ident, [])
            if not kept or kept[-1] != body:
                kept.append(body)
    for ident, kept in expected.items():
        assert bodies(store, f"{run}-{ident}") == kept


def test_two_identical_deliveries_at_the_same_instant_make_one_row(store: Store) -> None:
    for n in range(20):
        gate = Barrier(2)

        def deliver(_: int, gate: Barrier = gate, n: int = n) -> int:
            with store.engine.connect() as tx:
                gate.wait()
                with tx.begin():
                    return len(put_arrivals(tx, seal_arrivals(store.vault, store.ids, [told(b"same", str(n))]), NOW))

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(deliver, range(2))) == [0, 1]
        assert bodies(store, str(n)) == [b"same"]


def test_an_identical_delivery_waits_for_one_that_is_not_committed_yet(pg_store: Store) -> None:
    """Both transactions have looked and seen nothing before either writes: the index decides."""
    with pg_store.engine.connect() as first, ThreadPoolExecutor(1) as pool:
        begun = first.begin()
        assert len(put_arrivals(first, seal_arrivals(pg_store.vault, pg_store.ids, [told(b"same")]), NOW)) == 1
        second = pool.submit(put, pg_store, told(b"same"))
        with pytest.raises(TimeoutError):
            second.result(timeout=0.2)
        begun.commit()
        assert second.result(timeout=10) == {}
    assert bodies(pg_store) == [b"same"]


def test_two_different_deliveries_at_the_same_instant_make_two_rows(store: Store) -> None:
    for n in range(5):
        gate = Barrier(2)

        def deliver(body: bytes, gate: Barrier = gate, n: int = n) -> int:
            gate.wait()
            return len(put(store, told(body, str(n))))

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(deliver, (b"a", b"b"))) == [1, 1]
        assert sorted(bodies(store, str(n))) == [b"a", b"b"]


def test_two_pages_with_the_same_documents_in_opposite_order_do_not_block_each_other(pg_store: Store) -> None:
    idents = [str(n) for n in range(40)]
    for round_ in range(5):
        gate = Barrier(2)

        def deliver(order: list[str], gate: Barrier = gate, round_: int = round_) -> int:
            gate.wait()
            return len(put(pg_store, *(told(b"%d" % round_, ident) for ident in order)))

        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(deliver, (idents, idents[::-1]))) == 40


def test_documents_are_claimed_oldest_first_and_nothing_overtakes_within_one(pg_store: Store) -> None:
    put(pg_store, told(b"1"))
    put(pg_store, told(b"2"), told(b"x", "2"))
    with pg_store.write() as first, pg_store.write() as second:
        ids = due_documents(first, 10)
        assert ids == sorted(ids)
        held = claim_documents(first, ids[:1])
        assert [row["seq"] for row in held] == [1]
        other = claim_documents(second, due_documents(second, 10))
        assert [row["external_id"] for row in other] == ["2"]
        settle_documents(first, [{"id": held[0]["id"], "state": "done", "order_id": None, "error": None}])
        first.commit()
    with pg_store.write() as tx:
        assert [(row["external_id"], row["seq"]) for row in claim_documents(tx, due_documents(tx, 10))] == [
            ("1", 2),
            ("2", 1),
        ]


def test_nothing_overtakes_either_when_the_rows_are_known_from_before(store: Store) -> None:
    put(store, told(b"1"))
    put(store, told(b"2"), told(b"x", "2"))
    with store.write() as tx:
        first, *later = due_documents(tx, 10)
        known = {row["id"]: row for row in load_documents(tx, [first, *later])}
        assert [row["external_id"] for row in claim_documents(tx, later, known)] == ["2"], "1 still waits elsewhere"
        claimed = claim_documents(tx, [first, *later], known)
        assert [(row["external_id"], row["seq"]) for row in claimed] == [("1", 1), ("1", 2), ("2", 1)]


def test_a_settled_document_is_not_claimed_again(store: Store) -> None:
    put(store, told(b"a"))
    with store.write() as tx:
        (row,) = claim_documents(tx, due_documents(tx, 10))
        settle_documents(tx, [{"id": row["id"], "state": "exception", "order_id": None, "error": "money"}])
    with store.write() as tx:
        assert due_documents(tx, 10) == []
        assert claim_documents(tx, [row["id"]]) == []


def test_the_latest_version_and_its_arrival_are_known(store: Store) -> None:
    put(store, told(b"a", version="2026-1"))
    put(store, told(b"b", version="2026-2"), now=NOW + 5)
    with store.write() as tx:
        assert known_versions(tx, 1, ["1", "nobody"]) == {"1": ("2026-2", NOW + 5)}
        assert [row["version"] for row in versions_of(tx, "account", 1, "order", "1")] == ["2026-1", "2026-2"]


def test_bodies_are_sealed_to_their_rows(store: Store) -> None:
    put(store, told(b"canary-consignee-13800138000", "1"), told(b"other", "2"))
    with store.write() as tx:
        first, second = rows_of(tx, select(t.inbox).order_by(t.inbox.c.id))
    assert b"canary" not in bytes(first["body"])
    with pytest.raises(Exception, match="vault_key"):
        open_body(store.vault, second | {"body": first["body"]})


def test_documents_of_one_second_are_one_part_and_those_of_many_are_in_all_parts(store: Store) -> None:
    ids = iter(range(4096 << 22, 4096 << 32, (1024 << 22) // 4))
    arrivals = [told(b"a", str(number)) for number in range(48)]
    with store.write() as tx:
        put_arrivals(tx, seal_arrivals(store.vault, lambda count: [next(ids) for _ in range(count)], arrivals), NOW)
        parts = [due_documents(tx, 100, (number, 4)) for number in range(4)]
        assert sorted(row_id for part in parts for row_id in part) == due_documents(tx, 100)
    assert all(part_of(row_id, 4) == number for number, part in enumerate(parts) for row_id in part)
    assert [len(part) for part in parts] == [12] * 4
    assert all(later - earlier < 1024 << 22 for earlier, later in pairwise(parts[0][:4])), "side by side"
