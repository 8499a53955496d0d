"""Bars as numbers for an inline SVG: a template draws them, nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, GAP = 480, 96, 3


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its place in the picture, the hour (microseconds) and the value it stands for."""

    x: int
    y: int
    width: int
    height: int
    at: int
    value: int


@dataclass(frozen=True, slots=True)
class Chart:
    bars: tuple[Bar, ...]
    highest: int
    total: int
    width: int = WIDTH
    height: int = HEIGHT


def bars(points: Sequence[tuple[int, int]]) -> Chart:
    """One bar per (time, value); the highest fills the picture, a value above zero is never invisible."""
    highest = max((value for _, value in points), default=0)
    step = WIDTH // max(1, len(points))
    drawn = []
    for index, (at, value) in enumerate(points):
        height = max(2, value * HEIGHT // highest) if value > 0 else 1
        drawn.append(Bar(index * step, HEIGHT - height, step - GAP, height, at, value))
    return Chart(tuple(drawn), highest, sum(value for _, value in points))
