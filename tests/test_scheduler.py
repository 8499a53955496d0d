"""Timers fire once a second; in between a job looks by itself, and not at all while there can be nothing for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import scheduler
from pipeline.bootstrap import Hub, close_hub
from storage import tables as t
from storage.rows import insert_missing
from tests.pipeline.build import open_empty


@pytest.fixture
def hub(sqlite_url: str, tmp_path: Path) -> Iterator[Hub]:
    opened = open_empty(sqlite_url, tmp_path)
    yield opened
    opened.stopping.set()
    close_hub(opened)


def looking(hub: Hub, job: scheduler.Job, *, every: float = 0.01) -> threading.Thread:
    pools = scheduler.open_pools(hub)
    scheduler.close_pools(pools)
    thread = threading.Thread(target=scheduler._keep_looking, args=(hub, pools, job, every))
    thread.start()
    return thread


def counting(runs: list[int], *work: int, follows: bool = False) -> scheduler.Job:
    """A job that finds so much to do each time it runs, and then nothing."""

    def run(*_: object) -> int:
        runs.append(work[len(runs)] if len(runs) < len(work) else 0)
        return runs[-1]

    return scheduler.Job("look", lambda _: 0.01, run, follows=follows)


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    assert true()


def commit(hub: Hub, number: int) -> None:
    with hub.write() as tx:
        insert_missing(tx, t.nodes, [{"id": 500 + number, "holder": "x", "lease_until": 0}])


def test_a_job_looks_again_until_its_timer_is_about_to_fire(hub: Hub) -> None:
    runs: list[int] = []
    began = time.monotonic()
    looking(hub, counting(runs)).join(5)
    assert 5 < len(runs) <= 100 and 0.5 < time.monotonic() - began < 1.5


def test_a_stop_ends_the_looking_at_once(hub: Hub) -> None:
    began = time.monotonic()
    thread = looking(hub, scheduler.Job("look", lambda _: 0.5, lambda *_: 0), every=0.5)
    hub.stopping.set()
    thread.join(5)
    assert time.monotonic() - began < 0.4


def test_a_job_that_fails_is_tried_again(hub: Hub) -> None:
    runs: list[int] = []

    def fail(*_: object) -> int:
        runs.append(1)
        raise ValueError("a fault")

    looking(hub, scheduler.Job("look", lambda _: 0.01, fail, follows=True)).join(5)
    assert len(runs) > 3


def test_who_follows_commits_runs_after_each_and_until_there_is_nothing(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_TURN", 60.0)  # busy machines are slow; the stop at its end ends it
    runs: list[int] = []
    thread = looking(hub, counting(runs, 2, 1, follows=True))
    until(lambda: len(runs) == 3)  # as long as it found something
    time.sleep(0.1)
    assert len(runs) == 3
    commit(hub, 1)
    until(lambda: len(runs) == 4)
    hub.stopping.set()
    thread.join(5)
    assert len(runs) == 4


def test_who_found_something_gathers_before_the_next_look(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_TURN", 2.0)
    runs: list[int] = []
    looking(hub, replace(counting(runs, *[1] * 100), gathers=0.5)).join(5)
    assert 2 <= len(runs) <= 4
