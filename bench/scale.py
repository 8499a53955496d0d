"""Orders per second through the whole life cycle with one, two, four … worker processes on one PostgreSQL that syncs; with
chaos, workers are killed and frozen meanwhile, and it is measured when others have their jobs. Both ends' ledgers are
compared after every run."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.reconcile import is_quiet, known_orders
from pipeline.settings import Settings
from sandbox import Running
from sandbox import start as start_sandbox
from storage.nodes import list_holders

from .cells import Costs, carry, check_model
from .demo import configure, cpu_by_name, introduction, place_orders, serving
from .ledgers import ACCOUNTS, call
from .machines import Chaos, Machine, chaos, jobs_of, machine_settings, machines, until_accounted
from .postgres import DURABLE, Server, run_server
from .processes import cpu_seconds
from .takeovers import takeovers

# With more workers than cores nothing may get faster, but it must not get much slower either.
FLOOR = 0.5
# Seconds until the jobs of a dead worker run again.
TAKEOVER = 60.0
_LONGEST = 600.0
_READY = 60.0
_LEASE = 60.0
# What takes half a minute outside takes two seconds here, so that a run sees many takeovers.
_SHORT_LEASE = 4.0
# For the simulation: commits per order in batches and a commit's milliseconds, both assumed; from `bench growth` bytes per order on
# PostgreSQL and how much dearer its work may be in a large database.
_COMMITS, _COMMIT_MS, _BYTES, _DEARER = 0.6, 1.0, 2_918, 1.15


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `value` in orders per second from the first order placed to the last one told to its shop, `ratio` to the first
    run's. `held` orders have an exception and wait for a person. `worker_ms`, `database_ms` and `beside_ms` (sandbox, API, this
    benchmark) are processor time per order; in trouble nobody keeps count."""

    workers: int
    orders: int
    value: float
    seconds: float
    ratio: float
    lost: int
    duplicated: int
    unaccounted: int
    confirmed: int
    held: int = 0
    kills: int = 0
    freezes: int = 0
    takeovers: int = 0
    takeover_seconds_max: float = 0.0
    worker_ms: float = 0.0
    database_ms: float = 0.0
    beside_ms: float = 0.0
    faults: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated or self.unaccounted) and self.confirmed + self.held == self.orders


def run_scale(*, workers: Sequence[int], orders: int, seed: int, trouble: bool = False) -> dict[str, Any]:
    """Run once per count of workers, each on an empty database of one server."""
    runs: list[Run] = []
    usual: dict[str, float] = {}
    with run_server(DURABLE) as server:
        for count in workers:
            runs.append(_run(server, count, orders, seed, trouble, runs[0].value if runs else 0.0))
        if trouble:
            usual = _usual_takeovers(server, seed)
    longest = max([*(run.takeover_seconds_max for run in runs), *usual.values()])
    steady = trouble or all(run.ratio >= FLOOR for run in runs)
    return {
        "bench": "scale",
        "unit": "orders/s",
        "chaos": trouble,
        "floor": FLOOR,
        "value": max(run.value for run in runs),
        "takeover_seconds_max": longest,
        "takeover_floor": TAKEOVER,
        "takeover_usual_lease": usual,
        "runs": [asdict(run) for run in runs],
        "model": None if trouble else explain(runs),
        "good": steady and longest <= TAKEOVER and all(run.good for run in runs),
    }


@dataclass(frozen=True, slots=True)
class _World:
    """A hub, its sandbox and its workers on an empty database."""

    settings: Settings
    hub: Hub
    box: Running
    workers: list[Machine]


@contextlib.contextmanager
def _world(server: Server, count: int, seed: int, lease: float) -> Iterator[_World]:
    name = f"scale_{count}_{time.monotonic_ns()}"
    with server.connect() as connection:
        connection.execute(f"create database {name}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-scale-")))
        settings = machine_settings(folder, server.url(name), calls=16, senders=16, jobs=16, lease_seconds=lease)
        box = stack.enter_context(start_sandbox(seed=seed, faults="none", mix="plain", tempo=0.2))
        hub = open_hub(settings)
        stack.callback(close_hub, hub)
        configure(hub, box)
        port = stack.enter_context(serving(hub))
        call(box, "hub", introduction(box, port))
        workers = stack.enter_context(machines(settings, count))
        _until_ready(hub, count)
        yield _World(settings, hub, box, workers)


