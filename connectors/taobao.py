"""Taobao / Tmall: orders by increments, tracking by logistics.offline.send.

Facts: china/taobao.md (read 2026-11-21). §4 paging rule H: increments come newest first, so pages are read from the last to
the first - a record that changes meanwhile moves towards pages still to be read, never away from them. Whether refunds.receive.get
is sorted the same way is not stated (M): the same order is used, and a page of it repeats nothing that matters.
§8 logistics.offline.send H; what a repeated send answers is not documented: it is looked up, never trusted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field, SecretStr

from domain.carriers import spoken_code
from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from normalizer.readers import read_time
from wire.budget import Budget
from wire.strict_json import parse_value, split_records

from ._channel import Capabilities, Channel, Confirmation, Confirmed, Document, Page, Session, Settings, Since
from ._taobao_order import MAPPING, ZONE, read_refund
from ._top import send_top, stamp

MOST_PAGES = 400  # of one window; more means the window is far too wide for TOP's list
_LINES_PER_SEND = 50  # sub_tid takes at most 50 (H)
_READERS = 8

_LIST_FIELDS = "tid,status,modified"
_REFUND_FIELDS = (
    "refund_id,tid,oid,status,refund_phase,dispute_type,total_fee,refund_fee,payment,good_status,has_good_return,created,modified,"
    "reason,desc,num,outer_id,sku,sid,company_name,order_status,refund_version"
)
_DETAIL_FIELDS = (
    "tid,type,status,seller_nick,buyer_nick,buyer_open_uid,created,pay_time,modified,consign_time,end_time,timeout_action_time,"
    "total_fee,discount_fee,adjust_fee,post_fee,payment,received_payment,platform_subsidy_fee,coupon_fee,alipay_point,"
    "step_trade_status,step_paid_fee,trade_from,shipping_type,buyer_message,seller_memo,seller_flag,has_post_fee,is_part_consign,"
    "receiver_country,receiver_state,receiver_city,receiver_district,receiver_town,receiver_address,receiver_name,receiver_mobile,"
    "receiver_phone,receiver_zip,oaid,modify_address,forbid_consign,top_hold,ofp_hold,team_buy_hold,promotion_details,orders"
)


class TaobaoSettings(Settings):
    """One shop of one app. `session` is the shop's access token; a merchant's own app cannot refresh it (facts §3, M), a person
    must authorise again. `carriers` maps our carrier codes to TOP's where they differ from the table."""

    base_url: str = "https://gw.api.taobao.com/router/rest"
    app_key: str = Field(min_length=1)
    app_secret: SecretStr = Field(min_length=1)
    session: SecretStr = Field(min_length=1)
    sign_method: Literal["md5", "hmac", "hmac-sha256"] = "hmac-sha256"
    page_size: int = Field(default=50, ge=1, le=100)
    window_minutes: int = Field(default=30, ge=1, le=1440)
    calls_per_second: float = Field(default=10, gt=0, le=10_000)
    carriers: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a pull stands: one window, one of its two lists, the next page of it (0: not counted yet)."""

    start: datetime
    end: datetime
    stage: Literal["refunds", "trades"] = "refunds"
    page: int = 0
    total: int = (
        0  # what TOP counted when this reading of the list began; 0 after a resume: rows seen before are unknown
    )

    def token(self) -> str:
        return f"{self.start:%Y%m%d%H%M%S}/{self.end:%Y%m%d%H%M%S}/{self.stage}/{self.page}"


def _place(token: str) -> _Place:
    try:
        start, end, stage, page = token.split("/")
        first, last = (datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC) for text in (start, end))
        if stage not in {"refunds", "trades"} or int(page) < 0:
            raise ValueError(stage)
        return _Place(first, last, "refunds" if stage == "refunds" else "trades", int(page))
    except ValueError:
        raise ConfigError("cursor_unreadable", "the stored page token is not one of this channel") from None


def _window_from(start: datetime, end: datetime, minutes: int) -> _Place:
    """The window that begins at `start`, whole seconds. Windows share their edge second: TOP's stamps have no fractions."""
    first = start.replace(microsecond=0)
    return _Place(first, min(first + timedelta(minutes=minutes), max(end.replace(microsecond=0), first)))


