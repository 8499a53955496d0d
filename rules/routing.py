"""Which warehouses ship an order: fewest parcels first, then nearest.

Ranking: warehouses a `route` rule prefers, in its order; then by nearness (regions.py), `priority` (lower first), name.
Search: by increasing number of warehouses, the first set in rank order that covers every unit - so the plan with the
fewest splits, and among those the one with the nearest warehouse. The search is exact while it needs to look at no more
than EXACT_SETS sets, which always holds for up to 8 warehouses (255 sets) and 1,500 SKUs. Beyond that it is greedy (the
warehouse that covers most of what is left, then superfluous ones dropped, farthest first): what k warehouses cover is a
monotone submodular function with whole values, so greedy needs at most H(d) = 1 + 1/2 + … + 1/d times the fewest
possible, d being the most units one warehouse can cover (Wolsey 1982, Combinatorica 2:385; 2026-11-21, H).
Stock is used first; SKUs that may be back-ordered are promised without stock only when no plan exists from stock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import NamedTuple

from domain.decision import PartLine, TraceStep
from domain.facts import Facts, WarehouseInfo
from domain.order import Line, Order

from .regions import NEARNESS, build_cover, country_of, covers, nearness
from .ruleset import Route, Routing

EXACT_SETS = 1_000
_EXACT_CELLS = 400_000
_TRACED_WAREHOUSES = 50
_NOT_SHIPPED_BY_US = frozenset({"cancelled", "shipped"})

Needs = Mapping[str, int]
Allotment = tuple[WarehouseInfo, tuple[PartLine, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """Who ships what, in rank order. `failure` says why there is no plan; it is "" when there is nothing to plan or when
    stock is short everywhere, which the stock check reports."""

    allotments: tuple[Allotment, ...] = ()
    failure: str = ""
    trace: tuple[TraceStep, ...] = ()


class Ranked(NamedTuple):
    """A warehouse that may ship this order, sorted by what puts it before others (smaller is better). `place` makes the
    order total, so that the warehouse itself is never compared."""

    preference: int
    distance: int
    priority: int
    name: str
    place: int
    warehouse: WarehouseInfo


def plan_route(order: Order, facts: Facts, routing: Routing, route: Route | None, *, trace: bool = False) -> Plan:
    """The plan for every line that still has to be shipped; `route` is the winning route rule's effect."""
    demand = build_demand(order)
    if not demand:
        return Plan()
    ranked, barred = rank(order, facts, route)
    needs = total_needs(demand)
    chosen, stock = _choose(needs, ranked, facts, routing)
    allotments = _allot(demand, [ranked[n].warehouse for n in chosen], stock, facts) if chosen else ()
    failure = "" if chosen or _short_everywhere(needs, facts) else _failure(needs, ranked, facts, routing)
    steps = _trace(needs, ranked, barred, set(chosen), facts) if trace else ()
    return Plan(allotments, failure, steps)


def build_demand(order: Order) -> tuple[PartLine, ...] | None:
    """What has to leave a warehouse, bundles as their components. None when a line cannot be planned: it has no SKU of
    ours yet (the listing check says so) or a quantity below one."""
    demand: list[PartLine] = []
    for index, line in enumerate(order.lines):
        if line.state in _NOT_SHIPPED_BY_US or not line.requires_shipping:
            continue
        if not line.components:
            if not line.sku or line.quantity < 1:
                return None
            demand.append(PartLine(index, line.sku, line.quantity))
            continue
        units = _units(line)
        if not all(sku and quantity > 0 for sku, quantity in units.items()):
            return None
        demand.extend(PartLine(index, sku, quantity) for sku, quantity in units.items())
    return tuple(demand)


def _units(line: Line) -> dict[str, int]:
    units: dict[str, int] = {}
    for part in line.components:
        units[part.sku] = units.get(part.sku, 0) + part.quantity * line.quantity
    return units


def total_needs(demand: Sequence[PartLine]) -> dict[str, int]:
    """Units per SKU over all lines."""
    needs: dict[str, int] = {}
    for part in demand:
        needs[part.sku] = needs.get(part.sku, 0) + part.quantity
    return needs


# --- who may ---------------------------------------------------------------------------------------------------------


