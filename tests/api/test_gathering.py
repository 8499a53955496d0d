"""Posts that come together share a commit, and nobody pays for anybody else's post."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from pipeline import intake as intake_module
from pipeline.access import identify
from pipeline.bootstrap import Hub, close_hub
from pipeline.posts import Post, Reply, read_post
from pipeline.settings import as_environment
from storage import tables as t
from tests.api.house import House, encoded, open_house, order
from tests.source import ROOT


@dataclass(slots=True)
class Gate:
    """Stands before the transaction: `groups` are the posts that shared one, by the order ids that were posted."""

    real: Callable[..., list[Reply]]
    opened: threading.Event = field(default_factory=threading.Event)
    groups: list[list[str]] = field(default_factory=list)

    def handle(self, hub: Hub, posts: Sequence[Post], **given: Any) -> list[Reply]:
        self.groups.append([post.documents[0].external_id for post in posts])
        assert self.opened.wait(30)
        return self.real(hub, posts, **given)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(intake_module._handle)
    monkeypatch.setattr(intake_module, "_handle", made.handle)
    yield made
    made.opened.set()


def posts(house: House, names: Sequence[str], **changes: Any) -> list[Post]:
    caller = identify(house.hub, house.keys["acme"])
    return [read_post(caller, name, encoded(order(name, **changes))) for name in names]


def stored(house: House) -> set[str]:
    with house.hub.read() as tx:
        return set(tx.execute(t.orders.select().with_only_columns(t.orders.c.external_id)).scalars())


async def wait_for(told: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if told():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def test_posts_that_wait_share_one_commit(house: House, gate: Gate) -> None:
    commits: list[str] = []
    event.listen(house.hub.engine, "commit", lambda _: commits.append(threading.current_thread().name))
    first, *others = posts(house, [f"PO-{number}" for number in range(33)])

    async def run() -> list[Reply]:
        intake = house.app.state.intake
        tasks = [asyncio.create_task(intake.answer(first))]
        await wait_for(lambda: bool(gate.groups))
        tasks += [asyncio.create_task(intake.answer(each)) for each in others]
        await asyncio.sleep(0)
        commits.clear()
        gate.opened.set()
        return list(await asyncio.gather(*tasks))

    replies = asyncio.run(run())
    assert {reply.status for reply in replies} == {201}
    assert [len(group) for group in gate.groups] == [1, 32]
    assert commits.count("intake") == 2
    assert house.orders() == 33


def test_a_post_that_comes_alone_waits_for_nobody(small_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gathering time is for company that was there a moment ago; an hour of it must not be felt by a single post."""
    monkeypatch.setattr(intake_module, "_GATHER_S", 3_600.0)
    for number in range(3):
        assert small_house.post(order(f"PO-{number}"), f"k{number}").status_code == 201


def test_one_bad_post_of_a_commit_hurts_no_other(house: House, gate: Gate) -> None:
    good = posts(house, [f"PO-{number}" for number in range(8)])
    bad = posts(house, ["PO-bad"], lines=[])
    unmapped = posts(house, ["PO-held"], lines=[{"line_id": "1", "sku": "NO", "quantity": 1, "unit_price": "20.00"}])

    async def run() -> list[Reply]:
        intake = house.app.state.intake
        tasks = [asyncio.create_task(intake.answer(each)) for each in (good[0], *bad, *good[1:], *unmapped)]
        await asyncio.sleep(0)
        gate.opened.set()
        return list(await asyncio.gather(*tasks))

    replies = asyncio.run(run())
    assert [reply.status for reply in replies] == [201, 422, *[201] * 8]
    assert stored(house) == {"PO-held", *(f"PO-{number}" for number in range(8))}


def test_a_client_that_leaves_while_its_post_is_committed_finds_the_answer_later(house: House, gate: Gate) -> None:
    left, stays = posts(house, ["PO-left", "PO-stays"])

    async def run() -> Reply:
        intake = house.app.state.intake
        leaving, staying = (asyncio.create_task(intake.answer(each)) for each in (left, stays))
        await wait_for(lambda: bool(gate.groups))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        gate.opened.set()
        told: Reply = await staying
        return told

    assert asyncio.run(run()).status == 201
    again = house.post(order("PO-left"), "PO-left")
    assert again.status_code == 201
    assert stored(house) == {"PO-left", "PO-stays"}


@pytest.mark.parametrize(("limit", "value"), [("_QUEUE", 3), ("_QUEUE_BYTES", 3 * len(encoded(order("PO-0"))) + 1)])
def test_more_than_the_queue_holds_is_told_to_come_again(
    small_house: House, gate: Gate, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(intake_module, limit, value)

    async def run() -> list[httpx.Response]:
        async with small_house.client() as client:

            async def post(name: str) -> httpx.Response:
                return await client.post("/v1/orders", content=encoded(order(name)), headers={"Idempotency-Key": name})

            first = asyncio.create_task(post("PO-first"))
            await wait_for(lambda: bool(gate.groups))
            rest = [asyncio.create_task(post(f"PO-{number}")) for number in range(10)]
            await wait_for(lambda: sum(task.done() for task in rest) == 7)
            gate.opened.set()
            return list(await asyncio.gather(first, *rest))

    replies = asyncio.run(run())
    refused = [reply for reply in replies if reply.status_code == 503]
    assert len(refused) == 7
    assert {reply.json()["code"] for reply in refused} == {"overloaded"}
    assert all(int(reply.headers["retry-after"]) > 0 for reply in refused)
    assert small_house.orders() == 4


def test_a_killed_server_acknowledged_nothing_that_is_not_there(database_url: str, tmp_path: Path) -> None:
    """Promise P5 with a real process: `hub.py serve` is killed in the middle of posts from eight connections."""
    house = open_house(database_url, tmp_path)
    settings, key = house.hub.settings, house.keys["acme"]
    close_hub(house.hub)
    acknowledged: dict[str, str] = {}
    with serving(as_environment(settings)) as (process, port), ThreadPoolExecutor(8) as pool:
        ended = [pool.submit(post_until_refused, port, key, number, acknowledged) for number in range(8)]
        end = time.monotonic() + 60
        while len(acknowledged) < 48 and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        for each in ended:
            each.result(60)
    assert len(acknowledged) >= 48
    house = open_house(database_url, tmp_path)
    with house.hub.read() as tx:
        found = [(row.external_id, row.number) for row in tx.execute(t.orders.select())]
        kept = set(tx.execute(t.idempotency.select().with_only_columns(t.idempotency.c.key)).scalars())
    close_hub(house.hub)
    there = dict(found)
    assert len(there) == len(found)
    assert {name: there.get(name) for name in acknowledged} == acknowledged
    assert acknowledged.keys() <= kept


def post_until_refused(port: int, key: str, worker: int, acknowledged: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=30) as client:
        for number in range(10_000):
            name = f"PO-{worker}-{number}"
            try:
                reply = client.post("/v1/orders", content=encoded(order(name)), headers={"Idempotency-Key": name})
            except httpx.HTTPError:
                return
            assert reply.status_code == 201
            acknowledged[name] = reply.json()["number"]


@contextlib.contextmanager
def serving(environment: dict[str, str], *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    told = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    command = [sys.executable, "hub.py", "serve", "--jobs", "none", "--no-docs", "--port", str(port), *words]
    process = subprocess.Popen(command, cwd=ROOT, env=told | {"HUB_CONFIG": os.devnull} | environment)
    try:
        for _ in range(600):
            assert process.poll() is None
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        yield process, port
    finally:
        process.kill()
        process.wait()
