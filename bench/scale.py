"""Orders per second through the whole life cycle with one, two, four … worker processes on one PostgreSQL that syncs; with
chaos, workers are killed and frozen meanwhile, and it is measured when others have their jobs. Both ends' ledgers are
compared after every run."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.reconcile import is_quiet, known_orders
from pipeline.settings import Settings
from sandbox import Running
from sandbox import start as start_sandbox
from storage.nodes import list_holders

from .cells import Costs, Point, carry, check_model
from .demo import configure, cpu_by_name, introduction, place_orders, serving
from .ledgers import ACCOUNTS, call
from .machines import Chaos, Machine, chaos, jobs_of, machine_settings, machines, until_accounted
from .postgres import DURABLE, Server, run_server
from .processes import busy_seconds, cpu_seconds
from .takeovers import takeovers

# With more workers than cores nothing may get faster, but it must not get much slower either.
FLOOR = 0.5
# Seconds until the jobs of a dead worker run again.
TAKEOVER = 60.0
_SETTINGS = (*DURABLE, "track_wal_io_timing=on")
_LONGEST = 600.0
_READY = 60.0
_LEASE = 60.0
# What takes half a minute outside takes two seconds here, so that a run sees many takeovers.
_SHORT_LEASE = 4.0
# Before a run: orders that warm everything up, seconds in which nothing is done but by the clock, orders that come alone.
_WARM, _IDLE, _ALONE = 20, 2.0, 3
# For the simulation, from `bench growth`: bytes per order on PostgreSQL, and how much dearer its work may be in a large database.
# The bench's server may lie in memory, a cell's log does not: milliseconds a flush takes at least there, assumed.
_BYTES, _DEARER, _DISK_MS = 2_918, 1.15, 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `value` in orders per second from the first order placed to the last one told to its shop, `ratio` to the first
    run's. `held` orders have an exception and wait for a person. `worker_ms`, `database_ms` and `beside_ms` (sandbox, API, this
    benchmark) are processor time per order, and `ticks_ms` what the three use in a second without orders; `others` are the cores
    that strangers used meanwhile; `alone_s` is how long one order takes by itself; `flushes` of the log per order took `flush_ms`
    each. In trouble nobody keeps count."""

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
    ticks_ms: tuple[float, float, float] = (0.0, 0.0, 0.0)
    others: float = 0.0
    alone_s: float = 0.0
    flushes: float = 0.0
    flush_ms: float = 0.0
    faults: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated or self.unaccounted) and self.confirmed + self.held == self.orders


def run_scale(*, workers: Sequence[int], orders: int, seed: int, trouble: bool = False) -> dict[str, Any]:
    """Run once per count of workers, each on an empty database of one server."""
    runs: list[Run] = []
    usual: dict[str, float] = {}
    with run_server(_SETTINGS) as server:
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


@dataclass(frozen=True, slots=True)
class _Before:
    """What is known of a world before its run: `placed` orders are through, of which `confirmed` and `held`."""

    placed: int = 0
    confirmed: int = 0
    held: int = 0
    ticks_ms: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alone_s: float = 0.0


def _warm_up(server: Server, world: _World, seed: int) -> _Before:
    """Some orders first, so that the run meets open connections and warm plans; then what the clock alone costs, and how long an
    order takes when there is no other."""
    place_orders(world.box, _WARM, seed + 100)
    _until_confirmed(world.hub, _WARM, time.monotonic() + _READY)
    began, before = time.monotonic(), _spent(server, world)
    time.sleep(_IDLE)
    ticks = _per(before, _spent(server, world), time.monotonic() - began)
    alone = []
    for nth in range(1, _ALONE + 1):
        at = time.monotonic()
        place_orders(world.box, 1, seed + 100 + nth)
        alone.append(_until_confirmed(world.hub, _WARM + nth, at + _READY, look=0.02) - at)
    return _Before(_WARM + _ALONE, *_progress(world.hub), ticks, median(alone))


