"""What keeps many processes from doing each other's work: ticks, the shared clock, nodes, and the last look before a send."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from domain.errors import ConfigError, RetryableError
from pipeline import absorb as absorbing
from pipeline import sending
from pipeline.bootstrap import Hub, close_hub, keep_alive, open_hub
from pipeline.clock import SharedClock, counted
from pipeline.dispatch import Dispatcher
from pipeline.lanes import ABSORB_PARTS, absorb_jobs, calls_of, dispatch_jobs, share_of
from pipeline.planning import plan
from pipeline.settings import Settings
from pipeline.settle import settle
from pipeline.worker import open_worker
from pipeline.workspace import Workspace, write_workspace
from storage.nodes import claim_node
from storage.queue import list_jobs
from storage.tables import outbox
from wire.permit import may_speak

from .build import KEYS, Shop, order

HOUR = 3_600_000_000


@pytest.fixture
def hub(postgres_url: str, tmp_path: Path) -> Iterator[Hub]:
    opened = open_hub(Settings(data_folder=tmp_path, database_url=postgres_url, key=KEYS), migrated=True)
    yield opened
    close_hub(opened)


def test_two_schedulers_plan_every_tick_once(pg_shop: Shop) -> None:
    pg_shop.put(order())
    hub, ours = pg_shop.hub, list[bool]()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            ours += pool.map(lambda _: plan(hub), range(2))
            pg_shop.clock.wait(seconds=1)
    assert ours.count(True) == 5
    with hub.read() as tx:
        jobs = [row["wanted"].key for row in list_jobs(tx)]
    assert {f"absorb:{part}" for part in range(ABSORB_PARTS)} | {"house"} <= set(jobs)
    assert len(jobs) == len(set(jobs)), "five ticks asked for a job that waits: it waits once"


def test_a_worker_does_what_is_planned_and_nothing_is_left(pg_shop: Shop) -> None:
    pg_shop.put(order())
    worker = open_worker(pg_shop.hub, ["absorb"])
    plan(pg_shop.hub)
    worker.start()
    try:
        end = time.monotonic() + 10
        while not pg_shop.rows(outbox) and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        worker.stop()
        pg_shop.hub.stopping.clear()
    assert pg_shop.order("PO-1").sendings("push") == ["due"]
    with pg_shop.hub.read() as tx:
        rows = list_jobs(tx)
    assert not [row["wanted"].key for row in rows if row["owner"]]
    assert "dispatch" in {row["wanted"].name for row in rows}, "the committed push woke its sender"


def test_kinds_of_jobs_that_share_a_lane_go_together(hub: Hub) -> None:
    with pytest.raises(ConfigError, match="all of them or none"):
        open_worker(hub, ["pull", "absorb"])


def test_a_sender_frozen_after_its_last_look_has_no_leave_to_speak(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.take(order())
    jobs = shop.claim()
    allowed: list[bool] = []

    def push(_hub: Hub, _job: object) -> None:
        allowed.append(may_speak())
        shop.clock.wait(seconds=61)
        allowed.append(may_speak())

    monkeypatch.setattr(sending, "_push", push)
    sending.send(shop.hub, jobs)
    assert allowed == [True, False]


def test_what_was_not_sent_when_a_process_stops_is_due_again(shop: Shop) -> None:
    order_ = shop.take(order())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, 0.3)  # the only sender is busy: nothing of ours begins
        dispatcher = Dispatcher(shop.hub, settle, pool)
        assert dispatcher.turn() == 1
        dispatcher.land()
    assert (order_.again().states, order_.again().sendings("push")) == (["ready"], ["due"])


def test_a_transaction_that_the_server_ended_is_no_documents_fault(
    pg_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pg_shop.put(order())

    def freeze(ws: Workspace) -> None:
        ws.tx.execute(text("set local idle_in_transaction_session_timeout = '20ms'"))
        time.sleep(0.3)
        write_workspace(ws)

    with monkeypatch.context() as patched:
        patched.setattr(absorbing, "write_workspace", freeze)
        with pytest.raises(DBAPIError):
            absorbing.absorb(pg_shop.hub)
    assert absorbing.absorb(pg_shop.hub) == 1
    assert pg_shop.order("PO-1").states == ["ready"]
    assert pg_shop.open_codes() == []


# --- one clock, and ids ----------------------------------------------------------------------------------------------


def test_a_process_whose_node_ran_out_makes_no_ids_and_takes_another_node(hub: Hub) -> None:
    at = hub.clock()
    hub.clock = lambda: at
    before = hub.ids
    with hub.write() as tx:
        # As if the process had slept: its lease is over, and another took the number.
        assert claim_node(tx, "another", now=hub.now() + 2 * HOUR, lease=HOUR) == hub.node
    before.extend(hub.now() // 1000)
    with pytest.raises(RetryableError, match="node_lost"):
        before.take(1)
    keep_alive(hub)
    assert hub.node == 1
    assert hub.ids.take(1)[0] >> 12 & 1023 == 1
    with pytest.raises(RetryableError, match="node_lost"):
        before.take(1)


def test_a_clock_set_back_by_hours_stops_no_ids(postgres_url: str, tmp_path: Path) -> None:
    now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    settings = Settings(data_folder=tmp_path, database_url=postgres_url, key=KEYS)
    hub = open_hub(settings, clock=lambda: now, migrated=True)
    (first,) = hub.ids.take(1)
    hub.clock = lambda: now - timedelta(hours=5)
    keep_alive(hub)
    assert hub.ids.take(1)[0] > first
    close_hub(hub)


def test_all_machines_go_by_the_databases_clock(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = hub.clock
    assert isinstance(clock, SharedClock)
    monkeypatch.setattr(clock, "_base", (datetime(2020, 1, 1, tzinfo=UTC), counted()))
    assert clock() < datetime(2020, 1, 2, tzinfo=UTC)
    keep_alive(hub)
    assert abs((clock() - datetime.now(UTC)).total_seconds()) < 5


# --- lanes -----------------------------------------------------------------------------------------------------------


def test_a_lane_has_room_for_two_halves() -> None:
    assert [share_of(calls) for calls in (1, 2, 8)] == [1, 1, 4]
    assert [calls_of(told, 8) for told in (None, 0, True, "3", 3)] == [8, 8, 8, 8, 3]
    assert [job.key for job in dispatch_jobs("warehouse", 7, 8, all_shards=True)] == ["dispatch:7:0", "dispatch:7:1"]
    assert len(dispatch_jobs("warehouse", 7, 1, all_shards=True)) == 1
    assert len(absorb_jobs()) == ABSORB_PARTS
    assert len(absorb_jobs([1 << 22])) == 1
