"""One worker among many: PgQueuer claims jobs for it, gives a sign of life for them, and hears when there are new ones; threads
run them. It may die or freeze at any moment: its jobs are another's when nothing was heard of it for a while."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import uuid
from collections import defaultdict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog
from pgqueuer.executors import EntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.types import QueueManagerId

from domain.errors import ConfigError
from storage.claims import Claims, open_line
from storage.queue import owner_of, unpack

from .bootstrap import Hub
from .clock import counted
from .jobs import RUNS, Claim, run_job
from .trouble import name_of

log = structlog.get_logger(__name__)

# Absorbing computes: a second one in the same process only waits for the first. It has a place of its own, so that hanging
# shops and warehouses never hold it up.
_COMPUTES = "absorb"
# Kinds of jobs that use the calls of an account or a warehouse share its lane: a worker does all of them or none.
_TALKS = frozenset({"pull", "dispatch", "news", "stock"})
_AWAY = 0.5
_LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class Worker:
    """`names`: the kinds of jobs it does."""

    hub: Hub
    names: frozenset[str]
    owner: uuid.UUID = field(init=False)
    pool: ThreadPoolExecutor = field(init=False)
    thread: threading.Thread = field(init=False)
    loop: asyncio.AbstractEventLoop | None = None
    manager: QueueManager | None = None

    def __post_init__(self) -> None:
        self.owner = owner_of(self.hub.holder)
        self.pool = ThreadPoolExecutor(self.hub.settings.jobs + 2, thread_name_prefix="job")
        self.thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True, name="jobs")

    @property
    def lease(self) -> timedelta:
        """How long without a sign of life a job is its worker's."""
        return self.hub.settings.lease / 2

    def start(self) -> None:
        """Begin to work, in threads of its own."""
        # What goes wrong is said here, in our words; PgQueuer would add what was in the job.
        logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
        self.thread.start()

    def stop(self) -> None:
        """Finish what is on the wire, leave the rest to others. Bounded by the longest call and the longest transaction."""
        self.hub.stopping.set()
        loop, manager = self.loop, self.manager
        if loop is not None and manager is not None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(manager.shutdown.set)
        self.thread.join()
        self.pool.shutdown(wait=True)

    async def _work(self) -> None:
        self.loop = asyncio.get_running_loop()
        while not self.hub.stopping.is_set():
            try:
                async with open_line(self.hub.engine) as line:
                    choose = self._choose
                    await self._take_turns(
                        Claims(line, owner=self.owner, lease=self.lease, counter=counted, choose=choose)
                    )
            except Exception as error:  # noqa: BLE001 - a worker must not die of what the next line may not meet
                log.warning("worker_cut_off", error=name_of(error))
                await asyncio.sleep(_AWAY)

    async def _take_turns(self, claims: Claims) -> None:
        """Work over one line until it breaks or the process is to stop; then every job of it has ended."""
        await claims.leave()
        manager = QueueManager(claims, channel=claims.qbq.settings.channel)
        manager.queue_manager_id = QueueManagerId(self.owner)
        run = EntrypointExecutor(EntrypointExecutorParameters(func=partial(self._do, claims), concurrency_limit=0))
        # Every lane is run alike, and there are as many as accounts and warehouses: none is known beforehand.
        manager.entrypoint_registry = defaultdict(lambda: run)
        self.manager = manager
        if not self.hub.stopping.is_set():
            await manager.run(
                dequeue_timeout=self.lease / 6,
                batch_size=1,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=self.lease,
                log_aggregation_interval=timedelta(0),
            )

    async def _do(self, claims: Claims, job: Job) -> None:
        wanted, failures = unpack(job.payload)
        claim = Claim(wanted, lambda: claims.is_ours(job.id))
        try:
            await asyncio.get_running_loop().run_in_executor(self.pool, run_job, self.hub, claim)
        except Exception as error:  # noqa: BLE001 - the job is tried again, after a pause
            log.error("job_failed", job=wanted.key, error=name_of(error))
            pause = min(_LONGEST_PAUSE, 2.0 ** min(failures, 10)) * self.hub.settings.retry_scale
            await claims.ask_again(wanted, failures + 1, timedelta(seconds=pause))

    def _choose(self, lanes: list[str], held: list[str]) -> list[str]:
        """Which of the lanes that have a job to ask: one for every thread that is free."""
        kinds = [lane.partition(":")[0] for lane in held]
        others = self.hub.settings.jobs - len(kinds) + kinds.count(_COMPUTES)
        # At random, so that workers that hear of the same jobs do not all go for the same ones.
        mine = random.sample(lanes, len(lanes))
        computes = [lane for lane in mine if lane.startswith(_COMPUTES) and self._does(lane)]
        chosen = [] if _COMPUTES in kinds else computes[:1]
        return chosen + [lane for lane in mine if lane not in computes and self._does(lane)][: max(0, others)]

    def _does(self, lane: str) -> bool:
        kind = lane.partition(":")[0]
        return kind in self.names if kind in RUNS else bool(self.names & _TALKS)


def open_worker(hub: Hub, names: Collection[str] = ()) -> Worker:
    """A worker for the named kinds of jobs (all by default), not started. ConfigError `jobs_share_a_lane` when some of the
    kinds are named that only go together."""
    chosen = frozenset(names) or frozenset(RUNS)
    if chosen & _TALKS and not chosen >= _TALKS:
        together = ",".join(sorted(_TALKS))
        raise ConfigError("jobs_share_a_lane", f"on PostgreSQL {together} share limits: name all of them or none")
    return Worker(hub, chosen)
