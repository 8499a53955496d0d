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

import hashlib
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from domain.errors import HubError, MappingError, RefusedError, RetryableError
from storage.idempotency import Place, delete_reply, load_replies, put_replies
from storage.inbox import Arrival, claim_documents, find_latest, load_documents, open_body, put_arrivals

from .absorb import absorb_rows
from .access import Caller
from .bootstrap import Hub
from .dossier import load_dossiers
from .posts import MANY, MAX_ORDER_BYTES, ONE, Document, Post, Reply, read_batch, read_document
from .reading import read_order
from .receipts import build_problem, build_receipt, document_problem, encode
from .trouble import is_race, read_trouble
from .workspace import Workspace, open_workspace, write_workspace

_GATHER_S, _GATHER_ORDERS = 0.003, 64
_QUEUE = 4_000
_KEPT = 7 * 86_400 * 1_000_000
REPLY = "idempotency.reply"


class Intake:
    """One worker thread that answers posts. `submit` blocks, `enqueue` gives a future; `close` answers what waits and stops."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._posts: queue.Queue[Post | None] = queue.Queue(_QUEUE)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, caller: Caller, key: str, body: bytes, *, many: bool = False) -> Reply:
        """Answer one post. Errors as `enqueue`, and those of its future."""
        return self.enqueue(caller, key, body, many=many).result()

    def enqueue(self, caller: Caller, key: str, body: bytes, *, many: bool = False) -> Future[Reply]:
        """Take one post in. RefusedError `no_intake` (the caller may not post), `batch_empty`, `batch_too_large`,
        RetryableError `overloaded`. The future fails with RetryableError `database_unavailable`, `disk_full`."""
        if caller.partner_id is None or caller.intake is None or caller.scope != "partner":
            raise RefusedError("no_intake", "this key belongs to no partner that may post orders")
        documents = read_batch(body) if many else (read_document(body),)
        post = Post(
            partner_id=caller.partner_id,
            account_id=caller.intake,
            scope=MANY if many else ONE,
            key=key,
            digest=hashlib.sha256(body).digest(),
            documents=documents,
        )
        self._start()
        try:
            self._posts.put_nowait(post)
        except queue.Full:
            raise RetryableError("overloaded", "too many posts are waiting") from None
        return post.future

    def close(self) -> None:
        """Answer what is waiting, then stop."""
        with self._lock:
            self._closed, thread = True, self._thread
        if thread is not None:
            self._posts.put(None)
            thread.join(30)
        while not self._posts.empty():
            late = self._posts.get_nowait()
            if late is not None:
                late.future.set_exception(RetryableError("closing", "this process is stopping"))

    def _start(self) -> None:
        if self._thread is not None and not self._closed:
            return
        with self._lock:
            if self._closed:
                raise RetryableError("closing", "this process is stopping")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        post = self._posts.get()
        while post is not None:
            group, stop = self._gather(post)
            # Whoever gave up before anything happened was promised nothing.
            waiting = [each for each in group if each.future.set_running_or_notify_cancel()]
            if waiting:
                _answer(self._hub, waiting)
            post = None if stop else self._posts.get()

    def _gather(self, first: Post) -> tuple[list[Post], bool]:
        """Posts that share a commit, and whether to stop after them."""
        group, orders, end = [first], len(first.documents), time.monotonic() + _GATHER_S
        while orders < _GATHER_ORDERS:
            try:
                post = self._posts.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if post is None:
                return group, True
            group.append(post)
            orders += len(post.documents)
        return group, False


def _answer(hub: Hub, posts: Sequence[Post]) -> None:
    """Handle posts and resolve their futures, whatever happens."""
    try:
        replies = _handle(hub, posts)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the posts around it
        _split(hub, posts, error)
        return
    for post, reply in zip(posts, replies, strict=True):
        post.future.set_result(reply)


def _split(hub: Hub, posts: Sequence[Post], error: Exception) -> None:
    trouble = None if is_race(error) else read_trouble(error)
    if trouble is None and len(posts) > 1:
        middle = len(posts) // 2
        _answer(hub, posts[:middle])
        _answer(hub, posts[middle:])
        return
    if trouble is None:
        _answer_alone(hub, posts[0])
        return
    for post in posts:
        post.future.set_exception(trouble)


def _answer_alone(hub: Hub, post: Post) -> None:
    """The last tries for one post: once more as it is (somebody else may have been first), then stored unread."""
    error: Exception = AssertionError("not tried")
    for unread in (False, False, True):
        try:
            (reply,) = _handle(hub, [post], unread=unread)
        except Exception as failure:  # noqa: BLE001 - told to the one who waits
            error = failure
        else:
            post.future.set_result(reply)
            return
    post.future.set_exception(read_trouble(error) or RefusedError("unabsorbable", "the order cannot be stored"))


def _handle(hub: Hub, posts: Sequence[Post], *, unread: bool = False) -> list[Reply]:
    """One transaction for these posts. `unread`: store their documents and absorb nothing."""
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        replies = _known_replies(ws, posts)
        fresh: dict[Place, Post] = {}
        for post in posts:
            if post.place not in replies:
                fresh.setdefault(post.place, post)
        made = _take(ws, list(fresh.values()), unread=unread)
        write_workspace(ws)
        _keep_replies(ws, [(fresh[place], reply) for place, reply in made.items()])
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


def _keep_replies(ws: Workspace, made: Sequence[tuple[Post, Reply]]) -> None:
    """Store what will be replayed; another process with the same key fails here."""
    rows = [
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
    put_replies(ws.tx, rows)


def _aad(place: Place) -> str:
    return "|".join(map(str, place))


def _take(ws: Workspace, posts: Sequence[Post], *, unread: bool) -> dict[Place, Reply]:
    """Store and absorb every document of these posts; a reply per post."""
    documents = [(post, document) for post in posts for document in post.documents if not document.too_large]
    arrivals = [
        Arrival(source_kind="account", source_id=post.account_id, kind="order", external_id=d.external_id, body=d.body)
        for post, d in documents
    ]
    stored = put_arrivals(ws.tx, ws.hub.vault, ws.hub.ids.take, arrivals, ws.now)
    inbox = {index: stored.get(index) for index in range(len(documents))}
    orders: dict[int, int] = {}
    claimed: set[int] = set()
    if not unread:
        rows = claim_documents(ws.tx, list(stored.values()))
        claimed = {row["id"] for row in rows}
        orders = absorb_rows(ws, rows)
    told: dict[int, tuple[int, dict[str, Any]]] = {}
    for index, (post, document) in enumerate(documents):
        row_id = inbox[index]
        if unread or (row_id is not None and row_id not in claimed):
            told[id(document)] = _queued(document)
        elif row_id is not None and row_id in orders:
            told[id(document)] = _told(ws, orders[row_id], row_id)
        else:
            told[id(document)] = _told_again(ws, post, document, row_id)
    return {
        post.place: _reply(post, [told.get(id(d)) or _failed(d, d.error) for d in post.documents]) for post in posts
    }


def _queued(document: Document) -> tuple[int, dict[str, Any]]:
    return 202, {"external_id": document.external_id, "result": "queued", "status": "", "accepted": None}


def _told(ws: Workspace, order_id: int, row_id: int | None) -> tuple[int, dict[str, Any]]:
    """The receipt of an order of this batch, or of one that is only looked at (`row_id` None: nothing new was posted)."""
    dossier = ws.dossiers.get(order_id) or load_dossiers(ws.tx, ws.hub.vault, [order_id], lock=False)[order_id]
    if row_id is None:
        result = "unchanged"
    elif dossier.order["inbox_id"] != row_id:
        result = "stale"
    else:
        result = "updated" if order_id in ws.before else "created"
    targets = ws.directory.targets
    receipt = build_receipt(dossier, lambda place: targets[place].name if place in targets else "", result=result)
    return (201 if result == "created" else 200), receipt


def _told_again(ws: Workspace, post: Post, document: Document, row_id: int | None) -> tuple[int, dict[str, Any]]:
    """A document that became no order now: it was stored before (then the order is looked up, or it is read once more
    when it could not be read then), or it cannot be read."""
    if row_id is None:
        latest = find_latest(ws.tx, "account", post.account_id, "order", document.external_id)
        if latest["state"] == "new":
            return _queued(document)
        if latest["state"] == "exception" and document.error is None:
            found = absorb_rows(ws, load_documents(ws.tx, [latest["id"]]), again=True)
            if latest["id"] in found:
                return _told(ws, found[latest["id"]], latest["id"])
        elif latest["order_id"] is not None and document.error is None:
            return _told(ws, latest["order_id"], None)
        row_id = latest["id"]
    # A number that is none is a fault of money when an amount was due: only its account's mapping can tell.
    told = document.error if document.error is None or document.error.code != "number" else None
    return _failed(document, told or _why(ws, post, row_id))


def _why(ws: Workspace, post: Post, row_id: int) -> HubError:
    """Why a stored document is no order: read once more for the path and the words, which its row does not keep."""
    (row,) = load_documents(ws.tx, [row_id])
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
