"""How a Vendure order is read.

Facts: global/vendure-medusa-saleor.md and observations of a running Vendure 3.7.3 (sandbox/live/README.md), both 2026-11-21,
H: amounts are whole numbers of hundredths whatever the currency; goods = Σ linePriceWithTax, order-wide promotions = Σ
(linePriceWithTax - proratedLinePriceWithTax), unitPriceWithTax × quantity is not exact; a cancel zeroes quantities, whatever the
state says; `updatedAt` does not move on payment, settlement, shipping or an address edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from domain.errors import MappingError
from domain.money import to_minor
from domain.order import LineState, OrderStatus, Payment
from normalizer.mapping import At, Both, OrderMapping
from normalizer.readers import as_joined, as_quantity, as_scaled_money, as_text, as_time, as_trimmed

STATUSES: Mapping[str, OrderStatus] = {
    "AddingItems": "pending_payment",
    "ArrangingPayment": "pending_payment",
    "Draft": "pending_payment",
    "Created": "pending_payment",
    "Unsettled": "pending_payment",
    "PaymentAuthorized": "pending_shipment",
    "PaymentSettled": "pending_shipment",
    "Modifying": "pending_shipment",
    "ArrangingAdditionalPayment": "pending_shipment",
    "PartiallyShipped": "partially_shipped",
    "PartiallyDelivered": "partially_shipped",
    "Shipped": "shipped",
    "Delivered": "completed",
    "Cancelled": "closed",
}
_UNIT_STATES = frozenset({"PaymentAuthorized", "PaymentSettled", "PartiallyShipped", "PartiallyDelivered"})
_OUT = frozenset({"Shipped", "Delivered"})
_LOCKS: Mapping[str, str] = {"Modifying": "modifying", "ArrangingAdditionalPayment": "additional_payment_due"}
_HUNDREDTHS = as_scaled_money(2)


def _records(order: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = order.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def shipped_units(order: Mapping[str, Any]) -> dict[str, int]:
    """Units per line id that have left, by the fulfilments themselves: the order's state is not always told."""
    units: dict[str, int] = {}
    for parcel in _records(order, "fulfillments"):
        if parcel.get("state") in _OUT:
            for row in _records(parcel, "lines"):
                line = str(row.get("orderLineId"))
                units[line] = units.get(line, 0) + int(row.get("quantity") or 0)
    return units


def all_cancelled(order: Mapping[str, Any]) -> bool:
    """Every line is at quantity 0: cancelled, even when the state says PaymentSettled (H, observed)."""
    lines = _records(order, "lines")
    return bool(lines) and all(line.get("quantity") == 0 for line in lines)


def status_word(order: Mapping[str, Any]) -> str:
    """Vendure's state, corrected by the units where the server does not move it: shipping leaves PaymentAuthorized as it is."""
    state = str(order.get("state") or "")
    if all_cancelled(order):
        return "Cancelled"
    if state in _UNIT_STATES and (units := shipped_units(order)):
        whole = all(units.get(str(line.get("id")), 0) >= int(line["quantity"]) for line in _records(order, "lines"))
        return "Shipped" if whole else "PartiallyShipped"
    return state


def _payment(order: Mapping[str, Any]) -> str:
    state = order.get("state")
    if state == "PaymentAuthorized":
        return "authorized"
    return "unpaid" if STATUSES.get(str(state)) == "pending_payment" else "settled"


def _forbids(order: Mapping[str, Any]) -> tuple[str, ...]:
    lock = _LOCKS.get(str(order.get("state")))
    return (lock,) if lock else ()


def _hundredths(record: Mapping[str, Any], name: str, currency: str) -> int:
    value = record.get(name)
    if type(value) is not int:
        raise MappingError("money", f"a whole number was expected, not {value!r}"[:100], path=name)
    return to_minor(f"{Decimal(value).scaleb(-2):f}", currency, path=name)


def _currency(order: Mapping[str, Any]) -> str:
    return str(order.get("currencyCode") or "")


def _surcharges(order: Mapping[str, Any]) -> int:
    return sum([_hundredths(each, "priceWithTax", _currency(order)) for each in _records(order, "surcharges")])


