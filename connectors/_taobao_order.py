"""How a Taobao/Tmall trade and a refund are read. The trade document is the whole answer of taobao.trade.fullinfo.get.

Facts: china/taobao.md §5-§7 (read 2026-11-21): field names, enums and line formulas H; `trade.payment = Σ divide_order_fee +
post_fee` M - which is why nothing here is derived from `payment`: a shop where it does not hold shows `money_mismatch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from domain.errors import MappingError
from domain.money import to_minor
from domain.order import AfterSale, AfterSaleKind, LineState, OrderStatus
from domain.states import AfterSaleState
from normalizer.mapping import At, Both, OrderMapping, fixed
from normalizer.readers import as_money, as_quantity, as_text, as_time, as_trimmed, read_time

ZONE = ZoneInfo("Asia/Shanghai")
ROOT = "trade_fullinfo_get_response.trade"
LINES = f"{ROOT}.orders.order"

STATUSES: Mapping[str, OrderStatus] = {
    "TRADE_NO_CREATE_PAY": "pending_payment",
    "WAIT_BUYER_PAY": "pending_payment",
    "PAY_PENDING": "pending_payment",
    "WAIT_PRE_AUTH_CONFIRM": "pending_payment",
    "WAIT_SELLER_SEND_GOODS": "pending_shipment",
    "PAID_FORBID_CONSIGN": "pending_shipment",
    "SELLER_CONSIGNED_PART": "partially_shipped",
    "WAIT_BUYER_CONFIRM_GOODS": "shipped",
    "TRADE_BUYER_SIGNED": "shipped",
    "TRADE_FINISHED": "completed",
    "TRADE_CLOSED": "closed",
    "TRADE_CLOSED_BY_TAOBAO": "closed",
}
_UNPAID = frozenset(
    {"TRADE_NO_CREATE_PAY", "WAIT_BUYER_PAY", "PAY_PENDING", "WAIT_PRE_AUTH_CONFIRM", "TRADE_CLOSED_BY_TAOBAO"}
)
_LOCKS = ("forbid_consign", "top_hold", "ofp_hold", "team_buy_hold")
_NO_REFUND = frozenset({"", "NO_REFUND", "CLOSED"})
_SHIPPED = frozenset({"WAIT_BUYER_CONFIRM_GOODS", "TRADE_BUYER_SIGNED", "TRADE_FINISHED"})

AFTER_SALE_STATES: Mapping[str, AfterSaleState] = {
    "WAIT_SELLER_AGREE": "requested",
    "SELLER_REFUSE_BUYER": "refused",
    "EXCHANGE_TRANSFORM_TO_REFUND": "requested",
    "WAIT_BUYER_RETURN_GOODS": "awaiting_return",
    "WAIT_SELLER_CONFIRM_GOODS": "awaiting_return",
    "WAIT_SELLER_CONSIGN_GOODS": "awaiting_exchange_stock",
    "WAIT_BUYER_CONFIRM_EXCHANGE_SELLER_SEND_GOODS": "exchange_shipped",
    "CLOSED": "withdrawn",
    "SUCCESS": "refunded",
}
_KINDS: Mapping[str, AfterSaleKind] = {
    "REFUND": "refund",
    "REFUND_AND_RETURN": "return_refund",
    "TMALL_EXCHANGE": "exchange",
    "TAOBAO_EXCHANGE": "exchange",
    "RESHIPPING": "resend",
}


def _trade(document: Mapping[str, Any]) -> Mapping[str, Any]:
    reply = document.get("trade_fullinfo_get_response")
    trade = reply.get("trade") if isinstance(reply, Mapping) else None
    return trade if isinstance(trade, Mapping) else {}


def _lines(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    orders = _trade(document).get("orders")
    found = orders.get("order") if isinstance(orders, Mapping) else None
    return [line for line in found if isinstance(line, Mapping)] if isinstance(found, list) else []


def _trade_id(document: Mapping[str, Any]) -> str:
    """The trade's id as text. A detail that TOP refused is a document too: it becomes one exception with TOP's words."""
    refusal = document.get("error_response")
    if isinstance(refusal, Mapping):
        told = f"{refusal.get('sub_code') or refusal.get('code')} {refusal.get('sub_msg') or refusal.get('msg')}"
        raise MappingError("refused_by_source", told[:200], path="error_response")
    return _either(_trade(document), "tid_str", "tid")


def _line_id(line: Mapping[str, Any]) -> str:
    return _either(line, "oid_str", "oid")


def _either(record: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = record.get(name)
        if value is not None and value != "":
            return as_text(value)
    return ""


def _sku(line: Mapping[str, Any]) -> str:
    """The seller's own code; without one the platform's, so that a person can map it (`sku_unmapped` otherwise)."""
    return _either(line, "outer_sku_id", "outer_iid", "sku_id", "num_iid")


def _decimal(value: Any) -> Decimal | None:
    if value is None or value == "":
        return None
    if (
        not isinstance(value, (str, int, Decimal))
        or isinstance(value, bool)
        or (isinstance(value, str) and not value.isascii())
    ):
        raise MappingError("money", f"not an exact amount: {str(value)[:40]!r}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise MappingError("money", f"not an amount: {str(value)[:40]!r}") from None
    if not number.is_finite():
        raise MappingError("money", f"not an amount: {str(value)[:40]!r}")
    return number


def _share(line: Mapping[str, Any]) -> int | None:
    """What this line carries of the trade's promotions, fen: total_fee - divide_order_fee. None when TOP does not say."""
    total, divided = _decimal(line.get("total_fee")), _decimal(line.get("divide_order_fee"))
    return None if total is None or divided is None else to_minor(str(total - divided), "CNY")


