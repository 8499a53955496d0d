"""Shopify: orders by updated_at through the Admin GraphQL API, tracking by fulfillmentCreate.

Facts: global/shopify.md (read 2026-11-21). §2 paging H, page size 250 M (kept small: cost decides); §5 fulfilment rules H; §6
throttling H, restore rate by plan M (each answer teaches the budget); §8 webhook signature H. fulfillmentCreate is not
idempotent: fulfilments are read before, and after an unknown outcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from domain.errors import ConfigError, RefusedError, RetryableError
from wire.budget import Budget
from wire.paging import cursor
from wire.strict_json import parse_value
from wire.webhooks import verify_shopify

from ._channel import (
    Capabilities,
    Channel,
    Document,
    Page,
    Session,
    Settings,
    Since,
    Webhook,
)
from ._shopify_calls import cut_out, read_order, read_orders, read_query
from ._shopify_order import MAPPING
from ._shopify_queries import CHANGES, ORDERS
from ._shopify_ship import confirm, confirm_many, find

_RECORDS = "data.orders.nodes"


class ShopifySettings(Settings):
    """One shop. `base_url` is https://{shop}.myshopify.com. `webhook_secret_old` is accepted too while a rotation is under way.
    `batch` orders are read, or told a parcel, with one operation (1: never). `carriers` maps our carrier codes to Shopify's names;
    `tracking_url` ("…{tracking}…") is sent for carriers Shopify does not know."""

    token: SecretStr = Field(min_length=1)
    api_version: str = Field(default="2026-07", pattern=r"^(\d{4}-\d{2}|unstable)$")
    webhook_secret: SecretStr = SecretStr("")
    webhook_secret_old: SecretStr = SecretStr("")
    page_size: int = Field(default=25, ge=1, le=250)
    batch: int = Field(default=1, ge=1, le=50)
    notify_customer: bool = True
    tracking_url: str = ""
    carriers: dict[str, str] = Field(default_factory=dict)

    @field_validator("tracking_url")
    @classmethod
    def _link(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in {"http", "https"} or "{tracking}" not in value):
            raise ValueError("an http(s) address with {tracking} in it")
        return value


def pull(session: Session, since: Since) -> Iterator[Page]:
    """Orders changed in [start, end], oldest change first, by cursor. An order that changes meanwhile moves past the end of
    the window and is the next pull's. Where several orders are read with one operation (`batch`), the list gives ids and times
    only, and what is stored already is not read again."""
    query = f"updated_at:>='{_stamp(since.start)}' updated_at:<='{_stamp(since.end)}'"
    sizes = [session.settings.page_size]
    brief = batch(session.settings) > 1

    def fetch(token: str | None) -> tuple[Sequence[tuple[bytes, Any]], str | None]:
        return _orders(session, CHANGES if brief else ORDERS, query, token, sizes)

    for part in cursor(fetch, start=since.token or None):
        listed = part.records
        documents = _changed(session, listed) if brief else tuple(_document(raw, order) for raw, order in listed)
        newest = _time(listed[-1][1]) if listed else None
        if newest is not None and newest > since.end:
            newest = (
                None  # no order of this window: a time nobody can have must not carry the cursor past the next page
            )
        yield Page(documents=documents, next=part.next or "", seen_to=newest if part.next else since.end)


def _changed(session: Session, listed: Sequence[tuple[bytes, Any]]) -> tuple[Document, ...]:
    """The listed orders in full, but for those whose listed version is stored already. A row that names no order is itself the
    document: nobody can ask for it, and it must not vanish."""
    rows = [(_document(raw, row), _time(row)) for raw, row in listed]
    nameless = [row for row, _ in rows if not row.external_id]
    versions = [(row.external_id, row.version, at) for row, at in rows if row.external_id and at is not None]
    known = session.known(versions) if versions else frozenset()
    wanted = dict.fromkeys(row.external_id for row, _ in rows if row.external_id and row.external_id not in known)
    return (*nameless, *fetch(session, list(wanted)))


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(order: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(order["updatedAt"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _document(raw: bytes, order: Any) -> Document:
    known = order if isinstance(order, Mapping) else {}
    ident, version = known.get("id"), known.get("updatedAt")
    return Document(
        kind="order",
        external_id=ident if isinstance(ident, str) else "",
        body=raw,
        version=version if isinstance(version, str) else "",
    )


def _orders(
    session: Session, document: str, query: str, token: str | None, sizes: list[int]
) -> tuple[Sequence[tuple[bytes, Any]], str | None]:
    """One page. A query that costs too much is asked again for half as many orders (the cursor does not depend on it)."""
    while True:
        variables = {"first": sizes[-1], "after": token, "query": query}
        try:
            answer = read_query(session, document, variables, records=_RECORDS)
            break
        except RefusedError as error:
            if error.code != "MAX_COST_EXCEEDED" or sizes[-1] == 1:
                raise
            sizes.append(max(1, sizes[-1] // 2))
    records = answer.listed()
    info = answer.data["orders"].get("pageInfo")
    if not isinstance(info, Mapping) or type(info.get("hasNextPage")) is not bool:
        raise RetryableError("unexpected_reply", "orders without pageInfo")
    if not info["hasNextPage"]:
        return records, None
    following = info.get("endCursor")
    if not isinstance(following, str) or not following:
        raise RetryableError("unexpected_reply", "more pages but no cursor")
    return records, following


def fetch(session: Session, ids: Sequence[str]) -> tuple[Document, ...]:
    """Named orders, `batch` of them with one query. An id Shopify does not know gives no document."""
    size = session.settings.batch
    if size == 1:
        found = ((ident, read_order(session, ident)) for ident in ids)
        return tuple(_document(cut_out(told[0], "order", told[1]), told[1]) for _, told in found if told is not None)
    documents: list[Document] = []
    for at in range(0, len(ids), size):
        read = read_orders(session, ids[at : at + size])
        # An order that cannot be read is stored under the id it was asked for: reading it makes the exception.
        documents += (_document(raw, order or {"id": ident}) for ident, (raw, order) in read.items())
    return tuple(documents)


def verify(headers: Mapping[str, str], body: bytes, settings: Any, now: datetime) -> None:
    """Raises RefusedError unless the body is signed with the secret or the one before it; Shopify signs no time."""
    del now
    secrets = [settings.webhook_secret.get_secret_value(), settings.webhook_secret_old.get_secret_value()]
    if not any(secrets):
        raise ConfigError("webhook_secret", "the account has none")
    verify_shopify(headers, body, secrets)


# How the body of an order's webhook begins, with the slashes of its address written either way.
_ORDER_HEAD = re.compile(
    rb'\{"id":[0-9]{1,20},"admin_graphql_api_id":"gid:\\?/\\?/shopify\\?/Order\\?/([0-9]{1,20})"[,}]'
)


def hints(headers: Mapping[str, str], body: bytes) -> tuple[str, tuple[str, ...]]:
    """The delivery's id, and the order it is about: the body's own id for orders/*, its order_id for fulfillments/* and
    refunds/*. Other topics are about no order."""
    lowered = {name.lower(): value for name, value in headers.items()}
    delivery, topic = lowered.get("x-shopify-webhook-id", "")[:255], lowered.get("x-shopify-topic", "")
    head = _ORDER_HEAD.match(body) if topic.startswith("orders/") else None
    if head is not None:
        # Signed by the shop, and only a hint: the rest need not be read to ask for this order.
        return delivery, (f"gid://shopify/Order/{head[1].decode()}",)
    value = parse_value(body)
    if not isinstance(value, Mapping):
        return delivery, ()
    number = value.get("id") if topic.startswith("orders/") else value.get("order_id")
    gid = value.get("admin_graphql_api_id") if topic.startswith("orders/") else None
    if isinstance(gid, str) and gid.startswith("gid://shopify/Order/"):
        return delivery, (gid,)
    return delivery, (f"gid://shopify/Order/{number}",) if type(number) is int else ()


def batch(settings: Any) -> int:
    """How many parcels are told with one operation."""
    return int(settings.batch)


def budget(settings: Any) -> Budget:
    """The smallest plan's numbers (M) until the first answer teaches better ones."""
    del settings
    return Budget(1000, 100)


CHANNEL = Channel(
    name="shopify",
    title="Shopify",
    order_prefix="SH",
    settings=ShopifySettings,
    mapping=MAPPING,
    pull=pull,
    fetch=fetch,
    confirm=confirm,
    confirm_many=confirm_many,
    batch=batch,
    find=find,
    webhook=Webhook(verify=verify, hints=hints),
    budget=budget,
    window=timedelta(days=1),
    overlap=timedelta(minutes=15),
    can=Capabilities(parcels_per_line=1000, partial=True, cancel_after_ship=False, readback=True, repeats="findable"),
)
