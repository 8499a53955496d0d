"""What holds for every order, every fact and every ruleset."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decision import Decision
from domain.facts import Bundle, Facts, Goods, Sender
from domain.order import Amounts, Component, Consignee, Line, Order
from rules.decide import decide
from rules.explain import explain
from rules.fields import FIELDS, OPERATORS
from rules.gifts import add_gifts, is_gift
from rules.language import load
from rules.routing import build_demand
from rules.ruleset import PHASES, Ruleset
from tests.rules.samples import NOW, document, rule, warehouse
from tests.rules.test_tables import values_of

SKUS = ("A", "B", "C", "GIFT", "")
NAMES = ("w1", "w2", "w3")
units = st.integers(-1, 6)
money = st.integers(-500, 20_000)
moments = st.integers(-5_000, 5_000).map(lambda minutes: NOW + timedelta(minutes=minutes))
words = st.sampled_from(["", " ", "x", "礼物", "\ud7ff", "a" * 300])
sets = st.lists(st.sampled_from(["cold", "liquid", "vip", "x"]), max_size=2).map(tuple)


def lines(number: int) -> st.SearchStrategy[Line]:
    return st.builds(
        Line,
        external_id=st.sampled_from([str(number), f"gift:gift-0:{number}"]),
        external_sku=words,
        quantity=units,
        unit_price=money,
        amount=money,
        title=words,
        paid=money,
        weight_grams=st.integers(0, 40_000),
        state=st.sampled_from(["open", "after_sale", "cancelled", "shipped"]),
        requires_shipping=st.booleans(),
        sku=st.sampled_from(SKUS),
        components=st.lists(st.builds(Component, st.sampled_from(SKUS), units), max_size=2).map(tuple),
    )


orders = st.builds(
    Order,
    external_id=st.just("1"),
    version=st.just("1"),
    source_time=moments,
    status=st.sampled_from(["pending_payment", "pending_shipment", "shipped"]),
    source_status=words,
    payment=st.sampled_from(["unpaid", "paid", "cod"]),
    currency=st.sampled_from(["CNY", "USD", ""]),
    amounts=st.builds(Amounts, goods=money, paid=money),
    consignee=st.builds(
        Consignee,
        street=words,
        city=words,
        province=words,
        country=st.sampled_from(["CN", "", "US"]),
        region=st.sampled_from(["", "440305", "44", "US-CA", "x"]),
        masked=st.booleans(),
    ),
    lines=st.tuples(*[st.none() | lines(n) for n in range(3)]).map(lambda made: tuple(filter(None, made))),
    placed_at=moments,
    paid_at=st.none() | moments,
    tags=sets,
    notes=sets,
    buyer_message=words,
    seller_flag=words,
)
goods = st.fixed_dictionaries(
    {},
    optional={
        sku: st.builds(
            Goods,
            sku=st.just(sku),
            weight_grams=st.integers(0, 9_000),
            volume_ml=st.integers(0, 9_000),
            supplier=st.sampled_from(["", "acme"]),
            classes=sets.map(frozenset),
        )
        for sku in SKUS[:4]
    },
)
known = st.builds(
    Facts,
    now=moments,
    sender=st.builds(
        Sender,
        account=st.just("shop"),
        channel=st.just("taobao"),
        credit_left=st.none() | money,
        credit_currency=st.sampled_from(["", "CNY"]),
    ),
    bundles=st.just({}) | st.just({"GIFT": Bundle(sku="GIFT", version=1, components=(("A", 2), ("B", 1)))}),
    warehouses=st.lists(st.sampled_from(NAMES), unique=True).map(
        lambda names: tuple(warehouse(name, carriers=("SF", "ZTO")) for name in names)
    ),
    available=st.dictionaries(st.tuples(st.sampled_from(NAMES), st.sampled_from(SKUS)), st.integers(-2, 20)),
    backorder=st.frozensets(st.sampled_from(SKUS), max_size=1),
    sender_orders_before=st.integers(0, 5),
    goods=goods,
    waived=st.frozensets(st.sampled_from(["hold_a", "approve_finance", "gift_out_of_stock"]), max_size=2),
)


@st.composite
def leaves(draw: st.DrawFn, *scopes: str) -> dict[str, Any]:
    field = draw(st.sampled_from([each for each in FIELDS.values() if each.scope in scopes]))
    op = draw(st.sampled_from(sorted(OPERATORS[field.kind] - {"in_list", "between"})))
    leaf: dict[str, Any] = {"field": field.name, "op": op}
    if op == "in":
        leaf["value"] = draw(st.lists(values_of(field), min_size=1, max_size=2))
    elif op not in {"empty", "present"}:
        leaf["value"] = draw(values_of(field))
    return leaf


line_tests = leaves("line")
figures = st.builds(lambda one, n: {"count": one, "op": "ge", "value": n}, line_tests, st.integers(0, 3)) | st.builds(
    lambda name, one, n: {"sum": name, "where": one, "op": "lt", "value": n},
    st.sampled_from(
        [each.name for each in FIELDS.values() if each.scope == "line" and each.kind in {"number", "money"}]
    ),
    line_tests,
    st.integers(0, 9_000),
)


def trees(*scopes: str) -> st.SearchStrategy[Any]:
    leaf = (
        leaves(*scopes)
        | line_tests.map(lambda one: {"any_line": one})
        | line_tests.map(lambda one: {"all_lines": one})
        | figures
    )
    return st.just({"all": []}) | st.recursive(
        leaf,
        lambda inner: (
            inner.map(lambda one: {"not": one})
            | st.lists(inner, min_size=1, max_size=3).map(lambda each: {"any": each})
            | st.lists(inner, max_size=3).map(lambda each: {"all": each})
        ),
        max_leaves=4,
    )


EFFECTS: dict[str, list[dict[str, Any]]] = {
    "hold": [{"hold": "hold_a"}, {"hold": "hold_b", "detail": "x"}],
    "approve": [{"approve": "finance"}, {"waive": ["hold_a"]}],
    "gift": [{"gift": [{"sku": "GIFT", "quantity": 1}]}, {"gift": [{"sku": "A", "quantity": 9}], "if_available": True}],
    "merge": [{"merge": False}, {"merge": {"window_minutes": 9}}],
    "split": [{"split": {"apart": [["cold"]], "max_value": 900}}, {"split": {"by_supplier": True, "partial": True}}],
    "route": [{"route": {"warehouses": ["w2"], "only": True}}, {"route": {"avoid": ["w1"]}}],
    "carrier": [{"carrier": ["cheapest", "SF"]}, {"carrier": "ZTO"}],
    "schedule": [{"schedule": {"delay_minutes": 30}}, {"schedule": {"quiet": {"from": "22:00", "to": "08:00"}}}],
    "tag": [{"tag": "x"}, {"tag": ["y", "x"]}],
}


@st.composite
def ruleset_documents(draw: st.DrawFn) -> dict[str, Any]:
    rules = []
    for n in range(draw(st.integers(0, 6))):
        phase = draw(st.sampled_from(PHASES))
        scopes = ("order", "facts", "clock", "part") if phase == "carrier" else ("order", "facts", "clock")
        then = draw(st.sampled_from(EFFECTS[phase]))
        rules.append(rule(draw(trees(*scopes)), then, id=f"{phase}-{n}", phase=phase))
    rates = draw(st.just([]) | st.just([{"carrier": "SF", "first_cost": 900, "step_cost": 100}]))
    return document(*rules, routing={"rates": rates, "utc_offset": draw(st.integers(-720, 840))})


def rulesets() -> st.SearchStrategy[Ruleset]:
    return ruleset_documents().map(load)


def bare(decision: Decision) -> Decision:
    return replace(decision, trace=())


@settings(max_examples=80, deadline=None)
@given(orders, known, rulesets())
def test_a_decision_is_always_made_and_the_trace_changes_nothing(order: Order, facts: Facts, rules: Ruleset) -> None:
    fast, traced = decide(order, facts, rules, trace=False), decide(order, facts, rules)
    assert fast.trace == ()
    assert bare(traced) == fast == decide(order, facts, rules, trace=False)
    looked = [step.rule for step in traced.trace]
    phases = (rules.holds, rules.approvals, rules.gifts, rules.merges, rules.splits, rules.routes, rules.carriers,
              rules.schedules, rules.tags)  # fmt: skip
    assert {each.id for phase in phases for each in phase} <= set(looked)
    assert explain(traced)


@settings(max_examples=40, deadline=None)
@given(orders, known, rulesets())
def test_a_plan_ships_the_order_and_its_gifts_and_nothing_else(order: Order, facts: Facts, rules: Ruleset) -> None:
    order = replace(order, lines=tuple(line for line in order.lines if not is_gift(line)))
    decision = decide(order, facts, rules, trace=False)
    full = add_gifts(order, decision.gifts, facts)
    assert full.lines[: len(order.lines)] == order.lines
    assert all(line.amount == line.paid == 0 for line in full.lines[len(order.lines) :])
    wanted: dict[tuple[int, str], int] = {}
    for part in build_demand(full) or ():
        wanted[part.line, part.sku] = wanted.get((part.line, part.sku), 0) + part.quantity
    sent: dict[tuple[int, str], int] = {}
    for one in decision.parts:
        for part in one.lines:
            sent[part.line, part.sku] = sent.get((part.line, part.sku), 0) + part.quantity
    assert sent in ({}, wanted)
