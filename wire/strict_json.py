"""One strict JSON reader for everything that comes from outside, and the writer that goes with it.

Python's `json` keeps the last of two equal keys, accepts NaN and 1e999, raises RecursionError on deep input and
ValueError on 5,000-digit integers, and lets NUL and lone surrogates through to databases that refuse them (promises.md
section 4, rows 13-22). Here each of these is a `MappingError` with a stable code, or (NUL, lone surrogates) a
replacement with a flag. Sources: promises.md sections 1 and 4; RFC 8259 (no BOM, UTF-8), both 2026-11-21, H.

Speed: everything that can be is checked on the bytes by C code before parsing; the exact, slower path is taken only
when such a check is suspicious. A document that orjson writes back byte for byte cannot have lost a key, a digit or a
character to it, so its value is taken as it is; every other document costs about `json.loads` plus one small Python call
per object.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import orjson

from domain.errors import MappingError


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """`depth` of nesting, `int_digits` of the integer part of a number, `string` in UTF-8 bytes as sent (escapes count
    as written).
    """

    depth: int = 32
    int_digits: int = 19
    string: int = 65536


@dataclass(frozen=True, slots=True)
class Parsed:
    """`value` of dict, list, str, int, Decimal, bool, None (never float); `flags` say what was changed."""

    value: Any
    flags: tuple[str, ...] = ()


DEFAULT_LIMITS = JsonLimits()
REPLACED = "replaced_characters"

_NUMBER_DIGITS = 60  # PHP prints 78.3615 with 30 digits; beyond this it is an attack, not a price
_EXPONENT = 30
_NOT_BRACKETS = bytes(b for b in range(256) if b not in b"[]{}")
_OPEN = ord("[")
_SQUARE = bytes.maketrans(b"{}", b"[]")
# Digits and points become "0", e stays: two substring searches then find what a regular expression takes ten times as long for.
_SHAPE = bytes(ord("0") if b in b"0123456789." else ord("e") if b in b"eE" else ord(" ") for b in range(256))
_LONG_NUMBER = b"0" * 20
_SUSPECT_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNSAFE = re.compile("[\x00\ud800-\udfff]")
_SPACE = re.compile(r"[ \t\n\r]*")


def parse(data: bytes, *, limits: JsonLimits = DEFAULT_LIMITS) -> Parsed:
    """Read one JSON document of UTF-8 bytes.

    Raises MappingError with code `encoding`, `depth`, `number`, `string_too_long`, `duplicate_key` or `json`; nothing
    else.
    """
    plain = limits is DEFAULT_LIMITS and _is_plain(data)
    quick = _quick(data) if plain else None
    if quick is not None:
        return Parsed(quick[0])
    text, slow_numbers, unsafe, whole_numbers = _check(data, limits)
    quick = _quick(data) if whole_numbers and not plain else None
    if quick is not None:
        return Parsed(quick[0])
    try:
        value = _decoder(slow_numbers, limits).decode(text)
    except MappingError:
        raise
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise _broken(error) from None
    return _cleaned(value) if unsafe else Parsed(value)


def parse_value(data: bytes, *, limits: JsonLimits = DEFAULT_LIMITS) -> Any:
    """`parse(data).value`, for callers that do not keep flags."""
    return parse(data, limits=limits).value


def split_records(
    data: bytes, path: str, *, limits: JsonLimits = DEFAULT_LIMITS, missing_ok: bool = False
) -> tuple[Any, list[tuple[bytes, Any]]]:
    """The whole value, and for each element of the array at dotted `path` its exact bytes as sent together with its
    value.

    One pass: the document is walked along the path and every other value is read by the C scanner. `path` "" means the
    document itself is the array. A path that is absent or holds null or not an array raises MappingError
    `records_missing` ("200 without a list is a failure, not 'no orders'"); `missing_ok` is for sources documented to
    leave an empty list out. Errors as `parse`.
    """
    text, slow_numbers, unsafe, whole_numbers = _check(data, limits)
    quick = _quick(data) if whole_numbers else None
    if quick is not None:
        return quick[0], _quick_records(quick[0], path, missing_ok=missing_ok)
    found: list[tuple[int, int, Any]] | None = None

    def at_target(start: int) -> tuple[Any, int]:
        nonlocal found
        if text[start : start + 1] != "[":
            return scan(text, start)
        found, end = _elements(text, start, scan)
        return [value for _, _, value in found], end

    scan: Callable[[str, int], tuple[Any, int]] = _decoder(slow_numbers, limits).scan_once  # type: ignore[attr-defined]
    try:
        whole, end = _along(text, _skip(text, 0), path.split(".") if path else [], scan, at_target)
        if _skip(text, end) != len(text):
            raise ValueError(f"extra data at character {end}")
    except MappingError:
        raise
    except StopIteration as stop:
        raise MappingError("json", f"value expected at character {stop.value}") from None
    except (ValueError, RecursionError, ArithmeticError, IndexError) as error:
        raise _broken(error) from None
    if found is None:
        if missing_ok:
            return (_cleaned(whole).value if unsafe else whole), []
        raise MappingError("records_missing", "no array here", path=path)
    records = [(text[start:end].encode(), _cleaned(value).value if unsafe else value) for start, end, value in found]
    return (_cleaned(whole).value if unsafe else whole), records


def dump(value: Any) -> bytes:
    """Compact UTF-8 JSON. Decimals are written as exact number text (1.50 stays 1.50).

    Raises MappingError `number` for NaN/Infinity and `unencodable` for lone surrogates or types JSON has no name for.
    """
    try:
        text = _ENCODER.encode(value)
        if _MARK in text:
            text = _MARKED.sub(r"\1", text)
        return text.encode()
    except UnicodeEncodeError:
        raise MappingError("unencodable", "lone surrogate") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise MappingError("unencodable", str(error)[:200]) from None


# The C encoder writes only its own number types, so a Decimal travels as a string with a mark nobody can guess.
_MARK = f"\x7fdecimal:{secrets.token_hex(16)}:"
_MARKED = re.compile(f'"{re.escape(_MARK)}([-+0-9.E]+)"')


def _exact(item: object) -> str:
    if not isinstance(item, Decimal):
        raise TypeError(f"{type(item).__name__} is not JSON")
    if not item.is_finite():
        raise MappingError("number", "NaN or Infinity")
    return _MARK + (format(item, "f") if abs(item.adjusted()) <= _NUMBER_DIGITS else str(item))


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_exact)


def _is_plain(data: bytes) -> bool:
    """Whether nothing about these bytes needs a closer look, if orjson reads them and writes the same bytes back: no escapes, no
    fractions, no number of many digits, few brackets, no long string."""
    if len(data) > DEFAULT_LIMITS.string or b"\\" in data or b"\x00" in data:
        return False
    outside = b"".join(data.split(b'"')[::2])
    if b"." in outside or outside.count(b"[") + outside.count(b"{") > DEFAULT_LIMITS.depth:
        return False
    return _LONG_NUMBER not in outside.translate(_SHAPE)


def _quick(data: bytes) -> tuple[Any] | None:
    """The value of a checked document without fractions, if it is in orjson's own spelling.

    It is when it is written back as the very same bytes: a key told twice, a number out of range or rounded or a replaced
    character would all come back as other bytes. What orjson allows beyond that was checked before.
    """
    try:
        value = orjson.loads(data)
        return (value,) if orjson.dumps(value) == data else None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None


def _quick_records(value: Any, path: str, *, missing_ok: bool) -> list[tuple[bytes, Any]]:
    """What `split_records` finds in a document of orjson's own spelling: its parts are spelled like that too."""
    for name in path.split(".") if path else []:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, list):
        return [(orjson.dumps(each), each) for each in value]
    if missing_ok:
        return []
    raise MappingError("records_missing", "no array here", path=path)


