"""The benchmark of absorbing looks at what both sides stored before it believes a figure."""

from __future__ import annotations

import pytest

from bench.absorb import Tables, bench_absorb, find_faults


@pytest.mark.parametrize("place", ["sqlite", "postgresql"])
def test_hub_and_floor_store_the_same_rows(place: str, request: pytest.FixtureRequest) -> None:
    database = "" if place == "sqlite" else request.getfixturevalue("postgres_url")
    figure = bench_absorb(orders=40, seed=3, database=database, runs=1, batch=20)
    assert figure.faults == ()
    assert min(figure.value, figure.floor) > 0


def test_a_row_that_is_missing_or_too_many_is_told() -> None:
    tables: Tables = {"orders": (("id",), [(1,), (2,)]), "events": (("id",), [(1,)])}
    assert find_faults("hub", {"orders": 2, "events": 1}, tables) == []
    assert find_faults("floor", {"orders": 3, "events": 0}, tables) == [
        "floor: 2 orders, not 3",
        "floor: 1 events, not 0",
    ]
