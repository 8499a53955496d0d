"""How long jobs stay with workers that were killed or frozen, until others have them."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.bootstrap import Hub
from storage.queue import list_jobs

from .machines import Machine, jobs_of

_LOOK = 0.05


@dataclass(slots=True)
class Takeovers:
    """`seconds` of every job that was taken over; `waiting` ones are still with a worker that is gone."""

    hub: Hub
    seconds: list[float] = field(default_factory=list)
    waiting: dict[int, tuple[uuid.UUID, float]] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def lose(self, machine: Machine) -> int:
        """This worker was killed or frozen just now; returns how many jobs it held."""
        at, rows = time.monotonic(), jobs_of(self.hub, machine)
        self.waiting |= {row["id"]: (row["owner"], at) for row in rows}
        return len(rows)

    def look(self) -> None:
        """See which jobs are another's by now."""
        if self.waiting:
            with self.hub.read() as tx:
                owners = {row["id"]: row["owner"] for row in list_jobs(tx)}
            for job_id, (owner, at) in list(self.waiting.items()):
                if owners.get(job_id) != owner:
                    del self.waiting[job_id]
                    self.seconds.append(time.monotonic() - at)

    def run(self) -> None:
        """Look until told to stop."""
        while not self.stopped.wait(_LOOK):
            with contextlib.suppress(Exception):
                self.look()

    def until_taken(self, seconds: float) -> None:
        """Wait until nothing waits any more. RuntimeError after so long."""
        end = time.monotonic() + seconds
        while self.waiting:
            if time.monotonic() > end:
                raise RuntimeError(f"{len(self.waiting)} jobs were not taken over in {seconds} s")
            time.sleep(_LOOK)


@contextlib.contextmanager
def takeovers(hub: Hub) -> Iterator[Takeovers]:
    """Watch while the block runs."""
    watch = Takeovers(hub)
    thread = threading.Thread(target=watch.run, name="takeovers", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stopped.set()
        thread.join(10)
