"""Frozen values with some fields changed, at the price of a copy: `dataclasses.replace` looks at every field's settings each
time, which costs ten times as much, and an order is changed a dozen times on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

_T = TypeVar("_T")
_Write = Callable[[Any, Any], None]


@dataclass(frozen=True, slots=True)
class _Slots:
    """How a class is read whole, and how each field is written past the frozen `__setattr__`."""

    read: Callable[[Any], tuple[Any, ...]]
    writes: tuple[_Write, ...]
    by_name: dict[str, _Write]


def changed(value: _T, **new: Any) -> _T:
    """`value`, an instance of a dataclass with slots and without `__post_init__`, with these fields changed. KeyError for a
    field that it does not have."""
    made: Any = type(value)
    slots = _slots(made)
    copy: _T = object.__new__(made)
    for write, old in zip(slots.writes, slots.read(value), strict=True):
        write(copy, old)
    for name, fresh in new.items():
        slots.by_name[name](copy, fresh)
    return copy


@cache
def _slots(made: Any) -> _Slots:
    names = [each.name for each in fields(made)]
    if hasattr(made, "__post_init__") or len(names) < 2:
        raise TypeError(f"{made.__name__}: use dataclasses.replace")
    writes = {name: getattr(made, name).__set__ for name in names}
    return _Slots(attrgetter(*names), tuple(writes.values()), writes)
