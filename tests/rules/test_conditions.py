from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.facts import Goods, Sender
from domain.order import Amounts, Component, Consignee
from rules.decide import decide
from rules.fields import FIELDS, OPERATORS
from rules.leaves import MAKERS
from tests.rules.samples import document, facts, line, on, order, rule, ruleset, warehouse

LISTS = {"fragile": ["A", "glass"], "south": ["44", "450000"], "vip": ["vip", "gold"]}
ORDER = order(
    line("A", 2, amount=300, paid=250, title="Glass Cup", weight_grams=400),
    line("B", 1, state="after_sale", requires_shipping=False, components=(Component("B1", 2),)),
    line("C", 9, state="cancelled"),
    seller_flag="2",
    buyer_message="请用 Gift 礼盒",
    tags=("vip", "new"),
    placed_at=datetime(2026, 11, 11, 0, 0, 1, tzinfo=UTC),
    amounts=Amounts(goods=10000, freight=500, paid=10500),
    paid_at=datetime(2026, 11, 21, 7, 30, 30, tzinfo=UTC),
    consignee=Consignee(country="CN", region="440305", province="广东省", city="深圳市", street="科技园 1 号"),
)
GOODS = {
    "A": Goods(sku="A", weight_grams=999, volume_ml=50, supplier="acme", classes=frozenset({"fragile"})),
    "B1": Goods(sku="B1", weight_grams=30, volume_ml=7, classes=frozenset({"cold", "liquid"})),
    "C": Goods(sku="C", weight_grams=1, supplier="zeta", classes=frozenset({"hazardous"})),
}
FACTS = facts(
    {("w1", "A"): 5, ("w2", "A"): 2},
    warehouse("w1"),
    warehouse("w2"),
    sender=Sender(account="shop-1", channel="taobao", partner="p9", credit_left=5000, credit_currency="CNY"),
    buyer_orders_24h=3,
    buyer_orders_30d=7,
    sender_orders_before=0,
    goods=GOODS,
)


def holds(when: Any) -> bool:
    """The answer of both forms, which must agree."""
    rules = ruleset(rule(when), lists=LISTS)
    fast, traced = decide(ORDER, FACTS, rules, trace=False), decide(ORDER, FACTS, rules)
    assert fast.tags == traced.tags
    assert traced.trace[0].matched == bool(traced.tags)
    assert traced.trace[0].why
    return bool(fast.tags)


