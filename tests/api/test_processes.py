"""`hub.py serve --processes`: several processes on one port, as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from api import processes
from api.processes import Task
from hub import app
from pipeline.bootstrap import close_hub
from pipeline.settings import as_environment
from storage import tables as t
from tests.api.house import encoded, open_house, order
from tests.api.test_gathering import serving
from tests.source import ROOT

TWO = ("--processes", "2")


def serving_children(pid: int) -> set[int]:
    """The processes that a process has started to do its work."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            command = (place / "cmdline").read_text()
        except OSError:
            continue
        if parent == pid and "spawn_main" in command:
            found.add(int(place.name))
    return found


def soon(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path("/proc", str(pid)).exists() and not is_dead(pid)}


def is_dead(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def post_on(port: int, key: str, worker: int, told: dict[str, str], stop: threading.Event) -> None:
    """Post until told to stop; what was not answered is sent again under its key."""
    base, headers = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {key}"}
    number = 0
    while not stop.is_set():
        with httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=30) as client:
            try:
                while not stop.is_set():
                    name = f"PO-{worker}-{number}"
                    reply = client.post("/v1/orders", content=encoded(order(name)), headers={"Idempotency-Key": name})
                    assert reply.status_code == 201
                    told[name] = reply.json()["number"]
                    number += 1
            except httpx.HTTPError:
                time.sleep(0.02)


def taken(port: int, key: str) -> float:
    """How many posts were answered with success, by the figures."""
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    lines = [line for line in told.text.splitlines() if line.startswith("hub_http_requests_total")]
    (count,) = [line for line in lines if 'route="/v1/orders"' in line and 'status="201"' in line]
    return float(count.rpartition(" ")[2])


def test_one_that_is_killed_is_replaced_and_what_was_acknowledged_is_there_once(
    sqlite_url: str, tmp_path: Path
) -> None:
    house = open_house(sqlite_url, tmp_path)
    settings, key, reader = house.hub.settings, house.keys["acme"], house.keys["read"]
    close_hub(house.hub)
    told: dict[str, str] = {}
    stop = threading.Event()
    with serving(as_environment(settings), *TWO) as (process, port), ThreadPoolExecutor(8) as pool:
        soon(lambda: len(serving_children(process.pid)) == 2)
        first = serving_children(process.pid)
        posting = [pool.submit(post_on, port, key, number, told, stop) for number in range(8)]
        try:
            soon(lambda: len(told) >= 24)
            killed = min(first)
            os.kill(killed, signal.SIGKILL)
            soon(lambda: len(serving_children(process.pid) - {killed}) == 2)
            before = len(told)
            soon(lambda: len(told) >= before + 24)
        finally:
            stop.set()
        for each in posting:
            each.result(60)
        for _ in range(4):
            assert taken(port, reader) >= len(told), "whichever process answers, the one that was killed counts too"
        last = serving_children(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not alive(first | last)
    house = open_house(sqlite_url, tmp_path)
    with house.hub.read() as tx:
        stored = [(row.external_id, row.number) for row in tx.execute(t.orders.select())]
    close_hub(house.hub)
    assert len(dict(stored)) == len(stored)
    assert dict(stored) | told == dict(stored)


def test_they_end_with_the_one_that_started_them() -> None:
    code = (
        "import time; from api.processes import Task, keep_running; keep_running([Task('nap', time.sleep, (60,))] * 2)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
        try:
            soon(lambda: len(serving_children(process.pid)) == 2)
            started = serving_children(process.pid)
        finally:
            process.kill()
        soon(lambda: not alive(started))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["serve 1", "serve 2", "work"]),
        (("--jobs", "absorb,house"), ["serve 1", "serve 2", "work"]),
        (("--jobs", "none"), ["serve 1", "serve 2"]),
        (("--no-workers",), ["serve 1", "serve 2"]),
    ],
)
def test_timed_jobs_run_in_one_process_of_their_own(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], names: list[str]
) -> None:
    house = open_house(sqlite_url, tmp_path)
    close_hub(house.hub)
    for name, value in as_environment(house.hub.settings).items():
        monkeypatch.setenv(name, value)
    found: list[Task] = []
    monkeypatch.setattr(processes, "keep_running", found.extend)
    done = CliRunner().invoke(app, ["serve", "--port", "0", *TWO, *words])
    assert done.exit_code == 0, done.output
    assert [task.name for task in found] == names
    for task in found:
        for given in task.given:
            if hasattr(given, "close"):
                given.close()
