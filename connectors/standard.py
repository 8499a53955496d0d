"""The partner standard API's order document: what `POST /v1/orders` takes. Ours, so it is exact and has no aliases.

```json
{
  "external_id": "PO-10001",                  // required; text, kept exactly; unique per partner
  "updated_at": "2026-11-20T21:31:10+08:00",  // RFC 3339 (no offset: UTC); version of this document; default placed_at
  "placed_at": "2026-11-20T21:30:05+08:00",   // required
  "paid_at": "2026-11-20T21:31:10+08:00",
  "currency": "CNY",                          // required; ISO 4217
  "status": "open",                           // open (default) | cancelled
  "payment": {"status": "paid"},              // required; paid | unpaid | cod
  "totals": {"goods": "210.00", "freight": "8.00", "tax": "0.00", "discount": "12.60", "paid": "205.40"},
                                              // decimal strings, major units; paid required; goods defaults to the lines' sum,
                                              // freight, tax, discount to 0; goods + freight + tax - discount = paid
  "ship_to": {"name": "张三", "phone": "13800138000", "phone_extension": "", "country": "CN", "province": "浙江省",
              "city": "杭州市", "district": "余杭区", "town": "", "street": "示例路1号", "postcode": "310000", "email": "",
              "company": ""},
  "lines": [                                  // 1 … 10 000
    {"line_id": "1", "sku": "SKU-1", "quantity": 2, "unit_price": "99.00",
     "amount": "198.00",                      // before order-level discounts; default unit_price × quantity
     "discount": "18.00",                     // this line's part of totals.discount; all lines or none
     "title": "示例T恤", "weight_grams": 300, "requires_shipping": true, "cancelled": false}
  ],
  "discounts": [{"source": "coupon", "amount": "12.60", "lines": ["1"], "label": "WELCOME"}],  // optional, in the order applied;
                                              // source: platform | shop | coupon | points | member
  "buyer_id": "", "buyer_message": "", "seller_memo": "", "tags": ["vip"],
  "extra": {"store": "0042", "reference": "", "delivery_note": "", "department": "", "campaign": ""}
}
```

The same document may be delivered to `POST /webhooks/{account}` instead, signed as Standard Webhooks says (`webhook-id`,
`webhook-timestamp`, `webhook-signature`; global/standards.md, 2026-11-21, H), when the account has a `webhook_secret`.

Numbers in money fields are read exactly too (12 or 12.30), never as binary floats. A cancel is the same document with status
`cancelled` and a later `updated_at`. Partners get tracking by webhook or by asking, so this channel pulls and confirms nothing.
Source: our own design (domain.md §3, §5; global/standards.md for RFC 3339 and money as text), 2026-11-21, H.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, SecretStr

from domain.errors import MappingError
from domain.order import LineState
from normalizer.mapping import At, OrderMapping
from normalizer.readers import as_bool, as_money, as_quantity, as_text, as_texts, as_time, as_trimmed, as_whole
from wire.webhooks import verify_standard

from ._channel import Capabilities, Channel, Settings, Webhook

EXTRA_NAMES = ("store", "reference", "delivery_note", "department", "campaign")
_SOURCES = ("platform", "shop", "coupon", "points", "member")


class StandardSettings(Settings):
    """Nothing is called: the partner calls us. `webhook_secret` (whsec_…) lets it deliver by webhook too; the old one is accepted
    while a rotation is under way, and without either no delivery is believed."""

    base_url: Literal[""] = Field(default="")
    webhook_secret: SecretStr = SecretStr("")
    webhook_secret_old: SecretStr = SecretStr("")


def verify(headers: Mapping[str, str], body: bytes, settings: Any, now: datetime) -> None:
    """Raises RefusedError unless the delivery is signed and its stamp within five minutes of `now`, either way."""
    secrets = (settings.webhook_secret, settings.webhook_secret_old)
    verify_standard(headers, body, [each.get_secret_value() for each in secrets], now)


def hints(headers: Mapping[str, str], body: bytes) -> tuple[str, tuple[str, ...]]:
    """The delivery's id; the body is the order, so there is nothing to read elsewhere."""
    del body
    return next((value for name, value in headers.items() if name.lower() == "webhook-id"), ""), ()


def _updated(document: Mapping[str, Any]) -> Any:
    return document.get("updated_at") or document.get("placed_at")


def _status(document: Mapping[str, Any]) -> str:
    word, payment = document.get("status") or "open", document.get("payment")
    unpaid = isinstance(payment, Mapping) and payment.get("status") == "unpaid"
    return "unpaid" if word == "open" and unpaid else as_text(word)


def _source(value: Any) -> str:
    if value not in _SOURCES:
        raise MappingError("discount_source", f"one of {', '.join(_SOURCES)}")
    return str(value)


def _line_ids(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise MappingError("type", "a list of line ids was expected")
    return tuple(as_text(each) for each in value)


def _state(line: Mapping[str, Any]) -> LineState:
    return "cancelled" if line.get("cancelled") is True else "open"


MAPPING = OrderMapping(
    order={
        "external_id": At("external_id"),
        "source_time": At(_updated, as_time),
        "placed_at": At("placed_at", as_time),
        "paid_at": At("paid_at", as_time, None),
        "currency": At("currency"),
        "payment": At("payment.status"),
        "buyer_id": At("buyer_id", as_text, ""),
        "buyer_message": At("buyer_message", as_trimmed, ""),
        "seller_memo": At("seller_memo", as_trimmed, ""),
        "tags": At("tags", as_texts, ()),
    },
    ship_to={
        name: At(f"ship_to.{name}", as_trimmed, "")
        for name in (
            "name",
            "phone",
            "phone_extension",
            "country",
            "province",
            "city",
            "district",
            "town",
            "street",
            "postcode",
            "email",
            "company",
        )
    },
    lines=At("lines"),
    line={
        "external_id": At("line_id"),
        "external_sku": At("sku"),
        "quantity": At("quantity", as_quantity),
        "unit_price": At("unit_price", as_money),
        "amount": At("amount", as_money, None),
        "share": At("discount", as_money, None),
        "title": At("title", as_trimmed, ""),
        "weight_grams": At("weight_grams", as_whole, 0),
        "requires_shipping": At("requires_shipping", as_bool, True),
        "state": _state,
    },
    amounts={
        "goods": At("totals.goods", as_money, None),
        "freight": At("totals.freight", as_money, 0),
        "tax": At("totals.tax", as_money, 0),
        "discount": At("totals.discount", as_money, 0),
        "paid": At("totals.paid", as_money),
    },
    discounts=At("discounts", default=None),
    discount={
        "source": At("source", _source),
        "amount": At("amount", as_money),
        "lines": At("lines", _line_ids, ()),
        "label": At("label", as_trimmed, ""),
    },
    payments={"paid": "paid", "unpaid": "unpaid", "cod": "cod"},
    status=_status,
    statuses={"open": "pending_shipment", "unpaid": "pending_payment", "cancelled": "closed"},
    extra={name: At(f"extra.{name}", as_text, "") for name in EXTRA_NAMES},
)

CHANNEL = Channel(
    name="standard",
    title="Standard order API",
    order_prefix="PA",
    settings=StandardSettings,
    mapping=MAPPING,
    webhook=Webhook(verify=verify, hints=hints, carries=True),
    can=Capabilities(parcels_per_line=1000, partial=True, cancel_after_ship=False, readback=False, repeats="keyed"),
)
