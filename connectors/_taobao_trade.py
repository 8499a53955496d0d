"""One Taobao trade, or several with one request: reading it in full, telling it a waybill, looking whether it has it.

Facts: china/taobao.md (read 2026-11-21). §8 logistics.offline.send H; what a repeated send answers is not documented: it is looked
up, never trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from domain.carriers import spoken_code
from domain.errors import HubError, RefusedError, RetryableError, UnknownOutcomeError
from wire.strict_json import parse_value

from ._channel import Confirmation, Confirmed, Document, Session
from ._top import Answer, send_top, send_top_many, without_request_id

DETAIL = "taobao.trade.fullinfo.get"
_SHIP = "taobao.logistics.offline.send"
_LINES_PER_SEND = 50  # sub_tid takes at most 50 (H)

_DETAIL_FIELDS = (
    "tid,type,status,seller_nick,buyer_nick,buyer_open_uid,created,pay_time,modified,consign_time,end_time,timeout_action_time,"
    "total_fee,discount_fee,adjust_fee,post_fee,payment,received_payment,platform_subsidy_fee,coupon_fee,alipay_point,"
    "step_trade_status,step_paid_fee,trade_from,shipping_type,buyer_message,seller_memo,seller_flag,has_post_fee,is_part_consign,"
    "receiver_country,receiver_state,receiver_city,receiver_district,receiver_town,receiver_address,receiver_name,receiver_mobile,"
    "receiver_phone,receiver_zip,oaid,modify_address,forbid_consign,top_hold,ofp_hold,team_buy_hold,promotion_details,orders"
)

ASKED = {"fields": _DETAIL_FIELDS, "include_oaid": "true"}


def text_of(record: Any, name: str) -> str:
    """A field as text, "" when it or the record is not what it should be: the reader of the document will say so."""
    value = record.get(name) if type(record) is dict or isinstance(record, Mapping) else None
    if type(value) is str:
        return value
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def inner_of(value: Any, root: str) -> Mapping[str, Any]:
    """What stands under the answer's name. Raises RetryableError `unexpected_reply` when nothing does."""
    reply = value.get(root) if isinstance(value, Mapping) else None
    if not isinstance(reply, Mapping):
        raise RetryableError("unexpected_reply", f"no {root}")
    return reply


def trade_document(tid: str, body: bytes, version: str) -> Document:
    """An answer of trade.fullinfo.get as a document: read twice between two changes, it says the same both times."""
    return Document(kind="order", external_id=tid, body=body, version=version, says=without_request_id(body))


def read_in_full(session: Session, tid: str, *, keep_refusals: bool) -> bytes:
    """The answer of trade.fullinfo.get, as sent; errors as `send_top`."""
    params = {"tid": tid, **ASKED}
    settings, client, budget = session.settings, session.client, session.budget
    return send_top(settings, client, budget, session.clock, DETAIL, params, keep_refusals=keep_refusals).body


def call_many(
    session: Session,
    method: str,
    shared: Mapping[str, str],
    calls: Sequence[Mapping[str, str]],
    *,
    writes: bool = False,
) -> list[Answer]:
    """`send_top_many` for this account."""
    settings, client, budget = session.settings, session.client, session.budget
    return send_top_many(settings, client, budget, session.clock, method, shared, calls, writes=writes)


def confirm(session: Session, parcel: Confirmation) -> Confirmed:
    """Tell TOP the waybill: the whole trade without sub orders, else by sub orders with is_split=1, fifty at a time. A
    refusal is checked against the trade: when it already shows this waybill, the parcel is confirmed."""
    reference = ""
    for call in _calls_of(session, parcel):
        reference = _send(session, parcel, call) or reference
    return Confirmed(reference=reference, document=_prove(session, parcel))


def confirm_many(session: Session, parcels: Sequence[Confirmation]) -> list[Confirmed | HubError]:
    """Parcels of different trades in two requests: all are told, then all are read back. A parcel that needs several calls, or
    whose answer is no plain yes, goes its own way as with `confirm`."""
    ends: list[Confirmed | HubError | None] = [None] * len(parcels)
    plain: list[tuple[int, dict[str, str]]] = []
    for at, parcel in enumerate(parcels):
        try:
            calls = _calls_of(session, parcel)
            if len(calls) == 1:
                plain.append((at, calls[0]))
            else:
                ends[at] = confirm(session, parcel)
        except HubError as error:
            ends[at] = error
    references: dict[int, str] = {}
    for at, told in _tell(session, [(parcels[at], call) for at, call in plain], [at for at, _ in plain]):
        if isinstance(told, HubError):
            ends[at] = told
        else:
            references[at] = told
    for at, proof in _proofs(session, {at: parcels[at] for at in references}).items():
        ends[at] = proof if isinstance(proof, HubError) else Confirmed(reference=references[at], document=proof)
    return [end or UnknownOutcomeError("internal", "no end") for end in ends]


