"""Why an order is shipped from where it is, or from nowhere: the texts of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from domain.decision import Part, TraceStep
from domain.facts import Facts, WarehouseInfo

from .covering import Needs
from .ranking import Ranked, available, handles, usable, why_late
from .regions import NEARNESS
from .ruleset import Routing

_TRACED_WAREHOUSES = 50


def _short_everywhere(needs: Needs, facts: Facts) -> bool:
    """Whether the stock check is sure to have said so already: some SKU is short over all warehouses together."""
    if "out_of_stock" in facts.waived or "stock_stale" in facts.waived:
        return False
    return any(
        sum(available(facts, one.name, sku) for one in facts.warehouses) < units
        for sku, units in needs.items()
        if sku not in facts.backorder
    )


def build_failure(needs: Needs, ranked: Sequence[Ranked], facts: Facts, routing: Routing, *, too_many: bool) -> str:
    """Why nothing could be planned; `too_many` says that only the number of parts stands against it. "" when the stock
    check is sure to have said so already."""
    if _short_everywhere(needs, facts):
        return ""
    if not ranked:
        return "no warehouse may ship this order"
    if too_many:
        return f"it would take more parts than the {routing.max_parts if routing.allow_split else 1} allowed"
    for sku, units in needs.items():
        if not any(handles(one.warehouse, sku, facts) for one in ranked):
            return f"none of the warehouses that may ship this order ships {sku}, for its supplier's sake"
        have = sum(usable(one.warehouse, (sku,), facts)[sku] for one in ranked)
        if have < units and sku not in facts.backorder:
            return f"the warehouses that may ship this order have {have} of {units} {sku}"
    if not routing.allow_split:
        return "no single warehouse has everything and splitting is switched off"
    return f"no {routing.max_parts} warehouses together have everything"


def build_trace(
    needs: Needs,
    ranked: Sequence[Ranked],
    barred: Sequence[tuple[str, str]],
    facts: Facts,
    chosen: set[int],
    parts: Sequence[Part],
) -> tuple[TraceStep, ...]:
    """One step for each warehouse looked at, and one for each part there is more to say of than where it comes from."""
    steps = [
        TraceStep(f"warehouse {one.name}", "route", n in chosen, _describe(n, one, needs, facts))
        for n, one in enumerate(ranked[:_TRACED_WAREHOUSES])
    ]
    room = _TRACED_WAREHOUSES - len(steps)
    steps.extend(TraceStep(f"warehouse {name}", "route", False, reason) for name, reason in barred[:room])
    for number, part in enumerate(parts, 1):
        told = [part.why, f"costs {part.cost}" if part.cost else "", "waits for stock" if part.waits else ""]
        if any(told):
            steps.append(TraceStep(f"part {number}", "split", True, ", ".join(filter(None, told))))
    return tuple(steps)


def _describe(place: int, one: Ranked, needs: Needs, facts: Facts) -> str:
    here = usable(one.warehouse, needs, facts)
    lacking = [
        f"{sku} {have} of {units}{_because(one.warehouse, sku, facts)}"
        for sku, units in needs.items()
        if (have := here[sku]) < units
    ]
    stock = f"lacks {', '.join(lacking[:5])}" if lacking else "has everything"
    late = f", ships tomorrow ({why_late(one.warehouse, facts)})" if one.late else ""
    return f"choice {place + 1}: {NEARNESS[one.distance]}, {stock}{late}"


def _because(warehouse: WarehouseInfo, sku: str, facts: Facts) -> str:
    if not handles(warehouse, sku, facts):
        return " (ships nothing of its supplier)"
    return " (stale)" if (warehouse.name, sku) in facts.stale else ""
