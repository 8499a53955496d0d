"""Frozen values made, and made again with some fields changed, at the price of a copy. A frozen dataclass writes each field past
its own `__setattr__`, and `dataclasses.replace` looks at every field's settings besides; an order is made and changed a dozen
times on its way. Here a twin that is not frozen, with the same slots, is filled and then told its class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Twins:
    """How a class is read whole, its twin filled by place with all fields, and its twin filled by name with its defaults."""

    names: frozenset[str]
    read: Callable[[Any], tuple[Any, ...]]
    whole: Callable[..., Any]
    named: Callable[..., Any]


def changed(value: _T, /, **new: Any) -> _T:
    """`value`, an instance of a dataclass with slots and without `__post_init__`, with these fields changed. KeyError for a
    field that it does not have."""
    made: Any = type(value)
    twins = _twins(made)
    if not new.keys() <= twins.names:
        raise KeyError(*(new.keys() - twins.names))
    copy = twins.whole(*twins.read(value))
    for name, fresh in new.items():
        setattr(copy, name, fresh)
    copy.__class__ = made
    told: _T = copy
    return told


def build(made: type[_T], /, **values: Any) -> _T:
    """`made(**values)`, for such a class. TypeError for a field that it does not have, or that is missing."""
    kind: Any = made
    fresh = _twins(kind).named(**values)
    fresh.__class__ = made
    told: _T = fresh
    return told


def maker(made: type[_T], names: tuple[str, ...]) -> Callable[..., _T]:
    """A function of the values of these fields, by place: such a class with them, and the rest at its defaults. TypeError for
    a field that it does not have, or that has no default and is not among them."""
    kind: Any = made
    twin = _ordered(kind, names)

    def make(*values: Any) -> _T:
        fresh: Any = twin(*values)
        fresh.__class__ = kind
        told: _T = fresh
        return told

    return make


def changer(made: type[_T], *names: str) -> Callable[..., _T]:
    """`changed` for a class and fields that are known beforehand: a function of a value and the new values of these fields, by
    place. TypeError for a field that it does not have, and when fewer than two stay as they are."""
    kind: Any = made
    kept = tuple(one.name for one in fields(kind) if one.name not in names)
    if len(kept) < 2:
        raise TypeError(f"{made.__name__}: use maker")
    twin, read = _ordered(kind, (*kept, *names)), attrgetter(*kept)

    def change(value: _T, *new: Any) -> _T:
        fresh: Any = twin(*(read(value) + new))  # one tuple, where two stars would make a list first
        fresh.__class__ = kind
        told: _T = fresh
        return told

    return change


@lru_cache(maxsize=1024)
def _ordered(made: Any, names: tuple[str, ...]) -> Callable[..., Any]:
    """A twin that is filled with these fields by place; the others have their defaults. Slots lie by their names, so a twin may
    take its fields in any order."""
    _twins(made)
    known = {one.name: one for one in fields(made)}
    left = [one for name, one in known.items() if name not in names]
    if unknown := [name for name in names if name not in known]:
        raise TypeError(f"{made.__name__} has no {', '.join(unknown)}")
    if missing := [one.name for one in left if one.default is MISSING and one.default_factory is MISSING]:
        raise TypeError(f"{made.__name__} without {', '.join(missing)}")
    told: list[Any] = [*((name, Any) for name in names), *((one.name, Any, _like(one)) for one in left)]
    return make_dataclass(made.__name__, told, slots=True)


@cache
def _twins(made: Any) -> _Twins:
    each = fields(made)
    names = [one.name for one in each]
    if hasattr(made, "__post_init__") or len(names) < 2:
        raise TypeError(f"{made.__name__}: use dataclasses.replace")
    return _Twins(
        frozenset(names),
        attrgetter(*names),
        make_dataclass(made.__name__, [(name, Any) for name in names], slots=True),
        make_dataclass(made.__name__, [(one.name, Any, _like(one)) for one in each], slots=True, kw_only=True),
    )


def _like(one: Field[Any]) -> Any:
    """The same default."""
    if one.default is not MISSING:
        return field(default=one.default)
    return field(default_factory=one.default_factory) if one.default_factory is not MISSING else field()
