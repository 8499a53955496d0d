"""What can be done for a group of posts before its transaction, for which other writers wait. Their documents are sealed, and
read with the configuration of a moment ago; what they will need is asked for in one go as soon as it has begun. Nothing depends
on it: what was read with another configuration is read again, what was guessed wrong is asked again, and nothing is locked ahead
of its turn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from domain.values import maker
from storage.asking import Question, ask_ahead
from storage.directory import about_bundles, about_directory, about_listings
from storage.goods import about_goods
from storage.idempotency import about_replies
from storage.inbox import Arrival, Sealed, about_latest, seal_arrivals
from storage.locks import about_identities
from storage.orders import about_buyers, about_orders, about_tombstones

from .absorb import Read, read_one
from .bootstrap import Hub
from .directory import Directory, RulesetAsks
from .posts import Document, Post
from .take_order import buyer_hash
from .workspace import buyers_since, remembered_skus


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Documents that were read ahead, by their identity in memory, and the configuration they were read with."""

    stamp: tuple[int, ...] = ()
    asks: RulesetAsks = field(default_factory=RulesetAsks)
    read: Mapping[int, Read] = field(default_factory=dict)


# A document of a post, as it will be stored.
Brought = tuple[Post, Document, Sealed]
_arrival = maker(Arrival, ("source_kind", "source_id", "kind", "external_id", "body"))


def seal_posts(hub: Hub, posts: Sequence[Post]) -> list[Brought]:
    """The documents of these posts that are kept, sealed."""
    documents = [(post, document) for post in posts for document in post.documents if not document.too_large]
    arrivals = [_arrival("account", post.account_id, "order", d.external_id, d.body) for post, d in documents]
    sealed = seal_arrivals(hub.vault, hub.ids.take, arrivals)
    return [(post, document, each) for (post, document), each in zip(documents, sealed, strict=True)]


def read_ahead(hub: Hub, brought: Sequence[Brought]) -> Foreseen:
    """Read what can be read of these documents without asking the database anything."""
    directory = hub.memory.get("directory")
    if not isinstance(directory, Directory):
        return Foreseen()
    at = hub.clock()
    read = {
        id(document): read_one(hub, directory, at, _row(post, document), parsed=document.parsed)
        for post, document, _ in brought
        if document.parsed is not None
    }
    return Foreseen(directory.stamp, directory.asks, read)


def _row(post: Post, document: Document) -> dict[str, object]:
    """What reading needs of the row that the document will have."""
    return {"source_kind": "account", "source_id": post.account_id, "external_id": document.external_id}


def ask_for_posts(
    hub: Hub, tx: Connection, now: int, posts: Collection[Post], brought: Sequence[Brought], foreseen: Foreseen
) -> None:
    """Ask ahead what will be asked `now` (µs), in the order in which it would be: locks of identities before what they guard.
    Where nobody else is at work nothing is gained by it."""
    if not hub.shared:
        return
    orders = [(read.row["source_id"], read.order) for read in foreseen.read.values() if read.order is not None]
    identities = sorted({(account_id, order.external_id) for account_id, order in orders})
    wanted = {(account_id, line.external_sku) for account_id, order in orders for line in order.lines}
    buyers = {(account_id, buyer) for account_id, order in orders if (buyer := buyer_hash(hub.vault, order))}
    skus = remembered_skus(hub, wanted, foreseen.asks)
    questions: list[Question] = [
        about_directory(now),
        *about_replies(tx, {post.place for post in posts}),
        *about_latest(tx, {sealed.arrival.key for *_, sealed in brought}),
        *about_identities(tx, identities),
        *about_orders(tx, identities),
        *about_tombstones(tx, identities),
        *about_listings(tx, wanted),
        *([] if skus is None else [*about_bundles(tx, skus), *about_goods(tx, skus)]),
        *about_buyers(tx, buyers, since=buyers_since(now)),
    ]
    ask_ahead(tx, questions)
