"""Taobao / Tmall: orders by increments, tracking by logistics.offline.send.

Facts: china/taobao.md (read 2026-11-21). §4 paging rule H: increments come newest first, so pages are read from the last to
the first - a record that changes meanwhile moves towards pages still to be read, never away from them. Whether refunds.receive.get
is sorted the same way is not stated (M): the same order is used, and a page of it repeats nothing that matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field, SecretStr

from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError
from normalizer.readers import read_time
from wire.budget import Budget
from wire.records import split_records
from wire.strict_json import parse_value

from ._channel import Capabilities, Channel, Document, Page, Session, Settings, Since
from ._taobao_order import MAPPING, ZONE, read_refund
from ._taobao_trade import (
    ASKED,
    DETAIL,
    call_many,
    confirm,
    confirm_many,
    find,
    inner_of,
    read_in_full,
    text_of,
    trade_document,
)
from ._top import send_top, stamp, takes_many

MOST_PAGES = 400  # of one window; more means the window is far too wide for TOP's list
_READERS = 8

_LIST_FIELDS = "tid,status,modified"
_REFUND_FIELDS = (
    "refund_id,tid,oid,status,refund_phase,dispute_type,total_fee,refund_fee,payment,good_status,has_good_return,created,modified,"
    "reason,desc,num,outer_id,sku,sid,company_name,order_status,refund_version"
)


class TaobaoSettings(Settings):
    """One shop of one app. `session` is the shop's access token; a merchant's own app cannot refresh it (facts §3, M), a person
    must authorise again. `carriers` maps our carrier codes to TOP's where they differ from the table. `batch` calls go together
    where a call is about one trade (1: never)."""

    base_url: str = "https://gw.api.taobao.com/router/rest"
    app_key: str = Field(min_length=1)
    app_secret: SecretStr = Field(min_length=1)
    session: SecretStr = Field(min_length=1)
    sign_method: Literal["md5", "hmac", "hmac-sha256"] = "hmac-sha256"
    page_size: int = Field(default=50, ge=1, le=100)
    window_minutes: int = Field(default=30, ge=1, le=1440)
    calls_per_second: float = Field(default=10, gt=0, le=10_000)
    batch: int = Field(default=1, ge=1, le=50)
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


@dataclass(slots=True)
class _Listed:
    """What one reading of a list showed. `rows`: names, as often as one page showed them, and versions of a trade that the shop
    still lists beside a newer one. `newest`: the last change of each that any reading of this list showed; `before`: as of the
    reading before this one."""

    rows: Counter[Any] = field(default_factory=Counter)
    newest: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] | None = None

    def again(self) -> None:
        self.rows, self.before = Counter(), dict(self.newest)

    def take(self, named: Sequence[tuple[str, str, bytes]]) -> None:
        """(name, last change, row) of one page."""
        # What comes again on another page is not one more, whatever it says by then: so a page that was sent twice is found out,
        # and a trade that changed, stayed in the window and pushed an unread one onto a page that was read. Only a version that is
        # listed although an earlier reading saw a newer one stands there for itself.
        before = self.before or {}
        self.rows |= Counter((name, at) if at and at < before.get(name, "") else name or raw for name, at, raw in named)
        for name, at, _ in named:
            self.newest[name] = max(at, self.newest.get(name, ""))


def pull(session: Session, since: Since) -> Iterator[Page]:
    """Windows of at most a day, each: refunds (their trades are read again, because a refund need not move the trade's
    `modified`), then trades from the last page to the first. `seen_to` comes with a window's last page only."""
    minutes, end = session.settings.window_minutes, since.end.replace(microsecond=0)
    place: _Place | None = _place(since.token) if since.token else _window_from(since.start, end, minutes)
    seen: set[tuple[str, str]] = set()
    listed = _Listed()
    while place is not None:
        if place.page == 0:
            total = _count(session, place)
            place = replace(place, page=_pages(session, total), total=total)
        documents, failed = _read_page(session, place, seen, listed) if place.page else ((), None)
        if failed is None:
            failed = _shortfall(session, place, listed.rows.total())
        if failed is not None:
            # What was read is kept, the place is not left: the next try asks only for what is still missing.
            again = place if place.page > 1 or not place.total else replace(place, page=0)
            yield Page(documents=documents, next=again.token())
            if failed.code != "count_mismatch" or listed.before is not None:
                raise failed
            listed.again()
            place = again
            continue
        after = _after(place, end, minutes)
        done = place.stage == "trades" and place.page <= 1
        if documents or done or after is None:
            yield Page(documents=documents, next=after.token() if after else "", seen_to=place.end if done else None)
        if done:
            seen.clear()
        if place.page <= 1:
            listed = _Listed()
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
    total = inner_of(parse_value(_list(session, place, 1, has_next=False)), root).get("total_results")
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
    it is counted once more before anything is said; and read once more before anybody gives up (`pull`)."""
    if place.page != 1 or rows >= place.total:
        return None
    try:
        total = _count(session, place)
    except HubError as error:
        return error
    return RetryableError("count_mismatch", f"{rows} rows of {total}") if rows < total else None


def _read_page(
    session: Session, place: _Place, seen: set[tuple[str, str]], listed: _Listed
) -> tuple[tuple[Document, ...], HubError | None]:
    """The documents of one page, and the error that kept the others of it from being read. `listed` collects what was listed. A
    row that names no trade is itself the document: nobody can ask for its detail, and it must not vanish."""
    _, root, path, _ = _METHODS[place.stage]
    value, records = split_records(_list(session, place, place.page, has_next=True), f"{root}.{path}", missing_ok=True)
    reply = value.get(root)
    if not records and not (isinstance(reply, Mapping) and type(reply.get("has_next")) is bool):
        raise RetryableError("records_missing", f"{root} without records and without has_next")
    listed.take([(_name_of(place, record), text_of(record, "modified"), raw) for raw, record in records])
    told = place.stage == "refunds" and "after_sale" in session.takes
    refunds = tuple(_refund_document(raw, record) for raw, record in records) if told else ()
    nameless = tuple(
        Document(kind="order", external_id="", body=raw)
        for raw, record in records
        if place.stage == "trades" and not (text_of(record, "tid_str") or text_of(record, "tid")).strip()
    )
    wanted: dict[str, str] = {}
    for _, record in records:
        tid, modified = text_of(record, "tid_str") or text_of(record, "tid"), text_of(record, "modified")
        # A refund's stamp is not its trade's: the trade is read once per page whatever it says.
        if tid.strip() and ((tid, modified) not in seen or place.stage == "refunds"):
            seen.add((tid, modified))
            wanted.setdefault(tid, modified if place.stage == "trades" else "")
    documents, failed = _details(session, _unknown(session, wanted))
    return (*refunds, *nameless, *documents), failed


def _name_of(place: _Place, record: Any) -> str:
    if place.stage == "refunds":
        return text_of(record, "refund_id").strip()
    return (text_of(record, "tid_str") or text_of(record, "tid")).strip()


def _unknown(session: Session, wanted: Mapping[str, str]) -> dict[str, str]:
    """The trades whose listed version is not stored yet: the overlap lists most of them again and again."""
    # Whole seconds: many share one.
    times = {modified: _time(modified) for modified in set(wanted.values())}
    versions = [(tid, modified, at) for tid, modified in wanted.items() if (at := times[modified]) is not None]
    known = session.known(versions) if versions else frozenset()
    return {tid: modified for tid, modified in wanted.items() if tid not in known}


def _time(modified: str) -> datetime | None:
    """None: a refund's trade, or an unreadable stamp. Such a trade is read."""
    try:
        return read_time(modified, ZONE)
    except MappingError:
        return None


