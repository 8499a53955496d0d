"""What the rules decided about an order and why. Effects of one kind combine as design.md §3 says: route and carrier -
first wins; hold, tag - add up; any hold stops the release."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason not to release yet; `code` is what the exception carries (`hold_remark`), `rule` the rule's id."""

    code: str
    rule: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PartLine:
    """`line` is the index in `Order.lines`; `sku` ours (a component's for bundles); `quantity` in units of that SKU."""

    line: int
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Part:
    """One fulfilment to be: what one warehouse ships and with which carrier ("" = the warehouse's choice). `cost` is the
    ruleset's rate for it and what a parcel costs at the warehouse, minor units of the routing's currency (0: unknown);
    `why` says what set it apart from the other parts of the same warehouse ("" when nothing did: `class cold`,
    `supplier acme`, `value`, `weight`, …); `waits` says that its goods are not in stock yet (back-order, pre-sale)."""

    warehouse: str
    lines: tuple[PartLine, ...]
    carrier: str = ""
    cost: int = 0
    why: str = ""
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Gift:
    """Goods a rule adds to an order for nothing: they are lines of the order after its own, in this order."""

    rule: str
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Merging:
    """Whether the order may wait for others of the same buyer and place, up to `window_minutes` from when it was paid (0:
    it never merges); `rule` is the rule that said so."""

    window_minutes: int
    rule: str


class TraceStep(NamedTuple):
    """One rule looked at: `matched`, and `why` - the first condition that failed, or what the match saw. A tuple, because a
    decision makes dozens of them."""

    rule: str
    phase: str
    matched: bool
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`parts` is empty when no warehouse could be found; `holds` then says why. Lines of `parts` beyond the order's own are
    `gifts`, in their order. `not_before` is when its fulfilments may be released at the earliest (None: at once). `matched`
    are the ids of the rules that matched (those about parts: any part), in the order in which they were looked at; the
    trace says why, and is empty where nobody asked for it."""

    ruleset: str
    holds: tuple[Hold, ...]
    parts: tuple[Part, ...]
    tags: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = ()
    gifts: tuple[Gift, ...] = ()
    merging: Merging | None = None
    not_before: datetime | None = None
    matched: tuple[str, ...] = ()

    @property
    def released(self) -> bool:
        return not self.holds and bool(self.parts)
