"""Killed with SIGKILL at a write - any write - of one scripted pass, and started again: nothing is lost, nothing is pushed or
confirmed twice, both ends agree with the hub. `make test` takes every so-manieth point; HUB_FULL_SWEEP=1 takes every one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = os.environ.get("HUB_FULL_SWEEP") == "1"
EVERY_KIND = "rejects,findable,keyed,unsafe"


@pytest.mark.parametrize(
    ("database", "kinds", "first", "step"),
    # Odd strides, so that the sample falls on every kind of write and not on one that comes again and again.
    [("sqlite", "findable", 5, 23), ("postgresql", "rejects,unsafe", 14, 53)],
)
def test_a_kill_at_any_write_loses_nothing_and_does_nothing_twice(
    database: str, kinds: str, first: int, step: int
) -> None:
    if FULL:
        kinds, first, step = EVERY_KIND, 1, 1
    command = [sys.executable, "-m", "tests.journeys.crash_sweep", "--database", database, "--kinds", kinds]
    command += ["--first", str(first), "--step", str(step)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    told = json.loads(done.stdout)
    # The very last points may lie behind the end of a pass that met fewer clock ticks than the first one.
    assert told["killed"] >= told["points"] - 2 * len(told["passes"])
    assert all(length > 250 for length in told["passes"].values())