def _calls_of(session: Session, parcel: Confirmation) -> list[dict[str, str]]:
    """What has to be said about a parcel, in calls. Raises RefusedError `carrier_unknown` or `no_lines`."""
    company = spoken_code(parcel.carrier, "top", session.settings.carriers)
    if not company:
        # A wrong code passes silently (facts carrier_codes.md), so an unknown one is a question to a person.
        raise RefusedError("carrier_unknown", f"{parcel.carrier!r} has no TOP code: add it to the shop's carriers")
    oids = _oids(parcel)
    if not oids and not parcel.whole_order:
        raise RefusedError("no_lines", "a parcel of a part of the order names no line")
    chunks = [oids[at : at + _LINES_PER_SEND] for at in range(0, len(oids), _LINES_PER_SEND)]
    params = {"tid": parcel.order_id, "out_sid": parcel.tracking, "company_code": company}
    split = [{"sub_tid": ",".join(chunk), "is_split": "1"} if chunk else {} for chunk in chunks]
    return [params | more for more in ([{}] if parcel.whole_order else split)]


def _oids(parcel: Confirmation) -> list[str]:
    return list(dict.fromkeys(line for line, _ in parcel.lines))


def _tell(
    session: Session, calls: Sequence[tuple[Confirmation, Mapping[str, str]]], places: Sequence[int]
) -> list[tuple[int, str | HubError]]:
    """For each place TOP's reference, or the error its call ended with."""
    if not calls:
        return []
    try:
        answers = call_many(session, _SHIP, {}, [call for _, call in calls], writes=True)
    except HubError as error:
        return [(at, error) for at in places]
    ends: list[tuple[int, str | HubError]] = []
    for at, (parcel, call), answer in zip(places, calls, answers, strict=True):
        try:
            ends.append((at, _told(session, parcel, call, answer)))
        except HubError as error:
            ends.append((at, error))
    return ends


def _told(session: Session, parcel: Confirmation, call: Mapping[str, str], answer: Answer) -> str:
    if isinstance(answer.error, RefusedError):
        return _refused(session, parcel, call, answer.error)
    if answer.error is not None:
        raise answer.error
    return _reference(answer.value)


def _proofs(session: Session, parcels: Mapping[int, Confirmation]) -> dict[int, Document | HubError]:
    """The trades as they show their waybills now; unproven is unknown."""
    answers: Sequence[Answer | None] = [None] * len(parcels)
    if len(parcels) > 1:
        with suppress(HubError):
            answers = call_many(session, DETAIL, ASKED, [{"tid": parcel.order_id} for parcel in parcels.values()])
    ends: dict[int, Document | HubError] = {}
    for (at, parcel), answer in zip(parcels.items(), answers, strict=True):
        try:
            if answer is None or answer.error is not None:
                ends[at] = _prove(session, parcel)
            else:
                ends[at] = _proof(parcel, answer.body, answer.value)
        except HubError as error:
            ends[at] = error
    return ends


def _prove(session: Session, parcel: Confirmation) -> Document:
    """Read the trade back: servers have said "success" to a shipment and done nothing (live-servers.md, lesson 3)."""
    try:
        body = read_in_full(session, parcel.order_id, keep_refusals=False)
    except HubError as error:
        raise UnknownOutcomeError("unproven", f"sent, but reading back failed: {error.code}") from error
    return _proof(parcel, body, parse_value(body))


def _proof(parcel: Confirmation, body: bytes, value: Any) -> Document:
    try:
        trade, shown = _shown(value, parcel.tracking, _oids(parcel))
    except HubError as error:
        raise UnknownOutcomeError("unproven", f"sent, but reading back failed: {error.code}") from error
    if not shown:
        raise UnknownOutcomeError("not_shown", "the platform said success and does not show the waybill")
    return trade_document(parcel.order_id, body, text_of(trade, "modified"))


def _send(session: Session, parcel: Confirmation, call: Mapping[str, str]) -> str:
    try:
        reply = send_top(session.settings, session.client, session.budget, session.clock, _SHIP, call, writes=True)
    except RefusedError as error:
        return _refused(session, parcel, call, error)
    return _reference(reply.json())


def _refused(session: Session, parcel: Confirmation, call: Mapping[str, str], error: RefusedError) -> str:
    """ "Already shipped" may be our own earlier call: the trade tells. Raises the refusal if it does not."""
    told = [oid for oid in call.get("sub_tid", "").split(",") if oid]
    if _shows(session, parcel.order_id, parcel.tracking, told or [line for line, _ in parcel.lines]):
        return ""
    raise error


def _reference(value: Any) -> str:
    answer = value.get("logistics_offline_send_response") if isinstance(value, Mapping) else None
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
    return _shown(parse_value(read_in_full(session, tid, keep_refusals=False)), tracking, oids)[1]


def _shown(value: Any, tracking: str, oids: Sequence[str]) -> tuple[Mapping[str, Any], bool]:
    trade = inner_of(value, "trade_fullinfo_get_response").get("trade")
    orders = trade.get("orders") if isinstance(trade, Mapping) else None
    lines = orders.get("order") if isinstance(orders, Mapping) else None
    if not isinstance(trade, Mapping) or not isinstance(lines, list):
        raise RetryableError("unexpected_reply", "a trade without orders")
    told = {str(line.get("oid_str") or line.get("oid")): str(line.get("invoice_no") or "") for line in lines}
    return trade, all(told.get(oid) == tracking for oid in oids) if oids else tracking in told.values()
