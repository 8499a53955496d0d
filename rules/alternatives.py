"""What people ask about a decision: a warehouse, a rule, a carrier or the release instead; whether a decision has it, and why
it has it not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from domain.decision import Decision, Part
from domain.errors import RefusedError
from domain.facts import Facts, WarehouseInfo
from domain.order import Order

from .changes import Case
from .combine import combine_route, combine_split, matching
from .decide import NO_WAREHOUSE, decide
from .gifts import add_gifts
from .ranking import Ranked, handles, rank, usable, why_late
from .rates import cheapest
from .regions import NEARNESS
from .routing import build_demand, plan_parts, total_needs
from .ruleset import PartView, Route, Rule, Ruleset, Split

Kind = Literal["warehouse", "rule", "carrier", "release"]
NAMED: tuple[Kind, ...] = ("warehouse", "rule", "carrier")
_BARE = frozenset({"hold", "approve", "gift", "merge"})
_PHASES = ("holds", "approvals", "gifts", "merges", "splits", "routes", "carriers", "schedules", "tags")
# The phases a goal depends on besides gifts, splits and routes, which any plan follows from.
_NEEDED: dict[Kind, tuple[str, ...]] = {
    "warehouse": ("gifts", "splits", "routes"),
    "carrier": ("gifts", "splits", "routes", "carriers"),
    "release": ("holds", "approvals", "gifts", "splits", "routes"),
    "rule": (),
}


@dataclass(frozen=True, slots=True)
class Goal:
    """The alternative asked for: `name` is the warehouse, the rule's id or the carrier; "" for the release."""

    kind: Kind
    name: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not: a stable `code`, a sentence, and, where two figures were compared, that of what was chosen (`chosen`) and
    that of what was asked for (`asked`)."""

    code: str
    detail: str
    chosen: str = ""
    asked: str = ""


class Planned(NamedTuple):
    """A decision's plan with what routing went by."""

    full: Order
    route: Route | None
    split: Split | None
    views: tuple[PartView, ...]


def read_goal(text: str) -> Goal:
    """`warehouse=sh-02`, `rule=ID`, `carrier=SF` or `release`. RefusedError `alternative`."""
    kind, sign, name = text.strip().partition("=")
    name = name.strip()
    if kind == "release" and not sign:
        return Goal("release")
    for each in NAMED:
        if kind.strip() == each and 1 <= len(name) <= 200:
            return Goal(each, name)
    raise RefusedError("alternative", "one of warehouse=NAME, rule=ID, carrier=NAME, release")


def rules_of(ruleset: Ruleset) -> list[Rule]:
    """Every rule, in the order of phases."""
    return [rule for phase in _PHASES for rule in getattr(ruleset, phase)]


def holds_in(goal: Goal, decision: Decision) -> bool:
    """Whether the decision (with its trace, for a rule) has what is asked for."""
    if goal.kind == "warehouse":
        return any(part.warehouse == goal.name for part in decision.parts)
    if goal.kind == "carrier":
        return any(part.carrier == goal.name for part in decision.parts)
    if goal.kind == "release":
        return decision.released
    steps = [step for step in decision.trace if step.rule == goal.name]
    # The first step is the rule's own: a hold taken back, and a warehouse or part of the same name, come later.
    return any(step.matched for step in (steps if steps and steps[0].phase == "carrier" else steps[:1]))


def narrow(goal: Goal, ruleset: Ruleset) -> Ruleset:
    """The ruleset without the rules that cannot matter for the goal: `holds_in` says the same with it."""
    kept: dict[str, Any] = {}
    asked = next((rule for rule in rules_of(ruleset) if rule.id == goal.name), None) if goal.kind == "rule" else None
    needed = _NEEDED[goal.kind]
    if asked is not None:
        needed = () if asked.phase in _BARE else ("gifts", "splits", "routes") if asked.by_part else ("gifts",)
    for phase in _PHASES:
        rules: tuple[Rule, ...] = getattr(ruleset, phase)
        kept[phase] = rules if phase in needed else tuple(rule for rule in rules if rule is asked)
    return replace(ruleset, **kept)


def reaches(goal: Goal, case: Case) -> bool:
    """Whether a decision made with this input has what is asked for."""
    return holds_in(goal, decide(case.order, case.facts, case.ruleset, trace=goal.kind == "rule"))


