"""One document in, one exact order out - or one error with a code and the path to the fault."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.allocation import allocate
from domain.errors import MappingError
from domain.order import Order
from normalizer.mapping import MAX_LINES, At, OrderMapping, fixed, normalize
from normalizer.readers import as_money, as_quantity, as_text, as_time
from tests.normalizer.mappings import NOW, PARTNER, SHANGHAI, partner_line, partner_order, read_partner


def refused(**changes: Any) -> tuple[str, str]:
    with pytest.raises(MappingError) as caught:
        read_partner(**changes)
    return caught.value.code, caught.value.path


def test_reads_a_good_document() -> None:
    order = read_partner()
    assert (order.external_id, order.status, order.payment, order.currency) == (
        "A-1",
        "pending_shipment",
        "paid",
        "CNY",
    )
    assert order.placed_at == datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
    assert order.version == "2026-11-20T10:00:00.000000+00:00"
    assert [(line.external_id, line.quantity, line.unit_price, line.amount) for line in order.lines] == [
        ("1", 2, 1000, 2000),
        ("2", 2, 1000, 2000),
    ]
    assert order.amounts.goods == 4000
    assert order.lines[0].title == "A-1/S1"


@pytest.mark.parametrize("quantity", [0, -1, 10**9, 1.5, "1 ", Decimal("1.5"), "", True])
def test_a_bad_quantity_is_an_error_at_its_line(quantity: Any) -> None:
    assert refused(lines=[partner_line(), partner_line(line_id="2", quantity=quantity)]) == ("qty", "lines.1.quantity")


def test_a_missing_quantity_is_a_quantity_error() -> None:
    assert refused(lines=[partner_line(quantity=None)]) == ("qty", "lines.0.quantity")


@pytest.mark.parametrize(
    ("currency", "price"),
    [("CNY", "-0.01"), ("CNY", "1.234"), ("JPY", "1.5"), ("KWD", "1.2345"), ("CNY", "１２"), ("CNY", Decimal("NaN")),
     ("CNY", ""), ("CNY", 1.5)],
)  # fmt: skip
def test_a_bad_price_is_an_error_at_its_line(currency: str, price: Any) -> None:
    lines = [partner_line(price=price)]
    assert refused(currency=currency, total="1", lines=lines) == ("money", "lines.0.price")


def test_two_decimals_are_fine_in_dinars() -> None:
    order = read_partner(currency="KWD", total="1.25", lines=[partner_line(price="1.25")])
    assert order.lines[0].unit_price == 1250


def test_a_bad_total_is_an_error_at_the_total() -> None:
    assert refused(total="30.001") == ("money", "total")
    assert refused(total=None) == ("money", "total")


@pytest.mark.parametrize(("currency", "code"), [("RMB", "CNY"), ("usd", "USD")])
def test_currency_names_are_mapped_by_table(currency: str, code: str) -> None:
    assert read_partner(currency=currency).currency == code


@pytest.mark.parametrize("currency", [None, "", "¥", "XXX", "yuan", 156])
def test_an_unknown_currency_is_an_error(currency: Any) -> None:
    assert refused(currency=currency) == ("currency_unknown", "currency")


@pytest.mark.parametrize(
    "value",
    [None, "", "0000-00-00", "0000-00-00 00:00:00", "2099-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 1795000000, "soon"],
)
def test_a_bad_time_is_an_error(value: Any) -> None:
    code, path = refused(updated_at=value)
    assert code == "time"
    assert path in {"updated_at", "source_time"}


def test_a_clock_may_be_a_day_ahead_and_no_more() -> None:
    ahead = (NOW + timedelta(hours=23)).isoformat()
    assert read_partner(updated_at=ahead).source_time == NOW + timedelta(hours=23)
    assert refused(updated_at=(NOW + timedelta(hours=25)).isoformat())[0] == "time"


@pytest.mark.parametrize("identity", [None, "", " ", "\t", "\u3000"])
def test_an_order_without_an_id_is_an_error(identity: Any) -> None:
    assert refused(order_id=identity)[0] == "id"


@pytest.mark.parametrize("identity", ["123", "000123", "A1 ", "a1", "A1", "Ａ１", 3141592653589793238])
def test_ids_are_kept_exactly(identity: Any) -> None:
    assert read_partner(order_id=identity).external_id == str(identity)


@pytest.mark.parametrize("lines", [None, []])
def test_an_order_without_lines_is_an_error(lines: Any) -> None:
    assert refused(lines=lines) == ("no_lines", "lines")


def test_one_line_that_is_no_list_is_one_line() -> None:
    assert len(read_partner(lines=partner_line()).lines) == 1


def test_ten_thousand_lines_are_accepted_and_one_more_is_not() -> None:
    lines = [partner_line(line_id=str(number)) for number in range(MAX_LINES + 1)]
    assert len(read_partner(lines=lines[:-1]).lines) == MAX_LINES
    assert refused(lines=lines) == ("too_many_lines", "lines")


def test_one_line_id_twice_is_an_error_and_one_sku_twice_is_two_lines() -> None:
    assert refused(lines=[partner_line(), partner_line()]) == ("duplicate_line", "lines.1")
    order = read_partner(lines=[partner_line(), partner_line(line_id="2")])
    assert [line.external_sku for line in order.lines] == ["S1", "S1"]


@pytest.mark.parametrize("lines", ["x", 5, ["x"], [None], [[]]])
def test_lines_that_are_no_objects_are_an_error(lines: Any) -> None:
    assert refused(lines=lines)[0] == "type"


def test_a_line_without_an_id_is_an_error_at_its_line() -> None:
    assert refused(lines=[partner_line(line_id=" ")])[0] == "id"
    assert refused(lines=[partner_line(line_id=None)]) == ("id", "lines.0.line_id")


def test_an_unknown_status_is_shown_and_never_ships() -> None:
    order = read_partner(status="PROBABLY_FINE")
    assert order.status == "pending_payment"
    assert order.source_status == "PROBABLY_FINE"
    assert order.forbids_shipping == ("unknown_status",)
    assert order.notes == ("unknown_status:PROBABLY_FINE",)


def test_a_source_may_show_another_word_than_the_one_its_status_is_read_from() -> None:
    mapping = replace(PARTNER, order={**PARTNER.order, "source_status": fixed("NEW/PAID")})
    order = normalize(partner_order(), mapping, zone=SHANGHAI, now=NOW)
    assert (order.status, order.source_status) == ("pending_shipment", "NEW/PAID")


def test_an_unknown_payment_state_counts_as_unpaid() -> None:
    mapping = replace(PARTNER, order={**PARTNER.order, "payment": At("paid_state")}, payments={"YES": "paid"})
    order = normalize(partner_order(paid_state="HALF"), mapping, zone=SHANGHAI, now=NOW)
    assert (order.payment, order.notes) == ("unpaid", ("unknown_payment:HALF",))
    assert normalize(partner_order(paid_state="YES"), mapping, zone=SHANGHAI, now=NOW).payment == "paid"


def test_a_total_that_is_off_by_one_is_not_repaired() -> None:
    order = read_partner(total="40.01")
    assert (order.amounts.goods, order.amounts.paid) == (4000, 4001)


def test_stated_shares_stay_what_the_source_says_and_the_allocation_uses_them() -> None:
    lines = [partner_line(cents_off=100), partner_line(line_id="2", cents_off=300)]
    mapping = replace(PARTNER, amounts={**PARTNER.amounts, "discount": At("off", as_money, 0)})
    record = partner_order(lines=lines, off="4.00", freight="2.00", total="38.00")
    order = normalize(record, mapping, zone=SHANGHAI, now=NOW)
    assert [(line.share, line.discount, line.paid) for line in order.lines] == [(100, 0, 0), (300, 0, 0)]
    assert [(line.discount, line.freight, line.paid) for line in allocate(order).lines] == [
        (100, 106, 2006),
        (300, 94, 1794),
    ]


def test_a_connectors_function_that_stumbles_is_one_error_with_a_path() -> None:
    mapping = replace(PARTNER, ship_to={"name": lambda record: record["nobody"]["name"]})
    with pytest.raises(MappingError) as caught:
        normalize(partner_order(), mapping, zone=SHANGHAI, now=NOW)
    assert (caught.value.code, caught.value.path) == ("unreadable", "name")
    mapping = replace(PARTNER, line={**PARTNER.line, "title": lambda line: 1 / 0})
    with pytest.raises(MappingError) as caught:
        normalize(partner_order(), mapping, zone=SHANGHAI, now=NOW)
    assert (caught.value.code, caught.value.path) == ("unreadable", "lines.0.title")


def test_functions_give_canonical_values_that_are_checked_by_type() -> None:
    for field, value, code in [("quantity", 0, "qty"), ("unit_price", "1.00", "type"), ("external_sku", ["x"], "type")]:
        mapping = replace(PARTNER, line={**PARTNER.line, field: fixed(value)})
        with pytest.raises(MappingError) as caught:
            normalize(partner_order(), mapping, zone=SHANGHAI, now=NOW)
        assert (caught.value.code, caught.value.path) == (code, f"lines.0.{field}")


def test_a_line_worth_more_than_a_column_holds_is_a_money_error() -> None:
    assert refused(lines=[partner_line(quantity=1_000_000, price="9999999999.00")]) == ("money", "lines.0.amount")
    dear = [partner_line(line_id=str(number), quantity=1, price="9000000000000.00") for number in range(2)]
    assert refused(lines=dear) == ("money", "amounts.goods")


@pytest.mark.parametrize(
    ("field", "value"), [("payment", ["paid"]), ("forbids_shipping", 5), ("tags", [5]), ("notes", {})]
)
def test_functions_of_the_order_are_checked_too(field: str, value: Any) -> None:
    mapping = replace(PARTNER, order={**PARTNER.order, field: fixed(value)})
    if not value:
        assert normalize(partner_order(), mapping, zone=SHANGHAI, now=NOW).notes == ()
        return
    with pytest.raises(MappingError) as caught:
        normalize(partner_order(), mapping, zone=SHANGHAI, now=NOW)
    assert (caught.value.code, caught.value.path) == ("type", field)


def test_paths_step_into_objects_and_lists() -> None:
    mapping = replace(
        PARTNER, ship_to={"name": At("people.1.names.0"), "city": At("people.7.city", as_text, "nowhere")}
    )
    record = partner_order(people=[{}, {"names": ["Ann"]}])
    consignee = normalize(record, mapping, zone=SHANGHAI, now=NOW).consignee
    assert (consignee.name, consignee.city) == ("Ann", "nowhere")


def test_a_missing_value_without_a_default_names_its_path() -> None:
    mapping = replace(PARTNER, ship_to={"name": At("a.b.c")})
    with pytest.raises(MappingError) as caught:
        normalize(partner_order(a={"b": None}), mapping, zone=SHANGHAI, now=NOW)
    assert (caught.value.code, caught.value.path) == ("missing", "a.b.c")


@pytest.mark.parametrize(
    "changes",
    [
        {"order": {"external_id": At("x")}},
        {"order": {**PARTNER.order, "colour": At("x")}},
        {"line": {"external_id": At("x")}},
        {"line": {**PARTNER.line, "colour": At("x")}},
        {"ship_to": {"colour": At("x")}},
        {"ship_to": {"name": At("a..b")}},
        {"amounts": {}},
        {"statuses": {"NEW": "fresh"}},
        {"line": {"external_id": At("x"), "external_sku": At("y"), "quantity": At("z", as_quantity)}},
    ],
)
def test_a_mapping_that_cannot_work_is_refused_when_it_is_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(PARTNER, **changes)


def test_after_sales_and_discounts_are_read_where_the_source_has_them() -> None:
    mapping: OrderMapping = replace(
        PARTNER,
        discounts=At("promotions"),
        discount={"source": fixed("shop"), "amount": At("off", as_money), "label": At("name", as_text, "")},
        after_sales=At("refunds"),
        after_sale={
            "external_id": At("id"),
            "kind": fixed("refund"),
            "state": fixed("requested"),
            "amount": At("fee", as_money),
            "lines": lambda refund: tuple((line, 0) for line in refund["lines"]),
            "source_time": At("at", as_time, None),
        },
        amounts={**PARTNER.amounts, "discount": At("off", as_money, 0)},
    )
    record = partner_order(off="1.00", total="39.00", promotions=[{"off": "1.00", "name": "满减"}],
                           refunds=[{"id": 77, "fee": "5.00", "lines": ["1"]}])  # fmt: skip
    order = normalize(record, mapping, zone=SHANGHAI, now=NOW)
    assert [(discount.amount, discount.label) for discount in order.discounts] == [(100, "满减")]
    assert [(sale.external_id, sale.amount, sale.lines) for sale in order.after_sales] == [("77", 500, (("1", 0),))]
    assert normalize(partner_order(), mapping, zone=SHANGHAI, now=NOW).after_sales == ()
    with pytest.raises(MappingError) as caught:
        normalize(partner_order(refunds=[{"id": "", "fee": "1", "lines": []}]), mapping, zone=SHANGHAI, now=NOW)
    assert caught.value.code == "id"


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.decimals(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def outcome(record: dict[str, Any]) -> Order | str:
    try:
        return normalize(record, PARTNER, zone=SHANGHAI, now=NOW)
    except MappingError as error:
        return error.code


@given(st.sampled_from(sorted(partner_order())), _JSON)
def test_whatever_stands_in_a_field_the_answer_is_an_order_or_a_code(field: str, value: Any) -> None:
    found = outcome({**partner_order(), field: value})
    assert found if isinstance(found, str) else found.lines and found.external_id.strip()


@given(st.sampled_from(sorted(partner_line())), _JSON)
def test_whatever_stands_in_a_line_the_answer_is_an_order_or_a_code(field: str, value: Any) -> None:
    found = outcome(partner_order(lines=[{**partner_line(), field: value}]))
    assert found if isinstance(found, str) else found.lines[0].quantity > 0 and found.lines[0].amount >= 0
