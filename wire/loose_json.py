"""A second look at a document that the strict reader refused over a number that is none (NaN, Infinity, 1e999): only to find out
what the number was to be, so that an amount is called an amount (promises.md §4 row 14, 2026-11-22, H). Nothing read here
becomes an order."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from domain.errors import MappingError

from .strict_json import parse_value

NO_NUMBER = Decimal("NaN")
_LONGEST = 30  # characters of a number; more is another fault


def parse_loosely(data: bytes) -> Any:
    """As `strict_json.parse_value`, but every number that is none is NO_NUMBER. Only for bytes that `parse` refused with
    `number`: their encoding, depth and strings have been checked. Raises MappingError `number` for numbers too long to be
    read, `json` for what is no JSON besides."""
    try:
        return json.loads(data, parse_constant=_none, parse_float=_fraction, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise MappingError("json", str(error)[:200]) from None


def _none(_name: str) -> Decimal:
    return NO_NUMBER


def _fraction(text: str) -> Any:
    if len(text) > _LONGEST:
        raise MappingError("number", "out of range")
    try:
        return parse_value(text.encode())
    except MappingError:
        return NO_NUMBER


def _whole(text: str) -> Any:
    return parse_value(text.encode())
