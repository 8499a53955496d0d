"""The sandbox is a process of its own that cannot outlive the one that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sandbox

ROOT = Path(__file__).parents[2]
PARENT = """
import sandbox, sys, time
box = sandbox.start(mix="plain")
print(box.process.pid, flush=True)
time.sleep(60)
"""


def gone(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_dies_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(child, 3)


def test_stops_on_sigterm_and_when_told() -> None:
    first, second = sandbox.start(mix="plain"), sandbox.start(mix="plain")
    first.process.terminate()
    assert first.process.wait(5) == 0
    first.stop()
    second.stop()
    second.stop()
    assert second.process.returncode == 0


def test_says_at_once_when_it_cannot_start() -> None:
    with pytest.raises(RuntimeError):
        sandbox.start(kinds="WH99=odd")


def test_places_orders_at_the_start_and_names_every_kind() -> None:
    with sandbox.start(orders=20) as box:
        assert box.taobao["url"].endswith("/router/rest")
        assert [site["code"] for site in box.qimen["warehouses"]] == ["WH01", "WH02", "WH03"]
