from __future__ import annotations

from rules.decide import decide
from rules.explain import explain, why_not
from rules.language import default_ruleset
from tests.rules.samples import ALWAYS, facts, line, on, order, rule, ruleset, warehouse

SZ, SH = warehouse("sz"), warehouse("sh", "3101")
STOCK = {("sz", "A"): 5, ("sh", "A"): 5}
FACTS = facts(STOCK, SZ, SH)
NEVER = on("order.units", "lt", 0)


def test_holds_add_up_and_the_route_is_planned_all_the_same() -> None:
    rules = ruleset(
        rule(ALWAYS, {"hold": "hold_a", "detail": "first"}, id="1"),
        rule(NEVER, {"hold": "hold_b"}, id="2"),
        rule(ALWAYS, {"hold": "hold_c"}, id="3"),
    )
    decision = decide(order(line()), FACTS, rules)
    assert [(hold.code, hold.rule) for hold in decision.holds] == [("hold_a", "1"), ("hold_c", "3")]
    assert [part.warehouse for part in decision.parts] == ["sz"]
    assert not decision.released


def test_a_hold_a_person_has_waived_does_not_stop_the_order_again() -> None:
    rules = ruleset(rule(ALWAYS, {"hold": "hold_a"}, id="1"), rule(ALWAYS, {"hold": "hold_b"}, id="2"))
    some = decide(order(line()), facts(STOCK, SZ, waived=frozenset({"hold_a"})), rules)
    assert [hold.code for hold in some.holds] == ["hold_b"]
    assert "waived" in why_not(some, "1")
    assert decide(order(line()), facts(STOCK, SZ, waived=frozenset({"hold_a", "hold_b"})), rules).released


def test_the_first_route_wins() -> None:
    rules = ruleset(
        rule(NEVER, {"route": {"warehouses": ["sz"]}}, id="1"),
        rule(ALWAYS, {"route": {"warehouses": ["sh"]}}, id="2"),
        rule(ALWAYS, {"route": {"warehouses": ["sz"]}}, id="3"),
    )
    decision = decide(order(line()), FACTS, rules)
    assert decision.parts[0].warehouse == "sh"
    assert decision == decide(order(line()), FACTS, rules)


def test_the_first_carrier_the_warehouse_works_with_wins() -> None:
    rules = ruleset(
        rule(ALWAYS, {"carrier": "EMS"}, id="1"),
        rule(ALWAYS, {"carrier": ["JD", "ZTO"]}, id="2"),
        routing={"carriers": {"sz": "SF"}},
    )
    only_some = facts(STOCK, warehouse("sz", carriers=("SF", "ZTO")))
    assert decide(order(line()), only_some, rules).parts[0].carrier == "ZTO"
    assert decide(order(line()), FACTS, rules).parts[0].carrier == "EMS"
    none_fits = facts(STOCK, warehouse("sz", carriers=("SF",)))
    assert decide(order(line()), none_fits, rules).parts[0].carrier == "SF"


def test_without_a_carrier_rule_the_default_or_the_warehouse_chooses() -> None:
    rules = ruleset(routing={"default_carriers": ["SF", "ZTO"]})
    assert decide(order(line()), facts(STOCK, warehouse("sz", carriers=("ZTO",))), rules).parts[0].carrier == "ZTO"
    assert decide(order(line()), facts(STOCK, warehouse("sz", carriers=("EMS",))), rules).parts[0].carrier == ""
    assert decide(order(line()), FACTS, rules).parts[0].carrier == ""


def test_tags_add_up_each_once() -> None:
    rules = ruleset(
        rule(ALWAYS, {"tag": ["b", "a"]}, id="1"),
        rule(NEVER, {"tag": "x"}, id="2"),
        rule(ALWAYS, {"tag": ["a", "c"]}, id="3"),
    )
    assert decide(order(line()), FACTS, rules).tags == ("b", "a", "c")


