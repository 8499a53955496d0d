"""A worker's side of PgQueuer 1.6.0: what is added to its statements, whose source was read for it (2026-11-22, H).

- The end of a job and its signs of life name only the job there. Here it must still be the worker's own: one that was frozen
  and lost its jobs changes nothing any more.
- Its psycopg driver listens and asks on one connection, and whoever asks waits until listening pauses, up to a second
  (0.87 s measured). Here one connection listens and another asks.
- It asks four times for every NOTIFY, and ten times a second while a lane is full. Here one look says what can be claimed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.db import PsycopgDriver
from pgqueuer.models import Job, TracebackRecord
from pgqueuer.ports.driver import NotifyCallback
from pgqueuer.queries import EntrypointExecutionParameter, Queries
from pgqueuer.types import JOB_STATUS, JobId, QueueEntrypoint, QueueManagerId
from psycopg import AsyncConnection
from sqlalchemy import Engine

from .database import line_words
from .due import Wanted
from .queue import SETTINGS, headers_of, pack

# Of each lane: how many of its jobs may run, do run, wait, have nobody who gives a sign of life; when the next one is due.
_LOOK = """
SELECT entrypoint AS lane, min((headers->>'room')::int) AS room,
       count(*) FILTER (WHERE queue_manager_id IS NOT NULL) AS running,
       count(*) FILTER (WHERE status = 'queued' AND execute_after < now()) AS waiting,
       count(*) FILTER (WHERE status = 'picked' AND heartbeat < now() - $1::interval) AS lost,
       min(execute_after) FILTER (WHERE status = 'queued' AND execute_after >= now()) - now() AS later
  FROM queue.pgqueuer GROUP BY entrypoint ORDER BY min(id)"""
_LISTEN = "LISTEN hub_queue"
_NEWS = "table_changed_event"
# A busy system tells of a hundred changes a second, nearly all of them of other workers' jobs.
_REST, _LONGEST_REST = 0.025, 0.1
# Jobs are locked before any of them changes. Whoever claims may hold the lock of one that was claimed a moment before (SKIP LOCKED
# locks the newest version of a row and only then sees that it is no longer queued) while it waits for the seat of another that
# is being given back: a job changed before the next is locked would close the circle. A job that is only locked keeps nobody
# waiting for its seat.
_BEAT = """
UPDATE queue.pgqueuer SET heartbeat = now()
 WHERE id = ANY(ARRAY(
           SELECT id FROM queue.pgqueuer WHERE id = ANY($1::bigint[]) AND queue_manager_id = $2 ORDER BY id FOR UPDATE))
   AND queue_manager_id = $2 RETURNING id"""
_END = """
WITH ended AS (
    DELETE FROM queue.pgqueuer
     WHERE id = ANY(ARRAY(
               SELECT id FROM queue.pgqueuer WHERE id = ANY($1::bigint[]) AND queue_manager_id = $2 ORDER BY id FOR UPDATE))
       AND queue_manager_id = $2 RETURNING id, entrypoint, priority
)
INSERT INTO queue.pgqueuer_log (job_id, status, entrypoint, priority)
SELECT id, 'successful', entrypoint, priority FROM ended"""
_LEAVE = """
UPDATE queue.pgqueuer SET status = 'queued', queue_manager_id = NULL, slot = NULL, execute_after = now() - interval '1 s'
 WHERE id = ANY(ARRAY(SELECT id FROM queue.pgqueuer WHERE queue_manager_id = $1 ORDER BY id FOR UPDATE))
   AND queue_manager_id = $1"""


class Line(PsycopgDriver):
    """A worker's connections to its database: PgQueuer's driver on the one that hears, its statements on another.

    News of jobs only say that there is something to look at: those that come before the look has begun that answers the first
    of them say nothing more, and after a look that was in vain they wait for a moment."""

    def __init__(self, hears: AsyncConnection, talks: AsyncConnection) -> None:
        super().__init__(hears)
        self._talks = PsycopgDriver(talks)
        self.heard = True  # anything since the last look began; before anybody listens, it is not known
        self._listens = False
        self._quiet_until = 0.0
        self._vain = 0  # looks in a row

    def begin_look(self) -> None:
        """Whatever was heard until now, this look sees."""
        self.heard = not self._listens

    def end_look(self, *, vain: bool) -> None:
        """After a look in vain the next news wait, the longer the more of them there were."""
        self._vain = self._vain + 1 if vain else 0
        rest = min(_LONGEST_REST, _REST * 2.0 ** min(self._vain, 9) / 2) if vain else 0.0
        self._quiet_until = asyncio.get_running_loop().time() + rest

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        await super().add_listener(channel, partial(self._hear, callback))
        self._listens = True

    def _hear(self, callback: NotifyCallback, payload: str | bytes | bytearray) -> None:
        if _NEWS not in str(payload):
            callback(payload)
        elif not self.heard:
            self.heard = True
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), self._quiet_until), callback, payload)

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return await self._talks.fetch(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        return await self._talks.execute(query, *args)


@asynccontextmanager
async def open_line(engine: Engine) -> AsyncIterator[Line]:
    """Connect as the engine does."""
    words = line_words(engine)
    async with await AsyncConnection.connect(**words) as talks, await AsyncConnection.connect(**words) as hears:
        # Before anything is said: PgQueuer's first question whether it is heard would be lost, and end the line 10 s later.
        await hears.execute(_LISTEN)
        # What is said there is found by keys of one small table: planning it for the values at hand takes longer than doing it.
        await talks.execute("SET plan_cache_mode = force_generic_plan")
        talks.prepare_threshold = 0
        yield Line(hears, talks)


@dataclass(slots=True)
class Held:
    """A claimed job: its lane, and when the claim runs out, in seconds of the counter."""

    lane: str
    ends: float


@dataclass
class Claims(Queries):
    """PgQueuer's statements for one worker, `owner`. `choose`: of the lanes that have a job to claim, and those of which jobs are
    held, which to ask, for as many jobs as lanes. `counter`: seconds that also count while the process is frozen."""

    driver: Line
    qbe: QueryBuilderEnvironment = field(default_factory=partial(QueryBuilderEnvironment, SETTINGS))
    qbq: QueryQueueBuilder = field(default_factory=partial(QueryQueueBuilder, SETTINGS))
    owner: uuid.UUID = field(kw_only=True)
    choose: Callable[[list[str], list[str]], list[str]] = field(kw_only=True)
    counter: Callable[[], float] = field(kw_only=True)
    lease: timedelta = field(kw_only=True)
    held: dict[int, Held] = field(default_factory=dict)
    later: timedelta | None = None
    missed: bool = False
    sated: bool = False

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: Mapping[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        """Look what can be claimed, and claim it. PgQueuer asks again after every job it got: not where there was no more."""
        sated, self.sated = self.sated, False
        if sated and not self.driver.heard:
            return []
        self.driver.begin_look()
        rows: list[dict[str, Any]] = await self.driver.fetch(_LOOK, self.lease)
        self.later = min((row["later"] for row in rows if row["later"] is not None), default=None)
        rooms = {str(row["lane"]): int(row["room"]) for row in rows if _is_open(row)}
        lanes = self._choose_of(rooms)
        self.missed = False
        self.driver.end_look(vain=not lanes)
        if not lanes:
            return []
        began = self.counter()
        asked = {QueueEntrypoint(lane): EntrypointExecutionParameter(rooms[lane]) for lane in lanes}
        jobs = await super().dequeue(len(lanes), asked, queue_manager_id, None, self.lease)
        self.missed = not jobs
        for job in jobs:
            self.held[job.id] = Held(job.entrypoint, began + self.lease.total_seconds())
        emptied = {str(job.entrypoint) for job in jobs} - {str(row["lane"]) for row in rows if _has_more(row)}
        self.sated = not self._choose_of(lane for lane in rooms if lane not in emptied)
        return jobs

    def _choose_of(self, lanes: Iterable[str]) -> list[str]:
        return self.choose(list(lanes), [each.lane for each in self.held.values()])

    async def eligible_queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """Whether another worker was quicker in the last look: what it left may be had."""
        return int(self.missed)

    async def next_deferred_eta(self, entrypoints: list[QueueEntrypoint]) -> timedelta | None:
        """When the next job is due, as of the last look."""
        return self.later

    async def queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """Nothing that the last look has not seen."""
        return 0

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        """Signs of life for jobs that are still ours; a claim on any other ends."""
        began, ids = self.counter(), sorted({each for each in job_ids if each in self.held})
        kept = {row["id"] for row in await self.driver.fetch(_BEAT, ids, self.owner)} if ids else set()
        for each in ids:
            if (held := self.held.get(each)) is not None:
                held.ends = began + self.lease.total_seconds() if each in kept else 0.0

    async def log_jobs(self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]) -> None:
        """Jobs that have ended, as far as they are still ours."""
        ids = [job.id for job, _, _ in job_status]
        self.driver.end_look(vain=False)  # there is room now: what waits in its lane is looked for at once
        await self.driver.execute(_END, ids, self.owner)
        for each in ids:
            self.held.pop(each, None)

    async def ask_again(self, wanted: Wanted, failures: int, pause: timedelta) -> None:
        """A job that failed, after a pause in which nobody else needs to ask for it."""
        await self.enqueue(
            wanted.lane,
            pack(wanted, failures),
            execute_after=pause,
            dedupe_key=wanted.key,
            headers=headers_of(wanted),
            on_conflict="skip",
        )

    async def leave(self) -> None:
        """Give back what stands in the owner's name: a line that broke left it."""
        self.held.clear()
        await self.driver.execute(_LEAVE, self.owner)

    def is_ours(self, job_id: int) -> bool:
        """Whether a job is ours for certain."""
        held = self.held.get(job_id)
        return held is not None and self.counter() < held.ends


def _has_more(row: Mapping[str, Any]) -> bool:
    """Whether one more job could be claimed in a lane after one was."""
    return bool(row["lost"] + row["waiting"] > 1)


def _is_open(row: Mapping[str, Any]) -> bool:
    return bool(row["lost"] or (row["waiting"] and row["running"] < row["room"]))
