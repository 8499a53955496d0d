"""Killed with SIGKILL at a write - any write - of one scripted pass, and started again: nothing is lost, nothing is pushed or
confirmed twice, both ends agree with the hub. `make test` takes a sample of them; HUB_FULL_SWEEP=1 takes every one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FULL = os.environ.get("HUB_FULL_SWEEP") == "1"
EVERY_KIND = "rejects,findable,keyed,unsafe"


def _sweep(database: str, kinds: str, *options: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "tests.journeys.crash_sweep", "--database", database, "--kinds", kinds, *options]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "{}"), f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    ("database", "kinds", "first", "step"),
    # Odd strides, so that the sample falls on every kind of write and not on one that comes again and again.
    [("sqlite", "findable", 5, 29), ("postgresql", "rejects,unsafe", 11, 23)],
)
def test_a_kill_at_any_write_loses_nothing_and_does_nothing_twice(
    database: str, kinds: str, first: int, step: int
) -> None:
    if FULL:
        kinds, first, step = EVERY_KIND, 1, 1
    status, told, said = _sweep(database, kinds, "--first", str(first), "--step", str(step))
    assert status == 0, said
    # The very last points may lie behind the end of a pass that met fewer ticks of the clock than the first one.
    assert told["killed"] >= told["points"] - 2 * len(told["passes"])
    assert all(length > 100 for length in told["passes"].values())


def test_the_sweep_finds_a_cursor_that_is_saved_before_its_rows() -> None:
    options = ("--first", "9", "--last", "11", "--patience", "1", "--sabotage")
    status, told, said = _sweep("sqlite", "findable", *options)
    assert status == 1, said
    assert any("knows" in fault for point in told["faulty"] for fault in point["faults"])