def _run(server: Server, count: int, orders: int, seed: int, trouble: bool, first: float) -> Run:
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(_world(server, count, seed, _SHORT_LEASE if trouble else _LEASE))
        hub, box, started = world.hub, world.box, world.workers
        known = _Before() if trouble else _warm_up(server, world, seed)
        every = known.placed + orders
        watch = stack.enter_context(takeovers(hub))
        before, machine, log = _spent(server, world), busy_seconds(), _flushes(server)
        began = time.monotonic()
        place_orders(box, orders, seed)
        told: Chaos | None = None
        if trouble:
            with chaos(world.settings, started, seed, watch.lose) as told:
                _until_confirmed(hub, every, began + _LONGEST)
            watch.until_taken(TAKEOVER)
        seconds = _until_confirmed(hub, every, began + _LONGEST) - began
        spent = _spent(server, world)
        strangers = (busy_seconds() - machine - sum(spent) + sum(before)) / (time.monotonic() - began)
        held = _progress(hub)[1]
        report = until_accounted(hub, box, every, seconds=60, confirmed=not held)
        flushes = [after - one for one, after in zip(log, _flushes(server), strict=True)]
        _until_gone(started)
    value, cost = round(orders / seconds, 1), (0.0, 0.0, 0.0) if trouble else _per(before, spent, orders)
    return Run(
        workers=count,
        orders=orders,
        value=value,
        seconds=round(seconds, 2),
        ratio=round(value / first, 2) if first else 1.0,
        lost=report.lost,
        duplicated=report.duplicated,
        unaccounted=report.unaccounted,
        confirmed=sum(each.confirmed for each in report.channels.values()) - known.confirmed,
        held=held - known.held,
        kills=told.kills if told else 0,
        freezes=told.freezes if told else 0,
        takeovers=len(watch.seconds),
        takeover_seconds_max=round(max(watch.seconds, default=0.0), 1),
        worker_ms=cost[0],
        database_ms=cost[1],
        beside_ms=cost[2],
        ticks_ms=known.ticks_ms,
        others=round(max(0.0, strangers), 2),
        alone_s=round(known.alone_s, 3),
        flushes=round(flushes[0] / orders, 3),
        flush_ms=round(flushes[1] / flushes[0], 3) if flushes[0] else 0.0,
        faults=tuple(report.faults[:20]),
    )


def _per(before: Sequence[float], after: Sequence[float], parts: float) -> tuple[float, float, float]:
    """Milliseconds of processor time of workers, database and beside, per part."""
    first, second, third = (round(1000 * (now - then) / parts, 3) for then, now in zip(before, after, strict=True))
    return first, second, third


def _flushes(server: Server) -> tuple[float, float]:
    """How often the log was forced to disk so far, and how many milliseconds that took in all."""
    with server.connect() as connection:
        row = connection.execute(
            "select coalesce(sum(fsyncs), 0), coalesce(sum(fsync_time), 0) from pg_stat_io where object = 'wal'"
        ).fetchone()
    return (float(row[0]), float(row[1])) if row else (0.0, 0.0)


def _spent(server: Server, world: _World) -> list[float]:
    """Seconds of processor time so far of workers, database and everything beside them."""
    workers = {f"{place}": worker.process.pid or 0 for place, worker in enumerate(world.workers)}
    beside = {"sandbox": world.box.process.pid, "api": os.getpid()}
    return [sum(cpu_by_name(workers).values()), cpu_seconds(server.pids), sum(cpu_by_name(beside).values())]


def explain(runs: Sequence[Run]) -> dict[str, Any]:
    """What the simulation of cells makes of these runs: fed with the costs of the first, held against the rates of all, and asked
    what larger cells would carry ([cells](cells.py))."""
    costs = costs_of(runs[0])
    points = {run.workers: Point(run.value, run.orders, run.others) for run in runs}
    told = check_model(points, costs, os.cpu_count() or 1)
    onto_disk = replace(costs, commit_ms=max(costs.commit_ms, _DISK_MS))
    return told | {"costs": asdict(costs), "cells": carry(onto_disk, bytes_per_order=_BYTES, dearer=_DEARER)}


def costs_of(run: Run) -> Costs:
    """What an order costs by itself: without what the clock took meanwhile, and with the waiting of one that is alone."""
    spent = (run.worker_ms, run.database_ms, run.beside_ms)
    worker, database, beside = (
        round(max(0.0, each - ticks / run.value), 3) for each, ticks in zip(spent, run.ticks_ms, strict=True)
    )
    return Costs(
        worker_ms=worker,
        database_ms=database,
        beside_ms=beside,
        commits=run.flushes,
        commit_ms=run.flush_ms,
        wait_s=round(max(0.0, run.alone_s - (worker + database + beside) / 1000), 3),
        ticks_ms=round(sum(run.ticks_ms), 3),
    )


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


def _until_confirmed(hub: Hub, orders: int, end: float, look: float = 0.1) -> float:
    """When (monotonic) every order had told its shop or waited for a person, or the time was up; looks every `look` seconds."""
    while time.monotonic() < end:
        time.sleep(look)
        if not is_quiet(hub):
            continue
        at, (confirmed, held) = time.monotonic(), _progress(hub)
        if confirmed + held >= orders:
            return at
    return time.monotonic()


def _until_gone(started: Sequence[Machine]) -> None:
    for machine in started:
        machine.stop()
