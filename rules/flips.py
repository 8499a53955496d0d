"""The smallest change that would have made the difference: single changes first, then pairs, then all that is known to be
needed at once, thinned. Every answer was decided again with the whole ruleset; within the limit of tries, or none.

Smaller is: fewer changes, then the lesser sum of distances (changes.py), then the order in which candidates are found. Work is
counted in conditions and warehouses looked at, never by a clock, so the same question has the same answer everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from domain.decision import Decision

from .alternatives import Goal, holds_in, lacking, narrow, plan_of, reaches, rules_of, why_not_warehouse
from .boundaries import changes_of_tree
from .changes import Case, Change, stock_to, switch_off, waive, warehouse_to, with_facts, with_sender
from .compiler import speaks_of_parts
from .decide import NO_WAREHOUSE, decide
from .ranking import CLOSED, why_late
from .routing import build_demand, total_needs
from .ruleset import Ruleset
from .seen import Looking

MOST_TRIES = 2_000
MOST_CANDIDATES = 400
MOST_ANSWERS = 5
_PAIRED = 60
_PARTS = 8
_MOST_TOGETHER = 16
# What may be looked at altogether: conditions, rates and warehouses of one try, added up over all tries.
_WORK = 500_000
_OF_ANY_TRY = 100
_OF_PACKING = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """Changes that together make the difference, the smallest first; empty when none was found within `tries`. `whole` says
    that every candidate and every pair was tried."""

    found: tuple[tuple[Change, ...], ...]
    tries: int
    whole: bool


@dataclass(slots=True)
class _Search:
    goal: Goal
    case: Case
    narrowed: Case
    most: int
    tries: int = 0
    found: list[tuple[Change, ...]] = field(default_factory=list)

    def reached_by(self, changes: Iterable[Change]) -> bool:
        """Whether the goal is reached with these changes, by the rules that matter and then by all."""
        if self.tries >= self.most:
            return False
        self.tries += 1
        changes = tuple(changes)
        if not reaches(self.goal, _changed(self.narrowed, changes)):
            return False
        whole = _changed(self.case, changes)
        return holds_in(self.goal, decide(whole.order, whole.facts, whole.ruleset))


def _changed(case: Case, changes: Iterable[Change]) -> Case:
    for change in changes:
        case = change.apply(case)
    return case


def find_flips(
    goal: Goal, case: Case, decision: Decision, document: Mapping[str, Any], using: Looking, most: int = MOST_TRIES
) -> Answer:
    """The smallest changes found after which `decide` has what `goal` asks for. `decision` is the one made with `case`."""
    narrowed = narrow(goal, case.ruleset)
    trees = {rule["id"]: rule["when"] for rule in document["rules"] if rule.get("enabled", True)}
    most = min(most, max(5, _WORK // _work_of(case, narrowed, trees)))
    search = _Search(goal, case, replace(case, ruleset=narrowed), most)
    needed = tuple(islice(_needed(goal, case, decision), MOST_CANDIDATES))
    singles = _sorted(chain(needed, _candidates(goal, case, narrowed, decision, trees, using)))
    for change in singles:
        if len(search.found) < MOST_ANSWERS and search.reached_by((change,)):
            search.found.append((change,))
    if not search.found:
        _try_pairs(search, singles)
    if not search.found:
        _try_together(search, needed, case, trees, using)
    return Answer(tuple(search.found), search.tries, search.tries < search.most)


def _sorted(changes: Iterable[Change]) -> list[Change]:
    """The first MOST_CANDIDATES, each once, the nearest first; of equals the first found."""
    found: dict[tuple[Any, ...], Change] = {}
    for change in islice(changes, 10 * MOST_CANDIDATES):
        found.setdefault((*change.target, change.before, change.after, change.distance), change)
        if len(found) == MOST_CANDIDATES:
            break
    return sorted(found.values(), key=lambda change: change.distance)


def _try_pairs(search: _Search, singles: Sequence[Change]) -> None:
    some = singles[:_PAIRED]
    pairs = [(one, other) for n, one in enumerate(some) for other in some[n + 1 :] if one.target != other.target]
    pairs.sort(key=lambda pair: pair[0].distance + pair[1].distance)
    for pair in pairs:
        if search.tries >= search.most:
            return
        if search.reached_by(pair):
            search.found.append(pair)
            return


def _try_together(
    search: _Search, needed: Sequence[Change], case: Case, trees: Mapping[str, Any], using: Looking
) -> None:
    """All that is known to be needed at once; then without each change that turns out not to be."""
    search.most += 2 * _MOST_TOGETHER
    goal = search.goal
    together = _once(needed)
    if goal.kind == "rule" and goal.name in trees:
        together = _for_tree(trees[goal.name], case, using)
    if not 2 < len(together) <= _MOST_TOGETHER or not search.reached_by(together):
        return
    for change in list(together):
        left = tuple(one for one in together if one is not change)
        if search.reached_by(left):
            together = left
    search.found.append(together)


def _once(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple({change.target: change for change in reversed(list(changes))}.values())


def _for_tree(tree: Mapping[str, Any], case: Case, using: Looking) -> tuple[Change, ...]:
    """For each failing part of an `all`: the nearest change after which that part holds."""
    found: list[Change] = []
    for part in _failing(tree, case, using)[: 2 * _MOST_TOGETHER]:
        test = using.condition(part).test
        now = _changed(case, found)
        near = sorted(islice(changes_of_tree(part, now, using), MOST_CANDIDATES), key=lambda each: each.distance)
        found += [each for each in near if _holds(test, each.apply(now))][:1]
    return tuple(found)


def _failing(tree: Mapping[str, Any], case: Case, using: Looking) -> list[Mapping[str, Any]]:
    """The parts of an `all` that fail; of anything else, and of tests of parts, which are not looked at here, none."""
    if set(tree) != {"all"}:
        return []
    parts: list[Mapping[str, Any]] = tree["all"]
    return [part for part in parts if not speaks_of_parts(part) and not _holds(using.condition(part).test, case)]


def _holds(test: Any, case: Case) -> bool:
    return bool(test(case.order, case.facts))


# --- how much one try costs -------------------------------------------------------------------------------------------


def _work_of(case: Case, ruleset: Ruleset, trees: Mapping[str, Any]) -> int:
    """Conditions, rates and warehouses that one try looks at, about."""
    lines = 1 + len(case.order.lines)
    routing = ruleset.routing
    conditions = sum(_size(trees[rule.id], lines) for rule in rules_of(ruleset) if rule.id in trees)
    places = len(case.facts.warehouses)
    packing = _OF_PACKING if any(_packs(rule.split) for rule in ruleset.splits) else 0
    return _OF_ANY_TRY + conditions + places * (lines + len(routing.rates)) + packing


def _packs(split: Any) -> bool:
    return split is not None and any((split.max_value, split.max_weight_grams, split.max_volume_ml))


def _size(tree: Any, lines: int) -> int:
    size, stack = 0, [(tree, 1)]
    while stack:
        node, times = stack.pop()
        if isinstance(node, list):
            stack += [(one, times) for one in node]
        elif isinstance(node, dict):
            size += times
            for key, inner in node.items():
                if key in {"all", "any", "not", "any_line", "all_lines", "count", "where"}:
                    stack.append((inner, times if key in {"all", "any", "not"} else lines))
    return size


# --- candidates -------------------------------------------------------------------------------------------------------


def _candidates(
    goal: Goal, case: Case, ruleset: Ruleset, decision: Decision, trees: Mapping[str, Any], using: Looking
) -> Iterator[Change]:
    """From every rule that matters: off when it matched, and the values at which its tests turn."""
    matched = {step.rule for step in decision.trace if step.matched}
    for rule in rules_of(ruleset):
        if rule.id in matched and rule.id != goal.name:
            yield switch_off(rule)
    if goal.kind == "rule" and goal.name in trees:
        for part in _failing(trees[goal.name], case, using):
            yield from changes_of_tree(part, case, using)
    for rule in sorted(rules_of(ruleset), key=lambda rule: (rule.id != goal.name, rule.id not in matched)):
        if rule.id in trees:
            yield from changes_of_tree(trees[rule.id], case, using)


def _needed(goal: Goal, case: Case, decision: Decision) -> Iterator[Change]:
    """What stands against the goal besides the tests of rules."""
    if goal.kind == "release":
        for code in dict.fromkeys(hold.code for hold in decision.holds if hold.code != NO_WAREHOUSE):
            yield waive(code)
    if goal.kind in {"release", "warehouse"}:
        yield from _of_routing(goal, case, decision)
    if goal.kind == "carrier":
        places = {one.name: one for one in case.facts.warehouses}
        for part in decision.parts:
            place = places[part.warehouse]
            carriers = (goal.name, *(name for name in place.carriers if name != goal.name))
            if place.carriers[:1] != (goal.name,):
                yield warehouse_to(place, ", ".join(place.carriers), ", ".join(carriers), "carriers", carriers)


def _of_routing(goal: Goal, case: Case, decision: Decision) -> Iterator[Change]:
    planned = plan_of(case, decision)
    needs = total_needs(build_demand(planned.full) or ())
    facts = case.facts
    allowed, names = facts.sender.allowed_warehouses, {goal.name} if goal.kind == "warehouse" else set()
    if allowed is not None and not names <= allowed:
        yield replace(
            Change("sender", "allowed_warehouses", f"without {goal.name}", f"with {goal.name}"),
            apply=lambda seen: with_sender(seen, allowed_warehouses=allowed | names),
        )
    for one in facts.warehouses[:20]:
        if goal.kind == "release" or one.name == goal.name:
            for sku, _, units in lacking(one, needs, facts):
                yield stock_to(case, one.name, sku, units)
            yield from _of_place(one, case, goal, needs)
        elif any(part.warehouse == one.name for part in decision.parts):
            for sku in needs:
                if facts.available.get((one.name, sku), 0) >= needs[sku]:
                    yield stock_to(case, one.name, sku, needs[sku] - 1)
    if goal.kind == "warehouse":
        yield from _of_cost(goal, case, decision)
    routing = case.ruleset.routing
    if not decision.parts and routing.max_parts < _PARTS:
        more = replace(routing, allow_split=True, max_parts=routing.max_parts + 1)
        yield replace(
            Change("routing", "max_parts", str(routing.max_parts), str(more.max_parts)),
            apply=lambda seen: replace(seen, ruleset=replace(seen.ruleset, routing=more)),
        )


def _of_place(one: Any, case: Case, goal: Goal, needs: Mapping[str, int]) -> Iterator[Change]:
    """What an operator could have configured about a warehouse so that it ships this order, or is the first to."""
    to, facts = case.order.consignee, case.facts
    where = to.region or to.country
    if one.regions is not None and where:
        yield warehouse_to(one, f"without {where}", f"with {where}", "regions", (*one.regions, where))
    if to.masked and not one.accepts_tokens:
        yield warehouse_to(one, "no", "yes", "accepts_tokens", True)
    if one.suppliers is not None:
        owners = sorted({facts.goods[sku].supplier if sku in facts.goods else "" for sku in needs} - {*one.suppliers})
        if owners:
            told = ", ".join(owners) or "ours"
            yield warehouse_to(one, f"without {told}", f"with {told}", "suppliers", (*one.suppliers, *owners))
    if goal.kind != "warehouse":
        return
    if late := why_late(one, facts):
        if late == CLOSED:
            yield warehouse_to(one, "past its cut-off", "none", "cut_off", None)
        else:
            planned = facts.planned_today.get(one.name, 0)
            yield warehouse_to(one, str(one.capacity), str(planned + 1), "capacity", planned + 1)
    first = min(other.priority for other in facts.warehouses) - 1
    yield warehouse_to(one, str(one.priority), str(first), "priority", first)
    for other in facts.warehouses[:20]:
        if other.name != one.name:
            yield _away(other.name)


def _away(name: str) -> Change:
    def put(case: Case) -> Case:
        return with_facts(case, warehouses=tuple(one for one in case.facts.warehouses if one.name != name))

    return Change("warehouse", name, "there", "away", apply=put)


def _of_cost(goal: Goal, case: Case, decision: Decision) -> Iterator[Change]:
    """When cost decided: what a parcel would have to cost, there or at the chosen places, for it to decide otherwise."""
    reason = why_not_warehouse(goal.name, case, decision)
    if reason.code != "cost" or not (reason.chosen.isdecimal() and reason.asked.isdecimal()):
        return
    chosen = {part.warehouse for part in decision.parts}
    for more in range(int(reason.asked) - int(reason.chosen), int(reason.asked) - int(reason.chosen) + 2):
        for one in case.facts.warehouses:
            cost = one.parcel_cost - more if one.name == goal.name else one.parcel_cost + more
            if cost >= 0 and one.name in {goal.name, *chosen}:
                yield warehouse_to(one, str(one.parcel_cost), str(cost), "parcel_cost", cost)
