"""What a rule does: the `then` of each phase as values, and what no schema can say about effects and routing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta, timezone
from types import MappingProxyType
from typing import Any

from domain.decision import Hold

from .compiler import compile_step, compile_steps, compile_tree, speaks_of_parts
from .conditions import REGION, Fault, is_time, read_time
from .leaves import Given, Lists
from .regions import is_region
from .ruleset import PHASES, Condition, Phase, Rate, Route, Routing, Rule, Ruleset, Schedule, Split
from .screen import build_screen, need_of

# What `then` may hold in each phase: one of these effects.
EFFECTS: Mapping[Phase, tuple[str, ...]] = MappingProxyType(
    {phase: ("approve", "waive") if phase == "approve" else (phase,) for phase in PHASES}
)
# Words that say more about an effect, and the effects they belong to.
_MORE: Mapping[str, tuple[str, ...]] = MappingProxyType({"detail": ("hold", "approve"), "if_available": ("gift",)})
_YEARS = range(2000, 2101)
_OFF = Condition(lambda _, __: False, lambda _, __: (False, "switched off"))


# --- meaning --------------------------------------------------------------------------------------------------------


def find_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of a ruleset whose outline is right: ids that are not unique, effects of another phase, impossible times."""
    first: dict[str, int] = {}
    gifts: dict[str, int] = {}
    for n, rule in enumerate(document["rules"]):
        at, then = f"rules.{n}", rule["then"]
        if rule["id"] in first:
            yield Fault(f"{at}.id", f"the id of rules.{first[rule['id']]} again")
        first.setdefault(rule["id"], n)
        yield from _choice_faults(rule["phase"], then, f"{at}.then")
        for gift in then.get("gift", ()):
            line_id = f"{rule['id']}:{gift['sku']}"
            if line_id in gifts:
                yield Fault(f"{at}.then.gift", f"the gift line {line_id} of rules.{gifts[line_id]} again")
            gifts.setdefault(line_id, n)
        for name in ("hold", "approve"):
            if name in then and not then[name].isprintable():
                yield Fault(f"{at}.then.{name}", "a code of small letters, digits and _")
        if "schedule" in then:
            yield from _schedule_faults(then["schedule"], f"{at}.then.schedule")
    for n, rate in enumerate(document.get("routing", {}).get("rates", ())):
        bad = next((k for k, code in enumerate(rate.get("regions", ())) if not is_region(code)), None)
        if bad is not None:
            yield Fault(f"routing.rates.{n}.regions.{bad}", REGION)


def _choice_faults(phase: Phase, then: Mapping[str, Any], at: str) -> Iterator[Fault]:
    allowed, chosen = EFFECTS[phase], [key for key in then if key not in _MORE]
    if len(chosen) != 1 or chosen[0] not in allowed:
        yield Fault(at, f"a rule of phase {phase} has one effect: {' or '.join(allowed)}")
    for key, owners in _MORE.items():
        if key in then and not any(owner in then for owner in owners):
            yield Fault(f"{at}.{key}", f"only with {' or '.join(owners)}")


def _schedule_faults(schedule: Mapping[str, Any], at: str) -> Iterator[Fault]:
    start = schedule.get("not_before")
    if start is not None and not (is_time(start) and read_time(start).year in _YEARS):
        yield Fault(f"{at}.not_before", "a time with its offset, such as 2026-12-01T00:00:00+08:00, from 2000 to 2100")
    quiet = schedule.get("quiet")
    if quiet is not None and _minute(quiet["from"]) == _minute(quiet["to"]):
        yield Fault(f"{at}.quiet", "from and to are the same minute: that is never or always")


def _minute(clock: str) -> int:
    """The minute of the day of `22:30`."""
    return int(clock[:2]) * 60 + int(clock[3:5])


# --- building -------------------------------------------------------------------------------------------------------


def build_ruleset(document: Mapping[str, Any], digest: str) -> Ruleset:
    """A checked document as a compiled ruleset."""
    lists: Lists = {name: frozenset(values) for name, values in document.get("lists", {}).items()}
    routing = build_routing(document.get("routing", {}))
    clock = timezone(timedelta(minutes=routing.utc_offset))
    rules: dict[Phase, list[Rule]] = {phase: [] for phase in PHASES}
    for rule in document["rules"]:
        rules[rule["phase"]].append(_build_rule(rule, lists, clock, routing.utc_offset))
    phases = {phase: tuple(found) for phase, found in rules.items()}
    return Ruleset(
        version=document["version"],
        digest=digest,
        holds=phases["hold"],
        approvals=phases["approve"],
        gifts=phases["gift"],
        merges=phases["merge"],
        splits=phases["split"],
        routes=phases["route"],
        carriers=phases["carrier"],
        schedules=phases["schedule"],
        tags=phases["tag"],
        screen=build_screen(tuple(phases.values())),
        gift_skus=frozenset(sku for rule in rules["gift"] for sku, _ in rule.gifts),
        routing=routing,
    )


