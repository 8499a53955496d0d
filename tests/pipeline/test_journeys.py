"""Whole lives against the other side, over real HTTP: what is at the warehouse and in the shop is there exactly once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import scheduler
from bench import demo, ledgers
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.review import cancel_by_number
from pipeline.settings import Settings
from sandbox import Running, start
from storage import tables as t
from storage.rows import rows_of

from .build import KEYS

KINDS = "WH01=rejects,WH02=keyed,WH03=findable"


@pytest.fixture(scope="module")
def box() -> Iterator[Running]:
    with start(
        seed="journeys", mix="plain", tempo=0.1, hang_seconds=0.3, kinds=KINDS, ship_after="0.05,0.2"
    ) as running:
        yield running


@contextmanager
def house(url: str, folder: Path, box: Running) -> Iterator[Hub]:
    """A hub on the real clock, furnished for the other side; news is asked for, nobody calls back."""
    told = Settings(
        database_url=url,
        data_folder=folder,
        key=KEYS,
        poll_seconds=0.05,
        look_back_seconds=60,
        first_look_back_seconds=600,
        retry_scale=0.01,
        news_seconds=0.2,
        stock_seconds=3600,
    )
    hub = open_hub(told, migrated=True)
    demo.configure(hub, box)
    try:
        yield hub
    finally:
        close_hub(hub)


def rows(hub: Hub, table: Any) -> list[dict[str, Any]]:
    with hub.read() as tx:
        return rows_of(tx, table.select())


def run_until(hub: Hub, done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        scheduler.run_once(hub, seconds=2)
        if done():
            return
        time.sleep(0.05)
    raise AssertionError(Counter(row["status"] for row in rows(hub, t.orders)))


def mine(hub: Hub, ids: list[str]) -> list[dict[str, Any]]:
    """The orders of this journey: the shop still lists those of the ones before."""
    return [row for row in rows(hub, t.orders) if row["external_id"] in ids]


def all_in(hub: Hub, ids: list[str], status: str) -> Callable[[], bool]:
    return lambda: [row["status"] for row in mine(hub, ids)] == [status] * len(ids)


def place(box: Running, count: int) -> list[str]:
    ids: list[str] = ledgers.call(box, "place", {"channel": "taobao", "count": count, "mix": "plain"})["ids"]
    return ids


def there(box: Running, ids: list[str]) -> list[dict[str, Any]]:
    """The warehouses' documents about these orders."""
    return [row for row in ledgers.ledger(box, "qimen") if {row["source"], *row["sources"]} & set(ids)]


def test_orders_go_out_once_and_their_tracking_comes_home_once(database_url: str, tmp_path: Path, box: Running) -> None:
    ids = place(box, 8)
    with house(database_url, tmp_path, box) as hub:
        run_until(hub, all_in(hub, ids, "completed"))
        documents = there(box, ids)
        assert Counter(row["code"] for row in documents).most_common(1)[0][1] == 1
        parcels = {package["tracking"] for row in documents for package in row["packages"]}
        shop = [row for row in ledgers.ledger(box, "taobao") if row["id"] in ids]
        told = Counter((s["tracking"], line["id"]) for row in shop for s in row["shipments"] for line in s["lines"])
        assert max(told.values()) == 1
        assert {tracking for tracking, _ in told} <= parcels
        assert all(line["status"] != "WAIT_SELLER_SEND_GOODS" for row in shop for line in row["lines"])
        assert [row["code"] for row in rows(hub, t.exceptions)] == []


@pytest.mark.parametrize("fault", ["drop_after_effect", "drop_before_effect", "truncate", "empty_after"])
def test_a_lost_answer_never_makes_a_second_parcel(sqlite_url: str, tmp_path: Path, box: Running, fault: str) -> None:
    ids = place(box, 3)
    for server, method in (("qimen", "deliveryorder.create"), ("taobao", "taobao.logistics.offline.send")):
        ledgers.call(box, "faults", {"server": server, "method": method, "fault": fault, "count": 2})
    with house(sqlite_url, tmp_path, box) as hub:
        run_until(hub, all_in(hub, ids, "completed"))
        assert Counter(row["code"] for row in there(box, ids)).most_common(1)[0][1] == 1
        shop = [row for row in ledgers.ledger(box, "taobao") if row["id"] in ids]
        told = Counter((s["tracking"], line["id"]) for row in shop for s in row["shipments"] for line in s["lines"])
        assert max(told.values()) == 1
        assert rows(hub, t.exceptions) == []


def test_a_cancel_after_the_push_ends_as_the_warehouse_says(sqlite_url: str, tmp_path: Path, box: Running) -> None:
    ledgers.call(box, "pause_shipping", {"paused": True})
    ids = place(box, 4)
    try:
        with house(sqlite_url, tmp_path, box) as hub:
            run_until(hub, lambda: [row["state"] for row in rows(hub, t.fulfilments)].count("accepted") >= len(ids))
            for row in mine(hub, ids):
                cancel_by_number(hub, row["number"], actor="ann", why="no longer wanted")
            run_until(hub, all_in(hub, ids, "closed"))
            assert {row["state"] for row in there(box, ids)} == {"CANCELED"}
            assert sum(row["reserved"] for row in rows(hub, t.stock)) == 0
    finally:
        ledgers.call(box, "pause_shipping", {"paused": False})
