from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import standard
from domain.errors import MappingError
from domain.money import from_minor
from domain.order import Order
from normalizer.mapping import normalize
from wire.strict_json import dump, parse_value

from .side import sample

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
FULL: dict[str, Any] = json.loads(sample("standard/orders/order.json"))


def read(value: Any) -> Order:
    return normalize(parse_value(dump(value)), standard.MAPPING, zone=UTC, now=NOW)


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(FULL), **changes}


def line(**changes: Any) -> dict[str, Any]:
    value = changed()
    value["lines"][0].update(changes)
    return value


def test_reads_every_field_it_documents() -> None:
    order = read(FULL)
    amounts = order.amounts
    assert (amounts.goods, amounts.freight, amounts.tax, amounts.discount, amounts.paid) == (21000, 800, 0, 1260, 20540)
    assert [(each.external_id, each.share) for each in order.lines] == [("1", 1080), ("2", 180)]
    assert (order.status, order.payment, order.tags, order.extra) == (
        "pending_shipment",
        "paid",
        ("vip",),
        (("store", "0042"),),
    )
    assert [(each.source, each.amount) for each in order.discounts] == [("shop", 1260)]
    assert order.consignee.district == "余杭区"


def test_the_least_that_is_an_order() -> None:
    order = read(json.loads(sample("standard/orders/order.minimal.json")))
    assert (order.external_id, order.payment, order.amounts.goods, order.lines[0].amount) == (
        "000123",
        "cod",
        5000,
        5000,
    )


def test_the_example_in_the_documentation_is_the_fixture() -> None:
    """Every key of the fixture is named in the module's own documentation."""
    told = standard.__doc__ or ""

    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {key for each in value.values() for key in keys(each)}
        return {key for each in value for key in keys(each)} if isinstance(value, list) else set()

    assert [key for key in sorted(keys(FULL)) if f'"{key}"' not in told] == []


@pytest.mark.parametrize(
    ("value", "code", "path"),
    [
        (changed(external_id=""), "id", "external_id"),
        (changed(external_id="  "), "id", "external_id"),
        (changed(external_id=None), "id", "external_id"),
        (changed(currency=""), "currency_unknown", "currency"),
        (changed(currency="YUAN"), "currency_unknown", "currency"),
        (changed(placed_at="yesterday"), "time", "placed_at"),
        (changed(placed_at="2099-01-01T00:00:00Z"), "time", "placed_at"),
        (changed(lines=[]), "no_lines", "lines"),
        (line(line_id="2"), "duplicate_line", "lines.1"),
        (line(quantity=0), "qty", "lines.0.quantity"),
        (line(quantity="1 "), "qty", "lines.0.quantity"),
        (line(quantity="1.5"), "qty", "lines.0.quantity"),
        (line(unit_price="-0.01"), "money", "lines.0.unit_price"),
        (line(unit_price="1.005"), "money", "lines.0.unit_price"),
        (line(unit_price="１２"), "money", "lines.0.unit_price"),
        (line(unit_price=""), "money", "lines.0.unit_price"),
        (line(discount="x"), "money", "lines.0.discount"),
        (changed(totals={"goods": "1.00"}), "money", "totals.paid"),
        (changed(discounts=[{"source": "magic", "amount": "1.00"}]), "discount_source", "discounts.0.source"),
    ],
)
def test_a_fault_has_a_code_and_a_path(value: Any, code: str, path: str) -> None:
    with pytest.raises(MappingError) as raised:
        read(value)
    assert (raised.value.code, raised.value.path) == (code, path)


def test_unpaid_waits_and_cancelled_closes() -> None:
    assert read(changed(payment={"status": "unpaid"})).status == "pending_payment"
    assert read(changed(status="cancelled")).status == "closed"
    assert "unknown_status" in read(changed(status="maybe")).forbids_shipping
    assert read(changed(payment={"status": "promised"})).payment == "unpaid"


def test_a_later_document_has_a_later_version() -> None:
    assert read(changed(updated_at="2026-11-20T21:31:11+08:00")).version > read(FULL).version


def test_ids_are_kept_exactly() -> None:
    ids = ["123", "000123", "123 ", "ＡＢＣ", "abc", "ABC"]
    assert [read(changed(external_id=each)).external_id for each in ids] == ids


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 999)), min_size=1, max_size=5),
    st.integers(0, 10**6),
    st.sampled_from(["CNY", "USD", "JPY", "KWD", "CLF"]),
)
def test_stated_lines_always_sum_to_the_goods(lines: list[tuple[int, int]], freight: int, currency: str) -> None:
    rows = [
        {"line_id": str(at), "sku": "S", "quantity": units, "unit_price": from_minor(price, currency)}
        for at, (price, units) in enumerate(lines)
    ]
    paid = sum(price * units for price, units in lines) + freight
    totals = {"freight": from_minor(freight, currency), "paid": from_minor(paid, currency)}
    amounts = read(changed(lines=rows, totals=totals, currency=currency, discounts=[])).amounts
    assert amounts.goods + amounts.freight == amounts.paid == paid
