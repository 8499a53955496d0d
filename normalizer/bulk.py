"""The values of one record by the handful: all keys of one object at once, all readers at once, by functions of the
interpreter itself instead of one closure after the other.

What the values found are is told by their types alone (text, text, nothing, whole number …); how to read that combination
is worked out when it is first met and kept. Whatever is not usual - a type without a plan, an error of a reader - is one of
FAULTS: the caller then reads the document field by field, which says exactly what is wrong (`plain.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final, TypeAlias

from domain.errors import MappingError

from .compiled import FAULTS as READING
from .compiled import MISSING_CODES, REQUIRED, At, Both, Field, Getter, compile_field
from .readers import Context, Contextual, as_bool, as_is, as_quantity, as_text, as_trimmed

FAULTS: Final = (MappingError, *READING)
MAX_PLANS: Final = (
    128  # combinations of types kept for one kind of record: more than these come from nobody who means well
)

Op: TypeAlias = Callable[[Any], Any]
Named: TypeAlias = tuple[str, Field, str]
_Group: TypeAlias = tuple[tuple[str, ...], tuple[str, ...], tuple[None, ...]]


@dataclass(frozen=True, slots=True)
class _How:
    """How one value that was found is read. `exact`: only a whole number, taken as it is."""

    read: Callable[[Any], Any] | Contextual
    default: Any
    exact: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Where the values of one kind of record are: by keys of objects (path to the object, its keys), by functions of the
    record, by functions of order and record - these three are read as `hows` says - and, as they are, by functions and by
    getters. `places` is the place among the values of each field, in the order in which fields were given."""

    groups: tuple[_Group, ...]
    found: tuple[Op, ...]
    both: tuple[Callable[[Any, Any], Any], ...]
    hows: tuple[_How, ...]
    own: tuple[Op, ...]
    own_both: tuple[Callable[[Any, Any], Any], ...]
    getters: tuple[Getter, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Of values of certain types: which are read, and how; and which are missing, and what they are then. All others are
    canonical as they were found."""

    ops: tuple[tuple[int, Op], ...]
    defaults: tuple[tuple[int, Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plans:
    """How to read the combinations of types met so far, in one zone and currency."""

    context: Context
    by_types: dict[tuple[type, ...], _Plan] = field(default_factory=dict)


def shape_of(named: Sequence[Named]) -> Shape:
    """The shape of these fields: (canonical name, where it is, the type of the canonical field)."""
    groups: dict[tuple[str, ...], list[tuple[int, str, _How]]] = {}
    lists: dict[str, list[tuple[int, Any, _How | None]]] = {
        kind: [] for kind in ("found", "both", "own", "own_both", "getters")
    }
    for index, (name, source, type_name) in enumerate(named):
        how = _how(source, name, type_name)
        steps = _steps(source)
        if how is not None and steps:
            groups.setdefault(steps[:-1], []).append((index, steps[-1], how))
        else:
            kind, get = _function(source, name, type_name, how)
            lists[kind].append((index, get, how))
    in_groups = [entry for entries in groups.values() for entry in entries]
    read = [*in_groups, *lists["found"], *lists["both"]]
    order = [entry[0] for entry in (*read, *lists["own"], *lists["own_both"], *lists["getters"])]
    return Shape(
        groups=tuple(
            (parent, tuple(key for _, key, _ in entries), (None,) * len(entries)) for parent, entries in groups.items()
        ),
        found=tuple(get for _, get, _ in lists["found"]),
        both=tuple(get for _, get, _ in lists["both"]),
        hows=tuple(how for _, _, how in read if how is not None),
        own=tuple(get for _, get, _ in lists["own"]),
        own_both=tuple(get for _, get, _ in lists["own_both"]),
        getters=tuple(get for _, get, _ in lists["getters"]),
        places=tuple(order.index(index) for index in range(len(named))),
    )


def read_values(shape: Shape, record: Mapping[str, Any], context: Context, plans: Plans) -> list[Any]:
    """The canonical values, in the shape's own order (see `Shape.places`). One of FAULTS for anything unusual."""
    values = _find(shape, record, context.order)
    types = tuple(map(type, values))
    plan = plans.by_types.get(types) or _plan(shape, types, plans)
    for place, read in plan.ops:
        values[place] = read(values[place])
    for place, default in plan.defaults:
        values[place] = default
    if shape.own:
        values += [find(record) for find in shape.own]
    if shape.own_both:
        values += [find(context.order, record) for find in shape.own_both]
    if shape.getters:
        values += [get(record, context) for get in shape.getters]
    return values


def _find(shape: Shape, record: Mapping[str, Any], order: Mapping[str, Any]) -> list[Any]:
    """The values that are still to be read, as they stand in the document."""
    values: list[Any] = []
    for parent, keys, blanks in shape.groups:
        inner: Any = record
        for step in parent:
            inner = inner.get(step)
            if inner is None:
                break
        if type(inner) is dict:
            values += map(inner.get, keys)
        elif inner is None:
            values += blanks
        else:
            raise LookupError
    if shape.found:
        values += [find(record) for find in shape.found]
    if shape.both:
        values += [find(order, record) for find in shape.both]
    return values


def _how(source: Field, name: str, type_name: str) -> _How | None:
    """None: the value is taken as it is found, or by a getter."""
    if isinstance(source, At):
        prepared = not isinstance(source.read, Contextual) or source.read.texts is not None
        return _How(source.read, source.default) if prepared else None
    if name == "quantity":
        return _How(as_quantity, REQUIRED)
    if type_name == "str":
        return _How(as_text, REQUIRED if name in MISSING_CODES else "")
    if type_name in {"int", "int | None"}:
        return _How(as_text, REQUIRED if type_name == "int" else None, exact=True)
    return None


def _steps(source: Field) -> tuple[str, ...]:
    """The keys to follow through objects; () for a function, and for a path that may step into a list."""
    if not isinstance(source, At) or not isinstance(source.path, str):
        return ()
    steps = tuple(source.path.split("."))
    return () if any(step.isdigit() for step in steps) else steps


def _function(source: Field, name: str, type_name: str, how: _How | None) -> tuple[str, Any]:
    place = source.path if isinstance(source, At) else source
    if isinstance(place, str) or (isinstance(source, At) and how is None):
        return "getters", compile_field(source, name, type_name)
    if isinstance(place, Both):
        return ("own_both" if how is None else "both"), place.of
    return ("own" if how is None else "found"), place


def _plan(shape: Shape, types: tuple[type, ...], plans: Plans) -> _Plan:
    ops: list[tuple[int, Op]] = []
    defaults: list[tuple[int, Any]] = []
    for place, (how, kind) in enumerate(zip(shape.hows, types, strict=True)):
        if kind is not NoneType:
            op = _op(how, kind, plans.context)
            ops += [] if op is None else [(place, op)]
        elif how.default is REQUIRED:
            raise LookupError
        elif how.default is not None:
            defaults.append((place, how.default))
    if len(plans.by_types) >= MAX_PLANS:
        plans.by_types.clear()
    plan = plans.by_types[types] = _Plan(tuple(ops), tuple(defaults))
    return plan


def _op(how: _How, kind: type, context: Context) -> Op | None:
    """What makes the canonical value of one of this type; None where it is that already. LookupError: nothing that is usual."""
    read, default = how.read, how.default
    if how.exact:
        if kind is not int:
            raise LookupError
        return None
    if isinstance(read, Contextual):
        if kind is not str or read.texts is None:
            whole = read.read
            return lambda value: whole(value, context)
        blank = read.blank_is_missing and default is not REQUIRED
        return _or_default(read.texts(context), default) if blank else read.texts(context)
    if kind is str and read in (as_text, as_trimmed):
        taken: Op | None = None if read is as_text else str.strip
        return taken if default is REQUIRED or default == "" else _or_default(taken or str, default)
    return None if read is as_is or (kind is bool and read is as_bool) else read


def _or_default(read: Op, default: Any) -> Op:
    return lambda text: read(text) if text else default
