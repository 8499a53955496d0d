"""Composes Shopify orders: field names as in facts/global/shopify.md §3 and its samples (2026-11-21, H).

Arithmetic in integer minor units: line discountedTotal = unit price x quantity - line discount; priceAfterAllDiscountsBeforeTaxes =
that - its share of the order discount; subtotal = their sum; total = subtotal + shipping + tax (taxesIncluded is always false).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from sandbox.catalog import Sku
from sandbox.clock import utc_stamp
from sandbox.places import abroad_address

Doc = dict[str, Any]
ORDER_BASE = 5_678_901_234_000
LINE_BASE = 14_000_000_000_000
FO_BASE = 6_046_000_000_000
FOLI_BASE = 16_046_000_000_000
EXPONENT = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}
SHIPPING = {"USD": 500, "EUR": 490, "JPY": 600, "KWD": 1500}
NOTES = ("Leave at door", "Gift - no invoice please", "Call before delivery")
LOCATIONS = (
    {"name": "Main", "location": {"id": "gid://shopify/Location/1"}},
    {"name": "Annex", "location": {"id": "gid://shopify/Location/2"}},
)


@dataclass(slots=True)
class Order:
    """An order and what the sandbox knows about it; `doc` has the API's own shape (plain lists; connections are made on output)."""

    seq: int
    number: int
    kind: str
    doc: Doc
    lines: list[Doc]
    fulfillment_orders: list[Doc]
    created: float
    updated: int
    hidden: bool = False
    ghost: tuple[int, bytes] | None = None  # (second, JSON) of an older version that the list still shows
    touches: int = 0
    paid_at: float | None = None
    cancelled_at: float | None = None
    cancel_refused_at: float | None = None
    fulfillments: list[Doc] = field(default_factory=list)
    shipments: list[Doc] = field(default_factory=list)
    refused: list[Doc] = field(default_factory=list)
    events: list[Doc] = field(default_factory=list)
    raw: bytes = b""


def money(minor: int, currency: str, *, padded: bool = False) -> Doc:
    """A MoneyBag. JPY is written "1200" or, when `padded`, "1200.0": both occur (facts/global/shopify.md §9)."""
    exponent = EXPONENT[currency]
    sign, digits = "-" if minor < 0 else "", f"{abs(minor):0{exponent + 1}d}"
    amount = (
        f"{sign}{digits[:-exponent]}.{digits[-exponent:]}" if exponent else f"{sign}{digits}{'.0' if padded else ''}"
    )
    value = {"amount": amount, "currencyCode": currency}
    return {"shopMoney": value, "presentmentMoney": value}


def make_order(rng: Random, seq: int, kind: str, skus: list[Sku], now: float) -> Order:
    """An order of this kind, placed `now` (epoch seconds). The same rng and kind always compose the same order."""
    number = ORDER_BASE + seq * 7
    currency = rng.choices(("USD", "EUR", "JPY", "KWD"), (60, 25, 10, 5))[0]
    padded = rng.random() < 0.5
    count = rng.choices((1, 2, 3, 4), (60, 25, 10, 5))[0]
    chosen = rng.sample([sku for sku in skus if sku.scarce == (kind == "scarce")], count)
    lines, totals = [], []
    for index, sku in enumerate(chosen):
        line, total = _line(rng, seq * 10 + index, sku, currency, padded)
        lines.append(line)
        totals.append(total)
    doc = _head(rng, seq, number, currency, now)
    _add_money(rng, doc, lines, totals, currency, padded)
    order = Order(seq, number, kind, doc, lines, _fulfillment_orders(rng, seq, lines, now), now, int(now), paid_at=now)
    _twist(rng, order, currency)
    return order


