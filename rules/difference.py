"""What two decisions about the same order do differently, by kind, as JSON values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domain.decision import Decision

KINDS = (
    "warehouse",
    "split",
    "goods",
    "hold",
    "exception",
    "carrier",
    "cost",
    "tag",
    "gift",
    "merging",
    "release",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One kind of effect that is not the same: what it was and what it would be."""

    kind: str
    before: Any
    after: Any


def differences(before: Decision, after: Decision) -> list[Difference]:
    """Everything that takes effect differently, in the order of KINDS; nothing for the same effects. The trace and the
    ruleset's name take no effect."""
    if before.parts == after.parts and before.holds == after.holds and before.tags == after.tags:
        told, would = _later(before), _later(after)
    else:
        told, would = _effects(before), _effects(after)
        if (
            told["warehouse"] != would["warehouse"]
        ):  # other warehouses: their goods and carriers are no news of their own
            for kind in ("goods", "carrier"):
                told[kind] = would[kind] = None
    return [Difference(kind, told[kind], would[kind]) for kind in KINDS if kind in told and told[kind] != would[kind]]


def _effects(decision: Decision) -> dict[str, Any]:
    parts = decision.parts
    return {
        "warehouse": sorted(part.warehouse for part in parts),
        "split": len(parts),
        "goods": sorted([part.warehouse, line.line, line.sku, line.quantity] for part in parts for line in part.lines),
        "hold": sorted({hold.code for hold in decision.holds}),
        "exception": bool(decision.holds),
        "carrier": sorted([part.warehouse, part.carrier] for part in parts),
        "cost": cost_of(decision),
        "tag": sorted(decision.tags),
        **_later(decision),
    }


def _later(decision: Decision) -> dict[str, Any]:
    return {
        "gift": [[gift.sku, gift.quantity] for gift in decision.gifts],
        "merging": decision.merging.window_minutes if decision.merging else 0,
        "release": decision.not_before.isoformat() if decision.not_before else "",
    }


def cost_of(decision: Decision) -> int:
    """What all parts cost by the rates, minor units of the routing's currency; 0: unknown."""
    return sum(part.cost for part in decision.parts)
