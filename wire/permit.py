"""Leave to speak. Whoever holds a claim with an end gives its thread a check, and the socket asks it before every single
write: a process that was frozen in the middle of a call finds its claim run out and says nothing more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Held(threading.local):
    def __init__(self) -> None:
        self.checks: tuple[Callable[[], bool], ...] = ()


_held = _Held()


@contextmanager
def permitted(check: Callable[[], bool]) -> Iterator[None]:
    """Calls of this thread go out only while `check` says yes, which must be quick and must not raise; nested checks all
    count."""
    before = _held.checks
    _held.checks = (*before, check)
    try:
        yield
    finally:
        _held.checks = before


def may_speak() -> bool:
    """Whether every check of this thread says yes."""
    return all(check() for check in _held.checks)
