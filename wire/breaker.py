"""One host's share of us: how many calls at once, and none at all for a while after it has failed several times in a
row.

Source: promises.md P13 (opens after 5, probes one at a time) and P14 (a dead host holds only its own slots),
2026-11-21, H.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.errors import RetryableError


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """Opens after `failures` in a row for `cool_down` seconds, doubling with every failed probe up to `longest`
    seconds.
    """

    failures: int = 5
    cool_down: float = 10.0
    longest: float = 300.0


class Host:
    """Slots and breaker of one host. Thread-safe. Every successful `enter` is followed by exactly one `leave`."""

    __slots__ = (
        "_clock",
        "_failures",
        "_lock",
        "_monotonic",
        "_open_until",
        "_pause",
        "_probing",
        "_rule",
        "_slots",
        "users",
    )

    def __init__(
        self, slots: int, rule: BreakerRule, monotonic: Callable[[], float], clock: Callable[[], datetime]
    ) -> None:
        self._slots = threading.BoundedSemaphore(slots)
        self._rule = rule
        self._monotonic = monotonic
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None
        self._pause = rule.cool_down
        self._probing = False
        self.users = 0

    def enter(self, wait: float) -> bool:
        """Take a slot within `wait` seconds; return whether this call is the probe of an open breaker.

        Raises RetryableError `host_busy`, or `breaker_open` with `not_before`.
        """
        if self._open_until is not None:
            self._refuse_while_open()
        if not self._slots.acquire(timeout=wait):
            raise RetryableError("host_busy", "all connections to this host are in use")
        try:
            return self._admit()
        except BaseException:
            self._slots.release()
            raise

    def leave(self, probe: bool, outcome: bool | None) -> None:
        """Give the slot back. `outcome`: True the host answered, False it failed, None the call says nothing about the
        host.
        """
        with self._lock:
            if probe:
                self._probing = False
            if outcome is True:
                self._failures, self._open_until, self._pause = 0, None, self._rule.cool_down
            elif outcome is False:
                self._fail(probe)
        self._slots.release()

    def _fail(self, probe: bool) -> None:
        self._failures += 1
        if probe:
            self._pause = min(self._pause * 2, self._rule.longest)
        if probe or (self._open_until is None and self._failures >= self._rule.failures):
            self._open_until = self._monotonic() + self._pause

    def _admit(self) -> bool:
        with self._lock:
            if self._open_until is None:
                return False
            self._refuse_while_open()
            self._probing = True
            return True

    def _refuse_while_open(self) -> None:
        until = self._open_until
        left = (until - self._monotonic()) if until is not None else 0.0
        if left > 0 or self._probing:
            # While a probe runs, its verdict is at most seconds away.
            raise RetryableError("breaker_open", not_before=self._clock() + timedelta(seconds=max(left, 1.0)))
