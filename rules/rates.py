"""What a parcel costs with a carrier, and which carrier takes it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from domain.facts import WarehouseInfo
from domain.order import Consignee

from .regions import build_cover, country_of, covers
from .ruleset import Rate, Routing

CHEAPEST = "cheapest"


def price(rates: Sequence[Rate], warehouse: str, consignee: Consignee, weight_grams: int, carrier: str) -> int | None:
    """Minor units of the routing's currency for one parcel of `weight_grams` (0: not known, which costs the first step)
    from `warehouse` by `carrier`: by the first rate that fits. None when no rate fits."""
    country, region = country_of(consignee), consignee.region
    for rate in rates:
        if rate.carrier != carrier or (rate.warehouses and warehouse not in rate.warehouses):
            continue
        if rate.regions and not covers(_cover(rate.regions), country, region):
            continue
        over = max(0, weight_grams - rate.first_grams)
        return rate.first_cost + -(-over // max(1, rate.step_grams)) * rate.step_cost
    return None


def cheapest(
    rates: Sequence[Rate], warehouse: WarehouseInfo, consignee: Consignee, weight_grams: int
) -> tuple[int, str] | None:
    """Price and name of the cheapest carrier of this warehouse (of the rates, when it declares none), ties by name. None
    when no rate fits any of them."""
    names = warehouse.carriers or dict.fromkeys(rate.carrier for rate in rates)
    found = [
        (cost, name)
        for name in names
        if (cost := price(rates, warehouse.name, consignee, weight_grams, name)) is not None
    ]
    return min(found, default=None)


def choose_carrier(
    warehouse: WarehouseInfo, wanted: Sequence[str], routing: Routing, consignee: Consignee, weight_grams: int
) -> str:
    """The carrier of one part, "" for the warehouse's choice: the first wanted one the warehouse works with (`cheapest`:
    its cheapest by the rates, passed over when no rate fits), else the ruleset's own for this warehouse, else the first
    default carrier it declares. A warehouse that declares no carriers takes any that is named for it, but none from the
    general list."""
    declared = warehouse.carriers
    for name in wanted:
        if name == CHEAPEST:
            best = cheapest(routing.rates, warehouse, consignee, weight_grams)
            if best is not None:
                return best[1]
        elif not declared or name in declared:
            return name
    own = routing.carriers.get(warehouse.name, "")
    if own and (not declared or own in declared):
        return own
    for name in routing.default_carriers:
        if name in declared:
            return name
    return ""


@lru_cache(maxsize=4096)
def _cover(regions: frozenset[str]) -> frozenset[str]:
    return build_cover(regions)
