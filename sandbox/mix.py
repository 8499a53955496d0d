"""The kinds of orders a generated run is made of, how often each occurs, and what must become of it.

`expect` is what the ledger tells the demo:
 ship       every line reaches a warehouse once and each package is told to the channel once
 exception  stopped with an exception; never at a warehouse
 nothing    never at a warehouse and no exception needed (not paid, closed, cancelled before it could be pushed)
 race       exactly one of: never pushed; cancelled at the warehouse; shipped and an exception raised
 review     may be held for a person by rules (remark, edit after placement); ships at most once
 rest       the lines still open ship once; the refunded line never does
 scarce     ships if stock lasts, otherwise an exception; never oversold
"""

from __future__ import annotations

from random import Random

EXPECT = {
    "plain": "ship",
    "remark": "review",
    "sku_unmapped": "exception",
    "phone_invalid": "exception",
    "address_unknown": "exception",
    "address_incomplete": "exception",
    "money_mismatch": "exception",
    "paid_later": "ship",
    "unpaid_closed": "nothing",
    "cancelled_early": "nothing",
    "cancelled_race": "race",
    "edited": "review",
    "refund_closed": "ship",
    "refund_succeeded": "rest",
    "step_deposit": "nothing",
    "late": "ship",
    "double": "ship",
    "touched": "ship",
    "scarce": "scarce",
    "poison": "exception",
}
_SHARED = {
    "plain": 88.0,
    "remark": 1.5,
    "sku_unmapped": 1.0,
    "phone_invalid": 0.8,
    "address_unknown": 0.5,
    "address_incomplete": 0.5,
    "money_mismatch": 0.7,
    "paid_later": 1.0,
    "unpaid_closed": 0.6,
    "cancelled_early": 0.7,
    "cancelled_race": 1.0,
    "edited": 0.9,
    "late": 0.4,
    "double": 0.3,
    "touched": 0.3,
    "scarce": 0.3,
}
WEIGHTS: dict[str, dict[str, float]] = {
    "taobao": {**_SHARED, "refund_closed": 0.5, "refund_succeeded": 0.5, "step_deposit": 0.5},
    "shopify": _SHARED,
}


def weights(channel: str, mix: str | dict[str, float] | None, poison: float) -> dict[str, float]:
    """Weights per kind: "plain", "full" (or None), or a dict that replaces weights of the full mix. `poison` is a share 0..1."""
    if mix == "plain":
        return {"plain": 1.0}
    table = dict(WEIGHTS[channel])
    if isinstance(mix, dict):
        unknown = set(mix) - set(EXPECT)
        if unknown:
            raise ValueError(f"unknown kinds: {sorted(unknown)}")
        table.update(mix)
    if poison > 0 and "poison" not in table:
        table["poison"] = sum(table.values()) * poison
    return table


def pick(rng: Random, table: dict[str, float]) -> str:
    """Draw one kind."""
    return rng.choices(list(table), list(table.values()))[0]
