"""Goods: which of our SKUs a line is, and whether there is enough of them (domain.md §3, listing and stock).

The mapping is frozen on the line when it is first found: a line that already has a SKU keeps it and its parts,
whatever listings and bundles say later (decided once, as the bundle version is)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from domain.allocation import Shares
from domain.facts import Facts, Listing, WarehouseInfo
from domain.order import Component, Line, Order
from domain.values import changer
from domain.verdict import Problem


def check_listing(
    order: Order, facts: Facts, shares: Sequence[Shares] | None = None
) -> tuple[tuple[Line, ...], tuple[Problem, ...]]:
    """The lines with `sku` and `components` filled, and the problems `sku_unmapped`, `sku_ambiguous` (candidates are
    our SKUs), `sku_delisted`, `price_below_floor`. Cancelled lines are mapped when that is possible, and never
    complained of. `shares`: what the lines carry, to be set on them too."""
    lines: list[Line] = []
    problems: list[Problem] = []
    mapped = shares is not None
    listed, bundles = facts.listings, facts.bundles
    for index, line in enumerate(order.lines):
        listings = listed.get(line.external_sku, ()) if line.external_sku.strip() else ()
        if len(listings) == 1 and not line.sku:
            only = listings[0]
            if only.listed and only.floor_price is None and only.quantity == 1 and only.sku not in bundles:
                # Nearly always.
                if shares is None:
                    lines.append(_as_sku(line, only.sku, ()))
                else:
                    lines.append(_as_paid_sku(line, only.sku, (), *shares[index]))
                mapped = True
                continue
        listing, found = _choose(line, listings, index)
        if listing is not None:
            found = _check_listed(line, listing, index)
        if listing is None or line.sku:
            lines.append(line if shares is None else _with_shares(line, *shares[index]))
        else:
            ours = _as_sku(line, listing.sku, _parts(listing, facts))
            lines.append(ours if shares is None else _with_shares(ours, *shares[index]))
            mapped = True
        if line.state in {"open", "after_sale"}:
            problems.extend(found)
    return (tuple(lines) if mapped else order.lines), tuple(problems)


_as_sku: Final = changer(Line, "sku", "components")
_with_shares: Final = changer(Line, "discount", "freight", "tax", "paid")
_as_paid_sku: Final = changer(Line, "sku", "components", "discount", "freight", "tax", "paid")


def check_stock(order: Order, facts: Facts, warehouses: Sequence[WarehouseInfo]) -> Sequence[Problem]:
    """Whether `warehouses` (those that may serve this order) hold enough of every SKU together: one of them alone, or
    a split over several. Counts open lines that are mapped and need shipping. `out_of_stock`, or `stock_stale` when
    only snapshots that are too old to sell from would cover it. Back-order SKUs need no stock."""
    demand: dict[str, int] = {}
    for line in order.lines:
        if line.state == "open" and line.sku and line.requires_shipping:
            if not line.components:
                demand[line.sku] = demand.get(line.sku, 0) + line.quantity
                continue
            for sku, units in units_of(line):
                demand[sku] = demand.get(sku, 0) + units
    problems: list[Problem] = []
    units_at, old = facts.available.get, facts.stale
    for sku, needed in demand.items():
        if sku in facts.backorder:
            continue
        fresh = stale = 0
        for warehouse in warehouses:
            key = (warehouse.name, sku)
            units = units_at(key, 0)
            if units <= 0:
                continue
            if key in old:
                stale += units
                continue
            fresh += units
            if fresh >= needed:
                break
        if fresh < needed:
            code = "stock_stale" if fresh + stale >= needed else "out_of_stock"
            path = f"lines.{_first_with(order, sku)}.sku"
            problems.append(Problem(code, path, f"{sku}: {needed} needed, {fresh} available"))
    return problems


def _first_with(order: Order, sku: str) -> int:
    """The first line that stock of this SKU is counted for."""
    return next(
        index
        for index, line in enumerate(order.lines)
        if line.state == "open" and line.sku and line.requires_shipping and sku in dict(units_of(line))
    )


def units_of(line: Line) -> tuple[tuple[str, int], ...]:
    """(our SKU, units) that a mapped line needs, bundles in their parts."""
    if line.components:
        return tuple((part.sku, part.quantity * line.quantity) for part in line.components)
    return ((line.sku, line.quantity),)


def _choose(line: Line, listings: tuple[Listing, ...], index: int) -> tuple[Listing | None, tuple[Problem, ...]]:
    if line.sku:
        return next((listing for listing in listings if listing.sku == line.sku), None), ()
    if not listings:
        detail = f"no SKU of ours for {line.external_sku[:80]!r}"
        return None, (Problem("sku_unmapped", f"lines.{index}.external_sku", detail),)
    if len(listings) > 1:
        candidates = tuple(dict.fromkeys(listing.sku for listing in listings))
        detail = f"{line.external_sku[:80]!r} is mapped {len(listings)} times"
        return None, (Problem("sku_ambiguous", f"lines.{index}.external_sku", detail, candidates),)
    return listings[0], ()


def _check_listed(line: Line, listing: Listing, index: int) -> tuple[Problem, ...]:
    problems: tuple[Problem, ...] = ()
    if not listing.listed:
        problems = (Problem("sku_delisted", f"lines.{index}.sku", f"{listing.sku} is not listed for this account"),)
    floor = listing.floor_price
    if floor is not None and line.amount < floor * line.quantity:
        detail = f"{line.amount} for {line.quantity}, the floor is {floor} each"
        problems = (*problems, Problem("price_below_floor", f"lines.{index}.amount", detail))
    return problems


def _parts(listing: Listing, facts: Facts) -> tuple[Component, ...]:
    """What one source unit is made of: () when that is one piece of `listing.sku`. A listing that sells several (a
    pack of 6) and a bundle both become parts, so that the multiplier is frozen too."""
    bundle = facts.bundles.get(listing.sku)
    if bundle is None:
        return () if listing.quantity == 1 else (Component(listing.sku, listing.quantity),)
    units: dict[str, int] = defaultdict(int)
    for sku, quantity in bundle.components:
        units[sku] += quantity * listing.quantity
    return tuple(Component(sku, quantity) for sku, quantity in units.items())
