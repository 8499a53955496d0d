from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.facts import Goods
from domain.order import Component
from rules import splitting
from rules.routing import build_demand
from rules.ruleset import Split
from rules.splitting import Lot, cut_lots, line_value, lines_of, pack_units, split_lots, view_part
from tests.rules.samples import facts, line, order


def lot(sku: str, units: int = 1, number: int = 0, **more: Any) -> Lot:
    values: dict[str, Any] = {"value": 0, "weight": 0, "volume": 0, "classes": frozenset(), "supplier": ""} | more
    return Lot(number, sku, units, **values)


def parcels(lots: list[Lot], most: int = 99, **limits: Any) -> list[tuple[dict[str, int], str]] | None:
    found = split_lots(lots, Split(**limits), most)
    if found is None:
        return None
    return [({one.sku: one.quantity for one in lines_of(parcel.lots)}, parcel.why) for parcel in found]


COLD, LIQUID, FRAGILE = frozenset({"cold"}), frozenset({"liquid"}), frozenset({"fragile"})


def test_goods_of_a_warehouse_share_one_parcel_unless_something_sets_them_apart() -> None:
    goods = [lot("fish", classes=COLD), lot("book"), lot("oil", classes=LIQUID)]
    assert parcels(goods) == [({"fish": 1, "book": 1, "oil": 1}, "")]


def test_cold_goods_travel_apart_from_all_others_also_from_those_without_a_class() -> None:
    goods = [
        lot("fish", 2, classes=COLD),
        lot("book"),
        lot("glass", classes=FRAGILE),
        lot("ice", classes=COLD | FRAGILE),
    ]
    assert parcels(goods, apart=(COLD,)) == [({"fish": 2, "ice": 1}, "class cold"), ({"book": 1, "glass": 1}, "")]


def test_classes_of_one_group_may_travel_together_and_groups_may_not() -> None:
    goods = [lot("fish", classes=COLD), lot("oil", classes=LIQUID), lot("glass", classes=FRAGILE)]
    assert parcels(goods, apart=(COLD | LIQUID, FRAGILE)) == [
        ({"fish": 1, "oil": 1}, "class cold, liquid"),
        ({"glass": 1}, "class fragile"),
    ]


def test_each_supplier_s_goods_have_their_own_parcels() -> None:
    goods = [lot("a", supplier="acme"), lot("b"), lot("c", supplier="acme")]
    assert parcels(goods, by_supplier=True) == [({"a": 1, "c": 1}, "supplier acme"), ({"b": 1}, "own goods")]
    assert parcels(goods[:1], by_supplier=True) == [({"a": 1}, "")]


def test_units_of_one_line_are_divided_when_they_are_too_heavy_together() -> None:
    assert parcels([lot("rice", 5, weight=4000)], max_weight_grams=10_000) == [
        ({"rice": 2}, "weight"),
        ({"rice": 2}, "weight"),
        ({"rice": 1}, "weight"),
    ]


def test_a_unit_above_a_limit_has_a_parcel_of_its_own_and_that_is_no_fault() -> None:
    goods = [lot("ring", value=90_000), lot("book", 2, value=3_000)]
    assert parcels(goods, max_value=50_000) == [({"book": 2}, ""), ({"ring": 1}, "one unit over the value limit")]
    assert parcels([lot("a", value=5)], max_value=0) == [({"a": 1}, "one unit over the value limit")]


def test_more_parcels_than_an_order_may_have_are_no_plan() -> None:
    assert parcels([lot("rice", 10_000_000, weight=4000)], 8, max_weight_grams=4000) is None
    assert parcels([lot("rice", 10_000_000, weight=4001)], 8, max_weight_grams=4000) is None
    assert parcels([lot("a", classes=COLD), lot("b")], 1, apart=(COLD,)) is None
    assert parcels([lot("rice", 10_000_000, weight=0)], 1, max_weight_grams=4000) == [({"rice": 10_000_000}, "")]


def test_few_units_are_packed_better_than_by_first_fit_decreasing() -> None:
    kinds, caps = [((3,), 2), ((2,), 4)], (7,)  # 3 2 2 twice; first fit takes 3 3, 2 2 2, 2
    assert pack_units(kinds, caps, 9) == [[(0, 1), (1, 2)], [(0, 1), (1, 2)]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "EXACT_UNITS", 0)
        assert pack_units(kinds, caps, 9) == [[(0, 2)], [(1, 3)], [(1, 1)]]


