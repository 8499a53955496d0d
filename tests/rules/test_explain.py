"""Why and why not (docs/explain.md): what every condition saw, the reason against an alternative, the smallest change."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import RefusedError
from domain.facts import Facts, Goods, Sender, WarehouseInfo
from domain.order import Amounts, Order
from rules.alternatives import NAMED, Goal, holds_in, read_goal
from rules.changes import Case
from rules.decide import decide
from rules.explain import Alternative, RuleSeen, explain_alternative, look_at_rules
from rules.language import load
from rules.seen import Seen
from tests.rules.samples import ALWAYS, SHENZHEN, document, facts, line, on, order, rule, warehouse
from tests.rules.test_properties import NAMES, known, orders, ruleset_documents

HOLD_LARGE = rule(on("amounts.paid", "ge", 20_000), {"hold": "hold_large"}, id="large")


def ask(goal: Goal, told: dict[str, Any], asked: Order, seen: Facts) -> Alternative:
    case = Case(asked, seen, load(told))
    return explain_alternative(told, case, decide(asked, seen, case.ruleset), goal)


def changes(alternative: Alternative) -> list[list[tuple[str, str, str, str]]]:
    return [[(one.kind, one.what, one.before, one.after) for one in each] for each in alternative.answer.found]


def look(told: dict[str, Any], asked: Order, seen: Facts) -> tuple[RuleSeen, ...]:
    ruleset = load(told)
    return look_at_rules(told, Case(asked, seen, ruleset), decide(asked, seen, ruleset))


# --- what was seen ----------------------------------------------------------------------------------------------------


def test_every_condition_says_what_it_saw_and_the_first_that_failed_is_named() -> None:
    when = {
        "all": [
            on("amounts.paid", "ge", 500),
            {"any": [on("order.currency", "eq", "USD"), {"not": on("order.payment", "eq", "paid")}]},
            {"any_line": on("line.sku", "eq", "B")},
            on("order.units", "ge", 9),
        ]
    }
    (seen,) = look(document(rule(when)), order(line("A"), line("B", 2)), facts())
    assert not seen.matched
    assert [one.held for one in seen.tree.inner] == [True, False, True, False]
    assert seen.first.why == "order.currency eq USD: saw 'CNY'"
    assert [(one.line, one.held) for one in seen.tree.inner[2].inner] == [(1, False), (2, True)]
    assert seen.tree.inner[3].why == "order.units ge 9: saw 3"


def test_a_private_text_shows_its_length_and_nothing_more() -> None:
    told = document(rule(on("order.buyer_message", "contains", "secret"), {"hold": "hold_x"}, id="remark"))
    asked = order(line("A"), buyer_message="a secret word")
    (seen,) = look(told, asked, facts())
    answer = ask(Goal("release"), told, asked, facts({("w1", "A"): 1}, warehouse("w1")))
    shown = repr(seen) + repr(answer)
    assert seen.matched
    assert "secret" not in shown
    assert "a text of 13" in shown


def test_a_rule_that_is_off_says_so() -> None:
    told = document(rule(ALWAYS, id="off", enabled=False))
    (seen,) = look(told, order(line("A")), facts())
    assert (seen.matched, seen.first.why) == (False, "switched off")
    assert ask(Goal("rule", "off"), told, order(line("A")), facts()).reason.code == "switched_off"


def test_a_carrier_rule_is_seen_for_each_part() -> None:
    told = document(
        rule(on("part.warehouse", "eq", "w2"), {"carrier": "SF"}), routing={"allow_split": True, "max_parts": 2}
    )
    stock = {("w1", "A"): 1, ("w2", "B"): 1}
    seen = look(told, order(line("A"), line("B")), facts(stock, warehouse("w1"), warehouse("w2")))
    assert [(one.part, one.matched) for one in seen] == [(1, False), (2, True)]


# --- why not there ----------------------------------------------------------------------------------------------------

HERE = warehouse("here")
FULL = {("here", "A"): 5, ("there", "A"): 5}
REASONS: list[tuple[str, WarehouseInfo, dict[str, Any], dict[tuple[str, str], int], str]] = [
    ("barred", warehouse("there", priority=-1, regions=("31",)), {}, FULL, "there.regions"),
    ("barred", warehouse("there", priority=-1, accepts_tokens=False), {}, FULL, "there.accepts_tokens"),
    (
        "barred",
        warehouse("there", priority=-1),
        {"allowed_warehouses": frozenset({"here"})},
        FULL,
        "allowed_warehouses",
    ),
    ("supplier", warehouse("there", priority=-1, suppliers=("acme",)), {}, FULL, "there.suppliers"),
    ("stock", warehouse("there", priority=-1), {}, {("here", "A"): 5, ("there", "A"): 1}, "there|A"),
    ("late", warehouse("there", priority=-1, cut_off=0), {}, FULL, "there.cut_off"),
    ("late", warehouse("there", priority=-1, capacity=0), {}, FULL, "there.capacity"),
    ("cost", warehouse("there", priority=-1, parcel_cost=300), {}, FULL, "there.parcel_cost"),
    ("nearness", warehouse("there", "3101"), {}, FULL, "here|A"),
    ("priority", warehouse("there", priority=1), {}, FULL, "there.priority"),
    ("name", warehouse("there"), {}, FULL, "there.priority"),
]


@pytest.mark.parametrize(("code", "there", "sender", "stock", "change"), REASONS)
def test_the_first_reason_against_a_warehouse_is_named_and_so_is_what_would_have_changed_it(
    code: str,
    there: WarehouseInfo,
    sender: dict[str, Any],
    stock: dict[tuple[str, str], int],
    change: str,
) -> None:
    who = Sender(account="shop", channel="taobao", **sender)
    asked = order(line("A", 2), consignee=replace(SHENZHEN, masked=not there.accepts_tokens))
    told = ask(Goal("warehouse", "there"), document(), asked, facts(stock, HERE, there, sender=who))
    assert (told.held, told.reason.code) == (False, code), told.reason
    assert change in [each[0][1] for each in changes(told)], changes(told)


def test_cost_is_told_with_both_figures() -> None:
    seen = facts(FULL, HERE, warehouse("there", parcel_cost=300))
    reason = ask(Goal("warehouse", "there"), document(), order(line("A")), seen).reason
    assert (reason.code, reason.chosen, reason.asked) == ("cost", "0", "300")


def test_a_route_rule_that_prefers_another_is_named_and_can_be_switched_off() -> None:
    first = rule(ALWAYS, {"route": {"warehouses": ["here"]}}, id="first")
    seen = facts(FULL, HERE, warehouse("there", priority=-1))
    told = ask(Goal("warehouse", "there"), document(first), order(line("A")), seen)
    assert told.reason.code == "route_rule"
    assert [("rule", "first", "on", "off")] in changes(told)


def test_two_goods_short_take_two_changes() -> None:
    stock = {("here", "A"): 5, ("here", "B"): 5, ("here", "C"): 5}
    told = ask(Goal("release"), document(), order(line("A"), line("B", 2)), facts({}, HERE))
    assert changes(told) == [[("stock", "here|A", "0", "1"), ("stock", "here|B", "0", "2")]]
    three = ask(Goal("release"), document(), order(line("A"), line("B"), line("C", 2)), facts({}, HERE))
    assert sorted(one[1] for one in changes(three)[0]) == ["here|A", "here|B", "here|C"]
    assert ask(Goal("release"), document(), order(line("A"), line("B"), line("C")), facts(stock, HERE)).held


def test_a_warehouse_or_a_rule_nobody_knows_is_said_to_be_unknown() -> None:
    for goal in (Goal("warehouse", "gone"), Goal("rule", "gone"), Goal("rule", "warehouse here")):
        told = ask(goal, document(), order(line("A")), facts(FULL, HERE))
        assert (told.reason.code, told.answer.found) == ("unknown", ())


# --- the smallest change ----------------------------------------------------------------------------------------------


def test_the_smallest_change_comes_first() -> None:
    asked = order(line("A"), amounts=Amounts(goods=20_000, paid=20_001))
    told = ask(Goal("release"), document(HOLD_LARGE), asked, facts(FULL, HERE))
    assert told.reason.detail == "hold_large by large"
    first, *others = changes(told)
    assert first == [("value", "amounts.paid", "20001", "19999")]
    assert [("waive", "hold_large", "held", "waived")] in others
    assert [("rule", "large", "on", "off")] in others


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (on("order.units", "ge", 3), ("value", "line.quantity", "1", "3")),
        (on("order.tags", "contains", "vip"), ("value", "order.tags", "nothing", "vip")),
        (on("consignee.region", "in", ["31"]), ("value", "consignee.region", "CN 440305", "CN 31")),
        (on("order.has_buyer_message", "eq", True), ("value", "order.has_buyer_message", "no", "yes")),
        (on("order.classes", "contains", "cold"), ("goods", "A.classes", "nothing", "cold")),
        (on("order.weight_grams", "gt", 500), ("value", "line.weight_grams", "0", "501")),
        (on("calendar.weekday", "eq", 7), ("value", "calendar.weekday", "6", "7")),
        (on("sender.first_order", "eq", True), ("value", "sender.first_order", "no", "yes")),
        (on("stock.short", "eq", True), ("stock", "here|A", "5", "0")),
        ({"sum": "line.amount", "op": "ge", "value": 150}, ("value", "line.amount", "100", "150")),
        ({"count": on("line.sku", "eq", "B"), "op": "ge", "value": 1}, ("value", "line.sku", "'A'", "'B'")),
        ({"not": on("order.payment", "in", ["paid", "cod"])}, ("value", "order.payment", "'paid'", "'unpaid'")),
    ],
)
def test_every_kind_of_field_can_be_changed(when: dict[str, Any], expected: tuple[str, str, str, str]) -> None:
    seen = facts({("here", "A"): 5}, HERE)
    told = ask(Goal("rule", "tag-1"), document(rule(when)), order(line("A")), seen)
    assert not told.held
    assert [expected] in changes(told), changes(told)


def test_a_rule_with_three_failing_conditions_takes_three_changes() -> None:
    parts = [on("order.units", "ge", 2), on("amounts.paid", "ge", 20_000), on("order.tags", "contains", "vip")]
    told = ask(Goal("rule", "tag-1"), document(rule({"all": parts})), order(line("A")), facts())
    assert told.reason.detail == "order.units ge 2: saw 1"
    assert sorted(one[1] for one in changes(told)[0]) == ["amounts.paid", "line.quantity", "order.tags"]


def test_a_carrier_that_the_warehouse_does_not_work_with() -> None:
    seen = facts(FULL, replace(HERE, carriers=("ZTO",)))
    told = ask(Goal("carrier", "SF"), document(routing={"default_carriers": ["SF", "ZTO"]}), order(line("A")), seen)
    assert (told.reason.code, told.reason.asked) == ("carrier_unknown", "SF")
    assert changes(told)[0] == [("warehouse", "here.carriers", "ZTO", "SF, ZTO")]


def test_nothing_found_is_said_with_the_number_of_tries() -> None:
    told = ask(
        Goal("rule", "tag-1"), document(rule({"any": [on("order.line_count", "ge", 9)]})), order(line("A")), facts()
    )
    assert told.answer.found == ()
    assert told.answer.whole


def test_what_is_asked_for_is_read_strictly() -> None:
    assert read_goal(" warehouse = sh-02 ") == Goal("warehouse", "sh-02")
    assert read_goal("release") == Goal("release")
    for text in ("", "release=x", "warehouse=", "rule", "money=1", "carrier=" + "x" * 201):
        with pytest.raises(RefusedError, match="one of"):
            read_goal(text)


# --- for every order --------------------------------------------------------------------------------------------------

goals = st.builds(Goal, st.just("warehouse"), st.sampled_from(NAMES)) | st.sampled_from(
    [Goal("release"), Goal("carrier", "SF"), Goal("carrier", "ZTO"), Goal("rule", "route-0"), *(
        Goal("rule", f"{phase}-{n}") for phase in ("hold", "gift", "split", "carrier", "tag") for n in range(2)
    )]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(orders, known, ruleset_documents(), goals)
def test_every_answer_really_makes_the_difference(asked: Order, seen: Facts, told: dict[str, Any], goal: Goal) -> None:
    case = Case(asked, seen, load(told))
    decision = decide(asked, seen, case.ruleset)
    alternative = explain_alternative(told, case, decision, goal)
    assert alternative.held == (holds_in(goal, decision) and alternative.reason.code != "unknown")
    assert alternative.answer.tries <= 2_100
    assert not (alternative.held and alternative.answer.found)
    for found in alternative.answer.found:
        changed = case
        for change in found:
            changed = change.apply(changed)
        assert holds_in(goal, decide(changed.order, changed.facts, changed.ruleset)), found
        assert changed != case
    again = explain_alternative(told, case, decision, goal)
    assert changes(again) == changes(alternative)
    assert goal.kind in (*NAMED, "release")


def _leaves(seen: Seen) -> list[Seen]:
    return [leaf for inner in seen.inner for leaf in _leaves(inner)] or [seen]


@settings(max_examples=60, deadline=None)
@given(orders, known, ruleset_documents())
def test_trees_agree_with_the_decision(asked: Order, seen: Facts, told: dict[str, Any]) -> None:
    ruleset = load(told)
    decision = decide(asked, seen, ruleset)
    matched: dict[str, bool] = {}
    for one in look_at_rules(told, Case(asked, seen, ruleset), decision):
        matched[one.rule] = matched.get(one.rule, False) or one.matched
        assert one.first in [one.tree, *_leaves(one.tree)] or not one.first.inner
    assert matched == {name: holds_in(Goal("rule", name), decision) for name in matched}


def test_a_hostile_ruleset_is_explained_within_a_second() -> None:
    names = [f"S{n}" for n in range(5_000)]
    leaf = {"any_line": on("line.sku", "in_list", "many")}
    tests = [leaf, *(on("amounts.paid", "ge", 10_000 + n) for n in range(5)), on("order.skus", "in_list", "many")]
    rules = [rule({"any": tests}, {"hold": f"hold_{n}"}, id=f"r{n}") for n in range(250)]
    rules += [rule({"all": tests}, {"route": {"warehouses": ["w9"], "avoid": ["w1"]}}, id=f"q{n}") for n in range(250)]
    rules.append(rule({"all": [*tests * 30, on("amounts.paid", "ge", 99_999)]}, id="far"))
    told = document(*rules[1:], lists={"many": names})
    asked = order(*(line(f"S{n}", 2, external_id=str(n)) for n in range(20)))
    stock = {(f"w{w}", f"S{n}"): 5 for w in range(8) for n in range(20)}
    goods = {f"S{n}": Goods(sku=f"S{n}", weight_grams=10) for n in range(20)}
    seen = facts(stock, *(warehouse(f"w{n}") for n in range(8)), goods=goods)
    case = Case(asked, seen, load(told))
    decision = decide(asked, seen, case.ruleset)
    for goal in (Goal("release"), Goal("warehouse", "w7"), Goal("rule", "far"), Goal("carrier", "SF")):
        began = time.process_time()
        alternative = explain_alternative(told, case, decision, goal)
        assert time.process_time() - began < 1, goal
        assert bool(alternative.answer.found) == (goal.kind in {"warehouse", "rule"})
    began = time.process_time()
    look_at_rules(told, case, decision)
    assert time.process_time() - began < 1