def _check(data: bytes, limits: JsonLimits) -> tuple[str, bool, bool, bool]:
    """The text, whether numbers need the exact path, whether characters may need replacing, whether all numbers are integers
    and no character is escaped."""
    if data.startswith(b"\xef\xbb\xbf"):
        raise MappingError("encoding", "byte order mark")
    if b"\x00" in data:
        raise MappingError("encoding", "zero byte (UTF-16?)")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MappingError("encoding", f"not UTF-8 at byte {error.start}") from None
    plain, unsafe, escaped = data, False, b"\\" in data
    if escaped:
        unsafe = _SUSPECT_ESCAPE.search(data) is not None
        # Two bytes for two bytes: the lengths of strings stay true. Order matters: \\" ends a string.
        plain = data.replace(b"\\\\", b"..").replace(b'\\"', b"..")
    pieces = plain.split(b'"')
    if len(data) > limits.string and max(map(len, pieces[1::2]), default=0) > limits.string:
        raise MappingError("string_too_long", f"more than {limits.string} bytes")
    outside = b"".join(pieces[::2])
    _check_depth(outside.translate(_SQUARE, _NOT_BRACKETS), limits.depth)
    slow_numbers = limits.int_digits != DEFAULT_LIMITS.int_digits or _suspect_number(outside)
    return text, slow_numbers, unsafe, not (escaped or slow_numbers or b"." in outside)