def plan_of(case: Case, decision: Decision) -> Planned:
    """What routing went by, and each part as carrier rules saw it, made again."""
    full = add_gifts(case.order, decision.gifts, case.facts)
    split = combine_split(matching(case.ruleset.splits, full, case.facts, None))
    route = combine_route(matching(case.ruleset.routes, full, case.facts, None))
    _, views = _planned(case, full, case.facts, route, split)
    return Planned(full, route, split, views)


def _planned(
    case: Case, full: Order, facts: Facts, route: Route | None, split: Split | None
) -> tuple[tuple[Part, ...], tuple[PartView, ...]]:
    views: list[PartView] = []

    def note(view: PartView) -> tuple[str, ...]:
        views.append(view)
        return ()

    return plan_parts(full, facts, case.ruleset.routing, route, split, note).parts, tuple(views)


# --- why not this warehouse -------------------------------------------------------------------------------------------


def why_not_warehouse(name: str, case: Case, decision: Decision) -> Reason:
    """The first reason, in the order in which routing comes to them."""
    planned = plan_of(case, decision)
    full, facts = planned.full, case.facts
    demand = build_demand(full)
    if all(one.name != name for one in facts.warehouses):
        return Reason("unknown", f"there was no warehouse {name} when it was decided")
    if not demand:
        return Reason("nothing_to_ship", "there is nothing to ship, or a line has no SKU of ours yet")
    ranked, barred, _ = rank(full, facts, planned.route)
    for other, why in barred:
        if other == name:
            return Reason("barred", why)
    one = next(each for each in ranked if each.name == name)
    needs = total_needs(demand)
    refused = [sku for sku in needs if not handles(one.warehouse, sku, facts)]
    if refused and len(refused) == len(needs):
        return Reason("supplier", f"ships nothing of the supplier of {', '.join(refused[:5])}")
    return _ranked_reason(one, ranked, needs, case, planned, decision)


def lacking(warehouse: WarehouseInfo, needs: dict[str, int], facts: Facts) -> list[tuple[str, int, int]]:
    """SKU, units there, units needed, for what is short at this warehouse."""
    here = usable(warehouse, needs, facts)
    return [(sku, here[sku], units) for sku, units in needs.items() if here[sku] < units]


def _ranked_reason(
    one: Ranked, ranked: Sequence[Ranked], needs: dict[str, int], case: Case, planned: Planned, decision: Decision
) -> Reason:
    chosen = list(dict.fromkeys(part.warehouse for part in decision.parts))
    short = lacking(one.warehouse, needs, case.facts)
    told = ", ".join(_short(one, sku, have, units, case.facts) for sku, have, units in short[:5])
    if not chosen:
        if short:
            return Reason("stock", f"lacks {told}")
        return Reason(
            "no_plan",
            next((hold.detail for hold in decision.holds if hold.code == NO_WAREHOUSE), "no plan was possible"),
        )
    best = _forced(one.name, chosen, case, planned)
    if best is None:
        if not short:
            return Reason("parts", "its goods would take more parcels than the order may have")
        if len(chosen) == 1:
            return Reason("stock", f"lacks {told}; {chosen[0]} has everything alone")
        return Reason("stock", f"lacks {told}; not even in the place of one of {', '.join(chosen)}")
    return _compared(one, [each for each in ranked if each.name in chosen], case, planned.views, *best, ranked)


def _short(one: Ranked, sku: str, have: int, units: int, facts: Facts) -> str:
    why = " (stale)" if (one.name, sku) in facts.stale else ""
    why = why or ("" if handles(one.warehouse, sku, facts) else " (not of its supplier)")
    return f"{sku}: {have} of {units}{why}"


_MOST_TRIED = 8


def _forced(
    name: str, chosen: Sequence[str], case: Case, planned: Planned
) -> tuple[tuple[str, ...], tuple[PartView, ...]] | None:
    """The first plan in which this warehouse stands in the place of one of the chosen: its warehouses and its parts."""
    for left in chosen[:_MOST_TRIED]:
        allowed = frozenset({name, *(each for each in chosen if each != left)})
        facts = replace(case.facts, warehouses=tuple(one for one in case.facts.warehouses if one.name in allowed))
        parts, views = _planned(case, planned.full, facts, planned.route, planned.split)
        used = tuple(dict.fromkeys(part.warehouse for part in parts))
        if name in used and len(used) <= len(chosen):
            return used, views
    return None


