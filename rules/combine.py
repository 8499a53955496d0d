"""How the effects of several rules of one phase make one: add up, first wins, or the tightest counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from domain.decision import Hold, Merging, TraceStep
from domain.facts import Facts
from domain.order import Order
from domain.values import maker

from .ruleset import PartScene, PartView, Route, Rule, Split

COD = "cod"
_scene = maker(PartScene, ("facts", "part"))


def matching(
    rules: Sequence[Rule], order: Order, facts: Facts, steps: list[TraceStep] | None, met: list[str] | None = None
) -> list[Rule]:
    """The rules that match, in order, their ids added to `met`; with `steps` what every rule saw goes there."""
    if not rules:
        return []
    if steps is None:
        matched = [rule for rule in rules if rule.test(order, facts)]
    else:
        matched = []
        for rule in rules:
            step = rule.step(order, facts)
            steps.append(step)
            if step.matched:
                matched.append(rule)
    if matched and met is not None:
        met += [rule.id for rule in matched]
    return matched


def combine_holds(
    holds: list[Hold], waivers: Collection[tuple[str, str]], waived: Collection[str], steps: list[TraceStep] | None
) -> list[Hold]:
    """All holds that nobody took back: `waivers` are (code, rule) of automatic reviews, `waived` what people released."""
    if not holds or not (waivers or waived):
        return holds
    by_rule = dict(reversed(list(waivers)))  # the first rule that waives a code is the one named
    left: list[Hold] = []
    for hold in holds:
        if hold.code in waived:
            why = f"{hold.code} was waived by a person"
        elif hold.code in by_rule:
            why = f"{hold.code} was waived by rule {by_rule[hold.code]}"
        else:
            left.append(hold)
            continue
        if steps is not None:
            steps.append(TraceStep(hold.rule, "hold", False, why))
    return left


def combine_merging(matched: Sequence[Rule], order: Order) -> Merging | None:
    """The first rule decides; an order paid on delivery never merges, whatever rules say."""
    if order.payment == "cod":
        return Merging(0, COD)
    return Merging(matched[0].merge_minutes or 0, matched[0].id) if matched else None


def combine_split(matched: Iterable[Rule]) -> Split | None:
    """Groups add up, flags are true when one of them is, of limits the tightest counts. None when nothing matched."""
    splits = [rule.split for rule in matched if rule.split is not None]
    if len(splits) < 2:
        return splits[0] if splits else None
    return Split(
        apart=tuple(dict.fromkeys(group for split in splits for group in split.apart)),
        by_supplier=any(split.by_supplier for split in splits),
        max_value=_tightest(split.max_value for split in splits),
        max_weight_grams=_tightest(split.max_weight_grams for split in splits),
        max_volume_ml=_tightest(split.max_volume_ml for split in splits),
        partial=any(split.partial for split in splits),
    )


def _tightest(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def combine_route(matched: Iterable[Rule]) -> Route | None:
    """The first rule that prefers warehouses does so; those to avoid add up. None when nothing matched."""
    routes = [rule.route for rule in matched if rule.route is not None]
    if len(routes) < 2:
        return routes[0] if routes else None
    preference = next((route for route in routes if route.warehouses), Route())
    avoid = tuple(dict.fromkeys(name for route in routes for name in route.avoid))
    return Route(preference.warehouses, preference.only, avoid)


@dataclass(slots=True)
class CarrierChoice:
    """The carriers that rules want for a part, first wish first: the planner calls it with each part it considers. Rules
    that do not speak of parts are tested once per order, the others for every part."""

    rules: Sequence[Rule]
    order: Order
    facts: Facts
    trace: bool
    _fixed: list[bool | None] = field(init=False)
    _steps: list[list[TraceStep]] = field(init=False)
    _met: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self._steps, self._met = [], set()
        if self.trace:
            self._steps = [[] if rule.by_part else [rule.step(self.order, self.facts)] for rule in self.rules]
            self._fixed = [steps[0].matched if steps else None for steps in self._steps]
        else:
            self._fixed = [None if rule.by_part else rule.test(self.order, self.facts) for rule in self.rules]

    @property
    def for_any_part(self) -> tuple[str, ...] | None:
        """The carriers wanted whatever the part is; None when that depends on it."""
        if None in self._fixed:
            return None
        return tuple([name for rule, met in zip(self.rules, self._fixed, strict=True) if met for name in rule.carriers])

    def __call__(self, part: PartView) -> tuple[str, ...]:
        names: list[str] = []
        scene: PartScene | None = None
        for place, fixed in enumerate(self._fixed):
            if fixed is None and scene is None:
                scene = _scene(self.facts, part)
            if fixed or (scene is not None and fixed is None and self._matches(place, scene)):
                names += self.rules[place].carriers
                self._met.add(place)
        return tuple(names)

    def _matches(self, place: int, scene: PartScene) -> bool:
        rule = self.rules[place]
        if not self.trace:
            return rule.test(self.order, scene)
        name, phase, matched, why = rule.step(self.order, scene)
        self._steps[place].append(TraceStep(name, phase, matched, f"{scene.part.warehouse}: {why}"))
        return matched

    def matched(self) -> list[str]:
        """The ids of the rules that matched, for the order or for any part."""
        return [
            rule.id
            for place, (rule, fixed) in enumerate(zip(self.rules, self._fixed, strict=True))
            if (place in self._met if fixed is None else fixed)
        ]

    def steps(self) -> list[TraceStep]:
        """What every rule saw, in order: once, or for each part the planner asked about."""
        found: list[TraceStep] = []
        for rule, steps in zip(self.rules, self._steps, strict=True):
            found += dict.fromkeys(steps) if len(steps) > 1 else steps
            if not steps:
                found.append(TraceStep(rule.id, rule.phase, False, "there is no part to choose a carrier for"))
        return found