TRUE = [
    on("order.payment", "eq", "paid"),
    on("order.payment", "ne", "cod"),
    on("order.currency", "in", ["CNY", "HKD"]),
    on("sender.account", "starts_with", "shop-"),
    on("sender.partner", "eq", "p9"),
    on("order.buyer_message", "contains", "gift"),
    on("order.buyer_message", "present"),
    on("order.seller_memo", "empty"),
    on("order.has_buyer_message", "eq", True),
    on("order.has_seller_memo", "eq", False),
    on("order.units", "eq", 3),
    on("order.line_count", "eq", 2),
    on("order.weight_grams", "eq", 860),
    on("order.volume_ml", "eq", 114),
    on("order.classes", "in", ["cold"]),
    on("order.suppliers", "contains", "acme"),
    on("order.has_gift", "eq", False),
    on("order.virtual", "eq", False),
    on("order.paid_age_minutes", "eq", 29),
    on("order.paid_age_minutes", "present"),
    {"not": on("order.paid_age_minutes", "empty")},
    on("consignee.province", "eq", "广东省"),
    on("consignee.city", "starts_with", "深圳"),
    on("consignee.street", "contains", "科技园"),
    on("sender.credit_left", "lt", 5001, currency="CNY"),
    on("sender.credit_left", "present"),
    {"not": on("sender.credit_left", "empty")},
    on("sender.orders_before", "eq", 0),
    on("sender.first_order", "eq", True),
    on("buyer.orders_30d", "between", [7, 8]),
    on("stock.short", "eq", False),
    on("stock.complete_warehouses", "eq", 2),
    on("calendar.date", "eq", "2026-11-21"),
    on("calendar.date", "starts_with", "2026-11"),
    on("calendar.weekday", "in", [6, 7]),
    on("calendar.minute", "eq", 16 * 60),
    {"count": on("line.quantity", "ge", 1), "op": "eq", "value": 2},
    {"count": on("line.classes", "contains", "cold"), "op": "eq", "value": 1},
    {"sum": "line.quantity", "op": "eq", "value": 3},
    {"sum": "line.amount", "where": on("line.sku", "eq", "A"), "op": "between", "value": [300, 300]},
    {"sum": "line.weight_grams", "op": "eq", "value": 860},
    {"sum": "line.paid", "op": "ge", "value": 250, "currency": "CNY"},
    {"any_line": on("line.supplier", "eq", "acme")},
    {"any_line": on("line.volume_ml", "eq", 14)},
    {"any_line": on("line.classes", "in", ["liquid", "x"])},
    {"any_line": on("line.weight_grams", "eq", 60)},
    on("order.units", "ne", 4),
    on("order.units", "lt", 4),
    on("order.units", "le", 3),
    on("order.units", "gt", 2),
    on("order.units", "ge", 3),
    on("order.units", "between", [3, 5]),
    on("order.units", "in", [1, 3]),
    on("buyer.orders_24h", "ge", 3),
    on("amounts.paid", "between", [10500, 10500]),
    on("amounts.paid", "gt", 10000, currency="CNY"),
    on("order.placed_at", "ge", "2026-11-11T08:00:00+08:00"),
    on("order.placed_at", "between", ["2026-11-11T00:00:00Z", "2026-11-12T00:00:00Z"]),
    on("now", "gt", "2026-11-20T00:00:00+08:00"),
    on("order.paid_at", "present"),
    {"not": on("order.paid_at", "empty")},
    on("order.placed_at", "present"),
    on("consignee.region", "eq", "440305"),
    on("consignee.region", "ne", "440306"),
    on("consignee.region", "starts_with", "4403"),
    on("consignee.region", "in", ["310000", "440000"]),
    on("consignee.region", "in", ["CN"]),
    on("consignee.region", "in_list", "south"),
    on("consignee.region", "present"),
    on("consignee.country", "eq", "CN"),
    on("order.tags", "contains", "vip"),
    on("order.tags", "in", ["gold", "new"]),
    on("order.tags", "in_list", "vip"),
    on("order.tags", "present"),
    on("order.notes", "empty"),
    on("order.skus", "contains", "B1"),
    on("amounts.freight", "eq", 500),
    on("amounts.freight", "ne", 0),
    on("amounts.tax", "le", 0),
    on("amounts.goods", "ge", 10000),
    on("amounts.discount", "lt", 1),
    {"any_line": on("line.sku", "in_list", "fragile")},
    {"any_line": on("line.title", "contains", "CUP")},
    {"any_line": on("line.skus", "contains", "B1")},
    {"any_line": {"all": [on("line.quantity", "ge", 2), on("line.amount", "gt", 299)]}},
    {"any_line": on("line.state", "eq", "after_sale")},
    {"any_line": {"not": on("line.requires_shipping", "eq", True)}},
    {"all_lines": on("line.quantity", "lt", 9)},
    {"all": []},
    {"all": [on("order.units", "eq", 3), on("order.payment", "eq", "paid"), on("order.units", "lt", 9)]},
    {"any": [on("order.units", "eq", 9), on("order.payment", "eq", "paid")]},
]
FALSE = [
    on("sender.credit_left", "gt", 0, currency="EUR"),
    on("order.classes", "contains", "hazardous"),
    on("order.suppliers", "contains", "zeta"),
    on("calendar.weekday", "eq", 5),
    {"count": on("line.sku", "eq", "C"), "op": "ge", "value": 1},
    {"sum": "line.paid", "op": "ge", "value": 0, "currency": "EUR"},
    {"sum": "line.quantity", "where": on("line.supplier", "eq", "zeta"), "op": "gt", "value": 0},
    on("consignee.region", "empty"),
    on("now", "le", "2026-11-20T00:00:00Z"),
    on("amounts.paid", "gt", 10000, currency="JPY"),
    on("order.paid_at", "gt", "2099-01-01T00:00:00Z"),
    on("order.paid_at", "lt", "1999-01-01T00:00:00Z"),
    on("consignee.region", "in", ["4404", "US", "45"]),
    on("order.tags", "contains", "vi"),
    {"any_line": on("line.quantity", "ge", 9)},
    {"any_line": on("line.sku", "eq", "C")},
    {"all_lines": on("line.sku", "eq", "A")},
    {"any": [on("order.units", "eq", 9), on("order.payment", "eq", "cod")]},
    {"all": [on("order.units", "eq", 3), on("order.payment", "eq", "cod")]},
]


