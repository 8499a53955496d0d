"""What warehouses and channels send us by themselves. The signature over the raw bytes is checked first; then the
delivery is stored, in a transaction of its own; only then it is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection

from connectors._channel import Webhook
from domain.errors import HubError, MappingError, RefusedError
from domain.order import ShippingNews
from outbound._warehouse import Callback
from storage.cursors import set_due
from storage.deliveries import put_deliveries
from storage.hints import put_hints
from storage.inbox import Arrival, Sealed, put_arrivals, seal_arrival, seal_arrivals

from .bootstrap import Hub
from .directory import Account, Target, is_recent, read_directory, recent_directory
from .gather import Gather
from .lanes import absorb_jobs, pull_job
from .posts import read_document
from .sessions import channel_session, warehouse_session
from .trouble import read_trouble
from .watch import GATHER, take_callbacks, warehouse_of

_REMEMBERED = 7 * 86_400 * 1_000_000
_LONGEST_ID = 200
_HINT_GAP = 1_000_000  # µs
_MOST_HINTS = 100
_MOST_PIECES = 256  # of one message, in one commit

LONGEST_WAIT = 60.0  # seconds for a commit

Answer = tuple[int, str, bytes]
_TAKEN: Answer = (204, "", b"")


@dataclass(frozen=True, slots=True)
class Received:
    """What came in and is on its way into the database: `stored` is done after the commits, and `answer` may be given only then.
    What the database raises is raised by `stored`, so that what could not be stored is never answered with success."""

    stored: tuple[Future[bool], ...]
    answer: Answer

    def wait(self) -> Answer:
        """The answer, after the commits."""
        for each in self.stored:
            each.result(timeout=LONGEST_WAIT)
        return self.answer


def take_call(hub: Hub, warehouse: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Received:
    """Check one callback, hand it on to be stored, and say how to answer it in the warehouse's own format (status, content type,
    body). Header names are lower-case. RefusedError `unauthenticated` when there is no such warehouse or it sends no
    callbacks."""
    try:
        target = warehouse_of(hub, warehouse)
    except RefusedError:
        raise RefusedError("unauthenticated", "no such callback") from None
    if target.kind.callback is None:
        raise RefusedError("unauthenticated", "no such callback")
    callback = target.kind.callback
    try:
        _verify_callback(hub, target, callback, query, headers, body)
    except HubError as error:
        return Received((), callback.reply(error))
    try:
        pieces = [(_event_id(news, piece), piece) for piece, news in _pieces(callback, body)]
    except MappingError as error:
        # Signed by the warehouse and still no news: kept for a person, and the warehouse hears that it failed.
        kept = take_callbacks(hub, target, [(f"unreadable-{_digest(body)}", body)])
        return Received((kept,), callback.reply(error))
    calls = (pieces[start : start + _MOST_PIECES] for start in range(0, len(pieces), _MOST_PIECES))
    return Received(tuple([take_callbacks(hub, target, call) for call in calls]), callback.reply(None))


def is_prepared(hub: Hub, way: str) -> bool:
    """Whether a call that comes this way needs nothing of the database before it is stored: one like it was taken before, and the
    configuration was looked at a moment ago."""
    return way in hub.memory.get("ways", ()) and is_recent(hub)


def prepare(hub: Hub, way: str) -> None:
    """A call that came this way was taken."""
    hub.memory.setdefault("ways", set()).add(way)


def take_webhook(hub: Hub, account: str, headers: Mapping[str, str], body: bytes) -> Received:
    """Check one webhook delivery and hand on what it hints at; the poll then reads those orders at once. What carries its order
    is stored like a post of the same bytes, and absorbed next. `stored` is False for a delivery that came before. Header names
    are lower-case. RefusedError `unauthenticated`, also for an unknown account."""
    found, webhook = _webhook_of(hub, account)
    try:
        settings = channel_session(hub, found, settled_after=timedelta(0)).settings
        webhook.verify(headers, body, settings, hub.clock())
    except HubError:
        raise RefusedError("unauthenticated", "the signature does not fit") from None
    except Exception as error:
        if read_trouble(error) is not None:
            raise
        raise RefusedError("unauthenticated", "the signature cannot be read") from None
    try:
        delivery, ids = webhook.hints(headers, body)
    except MappingError:
        delivery, ids = "", ()
    order = body if webhook.carries else None
    return Received((_remember(hub, found, delivery or f"body-{_digest(body)}", ids[:_MOST_HINTS], order),), _TAKEN)


def _webhook_of(hub: Hub, account: str) -> tuple[Account, Webhook]:
    for found in recent_directory(hub).accounts.values():
        if found.name == account and found.channel.webhook is not None:
            return found, found.channel.webhook
    raise RefusedError("unauthenticated", "the signature does not fit")


def _verify_callback(
    hub: Hub, target: Target, callback: Callback, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
) -> None:
    settings = warehouse_session(hub, target).settings
    try:
        callback.verify(headers, query, body, settings, hub.clock())
    except HubError:
        raise
    except Exception as error:
        if read_trouble(error) is not None:
            raise
        raise RefusedError("illegal_request", "the signature cannot be read") from None


def _pieces(callback: Callback, body: bytes) -> Sequence[tuple[bytes, Sequence[ShippingNews]]]:
    """What is stored by itself: news of several orders in one message must not share the fate of one of them."""
    return [(body, callback.news(body))] if callback.pieces is None else callback.pieces(body)


def _event_id(news: Sequence[ShippingNews], body: bytes) -> str:
    """What tells one event from another: the warehouse's own id with our code in front, else the bytes themselves."""
    if len(news) == 1 and news[0].event_id:
        told = f"{news[0].reference}:{news[0].event_id}"
        if len(told) <= _LONGEST_ID:
            return told
    return f"body-{_digest(body)}"


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One checked delivery: its account, its id, the orders it names, and the order it carries."""

    account_id: int
    delivery: str
    ids: tuple[str, ...]
    order: bytes | None = None


def _remember(hub: Hub, account: Account, delivery: str, ids: tuple[str, ...], order: bytes | None) -> Future[bool]:
    delivery = delivery if len(delivery) <= _LONGEST_ID else f"long-{_digest(delivery.encode())}"
    named = tuple(external_id for external_id in sorted(set(ids)) if external_id and len(external_id) <= _LONGEST_ID)
    gather: Gather[_Delivery, bool] | None = hub.memory.get("webhooks")
    if gather is None:
        gather = hub.memory.setdefault("webhooks", Gather(partial(_store, hub), name="webhooks", wait=GATHER))
    return gather.submit(_Delivery(account.id, delivery, named, order))


def _store(hub: Hub, told: Sequence[_Delivery]) -> list[bool]:
    """Deliveries that came together, in one commit; which of them were new."""
    carried = _sealed_orders(hub, told)
    with hub.write() as tx:
        now = hub.now()
        sources = [(f"account:{each.account_id}", each.delivery) for each in told]
        new = put_deliveries(tx, sources, now=now, expires_at=now + _REMEMBERED)
        named: dict[int, set[str]] = {}
        for each, first in zip(told, new, strict=True):
            if first and each.order is None:
                named.setdefault(each.account_id, set()).update(each.ids)
        _store_orders(hub, tx, [carried[place] for place, first in enumerate(new) if first and place in carried], now)
        for account_id, ids in sorted(named.items()):
            put_hints(tx, account_id, sorted(ids), due_at=now)
        due = set_due(tx, sorted(named), now, gap=_HINT_GAP)
        if hub.shared and due:  # a poll that comes later is planned when it comes
            directory, calls = read_directory(hub, tx), hub.settings.calls
            hub.wake(pull_job(each, "poll", directory.calls("account", each, calls)) for each in due)
        return new


def _sealed_orders(hub: Hub, told: Sequence[_Delivery]) -> dict[int, Sealed]:
    """The orders that deliveries carry, by the delivery's place, under the ids that posts of the same bytes would have."""
    arrivals = {
        place: Arrival(
            source_kind="account",
            source_id=each.account_id,
            kind="order",
            external_id=read_document(each.order).external_id,
            body=each.order,
        )
        for place, each in enumerate(told)
        if each.order is not None
    }
    sealed = seal_arrivals(hub.vault, hub.ids.take, list(arrivals.values()))
    return dict(zip(arrivals, sealed, strict=True))


def _store_orders(hub: Hub, tx: Connection, sealed: Sequence[Sealed], now: int) -> None:
    if sealed:
        anew = partial(seal_arrival, hub.vault, hub.ids.take)
        hub.wake(absorb_jobs(put_arrivals(tx, sealed, now, anew).values()))


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]
