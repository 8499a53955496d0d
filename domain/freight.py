"""Who bears the freight of a split order, and what of it a refused parcel gives back (domain.md §5 [002-8…10]).

Two different questions. Which fulfilment carries the freight is a label for the warehouse and the statement; what a refusal
gives back is always the part's own share. So with `on_first`, refusing the first parcel never makes the others freight-free,
and refusing the second one is not free of charge for us either."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .allocation import PartFreight, largest_remainder


def share_freight(freight: int, values: Sequence[int], kept: Sequence[int], mode: PartFreight) -> tuple[int, ...]:
    """What each part bears of an order's `freight`, all minor units. `values` are the goods of the parts that are planned
    now, in their order; `kept` is what parts that stay as they are bear already. `spread` divides what is left by value
    (a part without value counts as one minor unit), `on_first` puts it on the first. The shares and `kept` sum to
    `freight`, unless `kept` is more than that or nothing is planned. Negative figures count as zero."""
    left = max(0, freight - sum(max(0, borne) for borne in kept))
    if not values:
        return ()
    if mode == "on_first":
        return (left, *(0 for _ in values[1:]))
    return largest_remainder(left, [max(1, value) for value in values])


def refundable_freight(freight: int, values: Sequence[int], refused: Collection[int]) -> int:
    """The freight, minor units, that goes back when the parts at the positions `refused` of all parts of an order are not
    wanted: their own shares by value, whoever bears the freight. Each part's share is the same whatever else is refused,
    so the steps of any sequence sum to the whole, and refusing everything gives back `freight`. Positions outside
    `values` are nobody's."""
    shares = share_freight(max(0, freight), values, (), "spread")
    return sum(share for place, share in enumerate(shares) if place in refused)
