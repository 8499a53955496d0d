from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors._taobao_order import read_refund
from domain.errors import MappingError

from .trades import NOW, first_line, line, read, refund_record, trade


def test_reads_a_trade_with_its_money_conserved() -> None:
    order = read(trade())
    amounts = order.amounts
    assert (amounts.goods, amounts.freight, amounts.discount, amounts.paid) == (21000, 800, 1260, 20540)
    assert amounts.goods + amounts.freight - amounts.discount == amounts.paid
    assert [each.share for each in order.lines] == [1080, 180]
    assert order.placed_at == datetime(2026, 11, 20, 13, 30, 5, tzinfo=UTC)
    assert (order.version, order.external_id) == ("2026-11-20 22:02:41", "4212345678900234567")
    assert order.consignee.masked and order.consignee.token.startswith("1oExample")


def test_the_order_id_is_exact_without_its_text_twin() -> None:
    value = trade()
    del value["trade_fullinfo_get_response"]["trade"]["tid_str"]
    assert read(value).external_id == "4212345678900234567"


def test_freight_of_a_single_line_trade_is_not_counted_twice() -> None:
    """order.payment includes freight there; only divide_order_fee and total_fee are used."""
    value = trade(payment="177.20", discount_fee="10.80", total_fee="198.00")
    orders = value["trade_fullinfo_get_response"]["trade"]["orders"]["order"]
    orders[:] = [{**orders[0], "payment": "177.20"}]
    amounts = read(value).amounts
    assert (amounts.goods, amounts.freight, amounts.discount, amounts.paid) == (18000, 800, 1080, 17720)


def test_a_payment_that_does_not_add_up_stays_visible() -> None:
    amounts = read(trade(payment="205.41")).amounts
    assert amounts.goods + amounts.freight - amounts.discount != amounts.paid


def test_without_divide_order_fee_the_trade_total_is_the_discount() -> None:
    value = trade()
    for each in value["trade_fullinfo_get_response"]["trade"]["orders"]["order"]:
        del each["divide_order_fee"]
    order = read(value)
    assert order.amounts.discount == 1260
    assert [each.share for each in order.lines] == [None, None]


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"status": "PAID_FORBID_CONSIGN"}, ("paid_forbid_consign",)),
        ({"forbid_consign": 1}, ("forbid_consign",)),
        ({"top_hold": "1"}, ("top_hold",)),
        ({"ofp_hold": True}, ("ofp_hold",)),
        ({"team_buy_hold": 1}, ("team_buy_hold",)),
        ({"top_hold": False, "forbid_consign": "0"}, ()),
        ({"step_trade_status": "FRONT_PAID_FINAL_NOPAID"}, ("presale_balance_unpaid",)),
    ],
)
def test_names_every_do_not_ship_flag(changes: dict[str, Any], flags: tuple[str, ...]) -> None:
    assert read(trade(**changes)).forbids_shipping == flags


def test_an_unknown_status_may_not_ship() -> None:
    assert "unknown_status" in read(trade(status="SOMETHING_NEW")).forbids_shipping


def test_a_deposit_is_not_a_payment() -> None:
    order = read(trade(step_trade_status="FRONT_PAID_FINAL_NOPAID", status="WAIT_BUYER_PAY"))
    assert (order.payment, order.status) == ("unpaid", "pending_payment")


def test_cash_on_delivery_needs_no_pay_time() -> None:
    assert read(trade(type="cod", pay_time="")).payment == "cod"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"refund_status": "NO_REFUND"}, "open"),
        ({"refund_status": "CLOSED"}, "open"),
        ({"refund_status": "WAIT_SELLER_AGREE"}, "after_sale"),
        ({"refund_status": "SELLER_REFUSE_BUYER"}, "after_sale"),
        ({"refund_status": "SOMETHING_NEW"}, "after_sale"),
        ({"refund_status": "SUCCESS"}, "cancelled"),
        ({"refund_status": "SUCCESS", "status": "TRADE_CLOSED"}, "cancelled"),
        ({"refund_status": "SUCCESS", "invoice_no": "SF1"}, "shipped"),
        ({"status": "WAIT_BUYER_CONFIRM_GOODS", "refund_status": "WAIT_SELLER_AGREE"}, "shipped"),
    ],
)
def test_the_refund_decides_the_line_until_it_ships(changes: dict[str, Any], state: str) -> None:
    assert first_line(line(0, **changes)).state == state


def test_without_a_seller_code_the_platform_code_is_there_to_be_mapped() -> None:
    assert first_line(line(0, outer_sku_id="", outer_iid="")).external_sku == "4876543210987"


def test_a_line_with_a_refund_shows_an_after_sale() -> None:
    (sale,) = read(trade()).after_sales
    assert (sale.external_id, sale.state, sale.amount) == ("331234567890123456", "requested", 2820)
    assert sale.lines == (("4212345678902234567", 1),)


def test_reads_a_refund_record() -> None:
    record = refund_record()
    trade_id, sale = read_refund(record, NOW)
    assert (trade_id, sale.external_id, sale.amount) == ("4212345678900234567", "331234567890123456", 2820)
    assert (sale.kind, sale.state, sale.lines) == ("refund", "requested", (("4212345678902234567", 1),))


def test_a_partial_refund_claims_no_units() -> None:
    record = refund_record()
    assert read_refund({**record, "refund_fee": "5.00"}, NOW)[1].lines == (("4212345678902234567", 0),)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("SELLER_REFUSE_BUYER", "refused"),
        ("CLOSED", "withdrawn"),
        ("SUCCESS", "refunded"),
        ("SOMETHING_NEW", "requested"),
    ],
)
def test_a_refund_status_becomes_an_after_sale_state(status: str, state: str) -> None:
    sale = read_refund({**refund_record(), "status": status}, NOW)[1]
    assert (sale.state, sale.source_status) == (state, status)


def test_a_refused_detail_is_one_exception_with_the_words_of_the_platform() -> None:
    with pytest.raises(MappingError, match=r"refused_by_source.*isv\.trade-not-exist"):
        read({"error_response": {"code": 15, "sub_code": "isv.trade-not-exist", "sub_msg": "交易不存在"}})
