"""Processes that serve side by side: started together, ended together, and started again one by one when they end unasked.
Each uses a core of its own, which threads of one Python process cannot."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

import structlog

log = structlog.get_logger(__name__)

# Names the folder of files in which processes count together; prometheus_client looks at it when it is first imported.
TOGETHER = "PROMETHEUS_MULTIPROC_DIR"

_SPAWN = multiprocessing.get_context("spawn")
_SOONEST, _LATEST = 0.1, 10.0  # seconds until one that ended is started again, doubled each time
_LIVED = 60.0  # one that ran so long ended by accident, and not by what it does at its start
_LOOK = 1.0
_END = 90.0  # a worker finishes what is on the wire


@dataclass(frozen=True, slots=True)
class Task:
    """What one process does: `run` is a function of a module, `given` what it is called with."""

    name: str
    run: Callable[..., None]
    given: tuple[Any, ...] = ()


@dataclass(slots=True)
class _Place:
    """A task, its process while there is one, and when the next one is due (monotonic seconds)."""

    task: Task
    process: SpawnProcess | None = field(default=None, init=False)
    due: float = field(default=0.0, init=False)
    began: float = field(default=0.0, init=False)
    pause: float = field(default=_SOONEST, init=False)

    def start(self, now: float) -> None:
        if self.process is None and self.due <= now:
            self.process = _SPAWN.Process(target=_begin, args=(self.task,), name=self.task.name)
            self.began = now
            self.process.start()

    def look(self, now: float) -> None:
        if self.process is None or self.process.is_alive():
            return
        log.warning("process_ended", name=self.task.name, pid=self.process.pid, status=self.process.exitcode)
        self.process.close()
        self.process = None
        self.pause = _SOONEST if now - self.began > _LIVED else min(_LATEST, 2 * self.pause)
        self.due = now + self.pause

    def ask_to_end(self) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.terminate()

    def end(self, by: float) -> None:
        if self.process is None:
            return
        self.ask_to_end()
        self.process.join(max(0.0, by - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def keep_running(tasks: Sequence[Task]) -> None:
    """Run each task in a process of its own until SIGTERM or SIGINT, which ends them all, and the call. They end with this
    process too, however it ends, and what they count is one sum."""
    with tempfile.TemporaryDirectory(prefix="hub-figures-") as folder:
        os.environ[TOGETHER] = folder
        try:
            _keep_running(tasks)
        finally:
            del os.environ[TOGETHER]


def _keep_running(tasks: Sequence[Task]) -> None:
    places, told = [_Place(task) for task in tasks], list[int]()

    def ask(number: int, _: object) -> None:
        told.append(number)  # an Event has a lock, which a second signal may meet held by this very thread
        for place in places:
            place.ask_to_end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    try:
        while not told:
            for place in places:
                place.start(time.monotonic())
            due = [place.due - time.monotonic() for place in places if place.process is None]
            wait([each.process.sentinel for each in places if each.process], max(0.0, min([_LOOK, *due])))
            if not told:
                for place in places:
                    place.look(time.monotonic())
    finally:
        by = time.monotonic() + _END
        for place in places:
            place.ask_to_end()
        for place in places:
            place.end(by)


def _begin(task: Task) -> None:
    """In the new process."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    task.run(*task.given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