@pytest.mark.parametrize("when", TRUE, ids=str)
def test_a_condition_holds_and_its_negation_does_not(when: Any) -> None:
    assert holds(when)
    assert not holds({"not": when})


@pytest.mark.parametrize("when", FALSE, ids=str)
def test_a_condition_does_not_hold_and_its_negation_does(when: Any) -> None:
    assert not holds(when)
    assert holds({"not": when})


def test_every_operator_of_every_kind_is_compiled_and_tried_here() -> None:
    assert {kind: frozenset(makers) for kind, makers in MAKERS.items()} == dict(OPERATORS)
    tried = {(FIELDS[leaf["field"]].kind, leaf["op"]) for leaf in _leaves([*TRUE, *FALSE])}
    assert tried == {(kind, op) for kind, ops in OPERATORS.items() for op in ops}


def _leaves(nodes: list[Any]) -> list[Any]:
    found = []
    for node in nodes:
        if "field" in node:
            found.append(node)
            continue
        for inner in node.values():
            found += _leaves(
                [each for each in (inner if isinstance(inner, list) else [inner]) if isinstance(each, dict)]
            )
    return found


def test_no_field_shows_a_name_a_phone_or_a_street() -> None:
    consignee = Consignee(
        name="秘密姓名", phone="13800001111", province="秘密省", city="秘密市", street="秘密路 9 号", email="s@e.cn"
    )  # fmt: skip
    secret = order(line(), consignee=consignee, buyer_message="送到秘密路", seller_memo="电话 13800001111")
    rules = []
    for field in FIELDS.values():
        op, value = (
            ("present", ()) if "present" in OPERATORS[field.kind] else ("eq", (True if field.kind == "yesno" else 1,))
        )
        when = on(field.name, op, *value)
        if field.private:
            when = {"any": [{"all": [when, on(field.name, "contains", "秘密")]}, on(field.name, "in", ["13800001111"])]}
        effect = {"carrier": "SF"} if field.scope == "part" else None
        rules.append(rule({"any_line": when} if field.scope == "line" else when, effect, id=field.name))
    text = str(decide(secret, facts({("w", "A"): 1}, warehouse("w")), ruleset(*rules)).trace)
    assert len(rules) == len(FIELDS)
    for part in ("秘密", "13800001111", "s@e.cn"):
        assert part not in text


def test_what_is_not_known_is_neither_more_nor_less() -> None:
    unpaid, unlimited = order(line(), paid_at=None), facts()
    for op in ("lt", "gt"):
        assert decide(unpaid, unlimited, ruleset(rule(on("order.paid_at", op, "2026-01-01T00:00:00Z")))).tags == ()
    assert decide(unpaid, unlimited, ruleset(rule(on("order.paid_at", "empty")))).tags == ("hit",)
    for field in ("order.paid_age_minutes", "sender.credit_left"):
        for op, value in (("lt", 9), ("ge", 0), ("ne", 1), ("eq", 0), ("between", [0, 9])):
            decision = decide(unpaid, unlimited, ruleset(rule(on(field, op, value))))
            assert decision.tags == ()
            assert decision.trace[0].why.endswith("saw nothing")
        assert decide(unpaid, unlimited, ruleset(rule(on(field, "empty")))).tags == ("hit",)


