"""What is sent to a Qimen warehouse: the XML bodies, built from a shipment.

Facts: china/qimen.md §1, §4, §5 and its samples (read 2026-11-21, H): money is a yuan string, time is GMT+8, lists hold children of
their own name; in the samples actualPrice and discountAmount of a line are per unit (M). Qimen knows yuan only: of an order in
another currency no amount is sent but the required actualPrice, as 0.00, with the currency in extendProps (our own choice,
because a dollar read as a yuan is worse than none); cash on delivery in another currency is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from domain.carriers import carrier_name, spoken_code
from domain.errors import MappingError, RefusedError
from domain.money import from_minor
from domain.order import Consignee
from wire.safe_xml import build

from ._warehouse import Settings, Shipment, ShipmentLine

CHINA = timedelta(hours=8)  # GMT+8 all year round
STOCK_CHUNK = 50

# Where an order comes from, in Qimen's list; what the list does not name is OTHERS. A Tmall shop says so in its settings.
PLATFORMS: Mapping[str, str] = {"taobao": "TB"}
# What strptime takes forty times as long for; everything else it may read (one digit, a leading sign) is still its own.
_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>'


class Sender(BaseModel):
    """Who sends the parcels: Qimen requires name, mobile, province, city and street."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    mobile: str = Field(min_length=1)
    province: str = Field(min_length=1)
    city: str = Field(min_length=1)
    area: str = ""
    address: str = Field(min_length=1)


class QimenSettings(Settings):
    """One warehouse of one WMS. `secret_old` is accepted from the WMS too while a rotation is under way. `repeats` is what the WMS
    does with a code it knows (see its contract). `exists_codes` and `missing_codes` are this WMS's own failure codes for "already
    there" and "no such order": Qimen has no common list. `carriers` maps our carrier codes to the ones agreed with it,
    `platforms` channel names to sourcePlatformCode; `gbk_only` refuses texts its printers would turn into question marks.
    `batch` is how many orders go into one deliveryorder.batchcreate (1: each by itself): only for a WMS that decides in the
    same call, because the standard also allows an answer that comes later."""

    base_url: str = "http://qimen.api.taobao.com/router/qimen/service"
    app_key: str = Field(min_length=1)
    secret: SecretStr = Field(min_length=1)
    secret_old: SecretStr = SecretStr("")
    customer_id: str = Field(min_length=1)
    owner_code: str = Field(min_length=1)
    warehouse_code: str = Field(min_length=1)
    sender: Sender
    repeats: Literal["keyed", "findable", "unsafe"] = "findable"
    default_carrier: str = "OTHER"
    carriers: dict[str, str] = Field(default_factory=dict)
    platforms: dict[str, str] = Field(default_factory=dict)
    exists_codes: tuple[str, ...] = ()
    missing_codes: tuple[str, ...] = ()
    gbk_only: bool = False
    calls_per_second: float = Field(default=20, gt=0, le=10_000)
    batch: int = Field(default=1, ge=1, le=100)


def stamp(moment: datetime) -> str:
    """An aware time as Qimen writes it."""
    return (moment.astimezone(UTC) + CHINA).strftime("%Y-%m-%d %H:%M:%S")


def read_stamp(text: str, path: str = "timestamp") -> datetime:
    """A Qimen time as aware UTC. Raises MappingError `time`."""
    try:
        if _STAMP.fullmatch(text):
            return datetime.fromisoformat(f"{text}+08:00").astimezone(UTC)
        return datetime.strptime(f"{text}+0800", "%Y-%m-%d %H:%M:%S%z").astimezone(UTC)
    except (ValueError, OverflowError):
        raise MappingError("time", f"not a date and time: {text[:40]!r}", path=path) from None


def document(settings: QimenSettings, tree: Mapping[str, Any]) -> bytes:
    """The request body. Raises RefusedError `unencodable`: nothing is ever replaced by a question mark."""
    return _spoken(settings, build("request", tree))


def order_part(settings: QimenSettings, tree: Mapping[str, Any]) -> bytes:
    """One order of a `batch_document`; errors as `document`."""
    return _spoken(settings, build("order", tree)).removeprefix(_DECLARATION)


def batch_document(parts: Sequence[bytes]) -> bytes:
    """The request body for several orders, each written by `order_part`."""
    return _DECLARATION + b"<request><orders>" + b"".join(parts) + b"</orders></request>"


def _spoken(settings: QimenSettings, body: bytes) -> bytes:
    if settings.gbk_only:
        try:
            body.decode("utf-8").encode("gbk")
        except UnicodeEncodeError as error:
            raise RefusedError("unencodable", f"{error.object[error.start]!r} is not in GBK") from None
    return body


def create_tree(settings: QimenSettings, shipment: Shipment) -> dict[str, Any]:
    """deliveryorder.create. The same shipment always gives the same tree: a repeat is byte-equal."""
    yuan = shipment.currency == "CNY"
    if shipment.cod and not yuan:
        raise RefusedError("currency_unsupported", f"cash on delivery in {shipment.currency}: Qimen money is yuan")
    return {
        "deliveryOrder": _head(settings, shipment, yuan=yuan),
        "orderLines": {"orderLine": [_line(settings, line, yuan=yuan) for line in shipment.lines]},
        "extendProps": {
            "hubOrderNumber": shipment.order_number,
            "currency": None if yuan else shipment.currency,
            "totalAmount": None if yuan else from_minor(shipment.total, shipment.currency),
        },
    }