def _usual_takeovers(server: Server, seed: int) -> dict[str, float]:
    """With the lease of everyday: seconds until the jobs of a worker that is killed, or frozen, at work are another's."""
    told = {}
    with _world(server, 4, seed, _LEASE) as world, takeovers(world.hub) as watch:
        for place, (name, end) in enumerate((("killed", Machine.kill), ("frozen", Machine.freeze))):
            worker, until = world.workers[place], time.monotonic() + _READY
            place_orders(world.box, 200, seed + place)
            while not jobs_of(world.hub, worker) and time.monotonic() < until:
                time.sleep(0.005)
            end(worker)
            watch.lose(worker)
            watch.until_taken(2 * TAKEOVER)
            told[name] = round(max(watch.seconds, default=0.0), 1)
            watch.seconds.clear()
    return told


def _run(server: Server, count: int, orders: int, seed: int, trouble: bool, first: float) -> Run:
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(_world(server, count, seed, _SHORT_LEASE if trouble else _LEASE))
        hub, box, started = world.hub, world.box, world.workers
        watch = stack.enter_context(takeovers(hub))
        before = _spent(server, world)
        began = time.monotonic()
        place_orders(box, orders, seed)
        told: Chaos | None = None
        if trouble:
            with chaos(world.settings, started, seed, watch.lose) as told:
                _until_confirmed(hub, orders, began + _LONGEST)
            watch.until_taken(TAKEOVER)
        seconds = _until_confirmed(hub, orders, began + _LONGEST) - began
        spent = [
            round(1000 * (after - one) / orders, 3) for one, after in zip(before, _spent(server, world), strict=True)
        ]
        held = _progress(hub)[1]
        report = until_accounted(hub, box, orders, seconds=60, confirmed=not held)
        _until_gone(started)
    value = round(orders / seconds, 1)
    return Run(
        workers=count,
        orders=orders,
        value=value,
        seconds=round(seconds, 2),
        ratio=round(value / first, 2) if first else 1.0,
        lost=report.lost,
        duplicated=report.duplicated,
        unaccounted=report.unaccounted,
        confirmed=sum(each.confirmed for each in report.channels.values()),
        held=held,
        kills=told.kills if told else 0,
        freezes=told.freezes if told else 0,
        takeovers=len(watch.seconds),
        takeover_seconds_max=round(max(watch.seconds, default=0.0), 1),
        worker_ms=0.0 if trouble else spent[0],
        database_ms=0.0 if trouble else spent[1],
        beside_ms=0.0 if trouble else spent[2],
        faults=tuple(report.faults[:20]),
    )


def _spent(server: Server, world: _World) -> list[float]:
    """Seconds of processor time so far of workers, database and everything beside them."""
    workers = {f"{place}": worker.process.pid or 0 for place, worker in enumerate(world.workers)}
    beside = {"sandbox": world.box.process.pid, "api": os.getpid()}
    return [sum(cpu_by_name(workers).values()), cpu_seconds(server.pids), sum(cpu_by_name(beside).values())]


def explain(runs: Sequence[Run]) -> dict[str, Any]:
    """What the simulation of cells makes of these runs: fed with the costs of the first, held against the rates of all, and asked
    what larger cells would carry ([cells](cells.py))."""
    costs = Costs(runs[0].worker_ms, runs[0].database_ms, runs[0].beside_ms, _COMMITS, _COMMIT_MS)
    told = check_model({run.workers: run.value for run in runs}, costs, os.cpu_count() or 1)
    return told | {"costs": asdict(costs), "cells": carry(costs, bytes_per_order=_BYTES, dearer=_DEARER)}


def _until_ready(hub: Hub, count: int) -> None:
    end = time.monotonic() + _READY
    while time.monotonic() < end:
        with hub.read() as tx:
            if len(list_holders(tx, now=hub.now())) > count:
                return
        time.sleep(0.05)
    raise RuntimeError("the workers did not start")


def _progress(hub: Hub) -> tuple[int, int]:
    """Orders of which every parcel was told, and orders that wait for a person."""
    confirmed = held = 0
    for account in ACCOUNTS.values():
        for each in known_orders(hub, account):
            told = [state in {"confirmed", "degraded"} for _, state in each.packages]
            confirmed += bool(told) and all(told)
            held += bool(each.codes) and not told
    return confirmed, held


def _until_confirmed(hub: Hub, orders: int, end: float) -> float:
    """When (monotonic) every order had told its shop or waited for a person, or the time was up."""
    while time.monotonic() < end:
        time.sleep(0.1)
        if not is_quiet(hub):
            continue
        at, (confirmed, held) = time.monotonic(), _progress(hub)
        if confirmed + held >= orders:
            return at
    return time.monotonic()


def _until_gone(started: Sequence[Machine]) -> None:
    for machine in started:
        machine.stop()
