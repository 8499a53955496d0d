"""What a rule says of an order in a trace: kept from order to order, it is what is worked out anew each time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta, timezone
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decision import TraceStep
from domain.facts import Facts
from domain.order import Amounts, Consignee, Order
from rules.alternatives import rules_of
from rules.compiler import compile_tree
from rules.language import load
from rules.leaves import MAX_KEPT, Given
from rules.ruleset import PartScene, PartView
from tests.rules.samples import NOW, document, facts, order, rule
from tests.rules.test_properties import known, orders, ruleset_documents

LIMIT = 400
PLACES = (("CN", "440305"), ("US", "440305"), ("CN", ""), ("", "440305"))
PART = PartView("w1", 2, 900, 2000, 12900, frozenset({"cold"}), "")


def plainly(tree: Mapping[str, Any], subject: Any, facts: Any, using: Given) -> tuple[bool, str]:
    """The words of a tree, group by group and line by line; of one test what it says when nothing is kept."""
    if "field" in tree or "count" in tree or "sum" in tree:
        return compile_tree(tree, using).look(subject, facts)
    ((form, inner),) = tree.items()
    if form == "not":
        met, why = plainly(inner, subject, facts, using)
        return not met, f"not ({why})"
    if form in {"any_line", "all_lines"}:
        return _by_line(form, inner, subject, facts, using)
    seen = [plainly(each, subject, facts, using) for each in inner]
    wanted = form == "any"
    for met, why in seen:
        if met is wanted:
            return met, why
    return _told(not wanted, seen, form)


def _told(held: bool, seen: list[tuple[bool, str]], form: str) -> tuple[bool, str]:
    if len(seen) == 1:
        return seen[0]
    text = " and ".join(why for _, why in seen[:6]) or ("always" if form == "all" else "")
    return held, text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"


def _by_line(form: str, inner: Mapping[str, Any], subject: Order, facts: Any, using: Given) -> tuple[bool, str]:
    wanted = form == "any_line"
    live = [(n, line) for n, line in enumerate(subject.lines, 1) if line.state != "cancelled"]
    for n, line in live:
        met, why = plainly(inner, line, facts, using)
        if met is wanted:
            return met, f"line {n}: {why}"
    if not live:
        return False, "no lines"
    n, first = live[0]
    return not wanted, f"{'no' if wanted else 'every'} line; line {n}: {plainly(inner, first, facts, using)[1]}"


@settings(max_examples=60, deadline=None)
@given(st.lists(orders, min_size=1, max_size=3), st.lists(known, min_size=1, max_size=2), ruleset_documents())
def test_a_step_says_what_is_worked_out_anew(asked: list[Order], seen: list[Facts], written: dict[str, Any]) -> None:
    trees = {each["id"]: each["when"] for each in written["rules"]}
    clock = timezone(timedelta(minutes=written["routing"]["utc_offset"]))
    for each in rules_of(load(written)):
        for one, of in list(product(asked, seen)) * 2:  # the second time by what was kept
            told = PartScene(of, PART) if each.by_part else of
            met, why = plainly(trees[each.id], one, told, Given({}, clock, each.by_part))
            assert each.step(one, told) == TraceStep(each.id, each.phase, met, why)
            assert each.test(one, told) is met


def test_a_step_is_right_when_more_was_seen_than_is_kept() -> None:
    tests = [
        {"field": "amounts.paid", "op": "ge", "value": 300},
        {"field": "order.payment", "op": "eq", "value": "paid"},
    ]
    rules = load(document(*[rule(when, id=str(n)) for n, when in enumerate([tests[0], {"all": tests}])]))
    for paid in [*range(MAX_KEPT + 50), *range(MAX_KEPT + 50)]:
        alone, both = (each.step(order(amounts=Amounts(goods=paid, paid=paid)), facts()) for each in rules.tags)
        told = f"amounts.paid ge 300: saw {paid}"
        assert alone == TraceStep("0", "tag", paid >= 300, told)
        assert both.why == (f"{told} and order.payment eq paid: saw 'paid'" if paid >= 300 else told)


def test_each_moment_is_told_by_the_clock_and_each_place_by_its_country() -> None:
    day, place = (
        {"field": "calendar.weekday", "op": "eq", "value": 6},
        {"field": "consignee.region", "op": "in", "value": ["44", "US"]},
    )
    rules = load(document(rule(day, id="day"), rule(place, id="place")))
    days = [facts(now=NOW + timedelta(days=n)) for n in (0, 1, 0)]
    assert [rules.tags[0].step(order(), of).why[-5:] for of in days] == ["saw 6", "saw 7", "saw 6"]
    places = [Consignee(name=str(n), country=country, region=region) for n, (country, region) in enumerate(PLACES)]
    said = [rules.tags[1].step(order(consignee=one), facts()) for one in places]
    assert [(one.matched, one.why.rpartition("saw ")[2]) for one in said] == [
        (True, "CN 440305"),
        (True, "US 440305"),
        (False, "CN unresolved"),
        (True, "CN 440305"),
    ]
