from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from domain.allocation import PartFreight
from domain.freight import refundable_freight, share_freight

VALUES = st.lists(st.integers(-2, 10_000), min_size=1, max_size=6)
MODES: st.SearchStrategy[PartFreight] = st.sampled_from(["spread", "on_first"])


def test_freight_is_spread_by_the_goods_of_each_part_or_borne_by_the_first() -> None:
    assert share_freight(1000, [300, 100], (), "spread") == (750, 250)
    assert share_freight(1000, [300, 100], (), "on_first") == (1000, 0)
    assert share_freight(1000, [], (), "spread") == ()


def test_parts_that_stay_keep_their_freight_and_the_others_share_the_rest() -> None:
    assert share_freight(1000, [300, 100], [600], "spread") == (300, 100)
    assert share_freight(1000, [300, 100], [1000], "on_first") == (0, 0)
    assert share_freight(1000, [5], [2000], "spread") == (0,)


def test_refusing_the_part_that_bears_the_freight_does_not_free_the_other_of_it() -> None:
    borne = share_freight(1000, [300, 100], (), "on_first")
    assert borne == (1000, 0)
    assert refundable_freight(1000, [300, 100], {0}) == 750
    assert refundable_freight(1000, [300, 100], {1}) == 250
    assert refundable_freight(1000, [300, 100], {0, 1}) == 1000


@given(st.integers(0, 10**9), VALUES, st.lists(st.integers(0, 10**6), max_size=3), MODES)
def test_shares_and_what_stays_sum_to_the_freight(
    freight: int, values: list[int], kept: list[int], mode: PartFreight
) -> None:
    shares = share_freight(freight, values, kept, mode)
    assert len(shares) == len(values)
    assert min(shares) >= 0
    assert sum(shares) + sum(kept) == max(freight, sum(kept))


@given(st.integers(0, 10**9), VALUES, st.permutations(range(6)))
def test_refusals_in_any_sequence_give_back_the_freight_once(freight: int, values: list[int], order: list[int]) -> None:
    steps = [refundable_freight(freight, values, order[:n]) for n in range(len(order) + 1)]
    assert steps[0] == 0
    assert steps[-1] == freight
    for n, (before, after) in enumerate(pairwise(steps)):
        assert after - before == refundable_freight(freight, values, {order[n]}) >= 0
