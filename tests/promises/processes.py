"""Other processes, and how much memory they came to hold."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
MIB = 2**20


def memory(pid: int, name: str = "VmRSS") -> int:
    """A figure of /proc/PID/status in bytes: `VmRSS` now, `VmHWM` at most since `forget_peak`."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024


def forget_peak(pid: int) -> None:
    """From now on the peak counts anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def run_python(code: str, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """A Python process of this project that runs `code`."""
    told = [sys.executable, "-W", "error", "-c", code, *words]
    return subprocess.run(told, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)


@contextmanager
def serve(url: str, folder: Path, key: str) -> Iterator[tuple[int, int]]:
    """`hub.py serve` on a database that is ready: its process and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    env = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    env |= {"DATABASE_URL": url, "HUB_DATA": str(folder), "HUB_KEY": key}
    command = [sys.executable, "hub.py", "serve", "--port", str(port), "--no-workers"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(port, process)
            yield process.pid, port
        finally:
            process.terminate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("hub.py serve did not start")
