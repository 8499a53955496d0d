"""pull: fetch a page outside any transaction; then one transaction stores the raw documents and moves the cursor.

Three streams per account: `poll` from the watermark less the look-back (`look_back`), `day` (the last 24 h, hourly) and `week` (the
last 7 days, daily) for what became visible late. A webhook is only a hint: the named orders are read by the poll."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, exc

from connectors._channel import Document, Session, Since
from domain.errors import ConfigError, HubError, RefusedError, RetryableError
from normalizer.mapping import MAX_ID_LENGTH
from storage.cursors import any_due, claim_cursors, keep_cursor, save_cursor
from storage.directory import set_account_state
from storage.exceptions import put_exceptions, resolve_code
from storage.hints import delete_hints, list_due_hints, postpone_hints
from storage.inbox import Arrival, put_arrivals, seal_arrivals
from storage.rows import Row
from storage.times import micros, moment, span
from wire.permit import permitted
from wire.retry import next_attempt_at

from .bootstrap import Hub, outside
from .clock import counted
from .directory import Account, read_directory
from .lanes import absorb_jobs
from .look_back import Pace, Whole, poll_start
from .sessions import channel_session, remember_read
from .workspace import exception_row, open_workspace

# A dead reader's stream is taken over within a minute; a living one that is slow keeps it by beating.
LEASE = timedelta(seconds=60)
BEAT = timedelta(seconds=10)
AHEAD = timedelta(minutes=5)
_FAILING = "connection_failing"
# A page token that fails again and again may be dead: start the window over.
_PATIENCE = 3
_HINTS = 400
_FETCH = 50
_HINT_TRIES = 5
_HINT_PAUSE = timedelta(minutes=1)
_STREAMS = {
    "day": (timedelta(hours=24), timedelta(hours=1), timedelta(minutes=15)),
    "week": (timedelta(days=7), timedelta(days=1), timedelta(minutes=15)),
}
# Two changes within one second share a stamp: a version read this much later than its stamp hides none.
_SETTLED_AFTER = timedelta(seconds=3)


def _lease(hub: Hub) -> int:
    return min(span(LEASE), span(hub.settings.lease))


def pull_due(
    hub: Hub,
    *,
    pool: ThreadPoolExecutor | None = None,
    account_id: int | None = None,
    stream: str = "",
    limit: int = 32,
) -> int:
    """Read every stream that is due (or one account's poll, now; with `stream` that one, if it is due); returns how many
    documents were new."""
    (token,) = hub.ids.take(1)
    with hub.write() as tx:
        rows = claim_cursors(
            tx, now=hub.now(), lease=_lease(hub), token=token, limit=limit, account_id=account_id, stream=stream
        )
        directory = read_directory(hub, tx)
    work = [(directory.accounts[row["account_id"]], row) for row in rows]
    asked = account_id is not None and not stream
    if asked or pool is None or len(work) < 2:
        return sum(pull_stream(hub, account, row, whole=asked) for account, row in work)
    return sum(pool.map(lambda item: pull_stream(hub, *item), work))


@dataclass(slots=True)
class Puller:
    """Streams being read. A turn never waits: an account whose source hangs holds one reader and nobody else."""

    hub: Hub
    pool: ThreadPoolExecutor
    flying: set[Future[int]] = field(default_factory=set)

    def turn(self) -> int:
        """Take in what has been read and claim what is due, as far as there are readers; returns new documents plus streams
        started."""
        finished = {future for future in self.flying if future.done()}
        self.flying -= finished
        new = sum(future.result() for future in finished if future.exception() is None)
        room = self.hub.settings.senders - len(self.flying)
        if room <= 0 or not self._is_due():
            return new
        (token,) = self.hub.ids.take(1)
        with self.hub.write() as tx:
            rows = claim_cursors(tx, now=self.hub.now(), lease=_lease(self.hub), token=token, limit=room)
            directory = read_directory(self.hub, tx)
        for row in rows:
            self.flying.add(self.pool.submit(pull_stream, self.hub, directory.accounts[row["account_id"]], row))
        return new + len(rows)

    def _is_due(self) -> bool:
        """A look takes no turn at writing, which whoever has something to write waits for."""
        with self.hub.read() as tx:
            return any_due(tx, now=self.hub.now())

    def wait(self, seconds: float) -> None:
        """Wait until a stream has been read, or so long."""
        wait(self.flying, timeout=seconds, return_when=FIRST_COMPLETED)


def pull_stream(hub: Hub, account: Account, cursor: Row, *, whole: bool = False) -> int:
    """Read one stream of one account to its end, page by page; `whole`: the whole look-back, whatever was read lately. A failure
    leaves the cursor where the rows are."""
    try:
        with _beating(hub, cursor):
            began = hub.now()
            new, seen = _read_pages(hub, account, cursor, whole=whole)
            if cursor["stream"] == "poll":
                new += _read_hints(hub, account, seen, began)
    except _LostError:
        return 0
    except _StoppingError:
        _gave_back(hub, cursor)
        return 0
    except HubError as error:
        _failed(hub, account, cursor, error)
        return 0
    except Exception as error:
        _failed(hub, account, cursor, RetryableError("connector_failed", type(error).__name__))
        raise
    _finished(hub, account, cursor)
    return new


def store_documents(hub: Hub, account_id: int, documents: Sequence[Document], cursor: Row | None = None) -> int:
    """Store raw documents and, in the same transaction, the cursor that moved over them. A document whose id cannot be one
    is kept under a name made of its bytes: reading it makes the exception."""
    arrivals = [
        Arrival(
            source_kind="account",
            source_id=account_id,
            kind=document.kind,
            external_id=_name(document),
            body=document.body,
            version=document.version,
            says=document.says,
        )
        for document in documents
    ]
    sealed = seal_arrivals(hub.vault, hub.ids.take, arrivals)
    with hub.write() as tx:
        stored = put_arrivals(tx, sealed, hub.now())
        hub.wake(absorb_jobs(stored.values()))
        if cursor is not None and not save_cursor(tx, cursor):
            raise _LostError
    return len(stored)


def _name(document: Document) -> str:
    if document.external_id.strip() and len(document.external_id) <= MAX_ID_LENGTH:
        return document.external_id
    return f"unreadable-{hashlib.sha256(document.body).hexdigest()[:32]}"


class _LostError(Exception):
    """Another reader has taken the stream over: nothing of ours may be written."""


class _StoppingError(Exception):
    """This process is to end: what is read is stored, the rest is another reader's."""


@contextmanager
def _beating(hub: Hub, cursor: Row) -> Iterator[None]:
    """Prolong the claim while one page takes its time. A reader whose claim ran out (its process was frozen, its database
    away) asks nothing more."""
    done, claim = threading.Event(), {name: cursor[name] for name in ("account_id", "stream", "token")}
    lease = _lease(hub)
    ends = [counted() + lease / 1_000_000]

    def beat() -> None:
        while not done.wait(min(BEAT.total_seconds(), lease / 6_000_000)):
            # A beat that the database misses is followed by the next one.
            began = counted()
            with suppress(exc.SQLAlchemyError), hub.write() as tx:
                if not keep_cursor(tx, claim, now=hub.now(), lease=lease):
                    ends[0] = 0.0
                    return
                ends[0] = began + lease / 1_000_000

    threading.Thread(target=beat, daemon=True, name="lease").start()
    try:
        with permitted(lambda: counted() < ends[0]):
            yield
    finally:
        done.set()


def _read_pages(hub: Hub, account: Account, cursor: Row, *, whole: bool) -> tuple[int, set[str]]:
    """Read and store every page; returns how many documents were new, and every external id that was read."""
    pull = account.channel.pull
    if pull is None:
        return 0, set()
    outside()
    polls = cursor["stream"] == "poll"
    settled = _SETTLED_AFTER if polls else _STREAMS[cursor["stream"]][2]
    pace = _pace(hub, account)
    patient = polls and pace.period <= settled and pace.look_back > 2 * settled
    session = channel_session(hub, account, settled_after=settled, polls=polls, patient=patient)
    began = (hub.clock(), counted())
    since, whole = _window(hub, account, cursor, pace, began, whole=whole or cursor["failures"] > 0)
    cursor |= {"window_start": micros(since.start), "window_end": micros(since.end)}
    new, seen, asked = 0, set[str](), hub.now()
    for page in pull(session, since):
        moved = cursor | {"page": page.next, "lease_until": hub.now() + _lease(hub)}
        if page.seen_to is not None and cursor["stream"] == "poll":
            reached = micros(min(page.seen_to, hub.clock() + AHEAD))
            moved["watermark"] = max(cursor["watermark"], reached)
        new += store_documents(hub, account.id, page.documents, moved)
        cursor |= moved  # only now: what is written after a failure must not be ahead of the rows
        seen.update(document.external_id for document in page.documents)
        remember_read(hub, account.id, page.documents, asked)
        asked = hub.now()
        outside()
        if hub.stopping.is_set() and page.next:
            raise _StoppingError
    if polls and whole:
        hub.memory[_whole_key(account)] = Whole(*began, moment(cursor["watermark"]))
    return new, seen


def _window(
    hub: Hub, account: Account, cursor: Row, pace: Pace, began: tuple[datetime, float], *, whole: bool
) -> tuple[Since, bool]:
    """What is read, and whether a poll looks back the whole way with it; of a window that another began nobody knows. Which poll
    did so last is this process's memory: one that starts, or takes an account over, looks back the whole way first."""
    now = began[0]
    if cursor["page"] and cursor["window_start"] is not None and cursor["window_end"] is not None:
        start, end = moment(cursor["window_start"]), moment(cursor["window_end"])
        return Since(start=start, end=end, token=cursor["page"]), False
    if cursor["stream"] != "poll":
        return Since(start=now - _STREAMS[cursor["stream"]][0], end=now), False
    last = hub.memory.get(_whole_key(account))
    start, whole = poll_start(pace, moment(cursor["watermark"]), last, *began, whole=whole)
    return Since(start=start, end=now), whole


def _whole_key(account: Account) -> str:
    return f"whole:{account.id}:{account.stamp}"


def _pace(hub: Hub, account: Account) -> Pace:
    return Pace(hub.settings.poll_every, _overlap(hub, account), _SETTLED_AFTER)


def _overlap(hub: Hub, account: Account) -> timedelta:
    own = account.options.get("look_back_seconds")
    return max(hub.settings.look_back, account.channel.overlap) if own is None else timedelta(seconds=float(own))


def _read_hints(hub: Hub, account: Account, seen: set[str], began: int) -> int:
    """Read the orders that webhooks named and that the poll, begun after the hint, has not read anyway. A hint goes when what
    it named is stored; one that cannot be followed is tried a few times and given up, because the poll reads its order too -
    it must never stop the poll."""
    fetch = account.channel.fetch
    if fetch is None:
        return 0
    with hub.read() as tx:
        hinted = list_due_hints(tx, account.id, now=hub.now(), limit=_HINTS)
    told = {external_id for external_id, due_at in hinted if due_at < began and external_id in seen}
    ids = [external_id for external_id, _ in hinted if external_id not in told][:_FETCH]
    if told:
        with hub.write() as tx:
            delete_hints(tx, account.id, sorted(told))
    if not ids:
        return 0
    session = channel_session(hub, account, settled_after=_SETTLED_AFTER)
    outside()
    documents, failed = _fetch_hinted(fetch, session, ids)
    new = store_documents(hub, account.id, documents)
    with hub.write() as tx:
        delete_hints(tx, account.id, sorted(set(ids) - set(failed)))
        if failed:
            later = hub.now() + span(_HINT_PAUSE * hub.settings.retry_scale)
            postpone_hints(tx, account.id, failed, tries=_HINT_TRIES, due_at=later)
    return new


def _fetch_hinted(
    fetch: Callable[[Session, Sequence[str]], tuple[Document, ...]], session: Session, ids: Sequence[str]
) -> tuple[tuple[Document, ...], list[str]]:
    """The named orders, and the names that could not be read now. A refusal is about one of them: then one by one."""
    try:
        return fetch(session, ids), []
    except ConfigError:
        raise
    except RefusedError:
        if len(ids) == 1:
            return (), list(ids)
        found = [_fetch_hinted(fetch, session, [external_id]) for external_id in ids]
        return tuple(one for some, _ in found for one in some), [name for _, lost in found for name in lost]
    except HubError:
        return (), list(ids)


def _finished(hub: Hub, account: Account, cursor: Row) -> None:
    failed = cursor["error"] != ""
    every = hub.settings.poll_every if cursor["stream"] == "poll" else _STREAMS[cursor["stream"]][1]
    now = hub.now()
    cursor |= {
        "page": "",
        "window_start": None,
        "window_end": None,
        "due_at": now + span(every),
        "lease_until": 0,
        "failures": 0,
        "ran_at": now,
        "error": "",
    }
    with hub.write() as tx:
        if save_cursor(tx, cursor) and failed:
            how = "the source is read to its end again"
            resolve_code(tx, _subject(account, cursor), _FAILING, now=now, by="hub", how=how)


def _gave_back(hub: Hub, cursor: Row) -> None:
    with hub.write() as tx:
        save_cursor(tx, cursor | {"lease_until": 0})


def _failed(hub: Hub, account: Account, cursor: Row, error: HubError) -> None:
    """Try again later as the schedule or the source says; stop the account when only a person can help. A source that fails
    again and again, or in a way that waiting does not cure, is told to a person once."""
    cursor["failures"] += 1
    if cursor["failures"] >= _PATIENCE or not isinstance(error, RetryableError):
        cursor |= {"page": "", "window_start": None, "window_end": None}
    at = next_attempt_at(
        hub.clock(),
        min(cursor["failures"], 4),
        error if isinstance(error, RetryableError) else RetryableError(error.code),
        scale=hub.settings.retry_scale,
        jitter=random.random() / 2,  # noqa: S311 - spreads retries, guards nothing
    )
    cursor |= {
        "due_at": micros(at) if at else hub.now() + span(timedelta(hours=1)),
        "lease_until": 0,
        "error": error.code,
    }
    with hub.write() as tx:
        save_cursor(tx, cursor)
        if isinstance(error, ConfigError):
            stop_account(hub, tx, account, error)
        elif cursor["failures"] >= _PATIENCE or not isinstance(error, RetryableError):
            _alert(hub, tx, account, cursor, error)


def _subject(account: Account, cursor: Row) -> str:
    return f"account:{account.id}:{cursor['stream']}"


def _alert(hub: Hub, tx: Connection, account: Account, cursor: Row, error: HubError) -> None:
    ws = open_workspace(hub, tx, hub.clock())
    detail = {"name": account.name, "stream": cursor["stream"], "code": error.code, "detail": error.detail}
    row = exception_row(ws, _FAILING, _subject(account, cursor), detail, account_id=account.id)
    put_exceptions(ws.tx, [row])


def stop_account(hub: Hub, tx: Connection, account: Account, error: ConfigError) -> None:
    """Stop reading an account whose credentials or permission fail, and tell a person once."""
    ws = open_workspace(hub, tx, hub.clock())
    if set_account_state(ws.tx, account.id, "stopped", error.code, ws.now):
        detail = {"name": account.name, "code": error.code, "detail": error.detail}
        row = exception_row(ws, "connection_stopped", f"account:{account.id}", detail, account_id=account.id)
        put_exceptions(ws.tx, [row])
