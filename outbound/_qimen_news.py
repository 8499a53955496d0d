"""What a Qimen warehouse tells: confirms, batch confirms, progress reports and the answers of our own queries.

Facts: china/qimen.md §3-§5 (read 2026-11-21, H): `outBizCode` names a message, confirmType 0 is final and 1 intermediate;
quantities of an intermediate confirm are that message's own (M for delivery orders). DELIVERED: the parcel left the warehouse.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from xml.etree.ElementTree import Element

from domain.carriers import own_code
from domain.errors import MappingError
from domain.order import PackedLine, Parcel, ShippingNews
from wire.safe_xml import children, parse, to_value

from ._qimen_order import read_stamp

# Delivery status → fulfilment state; "" is stored and shown, and moves nothing.
STATES: Mapping[str, str] = {
    "NEW": "accepted",
    "ACCEPT": "accepted",
    "PARTDELIVERED": "picking",
    "DELIVERED": "shipped",
    "EXCEPTION": "exception",
    "CANCELED": "cancelled",
    "REJECT": "rejected",
}
# A report has no parcels, so it never says "shipped": the confirm or a query does.
PROCESSES: Mapping[str, str] = {
    "NEW": "accepted",
    "ACCEPT": "accepted",
    "PRINT": "picking",
    "PICK": "picking",
    "CHECK": "picking",
    "PACKAGE": "picking",
    "WEIGH": "picking",
    "READY": "picking",
    "PARTDELIVERED": "picking",
    "SIGN": "delivered",
    "EXCEPTION": "exception",
    "CANCELED": "cancelled",
    "REJECT": "rejected",
}
_MAX_UNITS = 1_000_000
_ORDER = re.compile(rb"<order>.*?</order>", re.DOTALL)
# Every start of an element of this name, however it is written.
_ORDER_TAG = re.compile(rb"<order[\s/>]")


def read_news(body: bytes) -> tuple[ShippingNews, ...]:
    """One message or answer → its events. Raises MappingError (`xml`, `id`, `qty`, `time`, `unknown_message`)."""
    return _read(parse(body), body)


def _read(root: Element, body: bytes) -> tuple[ShippingNews, ...]:
    if root.find("deliveryOrder") is not None:
        return (_confirm(root),)
    if root.find("orders") is not None:
        return tuple(_confirm(order) for order in children(root, "orders", "order"))
    if root.find("process") is not None:
        order = root.find("order")
        return (_process(root if order is None else order, root.findall("process"), body),)
    told = root.find("orderProcess")
    if told is not None:
        return tuple(_process(told, [process], body) for process in children(told, "processes", "process"))
    if root.tag == "response":
        return ()
    raise MappingError("unknown_message", f"no deliveryOrder, orders or process in <{root.tag}>"[:100])


def cut_news(body: bytes) -> list[tuple[bytes, tuple[ShippingNews, ...]]]:
    """A batch confirm as one document for each order, in its exact bytes, with its events; any other message as it is. Errors as
    `read_news`."""
    root = parse(body)
    orders = children(root, "orders", "order") if root.find("deliveryOrder") is None else []
    cut = _cut(body, len(orders)) if len(orders) > 1 else []
    if not cut:
        return [(body, _read(root, body))]
    return [(piece, (_confirm(order),)) for piece, order in zip(cut, orders, strict=True)]


def _cut(body: bytes, count: int) -> list[bytes]:
    """The bytes of each of the `count` orders of a message that was read; [] where that is not certain.

    Without comments, CDATA and instructions a tag that is found is one that was read. When all elements of that name are as
    many as the orders, they are the orders, and none holds another: so each goes from its tag to the next end. One that
    needs what the elements around it declare could not be read alone."""
    plain = b"<!" not in body and body.count(b"<?") == body.startswith(b"<?xml") and b"xmlns" not in body
    if not plain or not len(_ORDER_TAG.findall(body)) == body.count(b"<order>") == count:
        return []
    cut: list[bytes] = _ORDER.findall(body)
    return cut if len(cut) == count else []


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _time(element: Element, *paths: str) -> datetime | None:
    for path in paths:
        text = _text(element, path)
        if text:
            return read_stamp(text, path)
    return None


def _confirm(root: Element) -> ShippingNews:
    head = root.find("deliveryOrder")
    code = "" if head is None else _text(head, "deliveryOrderCode")
    if head is None or not code:
        raise MappingError("id", "a confirm names no order", path="deliveryOrder.deliveryOrderCode")
    status = _text(head, "status")
    parcels = _parcels(root)
    # status may be left out of a confirm; parcels in a final one then say the same.
    state = STATES.get(status, "") if status else ("shipped" if parcels else "")
    final = _text(head, "confirmType") != "1" and state in {"shipped", "cancelled", "rejected"}
    return ShippingNews(
        reference=code,
        event_id=_text(head, "outBizCode")
        or f"sha256:{hashlib.sha256(repr(to_value(root)).encode()).hexdigest()[:40]}",
        state="picking" if state == "shipped" and not final else state,
        source_status=status,
        parcels=parcels,
        final=final,
        warehouse_ref=_text(head, "deliveryOrderId"),
        source_time=_time(head, "operateTime", "orderConfirmTime"),
    )


def _parcels(root: Element) -> tuple[Parcel, ...]:
    packages = children(root, "packages", "package")
    rows = children(root, "orderLines", "orderLine")
    numbers: dict[str, set[str]] = {}
    for row in rows:
        numbers.setdefault(_text(row, "itemCode"), set()).add(_text(row, "orderLineNo"))
    found = []
    for package in packages:
        lines = tuple(_packed(item, numbers) for item in children(package, "items", "item"))
        if not lines and len(packages) == 1:
            # A single parcel without items holds what the message's lines say was shipped.
            lines = tuple(_line(row) for row in rows if _text(row, "actualQty") not in {"", "0"})
        found.append(_parcel(package, lines))
    return tuple(found)


def _parcel(package: Element, lines: tuple[PackedLine, ...]) -> Parcel:
    return Parcel(
        tracking=_text(package, "expressCode"),
        carrier=own_code(_text(package, "logisticsCode"), "qimen"),
        carrier_name=_text(package, "logisticsName"),
        package_code=_text(package, "packageCode"),
        weight_grams=_grams(_text(package, "weight")),
        lines=lines,
    )


def _packed(item: Element, numbers: Mapping[str, set[str]]) -> PackedLine:
    """One item of a parcel. A WMS that leaves orderLineNo out is understood when its item code is on one line only."""
    sku, ref = _text(item, "itemCode"), _text(item, "orderLineNo")
    candidates = numbers.get(sku, set())
    if not ref and len(candidates) == 1:
        (ref,) = candidates
    return PackedLine(line_ref=ref, sku=sku, quantity=_units(_text(item, "quantity"), "quantity"))


def _line(row: Element) -> PackedLine:
    return PackedLine(
        line_ref=_text(row, "orderLineNo"),
        sku=_text(row, "itemCode"),
        quantity=_units(_text(row, "actualQty"), "actualQty"),
    )


def _units(text: str, path: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and 0 < int(text) <= _MAX_UNITS):
        raise MappingError("qty", f"not a whole number of pieces: {text[:20]!r}", path=path)
    return int(text)


def _grams(text: str) -> int:
    """Kilograms as text → grams; a weight nobody can read is no reason to refuse a parcel."""
    try:
        grams = Decimal(text or "0") * 1000 if text.isascii() and len(text) <= 20 else Decimal(0)
        return int(grams) if grams.is_finite() and 0 <= grams < _MAX_UNITS * 1000 else 0
    except InvalidOperation:
        return 0


def _process(order: Element, processes: list[Element], body: bytes) -> ShippingNews:
    code = _text(order, "orderCode")
    if not code:
        raise MappingError("id", "a report names no order", path="order.orderCode")
    process = processes[-1] if processes else order
    status, at = _text(process, "processStatus"), _text(process, "operateTime")
    event = f"process:{code}:{status}:{at}" if at else f"sha256:{hashlib.sha256(body).hexdigest()[:40]}"
    return ShippingNews(
        reference=code,
        event_id=event,
        state=PROCESSES.get(status, ""),
        source_status=status,
        final=PROCESSES.get(status) in {"cancelled", "rejected"},
        warehouse_ref=_text(order, "orderId"),
        source_time=_time(process, "operateTime"),
        detail=_text(process, "operateInfo")[:300],
    )


def stock_rows(value: Any) -> list[Mapping[str, str]]:
    """The items of an inventory.query answer, as read by `safe_xml.to_value`."""
    items = value.get("items") if isinstance(value, Mapping) else None
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
