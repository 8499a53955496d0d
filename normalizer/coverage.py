"""Which parts of a source document a mapping never looked at: what a connector author has forgotten, or leaves out on
purpose (`OrderMapping.ignored`). Paths are dotted, with `*` for every place of a list (`orders.order.*.oid`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC
from typing import Any

from domain.errors import HubError

from .compiled import At, Field, Section, read_records
from .mapping import OrderMapping
from .readers import Context


def unmapped(record: Mapping[str, Any], mapping: OrderMapping) -> frozenset[str]:
    """The paths of all values in `record` that no field of `mapping` read. A field that reads a whole object or list
    has read everything in it; what a function reads is what it looks up. A value that cannot be read counts as looked
    at."""
    seen: set[str] = set()
    watched = _watch(record, "", seen)
    compiled = mapping.compiled
    context = Context(zone=UTC, order=watched, currency="XXX")
    whole = _whole_paths(mapping)
    singles = (compiled.currency, compiled.status, compiled.payment, compiled.forbids, compiled.notes, compiled.tags)
    for get in singles:
        if get is not None:
            _quietly(get, watched, context)
    for section in (compiled.order, compiled.ship_to, compiled.amounts, compiled.extra):
        _read_section(section, watched, context)
    for lists, section in (
        (compiled.lines, compiled.line),
        (compiled.discounts, compiled.discount),
        (compiled.after_sales, compiled.after_sale),
    ):
        if lists is not None:
            items = _quietly(read_records, lists, watched, context, "") or ()
            for item in items:
                if isinstance(item, _Watched):
                    whole |= {f"{item.path}{path}" for path in _paths(_fields_of(mapping, section).values())}
                _read_section(section, item, context)
    ignored = set(mapping.ignored) | whole
    return frozenset(path for path in _leaves(record, "") if path not in seen and not _inside(path, ignored))


class _Watched(dict[str, Any]):
    """An object that writes down which of its keys are looked up. It overrides __iter__ so that `{**it}` looks them
    up too."""

    def __init__(self, path: str, seen: set[str], values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.path, self.seen = path, seen

    def __getitem__(self, key: str) -> Any:
        self.seen.add(self.path + key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(self.path + key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()

    def items(self) -> Any:
        self.seen.update(self.path + key for key in self)
        return super().items()

    def values(self) -> Any:
        self.seen.update(self.path + key for key in self)
        return super().values()


def _watch(value: Any, path: str, seen: set[str]) -> Any:
    if isinstance(value, Mapping):
        return _Watched(path, seen, {key: _watch(item, f"{path}{key}.", seen) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return [_watch(item, f"{path}*.", seen) for item in value]
    return value


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}{key}.")
    elif isinstance(value, (list, tuple)) and value and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        for item in value:
            yield from _leaves(item, f"{path}*.")
    else:
        yield path[:-1]


def _whole_paths(mapping: OrderMapping) -> set[str]:
    sections = (mapping.order, mapping.ship_to, mapping.amounts, mapping.extra)
    return _paths([mapping.status, *(item for section in sections for item in section.values())])


def _fields_of(mapping: OrderMapping, section: Section) -> Mapping[str, Field]:
    compiled = mapping.compiled
    if section is compiled.line:
        return mapping.line
    return mapping.discount if section is compiled.discount else mapping.after_sale


def _paths(fields: Iterable[Field]) -> set[str]:
    found = (item.path for item in fields if isinstance(item, At) and isinstance(item.path, str))
    return {".".join("*" if step.isdigit() else step for step in path.split(".")) for path in found}


def _inside(path: str, prefixes: set[str]) -> bool:
    steps = path.split(".")
    return any(".".join(steps[:length]) in prefixes for length in range(1, len(steps) + 1))


def _read_section(section: Section, record: Any, context: Context) -> None:
    for _, get in section:
        _quietly(get, record, context)


def _quietly(read: Callable[..., Any], *arguments: Any) -> Any:
    with suppress(HubError):
        return read(*arguments)
    return None
