"""Two trades of one buyer over real HTTP: one order at the warehouse, one parcel, and each trade told its own lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench import ledgers
from sandbox import Running, start
from storage import tables as t
from tests.pipeline.test_journeys import all_in, house, mine, rows, run_until, there
from tests.pipeline.together import merging


@pytest.fixture(scope="module")
def box() -> Iterator[Running]:
    with start(seed="merged", mix="plain", tempo=0.1, hang_seconds=0.3, ship_after="0.05,0.2") as running:
        yield running


def place(box: Running, buyer: str, seed: str) -> list[str]:
    told = {"channel": "taobao", "count": 2, "mix": "plain", "buyer": buyer, "seed": seed}
    ids: list[str] = ledgers.call(box, "place", told)["ids"]
    return ids


@pytest.mark.parametrize("fault", ["", "drop_after_effect"])
def test_one_parcel_is_told_to_two_trades(sqlite_url: str, tmp_path: Path, box: Running, fault: str) -> None:
    if fault:
        told = {"server": "qimen", "method": "deliveryorder.create", "fault": fault, "count": 1}
        ledgers.call(box, "faults", told)
    with house(sqlite_url, tmp_path, box) as hub:
        merging(hub, 1)
        hub.clock = lambda: datetime.now(UTC) + timedelta(seconds=54)  # of the shortest window six seconds are left
        ids = place(box, f"ann {fault}", f"two {fault}")
        run_until(hub, all_in(hub, ids, "completed"))
        (document,) = there(box, ids)
        assert document["sources"] == sorted(ids)
        assert [row["state"] for row in rows(hub, t.merges)] == ["pushed"]
        shop = {row["id"]: row for row in ledgers.ledger(box, "taobao") if row["id"] in ids}
        parcels = {package["tracking"] for package in document["packages"]}
        for row in shop.values():
            said = Counter((s["tracking"], line["id"]) for s in row["shipments"] for line in s["lines"])
            assert set(said.values()) == {1}
            assert {tracking for tracking, _ in said} <= parcels
            assert {line for _, line in said} <= {line["id"] for line in row["lines"]}
            assert all(line["status"] != "WAIT_SELLER_SEND_GOODS" for line in row["lines"])
        assert {len(row["shipments"]) > 0 for row in shop.values()} == {True}
        assert len({row["order_id"] for row in rows(hub, t.packages)}) == len(mine(hub, ids)) == 2
        assert rows(hub, t.exceptions) == []
