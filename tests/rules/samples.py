"""Orders, facts and rulesets in a few words each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from domain.facts import Facts, Sender, WarehouseInfo
from domain.order import Amounts, Consignee, Line, Order
from rules.language import load
from rules.ruleset import Ruleset

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
SHENZHEN = Consignee(name="张三", phone="13812345678", country="CN", region="440305", street="科技园 1 号")


def line(sku: str = "A", quantity: int = 1, **more: Any) -> Line:
    values: dict[str, Any] = {
        "external_id": sku,
        "external_sku": f"x-{sku}",
        "unit_price": 100,
        "amount": 100 * quantity,
    } | more
    return Line(sku=sku, quantity=quantity, **values)


def order(*lines: Line, **more: Any) -> Order:
    values: dict[str, Any] = {
        "external_id": "1",
        "version": "1",
        "source_time": NOW,
        "status": "pending_shipment",
        "source_status": "PAID",
        "payment": "paid",
        "currency": "CNY",
        "amounts": Amounts(goods=10000, freight=500, paid=10500),
        "consignee": SHENZHEN,
        "placed_at": NOW,
    }
    return Order(lines=lines, **(values | more))


def warehouse(name: str, city: str = "4403", **more: Any) -> WarehouseInfo:
    return WarehouseInfo(name=name, province=city[:2], city=city, **more)


def facts(stock: dict[tuple[str, str], int] | None = None, *warehouses: WarehouseInfo, **more: Any) -> Facts:
    values: dict[str, Any] = {"now": NOW, "sender": Sender(account="shop", channel="taobao")}
    return Facts(available=stock or {}, warehouses=warehouses, **(values | more))


def rule(when: Any, then: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    effect = then or {"tag": "hit"}
    phase = next("approve" if key == "waive" else key for key in effect if key != "detail")
    return {"id": f"{phase}-1", "phase": phase, "when": when, "then": effect} | more


def document(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": "test", "rules": list(rules)} | more


def ruleset(*rules: dict[str, Any], **more: Any) -> Ruleset:
    return load(document(*rules, **more))


ALWAYS: dict[str, Any] = {"all": []}


def on(field: str, op: str, *value: Any, **more: Any) -> dict[str, Any]:
    return {"field": field, "op": op} | ({"value": value[0]} if value else {}) | more
