from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import PartLine
from domain.facts import Facts, Sender
from domain.order import Component, Consignee, Order
from rules.covering import choose_fewest
from rules.decide import NO_WAREHOUSE, decide
from rules.routing import build_demand, total_needs
from tests.rules.samples import ALWAYS, facts, line, order, rule, ruleset, warehouse

SZ, GZ, NN, SH, US = (
    warehouse("sz"),
    warehouse("gz", "4401"),
    warehouse("nn", "4501"),
    warehouse("sh", "3101"),
    warehouse("us", "US-CA", country="US"),
)
EVERYWHERE = (US, SH, NN, GZ, SZ)
PLAIN = ruleset()


def stock(**places: dict[str, int]) -> dict[tuple[str, str], int]:
    return {(name, sku): units for name, skus in places.items() for sku, units in skus.items()}


def picked(content: Order, known: Facts, rules: Any = PLAIN) -> list[str]:
    return [part.warehouse for part in decide(content, known, rules, trace=False).parts]


def test_the_nearest_warehouse_with_stock_ships() -> None:
    names = ["sz", "gz", "nn", "sh", "us"]
    while names:
        known = facts({(name, "A"): 1 for name in names}, *EVERYWHERE)
        assert picked(order(line()), known) == [names.pop(0)]


def test_priority_then_name_decide_between_equally_near_warehouses() -> None:
    plenty = stock(b={"A": 1}, a={"A": 1}, c={"A": 1})
    assert picked(order(line()), facts(plenty, warehouse("b"), warehouse("a"), warehouse("c", priority=-1))) == ["c"]
    assert picked(order(line()), facts(plenty, warehouse("b"), warehouse("a"))) == ["a"]


def test_an_unresolved_region_still_knows_its_country() -> None:
    abroad = order(line(), consignee=Consignee(country="US"))
    assert picked(abroad, facts(stock(us={"A": 1}, sz={"A": 1}), SZ, US)) == ["us"]


@pytest.mark.parametrize(
    ("regions", "region", "country", "ships"),
    [
        (None, "440305", "CN", True),
        (("44",), "440305", "CN", True),
        (("440000",), "440305", "CN", True),
        (("4403",), "440305", "CN", True),
        (("440305",), "440305", "", True),
        (("4404", "45"), "440305", "CN", False),
        (("CN",), "440305", "", True),
        (("CN",), "", "CN", True),
        (("44",), "", "CN", False),
        ((), "440305", "CN", False),
        (("US",), "US-CA", "US", True),
        (("US-CA",), "US-CA", "US", True),
        (("US-NY",), "US-CA", "US", False),
        (("IE-C",), "IE-CW", "IE", False),
    ],
)
def test_a_warehouse_ships_only_where_it_delivers(regions: Any, region: str, country: str, ships: bool) -> None:
    known = facts(stock(w={"A": 1}), warehouse("w", regions=regions))
    content = order(line(), consignee=Consignee(region=region, country=country))
    assert picked(content, known) == (["w"] if ships else [])


def test_a_warehouse_the_sender_may_not_use_is_never_chosen() -> None:
    sender = Sender(account="a", channel="c", allowed_warehouses=frozenset({"sh"}))
    known = facts(stock(sz={"A": 1}, sh={"A": 1}), SZ, SH, sender=sender)
    assert picked(order(line()), known) == ["sh"]


def test_masked_receivers_go_only_where_the_token_can_be_used() -> None:
    masked = order(line(), consignee=Consignee(region="440305", masked=True, token="t"))
    known = facts(stock(sz={"A": 1}, sh={"A": 1}), warehouse("sz", accepts_tokens=False), SH)
    assert picked(masked, known) == ["sh"]


def test_stale_stock_is_no_stock() -> None:
    known = facts(stock(sz={"A": 1}, sh={"A": 1}), SZ, SH, stale=frozenset({("sz", "A")}))
    assert picked(order(line()), known) == ["sh"]


def test_one_far_parcel_beats_two_near_ones() -> None:
    known = facts(stock(sz={"A": 1}, gz={"B": 1}, sh={"A": 1, "B": 1}), *EVERYWHERE)
    assert picked(order(line("A"), line("B")), known) == ["sh"]


def test_a_split_takes_the_nearest_of_the_smallest_sets() -> None:
    known = facts(stock(sz={"A": 1}, gz={"B": 1}, nn={"B": 1}, sh={"A": 1}), *EVERYWHERE)
    assert picked(order(line("A"), line("B")), known) == ["sz", "gz"]