def _head(rng: Random, seq: int, number: int, currency: str, now: float) -> Doc:
    stamp, address = utc_stamp(int(now)), abroad_address(rng)
    return {
        "id": f"gid://shopify/Order/{number}",
        "legacyResourceId": str(number),
        "name": f"#{1000 + seq}",
        "number": 1000 + seq,
        "poNumber": None,
        "confirmationNumber": f"X{rng.randrange(16**8):08X}",
        "sourceName": "web",
        "sourceIdentifier": None,
        "createdAt": stamp,
        "processedAt": stamp,
        "updatedAt": stamp,
        "cancelledAt": None,
        "cancelReason": None,
        "closedAt": None,
        "test": False,
        "tags": [],
        "note": None,
        "email": f"buyer{rng.randrange(10**6)}@example.com",
        "phone": address["phone"],
        "customerLocale": "en",
        "currencyCode": currency,
        "presentmentCurrencyCode": currency,
        "taxesIncluded": False,
        "displayFinancialStatus": "PAID",
        "displayFulfillmentStatus": "UNFULFILLED",
        "customAttributes": [],
        "shippingAddress": address,
        "billingAddress": address,
    }


def _line(rng: Random, ident: int, sku: Sku, currency: str, padded: bool) -> tuple[Doc, int]:
    quantity = rng.choices((1, 2, 3, 4, 5), (65, 20, 8, 4, 3))[0]
    price = sku.price(currency)
    total = price * quantity - rng.choice((0, 0, 0, price * quantity // 10))
    return {
        "id": f"gid://shopify/LineItem/{LINE_BASE + ident}",
        "sku": sku.shopify_code,
        "name": f"{sku.name} - {sku.option}",
        "title": sku.name,
        "variantTitle": sku.option,
        "quantity": quantity,
        "currentQuantity": quantity,
        "unfulfilledQuantity": quantity,
        "requiresShipping": True,
        "isGiftCard": False,
        "originalUnitPriceSet": money(price, currency, padded=padded),
        "discountedTotalSet": money(total, currency, padded=padded),
        "variant": {
            "id": f"gid://shopify/ProductVariant/{44000000 + sku.number}",
            "barcode": f"69{10**10 + sku.number}",
        },
        "customAttributes": [],
    }, total


def _add_money(rng: Random, doc: Doc, lines: list[Doc], totals: list[int], currency: str, padded: bool) -> None:
    discount = rng.choice((0, 0, sum(totals) * 5 // 100))
    shares = [discount * total // max(1, sum(totals)) for total in totals]
    shares[0] += discount - sum(shares)
    rate = 0.0825 if doc["shippingAddress"]["countryCodeV2"] == "US" else 0.0
    per_mille = 825 if rate else 0
    tax = 0
    for line, total, share in zip(lines, totals, shares, strict=True):
        part = (total - share) * per_mille // 10000
        tax += part
        line["priceAfterAllDiscountsBeforeTaxesSet"] = money(total - share, currency, padded=padded)
        line["discountAllocations"] = [{"allocatedAmountSet": money(share, currency, padded=padded)}] if share else []
        line["taxLines"] = (
            [{"title": "Sales tax", "rate": rate, "priceSet": money(part, currency, padded=padded)}]
            if per_mille
            else []
        )
    gross = sum(int(_minor(line["originalUnitPriceSet"])) * line["quantity"] for line in lines)
    shipping = rng.choice((0, SHIPPING[currency]))
    sums = {
        "subtotal": sum(totals) - discount,
        "totalTax": tax,
        "totalShipping": shipping,
        "total": sum(totals) - discount + shipping + tax,
        "totalDiscounts": gross - sum(totals) + discount,
    }
    sums["currentTotal"] = sums["total"]
    for name, key in (
        ("total", "totalPriceSet"),
        ("currentTotal", "currentTotalPriceSet"),
        ("subtotal", "subtotalPriceSet"),
        ("totalTax", "totalTaxSet"),
        ("totalShipping", "totalShippingPriceSet"),
        ("totalDiscounts", "totalDiscountsSet"),
    ):
        doc[key] = money(sums[name], currency, padded=padded)
    doc["shippingLines"] = [_shipping_line(doc["legacyResourceId"], money(shipping, currency, padded=padded))]


def _shipping_line(ident: str, price: Doc) -> Doc:
    return {
        "id": f"gid://shopify/ShippingLine/{ident}",
        "title": "Standard",
        "code": "STD",
        "source": "shopify",
        "carrierIdentifier": None,
        "isRemoved": False,
        "discountedPriceSet": price,
    }


def _minor(bag: Doc) -> int:
    """Minor units of a MoneyBag of ours."""
    amount, currency = str(bag["shopMoney"]["amount"]), str(bag["shopMoney"]["currencyCode"])
    whole, _, rest = amount.partition(".")
    exponent = EXPONENT[currency]
    scale: int = 10**exponent
    return int(whole) * scale + (int(rest.ljust(exponent, "0")[:exponent]) if exponent else 0)


def total_minor(doc: Doc) -> int | None:
    """The order's total in minor units; None when the document is poisoned there."""
    bag = doc.get("totalPriceSet")
    return _minor(bag) if isinstance(bag, dict) and isinstance(bag["shopMoney"]["amount"], str) else None


def _fulfillment_orders(rng: Random, seq: int, lines: list[Doc], now: float) -> list[Doc]:
    """One fulfilment order; of several lines one in ten lies at another location and has its own."""
    apart = len(lines) > 1 and rng.random() < 0.1
    groups = [lines[:1], lines[1:]] if apart else [lines]
    return [
        {
            "id": f"gid://shopify/FulfillmentOrder/{FO_BASE + seq * 2 + place}",
            "status": "OPEN",
            "requestStatus": "UNSUBMITTED",
            "fulfillAt": utc_stamp(int(now)),
            "fulfillBy": None,
            "supportedActions": [{"action": "CREATE_FULFILLMENT"}],
            "assignedLocation": LOCATIONS[place],
            "deliveryMethod": {"methodType": "SHIPPING"},
            "fulfillmentHolds": [],
            "lineItems": [
                {
                    "id": f"gid://shopify/FulfillmentOrderLineItem/{FOLI_BASE + int(line['id'].rsplit('/', 1)[1]) - LINE_BASE}",
                    "remainingQuantity": line["quantity"],
                    "totalQuantity": line["quantity"],
                    "sku": line["sku"],
                    "lineItem": {"id": line["id"]},
                }
                for line in group
            ],
        }
        for place, group in enumerate(groups)
    ]


def _twist(rng: Random, order: Order, currency: str) -> None:
    """Give the order what its kind means at the moment it is placed; later events are the store's."""
    doc, kind = order.doc, order.kind
    address = doc["shippingAddress"]
    if kind == "remark":
        doc["note"] = rng.choice(NOTES)
    elif kind == "sku_unmapped":
        order.lines[0]["sku"] = rng.choice((f"UNKNOWN-{rng.randrange(1000)}", "", None))
    elif kind == "phone_invalid":
        doc["phone"] = None
        doc["shippingAddress"] = {**address, "phone": rng.choice(("123", "+1 555", "call me", "000"))}
    elif kind == "address_unknown":
        doc["shippingAddress"] = {
            **address,
            "province": "Atlantis",
            "provinceCode": "ZZ",
            "city": "Nowhere",
            "country": "Nowhere",
            "countryCodeV2": "ZZ",
            "zip": "00000",
        }
    elif kind == "address_incomplete":
        doc["shippingAddress"] = {**address, "address1": None, "address2": None, "city": None, "zip": None}
    elif kind == "money_mismatch":
        doc["totalPriceSet"] = doc["currentTotalPriceSet"] = money(
            (total_minor(doc) or 0) + rng.choice((1, 100)), currency
        )
    elif kind in {"paid_later", "unpaid_closed"}:
        order.paid_at = None
        doc["displayFinancialStatus"] = "PENDING"
    elif kind == "poison":
        way = rng.randrange(4)
        if way == 0:
            doc["totalPriceSet"] = "12.00"
        elif way == 1:
            order.lines[0]["currentQuantity"] = order.lines[0]["quantity"] = rng.choice(("two", -1, 1.5))
        elif way == 2:
            doc["shippingAddress"] = ["not", "an", "object"]
        else:
            order.lines[0]["discountedTotalSet"] = {"shopMoney": {"amount": "NaN", "currencyCode": currency}}
