"""The timed jobs and the process that fires them. Importing this starts nothing.

A job is a function of the hub that does what is due and comes back; correctness never depends on how often or by whom it
is called, because all work is rows and all claims are leases. On SQLite the timers run the jobs in this process; on
PostgreSQL they only put due jobs where the workers of all machines share them, into PgQueuer (`pipeline.planning`,
`pipeline.worker`)."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor as Lanes
from apscheduler.schedulers.background import BackgroundScheduler

from pipeline.absorb import absorb
from pipeline.bootstrap import Hub, keep_alive
from pipeline.dispatch import Dispatcher
from pipeline.housekeeping import keep_house
from pipeline.pull import Puller
from pipeline.settings import Settings
from pipeline.settle import settle
from pipeline.trouble import name_of
from pipeline.watch import watch_news, watch_stock

if TYPE_CHECKING:
    from pipeline.worker import Worker

log = structlog.get_logger(__name__)

_TICK = 0.05
# A timer fires this often; in between a job looks by itself, because firing it costs ten times what a look costs.
_TURN = 1.0
# Stages that are busy gather for a moment, so that what comes together shares statements and one commit; what comes alone goes
# at the next look.
_STAGE = 0.15
_SENDINGS = 0.1
# A process that serves or works keeps its node number and the shared clock fresh.
_ALIVE = 20.0


@dataclass(frozen=True, slots=True)
class Pools:
    """Threads for network calls: asking warehouses, reading accounts, sending; and who hands work to the last two."""

    askers: ThreadPoolExecutor
    readers: ThreadPoolExecutor
    senders: ThreadPoolExecutor
    dispatcher: Dispatcher
    puller: Puller


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the table: what, how often (seconds), and the function that returns how much it did. After it found something it
    gathers for so long (seconds) instead. `follows`: after it found nothing there is nothing until somebody commits something."""

    name: str
    every: Callable[[Settings], float]
    run: Callable[[Hub, Pools], int]
    gathers: float = 0.0
    follows: bool = False


def _absorb_all(hub: Hub, _pools: Pools) -> int:
    total = 0
    for _ in range(100):
        done = absorb(hub)
        total += done
        if done < hub.settings.batch // 2:
            break
    return total


def _keep(hub: Hub, _pools: Pools) -> int:
    keep_house(hub)
    return 0


JOBS = (
    Job("pull", lambda s: max(_TICK, min(1.0, s.poll_seconds / 2)), lambda _, pools: pools.puller.turn()),
    Job("absorb", lambda _: _TICK, _absorb_all, gathers=_STAGE, follows=True),
    Job("dispatch", lambda _: _TICK, lambda _, pools: pools.dispatcher.turn(), gathers=_SENDINGS),
    Job(
        "news",
        lambda s: max(_TICK, min(5.0, s.news_seconds / 4)),
        lambda hub, pools: watch_news(hub, pool=pools.askers),
    ),
    Job(
        "stock",
        lambda s: max(_TICK, min(5.0, s.stock_seconds / 4)),
        lambda hub, pools: watch_stock(hub, pool=pools.askers),
    ),
    Job("house", lambda _: 60.0, _keep),
)


@dataclass(slots=True)
class Runner:
    """A started scheduler with its pools, or with its worker where many machines share the work."""

    hub: Hub
    timers: BackgroundScheduler
    pools: Pools | None
    worker: Worker | None = None

    def stop(self) -> None:
        """Let running jobs and sendings finish and be settled, give back what has not begun, then stop."""
        self.hub.stopping.set()
        self.timers.shutdown(wait=True)
        if self.worker is not None:
            self.worker.stop()
        if self.pools is not None:
            close_pools(self.pools)


def open_pools(hub: Hub) -> Pools:
    senders = ThreadPoolExecutor(max_workers=hub.settings.senders, thread_name_prefix="send")
    readers = ThreadPoolExecutor(max_workers=hub.settings.senders, thread_name_prefix="read")
    askers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="ask")
    return Pools(
        askers=askers,
        readers=readers,
        senders=senders,
        dispatcher=Dispatcher(hub, settle, senders),
        puller=Puller(hub, readers),
    )