def _suspect_number(outside: bytes) -> bool:
    shape = outside.translate(_SHAPE)
    return _LONG_NUMBER in shape or b"0e" in shape


def _check_depth(brackets: bytes, limit: int) -> None:
    if len(brackets) <= 2 * limit and brackets.count(b"[") <= limit:
        return
    left, depth = brackets, 0
    for _ in range(limit):
        # Takes the innermost level of every branch away, and no other.
        left = left.replace(b"[]", b"")
        if not left:
            return
    for bracket in brackets:
        depth += 1 if bracket == _OPEN else -1
        if depth > limit:
            raise MappingError("depth", f"nested deeper than {limit}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise MappingError("duplicate_key", twice[:100])
    return found


def _no_constant(name: str) -> Any:
    raise MappingError("number", name)


_FAST = json.JSONDecoder(object_pairs_hook=_unique, parse_float=Decimal, parse_constant=_no_constant)


def _decoder(slow_numbers: bool, limits: JsonLimits) -> json.JSONDecoder:
    if not slow_numbers:
        return _FAST

    def whole(digits: str) -> int:
        if len(digits.lstrip("-")) > limits.int_digits:
            raise MappingError("number", f"integer of more than {limits.int_digits} digits")
        return int(digits)

    def fraction(digits: str) -> Decimal:
        mantissa, _, exponent = digits.lower().partition("e")
        too_long = len(mantissa) > _NUMBER_DIGITS or len(mantissa.lstrip("-").partition(".")[0]) > limits.int_digits
        if too_long or len(exponent) > 4 or abs(int(exponent or 0)) > _EXPONENT:
            raise MappingError("number", "out of range")
        return Decimal(digits)

    return json.JSONDecoder(
        object_pairs_hook=_unique, parse_int=whole, parse_float=fraction, parse_constant=_no_constant
    )


def _broken(error: Exception) -> MappingError:
    if isinstance(error, RecursionError):
        return MappingError("depth", "nested too deep")
    return MappingError("json", str(error)[:200])


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _along(
    text: str,
    at: int,
    path: Sequence[str],
    scan: Callable[[str, int], tuple[Any, int]],
    target: Callable[[int], tuple[Any, int]],
) -> tuple[Any, int]:
    """Read the value at `at`; follow `path` through objects and hand the last step to `target`."""
    if not path:
        return target(at)
    if text[at : at + 1] != "{":
        return scan(text, at)
    pairs: list[tuple[str, Any]] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return {}, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise ValueError(f"name expected at character {at}")
        key, at = scanstring(text, at + 1, True)
        at = _expect(text, _skip(text, at), ":")
        here = key == path[0]
        value, at = _along(text, at, path[1:], scan, target) if here else scan(text, at)
        pairs.append((key, value))
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return _unique(pairs), at + 1
        at = _expect(text, at, ",")


def _elements(
    text: str, at: int, scan: Callable[[str, int], tuple[Any, int]]
) -> tuple[list[tuple[int, int, Any]], int]:
    """(start, end, value) of each element of the array that opens at `at`, and the position after it."""
    found: list[tuple[int, int, Any]] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return found, at + 1
    while True:
        value, end = scan(text, at)
        found.append((at, end, value))
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            return found, at + 1
        at = _expect(text, at, ",")


def _expect(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise ValueError(f"{mark!r} expected at character {at}")
    return _skip(text, at + 1)


def _cleaned(value: Any) -> Parsed:
    """Replace what PostgreSQL or UTF-8 cannot hold. Depth is already bounded, so recursion is safe."""
    replaced = 0

    def clean(item: Any) -> Any:
        nonlocal replaced
        if isinstance(item, str):
            fresh, count = _UNSAFE.subn("�", item)
            replaced += count
            return fresh
        if isinstance(item, list):
            return [clean(each) for each in item]
        if isinstance(item, dict):
            return _unique([(clean(key), clean(each)) for key, each in item.items()])
        return item

    fresh = clean(value)
    return Parsed(fresh, (REPLACED,) if replaced else ())
