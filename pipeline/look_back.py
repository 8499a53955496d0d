"""How far back a poll reads: the whole look-back about once a minute, a short way in between.

A poll of the whole look-back lists every order again that changed in it, so polls that come faster than once a minute list the same
orders look-back / period times, and a source counts each of them (Shopify: 2 points). A short way is enough for what the polls
themselves need: the orders that changed since, and a second look at those whose stamp had not settled when they were read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

# The promise's look-back at every poll (promises.md section 1, 2026-11-21, H) is kept by polls a minute apart.
_WHOLE_EVERY = timedelta(seconds=60)
_SECOND = timedelta(seconds=1)  # the coarsest stamp of a source


@dataclass(frozen=True, slots=True)
class Pace:
    """How an account is polled: a poll each `period`, the whole `look_back`, and the time after which a stamp hides nothing any
    more (`settled`)."""

    period: timedelta
    look_back: timedelta
    settled: timedelta

    @property
    def pause(self) -> timedelta:
        """How long a whole look-back is enough: a minute, less where the look-back itself is short, so that what it finds late
        is found in time."""
        return min(_WHOLE_EVERY, self.look_back / 3)

    @property
    def short(self) -> timedelta:
        """What a poll in between looks back: twice the period, and so far that a version is listed again when it has settled."""
        return max(2 * self.period, self.settled + _SECOND)

    @property
    def saves(self) -> bool:
        """Whether there are polls in between at all."""
        return self.short < self.look_back and 1.5 * self.period < self.pause


@dataclass(frozen=True, slots=True)
class Whole:
    """A poll of the whole look-back that was read to its end: when it began (by the clock and on a counter, in seconds, that no
    step of the clock touches) and the watermark it reached."""

    at: datetime
    counted: float
    reached: datetime


def poll_start(
    pace: Pace, watermark: datetime, last: Whole | None, now: datetime, counted: float, *, whole: bool = False
) -> tuple[datetime, bool]:
    """The source time from which a poll reads, and whether it looks back the whole way. It does when that is asked for (`whole`),
    when nobody knows the `last` one that did, and when that one is too old; then it reaches as far as if it had come right after
    that one, so that what became visible in between is not a minute too old to be found."""
    if not pace.saves:
        return watermark - pace.look_back, True
    if not whole and last is not None and _is_fresh(pace, last, now, counted):
        return watermark - pace.short, False
    reached = min(watermark, last.reached) if last is not None else watermark - pace.pause
    return max(reached, watermark - pace.look_back) - pace.look_back, True


def _is_fresh(pace: Pace, last: Whole, now: datetime, counted: float) -> bool:
    """Half a period early rather than late: the next poll comes a whole one later."""
    passed = max(now - last.at, timedelta(seconds=counted - last.counted))
    return last.at <= now and passed + pace.period / 2 <= pace.pause
