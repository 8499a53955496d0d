"""Compiles the fields of a mapping to closures, once per mapping, so that reading an order is only calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from domain.errors import MappingError

from .readers import Context, Contextual, as_quantity, as_quantity_decimal, as_text, as_trimmed

Record: TypeAlias = Mapping[str, Any]
Derived: TypeAlias = Callable[[Any], Any]
Getter: TypeAlias = Callable[[Any, Context], Any]
Section: TypeAlias = tuple[tuple[str, Getter], ...]

REQUIRED: Final = object()
_BLANK_IS_MISSING: Final = (as_text, as_trimmed)
FAULTS: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
MISSING_CODES: Final = {
    "external_id": "id", "currency": "currency_unknown", "source_time": "time", "placed_at": "time", "version": "time",
    "quantity": "qty",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Both:
    """A function of the order record and the line record, for lines that cannot be read alone."""

    of: Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class At:
    """Where a value is, how it is read, and what it is when it is missing. `path` is dotted, with numbers for list
    places ("a.b.0.c"), or a function that finds the raw value. A value is missing when it is absent or null, or -
    where there is a default - "" for texts and times; a missing value without a default is a MappingError (`id`,
    `time`, `money`, `qty` … by the field, else `missing`)."""

    path: str | Derived | Both
    read: Callable[[Any], Any] | Contextual = as_text
    default: Any = REQUIRED


Field: TypeAlias = At | Derived | Both


def fixed(value: Any) -> Derived:
    """A field that is the same for every document of a source (`fixed("CNY")`)."""
    return lambda _: value


def compile_section(section: Mapping[str, Field], target: type | None) -> Section:
    """The getters of one group of fields of the dataclass `target` (None: texts by any name). Errors: ValueError for
    a name that the target does not have."""
    types = (
        {item.name: str(item.type) for item in fields(target)} if target is not None else dict.fromkeys(section, "str")
    )
    if unknown := sorted(section.keys() - types.keys()):
        raise ValueError(f"{target.__name__ if target else 'extra'} has no fields {unknown}")
    return tuple((name, compile_field(value, name, types[name])) for name, value in section.items())


def compile_field(source: Field, name: str, type_name: str = "") -> Getter:
    """One getter. A bare function gives the canonical value itself, checked by the field's type; `name` is the path
    shown when the place is a function."""
    if not isinstance(source, At):
        return _checked(_finder(source, name), name, type_name)
    shown = source.path if isinstance(source.path, str) else name
    find, reader, code = _finder(source.path, name), source.read, MISSING_CODES.get(name)
    if isinstance(reader, Contextual):
        return _contextual(find, reader, source.default, code or reader.code, shown)
    if code is None and reader in (as_quantity, as_quantity_decimal):
        code = "qty"
    return _plain(find, reader, source.default, code or "missing", shown)


def read_records(get: Getter, record: Record, context: Context, path: str) -> Sequence[Record]:
    """The records a list field finds: null is an empty list, one object a list of one. Errors: MappingError
    `type`."""
    found = get(record, context)
    if found is None:
        return ()
    if isinstance(found, Mapping):
        found = (found,)
    if not isinstance(found, (list, tuple)):
        raise MappingError("type", f"a list was expected, not {type(found).__name__}", path=path)
    for index, item in enumerate(found):
        if type(item) is not dict and not isinstance(item, Mapping):
            raise MappingError("type", f"an object was expected, not {type(item).__name__}", path=f"{path}.{index}")
    return found


def follow(record: Any, steps: Sequence[str]) -> Any:
    """The value at the end of a path, or None. A number steps into a list, or into an object that has such a key."""
    for step in steps:
        if type(record) is dict or isinstance(record, Mapping):
            record = record.get(step)
        elif isinstance(record, (list, tuple)) and step.isascii() and step.isdigit():
            record = record[int(step)] if int(step) < len(record) else None
        else:
            return None
    return record


def _finder(path: str | Derived | Both, name: str) -> Getter:
    if isinstance(path, str):
        return _path_finder(path)
    if isinstance(path, Both):
        both = path.of
        return _guarded(lambda record, context: both(context.order, record), name)
    only = path
    return _guarded(lambda record, _: only(record), name)


def _path_finder(path: str) -> Getter:
    steps = path.split(".")
    if not all(steps):
        raise ValueError(f"not a dotted path: {path!r}")
    first, rest = steps[0], steps[1:]
    if not rest:
        return lambda record, _: record.get(first)
    if len(rest) == 1:
        second = rest[0]

        def find_two(record: Any, _: Context) -> Any:
            inner = record.get(first)
            return inner.get(second) if isinstance(inner, dict) else follow(inner, rest)

        return find_two
    return lambda record, _: follow(record.get(first), rest)


def _guarded(find: Getter, name: str) -> Getter:
    """One bad document must become one exception, whatever a connector's function stumbles over."""

    def guarded(record: Any, context: Context) -> Any:
        try:
            return find(record, context)
        except MappingError as error:
            raise _placed(error, context, name) from None
        except FAULTS as error:
            raise MappingError(
                "unreadable", f"{type(error).__name__}: {error}"[:200], path=context.prefix + name
            ) from error

    return guarded


def _checked(find: Getter, name: str, type_name: str) -> Getter:
    if name == "quantity":
        return _plain(find, as_quantity, REQUIRED, "qty", name)
    if type_name == "str":
        code = MISSING_CODES.get(name)
        return _plain(find, as_text, REQUIRED if code else "", code or "missing", name)
    if type_name not in {"int", "int | None"}:
        return find

    def get(record: Any, context: Context) -> int | None:
        value = find(record, context)
        if type(value) is not int and not (value is None and type_name == "int | None"):
            raise MappingError(
                "type", f"a whole number was expected, not {type(value).__name__}", path=context.prefix + name
            )
        return value

    return get


def _plain(find: Getter, read: Callable[[Any], Any], default: Any, code: str, shown: str) -> Getter:
    blank = read in _BLANK_IS_MISSING and default is not REQUIRED

    def get(record: Any, context: Context) -> Any:
        value = find(record, context)
        if value is None or (blank and value == ""):
            if default is REQUIRED:
                raise MappingError(code, "the value is missing", path=context.prefix + shown)
            return default
        try:
            return read(value)
        except MappingError as error:
            raise _placed(error, context, shown) from None
        except FAULTS as error:
            raise MappingError(
                "unreadable", f"{type(error).__name__}: {error}"[:200], path=context.prefix + shown
            ) from error

    return get


def _contextual(find: Getter, reader: Contextual, default: Any, code: str, shown: str) -> Getter:
    read, blank = reader.read, reader.blank_is_missing

    def get(record: Any, context: Context) -> Any:
        value = find(record, context)
        if value is None or (blank and value == ""):
            if default is REQUIRED:
                raise MappingError(code, "the value is missing", path=context.prefix + shown)
            return default
        try:
            return read(value, context)
        except MappingError as error:
            raise _placed(error, context, shown) from None

    return get


def _placed(error: MappingError, context: Context, shown: str) -> MappingError:
    """The same error with the whole path. One that already has a path was placed by a getter nearer to the fault."""
    if error.path.startswith(context.prefix) and error.path:
        return error
    return MappingError(error.code, error.detail, path=context.prefix + shown)
