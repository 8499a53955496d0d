"""Times as the database keeps them: integer microseconds UTC since 1970. Exact both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """An aware datetime as integer microseconds."""
    return (moment - _EPOCH) // _MICRO


def maybe_micros(moment: datetime | None) -> int | None:
    return None if moment is None else micros(moment)


def moment(value: int) -> datetime:
    """Integer microseconds as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=value)


def maybe_moment(value: int | None) -> datetime | None:
    return None if value is None else moment(value)


def span(delta: timedelta) -> int:
    """A duration in microseconds."""
    return delta // _MICRO
