"""Partner posts: absorbed before they are answered, in batches, each post exactly once.

Concurrent posts gather for at most 3 ms (or 64 orders) and share one transaction: idempotency keys are looked up,
documents stored, absorbed, and the replies are stored sealed under their keys - then it commits, and only then anybody
hears anything (P5: no 2xx before the commit). A post that was answered is answered again byte for byte (P4); the unique
row on (partner, scope, key) decides between two processes, and whoever was second does its work again and finds it.

A transaction that fails is halved until the culprit is alone. That one is stored unread, answered 202, and left to the
absorber, which makes an exception of it: its neighbours never notice.

Documents that cannot become an order (400, 422) are kept raw, as exceptions, under their external id or under
"unreadable-" and their hash. They use no key up: the corrected body may come with the same key."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from domain.errors import HubError, MappingError, RefusedError, RetryableError
from storage.idempotency import Place, delete_reply, load_replies
from storage.inbox import claim_new, find_latest, load_documents, make_new, open_body, put_new, seal_arrival
from storage.rows import Row
from storage.times import micros

from .absorb import Read, absorb_rows
from .access import Caller
from .bootstrap import Hub
from .directory import read_directory
from .dossier import load_dossiers
from .foresight import Brought, Foreseen, ask_for_posts, read_ahead, seal_posts
from .posts import MAX_ORDER_BYTES, ONE, Document, Post, Reply, read_post
from .reading import read_order
from .receipts import build_problem, build_receipt, document_problem, encode
from .trouble import is_race, read_trouble
from .workspace import Workspace, write_workspace

_GATHER_S, _GATHER_ORDERS = 0.003, 64
_WORTH_WAITING = 8  # posts answered together last time: fewer than these share too little to wait for each other
_QUEUE, _QUEUE_BYTES = 4_000, 32 * 2**20  # posts, and bytes of their documents
_KEPT = 7 * 86_400 * 1_000_000
REPLY = "idempotency.reply"


class Intake:
    """One worker thread that answers posts. `answer` waits in an event loop, `enqueue` gives a future to a thread; `close`
    answers what waits and stops."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._seats: queue.SimpleQueue[_Seat | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._counting = threading.Lock()
        self._waiting = 0

    async def answer(self, post: Post) -> Reply:
        """The reply to one post, after the commit that holds it. RetryableError `overloaded`, `closing`,
        `database_unavailable`, `disk_full`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._take_seat(_Seat(post, future, loop))
        return await future

    def enqueue(self, caller: Caller, key: str, body: bytes, *, many: bool = False) -> Future[Reply]:
        """The same for a caller in a thread: errors as `read_post`, those of `answer` in the future or at once."""
        future: Future[Reply] = Future()
        self._take_seat(_Seat(read_post(caller, key, body, many=many), future))
        return future

    def close(self) -> None:
        """Answer what is waiting, then stop."""
        with self._lock:
            self._closed, thread = True, self._thread
        if thread is not None:
            self._seats.put(None)
            thread.join(30)
        late: list[_Seat] = []
        while not self._seats.empty():
            seat = self._seats.get_nowait()
            late += [] if seat is None else [seat]
        _tell(late, [RetryableError("closing", "this process is stopping")] * len(late))

    def _take_seat(self, seat: _Seat) -> None:
        if self._thread is None or self._closed:
            self._start()
        with self._counting:
            # A post larger than all of the room is taken when nobody else is there.
            if self._seats.qsize() >= _QUEUE or (self._waiting and self._waiting + seat.post.size > _QUEUE_BYTES):
                raise RetryableError("overloaded", "too many posts are waiting")
            self._waiting += seat.post.size
        self._seats.put(seat)

    def _start(self) -> None:
        with self._lock:
            if self._closed:
                raise RetryableError("closing", "this process is stopping")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        company, seat = 1, self._seats.get()
        while seat is not None:
            group, stop = self._gather(seat, company)
            with self._counting:
                self._waiting -= sum(each.post.size for each in group)
            # Whoever gave up before anything happened was promised nothing.
            waiting = [each for each in group if each.begin()]
            if waiting:
                _answer(self._hub, waiting)
            company, seat = len(group), None if stop else self._seats.get()

    def _gather(self, first: _Seat, company: int) -> tuple[list[_Seat], bool]:
        """Posts that share a commit, and whether to stop after them. Who was answered together tends to come back together:
        only as many as last time are waited for, and a few not at all, so that nobody who comes alone waits."""
        group, orders, end = [first], len(first.post.documents), time.monotonic() + _GATHER_S
        while orders < _GATHER_ORDERS:
            patience = end - time.monotonic() if _WORTH_WAITING <= company > len(group) else 0.0
            try:
                seat = self._seats.get(timeout=patience) if patience > 0 else self._seats.get_nowait()
            except queue.Empty:
                break
            if seat is None:
                return group, True
            group.append(seat)
            orders += len(seat.post.documents)
        return group, False


@dataclass(frozen=True, slots=True)
class _Seat:
    """A post and who waits for its reply: a thread, or a task of an event loop."""

    post: Post
    future: Future[Reply] | asyncio.Future[Reply]
    loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> bool:
        """Whether somebody still waits; a thread's future cannot be cancelled any more after this."""
        return self.future.set_running_or_notify_cancel() if isinstance(self.future, Future) else not self.future.done()

    def tell(self, result: Reply | Exception) -> None:
        """In the thread of the loop, if there is one. Whoever left hears nothing."""
        if self.future.done():
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


