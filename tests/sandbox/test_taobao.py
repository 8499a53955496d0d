"""The shop answers like TOP, pitfalls included (facts/china/taobao.md, 2026-11-21)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from sandbox.signing import top_sign
from sandbox.taobao.make import fen

from .calls import FIELDS, Calls, china


def place(calls: Calls, count: int, seed: str, mix: object = "plain") -> list[str]:
    return list(calls.control("place", channel="taobao", count=count, seed=seed, mix=mix)["ids"])


def only(kind: str) -> dict[str, float]:
    return {"plain": 0.0, kind: 1e9}


def full(calls: Calls, tid: str, **more: str) -> dict[str, object]:
    return dict(calls.top("trade.fullinfo.get", tid=tid, fields=FIELDS, **more)["trade"])


def test_refuses_a_wrong_sign_a_stale_timestamp_and_a_wrong_session(calls: Calls) -> None:
    url, its = calls.box.taobao["url"], calls.box.taobao
    params = calls.top_params("trade.fullinfo.get", tid="1", fields="tid")
    assert calls.client.post(url, data={**params, "tid": "2"}).json()["error_response"]["code"] == 25
    for change, code in (
        ({"timestamp": china(datetime.now(UTC) - timedelta(minutes=11))}, 41),
        ({"session": "x"}, 27),
        ({"app_key": "1"}, 29),
    ):
        changed = {**params, **change}
        changed["sign"] = top_sign(changed, its["app_secret"])
        assert calls.client.post(url, data=changed).json()["error_response"]["code"] == code


def test_accepts_hmac_sha256(calls: Calls) -> None:
    tid = place(calls, 1, "hmac")[0]
    params = {**calls.top_params("trade.fullinfo.get", tid=tid, fields="tid"), "sign_method": "hmac-sha256"}
    params["sign"] = top_sign(params, calls.box.taobao["app_secret"])
    trade = calls.client.post(calls.box.taobao["url"], data=params).json()["trade_fullinfo_get_response"]["trade"]
    assert str(trade["tid"]) == trade["tid_str"] == tid
    assert trade["tid"] > 2**53


def test_many_orders_share_a_second_and_all_are_on_the_pages_read_backwards(calls: Calls) -> None:
    ids = set(place(calls, 60, "pages"))
    total = calls.trades(1, 10)["total_results"]
    found: set[str] = set()
    stamps: list[str] = []
    for page in range(-(-total // 10), 0, -1):
        answer = calls.trades(page, 10, has_next=True)
        assert "total_results" not in answer
        assert answer["has_next"] == (page * 10 < total)
        found |= {row["tid_str"] for row in answer["trades"]["trade"]}
        stamps += [row["modified"] for row in answer["trades"]["trade"] if row["tid_str"] in ids]
    assert ids <= found
    assert len(set(stamps)) <= 2


def test_lists_the_newest_change_first_and_a_day_at_most(calls: Calls) -> None:
    place(calls, 3, "order")
    rows = calls.trades(1, 100)["trades"]["trade"]
    assert [row["modified"] for row in rows] == sorted((row["modified"] for row in rows), reverse=True)
    now = datetime.now(UTC)
    wide = calls.top(
        "trades.sold.increment.get",
        start_modified=china(now - timedelta(hours=25)),
        end_modified=china(now),
        fields="tid",
    )
    assert wide["sub_code"].startswith("isv.")


def test_an_order_that_changes_while_it_is_listed_moves_to_the_front(calls: Calls) -> None:
    tid = place(calls, 1, "touched", only("touched"))[0]
    before = next(row for row in calls.trades(1, 100)["trades"]["trade"] if row["tid_str"] == tid)["modified"]
    time.sleep(1.1)
    calls.trades(1, 100)
    after = calls.trades(1, 100)["trades"]["trade"][0]
    assert after["tid_str"] == tid
    assert after["modified"] > before


def test_shows_two_versions_of_one_order_and_hides_a_late_one(calls: Calls) -> None:
    double, late = place(calls, 1, "double", only("double"))[0], place(calls, 1, "late", only("late"))[0]
    rows = [row for row in calls.trades(1, 100)["trades"]["trade"] if row["tid_str"] == double]
    assert [row["status"] for row in rows] == ["WAIT_SELLER_SEND_GOODS", "WAIT_BUYER_PAY"]
    assert calls.top("trade.fullinfo.get", tid=late, fields="tid")["sub_code"] == "isv.trade-not-exist"
    time.sleep(0.8)
    assert full(calls, late)["tid_str"] == late


def test_money_adds_up_as_the_formulas_say(calls: Calls) -> None:
    for tid in place(calls, 80, "money"):
        trade = full(calls, tid)
        lines = trade["orders"]["order"]  # type: ignore[index]
        assert fen(str(trade["payment"])) == sum(fen(line["divide_order_fee"]) for line in lines) + fen(
            str(trade["post_fee"])
        )
        for line in lines:
            assert fen(line["total_fee"]) == fen(line["price"]) * line["num"] + fen(line["adjust_fee"]) - fen(
                line["discount_fee"]
            )
            assert line["payment"] == (trade["payment"] if len(lines) == 1 else line["total_fee"])


def test_gives_the_oaid_only_when_asked_and_masks_most_receivers(calls: Calls) -> None:
    ids = place(calls, 60, "masks")
    assert "oaid" not in full(calls, ids[0])
    masked = sum("*" in str(full(calls, tid, include_oaid="true")["receiver_name"]) for tid in ids)
    assert full(calls, ids[0], include_oaid="true")["oaid"]
    assert 30 < masked < 60


def test_shipping_is_told_once_and_a_repeat_is_refused(calls: Calls) -> None:
    tid = place(calls, 1, "ship")[0]
    said = {"tid": tid, "company_code": "SF", "out_sid": "SF1234567890123"}
    assert calls.top("logistics.offline.send", **{**said, "out_sid": "SF12"})["sub_code"] == "B60"
    assert calls.top("logistics.offline.send", **said)["shipping"] == {"is_success": True}
    assert calls.top("logistics.offline.send", **said)["sub_code"].startswith("isv.")
    row = calls.control(f"order?channel=taobao&id={tid}")["rows"][0]
    assert [shipment["tracking"] for shipment in row["shipments"]] == ["SF1234567890123"]
    assert [refused["code"] for refused in row["refused_shipments"]] == ["B60", "isv.trade-status-error"]
    trade = full(calls, tid)
    assert trade["status"] == "WAIT_BUYER_CONFIRM_GOODS"
    assert trade["orders"]["order"][0]["invoice_no"] == "SF1234567890123"  # type: ignore[index]


def test_some_sub_orders_ship_and_the_trade_is_partly_consigned(calls: Calls) -> None:
    tid = next(
        tid
        for tid in place(calls, 40, "parts")
        if len(calls.control(f"order?channel=taobao&id={tid}")["rows"][0]["lines"]) > 1
    )
    oid = calls.control(f"order?channel=taobao&id={tid}")["rows"][0]["lines"][0]["id"]
    said = {"tid": tid, "sub_tid": oid, "company_code": "ZTO", "out_sid": "75312345678901"}
    assert calls.top("logistics.offline.send", **said)["sub_code"] == "isv.invalid-parameter:is_split"
    assert calls.top("logistics.offline.send", is_split="1", **said)["shipping"] == {"is_success": True}
    assert full(calls, tid)["status"] == "SELLER_CONSIGNED_PART"
    assert calls.top("logistics.offline.send", is_split="1", **said)["sub_code"].startswith("isv.")


def test_what_buyers_do_later_shows_in_the_trade(calls: Calls) -> None:
    paid, closed = place(calls, 1, "paid", only("paid_later"))[0], place(calls, 1, "closed", only("unpaid_closed"))[0]
    refunded = place(calls, 1, "refund", only("refund_succeeded"))[0]
    assert full(calls, paid)["status"] == full(calls, closed)["status"] == "WAIT_BUYER_PAY"
    now = datetime.now(UTC)
    refunds = calls.top(
        "refunds.receive.get",
        start_modified=china(now - timedelta(hours=1)),
        end_modified=china(now),
        fields="refund_id,tid,oid,status,refund_fee,modified",
        status="WAIT_SELLER_AGREE",
    )
    assert refunded in {str(refund["tid"]) for refund in refunds["refunds"]["refund"]}
    time.sleep(0.6)
    assert full(calls, paid)["status"] == "WAIT_SELLER_SEND_GOODS"
    assert full(calls, closed)["status"] == "TRADE_CLOSED_BY_TAOBAO"
    lines = full(calls, refunded)["orders"]["order"]  # type: ignore[index]
    assert [line["status"] for line in lines][-1] == "TRADE_CLOSED"
    assert full(calls, refunded)["status"] == "WAIT_SELLER_SEND_GOODS"


def test_the_same_seed_composes_the_same_orders(calls: Calls) -> None:
    first, second = place(calls, 5, "again", {"plain": 50.0}), place(calls, 5, "again", {"plain": 50.0})
    bodies = [[full(calls, tid) for tid in ids] for ids in (first, second)]
    assert [trade["payment"] for trade in bodies[0]] == [trade["payment"] for trade in bodies[1]]
    assert first != second