def _refund_document(raw: bytes, record: Any) -> Document:
    return Document(
        kind="after_sale",
        external_id=text_of(record, "refund_id"),
        body=raw,
        version=text_of(record, "modified"),
    )


def _details(session: Session, wanted: Mapping[str, str]) -> tuple[tuple[Document, ...], HubError | None]:
    """The trades in full, some at a time: one call each is TOP's rule, and a page of fifty in a row would take a minute. One
    that cannot be read now does not keep the others from being stored."""
    if not wanted:
        return (), None
    size = batch(session.settings)

    def read(items: Sequence[tuple[str, str]]) -> list[Document | HubError]:
        try:
            return _some_details(session, items) if size > 1 else [_detail(session, *items[0])]
        except HubError as error:
            return [error]

    listed = list(wanted.items())
    chunks = [listed[at : at + size] for at in range(0, len(listed), size)]
    if len(chunks) == 1:
        results = read(chunks[0])
    else:
        with ThreadPoolExecutor(min(_READERS, session.at_once, len(chunks)), thread_name_prefix="taobao") as pool:
            results = [result for some in pool.map(read, chunks) for result in some]
    documents = tuple(result for result in results if isinstance(result, Document))
    return documents, next((result for result in results if isinstance(result, HubError)), None)


def _some_details(session: Session, items: Sequence[tuple[str, str]]) -> list[Document | HubError]:
    """Several trades with one request. Those it could not read now are asked for one by one, with patience."""
    answers = call_many(session, DETAIL, ASKED, [{"tid": tid} for tid, _ in items])
    found: list[Document | HubError] = []
    for (tid, listed), answer in zip(items, answers, strict=True):
        if answer.error is None or isinstance(answer.error, RefusedError):
            found.append(_as_document(tid, answer.body, answer.value, listed))
            continue
        try:
            found.append(_detail(session, tid, listed))
        except HubError as error:
            found.append(error)
    return found


def _detail(session: Session, tid: str, listed: str = "") -> Document:
    """One trade. When TOP refuses it or sends something unreadable, the answer itself is the document: it becomes one
    exception, and its neighbours flow. Limits, sessions and platform faults are raised: the page is fetched again."""
    body = read_in_full(session, tid, keep_refusals=True)
    try:
        value = parse_value(body)
    except MappingError:
        value = None
    return _as_document(tid, body, value, listed)


def _as_document(tid: str, body: bytes, value: Any, listed: str) -> Document:
    try:
        version = str(value.get("trade_fullinfo_get_response", {}).get("trade", {}).get("modified") or listed)
    except AttributeError:
        version = listed
    return trade_document(tid, body, version)


def fetch(session: Session, ids: Sequence[str]) -> tuple[Document, ...]:
    """Named trades, as `pull` would give them; none of them when one cannot be read."""
    documents, failed = _details(session, dict.fromkeys(ids, ""))
    if failed is not None:
        raise failed
    return documents


def batch(settings: Any) -> int:
    """How many calls of one kind go together."""
    return int(settings.batch) if takes_many(settings) else 1


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
    confirm_many=confirm_many,
    batch=batch,
    find=find,
    budget=budget,
    window=timedelta(days=1),
    overlap=timedelta(minutes=5),
    can=Capabilities(parcels_per_line=1, partial=True, cancel_after_ship=False, readback=True, repeats="findable"),
)
