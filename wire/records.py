"""The records of a JSON list, each with its exact bytes as sent, in one strict reading of the document.

Errors, limits and values are those of `wire.strict_json`. What stands around the list is read by the exact reader. A record that
orjson writes as the very bytes that were sent cannot have lost a key, a digit or a character to it, so its value is taken as orjson
read it, with exact fractions; a record that is spelled in another way is read by the exact reader as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import orjson

from domain.errors import MappingError

from .strict_json import DEFAULT_LIMITS, Checked, JsonLimits, broken, check, cleaned, decoder, unique

_Scan = Callable[[str, int], tuple[Any, int]]
_Record = tuple[bytes, Any]

_SPACE = re.compile(r"[ \t\n\r]*")
_SPACE_BYTES = re.compile(rb"[ \t\n\r]*")
# Whatever this does not find in bytes that orjson wrote has no fraction in it (without an exponent, which is another path).
_FRACTION = re.compile(rb"\.[0-9]+(?:[,}\]]|\Z)")
_ENDS = (b",", b"]", b" ", b"\t", b"\n", b"\r")


def split_records(
    data: bytes, path: str, *, limits: JsonLimits = DEFAULT_LIMITS, missing_ok: bool = False
) -> tuple[Any, list[tuple[bytes, Any]]]:
    """The whole value, and for each element of the array at dotted `path` its exact bytes as sent together with its
    value.

    One pass: the document is walked along the path and every other value is read by C code. `path` "" means the
    document itself is the array. A path that is absent or holds null or not an array raises MappingError
    `records_missing` ("200 without a list is a failure, not 'no orders'"); `missing_ok` is for sources documented to
    leave an empty list out. Errors as `strict_json.parse`.
    """
    document = check(data, limits)
    text, names = document.text, path.split(".") if path else []
    found: list[_Record] | None = None

    def at_target(start: int) -> tuple[Any, int]:
        nonlocal found
        if text[start : start + 1] != "[":
            return scan(text, start)
        quick = _quick_elements(data, document, start, names, scan)
        found, end = _elements(text, start, scan) if quick is None else quick
        return [value for _, value in found], end

    scan: _Scan = decoder(document.slow_numbers, limits).scan_once  # type: ignore[attr-defined]
    try:
        whole, end = _along(text, _skip(text, 0), names, scan, at_target)
        if _skip(text, end) != len(text):
            raise ValueError(f"extra data at character {end}")
    except MappingError:
        raise
    except StopIteration as stop:
        raise MappingError("json", f"value expected at character {stop.value}") from None
    except (ValueError, RecursionError, ArithmeticError, IndexError) as error:
        raise broken(error) from None
    if found is None and not missing_ok:
        raise MappingError("records_missing", "no array here", path=path)
    if document.unsafe:
        return cleaned(whole).value, [(raw, cleaned(value).value) for raw, value in found or ()]
    return whole, found or []


def _along(
    text: str, at: int, path: Sequence[str], scan: _Scan, target: Callable[[int], tuple[Any, int]]
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
            return unique(pairs), at + 1
        at = _expect(text, at, ",")


def _elements(text: str, at: int, scan: _Scan) -> tuple[list[_Record], int]:
    """Each element of the array that opens at `at` with its bytes, and the position after the array."""
    found: list[_Record] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return found, at + 1
    while True:
        value, end = scan(text, at)
        found.append((text[at:end].encode(), value))
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            return found, at + 1
        at = _expect(text, at, ",")


def _quick_elements(
    data: bytes, document: Checked, at: int, names: Sequence[str], scan: _Scan
) -> tuple[list[_Record], int] | None:
    """What `_elements` finds, where orjson reads the document; None when the exact way has to be gone."""
    if document.slow_numbers or document.unsafe:
        return None
    values = _list_at(data, names)
    if not values:
        return None
    text = document.text
    start = len(text[:at].encode())
    raws = list(map(orjson.dumps, values))
    whole = b"[" + b",".join(raws) + b"]"
    if data.startswith(whole, start):
        found, end = list(zip(raws, values, strict=True)), start + len(whole)
    else:
        found, end = _matched(data, text, (start, at), list(zip(raws, values, strict=True)), scan)
    if not end:
        return None
    if document.fractions and _FRACTION.search(whole):
        found = [(raw, _exact(value) if _FRACTION.search(raw) else value) for raw, value in found]
    return found, len(text) - len(data[end:].decode())


def _list_at(data: bytes, names: Sequence[str]) -> list[Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return []
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []


def _matched(
    data: bytes, text: str, known: tuple[int, int], guesses: Sequence[_Record], scan: _Scan
) -> tuple[list[_Record], int]:
    """The elements of the array that opens at the place `known` (its byte, its character), and the byte after the array; 0 when
    it does not hold as many as were guessed."""
    found: list[_Record] = []
    at = known[0]
    for raw, value in guesses:
        at = _skip_bytes(data, at + 1)
        end = at + len(raw)
        if not data.startswith(raw, at) or data[end : end + 1] not in _ENDS:
            char = known[1] + len(data[known[0] : at].decode())
            try:
                exact, last = scan(text, char)
            except (ValueError, StopIteration, MappingError):
                return [], 0  # the exact way finds it as well, and says it
            found.append((text[char:last].encode(), exact))
            end = at + len(found[-1][0])
            known = (end, last)
        else:
            found.append((raw, value))
        at = _skip_bytes(data, end)
        if data[at : at + 1] != b",":
            break
    closed = len(found) == len(guesses) and data[at : at + 1] == b"]"
    return found, at + 1 if closed else 0


def _exact(value: Any) -> Any:
    """The value with exact fractions: what orjson writes of one is what was sent. Changes lists and objects in place."""
    kind = type(value)
    if kind is float:
        return Decimal(orjson.dumps(value).decode())
    if kind is dict or kind is list:
        for key, each in value.items() if kind is dict else enumerate(value):
            inner = type(each)
            if inner is float or inner is dict or inner is list:
                value[key] = _exact(each)
    return value


def _expect(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise ValueError(f"{mark!r} expected at character {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _skip_bytes(data: bytes, at: int) -> int:
    if data[at : at + 1] not in _ENDS[2:]:
        return at
    match = _SPACE_BYTES.match(data, at)
    return match.end() if match else at
