"""Shopify: orders by updated_at through the Admin GraphQL API, tracking by fulfillmentCreate.

Facts: global/shopify.md (read 2026-11-21). §2 paging H, page size 250 M (kept small: cost decides); §5 fulfilment rules H; §6
throttling H, restore rate by plan M (each answer teaches the budget); §8 webhook signature H. fulfillmentCreate is not
idempotent: fulfilments are read before, and after an unknown outcome.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from domain.carriers import carrier_name, spoken_code
from domain.errors import ConfigError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from wire.auth import HeaderToken
from wire.budget import Budget
from wire.client import Reply
from wire.paging import cursor
from wire.retry import read_with_retries
from wire.salvage import salvage_records
from wire.strict_json import parse_value
from wire.webhooks import verify_shopify

from ._channel import (
    Capabilities,
    Channel,
    Confirmation,
    Confirmed,
    Document,
    Page,
    Session,
    Settings,
    Since,
    Webhook,
)
from ._graphql import data_of, send_graphql
from ._shopify_order import MAPPING, nodes_of
from ._shopify_queries import ORDER, ORDERS, SHIP

_RECORDS = "data.orders.nodes"
_ITEMS_PER_CALL = 512  # fulfillmentOrderLineItems takes at most 512 (H)
_LONGEST_WAIT = timedelta(minutes=10)
_OPEN = frozenset({"OPEN", "IN_PROGRESS"})
_LIVE = frozenset({"SUCCESS", "OPEN", "PENDING"})


class ShopifySettings(Settings):
    """One shop. `base_url` is https://{shop}.myshopify.com. `webhook_secret_old` is accepted too while a rotation is under way.
    `carriers` maps our carrier codes to Shopify's names; `tracking_url` ("…{tracking}…") is sent for carriers Shopify does not
    know."""

    token: SecretStr = Field(min_length=1)
    api_version: str = Field(default="2026-07", pattern=r"^(\d{4}-\d{2}|unstable)$")
    webhook_secret: SecretStr = SecretStr("")
    webhook_secret_old: SecretStr = SecretStr("")
    page_size: int = Field(default=25, ge=1, le=250)
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
    the window and is the next pull's."""
    query = f"updated_at:>='{_stamp(since.start)}' updated_at:<='{_stamp(since.end)}'"
    sizes = [session.settings.page_size]

    def fetch(token: str | None) -> tuple[Sequence[tuple[bytes, Any]], str | None]:
        return _orders(session, query, token, sizes)

    for batch in cursor(fetch, start=since.token or None):
        documents = tuple(_document(raw, order) for raw, order in batch.records)
        newest = _time(batch.records[-1][1]) if batch.records else None
        if newest is not None and newest > since.end:
            newest = (
                None  # no order of this window: a time nobody can have must not carry the cursor past the next page
            )
        yield Page(documents=documents, next=batch.next or "", seen_to=newest if batch.next else since.end)


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
    session: Session, query: str, token: str | None, sizes: list[int]
) -> tuple[Sequence[tuple[bytes, Any]], str | None]:
    """One page. A query that costs too much is asked again for half as many orders (the cursor does not depend on it)."""
    while True:
        variables = {"first": sizes[-1], "after": token, "query": query}
        try:
            reply = _read(session, ORDERS, variables, records=_RECORDS)
            break
        except RefusedError as error:
            if error.code != "MAX_COST_EXCEEDED" or sizes[-1] == 1:
                raise
            sizes.append(max(1, sizes[-1] // 2))
    value, records = salvage_records(reply.body, _RECORDS)
    info = value["data"]["orders"].get("pageInfo")
    if not isinstance(info, Mapping) or type(info.get("hasNextPage")) is not bool:
        raise RetryableError("unexpected_reply", "orders without pageInfo")
    if not info["hasNextPage"]:
        return records, None
    following = info.get("endCursor")
    if not isinstance(following, str) or not following:
        raise RetryableError("unexpected_reply", "more pages but no cursor")
    return records, following


def _read(session: Session, document: str, variables: Mapping[str, Any], *, records: str = "") -> Reply:
    """A query, with short waits when Shopify says how long; a longer one is left to the caller's schedule."""
    return read_with_retries(
        lambda: _call(session, document, variables, writes=False, records=records),
        sleep=session.client.sleep,
        clock=session.clock,
    )


def _call(session: Session, document: str, variables: Mapping[str, Any], *, writes: bool, records: str = "") -> Reply:
    settings = session.settings

    def learn(value: Any, now: datetime) -> datetime | None:
        return learn_cost(session.budget, value, now)

    return send_graphql(
        session.client,
        f"{settings.base_url.rstrip('/')}/admin/api/{settings.api_version}/graphql.json",
        document,
        variables,
        writes=writes,
        now=session.clock(),
        auth=HeaderToken("X-Shopify-Access-Token", settings.token.get_secret_value()),
        budget=session.budget,
        learn=learn,
        records=records,
    )


def learn_cost(budget: Budget, value: Any, now: datetime) -> datetime | None:
    """Tell the budget what throttleStatus says; when a throttled call may come again: now + (requested - available) / rate."""
    extensions = value.get("extensions") if isinstance(value, Mapping) else None
    cost = extensions.get("cost") if isinstance(extensions, Mapping) else None
    status = cost.get("throttleStatus") if isinstance(cost, Mapping) else None
    if not isinstance(cost, Mapping) or not isinstance(status, Mapping):
        return None
    names = ("currentlyAvailable", "restoreRate", "maximumAvailable")
    told = [status.get(name) for name in names]
    if any(isinstance(number, bool) or not isinstance(number, (int, Decimal)) for number in told):
        return None
    available, rate, maximum = (float(str(number)) for number in told)
    budget.learn(available, rate, maximum)
    requested = cost.get("requestedQueryCost")
    if not value.get("errors") or type(requested) is not int or rate <= 0:
        return None
    seconds = max(0.0, (requested - available) / rate)
    return now + min(timedelta(seconds=seconds), _LONGEST_WAIT)


def fetch(session: Session, ids: Sequence[str]) -> tuple[Document, ...]:
    """Named orders, one query each. An id Shopify does not know gives no document."""
    found = (_order(session, ident) for ident in ids)
    return tuple(_document(raw, order) for raw, order in found if order is not None)


def _order(session: Session, ident: str) -> tuple[bytes, Mapping[str, Any] | None]:
    """One order as sent: the exact bytes of its object, and its value."""
    reply = _read(session, ORDER, {"id": ident})
    order = data_of(reply).get("order")
    if order is None:
        return b"", None
    if not isinstance(order, Mapping):
        raise RetryableError("unexpected_reply", "order is not an object")
    return _slice(reply.body, "order", order), order


def _slice(body: bytes, name: str, value: Any) -> bytes:
    """The exact bytes of the object under `name` in a document already read strictly."""
    text, mark, at = body.decode("utf-8"), f'"{name}"', 0
    while (at := text.find(mark, at)) >= 0:
        at += len(mark)
        start = at + len(text[at:]) - len(text[at:].lstrip(" \t\r\n:"))
        if text[start : start + 1] == "{":
            _, end = json.JSONDecoder().raw_decode(text, start)
            piece = text[start:end].encode("utf-8")
            if parse_value(piece) == value:
                return piece
    raise RetryableError("unexpected_reply", f"no {name} in the answer")


def find(session: Session, parcel: Confirmation) -> Confirmed | None:
    """Read the order back: confirmed when live fulfilments with this number hold all of the parcel's units."""
    _, order = _order(session, parcel.order_id)
    if order is None:
        return None
    reference, units = _fulfilled(order, parcel.tracking)
    missing = [line for line, count in _wanted(parcel).items() if units.get(line, 0) < count]
    return Confirmed(reference=reference) if reference and not missing else None


def _wanted(parcel: Confirmation) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for line, count in parcel.lines:
        wanted[line] = wanted.get(line, 0) + count
    return wanted


def _fulfilled(order: Mapping[str, Any], tracking: str) -> tuple[str, dict[str, int]]:
    """The newest live fulfilment with this number and the units per line that all such fulfilments hold."""
    reference, units = "", dict[str, int]()
    fulfilments = order.get("fulfillments")
    for each in fulfilments if isinstance(fulfilments, list) else []:
        numbers = [info.get("number") for info in each.get("trackingInfo") or [] if isinstance(info, Mapping)]
        if each.get("status") not in _LIVE or tracking not in numbers:
            continue
        reference = str(each.get("id") or "")
        for item in nodes_of(each, "fulfillmentLineItems", cut="too_many_lines"):
            line = str((item.get("lineItem") or {}).get("id") or "")
            units[line] = units.get(line, 0) + int(item.get("quantity") or 0)
    return reference, units


def confirm(session: Session, parcel: Confirmation) -> Confirmed:
    """Read the fulfilment orders fresh (they split, merge and move), pick the parcel's units, and create one fulfilment per
    location. Units that this number already covers are left out, so doing it twice does it once."""
    _, order = _order(session, parcel.order_id)
    if order is None:
        raise RefusedError("order_unknown", parcel.order_id)
    reference, done = _fulfilled(order, parcel.tracking)
    wanted = {line: count - done.get(line, 0) for line, count in _wanted(parcel).items() if count > done.get(line, 0)}
    if not wanted:
        if reference:
            return Confirmed(reference=reference)
        raise RefusedError("no_lines", "a parcel that holds no line of the order")
    for groups in by_location(order, wanted):
        reference = _ship(session, parcel, groups)
    return Confirmed(reference=reference)


def by_location(order: Mapping[str, Any], wanted: Mapping[str, int]) -> list[list[dict[str, Any]]]:
    """`lineItemsByFulfillmentOrder` per location: units are taken from open fulfilment orders in the order given. Raises
    RefusedError `not_fulfillable` when fewer units are open than the parcel holds."""
    left, places = dict(wanted), dict[str, list[dict[str, Any]]]()
    for entry in _whole(order, "fulfillmentOrders"):
        if entry.get("status") not in _OPEN:
            continue
        items = []
        for item in _whole(entry, "lineItems"):
            line, open_units = str((item.get("lineItem") or {}).get("id") or ""), item.get("remainingQuantity")
            take = min(left.get(line, 0), open_units if type(open_units) is int else 0)
            if take > 0:
                left[line] -= take
                items.append({"id": item.get("id"), "quantity": take})
        place = ((entry.get("assignedLocation") or {}).get("location") or {}).get("id") or entry.get("id")
        for at in range(0, len(items), _ITEMS_PER_CALL):
            group = {
                "fulfillmentOrderId": entry.get("id"),
                "fulfillmentOrderLineItems": items[at : at + _ITEMS_PER_CALL],
            }
            places.setdefault(str(place), []).append(group)
    short = {line: count for line, count in left.items() if count > 0}
    if short:
        raise RefusedError("not_fulfillable", f"no open fulfilment order holds {short}")
    return list(places.values())


def _whole(record: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    try:
        return nodes_of(record, name, cut="too_many_fulfillment_orders")
    except MappingError as error:
        raise RefusedError(error.code, error.detail) from error


def tracking_info(settings: Any, parcel: Confirmation) -> dict[str, str]:
    """Company and number; a carrier Shopify does not know goes as free text, with our link if the account has one."""
    known = spoken_code(parcel.carrier, "shopify", settings.carriers)
    info = {"number": parcel.tracking, "company": known or carrier_name(parcel.carrier, parcel.carrier_name)}
    if not known and settings.tracking_url:
        info["url"] = settings.tracking_url.replace("{tracking}", parcel.tracking)
    return info


def _ship(session: Session, parcel: Confirmation, groups: Sequence[Mapping[str, Any]]) -> str:
    info, notify = tracking_info(session.settings, parcel), session.settings.notify_customer
    fulfilment = {"lineItemsByFulfillmentOrder": groups, "trackingInfo": info, "notifyCustomer": notify}
    result = data_of(_call(session, SHIP, {"fulfillment": fulfilment}, writes=True)).get("fulfillmentCreate")
    if not isinstance(result, Mapping):
        raise UnknownOutcomeError("unexpected_reply", "no fulfillmentCreate")
    if result.get("userErrors"):
        told = "; ".join(str(each.get("message")) for each in result["userErrors"] if isinstance(each, Mapping))
        raise RefusedError("user_error", told[:300])
    made = result.get("fulfillment")
    if not isinstance(made, Mapping) or not made.get("id"):
        raise UnknownOutcomeError("unexpected_reply", "neither a fulfilment nor an error")
    if made.get("status", "SUCCESS") not in _LIVE:
        # No error and not shipped either: only looking again tells.
        raise UnknownOutcomeError("not_shipped", f"the fulfilment is {made['status']}")
    return str(made["id"])


def verify(headers: Mapping[str, str], body: bytes, settings: Any, now: datetime) -> None:
    """Raises RefusedError unless the body is signed with the secret or the one before it; Shopify signs no time."""
    del now
    secrets = [settings.webhook_secret.get_secret_value(), settings.webhook_secret_old.get_secret_value()]
    if not any(secrets):
        raise ConfigError("webhook_secret", "the account has none")
    verify_shopify(headers, body, secrets)


def hints(headers: Mapping[str, str], body: bytes) -> tuple[str, tuple[str, ...]]:
    """The delivery's id, and the order it is about: the body's own id for orders/*, its order_id for fulfillments/* and
    refunds/*. Other topics are about no order."""
    lowered = {name.lower(): value for name, value in headers.items()}
    delivery, topic = lowered.get("x-shopify-webhook-id", "")[:255], lowered.get("x-shopify-topic", "")
    value = parse_value(body)
    if not isinstance(value, Mapping):
        return delivery, ()
    number = value.get("id") if topic.startswith("orders/") else value.get("order_id")
    gid = value.get("admin_graphql_api_id") if topic.startswith("orders/") else None
    if isinstance(gid, str) and gid.startswith("gid://shopify/Order/"):
        return delivery, (gid,)
    return delivery, (f"gid://shopify/Order/{number}",) if type(number) is int else ()


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
    find=find,
    webhook=Webhook(verify=verify, hints=hints),
    budget=budget,
    window=timedelta(days=1),
    overlap=timedelta(minutes=15),
    can=Capabilities(parcels_per_line=1000, partial=True, cancel_after_ship=False, readback=True, repeats="findable"),
)