def _share(order: Mapping[str, Any], line: Mapping[str, Any]) -> int | None:
    """What the line carries of order-wide promotions. None beside a negative surcharge, which the lines do not tell."""
    if _surcharges(order) < 0:
        return None
    currency = _currency(order)
    return _hundredths(line, "linePriceWithTax", currency) - _hundredths(line, "proratedLinePriceWithTax", currency)


def _discount(order: Mapping[str, Any]) -> int:
    currency, lines = _currency(order), _records(order, "lines")
    taken = [
        _hundredths(line, "linePriceWithTax", currency) - _hundredths(line, "proratedLinePriceWithTax", currency)
        for line in lines
    ]
    return sum(taken) + max(0, -_surcharges(order))


def _freight(order: Mapping[str, Any]) -> int:
    """Shipping after its own promotions, plus surcharges the buyer pays."""
    return _hundredths(order, "shippingWithTax", _currency(order)) + max(0, _surcharges(order))


def _quantity(line: Mapping[str, Any]) -> Any:
    """The units still wanted; of a cancelled line the units once ordered."""
    return line.get("orderPlacedQuantity") if line.get("quantity") == 0 else line.get("quantity")


def _line_state(order: Mapping[str, Any], line: Mapping[str, Any]) -> LineState:
    if line.get("quantity") == 0:
        return "cancelled"
    return "shipped" if shipped_units(order).get(str(line.get("id")), 0) >= int(line["quantity"]) else "open"


def _changed(order: Mapping[str, Any]) -> Any:
    """The later of updatedAt and orderPlacedAt: updatedAt may be the cart's last change, hours before the order."""
    return max(str(order.get("updatedAt") or ""), str(order.get("orderPlacedAt") or "")) or None


def _street(order: Mapping[str, Any]) -> list[Any]:
    address = order.get("shippingAddress")
    return [address.get("streetLine1"), address.get("streetLine2")] if isinstance(address, Mapping) else []


def _mapping(authorized: Payment) -> OrderMapping:
    return OrderMapping(
        order={
            "external_id": At("code"),
            "version": At(_changed),
            "source_time": At(_changed, as_time),
            "placed_at": At("orderPlacedAt", as_time),
            "currency": At("currencyCode"),
            "payment": At(_payment),
            "source_status": At("state"),
            "forbids_shipping": _forbids,
            "buyer_id": At("customer.id", as_text, ""),
            "tags": lambda order: tuple(f"coupon:{code}" for code in order.get("couponCodes") or ()),
        },
        ship_to={
            "name": At("shippingAddress.fullName", as_trimmed, ""),
            "phone": At("shippingAddress.phoneNumber", as_trimmed, ""),
            "country": At("shippingAddress.countryCode", as_trimmed, ""),
            "province": At("shippingAddress.province", as_trimmed, ""),
            "city": At("shippingAddress.city", as_trimmed, ""),
            "street": At(_street, as_joined(", "), ""),
            "postcode": At("shippingAddress.postalCode", as_trimmed, ""),
            "company": At("shippingAddress.company", as_trimmed, ""),
            "email": At("customer.emailAddress", as_trimmed, ""),
        },
        lines=At("lines"),
        line={
            "external_id": At("id"),
            "external_sku": At("productVariant.sku", as_text, ""),
            "listing_id": At("productVariant.id", as_text, ""),
            "quantity": At(_quantity, as_quantity),
            "unit_price": At("unitPriceWithTax", _HUNDREDTHS),
            "amount": At("linePriceWithTax", _HUNDREDTHS),
            "share": Both(_share),
            "title": At("productVariant.name", as_trimmed, ""),
            "state": Both(_line_state),
        },
        amounts={"freight": _freight, "discount": _discount, "paid": At("totalWithTax", _HUNDREDTHS)},
        payments={"settled": "paid", "authorized": authorized, "unpaid": "unpaid"},
        status=status_word,
        statuses=STATUSES,
        extra={
            "vendure_id": At("id", as_text, ""),
            "shipping_method": At("shippingLines.0.shippingMethod.name", as_text, ""),
        },
    )


MAPPING = _mapping("unpaid")
SHIPS_AUTHORIZED = _mapping("paid")
