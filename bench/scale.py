"""Orders per second through the whole life cycle with one, two, four … worker processes on one PostgreSQL that syncs; with
chaos, workers are killed and frozen meanwhile. Both ends' ledgers are compared after every run."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.reconcile import is_quiet, known_orders
from sandbox import start as start_sandbox
from storage.nodes import list_holders

from .demo import configure, introduction, place_orders, serving
from .ledgers import ACCOUNTS, call
from .machines import Chaos, Machine, chaos, machine_settings, machines, until_accounted
from .postgres import Server, run_server

# With more workers than cores nothing may get faster, but it must not get much slower either.
FLOOR = 0.5
_DURABLE = ("max_connections=300", "shared_buffers=64MB")
_LONGEST = 600.0
_READY = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `value` in orders per second from the first order placed to the last one told to its shop, `ratio` to the first
    run's."""

    workers: int
    orders: int
    value: float
    seconds: float
    ratio: float
    lost: int
    duplicated: int
    unaccounted: int
    confirmed: int
    kills: int = 0
    freezes: int = 0
    faults: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated or self.unaccounted) and self.confirmed == self.orders


def run_scale(*, workers: Sequence[int], orders: int, seed: int, trouble: bool = False) -> dict[str, Any]:
    """Run once per count of workers, each on an empty database of one server."""
    runs: list[Run] = []
    with run_server(_DURABLE) as server:
        for count in workers:
            runs.append(_run(server, count, orders, seed, trouble, runs[0].value if runs else 0.0))
    steady = trouble or all(run.ratio >= FLOOR for run in runs)
    return {
        "bench": "scale",
        "unit": "orders/s",
        "chaos": trouble,
        "floor": FLOOR,
        "value": max(run.value for run in runs),
        "runs": [asdict(run) for run in runs],
        "good": steady and all(run.good for run in runs),
    }


def _run(server: Server, count: int, orders: int, seed: int, trouble: bool, first: float) -> Run:
    name = f"scale_{count}_{time.monotonic_ns()}"
    with server.connect() as connection:
        connection.execute(f"create database {name}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-scale-")))
        lease = 4.0 if trouble else 60.0
        settings = machine_settings(folder, server.url(name), calls=16, senders=16, jobs=16, lease_seconds=lease)
        box = stack.enter_context(start_sandbox(seed=seed, faults="none", mix="plain", tempo=0.2))
        hub = open_hub(settings)
        stack.callback(close_hub, hub)
        configure(hub, box)
        port = stack.enter_context(serving(hub))
        call(box, "hub", introduction(box, port))
        started = stack.enter_context(machines(settings, count))
        _until_ready(hub, count)
        began = time.monotonic()
        place_orders(box, orders, seed)
        told: Chaos | None = None
        if trouble:
            with chaos(settings, started, seed) as told:
                _until_confirmed(hub, orders, began + _LONGEST)
        seconds = _until_confirmed(hub, orders, began + _LONGEST) - began
        report = until_accounted(hub, box, orders, seconds=60)
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
        kills=told.kills if told else 0,
        freezes=told.freezes if told else 0,
        faults=tuple(report.faults[:20]),
    )


def _until_ready(hub: Hub, count: int) -> None:
    end = time.monotonic() + _READY
    while time.monotonic() < end:
        with hub.read() as tx:
            if len(list_holders(tx, now=hub.now())) > count:
                return
        time.sleep(0.05)
    raise RuntimeError("the workers did not start")


def _until_confirmed(hub: Hub, orders: int, end: float) -> float:
    """When (monotonic) every order had told its shop, or the time was up."""
    while time.monotonic() < end:
        time.sleep(0.1)
        if not is_quiet(hub):
            continue
        at, done = time.monotonic(), 0
        for account in ACCOUNTS.values():
            done += sum(
                bool(each.packages) and all(state in {"confirmed", "degraded"} for _, state in each.packages)
                for each in known_orders(hub, account)
            )
        if done >= orders:
            return at
    return time.monotonic()


def _until_gone(started: Sequence[Machine]) -> None:
    for machine in started:
        machine.stop()
