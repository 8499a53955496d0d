"""A small shop for the console's tests: one partner's account, one warehouse, and orders that stop for known reasons."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, open_hub
from pipeline.settings import Settings
from storage.inbox import Arrival, put_arrivals, seal_arrivals

KEYS = {"admin": "hub_admin_key_000000000000000", "clerk": "hub_clerk_key_000000000000000"}
KEYS |= {"read": "hub_read_key_0000000000000000", "partner": "hub_partner_key_0000000000000"}
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

# Each of them would run or break out if a page trusted it.
HOSTILE = (
    "<script>alert(1)</script>",
    "<svg/onload=alert(2)>",
    '"><img src=x onerror=alert(3)>',
    "'; alert(4); //",
    "{{ 7*7 }}${7*7}<%= 7*7 %>",
    "</title><script>alert(5)</script>",
    "javascript:alert(6)",
    "' OR 1=1--",
    "<a href=javascript:alert(7)>x</a>",
    "</textarea><iframe srcdoc='<script>alert(8)</script>'>",
)


def make_hub(url: str, folder: Path, *, open_to_all: bool = False, now: datetime = NOW) -> Hub:
    """A hub whose clock stands at `now` until a test moves it (`hub.clock`)."""
    settings = Settings(data_folder=folder, database_url=url, console_open=open_to_all)
    return open_hub(settings, clock=lambda: now, migrated=True)


def furnish(hub: Hub) -> None:
    """One warehouse with stock of A and B, a partner with an account and listings, and a key of each scope."""
    sender = {
        "name": "仓",
        "mobile": "13800000000",
        "province": "浙江省",
        "city": "杭州市",
        "area": "余杭区",
        "address": "1号",
    }
    qimen = {"base_url": "http://127.0.0.1:9", "app_key": "k", "secret": "s", "customer_id": "c", "allow_private": True}
    qimen |= {"owner_code": "o", "warehouse_code": "w", "sender": sender}
    apply_values(
        hub,
        {
            "partners": [{"name": "acme"}],
            "warehouses": [
                {
                    "name": "hz",
                    "kind": "qimen",
                    "settings": qimen,
                    "info": {"country": "CN", "province": "33", "city": "3301"},
                }
            ],
            "accounts": [{"name": "acme-api", "channel": "standard", "partner": "acme", "settings": {}}],
            "keys": [
                {"name": name, "key": key, "scope": name} | ({"partner": "acme"} if name == "partner" else {})
                for name, key in KEYS.items()
            ],
            "listings": [{"account": "acme-api", "external_sku": sku, "sku": f"OUR-{sku}"} for sku in ("A", "B")],
            "stock": [{"warehouse": "hz", "sku": f"OUR-{sku}", "on_hand": 500} for sku in ("A", "B")],
        },
    )


_SHIP_TO = {"name": "王小明", "phone": "13800138000", "country": "CN", "province": "浙江省", "city": "杭州市"}
_SHIP_TO |= {"district": "余杭区", "street": "文一西路969号", "postcode": "310000"}


def order_document(
    external_id: str, *, sku: str = "A", quantity: int = 1, price: int = 99, **changes: Any
) -> dict[str, Any]:
    """A paid order of one line in the standard format; `ship_to` changes single fields."""
    ship_to = _SHIP_TO | changes.pop("ship_to", {})
    total = f"{price * quantity}.00"
    document = {
        "external_id": external_id,
        "placed_at": "2026-11-21T19:30:00+08:00",
        "paid_at": "2026-11-21T19:31:00+08:00",
        "currency": "CNY",
        "payment": {"status": "paid"},
        "totals": {"goods": total, "paid": total},
        "ship_to": ship_to,
        "lines": [
            {"line_id": "1", "sku": sku, "quantity": quantity, "unit_price": f"{price}.00", "title": f"示例商品 {sku}"}
        ],
    }
    return copy.deepcopy(document | changes)


# What stops each of them, by external id.
STOPPED: Mapping[str, dict[str, Any]] = {
    "PO-FINE": order_document("PO-FINE"),
    "PO-REGION": order_document("PO-REGION", ship_to={"province": "重庆", "city": "重庆市", "district": "渝北区"}),
    "PO-CHOICE": order_document("PO-CHOICE", ship_to={"province": "江苏省", "city": "", "district": "鼓楼区"}),
    "PO-PHONE": order_document("PO-PHONE", ship_to={"phone": "12"}),
    "PO-SKU": order_document("PO-SKU", sku="NEW-7", quantity=2),
    "PO-STOCK": order_document("PO-STOCK", sku="B", quantity=900, price=1),
    "PO-REMARK": order_document("PO-REMARK", buyer_message="请发顺丰, 联系 13900001111", price=1234),
}


def post(hub: Hub, documents: Sequence[Mapping[str, Any]], account: str = "acme-api") -> None:
    """Store documents as the partner's posts are stored, and absorb them."""
    from storage.directory import load_accounts

    with hub.write() as tx:
        ids = {row["name"]: row["id"] for row in load_accounts(tx)}
        arrivals = [
            Arrival(
                source_kind="account",
                source_id=ids[account],
                kind="order",
                external_id=str(document["external_id"]),
                body=json.dumps(document, ensure_ascii=False).encode(),
                version=str(document.get("updated_at", "1")),
            )
            for document in documents
        ]
        put_arrivals(tx, seal_arrivals(hub.vault, hub.ids.take, arrivals), hub.now())
    absorb_all(hub)


def broken_document(external_id: str) -> dict[str, Any]:
    """A document that never becomes an order."""
    return order_document(external_id, currency="XXX")
