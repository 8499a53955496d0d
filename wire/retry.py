"""When to try again: the outbound schedule over days, and the few quick attempts of a safe read.

Source: promises.md section 1 (schedule with full jitter; Standard Webhooks spans 75.6 h) and P13 (2026-11-21, H).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from domain.errors import ConfigError, HubError, RefusedError, RetryableError

T = TypeVar("T")

SCHEDULE: tuple[timedelta, ...] = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)

_PAUSES = (0.2, 0.8, 2.0)  # seconds between the quick attempts of a read
_NOT_NOW = frozenset({"breaker_open", "host_busy", "budget_exhausted"})  # our own refusals: insisting makes them worse


def delay(attempt: int, *, scale: float, jitter: float) -> timedelta | None:
    """The pause after failed attempt number `attempt` (1 = the first); None when the schedule is exhausted.

    Full jitter: evenly spread over (0, base], written as base * (1 - `jitter`) with `jitter` drawn from [0, 1) by the
    caller, so 0 gives the schedule itself and no draw gives "at once". `scale` stretches the schedule (tests and demo
    use less than 1).
    """
    if attempt < 1 or not 0 <= jitter < 1:
        raise ValueError("attempt counts from 1 and jitter is in [0, 1)")
    if attempt > len(SCHEDULE):
        return None
    return SCHEDULE[attempt - 1] * (scale * (1 - jitter))


def next_attempt_at(
    now: datetime, attempt: int, error: HubError, *, scale: float = 1.0, jitter: float = 0.0
) -> datetime | None:
    """When to try again after attempt number `attempt` failed with `error`; None: never by itself (park it).

    What the peer asked for (`RetryableError.not_before`) is honoured unscaled and unjittered. An unknown outcome gets a
    moment too: it is when to look, not when to repeat.
    """
    if isinstance(error, (RefusedError, ConfigError)):
        return None
    pause = delay(attempt, scale=scale, jitter=jitter)
    if pause is None:
        return None
    earliest = now + pause
    if isinstance(error, RetryableError) and error.not_before is not None:
        return max(earliest, error.not_before)
    return earliest


def read_with_retries(
    fn: Callable[[], T],
    attempts: int = 3,
    *,
    max_wait: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> T:
    """Call `fn`, a read, up to `attempts` times while it raises RetryableError; the last error is raised as it was.

    A `not_before` within `max_wait` seconds is waited for, a later one ends the attempts at once, and so do our own
    refusals (breaker, busy host, budget). Never use it for a call that writes.
    """

    def pause(error: RetryableError, number: int) -> float:
        asked = (error.not_before - clock()).total_seconds() if error.not_before is not None else 0.0
        return max(asked, _PAUSES[min(number, len(_PAUSES)) - 1])

    def again(error: BaseException) -> bool:
        return isinstance(error, RetryableError) and error.code not in _NOT_NOW and pause(error, 1) <= max_wait

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        return pause(error, state.attempt_number) if isinstance(error, RetryableError) else 0.0

    retrying = Retrying(
        stop=stop_after_attempt(attempts), retry=retry_if_exception(again), wait=wait, sleep=sleep, reraise=True
    )
    return retrying(fn)
