from __future__ import annotations

from typing import Any

import pytest

from domain.errors import MappingError

from .shop_orders import bag, node, read, with_line


def test_reads_an_order_in_shop_money() -> None:
    order = read(node(totalShippingPriceSet=bag("5.00")))
    amounts = order.amounts
    assert (amounts.goods, amounts.freight, amounts.tax, amounts.discount, amounts.paid) == (5000, 500, 497, 0, 5997)
    assert amounts.goods + amounts.freight + amounts.tax - amounts.discount == amounts.paid
    assert order.consignee.street == "12 Elm St, Apt 3"
    assert (order.status, order.payment, order.forbids_shipping) == ("pending_shipment", "paid", ())


def test_presentment_money_is_never_read() -> None:
    value = node()
    for name in [name for name in value if name.endswith("Set")]:
        value[name]["presentmentMoney"] = {"amount": "999999", "currencyCode": "JPY"}
    assert read(value).amounts == read(node()).amounts


def test_included_tax_is_not_added() -> None:
    order = read(node(taxesIncluded=True, totalPriceSet=bag("55.00")))
    assert order.amounts.tax == 0
    assert [line.share for line in order.lines] == [None]


def test_an_order_discount_is_told_line_by_line() -> None:
    value = with_line(priceAfterAllDiscountsBeforeTaxesSet=bag("47.50"))
    value.update(subtotalPriceSet=bag("47.50"), totalPriceSet=bag("57.47"))
    order = read(value)
    assert (order.lines[0].share, order.amounts.discount) == (250, 250)


def test_without_shares_the_discount_lies_between_lines_and_subtotal() -> None:
    order = read(node(subtotalPriceSet=bag("47.50"), totalPriceSet=bag("57.47")))
    assert (order.lines[0].share, order.amounts.discount) == (None, 250)


def test_a_subtotal_above_its_lines_is_refused() -> None:
    with pytest.raises(MappingError, match="money"):
        read(node(subtotalPriceSet=bag("50.01")))


def test_yen_may_be_padded_but_not_fractional() -> None:
    value = with_line(originalUnitPriceSet=bag("25.0", "JPY"), discountedTotalSet=bag("50", "JPY"))
    value["currencyCode"] = "JPY"
    for name, amount in (
        ("totalPriceSet", "60.0"),
        ("subtotalPriceSet", "50.0"),
        ("totalTaxSet", "0"),
        ("totalShippingPriceSet", "10"),
    ):
        value[name] = bag(amount, "JPY")
    assert read(value).amounts.paid == 60
    value["totalPriceSet"] = bag("60.5", "JPY")
    with pytest.raises(MappingError, match="money"):
        read(value)


def test_removed_units_stay_as_a_cancelled_line_and_the_money_whole() -> None:
    order = read(with_line(currentQuantity=1, unfulfilledQuantity=1))
    kept, removed = order.lines
    assert (kept.quantity, kept.state, removed.quantity, removed.state) == (1, "open", 1, "cancelled")
    assert removed.external_id == f"{kept.external_id}#removed"
    assert kept.amount + removed.amount == order.amounts.goods == 5000


def test_a_line_removed_altogether_keeps_its_id() -> None:
    order = read(with_line(currentQuantity=0, unfulfilledQuantity=0))
    assert [(line.external_id, line.quantity, line.state) for line in order.lines] == [
        ("gid://shopify/LineItem/111", 2, "cancelled")
    ]


@pytest.mark.parametrize("total", ["0.01", "0.03", "10.00", "99.99"])
def test_splitting_removed_units_loses_no_cent(total: str) -> None:
    order = read(
        with_line(quantity=3, currentQuantity=2, discountedTotalSet=bag(total)) | {"subtotalPriceSet": bag("0.00")}
    )
    assert sum(line.amount for line in order.lines) == int(total.replace(".", ""))


@pytest.mark.parametrize(
    ("changes", "status", "payment"),
    [
        ({"displayFinancialStatus": "PENDING"}, "pending_payment", "unpaid"),
        ({"displayFinancialStatus": "AUTHORIZED"}, "pending_payment", "unpaid"),
        ({"displayFinancialStatus": "PARTIALLY_PAID"}, "pending_payment", "unpaid"),
        ({"displayFinancialStatus": "PARTIALLY_REFUNDED"}, "pending_shipment", "paid"),
        ({"displayFulfillmentStatus": "PARTIALLY_FULFILLED"}, "partially_shipped", "paid"),
        ({"displayFulfillmentStatus": "FULFILLED"}, "shipped", "paid"),
        ({"displayFulfillmentStatus": "FULFILLED", "closedAt": "2026-01-31T10:00:00Z"}, "completed", "paid"),
        ({"cancelledAt": "2026-01-31T10:00:00Z"}, "closed", "paid"),
        ({"displayFulfillmentStatus": "IN_PROGRESS"}, "pending_shipment", "paid"),
    ],
)
def test_three_source_states_become_one(changes: dict[str, Any], status: str, payment: str) -> None:
    order = read(node(**changes))
    assert (order.status, order.payment) == (status, payment)


@pytest.mark.parametrize(
    "changes", [{"displayFulfillmentStatus": "RESTOCKED"}, {"displayFulfillmentStatus": "NEW_ONE"}]
)
def test_an_unknown_status_may_not_ship(changes: dict[str, Any]) -> None:
    assert "unknown_status" in read(node(**changes)).forbids_shipping


@pytest.mark.parametrize(
    ("entry", "flag"),
    [
        ({"status": "ON_HOLD"}, "on_hold"),
        ({"status": "SCHEDULED"}, "scheduled"),
        ({"requestStatus": "SUBMITTED"}, "fulfillment_service"),
        ({"requestStatus": "ACCEPTED", "status": "IN_PROGRESS"}, "fulfillment_service"),
    ],
)
def test_holds_and_other_services_forbid_shipping(entry: dict[str, Any], flag: str) -> None:
    value = node()
    value["fulfillmentOrders"]["nodes"][0].update(entry)
    assert read(value).forbids_shipping == (flag,)


def test_a_closed_fulfilment_order_forbids_nothing() -> None:
    value = node()
    value["fulfillmentOrders"]["nodes"][0].update(status="CLOSED", requestStatus="CLOSED")
    assert read(value).forbids_shipping == ()


@pytest.mark.parametrize(
    ("changes", "flag"), [({"test": True}, "test_order"), ({"displayFinancialStatus": "REFUNDED"}, "refunded")]
)
def test_test_and_refunded_orders_do_not_ship(changes: dict[str, Any], flag: str) -> None:
    assert flag in read(node(**changes)).forbids_shipping


def test_more_lines_than_one_answer_holds_is_said_not_cut() -> None:
    value = node()
    value["lineItems"]["pageInfo"]["hasNextPage"] = True
    with pytest.raises(MappingError, match="too_many_lines"):
        read(value)


def test_a_missing_address_is_left_to_the_checks() -> None:
    assert read(node(shippingAddress=None)).consignee.street == ""
