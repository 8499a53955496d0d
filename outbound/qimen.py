"""Qimen (奇门): delivery orders to a warehouse, its confirms back.

Facts: china/qimen.md (read 2026-11-21). Transport, signature, flags and fields H. Weak, and therefore: how a WMS says "already
there" or "no such order" (M: codes are its own, so the codes of the settings and a few words decide, and only a query
proves it); that the WMS's own stamp may differ by ten minutes (M, TOP's limit); gateway faults as `isp.*` codes (M, as TOP).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from wire.budget import Budget
from wire.client import Reply
from wire.safe_xml import build, parse, to_value
from wire.signing import qimen_sign, qimen_verify, same

from ._qimen_news import cut_news, read_news, stock_rows
from ._qimen_order import (
    STOCK_CHUNK,
    QimenSettings,
    batch_document,
    cancel_tree,
    create_tree,
    document,
    order_part,
    query_tree,
    read_stamp,
    stamp,
    stock_tree,
)
from ._warehouse import Accepted, Callback, CancelAnswer, Repeats, Session, Shipment, StockLevel, Warehouse

_SKEW = timedelta(minutes=10)
_ILLEGAL = "sign-check-failure"
_EXISTS = re.compile(r"已存在|已经存在|重复|already exist|duplicate", re.IGNORECASE)
_MISSING = re.compile(r"不存在|未找到|找不到|not exist|not found", re.IGNORECASE)


def _query(settings: QimenSettings, method: str, now: datetime) -> dict[str, str]:
    return {
        "method": method,
        "timestamp": stamp(now),
        "format": "xml",
        "app_key": settings.app_key,
        "v": "2.0",
        "sign_method": "md5",
        "customerId": settings.customer_id,
    }


def judge(body: bytes, *, writes: bool) -> HubError | None:
    """The error a 2xx body means, None for a Qimen answer of either flag: what a failure means depends on the question."""
    try:
        answer = _answer(body)
    except HubError as error:
        if isinstance(error, MappingError):
            return _unreadable("auth_or_maintenance" if body.strip() else "empty_body", error.detail, writes=writes)
        return _unreadable(error.code, error.detail, writes=writes)
    code = str(answer.get("code") or "")
    if answer["flag"] == "failure" and code == _ILLEGAL:
        return ConfigError(code, "the warehouse does not accept our signature")
    if answer["flag"] == "failure" and code.startswith("isp."):
        return _unreadable(code, str(answer.get("message") or "")[:300], writes=writes)
    return None


def _unreadable(code: str, detail: str, *, writes: bool) -> HubError:
    return UnknownOutcomeError(code, detail) if writes else RetryableError(code, detail)


def _answer(body: bytes) -> Mapping[str, Any]:
    """The answer's children. Raises MappingError for what is no XML, RetryableError for what is no Qimen answer."""
    root = parse(body)
    value = to_value(root)
    if root.tag != "response" or not isinstance(value, Mapping) or value.get("flag") not in {"success", "failure"}:
        raise RetryableError("unexpected_reply", "no response with a flag")
    return value


def _call(session: Session, method: str, body: bytes, *, writes: bool) -> tuple[bytes, Mapping[str, Any]]:
    """One signed call: the answer's bytes and children."""
    settings: QimenSettings = session.settings
    query = _query(settings, method, session.clock())
    query["sign"] = qimen_sign(query, body, settings.secret.get_secret_value())

    def judged(reply: Reply) -> HubError | None:
        return judge(reply.body, writes=writes)

    reply = session.client.send(
        "POST",
        settings.base_url,
        headers={"Content-Type": "text/xml;charset=utf-8"},
        params=query,
        content=body,
        writes=writes,
        budget=session.budget,
        judge=judged,
    )
    return reply.body, _answer(reply.body)


def _failed(answer: Mapping[str, Any]) -> bool:
    return bool(answer["flag"] == "failure")


def _told(answer: Mapping[str, Any]) -> tuple[str, str]:
    return str(answer.get("code") or "qimen_failure")[:100], str(answer.get("message") or "")[:300]


def send(session: Session, shipment: Shipment) -> Accepted:
    """deliveryorder.create. "Already there" counts only when a query finds our code; "already there" that no query
    shows is an unknown outcome; every other failure is the warehouse's own no, with its code and words."""
    _, answer = _call(
        session,
        "deliveryorder.create",
        document(session.settings, create_tree(session.settings, shipment)),
        writes=True,
    )
    if not _failed(answer):
        return Accepted(reference=_references(answer))
    return _already(session, shipment.code, *_told(answer))


