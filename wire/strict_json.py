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
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

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


class Checked(NamedTuple):
    """A document before it is read: its `text`, whether numbers need the exact path, whether characters may need replacing
    (`unsafe`), whether any is `escaped`, and how many `fractions` there are."""

    text: str
    slow_numbers: bool
    unsafe: bool
    escaped: bool
    fractions: int


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


def parse(data: bytes, *, limits: JsonLimits = DEFAULT_LIMITS) -> Parsed:
    """Read one JSON document of UTF-8 bytes.

    Raises MappingError with code `encoding`, `depth`, `number`, `string_too_long`, `duplicate_key` or `json`; nothing
    else.
    """
    plain = limits is DEFAULT_LIMITS and _is_plain(data)
    quick = _quick(data) if plain else None
    if quick is not None:
        return Parsed(quick[0])
    found = check(data, limits)
    quick = None if plain or found.escaped or found.slow_numbers or found.fractions else _quick(data)
    if quick is not None:
        return Parsed(quick[0])
    try:
        value = decoder(found.slow_numbers, limits).decode(found.text)
    except MappingError:
        raise
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise broken(error) from None
    return cleaned(value) if found.unsafe else Parsed(value)


def parse_value(data: bytes, *, limits: JsonLimits = DEFAULT_LIMITS) -> Any:
    """`parse(data).value`, for callers that do not keep flags."""
    return parse(data, limits=limits).value


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


def check(data: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> Checked:
    """What can be known of a document before it is read. Raises MappingError `encoding`, `string_too_long` or `depth`."""
    if data.startswith(b"\xef\xbb\xbf"):
        raise MappingError("encoding", "byte order mark")
    if b"\x00" in data:
        raise MappingError("encoding", "zero byte (UTF-16?)")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MappingError("encoding", f"not UTF-8 at byte {error.start}") from None
    escaped = b"\\" in data
    plain = _without_escapes(data) if escaped else data
    pieces = plain.split(b'"')
    if _is_sparse(plain, limits.string) and max(map(len, pieces[1::2]), default=0) > limits.string:
        raise MappingError("string_too_long", f"more than {limits.string} bytes")
    outside = b"".join(pieces[::2])
    _check_depth(outside.translate(_SQUARE, _NOT_BRACKETS), limits.depth)
    return Checked(
        text,
        slow_numbers=limits.int_digits != DEFAULT_LIMITS.int_digits or _suspect_number(outside),
        unsafe=escaped and _SUSPECT_ESCAPE.search(data) is not None,
        escaped=escaped,
        fractions=outside.count(b"."),
    )


def _without_escapes(data: bytes) -> bytes:
    # Two bytes for two bytes: the lengths of strings stay true. Order matters: \\" ends a string.
    return data.replace(b"\\\\", b"..").replace(b'\\"', b"..")


def _is_sparse(plain: bytes, limit: int) -> bool:
    """Whether more than `limit` bytes without a quote follow each other: only then may a string be too long."""
    at = -1
    while len(plain) - at > limit + 1:
        last = plain.rfind(b'"', at + 1, at + limit + 2)
        if last < 0:
            return True
        at = last
    return False


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


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise MappingError("duplicate_key", twice[:100])
    return found


def _no_constant(name: str) -> Any:
    raise MappingError("number", name)


_FAST = json.JSONDecoder(object_pairs_hook=unique, parse_float=Decimal, parse_constant=_no_constant)


def decoder(slow_numbers: bool, limits: JsonLimits) -> json.JSONDecoder:
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
        object_pairs_hook=unique, parse_int=whole, parse_float=fraction, parse_constant=_no_constant
    )


def broken(error: Exception) -> MappingError:
    if isinstance(error, RecursionError):
        return MappingError("depth", "nested too deep")
    return MappingError("json", str(error)[:200])


def cleaned(value: Any) -> Parsed:
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
            return unique([(clean(key), clean(each)) for key, each in item.items()])
        return item

    fresh = clean(value)
    return Parsed(fresh, (REPLACED,) if replaced else ())
