"""One thing about a decision that could have been otherwise: how it is said, how far it is from what was, and the input
with it changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from domain.facts import Facts, Goods, WarehouseInfo
from domain.order import Order

from .ruleset import Rule, Ruleset

FARTHEST = 1_000
_PHASES = ("holds", "approvals", "gifts", "merges", "splits", "routes", "carriers", "schedules", "tags")
_MONTH_MINUTES = 30 * 1440
_Apply = Callable[["Case"], "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """What a decision is made with."""

    order: Order
    facts: Facts
    ruleset: Ruleset


@dataclass(frozen=True, slots=True)
class Change:
    """`kind` is `value` (a field of the order or the facts), `goods`, `stock`, `warehouse`, `sender`, `waive`, `rule` or
    `routing`; `what` the field, `warehouse|sku`, hold code or rule; `line` counts from 1 (0: not of a line). `distance` is
    how far it is from what was: a number by its share of the larger one, 0 to FARTHEST; anything else FARTHEST."""

    kind: str
    what: str
    before: str
    after: str
    line: int = 0
    distance: int = FARTHEST
    apply: _Apply = field(compare=False, default=lambda case: case)

    @property
    def target(self) -> tuple[str, str, int]:
        """What it changes: two changes of the same target exclude one another."""
        return self.kind, self.what, self.line

    def told(self) -> dict[str, Any]:
        """As JSON values."""
        words = ("kind", "what", "before", "after", "line")
        return {name: getattr(self, name) for name in words}


def distance_of(before: Any, after: Any) -> int:
    """0 (the same) to FARTHEST; only numbers and times are nearer or farther."""
    if isinstance(before, datetime) and isinstance(after, datetime):
        minutes = min(abs(int((after - before).total_seconds())) // 60, _MONTH_MINUTES)
        return FARTHEST * minutes // _MONTH_MINUTES
    if type(before) is int and type(after) is int:
        return min(FARTHEST, FARTHEST * abs(after - before) // max(abs(before), abs(after), 1))
    return FARTHEST


# --- the input with something changed ---------------------------------------------------------------------------------


def with_order(case: Case, **values: Any) -> Case:
    return replace(case, order=replace(case.order, **values))


def with_amounts(case: Case, **values: Any) -> Case:
    return with_order(case, amounts=replace(case.order.amounts, **values))


def with_consignee(case: Case, **values: Any) -> Case:
    return with_order(case, consignee=replace(case.order.consignee, **values))


def with_facts(case: Case, **values: Any) -> Case:
    return replace(case, facts=replace(case.facts, **values))


def with_sender(case: Case, **values: Any) -> Case:
    return with_facts(case, sender=replace(case.facts.sender, **values))


def with_line(case: Case, number: int, **values: Any) -> Case:
    """`number` counts from 1."""
    lines = list(case.order.lines)
    lines[number - 1] = replace(lines[number - 1], **values)
    return with_order(case, lines=tuple(lines))


def with_goods(case: Case, sku: str, values: Mapping[str, Any]) -> Case:
    known = case.facts.goods
    return with_facts(case, goods={**known, sku: replace(known.get(sku, Goods(sku=sku)), **values)})


def with_stock(case: Case, stock: Mapping[tuple[str, str], int]) -> Case:
    facts = case.facts
    return with_facts(case, available={**facts.available, **stock}, stale=facts.stale.difference(stock))


def with_warehouse(case: Case, name: str, **values: Any) -> Case:
    return with_facts(
        case,
        warehouses=tuple(replace(one, **values) if one.name == name else one for one in case.facts.warehouses),
    )


def without_rule(case: Case, rule: str) -> Case:
    ruleset = case.ruleset
    left: dict[str, Any] = {phase: tuple(one for one in getattr(ruleset, phase) if one.id != rule) for phase in _PHASES}
    return replace(case, ruleset=replace(ruleset, **left))


# --- changes that every goal may try ----------------------------------------------------------------------------------


def switch_off(rule: Rule) -> Change:
    return Change("rule", rule.id, "on", "off", apply=lambda case: without_rule(case, rule.id))


def waive(code: str) -> Change:
    return Change(
        "waive", code, "held", "waived", apply=lambda case: with_facts(case, waived=case.facts.waived | {code})
    )


def stock_to(case: Case, warehouse: str, sku: str, units: int) -> Change:
    """So many units of one SKU at one place, by a fresh count."""
    place = (warehouse, sku)
    have, stale = case.facts.available.get(place, 0), place in case.facts.stale
    return Change(
        "stock",
        f"{warehouse}|{sku}",
        f"{have} (stale)" if stale else str(have),
        str(units),
        distance=distance_of(have, units),
        apply=lambda seen: with_stock(seen, {place: units}),
    )


def warehouse_to(warehouse: WarehouseInfo, before: str, after: str, what: str, value: Any) -> Change:
    """One thing an operator configures about a warehouse."""
    was = getattr(warehouse, what)
    return Change(
        "warehouse",
        f"{warehouse.name}.{what}",
        before,
        after,
        distance=distance_of(was, value),
        apply=lambda case: with_warehouse(case, warehouse.name, **{what: value}),
    )
