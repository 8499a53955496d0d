"""Servers as processes of their own: started on loopback, ended by their own id, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from .postgres import DIE_WITH_PARENT

STOP_SECONDS = 15.0
_LOOK = 0.1


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process in `folder`, which ends with this one; what it says goes to `log`."""
    line = list(command)
    if sys.platform == "linux":
        line = [sys.executable, "-IS", "-c", DIE_WITH_PARENT, *line]
    with log.open("ab") as sink:
        process = subprocess.Popen(
            line, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, kill it when it does not; its children are its own affair."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, *, seconds: float) -> str:
    """Wait until the process answers; returns what is wrong with it otherwise, with the end of its log ("" when all is well)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            return f"it ended with status {process.returncode}: {_tail(log)}"
        with contextlib.suppress(OSError):
            if is_ready():
                return ""
        time.sleep(_LOOK)
    return f"it was not ready after {seconds:.0f} s: {_tail(log)}"


def cpu_seconds(pids: Collection[int]) -> float:
    """User and system seconds that these processes, their children and the children they have seen end have used; 0 where
    there is no /proc."""
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = place.read_text().rpartition(")")[2].split()
            parents[int(place.parent.name)] = int(fields[1])
            used[int(place.parent.name)] = sum(map(int, fields[11:15]))
    family = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