def _compared(
    one: Ranked,
    winners: Sequence[Ranked],
    case: Case,
    views: Sequence[PartView],
    used: Sequence[str],
    other_views: Sequence[PartView],
    ranked: Sequence[Ranked],
) -> Reason:
    """Which criterion decided between the plan and the one with this warehouse, in the order of routing's key."""
    others = [each for each in ranked if each.name in used]
    late, other_late = ([each.late for each in group] for group in (winners, others))
    if late != other_late:
        return Reason("late", f"ships tomorrow: {why_late(one.warehouse, case.facts)}", "today", "tomorrow")
    wish, other_wish = ([each.preference for each in group] for group in (winners, others))
    if wish != other_wish:
        return Reason("route_rule", "the route rule prefers others", *_places(wish, other_wish))
    (unknown, cost), (other_unknown, other_cost) = _cost(views, case), _cost(other_views, case)
    if unknown != other_unknown:
        return Reason("cost", "no rate fits one of its parcels", str(cost), "unknown")
    if cost != other_cost:
        return Reason("cost", f"its plan costs more: {other_cost} instead of {cost}", str(cost), str(other_cost))
    if len(views) != len(other_views):
        return Reason("parcels", "its plan takes more parcels", str(len(views)), str(len(other_views)))
    return _nearer(one, next((each for each in winners if each.name not in used), winners[0]))


def _places(wish: Sequence[int], other: Sequence[int]) -> tuple[str, str]:
    return ", ".join(str(n + 1) for n in wish), ", ".join(str(n + 1) for n in other)


def _nearer(one: Ranked, winner: Ranked) -> Reason:
    if winner.distance != one.distance:
        near, far = NEARNESS[winner.distance], NEARNESS[one.distance]
        return Reason("nearness", f"{winner.name} is nearer: {near}, {one.name}: {far}", near, far)
    if winner.priority != one.priority:
        first, second = str(winner.priority), str(one.priority)
        return Reason("priority", f"{winner.name} has priority {first} before {second}", first, second)
    return Reason("name", "nothing else decides between them: the first name", winner.name, one.name)


def _cost(views: Sequence[PartView], case: Case) -> tuple[bool, int]:
    """Whether some parcel has no rate, and what all cost, as the choice of warehouses counts it."""
    rates, unknown, cost = case.ruleset.routing.rates, False, 0
    places: dict[str, Any] = {one.name: one for one in case.facts.warehouses}
    for view in views:
        cost += places[view.warehouse].parcel_cost
        if rates:
            best = cheapest(rates, places[view.warehouse], case.order.consignee, view.weight_grams)
            unknown, cost = unknown or best is None, cost + (best[0] if best else 0)
    return unknown, cost


# --- why not this carrier, and why no release -------------------------------------------------------------------------


def why_not_carrier(name: str, case: Case, decision: Decision) -> Reason:
    """What spoke against a carrier: no part, a warehouse that does not work with it, or somebody wished for another."""
    if not decision.parts:
        return Reason("no_plan", "there is no part to choose a carrier for")
    places = {one.name: one for one in case.facts.warehouses}
    part = decision.parts[0]
    declared = places[part.warehouse].carriers
    if declared and name not in declared:
        works = ", ".join(declared[:5])
        return Reason("carrier_unknown", f"{part.warehouse} does not work with it", works, name)
    wishes = [step.rule for step in decision.trace if step.matched and step.phase == "carrier"]
    by = f"rules {', '.join(dict.fromkeys(wishes))}" if wishes else "no rule; the ruleset’s own choice"
    return Reason("carrier_order", f"{part.carrier or 'the warehouse’s own'} comes first, by {by}", part.carrier, name)


def why_not_released(case: Case, decision: Decision) -> Reason:
    """The first hold, or what stock is short everywhere."""
    if decision.holds:
        hold = decision.holds[0]
        return Reason("hold", f"{hold.code} by {hold.rule}" + (f": {hold.detail}" if hold.detail else ""))
    demand = build_demand(plan_of(case, decision).full)
    if not demand:
        return Reason("nothing_to_ship", "there is nothing to ship, or a line has no SKU of ours yet")
    needs = total_needs(demand)
    for sku, units in needs.items():
        have = sum(usable(one, (sku,), case.facts)[sku] for one in case.facts.warehouses)
        if have < units:
            return Reason("stock", f"all warehouses together have {have} of {units} {sku}", str(have), str(units))
    return Reason("no_plan", "no warehouse could be found")
