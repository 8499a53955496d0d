"""The whole life of orders against the sandbox, both ends' ledgers compared, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.demo import run_demo


@pytest.mark.parametrize("faults", ["none", "some"])
def test_every_order_of_a_demo_is_accounted_for(database_url: str, tmp_path: Path, faults: str) -> None:
    # Without faults as many as fill more than a page of every shop.
    orders = 320 if faults == "none" else 60
    report = run_demo(orders=orders, seed=1, faults=faults, database=database_url, folder=tmp_path, tempo=0.3)
    assert (report.lost, report.duplicated, report.unaccounted, report.faults) == (0, 0, 0, [])
    assert sum(told.placed for told in report.channels.values()) == orders


def test_plain_orders_all_end_confirmed_by_processes_apart(database_url: str, tmp_path: Path) -> None:
    report = run_demo(
        orders=60, seed=12, faults="none", mix="plain", database=database_url, folder=tmp_path, tempo=0.3, apart=True
    )
    assert report.good, report.faults
    for told in report.channels.values():
        assert told.placed == told.known == told.pushed == told.shipped == told.confirmed
        assert told.exceptions == {}
