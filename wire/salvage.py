"""A page of records of which some cannot be read: the good ones are read, each bad one is cut out with its exact bytes.

GraphQL and REST lists hold many orders in one document, and one order with NaN, a key twice, a nesting of 100,000 or bytes of
another encoding makes the whole document unreadable. One bad order must not stop its neighbours (promises.md P7 and §4 rows
13-16 and 22, 2026-11-21, H). Nothing is guessed: outside the bad records the document must pass the strict reader unchanged.
"""

from __future__ import annotations

import re
from typing import Any

from domain.errors import MappingError

from .records import split_records
from .strict_json import parse_value

_MOST_BRACKETS = 500_000  # more is an attack on our time, not a page of orders
_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(rb'[^\s,\[\]{}":]+')


def salvage_records(data: bytes, path: str) -> tuple[Any, list[tuple[bytes, Any]]]:
    """As `records.split_records`; a record that cannot be read has the value None and stands as null in the whole value.
    When the fault lies outside the records, or nobody can say where they end, the strict reader's MappingError is raised."""
    try:
        return split_records(data, path)
    except MappingError as error:
        if error.code == "records_missing":
            raise
        try:
            return _salvaged(data, path)
        except (ValueError, MappingError):
            raise error from None


def _salvaged(data: bytes, path: str) -> tuple[Any, list[tuple[bytes, Any]]]:
    if data.count(b"[") + data.count(b"{") > _MOST_BRACKETS:
        raise ValueError("too many values")
    pieces = _pieces(data, path.split("."))
    bad = {start for start, end in pieces if not _is_readable(data[start:end])}
    if not bad:
        raise ValueError("the fault is elsewhere")
    kept, at = bytearray(), 0
    for start, end in pieces:
        if start in bad:
            kept += data[at:start] + b"null"
            at = end
    value, records = split_records(bytes(kept + data[at:]), path)
    if len(records) != len(pieces):
        raise ValueError("the pieces are not the records")
    whole = zip(pieces, records, strict=True)
    return value, [(data[start:end], None) if start in bad else record for (start, end), record in whole]


def _is_readable(piece: bytes) -> bool:
    try:
        parse_value(piece)
    except MappingError:
        return False
    return True


def _pieces(data: bytes, path: list[str]) -> list[tuple[int, int]]:
    """Where each element of the array at `path` starts and ends. Raises ValueError when there is no such array."""
    at = _skip(data, 0)
    for name in path:
        at = _member(data, at, f'"{name}"'.encode())
    found: list[tuple[int, int]] = []
    at = _skip(data, _expect(data, at, b"["))
    while data[at : at + 1] != b"]":
        if found:
            at = _skip(data, _expect(data, at, b","))
        end = _end(data, at)
        found.append((at, end))
        at = _skip(data, end)
    return found


def _member(data: bytes, at: int, name: bytes) -> int:
    """Where the value of a member of the object at `at` starts."""
    at = _skip(data, _expect(data, at, b"{"))
    while key := _STRING.match(data, at):
        at = _skip(data, _expect(data, _skip(data, key.end()), b":"))
        if key.group() == name:
            return at
        at = _skip(data, _expect(data, _skip(data, _end(data, at)), b","))
    raise ValueError("no such member")


def _end(data: bytes, at: int) -> int:
    """Where the value at `at` ends, however deep it is and whatever its strings hold."""
    if data[at : at + 1] not in {b"{", b"["}:
        scalar = _STRING.match(data, at) or _SCALAR.match(data, at)
        if scalar is None:
            raise ValueError("no value")
        return scalar.end()
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(data, at):
        mark = token.group()
        depth += mark in {b"{", b"["}
        depth -= mark in {b"}", b"]"}
        if not depth:
            return token.end()
    raise ValueError("the value has no end")


def _expect(data: bytes, at: int, mark: bytes) -> int:
    if data[at : at + 1] != mark:
        raise ValueError("another character was expected")
    return at + 1


def _skip(data: bytes, at: int) -> int:
    match = _SPACE.match(data, at)
    return match.end() if match else at
