"""`hub.py bench memory`: the most memory this process ever holds while a backlog is read in and absorbed. What grows with the
backlog shows as a slope."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

from pipeline.absorb import absorb

from .absorb import fill_inbox, fresh
from .replay import resident

BAR_MB = 250.0
_MEGABYTE = 2**20
_PIECE = 20_000


def bench_memory(*, orders: int, seed: int, database: str) -> dict[str, Any]:
    """Store `orders` documents, absorb them all. `value` is the peak of resident memory, MB (bar 250); `floor` what the process
    holds before it begins; `slope` how many bytes more it holds per order of the second half."""
    with fresh(database, 500) as hub:
        before, began = _now(), perf_counter()
        line: list[tuple[int, float]] = []
        for first in range(0, orders, _PIECE):
            fill_inbox(hub, min(_PIECE, orders - first), seed, first=first)
        filled, line_at = _now(), 0
        while done := absorb(hub):
            line_at += done
            if not line or line_at - line[-1][0] >= max(1, orders // 20):
                line.append((line_at, round(_now(), 1)))
        seconds = perf_counter() - began
    peak = resident() / _MEGABYTE
    half = [each for each in line if each[0] >= orders // 2]
    slope = (half[-1][1] - half[0][1]) * _MEGABYTE / max(1, half[-1][0] - half[0][0]) if len(half) > 1 else 0.0
    return {
        "bench": "memory",
        "value": round(peak, 1),
        "floor": round(before, 1),
        "ratio": round(before / peak, 3),
        "orders": line_at,
        "filled": round(filled, 1),
        "slope": round(slope, 1),
        "line": line,
        "seconds": round(seconds, 1),
        "good": peak <= BAR_MB and line_at == orders,
    }


def _now() -> float:
    """Resident memory now, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
