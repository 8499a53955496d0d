"""Which warehouses ship an order, in which parcels, with which carrier.

Ranking (ranking.py): warehouses that can ship today before those that are full or past their cut-off; then those a `route`
rule prefers, in its order; then by nearness (regions.py), `priority` (lower first), name.
Choice, in this order: the fewest warehouses (covering.py); the best of them by "ships today" and the route rule's order; the
lowest cost (what a parcel costs at the warehouse, and the cheapest rate of its carriers; when there are rates, a plan with a
parcel that has none comes after all whose cost is known); the fewest parcels; the nearest. Up to EXACT_PLANS sets of
warehouses are priced, which are all there are for up to 8 warehouses; beyond it the choice starts from the best of those
looked at and exchanges one warehouse at a time while that helps: never more warehouses, never a higher cost.
Parcels (splitting.py) follow from the units each warehouse ships, taken from stock in rank order.
Stock is used first. What is short waits for stock when the split says `partial`; else SKUs that may be back-ordered are
promised without stock, only when no plan exists from stock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from domain.decision import Part, PartLine, TraceStep
from domain.facts import Facts, WarehouseInfo
from domain.order import Line, Order
from domain.values import maker

from .covering import Group, Needs, choose_fewest, improve, most_of, smallest_sets
from .ranking import Ranked, handles, rank, usable
from .rates import cheapest, choose_carrier, price
from .reasons import build_failure, build_trace
from .ruleset import PartView, Route, Routing, Split
from .splitting import NODES, Nodes, Parcel, cut_lots, fits_one, is_unlimited, lines_of, split_lots, view_part, weigh

EXACT_PLANS = 128
_COMPARED = 5 * NODES
_WHOLE = Split()
_whole_part = maker(Part, ("warehouse", "lines", "carrier"))
_part_line = maker(PartLine, ("line", "sku", "quantity"))
_NOT_SHIPPED_BY_US = frozenset({"cancelled", "shipped"})


CarriersFor = Callable[[PartView], tuple[str, ...]]
Stock = Sequence[Mapping[str, int]]


class Plan(NamedTuple):
    """The parts, best-ranked warehouse first, those that wait for stock last. `failure` says why there is no plan; it is
    "" when there is nothing to plan or when stock is short everywhere, which the stock check reports."""

    parts: tuple[Part, ...] = ()
    trace: tuple[TraceStep, ...] = ()
    failure: str = ""


class _Task(NamedTuple):
    """One order to plan. `costed`: parcels have a cost; `whole`: all of it may share one parcel, so what one warehouse ships
    never comes apart, and nothing is packed to compare plans; `plain`: no split could set it apart either, and nothing has a
    cost. `nodes` are left for the packing of all plans that are only compared."""

    order: Order
    facts: Facts
    routing: Routing
    split: Split
    ranked: Sequence[Ranked]
    costed: bool
    whole: bool
    plain: bool
    nodes: Nodes

    @property
    def free(self) -> bool:
        """Whether no plan is better for its parcels or its cost: the first warehouse that has everything ships."""
        return self.whole and not self.costed

    @property
    def most(self) -> int:
        return self.routing.max_parts if self.routing.allow_split else 1


class _Shipment(NamedTuple):
    """What one warehouse (a position in the ranking) ships of an order, before it is put in parcels."""

    place: int
    lines: tuple[PartLine, ...]
    waits: bool = False


class _Draft(NamedTuple):
    """The parcels of every shipment of a plan that is possible."""

    parcels: tuple[tuple[_Shipment, tuple[Parcel, ...]], ...]


def plan_parts(
    order: Order,
    facts: Facts,
    routing: Routing,
    route: Route | None,
    split: Split | None,
    carriers_for: CarriersFor | None,
    *,
    trace: bool = False,
) -> Plan:
    """The plan for every line that still has to be shipped: each unit is in exactly one part. `route` is the winning route
    rule's effect, `split` what may not share a parcel; `carriers_for` names the carriers wanted for a part, best first
    (`cheapest` may be one of the names), and is asked once for each part, unless it says `for_any_part`; None wants none."""
    demand = build_demand(order)
    if not demand:
        return Plan()
    ranked, barred, costly = rank(order, facts, route)
    needs = total_needs(demand)
    costed = costly or bool(routing.rates)
    if not trace and not costed and split is None:
        straight = _plan_straight(order, facts, routing, ranked, demand, needs, carriers_for)
        if straight is not None:
            return straight
    split = split or _WHOLE
    plain = not costed and is_unlimited(split)
    whole = plain or fits_one(order, facts, demand, split)
    task = _Task(order, facts, routing, split, ranked, costed, whole, plain, Nodes(_COMPARED))
    found, chosen = _draft_of(task, demand, needs)
    parts = _parts(task, found, carriers_for) if found else ()
    failure = "" if parts else build_failure(needs, ranked, facts, routing, too_many=bool(chosen))
    steps = build_trace(needs, ranked, barred, facts, set(chosen) if parts else set(), parts) if trace else ()
    return Plan(parts, steps, failure)


def _plan_straight(
    order: Order,
    facts: Facts,
    routing: Routing,
    ranked: Sequence[Ranked],
    demand: tuple[PartLine, ...],
    needs: Needs,
    carriers_for: CarriersFor | None,
) -> Plan | None:
    """The plan of nearly every order where nothing has a cost and nothing is set apart: the first warehouse that has all of
    it ships all of it. None where none has, or a carrier depends on the part."""
    wanted = () if carriers_for is None else getattr(carriers_for, "for_any_part", None)
    if wanted is None:
        return None
    stock, stale = facts.available, facts.stale
    for one in ranked:
        here = one.warehouse
        name, mixed = here.name, here.suppliers is not None
        for sku, units in needs.items():
            place = (name, sku)
            if stock.get(place, 0) < units or place in stale or (mixed and not handles(here, sku, facts)):
                break
        else:
            carrier = choose_carrier(here, wanted, routing, order.consignee, 0)
            return Plan((_whole_part(name, demand, carrier),))
    return None


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
            demand.append(_part_line(index, line.sku, line.quantity))
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


def total_needs(demand: Iterable[PartLine]) -> dict[str, int]:
    """Units per SKU over all lines."""
    needs: dict[str, int] = {}
    for part in demand:
        needs[part.sku] = needs.get(part.sku, 0) + part.quantity
    return needs


# --- who ships it ----------------------------------------------------------------------------------------------------


def _draft_of(task: _Task, demand: tuple[PartLine, ...], needs: Needs) -> tuple[_Draft | None, Group]:
    """The best plan, and the positions of the warehouses it uses; positions without a plan when only the limits of its
    parcels stand against it."""
    stock: list[dict[str, int]] = []
    for n, one in enumerate(task.ranked):  # nearly always one of the first has everything: nothing else is looked at
        here = usable(one.warehouse, needs, task.facts)
        if task.free and all(here[sku] >= units for sku, units in needs.items()):
            return _Draft(((_Shipment(n, demand), ()),)), (n,)
        stock.append(here)
    chosen = _choose(task, demand, needs, stock, stock)
    if not chosen and task.split.partial and task.most > 1:
        return _draft_partial(task, demand, needs, stock)
    if not chosen and not task.facts.backorder.isdisjoint(needs):
        chosen = _choose(task, demand, needs, stock, _promised(task, needs, stock))
    return _draft(task, chosen, demand, stock) if chosen else None, chosen


def _promised(task: _Task, needs: Needs, stock: Stock) -> Stock:
    backorder = task.facts.backorder
    return [
        {
            sku: needs[sku] if sku in backorder and handles(one.warehouse, sku, task.facts) else units
            for sku, units in here.items()
        }
        for one, here in zip(task.ranked, stock, strict=True)
    ]


def _choose(task: _Task, demand: Sequence[PartLine], needs: Needs, stock: Stock, promised: Stock) -> Group:
    """The positions in the ranking that ship together (empty: no plan). Limits on parcels count only between sets of the
    same size: when none of the sets keeps them, the first is returned all the same."""
    if task.plain and len({one[:2] for one in task.ranked}) <= 1:
        return choose_fewest(needs, promised, task.most)
    groups, whole = smallest_sets(needs, promised, task.most, EXACT_PLANS)
    if not groups:
        return ()

    def key(group: Group) -> tuple[object, ...] | None:
        return _key(task, group, demand, stock)

    keyed = [(found, group) for group in groups if (found := key(group)) is not None]
    best = min(keyed)[1] if keyed else groups[0]
    return best if whole else improve(best, needs, promised, key, EXACT_PLANS)


def _key(task: _Task, group: Group, demand: Sequence[PartLine], stock: Stock) -> tuple[object, ...] | None:
    classes = tuple(task.ranked[n][:2] for n in group)
    if task.plain:
        return classes, group
    if task.whole:
        return _key_of_whole(task, group, classes, _allot(task, group, demand, stock))
    nodes = Nodes(min(NODES, task.nodes.left))
    before = nodes.left
    draft = _draft(task, group, demand, stock, nodes=nodes)
    task.nodes.left -= before - nodes.left
    if draft is None:
        return None
    unknown = False
    cost = count = 0
    for shipment, parcels in draft.parcels:
        warehouse = task.ranked[shipment.place].warehouse
        count += len(parcels)
        for parcel in parcels:
            cost += warehouse.parcel_cost
            if task.routing.rates:
                weight = sum(lot.units * lot.weight for lot in parcel.lots)
                best = cheapest(task.routing.rates, warehouse, task.order.consignee, weight)
                unknown = unknown or best is None
                cost += best[0] if best is not None else 0
    return classes, unknown, cost, count, group


def _key_of_whole(
    task: _Task, group: Group, classes: tuple[object, ...], shipments: Sequence[_Shipment]
) -> tuple[object, ...] | None:
    """The key of a plan whose every shipment is one parcel."""
    if len(shipments) > task.most:
        return None
    unknown = False
    cost = 0
    for shipment in shipments if task.costed else ():
        warehouse = task.ranked[shipment.place].warehouse
        cost += warehouse.parcel_cost
        if task.routing.rates:
            weight = weigh(task.order, task.facts, shipment.lines)
            best = cheapest(task.routing.rates, warehouse, task.order.consignee, weight)
            unknown = unknown or best is None
            cost += best[0] if best is not None else 0
    return classes, unknown, cost, len(shipments), group


def _draft(
    task: _Task,
    group: Group,
    demand: Sequence[PartLine],
    stock: Stock,
    waiting: Sequence[_Shipment] = (),
    nodes: Nodes | None = None,
) -> _Draft | None:
    """What each warehouse of the group ships, in parcels; None when those are more than the order may have."""
    shipments = [*_allot(task, group, demand, stock), *waiting]
    if task.whole:
        return _Draft(tuple((one, ()) for one in shipments)) if len(shipments) <= task.most else None
    taken: dict[int, int] = {}
    nodes = nodes or Nodes()
    left = task.most
    packed = []
    for one in shipments:
        parcels = split_lots(cut_lots(task.order, task.facts, one.lines, taken), task.split, left, nodes)
        if parcels is None:
            return None
        left -= len(parcels)
        packed.append((one, parcels))
    return _Draft(tuple(packed))


def _allot(task: _Task, group: Group, demand: Sequence[PartLine], stock: Stock) -> list[_Shipment]:
    """Units from stock in rank order; what is left of a SKU on back-order goes to the best-ranked warehouse of the group
    that ships it."""
    left = [dict(stock[n]) for n in group]
    taken: list[dict[tuple[int, str], int]] = [{} for _ in group]
    for part in demand:
        wanted = part.quantity
        for n, here in enumerate(left):
            take = min(wanted, here[part.sku])
            if take:
                here[part.sku] -= take
                taken[n][part.line, part.sku] = take
                wanted -= take
        if wanted:  # only a back-ordered SKU can be left over: the chosen set covers all others
            assert part.sku in task.facts.backorder, part.sku  # noqa: S101 - a plan that oversells must never leave here
            mine = next(
                taken[n] for n, place in enumerate(group) if handles(task.ranked[place].warehouse, part.sku, task.facts)
            )
            mine[part.line, part.sku] = mine.get((part.line, part.sku), 0) + wanted
    return [
        _Shipment(place, tuple(PartLine(line, sku, units) for (line, sku), units in mine.items()))
        for place, mine in zip(group, taken, strict=True)
        if mine
    ]


# --- what waits ------------------------------------------------------------------------------------------------------


def _draft_partial(task: _Task, demand: Sequence[PartLine], needs: Needs, stock: Stock) -> tuple[_Draft | None, Group]:
    """What is in stock ships now, as much of it as the warehouses allowed together hold; the rest waits at the best-ranked
    warehouse that ships such goods."""
    there = {sku: min(units, sum(here[sku] for here in stock)) for sku, units in needs.items()}
    there = {sku: units for sku, units in there.items() if units}
    now, later = _divide(demand, there)
    most = task.most - 1  # one part is what waits
    chosen = choose_fewest(there, stock, most) and _choose(task, now, there, stock, stock) if now else ()
    if now and not chosen:
        chosen = most_of(there, stock, most)
        now, later = _divide(demand, {sku: min(there[sku], sum(stock[n][sku] for n in chosen)) for sku in there})
    waiting: dict[int, list[PartLine]] = {}
    for part in later:
        handlers = (n for n, one in enumerate(task.ranked) if handles(one.warehouse, part.sku, task.facts))
        place = next(handlers, None)
        if place is None:
            return None, ()
        waiting.setdefault(place, []).append(part)
    rest = [_Shipment(place, tuple(lines), True) for place, lines in sorted(waiting.items())]
    return _draft(task, chosen, now, stock, rest), tuple(sorted({*chosen, *waiting}))


def _divide(demand: Sequence[PartLine], there: Mapping[str, int]) -> tuple[list[PartLine], list[PartLine]]:
    """The demand that these units cover, earlier lines first, and the rest."""
    left = dict(there)
    now, later = [], []
    for part in demand:
        take = min(part.quantity, left.get(part.sku, 0))
        if take:
            left[part.sku] -= take
            now.append(PartLine(part.line, part.sku, take))
        if part.quantity > take:
            later.append(PartLine(part.line, part.sku, part.quantity - take))
    return now, later


# --- parts -----------------------------------------------------------------------------------------------------------


def _parts(task: _Task, draft: _Draft, carriers_for: CarriersFor | None) -> tuple[Part, ...]:
    parts: list[Part] = []
    taken: dict[int, int] = {}
    # Where nothing has a price and no rule looks at parts, what is in one does not matter.
    wanted = (() if carriers_for is None else getattr(carriers_for, "for_any_part", None)) if task.free else None
    for shipment, parcels in draft.parcels:
        warehouse = task.ranked[shipment.place].warehouse
        if wanted is not None:
            carrier = choose_carrier(warehouse, wanted, task.routing, task.order.consignee, 0)
            parts.append(Part(warehouse.name, shipment.lines, carrier, waits=shipment.waits))
            continue
        packed = parcels or (Parcel(tuple(cut_lots(task.order, task.facts, shipment.lines, taken)), ""),)
        parts += [_part(task, warehouse, parcel, carriers_for, waits=shipment.waits) for parcel in packed]
    return tuple(parts)


def _part(
    task: _Task, warehouse: WarehouseInfo, parcel: Parcel, carriers_for: CarriersFor | None, *, waits: bool
) -> Part:
    rates, consignee = task.routing.rates, task.order.consignee
    view = view_part(warehouse.name, parcel.lots)
    wanted = carriers_for(view) if carriers_for is not None else ()
    carrier = choose_carrier(warehouse, wanted, task.routing, consignee, view.weight_grams)
    told = price(rates, warehouse.name, consignee, view.weight_grams, carrier) if carrier else None
    cost = warehouse.parcel_cost + told if told is not None else 0
    return Part(warehouse.name, lines_of(parcel.lots), carrier, cost, parcel.why, waits)
