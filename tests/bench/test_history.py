"""A copied past is a past: every table has grown, every list walks it, nothing stands in it twice."""

from __future__ import annotations

import pytest

from bench.growth import bench_growth
from bench.history import grow, opened_past, table_sizes
from bench.lists import measure_lists
from bench.memory import bench_memory
from pipeline.archive import WALK
from pipeline.console_views import list_orders_page
from storage.archives import load_mark
from tests.postgres import Server


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return ""
    pg: Server = request.getfixturevalue("pg_server")
    return pg.url("postgres")


def test_a_past_grows_by_copies_that_every_list_finds(server: str) -> None:
    with opened_past(seed=1, database=server, template=40, largest=400) as past:
        for size in (120, 400):
            grow(past, size)
        assert past.orders == 400
        with past.hub.read() as tx:
            for table in ("orders", "archives", "inbox"):
                assert tx.exec_driver_sql(f"select count(*) from {table}").scalar_one() == 400
            newest = tx.exec_driver_sql("select max(updated_at) from orders").scalar_one()
            assert load_mark(tx, WALK)[0] >= newest, (
                "housekeeping would walk over the copies before it meets what is new"
            )
            known = tx.exec_driver_sql("select count(distinct external_id), count(distinct number) from orders").one()
            assert tuple(known) == (400, 400)
        after, met = "", 0
        for _ in range(20):
            page = list_orders_page(past.hub, after=after)
            met, after = met + len(page.rows), page.next
            if not after:
                break
        assert met == 400
        told = measure_lists(past, 2)
        assert told["orders, deep"].keys() == {"p50", "p95", "floor"}
        assert table_sizes(past)["orders"] > 0


def test_growth_says_what_an_order_costs_and_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.growth._ROUNDS", 2)
    monkeypatch.setattr("bench.growth._BATCH", 20)
    told = bench_growth(orders=40, seed=1, database="")
    assert told["orders"] > 40
    assert told["ratio"] > 0
    assert {stage["orders"] for stage in told["stages"]} == {told["orders"]}


def test_memory_is_measured_to_its_peak() -> None:
    told = bench_memory(orders=100, seed=1, database="")
    assert told["orders"] == 100
    assert told["value"] > 1
    assert told["line"][-1][0] == 100