def pull(session: Session, since: Since) -> Iterator[Page]:
    """Windows of at most a day, each: refunds (their trades are read again, because a refund need not move the trade's
    `modified`), then trades from the last page to the first. `seen_to` comes with a window's last page only."""
    minutes, end = session.settings.window_minutes, since.end.replace(microsecond=0)
    place: _Place | None = _place(since.token) if since.token else _window_from(since.start, end, minutes)
    seen: set[tuple[str, str]] = set()
    rows: Counter[bytes] = Counter()
    while place is not None:
        if place.page == 0:
            rows.clear()
            total = _count(session, place)
            place = replace(place, page=_pages(session, total), total=total)
        documents, failed = _read_page(session, place, seen, rows) if place.page else ((), None)
        if failed is None:
            failed = _shortfall(session, place, rows.total())
        if failed is not None:
            # What was read is kept, the place is not left: the next try asks only for what is still missing.
            again = place if place.page > 1 or not place.total else replace(place, page=0)
            yield Page(documents=documents, next=again.token())
            raise failed
        after = _after(place, end, minutes)
        done = place.stage == "trades" and place.page <= 1
        if documents or done or after is None:
            yield Page(documents=documents, next=after.token() if after else "", seen_to=place.end if done else None)
        if done:
            seen.clear()
        place = after


def _after(place: _Place, end: datetime, minutes: int) -> _Place | None:
    if place.page > 1:
        return replace(place, page=place.page - 1)
    if place.stage == "refunds":
        return replace(place, stage="trades", page=0)
    return _window_from(place.end, end, minutes) if place.end < end else None


_METHODS = {
    "trades": ("taobao.trades.sold.increment.get", "trades_sold_increment_get_response", "trades.trade", _LIST_FIELDS),
    "refunds": ("taobao.refunds.receive.get", "refunds_receive_get_response", "refunds.refund", _REFUND_FIELDS),
}


def _list(session: Session, place: _Place, page: int, *, has_next: bool) -> bytes:
    method, _, _, fields = _METHODS[place.stage]
    params = {
        "fields": fields,
        "start_modified": stamp(place.start),
        "end_modified": stamp(place.end),
        "page_no": str(page),
        "page_size": str(session.settings.page_size),
        "use_has_next": "true" if has_next else "false",
    }
    return send_top(session.settings, session.client, session.budget, session.clock, method, params).body


def _count(session: Session, place: _Place) -> int:
    """How many records the list has. An answer without a total is a failure, not an empty window."""
    root = _METHODS[place.stage][1]
    total = _inner(_list(session, place, 1, has_next=False), root).get("total_results")
    if type(total) is not int or total < 0:
        raise RetryableError("count_missing", f"{root} without total_results")
    return total


def _pages(session: Session, total: int) -> int:
    """The number of the last page."""
    pages = (total + int(session.settings.page_size) - 1) // int(session.settings.page_size)
    if pages > MOST_PAGES:
        raise ConfigError("window_too_wide", f"{total} records in one window: make window_minutes smaller")
    return pages


def _shortfall(session: Session, place: _Place, rows: int) -> HubError | None:
    """The error when a list read to its end gave fewer rows than TOP counts. Records that change meanwhile leave the window, so
    it is counted once more before anything is said."""
    if place.page != 1 or rows >= place.total:
        return None
    try:
        total = _count(session, place)
    except HubError as error:
        return error
    return RetryableError("count_mismatch", f"{rows} rows of {total}") if rows < total else None


def _inner(body: bytes, root: str) -> Mapping[str, Any]:
    reply = parse_value(body).get(root)
    if not isinstance(reply, Mapping):
        raise RetryableError("unexpected_reply", f"no {root}")
    return reply


def _read_page(
    session: Session, place: _Place, seen: set[tuple[str, str]], rows: Counter[bytes]
) -> tuple[tuple[Document, ...], HubError | None]:
    """The documents of one page, and the error that kept the others of it from being read. `rows` collects what was listed. A
    row that names no trade is itself the document: nobody can ask for its detail, and it must not vanish."""
    _, root, path, _ = _METHODS[place.stage]
    value, records = split_records(_list(session, place, place.page, has_next=True), f"{root}.{path}", missing_ok=True)
    reply = value.get(root)
    if not records and not (isinstance(reply, Mapping) and type(reply.get("has_next")) is bool):
        raise RetryableError("records_missing", f"{root} without records and without has_next")
    # A row that comes again on another page is not one more: that is how a page sent twice is found out.
    rows |= Counter(raw for raw, _ in records)
    told = place.stage == "refunds" and "after_sale" in session.takes
    refunds = tuple(_refund_document(raw, record) for raw, record in records) if told else ()
    nameless = tuple(
        Document(kind="order", external_id="", body=raw)
        for raw, record in records
        if place.stage == "trades" and not (_text(record, "tid_str") or _text(record, "tid")).strip()
    )
    wanted: dict[str, str] = {}
    for _, record in records:
        tid, modified = _text(record, "tid_str") or _text(record, "tid"), _text(record, "modified")
        # A refund's stamp is not its trade's: the trade is read once per page whatever it says.
        if tid.strip() and ((tid, modified) not in seen or place.stage == "refunds"):
            seen.add((tid, modified))
            wanted.setdefault(tid, modified if place.stage == "trades" else "")
    documents, failed = _details(session, _unknown(session, wanted))
    return (*refunds, *nameless, *documents), failed


