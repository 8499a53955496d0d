"""How a Shopify order node is read. All money is shop money (`shopMoney`), never presentment money.

Facts: global/shopify.md §3, §4, §9 (read 2026-11-21): fields and enums H; JPY may be written "100.0" (H). What
priceAfterAllDiscountsBeforeTaxesSet covers after a refund or with tax-inclusive prices is not stated: then the line's share is
left open and our own allocation makes it. Tips and duties are separate totals: such an order shows `money_mismatch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.errors import MappingError
from domain.money import to_minor
from domain.order import LineState, OrderStatus, Payment
from normalizer.mapping import At, Both, OrderMapping
from normalizer.readers import as_bool, as_joined, as_money, as_quantity, as_text, as_texts, as_time, as_trimmed

STATUSES: Mapping[str, OrderStatus] = {
    "CANCELLED": "closed",
    "COMPLETED": "completed",
    "UNPAID": "pending_payment",
    "UNFULFILLED": "pending_shipment",
    "OPEN": "pending_shipment",
    "PENDING_FULFILLMENT": "pending_shipment",
    "IN_PROGRESS": "pending_shipment",
    "ON_HOLD": "pending_shipment",
    "SCHEDULED": "pending_shipment",
    "REQUEST_DECLINED": "pending_shipment",
    "PARTIALLY_FULFILLED": "partially_shipped",
    "FULFILLED": "shipped",
}
PAYMENTS: Mapping[str, Payment] = {
    "PAID": "paid",
    "PARTIALLY_REFUNDED": "paid",
    "REFUNDED": "paid",
    "PENDING": "unpaid",
    "AUTHORIZED": "unpaid",
    "PARTIALLY_PAID": "unpaid",
    "VOIDED": "unpaid",
    "EXPIRED": "unpaid",
}
_WAITING = frozenset({"UNFULFILLED", "OPEN", "PENDING_FULFILLMENT", "ON_HOLD", "SCHEDULED"})
_DONE = frozenset({"CLOSED", "CANCELLED", "INCOMPLETE"})
_REQUESTED = frozenset({"SUBMITTED", "ACCEPTED", "CANCELLATION_REQUESTED", "CANCELLATION_REJECTED"})


def status_word(order: Mapping[str, Any]) -> str:
    """One word for Shopify's three: cancelled first, then waiting for money, then the fulfilment status."""
    shown = str(order.get("displayFulfillmentStatus") or "")
    if order.get("cancelledAt"):
        return "CANCELLED"
    if PAYMENTS.get(str(order.get("displayFinancialStatus") or "")) == "unpaid" and shown in _WAITING:
        return "UNPAID"
    return "COMPLETED" if shown == "FULFILLED" and order.get("closedAt") else shown


