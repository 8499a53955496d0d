"""Composes trades: fields, formulas and quirks as in facts/china/taobao.md §5-§7 (2026-11-21, H unless marked there).

Arithmetic in integer fen: line total_fee = price x num + adjust_fee - discount_fee; divide_order_fee = line total_fee -
part_mjz_discount; trade payment = sum of divide_order_fee + post_fee; on a single-line trade order.payment is the trade's payment,
freight included.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sandbox.catalog import Sku
from sandbox.clock import cn_stamp
from sandbox.places import REMARKS, Person, china_person

Doc = dict[str, Any]
TID_BASE = 4_212_345_678_900_000_000  # above 2^53 on purpose: a parser that reads numbers as floats loses digits
SHOP = "示例旗舰店"
POSTAGE = (0, 0, 600, 800, 1000)


@dataclass(slots=True)
class Trade:
    """A trade and what the sandbox knows about it; `doc` has the API's own shape."""

    seq: int
    tid: int
    kind: str
    doc: Doc
    created: float
    modified: int
    hidden: bool = False
    ghost: tuple[int, str] | None = None  # (second, status) of an older version that the list still shows
    touches: int = 0
    paid_at: float | None = None
    cancelled_at: float | None = None
    cancel_refused_at: float | None = None
    shipments: list[Doc] = field(default_factory=list)
    refused: list[Doc] = field(default_factory=list)
    events: list[Doc] = field(default_factory=list)
    cache: dict[str, bytes] = field(default_factory=dict)

    @property
    def lines(self) -> list[Doc]:
        """The sub-orders; a poisoned document may have none."""
        orders = self.doc["orders"]
        found = orders.get("order", []) if isinstance(orders, dict) else []
        return found if isinstance(found, list) else []


