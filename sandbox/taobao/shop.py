"""The shop's state: trades, what buyers do to them, and the effect of shipping. No HTTP here.

Money and time rules: facts/china/taobao.md §4-§8 (2026-11-21). The sub_codes of refused shipments are illustrative where the sheet
names none ("repeating a shipped order gives an isv.* error"); B60 is from the sheet (H).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sandbox.catalog import Sku
from sandbox.clock import Clock, cn_stamp, iso_ms
from sandbox.mix import EXPECT
from sandbox.timeindex import TimeIndex

from .make import Doc, Trade, fen, make_oaid, make_trade, plain_receiver

# what the courier list API calls reg_mail_no; prefixes from facts/china/carrier_codes.md (2026-11-21, M)
COURIERS = {
    "SF": r"SF\d{13}",
    "ZTO": r"7\d{11,14}",
    "YTO": r"YT\d{13}",
    "STO": r"77\d{13}",
    "YUNDA": r"4[36]\d{13}",
    "JD": r"JD[A-Z]?\d{10,15}",
    "EMS": r"(E[A-Z]\d{9}CN|\d{13})",
    "POSTB": r"9[89]\d{11}",
    "OTHER": r"[A-Za-z0-9]{6,32}",
}
PATTERNS = {code: re.compile(pattern) for code, pattern in COURIERS.items()}
TO_SHIP = {"WAIT_SELLER_SEND_GOODS", "SELLER_CONSIGNED_PART"}
OPEN_REFUND = {"WAIT_SELLER_AGREE", "WAIT_BUYER_RETURN_GOODS", "WAIT_SELLER_CONFIRM_GOODS", "SELLER_REFUSE_BUYER"}


@dataclass(slots=True)
class Shop:
    """All trades and refunds of one shop, on the shop's own clock."""

    seed: str
    clock: Clock
    skus: list[Sku]
    trades: dict[int, Trade] = field(default_factory=dict)
    order: list[Trade] = field(default_factory=list)
    index: TimeIndex = field(default_factory=TimeIndex)
    refunds: dict[int, Doc] = field(default_factory=dict)
    refund_index: TimeIndex = field(default_factory=TimeIndex)

    def now(self) -> float:
        """Epoch seconds on the shop's clock."""
        return self.clock.now("taobao")

    def place(self, rng: Random, kind: str, back: float = 0.0) -> Trade:
        """A buyer places an order, `back` seconds ago."""
        trade = make_trade(rng, len(self.order) + 1, kind, self.skus, self.now() - back)
        self.trades[trade.tid] = trade
        self.order.append(trade)
        if kind == "late":
            trade.hidden = True
        else:
            self.index.add(trade.modified, trade.tid)
        if kind == "double":
            trade.ghost = (trade.modified - 2, "WAIT_BUYER_PAY")
            self.index.add(trade.modified - 2, trade.tid)
        trade.touches = 2 if kind == "touched" else 0
        return trade

    def reveal(self, trade: Trade) -> None:
        """A late trade appears in the lists, under its old stamp."""
        if trade.hidden:
            trade.hidden = False
            self.index.add(trade.modified, trade.tid)

    def touch(self, trade: Trade, what: str = "") -> None:
        """The trade changed now."""
        second = max(int(self.now()), trade.modified)
        if not trade.hidden:
            self.index.move(trade.modified, second, trade.tid)
        trade.modified = second
        trade.doc["modified"] = cn_stamp(second)
        trade.cache.clear()
        if what:
            trade.events.append({"what": what, "at": iso_ms(self.now())})

    def pay(self, trade: Trade) -> bool:
        """The buyer pays; False when there is nothing to pay."""
        if trade.doc["status"] != "WAIT_BUYER_PAY":
            return False
        trade.paid_at = self.now()
        trade.doc.update(status="WAIT_SELLER_SEND_GOODS", pay_time=cn_stamp(int(trade.paid_at)))
        if trade.doc["step_trade_status"]:
            trade.doc["step_trade_status"] = "FRONT_PAID_FINAL_PAID"
        for line in trade.lines:
            line["status"] = "WAIT_SELLER_SEND_GOODS"
        self.touch(trade, "paid")
        return True

    def cancel(self, trade: Trade) -> bool:
        """Unpaid: closed by the platform. Paid, nothing shipped: refunded in full. Otherwise False, and it is recorded."""
        status = trade.doc["status"]
        if status not in {"WAIT_BUYER_PAY", "WAIT_SELLER_SEND_GOODS"}:
            trade.cancel_refused_at = self.now()
            return False
        trade.cancelled_at = self.now()
        trade.doc.update(
            status="TRADE_CLOSED_BY_TAOBAO" if status == "WAIT_BUYER_PAY" else "TRADE_CLOSED",
            end_time=cn_stamp(int(trade.cancelled_at)),
        )
        for line in trade.lines:
            if status != "WAIT_BUYER_PAY" and line["status"] != "TRADE_CLOSED":
                self.set_refund(trade, line, "SUCCESS")
            line["status"] = trade.doc["status"]
        self.touch(trade, "cancelled")
        return True

    def edit(self, trade: Trade, rng: Random, what: str) -> bool:
        """what = address (new oaid, modify_address=1) or remark; False once shipped or closed."""
        if trade.doc["status"] not in TO_SHIP | {"WAIT_BUYER_PAY"} or what not in {"address", "remark"}:
            return False
        if what == "address":
            trade.doc.update(plain_receiver(rng) if rng.random() < 0.5 else {"oaid": make_oaid(rng)})
            trade.doc["modify_address"] = "1" if trade.paid_at else "2"
        else:
            trade.doc.update(seller_memo="买家来电：改发其他快递", seller_flag=1)
        self.touch(trade, f"edited {what}")
        return True

    def refund(self, trade: Trade, oid: int | None, status: str) -> bool:
        """Open a refund on a line (default: the last) or move it on; SUCCESS closes the line, and the trade with its last line."""
        lines = [line for line in trade.lines if oid is None or line["oid"] == oid]
        if not lines or trade.paid_at is None:
            return False
        self.set_refund(trade, lines[-1], status)
        if status == "SUCCESS":
            self._settle_status(trade)
        self.touch(trade, f"refund {status}")
        return True

    def set_refund(self, trade: Trade, line: Doc, status: str) -> None:
        """Write the refund record and the line's view of it."""
        second, stamp = int(self.now()), cn_stamp(int(self.now()))
        ident = int(line.get("refund_id") or 331_234_567_890_000_000 + len(self.refunds) + 1)
        record = self.refunds.get(ident)
        if record is None:
            record = {
                "refund_id": str(ident),
                "tid": trade.tid,
                "oid": line["oid"],
                "refund_phase": "onsale",
                "dispute_type": "REFUND",
                "total_fee": line["total_fee"],
                "refund_fee": line["divide_order_fee"],
                "payment": "0.00",
                "good_status": "BUYER_NOT_RECEIVED",
                "has_good_return": False,
                "created": stamp,
                "reason": "不想要了",
                "desc": "",
                "num": line["num"],
                "outer_id": line["outer_sku_id"],
                "sku": f"{line['sku_id']}|{line['sku_properties_name']}",
                "sid": "",
                "company_name": "",
                "second": second,
            }
            self.refunds[ident] = record
            self.refund_index.add(second, ident)
        else:
            self.refund_index.move(record["second"], second, ident)
        record.update(
            status=status, modified=stamp, second=second, refund_version=second * 1000, order_status=line["status"]
        )
        line.update(refund_id=str(ident), refund_status=status)
        if status == "SUCCESS" and line["status"] != "WAIT_BUYER_CONFIRM_GOODS":
            line["status"] = "TRADE_CLOSED"

    def _settle_status(self, trade: Trade) -> None:
        states = {line["status"] for line in trade.lines}
        if states == {"TRADE_CLOSED"}:
            trade.doc["status"] = "TRADE_CLOSED"
            trade.cancelled_at = self.now()
        elif "WAIT_BUYER_CONFIRM_GOODS" in states:
            open_left = "WAIT_SELLER_SEND_GOODS" in states
            trade.doc["status"] = "SELLER_CONSIGNED_PART" if open_left else "WAIT_BUYER_CONFIRM_GOODS"

    def ship(self, trade: Trade, subs: list[int], split: bool, company: str, number: str) -> tuple[str, str] | None:
        """The effect of logistics.offline.send: None, or (sub_code, message) of the refusal. Not idempotent."""
        lines = [line for line in trade.lines if not subs or line["oid"] in subs]
        refusal = self._refusal(trade, lines, subs, split, company, number)
        if refusal is not None:
            trade.refused.append({"at": iso_ms(self.now()), "tracking": number, "company": company, "code": refusal[0]})
            return refusal
        lines = [line for line in lines if line["status"] == "WAIT_SELLER_SEND_GOODS"]
        stamp = cn_stamp(int(self.now()))
        for line in lines:
            line.update(
                status="WAIT_BUYER_CONFIRM_GOODS", logistics_company=company, invoice_no=number, consign_time=stamp
            )
        trade.shipments.append(
            {
                "tracking": number,
                "company": company,
                "at": iso_ms(self.now()),
                "lines": [{"id": line["oid_str"], "quantity": line["num"]} for line in lines],
            }
        )
        self._settle_status(trade)
        trade.doc.update(consign_time=stamp, is_part_consign=trade.doc["status"] == "SELLER_CONSIGNED_PART")
        self.touch(trade)
        return None

    def _refusal(
        self, trade: Trade, lines: list[Doc], subs: list[int], split: bool, company: str, number: str
    ) -> tuple[str, str] | None:
        pattern = PATTERNS.get(company)
        open_lines = [line for line in trade.lines if line["status"] == "WAIT_SELLER_SEND_GOODS"]
        if pattern is None:
            return "isv.invalid-parameter:company_code", "物流公司不存在"
        if not pattern.fullmatch(number):
            return "B60", "运单号不符合规则"
        if len(lines) != len(set(subs) or trade.lines):
            return "isv.invalid-parameter:sub_tid", "子订单不属于该交易"
        if (
            trade.doc["status"] not in TO_SHIP
            or not any(line in open_lines for line in lines)
            or (subs and any(line not in open_lines for line in lines))
        ):
            return "isv.trade-status-error", "当前操作的订单不是待发货状态"
        if subs and not split and {id(line) for line in lines} != {id(line) for line in open_lines}:
            return "isv.invalid-parameter:is_split", "拆单发货须指定is_split=1"
        return None

    def row(self, trade: Trade) -> Doc:
        """The ledger row of a trade."""
        return {
            "seq": trade.seq,
            "id": str(trade.tid),
            "channel": "taobao",
            "kind": trade.kind,
            "expect": EXPECT[trade.kind],
            "status": str(trade.doc["status"]),
            "created": iso_ms(trade.created),
            "paid_at": _iso(trade.paid_at),
            "cancelled_at": _iso(trade.cancelled_at),
            "cancel_refused_at": _iso(trade.cancel_refused_at),
            "currency": "CNY",
            "total_minor": _fen(trade.doc["payment"]),
            "events": trade.events,
            "lines": [
                {
                    "id": line["oid_str"],
                    "sku": line["outer_sku_id"],
                    "quantity": line["num"],
                    "status": line["status"],
                    "refund_status": line["refund_status"],
                }
                for line in trade.lines
            ],
            "shipments": trade.shipments,
            "refused_shipments": trade.refused,
        }


