"""Three shops and a warehouse that answer right until a test says otherwise, and the messages of the warehouse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from tests.wire.loopback import Seen, reply
from wire.signing import qimen_sign

from .wares import CHINA

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
QIMEN = {"app_key": "app", "secret": "qimen-secret", "customer_id": "customer", "owner_code": "OWNER1"}
UNKNOWN_TRADE = b'{"error_response":{"code":15,"sub_code":"isv.trade-not-exist","sub_msg":"no such trade"}}'
_FIELD = re.compile(r"updated_at:(>=|<=)'([^']+)'")


@dataclass(frozen=True, slots=True)
class Cut:
    """Bytes after which the connection is closed."""

    data: bytes


Answer = bytes | Cut | None


@dataclass(slots=True)
class Clock:
    """A clock that moves a microsecond per look, and as far as a test says."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at

    def wait(self, **span: float) -> None:
        self.at += timedelta(**span)


@dataclass(slots=True)
class Item:
    """One order on a shelf: what a list is sorted by, since when it is visible, its document, and its list row (TOP only)."""

    id: str
    raw: bytes
    at: datetime
    row: bytes = b""
    visible: datetime = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Shop:
    """One shop: a shelf, answers that are given instead of the right ones, and what was asked."""

    clock: Clock
    shelf: list[Item] = field(default_factory=list)
    lies: list[Answer | Callable[[Seen], Answer]] = field(default_factory=list)
    always: Callable[[Seen], Answer] | None = None
    asked: list[str] = field(default_factory=list)
    shipped: list[str] = field(default_factory=list)
    forgets: bool = False
    meanwhile: Callable[[], None] = lambda: None

    def lie(self, seen: Seen) -> tuple[bool, Answer]:
        """Whether this call is answered otherwise, and how (None: the connection is closed)."""
        told = self.lies.pop(0) if self.lies else self.always
        if told is None:
            return self.always is not None, None
        return True, told(seen) if callable(told) else told

    def visible(self) -> list[Item]:
        return [item for item in self.shelf if item.visible <= self.clock.at]

    # --- TOP ------------------------------------------------------------------------------------------------------------

    def top(self, form: Mapping[str, str]) -> bytes:
        """increment.get, fullinfo.get, refunds and offline.send, as facts/china/taobao.md §4 says."""
        method = form["method"].removeprefix("taobao.")
        if method == "refunds.receive.get":
            return b'{"refunds_receive_get_response":{"total_results":0}}'
        if method == "trade.fullinfo.get":
            return next((item.raw for item in self.shelf if item.id == form["tid"]), UNKNOWN_TRADE)
        if method == "logistics.offline.send":
            self.shipped.append(form["out_sid"])
            if not self.forgets:
                self._show_waybill(form)
            return b'{"logistics_offline_send_response":{"shipping":{"is_success":true}}}'
        first, last = (_top_time(form[name]) for name in ("start_modified", "end_modified"))
        found = sorted((i for i in self.visible() if first <= i.at <= last), key=lambda i: i.at, reverse=True)
        page, size = int(form["page_no"]), int(form["page_size"])
        if form["use_has_next"] == "false":
            return b'{"trades_sold_increment_get_response":{"total_results":%d}}' % len(found)
        part = found[(page - 1) * size : page * size]
        more = b"true" if page * size < len(found) else b"false"
        rows = b',"trades":{"trade":[' + b",".join(item.row for item in part) + b"]}" if part else b""
        self.meanwhile()
        return b'{"trades_sold_increment_get_response":{"has_next":' + more + rows + b"}}"

    def _show_waybill(self, form: Mapping[str, str]) -> None:
        item = next(item for item in self.shelf if item.id == form["tid"])
        document = json.loads(item.raw)
        for line in document["trade_fullinfo_get_response"]["trade"]["orders"]["order"]:
            if line["oid_str"] in form.get("sub_tid", line["oid_str"]).split(","):
                line["invoice_no"] = form["out_sid"]
        item.raw = json.dumps(document, ensure_ascii=False).encode()

    # --- Shopify and Vendure --------------------------------------------------------------------------------------------

    def graph(self, call: Mapping[str, Any]) -> bytes:
        """HubOrders of either shop, HubOrder by id; oldest change first."""
        variables = call["variables"]
        if "login" in call["query"]:
            return b'{"data":{"login":{"id":"1"}}}'
        if "options" in variables:
            return self._vendure(variables["options"])
        if "query" not in variables:
            found = [item.raw for item in self.visible() if item.id == variables["id"]]
            return b'{"data":{"order":' + (found[0] if found else b"null") + b"}}"
        bounds = dict(_FIELD.findall(variables["query"]))
        first, last = (datetime.fromisoformat(bounds[mark]) for mark in (">=", "<="))
        inside = [i for i in self.visible() if first <= i.at.replace(microsecond=0) <= last]
        # A cursor is a place in the order of changes, not a count: what leaves meanwhile shifts nothing.
        listed = sorted((i for i in inside if _place(i) > (variables["after"] or "")), key=_place)
        part = listed[: variables["first"]]
        self.meanwhile()
        return page(part, has_next=len(part) < len(listed), cursor=_place(part[-1]) if part else "")

    def _vendure(self, options: Mapping[str, Any]) -> bytes:
        found = self.visible()
        if "code" in options["filter"]:
            found = [item for item in found if item.id in options["filter"]["code"]["in"]]
        else:
            after = next(test["after"] for test in options["filter"].values() if "after" in test)
            found = sorted((i for i in found if i.at > datetime.fromisoformat(after)), key=lambda i: i.at)
        part = found[options.get("skip", 0) :][: options["take"]]
        items = b",".join(item.raw for item in part)
        self.meanwhile()
        return b'{"data":{"orders":{"totalItems":%d,"items":[%s]}}}' % (len(found), items)


