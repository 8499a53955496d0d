"""Six checks, always all of them, each with every problem it found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.allocation import allocate, shares_of
from domain.facts import Bundle, Facts, Listing, Sender, WarehouseInfo
from domain.order import Amounts, Component, Consignee, Line, Order
from domain.verdict import CHECKS, Check, Verdict
from normalizer.checks import check, covers
from normalizer.consignees import check_closely, check_consignee
from normalizer.goods import check_stock, units_of
from normalizer.mapping import normalize
from tests.normalizer.mappings import NOW, SHANGHAI, TAOBAO, taobao_trade

PLACE = Consignee(
    name="张三",
    phone="13812345678",
    country="CN",
    province="浙江",
    city="杭州",
    district="余杭区",
    street="文一西路969号",
)
LINE_A = Line(external_id="1", external_sku="A", quantity=2, unit_price=1000, amount=2000)
LINE_B = Line(external_id="2", external_sku="B", quantity=1, unit_price=500, amount=500)
ORDER = Order(
    external_id="O1", version="1", source_time=datetime(2026, 11, 20, tzinfo=UTC), status="pending_shipment",
    source_status="PAID", payment="paid", currency="CNY", amounts=Amounts(goods=2500, freight=100, discount=50, paid=2550),
    consignee=PLACE, lines=(LINE_A, LINE_B), placed_at=datetime(2026, 11, 20, tzinfo=UTC),
)  # fmt: skip
SENDER = Sender(account="shop", channel="acme")
EAST, WEST = WarehouseInfo(name="east", regions=("33", "31")), WarehouseInfo(name="west", regions=("51", "330000"))
FACTS = Facts(
    now=NOW,
    sender=SENDER,
    listings={"A": (Listing(external_sku="A", sku="SKU-A"),), "B": (Listing(external_sku="B", sku="SKU-B"),)},
    warehouses=(EAST, WEST),
    available={("east", "SKU-A"): 2, ("east", "SKU-B"): 1},
)


def verdicts(order: Order, facts: Facts) -> dict[Check, Verdict]:
    found = check(order, facts)[1]
    assert tuple(verdict.check for verdict in found) == CHECKS
    return {verdict.check: verdict for verdict in found}


def problems(order: Order, facts: Facts, name: Check) -> list[tuple[str, str]]:
    return [(problem.code, problem.path) for problem in verdicts(order, facts)[name].problems]


def with_lines(*lines: Line) -> Order:
    goods = sum(line.amount for line in lines)
    return replace(ORDER, lines=lines, amounts=Amounts(goods=goods, paid=goods))


def listed(**changes: Any) -> Facts:
    return replace(
        FACTS, listings={**FACTS.listings, "A": (Listing(**{"external_sku": "A", "sku": "SKU-A", **changes}),)}
    )


def sent_by(**changes: Any) -> Facts:
    return replace(FACTS, sender=replace(SENDER, **changes))


def to(**changes: Any) -> Order:
    return replace(ORDER, consignee=replace(PLACE, **changes))


def test_a_good_order_passes_all_six_and_comes_back_completed() -> None:
    order, found = check(ORDER, FACTS)
    assert all(verdict.passed for verdict in found)
    assert [line.sku for line in order.lines] == ["SKU-A", "SKU-B"]
    assert (order.consignee.region, order.consignee.province, order.consignee.city) == ("330110", "浙江省", "杭州市")


def test_checking_what_was_checked_changes_nothing() -> None:
    once = check(ORDER, FACTS)
    assert check(once[0], FACTS) == once


def test_every_check_speaks_even_when_all_of_them_fail() -> None:
    bad = replace(
        ORDER, consignee=Consignee(country="CN"), currency="XXX", payment="unpaid", amounts=Amounts(goods=1, paid=2)
    )
    facts = Facts(now=NOW, sender=replace(SENDER, active=False), listings={"A": FACTS.listings["A"]})
    assert all(not verdict.passed for verdict in check(bad, facts)[1])


@pytest.mark.parametrize(
    "changes",
    [{"active": False}, {"contract_from": NOW + timedelta(days=1)}, {"contract_to": NOW - timedelta(days=1)}],
)
def test_an_inactive_sender_is_refused(changes: dict[str, Any]) -> None:
    assert problems(ORDER, sent_by(**changes), "sender") == [("sender_inactive", "sender")]


def test_a_sender_sells_only_what_and_where_it_is_allowed_to() -> None:
    facts = sent_by(allowed_skus=frozenset({"SKU-A"}), allowed_regions=("31",), allowed_warehouses=frozenset({"north"}))
    assert problems(ORDER, facts, "sender") == [
        ("sender_not_allowed", "lines.1.sku"),
        ("sender_not_allowed", "consignee.region"),
        ("sender_not_allowed", "sender"),
    ]
    for regions in (("CN",), ("33",), ("330000",), ("3301",), ("330100",), ("330110",)):
        assert problems(ORDER, sent_by(allowed_regions=regions), "sender") == []
    assert problems(ORDER, sent_by(allowed_regions=("330200",)), "sender") != []


def test_an_iso_region_is_no_prefix_of_another() -> None:
    wexford = to(country="IE", region="IE-CW").consignee
    assert [covers(regions, wexford) for regions in (None, ("IE",), ("IE-CW",), ("IE-C",), ("CN",), ())] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_a_credit_limit_is_in_its_own_currency() -> None:
    assert problems(ORDER, sent_by(credit_left=2550, credit_currency="CNY"), "sender") == []
    assert problems(ORDER, sent_by(credit_left=2549, credit_currency="CNY"), "sender") == [
        ("credit_exceeded", "amounts.paid")
    ]
    assert problems(ORDER, sent_by(credit_left=10**9, credit_currency="USD"), "sender") == [
        ("credit_exceeded", "currency")
    ]


def test_an_unmapped_sku_is_said_and_the_order_kept() -> None:
    order, _ = check(with_lines(LINE_A, replace(LINE_B, external_sku="?")), FACTS)
    assert [line.sku for line in order.lines] == ["SKU-A", ""]
    assert problems(order, FACTS, "listing") == [("sku_unmapped", "lines.1.external_sku")]
    assert problems(with_lines(replace(LINE_A, external_sku=" ")), FACTS, "listing")[0][0] == "sku_unmapped"


def test_a_sku_that_is_mapped_twice_gives_candidates() -> None:
    twice = (Listing(external_sku="A", sku="X"), Listing(external_sku="A", sku="Y"))
    facts = replace(FACTS, listings={"A": twice})
    (problem,) = verdicts(with_lines(LINE_A), facts)["listing"].problems
    assert (problem.code, problem.candidates) == ("sku_ambiguous", ("X", "Y"))
    assert check(with_lines(LINE_A), facts)[0].lines[0].sku == ""


def test_a_delisted_sku_and_a_price_below_the_floor_are_both_said() -> None:
    facts = listed(listed=False, floor_price=1001)
    assert problems(ORDER, facts, "listing") == [
        ("sku_delisted", "lines.0.sku"),
        ("price_below_floor", "lines.0.amount"),
    ]
    assert problems(ORDER, listed(floor_price=1000), "listing") == []


def test_a_pack_and_a_bundle_are_exploded_and_frozen_on_the_line() -> None:
    facts = replace(listed(quantity=6), available={("east", "SKU-A"): 12, ("east", "SKU-B"): 1})
    order, found = check(ORDER, facts)
    assert order.lines[0].components == (Component("SKU-A", 6),)
    assert all(verdict.passed for verdict in found)
    bundle = {"SKU-A": Bundle(sku="SKU-A", version=3, components=(("P", 1), ("Q", 2), ("P", 1)))}
    facts = replace(listed(quantity=2), bundles=bundle, available={("east", "P"): 8, ("east", "Q"): 7})
    order, _ = check(with_lines(LINE_A), facts)
    assert order.lines[0].components == (Component("P", 4), Component("Q", 4))
    (problem,) = verdicts(order, facts)["stock"].problems
    assert (problem.code, problem.detail) == ("out_of_stock", "Q: 8 needed, 7 available")
    newer = replace(facts, bundles={"SKU-A": Bundle(sku="SKU-A", version=4, components=(("Z", 1),))})
    assert check(order, newer)[0].lines == order.lines


def test_stock_is_summed_over_lines_and_over_the_warehouses_that_may_serve() -> None:
    order = with_lines(LINE_A, replace(LINE_A, external_id="3"))
    split = replace(FACTS, available={("east", "SKU-A"): 3, ("west", "SKU-A"): 1})
    assert problems(order, split, "stock") == []
    assert problems(order, FACTS, "stock") == [("out_of_stock", "lines.0.sku")]
    far = replace(split, warehouses=(EAST, WarehouseInfo(name="west", regions=("51",))))
    assert problems(order, far, "stock") == [("out_of_stock", "lines.0.sku")]
    kept_out = replace(split, sender=replace(SENDER, allowed_warehouses=frozenset({"east"})))
    assert problems(order, kept_out, "stock") == [("out_of_stock", "lines.0.sku")]
    assert problems(order, replace(FACTS, backorder=frozenset({"SKU-A"})), "stock") == []


def test_an_old_snapshot_is_not_sold_from() -> None:
    stale = replace(FACTS, stale=frozenset({("east", "SKU-A")}))
    assert problems(ORDER, stale, "stock") == [("stock_stale", "lines.0.sku")]
    covered = replace(stale, available={**FACTS.available, ("west", "SKU-A"): 2})
    assert problems(ORDER, covered, "stock") == []


def test_lines_that_will_not_ship_need_no_stock() -> None:
    for change in ({"state": "cancelled"}, {"state": "shipped"}, {"requires_shipping": False}, {"external_sku": "?"}):
        changed: dict[str, Any] = change
        order = with_lines(LINE_A, replace(LINE_B, quantity=99, **changed))
        assert problems(order, FACTS, "stock") == []


@pytest.mark.parametrize("status", ["shipped", "completed", "closed"])
def test_an_order_that_is_over_at_its_source_is_asked_for_neither_stock_nor_payment(status: Any) -> None:
    over = replace(ORDER, status=status, payment="unpaid", forbids_shipping=("risk",))
    found = verdicts(over, replace(FACTS, available={}))
    assert found["stock"].passed and found["payment"].passed


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": " "}, ("address_incomplete", "consignee.name")),
        ({"phone": ""}, ("phone_invalid", "consignee.phone")),
        ({"phone": "12345"}, ("phone_invalid", "consignee.phone")),
        ({"street": ""}, ("address_incomplete", "consignee.street")),
        ({"district": ""}, ("address_incomplete", "consignee.district")),
        ({"city": "南京市"}, ("address_unknown_region", "consignee.city")),
        ({"phone": "138****5678"}, ("address_masked", "consignee")),
        ({"name": "张**"}, ("address_masked", "consignee")),
        ({"street": "***"}, ("address_masked", "consignee.street")),
    ],
)
def test_a_consignee_must_be_reachable(changes: dict[str, str], expected: tuple[str, str]) -> None:
    assert problems(to(**changes), FACTS, "consignee") == [expected]


def test_phones_come_back_clean_and_split() -> None:
    place = check(to(phone="18800000000转1234"), FACTS)[0].consignee
    assert (place.phone, place.phone_extension) == ("18800000000", "1234")
    assert check(to(phone="+86 138 1234 5678", phone_extension="9"), FACTS)[0].consignee.phone_extension == "9"


def test_a_usable_token_counts_as_a_complete_address() -> None:
    masked = to(name="张**", phone="138****5678", street="***", token="oaid")
    assert problems(masked, FACTS, "consignee") == []
    assert check(masked, FACTS)[0].consignee.masked
    codes = {code for code, _ in problems(masked, sent_by(tokens_usable=False), "consignee")}
    assert codes == {"address_masked"}


def test_a_warehouse_that_cannot_use_tokens_has_no_stock_for_a_masked_order() -> None:
    masked = to(name="张**", phone="138****5678", street="***", token="oaid")
    deaf = replace(FACTS, warehouses=(replace(EAST, accepts_tokens=False),))
    assert {code for code, _ in problems(masked, deaf, "stock")} == {"out_of_stock"}
    assert problems(ORDER, deaf, "stock") == []


def test_a_place_that_no_warehouse_delivers_to_is_out_of_range() -> None:
    facts = replace(FACTS, warehouses=(WarehouseInfo(name="east", regions=("51", "US")),))
    assert problems(ORDER, facts, "consignee") == [("out_of_delivery_range", "consignee.region")]
    assert problems(ORDER, facts, "stock") == []


def test_an_order_of_which_nothing_is_shipped_needs_no_consignee() -> None:
    virtual = with_lines(replace(LINE_A, requires_shipping=False))
    assert problems(replace(virtual, consignee=Consignee()), FACTS, "consignee") == []


def test_money_that_is_off_by_one_says_both_numbers() -> None:
    off = replace(ORDER, amounts=replace(ORDER.amounts, paid=2551))
    (problem,) = verdicts(off, FACTS)["money"].problems
    assert (problem.code, problem.path) == ("money_mismatch", "amounts.paid")
    assert "2550" in problem.detail and "2551" in problem.detail
    goods = replace(ORDER, amounts=replace(ORDER.amounts, goods=2499))
    (problem,) = verdicts(goods, FACTS)["money"].problems
    assert (problem.path, "2500" in problem.detail, "2499" in problem.detail) == ("amounts.goods", True, True)
    assert problems(replace(ORDER, currency="RMB"), FACTS, "money") == [("currency_unknown", "currency")]


def test_a_cancelled_line_still_counts_as_money() -> None:
    cancelled = replace(ORDER, lines=(LINE_A, replace(LINE_B, state="cancelled")))
    assert problems(cancelled, FACTS, "money") == []


def test_an_unpaid_order_waits_and_nobody_need_act() -> None:
    for order in (replace(ORDER, payment="unpaid"), replace(ORDER, status="pending_payment")):
        verdict = verdicts(order, FACTS)["payment"]
        assert ([problem.code for problem in verdict.problems], verdict.waiting, verdict.passed) == (
            ["unpaid"],
            True,
            False,
        )


def test_an_unpaid_order_with_another_fault_does_not_only_wait() -> None:
    verdict = verdicts(replace(ORDER, payment="unpaid", forbids_shipping=("risk_control",)), FACTS)["payment"]
    assert ([problem.code for problem in verdict.problems], verdict.waiting) == (
        ["platform_forbids_shipping", "unpaid"],
        False,
    )


def test_the_platforms_reasons_are_listed_one_by_one() -> None:
    held = replace(
        ORDER, forbids_shipping=("risk_control", "pre_sale"), lines=(replace(LINE_A, state="after_sale"), LINE_B)
    )
    found = verdicts(held, FACTS)["payment"].problems
    assert [(problem.path, problem.detail) for problem in found] == [
        ("forbids_shipping", "risk_control"),
        ("forbids_shipping", "pre_sale"),
        ("lines.0.state", "line 1 has an open after-sale"),
    ]


def test_an_unknown_status_is_held_and_not_called_unpaid() -> None:
    order = replace(ORDER, status="pending_payment", forbids_shipping=("unknown_status",))
    assert problems(order, FACTS, "payment") == [("platform_forbids_shipping", "forbids_shipping")]


def test_cash_on_delivery_needs_permission() -> None:
    cod = replace(ORDER, payment="cod")
    assert problems(cod, FACTS, "payment") == [("unpaid", "payment")]
    assert not verdicts(cod, FACTS)["payment"].waiting
    assert problems(cod, sent_by(cod_allowed=True), "payment") == []


def test_what_a_person_waived_is_not_said_again() -> None:
    bad = replace(to(phone=""), payment="unpaid")
    found = verdicts(bad, replace(FACTS, waived=frozenset({"phone_invalid", "unpaid"})))
    assert found["consignee"].passed and found["payment"].passed


def test_the_sample_trade_waits_for_its_after_sale_only() -> None:
    order = normalize(taobao_trade(), TAOBAO, zone=SHANGHAI, now=NOW)
    skus = [line.external_sku for line in order.lines]
    facts = replace(
        FACTS,
        listings={sku: (Listing(external_sku=sku, sku=sku),) for sku in skus},
        available={("east", sku): 9 for sku in skus},
    )
    checked, found = check(order, facts)
    assert checked.consignee.region == "330110"
    assert [verdict.check for verdict in found if not verdict.passed] == ["payment"]


PLACES = st.sampled_from(
    [
        "",
        " ",
        "浙江",
        "浙江省",
        "杭州市",
        "杭州",
        "余杭区",
        "北京",
        "北京市",
        "朝阳区",
        "鼓楼区",
        "渝北区",
        "江苏*",
        "x",
    ]
)
PHONES = st.sampled_from(
    [
        "13812345678",
        "138****5678",
        "12345",
        "",
        "13812345678-12",
        "0571-88888888",
        "１３８１２３４５６７８",
        "13812345678\n",
    ]
)


@settings(max_examples=500, deadline=None)
@given(
    st.builds(
        Consignee,
        name=st.sampled_from(["张三", "", " ", "张*", "张＊"]),
        company=st.sampled_from(["", "厂"]),
        phone=PHONES,
        phone_extension=st.sampled_from(["", "9"]),
        country=st.sampled_from(["CN", "cn", "中国", "", "US", "CN "]),
        province=PLACES,
        city=PLACES,
        district=PLACES,
        street=st.sampled_from(["文一西路969号", "", " ", "***", "浙江省杭州市余杭区文一西路1号"]),
        region=st.sampled_from(["", "330110"]),
        token=st.sampled_from(["", "t"]),
        masked=st.booleans(),
    ),
    st.booleans(),
)
def test_a_consignee_in_no_doubt_is_checked_as_any_other(consignee: Consignee, usable: bool) -> None:
    sender = replace(SENDER, tokens_usable=usable)
    assert check_consignee(consignee, sender) == check_closely(consignee, sender)


@given(
    st.lists(
        st.builds(
            Line,
            external_id=st.uuids().map(str),
            external_sku=st.sampled_from(["A", "B", "PACK", "SET", "TWICE", "GONE", "", " "]),
            quantity=st.integers(1, 3),
            unit_price=st.just(100),
            amount=st.integers(0, 900),
            sku=st.sampled_from(["", "", "SKU-A"]),
            state=st.sampled_from(["open", "open", "cancelled", "after_sale"]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 50),
)
@settings(max_examples=80)
def test_lines_are_checked_with_their_shares_as_if_they_had_been_allocated_before(
    lines: list[Line], freight: int
) -> None:
    goods = sum(line.amount for line in lines)
    order = replace(ORDER, lines=tuple(lines), amounts=Amounts(goods=goods, freight=freight, paid=goods + freight))
    listings = {
        "A": (Listing(external_sku="A", sku="SKU-A"),),
        "B": (Listing(external_sku="B", sku="SKU-B", floor_price=300),),
        "PACK": (Listing(external_sku="PACK", sku="SKU-A", quantity=6),),
        "SET": (Listing(external_sku="SET", sku="SET"),),
        "TWICE": (Listing(external_sku="TWICE", sku="SKU-A"), Listing(external_sku="TWICE", sku="SKU-B")),
        "GONE": (Listing(external_sku="GONE", sku="SKU-B", listed=False),),
    }
    bundles = {"SET": Bundle(sku="SET", version=1, components=(("SKU-A", 2), ("SKU-B", 1)))}
    facts = replace(FACTS, listings=listings, bundles=bundles)
    assert check(order, facts, shares_of(order)) == check(allocate(order), facts)


def units_wanted(order: Order) -> dict[str, tuple[int, int]]:
    """Per SKU the units that stock is counted for, and the first line that wants it."""
    wanted: dict[str, tuple[int, int]] = {}
    for index, line in enumerate(order.lines):
        if line.state == "open" and line.sku and line.requires_shipping:
            for sku, units in units_of(line):
                before, first = wanted.get(sku, (0, index))
                wanted[sku] = before + units, first
    return wanted


@given(
    st.lists(
        st.builds(
            Line,
            external_id=st.just("1"),
            external_sku=st.just("A"),
            quantity=st.integers(0, 3),
            unit_price=st.just(1),
            amount=st.just(1),
            sku=st.sampled_from(["", "P", "Q", "SET"]),
            components=st.sampled_from([(), (), (Component("P", 2), Component("Q", 1)), (Component("Q", 3),)]),
            state=st.sampled_from(["open", "open", "open", "cancelled"]),
            requires_shipping=st.booleans(),
        ),
        max_size=4,
    ),
    st.dictionaries(st.tuples(st.sampled_from(["east", "west"]), st.sampled_from("PQ")), st.integers(-2, 9)),
    st.frozensets(st.tuples(st.sampled_from(["east", "west"]), st.sampled_from("PQ")), max_size=2),
    st.sampled_from([frozenset(), frozenset("Q")]),
)
@settings(max_examples=80)
def test_stock_is_counted_as_a_sum_over_all_lines_and_warehouses(
    lines: list[Line],
    available: dict[tuple[str, str], int],
    stale: frozenset[tuple[str, str]],
    backorder: frozenset[str],
) -> None:
    order = replace(ORDER, lines=tuple(lines))
    facts = replace(FACTS, available=available, stale=stale, backorder=backorder)
    expected = []
    for sku, (needed, first) in units_wanted(order).items():
        units = {name: max(0, available.get((name, sku), 0)) for name in ("east", "west")}
        fresh = sum(count for name, count in units.items() if (name, sku) not in stale)
        if fresh < needed and sku not in backorder:
            code = "stock_stale" if sum(units.values()) >= needed else "out_of_stock"
            expected.append((code, f"lines.{first}.sku", f"{sku}: {needed} needed, {fresh} available"))
    found = check_stock(order, facts, (EAST, WEST))
    assert [(problem.code, problem.path, problem.detail) for problem in found] == expected
