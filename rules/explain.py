"""A decision explained: in lines of text, what was decided, then every rule and warehouse with the reason; and in full, every
condition of every rule, why an alternative was not taken, and the smallest change after which it would have been. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.decision import Decision, Part, TraceStep

from .alternatives import (
    Goal,
    Planned,
    Reason,
    holds_in,
    plan_of,
    rules_of,
    why_not_carrier,
    why_not_released,
    why_not_warehouse,
)
from .changes import Case
from .flips import Answer, find_flips
from .gifts import without_gifts
from .ruleset import PartScene, Rule
from .seen import Looking, Seen, decisive, look_at, looking_at

OFF = "switched off"
_BARE = frozenset({"hold", "approve", "gift", "merge"})


@dataclass(frozen=True, slots=True)
class RuleSeen:
    """One rule with all its conditions. `first` is the first condition that failed, or of a match the first that made it;
    `part` counts from 1 for a rule that was tested by part (0: once for the order)."""

    rule: str
    phase: str
    matched: bool
    first: Seen
    tree: Seen
    part: int = 0


@dataclass(frozen=True, slots=True)
class Alternative:
    """The alternative asked for: whether the decision has it already; if not, why not (for a rule: the first condition that
    failed), and what would have made the difference."""

    goal: Goal
    held: bool
    reason: Reason
    answer: Answer


def explain(decision: Decision) -> list[str]:
    """The decision in lines, its trace last; one line per rule looked at, `+` matched, `-` not."""
    lines = [f"ruleset {decision.ruleset}: {'released' if decision.released else 'not released'}"]
    lines += [
        f"hold {hold.code} by {hold.rule}" + (f": {hold.detail}" if hold.detail else "") for hold in decision.holds
    ]
    lines += [f"gift {gift.quantity} × {gift.sku} by {gift.rule}" for gift in decision.gifts]
    if decision.merging is not None:
        minutes, rule = decision.merging.window_minutes, decision.merging.rule
        lines.append(f"merges within {minutes} minutes by {rule}" if minutes else f"never merges by {rule}")
    lines += [_part(number, part) for number, part in enumerate(decision.parts, 1)]
    if not decision.parts:
        lines.append("no warehouse")
    if decision.not_before is not None:
        lines.append(f"not before {decision.not_before.isoformat()}")
    if decision.tags:
        lines.append(f"tags {', '.join(decision.tags)}")
    return lines + [_step(step) for step in decision.trace]


def why_not(decision: Decision, name: str) -> str:
    """Why a rule (by id) or a warehouse (by name) did not come into it, or what its match saw; "" if it is not in the
    trace."""
    wanted = {name, f"warehouse {name}"}
    return "; ".join(step.why for step in decision.trace if step.rule in wanted)


def _part(number: int, part: Part) -> str:
    units = ", ".join(f"line {line.line + 1}: {line.quantity} × {line.sku}" for line in part.lines)
    return f"part {number} from {part.warehouse} by {part.carrier or 'the warehouse’s own carrier'}: {units}"


def _step(step: TraceStep) -> str:
    return f"{'+' if step.matched else '-'} {step.phase} {step.rule}: {step.why}"


def look_at_rules(document: Mapping[str, Any], case: Case, decision: Decision) -> tuple[RuleSeen, ...]:
    """Every rule in the order of phases, with what each of its conditions saw. `document` is the checked JSON of the
    case's ruleset, `decision` what was decided by it."""
    using = looking_at(document, case.ruleset.routing.utc_offset)
    planned = plan_of(case, decision)
    written = {rule["id"]: rule for rule in document["rules"]}
    return tuple(
        seen for rule in rules_of(case.ruleset) for seen in _seen(rule, written[rule.id], case, planned, using)
    )


def _seen(rule: Rule, written: Mapping[str, Any], case: Case, planned: Planned, using: Looking) -> list[RuleSeen]:
    if not written.get("enabled", True):
        off = Seen("off", False, OFF)
        return [RuleSeen(rule.id, rule.phase, False, off, off)]
    if rule.by_part:
        found = []
        for number, view in enumerate(planned.views, 1):
            tree = look_at(written["when"], planned.full, PartScene(case.facts, view), using, by_part=True)
            found.append(RuleSeen(rule.id, rule.phase, tree.held, decisive(tree), tree, number))
        none = Seen("none", False, "there is no part to choose a carrier for")
        return found or [RuleSeen(rule.id, rule.phase, False, none, none)]
    order = without_gifts(case.order) if rule.phase in _BARE else planned.full
    tree = look_at(written["when"], order, case.facts, using)
    return [RuleSeen(rule.id, rule.phase, tree.held, decisive(tree), tree)]


def explain_alternative(document: Mapping[str, Any], case: Case, decision: Decision, goal: Goal) -> Alternative:
    """Why not, and what would have made the difference. `decision` was made with `case`, with its trace."""
    known = goal.kind != "rule" or any(rule["id"] == goal.name for rule in document["rules"])
    if known and holds_in(goal, decision):
        return Alternative(goal, True, Reason("holds", "that is what was decided"), Answer((), 0, True))
    using = looking_at(document, case.ruleset.routing.utc_offset)
    reason = _why_not(document, case, decision, goal)
    if reason.code == "unknown":
        return Alternative(goal, False, reason, Answer((), 0, True))
    return Alternative(goal, False, reason, find_flips(goal, case, decision, document, using))


def _why_not(document: Mapping[str, Any], case: Case, decision: Decision, goal: Goal) -> Reason:
    if goal.kind == "warehouse":
        return why_not_warehouse(goal.name, case, decision)
    if goal.kind == "carrier":
        return why_not_carrier(goal.name, case, decision)
    if goal.kind == "release":
        return why_not_released(case, decision)
    one = {**document, "rules": [rule for rule in document["rules"] if rule["id"] == goal.name]}
    if not one["rules"]:
        return Reason("unknown", f"the ruleset has no rule {goal.name}")
    asked = {rule.id: rule for rule in rules_of(case.ruleset)}[goal.name]
    using = looking_at(one, case.ruleset.routing.utc_offset)
    first = _seen(asked, one["rules"][0], case, plan_of(case, decision), using)[0].first
    where = f"line {first.line}: " if first.line else ""
    code = "switched_off" if first.form == "off" else "condition"
    return Reason(code, f"{where}{first.why}" or first.form)
