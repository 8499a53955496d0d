"""Webhooks: REST-style JSON, signed, at least once, in no order.

facts/global/shopify.md §8-§9 (2026-11-21, H; retries shortened)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from sandbox.clock import Clock
from sandbox.faults import Injector
from sandbox.posting import Poster
from sandbox.signing import shopify_hmac

from .make import Doc, Order
from .store import dump

SHOP_ZONE = timezone(timedelta(hours=-4))
RETRIES = (0.3, 1.0, 3.0)
WAIT = 5.0
SHOP = "sandbox.myshopify.com"
REST_FINANCIAL = {"PAID": "paid", "PENDING": "pending", "REFUNDED": "refunded", "VOIDED": "voided"}


@dataclass(slots=True)
class Hooks:
    """Sends order webhooks to {hub}/webhooks/{account} once a hub is known; without one nothing is sent."""

    clock: Clock
    injector: Injector
    poster: Poster
    secret: str
    later: Callable[[float, Callable[[], object]], None]
    url: str = ""
    sent: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def announce(self, topic: str, order: Order) -> None:
        """Freeze the payload now, send it soon; faults may repeat, delay or lose it."""
        if not self.url:
            return
        self.sent += 1
        body, ident = dump(payload(order)), f"wh-{self.sent:09d}"
        headers = self.headers(topic, ident, body)
        if self.injector.news("lost"):
            self.counts["lost"] += 1
            return
        wait = self.injector.rng.uniform(0.5, 4.0) if self.injector.news("delay") else 0.0
        self.later(wait, lambda: self.start(headers, body, 0))
        if self.injector.news("duplicate"):
            self.later(wait + self.injector.rng.uniform(0.0, 2.0), lambda: self.start(headers, body, 0))

    def headers(self, topic: str, ident: str, body: bytes) -> tuple[tuple[str, str], ...]:
        """The headers of one delivery."""
        stamp = datetime.fromtimestamp(self.clock.now("shopify"), tz=UTC).isoformat().replace("+00:00", "Z")
        return (
            ("content-type", "application/json"),
            ("x-shopify-topic", topic),
            ("x-shopify-shop-domain", SHOP),
            ("x-shopify-api-version", "2026-07"),
            ("x-shopify-webhook-id", ident),
            ("x-shopify-event-id", f"ev-{ident}"),
            ("x-shopify-triggered-at", stamp),
            ("x-shopify-hmac-sha256", shopify_hmac(body, self.secret)),
        )

    def start(self, headers: tuple[tuple[str, str], ...], body: bytes, attempt: int) -> None:
        """Send in the background."""
        task = asyncio.get_running_loop().create_task(self.send(headers, body, attempt))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def send(self, headers: tuple[tuple[str, str], ...], body: bytes, attempt: int) -> None:
        """One attempt; anything but 2xx within 5 s is tried again a few times, then given up."""
        try:
            status, _ = await self.poster.post(self.url, headers, body, WAIT)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            status = 0
        if 200 <= status < 300:
            self.counts["delivered"] += 1
        elif attempt < len(RETRIES):
            self.counts["retried"] += 1
            self.later(RETRIES[attempt], lambda: self.start(headers, body, attempt + 1))
        else:
            self.counts["given_up"] += 1


def local(stamp: str | None) -> str | None:
    """A GraphQL stamp as REST writes it: in the shop's zone."""
    return None if stamp is None else datetime.fromisoformat(stamp).astimezone(SHOP_ZONE).isoformat()


def payload(order: Order) -> Doc:
    """The REST-style order of a webhook."""
    doc = order.doc
    total = doc["totalPriceSet"]["shopMoney"]["amount"] if isinstance(doc["totalPriceSet"], dict) else None
    fulfilment = {"FULFILLED": "fulfilled", "PARTIALLY_FULFILLED": "partial"}.get(doc["displayFulfillmentStatus"])
    return {
        "id": order.number,
        "admin_graphql_api_id": doc["id"],
        "name": doc["name"],
        "order_number": doc["number"],
        "email": doc["email"],
        "created_at": local(doc["createdAt"]),
        "updated_at": local(doc["updatedAt"]),
        "cancelled_at": local(doc["cancelledAt"]),
        "currency": doc["currencyCode"],
        "total_price": total,
        "financial_status": REST_FINANCIAL[doc["displayFinancialStatus"]],
        "fulfillment_status": fulfilment,
        "note": doc["note"],
        "test": False,
        "line_items": [
            {
                "id": int(line["id"].rsplit("/", 1)[1]),
                "sku": line["sku"],
                "title": line["title"],
                "quantity": line["quantity"],
                "current_quantity": line["currentQuantity"],
                "price": line["originalUnitPriceSet"]["shopMoney"]["amount"],
            }
            for line in order.lines
        ],
        "shipping_address": rest_address(doc["shippingAddress"]),
    }


def rest_address(address: object) -> Doc:
    """A MailingAddress in REST names; a poisoned one gives nulls."""
    known = address if isinstance(address, dict) else {}
    names = {"province_code": "provinceCode", "country_code": "countryCodeV2"}
    fields = ("name", "address1", "address2", "city", "province_code", "zip", "country_code", "phone")
    return {name: known.get(names.get(name, name)) for name in fields}
