"""One worker among many: it claims jobs, runs them side by side, gives a sign of life for them, and hears when there are new
ones. It may die or freeze at any moment: its jobs are another's when their lease has run out."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog
from sqlalchemy import exc

from domain.errors import HubError
from storage.jobs import claim_jobs, end_job, give_back_jobs, hasten, keep_jobs
from storage.rows import Row
from storage.wakes import listen

from .bootstrap import Hub
from .clock import counted
from .jobs import RUNS, Claim, run_job
from .trouble import read_trouble

log = structlog.get_logger(__name__)

# Absorbing computes: a second one in the same process only waits for the first. It has a thread of its own, so that hanging
# shops and warehouses never hold it up.
_COMPUTES = frozenset({"absorb"})
_IDLE = 1.0
_GATHER = 0.005
_AWAY = 0.5
_LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class Worker:
    """`names`: the kinds of jobs it does."""

    hub: Hub
    names: frozenset[str]
    running: dict[Future[None], Claim] = field(default_factory=dict)
    ended: list[tuple[Claim, str]] = field(default_factory=list)
    woken: threading.Event = field(default_factory=threading.Event)
    landed: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    pools: dict[frozenset[str], tuple[ThreadPoolExecutor, int]] = field(default_factory=dict)

    @property
    def lease(self) -> float:
        """Seconds without a sign of life after which a job is another's."""
        return self.hub.settings.lease_seconds / 2

    def start(self) -> None:
        """Begin to work, in threads of its own."""
        talks = self.names - _COMPUTES
        for names, size in ((self.names & _COMPUTES, 1), (talks, self.hub.settings.jobs)):
            if names:
                self.pools[names] = (ThreadPoolExecutor(size, thread_name_prefix="job"), size)
        for name, run in (("jobs", self._work), ("beat", self._beat), ("wakes", self._hear)):
            thread = threading.Thread(target=run, daemon=True, name=name)
            thread.start()
            self.threads.append(thread)

    def stop(self) -> None:
        """Finish what is on the wire, give back the rest. Bounded by the longest call and the longest transaction."""
        self.hub.stopping.set()
        self.woken.set()
        self.threads[0].join()
        for future in list(self.running):
            future.cancel()
        for pool, _ in self.pools.values():
            pool.shutdown(wait=True)
        self._reap()
        self._leave()
        self.landed.set()
        self.woken.set()

    def turn(self) -> int:
        """Write how jobs ended and claim as many as there are threads for; returns how many were claimed."""
        self._reap()
        room = {
            names: size - sum(claim.row["name"] in names for claim in self.running.values())
            for names, (_, size) in self.pools.items()
        }
        free = sum(max(0, places) for places in room.values())
        if not self.ended and not free:
            return 0
        tokens, began = self.hub.ids.take(max(1, free)), counted()
        with self.hub.write() as tx:
            hasten(tx)
            now = self.hub.now()
            for claim, error in sorted(self.ended, key=_key):
                again = now + self._pause(claim.row) if error else 0
                end_job(tx, claim.row, now=now, error=error, again_at=again)
            rows = claim_jobs(
                tx,
                holder=self.hub.holder,
                room=room,
                now=now,
                lease=round(self.lease * 1_000_000),
                tokens=tokens[:free],
            )
        self.ended.clear()
        for row in rows:
            self._begin(Claim(row, began + self.lease))
        return len(rows)

    def _begin(self, claim: Claim) -> None:
        pool = next(pool for names, (pool, _) in self.pools.items() if claim.row["name"] in names)
        future = pool.submit(run_job, self.hub, claim)
        self.running[future] = claim
        future.add_done_callback(lambda _: self.woken.set())

    def _reap(self) -> None:
        for future in [future for future in self.running if future.done() and not future.cancelled()]:
            claim, error = self.running.pop(future), future.exception()
            if error is not None:
                code = name_of(error)
                log.error("job_failed", job=claim.row["key"], error=code)
                self.ended.append((claim, code[:60]))
            else:
                self.ended.append((claim, ""))

    def _pause(self, row: Row) -> int:
        pause: float = min(_LONGEST_PAUSE, 2.0 ** min(int(row["failures"]), 10)) * self.hub.settings.retry_scale
        return round(pause * 1_000_000)

    def _work(self) -> None:
        while not self.hub.stopping.is_set():
            try:
                self.turn()
            except Exception as error:  # noqa: BLE001 - a worker must not die of what the next turn may not meet
                if read_trouble(error) is None:
                    log.error("worker_failed", error=name_of(error))
                time.sleep(_AWAY)  # the next turn opens new connections
                continue
            self.woken.wait(_IDLE)
            self.woken.clear()
            time.sleep(_GATHER)

    def _beat(self) -> None:
        """Signs of life, until everything has landed: also while this worker stops."""
        while not self.landed.wait(self.lease / 3):
            claims, began = {claim.row["token"]: claim for claim in list(self.running.values())}, counted()
            if not claims:
                continue
            try:
                with self.hub.write() as tx:
                    hasten(tx)
                    kept = keep_jobs(tx, list(claims), now=self.hub.now(), lease=round(self.lease * 1_000_000))
            except exc.DBAPIError:
                continue  # a beat that is missed is followed by the next one
            for token, claim in claims.items():
                claim.ends = began + self.lease if token in kept else 0.0

    def _hear(self) -> None:
        while not self.hub.stopping.is_set():
            listen(self.hub.engine, self.woken.set, self.hub.stopping.is_set)
            self.hub.stopping.wait(_AWAY)

    def _leave(self) -> None:
        """Give back what was claimed and not begun. Without a database, leases do the same."""
        left = [claim.row["token"] for claim in self.running.values()]
        self.running.clear()
        try:
            with self.hub.write() as tx:
                hasten(tx)
                for claim, error in sorted(self.ended, key=_key):
                    end_job(tx, claim.row, now=self.hub.now(), error=error)
            with self.hub.write() as tx:
                hasten(tx)
                give_back_jobs(tx, left)
        except exc.DBAPIError:
            log.warning("jobs_not_given_back", jobs=len(left))


def name_of(error: BaseException) -> str:
    """What to call an error in a log: our own code, or the driver's name for what the database said."""
    if isinstance(error, HubError):
        return error.code
    return type(getattr(error, "orig", None) or error).__name__


def _key(ended: tuple[Claim, str]) -> str:
    return str(ended[0].row["key"])


def open_worker(hub: Hub, names: Collection[str] = ()) -> Worker:
    """A worker for the named kinds of jobs (all by default), not started."""
    return Worker(hub, frozenset(names) or frozenset(RUNS))