def test_what_is_known_of_goods_is_the_line_s_word_then_our_own_list_s() -> None:
    known = facts(goods={"A": Goods(sku="A", weight_grams=300, volume_ml=20, supplier="acme", classes=COLD)})
    content = order(line("A", 2), line("A", 1, weight_grams=50))
    lots = cut_lots(content, known, build_demand(content) or (), {})
    assert [(one.sku, one.weight, one.volume) for one in lots] == [("A", 300, 20), ("A", 50, 20)]
    view = view_part("sz", lots)
    assert (view.units, view.weight_grams, view.volume_ml, view.value) == (3, 650, 60, 300)
    assert (view.classes, view.supplier, view.warehouse) == (COLD, "acme", "sz")


def test_the_value_of_a_line_that_left_in_part_is_that_of_the_units_that_stayed() -> None:
    assert line_value(line("A", 3)) == 300
    assert line_value(line("A", 3, amount=250)) == 250
    assert line_value(line("A", 1, amount=300)) == 100
    assert line_value(line("A", 2, amount=-5)) == 0
    assert line_value(line("A", 2, unit_price=0, amount=70)) == 70


def test_every_piece_of_a_bundle_is_worth_the_same_to_the_cent() -> None:
    content = order(line("SET", 1, amount=100, components=(Component("A", 2), Component("B", 1))))
    lots = cut_lots(content, facts(), build_demand(content) or (), {})
    assert [(one.sku, one.units, one.value) for one in lots] == [("A", 1, 34), ("A", 1, 33), ("B", 1, 33)]


# --- properties ------------------------------------------------------------------------------------------------------

KINDS = st.integers(1, 3).flatmap(
    lambda dims: st.tuples(
        st.lists(st.tuples(st.tuples(*[st.integers(0, 10)] * dims), st.integers(1, 3)), min_size=1, max_size=4),
        st.tuples(*[st.integers(10, 15)] * dims),
    )
)


def fewest_by_force(units: list[tuple[int, ...]], caps: tuple[int, ...]) -> int:
    """The smallest number of parcels, by trying every way of putting units together."""

    def place(left: list[tuple[int, ...]], bins: list[tuple[int, ...]]) -> int:
        if not left:
            return len(bins)
        size, rest, best = left[0], left[1:], len(units)
        for n, load in enumerate(bins):
            full = tuple(a + b for a, b in zip(load, size, strict=True))
            if all(a <= cap for a, cap in zip(full, caps, strict=True)):
                best = min(best, place(rest, [*bins[:n], full, *bins[n + 1 :]]))
        return min(best, place(rest, [*bins, size])) if len(bins) + 1 < best else best

    return place(units, [])


@given(KINDS)
def test_packing_is_exact_for_few_units_and_within_its_bound_for_many(
    case: tuple[list[tuple[tuple[int, ...], int]], tuple[int, ...]],
) -> None:
    kinds, caps = case
    units = [size for size, count in kinds for _ in range(count)]
    if len(units) > 7:
        units, kinds = units[:7], [(size, 1) for size in units[:7]]
    fewest = fewest_by_force(units, caps)
    exact = pack_units(kinds, caps, len(units))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "EXACT_UNITS", 0)
        quick = pack_units(kinds, caps, len(units))
    assert exact is not None
    assert quick is not None
    assert len(exact) == fewest
    assert fewest <= len(quick) <= max(1, 2 * len(caps) * fewest - 1)
    if len(caps) == 1:
        assert 9 * len(quick) <= 11 * fewest + 6
    for found in (exact, quick):
        counted = [sum(units for one in found for n, units in one if n == kind) for kind in range(len(kinds))]
        assert counted == [count for _, count in kinds]
        for one in found:
            for at, cap in enumerate(caps):
                assert sum(kinds[n][0][at] * units for n, units in one) <= cap


def test_packing_stops_at_its_node_limit() -> None:
    kinds = [((1000 + 7 * n, 2000 - 11 * n, 500 + 13 * n), 1) for n in range(12)]
    found = pack_units(kinds, (2900, 3900, 2100), 12)
    assert found is not None
    assert sum(units for one in found for _, units in one) == 12
