"""A made-up trade for the benchmarks: accounts, warehouses, listings, stock, thirty rules, and standard order documents of
one to four lines, three in a hundred of them wrong. The same seed gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from sandbox.places import CHINA

SKUS = 500
ACCOUNTS = 5
_PLENTY = 50_000_000
_WAREHOUSES = (
    ("hz-01", "330000", "330100"),
    ("gz-01", "440000", "440100"),
    ("cd-01", "510000", "510100"),
    ("bj-01", "110000", "110100"),
)
_BEGINNING = datetime(2026, 11, 11, tzinfo=UTC)
# Without a district that is part of another now: it would be one more order in forty that needs a person.
_PLACES = tuple(place for place in CHINA if place[:3:2] != ("重庆", "江北区"))
_GIVEN = "伟芳娜敏静丽强磊洋艳勇军杰娟涛明超秀霞平"
_LINES = (1, 1, 1, 2, 2, 3, 4)
_TITLES = ("T恤 红色 L", "T恤 白色 M", "跑步鞋 42", "保温杯 500ml", "儿童水杯", "蓝牙耳机", "洗发水 400ml", "茶叶礼盒")


def trade() -> dict[str, Any]:
    """The configuration, as `apply` takes it."""
    return {
        "warehouses": [_warehouse(name, province, city) for name, province, city in _WAREHOUSES],
        "accounts": [
            {"name": f"shop-{n}", "channel": "standard", "settings": {}, "options": {}} for n in range(ACCOUNTS)
        ],
        "listings": [
            {"account": f"shop-{n}", "external_sku": f"X-{sku}", "sku": f"SKU-{sku:04d}"}
            for n in range(ACCOUNTS)
            for sku in range(SKUS)
        ],
        "stock": [
            {"warehouse": name, "sku": f"SKU-{sku:04d}", "on_hand": _PLENTY}
            for name, *_ in _WAREHOUSES
            for sku in range(SKUS)
        ],
    }


def _warehouse(name: str, province: str, city: str) -> dict[str, Any]:
    sender = {"name": "仓库", "mobile": "13800000000", "province": "浙江省", "city": "杭州市", "address": "1号"}
    return {
        "name": name,
        "kind": "qimen",
        "info": {"country": "CN", "province": province, "city": city, "carriers": ["SF", "ZTO", "YTO"]},
        "settings": {
            "base_url": "http://127.0.0.1:9/router/qimen/service",
            "app_key": "k",
            "secret": "s",
            "customer_id": "c",
            "owner_code": "O",
            "warehouse_code": name.upper(),
            "sender": sender,
            "allow_private": True,
        },
    }


def ruleset(version: str = "bench-30") -> dict[str, Any]:
    """Thirty rules of the kinds operators write; few match."""
    rules: list[dict[str, Any]] = [
        _rule("remark", "hold", {"field": "order.has_seller_memo", "op": "eq", "value": True}, {"hold": "hold_remark"}),
        _rule("costly", "hold", {"field": "amounts.paid", "op": "ge", "value": 5_000_000}, {"hold": "hold_amount"}),
        _rule("busy", "hold", {"field": "buyer.orders_24h", "op": "ge", "value": 50}, {"hold": "hold_risk"}),
    ]
    where: dict[str, Any]
    for n in range(9):
        where = {"any_line": {"field": "line.sku", "op": "in", "value": [f"BLOCKED-{n}-{k}" for k in range(20)]}}
        rules.append(_rule(f"blocked-{n}", "hold", where, {"hold": "hold_goods"}))
    for n, (name, province, _) in enumerate(_WAREHOUSES):
        where = {"all": [_in_region(province[:2]), {"field": "order.units", "op": "ge", "value": 40 + n}]}
        rules.append(_rule(f"bulk-{name}", "route", where, {"route": {"warehouses": [name]}}))
    for n in range(6):
        where = {"all": [_in_region(str(60 + n)), {"field": "order.weight_grams", "op": "ge", "value": 20_000}]}
        rules.append(_rule(f"far-{n}", "carrier", where, {"carrier": ["EMS", "SF"]}))
    for n in range(8):
        where = {
            "all": [_channel(), {"field": "amounts.paid", "op": "between", "value": [n * 10**5, n * 10**5 + 9_999]}]
        }
        rules.append(_rule(f"band-{n}", "tag", where, {"tag": [f"band-{n}"]}))
    return {"version": version, "rules": rules, "lists": {}, "routing": {"allow_split": True, "max_parts": 4}}


def _rule(name: str, phase: str, when: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "phase": phase, "when": when, "then": then}


def _in_region(code: str) -> dict[str, Any]:
    return {"field": "consignee.region", "op": "in", "value": [code]}


def _channel() -> dict[str, Any]:
    return {"field": "sender.channel", "op": "eq", "value": "standard"}


def documents(
    count: int, seed: int = 1, *, first: int = 0, lines: Sequence[int] = _LINES, begin: datetime = _BEGINNING
) -> Iterator[tuple[str, str, bytes]]:
    """(account, external id, body) of `count` orders, numbered from `first`, the first ten days of them placed from `begin` on;
    `lines` are the counts of lines to draw from."""
    for number in range(first, first + count):
        rng = Random(f"{seed}:{number}")
        order = _order(rng, number, lines, begin)
        body = json.dumps(order, ensure_ascii=False, separators=(",", ":")).encode()
        yield f"shop-{number % ACCOUNTS}", str(order["external_id"]), body


def _order(rng: Random, number: int, counts: Sequence[int], begin: datetime) -> dict[str, Any]:
    external_id = f"PO-{number:09d}"
    lines = [_line(rng, n) for n in range(1, rng.choice(counts) + 1)]
    goods = sum(line["quantity"] * round(float(line["unit_price"]) * 100) for line in lines)
    freight, discount = rng.choice((0, 800, 1000)), goods // 20 if rng.random() < 0.4 else 0
    province, city, district, town = rng.choice(_PLACES)
    at = begin + timedelta(seconds=number % 864_000)
    order: dict[str, Any] = {
        "external_id": external_id,
        "placed_at": at.isoformat(),
        "paid_at": (at + timedelta(seconds=40)).isoformat(),
        "currency": "CNY",
        "payment": {"status": "paid"},
        "totals": {
            "goods": _yuan(goods),
            "freight": _yuan(freight),
            "discount": _yuan(discount),
            "paid": _yuan(goods + freight - discount),
        },
        "ship_to": {
            "name": "王" + "".join(rng.choices(_GIVEN, k=2)),
            "phone": f"13{rng.randrange(10**9):09d}",
            "country": "CN",
            "province": province,
            "city": city,
            "district": district,
            "town": town,
            "street": f"示例路{rng.randrange(1, 900)}号{rng.randrange(1, 30)}幢{rng.randrange(100, 2900)}室",
        },
        "lines": lines,
        "buyer_id": f"buyer-{rng.randrange(10**6)}",
    }
    return _spoilt(rng, order)


def _spoilt(rng: Random, order: dict[str, Any]) -> dict[str, Any]:
    """Three in a hundred need a person."""
    drawn = rng.random()
    if drawn < 0.01:
        order["lines"][0]["sku"] = "X-unknown"
    elif drawn < 0.02:
        order["ship_to"]["phone"] = "12345"
    elif drawn < 0.03:
        order["seller_memo"] = "请与下一单合并"
    return order


def _line(rng: Random, number: int) -> dict[str, Any]:
    sku = rng.randrange(SKUS)
    return {
        "line_id": str(number),
        "sku": f"X-{sku}",
        "quantity": rng.choice((1, 1, 1, 2, 3)),
        "unit_price": _yuan(990 + sku * 37),
        "title": _TITLES[sku % len(_TITLES)],
        "weight_grams": 200 + sku,
    }


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"
