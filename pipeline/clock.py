"""One time for all machines: the database's, carried on by a counter that no clock step and no time zone touches. Leases
of two hosts whose clocks differ by an hour would otherwise end at once or never."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, exc

from storage.clock import read_clock

# Goes on while a machine sleeps, which CLOCK_MONOTONIC does not.
_COUNTER = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# A round trip longer than this says too little about when the server looked at its clock.
_SHARP = 0.25


def counted() -> float:
    """Seconds on a counter that also counts while the process is frozen or the machine sleeps."""
    return time.clock_gettime(_COUNTER)


class SharedClock:
    """The time (aware UTC) when called. Follows the database's clock as of the last `set`; before the first it is the
    host's. Thread-safe: the pair it computes with is replaced at once."""

    def __init__(self) -> None:
        self._base = (datetime.now(UTC), counted())

    def __call__(self) -> datetime:
        base, at = self._base
        return base + timedelta(seconds=counted() - at)

    def set(self, engine: Engine) -> None:
        """Look at the database's clock (a few times, if the line is slow). Without an answer the counter goes on alone."""
        best = float("inf")
        with suppress(exc.DBAPIError), engine.connect() as tx:
            for _ in range(3):
                asked = counted()
                told = read_clock(tx)
                took = counted() - asked
                if told is not None and took < best:
                    best, self._base = took, (told, asked + took / 2)
                if told is None or best < _SHARP:
                    return
