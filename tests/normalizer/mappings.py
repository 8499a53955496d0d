"""Three small mappings as a connector's author would write them, for the tests of the machinery itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from domain.order import Order
from normalizer.mapping import At, Both, OrderMapping, Record, fixed, normalize
from normalizer.readers import (
    as_bool,
    as_money,
    as_quantity,
    as_scaled_money,
    as_text,
    as_texts,
    as_time,
    as_trimmed,
    money_sum,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
SAMPLES = Path(__file__).parent / "samples"


def _taobao_phone(trade: Record) -> str:
    return str(trade.get("receiver_mobile") or trade.get("receiver_phone") or "")


def _taobao_forbids(trade: Record) -> list[str]:
    flags = [name for name in ("forbid_consign", "top_hold") if trade.get(name)]
    return [*flags, "deposit_only"] if trade.get("step_trade_status") == "FRONT_PAID_FINAL_NOPAID" else flags


def _taobao_line_state(line: Record) -> str:
    if line["status"] == "TRADE_CLOSED":
        return "cancelled"
    return "open" if line.get("refund_status", "NO_REFUND") in {"NO_REFUND", "CLOSED", "SUCCESS"} else "after_sale"


def _only_line(trade: Record, line: Record) -> str:
    return "alone" if len(trade["orders"]["order"]) == 1 else f"of {line['num_iid']}"


TAOBAO = OrderMapping(
    order={
        "external_id": At("tid_str"),
        "source_time": At("modified", as_time),
        "placed_at": At("created", as_time),
        "paid_at": At("pay_time", as_time, None),
        "currency": fixed("CNY"),
        "payment": lambda trade: "paid" if trade.get("pay_time") else "unpaid",
        "buyer_id": At("buyer_open_uid", as_text, ""),
        "buyer_message": At("buyer_message", as_text, ""),
        "seller_memo": At("seller_memo", as_text, ""),
        "seller_flag": At("seller_flag", as_text, ""),
        "forbids_shipping": _taobao_forbids,
    },
    ship_to={
        "name": At("receiver_name", as_trimmed),
        "phone": _taobao_phone,
        "country": At("receiver_country", as_text, "CN"),
        "province": At("receiver_state", as_trimmed, ""),
        "city": At("receiver_city", as_trimmed, ""),
        "district": At("receiver_district", as_trimmed, ""),
        "town": At("receiver_town", as_trimmed, ""),
        "street": At("receiver_address", as_trimmed, ""),
        "postcode": At("receiver_zip", as_trimmed, ""),
        "token": At("oaid", as_text, ""),
    },
    lines=At("orders.order"),
    line={
        "external_id": At("oid_str"),
        "external_sku": At("outer_sku_id", as_text, ""),
        "listing_id": At("num_iid", as_text, ""),
        "title": At("title", as_trimmed, ""),
        "quantity": At("num", as_quantity),
        "unit_price": At("price", as_money),
        "amount": At("total_fee", as_money),
        "share": At("part_mjz_discount", as_money, None),
        "state": _taobao_line_state,
    },
    amounts={
        "freight": At("post_fee", as_money, 0),
        "discount": At("discount_fee", as_money, 0),
        "paid": At("payment", as_money),
    },
    status=At("status"),
    statuses={
        "WAIT_BUYER_PAY": "pending_payment",
        "WAIT_SELLER_SEND_GOODS": "pending_shipment",
        "SELLER_CONSIGNED_PART": "partially_shipped",
        "WAIT_BUYER_CONFIRM_GOODS": "shipped",
        "TRADE_FINISHED": "completed",
        "TRADE_CLOSED": "closed",
    },
    extra={"shipping_type": At("shipping_type", as_text, ""), "step": At("step_trade_status", as_text, "")},
    ignored=frozenset({"promotion_details", "seller_nick", "buyer_nick"}),
)


def _shopify_amount(name: str) -> str:
    return f"{name}.shopMoney.amount"


SHOPIFY = OrderMapping(
    order={
        "external_id": At("legacyResourceId"),
        "version": At("updatedAt"),
        "source_time": At("updatedAt", as_time),
        "placed_at": At("createdAt", as_time),
        "paid_at": lambda order: None,
        "currency": At("currencyCode"),
        "payment": At("displayFinancialStatus"),
        "buyer_message": At("note", as_text, ""),
        "tags": At("tags", as_texts, ()),
    },
    payments={"PAID": "paid", "PENDING": "unpaid", "AUTHORIZED": "unpaid"},
    ship_to={
        "name": At("shippingAddress.name", as_trimmed, ""),
        "phone": At(lambda order: order["shippingAddress"].get("phone") or order.get("phone"), as_trimmed, ""),
        "country": At("shippingAddress.countryCodeV2", as_text, ""),
        "province": At("shippingAddress.provinceCode", as_text, ""),
        "city": At("shippingAddress.city", as_trimmed, ""),
        "street": lambda order: ", ".join(
            text for key in ("address1", "address2") if (text := order["shippingAddress"].get(key))
        ),
        "postcode": At("shippingAddress.zip", as_text, ""),
        "email": At("email", as_text, ""),
        "company": At("shippingAddress.company", as_text, ""),
    },
    lines=At("lineItems.nodes"),
    line={
        "external_id": At("id"),
        "external_sku": At("sku", as_text, ""),
        "title": At("name", as_text, ""),
        "quantity": At("quantity", as_quantity),
        "unit_price": At(_shopify_amount("originalUnitPriceSet"), as_money),
        "amount": At(_shopify_amount("discountedTotalSet"), as_money),
        "requires_shipping": At("requiresShipping", as_bool, True),
        "state": lambda line: "open" if line["currentQuantity"] else "cancelled",
        "tax": At(lambda line: money_sum(*range_of(line["taxLines"]))(amounts_of(line["taxLines"])), as_money),
    },
    amounts={
        "goods": At(_shopify_amount("subtotalPriceSet"), as_money),
        "freight": At(_shopify_amount("totalShippingPriceSet"), as_money),
        "tax": At(_shopify_amount("totalTaxSet"), as_money),
        "discount": At(_shopify_amount("totalDiscountsSet"), as_money),
        "paid": At(_shopify_amount("totalPriceSet"), as_money),
    },
    status=lambda order: "CANCELLED" if order["cancelledAt"] else order["displayFulfillmentStatus"],
    statuses={"UNFULFILLED": "pending_shipment", "FULFILLED": "shipped", "CANCELLED": "closed"},
    extra={"name": At("name")},
)


def range_of(items: list[Any]) -> tuple[str, ...]:
    return tuple(str(place) for place in range(len(items)))


def amounts_of(items: list[Any]) -> dict[str, Any]:
    return {str(place): item["priceSet"]["shopMoney"]["amount"] for place, item in enumerate(items)}


PARTNER = OrderMapping(
    order={
        "external_id": At("order_id"),
        "source_time": At("updated_at", as_time),
        "placed_at": At("placed_at", as_time),
        "currency": At("currency"),
        "payment": fixed("paid"),
    },
    ship_to={"name": At("ship_to.name", as_text, ""), "country": At("ship_to.country", as_text, "")},
    lines=At("lines"),
    line={
        "external_id": At("line_id"),
        "external_sku": At("sku"),
        "quantity": At("quantity", as_quantity),
        "unit_price": At("price", as_money),
        "title": Both(lambda order, line: f"{order['order_id']}/{line['sku']}"),
        "share": At("cents_off", as_scaled_money(2), None),
    },
    amounts={"paid": At("total", as_money), "freight": At("freight", as_money, 0)},
    status=At("status"),
    statuses={"NEW": "pending_shipment", "VOID": "closed"},
)


def partner_order(**changes: Any) -> dict[str, Any]:
    """A good partner document with some fields changed; a change to None removes the field."""
    record: dict[str, Any] = {
        "order_id": "A-1",
        "updated_at": "2026-11-20T10:00:00Z",
        "placed_at": "2026-11-20T09:00:00+08:00",
        "currency": "CNY",
        "status": "NEW",
        "total": "30.00",
        "lines": [partner_line(), partner_line(line_id="2", sku="S2", price="10")],
        "ship_to": {"name": "张三", "country": "CN"},
    }
    return {name: value for name, value in {**record, **changes}.items() if value is not None}


def partner_line(**changes: Any) -> dict[str, Any]:
    record = {"line_id": "1", "sku": "S1", "quantity": 2, "price": "10.00"}
    return {name: value for name, value in {**record, **changes}.items() if value is not None}


def read_partner(**changes: Any) -> Order:
    return normalize(partner_order(**changes), PARTNER, zone=SHANGHAI, now=NOW)


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text("utf-8"), parse_float=Decimal)


def taobao_trade() -> dict[str, Any]:
    trade: dict[str, Any] = sample("taobao_trade_fullinfo_get.response.json")["trade_fullinfo_get_response"]["trade"]
    return trade


def shopify_order() -> dict[str, Any]:
    order: dict[str, Any] = sample("orders_page.json")["data"]["orders"]["nodes"][0]
    return order
