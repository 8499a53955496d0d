"""`hub.py bench growth`: what one more order costs, how long pages take and how many bytes an order needs, as the database grows.

Two databases stand side by side: one stays small, one grows. At every size both absorb the same documents by turns, so what
the machine does meanwhile meets both; `value` is how much more an order costs in the large one."""

from __future__ import annotations

import gc
import statistics
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

from pipeline.absorb import absorb

from .history import Past, grow, opened_past, table_sizes
from .lists import BAR_MS, measure_lists, settle, told

COST_BAR = 1.15
BYTES_BAR = 3_072
_SMALL = 10_000
_STEPS = (1_000_000, 10_000_000)
_ROUNDS = 24
_BATCH = 250


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds per absorbed order: by the clock and of this process's processor, means. A median would leave out what
    comes once in several batches, as checkpoints do."""

    clock: float
    processor: float


def bench_growth(*, orders: int, seed: int, database: str) -> dict[str, Any]:
    """Grow to `orders` and measure on the way. `value` is the cost of an order at the end over its cost in the small database
    at the same time (bar 1.15), `page_p95` the slowest list (bar 50 ms), `bytes_per_order` all in (bar 3 KB)."""
    small = min(_SMALL, orders)
    template = min(5_000, max(1, small // 2))
    batch = min(_BATCH, small)
    began = perf_counter()
    stages: list[dict[str, Any]] = []
    with (
        opened_past(seed=seed, database=database, template=template, largest=small) as reference,
        opened_past(seed=seed, database=database, template=template, largest=orders) as past,
    ):
        grow(reference, small)
        settle(reference)
        for size in sorted({small, orders, *(each for each in _STEPS if each < orders)}):
            filled = perf_counter()
            grow(past, size)
            settle(past)
            filled = perf_counter() - filled
            stages.append(_stage(reference, past, batch) | {"fill_seconds": round(filled, 1)})
    last = stages[-1]
    good = last["ratio"] <= COST_BAR and last["page_p95"] <= BAR_MS and last["bytes_per_order"] <= BYTES_BAR
    return {
        "bench": "growth",
        "value": last["ratio"],
        "floor": last["floor_us"],
        "ratio": last["ratio"],
        "bytes_per_order": last["bytes_per_order"],
        "page_p95": last["page_p95"],
        "orders": last["orders"],
        "seconds": round(perf_counter() - began, 1),
        "stages": stages,
        "good": good,
    }


def _stage(reference: Past, past: Past, batch: int) -> dict[str, Any]:
    sizes = table_sizes(past)
    pages = told(measure_lists(past, 60))
    floor, cost = _costs(reference, past, batch)
    return {
        "orders": past.orders,
        "cost_us": cost.clock,
        "floor_us": floor.clock,
        "ratio": round(cost.clock / floor.clock, 3),
        "processor_ratio": round(cost.processor / floor.processor, 3),
        "page_p95": pages["value"],
        "worst_page": pages["worst"],
        "bytes_per_order": sizes["all"],
        "tables": {name: size for name, size in sizes.items() if size >= 1 and name != "all"},
        "lists": pages["lists"],
    }


def _costs(reference: Past, past: Past, batch: int) -> tuple[Cost, Cost]:
    """Both absorb a batch by turns; the first round warms up."""
    taken: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    for turn in range(_ROUNDS + 1):
        for which, each in enumerate((reference, past)):
            each.take(batch)
            gc.collect()
            clock, processor = perf_counter(), process_time()
            done = absorb(each.hub, limit=batch)
            if done != batch:
                raise RuntimeError(f"{done} of {batch} documents were absorbed")
            if turn:
                taken[which].append((perf_counter() - clock, process_time() - processor))
    mine, theirs = (
        Cost(*(round(statistics.fmean(values) / batch * 1e6, 1) for values in zip(*taken[which], strict=True)))
        for which in (0, 1)
    )
    return mine, theirs
