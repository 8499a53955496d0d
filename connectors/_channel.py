"""The machinery of every channel: one frozen value per module, found by the file's existence (design.md §3).

A channel talks to the world and decides nothing. `pull` yields pages of raw documents, `confirm` sends one parcel home,
`find` looks whether a confirmation already happened, `webhook` turns one delivery into hints. All network goes through
the given `Client`; all errors are those of `domain.errors`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from domain.errors import HubError
from normalizer.mapping import OrderMapping
from wire.budget import Budget
from wire.client import Client

Repeats = Literal["keyed", "findable", "unsafe"]


class Settings(BaseModel):
    """What a shop owner types in. Secrets are `SecretStr`; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    allow_private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One account at work: its settings, the shared client, its budget, the clock. `known` tells which of the given
    (external id, version, source time of the version) are stored already and settled, so that a list hit need not be
    read in detail again. `memory` holds what a channel keeps between two calls of this process and nowhere else (a
    login's token); it is never shown and never stored. `takes` are the kinds of documents the hub absorbs: a channel
    yields no others. `at_once`: how many calls a channel may make side by side."""

    account: str
    settings: Any
    client: Client
    budget: Budget
    clock: Callable[[], datetime]
    known: Callable[[Sequence[tuple[str, str, datetime]]], frozenset[str]] = lambda versions: frozenset()
    memory: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    takes: frozenset[str] = frozenset({"order"})
    at_once: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document as the source sent it. `kind` says what it is about, `body` are its exact bytes, `version` sorts the
    source's versions of one `external_id` as text ("" when the source has none). `says` is the part of the body that tells
    something, where a source adds what differs with every answer (b"": all of it): a document that says the same as the one
    before is not stored again."""

    kind: Literal["order", "after_sale", "cancel", "shipment", "stock"]
    external_id: str
    body: bytes
    version: str = ""
    says: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Where a pull starts and ends: source times `start` ≤ t ≤ `end` (aware UTC), and the token that `next` of the last
    stored page carried ("" at the start of a window)."""

    start: datetime
    end: datetime
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page. `next` resumes after it ("" = the window is read to its end); `seen_to` is the newest source time that is
    complete once this page is stored (None while the order of pages does not allow to say)."""

    documents: tuple[Document, ...]
    next: str = ""
    seen_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """One parcel to tell the channel about. `lines` are external line id and units in this parcel; `whole_order` says
    that this one parcel holds everything the order has."""

    order_id: str
    package_key: str
    tracking: str
    carrier: str
    lines: tuple[tuple[str, int], ...]
    whole_order: bool
    shipped_at: datetime
    carrier_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """How a confirmation ended: the channel's own reference, and what had to be left out (`degraded`, "" if nothing).
    `document` is the order as the proof read it, which then need not be fetched once more."""

    reference: str = ""
    degraded: str = ""
    document: Document | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """How to check one delivery and what it hints at. `verify` raises RefusedError; `hints` gives the delivery's id and
    the external order ids it is about: a hint makes the hub read those orders, it is never the truth itself. `carries`: there is
    nothing to read, the body is an order document of this channel, signed by the one who made it."""

    verify: Callable[[Mapping[str, str], bytes, Any, datetime], None]
    hints: Callable[[Mapping[str, str], bytes], tuple[str, tuple[str, ...]]]
    carries: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the channel can be told. `parcels_per_line` 1: one number per line, the first parcel wins; `partial`: parcels
    may be confirmed one by one; `repeats`: what a second confirmation after an unknown outcome would do."""

    parcels_per_line: int = 1
    partial: bool = True
    cancel_after_ship: bool = False
    readback: bool = True
    repeats: Repeats = "findable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A kind of place orders come from. `pull(session, since)` yields pages; `fetch(session, ids)` reads named orders
    (webhook hints, corrections); `mapping` tells how an order document is read, `after_sale` one of kind after_sale
    (order id and AfterSale). `mapping_for` is for channels where a setting changes the reading: ask `mapping_of`.
    `confirm_many` is `confirm` for parcels of different orders told together, one end each; at most `batch(settings)` of them."""

    name: str
    title: str
    order_prefix: str
    settings: type[Settings]
    mapping: OrderMapping
    zone: tzinfo = field(default_factory=lambda: ZoneInfo("UTC"))
    pull: Callable[[Session, Since], Iterator[Page]] | None = None
    fetch: Callable[[Session, Sequence[str]], tuple[Document, ...]] | None = None
    after_sale: Callable[[Any, datetime], tuple[str, Any]] | None = None
    confirm: Callable[[Session, Confirmation], Confirmed] | None = None
    confirm_many: Callable[[Session, Sequence[Confirmation]], Sequence[Confirmed | HubError]] | None = None
    batch: Callable[[Any], int] | None = None
    find: Callable[[Session, Confirmation], Confirmed | None] | None = None
    webhook: Webhook | None = None
    budget: Callable[[Any], Budget] | None = None
    window: timedelta = timedelta(days=1)
    overlap: timedelta = timedelta(minutes=15)
    ignored: tuple[str, ...] = ()
    can: Capabilities = Capabilities()
    mapping_for: Callable[[Any], OrderMapping] | None = None

    def mapping_of(self, settings: Any) -> OrderMapping:
        """The mapping of one account."""
        return self.mapping if self.mapping_for is None else self.mapping_for(settings)


@cache
def channels() -> Mapping[str, Channel]:
    """Every channel there is: the modules of this package that do not start with an underscore."""
    package = importlib.import_module(__package__)
    names = (module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))
    return {name: importlib.import_module(f"{__package__}.{name}").CHANNEL for name in names}
