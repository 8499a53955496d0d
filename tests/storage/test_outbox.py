"""Claims: one holder at a time, a lease that runs out, a token that tells the late from the living."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from storage import tables as t
from storage.outbox import claim_outbox, next_due, still_claimed
from storage.rows import Row, insert_rows

from .conftest import NOW, Store

LEASE = 60_000_000


def fill(store: Store, count: int, **given: Any) -> list[int]:
    ids = store.ids(count)
    blank: Row = dict.fromkeys(("fulfilment_id", "package_id", "reply"), None) | {"outcome": ""}
    numbers: Row = dict.fromkeys(("attempts", "looks", "token", "created_at", "updated_at", "order_id"), 0)
    told: Row = {"kind": "push", "target_kind": "warehouse", "target_id": 1, "state": "due", "due_at": NOW, **given}
    with store.write() as tx:
        insert_rows(tx, t.outbox, [blank | numbers | told | {"id": row_id, "key": f"push:{row_id}"} for row_id in ids])
    return ids


def take(store: Store, now: int = NOW, limit: int = 100, token: int = 7, targets: tuple[int, ...] = ()) -> list[Row]:
    with store.write() as tx:
        return claim_outbox(tx, now=now, lease=LEASE, token=token, limit=limit, targets=targets)


def test_claims_of_two_workers_never_overlap(store: Store) -> None:
    ids = fill(store, 60)
    gate = Barrier(3)

    def work(token: int) -> list[int]:
        gate.wait()
        return [row["id"] for _ in range(6) for row in take(store, limit=7, token=token)]

    with ThreadPoolExecutor(3) as pool:
        claimed = [row_id for part in pool.map(work, (1, 2, 3)) for row_id in part]
    claimed += [row["id"] for row in take(store)]
    assert sorted(claimed) == sorted(ids)


def test_what_another_worker_holds_is_skipped_and_not_waited_for(pg_store: Store) -> None:
    ids = fill(pg_store, 4)
    with pg_store.write() as first, pg_store.write() as second:
        mine = claim_outbox(first, now=NOW, lease=LEASE, token=1, limit=2)
        yours = claim_outbox(second, now=NOW, lease=LEASE, token=2, limit=4)
        assert sorted(row["id"] for row in [*mine, *yours]) == ids
        assert not {row["id"] for row in mine} & {row["id"] for row in yours}


def test_a_claim_ends_with_its_lease_and_tells_what_it_was(store: Store) -> None:
    (row_id,) = fill(store, 1)
    (row,) = take(store)
    assert (row["was"], row["attempts"], row["due_at"]) == ("due", 1, NOW + LEASE)
    assert take(store, NOW + LEASE - 1) == []
    (again,) = take(store, NOW + LEASE, token=8)
    assert (again["id"], again["was"], again["attempts"]) == (row_id, "sending", 2)
    with store.write() as tx:
        assert still_claimed(tx, [(row_id, 7)]) == set()
        assert still_claimed(tx, [(row_id, 8), (row_id + 1, 8)]) == {row_id}


@pytest.mark.parametrize("state", ["waiting", "done", "refused", "parked", "withdrawn"])
def test_what_does_not_wait_for_a_sender_is_never_claimed(store: Store, state: str) -> None:
    fill(store, 1, state=state)
    assert take(store) == []
    with store.write() as tx:
        assert next_due(tx) is None


def test_nothing_is_claimed_before_its_time_and_the_oldest_comes_first(store: Store) -> None:
    late = fill(store, 1, due_at=NOW + 10)
    early = fill(store, 1, due_at=NOW - 10)
    with store.write() as tx:
        assert next_due(tx) == NOW - 10
    assert [row["id"] for row in take(store)] == early
    assert [row["id"] for row in take(store, NOW + 10)] == late


def test_a_target_that_is_left_alone_does_not_hold_up_the_others(store: Store) -> None:
    fill(store, 5, target_id=1)
    others = fill(store, 2, target_id=2)
    assert [row["id"] for row in take(store, limit=2, targets=(1,))] == others


def test_one_effect_has_one_row(store: Store) -> None:
    (row_id,) = fill(store, 1)
    with store.write() as tx:
        row = dict(tx.execute(t.outbox.select().where(t.outbox.c.id == row_id)).mappings().one())
    with pytest.raises(IntegrityError), store.write() as tx:
        insert_rows(tx, t.outbox, [row | {"id": row_id + 1}])
