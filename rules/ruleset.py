"""What a ruleset is once it has been checked and compiled: values and closures, safe to share between threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from domain.decision import Hold, TraceStep

Phase = Literal["hold", "route", "carrier", "tag"]
PHASES: tuple[Phase, ...] = ("hold", "route", "carrier", "tag")

# The subject is an Order (or a Line inside any_line/all_lines), the second argument the Facts.
Test = Callable[[Any, Any], bool]
Look = Callable[[Any, Any], tuple[bool, str]]
Step = Callable[[Any, Any], TraceStep]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition in its two forms: `test` says yes or no, `look` says also what it saw (for the trace)."""

    test: Test
    look: Look


@dataclass(frozen=True, slots=True)
class Route:
    """A preference: `warehouses` in this order before all others; with `only`, no others."""

    warehouses: tuple[str, ...]
    only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule and its effect. `test` answers only yes or no, `step` says also why; both agree. Exactly one of `hold`,
    `route`, `carriers`, `tags` is set, as its phase says."""

    id: str
    phase: Phase
    test: Test
    step: Step
    hold: Hold | None = None
    route: Route | None = None
    carriers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How warehouses and carriers are chosen when no rule says so. `max_parts` limits the fulfilments of one order;
    `carriers` is the carrier per warehouse, `default_carriers` a list to try among those a warehouse declares."""

    allow_split: bool = True
    max_parts: int = 8
    carriers: Mapping[str, str] = field(default_factory=dict)
    default_carriers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """A compiled ruleset. `digest` is the SHA-256 of its canonical JSON: two texts under one `version` do not pass for
    one another. Rules keep the order of the document within their phase."""

    version: str
    digest: str
    holds: tuple[Rule, ...] = ()
    routes: tuple[Rule, ...] = ()
    carriers: tuple[Rule, ...] = ()
    tags: tuple[Rule, ...] = ()
    routing: Routing = field(default_factory=Routing)
