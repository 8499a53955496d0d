"""Ids as they leave the house: numbers with a check at their end, EX… for exceptions; never the integers of the rows."""

from __future__ import annotations

from domain.errors import RefusedError
from domain.numbers import order_number, read_order_number

PREFIX = "EX"


def exception_ref(row_id: int) -> str:
    """The opaque form of an exception's id, with a check at its end."""
    return order_number(row_id, PREFIX, "plain")


def exception_id(ref: str) -> int:
    """The id behind `exception_ref`. RefusedError `not_found` for anything else."""
    prefix, row_id = _read(ref)
    if prefix != PREFIX:
        raise RefusedError("not_found", "there is no such thing")
    return row_id


def row_id_of(ref: str) -> int:
    """The id behind a number of any kind. RefusedError `not_found` for anything else."""
    return _read(ref)[1]


def named_id(text: str) -> int | None:
    """The id behind what a person typed, None when it is no number of ours."""
    try:
        return read_order_number(text)[1]
    except RefusedError:
        return None


def _read(ref: str) -> tuple[str, int]:
    try:
        return read_order_number(ref)
    except RefusedError:
        raise RefusedError("not_found", "there is no such thing") from None
