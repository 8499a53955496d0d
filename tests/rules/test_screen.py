"""Rules found by what they need are all that could match."""

from __future__ import annotations

from hypothesis import given, settings

from domain.facts import Facts
from domain.order import Order
from rules import screen
from rules.ruleset import Ruleset
from tests.rules.test_properties import known, orders, rulesets


@settings(max_examples=150, deadline=None)
@given(orders, known, rulesets())
def test_no_rule_that_matches_is_left_out(order: Order, facts: Facts, rules: Ruleset) -> None:
    for phase in (rules.holds, rules.gifts, rules.merges, rules.splits, rules.routes, rules.schedules, rules.tags):
        screens = {id(phase): screen._build(phase)}
        places = screen.places_to_test(phase, screens, order, facts)
        assert places is not None and list(places) == sorted(set(places))
        assert screen.places_to_test((*phase, *phase), screens, order, facts) is None or not phase
        matched = {n for n, rule in enumerate(phase) if not rule.by_part and rule.test(order, facts)}
        assert matched <= set(places)