def send_many(session: Session, shipments: Sequence[Shipment]) -> list[Accepted | HubError]:
    """deliveryorder.batchcreate, which lists only the orders it did not take, by code and words (H). Those it lists end as with
    `send`; the others were taken when the flag says success. Beside a failure flag their silence proves nothing."""
    parts = _parts(session, shipments)
    sent = {s.code: part for s, part in zip(shipments, parts, strict=True) if not isinstance(part, HubError)}
    if not sent:
        return [part for part in parts if isinstance(part, HubError)]
    _, answer = _call(session, "deliveryorder.batchcreate", batch_document(list(sent.values())), writes=True)
    listed = {str(row.get("deliveryOrderCode") or ""): str(row.get("message") or "")[:300] for row in _listed(answer)}
    if listed.keys() - sent.keys():
        raise UnknownOutcomeError("unexpected_reply", "the answer is about orders that were not sent")
    silent: Accepted | HubError = UnknownOutcomeError(*_told(answer)) if _failed(answer) else Accepted()
    return [
        part
        if isinstance(part, HubError)
        else _refused(session, s.code, listed[s.code])
        if s.code in listed
        else silent
        for s, part in zip(shipments, parts, strict=True)
    ]


def _parts(session: Session, shipments: Sequence[Shipment]) -> list[bytes | HubError]:
    """The orders as written, or why one cannot be written: its neighbours go all the same."""
    parts: list[bytes | HubError] = []
    for shipment in shipments:
        try:
            parts.append(order_part(session.settings, create_tree(session.settings, shipment)))
        except HubError as error:
            parts.append(error)
    return parts