def test_one_line_may_be_split_by_quantity_when_stock_is_partial() -> None:
    decision = decide(order(line("A", 5)), facts(stock(sz={"A": 2}, sh={"A": 9}, gz={"A": 1}), SZ, GZ), PLAIN)
    assert decision.parts == ()
    decision = decide(order(line("A", 5)), facts(stock(sz={"A": 2}, gz={"A": 3}), SZ, GZ), PLAIN)
    assert [part.lines for part in decision.parts] == [(PartLine(0, "A", 2),), (PartLine(0, "A", 3),)]


def test_splitting_can_be_switched_off_or_limited_and_then_a_person_is_asked() -> None:
    known = facts(stock(sz={"A": 1}, gz={"B": 1}, sh={"C": 1}), *EVERYWHERE)
    two, three = order(line("A"), line("B")), order(line("A"), line("B"), line("C"))
    for content, routing in ((two, {"allow_split": False}), (three, {"max_parts": 2})):
        decision = decide(content, known, ruleset(routing=routing))
        assert decision.parts == ()
        assert [hold.code for hold in decision.holds] == [NO_WAREHOUSE]
    assert picked(two, known, ruleset(routing={"max_parts": 2})) == ["sz", "gz"]


def test_a_route_rule_puts_its_warehouses_before_nearer_ones() -> None:
    known = facts(stock(sz={"A": 1}, sh={"A": 1}, nn={"A": 1}), *EVERYWHERE)
    assert picked(order(line()), known, ruleset(rule(ALWAYS, {"route": {"warehouses": ["sh", "nn"]}}))) == ["sh"]
    assert picked(order(line()), known, ruleset(rule(ALWAYS, {"route": {"warehouses": ["nowhere", "nn"]}}))) == ["nn"]
    assert picked(order(line()), known, ruleset(rule(ALWAYS, {"route": {"warehouses": ["gz"]}}))) == ["sz"]


def test_a_route_rule_with_only_leaves_no_other_choice() -> None:
    rules = ruleset(rule(ALWAYS, {"route": {"warehouses": ["gz"], "only": True}}))
    decision = decide(order(line()), facts(stock(sz={"A": 1}), *EVERYWHERE), rules)
    assert decision.parts == ()
    assert decision.holds[0].detail == "the warehouses that may ship this order have 0 of 1 A"


def test_only_what_still_has_to_be_shipped_is_planned() -> None:
    content = order(
        line("A"),
        line("B", state="cancelled"),
        line("C", state="shipped"),
        line("D", requires_shipping=False),
        line("E", state="after_sale"),
    )
    assert build_demand(content) == (PartLine(0, "A", 1), PartLine(4, "E", 1))


def test_bundles_leave_as_their_components() -> None:
    content = order(line("SET", 2, components=(Component("A", 3), Component("B", 1), Component("A", 1))))
    assert build_demand(content) == (PartLine(0, "A", 8), PartLine(0, "B", 2))
    known = facts(stock(sz={"A": 8, "B": 2, "SET": 0}), SZ)
    assert picked(content, known) == ["sz"]


@pytest.mark.parametrize("bad", [line(""), line("A", 0), line("A", -1), line("S", components=(Component("", 1),))])
def test_a_line_that_cannot_be_planned_leaves_the_order_without_parts_and_the_checks_say_why(bad: Any) -> None:
    decision = decide(order(line("A"), bad), facts(stock(sz={"A": 9}), SZ), PLAIN)
    assert (decision.parts, decision.holds, decision.released) == ((), (), False)


def test_stock_short_everywhere_is_left_to_the_stock_check_unless_a_person_waived_it() -> None:
    short = stock(sz={"A": 1}, sh={"A": 1})
    decision = decide(order(line("A", 3)), facts(short, SZ, SH), PLAIN)
    assert (decision.parts, decision.holds) == ((), ())
    waived = decide(order(line("A", 3)), facts(short, SZ, SH, waived=frozenset({"out_of_stock"})), PLAIN)
    assert [hold.code for hold in waived.holds] == [NO_WAREHOUSE]


def test_stock_only_where_nobody_delivers_is_a_hold() -> None:
    known = facts(stock(sz={"A": 1}), warehouse("sz", regions=("31",)))
    decision = decide(order(line()), known, PLAIN)
    assert [(hold.code, hold.detail) for hold in decision.holds] == [(NO_WAREHOUSE, "no warehouse may ship this order")]


def test_back_order_comes_after_real_stock_and_takes_the_stock_there_is() -> None:
    backorder = frozenset({"A"})
    assert picked(order(line("A", 2)), facts(stock(sz={"A": 1}, sh={"A": 2}), SZ, SH, backorder=backorder)) == ["sh"]
    assert picked(order(line("A", 2)), facts(stock(sz={"A": 1}, sh={"A": 1}), SZ, SH, backorder=backorder)) == [
        "sz",
        "sh",
    ]
    assert picked(order(line("A", 2)), facts({}, SZ, SH, backorder=backorder)) == ["sz"]
    mixed = decide(order(line("A", 2), line("B")), facts(stock(sh={"B": 1}), SZ, SH, backorder=backorder), PLAIN)
    assert [(part.warehouse, part.lines) for part in mixed.parts] == [
        ("sh", (PartLine(0, "A", 2), PartLine(1, "B", 1)))
    ]


