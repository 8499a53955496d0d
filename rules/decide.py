"""Order + facts + ruleset → decision, as a pure function: the same input gives the same decision, at any time.

How effects combine, phase by phase in this order (docs/rules.md has it for operators):
- hold: all that match add up, and any of them stops the release; the route is planned all the same, so that people see it.
- approve: every stage that matches is a hold of its own, `approve_STAGE`; a rule that waives takes back holds of the phase
  before (automatic review). A hold whose code a person has waived for this order does not stop it again.
- gift: all that match add up, each gift once (gifts.py).
- merge: the first that matches; an order paid on delivery never merges.
- split: all that match combine, the tightest limit counts.
- route: the first that matches decides the preference, warehouses to avoid add up.
- carrier: all that match a part, in order; the planner takes the first its warehouse works with (rates.py).
- schedule: the latest moment of all that match.
- tag: all that match add up, each once, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.decision import Decision, Hold, TraceStep
from domain.facts import Facts
from domain.order import Order
from domain.values import maker

from .combine import CarrierChoice, combine_holds, combine_merging, combine_route, combine_split, matching
from .gifts import add_gifts, choose_gifts, without_gifts
from .routing import plan_parts
from .ruleset import Phase, Rule, Ruleset
from .schedule import earliest
from .screen import rules_to_test

NO_WAREHOUSE = "no_warehouse"
_made = maker(Decision, ("ruleset", "holds", "parts", "tags", "trace", "gifts", "merging", "not_before", "matched"))


def decide(order: Order, facts: Facts, ruleset: Ruleset, *, trace: bool = True) -> Decision:
    """Decide about one checked order. Without `trace` the decision is the same and its trace empty. Never raises for
    any order the mapping lets through. `order` may have gift lines of an earlier decision: `Decision.gifts` are all it has
    from now on, and `gifts.add_gifts` gives the order whose lines the parts count."""
    steps: list[TraceStep] | None = [] if trace else None
    bare = without_gifts(order)
    met: list[str] = []
    rules = rules_to_test(ruleset, bare, facts, trace=trace)
    holds = _holds(bare, facts, rules, steps, met)
    given = matching(rules["gift"], bare, facts, steps, met) if rules["gift"] else []
    gifts, short = choose_gifts(given, order, facts, steps) if given or bare is not order else ((), [])
    merging = combine_merging(matching(rules["merge"], bare, facts, steps, met) if rules["merge"] else (), bare)
    full = add_gifts(order, gifts, facts) if gifts or bare is not order else order
    if full is not bare:
        rules = rules_to_test(ruleset, full, facts, trace=trace)
    split = combine_split(matching(rules["split"], full, facts, steps, met)) if rules["split"] else None
    route = combine_route(matching(rules["route"], full, facts, steps, met)) if rules["route"] else None
    choice = CarrierChoice(rules["carrier"], full, facts, trace) if rules["carrier"] else None
    plan = plan_parts(full, facts, ruleset.routing, route, split, choice, trace=trace)
    if choice is not None:
        met += choice.matched()
        if steps is not None:
            steps += choice.steps()
    scheduled = matching(rules["schedule"], full, facts, steps, met) if rules["schedule"] else ()
    tagged = matching(rules["tag"], full, facts, steps, met) if rules["tag"] else ()
    holds += short
    if plan.failure:
        holds.append(Hold(NO_WAREHOUSE, "routing", plan.failure))
    return _made(
        ruleset.version,
        tuple(holds),
        plan.parts,
        tuple(dict.fromkeys([tag for rule in tagged for tag in rule.tags])) if tagged else (),
        (*steps, *plan.trace) if steps is not None else (),
        gifts,
        merging,
        earliest(full, facts, [rule.schedule for rule in scheduled if rule.schedule is not None])
        if scheduled
        else None,
        tuple(met),
    )


def _holds(
    order: Order, facts: Facts, rules: Mapping[Phase, Sequence[Rule]], steps: list[TraceStep] | None, met: list[str]
) -> list[Hold]:
    holds = [rule.hold for rule in matching(rules["hold"], order, facts, steps, met) if rule.hold is not None]
    approvals = matching(rules["approve"], order, facts, steps, met) if rules["approve"] else []
    if not holds and not approvals:
        return holds
    waivers = [(code, rule.id) for rule in approvals for code in sorted(rule.waives)]
    asked = [rule.hold for rule in approvals if rule.hold is not None]
    left = combine_holds(holds, waivers, facts.waived, steps)
    return left + combine_holds(asked, (), facts.waived, steps)