def _head(settings: QimenSettings, shipment: Shipment, *, yuan: bool) -> dict[str, Any]:
    company = logistics_code(settings, shipment.carrier)
    flags = [name for name, on in (("COD", shipment.cod), ("SPLIT", shipment.split)) if on]
    return {
        "deliveryOrderCode": shipment.code,
        "orderType": "JYCK",
        "warehouseCode": settings.warehouse_code,
        "ownerCode": settings.owner_code,
        "orderFlag": "^".join(flags) or None,
        "sourcePlatformCode": settings.platforms.get(shipment.channel) or PLATFORMS.get(shipment.channel, "OTHERS"),
        "createTime": stamp(shipment.created_at),
        "placeOrderTime": stamp(shipment.placed_at),
        "payTime": stamp(shipment.paid_at) if shipment.paid_at else None,
        "operatorName": "hub",
        "operateTime": stamp(shipment.created_at),
        "shopNick": shipment.shop,
        "buyerNick": shipment.buyer_id or None,
        **(_money(shipment) if yuan else {}),
        "logisticsCode": company,
        "logisticsName": carrier_name(shipment.carrier) if shipment.carrier else None,
        "senderInfo": _sender(settings.sender),
        "receiverInfo": _receiver(shipment.consignee),
        "isUrgency": "N",
        "invoiceFlag": "N",
        "insuranceFlag": "N",
        "buyerMessage": shipment.buyer_message or None,
        "sellerMessage": shipment.seller_memo or None,
        "oaidOrderSourceCode": shipment.source_order if shipment.consignee.token else None,
    }


def logistics_code(settings: QimenSettings, carrier: str) -> str:
    """The agreed code. A carrier that Qimen's list lacks must be agreed with the WMS: asking is better than OTHER."""
    code = spoken_code(carrier, "qimen", settings.carriers) if carrier else settings.default_carrier
    if not code:
        raise RefusedError("carrier_unknown", f"{carrier!r} has no Qimen code: add it to the warehouse's carriers")
    return code


def _money(shipment: Shipment) -> dict[str, str]:
    """totalAmount = arAmount + gotAmount = itemAmount - discountAmount + freight (H). A tax on top, which Qimen has no field
    for, would break the rule: it goes with the freight."""
    total = shipment.total
    freight = total - shipment.goods + shipment.discount
    due = total if shipment.cod else 0
    amounts = {
        "totalAmount": total,
        "itemAmount": shipment.goods,
        "discountAmount": shipment.discount,
        "freight": freight,
        "arAmount": due,
        "gotAmount": total - due,
    }
    return {name: from_minor(amount, "CNY") for name, amount in amounts.items()}


def _sender(sender: Sender) -> dict[str, Any]:
    return {
        "name": sender.name,
        "mobile": sender.mobile,
        "province": sender.province,
        "city": sender.city,
        "area": sender.area or None,
        "detailAddress": sender.address,
    }


def _receiver(consignee: Consignee) -> dict[str, Any]:
    """Masked name and phone go out as they are, beside the oaid that lets the WMS decrypt them. A county directly under its
    province has no city: Qimen requires one, so the county stands there too."""
    phone = f"{consignee.phone}-{consignee.phone_extension}" if consignee.phone_extension else consignee.phone
    return {
        "company": consignee.company or None,
        "name": consignee.name,
        "zipCode": consignee.postcode or None,
        "mobile": phone,
        "email": consignee.email or None,
        "countryCode": consignee.country if consignee.country not in {"", "CN"} else None,
        "province": consignee.province,
        "city": consignee.city or consignee.district,
        "area": consignee.district or None,
        "town": consignee.town or None,
        "detailAddress": consignee.street,
        "oaid": consignee.token or None,
    }


def _line(settings: QimenSettings, line: ShipmentLine, *, yuan: bool) -> dict[str, Any]:
    """Prices are per unit, rounded down: the head's totals are the ones that sum."""
    discount = line.discount // line.quantity
    paid = (line.amount - line.discount) // line.quantity
    return {
        "orderLineNo": line.ref,
        "sourceOrderCode": line.source_order,
        "subSourceOrderCode": line.source_line or None,
        "ownerCode": settings.owner_code,
        "itemCode": line.sku,
        "inventoryType": "ZP",
        "itemName": line.title or None,
        "planQty": line.quantity,
        "retailPrice": from_minor(line.unit_price, "CNY") if yuan else None,
        "actualPrice": from_minor(paid, "CNY") if yuan else "0.00",
        "discountAmount": from_minor(discount, "CNY") if yuan else None,
    }


def query_tree(settings: QimenSettings, code: str, reference: str) -> dict[str, Any]:
    """deliveryorder.query."""
    return {
        "ownerCode": settings.owner_code,
        "warehouseCode": settings.warehouse_code,
        "orderCode": code,
        "orderId": reference or None,
        "page": 1,
        "pageSize": 100,
    }


def cancel_tree(settings: QimenSettings, code: str, reference: str, reason: str) -> dict[str, Any]:
    """order.cancel."""
    return {
        "warehouseCode": settings.warehouse_code,
        "ownerCode": settings.owner_code,
        "orderCode": code,
        "orderId": reference or None,
        "orderType": "JYCK",
        "cancelReason": reason or None,
    }


def stock_tree(settings: QimenSettings, skus: Sequence[str]) -> dict[str, Any]:
    """inventory.query for good stock."""
    where = {"warehouseCode": settings.warehouse_code, "ownerCode": settings.owner_code}
    return {"criteriaList": {"criteria": [{**where, "itemCode": sku, "inventoryType": "ZP"} for sku in skus]}}
