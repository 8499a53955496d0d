"""What is kept of a decision's input is enough to make the decision again, whatever the ruleset, and nothing is forgotten
when a field is added."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decision import Decision, Gift, Hold, Merging, Part, PartLine, TraceStep
from domain.facts import Bundle, Facts, Sender, WarehouseInfo
from domain.order import Component, Consignee, Order
from rules import record
from rules.decide import decide
from rules.fields import FIELDS
from rules.language import default_ruleset
from rules.record import (
    LEFT_OUT,
    NARROWED,
    SHARED,
    Network,
    effects_of,
    freeze,
    freeze_decision,
    freeze_network,
    freeze_sender,
    thaw,
    thaw_network,
    thaw_sender,
)

from .samples import NOW, facts, line, on, order, rule, ruleset, warehouse
from .test_routing import HOLDING, cases

_UTC_TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
_TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
for kind, strategy in ((datetime, _UTC_TIMES), (str, _TEXT), (int, st.integers(-(2**40), 2**40))):
    st.register_type_strategy(kind, strategy)


def whole(content: Order, known: Facts) -> tuple[Order, Facts]:
    """There and back through JSON text, as it is stored."""
    told = json.loads(json.dumps(freeze(content, known)))
    network = json.loads(json.dumps(freeze_network(known.warehouses, "d")))
    sender = json.loads(json.dumps(freeze_sender(known.sender)))
    shared = thaw_network(network)
    assert shared.ruleset == "d"
    return thaw(told, shared, thaw_sender(sender))


def by_name(content: Order, known: Facts) -> tuple[Order, Facts]:
    """There and back as it was stored before 0019: every field by its name, and nothing shared that says what stands where."""
    told = {name: value for name, value in freeze(content, known).items() if name not in {"O", "F"}}
    told |= {"o": record._ORDER.pack(content), "f": record._FACTS.pack(known)}
    return thaw(json.loads(json.dumps(told)), Network(known.warehouses, "d"), known.sender)


RICH = ruleset(
    rule({"any_line": on("line.title", "contains", "a")}, {"hold": "hold_title"}, id="1"),
    rule(on("amounts.paid", "gt", 100), {"hold": "hold_dear"}, id="2"),
    rule(on("sender.account", "eq", "shop"), {"route": {"warehouses": ["w3", "w1"]}}, id="3"),
    rule(on("order.placed_at", "lt", "2026-11-22T00:00:00+08:00"), {"carrier": ["SF"]}, id="4"),
    rule(on("buyer.orders_24h", "gt", 0), {"tag": "again"}, id="5"),
    rule(on("consignee.region", "in", ["44"]), {"tag": "south"}, id="6"),
)


@given(cases())
def test_a_decision_made_again_is_the_same_whatever_the_ruleset(case: tuple[Order, Facts]) -> None:
    content, known = case
    again = whole(content, known)
    assert again == by_name(content, known)
    for rules in (HOLDING, RICH, default_ruleset()):
        assert decide(*again, rules) == decide(content, known, rules)


@settings(max_examples=15)
@given(st.from_type(Order), st.from_type(Facts))
def test_every_kept_field_of_any_value_comes_back(content: Order, known: Facts) -> None:
    known = replace(known, warehouses=tuple({one.name: one for one in known.warehouses}.values()))
    back, facts_back = whole(content, known)
    assert (back, facts_back) == by_name(content, known)
    _same(content, back)
    for each in fields(Facts):
        if each.name not in SHARED | NARROWED | LEFT_OUT[Facts].keys():
            assert getattr(facts_back, each.name) == getattr(known, each.name), each.name
    assert facts_back.warehouses == known.warehouses
    assert facts_back.sender == known.sender


def _same(told: Any, back: Any) -> None:
    out = LEFT_OUT.get(type(told), {})
    for each in fields(told):
        if each.name in out:
            assert getattr(back, each.name) == out[each.name]
        elif each.name == "consignee":
            _same(told.consignee, back.consignee)
        elif each.name == "lines":
            assert len(told.lines) == len(back.lines)
            for one, other in zip(told.lines, back.lines, strict=True):
                _same(one, other)
        else:
            assert getattr(back, each.name) == getattr(told, each.name), each.name


@settings(max_examples=15)
@given(st.from_type(Order), st.from_type(Facts))
def test_every_field_rules_may_look_at_reads_the_same(content: Order, known: Facts) -> None:
    goods = {sku: replace(one, sku=sku) for sku, one in known.goods.items() if sku}  # no goods are without a SKU
    known = replace(known, warehouses=(), goods=goods)
    back, facts_back = whole(content, known)
    for field in FIELDS.values():
        subjects: dict[str, list[tuple[Any, Any]]] = {
            "order": [(content, back)],
            "facts": [(known, facts_back)],
            "line": list(zip(content.lines, back.lines, strict=True)),
        }
        for told, again in subjects.get(field.scope, []):
            seen, saw = (
                field.get((told, known) if field.joint else told),
                field.get((again, facts_back) if field.joint else again),
            )
            if isinstance(seen, Consignee):
                seen, saw = (seen.country, seen.region), (saw.country, saw.region)
            assert seen == saw, field.name


def test_only_named_fields_are_left_out_and_every_name_is_a_field() -> None:
    for made, names in LEFT_OUT.items():
        assert names.keys() <= {each.name for each in fields(made)}
    assert {each.name for each in fields(Facts)} >= SHARED | NARROWED
    kept = json.dumps(freeze(order(line("A")), facts()), ensure_ascii=False)
    assert not [private for private in ("张三", "13812345678") if private in kept]


def test_a_field_of_tomorrow_is_kept_and_one_nobody_can_keep_is_refused() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Later(Consignee):
        door_code: str = ""

    record.LEFT_OUT = {**LEFT_OUT, Later: LEFT_OUT[Consignee]}
    try:
        shape = record._shape(Later)
    finally:
        record.LEFT_OUT = LEFT_OUT
    assert shape.pack(Later(door_code="7")) == {"door_code": "7"}
    assert dict(zip(shape.layout, shape.place(Later(door_code="7")), strict=True))["door_code"] == "7"
    with pytest.raises(TypeError, match="somewhere"):
        record._converters(complex, "somewhere")


def test_narrowed_facts_keep_what_concerns_the_order_and_the_gifts() -> None:
    goods = line("BUNDLE", components=(Component("A", 2), Component("B", 1)))
    stock = {("w1", "A"): 5, ("w1", "GIFT"): 1, ("w2", "B"): 0, ("w9", "A"): 7, ("w1", "OTHER"): 9, ("w1", "PART"): 3}
    known = facts(
        stock,
        warehouse("w1"),
        warehouse("w2"),
        stale=frozenset({("w2", "A"), ("w1", "OTHER")}),
        backorder=frozenset({"B", "OTHER"}),
        planned_today={"w2": 4, "w9": 1},
        waived=frozenset({"hold_a"}),
        bundles={sku: Bundle(sku=sku, version=2, components=(("PART", 1),)) for sku in ("GIFT", "OTHER")},
    )
    _, back = thaw(json.loads(json.dumps(freeze(order(goods), known, {"GIFT"}))), network(known), known.sender)
    assert back.available == {("w1", "A"): 5, ("w1", "GIFT"): 1, ("w1", "PART"): 3}
    assert dict(back.bundles) == {"GIFT": known.bundles["GIFT"]}
    assert (back.stale, back.backorder) == (frozenset({("w2", "A")}), frozenset({"B"}))
    assert (dict(back.planned_today), set(back.waived)) == ({"w2": 4}, {"hold_a"})


def test_a_time_of_another_offset_is_shown_in_traces_as_it_was() -> None:
    there = datetime(2026, 11, 21, 16, 0, tzinfo=timezone(timedelta(hours=8)))
    back, _ = whole(order(placed_at=there), facts())
    assert back.placed_at.isoformat() == there.isoformat()


def network(known: Facts) -> Network:
    return thaw_network(json.loads(json.dumps(freeze_network(known.warehouses, "d"))))


def test_what_stands_where_is_read_from_what_was_stored_and_not_from_todays_fields() -> None:
    content, known = order(line("A"), line("B", components=(Component("C", 2),))), facts()
    told, shared = freeze(content, known), json.loads(json.dumps(freeze_network((), "d")))
    layout = shared["layout"]["O"]
    lines = next(n for n, entry in enumerate(layout) if entry[0] == "lines")
    told["O"] = [*told["O"][::-1], "x"]  # other places than ours, and a field that was removed since
    shared["layout"]["O"] = [*layout[::-1], "gone"]
    assert thaw(told, thaw_network(shared), known.sender) == whole(content, known)
    told["O"][len(layout) - 1 - lines] = [[1, 2]]
    with pytest.raises((KeyError, IndexError, TypeError, ValueError)):
        thaw(told, thaw_network(shared), known.sender)
    with pytest.raises((KeyError, IndexError, TypeError, ValueError)):
        thaw(told, Network((), "d"), known.sender)


def test_a_frozen_decision_keeps_every_effect() -> None:
    told = Decision(
        "v",
        holds=(Hold("hold_a", "1", "why"),),
        parts=(
            Part("w1", (PartLine(0, "A", 1),), "SF"),
            Part("w2", (PartLine(1, "B", 2),), "", cost=700, why="class cold", waits=True),
        ),
        tags=("t",),
        trace=(TraceStep("1", "hold", True, "saw"),),
        gifts=(Gift("2", "G", 1),),
        merging=Merging(30, "3"),
        not_before=NOW,
        matched=("1", "2"),
    )
    kept = json.loads(json.dumps(freeze_decision(told)))
    assert kept["parts"][0] == ["w1", "SF", [[0, "A", 1]], "", 0, False]
    assert kept["parts"][1][3:] == ["class cold", 700, True]
    assert kept["gifts"] == [{"rule": "2", "sku": "G", "quantity": 1}]
    assert effects_of(kept) == {name: value for name, value in kept.items() if name != "matched"}
    for each in fields(Decision):
        blank: Any = {"ruleset": "x", "merging": None, "not_before": None}.get(each.name, ())
        changed: Decision = replace(told, **{each.name: blank})
        assert freeze_decision(changed) != freeze_decision(told) or each.name in {"ruleset", "trace"}


def test_warehouses_and_senders_come_back_whole() -> None:
    place = WarehouseInfo(name="w", regions=("44",), carriers=("SF",), capacity=9, cut_off=960, suppliers=("a",))
    sender = Sender(account="a", channel="c", allowed_skus=frozenset({"A", "B"}), contract_from=NOW, credit_left=5)
    assert thaw_network(json.loads(json.dumps(freeze_network((place,), "x")))) == Network(
        (place,), "x", json.loads(json.dumps({"O": record._ORDER.layout, "F": record._FACTS.layout}))
    )
    assert thaw_sender(json.loads(json.dumps(freeze_sender(sender)))) == sender
