"""How the effects of one phase combine, and what each phase sees."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.decision import Gift, Merging
from domain.facts import Bundle, Goods
from domain.order import Component
from rules.combine import combine_route, combine_split, matching
from rules.decide import decide
from rules.explain import why_not
from rules.gifts import add_gifts
from rules.ruleset import PHASES, Route, Ruleset, Schedule, Split
from tests.rules.samples import ALWAYS, facts, line, on, order, rule, ruleset, warehouse

SZ, SH = warehouse("sz"), warehouse("sh", "3101")
STOCK = {("sz", "A"): 5, ("sh", "A"): 5, ("sz", "GIFT"): 3}
FACTS = facts(STOCK, SZ, SH)
NEVER = on("order.units", "lt", 0)


def rules_of(*effects: tuple[Any, dict[str, Any]], **more: Any) -> Ruleset:
    """One rule per (when, then), ids "0", "1", …"""
    return ruleset(*[rule(when, then, id=str(n)) for n, (when, then) in enumerate(effects)], **more)


# --- hold and approve -----------------------------------------------------------------------------------------------

HOLD = {"hold": "hold_a", "detail": "why"}
HOLDS: list[tuple[str, list[tuple[Any, dict[str, Any]]], set[str], list[str]]] = [
    ("all add up", [(ALWAYS, HOLD), (NEVER, {"hold": "hold_b"}), (ALWAYS, {"hold": "hold_c"})], set(), ["hold_a", "hold_c"]),
    ("every stage is asked", [(ALWAYS, {"approve": "service"}), (ALWAYS, {"approve": "finance"})], set(),
     ["approve_service", "approve_finance"]),
    ("holds before stages", [(ALWAYS, {"approve": "finance"}), (ALWAYS, HOLD)], set(), ["hold_a", "approve_finance"]),
    ("a stage is released by its own code", [(ALWAYS, {"approve": "service"}), (ALWAYS, {"approve": "finance"})],
     {"approve_service"}, ["approve_finance"]),
    ("automatic review takes holds back", [(ALWAYS, HOLD), (ALWAYS, {"hold": "hold_b"}), (ALWAYS, {"waive": ["hold_a"]})],
     set(), ["hold_b"]),
    ("only where it matches", [(ALWAYS, HOLD), (NEVER, {"waive": ["hold_a"]})], set(), ["hold_a"]),
    ("but no stages", [(ALWAYS, {"approve": "finance"}), (ALWAYS, {"waive": ["approve_finance"]})], set(),
     ["approve_finance"]),
    ("nothing left", [(ALWAYS, HOLD), (ALWAYS, {"approve": "service"}), (ALWAYS, {"waive": ["hold_a"]})],
     {"approve_service"}, []),
]  # fmt: skip


@pytest.mark.parametrize(("effects", "waived", "codes"), [case[1:] for case in HOLDS], ids=[case[0] for case in HOLDS])
def test_holds_and_approvals(effects: list[tuple[Any, dict[str, Any]]], waived: set[str], codes: list[str]) -> None:
    decision = decide(order(line()), facts(STOCK, SZ, waived=frozenset(waived)), rules_of(*effects))
    assert [hold.code for hold in decision.holds] == codes
    assert decision.released == (not codes)


def test_the_trace_says_which_rule_or_person_took_a_hold_back() -> None:
    rules = rules_of((ALWAYS, HOLD), (ALWAYS, {"approve": "service"}), (ALWAYS, {"waive": ["hold_a"]}))
    decision = decide(order(line()), facts(STOCK, SZ, waived=frozenset({"approve_service"})), rules)
    assert "hold_a was waived by rule 2" in why_not(decision, "0")
    assert "approve_service was waived by a person" in why_not(decision, "1")


# --- gifts ----------------------------------------------------------------------------------------------------------

GIFT = {"gift": [{"sku": "GIFT", "quantity": 1}]}
IF_AVAILABLE = {**GIFT, "if_available": True}


def test_gifts_add_up_and_are_planned_like_lines() -> None:
    decision = decide(order(line("A", 2)), FACTS, rules_of((ALWAYS, GIFT), (NEVER, GIFT), (ALWAYS, GIFT)))
    assert decision.gifts == (Gift("0", "GIFT", 1), Gift("2", "GIFT", 1))
    assert [(part.line, part.sku, part.quantity) for part in decision.parts[0].lines] == [
        (0, "A", 2),
        (1, "GIFT", 1),
        (2, "GIFT", 1),
    ]
    assert decision.released


def test_a_gift_is_a_line_for_nothing_with_its_weight_and_parts() -> None:
    known = facts(
        goods={"GIFT": Goods(sku="GIFT", weight_grams=70)},
        bundles={"SET": Bundle(sku="SET", version=1, components=(("A", 1), ("GIFT", 2)))},
    )
    own = order(line("A"))
    given = add_gifts(own, (Gift("r", "GIFT", 2), Gift("r", "SET", 1)), known)
    assert given.lines[0] is own.lines[0]
    first, second = given.lines[1:]
    assert (first.external_id, first.amount, first.unit_price, first.share, first.paid) == ("gift:r:GIFT", 0, 0, 0, 0)
    assert (first.sku, first.quantity, first.weight_grams, first.title, first.requires_shipping) == (
        "GIFT",
        2,
        70,
        "",
        True,
    )
    assert second.components == (Component("A", 1), Component("GIFT", 2))
    assert add_gifts(own, (), known) is own


def test_a_gift_that_is_short_is_left_out_or_holds_the_order() -> None:
    short = facts({("sz", "A"): 5}, SZ)
    left_out = decide(order(line()), short, rules_of((ALWAYS, IF_AVAILABLE)))
    assert (left_out.gifts, left_out.released) == ((), True)
    assert "left out: 0 of 1 GIFT available" in why_not(left_out, "0")
    held = decide(order(line()), short, rules_of((ALWAYS, GIFT)))
    assert [(hold.code, hold.rule) for hold in held.holds] == [("gift_out_of_stock", "0")]
    assert held.parts
    waived = decide(order(line()), replace(short, waived=frozenset({"gift_out_of_stock"})), rules_of((ALWAYS, GIFT)))
    assert (waived.gifts, waived.released) == ((), True)


def test_a_gift_does_not_take_what_the_order_needs() -> None:
    four = {"gift": [{"sku": "A", "quantity": 4}], "if_available": True}
    only = facts({("sz", "A"): 5}, SZ)
    assert decide(order(line("A", 1)), only, rules_of((ALWAYS, four))).gifts == (Gift("0", "A", 4),)
    assert decide(order(line("A", 2)), only, rules_of((ALWAYS, four))).gifts == ()
    assert decide(order(line("A", 1)), only, rules_of((ALWAYS, four), (ALWAYS, four))).gifts == (Gift("0", "A", 4),)


def test_a_gift_that_was_stored_is_kept_and_not_given_again() -> None:
    rules = rules_of((ALWAYS, GIFT), (on("order.units", "ge", 2), GIFT))
    first = decide(order(line("A", 2)), FACTS, rules)
    stored = add_gifts(order(line("A", 2)), first.gifts, FACTS)
    again = decide(stored, FACTS, rules)
    assert (again.gifts, again.parts) == (first.gifts, first.parts)
    assert add_gifts(stored, again.gifts, FACTS) is stored


def test_a_gift_whose_rule_no_longer_matches_goes_unless_it_has_left() -> None:
    stored = add_gifts(order(line("A", 2)), (Gift("0", "GIFT", 1),), FACTS)
    gone = decide(stored, FACTS, rules_of((NEVER, GIFT)))
    assert gone.gifts == ()
    assert [(part.line, part.sku) for part in gone.parts[0].lines] == [(0, "A")]
    dropped = add_gifts(stored, gone.gifts, FACTS)
    assert [each.state for each in dropped.lines] == ["open", "cancelled"]
    back = decide(dropped, FACTS, rules_of((ALWAYS, GIFT)))
    assert [(part.line, part.sku) for part in back.parts[0].lines] == [(0, "A"), (1, "GIFT")]
    left = replace(stored, lines=(stored.lines[0], replace(stored.lines[1], state="shipped")))
    assert decide(left, FACTS, rules_of((NEVER, GIFT))).gifts == (Gift("0", "GIFT", 1),)


def test_a_gift_alone_is_never_shipped() -> None:
    rules = rules_of((ALWAYS, GIFT))
    stored = add_gifts(order(line("A", 2)), (Gift("0", "GIFT", 1),), FACTS)
    own, gift = stored.lines
    cancelled = decide(replace(stored, lines=(replace(own, state="cancelled"), gift)), FACTS, rules)
    assert (cancelled.gifts, cancelled.parts) == ((), ())
    virtual = decide(order(line("A", requires_shipping=False)), FACTS, rules)
    assert (virtual.gifts, virtual.parts) == ((), ())
    shipped = decide(replace(stored, lines=(replace(own, state="shipped"), gift)), FACTS, rules_of((NEVER, GIFT)))
    assert [part.sku for part in shipped.parts[0].lines] == ["GIFT"]


def test_gifts_earn_no_gifts_and_later_phases_see_them() -> None:
    three = on("order.units", "ge", 3)
    rules = rules_of(
        (three, {"hold": "hold_three"}), (ALWAYS, GIFT), (three, GIFT), (three, {"merge": False}), (three, {"tag": "three"}),
        (on("order.has_gift", "eq", True), {"tag": "gift"}), (on("order.has_gift", "eq", True), {"hold": "hold_gift"}),
    )  # fmt: skip
    first = decide(order(line("A", 2)), FACTS, rules)
    assert (first.holds, first.gifts, first.merging, first.tags) == (
        (),
        (Gift("1", "GIFT", 1),),
        None,
        ("three", "gift"),
    )
    assert replace(decide(add_gifts(order(line("A", 2)), first.gifts, FACTS), FACTS, rules), trace=()) == replace(
        first, trace=()
    )


# --- merge, split, route --------------------------------------------------------------------------------------------


def test_the_first_merge_rule_wins_and_cash_on_delivery_never_merges() -> None:
    window, sealed = {"merge": {"window_minutes": 30}}, {"merge": False}
    rules = rules_of((NEVER, sealed), (ALWAYS, window), (ALWAYS, sealed))
    assert decide(order(line()), FACTS, rules).merging == Merging(30, "1")
    assert decide(order(line()), FACTS, rules_of((ALWAYS, sealed), (ALWAYS, window))).merging == Merging(0, "0")
    assert decide(order(line()), FACTS, rules_of((NEVER, window))).merging is None
    assert decide(order(line(), payment="cod"), FACTS, rules).merging == Merging(0, "cod")


SPLITS: list[tuple[list[dict[str, Any]], Split | None]] = [
    ([], None),
    ([{"max_value": 5}], Split(max_value=5)),
    ([{"max_value": 5}, {"max_value": 3}, {"max_weight_grams": 9}], Split(max_value=3, max_weight_grams=9)),
    ([{"max_volume_ml": 2}, {"max_volume_ml": 4, "max_weight_grams": 1}], Split(max_volume_ml=2, max_weight_grams=1)),
    ([{"by_supplier": True}, {"partial": True}, {"by_supplier": False}], Split(by_supplier=True, partial=True)),
    (
        [{"apart": [["cold"]]}, {"apart": [["liquid", "hazardous"], ["cold"]]}],
        Split(apart=(frozenset({"cold"}), frozenset({"liquid", "hazardous"}))),
    ),
]


@pytest.mark.parametrize(("splits", "combined"), SPLITS, ids=[str(splits) for splits, _ in SPLITS])
def test_splits_combine(splits: list[dict[str, Any]], combined: Split | None) -> None:
    rules = rules_of(*[(ALWAYS, {"split": each}) for each in splits], (NEVER, {"split": {"max_value": 1}}))
    assert combine_split(matching(rules.splits, order(line()), FACTS, None)) == combined


ROUTES: list[tuple[list[dict[str, Any]], Route | None]] = [
    ([], None),
    ([{"warehouses": ["sh"], "only": True}], Route(("sh",), True)),
    ([{"warehouses": ["sh"]}, {"warehouses": ["sz"], "only": True}], Route(("sh",))),
    ([{"avoid": ["a"]}, {"warehouses": ["sh"], "only": True}, {"avoid": ["b", "a"]}], Route(("sh",), True, ("a", "b"))),
    ([{"avoid": ["a"]}, {"avoid": ["b"]}], Route((), False, ("a", "b"))),
    ([{"warehouses": ["x"], "avoid": ["a"]}], Route(("x",), False, ("a",))),
]


@pytest.mark.parametrize(("routes", "combined"), ROUTES, ids=str)
def test_the_first_preference_wins_and_warehouses_to_avoid_add_up(
    routes: list[dict[str, Any]], combined: Route | None
) -> None:
    rules = rules_of(*[(ALWAYS, {"route": each}) for each in routes], (NEVER, {"route": {"avoid": ["never"]}}))
    assert combine_route(matching(rules.routes, order(line()), FACTS, None)) == combined


# --- carrier --------------------------------------------------------------------------------------------------------


def test_carriers_are_chosen_part_by_part() -> None:
    two = facts({("sz", "A"): 5, ("sh", "B"): 5}, SZ, SH)
    own = order(line("A", 1, amount=100), line("B", 3, amount=900, weight_grams=500))
    rules = rules_of(
        (on("part.weight_grams", "ge", 1000), {"carrier": "DEPPON"}),
        (on("order.units", "ge", 3), {"carrier": "ZTO"}),
        (on("part.warehouse", "eq", "sh"), {"carrier": "SF"}),
    )
    decision = decide(own, two, rules)
    assert {part.warehouse: part.carrier for part in decision.parts} == {"sz": "ZTO", "sh": "DEPPON"}
    assert why_not(decision, "0").split("; ") == [
        "sz: part.weight_grams ge 1000: saw 0", "sh: part.weight_grams ge 1000: saw 1500",
    ]  # fmt: skip
    assert why_not(decision, "1") == "order.units ge 3: saw 4"


ACME = on("line.supplier", "eq", "x")
PART_CASES: list[tuple[Any, bool]] = [
    (on("part.units", "eq", 2), True),
    (on("part.value", "between", [200, 200], currency="CNY"), True),
    (on("part.value", "ge", 0, currency="EUR"), False),
    ({"all": [on("part.units", "ge", 1), on("order.units", "eq", 2), on("sender.channel", "eq", "taobao")]}, True),
    ({"all": [on("part.units", "ge", 1), on("calendar.weekday", "eq", 6), on("order.volume_ml", "eq", 10)]}, True),
    ({"all": [on("part.units", "ge", 1), {"any_line": on("line.volume_ml", "eq", 5)}]}, True),
    ({"all": [on("part.units", "ge", 1), {"count": on("line.classes", "contains", "cold"), "op": "eq", "value": 1}]}, True),
    ({"not": {"any": [on("part.units", "lt", 1), {"sum": "line.volume_ml", "where": ACME, "op": "ne", "value": 10}]}}, True),
    ({"all": [on("part.units", "ge", 1), on("sender.credit_left", "lt", 10, currency="CNY")]}, True),
    ({"not": on("part.supplier", "eq", "nobody")}, True),
    ({"any": [on("part.volume_ml", "lt", 0), on("part.classes", "contains", "gas")]}, False),
]  # fmt: skip


@pytest.mark.parametrize(("when", "met"), PART_CASES, ids=str)
def test_a_carrier_rule_sees_its_part_the_order_and_the_facts(when: Any, met: bool) -> None:
    goods = {"A": Goods(sku="A", volume_ml=5, supplier="x", classes=frozenset({"cold"}))}
    known = facts(STOCK, SZ, goods=goods)
    known = replace(known, sender=replace(known.sender, credit_left=5, credit_currency="CNY"))
    rules = rules_of((when, {"carrier": "SF"}))
    for trace in (True, False):
        assert decide(order(line("A", 2)), known, rules, trace=trace).parts[0].carrier == ("SF" if met else "")


def test_without_a_part_a_rule_about_parts_is_still_in_the_trace() -> None:
    decision = decide(order(), FACTS, rules_of((on("part.units", "ge", 1), {"carrier": "SF"})))
    assert why_not(decision, "0") == "there is no part to choose a carrier for"


# --- schedule -------------------------------------------------------------------------------------------------------


def test_what_a_schedule_says() -> None:
    quiet = {"from": "22:00", "to": "08:30"}
    rules = rules_of(
        (ALWAYS, {"schedule": {"delay_minutes": 5}}),
        (ALWAYS, {"schedule": {"not_before": "2026-12-01T00:00:00+08:00"}}),
        (ALWAYS, {"schedule": {"quiet": quiet}}),
        (ALWAYS, {"schedule": {"quiet": {**quiet, "utc_offset": 60}}}),
        routing={"utc_offset": 540},
    )
    assert [each.schedule for each in rules.schedules] == [
        Schedule(delay_minutes=5, utc_offset=540),
        Schedule(not_before=datetime(2026, 11, 30, 16, 0, tzinfo=UTC), utc_offset=540),
        Schedule(quiet_from=1320, quiet_to=510, utc_offset=540),
        Schedule(quiet_from=1320, quiet_to=510, utc_offset=60),
    ]


def test_the_latest_moment_counts_and_without_a_match_there_is_none() -> None:
    paid = datetime(2026, 11, 21, 7, 59, tzinfo=UTC)
    rules = rules_of(
        (ALWAYS, {"schedule": {"delay_minutes": 10}}),
        (ALWAYS, {"schedule": {"delay_minutes": 30}}),
        (NEVER, {"schedule": {"delay_minutes": 90}}),
    )
    assert decide(order(line(), paid_at=paid), FACTS, rules).not_before == datetime(2026, 11, 21, 8, 29, tzinfo=UTC)
    assert (
        decide(order(line(), paid_at=paid), FACTS, rules_of((NEVER, {"schedule": {"delay_minutes": 9}}))).not_before
        is None
    )


def test_the_trace_follows_the_phases() -> None:
    effects: dict[str, dict[str, Any]] = {
        "hold": {"hold": "hold_x"}, "approve": {"approve": "finance"}, "gift": GIFT, "merge": {"merge": False},
        "split": {"split": {"by_supplier": True}}, "route": {"route": {"avoid": ["x"]}}, "carrier": {"carrier": "cheapest"},
        "schedule": {"schedule": {"delay_minutes": 1}}, "tag": {"tag": "x"},
    }  # fmt: skip
    assert tuple(effects) == PHASES
    rules = ruleset(*[rule(NEVER, effects[phase], id=phase) for phase in reversed(PHASES)])
    decision = decide(order(line()), FACTS, rules)
    assert [step.phase for step in decision.trace if not step.rule.startswith("warehouse")] == list(PHASES)