def _place(item: Item) -> str:
    return f"{item.at.isoformat(timespec='microseconds')} {item.id}"


def page(items: list[Item], *, has_next: bool, cursor: str) -> bytes:
    """One Shopify page."""
    info = json.dumps({"hasNextPage": has_next, "endCursor": cursor}).encode()
    nodes = b",".join(item.raw for item in items)
    return b'{"data":{"orders":{"pageInfo":' + info + b',"nodes":[' + nodes + b"]}}}"


def _top_time(text: str) -> datetime:
    return datetime.strptime(f"{text}+0800", "%Y-%m-%d %H:%M:%S%z").astimezone(UTC)


@dataclass(slots=True)
class Wms:
    """A Qimen warehouse: what it knows by code, answers given instead of the right ones, what it was sent."""

    known: dict[str, bytes] = field(default_factory=dict)
    lies: list[Answer | Callable[[Seen], Answer]] = field(default_factory=list)
    calls: list[tuple[str, bytes]] = field(default_factory=list)
    before: Callable[[str, bytes], None] = lambda _method, _body: None
    forgets: bool = False

    def answer(self, seen: Seen) -> Answer:
        method = dict(parse_qsl(seen.target.partition("?")[2]))["method"]
        self.calls.append((method, seen.body))
        self.before(method, seen.body)
        if self.lies:
            lie = self.lies.pop(0)
            return lie(seen) if callable(lie) else lie
        code = tagged(seen.body, "deliveryOrderCode") or tagged(seen.body, "orderCode")
        if method == "deliveryorder.create":
            if not self.forgets:
                self.known[code] = seen.body
            return reply(200, answer_xml("<deliveryOrderId>W-1</deliveryOrderId>"))
        if method == "order.cancel":
            return reply(200, answer_xml())
        if code not in self.known:
            return reply(200, answer_xml(flag="failure", code="S021", message="单据不存在"))
        head = f"<deliveryOrder><deliveryOrderCode>{code}</deliveryOrderCode><status>ACCEPT</status></deliveryOrder>"
        return reply(200, answer_xml(head))

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)


def answer_xml(more: str = "", *, flag: str = "success", code: str = "0", message: str = "ok") -> bytes:
    """A Qimen answer."""
    head = f"<flag>{flag}</flag><code>{code}</code><message>{message}</message>"
    return f'<?xml version="1.0" encoding="utf-8"?><response>{head}{more}</response>'.encode()


def tagged(body: bytes, name: str) -> str:
    """The text of the first element of that name."""
    found = re.search(f"<{name}>([^<]*)</{name}>".encode(), body)
    return found.group(1).decode() if found else ""


def stamp(at: datetime) -> str:
    """As TOP and Qimen write a time."""
    return (at.astimezone(UTC) + CHINA).strftime("%Y-%m-%d %H:%M:%S")


Goods = Sequence[tuple[str, str, str | int]]


def package(tracking: str, goods: Goods) -> str:
    """One parcel of (line number, item code, quantity)."""
    items = "".join(
        f"<item><itemCode>{sku}</itemCode><quantity>{units}</quantity><orderLineNo>{ref}</orderLineNo></item>"
        for ref, sku, units in goods
    )
    return f"<package><logisticsCode>SF</logisticsCode><expressCode>{tracking}</expressCode><items>{items}</items></package>"


def confirm_xml(code: str, *packages: str, biz: str, final: bool = True, status: str = "DELIVERED") -> bytes:
    """A deliveryorder.confirm."""
    head = (
        f"<deliveryOrderCode>{code}</deliveryOrderCode><status>{status}</status><outBizCode>{biz}</outBizCode>"
        f"<confirmType>{0 if final else 1}</confirmType>"
    )
    body = f"<deliveryOrder>{head}</deliveryOrder><packages>{''.join(packages)}</packages><orderLines/>"
    return f'<?xml version="1.0" encoding="utf-8"?><request>{body}</request>'.encode()


def signed(clock: Clock, body: bytes, *, secret: str = QIMEN["secret"], **changes: str) -> dict[str, str]:
    """The query of a callback with a good signature, unless told otherwise."""
    query = {
        "method": "deliveryorder.confirm",
        "timestamp": stamp(clock.at),
        "format": "xml",
        "app_key": QIMEN["app_key"],
        "v": "2.0",
        "sign_method": "md5",
        "customerId": QIMEN["customer_id"],
    } | changes
    return query | {"sign": qimen_sign(query, body, secret)}