def yuan(fen: int) -> str:
    """Fen to a yuan string with two decimals."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def fen(text: str) -> int:
    """A yuan string back to fen."""
    whole, _, cents = text.lstrip("-").partition(".")
    return (int(whole) * 100 + int(cents.ljust(2, "0"))) * (-1 if text.startswith("-") else 1)


def make_trade(rng: Random, seq: int, kind: str, skus: list[Sku], now: float) -> Trade:
    """A trade of this kind, placed `now` (epoch seconds). The same rng and kind always compose the same trade."""
    tid = TID_BASE + seq * 10_000 + rng.randrange(0, 5000) * 2 + 1
    count = rng.choices((1, 2, 3, 4), (60, 25, 10, 5))[0]
    if kind == "refund_succeeded":
        count = max(2, count)
    chosen = rng.sample([sku for sku in skus if sku.scarce == (kind == "scarce")], count)
    lines = [_line(rng, tid, index, sku, count, now) for index, sku in enumerate(chosen)]
    doc = _head(rng, tid, now)
    _add_money(rng, doc, lines)
    doc.update(_receiver(rng, china_person(rng)))
    doc["orders"] = {"order": lines}
    trade = Trade(seq, tid, kind, doc, now, int(now), paid_at=now)
    _twist(rng, trade)
    return trade


def _head(rng: Random, tid: int, now: float) -> Doc:
    stamp = cn_stamp(int(now))
    return {
        "tid": tid,
        "tid_str": str(tid),
        "type": "fixed",
        "status": "WAIT_SELLER_SEND_GOODS",
        "seller_nick": SHOP,
        "buyer_nick": f"t**{rng.randrange(10)}",
        "buyer_open_uid": f"AAOpenUid{rng.randrange(10**12):012d}",
        "created": stamp,
        "pay_time": stamp,
        "modified": stamp,
        "timeout_action_time": cn_stamp(int(now) + 3 * 86400),
        "received_payment": "0.00",
        "platform_subsidy_fee": "0.00",
        "coupon_fee": 0,
        "alipay_point": 0,
        "step_trade_status": "",
        "trade_from": "WAP,WAP",
        "shipping_type": "express",
        "buyer_message": "",
        "seller_memo": "",
        "seller_flag": 0,
        "has_post_fee": True,
        "is_part_consign": False,
        "forbid_consign": 0,
        "top_hold": 0,
        "modify_address": "",
    }


def _line(rng: Random, tid: int, index: int, sku: Sku, count: int, now: float) -> Doc:
    oid = tid if count == 1 else tid + (index + 1) * 1_000_000_000_000
    num = rng.choices((1, 2, 3, 4, 5), (65, 20, 8, 4, 3))[0]
    discount = rng.choice((0, 0, 0, sku.fen * num // 10))
    adjust = -rng.choice((0, 0, 0, 0, 100)) if count == 1 else 0
    return {
        "oid": oid,
        "oid_str": str(oid),
        "num_iid": 612345670000 + sku.number,
        "sku_id": str(4876543210000 + sku.number),
        "outer_iid": f"SPU-{1000 + sku.number}",
        "outer_sku_id": sku.taobao_code,
        "title": sku.name,
        "sku_properties_name": sku.option,
        "pic_path": "https://img.example.com/1.jpg",
        "cid": 50000671,
        "price": yuan(sku.fen),
        "num": num,
        "discount_fee": yuan(discount),
        "adjust_fee": yuan(adjust),
        "total_fee": yuan(sku.fen * num + adjust - discount),
        "status": "WAIT_SELLER_SEND_GOODS",
        "refund_status": "NO_REFUND",
        "buyer_rate": False,
        "seller_rate": False,
        "seller_type": "B",
        "order_from": "WAP,WAP",
        "is_oversold": False,
        "store_code": "",
        "est_con_time": cn_stamp(int(now) + 2 * 86400),
    }


def _add_money(rng: Random, doc: Doc, lines: list[Doc]) -> None:
    totals = [fen(line["total_fee"]) for line in lines]
    mjz = rng.choice((0, 0, sum(totals) * 6 // 100))
    shares = [mjz * total // max(1, sum(totals)) for total in totals]
    shares[0] += mjz - sum(shares)
    post = rng.choice(POSTAGE)
    payment = sum(totals) - mjz + post
    promotions = []
    for line, total, share in zip(lines, totals, shares, strict=True):
        line.update(
            part_mjz_discount=yuan(share),
            divide_order_fee=yuan(total - share),
            payment=yuan(payment if len(lines) == 1 else total),
        )
        if line["discount_fee"] != "0.00":
            promotions.append(_promotion(line["oid"], "单品优惠", line["discount_fee"], "itembonus-1_3"))
    if mjz:
        promotions.append(_promotion(doc["tid"], "店铺满减", yuan(mjz), "shopbonus-1_2"))
    doc.update(
        total_fee=yuan(sum(fen(line["price"]) * line["num"] for line in lines)),
        discount_fee=yuan(mjz),
        adjust_fee=lines[0]["adjust_fee"] if len(lines) == 1 else "0.00",
        post_fee=yuan(post),
        payment=yuan(payment),
        promotion_details={"promotion_detail": promotions} if promotions else {},
    )


def _promotion(ident: int, name: str, fee: str, promotion: str) -> Doc:
    return {
        "id": ident,
        "promotion_name": name,
        "discount_fee": fee,
        "promotion_id": promotion,
        "promotion_desc": name,
    }


def make_oaid(rng: Random) -> str:
    """A token that looks like an oaid."""
    return base64.b64encode(rng.randbytes(30)).decode()


def _receiver(rng: Random, person: Person) -> Doc:
    """Three of four receivers are masked, as since 2026-08-31; the rest are plain, a few with a virtual number."""
    doc: Doc = {
        "receiver_country": "",
        "receiver_state": person.state,
        "receiver_city": person.city,
        "receiver_district": person.district,
        "receiver_town": person.town,
        "receiver_zip": "000000",
        "receiver_phone": "",
        "oaid": make_oaid(rng),
    }
    style = rng.choices(("masked", "plain", "virtual"), (75, 20, 5))[0]
    if style == "masked":
        mobile = f"{person.mobile[:3]}****{person.mobile[7:]}"
        return {**doc, "receiver_name": f"{person.name[0]}**", "receiver_mobile": mobile, "receiver_address": "***"}
    mobile = person.mobile if style == "plain" else f"188{person.mobile[3:]}-{rng.randrange(1000, 10000)}"
    return {**doc, "receiver_name": person.name, "receiver_mobile": mobile, "receiver_address": person.address}


def one_buyer(name: str) -> Doc:
    """Who buys and where it goes, the same for every trade of a buyer of this name, with a new oaid only by name."""
    rng = Random(f"buyer:{name}")
    return plain_receiver(rng) | {
        "buyer_open_uid": f"AAOpenUid{rng.randrange(10**12):012d}",
        "buyer_nick": f"t**{name[:1]}",
    }


def plain_receiver(rng: Random) -> Doc:
    """Receiver fields in plain text with a new oaid: after an edit, and for kinds whose fault must be visible."""
    person = china_person(rng)
    return {
        "receiver_name": person.name,
        "receiver_mobile": person.mobile,
        "receiver_address": person.address,
        "receiver_state": person.state,
        "receiver_city": person.city,
        "receiver_district": person.district,
        "receiver_town": person.town,
        "oaid": make_oaid(rng),
    }


def _twist(rng: Random, trade: Trade) -> None:
    """Give the trade what its kind means at the moment it is placed; later events are the shop's (`events.py`)."""
    doc, kind = trade.doc, trade.kind
    if kind == "remark":
        doc["buyer_message"] = rng.choice(REMARKS)
    elif kind == "sku_unmapped":
        trade.lines[0].update(outer_sku_id=f"UNKNOWN-{rng.randrange(1000)}", outer_iid="UNKNOWN")
    elif kind == "phone_invalid":
        doc.update(plain_receiver(rng), receiver_mobile=rng.choice(("12345", "1381234567", "abcdefghijk", "")))
    elif kind == "address_unknown":
        doc.update(
            plain_receiver(rng),
            receiver_state="火星省",
            receiver_city="奥林匹斯市",
            receiver_district="火山区",
            receiver_town="",
        )
    elif kind == "address_incomplete":
        doc.update(plain_receiver(rng), receiver_city="", receiver_district="", receiver_town="", receiver_address="")
    elif kind == "money_mismatch":
        doc["payment"] = yuan(fen(doc["payment"]) + rng.choice((1, 100, 990)))
    elif kind in {"paid_later", "unpaid_closed"}:
        unpay(trade)
    elif kind == "step_deposit":
        doc.update(type="step", step_trade_status="FRONT_PAID_FINAL_NOPAID", step_paid_fee="10.00")
        unpay(trade)
    elif kind == "poison":
        _poison(rng, doc)


def unpay(trade: Trade) -> None:
    """Back to waiting for the buyer's money."""
    trade.paid_at = None
    trade.doc.update(status="WAIT_BUYER_PAY")
    trade.doc.pop("pay_time", None)
    for line in trade.lines:
        line["status"] = "WAIT_BUYER_PAY"


def _poison(rng: Random, doc: Doc) -> None:
    """One field of a wrong JSON type or value; the document stays valid JSON."""
    line = doc["orders"]["order"][0]
    way = rng.randrange(5)
    if way == 0:
        doc["payment"] = {"amount": doc["payment"]}
    elif way == 1:
        doc["orders"] = ""
    elif way == 2:
        line["num"] = rng.choice(("two", 0, -1, 1.5))
    elif way == 3:
        line["price"] = rng.choice(("NaN", "1e999", "１２.００"))
    else:
        line["outer_sku_id"] = ["a", "b"]