def rank(order: Order, facts: Facts, route: Route | None) -> tuple[list[Ranked], list[tuple[str, str]]]:
    """The warehouses that may ship this order, best first, and the others with the reason why not."""
    preferred = {name: n for n, name in reversed(list(enumerate(route.warehouses)))} if route else {}
    only = preferred if route and route.only else None
    country, region = country_of(order.consignee), order.consignee.region
    ranked: list[Ranked] = []
    barred: list[tuple[str, str]] = []
    for place, warehouse in enumerate(facts.warehouses):
        reason = _bar(warehouse, order, facts, country, region)
        if not reason and only is not None and warehouse.name not in only:
            reason = "not among the warehouses of the route rule"
        if reason:
            barred.append((warehouse.name, reason))
            continue
        distance = nearness(country, region, warehouse.country, warehouse.province, warehouse.city)
        preference = preferred.get(warehouse.name, len(preferred))
        ranked.append(Ranked(preference, distance, warehouse.priority, warehouse.name, place, warehouse))
    ranked.sort()
    return ranked, barred


def _bar(warehouse: WarehouseInfo, order: Order, facts: Facts, country: str, region: str) -> str:
    allowed = facts.sender.allowed_warehouses
    if allowed is not None and warehouse.name not in allowed:
        return "not allowed for this sender"
    if warehouse.regions is not None and not covers(_cover(warehouse.regions), country, region):
        return f"does not deliver to {region or country or 'an unresolved region'}"
    if order.consignee.masked and not warehouse.accepts_tokens:
        return "cannot use the platform's privacy token"
    return ""


@lru_cache(maxsize=4096)
def _cover(regions: tuple[str, ...]) -> frozenset[str]:
    return build_cover(regions)


# --- who does --------------------------------------------------------------------------------------------------------


def available(facts: Facts, warehouse: str, sku: str) -> int:
    """Units that can be sold from there now: ATP, or 0 while its snapshot is stale."""
    place = (warehouse, sku)
    units = facts.available.get(place, 0)
    return units if units > 0 and place not in facts.stale else 0


def _choose(
    needs: Needs, ranked: Sequence[Ranked], facts: Facts, routing: Routing
) -> tuple[tuple[int, ...], list[dict[str, int]]]:
    """The positions in `ranked` that ship together (empty: no plan), and each one's stock of the SKUs needed."""
    stock: list[dict[str, int]] = []
    for n, one in enumerate(ranked):  # nearly always one of the first has everything: nothing else is looked at
        here = {sku: available(facts, one.name, sku) for sku in needs}
        if all(here[sku] >= units for sku, units in needs.items()):
            return (n,), [here]
        stock.append(here)
    most = routing.max_parts if routing.allow_split else 1
    chosen = choose_fewest(needs, stock, most)
    if not chosen and not facts.backorder.isdisjoint(needs):
        promised = [
            {sku: needs[sku] if sku in facts.backorder else units for sku, units in here.items()} for here in stock
        ]
        chosen = choose_fewest(needs, promised, most)
    return chosen, [stock[n] for n in chosen]


