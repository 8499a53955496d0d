"""The simulation of a cell says what arithmetic says where arithmetic is enough, and never more than its bound."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import scale
from bench.cells import CELLS, Cell, Costs, Point, bound, carry, check_model, simulate


def test_one_worker_alone_does_what_its_cpu_allows() -> None:
    told = simulate(Cell("x", workers=1, cores=8), Costs(worker_ms=2.0, database_ms=0.1, commit_ms=0.0))
    assert told.value == pytest.approx(500, rel=0.02)
    assert told.narrowest == "worker processes"


def test_a_second_worker_doubles_it_while_there_are_cores() -> None:
    costs = Costs(worker_ms=2.0, database_ms=0.1, commit_ms=0.0)
    one, two = (simulate(Cell("x", workers=n, cores=8), costs).value for n in (1, 2))
    assert two / one == pytest.approx(2.0, rel=0.03)


def test_two_cores_for_everything_share_everything() -> None:
    told = simulate(Cell("x", workers=4, cores=2), Costs(worker_ms=3.0, database_ms=1.0, beside_ms=1.0))
    assert told.value == pytest.approx(2 / 5e-3, rel=0.03)
    assert told.narrowest == "cores"


def test_a_database_of_its_own_is_what_ends_first_when_it_is_small() -> None:
    told = simulate(Cell("x", workers=32, cores=32, database_cores=1), Costs(worker_ms=1.0, database_ms=1.0))
    assert told.value == pytest.approx(1_000, rel=0.05)
    assert told.narrowest == "database"


def test_commits_that_come_together_share_one_write() -> None:
    slow = Costs(worker_ms=0.1, database_ms=0.1, commits=4.0, commit_ms=10.0)
    alone, together = (simulate(Cell("x", workers=1, cores=8, threads=n), slow, orders=300).value for n in (1, 32))
    assert alone == pytest.approx(1 / 40.2e-3, rel=0.02)
    assert together > 15 * alone


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 4),
    st.builds(
        Costs,
        worker_ms=st.floats(0.05, 5),
        database_ms=st.floats(0.05, 5),
        beside_ms=st.floats(0, 5),
        commits=st.floats(0, 9),
        commit_ms=st.floats(0, 3),
    ),
)
def test_no_simulated_cell_beats_its_bound(workers: int, cores: int, own: int, costs: Costs) -> None:
    cell = Cell("x", workers, cores, own)
    assert simulate(cell, costs, orders=300).value <= bound(cell, costs) * 1.01 + 0.1


def test_points_that_the_model_does_not_explain_are_not_good() -> None:
    costs = Costs(worker_ms=2.0, database_ms=0.5, beside_ms=1.5, commit_ms=0.5)
    right = {n: Point(simulate(Cell("x", n, 2), costs).value, 500) for n in (1, 2, 4)}
    assert check_model(right, costs, 2)["good"]
    assert not check_model(right | {4: Point(right[4].value * 2, 500)}, costs, 2)["good"]


def test_a_short_run_is_longer_by_what_an_order_alone_waits() -> None:
    costs = Costs(worker_ms=5.0, database_ms=4.0, beside_ms=1.0, commit_ms=0.0, wait_s=1.0)
    for orders, expected in ((200, 100.0), (20_000, 198.0)):
        (point,) = check_model({2: Point(expected, orders)}, costs, 2)["points"]
        assert point["simulated"] == pytest.approx(expected, rel=0.03)
        assert point["steady"] == pytest.approx(200.0, rel=0.03)


def test_the_clock_and_strangers_take_their_part_of_the_cores_first() -> None:
    costs = Costs(worker_ms=5.0, database_ms=4.0, beside_ms=1.0, commit_ms=0.0, ticks_ms=500.0)
    assert simulate(Cell("x", 4, 2), costs).value == pytest.approx(150.0, rel=0.03)
    assert simulate(Cell("x", 4, 2, others=0.5), costs).value == pytest.approx(100.0, rel=0.03)


def test_a_run_among_strangers_checks_nothing() -> None:
    costs = Costs(worker_ms=5.0, database_ms=4.0, beside_ms=1.0, commit_ms=0.0)
    crowded = Point(simulate(Cell("x", 1, 2, others=1.0), costs).value, 500, others=1.0)
    told = check_model({1: crowded}, costs, 2)
    assert told["points"][0]["ratio"] == pytest.approx(1.0, abs=0.03)
    assert not told["alone"]
    assert not told["good"]


def test_every_cell_says_what_it_carries_and_what_ends_first() -> None:
    rows = carry(Costs(worker_ms=4.0, database_ms=1.0, commits=0.3), bytes_per_order=3_000, dearer=1.15)
    assert [row["cell"] for row in rows] == [cell.name for cell in CELLS]
    values = [row["orders_per_second"] for row in rows]
    assert values == sorted(values)
    assert all(row["orders_per_second"] <= row["bound"] * 1.01 for row in rows)


def run(workers: int, value: float) -> scale.Run:
    return scale.Run(workers, 100, value, 1.0, 1.0, 0, 0, 0, 100, worker_ms=6.0, database_ms=2.0, beside_ms=2.0)


def test_measured_runs_are_held_against_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.scale.os.cpu_count", lambda: 2)
    told = scale.explain([run(1, 165.0), run(2, 195.0), run(4, 198.0)])
    assert [point["workers"] for point in told["points"]] == [1, 2, 4]
    assert told["good"], told["points"]
    assert not scale.explain([run(1, 165.0), run(2, 20.0)])["good"]


def test_what_goes_by_the_clock_is_no_order_s_cost() -> None:
    one = replace(run(1, 50.0), ticks_ms=(60.0, 30.0, 10.0), alone_s=0.8, flushes=0.4, flush_ms=2.0)
    costs = scale.costs_of(one)
    assert (costs.worker_ms, costs.database_ms, costs.beside_ms) == (4.8, 1.4, 1.8)
    assert costs.ticks_ms == 100.0
    assert (costs.commits, costs.commit_ms, costs.wait_s) == (0.4, 2.0, 0.792)
