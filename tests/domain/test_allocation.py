"""Cents are divided once, down to the unit, and none is lost or made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.allocation import (
    PartFreight,
    _spread_freight,
    _spread_tax,
    _stack,
    _stated_shares,
    allocate,
    freight_of_partial_amount,
    largest_remainder,
    line_units,
    part_amounts,
    platform_vouchers,
    refundable,
    settle_line,
    settle_order,
    split_units,
)
from domain.errors import MappingError, RefusedError
from domain.money import EXPONENTS, from_minor, to_minor
from domain.order import Amounts, Component, Consignee, Discount, Line, Order

PLACED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def build_line(name: str, amount: int, quantity: int = 1, **more: Any) -> Line:
    unit = amount // max(quantity, 1)
    return Line(external_id=name, external_sku=name, quantity=quantity, unit_price=unit, amount=amount, **more)


def build_order(*lines: Line, freight: int = 0, tax: int = 0, discount: int = 0, **more: Any) -> Order:
    goods = sum(line.amount for line in lines)
    amounts = Amounts(goods=goods, freight=freight, tax=tax, discount=discount, paid=goods + freight + tax - discount)
    return Order(
        external_id="1",
        version="1",
        source_time=PLACED,
        status="pending_shipment",
        source_status="PAID",
        payment="paid",
        currency=more.pop("currency", "CNY"),
        amounts=amounts,
        consignee=Consignee(),
        lines=lines,
        placed_at=PLACED,
        **more,
    )


def column(order: Order, name: str) -> list[int]:
    return [getattr(line, name) for line in order.lines]


def worked_example(quantity_of_b: int = 1) -> Order:
    lines = build_line("A", 29900), build_line("B", 19900, quantity_of_b), build_line("C", 49900)
    discounts = Discount(source="platform", amount=5000), Discount(source="shop", amount=20000, lines=("B", "C"))
    return allocate(build_order(*lines, freight=1000, discount=25000, discounts=discounts))


def test_the_worked_example_comes_out_to_the_fen() -> None:
    order = worked_example()
    assert column(order, "discount") == [1499, 998 + 5702, 2503 + 14298]
    assert [line.amount - line.discount for line in order.lines] == [28401, 13200, 33099]
    assert column(order, "freight") == [380, 177, 443]
    assert sum(column(order, "paid")) == order.amounts.paid == 75700
    assert platform_vouchers(order) == (1499, 998, 2503)


def test_one_unit_of_the_worked_example_has_one_exact_refund() -> None:
    a, b, c = worked_example(quantity_of_b=3).lines
    assert refundable(b, 1, 0, shipped=False) == 4400 + 59
    assert refundable(b, 1, 0, shipped=True) == 4400
    assert sum(refundable(b, 1, done, shipped=False) for done in range(3)) == b.paid == 13377
    assert (refundable(a, 1, 0, shipped=False), refundable(c, 1, 0, shipped=False)) == (28781, 33542)


def test_the_larger_cents_come_first() -> None:
    assert split_units(13201, 3) == (4401, 4400, 4400)
    assert split_units(0, 2) == (0, 0)
    line = allocate(build_order(build_line("B", 13201, 3))).lines[0]
    assert [refundable(line, 1, done, shipped=True) for done in range(3)] == [4401, 4400, 4400]


def test_ties_go_to_the_earlier_line() -> None:
    assert largest_remainder(1, [1, 1, 1]) == (1, 0, 0)
    assert largest_remainder(5, [1, 1]) == (3, 2)
    assert largest_remainder(10, [0, 3, 0, 3]) == (0, 5, 0, 5)


def test_weights_that_are_all_zero_count_as_equal() -> None:
    assert largest_remainder(5, [0, 0, 0]) == (2, 2, 1)
    assert largest_remainder(0, []) == ()


@pytest.mark.parametrize(("total", "weights"), [(-1, [1]), (1, [2, -1]), (1, [])])
def test_refuses_to_spread_negatives_or_among_nobody(total: int, weights: list[int]) -> None:
    with pytest.raises(ValueError):
        largest_remainder(total, weights)


@pytest.mark.parametrize(("total", "n"), [(-1, 2), (1, 0)])
def test_refuses_units_that_cannot_be(total: int, n: int) -> None:
    with pytest.raises(ValueError):
        split_units(total, n)


WEIGHTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=20)


@given(st.integers(0, 10**15), WEIGHTS)
def test_what_is_spread_sums_to_the_total_and_is_fair(total: int, weights: list[int]) -> None:
    shares = largest_remainder(total, weights)
    assert sum(shares) == total
    whole = sum(weights)
    if whole:
        exact = [Fraction(total * weight, whole) for weight in weights]
        assert all(abs(share - value) < 1 for share, value in zip(shares, exact, strict=True))
    if total <= whole:
        assert all(share <= weight for share, weight in zip(shares, weights, strict=True))


def test_the_source_wins_when_it_states_every_share() -> None:
    lines = build_line("A", 1000, share=10), build_line("B", 1000, share=90)
    discount = Discount(source="platform", amount=60)
    order = allocate(build_order(*lines, discount=100, discounts=(discount,)))
    assert column(order, "discount") == [10, 90]
    assert platform_vouchers(order) == (6, 54)


@pytest.mark.parametrize("shares", [(10, None), (10, 80), (-10, 110), (100, 0)])
def test_shares_that_cannot_be_true_are_not_used(shares: tuple[int, int | None]) -> None:
    lines = build_line("A", 90, share=shares[0]), build_line("B", 90, share=shares[1])
    assert column(allocate(build_order(*lines, discount=100)), "discount") == [50, 50]


def test_a_total_that_is_not_itemised_is_spread_on_what_is_left() -> None:
    coupon = Discount(source="shop", amount=100, lines=("A",))
    lost = Discount(source="points", amount=7, lines=("no such line",))
    order = allocate(build_order(build_line("A", 100), build_line("B", 50), discount=120, discounts=(coupon, lost)))
    assert column(order, "discount") == [100, 20]


def test_the_stated_total_limits_the_itemised_discounts() -> None:
    both = Discount(source="shop", amount=30), Discount(source="platform", amount=30)
    order = allocate(build_order(build_line("A", 100), discount=40, discounts=both))
    assert column(order, "discount") == [40]
    assert platform_vouchers(order) == (10,)


def test_freight_goes_by_weight_when_every_line_has_one() -> None:
    light, heavy = build_line("A", 9000, 2, weight_grams=100), build_line("B", 1000, weight_grams=800)
    assert column(allocate(build_order(light, heavy, freight=1000)), "freight") == [200, 800]
    unknown = replace(heavy, weight_grams=0)
    assert column(allocate(build_order(light, unknown, freight=1000)), "freight") == [900, 100]


def test_only_what_ships_carries_freight() -> None:
    goods = build_line("A", 100, weight_grams=5)
    virtual, gift = build_line("V", 900, requires_shipping=False), build_line("G", 0)
    assert column(allocate(build_order(goods, virtual, freight=80)), "freight") == [80, 0]
    assert column(allocate(build_order(virtual, freight=80)), "freight") == [80]
    assert column(allocate(build_order(gift, virtual, gift, freight=80)), "freight") == [40, 0, 40]


def test_tax_stays_where_the_source_put_it() -> None:
    a, b = build_line("A", 100, tax=7), build_line("B", 100)
    assert column(allocate(build_order(a, b, tax=7)), "tax") == [7, 0]
    assert column(allocate(build_order(replace(a, tax=0), b, tax=7)), "tax") == [4, 3]


def test_tax_above_the_lines_is_tax_on_freight() -> None:
    a, b = build_line("A", 100, tax=7), build_line("V", 300, requires_shipping=False)
    assert column(allocate(build_order(a, b, tax=17, freight=50)), "tax") == [17, 0]
    assert column(allocate(build_order(a, b, tax=17)), "tax") == [7 + 3, 7]


def test_tax_inside_prices_is_not_added_again() -> None:
    order = allocate(build_order(build_line("A", 100, tax=7), build_line("B", 100, tax=7)))
    assert column(order, "tax") == [0, 0]
    assert sum(column(order, "paid")) == order.amounts.paid == 200


def test_a_cancelled_line_keeps_its_share() -> None:
    a, b = build_line("A", 100), build_line("B", 100, state="cancelled")
    assert column(allocate(build_order(a, b, discount=10)), "discount") == [5, 5]


def test_a_discount_beyond_the_goods_pays_the_freight() -> None:
    order = allocate(build_order(build_line("A", 100, 3), build_line("B", 50), freight=30, tax=6, discount=175))
    assert column(order, "paid") == [7, 4]
    assert all(
        sum(refundable(line, line.quantity, 0, shipped=False) for line in [one]) == one.paid for one in order.lines
    )


def test_an_order_without_lines_is_left_to_the_checks() -> None:
    order = build_order(freight=5)
    assert allocate(order) is order
    assert platform_vouchers(order) == ()


def test_refuses_negative_money_with_its_path() -> None:
    good = build_line("A", 100)
    for order, path in (
        (build_order(replace(good, amount=-1)), "lines.0.amount"),
        (build_order(good, replace(good, tax=-1)), "lines.1.tax"),
        (build_order(good, freight=-1), "amounts.freight"),
        (build_order(good, tax=-1), "amounts.tax"),
        (build_order(good, discount=-1), "amounts.discount"),
        (build_order(good, discounts=(Discount(source="shop", amount=-1),)), "discounts.0.amount"),
        (build_order(good, discount=101), "amounts.discount"),
    ):
        with pytest.raises(MappingError) as caught:
            allocate(order)
        assert (caught.value.code, caught.value.path) == ("money", path)


@st.composite
def told(draw: st.DrawFn) -> Order:
    """Any order whose own totals agree, in currencies with 0, 2 and 3 decimals, written and read as a source would."""
    currency = draw(st.sampled_from(["JPY", "KRW", "CNY", "USD", "EUR", "GBP", "KWD", "BHD"]))
    weighed, taxed, shared = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    lines = []
    for index in range(draw(st.integers(1, 6))):
        text = from_minor(draw(st.integers(0, 10**6)), currency)
        lines.append(
            build_line(
                f"L{index}",
                to_minor(text, currency),
                draw(st.integers(1, 9)),
                weight_grams=draw(st.integers(1, 5000)) if weighed else 0,
                tax=draw(st.integers(0, 999)) if taxed else 0,
                requires_shipping=draw(st.booleans()),
            )
        )
    if shared:
        lines = [replace(line, share=draw(st.integers(0, line.amount))) for line in lines]
    freight, tax = draw(st.integers(0, 5000)), draw(st.integers(0, 5000))
    discount = draw(st.integers(0, sum(line.amount for line in lines) + freight + tax))
    if shared:
        discount = sum(line.share or 0 for line in lines)
    source = st.sampled_from(["platform", "shop", "coupon", "points", "member"])
    names = st.lists(st.sampled_from([line.external_id for line in lines]), max_size=3).map(tuple)
    stack = st.lists(st.builds(Discount, source=source, amount=st.integers(0, 10**6), lines=names), max_size=4)
    more = {"freight": freight, "tax": tax, "discount": discount}
    return build_order(*lines, **more, currency=currency, discounts=tuple(draw(stack)))


def orders() -> st.SearchStrategy[Order]:
    return told().map(allocate)


@given(orders())
def test_allocation_conserves_every_total(order: Order) -> None:
    for name in ("discount", "freight", "tax", "paid"):
        assert sum(column(order, name)) == getattr(order.amounts, name)
    for line in order.lines:
        assert line.paid == line.amount - line.discount + line.freight + line.tax >= 0
        assert min(line.discount, line.freight, line.tax) >= 0
    assert EXPONENTS[order.currency] in {0, 2, 3}


@given(told())
def test_what_is_quick_is_what_is_spread(order: Order) -> None:
    lines, amounts = order.lines, order.amounts
    discounts = _stated_shares(order) or [sum(column) for column in zip(*_stack(order), strict=True)]
    left = [line.amount - discount for line, discount in zip(lines, discounts, strict=True)]
    basis = left if any(left) else [line.amount for line in lines]
    freights = _spread_freight(amounts.freight, lines, basis)
    taxes = _spread_tax(amounts.tax, lines, basis, freights)
    fees = [freight + tax for freight, tax in zip(freights, taxes, strict=True)]
    excess = largest_remainder(amounts.discount - sum(discounts), fees)
    borne = [discount + more for discount, more in zip(discounts, excess, strict=True)]
    allocated = allocate(order)
    assert (column(allocated, "discount"), column(allocated, "freight"), column(allocated, "tax")) == (
        borne,
        list(freights),
        list(taxes),
    )


def weights_of(lines: Sequence[Line], basis: Sequence[int]) -> list[int]:
    """What freight goes by: said plainly, a step at a time."""
    ships = [line.requires_shipping or not any(line.requires_shipping for line in lines) for line in lines]
    by_weight = all(line.weight_grams > 0 for line, goes in zip(lines, ships, strict=True) if goes)
    of = [line.weight_grams * max(line.quantity, 0) for line in lines] if by_weight else list(basis)
    weights = [weight if goes else 0 for weight, goes in zip(of, ships, strict=True)]
    return weights if any(weights) else [int(goes) for goes in ships]


@given(
    st.integers(0, 5000),
    st.lists(st.tuples(st.integers(-1, 900), st.integers(-1, 4), st.booleans(), st.integers(0, 99)), min_size=1),
)
def test_freight_goes_the_short_way_as_it_goes_the_long_way(total: int, told: list[tuple[int, int, bool, int]]) -> None:
    lines = [
        build_line("A", 100, quantity, weight_grams=grams, requires_shipping=ships)
        for grams, quantity, ships, _ in told
    ]
    basis = [each[3] for each in told]
    assert tuple(_spread_freight(total, lines, basis)) == largest_remainder(total, weights_of(lines, basis))


@given(orders())
def test_allocating_again_changes_nothing(order: Order) -> None:
    assert allocate(order) == order


@given(orders())
def test_vouchers_are_a_part_of_the_discounts(order: Order) -> None:
    vouchers = platform_vouchers(order)
    assert all(0 <= v <= line.discount for v, line in zip(vouchers, order.lines, strict=True))


@given(orders(), st.data())
def test_refunds_in_any_steps_never_exceed_what_was_paid(order: Order, data: st.DataObject) -> None:
    line = data.draw(st.sampled_from(order.lines))
    shipped_from = data.draw(st.integers(0, line.quantity))
    done = refunded = 0
    while done < line.quantity:
        units = data.draw(st.integers(1, line.quantity - done))
        step = refundable(line, units, done, shipped=done >= shipped_from)
        assert step >= 0
        done, refunded = done + units, refunded + step
    assert refunded <= line.paid
    if shipped_from == line.quantity:
        assert refunded == line.paid
    with pytest.raises(RefusedError, match="refund_exceeds"):
        refundable(line, 1, done, shipped=False)


@pytest.mark.parametrize(("units", "refunded"), [(0, 0), (-1, 1), (4, 0), (1, 3), (1, -1)])
def test_refuses_units_that_were_not_bought(units: int, refunded: int) -> None:
    with pytest.raises(RefusedError, match="refund_exceeds"):
        refundable(build_line("A", 300, 3, paid=300), units, refunded, shipped=True)


def test_refunds_only_what_came_back_when_goods_are_required() -> None:
    line = build_line("A", 300, 3, paid=300)
    assert refundable(line, 2, 0, shipped=True, received_units=2) == 200
    with pytest.raises(RefusedError, match="came back"):
        refundable(line, 1, 2, shipped=True, received_units=2)


def test_a_partial_amount_returns_freight_in_proportion() -> None:
    line = worked_example().lines[1]
    assert freight_of_partial_amount(line, 6600) == 88
    assert freight_of_partial_amount(line, 6600, 6600) == 89
    assert freight_of_partial_amount(line, 13200) == 177
    with pytest.raises(RefusedError, match="refund_exceeds"):
        freight_of_partial_amount(line, 6601, 6600)


@given(orders(), st.data())
def test_partial_amounts_return_the_whole_freight_in_the_end(order: Order, data: st.DataObject) -> None:
    line = data.draw(st.sampled_from(order.lines))
    paid = refundable(line, line.quantity, 0, shipped=True)
    cuts = sorted(data.draw(st.lists(st.integers(0, paid), max_size=4)))
    steps = zip([0, *cuts], [*cuts, paid], strict=True)
    freight = sum(freight_of_partial_amount(line, end - start, start) for start, end in steps)
    assert freight == (line.paid - paid if paid else 0)


def test_settlement_takes_the_voucher_back_in_proportion() -> None:
    assert settle_line(paid=8000, voucher=2000, refund=0) == 10000
    assert settle_line(paid=8000, voucher=2000, refund=2000) == 10000 - 2000 - 500
    assert settle_line(paid=8000, voucher=2000, refund=8000) == 0
    assert settle_line(paid=0, voucher=2000, refund=0) == 2000
    assert settle_line(paid=0, voucher=2000, refund=0, returned=Fraction(1)) == 0
    assert settle_order([7500, 0], freight=1000, freight_refunded=380) == 8120


@pytest.mark.parametrize(("paid", "refund", "returned"), [(10, 11, None), (10, -1, None), (0, 0, Fraction(2))])
def test_settlement_refuses_more_than_was_paid(paid: int, refund: int, returned: Fraction | None) -> None:
    with pytest.raises(RefusedError, match="refund_exceeds"):
        settle_line(paid=paid, voucher=5, refund=refund, returned=returned)
    with pytest.raises(RefusedError, match="refund_exceeds"):
        settle_order([], freight=1, freight_refunded=2)


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.data())
def test_settlement_falls_from_gross_to_exactly_zero(paid: int, voucher: int, data: st.DataObject) -> None:
    low, high = sorted(data.draw(st.tuples(st.integers(0, paid), st.integers(0, paid))))
    more, less = (settle_line(paid=paid, voucher=voucher, refund=refund) for refund in (low, high))
    assert paid + voucher >= more >= less >= 0
    assert settle_line(paid=paid, voucher=voucher, refund=paid) == 0


def test_a_fulfilment_is_worth_its_units() -> None:
    order = worked_example(quantity_of_b=3)
    north, south = part_amounts(order, [[(0, 1), (1, 1)], [(1, 2), (2, 1)]], "spread")
    assert (north.paid, north.freight) == (28401 + 4400 + 380 + 59, 380 + 59)
    assert (south.paid, south.freight) == (8800 + 33099 + 118 + 443, 118 + 443)


def test_freight_on_the_first_part_does_not_make_the_other_free_when_refused() -> None:
    order = worked_example(quantity_of_b=3)
    north, south = part_amounts(order, [[(0, 1), (1, 1)], [(1, 2), (2, 1)]], "on_first")
    assert (north.freight, south.freight) == (1000, 0)
    refused = refundable(order.lines[0], 1, 0, shipped=False) + refundable(order.lines[1], 1, 0, shipped=False)
    assert order.amounts.paid - refused == 8800 + 33099 + 561


def test_a_bundle_shipped_from_two_places_is_divided_by_its_pieces() -> None:
    bundle = build_line("K", 100, 2, components=(Component("a", 2), Component("b", 1)))
    order = allocate(build_order(bundle, discount=7))
    a, b = line_units(bundle, 4), line_units(bundle, 2)
    assert (a, b) == (Fraction(4, 3), Fraction(2, 3))
    first, second = part_amounts(order, [[(0, a)], [(0, b)]], "spread")
    assert (first.goods + second.goods, first.discount + second.discount) == (100, 7)
    assert first.paid + second.paid == 93
    assert (first.paid, second.paid) == (62, 31)


def test_pieces_without_components_are_units() -> None:
    assert line_units(build_line("A", 100, 2), 2) == 2


@pytest.mark.parametrize("parts", [[[(0, 3)]], [[(0, 1)], [(0, 2)]], [[(0, 0)]], [[(1, 1)]], [[(-1, 1)]]])
def test_refuses_parts_that_hold_more_than_the_order(parts: list[list[tuple[int, int]]]) -> None:
    with pytest.raises(RefusedError, match="part_exceeds"):
        part_amounts(allocate(build_order(build_line("A", 100, 2))), parts, "spread")


@given(orders(), st.sampled_from(["on_first", "spread"]), st.integers(1, 4), st.data())
def test_parts_sum_to_the_order_in_every_figure(
    order: Order, freight: PartFreight, count: int, data: st.DataObject
) -> None:
    parts: list[list[tuple[int, int | Fraction]]] = [[] for _ in range(count)]
    for index, line in enumerate(order.lines):
        pieces = line.quantity * 6
        while pieces:
            taken = data.draw(st.integers(1, pieces))
            parts[data.draw(st.integers(0, count - 1))].append((index, Fraction(taken, 6)))
            pieces -= taken
    amounts = part_amounts(order, parts, freight)
    for name in ("goods", "freight", "tax", "discount", "paid"):
        assert sum(getattr(part, name) for part in amounts) == getattr(order.amounts, name)
    for part in amounts:
        assert min(part.goods, part.freight, part.tax, part.discount, part.paid) >= 0
        assert part.goods + part.freight + part.tax - part.discount == part.paid
    assert freight == "spread" or not any(part.freight for part in amounts[1:])
