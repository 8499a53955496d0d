"""The bad orders of promises.md §4 as a table per shop: which row, what is wrong with the document, what the hub must say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.money import from_minor

from .liars import Item
from .wares import bag, changed, encoded, node, raw, shop_order, trade, trade_body, trade_line, trade_row

DEEP = raw("[" * 100_000 + "]" * 100_000)
TWICE = raw('"1","again":{"x":1,"x":2},"last":"9"')
LONG = raw("9" * 5000)
STREET = "😀\u202e\u200b" + "长" * 297
HOSTILE = "<svg/onload=alert(1)> ' OR 1=1-- ${7+7}\nlevel=error"


@dataclass(frozen=True, slots=True)
class Spoilt:
    """One bad document. `says` is the code of its exception; `order`: it is stored as an order all the same (the code is one of
    its own); "" and an order: nothing is wrong with it. `show` finds in the stored private data what must be `shown`."""

    row: str
    changes: Mapping[str, Any]
    says: str
    order: bool = False
    show: Callable[[dict[str, Any]], Any] | None = None
    shown: Any = None
    wrap: Callable[[bytes], bytes] = bytes
    listed: Mapping[str, Any] | None = None
    currency: str = "CNY"


def _consignee(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda private: private["consignee"][name]


def _notes(private: dict[str, Any]) -> Any:
    return private["notes"]


MONEY = [
    ("14 NaN", raw("NaN"), "money"),
    ("14 Infinity", raw("Infinity"), "money"),
    ("14 1e999", raw("1e999"), "money"),
    ("14 exponent as text", "1e3", "money"),
    ("15 key twice", TWICE, "duplicate_key"),
    ("16 5,000 digits", LONG, "number"),
    ("19 full-width digits", "１２", "money"),
    ("35 negative", "-0.01", "money"),
    ("35 three decimals", "10.001", "money"),
]
UNITS = [
    ("34 none", 0),
    ("34 negative", -1),
    ("34 1e9", 10**9),
    ("34 1e9 as a float", raw("1e9")),
    ("34 half", raw("1.5")),
    ("34 with a blank", "1 "),
    ("34 missing", ...),
]
TIMES = [
    ("41 missing", ...),
    ("41 zero date", "0000-00-00 00:00:00"),
    ("41 a number", raw("1763726400000")),
    ("41 year 2099", "2099-01-01 00:00:00"),
    ("41 no such day", "2026-02-30 10:00:00"),
]
_LINE = "orders.order.0"

TAOBAO = [
    Spoilt("13 deep", {"x": DEEP}, "depth"),
    *(Spoilt(row, {"payment": value}, says) for row, value, says in MONEY),
    Spoilt("20 NUL", {f"{_LINE}.title": raw('"a\\u0000b"')}, "", True, _notes, ["replaced_characters"]),
    Spoilt("21 lone surrogate", {f"{_LINE}.title": raw('"a\\ud800b"')}, "", True, _notes, ["replaced_characters"]),
    Spoilt("22 byte order mark", {}, "encoding", wrap=lambda body: b"\xef\xbb\xbf" + body),
    Spoilt("22 UTF-16", {}, "encoding", wrap=lambda body: body.decode().encode("utf-16")),
    Spoilt("22 GBK", {}, "encoding", wrap=lambda body: body.decode().encode("gbk")),
    Spoilt("23 emoji, 300 characters", {"receiver_address": STREET}, "", True, _consignee("street"), STREET),
    *(Spoilt(row, {f"{_LINE}.num": value}, "qty") for row, value in UNITS),
    Spoilt("36 off by one", {"payment": "25.01"}, "money_mismatch", True),
    Spoilt("38 no lines", {"orders.order": []}, "no_lines"),
    Spoilt("38 no list", {"orders": ...}, "no_lines"),
    Spoilt("38 line id twice", {"orders.order": [trade_line("77", "A", 1, "5.00")] * 2}, "duplicate_line"),
    Spoilt("38 one SKU on two lines", {f"{_LINE}.outer_sku_id": "EXT-B"}, "", True),
    Spoilt("39 unknown SKU", {f"{_LINE}.outer_sku_id": "NOBODY"}, "sku_unmapped", True),
    Spoilt("39 two SKUs of ours", {f"{_LINE}.outer_sku_id": "EXT-TWO"}, "sku_ambiguous", True),
    Spoilt("40 empty id", {"tid": "", "tid_str": ""}, "id"),
    Spoilt("40 blank id", {"tid": " ", "tid_str": " "}, "id"),
    Spoilt("40 no id", {"tid": None, "tid_str": None}, "id"),
    Spoilt("40 id of 300", {"tid": "1" * 300, "tid_str": "1" * 300}, "id"),
    Spoilt("40 another id", {"tid": "1", "tid_str": "1"}, "id_mismatch"),
    *(Spoilt(row, {"modified": value}, "time") for row, value in TIMES),
    Spoilt("41 created", {"created": "0000-00-00 00:00:00"}, "time"),
    Spoilt("41 list row", {}, "", True, listed={"modified": "0000-00-00 00:00:00"}),
    Spoilt("60 hostile name", {"receiver_name": HOSTILE}, "", True, _consignee("name"), HOSTILE),
    Spoilt("line id of 300", {f"{_LINE}.oid_str": "7" * 300}, "id"),
    Spoilt("refund id of 3,000", {f"{_LINE}.refund_id": "7" * 3000, f"{_LINE}.refund_status": "SUCCESS"}, "id"),
    Spoilt("not a trade", {}, "time", wrap=lambda _body: b'{"trade_fullinfo_get_response":{"trade":[]}}'),
]

_NODE = "lineItems.nodes.0"
_BAG = f"{_NODE}.originalUnitPriceSet.shopMoney.amount"
SHOPIFY = [
    Spoilt("13 deep", {"x": DEEP}, "depth"),
    *(Spoilt(row, {_BAG: value}, says) for row, value, says in MONEY),
    Spoilt("20 NUL", {f"{_NODE}.name": raw('"a\\u0000b"')}, "", True, _notes, ["replaced_characters"]),
    Spoilt("21 lone surrogate", {f"{_NODE}.name": raw('"a\\ud800b"')}, "", True, _notes, ["replaced_characters"]),
    Spoilt("22 GBK", {f"{_NODE}.name": raw(b'"\xc4\xe3\xba\xc3"')}, "encoding"),
    Spoilt("23 emoji, 300 characters", {"shippingAddress.address2": STREET}, "", True),
    *(Spoilt(row, {f"{_NODE}.quantity": value}, "qty") for row, value in UNITS),
    Spoilt("35 decimals in yen", {_BAG: "10.5"}, "money", currency="JPY"),
    Spoilt("35 four decimals in dinar", {_BAG: "10.0001"}, "money", currency="KWD"),
    Spoilt("35 two decimals in dinar", {}, "", True, currency="KWD"),
    Spoilt("36 off by one", {"totalPriceSet": bag("20.01", "CNY")}, "money_mismatch", True),
    Spoilt("37 no currency", {"currencyCode": None}, "currency_unknown"),
    Spoilt("37 no such currency", {"currencyCode": "XYZ"}, "currency_unknown"),
    Spoilt("37 RMB", {}, "", True, currency="RMB"),
    Spoilt("37 lower case", {}, "", True, currency="cny"),
    Spoilt("38 no lines", {"lineItems.nodes": []}, "no_lines"),
    Spoilt("38 more lines than told", {"lineItems.pageInfo.hasNextPage": True}, "too_many_lines"),
    Spoilt("39 unknown SKU", {f"{_NODE}.sku": None}, "sku_unmapped", True),
    Spoilt("39 two SKUs of ours", {f"{_NODE}.sku": "EXT-TWO"}, "sku_ambiguous", True),
    Spoilt("40 empty id", {"id": ""}, "id"),
    Spoilt("40 blank id", {"id": " "}, "id"),
    Spoilt("40 no id", {"id": None}, "id"),
    Spoilt("40 id of 3,000", {"id": "x" * 3000}, "id"),
    *(Spoilt(row, {"updatedAt": value}, "time") for row, value in TIMES),
    Spoilt("60 hostile name", {"shippingAddress.name": HOSTILE}, "", True, _consignee("name"), HOSTILE),
    Spoilt("null", {}, "not_a_record", wrap=lambda _body: b"null"),
    Spoilt("a text", {}, "not_a_record", wrap=lambda _body: b'"order"'),
]

_ITEM = "lines.0"
VENDURE = [
    Spoilt("13 deep", {"x": DEEP}, "depth"),
    Spoilt("14 NaN", {"totalWithTax": raw("NaN")}, "money"),
    Spoilt("14 Infinity", {f"{_ITEM}.linePriceWithTax": raw("Infinity")}, "money"),
    Spoilt("14 1e999", {"totalWithTax": raw("1e999")}, "money"),
    Spoilt("15 key twice", {"totalWithTax": TWICE}, "duplicate_key"),
    Spoilt("19 full-width digits", {"totalWithTax": "１２"}, "money"),
    Spoilt("20 NUL", {f"{_ITEM}.productVariant.name": raw('"a\\u0000b"')}, "", True, _notes, ["replaced_characters"]),
    Spoilt("22 GBK", {f"{_ITEM}.productVariant.name": raw(b'"\xc4\xe3\xba\xc3"')}, "encoding"),
    *(Spoilt(row, {f"{_ITEM}.quantity": value}, "qty") for row, value in UNITS[1:2] + UNITS[4:6]),
    Spoilt("35 negative", {"totalWithTax": -1}, "money"),
    Spoilt("35 part of a cent", {f"{_ITEM}.linePriceWithTax": raw("2000.5")}, "money"),
    Spoilt("35 sen", {f"{_ITEM}.linePriceWithTax": 2050}, "money", currency="JPY"),
    Spoilt("36 off by one", {"totalWithTax": 2001}, "money_mismatch", True),
    Spoilt("37 no currency", {"currencyCode": ...}, "currency_unknown"),
    Spoilt("38 no lines", {"lines": []}, "no_lines"),
    Spoilt("40 empty id", {"code": ""}, "id"),
    Spoilt("40 blank id", {"code": " "}, "id"),
    Spoilt("40 no id", {"code": None}, "id"),
    Spoilt("40 an object for an id", {"code": {}}, "type"),
    Spoilt("41 no such time", {"updatedAt": "zzzz", "orderPlacedAt": "0000-00-00"}, "time"),
    Spoilt("41 year 2099", {"updatedAt": "2099-01-01T00:00:00.000Z"}, "time"),
    Spoilt("null", {}, "not_a_record", wrap=lambda _body: b"null"),
]
TABLES: Mapping[str, list[Spoilt]] = {"tb": TAOBAO, "sf": SHOPIFY, "ve": VENDURE}


def good(account: str, number: int, at: datetime) -> Item:
    """A good order of one shop."""
    return spoil(account, number, at, Spoilt("good", {}, "", True))


def spoil(account: str, number: int, at: datetime, case: Spoilt) -> Item:
    """An order with a fault, under a number of its own."""
    kind = account[:2]
    if kind == "tb":
        tid = str(10**17 + number)
        document = changed(trade(tid, at), case.changes)
        row = trade_row(changed(trade(tid, at), case.listed or {}))
        return Item(tid, case.wrap(trade_body(document)), at, row)
    if kind == "sf":
        known = {"RMB": "CNY", "cny": "CNY"}.get(case.currency, case.currency)
        price, total = (from_minor(minor, known) for minor in (1000, 2000))
        if case.currency == "KWD":
            price, total = "1.50", "3.00"
        made = changed(node(str(number), at, currency=case.currency, price=price, total=total), case.changes)
        return Item(f"gid://shopify/Order/{number}", case.wrap(encoded(made)), at)
    code = f"C{number:06d}"
    document = changed(shop_order(code, at) | {"currencyCode": case.currency}, case.changes)
    return Item(code, case.wrap(encoded(document)), at)
