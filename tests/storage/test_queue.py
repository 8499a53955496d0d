"""Jobs that many workers share, through PgQueuer: once per tick, one holder at a time, no lane fuller than it may be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Event

from pgqueuer.models import Job
from pgqueuer.types import QueueManagerId
from sqlalchemy.exc import IntegrityError

from storage.claims import Claims, open_line
from storage.due import Wanted, hasten, take_tick
from storage.queue import forget_log, list_jobs, owner_of, pack, put_jobs, unpack

from .conftest import NOW, Store

SEND = Wanted("send:1", "send", "warehouse:1", 1, "", 2, 2)
LONG = timedelta(seconds=30)
SHORT = timedelta(seconds=0.2)


def ask(store: Store, *wanted: Wanted) -> None:
    with store.write() as tx:
        hasten(tx)
        put_jobs(tx, wanted)


@asynccontextmanager
async def worker(store: Store, name: str, lease: timedelta = LONG, places: int = 9) -> AsyncIterator[Claims]:
    async with open_line(store.engine) as line:
        yield Claims(
            line, owner=owner_of(name), lease=lease, counter=time.monotonic, choose=lambda lanes, _: lanes[:places]
        )


async def take(claims: Claims) -> list[Job]:
    return await claims.dequeue(1, {}, QueueManagerId(claims.owner), None, claims.lease)


async def end(claims: Claims, jobs: Sequence[Job]) -> None:
    await claims.log_jobs([(job, "successful", None) for job in jobs])


def keys(jobs: Sequence[Job]) -> list[str]:
    return sorted(unpack(job.payload)[0].key for job in jobs)


def test_one_that_waits_waits_for_all_who_asked(pg_store: Store) -> None:
    async def story() -> None:
        async with worker(pg_store, "a") as a:
            for _ in range(3):
                ask(pg_store, SEND, SEND)
            assert keys(await take(a)) == ["send:1"]
            assert await take(a) == []

    asyncio.run(story())


def test_what_is_asked_for_while_it_runs_runs_once_more(pg_store: Store) -> None:
    only = Wanted("absorb:0", "absorb", "absorb:0")

    async def story() -> None:
        async with worker(pg_store, "a") as a:
            ask(pg_store, only)
            first = await take(a)
            for _ in range(3):
                ask(pg_store, only)
            assert await take(a) == [], "its lane has room for one"
            await end(a, first)
            again = await take(a)
            assert keys(again) == ["absorb:0"]
            await end(a, again)
            assert await take(a) == []

    asyncio.run(story())


def test_news_that_one_look_answers_are_told_once(pg_store: Store) -> None:
    async def story() -> None:
        async with worker(pg_store, "a") as a, a.driver:
            assert await take(a) == []
            heard: list[object] = []
            await a.driver.add_listener("hub_queue", heard.append)
            a.driver.begin_look()
            for number in range(5):
                ask(pg_store, replace(SEND, key=f"send:{number}", lane=f"warehouse:{number}"))
            await asyncio.sleep(0.3)
            assert len(heard) == 1, "no look has begun since the first"
            assert len(await take(a)) == 5
            ask(pg_store, SEND)
            await asyncio.sleep(0.3)
            assert len(heard) == 2

    asyncio.run(story())


def test_who_got_all_there_was_looks_again_when_something_was_heard(pg_store: Store) -> None:
    async def story() -> None:
        async with worker(pg_store, "a") as a, a.driver:
            await a.driver.add_listener("hub_queue", lambda _: None)
            ask(pg_store, SEND)
            await asyncio.sleep(0.3)
            assert keys(await take(a)) == ["send:1"]
            with pg_store.write() as tx:
                tx.exec_driver_sql("ALTER TABLE queue.pgqueuer DISABLE TRIGGER tg_pgqueuer_changed")
                put_jobs(tx, [replace(SEND, key="send:2")])
                tx.exec_driver_sql("ALTER TABLE queue.pgqueuer ENABLE TRIGGER tg_pgqueuer_changed")
            assert await take(a) == [], "nothing was heard: the question right after a claim is not worth a look"
            assert keys(await take(a)) == ["send:2"], "any later one is"
            ask(pg_store, replace(SEND, key="send:3", lane="warehouse:3"))
            await asyncio.sleep(0.3)
            assert keys(await take(a)) == ["send:3"]

    asyncio.run(story())


def test_a_dead_workers_job_is_anothers_and_its_late_words_count_for_nothing(pg_store: Store) -> None:
    async def story() -> None:
        async with worker(pg_store, "dead", SHORT) as dead, worker(pg_store, "b", SHORT) as b:
            ask(pg_store, SEND)
            late = await take(dead)
            assert await take(b) == []
            assert dead.is_ours(late[0].id)
            await asyncio.sleep(0.25)
            assert not dead.is_ours(late[0].id)
            assert [job.id for job in await take(b)] == [late[0].id]
            await dead.update_heartbeat([late[0].id])
            assert not dead.is_ours(late[0].id)
            await end(dead, late)
            with pg_store.write() as tx:
                (row,) = list_jobs(tx)
            assert (row["owner"], row["wanted"]) == (b.owner, SEND)

    asyncio.run(story())


def test_signs_of_life_keep_a_job(pg_store: Store) -> None:
    async def story() -> None:
        async with worker(pg_store, "a", timedelta(seconds=1)) as a, worker(pg_store, "b", timedelta(seconds=1)) as b:
            ask(pg_store, SEND)
            (job,) = await take(a)
            for _ in range(4):
                await asyncio.sleep(0.4)
                await a.update_heartbeat([job.id])
                assert a.is_ours(job.id)
                assert await take(b) == []

    asyncio.run(story())


def test_many_claimers_together_fill_no_lane_beyond_its_room(pg_store: Store) -> None:
    ask(pg_store, *(Wanted(f"send:1:{n:02}", "send", "warehouse:1", 1, str(n), 1, 3) for n in range(20)))
    ask(pg_store, *(Wanted(f"send:2:{n:02}", "send", "warehouse:2", 2, str(n), 1, 2) for n in range(20)))

    async def claim(name: str) -> list[str]:
        async with worker(pg_store, name, places=3) as claims:
            taken: list[Job] = []
            for _ in range(6):
                taken += await take(claims)
            return [job.entrypoint for job in taken]

    async def story() -> list[str]:
        parts = await asyncio.gather(*(claim(str(number)) for number in range(6)))
        return sorted(lane for part in parts for lane in part)

    assert asyncio.run(story()) == ["warehouse:1"] * 3 + ["warehouse:2"] * 2


def test_a_job_that_failed_waits_and_is_not_asked_for_meanwhile(pg_store: Store) -> None:
    async def story() -> None:
        async with worker(pg_store, "a") as a:
            ask(pg_store, SEND)
            jobs = await take(a)
            await a.ask_again(SEND, 1, timedelta(seconds=0.4))
            await end(a, jobs)
            ask(pg_store, SEND)
            assert await take(a) == []
            due = await a.next_deferred_eta([])
            assert due is not None
            await asyncio.sleep(due.total_seconds() + 0.01)
            (again,) = await take(a)
            assert unpack(again.payload) == (SEND, 1)

    asyncio.run(story())


def test_what_a_broken_line_left_is_claimed_at_once(pg_store: Store) -> None:
    async def story() -> None:
        async with worker(pg_store, "a") as a, worker(pg_store, "b") as b:
            ask(pg_store, SEND)
            assert await take(a)
            await a.leave()
            assert keys(await take(b)) == ["send:1"]

    asyncio.run(story())


def test_full_lanes_are_looked_at_once_and_not_asked(pg_store: Store) -> None:
    async def story() -> None:
        async with worker(pg_store, "a") as a, worker(pg_store, "b") as b:
            ask(pg_store, Wanted("x", "send", "warehouse:1"), Wanted("y", "send", "warehouse:1"))
            assert len(await take(a)) == 1
            assert await take(b) == []
            told = (await b.eligible_queued_work([]), await b.queued_work([]), await b.next_deferred_eta([]))
            assert told == (0, 0, None), "PgQueuer waits for a NOTIFY then, and does not poll"

    asyncio.run(story())


def test_what_became_of_jobs_is_forgotten(pg_store: Store) -> None:
    def lines() -> int:
        with pg_store.write() as tx:
            return int(tx.exec_driver_sql("select count(*) from queue.pgqueuer_log").scalar_one())

    ask(pg_store, SEND)
    with pg_store.write() as tx:
        forget_log(tx, timedelta(minutes=1))
    assert lines() == 1
    with pg_store.write() as tx:
        forget_log(tx, timedelta(0))
    assert lines() == 0


def test_who_ends_jobs_waits_for_a_claimer_without_keeping_it_waiting(pg_store: Store) -> None:
    """A claimer may hold the lock of a job it came too late for, and then want the seat of another that is just ending."""

    def claim_like_pgqueuer(late: int, seat: tuple[str, int | None]) -> str:
        with pg_store.write() as tx:
            tx.exec_driver_sql("select 1 from queue.pgqueuer where id = %s for update", (late,))
            ending.set()
            wait_until_blocked(pg_store)
            row = "update queue.pgqueuer set status = 'picked', slot = %s, queue_manager_id = %s where entrypoint = %s"
            try:
                tx.exec_driver_sql(f"{row} and status = 'queued'", (seat[1], owner_of("b"), seat[0]))
            except IntegrityError as error:
                return type(error.orig).__name__
        return "claimed"

    async def story() -> None:
        async with worker(pg_store, "a") as a:
            ask(pg_store, Wanted("x", "send", "warehouse:1"), Wanted("y", "send", "warehouse:2"))
            jobs = sorted(await take(a) + await take(a), key=lambda job: job.id)
            assert len(jobs) == 2
            ask(pg_store, Wanted("z", "send", jobs[0].entrypoint))
            with pg_store.write() as tx:
                seat = tx.exec_driver_sql("select slot from queue.pgqueuer where id = %s", (jobs[0].id,)).scalar_one()
            other = asyncio.create_task(asyncio.to_thread(claim_like_pgqueuer, jobs[1].id, (jobs[0].entrypoint, seat)))
            await asyncio.to_thread(ending.wait, 10)
            await end(a, jobs)
            assert await other == "UniqueViolation"
            assert keys(await take(a)) == ["z"]

    ending = Event()
    asyncio.run(story())


def wait_until_blocked(store: Store) -> None:
    """Until some statement waits for a lock of this database's."""
    waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    for _ in range(500):
        with store.engine.connect() as line:
            if line.exec_driver_sql(waits).scalar_one():
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_a_job_is_packed_and_unpacked() -> None:
    assert unpack(pack(SEND, 3)) == (SEND, 3)


# --- ticks -----------------------------------------------------------------------------------------------------------


def test_a_tick_is_taken_once_and_no_older_one_after_it(store: Store) -> None:
    took = []
    for tick in (NOW, NOW, NOW - 1, NOW + 1):
        with store.write() as tx:
            took.append(take_tick(tx, "plan", tick))
    assert took == [True, False, False, True]


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


def test_planners_claimers_and_wakers_never_wait_in_a_circle(pg_store: Store) -> None:
    wanted = [Wanted(f"send:{n}", "send", f"warehouse:{n % 4}", n, "", 1, 2) for n in range(12)]

    async def work(name: str) -> int:
        done = 0
        async with worker(pg_store, name, places=4) as claims:
            for _ in range(12):
                await asyncio.to_thread(ask, pg_store, *wanted[::-1])
                jobs = await take(claims)
                await claims.update_heartbeat([job.id for job in jobs])
                await end(claims, jobs)
                done += len(jobs)
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda name: asyncio.run(work(name)), "abcd")) > 12
