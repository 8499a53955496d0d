"""The fact sheet's shipment, and warehouses of a running sandbox to send it to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from domain.order import Consignee, ShippingNews
from outbound import qimen
from outbound._qimen_news import read_news
from outbound._qimen_order import QimenSettings
from outbound._warehouse import Session, Shipment, ShipmentLine
from tests.connectors.side import Side, clock, plenty
from wire.safe_xml import parse, to_value

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
PLACED = datetime(2026, 11, 20, 13, 30, 5, tzinfo=UTC)
_numbers = count(1)


def settings(**given: Any) -> QimenSettings:
    sender = {
        "name": "示例旗舰店",
        "mobile": "13800000010",
        "province": "浙江省",
        "city": "杭州市",
        "area": "余杭区",
        "address": "示例仓库1号",
    }
    known = {
        "app_key": "k",
        "secret": "qimen-secret",
        "customer_id": "c1",
        "owner_code": "OWNER1",
        "warehouse_code": "WH01",
    }
    return QimenSettings(**{**known, "sender": sender, **given})


def shipment(**changes: Any) -> Shipment:
    """The shipment of the fact sheet's sample."""
    line = ShipmentLine(
        ref="1",
        sku="SKU-1001-RED-L",
        quantity=2,
        title="示例T恤 红色 L",
        source_order="4212345678900234567",
        source_line="4212345678901234567",
        unit_price=9900,
        amount=19800,
        discount=2880,
    )
    receiver = Consignee(
        name="张**",
        phone="138****0000",
        country="CN",
        province="浙江省",
        city="杭州市",
        district="余杭区",
        town="仓前街道",
        street="***",
        token="1oExampleOaid1oExampleOaid1oExampleOaid==",
        masked=True,
    )
    given: dict[str, Any] = {
        "code": "HUB-DO-0001",
        "order_number": "TB-1",
        "source_order": "4212345678900234567",
        "channel": "taobao",
        "shop": "示例旗舰店",
        "currency": "CNY",
        "placed_at": PLACED,
        "paid_at": datetime(2026, 11, 20, 13, 31, 10, tzinfo=UTC),
        "created_at": datetime(2026, 11, 20, 14, 10, tzinfo=UTC),
        "consignee": receiver,
        "lines": (line,),
        "goods": 19800,
        "discount": 2880,
        "freight": 800,
        "total": 17720,
        "carrier": "SF",
        "buyer_id": "t**8",
        "buyer_message": "请发顺丰",
        "seller_memo": "老客户",
        "split": True,
    }
    return Shipment(**{**given, **changes})


def tree(body: bytes) -> Any:
    return to_value(parse(body))


def session(side_settings: QimenSettings, client: Any, now: Callable[[], datetime] = clock) -> Session:
    return Session(warehouse="wh", settings=side_settings, client=client, budget=plenty(), clock=now)


def at(side: Side, warehouse: str = "WH01", **given: Any) -> Session:
    told = side.box.qimen
    known = {name: told[name] for name in ("app_key", "secret", "customer_id", "owner_code")}
    place = {"base_url": told["url"], "warehouse_code": warehouse, "allow_private": True}
    return session(settings(**{**known, **place, **given}), side.client)


def goods(side: Side, **changes: Any) -> Shipment:
    """A shipment of something the sandbox has on its shelves, under a new code."""
    sku = side.control("catalog")["rows"][0]["sku"]
    base = shipment(code=f"HUB-{next(_numbers):06d}")
    return replace(base, **{"lines": (replace(base.lines[0], sku=sku),), **changes})


def wait_until_shipped(place: Session, code: str) -> ShippingNews:
    """The news of a fulfilment once it is final; two seconds at most."""
    for _ in range(100):
        body = qimen.news(place, code, "")
        assert body is not None
        (told,) = read_news(body)
        if told.final:
            return told
        time.sleep(0.02)
    raise AssertionError("it never shipped")
