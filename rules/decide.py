"""Order + facts + ruleset → decision, as a pure function: the same input gives the same decision, at any time.

How effects combine (design.md §3), phase by phase in this order:
- hold: all that match add up, and any of them stops the release; the route is planned all the same, so that people see it.
  A hold whose code a person has waived for this order does not stop it again.
- route: the first that matches decides the preference; without one the nearest warehouse with stock (routing.py).
- carrier: the first that matches and that the warehouse works with; else the ruleset's default for the warehouse, else
  the first default carrier the warehouse declares, else "" (the warehouse's choice).
- tag: all that match add up, each once, in order."""

from __future__ import annotations

from collections.abc import Sequence

from domain.decision import Decision, Hold, TraceStep
from domain.facts import Facts
from domain.order import Order

from .routing import plan_parts
from .ruleset import Rule, Ruleset, Split

NO_WAREHOUSE = "no_warehouse"
_WHOLE = Split()


def decide(order: Order, facts: Facts, ruleset: Ruleset, *, trace: bool = True) -> Decision:
    """Decide about one checked order. Without `trace` the decision is the same and its trace empty. Never raises for
    any order the mapping lets through."""
    steps: list[TraceStep] | None = [] if trace else None
    holds = _holds(ruleset.holds, order, facts, steps)
    routes = _matching(ruleset.routes, order, facts, steps)
    route = routes[0].route if routes else None
    carriers = tuple(name for rule in _matching(ruleset.carriers, order, facts, steps) for name in rule.carriers)
    wanted = (lambda _: carriers) if carriers else None
    plan = plan_parts(order, facts, ruleset.routing, route, _WHOLE, wanted, trace=trace)
    tags = [tag for rule in _matching(ruleset.tags, order, facts, steps) for tag in rule.tags]
    if plan.failure:
        holds.append(Hold(NO_WAREHOUSE, "routing", plan.failure))
    return Decision(
        ruleset=ruleset.version,
        holds=tuple(holds),
        parts=plan.parts,
        tags=tuple(dict.fromkeys(tags)) if tags else (),
        trace=(*steps, *plan.trace) if steps is not None else (),
    )


def _holds(rules: Sequence[Rule], order: Order, facts: Facts, steps: list[TraceStep] | None) -> list[Hold]:
    matching = _matching(rules, order, facts, steps)
    holds = [rule.hold for rule in matching if rule.hold is not None]
    if not facts.waived or not holds:
        return holds
    waived = [hold for hold in holds if hold.code in facts.waived]
    if steps is not None:
        steps.extend(TraceStep(hold.rule, "hold", False, f"{hold.code} was waived by a person") for hold in waived)
    return [hold for hold in holds if hold.code not in facts.waived]


def _matching(rules: Sequence[Rule], order: Order, facts: Facts, steps: list[TraceStep] | None) -> list[Rule]:
    if steps is None:
        return [rule for rule in rules if rule.test(order, facts)] if rules else []
    looked = [rule.step(order, facts) for rule in rules]
    steps += looked
    return [rule for rule, step in zip(rules, looked, strict=True) if step.matched]