def _discount(document: Mapping[str, Any]) -> int:
    """Trade-level promotions, fen: Σ of what the lines say they carry, or the trade's own total when a line is silent."""
    shares = [_share(line) for line in _lines(document)]
    known = [share for share in shares if share is not None]
    if known and len(known) == len(shares):
        return sum(known)
    stated = _decimal(_trade(document).get("discount_fee"))
    return 0 if stated is None else to_minor(str(stated), "CNY")


def _payment(document: Mapping[str, Any]) -> str:
    """A COD trade has no pay_time; a deposit (step trade) is not a payment."""
    trade = _trade(document)
    if trade.get("type") == "cod":
        return "cod"
    if trade.get("status") in _UNPAID or trade.get("step_trade_status") == "FRONT_PAID_FINAL_NOPAID":
        return "unpaid"
    return "paid"


def _forbids(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The platform's do-not-ship flags, by name."""
    trade = _trade(document)
    flags = [name for name in _LOCKS if _is_set(trade.get(name))]
    if trade.get("status") == "PAID_FORBID_CONSIGN":
        flags.insert(0, "paid_forbid_consign")
    if trade.get("step_trade_status") == "FRONT_PAID_FINAL_NOPAID":
        flags.append("presale_balance_unpaid")
    return tuple(flags)


def _is_set(value: Any) -> bool:
    # The type of the hold flags is not the same in every answer (number, text, boolean): anything but a clear "no" locks.
    return value is not None and str(value).strip().lower() not in {"", "0", "false"}


def _line_state(line: Mapping[str, Any]) -> LineState:
    """An open refund stops the line; a refund that succeeded before shipping cancels it. A line that went out stays
    shipped whatever is refunded later; TRADE_CLOSED without a waybill never went out."""
    status, refund = str(line.get("status") or ""), str(line.get("refund_status") or "")
    if status in _SHIPPED or line.get("invoice_no"):
        return "shipped"
    if refund == "SUCCESS" or status in {"TRADE_CLOSED", "TRADE_CLOSED_BY_TAOBAO"}:
        return "cancelled"
    return "open" if refund in _NO_REFUND else "after_sale"


def _refunds(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The lines that carry a refund. Several refunds of one line follow each other: the line shows the newest."""
    return [
        line
        for line in _lines(document)
        if line.get("refund_id") and str(line.get("refund_status") or "") not in {"", "NO_REFUND"}
    ]


def _refundable(line: Mapping[str, Any]) -> int:
    """What the line can give back at most. The trade does not say how much of it is asked for: the refund's record does."""
    divided = _decimal(line.get("divide_order_fee"))
    most = _decimal(line.get("total_fee")) if divided is None else divided
    return 0 if most is None else to_minor(str(most), "CNY")


def _phone(document: Mapping[str, Any]) -> str:
    return _either(_trade(document), "receiver_mobile", "receiver_phone").strip()


def _masked(document: Mapping[str, Any]) -> bool:
    trade = _trade(document)
    return any("*" in str(trade.get(f"receiver_{name}") or "") for name in ("name", "mobile", "phone", "address"))


def _tags(document: Mapping[str, Any]) -> tuple[str, ...]:
    """`address_changed`: the buyer changed the address after paying (modify_address 1)."""
    return ("address_changed",) if str(_trade(document).get("modify_address") or "") == "1" else ()


MAPPING = OrderMapping(
    order={
        "external_id": _trade_id,
        "version": At(f"{ROOT}.modified"),
        "source_time": At(f"{ROOT}.modified", as_time),
        "placed_at": At(f"{ROOT}.created", as_time),
        "paid_at": At(f"{ROOT}.pay_time", as_time, None),
        "currency": fixed("CNY"),
        "payment": _payment,
        "forbids_shipping": _forbids,
        "buyer_id": At(lambda document: _either(_trade(document), "buyer_open_uid", "buyer_nick"), as_text, ""),
        "buyer_message": At(f"{ROOT}.buyer_message", as_trimmed, ""),
        "seller_memo": At(f"{ROOT}.seller_memo", as_trimmed, ""),
        "seller_flag": At(f"{ROOT}.seller_flag", as_text, ""),
        "tags": _tags,
    },
    ship_to={
        "name": At(f"{ROOT}.receiver_name", as_trimmed, ""),
        "phone": _phone,
        "country": At(f"{ROOT}.receiver_country", lambda value: as_trimmed(value) or "CN", "CN"),
        "province": At(f"{ROOT}.receiver_state", as_trimmed, ""),
        "city": At(f"{ROOT}.receiver_city", as_trimmed, ""),
        "district": At(f"{ROOT}.receiver_district", as_trimmed, ""),
        "town": At(f"{ROOT}.receiver_town", as_trimmed, ""),
        "street": At(f"{ROOT}.receiver_address", as_trimmed, ""),
        "postcode": At(f"{ROOT}.receiver_zip", as_trimmed, ""),
        "token": At(f"{ROOT}.oaid", as_text, ""),
        "masked": _masked,
    },
    lines=At(LINES),
    line={
        "external_id": _line_id,
        "external_sku": _sku,
        "listing_id": At("num_iid", as_text, ""),
        "quantity": At("num", as_quantity),
        "unit_price": At("price", as_money),
        "amount": At("total_fee", as_money),
        "share": _share,
        "title": At(
            lambda line: f"{line.get('title') or ''} {line.get('sku_properties_name') or ''}".strip(), as_text, ""
        ),
        "state": _line_state,
    },
    amounts={
        "freight": At(f"{ROOT}.post_fee", as_money, 0),
        "discount": _discount,
        "paid": At(f"{ROOT}.payment", as_money),
    },
    after_sales=_refunds,
    after_sale={
        "external_id": At("refund_id"),
        "kind": fixed("refund"),
        "state": lambda line: AFTER_SALE_STATES.get(str(line.get("refund_status")), "requested"),
        "amount": _refundable,
        "lines": lambda line: ((_line_id(line), as_quantity(line.get("num"))),),
        "source_status": At("refund_status", as_text, ""),
        "source_time": Both(lambda document, _line: read_time(_trade(document).get("modified"), ZONE)),
    },
    status=At(f"{ROOT}.status"),
    statuses=STATUSES,
    extra={
        "seller_nick": At(f"{ROOT}.seller_nick", as_text, ""),
        "trade_type": At(f"{ROOT}.type", as_text, ""),
        "step_trade_status": At(f"{ROOT}.step_trade_status", as_text, ""),
        "ship_before": At(f"{ROOT}.timeout_action_time", as_text, ""),
        "platform_subsidy_fee": At(f"{ROOT}.platform_subsidy_fee", as_text, ""),
    },
)


def read_refund(record: Mapping[str, Any], now: datetime) -> tuple[str, AfterSale]:
    """One record of taobao.refunds.receive.get → (trade id, after-sale). The key is refund_id: one line may have several
    over time. `refund_fee` below the line's value is a partial refund: then no quantity is claimed. An unknown status stays
    open (`requested`) with its own word beside it."""
    status = as_text(record.get("status") or "")
    fee, total = _decimal(record.get("refund_fee")), _decimal(record.get("total_fee"))
    if fee is None:
        raise MappingError("money", "the value is missing", path="refund_fee")
    refund_id, trade_id = _either(record, "refund_id"), _either(record, "tid")
    if not refund_id.strip() or not trade_id.strip():
        raise MappingError("id", "an empty id identifies nothing", path="refund_id" if not refund_id.strip() else "tid")
    returns = record.get("has_good_return") is True
    whole = returns or (total is not None and fee >= total)
    count = record.get("num")
    oid = _either(record, "oid") or trade_id
    changed = read_time(record.get("modified"), ZONE)
    if changed > now.replace(microsecond=0) and (changed - now).days >= 1:
        raise MappingError("time", "in the future", path="modified")
    return trade_id, AfterSale(
        external_id=refund_id,
        kind=_KINDS.get(str(record.get("dispute_type") or ""), "return_refund" if returns else "refund"),
        state=AFTER_SALE_STATES.get(status, "requested"),
        amount=to_minor(str(fee), "CNY", path="refund_fee"),
        lines=((oid, count if whole and type(count) is int and count > 0 else 0),),
        source_status=status,
        source_time=changed,
    )
