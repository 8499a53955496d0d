"""POST /router/rest as TOP answers it: sign, timestamp, session, then the method.

facts/china/taobao.md §1-§4, §8, §10 (2026-11-21)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sandbox.clock import Clock, cn_stamp, read_cn_stamp
from sandbox.faults import Injector, answer
from sandbox.http11 import Reply, Request
from sandbox.signing import same, top_sign

from .make import Doc, Trade
from .shop import Shop

SKEW = 600
DAY = 86400
PUBLIC, SEPARATOR, MOST_CALLS = b"#PUBLIC#", b"\r\n-S-\r\n", 50
SIGN_METHODS = {"md5", "hmac", "hmac-sha256"}
Params = dict[str, str]


class TopError(Exception):
    """An error_response: numeric code, message, sub code and sub message."""

    def __init__(self, code: int, msg: str, sub_code: str = "", sub_msg: str = "") -> None:
        super().__init__(msg)
        self.body = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg or msg}


@dataclass(slots=True)
class Gateway:
    """The TOP gateway of one app and one shop."""

    shop: Shop
    clock: Clock
    injector: Injector
    app_key: str
    app_secret: str
    session: str
    requests: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def handle(self, request: Request) -> Reply:
        """One HTTP call."""
        if request.path == "/router/batch" and request.method == "POST":
            return self.handle_many(request)
        if request.path != "/router/rest":
            return Reply(b"not found", 404, "text/plain")
        form = request.body.decode("utf-8", "replace") if request.method == "POST" else request.query
        params = dict(parse_qsl(form, keep_blank_values=True))
        if request.method == "POST" and request.query:
            params = {**request.params(), **params}
        method = params.get("method", "")
        drawn = self.injector.draw("taobao", method.removeprefix("taobao."), form)
        return answer(drawn, lambda _fault: self.call(method, params), self.limited)

    def handle_many(self, request: Request) -> Reply:
        """Several calls in one request ("API批量调用", 2026-11-22): what they share after #PUBLIC#, one answer each, in order. A
        fault strikes the whole request; a rate limit may also strike one of the calls."""
        pieces = request.body.split(SEPARATOR)
        public: Params = {}
        if pieces[0].startswith(PUBLIC):
            public = form_of(pieces.pop(0).removeprefix(PUBLIC))
        query = request.params()
        calls = [{**public, **(form_of(piece) if piece != b"N" else {})} for piece in pieces]
        method = public.get("method", "")
        text = request.body.decode("utf-8", "replace")
        drawn = self.injector.draw("taobao", method.removeprefix("taobao."), text)
        return answer(drawn, lambda _fault: self.run_many(query, calls, request.body), self.limited)

    def run_many(self, query: Params, calls: list[Params], body: bytes) -> Reply:
        """Check the caller once, then run call after call. A caller that fails the check gets one answer for all."""
        try:
            self.check_caller(query, body)
            if not 1 <= len(calls) <= MOST_CALLS:
                raise TopError(41, "Invalid arguments", "isv.invalid-parameter:batch")
        except TopError as error:
            return self.refusal(error)
        done = [
            self.limited() if self.injector.strikes("taobao", "rate_limit") else self.run(call.get("method", ""), call)
            for call in calls
        ]
        return Reply(SEPARATOR.join(reply.body for reply in done))

    def call(self, method: str, params: Params) -> Reply:
        """Check the caller, run the method, wrap the result."""
        try:
            self.check_caller(params)
        except TopError as error:
            return self.refusal(error)
        return self.run(method, params)

    def run(self, method: str, params: Params) -> Reply:
        """Run one method of a caller whose signature is good, wrap the result."""
        try:
            self.check_session(params)
            run = METHODS.get(method)
            if run is None:
                raise TopError(22, "Invalid method", "isv.invalid-method")
            body = run(self, params)
        except TopError as error:
            return self.refusal(error)
        name = method.removeprefix("taobao.").replace(".", "_").encode()
        return Reply(b'{"' + name + b'_response":{' + body + b',"request_id":"' + self.request_id().encode() + b'"}}')

    def refusal(self, error: TopError) -> Reply:
        """The error_response of a call."""
        return Reply(dump({"error_response": {**error.body, "request_id": self.request_id()}}))

    def limited(self) -> Reply:
        """The rate-limit answer: HTTP 200, code 7."""
        return Reply(
            dump(
                {
                    "error_response": {
                        "code": 7,
                        "msg": "App Call Limited",
                        "sub_code": "isv.access-limited-by-app-api-access-count",
                        "sub_msg": "This ban will last for 1 more seconds",
                        "request_id": self.request_id(),
                    }
                }
            )
        )

    def request_id(self) -> str:
        """A new id per call."""
        self.requests += 1
        return f"16b{self.requests:09x}"

    def check_caller(self, params: Params, body: bytes | None = None) -> None:
        """app_key, timestamp within 10 minutes, sign, format: in this order. With a `body` the method is in it. Raises TopError."""
        for name in ("method", "app_key", "timestamp", "sign", "sign_method", "v"):
            if not params.get(name) and not (body is not None and name == "method"):
                raise TopError(40, "Missing required arguments", f"isv.missing-parameter:{name}")
        if params["app_key"] != self.app_key:
            raise TopError(29, "Invalid app Key", "isv.appkey-not-exists")
        stamp = read_cn_stamp(params["timestamp"])
        if stamp is None or abs(stamp - self.clock.now("taobao")) > SKEW:
            raise TopError(41, "Invalid arguments", "isv.timestamp-limit-error", "timestamp偏差超过10分钟")
        expected = top_sign(params, self.app_secret, body or b"")
        if params["sign_method"] not in SIGN_METHODS or not same(params["sign"], expected):
            raise TopError(25, "Invalid signature")
        if params.get("format") != "json" or params["v"] != "2.0":
            raise TopError(41, "Invalid arguments", "isv.invalid-parameter:format")

    def check_session(self, params: Params) -> None:
        """Whose shop it is. Raises TopError."""
        if not params.get("session"):
            raise TopError(26, "Missing session", "isv.missing-session")
        if params["session"] != self.session:
            raise TopError(27, "Invalid session", "invalid-sessionkey", "SessionKey非法")

    def window(self, params: Params) -> tuple[int, int, int, int, bool]:
        """(first second, last second, page_no, page_size, use_has_next) of an increment call. Raises TopError."""
        first, last = read_cn_stamp(params.get("start_modified", "")), read_cn_stamp(params.get("end_modified", ""))
        if not params.get("fields"):
            raise TopError(40, "Missing required arguments", "isv.missing-parameter:fields")
        if first is None or last is None:
            raise TopError(40, "Missing required arguments", "isv.missing-parameter:start_modified")
        if not 0 <= last - first <= DAY:
            raise TopError(41, "Invalid arguments", "isv.invalid-parameter", "查询时间跨度不能超过一天")
        page, size = number(params, "page_no", 1), number(params, "page_size", 40)
        if page < 1 or not 1 <= size <= 100:
            raise TopError(41, "Invalid arguments", "isv.invalid-parameter:page_size")
        return first, last, page, size, params.get("use_has_next") == "true"

    def trades(self, params: Params) -> bytes:
        """taobao.trades.sold.increment.get: newest change first, so a change while paging moves rows to the next page."""
        first, last, page, size, has_next = self.window(params)
        wanted, index = params.get("status", ""), self.shop.index
        low, high = index.span(first, last)
        entries = index.entries[low:high]
        if wanted:
            entries = [entry for entry in entries if self.status_at(entry) == wanted]
        entries = entries[::-1]
        part = entries[(page - 1) * size : page * size]
        rows = b",".join(self.trade_row(entry, params["fields"]) for entry in part)
        self.touch_some(part)
        more = (
            f'"has_next":{str(page * size < len(entries)).lower()}' if has_next else f'"total_results":{len(entries)}'
        )
        return more.encode() + (b',"trades":{"trade":[' + rows + b"]}" if part else b"")

    def status_at(self, entry: tuple[int, int]) -> str:
        """The status a list entry shows: an older version shows its own."""
        trade = self.shop.trades[entry[1]]
        if trade.ghost is not None and trade.ghost[0] == entry[0]:
            return trade.ghost[1]
        return str(trade.doc["status"])

    def trade_row(self, entry: tuple[int, int], fields: str) -> bytes:
        """One list row: only the wanted fields of the trade."""
        trade = self.shop.trades[entry[1]]
        if trade.ghost is not None and trade.ghost[0] == entry[0]:
            ghost = {**trade.doc, "status": trade.ghost[1], "modified": cn_stamp(trade.ghost[0])}
            return dump(select(ghost, fields, with_oaid=False))
        return render(trade, fields, with_oaid=False)

    def touch_some(self, part: list[tuple[int, int]]) -> None:
        """Trades of kind `touched` change right after somebody has listed them, twice at most."""
        for _second, tid in part:
            trade = self.shop.trades[tid]
            if trade.touches > 0:
                trade.touches -= 1
                self.shop.touch(trade, "touched")

    def find(self, params: Params) -> Trade:
        """The trade named by `tid`. Raises TopError when it is missing or not visible yet."""
        text = params.get("tid", "")
        trade = self.shop.trades.get(int(text)) if text.isascii() and text.isdigit() else None
        if trade is None or trade.hidden:
            raise TopError(15, "Remote service error", "isv.trade-not-exist", "交易不存在")
        return trade

    def fullinfo(self, params: Params) -> bytes:
        """taobao.trade.fullinfo.get: the wanted fields; `oaid` only when include_oaid is sent."""
        if not params.get("fields"):
            raise TopError(40, "Missing required arguments", "isv.missing-parameter:fields")
        return b'"trade":' + render(self.find(params), params["fields"], with_oaid=bool(params.get("include_oaid")))

    def refunds(self, params: Params) -> bytes:
        """taobao.refunds.receive.get: refunds by their last change, newest first; one status per call."""
        first, last, page, size, has_next = self.window(params)
        low, high = self.shop.refund_index.span(first, last)
        found = [self.shop.refunds[ident] for _second, ident in self.shop.refund_index.entries[low:high]][::-1]
        if params.get("status"):
            found = [record for record in found if record["status"] == params["status"]]
        part = found[(page - 1) * size : page * size]
        names = {name.strip() for name in params["fields"].split(",")}
        rows = [{name: value for name, value in record.items() if name in names} for record in part]
        body: Doc = {"has_next": page * size < len(found)} if has_next else {"total_results": len(found)}
        if rows:
            body["refunds"] = {"refund": rows}
        return dump(body)[1:-1]

    def send(self, params: Params) -> bytes:
        """taobao.logistics.offline.send: tells the buyer the tracking number of the trade or of some sub-orders."""
        for name in ("tid", "out_sid", "company_code"):
            if not params.get(name):
                raise TopError(40, "Missing required arguments", f"isv.missing-parameter:{name}")
        subs = [part for part in params.get("sub_tid", "").split(",") if part]
        if len(subs) > 50 or not all(part.isascii() and part.isdigit() for part in subs):
            raise TopError(41, "Invalid arguments", "isv.invalid-parameter:sub_tid")
        refusal = self.shop.ship(
            self.find(params),
            [int(part) for part in subs],
            params.get("is_split") == "1",
            params["company_code"],
            params["out_sid"],
        )
        if refusal is not None:
            raise TopError(15, "Remote service error", *refusal)
        return b'"shipping":{"is_success":true}'


METHODS: dict[str, Callable[[Gateway, Params], bytes]] = {
    "taobao.trades.sold.increment.get": Gateway.trades,
    "taobao.trade.fullinfo.get": Gateway.fullinfo,
    "taobao.refunds.receive.get": Gateway.refunds,
    "taobao.logistics.offline.send": Gateway.send,
}


def dump(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return orjson.dumps(value)


def form_of(text: bytes) -> Params:
    """Form fields, decoded."""
    return dict(parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True))


def number(params: Params, name: str, default: int) -> int:
    """An integer parameter. Raises TopError when it is none."""
    try:
        return int(params.get(name) or default)
    except ValueError:
        raise TopError(41, "Invalid arguments", f"isv.invalid-parameter:{name}") from None


def select(doc: Doc, fields: str, *, with_oaid: bool) -> Doc:
    """The wanted fields; `tid` brings its text twin, `orders` all of a line, `orders.x` one field of it."""
    names = {name.strip() for name in fields.split(",")}
    inner = {name.split(".", 1)[1] for name in names if name.startswith("orders.")}
    names |= {"tid_str"} if "tid" in names else set()
    out = {name: value for name, value in doc.items() if name in names and (with_oaid or name != "oaid")}
    if inner and "orders" not in names and isinstance(doc.get("orders"), dict):
        inner |= {"oid_str"} if "oid" in inner else set()
        out["orders"] = {"order": [{k: v for k, v in line.items() if k in inner} for line in doc["orders"]["order"]]}
    return out


def render(trade: Trade, fields: str, *, with_oaid: bool) -> bytes:
    """The trade's JSON, kept until the trade changes."""
    key = f"{with_oaid}{fields}"
    raw = trade.cache.get(key)
    if raw is None:
        raw = trade.cache[key] = dump(select(trade.doc, fields, with_oaid=with_oaid))
    return raw
