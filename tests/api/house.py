"""A hub with two partners, a shop and a warehouse, and a way to call its API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from api.app import create_app
from pipeline.access import make_key
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, open_hub
from pipeline.settings import Settings
from tests.clocks import FAR_MS

NOW = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
SECRETS = {"qimen": "qimen-secret", "webhook": "hook-secret"}


@dataclass(slots=True)
class Clock:
    """A clock that moves a microsecond per look, and as far as a test says."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at


@dataclass(slots=True)
class House:
    """An open hub, its API, and keys by name: acme and zeta (partners), clerk, admin, read."""

    hub: Hub
    app: FastAPI
    keys: dict[str, str]
    clock: Clock

    def client(self, key: str | None = "acme") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.keys.get(key, key)}"} if key is not None else {}
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://hub", headers=headers)

    def call(self, method: str, path: str, *, key: str | None = "acme", **given: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            async with self.client(key) as client:
                return await client.request(method, path, **given)

        return asyncio.run(once())

    def post(self, body: Any, idem: str, *, key: str = "acme", path: str = "/v1/orders") -> httpx.Response:
        """Post a document (or raw bytes) with an idempotency key."""
        return self.call("POST", path, key=key, content=encoded(body), headers={"Idempotency-Key": idem})

    def together(self, *calls: Coroutine[Any, Any, httpx.Response]) -> list[httpx.Response]:
        """Run calls at the same time."""

        async def run() -> list[httpx.Response]:
            return list(await asyncio.gather(*calls))

        return asyncio.run(run())

    def count(self, path: str, name: str, *, key: str = "admin") -> int:
        return len(self.call("GET", path, key=key, params={"limit": 200}).json()[name])

    def orders(self, *, key: str = "admin") -> int:
        return self.count("/v1/orders", "orders", key=key)


def order(external_id: Any = "PO-1", **changes: Any) -> dict[str, Any]:
    """A good order of the standard API: 2 x A, 10.00 each, to 杭州."""
    told: dict[str, Any] = {
        "external_id": external_id,
        "placed_at": "2026-11-21T10:00:00Z",
        "currency": "CNY",
        "payment": {"status": "paid"},
        "totals": {"paid": "20.00"},
        "ship_to": {
            "name": "张三",
            "phone": "13800138000",
            "country": "CN",
            "province": "浙江省",
            "city": "杭州市",
            "district": "余杭区",
            "street": "示例路1号",
        },
        "lines": [{"line_id": "1", "sku": "EXT-A", "quantity": 2, "unit_price": "10.00"}],
    }
    return told | changes


def encoded(body: Any) -> bytes:
    """A document as the partner sends it; bytes stay as they are."""
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()


def open_house(url: str, folder: Path) -> House:
    """Everything on one database; two partners with the same goods."""
    clock = Clock()
    settings = Settings(database_url=url, data_folder=folder, key=KEYS)
    hub = open_hub(settings, clock=clock, migrated=True)
    hub.ids.extend(FAR_MS)
    warehouse = {
        "name": "wh1",
        "kind": "qimen",
        "info": {"country": "CN", "carriers": ["SF"]},
        "settings": {
            "base_url": "http://127.0.0.1:9",
            "app_key": "app",
            "secret": SECRETS["qimen"],
            "customer_id": "customer",
            "owner_code": "OWNER1",
            "warehouse_code": "WH01",
            "allow_private": True,
            "sender": {
                "name": "仓",
                "mobile": "13800000010",
                "province": "浙江省",
                "city": "杭州市",
                "area": "余杭区",
                "address": "路",
            },
        },
    }
    shop = {
        "name": "shop",
        "channel": "shopify",
        "settings": {
            "base_url": "http://127.0.0.1:9",
            "token": "t",
            "webhook_secret": SECRETS["webhook"],
            "allow_private": True,
        },
    }
    names = ("acme", "zeta")
    own = [{"name": f"{n}-api", "channel": "standard", "partner": n, "settings": {"base_url": ""}} for n in names]
    apply_values(
        hub,
        {
            "partners": [{"name": name} for name in names],
            "warehouses": [warehouse],
            "accounts": [shop, *own],
            "listings": [
                {"account": f"{n}-api", "external_sku": f"EXT-{sku}", "sku": sku} for n in names for sku in "AB"
            ],
            "stock": [{"warehouse": "wh1", "sku": sku, "on_hand": 1000} for sku in "AB"],
        },
    )
    keys = {name: make_key(hub, name, "partner", name) for name in names}
    keys |= {scope: make_key(hub, scope, scope) for scope in ("clerk", "admin", "read")}
    return House(hub, create_app(hub), keys, clock)


KEYS = f"1 {'11' * 32};search {'22' * 32}"