def close_pools(pools: Pools) -> None:
    """Let network calls under way finish and settle them; what has not begun is given back."""
    pools.dispatcher.land()
    for pool in (pools.askers, pools.readers, pools.senders):
        pool.shutdown(wait=True)


def start(hub: Hub, names: Collection[str] = (), *, alone: bool = False) -> Runner:
    """Do the named jobs of the table (all of them by default) in this process until `stop`. On PostgreSQL it takes turns with
    every other process that does, unless `alone`: then this one must be the only one."""
    spare_the_collector()
    # A tick that finds the one before still at work is normal, not news.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    timers = BackgroundScheduler(executors={"default": Lanes(len(JOBS) + 2)}, timezone="UTC")
    _every(timers, "alive", _ALIVE, keep_alive, hub)
    if hub.shared and not alone:
        # Only installations on PostgreSQL need the library that carries jobs.
        from pipeline.planning import plan, tick_seconds  # noqa: PLC0415
        from pipeline.worker import open_worker  # noqa: PLC0415

        worker = open_worker(hub, names)
        _every(timers, "plan", tick_seconds(hub), plan, hub)
        worker.start()
        timers.start()
        return Runner(hub, timers, None, worker)
    pools = open_pools(hub)
    for job in (job for job in JOBS if not names or job.name in names):
        every = job.every(hub.settings)
        if every < _TURN:
            _every(timers, job.name, _TURN, _keep_looking, hub, pools, job, every)
        else:
            _every(timers, job.name, every, job.run, hub, pools)
    timers.start()
    return Runner(hub, timers, pools)


def spare_the_collector() -> None:
    """Let the garbage collector of this process look seldom, and never at what is there already."""
    # Orders are short-lived trees without cycles: collecting the whole heap every few hundred of them costs a quarter of the time.
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


def keep_only(hub: Hub) -> Runner:
    """No jobs: this process only keeps its node number and its clock."""
    spare_the_collector()
    timers = BackgroundScheduler(executors={"default": Lanes(1)}, timezone="UTC")
    _every(timers, "alive", _ALIVE, keep_alive, hub)
    timers.start()
    return Runner(hub, timers, None)


def _every(timers: BackgroundScheduler, name: str, seconds: float, run: Callable[..., object], *given: object) -> None:
    timers.add_job(
        _guarded,
        "interval",
        args=(name, run, *given),
        seconds=seconds,
        id=name,
        name=name,
        max_instances=1,
        coalesce=True,
        misfire_grace_time=None,
    )


def run_once(hub: Hub, *, seconds: float = 600.0) -> dict[str, int]:
    """Do everything that is due now, stage after stage, until nothing is; returns how much each job did."""
    pools = open_pools(hub)
    done = dict.fromkeys((job.name for job in JOBS), 0)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            moved = {job.name: job.run(hub, pools) for job in JOBS}
            for name, number in moved.items():
                done[name] += number
            if any(moved.values()):
                continue
            if not pools.dispatcher.flying and not pools.puller.flying:
                return done
            pools.puller.wait(0.05)
            pools.dispatcher.wait(0.05)
        return done
    finally:
        close_pools(pools)


def _keep_looking(hub: Hub, pools: Pools, job: Job, every: float) -> None:
    """Run a job every so many seconds until its timer is about to fire again."""
    began = time.monotonic()
    nothing: int | None = None
    while True:
        commits = hub.commits() if job.follows else None
        done: list[int] = []
        if commits is None or commits != nothing:
            _guarded(job.name, lambda: done.append(job.run(hub, pools)))  # noqa: B023 - called at once
            # Counted before it ran: what was committed meanwhile is looked for.
            nothing = commits if done == [0] else None
        pause = max(every, job.gathers) if any(done) else every
        if _TURN - (time.monotonic() - began) % _TURN <= pause or hub.stopping.wait(pause):
            return


def _guarded(name: str, run: Callable[..., object], *given: object) -> None:
    try:
        run(*given)
    except Exception as error:  # noqa: BLE001 - the next tick tries again; a timer must not die
        log.error("job_failed", job=name, error=name_of(error))
