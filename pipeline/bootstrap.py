"""One running process: its database, keys, ids, client and clock, opened together and closed together.

This is the only room that opens a transaction. While one is open in a thread, `outside()` refuses, and every function
that talks to the network asks it first: no network call ever happens inside a transaction."""

from __future__ import annotations

import fcntl
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine

from domain.numbers import IdMaker
from storage.database import is_sqlite, migrate, open_engine, reading
from storage.nodes import claim_node, free_node, keep_node, newest_id
from storage.times import micros
from storage.vault import Vault, load_vault
from wire.breaker import BreakerRule
from wire.client import Client

from .settings import Settings

_NODE_LEASE = 3_600_000_000
_inside = threading.local()


@dataclass(slots=True)
class Hub:
    """What every use case gets. `memory` keeps what is derived from
    configuration (the directory, opened sessions) until the configuration changes."""

    settings: Settings
    engine: Engine
    vault: Vault
    ids: IdMaker
    client: Client
    private_client: Client
    clock: Callable[[], datetime]
    node: int
    holder: str
    memory: dict[str, Any] = field(default_factory=dict)
    _reader: Engine = field(init=False, repr=False)
    _writer: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._reader = reading(self.engine)
        self._writer = _Turnstile(self.engine.url.database) if is_sqlite(self.engine) else nullcontext()

    def now(self) -> int:
        """The time in microseconds."""
        return micros(self.clock())

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write."""
        with self._writer, self.engine.begin() as tx, _marked():
            yield tx

    def leave(self) -> None:
        """Give back what waiting for a turn needs."""
        if isinstance(self._writer, _Turnstile):
            self._writer.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only reads: a consistent view, no write lock."""
        with self._reader.begin() as tx, _marked():
            yield tx


class _Turnstile:
    """SQLite has one writer. Waiting in a queue, in this process and across processes, is cheaper and fairer than polling its
    busy lock, where whoever sleeps longest comes last. A lock file that cannot be had only costs that fairness."""

    def __init__(self, database: str | None) -> None:
        self._threads = threading.Lock()
        self._file = -1
        if database and database != ":memory:":
            with suppress(OSError):
                self._file = os.open(f"{database}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        self._threads.acquire()
        if self._file >= 0:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Give the file back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextmanager
def _marked() -> Iterator[None]:
    depth = getattr(_inside, "depth", 0)
    _inside.depth = depth + 1
    try:
        yield
    finally:
        _inside.depth = depth


def outside() -> None:
    """Refuse to go on inside a transaction: asked before every network call."""
    if getattr(_inside, "depth", 0):
        raise AssertionError("a network call inside a transaction")


def open_hub(settings: Settings, *, clock: Callable[[], datetime] | None = None, migrated: bool = False) -> Hub:
    """Open everything; the schema is brought up to date first unless `migrated`. ConfigError says what is wrong."""
    clock = clock or (lambda: datetime.now(UTC))
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    key_file = settings.key_file or settings.data_folder / "keys"
    vault = load_vault(key_file, settings.key)
    if not migrated:
        migrate(settings.url)
    engine = open_engine(settings.url, pool=settings.senders + 16)
    holder = f"{platform.node()}:{os.getpid()}:{time.monotonic_ns()}"
    try:
        with engine.begin() as tx:
            node = claim_node(tx, holder, now=micros(clock()), lease=_NODE_LEASE)
            newest = newest_id(tx)
    except BaseException:
        engine.dispose()
        raise
    return Hub(
        settings=settings,
        engine=engine,
        vault=vault,
        ids=IdMaker(node, lambda: micros(clock()) // 1000, after=newest),
        client=Client(breaker=_breaker(settings)),
        private_client=Client(allow_private=True, breaker=_breaker(settings)),
        clock=clock,
        node=node,
        holder=holder,
    )


def _breaker(settings: Settings) -> BreakerRule:
    """The pauses of a breaker are retry delays of ours: they scale with the others."""
    rule = BreakerRule()
    cool_down = max(0.1, rule.cool_down * settings.retry_scale)
    return replace(rule, cool_down=cool_down, longest=max(cool_down, rule.longest * settings.retry_scale))


def keep_alive(hub: Hub) -> None:
    """Prolong this process's node number. One that slept longer than its lease may have lost it: it takes another, so that
    no two processes ever make the same id."""
    with hub.write() as tx:
        if not keep_node(tx, hub.node, hub.holder, now=hub.now(), lease=_NODE_LEASE):
            hub.node = claim_node(tx, hub.holder, now=hub.now(), lease=_NODE_LEASE)
            clock = hub.clock
            hub.ids = IdMaker(hub.node, lambda: micros(clock()) // 1000, after=newest_id(tx))


def close_hub(hub: Hub) -> None:
    """Give the node number back and close connections. Safe to skip: leases run out."""
    try:
        with hub.write() as tx:
            free_node(tx, hub.node, hub.holder, now=hub.now())
    finally:
        hub.client.close()
        hub.private_client.close()
        hub.engine.dispose()
        hub.leave()
