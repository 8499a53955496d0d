"""What a cell carries: a small simulation of workers, database and log device, fed with costs measured on one worker, held against
the measured rates of more workers, and then asked about cells that do not exist yet.

The model. An order passes `STAGES` stages; each takes a share of the worker's CPU, of the database's CPU and of whatever else
runs on the same cores, and ends in a commit that waits for the log device; a write under way takes along everybody who comes
meanwhile, so the device makes orders wait and never ends first. A worker is one Python process: one core's worth at a time,
`threads` orders under way. What goes by the clock, and what strangers use, is taken off the cores before. A run of so many orders
lasts as long as their work does, and besides as long as one order alone waits - for a poll, for packing, for answers -, because
the first has to come through all stages and the last has to leave. Nothing is lost to caches, network or locks on rows;
`bench scale` tells how far that is from the truth."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

STAGES = 4
# Beyond this the model is refused: it explains the measured points or it says nothing about others.
TOLERANCE = 0.30
# Strangers that use more than this share of the cores decide the rate by themselves: then the check says nothing.
STRANGERS = 0.15
_LEAST = 0.05
_SIMULATED = 1_000
_MS = 1e-3
_DAY = 86_400
# A shop's day is not flat: what the busiest hour needs, in hours of an even day (12 of 24 hours busy, peak twice their mean).
_PEAK = 4.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What one order takes: milliseconds of CPU in workers, database and `beside` (other processes on the same cores), commits, and
    milliseconds a commit waits for the log device; an order alone waits `wait_s` seconds in all. `ticks_ms` of CPU go by the
    clock in a second, however many workers there are: they share the ticks."""

    worker_ms: float
    database_ms: float
    beside_ms: float = 0.0
    commits: float = 1.0
    commit_ms: float = 1.0
    wait_s: float = 0.0
    ticks_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Cell:
    """`cores` for everything, or for the workers alone when the database has `database_cores` of its own; of `cores` strangers use
    `others`."""

    name: str
    workers: int
    cores: int
    database_cores: int = 0
    threads: int = 16
    others: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """A measured run: `orders` in `value` orders per second while strangers used `others` cores."""

    value: float
    orders: int
    others: float = 0.0


@dataclass(frozen=True, slots=True)
class Carried:
    """`value` in orders per second; `busy` is the share of the time each resource worked; `narrowest` the one that ends first."""

    value: float
    busy: Mapping[str, float]

    @property
    def narrowest(self) -> str:
        return max(self.busy, key=lambda name: self.busy[name])


def bound(cell: Cell, costs: Costs) -> float:
    """Orders per second that no queueing can exceed: the busiest resource works all the time."""
    own = cell.database_cores
    shared = costs.worker_ms + costs.beside_ms + (0.0 if own else costs.database_ms)
    limits = [cell.cores / shared if shared else float("inf")]
    limits += [cell.workers / costs.worker_ms] if costs.worker_ms else []
    limits += [own / costs.database_ms] if own and costs.database_ms else []
    return min(limits) / _MS


def stretch(cell: Cell, costs: Costs) -> float:
    """How much longer all work on `cores` takes for what goes by the clock and for what strangers use."""
    return cell.cores / max(_LEAST * cell.cores, cell.cores - cell.others - costs.ticks_ms * _MS)


@dataclass(slots=True)
class _Resource:
    """So many servers and a queue; a piece of work may need several resources, one after the other in a fixed order."""

    servers: int
    taken: int = 0
    worked: float = 0.0
    waiting: deque[Callable[[], None]] = field(default_factory=deque)

    def enter(self, go: Callable[[], None]) -> None:
        if self.taken < self.servers:
            self.taken += 1
            go()
        else:
            self.waiting.append(go)

    def leave(self) -> None:
        if self.waiting:
            self.waiting.popleft()()
        else:
            self.taken -= 1


@dataclass(slots=True)
class _World:
    """The simulated time and what happens next in it."""

    at: float = 0.0
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    count: int = 0

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (self.at + seconds, self.count, do))

    def work(self, places: tuple[_Resource, ...], seconds: float, then: Callable[[], None]) -> None:
        """Hold all `places` for so long, taken in their order, and go on."""
        if not seconds:
            then()
            return

        def done() -> None:
            for place in places:
                place.worked += seconds
                place.leave()
            then()

        def take(nth: int) -> None:
            if nth == len(places):
                self.after(seconds, done)
            else:
                places[nth].enter(lambda: take(nth + 1))

        take(0)


@dataclass(slots=True)
class _Log:
    """The log device: one write at a time, and a write takes with it every commit that waited for it."""

    world: _World
    seconds: float
    writing: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)

    def commit(self, then: Callable[[], None]) -> None:
        self.waiting.append(then)
        if not self.writing:
            self._write()

    def _write(self) -> None:
        self.writing, together, self.waiting = True, self.waiting, []

        def done() -> None:
            self.writing = False
            for then in together:
                then()
            if self.waiting and not self.writing:
                self._write()

        self.world.after(self.seconds, done)


