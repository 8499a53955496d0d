"""Servers as processes of their own: started on loopback, ended by their own id, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from pipeline.settings import Settings, as_environment

from .postgres import DIE_WITH_PARENT

STOP_SECONDS = 15.0
_ROOT = Path(__file__).resolve().parents[1]
_LOOK = 0.1


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path | None
) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process in `folder`, which ends with this one; what it says goes to `log`, or where this one's goes."""
    line = list(command)
    if sys.platform == "linux":
        line = [sys.executable, "-IS", "-c", DIE_WITH_PARENT, *line]
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("ab")) if log else None
        process = subprocess.Popen(
            line, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
    try:
        yield process
    finally:
        stop(process)


def running_hub(
    settings: Settings, *words: str, log: Path | None = None
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """`hub.py` with these words and settings, and no others, as a process."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    environment |= {"HUB_CONFIG": os.devnull} | as_environment(settings)
    return running([sys.executable, "hub.py", *words], folder=_ROOT, environment=environment, log=log)


def answers(port: int, path: str = "/readyz") -> bool:
    """Whether a page of a server on loopback is given."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
        return bool(reply.status < HTTPStatus.BAD_REQUEST)


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


def wait_until(
    is_ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path | None, *, seconds: float
) -> str:
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


def cpu_of(pid: int) -> float | None:
    """User and system seconds this process alone has used; None for one that is gone, or without /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def busy_seconds() -> float:
    """Processor seconds this machine has worked since it started, its host's for others among them; 0 where there is no /proc."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    idle = (3, 4)
    return sum(int(word) for place, word in enumerate(words) if place not in idle) / os.sysconf("SC_CLK_TCK")


def _tail(log: Path | None) -> str:
    if log is None:
        return "see above"
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