def _tell(seats: Sequence[_Seat], results: Sequence[Reply | Exception]) -> None:
    """One wake-up per loop, however many of its tasks were waiting."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[_Seat, Reply | Exception]]] = {}
    for seat, result in zip(seats, results, strict=True):
        if seat.loop is None:
            seat.tell(result)
        else:
            loops.setdefault(seat.loop, []).append((seat, result))
    for loop, pairs in loops.items():
        with suppress(RuntimeError):  # the loop was closed: nobody is there any more
            loop.call_soon_threadsafe(_tell_all, pairs)


def _tell_all(pairs: Sequence[tuple[_Seat, Reply | Exception]]) -> None:
    for seat, result in pairs:
        seat.tell(result)


def _answer(hub: Hub, seats: Sequence[_Seat]) -> None:
    """Handle posts and tell those who wait, whatever happens."""
    try:
        replies = _handle(hub, [seat.post for seat in seats])
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the posts around it
        _split(hub, seats, error)
        return
    _tell(seats, replies)


def _split(hub: Hub, seats: Sequence[_Seat], error: Exception) -> None:
    trouble = None if is_race(error) else read_trouble(error)
    if trouble is None and len(seats) > 1:
        middle = len(seats) // 2
        _answer(hub, seats[:middle])
        _answer(hub, seats[middle:])
        return
    _tell(seats, [_handle_alone(hub, seats[0].post)] if trouble is None else [trouble] * len(seats))


def _handle_alone(hub: Hub, post: Post) -> Reply | Exception:
    """The last tries for one post: once more as it is (somebody else may have been first), then stored unread."""
    error: Exception = AssertionError("not tried")
    for unread in (False, False, True):
        try:
            (reply,) = _handle(hub, [post], unread=unread)
        except Exception as failure:  # noqa: BLE001 - told to the one who waits
            error = failure
        else:
            return reply
    return read_trouble(error) or RefusedError("unabsorbable", "the order cannot be stored")


def _handle(hub: Hub, posts: Sequence[Post], *, unread: bool = False) -> list[Reply]:
    """One transaction for these posts. `unread`: store their documents and absorb nothing."""
    brought = seal_posts(hub, posts)
    foreseen = Foreseen() if unread else read_ahead(hub, brought)
    with hub.write() as tx:
        at = hub.clock()
        ask_for_posts(hub, tx, micros(at), posts, brought, foreseen)
        ws = Workspace(hub=hub, tx=tx, at=at, directory=read_directory(hub, tx, micros(at)))
        replies = _known_replies(ws, posts)
        fresh: dict[Place, Post] = {}
        for post in posts:
            if post.place not in replies:
                fresh.setdefault(post.place, post)
        made, rows = _take(ws, list(fresh.values()), brought, foreseen, unread=unread)
        kept = _replies_to_keep(ws, [(fresh[place], reply) for place, reply in made.items()])
        write_workspace(ws, documents=rows, replies=kept)
    return [_reply_to(post, fresh, made, replies) for post in posts]


def _reply_to(
    post: Post,
    fresh: dict[Place, Post],
    made: dict[Place, Reply],
    stored: dict[Place, tuple[bytes, Reply]],
) -> Reply:
    """Made now for this very post, or for one with the same key in the same batch, or long ago."""
    first = fresh.get(post.place)
    if first is post:
        return made[post.place]
    digest, reply = (first.digest, made[post.place]) if first is not None else stored[post.place]
    if digest != post.digest:
        detail = "Send a new key, or the body this key was first used with."
        problem = build_problem(422, "idempotency_key_reused", "The key was used with another request", detail)
        return Reply(422, encode(problem))
    return Reply(reply.status, reply.body, replayed=True)


def _known_replies(ws: Workspace, posts: Sequence[Post]) -> dict[Place, tuple[bytes, Reply]]:
    """Stored replies by key. An expired one is forgotten here, so that its key may be used again."""
    found: dict[Place, tuple[bytes, Reply]] = {}
    for row in load_replies(ws.tx, {post.place for post in posts}):
        place = (row["partner_id"], row["scope"], row["key"])
        if row["expires_at"] <= ws.now:
            delete_reply(ws.tx, place)
            continue
        body = ws.hub.vault.open(REPLY, _aad(place), row["reply"])
        found[place] = (bytes(row["body_hash"]), Reply(row["status"], body))
    return found


def _replies_to_keep(ws: Workspace, made: Sequence[tuple[Post, Reply]]) -> list[Row]:
    """What will be replayed, as rows; another process with the same key fails where they are stored."""
    return [
        {
            "partner_id": post.partner_id,
            "scope": post.scope,
            "key": post.key,
            "body_hash": post.digest,
            "status": reply.status,
            "reply": ws.hub.vault.seal(REPLY, _aad(post.place), reply.body),
            "created_at": ws.now,
            "expires_at": ws.now + _KEPT,
        }
        for post, reply in sorted(made, key=lambda pair: pair[0].place)
        if reply.status < 400
    ]


def _aad(place: Place) -> str:
    return "|".join(map(str, place))


def _take(
    ws: Workspace, posts: Sequence[Post], brought: Sequence[Brought], foreseen: Foreseen, *, unread: bool
) -> tuple[dict[Place, Reply], list[Row]]:
    """Absorb every document of these posts, which are some of those that were brought; a reply per post, and the documents' rows
    as far as they are still to be stored."""
    wanted = set(map(id, posts))
    documents = [each for each in brought if id(each[0]) in wanted]
    sealed = [each[2] for each in documents]
    # Where one document comes twice, the second is compared with the first, which must be stored for that.
    apart = len({each.arrival.key for each in sealed}) == len(sealed)
    anew = partial(seal_arrival, ws.hub.vault, ws.hub.ids.take)
    rows = (make_new if apart else put_new)(ws.tx, sealed, ws.now, anew)
    orders: dict[int, int] = {}
    claimed: set[int] = set()
    if not unread:
        claims = claim_new(ws.tx, list(rows.values()))
        claimed = {row["id"] for row in claims}
        own = {row["id"]: documents[index][1] for index, row in rows.items()}
        read = _read_of(ws, own, claims, foreseen)
        left = own.keys() - read.keys() if len(read) < len(own) else ()
        parsed = {row_id: known for row_id in left if (known := own[row_id].parsed) is not None}
        orders = absorb_rows(ws, claims, read=read, parsed=parsed, stored=not apart)
    told: dict[int, tuple[int, dict[str, Any]]] = {}
    names = {place: target.name for place, target in ws.directory.targets.items()}
    for index, (post, document, _) in enumerate(documents):
        row = rows.get(index)
        if unread or (row is not None and row["id"] not in claimed):
            told[id(document)] = _queued(document)
        elif row is not None and row["id"] in orders:
            told[id(document)] = _told(ws, orders[row["id"]], row["id"], names)
        else:
            told[id(document)] = _told_again(ws, post, document, row, names)
    replies = {
        post.place: _reply(post, [told.get(id(d)) or _failed(d, d.error) for d in post.documents]) for post in posts
    }
    return replies, list(rows.values()) if apart else []


def _read_of(ws: Workspace, own: Mapping[int, Document], rows: Sequence[Row], foreseen: Foreseen) -> dict[int, Read]:
    """Those of these rows whose documents were read ahead with this configuration."""
    if foreseen.stamp != ws.directory.stamp:
        return {}
    found: dict[int, Read] = {}
    for row in rows:
        read = foreseen.read.get(id(own[row["id"]]))
        if read is not None:
            read.row = row
            found[row["id"]] = read
    return found


def _queued(document: Document) -> tuple[int, dict[str, Any]]:
    return 202, {"external_id": document.external_id, "result": "queued", "status": "", "accepted": None}


def _told(ws: Workspace, order_id: int, row_id: int | None, names: Mapping[int, str]) -> tuple[int, dict[str, Any]]:
    """The receipt of an order of this batch, or of one that is only looked at (`row_id` None: nothing new was posted)."""
    dossier = ws.dossiers.get(order_id) or load_dossiers(ws.tx, ws.hub.vault, [order_id], lock=False)[order_id]
    if row_id is None:
        result = "unchanged"
    elif dossier.order["inbox_id"] != row_id:
        result = "stale"
    else:
        result = "updated" if order_id in ws.before else "created"
    return (201 if result == "created" else 200), build_receipt(dossier, names, result=result)


def _told_again(
    ws: Workspace, post: Post, document: Document, row: Row | None, names: Mapping[int, str]
) -> tuple[int, dict[str, Any]]:
    """A document that became no order now: it was stored before (then the order is looked up, or it is read once more
    when it could not be read then), or it cannot be read."""
    if row is None:
        latest = find_latest(ws.tx, "account", post.account_id, "order", document.external_id)
        if latest["state"] == "new":
            return _queued(document)
        if latest["state"] == "exception" and document.error is None:
            found = absorb_rows(ws, load_documents(ws.tx, [latest["id"]]), again=True)
            if latest["id"] in found:
                return _told(ws, found[latest["id"]], latest["id"], names)
        elif latest["order_id"] is not None and document.error is None:
            return _told(ws, latest["order_id"], None, names)
        (row,) = load_documents(ws.tx, [latest["id"]])
    # A number that is none is a fault of money when an amount was due: only its account's mapping can tell.
    told = document.error if document.error is None or document.error.code != "number" else None
    return _failed(document, told or _why(ws, post, row))


def _why(ws: Workspace, post: Post, row: Row) -> HubError:
    """Why a document is no order: read once more for the path and the words, which its row does not keep."""
    try:
        read_order(ws.directory.accounts[post.account_id], open_body(ws.hub.vault, row), ws.at)
    except HubError as error:
        return error
    except Exception as error:  # noqa: BLE001 - as the absorber calls it
        return MappingError("unreadable", type(error).__name__)
    return RefusedError(row["error"] or "unabsorbable", "the order cannot be stored")


def _failed(document: Document, error: HubError | None) -> tuple[int, dict[str, Any]]:
    if document.too_large:
        detail = f"one order has at most {MAX_ORDER_BYTES} bytes"
        return 413, build_problem(413, "body_too_large", "The order is too large", detail)
    return document_problem(error or RefusedError("unabsorbable"), malformed=document.malformed)


def _reply(post: Post, told: Sequence[tuple[int, dict[str, Any]]]) -> Reply:
    if post.scope == ONE or post.documents[0].whole:
        status, body = told[0]
        return Reply(status, encode(body))
    results = [{"status": status, "problem" if status >= 400 else "order": body} for status, body in told]
    stored = sum(status < 400 for status, _ in told)
    return Reply(200, encode({"stored": stored, "refused": len(told) - stored, "results": results}))
