"""How much may be asked, and when to ask again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from wire.budget import Budget
from wire.retry import SCHEDULE, delay, next_attempt_at, read_with_retries

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


def budget(time: Time, capacity: float = 10, rate: float = 2) -> Budget:
    return Budget(capacity, rate, clock=time.now, monotonic=time.monotonic, sleep=time.sleep)


def test_spends_what_is_there_then_waits_for_the_refill() -> None:
    time = Time()
    bucket = budget(time)
    assert [bucket.take(5), bucket.take(5), bucket.take(4)] == [0, 0, 2]
    assert time.slept == [2]


def test_refuses_a_long_wait_takes_nothing_and_says_when() -> None:
    time = Time()
    bucket = budget(time, capacity=20)
    bucket.take(20)
    with pytest.raises(RetryableError, match="budget_exhausted") as caught:
        bucket.take(12)
    assert caught.value.not_before == NOW + timedelta(seconds=6)
    assert bucket.take(1) == 0.5
    with pytest.raises(RefusedError, match="cost_too_high"):
        bucket.take(21)


def test_believes_the_throttle_status_of_the_peer() -> None:
    time = Time()
    bucket = budget(time)
    bucket.learn(100, 50, 2000)
    assert bucket.take(150) == 1.0
    bucket.learn(5000, 50, 2000)
    assert bucket.take(2000) == 0


def test_holds_until_the_moment_the_peer_named() -> None:
    time = Time()
    bucket = budget(time)
    bucket.hold_until(NOW + timedelta(seconds=60))
    bucket.hold_until(NOW + timedelta(seconds=3))
    with pytest.raises(RetryableError) as caught:
        bucket.take()
    assert caught.value.not_before == NOW + timedelta(seconds=60)
    time.seconds = 58
    assert bucket.take() == 2
    assert bucket.take() == 0


def test_the_schedule_spans_three_days() -> None:
    assert len(SCHEDULE) == 11
    assert timedelta(hours=75) < sum(SCHEDULE, timedelta()) < timedelta(hours=76)


@given(st.integers(1, 11), st.floats(0, 1, exclude_max=True), st.sampled_from([1.0, 0.01]))
def test_full_jitter_stays_within_the_schedule_and_never_means_at_once(
    attempt: int, jitter: float, scale: float
) -> None:
    pause = delay(attempt, scale=scale, jitter=jitter)
    assert pause is not None
    assert timedelta(0) <= pause <= SCHEDULE[attempt - 1] * scale
    assert delay(attempt, scale=1, jitter=0) == SCHEDULE[attempt - 1]


def test_the_schedule_ends() -> None:
    assert delay(12, scale=1, jitter=0) is None
    assert next_attempt_at(NOW, 12, RetryableError("x", not_before=NOW), scale=1, jitter=0) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RetryableError("x"), timedelta(seconds=0.05)),
        (UnknownOutcomeError("x"), timedelta(seconds=0.05)),
        (RetryableError("x", not_before=NOW + timedelta(hours=1)), timedelta(hours=1)),
        (RetryableError("x", not_before=NOW - timedelta(hours=1)), timedelta(seconds=0.05)),
        (RefusedError("x"), None),
        (MappingError("x"), None),
        (ConfigError("x"), None),
    ],
)
def test_what_the_peer_asked_for_is_never_scaled(error: HubError, expected: timedelta | None) -> None:
    got = next_attempt_at(NOW, 1, error, scale=0.01, jitter=0)
    assert got == (None if expected is None else NOW + expected)


def failing(*errors: HubError) -> tuple[Callable[[], str], list[int]]:
    calls: list[int] = []

    def fn() -> str:
        calls.append(1)
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]
        return "page"

    return fn, calls


def test_a_safe_read_is_tried_three_times() -> None:
    time = Time()
    fn, calls = failing(RetryableError("a"), RetryableError("b", not_before=NOW + timedelta(seconds=3)))
    assert read_with_retries(fn, sleep=time.sleep, clock=time.now) == "page"
    assert time.slept == [0.2, 2.8]
    fn, calls = failing(*[RetryableError("a")] * 5)
    with pytest.raises(RetryableError, match="a"):
        read_with_retries(fn, sleep=time.sleep, clock=time.now)
    assert len(calls) == 3


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("x"),
        ConfigError("x"),
        UnknownOutcomeError("x"),
        RetryableError("x", not_before=NOW + timedelta(minutes=1)),
        RetryableError("breaker_open"),
        RetryableError("host_busy"),
        RetryableError("budget_exhausted"),
    ],
)
def test_nothing_is_repeated_that_must_not_or_cannot_wait(error: HubError) -> None:
    time = Time()
    fn, calls = failing(error)
    with pytest.raises(type(error)):
        read_with_retries(fn, sleep=time.sleep, clock=time.now)
    assert (len(calls), time.slept) == (1, [])
