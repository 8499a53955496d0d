"""What the command line of the benchmarks stands for."""

from __future__ import annotations

import psycopg
import pytest

from bench import measures
from bench.measures import Choice, measure
from bench.postgres import OWN_SERVER, named_database
from domain.errors import ConfigError


def _choice(orders: int = 0, database: str = "") -> Choice:
    return Choice(orders, 1, 0, 2, database, "1", chaos=False)


def test_a_word_stands_for_a_server_that_syncs_and_ends_with_the_run() -> None:
    with named_database(OWN_SERVER) as url:
        plain = url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(plain) as pg:
            told = pg.execute("select current_setting('fsync'), current_setting('synchronous_commit')").fetchone()
    assert told == ("on", "on")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(plain)


def test_any_other_address_is_taken_as_it_is() -> None:
    with named_database("") as nothing, named_database("sqlite:////tmp/some.db") as file:
        assert (nothing, file) == ("", "sqlite:////tmp/some.db")


def test_without_a_number_a_benchmark_takes_as_many_orders_as_suit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Choice] = []

    def run(choice: Choice) -> dict[str, object]:
        seen.append(choice)
        return {"good": True}

    monkeypatch.setattr(measures, "_MEASURES", dict.fromkeys(measures._MEASURES, run))
    for name in measures._MEASURES:
        measure(name, _choice())
    measure("absorb", _choice(orders=7))
    assert all(choice.orders >= 500 for choice in seen[:-1])
    assert seen[-1].orders == 7


def test_a_benchmark_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError) as told:
        measure("spead", _choice())
    assert told.value.code == "bench_unknown"
    assert "absorb" in told.value.detail