def choose_fewest(needs: Needs, stock: Sequence[Mapping[str, int]], most: int) -> tuple[int, ...]:
    """The smallest set of at most `most` rows of `stock` (best rank first) that together cover `needs`, as ascending
    positions; () when there is none, or, above the exact search's limit, when greedy finds none."""
    skus = tuple(needs)
    wanted = tuple(needs[sku] for sku in skus)
    capped = [tuple(min(here.get(sku, 0), units) for sku, units in needs.items()) for here in stock]
    useful = [n for n, row in enumerate(capped) if any(row)]
    rows = [capped[n] for n in useful]
    if not _covered(rows, wanted):
        return ()
    left = min(EXACT_SETS, _EXACT_CELLS // len(skus))
    for size in range(1, min(most, len(rows)) + 1):
        left -= comb(len(rows), size)
        if left < 0 and size > 1:
            return _fitting(_greedy(rows, wanted), useful, most)
        for group in combinations(range(len(rows)), size):
            if _covered([rows[n] for n in group], wanted):
                return tuple(useful[n] for n in group)
    return ()


def _covered(rows: Sequence[tuple[int, ...]], wanted: tuple[int, ...]) -> bool:
    return all(sum(row[column] for row in rows) >= units for column, units in enumerate(wanted))


def _fitting(group: Sequence[int], useful: Sequence[int], most: int) -> tuple[int, ...]:
    return tuple(useful[n] for n in group) if len(group) <= most else ()


def _greedy(rows: Sequence[tuple[int, ...]], wanted: tuple[int, ...]) -> list[int]:
    """A covering set of rows, ascending. All rows together cover `wanted`, so at most len(rows) rounds."""
    left = list(wanted)
    group: list[int] = []
    while any(left):
        best = max(
            (n for n in range(len(rows)) if n not in group),
            key=lambda n: (sum(map(min, rows[n], left)), -n),
        )
        group.append(best)
        left = [units - min(units, have) for units, have in zip(left, rows[best], strict=True)]
    for n in sorted(group, reverse=True):
        others = [other for other in group if other != n]
        if _covered([rows[other] for other in others], wanted):
            group = others
    return sorted(group)


def _allot(
    demand: Sequence[PartLine], chosen: Sequence[WarehouseInfo], stock: Sequence[dict[str, int]], facts: Facts
) -> tuple[Allotment, ...]:
    """Units from stock in rank order; what is left of a SKU on back-order goes to the best-ranked warehouse chosen."""
    left = [dict(here) for here in stock]
    taken: list[dict[tuple[int, str], int]] = [{} for _ in chosen]
    for part in demand:
        wanted = part.quantity
        for n, here in enumerate(left):
            take = min(wanted, here[part.sku])
            if take:
                here[part.sku] -= take
                taken[n][part.line, part.sku] = take
                wanted -= take
        if wanted:  # only a back-ordered SKU can be left over: the chosen set covers all others
            assert part.sku in facts.backorder, part.sku  # noqa: S101 - a plan that oversells must never leave here
            taken[0][part.line, part.sku] = taken[0].get((part.line, part.sku), 0) + wanted
    return tuple(
        (warehouse, tuple(PartLine(line, sku, units) for (line, sku), units in mine.items()))
        for warehouse, mine in zip(chosen, taken, strict=True)
        if mine
    )


# --- why -------------------------------------------------------------------------------------------------------------


def _short_everywhere(needs: Needs, facts: Facts) -> bool:
    """Whether the stock check is sure to have said so already: some SKU is short over all warehouses together."""
    if "out_of_stock" in facts.waived or "stock_stale" in facts.waived:
        return False
    return any(
        sum(available(facts, one.name, sku) for one in facts.warehouses) < units
        for sku, units in needs.items()
        if sku not in facts.backorder
    )


def _failure(needs: Needs, ranked: Sequence[Ranked], facts: Facts, routing: Routing) -> str:
    if not ranked:
        return "no warehouse may ship this order"
    for sku, units in needs.items():
        have = sum(available(facts, one.name, sku) for one in ranked)
        if have < units and sku not in facts.backorder:
            return f"the warehouses that may ship this order have {have} of {units} {sku}"
    if not routing.allow_split:
        return "no single warehouse has everything and splitting is switched off"
    return f"no {routing.max_parts} warehouses together have everything"


def _trace(
    needs: Needs, ranked: Sequence[Ranked], barred: Sequence[tuple[str, str]], chosen: set[int], facts: Facts
) -> tuple[TraceStep, ...]:
    steps = [
        TraceStep(f"warehouse {one.name}", "route", n in chosen, _describe(n, one, needs, facts))
        for n, one in enumerate(ranked[:_TRACED_WAREHOUSES])
    ]
    room = _TRACED_WAREHOUSES - len(steps)
    steps.extend(TraceStep(f"warehouse {name}", "route", False, reason) for name, reason in barred[:room])
    return tuple(steps)


def _describe(place: int, one: Ranked, needs: Needs, facts: Facts) -> str:
    name = one.name
    lacking = [
        f"{sku} {have} of {units}{' (stale)' if (name, sku) in facts.stale else ''}"
        for sku, units in needs.items()
        if (have := available(facts, name, sku)) < units
    ]
    stock = f"lacks {', '.join(lacking[:5])}" if lacking else "has everything"
    return f"choice {place + 1}: {NEARNESS[one.distance]}, {stock}"
