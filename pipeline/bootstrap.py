"""One running process: its database, keys, ids, client and clock, opened together and closed together.

This is the only room that opens a transaction. While one is open in a thread, `outside()` refuses, and every function
that talks to the network asks it first: no network call ever happens inside a transaction."""

from __future__ import annotations

import fcntl
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from domain.numbers import IdMaker, made_at
from storage.database import Commits, is_sqlite, migrate, open_engine, reading
from storage.dictionaries import adopt, load_dictionary
from storage.due import Wanted, hasten
from storage.nodes import claim_node, free_node, keep_node, lease_end, newest_id
from storage.times import micros
from storage.vault import Vault, load_vault
from wire.breaker import BreakerRule
from wire.client import Client, Limits

from .clock import SharedClock
from .gather import Gather
from .settings import Settings

_NODE_LEASE = 3_600_000_000
_WAKES_GATHER, _WAKES_APART = 0.01, 0.08  # seconds
_LONGEST_CALL = 30.0
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
    stopping: threading.Event = field(default_factory=threading.Event)
    _reader: Engine = field(init=False, repr=False)
    _writer: Any = field(init=False, repr=False)
    _waker: Gather[Sequence[Wanted], None] | None = field(init=False, repr=False)
    _commits: Commits | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        alone = is_sqlite(self.engine)
        self._reader = reading(self.engine)
        self._writer = _Turnstile(self.engine.url.database) if alone else nullcontext()
        self._waker = None if alone else Gather(self._call_workers, name="wakes", wait=_WAKES_GATHER)
        self._commits = Commits(self.engine) if alone and self.engine.url.database else None

    @property
    def shared(self) -> bool:
        """Whether other machines may work on the same database."""
        return self._waker is not None

    def now(self) -> int:
        """The time in microseconds."""
        return micros(self.clock())

    def commits(self) -> int | None:
        """A number that changes when anybody, in any process, commits anything; None where a look costs no more than to tell.
        Whoever found nothing to do need not look again while it is the same."""
        return None if self._commits is None else self._commits.count()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write."""
        wakes: list[Wanted] = []
        before, _inside.wakes = getattr(_inside, "wakes", None), wakes
        try:
            with self._writer, self.engine.begin() as tx, _marked():
                yield tx
        finally:
            _inside.wakes = before
        self.wake(wakes)

    def wake(self, wanted: Iterable[Wanted]) -> None:
        """Ask the workers of all machines to do these jobs now; inside a transaction, once it is committed. Best effort: what
        is to be done stands in rows, and the next tick finds it."""
        jobs = list(wanted)
        if self._waker is None or not jobs:
            return
        waiting: list[Wanted] | None = getattr(_inside, "wakes", None)
        if waiting is not None:
            waiting.extend(jobs)
        else:
            self._waker.submit(jobs)

    def _call_workers(self, groups: Sequence[Sequence[Wanted]]) -> list[Exception | None]:
        from storage.queue import put_jobs  # noqa: PLC0415 - only installations on PostgreSQL need the library

        # A transaction of its own: a NOTIFY inside the one that did the work would make all committing writers wait in line.
        with self.engine.begin() as tx:
            hasten(tx)
            put_jobs(tx, [each for group in groups for each in group])
        # Whoever is woken works until nothing is due: many wakes one after the other say no more than a few.
        self.stopping.wait(_WAKES_APART)
        return [None] * len(groups)

    def leave(self) -> None:
        """Give back what waiting for a turn needs; wakes that were asked for are sent, later ones are not."""
        if self._commits is not None:
            self._commits.close()
        waker, self._waker = self._waker, None
        if waker is not None:
            waker.close()
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
    shared = SharedClock()
    clock = clock or (shared if settings.url.startswith("postgresql") else lambda: datetime.now(UTC))
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    key_file = settings.key_file or settings.data_folder / "keys"
    vault = load_vault(key_file, settings.key)
    if not migrated:
        migrate(settings.url)
    engine = open_engine(settings.url, pool=settings.senders + settings.jobs + 16, patience=settings.lease_seconds / 2)
    holder = f"{platform.node()}:{os.getpid()}:{time.monotonic_ns()}"
    try:
        shared.set(engine)
        with engine.begin() as tx:
            node, ids = _claim_ids(tx, holder, clock)
            adopt(tx, vault)
    except BaseException:
        engine.dispose()
        raise
    vault.trained.find = partial(_find_dictionary, reading(engine), vault)
    # A call ends inside the claim it was made under, whatever the claim's length.
    limits = Limits(total=min(_LONGEST_CALL, settings.lease_seconds / 2))
    return Hub(
        settings=settings,
        engine=engine,
        vault=vault,
        ids=ids,
        client=Client(breaker=_breaker(settings), limits=limits),
        private_client=Client(allow_private=True, breaker=_breaker(settings), limits=limits),
        clock=clock,
        node=node,
        holder=holder,
    )


def _claim_ids(tx: Connection, holder: str, clock: Callable[[], datetime]) -> tuple[int, IdMaker]:
    """A node number and the ids made with it: only such as tell a time within its lease. Where the clock was set back they go
    on from the newest id, and so does the lease."""
    now, newest = micros(clock()), newest_id(tx)
    ahead = max(0, micros(made_at(newest)) - now)
    node = claim_node(tx, holder, now=now, lease=ahead + _NODE_LEASE)
    until = lease_end(tx, node) // 1000
    return node, IdMaker(node, lambda: micros(clock()) // 1000, after=newest, until_ms=until)


def _find_dictionary(engine: Engine, vault: Vault, number: int) -> bytes:
    """One that another process has trained since this one looked last; a transaction of its own, whatever the caller is in."""
    with engine.begin() as tx:
        return load_dictionary(tx, vault, number)


def _breaker(settings: Settings) -> BreakerRule:
    """The pauses of a breaker are retry delays of ours: they scale with the others."""
    rule = BreakerRule()
    cool_down = max(0.1, rule.cool_down * settings.retry_scale)
    return replace(rule, cool_down=cool_down, longest=max(cool_down, rule.longest * settings.retry_scale))


def keep_alive(hub: Hub) -> None:
    """Prolong this process's node number and look at the shared clock. One that slept longer than its lease may have lost the
    number: it makes no id any more, and takes another number here."""
    if isinstance(hub.clock, SharedClock):
        hub.clock.set(hub.engine)
    now = hub.now()
    ahead = max(0, hub.ids.last_ms * 1000 - now)
    fresh: tuple[int, IdMaker] | None = None
    with hub.write() as tx:
        if not keep_node(tx, hub.node, hub.holder, now=now, lease=ahead + _NODE_LEASE):
            fresh = _claim_ids(tx, hub.holder, hub.clock)
        adopt(tx, hub.vault)
    if fresh is None:
        hub.ids.extend((now + ahead + _NODE_LEASE) // 1000)
    else:
        hub.node, hub.ids = fresh


def close_hub(hub: Hub) -> None:
    """Give the node number back and close connections. Safe to skip: leases run out."""
    try:
        with hub.write() as tx:
            # Not before the last id's millisecond is over: whoever has the number next makes none of the same time.
            free_node(tx, hub.node, hub.holder, now=max(hub.now(), hub.ids.last_ms * 1000) + 1000)
    finally:
        hub.client.close()
        hub.private_client.close()
        hub.leave()
        hub.engine.dispose()