def _unknown(session: Session, wanted: Mapping[str, str]) -> dict[str, str]:
    """The trades whose listed version is not stored yet: the overlap lists most of them again and again."""
    versions = []
    for tid, modified in wanted.items():
        try:
            versions.append((tid, modified, read_time(modified, ZONE)))
        except MappingError:
            continue  # a refund's trade, or an unreadable stamp: read it
    known = session.known(versions) if versions else frozenset()
    return {tid: modified for tid, modified in wanted.items() if tid not in known}


def _refund_document(raw: bytes, record: Any) -> Document:
    return Document(
        kind="after_sale",
        external_id=_text(record, "refund_id"),
        body=raw,
        version=_text(record, "modified"),
    )


def _text(record: Any, name: str) -> str:
    """A field as text, "" when it or the record is not what it should be: the reader of the document will say so."""
    value = record.get(name) if isinstance(record, Mapping) else None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _details(session: Session, wanted: Mapping[str, str]) -> tuple[tuple[Document, ...], HubError | None]:
    """The trades in full, some at a time: one call each is TOP's rule, and a page of fifty in a row would take a minute. One
    that cannot be read now does not keep the others from being stored."""
    if not wanted:
        return (), None

    def read(item: tuple[str, str]) -> Document | HubError:
        try:
            return _detail(session, *item)
        except HubError as error:
            return error

    with ThreadPoolExecutor(min(_READERS, session.at_once, len(wanted)), thread_name_prefix="taobao") as pool:
        results = list(pool.map(read, wanted.items()))
    documents = tuple(result for result in results if isinstance(result, Document))
    return documents, next((result for result in results if isinstance(result, HubError)), None)


def _detail(session: Session, tid: str, listed: str = "") -> Document:
    """One trade. When TOP refuses it or sends something unreadable, the answer itself is the document: it becomes one
    exception, and its neighbours flow. Limits, sessions and platform faults are raised: the page is fetched again."""
    body = _fullinfo(session, tid, keep_refusals=True)
    try:
        trade = parse_value(body).get("trade_fullinfo_get_response", {}).get("trade", {})
        version = str(trade.get("modified") or listed)
    except (MappingError, AttributeError):
        version = listed
    return Document(kind="order", external_id=tid, body=body, version=version)


def _fullinfo(session: Session, tid: str, *, keep_refusals: bool) -> bytes:
    params = {"tid": tid, "fields": _DETAIL_FIELDS, "include_oaid": "true"}
    method = "taobao.trade.fullinfo.get"
    settings, client, budget = session.settings, session.client, session.budget
    return send_top(settings, client, budget, session.clock, method, params, keep_refusals=keep_refusals).body


def fetch(session: Session, ids: Sequence[str]) -> tuple[Document, ...]:
    """Named trades, as `pull` would give them; none of them when one cannot be read."""
    documents, failed = _details(session, dict.fromkeys(ids, ""))
    if failed is not None:
        raise failed
    return documents


def confirm(session: Session, parcel: Confirmation) -> Confirmed:
    """Tell TOP the waybill: the whole trade without sub orders, else by sub orders with is_split=1, fifty at a time. A
    refusal is checked against the trade: when it already shows this waybill, the parcel is confirmed."""
    company = spoken_code(parcel.carrier, "top", session.settings.carriers)
    if not company:
        # A wrong code passes silently (facts carrier_codes.md), so an unknown one is a question to a person.
        raise RefusedError("carrier_unknown", f"{parcel.carrier!r} has no TOP code: add it to the shop's carriers")
    oids = list(dict.fromkeys(line for line, _ in parcel.lines))
    if not oids and not parcel.whole_order:
        raise RefusedError("no_lines", "a parcel of a part of the order names no line")
    chunks = [oids[at : at + _LINES_PER_SEND] for at in range(0, len(oids), _LINES_PER_SEND)]
    reference = ""
    for chunk in [[]] if parcel.whole_order else chunks:
        reference = _send(session, parcel, company, chunk) or reference
    return Confirmed(reference=reference, document=_prove(session, parcel, oids))