def _iso(epoch: float | None) -> str | None:
    return None if epoch is None else iso_ms(epoch)


def _fen(value: Any) -> int | None:
    return fen(value) if isinstance(value, str) else None


Later = Callable[[float, Callable[[], object]], None]


def schedule(shop: Shop, trade: Trade, rng: Random, later: Later) -> None:
    """What happens to the trade after it was placed, by kind; `later` gets seconds and an action."""
    kind = trade.kind
    if kind == "late":
        later(rng.uniform(1, 6), lambda: shop.reveal(trade))
    elif kind == "paid_later":
        later(rng.uniform(1, 4), lambda: shop.pay(trade))
    elif kind == "unpaid_closed":
        later(rng.uniform(1, 4), lambda: shop.cancel(trade))
    elif kind == "cancelled_early":
        shop.cancel(trade)
    elif kind == "cancelled_race":
        later(rng.uniform(0.1, 4), lambda: shop.cancel(trade))
    elif kind == "edited":
        what = rng.choice(("address", "remark"))
        later(rng.uniform(0.2, 3), lambda: shop.edit(trade, rng, what))
    elif kind in {"refund_closed", "refund_succeeded"}:
        end = "CLOSED" if kind == "refund_closed" else "SUCCESS"
        shop.refund(trade, None, "WAIT_SELLER_AGREE")
        later(rng.uniform(1, 3), lambda: shop.refund(trade, None, end))
