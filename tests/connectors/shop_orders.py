"""The fact sheet's Shopify order, whole and with changes."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from connectors import shopify
from connectors._shopify_order import MAPPING
from domain.order import Order
from normalizer.mapping import normalize
from wire.records import split_records

from .side import sample

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
PAGE = "shopify/orders_page.json"


def settings(**given: Any) -> shopify.ShopifySettings:
    return shopify.ShopifySettings(**{"base_url": "https://x.myshopify.com", "token": "shpat_secret-token", **given})


def node(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = copy.deepcopy(split_records(sample(PAGE), "data.orders.nodes")[1][0][1])
    value.update(changes)
    return value


def with_line(**changes: Any) -> dict[str, Any]:
    value = node()
    value["lineItems"]["nodes"][0].update(changes)
    return value


def read(value: dict[str, Any]) -> Order:
    return normalize(value, MAPPING, zone=UTC, now=NOW)


def bag(amount: str, currency: str = "USD") -> dict[str, Any]:
    return {
        "shopMoney": {"amount": amount, "currencyCode": currency},
        "presentmentMoney": {"amount": "1", "currencyCode": "EUR"},
    }