def _build_rule(rule: Mapping[str, Any], lists: Lists, clock: timezone, utc_offset: int) -> Rule:
    enabled = rule.get("enabled", True)
    by_part = enabled and speaks_of_parts(rule["when"])
    given = Given(lists, clock, by_part)
    condition = compile_tree(rule["when"], given) if enabled else _OFF
    then, told = rule["then"], (rule["id"], rule["phase"])
    return Rule(
        id=rule["id"],
        phase=rule["phase"],
        test=condition.test,
        step=compile_step(*told, rule["when"], given, condition.look)
        if enabled
        else compile_steps(*told, condition.look),
        by_part=by_part,
        need=need_of(rule["when"], given) if enabled and not by_part else None,
        hold=_build_hold(rule["id"], then),
        waives=frozenset(_texts(then.get("waive", ()))),
        gifts=tuple((gift["sku"], gift["quantity"]) for gift in then.get("gift", ())),
        if_available=then.get("if_available", False),
        merge_minutes=_build_merge(then["merge"]) if "merge" in then else None,
        split=_build_split(then["split"]) if "split" in then else None,
        route=_build_route(then["route"]) if "route" in then else None,
        carriers=_texts(then.get("carrier", ())),
        schedule=_build_schedule(then["schedule"], utc_offset) if "schedule" in then else None,
        tags=_texts(then.get("tag", ())),
    )


def _build_hold(rule: str, then: Mapping[str, Any]) -> Hold | None:
    if "approve" in then:
        return Hold(f"approve_{then['approve']}", rule, then.get("detail", ""))
    return Hold(then["hold"], rule, then.get("detail", "")) if "hold" in then else None


def _build_merge(merge: Any) -> int:
    return merge["window_minutes"] if isinstance(merge, dict) else 0


def _build_split(split: Mapping[str, Any]) -> Split:
    return Split(
        apart=tuple(frozenset(group) for group in split.get("apart", ())),
        by_supplier=split.get("by_supplier", False),
        max_value=split.get("max_value"),
        max_weight_grams=split.get("max_weight_grams"),
        max_volume_ml=split.get("max_volume_ml"),
        partial=split.get("partial", False),
    )


def _build_route(route: Mapping[str, Any]) -> Route:
    return Route(tuple(route.get("warehouses", ())), route.get("only", False), tuple(route.get("avoid", ())))


def _build_schedule(schedule: Mapping[str, Any], utc_offset: int) -> Schedule:
    quiet, start = schedule.get("quiet"), schedule.get("not_before")
    return Schedule(
        delay_minutes=schedule.get("delay_minutes", 0),
        not_before=read_time(start) if start is not None else None,
        quiet_from=_minute(quiet["from"]) if quiet else None,
        quiet_to=_minute(quiet["to"]) if quiet else None,
        utc_offset=quiet.get("utc_offset", utc_offset) if quiet else utc_offset,
    )


def build_routing(routing: Mapping[str, Any]) -> Routing:
    """The `routing` part of a checked document."""
    return Routing(
        allow_split=routing.get("allow_split", True),
        max_parts=routing.get("max_parts", 8),
        carriers=MappingProxyType(dict(routing.get("carriers", {}))),
        default_carriers=tuple(routing.get("default_carriers", ())),
        rates=tuple(_build_rate(rate) for rate in routing.get("rates", ())),
        currency=routing.get("currency", "CNY"),
        freight=routing.get("freight", "spread"),
        utc_offset=routing.get("utc_offset", 480),
    )


def _build_rate(rate: Mapping[str, Any]) -> Rate:
    defaults = Rate(carrier="")
    return Rate(
        carrier=rate["carrier"],
        warehouses=frozenset(rate.get("warehouses", ())),
        regions=frozenset(rate.get("regions", ())),
        first_grams=rate.get("first_grams", defaults.first_grams),
        first_cost=rate["first_cost"],
        step_grams=rate.get("step_grams", defaults.step_grams),
        step_cost=rate.get("step_cost", defaults.step_cost),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
