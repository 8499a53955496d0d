"""Gifts: goods that rules add to an order for nothing.

A gift is a line of the order whose external id is `gift:RULE:SKU`. `decide` says in `Decision.gifts` which gifts the order
has from now on; `add_gifts` makes the order's lines say so, for the planner and for whoever stores them: gifts the order
does not have yet are lines after all others, in the order of `gifts`; a stored gift line that is not among `gifts` is
cancelled unless it has left already, and opened again should its rule match again. So no line ever changes its place.
Rules of the phases hold, approve, gift and merge look at the order without its gifts: a gift never earns another one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from domain.decision import Gift, Hold, TraceStep
from domain.facts import Facts
from domain.order import Component, Line, Order

from .ranking import available
from .routing import build_demand, total_needs
from .ruleset import Rule

GIFT_SHORT = "gift_out_of_stock"
_PREFIX = "gift:"


def is_gift(line: Line) -> bool:
    """Whether a rule gave this line."""
    return line.external_id.startswith(_PREFIX)


def without_gifts(order: Order) -> Order:
    """The order as its source sent it; the same object when it has no gifts."""
    for line in order.lines:
        if line.external_id.startswith(_PREFIX):
            return replace(order, lines=tuple(line for line in order.lines if not is_gift(line)))
    return order


def choose_gifts(
    matched: Iterable[Rule], order: Order, facts: Facts, steps: list[TraceStep] | None
) -> tuple[tuple[Gift, ...], list[Hold]]:
    """The gifts `order` (with those it already has) has from now on, and holds for gifts that are short. What matched
    rules give is kept or added while goods of the order's own are still to be shipped; once all have been, gifts stay as
    they are, and when all were cancelled, only what has left stays. A gift that is short is left out: silently when its
    rule says `if_available` or a person has waived the hold, else with a hold."""
    stored = {line.external_id: line for line in order.lines if is_gift(line)}
    bare = without_gifts(order) if stored else order
    open_lines = [line for line in bare.lines if line.requires_shipping and line.state != "cancelled"]
    to_ship = any(line.state != "shipped" for line in open_lines)
    keeps_all = not to_ship and bool(open_lines)
    kept = [line for line in stored.values() if line.state == "shipped" or (keeps_all and line.state != "cancelled")]
    gifts = {line.external_id: _stored_gift(line) for line in kept}
    holds: list[Hold] = []
    needs = total_needs(build_demand(bare) or ())
    for rule in matched if to_ship else ():
        for sku, quantity in rule.gifts:
            line_id = f"{_PREFIX}{rule.id}:{sku}"
            if line_id in gifts:
                continue
            gift = Gift(rule.id, sku, stored[line_id].quantity if line_id in stored else quantity)
            short = _short(gift, facts, needs)
            if not short:
                gifts[line_id] = gift
            elif rule.if_available or GIFT_SHORT in facts.waived:
                _note(steps, rule, f"left out: {short}")
            else:
                holds.append(Hold(GIFT_SHORT, rule.id, short))
                _note(steps, rule, f"waits: {short}")
    places = {line_id: place for place, line_id in enumerate(stored)}
    ordered = sorted(gifts.items(), key=lambda entry: places.get(entry[0], len(places)))
    return tuple(gift for _, gift in ordered), holds


def add_gifts(order: Order, gifts: Sequence[Gift], facts: Facts) -> Order:
    """The order with exactly these gifts (see above); the same object when nothing changes."""
    wanted = {f"{_PREFIX}{gift.rule}:{gift.sku}": gift for gift in gifts}
    lines = [_settled(line, wanted) if is_gift(line) else line for line in order.lines]
    present = {line.external_id for line in order.lines}
    lines += [_line(line_id, gift, facts) for line_id, gift in wanted.items() if line_id not in present]
    if len(lines) == len(order.lines) and all(new is old for new, old in zip(lines, order.lines, strict=True)):
        return order
    return replace(order, lines=tuple(lines))


def _stored_gift(line: Line) -> Gift:
    sku = line.sku or line.external_sku
    return Gift(line.external_id[len(_PREFIX) : -len(sku) - 1], sku, line.quantity)


def _settled(line: Line, wanted: dict[str, Gift]) -> Line:
    if line.external_id in wanted:
        return replace(line, state="open") if line.state == "cancelled" else line
    return line if line.state in {"shipped", "cancelled"} else replace(line, state="cancelled")


def _line(line_id: str, gift: Gift, facts: Facts) -> Line:
    goods, bundle = facts.goods.get(gift.sku), facts.bundles.get(gift.sku)
    return Line(
        external_id=line_id,
        external_sku=gift.sku,
        quantity=gift.quantity,
        unit_price=0,
        amount=0,
        share=0,
        weight_grams=goods.weight_grams if goods else 0,
        sku=gift.sku,
        components=tuple(Component(sku, units) for sku, units in bundle.components) if bundle else (),
    )


def _short(gift: Gift, facts: Facts, needs: dict[str, int]) -> str:
    """What is missing for a gift besides what the order needs anyway ("": nothing, and then `needs` counts the gift)."""
    bundle = facts.bundles.get(gift.sku)
    parts = bundle.components if bundle else ((gift.sku, 1),)
    units = {sku: count * gift.quantity for sku, count in parts}
    for sku, wanted in units.items():
        have = sum(available(facts, one.name, sku) for one in facts.warehouses) - needs.get(sku, 0)
        if have < wanted and sku not in facts.backorder:
            return f"{max(have, 0)} of {wanted} {sku} available"
    for sku, wanted in units.items():
        needs[sku] = needs.get(sku, 0) + wanted
    return ""


def _note(steps: list[TraceStep] | None, rule: Rule, why: str) -> None:
    if steps is not None:
        steps.append(TraceStep(rule.id, "gift", False, why))
