"""How much one credential may still ask for: a bucket that fills at a steady rate. Counts calls (TOP) or cost points
(Shopify).

Source: facts shopify.md section 6 (2026-11-21): calculated cost, refilled per second (H), rates by plan (M) - which is
why `learn` takes the numbers from each reply instead of trusting a table.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from domain.errors import RefusedError, RetryableError


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Budget:
    """Thread-safe. `capacity` in units, `refill_per_second` in units per second; starts full."""

    def __init__(
        self,
        capacity: float,
        refill_per_second: float,
        *,
        max_wait: float = 5.0,
        clock: Callable[[], datetime] = _utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if capacity <= 0 or refill_per_second <= 0:
            raise ValueError("capacity and refill_per_second are positive")
        self._capacity = capacity
        self._rate = refill_per_second
        self._max_wait = max_wait
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._level = capacity
        self._at = monotonic()
        self._held_until: datetime | None = None

    def take(self, cost: float = 1) -> float:
        """Take `cost` units, sleeping up to `max_wait` seconds for them; return the seconds slept.

        Units are reserved before sleeping, so waiters are served in order and never more is promised than flows in.
        Raises RetryableError `budget_exhausted` with `not_before` when the wait would be longer (nothing is taken
        then), RefusedError `cost_too_high` when the bucket could never hold `cost`.
        """
        with self._lock:
            if cost > self._capacity:
                raise RefusedError("cost_too_high", f"{cost} of {self._capacity}")
            wait = max(self._held_for(), self._wait_for(cost))
            if wait > self._max_wait:
                raise RetryableError("budget_exhausted", not_before=self._clock() + timedelta(seconds=wait))
            self._level -= cost
        if wait > 0:
            self._sleep(wait)
        return wait

    def learn(self, available: float, restore_rate: float, maximum: float) -> None:
        """Believe the peer (Shopify `throttleStatus`: currentlyAvailable, restoreRate, maximumAvailable).

        Reservations of calls still under way are forgotten by this; at worst one of them is throttled and comes again.
        """
        with self._lock:
            if restore_rate > 0 and maximum > 0:
                self._rate, self._capacity = restore_rate, maximum
                self._level, self._at = min(available, maximum), self._monotonic()

    def hold_until(self, moment: datetime) -> None:
        """Nothing before `moment` (aware UTC), e.g. a Retry-After. An earlier hold never shortens a later one."""
        with self._lock:
            if self._held_until is None or moment > self._held_until:
                self._held_until = moment

    def _held_for(self) -> float:
        if self._held_until is None:
            return 0.0
        left = (self._held_until - self._clock()).total_seconds()
        if left <= 0:
            self._held_until = None
        return max(left, 0.0)

    def _wait_for(self, cost: float) -> float:
        now = self._monotonic()
        self._level = min(self._capacity, self._level + max(now - self._at, 0.0) * self._rate)
        self._at = now
        return max(cost - self._level, 0.0) / self._rate
