"""The warehouses that may ship an order, best first, and what each has of what is needed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from domain.facts import Facts, WarehouseInfo
from domain.order import Order

from .regions import build_cover, country_of, covers, nearness
from .ruleset import Route

FULL, CLOSED = "full today", "past its cut-off today"


class Ranked(NamedTuple):
    """A warehouse that may ship this order, sorted by what puts it before others (smaller is better); `late` says that it
    would ship on its next day. `place` makes the order total, so that the warehouse itself is never compared."""

    late: bool
    preference: int
    distance: int
    priority: int
    name: str
    place: int
    warehouse: WarehouseInfo


class Ranking(NamedTuple):
    """The warehouses that may ship an order, best first, the others with the reason why not, and whether a parcel costs
    anything at one of those that may."""

    ranked: tuple[Ranked, ...]
    barred: tuple[tuple[str, str], ...]
    costly: bool


_KNOWN: dict[tuple[object, ...], tuple[Ranking, object]] = {}
_MOST = 8192


def rank(order: Order, facts: Facts, route: Route | None) -> Ranking:
    """The warehouses that may ship this order, best first, and the others with the reason why not."""
    warehouses, allowed, to = facts.warehouses, facts.sender.allowed_warehouses, order.consignee
    # By identity, which is kept alive below: hashing warehouses costs more than ranking them.
    key = (id(warehouses), id(allowed), id(route), to.country, to.region, to.masked)
    known = _KNOWN.get(key)
    if known is None:
        ranked, barred = _rank(order, facts, route)
        costly = any(one.warehouse.parcel_cost for one in ranked)
        known = Ranking(ranked, barred, costly), (warehouses, allowed, route)
        if not any(
            one.capacity is not None or one.cut_off is not None for one in warehouses
        ):  # these look at the clock
            if len(_KNOWN) >= _MOST:
                _KNOWN.clear()
            _KNOWN[key] = known
    return known[0]


def _rank(order: Order, facts: Facts, route: Route | None) -> tuple[tuple[Ranked, ...], tuple[tuple[str, str], ...]]:
    preferred = {name: n for n, name in reversed(list(enumerate(route.warehouses)))} if route else {}
    only = preferred if route and route.only else None
    avoid = route.avoid if route else ()
    country, region = country_of(order.consignee), order.consignee.region
    ranked: list[Ranked] = []
    barred: list[tuple[str, str]] = []
    for place, warehouse in enumerate(facts.warehouses):
        reason = _bar(warehouse, order, facts, country, region)
        if not reason and only is not None and warehouse.name not in only:
            reason = "not among the warehouses of the route rule"
        if not reason and warehouse.name in avoid:
            reason = "avoided by the route rule"
        if reason:
            barred.append((warehouse.name, reason))
            continue
        distance = nearness(country, region, warehouse.country, warehouse.province, warehouse.city)
        preference = preferred.get(warehouse.name, len(preferred))
        late = (warehouse.capacity is not None or warehouse.cut_off is not None) and bool(why_late(warehouse, facts))
        ranked.append(Ranked(late, preference, distance, warehouse.priority, warehouse.name, place, warehouse))
    return tuple(sorted(ranked)), tuple(barred)


def why_late(warehouse: WarehouseInfo, facts: Facts) -> str:
    """Why an order given to this warehouse now counts for its next day; "" when it does not. An order in the minute of the
    cut-off is late."""
    if warehouse.capacity is not None and facts.planned_today.get(warehouse.name, 0) >= warehouse.capacity:
        return FULL
    if warehouse.cut_off is not None:
        now = facts.now
        at_utc = now.hour * 60 + now.minute
        if (at_utc + warehouse.utc_offset) % 1440 >= warehouse.cut_off:
            return CLOSED
    return ""


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


# --- what it has ------------------------------------------------------------------------------------------------------


def available(facts: Facts, warehouse: str, sku: str) -> int:
    """Units that can be sold from there now: ATP, or 0 while its snapshot is stale."""
    place = (warehouse, sku)
    units = facts.available.get(place, 0)
    return units if units > 0 and place not in facts.stale else 0


def handles(warehouse: WarehouseInfo, sku: str, facts: Facts) -> bool:
    """Whether the warehouse ships goods of whoever this SKU's are."""
    if warehouse.suppliers is None:
        return True
    goods = facts.goods.get(sku)
    return (goods.supplier if goods is not None else "") in warehouse.suppliers


def usable(warehouse: WarehouseInfo, needs: Iterable[str], facts: Facts) -> dict[str, int]:
    """Units by SKU that the warehouse can send of what is needed."""
    name = warehouse.name
    if warehouse.suppliers is None:
        return {sku: available(facts, name, sku) for sku in needs}
    return {sku: available(facts, name, sku) if handles(warehouse, sku, facts) else 0 for sku in needs}
