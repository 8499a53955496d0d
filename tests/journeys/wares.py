"""Good orders of three shops, and the ways to spoil them: any JSON text or bytes may stand where a value should be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

CHINA = timedelta(hours=8)
_RAW = re.compile(rb'"@@RAW([0-9a-f]*)@@"')


def raw(text: str | bytes) -> str:
    """A value that is written as it is: `raw("NaN")`."""
    data = text if isinstance(text, bytes) else text.encode()
    return f"@@RAW{data.hex()}@@"


def encoded(value: Any) -> bytes:
    """JSON with its raw places filled in."""
    text = json.dumps(value, ensure_ascii=False).encode()
    return _RAW.sub(lambda found: bytes.fromhex(found.group(1).decode()), text)


def changed(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The document with values put at dotted places; `...` takes a place away."""
    for path, value in changes.items():
        *steps, last = path.split(".")
        place: Any = document
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        key = int(last) if isinstance(place, list) else last
        if value is ...:
            place.pop(key, None)
        else:
            place[key] = value
    return document


def trade(tid: str, at: datetime, **_: Any) -> dict[str, Any]:
    """A paid trade of two lines: 2 x A at 10.00 and 1 x B at 5.00, 25.00 in all, plain address in 杭州."""
    stamp = (at + CHINA).strftime("%Y-%m-%d %H:%M:%S")
    return {
        "tid": raw(tid),
        "tid_str": tid,
        "type": "fixed",
        "status": "WAIT_SELLER_SEND_GOODS",
        "seller_nick": "店",
        "buyer_open_uid": f"buyer-{tid}",
        "created": stamp,
        "pay_time": stamp,
        "modified": stamp,
        "post_fee": "0.00",
        "payment": "25.00",
        "receiver_country": "",
        "receiver_state": "浙江省",
        "receiver_city": "杭州市",
        "receiver_district": "余杭区",
        "receiver_address": "示例路1号",
        "receiver_name": "张三",
        "receiver_mobile": "13800138000",
        "orders": {"order": [trade_line(tid + "1", "A", 2, "10.00"), trade_line(tid + "2", "B", 1, "5.00")]},
    }


def trade_line(oid: str, sku: str, units: int, price: str) -> dict[str, Any]:
    total = f"{units * int(price.replace('.', '')) / 100:.2f}"
    return {
        "oid": raw(oid),
        "oid_str": oid,
        "num_iid": 1,
        "outer_sku_id": f"EXT-{sku}",
        "title": "示例",
        "price": price,
        "num": units,
        "total_fee": total,
        "divide_order_fee": total,
        "status": "WAIT_SELLER_SEND_GOODS",
        "refund_status": "NO_REFUND",
    }


def trade_body(document: dict[str, Any]) -> bytes:
    """The answer of trade.fullinfo.get."""
    return encoded({"trade_fullinfo_get_response": {"trade": document, "request_id": "1"}})


def trade_row(document: Mapping[str, Any]) -> bytes:
    """Its row in the list."""
    return encoded({name: document[name] for name in ("tid", "tid_str", "status", "modified") if name in document})


def iso(at: datetime, timespec: str = "seconds") -> str:
    return at.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def bag(amount: str, currency: str) -> dict[str, Any]:
    return {"shopMoney": {"amount": amount, "currencyCode": currency}}


def node(
    ident: str, at: datetime, *, currency: str = "CNY", price: str = "10.00", total: str = "20.00"
) -> dict[str, Any]:
    """A paid Shopify order of one line, 2 x A, to 杭州."""
    gid = f"gid://shopify/Order/{ident}"
    line = {
        "id": f"gid://shopify/LineItem/{ident}",
        "sku": "EXT-A",
        "name": "示例",
        "quantity": 2,
        "currentQuantity": 2,
        "unfulfilledQuantity": 2,
        "requiresShipping": True,
        "originalUnitPriceSet": bag(price, currency),
        "discountedTotalSet": bag(total, currency),
        "variant": {"id": "gid://shopify/ProductVariant/1"},
    }
    address = {
        "name": "张三",
        "countryCodeV2": "CN",
        "province": "浙江省",
        "city": "杭州市",
        "address1": "余杭区示例路1号",
        "phone": "13800138000",
    }
    return {
        "id": gid,
        "name": f"#{ident}",
        "createdAt": iso(at),
        "updatedAt": iso(at),
        "cancelledAt": None,
        "closedAt": None,
        "test": False,
        "tags": [],
        "note": None,
        "email": f"buyer{ident}@example.com",
        "currencyCode": currency,
        "taxesIncluded": False,
        "displayFinancialStatus": "PAID",
        "displayFulfillmentStatus": "UNFULFILLED",
        "totalPriceSet": bag(total, currency),
        "subtotalPriceSet": bag(total, currency),
        "totalTaxSet": bag("0" if currency == "JPY" else "0.00", currency),
        "totalShippingPriceSet": bag("0" if currency == "JPY" else "0.00", currency),
        "shippingAddress": address,
        "lineItems": {"pageInfo": {"hasNextPage": False}, "nodes": [line]},
        "fulfillmentOrders": {"nodes": []},
    }


def shop_order(code: str, at: datetime) -> dict[str, Any]:
    """A settled Vendure order of one line, 2 x A at 10.00, to 杭州."""
    line = {
        "id": f"{code}-1",
        "quantity": 2,
        "orderPlacedQuantity": 2,
        "unitPriceWithTax": 1000,
        "linePriceWithTax": 2000,
        "discountedLinePriceWithTax": 2000,
        "proratedLinePriceWithTax": 2000,
        "productVariant": {"id": "1", "sku": "EXT-A", "name": "示例"},
        "fulfillmentLines": [],
    }
    address = {
        "fullName": "张三",
        "streetLine1": "余杭区示例路1号",
        "city": "杭州市",
        "province": "浙江省",
        "countryCode": "CN",
        "phoneNumber": "13800138000",
    }
    stamp = iso(at, "milliseconds")
    return {
        "id": "1",
        "code": code,
        "state": "PaymentSettled",
        "active": False,
        "createdAt": stamp,
        "updatedAt": stamp,
        "orderPlacedAt": stamp,
        "currencyCode": "CNY",
        "shippingWithTax": 0,
        "totalWithTax": 2000,
        "couponCodes": [],
        "customer": {"id": code, "emailAddress": "a@example.com"},
        "shippingAddress": address,
        "surcharges": [],
        "lines": [line],
        "fulfillments": [],
    }
