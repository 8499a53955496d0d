"""The benchmarks by name: each gives JSON values, `good` among them, for `hub.py bench`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from domain.errors import ConfigError

from .absorb import bench_absorb
from .api import bench_api, show_api
from .claims import as_json as claims_as_json
from .claims import run_claims
from .demo import ANY_POINTS, run_demo
from .growth import bench_growth
from .lists import bench_lists
from .memory import bench_memory
from .peers import FOLDER, run_peers, show_peers
from .postgres import named_database
from .replay import measure_replay
from .rules import run_rules

_CLAIM_ROUNDS, _PEER_ROUNDS = 1000, 5
# Enough for steady figures in a few minutes; what grows has to grow.
_ORDERS: Mapping[str, int] = {
    "absorb": 6_000,
    "api": 4_000,
    "life": 6_000,
    "rules": 10_000,
    "claims": 1_000,
    "replay": 20_000,
    "scale": 500,
    "peers": 1_000,
    "list": 100_000,
    "growth": 1_000_000,
    "memory": 1_000_000,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for on the command line. `orders` and `rounds` 0: as many as the benchmark thinks right; `database`: an
    address, "" or the word for a server of this run."""

    orders: int
    seed: int
    rounds: int
    claims: int
    database: str
    workers: str
    chaos: bool
    folder: str = ""
    processes: int = 1


def measure(what: str, choice: Choice) -> dict[str, Any]:
    """Run one. ConfigError `bench_unknown` for a name there is not."""
    run = _MEASURES.get(what)
    if run is None:
        raise ConfigError("bench_unknown", f"there is no benchmark {what}: {', '.join(_MEASURES)}")
    choice = replace(choice, orders=choice.orders or _ORDERS[what])
    if what == "peers":  # its server is the one that Tryton works on
        return run(choice)
    with named_database(choice.database) as url:
        return run(replace(choice, database=url))


def table_of(told: Mapping[str, Any]) -> Sequence[str]:
    """What was measured as lines to read; none for a benchmark whose values speak for themselves."""
    show = _TABLES.get(told.get("bench", ""))
    return show(told) if show is not None else ()


def _absorb(choice: Choice) -> dict[str, Any]:
    figure = bench_absorb(orders=choice.orders, seed=choice.seed, database=choice.database)
    return {"bench": "absorb", **asdict(figure), "ratio": figure.ratio, "good": not figure.faults}


def _api(choice: Choice) -> dict[str, Any]:
    return bench_api(orders=choice.orders, seed=choice.seed, database=choice.database, processes=choice.processes)


def _life(choice: Choice) -> dict[str, Any]:
    report = run_demo(
        orders=choice.orders,
        seed=choice.seed,
        faults="none",
        mix="plain",
        database=choice.database,
        apart=True,
        points=ANY_POINTS,
    )
    told = {"value": report.orders_per_second, "seconds": report.seconds, "orders": choice.orders, "good": report.good}
    return {"bench": "life", **told, "cpu_ms_per_order": report.cpu_ms_per_order}


def _rules(choice: Choice) -> dict[str, Any]:
    return asdict(run_rules(orders=choice.orders, seed=choice.seed))


def _claims(choice: Choice) -> dict[str, Any]:
    databases = ["", *filter(None, [choice.database])]
    results = run_claims(rounds=choice.rounds or _CLAIM_ROUNDS, claims=choice.claims, databases=databases)
    good = all(each.good for each in results)
    return {"bench": "claims", "results": json.loads(claims_as_json(results)), "good": good}


def _replay(choice: Choice) -> dict[str, Any]:
    return measure_replay(choice.orders, choice.seed, choice.database)


def _scale(choice: Choice) -> dict[str, Any]:
    from .scale import run_scale

    try:
        counts = [int(each) for each in choice.workers.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise ConfigError("bench_workers", f"numbers by comma, not {choice.workers[:40]!r}")
    return run_scale(workers=counts, orders=choice.orders, seed=choice.seed, trouble=choice.chaos)


def _peers(choice: Choice) -> dict[str, Any]:
    return run_peers(
        orders=choice.orders,
        seed=choice.seed,
        rounds=choice.rounds or _PEER_ROUNDS,
        database=choice.database,
        folder=Path(choice.folder).resolve() if choice.folder else FOLDER,
    )


def _list(choice: Choice) -> dict[str, Any]:
    return bench_lists(count=choice.orders, seed=choice.seed, database=choice.database)


def _growth(choice: Choice) -> dict[str, Any]:
    return bench_growth(orders=choice.orders, seed=choice.seed, database=choice.database)


def _memory(choice: Choice) -> dict[str, Any]:
    return bench_memory(orders=choice.orders, seed=choice.seed, database=choice.database)


_MEASURES: Mapping[str, Callable[[Choice], dict[str, Any]]] = {
    "absorb": _absorb,
    "api": _api,
    "life": _life,
    "rules": _rules,
    "claims": _claims,
    "replay": _replay,
    "scale": _scale,
    "peers": _peers,
    "list": _list,
    "growth": _growth,
    "memory": _memory,
}
_TABLES: Mapping[str, Callable[[Mapping[str, Any]], Sequence[str]]] = {"api": show_api, "peers": show_peers}