# --- properties ------------------------------------------------------------------------------------------------------

SKUS = ("A", "B", "C")
CITIES = ("4403", "4401", "4501", "3101", "1101")


@st.composite
def cases(draw: st.DrawFn) -> tuple[Order, Facts]:
    names = [f"w{n}" for n in range(draw(st.integers(1, 11)))]
    places = [
        warehouse(name, draw(st.sampled_from(CITIES)), regions=draw(st.sampled_from([None, ("44",), ("31",), ("CN",)])))
        for name in names
    ]
    units = st.integers(-1, 4)
    available = {(name, sku): draw(units) for name in names for sku in SKUS if draw(st.booleans())}
    lines = draw(st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 6)), min_size=1, max_size=4))
    known = facts(
        available,
        *places,
        backorder=draw(st.frozensets(st.sampled_from(SKUS), max_size=1)),
        stale=frozenset(place for place in available if draw(st.integers(0, 9)) == 0),
    )
    message = draw(st.sampled_from(["", "hi"]))
    return order(*(line(sku, quantity) for sku, quantity in lines), buyer_message=message), known


HOLDING = ruleset(rule({"field": "order.has_buyer_message", "op": "eq", "value": True}, {"hold": "hold_remark"}))


@given(cases())
def test_plans_conserve_units_and_never_use_stock_that_is_not_there(case: tuple[Order, Facts]) -> None:
    content, known = case
    decision = decide(content, known, HOLDING)
    assert decision == decide(content, known, HOLDING)
    assert not (decision.holds and decision.released)
    assert bool(content.buyer_message) == any(hold.code == "hold_remark" for hold in decision.holds)
    shipped: dict[tuple[int, str], int] = {}
    for part in decision.parts:
        place = next(one for one in known.warehouses if one.name == part.warehouse)
        assert place.regions in {None, ("44",), ("CN",)}
        for sku, units in total_needs(part.lines).items():
            usable = 0 if (place.name, sku) in known.stale else max(0, known.available.get((place.name, sku), 0))
            assert units <= usable or sku in known.backorder
        for planned in part.lines:
            assert planned.quantity > 0
            shipped[planned.line, planned.sku] = shipped.get((planned.line, planned.sku), 0) + planned.quantity
    if decision.parts:
        assert len({part.warehouse for part in decision.parts}) == len(decision.parts)
        assert shipped == {(n, one.sku): one.quantity for n, one in enumerate(content.lines)}


ROWS = st.lists(st.fixed_dictionaries({sku: st.integers(0, 4) for sku in SKUS}), min_size=1, max_size=7)


@given(ROWS, st.fixed_dictionaries({sku: st.integers(1, 8) for sku in SKUS}), st.integers(1, 8))
def test_the_exact_search_finds_the_first_of_the_smallest_sets(
    rows: list[dict[str, int]], needs: dict[str, int], most: int
) -> None:
    def enough(group: tuple[int, ...]) -> bool:
        return all(sum(rows[n][sku] for n in group) >= units for sku, units in needs.items())

    every = (group for size in range(1, most + 1) for group in combinations(range(len(rows)), size))
    assert choose_fewest(needs, rows, most) == next(filter(enough, every), ())


@given(ROWS, st.fixed_dictionaries({sku: st.integers(1, 8) for sku in SKUS}))
def test_the_greedy_search_finds_a_plan_whenever_there_is_one_and_keeps_its_bound(
    rows: list[dict[str, int]], needs: dict[str, int]
) -> None:
    fewest = choose_fewest(needs, rows, len(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rules.covering.EXACT_SETS", 0)
        greedy = choose_fewest(needs, rows, len(rows))
    assert bool(greedy) == bool(fewest)
    if greedy:
        assert all(sum(rows[n][sku] for n in greedy) >= units for sku, units in needs.items())
        most_covered = max(sum(min(row[sku], needs[sku]) for sku in needs) for row in rows)
        assert len(greedy) <= sum(1 / n for n in range(1, most_covered + 1)) * len(fewest)


def test_a_hundred_warehouses_are_planned_in_bounded_time() -> None:
    places = [warehouse(f"w{n:03}") for n in range(100)]
    known = facts({(f"w{n:03}", f"s{n % 25}"): 1 for n in range(100)}, *places)
    content = order(*(line(f"s{n}") for n in range(8)))
    assert picked(content, known) == [f"w{n:03}" for n in range(8)]