def _prove(session: Session, parcel: Confirmation, oids: Sequence[str]) -> Document:
    """Read the trade back: servers have said "success" to a shipment and done nothing (live-servers.md, lesson 3)."""
    try:
        body = _fullinfo(session, parcel.order_id, keep_refusals=False)
        trade, shown = _shown(body, parcel.tracking, oids)
    except HubError as error:
        raise UnknownOutcomeError("unproven", f"sent, but reading back failed: {error.code}") from error
    if not shown:
        raise UnknownOutcomeError("not_shown", "the platform said success and does not show the waybill")
    return Document(kind="order", external_id=parcel.order_id, body=body, version=_text(trade, "modified"))


def _send(session: Session, parcel: Confirmation, company: str, oids: Sequence[str]) -> str:
    params = {"tid": parcel.order_id, "out_sid": parcel.tracking, "company_code": company}
    if oids:
        params |= {"sub_tid": ",".join(oids), "is_split": "1"}
    method = "taobao.logistics.offline.send"
    try:
        reply = send_top(session.settings, session.client, session.budget, session.clock, method, params, writes=True)
    except RefusedError:
        if _shows(session, parcel.order_id, parcel.tracking, oids or [line for line, _ in parcel.lines]):
            return ""
        raise
    answer = reply.json().get("logistics_offline_send_response")
    shipping = answer.get("shipping") if isinstance(answer, Mapping) else None
    if not isinstance(answer, Mapping) or not isinstance(shipping, Mapping) or "is_success" not in shipping:
        raise UnknownOutcomeError("unexpected_reply", "no shipping.is_success")
    if shipping["is_success"] is not True:
        raise RefusedError("not_shipped", str(shipping)[:200])
    return str(answer.get("request_id") or "")


def find(session: Session, parcel: Confirmation) -> Confirmed | None:
    """Read the trade back: the parcel is confirmed when every one of its lines carries this waybill."""
    oids = [line for line, _ in parcel.lines]
    return Confirmed() if _shows(session, parcel.order_id, parcel.tracking, oids) else None


def _shows(session: Session, tid: str, tracking: str, oids: Sequence[str]) -> bool:
    """Whether the lines `oids` (empty: some line at least) carry the waybill."""
    return _shown(_fullinfo(session, tid, keep_refusals=False), tracking, oids)[1]


def _shown(body: bytes, tracking: str, oids: Sequence[str]) -> tuple[Mapping[str, Any], bool]:
    trade = _inner(body, "trade_fullinfo_get_response").get("trade")
    orders = trade.get("orders") if isinstance(trade, Mapping) else None
    lines = orders.get("order") if isinstance(orders, Mapping) else None
    if not isinstance(trade, Mapping) or not isinstance(lines, list):
        raise RetryableError("unexpected_reply", "a trade without orders")
    told = {str(line.get("oid_str") or line.get("oid")): str(line.get("invoice_no") or "") for line in lines}
    return trade, all(told.get(oid) == tracking for oid in oids) if oids else tracking in told.values()


def budget(settings: Any) -> Budget:
    """TOP's limits are per app and not published as numbers (facts §10): start low, each ban teaches the rest."""
    return Budget(2 * settings.calls_per_second, settings.calls_per_second)


_AFTER_SALE: Callable[[Any, datetime], tuple[str, Any]] = read_refund

CHANNEL = Channel(
    name="taobao",
    title="Taobao / Tmall",
    order_prefix="TB",
    settings=TaobaoSettings,
    mapping=MAPPING,
    zone=ZONE,
    pull=pull,
    fetch=fetch,
    after_sale=_AFTER_SALE,
    confirm=confirm,
    find=find,
    budget=budget,
    window=timedelta(days=1),
    overlap=timedelta(minutes=5),
    can=Capabilities(parcels_per_line=1, partial=True, cancel_after_ship=False, readback=True, repeats="findable"),
)
