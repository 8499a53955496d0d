"""What an order is, whoever sent it: frozen values in the field's own words (domain.md §1). Money is minor units of
`Order.currency`; times are aware UTC; every external id is text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

OrderStatus = Literal["pending_payment", "pending_shipment", "partially_shipped", "shipped", "completed", "closed"]
Payment = Literal["unpaid", "paid", "cod"]
LineState = Literal["open", "after_sale", "cancelled", "shipped"]
AfterSaleKind = Literal["refund", "return_refund", "exchange", "resend", "price_adjustment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consignee:
    """Who receives the parcel and where. `country` is ISO 3166-1 alpha-2; `region` is the division code of the deepest
    level found (six digits in China, ISO 3166-2 elsewhere, "" while unresolved); `token` is a platform's privacy token
    (oaid and the like), `masked` says that name, phone or street are not plain text."""

    name: str = ""
    phone: str = ""
    phone_extension: str = ""
    country: str = ""
    province: str = ""
    city: str = ""
    district: str = ""
    town: str = ""
    street: str = ""
    postcode: str = ""
    email: str = ""
    company: str = ""
    region: str = ""
    token: str = ""
    masked: bool = False


def consignee_values(consignee: Consignee) -> dict[str, Any]:
    """The consignee as plain values by field name."""
    # Written out, because a dictionary of known keys is made in a quarter of the time.
    return {
        "name": consignee.name,
        "phone": consignee.phone,
        "phone_extension": consignee.phone_extension,
        "country": consignee.country,
        "province": consignee.province,
        "city": consignee.city,
        "district": consignee.district,
        "town": consignee.town,
        "street": consignee.street,
        "postcode": consignee.postcode,
        "email": consignee.email,
        "company": consignee.company,
        "region": consignee.region,
        "token": consignee.token,
        "masked": consignee.masked,
    }


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a bundle: `quantity` per unit sold. The list is frozen on the line when the order is taken."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One SKU of an order. `amount` is the goods value of the whole line before order-level discounts; `share` is what
    the source says this line carries of them (None: we allocate). `discount`, `freight`, `tax` and `paid` are set once by
    the allocation (paid = amount - discount + freight + tax) and never spread again."""

    external_id: str
    external_sku: str
    quantity: int
    unit_price: int
    amount: int
    title: str = ""
    listing_id: str = ""
    share: int | None = None
    discount: int = 0
    freight: int = 0
    tax: int = 0
    paid: int = 0
    weight_grams: int = 0
    state: LineState = "open"
    requires_shipping: bool = True
    sku: str = ""
    components: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Totals as the source states them: goods + freight + tax - discount = paid."""

    goods: int
    freight: int = 0
    tax: int = 0
    discount: int = 0
    paid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """One order-level discount, in the order in which the source applies them. `lines` are the eligible external line
    ids (empty: all lines)."""

    source: Literal["platform", "shop", "coupon", "points", "member"]
    amount: int
    lines: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterSale:
    """One after-sale document of the source; `state` is the after-sale machine's state, `lines` external line id and
    quantity (0: the source states an amount only)."""

    external_id: str
    kind: AfterSaleKind
    state: str
    amount: int
    lines: tuple[tuple[str, int], ...] = ()
    source_status: str = ""
    source_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One checkout of one account, as the source last told it. `version` sorts the source's versions of one order
    (text compare); `forbids_shipping` are the platform's do-not-ship flags, by name; `notes` are things the reader had
    to repair (`replaced_characters`, …); `extra` are channel facts a target may need, by documented name."""

    external_id: str
    version: str
    source_time: datetime
    status: OrderStatus
    source_status: str
    payment: Payment
    currency: str
    amounts: Amounts
    consignee: Consignee
    lines: tuple[Line, ...]
    placed_at: datetime
    paid_at: datetime | None = None
    forbids_shipping: tuple[str, ...] = ()
    discounts: tuple[Discount, ...] = ()
    after_sales: tuple[AfterSale, ...] = ()
    buyer_id: str = ""
    buyer_message: str = ""
    seller_memo: str = ""
    seller_flag: str = ""
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedLine:
    """What a parcel holds: the warehouse's line reference (our order line number, "" if it gave none), SKU, units."""

    line_ref: str
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One parcel as a warehouse reports it. `carrier` is our internal carrier code (facts/china/carrier_codes.md)."""

    tracking: str
    carrier: str
    lines: tuple[PackedLine, ...]
    carrier_name: str = ""
    package_code: str = ""
    weight_grams: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingNews:
    """What a warehouse tells about one fulfilment. `reference` is our fulfilment code, `state` a fulfilment state or ""
    when the source's status is unknown to us; `final` says that nothing more will be shipped for it."""

    reference: str
    event_id: str
    state: str
    source_status: str
    parcels: tuple[Parcel, ...] = ()
    final: bool = False
    warehouse_ref: str = ""
    source_time: datetime | None = None
    detail: str = ""
