"""Rules found by what they need are all that could match."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from domain.facts import Facts
from domain.order import Order
from rules import screen
from rules.ruleset import Ruleset
from tests.rules.test_properties import known, orders, rulesets


@pytest.fixture(autouse=True, scope="module")
def _always_looked_up() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "_FEW", -1)
        yield


@settings(max_examples=150, deadline=None)
@given(orders, known, rulesets())
def test_no_rule_that_matches_is_left_out(order: Order, facts: Facts, rules: Ruleset) -> None:
    for phase in (rules.holds, rules.gifts, rules.merges, rules.splits, rules.routes, rules.schedules, rules.tags):
        places = list(screen.places_to_test(phase, order, facts))
        assert places == sorted(set(places))
        matched = {n for n, rule in enumerate(phase) if not rule.by_part and rule.test(order, facts)}
        assert matched <= set(places)
