"""Connections that never finish the head of a request: the guard in front of the routes first hears of a request when its head
is complete, and the server itself waits for one for ever (promises.md §4 row 8)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

SLOW_HEAD_S = 10.0


def closing_slow_heads(
    connections: Callable[[], Collection[Any]], *, longest: float = SLOW_HEAD_S
) -> Callable[[], Awaitable[None]]:
    """What uvicorn is to call every second or so (`callback_notify`): it closes the connections (`server_state.connections`) that
    have waited `longest` seconds for the head of a request. A request that is being answered is left alone."""
    waiting: dict[Any, tuple[Any, float]] = {}

    async def look() -> None:
        now = time.monotonic()
        for gone in waiting.keys() - set(connections()):
            del waiting[gone]
        for each in list(connections()):
            request = getattr(each, "cycle", None)
            if request is not None and not request.response_complete:
                waiting.pop(each, None)
                continue
            last, since = waiting.get(each, (None, now))
            if each not in waiting or last is not request:
                # A new connection, or one that was answered since: its next head starts now.
                waiting[each] = (request, now)
            elif now - since >= longest:
                each.transport.abort()

    return look