def forbids(order: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the shop says not to ship: holds, schedules, another fulfilment service, a full refund, a test order."""
    found: dict[str, None] = {}
    if order.get("test") is True:
        found["test_order"] = None
    if order.get("displayFinancialStatus") == "REFUNDED":
        found["refunded"] = None
    if order.get("displayFulfillmentStatus") in {"ON_HOLD", "SCHEDULED"}:
        found[str(order["displayFulfillmentStatus"]).lower()] = None
    for entry in nodes_of(order, "fulfillmentOrders", cut="too_many_fulfillment_orders"):
        status = str(entry.get("status") or "")
        if status in _DONE:
            continue
        if status in {"ON_HOLD", "SCHEDULED"}:
            found[status.lower()] = None
        if entry.get("requestStatus") in _REQUESTED:
            found["fulfillment_service"] = None
    return tuple(found)


def nodes_of(record: Mapping[str, Any], name: str, *, cut: str) -> list[Mapping[str, Any]]:
    """The nodes of a connection that must be whole: more pages than one is `cut`, never silently fewer."""
    connection = record.get(name)
    if not isinstance(connection, Mapping):
        return []
    info = connection.get("pageInfo")
    if isinstance(info, Mapping) and info.get("hasNextPage") is True:
        raise MappingError(cut, f"{name} has more entries than one answer may hold", path=f"{name}.pageInfo")
    nodes = connection.get("nodes")
    return [node for node in nodes if isinstance(node, Mapping)] if isinstance(nodes, list) else []


def split_lines(order: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The order's lines. Units that an edit or a refund removed stay as a cancelled line of their own (`<id>#removed`, after
    the others, whose places do not change), so that the money of the checkout stays whole and they are never shipped."""
    lines: list[Mapping[str, Any]] = []
    removed: list[Mapping[str, Any]] = []
    for node in nodes_of(order, "lineItems", cut="too_many_lines"):
        ordered, current = node.get("quantity"), node.get("currentQuantity")
        if type(ordered) is not int or type(current) is not int or not 0 <= current < ordered:
            lines.append(node)
            continue
        gone = {**node, "quantity": ordered - current, "whole": ordered, "removed": True}
        if current:
            lines.append({**node, "quantity": current, "whole": ordered})
            removed.append({**gone, "id": f"{node.get('id')}#removed"})
        else:
            lines.append(gone)
    return [*lines, *removed]


def _minor(record: Mapping[str, Any], name: str, currency: str) -> int:
    bag = record.get(name)
    shop = bag.get("shopMoney") if isinstance(bag, Mapping) else None
    amount = shop.get("amount") if isinstance(shop, Mapping) else None
    if not isinstance(amount, str) or not isinstance(shop, Mapping) or shop.get("currencyCode") != currency:
        raise MappingError("money", "an amount in the shop's currency is missing", path=f"{name}.shopMoney.amount")
    minor = to_minor(amount, currency, path=name)
    if minor < 0:
        raise MappingError("money", f"a negative amount: {amount!r}", path=name)
    return minor


def _currency(order: Mapping[str, Any]) -> str:
    return str(order.get("currencyCode") or "")


def line_amount(order: Mapping[str, Any], line: Mapping[str, Any]) -> int:
    """discountedTotalSet of these units: it covers all units ordered, the kept ones take the floor, the removed the rest."""
    total = _minor(line, "discountedTotalSet", _currency(order))
    whole = line.get("whole")
    if not isinstance(whole, int):
        return total
    removed = int(line["quantity"]) if line.get("removed") else whole - int(line["quantity"])
    kept = total * (whole - removed) // whole
    return total - kept if line.get("removed") else kept


def line_share(order: Mapping[str, Any], line: Mapping[str, Any]) -> int | None:
    """The order-level discounts this line carries, or None where Shopify's number does not say it exactly."""
    if not _shares_known(order):
        return None
    currency = _currency(order)
    return _minor(line, "discountedTotalSet", currency) - _minor(line, "priceAfterAllDiscountsBeforeTaxesSet", currency)


def _shares_known(order: Mapping[str, Any]) -> bool:
    if order.get("taxesIncluded") is not False:
        return False
    lines = nodes_of(order, "lineItems", cut="too_many_lines")
    return all(
        line.get("priceAfterAllDiscountsBeforeTaxesSet") and line.get("quantity") == line.get("currentQuantity")
        for line in lines
    )


def order_discount(order: Mapping[str, Any]) -> int:
    """Order-level discounts: Σ of the lines' shares, or what lies between the lines and the subtotal. Errors: `money` when the
    subtotal is above its lines."""
    currency, lines = _currency(order), nodes_of(order, "lineItems", cut="too_many_lines")
    if _shares_known(order):
        return sum([line_share(order, line) or 0 for line in lines])
    goods = sum([_minor(line, "discountedTotalSet", currency) for line in lines])
    discount = goods - _minor(order, "subtotalPriceSet", currency)
    if discount < 0:
        raise MappingError("money", "the subtotal is above the sum of its lines", path="subtotalPriceSet")
    return discount


def added_tax(order: Mapping[str, Any]) -> int:
    """Tax on top of the prices; 0 when the prices include it."""
    return 0 if order.get("taxesIncluded") is True else _minor(order, "totalTaxSet", _currency(order))


def line_state(order: Mapping[str, Any], line: Mapping[str, Any]) -> LineState:
    """Removed units and cancelled orders are cancelled; nothing left to fulfil of a fulfilled order is shipped."""
    if line.get("removed"):
        return "cancelled"
    fulfilled = order.get("displayFulfillmentStatus") in {"FULFILLED", "PARTIALLY_FULFILLED"}
    return (
        "shipped"
        if fulfilled and line.get("unfulfilledQuantity") == 0 and line.get("requiresShipping") is True
        else "open"
    )


def _address_lines(order: Mapping[str, Any]) -> list[Any]:
    address = order.get("shippingAddress")
    return [address.get("address1"), address.get("address2")] if isinstance(address, Mapping) else []


def _phone(order: Mapping[str, Any]) -> str:
    address = order.get("shippingAddress")
    own = address.get("phone") if isinstance(address, Mapping) else None
    return str(own or order.get("phone") or "").strip()


MAPPING = OrderMapping(
    order={
        "external_id": At("id"),
        "version": At("updatedAt"),
        "source_time": At("updatedAt", as_time),
        "placed_at": At("createdAt", as_time),
        "paid_at": lambda _: None,
        "currency": At("currencyCode"),
        "payment": At("displayFinancialStatus", as_text, ""),
        "source_status": lambda order: f"{order.get('displayFinancialStatus')}/{order.get('displayFulfillmentStatus')}",
        "forbids_shipping": forbids,
        "buyer_id": At("email", as_text, ""),
        "buyer_message": At("note", as_trimmed, ""),
        "tags": At("tags", as_texts, ()),
    },
    ship_to={
        "name": At("shippingAddress.name", as_trimmed, ""),
        "phone": _phone,
        "country": At("shippingAddress.countryCodeV2", as_trimmed, ""),
        "province": At("shippingAddress.province", as_trimmed, ""),
        "city": At("shippingAddress.city", as_trimmed, ""),
        "street": At(_address_lines, as_joined(", "), ""),
        "postcode": At("shippingAddress.zip", as_trimmed, ""),
        "company": At("shippingAddress.company", as_trimmed, ""),
        "email": At("email", as_trimmed, ""),
    },
    lines=At(split_lines),
    line={
        "external_id": At("id"),
        "external_sku": At("sku", as_text, ""),
        "listing_id": At("variant.id", as_text, ""),
        "quantity": At("quantity", as_quantity),
        "unit_price": At("originalUnitPriceSet.shopMoney.amount", as_money),
        "amount": Both(line_amount),
        "share": Both(line_share),
        "title": At("name", as_trimmed, ""),
        "requires_shipping": At("requiresShipping", as_bool, True),
        "state": Both(line_state),
    },
    amounts={
        "freight": At("totalShippingPriceSet.shopMoney.amount", as_money),
        "tax": added_tax,
        "discount": order_discount,
        "paid": At("totalPriceSet.shopMoney.amount", as_money),
    },
    payments=PAYMENTS,
    status=status_word,
    statuses=STATUSES,
    extra={
        "name": At("name", as_text, ""),
        "source_name": At("sourceName", as_text, ""),
        "po_number": At("poNumber", as_text, ""),
        "shipping_method": At("shippingLines.nodes.0.title", as_text, ""),
        "tip": At("totalTipReceivedSet.shopMoney.amount", as_text, ""),
    },
)
