"""What the rules decided about an order and why. Effects of one kind combine as design.md §3 says: route and carrier -
first wins; hold, tag - add up; any hold stops the release."""

from __future__ import annotations

from dataclasses import dataclass


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
    """One fulfilment to be: what one warehouse ships and with which carrier ("" = the warehouse's choice)."""

    warehouse: str
    lines: tuple[PartLine, ...]
    carrier: str = ""


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One rule looked at: `matched`, and `why` - the first condition that failed, or what the match saw."""

    rule: str
    phase: str
    matched: bool
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`parts` is empty when no warehouse could be found; `holds` then says why."""

    ruleset: str
    holds: tuple[Hold, ...]
    parts: tuple[Part, ...]
    tags: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = ()

    @property
    def released(self) -> bool:
        return not self.holds and bool(self.parts)