def test_the_calendar_is_the_clock_of_the_ruleset() -> None:
    for offset, day, minute in (
        (480, "2026-11-21", 960),
        (0, "2026-11-21", 480),
        (840, "2026-11-21", 1320),
        (-600, "2026-11-20", 1320),
    ):
        when = {"all": [on("calendar.date", "eq", day), on("calendar.minute", "eq", minute)]}
        assert decide(ORDER, FACTS, ruleset(rule(when), routing={"utc_offset": offset})).tags == ("hit",)


def test_stock_is_counted_over_all_warehouses() -> None:
    stock = facts({("w1", "A"): 2, ("w2", "A"): 3}, warehouse("w1"), warehouse("w2"))
    for units, short, complete in ((2, False, 2), (3, False, 1), (5, False, 0), (6, True, 0)):
        when = {"all": [on("stock.short", "eq", short), on("stock.complete_warehouses", "eq", complete)]}
        assert decide(order(line("A", units)), stock, ruleset(rule(when))).tags == ("hit",), units


def test_the_trace_names_the_first_condition_that_failed_and_what_it_saw() -> None:
    when = {"all": [on("order.units", "eq", 3), on("amounts.paid", "gt", 20000), on("order.units", "eq", 99)]}
    step = decide(ORDER, FACTS, ruleset(rule(when))).trace[0]
    assert (step.matched, step.why) == (False, "amounts.paid gt 20000: saw 10500")


def test_the_trace_names_what_a_match_saw() -> None:
    when = {"all": [on("order.units", "eq", 3), {"any_line": on("line.sku", "in_list", "fragile")}]}
    step = decide(ORDER, FACTS, ruleset(rule(when), lists=LISTS)).trace[0]
    assert step.why == "order.units eq 3: saw 3 and line 1: line.sku in_list fragile: saw 'A'"


def test_an_order_without_lines_is_not_one_where_all_lines_match() -> None:
    rules = ruleset(rule({"all_lines": on("line.quantity", "ge", 0)}))
    assert decide(order(), FACTS, rules).tags == ()
    assert decide(order(), FACTS, rules).trace[0].why == "no lines"


def test_a_message_of_blanks_is_no_message() -> None:
    rules = ruleset(rule(on("order.has_buyer_message", "eq", True)), rule(on("order.buyer_message", "present"), id="2"))
    assert decide(order(line(), buyer_message=" \n"), FACTS, rules).tags == ()


def test_a_rule_that_is_switched_off_stays_in_the_trace() -> None:
    decision = decide(ORDER, FACTS, ruleset(rule({"all": []}, enabled=False)))
    assert decision.tags == ()
    assert decision.trace[0].why == "switched off"


def test_what_a_rule_says_is_compared_and_never_run() -> None:
    for text in ("__import__('os').system('true')", "{{7*7}}", "^(a+)+$", "${7*7}", "' OR 1=1--"):
        rules = ruleset(rule(on("order.buyer_message", "contains", text)))
        assert decide(order(line(), buyer_message=f"x {text} y"), FACTS, rules).tags == ("hit",)
        assert decide(order(line(), buyer_message="a" * 40 + "X 49"), FACTS, rules).tags == ()


def test_a_ruleset_does_not_change_when_its_document_does() -> None:
    lists = {"l": ["A"]}
    content = document(rule({"any_line": on("line.sku", "in_list", "l")}), lists=lists)
    rules = ruleset(*content["rules"], lists=lists)
    lists["l"][0] = "Z"
    assert decide(ORDER, FACTS, rules).tags == ("hit",)