@dataclass(slots=True)
class _Flow:
    """Orders on their way through a cell: `left` wait, `finished` are through, `due` is the part of a commit that is still owed."""

    cell: Cell
    costs: Costs
    world: _World
    cores: _Resource
    database: _Resource
    log: _Log
    left: int
    finished: int = 0
    due: float = 0.0

    def begin(self, worker: _Resource) -> None:
        if self.left:
            self.left -= 1
            self._stage(worker, 0)

    def _stage(self, worker: _Resource, nth: int) -> None:
        """A worker's part, the database's, the customers' side's, then its share of a commit."""
        if nth == STAGES:
            self.finished += 1
            self.begin(worker)
            return
        work, share = self.world.work, _MS / STAGES

        def beside() -> None:
            work((self.cores,), self.costs.beside_ms * share, lambda: self._commit(worker, nth))

        def store() -> None:
            work((self.database,), self.costs.database_ms * share, beside)

        work((worker, self.cores), self.costs.worker_ms * share, store)

    def _commit(self, worker: _Resource, nth: int) -> None:
        # Fewer commits than stages (batches) or more: each stage waits for its share of one.
        whole, part = divmod(self.costs.commits, STAGES)
        self.due += part / STAGES
        waits = int(whole) + (self.due >= 1.0)
        self.due -= self.due >= 1.0

        def wait(rest: int) -> None:
            if rest:
                self.log.commit(lambda: wait(rest - 1))
            else:
                self._stage(worker, nth + 1)

        wait(waits)


def simulate(cell: Cell, costs: Costs, *, orders: int = _SIMULATED) -> Carried:
    """Let `orders` orders through a cell that always has more waiting. Nothing is drawn: the same question has the same answer."""
    world, longer = _World(), stretch(cell, costs)
    own = 1.0 if cell.database_cores else longer
    costs = replace(
        costs,
        worker_ms=costs.worker_ms * longer,
        beside_ms=costs.beside_ms * longer,
        database_ms=costs.database_ms * own,
    )
    cores = _Resource(cell.cores)
    database = _Resource(cell.database_cores) if cell.database_cores else cores
    workers = [_Resource(1) for _ in range(cell.workers)]
    flow = _Flow(cell, costs, world, cores, database, _Log(world, costs.commit_ms * _MS), left=orders)
    for worker in workers:
        for _ in range(cell.threads):
            flow.begin(worker)
    while world.events:
        world.at, _, do = heapq.heappop(world.events)
        do()
    if flow.finished != orders:
        raise AssertionError(f"{flow.finished} of {orders} orders came out of the simulation")
    busy = {
        "worker processes": sum(worker.worked for worker in workers) / (cell.workers * world.at),
        "cores": cores.worked / (cell.cores * world.at),
    }
    if cell.database_cores:
        busy["database"] = database.worked / (cell.database_cores * world.at)
    return Carried(round(orders / world.at, 1), {name: round(share, 3) for name, share in busy.items()})


def check_model(measured: Mapping[int, Point], costs: Costs, cores: int) -> dict[str, Any]:
    """Hold the simulation against the measured runs by count of workers, all on `cores` cores. `ratio` is simulated by measured;
    `good` while every one is within `TOLERANCE`; `alone` says that strangers left the cores to these runs, without which the check
    is none."""
    points = []
    for workers, one in sorted(measured.items()):
        steady = simulate(Cell("measured", workers, cores, others=one.others), costs).value
        told = round(one.orders / (one.orders / steady + costs.wait_s), 1)
        points.append(
            {"workers": workers, "measured": one.value, "steady": steady, "simulated": told}
            | {"ratio": round(told / one.value, 2), "others": one.others}
        )
    alone = all(one.others <= STRANGERS * cores for one in measured.values())
    near = all(abs(point["ratio"] - 1.0) <= TOLERANCE for point in points)
    return {"points": points, "alone": alone, "good": alone and near}


CELLS = (
    Cell("one small host", workers=2, cores=2),
    Cell("one host of 8 cores", workers=6, cores=8),
    Cell("two hosts: 16 cores of workers, a database of 8", workers=16, cores=16, database_cores=8),
    Cell("five hosts: 64 cores of workers, a database of 16", workers=64, cores=64, database_cores=16),
    Cell("nine hosts: 128 cores of workers, a database of 32", workers=128, cores=128, database_cores=32),
)


def carry(costs: Costs, *, bytes_per_order: float, dearer: float = 1.0) -> list[dict[str, Any]]:
    """What each of `CELLS` carries: orders per second at most, orders a day when the busiest hour may use all of it, and what a
    year of such days weighs. `dearer` is what growth adds to the database's share (1.15: fifteen per cent). The customers' side,
    `beside`, is not part of a cell."""
    own = replace(costs, beside_ms=0.0, database_ms=costs.database_ms * dearer)
    told = []
    for cell in CELLS:
        result = simulate(cell, own)
        day = result.value * _DAY / _PEAK
        told.append(
            {
                "cell": cell.name,
                "orders_per_second": result.value,
                "bound": round(bound(cell, own), 1),
                "orders_per_day": round(day, -3),
                "gb_per_year": round(day * 365 * bytes_per_order / 1e9),
                "narrowest": result.narrowest,
                "busy": dict(result.busy),
            }
        )
    return told