def _listed(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = answer.get("orders")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _refused(session: Session, code: str, message: str) -> Accepted | HubError:
    try:
        return _already(session, code, "batch_refused", message)
    except HubError as error:
        return error


def _already(session: Session, order: str, code: str, message: str) -> Accepted:
    """What a refusal of our order means. Raises RefusedError, or UnknownOutcomeError when it is there and cannot be shown."""
    if code in session.settings.exists_codes or _EXISTS.search(message):
        found = find(session, order, "")
        if found is not None:
            return found
        # It says "there" and does not show it: nobody may send the goods again under another code on that word.
        raise UnknownOutcomeError(code, message)
    raise RefusedError(code, message)


def _references(answer: Mapping[str, Any]) -> str:
    """The warehouse's order id; of a delivery that it split, the parts' ids."""
    ident = answer.get("deliveryOrderId")
    if isinstance(ident, str) and ident:
        return ident
    parts = answer.get("deliveryOrders")
    ids = [str(part.get("deliveryOrderId") or "") for part in parts or [] if isinstance(part, Mapping)]
    return ",".join(each for each in ids if each)


def _looked_up(session: Session, code: str, reference: str) -> tuple[bytes, Mapping[str, Any]] | None:
    """deliveryorder.query; None when the warehouse says that it has no such order. Any other failure is raised: "I cannot look" is
    not "it is not there"."""
    body, answer = _call(
        session,
        "deliveryorder.query",
        document(session.settings, query_tree(session.settings, code, reference)),
        writes=False,
    )
    if _failed(answer):
        told, message = _told(answer)
        if told in session.settings.missing_codes or _MISSING.search(message):
            return None
        raise RefusedError(told, message)
    head = answer.get("deliveryOrder")
    if not isinstance(head, Mapping) or not head.get("deliveryOrderCode"):
        return None
    if head["deliveryOrderCode"] != code:
        raise RetryableError("unexpected_reply", "the answer is about another order")
    return body, head


def find(session: Session, code: str, reference: str) -> Accepted | None:
    """Whether the warehouse knows our code."""
    # The code alone: its own id, if we have one at all, may belong to one part of a split.
    del reference
    looked = _looked_up(session, code, "")
    return None if looked is None else Accepted(reference=str(looked[1].get("deliveryOrderId") or ""))


def cancel(session: Session, code: str, reference: str, reason: str) -> CancelAnswer:
    """order.cancel: success is cancelled, failure is too late - or an order that never arrived, which only a query proves."""
    tree = cancel_tree(session.settings, code, "" if "," in reference else reference, reason)
    _, answer = _call(session, "order.cancel", document(session.settings, tree), writes=True)
    if not _failed(answer):
        return CancelAnswer(cancelled=True)
    told, message = _told(answer)
    unknown = (told in session.settings.missing_codes or bool(_MISSING.search(message))) and _proved_absent(
        session, code
    )
    return CancelAnswer(cancelled=False, unknown_order=unknown, detail=f"{told} {message}".strip())


def _proved_absent(session: Session, code: str) -> bool:
    try:
        return find(session, code, "") is None
    except RefusedError:
        return False


def news(session: Session, code: str, reference: str) -> bytes | None:
    """The answer of deliveryorder.query as it is, for `read_news`; None when the warehouse has no such order."""
    del reference
    looked = _looked_up(session, code, "")
    return None if looked is None else looked[0]


def stock(session: Session, skus: Sequence[str]) -> tuple[StockLevel, ...]:
    """inventory.query, fifty items at a time: good stock of this warehouse, batches summed. Items it does not know are
    missing from the answer, never zero. Raises RefusedError when the warehouse refuses, MappingError for unreadable numbers."""
    levels: dict[str, tuple[int, int]] = {}
    for at in range(0, len(skus), STOCK_CHUNK):
        tree = stock_tree(session.settings, skus[at : at + STOCK_CHUNK])
        _, answer = _call(session, "inventory.query", document(session.settings, tree), writes=False)
        if _failed(answer):
            raise RefusedError(*_told(answer))
        for row in stock_rows(answer):
            if row.get("warehouseCode", "") not in {"", session.settings.warehouse_code}:
                continue
            if row.get("inventoryType", "") in {"", "ZP"} and (sku := row.get("itemCode", "")):
                free, locked = levels.get(sku, (0, 0))
                levels[sku] = free + _pieces(row, "quantity"), locked + _pieces(row, "lockQuantity")
    most = 10**9  # batches are summed: on hand (free + locked) must fit a column of 32 bits
    return tuple(
        StockLevel(sku=sku, free=min(free, most), locked=min(locked, most)) for sku, (free, locked) in levels.items()
    )


def _pieces(row: Mapping[str, str], name: str) -> int:
    text = row.get(name, "").strip() or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise MappingError("qty", f"not a stock quantity: {text[:20]!r}", path=name)
    return int(text)


def verify(
    headers: Mapping[str, str], query: Mapping[str, str], body: bytes, settings: QimenSettings, now: datetime
) -> None:
    """Raises RefusedError unless query and raw body are signed with our secret, for our customerId, within ten minutes."""
    del headers
    secrets = [settings.secret.get_secret_value(), settings.secret_old.get_secret_value()]
    if query.get("sign_method", "md5") != "md5" or not qimen_verify(query, body, secrets):
        raise RefusedError(_ILLEGAL, "the signature does not fit")
    if not same(query.get("customerId", "").encode("utf-8", "replace"), settings.customer_id.encode()):
        raise RefusedError(_ILLEGAL, "another customerId")
    try:
        sent = read_stamp(query.get("timestamp", ""))
    except MappingError:
        raise RefusedError(_ILLEGAL, "no timestamp") from None
    if abs(now - sent) > _SKEW:
        raise RefusedError(_ILLEGAL, "the timestamp is stale")


def reply(error: Exception | None) -> tuple[int, str, bytes]:
    """The answer a WMS expects: always 200, with a flag. A failure makes it send again, so it says what but not why."""
    flag, code, message = "success", "0", "ok"
    if error is not None:
        told = error.code if isinstance(error, HubError) else "internal"
        flag, code, message = "failure", told, "Illegal request" if told == _ILLEGAL else "not accepted"
    return 200, "text/xml;charset=utf-8", build("response", {"flag": flag, "code": code, "message": message})


def repeats(settings: Any) -> Repeats:
    """What this WMS promised about repetition."""
    promised: Repeats = settings.repeats
    return promised


def batch(settings: Any) -> int:
    """How many orders this WMS takes in one call."""
    return int(settings.batch)


def budget(settings: Any) -> Budget:
    """Official limits were not found (facts, end): modest, and a Retry-After teaches the rest."""
    return Budget(2 * settings.calls_per_second, settings.calls_per_second)


WAREHOUSE = Warehouse(
    name="qimen",
    title="Qimen WMS",
    settings=QimenSettings,
    repeats=repeats,
    send=send,
    find=find,
    cancel=cancel,
    news=news,
    read_news=read_news,
    stock=stock,
    callback=Callback(verify=verify, news=read_news, reply=reply, pieces=cut_news),
    budget=budget,
    accepts_tokens=True,
    send_many=send_many,
    batch=batch,
)
