"""Rules found by what they need are all that could match."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.facts import Facts
from domain.order import Order
from rules import screen
from rules.decide import decide
from rules.language import load
from rules.ruleset import PHASES, Ruleset
from tests.rules.samples import document, facts, line, order, rule
from tests.rules.test_properties import known, orders, rulesets


def filed(rules: Ruleset) -> Ruleset:
    """The ruleset with every rule filed, however few need the same."""
    few, screen._FEW = screen._FEW, 1
    try:
        return replace(rules, screen=screen.build_screen(screen._phases_of(rules)))
    finally:
        screen._FEW = few


@settings(max_examples=150, deadline=None)
@given(orders, known, rulesets())
def test_no_rule_that_matches_is_left_out(order: Order, facts: Facts, rules: Ruleset) -> None:
    found = screen.rules_to_test(filed(rules), order, facts)
    everything = screen.rules_to_test(rules, order, facts, trace=True)
    for phase in PHASES:
        assert list(found[phase]) == [each for each in everything[phase] if each in found[phase]]
        for each in everything[phase]:
            assert each in found[phase] or not (each.by_part or each.test(order, facts))


@settings(max_examples=100, deadline=None)
@given(orders, known, rulesets())
def test_a_decision_by_rules_looked_up_is_that_of_all_rules_tested(order: Order, facts: Facts, rules: Ruleset) -> None:
    assert decide(order, facts, filed(rules), trace=False) == decide(
        order, facts, replace(rules, screen=None), trace=False
    )


_BOUNDS = st.integers(-3, 3)
_SPANS = st.one_of(
    st.builds(lambda op, value: {"op": op, "value": value}, st.sampled_from(["eq", "lt", "le", "gt", "ge"]), _BOUNDS),
    st.builds(lambda a, b: {"op": "between", "value": sorted([a, b])}, _BOUNDS, _BOUNDS),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_SPANS, min_size=3, max_size=6))
def test_of_amounts_only_the_rules_whose_bounds_hold_one_are_tested(spans: list[dict[str, Any]]) -> None:
    tests = [
        rule({"field": "buyer.orders_24h"} | span, {"tag": "t"}, id=str(n), phase="tag") for n, span in enumerate(spans)
    ]
    rules = load(document(*tests))
    for count in range(-4, 5):
        seen = facts(buyer_orders_24h=count)
        matched = [each.id for each in rules.tags if each.test(order(line()), seen)]
        found = [each.id for each in screen.rules_to_test(rules, order(line()), seen)["tag"]]
        assert set(matched) <= set(found)
        exact = {str(n) for n, span in enumerate(spans) if span["op"] not in {"lt", "gt"}}
        assert exact.intersection(found) == exact.intersection(matched)


def test_a_ruleset_whose_rules_were_taken_out_is_not_looked_up_in_the_old_ones() -> None:
    rules = load(document(*(rule({"all": []}, {"tag": "t"}, id=str(n), phase="tag") for n in range(4))))
    fewer = replace(rules, tags=rules.tags[:1])
    assert screen.rules_to_test(fewer, order(line()), facts())["tag"] == rules.tags[:1]
