"""Many machines in small: worker processes on one PostgreSQL, a sandbox, and somebody who kills and freezes workers."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import random
import runpy
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from pipeline.bootstrap import Hub
from pipeline.reconcile import is_quiet
from pipeline.settings import Settings, as_environment
from sandbox import Running
from storage.nodes import list_holders
from storage.queue import list_jobs, owner_of
from storage.rows import Row

from .ledgers import Report, compare

# Starting Python and importing everything costs seconds: workers are forked from a server that has done it once.
_PRELOADED = ["hub", "scheduler", "pipeline.worker"]
_CLONE_NEWNET = 0x40000000


def machine_settings(folder: Path, url: str, **changed: object) -> Settings:
    """Fast polls and retries, and claims that run out in seconds: what takes a minute outside takes four seconds here."""
    given: dict[str, object] = {
        "data_folder": folder,
        "database_url": url,
        "poll_seconds": 1.0,
        "senders": 8,
        "jobs": 8,
        "calls": 4,
        "lease_seconds": 4.0,
        "first_look_back_seconds": 600,
        "retry_scale": 0.004,
        "stock_seconds": 5,
        "news_seconds": 4,
        "console_open": True,
    }
    return Settings.model_validate(given | changed)


@dataclass(slots=True)
class Machine:
    """One worker process."""

    process: BaseProcess

    def send(self, number: signal.Signals) -> None:
        """Signal this process, and no other."""
        if self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, number)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.join()

    def stop(self, seconds: float = 15.0) -> int | None:
        """Ask it to end; kill it when it does not. Returns its exit status."""
        self.thaw()
        self.send(signal.SIGTERM)
        self.process.join(seconds)
        if self.process.is_alive():
            self.kill()
        return self.process.exitcode


def start_machine(settings: Settings, *, network: str = "", listener: socket.socket | None = None) -> Machine:
    """`hub.py work` as a process of its own, which ends with this one; `network` names the network namespace it lives in. With
    a `listener` it is `hub.py serve --jobs none` on that listening socket."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_work, args=(as_environment(settings), network, listener), daemon=True)
    process.start()
    return Machine(process)


def _work(environment: dict[str, str], network: str, listener: socket.socket | None) -> None:
    """In the new process: `hub.py` itself."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if network:
        with Path("/var/run/netns", network).open() as place:
            if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
    for name in [name for name in os.environ if name.startswith("HUB_")]:
        del os.environ[name]
    os.environ.update({"HUB_CONFIG": os.devnull} | environment)
    serve = [] if listener is None else ["serve", "--jobs", "none", "--no-docs", "--fd", str(listener.fileno())]
    sys.argv = ["hub.py", *(serve or ["work"])]
    runpy.run_path(str(Path(__file__).parents[1] / "hub.py"), run_name="__main__")


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def jobs_of(hub: Hub, machine: Machine) -> list[Row]:
    """The jobs that a worker process holds."""
    with hub.read() as tx:
        owners = {owner_of(name) for name in list_holders(tx, now=hub.now()) if f":{machine.process.pid}:" in name}
        return [row for row in list_jobs(tx) if row["owner"] in owners]


@contextlib.contextmanager
def machines(settings: Settings, count: int, networks: Sequence[str] = ()) -> Iterator[list[Machine]]:
    """So many worker processes, the first ones each in a network namespace of its own, stopped at the end (those that were
    added to the list too)."""
    started: list[Machine] = []
    places = [*networks, *[""] * count][:count]
    try:
        started.extend(start_machine(settings, network=place) for place in places)
        yield started
    finally:
        for machine in started:
            machine.thaw()
            machine.send(signal.SIGTERM)
        for machine in started:
            machine.stop()


@dataclass(slots=True)
class Chaos:
    """Kills and freezes workers at random until told to stop; what is killed is started anew. `frozen_for`: seconds, longer
    than any claim. `gone` hears of every worker that was just killed or frozen."""

    settings: Settings
    workers: list[Machine]
    seed: int
    gone: Callable[[Machine], object]
    every: float = 1.5
    frozen_for: float = 5.0
    kills: int = 0
    freezes: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stopped`: one kill or freeze after the other."""
        draw = random.Random(self.seed)
        while not self.stopped.wait(self.every):
            place = draw.randrange(len(self.workers))
            worker = self.workers[place]
            if draw.random() < 0.5:
                worker.kill()
                self.gone(worker)
                self.kills += 1
                self.workers[place] = start_machine(self.settings)
            else:
                worker.freeze()
                self.gone(worker)
                self.freezes += 1
                self.stopped.wait(self.frozen_for)
                worker.thaw()


@contextlib.contextmanager
def chaos(settings: Settings, workers: list[Machine], seed: int, gone: Callable[[Machine], object]) -> Iterator[Chaos]:
    """Chaos among these workers while the block runs."""
    trouble = Chaos(settings, workers, seed, gone)
    thread = threading.Thread(target=trouble.run, name="chaos", daemon=True)
    thread.start()
    try:
        yield trouble
    finally:
        trouble.stopped.set()
        thread.join(30)


def until_accounted(hub: Hub, box: Running, orders: int, *, seconds: float, confirmed: bool = True) -> Report:
    """Wait until nothing moves, everything placed is known and (if `confirmed`) every parcel is told, or the time is up."""
    end, report = time.monotonic() + seconds, Report(channels={})
    while time.monotonic() < end:
        time.sleep(0.2)
        with contextlib.suppress(Exception):
            if not is_quiet(hub):
                continue
            report = compare(hub, box)
            placed = sum(told.placed for told in report.channels.values())
            told_home = sum(told.confirmed for told in report.channels.values())
            if report.good and placed >= orders and (told_home >= orders or not confirmed):
                return report
    return compare(hub, box)
