"""Hearing that there are jobs: one connection per worker that listens, on PostgreSQL. A wake that is missed costs a tick."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import Engine

# How long one wait for wakes lasts before the listener looks whether it should stop.
_WAIT = 1.0


def listen(engine: Engine, heard: Callable[[], object], stopped: Callable[[], bool]) -> None:
    """Call `heard` for every wake, and once at the start (one may have been missed), until `stopped` or the connection ends.
    Raises nothing when the server goes away: the caller opens it again."""
    with suppress(psycopg.Error):
        connection = _connect(engine)
        with connection:
            connection.execute("LISTEN hub_jobs")
            heard()
            while not stopped():
                for _ in connection.notifies(timeout=_WAIT, stop_after=1):
                    heard()


def _connect(engine: Engine) -> psycopg.Connection[Any]:
    words, options = engine.dialect.create_connect_args(engine.url)
    return psycopg.connect(*words, **{**options, "autocommit": True, "connect_timeout": 5})
