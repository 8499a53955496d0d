"""Jobs that many workers share: once per tick, one holder at a time, no lane fuller than it may be."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

from storage.jobs import (
    Wanted,
    claim_jobs,
    end_job,
    give_back_jobs,
    hasten,
    keep_jobs,
    list_jobs,
    put_jobs,
    take_tick,
    wake_jobs,
)
from storage.rows import Row

from .conftest import NOW, Store

LEASE = 30_000_000
_tokens = count(1)
ALL = frozenset({"send", "absorb"})
SEND = Wanted("send:1", "send", 1, "", "warehouse:1", 2, 4)


def ask(store: Store, *wanted: Wanted, tick: int = NOW) -> None:
    with store.write() as tx:
        put_jobs(tx, dict.fromkeys(wanted, tick))


def take(store: Store, *, holder: str = "a", places: int = 9, now: int = NOW) -> list[Row]:
    with store.write() as tx:
        hasten(tx)
        tokens = [next(_tokens) for _ in range(places)]
        return claim_jobs(tx, holder=holder, room={ALL: places}, now=now, lease=LEASE, tokens=tokens)


def end(store: Store, row: Row, **told: object) -> bool:
    with store.write() as tx:
        return end_job(tx, row, now=NOW, **told)  # type: ignore[arg-type]


def keys(rows: Sequence[Row]) -> list[str]:
    return sorted(row["key"] for row in rows)


def test_a_tick_asked_for_by_two_schedulers_is_done_once(store: Store) -> None:
    ask(store, SEND)
    ask(store, SEND)
    (row,) = take(store)
    assert end(store, row)
    ask(store, SEND)
    ask(store, SEND, tick=NOW - 1)
    assert take(store) == []
    ask(store, SEND, tick=NOW + 1)
    assert keys(take(store)) == ["send:1"]


def test_a_tick_is_planned_by_one_of_many(pg_store: Store) -> None:
    gate = Barrier(4)

    def plan(_: int) -> list[bool]:
        gate.wait()
        won = []
        for tick in range(20):
            with pg_store.write() as tx:
                won.append(take_tick(tx, "plan", NOW + tick))
        return won

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(plan, range(4)))
    assert sum(map(sum, won)) <= 20
    assert any(each[-1] for each in won)
    assert not set(take(pg_store))


def test_what_is_asked_for_while_it_runs_runs_once_more(store: Store) -> None:
    ask(store, SEND)
    (row,) = take(store)
    with store.write() as tx:
        wake_jobs(tx, [SEND], NOW)
        wake_jobs(tx, [SEND], NOW)
    assert take(store) == []
    assert end(store, row)
    (again,) = take(store)
    assert end(store, again)
    assert take(store) == []


def test_a_dead_workers_job_is_anothers_and_its_late_end_counts_for_nothing(store: Store) -> None:
    ask(store, SEND)
    (late,) = take(store, holder="dead")
    assert take(store, now=NOW + LEASE - 1) == []
    (row,) = take(store, holder="b", now=NOW + LEASE)
    assert not end(store, late)
    with store.write() as tx:
        assert keep_jobs(tx, [late["token"], row["token"]], now=NOW + LEASE, lease=LEASE) == {row["token"]}
        (stored,) = list_jobs(tx)
    assert (stored["holder"], stored["runs"]) == ("b", 2)


def test_a_sign_of_life_prolongs_and_never_revives(store: Store) -> None:
    ask(store, SEND)
    (row,) = take(store)
    with store.write() as tx:
        assert keep_jobs(tx, [row["token"]], now=NOW + LEASE - 1, lease=LEASE)
        assert not keep_jobs(tx, [row["token"]], now=NOW + 3 * LEASE, lease=LEASE)


def test_a_lane_is_never_fuller_than_it_may_be(store: Store) -> None:
    shards = [Wanted(f"send:1:{n}", "send", 1, str(n), "warehouse:1", 2, 4) for n in range(3)]
    ask(store, *shards, Wanted("send:2", "send", 2, "", "warehouse:2", 2, 4), Wanted("absorb:0", "absorb"))
    taken = take(store, holder="a", places=9)
    assert keys(taken) == ["absorb:0", "send:1:0", "send:1:1", "send:2"]
    assert take(store, holder="b") == []
    assert end(store, next(row for row in taken if row["key"] == "send:1:0"))
    assert keys(take(store, holder="b")) == ["send:1:2"]


def test_many_claimers_together_fill_no_lane_beyond_its_limit(pg_store: Store) -> None:
    ask(pg_store, *(Wanted(f"send:1:{n:02}", "send", 1, str(n), "warehouse:1", 1, 3) for n in range(20)))
    gate = Barrier(6)

    def claim(number: int) -> list[str]:
        gate.wait()
        return keys(take(pg_store, holder=str(number), places=2))

    with ThreadPoolExecutor(6) as pool:
        taken = [key for part in pool.map(claim, range(6)) for key in part]
    assert len(taken) == len(set(taken)) == 3


def test_planners_claimers_and_wakers_never_wait_in_a_circle(pg_store: Store) -> None:
    wanted = [Wanted(f"send:{n}", "send", n) for n in range(12)]

    def worker(number: int) -> int:
        done = 0
        for tick in range(15):
            ask(pg_store, *wanted, tick=NOW + tick)
            rows = take(pg_store, holder=str(number), places=4)
            with pg_store.write() as tx:
                done += len(keep_jobs(tx, [row["token"] for row in rows], now=NOW, lease=LEASE))
            with pg_store.write() as tx:
                wake_jobs(tx, wanted[::-1], NOW)
            with pg_store.write() as tx:
                assert all(end_job(tx, row, now=NOW) for row in sorted(rows, key=lambda row: str(row["key"])))
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(worker, range(4)))


def test_a_job_that_failed_waits_and_counts(store: Store) -> None:
    ask(store, SEND)
    (row,) = take(store)
    assert end(store, row, error="connect_failed", again_at=NOW + 5)
    assert take(store, now=NOW + 4) == []
    (again,) = take(store, now=NOW + 5)
    assert (again["failures"], again["error"]) == (1, "connect_failed")


def test_what_is_given_back_is_due_at_once(store: Store) -> None:
    ask(store, SEND)
    (row,) = take(store)
    with store.write() as tx:
        give_back_jobs(tx, [row["token"]])
    assert keys(take(store, holder="b")) == ["send:1"]