def test_the_trace_keeps_every_rule_in_the_order_of_the_phases_and_every_warehouse() -> None:
    rules = ruleset(
        rule(ALWAYS, {"tag": "x"}, id="t"),
        rule(NEVER, {"carrier": "SF"}, id="c"),
        rule(ALWAYS, {"route": {"warehouses": ["sh"]}}, id="r1"),
        rule(NEVER, {"route": {"warehouses": ["sh"]}}, id="r2"),
        rule(NEVER, {"hold": "h"}, id="h"),
    )
    decision = decide(order(line()), FACTS, rules)
    assert [(step.rule, step.matched) for step in decision.trace] == [
        ("h", False), ("r1", True), ("r2", False), ("c", False), ("t", True), ("warehouse sh", True), ("warehouse sz", False),
    ]  # fmt: skip
    without = decide(order(line()), FACTS, rules, trace=False)
    assert without.trace == ()
    assert (without.holds, without.parts, without.tags) == (decision.holds, decision.parts, decision.tags)


def test_why_not_the_other_warehouse_has_an_answer() -> None:
    far = facts({("sz", "A"): 1, ("sh", "A"): 9}, SZ, SH, warehouse("bj", "1101", regions=("11",)))
    decision = decide(order(line("A", 2)), far, ruleset())
    assert why_not(decision, "sz") == "choice 1: same city, lacks A 1 of 2"
    assert why_not(decision, "sh") == "choice 2: same country, has everything"
    assert why_not(decision, "bj") == "does not deliver to 440305"
    assert why_not(decision, "nowhere") == ""


def test_a_decision_can_be_read() -> None:
    rules = ruleset(rule(ALWAYS, {"hold": "hold_x", "detail": "look"}), rule(ALWAYS, {"tag": "vip"}))
    lines = explain(decide(order(line("A", 2)), FACTS, rules))
    assert lines[:4] == [
        "ruleset test: not released",
        "hold hold_x by hold-1: look",
        "part 1 from sz by the warehouse’s own carrier: line 1: 2 × A",
        "tags vip",
    ]
    assert "+ hold hold-1: always" in lines
    assert explain(decide(order(), FACTS, ruleset())) == ["ruleset test: not released", "no warehouse"]


def test_gifts_merging_and_the_moment_can_be_read() -> None:
    rules = ruleset(
        rule(ALWAYS, {"gift": [{"sku": "A", "quantity": 2}]}),
        rule(ALWAYS, {"merge": {"window_minutes": 30}}),
        rule(ALWAYS, {"schedule": {"not_before": "2026-12-01T00:00:00Z"}}),
    )
    lines = explain(decide(order(line("A", 2)), FACTS, rules))
    assert lines[1:3] == ["gift 2 × A by gift-1", "merges within 30 minutes by merge-1"]
    assert lines[4] == "not before 2026-12-01T00:00:00+00:00"
    assert "never merges by cod" in explain(decide(order(line(), payment="cod"), FACTS, rules))


def test_the_default_ruleset_holds_on_remarks_flags_and_changed_addresses() -> None:
    cases = {
        "buyer_message": ("请发顺丰", "hold_remark"),
        "seller_memo": ("老客户", "hold_remark"),
        "seller_flag": ("1", "hold_flag"),
        "notes": (("address_changed",), "hold_address_changed"),
    }
    for name, (value, code) in cases.items():
        decision = decide(order(line(), **{name: value}), FACTS, default_ruleset())
        assert [hold.code for hold in decision.holds] == [code], name
        assert decision.parts


def test_the_default_ruleset_releases_a_plain_order_from_the_nearest_warehouse_with_stock() -> None:
    decision = decide(order(line(), seller_flag="0"), FACTS, default_ruleset())
    assert decision.released
    assert decision.parts[0].warehouse == "sz"
    empty = facts({("sz", "A"): 0, ("sh", "A"): 1}, SZ, SH)
    assert decide(order(line()), empty, default_ruleset()).parts[0].warehouse == "sh"
