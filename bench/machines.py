"""Many machines in small: worker processes on one PostgreSQL, a sandbox, and somebody who kills and freezes workers."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.bootstrap import Hub
from pipeline.reconcile import is_quiet
from pipeline.settings import Settings, as_environment
from sandbox import Running

from .ledgers import Report, compare

ROOT = Path(__file__).parents[1]
# The kernel kills a worker when the thread that started it is gone: a killed test or benchmark leaves nobody behind.
_DIE_WITH_PARENT = "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9,0,0,0);os.execvp(sys.argv[1],sys.argv[1:])"
# That thread lives as long as this process, whoever asks for a worker.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


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
    """One worker process. `frozen` while it is stopped by a signal."""

    process: subprocess.Popen[bytes]
    frozen: bool = False

    def send(self, number: signal.Signals) -> None:
        """Signal this process, and no other."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        self.send(signal.SIGCONT)
        self.frozen = False

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds: float = 15.0) -> int:
        """Ask it to end; kill it when it does not. Returns its exit status."""
        self.thaw()
        self.send(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def start_machine(settings: Settings, *words: str, prefix: Sequence[str] = (), keep: Sequence[int] = ()) -> Machine:
    """`hub.py` with these words as a process of its own, which dies with this one; `prefix` runs it elsewhere, `keep` are file
    descriptors it inherits."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    environment |= {"HUB_CONFIG": os.devnull} | as_environment(settings)
    command = [*prefix, sys.executable, "hub.py", *(words or ("work",))]
    if sys.platform == "linux":
        command = [sys.executable, "-IS", "-c", _DIE_WITH_PARENT, *command]
    started = _starter.submit(
        subprocess.Popen, command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, pass_fds=tuple(keep)
    )
    process: subprocess.Popen[bytes] = started.result()
    return Machine(process)


@contextlib.contextmanager
def machines(settings: Settings, count: int) -> Iterator[list[Machine]]:
    """So many worker processes, stopped at the end (those that were added to the list too)."""
    started: list[Machine] = []
    try:
        started.extend(start_machine(settings) for _ in range(count))
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
    than any claim."""

    settings: Settings
    workers: list[Machine]
    seed: int
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
                self.kills += 1
                self.workers[place] = start_machine(self.settings)
            else:
                worker.freeze()
                self.freezes += 1
                self.stopped.wait(self.frozen_for)
                worker.thaw()


@contextlib.contextmanager
def chaos(settings: Settings, workers: list[Machine], seed: int, **given: float) -> Iterator[Chaos]:
    """Chaos among these workers while the block runs."""
    trouble = Chaos(settings, workers, seed, **given)  # type: ignore[arg-type]
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
