"""Which of the goods one warehouse ships share a parcel: classes, suppliers, and limits per parcel.

Goods are grouped first: two goods may share a parcel when they have a class in exactly the same `apart` groups and, with
`by_supplier`, the same supplier. That is an equivalence, so the groups are unique. Inside a group the limits make it bin
packing of single units with up to three sizes (value, weight, volume). Up to EXACT_UNITS units a branch and bound over at
most NODES nodes for a plan finds the fewest parcels (within the node limit; it starts from first-fit-decreasing and never
gets worse).
Above it is first-fit-decreasing, units sorted by the largest share of a limit they take:
- one limit: at most 11/9 · OPT + 6/9 parcels (Johnson 1973 for 11/9; the constant Dósa 2007, in full Dósa, Li, Han and Tuza
  2013, Theoretical Computer Science; abstract read 2026-11-22, H);
- d limits: at most 2·d·OPT - 1. Of two parcels, the later one's first unit did not fit the earlier, so together they hold
  more than one whole limit, counted over all d; a pair each for k parcels makes floor(k/2) < d·OPT.
A unit above a limit on its own has a parcel of its own, outside both counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

from domain.decision import PartLine
from domain.facts import Facts, Goods
from domain.order import Line, Order

from .ruleset import PartView, Split

EXACT_UNITS = 12
NODES = 3_000
_UNKNOWN = Goods(sku="")


class Lot(NamedTuple):
    """Equal units of one SKU of one order line; value, weight and volume are per unit (minor units, grams, millilitres)."""

    line: int
    sku: str
    units: int
    value: int
    weight: int
    volume: int
    classes: frozenset[str]
    supplier: str


@dataclass(slots=True)
class Nodes:
    """How many nodes of exact packing may still be looked at."""

    left: int = NODES


class Parcel(NamedTuple):
    """What shares a parcel, and what set it apart from the other parcels of its warehouse ("" when nothing did)."""

    lots: tuple[Lot, ...]
    why: str


def is_unlimited(split: Split) -> bool:
    """Whether `split` never sets goods of one warehouse apart."""
    return not (split.apart or split.by_supplier or _limits(split))


def fits_one(order: Order, facts: Facts, demand: Sequence[PartLine], split: Split) -> bool:
    """Whether all of `demand` may share one parcel: then what any warehouse ships of it may."""
    if is_unlimited(split):
        return True
    lots = cut_lots(order, facts, demand, {})
    if len({_group_of(lot, split) for lot in lots}) > 1:
        return False
    return all(sum(lot.units * getattr(lot, name) for lot in lots) <= limit for name, limit in _limits(split).items())


def weigh(order: Order, facts: Facts, lines: Iterable[PartLine]) -> int:
    """Grams of these units, as their lots weigh."""
    return sum(part.quantity * _grams(order.lines[part.line], facts.goods.get(part.sku, _UNKNOWN)) for part in lines)


def _grams(line: Line, goods: Goods) -> int:
    return max(0, (0 if line.components else line.weight_grams) or goods.weight_grams)


def line_value(line: Line) -> int:
    """The goods value of what is left of a line, minor units ≥ 0: its amount, but no more than the units there are at
    their price (a line of which some units left already keeps its whole amount)."""
    amount = max(0, line.amount)
    return min(amount, line.unit_price * max(0, line.quantity)) if line.unit_price > 0 else amount


def cut_lots(order: Order, facts: Facts, lines: Iterable[PartLine], taken: dict[int, int]) -> list[Lot]:
    """The units of `lines` with what is known of each. `taken` counts the pieces of every line cut so far and is moved on:
    all cuts of an order share it, so that their values sum to the line's, larger minor units first. Every piece of a
    bundle is worth the same."""
    lots = []
    for part in lines:
        line = order.lines[part.line]
        goods = facts.goods.get(part.sku, _UNKNOWN)
        pieces = line.quantity * (sum(piece.quantity for piece in line.components) or 1)
        each, larger = divmod(line_value(line), pieces)
        start = taken.get(part.line, 0)
        taken[part.line] = start + part.quantity
        more = max(0, min(part.quantity, larger - start))
        sizes = _grams(line, goods), max(0, goods.volume_ml)
        for units, value in ((more, each + 1), (part.quantity - more, each)):
            if units:
                lots.append(Lot(part.line, part.sku, units, value, *sizes, goods.classes, goods.supplier))
    return lots


def lines_of(lots: Iterable[Lot]) -> tuple[PartLine, ...]:
    """The lots as lines of a part, one for each (line, SKU)."""
    units: dict[tuple[int, str], int] = {}
    for lot in lots:
        units[lot.line, lot.sku] = units.get((lot.line, lot.sku), 0) + lot.units
    return tuple(PartLine(line, sku, quantity) for (line, sku), quantity in units.items())


def view_part(warehouse: str, lots: Sequence[Lot]) -> PartView:
    """A parcel as rules see it; `supplier` is "" when it holds goods of several."""
    suppliers = {lot.supplier for lot in lots}
    return PartView(
        warehouse=warehouse,
        units=sum(lot.units for lot in lots),
        weight_grams=sum(lot.units * lot.weight for lot in lots),
        volume_ml=sum(lot.units * lot.volume for lot in lots),
        value=sum(lot.units * lot.value for lot in lots),
        classes=frozenset[str]().union(*(lot.classes for lot in lots)),
        supplier=suppliers.pop() if len(suppliers) == 1 else "",
    )


def split_lots(lots: Sequence[Lot], split: Split, most: int, nodes: Nodes | None = None) -> tuple[Parcel, ...] | None:
    """The lots of one warehouse in as few parcels as `split` lets them, groups in the order of their first lot. None when
    that takes more than `most`; `nodes` bounds the exact search and is used up by it."""
    nodes = nodes or Nodes()
    groups: dict[tuple[frozenset[int], str], list[Lot]] = {}
    for lot in lots:
        groups.setdefault(_group_of(lot, split), []).append(lot)
    several_classes = len({kinds for kinds, _ in groups}) > 1
    several_suppliers = len({supplier for _, supplier in groups}) > 1
    parcels: list[Parcel] = []
    for (kinds, supplier), mine in groups.items():
        reasons = []
        if several_classes and kinds:
            named = frozenset[str]().union(*(split.apart[n] for n in kinds))
            reasons.append(f"class {', '.join(sorted(named & _classes(mine)))}")
        if several_suppliers:
            reasons.append(f"supplier {supplier}" if supplier else "own goods")
        packed = _pack(mine, split, most - len(parcels), nodes)
        if packed is None:
            return None
        parcels.extend(Parcel(content, ", ".join([*reasons, *limits])) for content, limits in packed)
    return tuple(parcels)


def _classes(lots: Iterable[Lot]) -> frozenset[str]:
    return frozenset[str]().union(*(lot.classes for lot in lots))


def _group_of(lot: Lot, split: Split) -> tuple[frozenset[int], str]:
    kinds = frozenset(n for n, group in enumerate(split.apart) if not group.isdisjoint(lot.classes))
    return kinds, lot.supplier if split.by_supplier else ""


# --- limits ----------------------------------------------------------------------------------------------------------


def _limits(split: Split) -> dict[str, int]:
    told = {"value": split.max_value, "weight": split.max_weight_grams, "volume": split.max_volume_ml}
    return {name: limit for name, limit in told.items() if limit is not None}


@dataclass(slots=True)
class _Bin:
    """A parcel being filled: what is in it per limit, and units by lot."""

    load: list[int]
    units: dict[int, int] = field(default_factory=dict)


_Sizes = tuple[int, ...]


def _pack(lots: Sequence[Lot], split: Split, most: int, nodes: Nodes) -> list[tuple[tuple[Lot, ...], list[str]]] | None:
    """Lots that may share a parcel, packed by the limits; per parcel the names of the limits that divided them. None when
    it takes more than `most` parcels."""
    limits = _limits(split)
    if not limits:
        return [(tuple(lots), [])] if most >= 1 else None
    caps = tuple(max(0, limit) for limit in limits.values())
    sizes = [tuple(getattr(lot, name) for name in limits) for lot in lots]
    over = [n for n, size in enumerate(sizes) if not _fits(size, caps)]
    if sum(lots[n].units for n in over) > most:
        return None
    packed: list[tuple[tuple[Lot, ...], list[str]]] = []
    for n in over:
        names = [
            f"one unit over the {name} limit"
            for name, size, cap in zip(limits, sizes[n], caps, strict=True)
            if size > cap
        ]
        packed += [((lots[n]._replace(units=1),), names)] * lots[n].units
    rest = [n for n in range(len(lots)) if n not in over]
    bins = pack_units([(sizes[n], lots[n].units) for n in rest], caps, most - len(packed), nodes)
    if bins is None:
        return None
    totals = [sum(lots[n].units * sizes[n][at] for n in rest) for at in range(len(caps))]
    names = [name for name, total, cap in zip(limits, totals, caps, strict=True) if total > cap]
    return [*((tuple(lots[rest[n]]._replace(units=units) for n, units in one), names) for one in bins), *packed]


def pack_units(
    kinds: Sequence[tuple[_Sizes, int]], caps: _Sizes, most: int, nodes: Nodes | None = None
) -> list[list[tuple[int, int]]] | None:
    """Units of several kinds (sizes of one unit, how many; no size above its cap) in parcels that hold at most `caps`:
    per parcel (kind, units), kinds ascending. None when that takes more than `most`, as far as the search sees."""
    total = sum(units for _, units in kinds)
    if not total:
        return []
    scale = [prod(max(1, cap) for other, cap in enumerate(caps) if other != at) for at in range(len(caps))]
    order = sorted(
        range(len(kinds)),
        key=lambda n: (-max(size * factor for size, factor in zip(kinds[n][0], scale, strict=True)), kinds[n][0], n),
    )
    small = total <= EXACT_UNITS
    bins = _first_fit(kinds, order, caps, total if small else most)
    if bins is None:
        return None
    found = [one.units for one in bins]
    least = max(_ceil(sum(size[at] * units for size, units in kinds), cap) for at, cap in enumerate(caps))
    if small and len(found) > max(1, least):
        found = _search(
            [(n, kinds[n][0]) for n in order for _ in range(kinds[n][1])], caps, found, max(1, least), nodes or Nodes()
        )
    return [sorted(one.items()) for one in found] if len(found) <= most else None


def _ceil(amount: int, cap: int) -> int:
    return -(-amount // cap) if cap else 0


def _fits(size: Sequence[int], caps: Sequence[int]) -> bool:
    return all(one <= cap for one, cap in zip(size, caps, strict=True))


def _first_fit(kinds: Sequence[tuple[_Sizes, int]], order: Sequence[int], caps: _Sizes, most: int) -> list[_Bin] | None:
    bins: list[_Bin] = []
    for n in order:
        size, left = kinds[n]
        for one in bins:
            left -= _fill(one, n, size, left, caps)
            if not left:
                break
        while left:
            if len(bins) >= most:
                return None
            bins.append(_Bin([0] * len(caps)))
            left -= _fill(bins[-1], n, size, left, caps)
    return bins


def _fill(one: _Bin, kind: int, size: _Sizes, left: int, caps: _Sizes) -> int:
    room = ((cap - load) // need for need, load, cap in zip(size, one.load, caps, strict=True) if need)
    units = min(left, *room, left)
    if units:
        one.units[kind] = one.units.get(kind, 0) + units
        one.load = [load + units * need for load, need in zip(one.load, size, strict=True)]
    return units


@dataclass(slots=True)
class _Search:
    """Branch and bound over units, largest first: each goes to an open parcel or a new one. Parcels with equal loads are
    tried once, and equal units never go back to an earlier parcel than the one before."""

    units: Sequence[tuple[int, _Sizes]]
    caps: _Sizes
    least: int
    best: list[dict[int, int]]
    nodes: Nodes
    bins: list[_Bin] = field(default_factory=list)

    def place(self, index: int, first: int) -> None:
        if len(self.bins) >= len(self.best) or self.nodes.left <= 0 or len(self.best) <= self.least:
            return
        self.nodes.left -= 1
        if index == len(self.units):
            self.best = [dict(one.units) for one in self.bins]
            return
        kind, size = self.units[index]
        seen: set[_Sizes] = set()
        for at in range(first, len(self.bins)):
            load = tuple(self.bins[at].load)
            if load not in seen and _fits([a + b for a, b in zip(load, size, strict=True)], self.caps):
                seen.add(load)
                self._try(index, at, kind, size)
        self.bins.append(_Bin([0] * len(self.caps)))
        self._try(index, len(self.bins) - 1, kind, size)
        self.bins.pop()

    def _try(self, index: int, at: int, kind: int, size: _Sizes) -> None:
        one = self.bins[at]
        one.load = [a + b for a, b in zip(one.load, size, strict=True)]
        one.units[kind] = one.units.get(kind, 0) + 1
        after = index + 1
        same = after < len(self.units) and self.units[after][1] == size
        self.place(after, at if same else 0)
        one.load = [a - b for a, b in zip(one.load, size, strict=True)]
        one.units[kind] -= 1
        if not one.units[kind]:
            del one.units[kind]


def _search(
    units: Sequence[tuple[int, _Sizes]], caps: _Sizes, best: list[dict[int, int]], least: int, nodes: Nodes
) -> list[dict[int, int]]:
    search = _Search(units, caps, least, best, nodes)
    search.place(0, 0)
    return search.best
