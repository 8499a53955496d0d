"""What a ruleset is once it has been checked and compiled: values and closures, safe to share between threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from domain.decision import Hold, TraceStep
from domain.facts import Facts
from domain.order import Order

Phase = Literal["hold", "approve", "gift", "merge", "split", "route", "carrier", "schedule", "tag"]
PHASES: tuple[Phase, ...] = ("hold", "approve", "gift", "merge", "split", "route", "carrier", "schedule", "tag")

# The subject is an Order (or a Line inside any_line, all_lines, count and sum). The second argument is the Facts; for a rule
# that speaks of parts (`Rule.by_part`) it is a PartScene, which holds the Facts and the part.
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
    """A preference: `warehouses` in this order before all others; with `only`, no others. Those in `avoid` ship nothing,
    whatever else is said."""

    warehouses: tuple[str, ...] = ()
    only: bool = False
    avoid: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartView:
    """One part of a plan as carrier rules see it, before it has a carrier. `value` is minor units of the order; `classes`
    are those of all its goods; `supplier` is whose goods they are ("" ours, or of several)."""

    warehouse: str
    units: int
    weight_grams: int
    volume_ml: int
    value: int
    classes: frozenset[str]
    supplier: str


@dataclass(frozen=True, slots=True)
class PartScene:
    """What stands in the place of the Facts while a rule that speaks of parts is tested."""

    facts: Facts
    part: PartView


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What may not share a parcel. `apart` are groups of goods classes: goods of a class in one group never travel with
    goods of any class outside it; `by_supplier` keeps each supplier's goods apart; the limits are per parcel (value in
    minor units of the order, None: no limit); `partial` ships what is in stock and lets the rest wait."""

    apart: tuple[frozenset[str], ...] = ()
    by_supplier: bool = False
    max_value: int | None = None
    max_weight_grams: int | None = None
    max_volume_ml: int | None = None
    partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a carrier asks for one parcel, minor units of `Routing.currency`: `first_cost` up to `first_grams`, then
    `step_cost` for every `step_grams` begun. Empty `warehouses` or `regions` mean any; the first rate that fits counts."""

    carrier: str
    warehouses: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    first_grams: int = 1000
    first_cost: int = 0
    step_grams: int = 1000
    step_cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When an order may go out: `delay_minutes` after it was paid, not before the moment `not_before`, and not between
    the minutes of the day `quiet_from` and `quiet_to` of the clock `utc_offset` (minutes east of UTC)."""

    delay_minutes: int = 0
    not_before: datetime | None = None
    quiet_from: int | None = None
    quiet_to: int | None = None
    utc_offset: int = 480


@dataclass(frozen=True, slots=True)
class Need:
    """What an order must have for a rule to match: `get` - of the order, the facts, any of its lines, or the consignee's
    place - gives one of `values` (for a region: codes that cover it), or with a `span` a value from its lower to its upper
    bound, both included (None: no bound)."""

    of: Literal["order", "facts", "line", "region"]
    field: str
    get: Callable[[Any], Any]
    values: frozenset[Any] = frozenset()
    span: tuple[Any, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule and its effect. `test` answers only yes or no, `step` says also why; both agree. Only the effects of its
    phase are set. A rule that is `by_part` is tested for each part, with a PartScene. `merge_minutes` is the waiting window
    (0: sealed, None: no such effect); `waives` are codes of holds the rule takes back. `need` must hold for the rule to
    match (None: nothing one could look up)."""

    id: str
    phase: Phase
    test: Test
    step: Step
    by_part: bool = False
    need: Need | None = None
    hold: Hold | None = None
    waives: frozenset[str] = frozenset()
    gifts: tuple[tuple[str, int], ...] = ()
    if_available: bool = False
    merge_minutes: int | None = None
    split: Split | None = None
    route: Route | None = None
    carriers: tuple[str, ...] = ()
    schedule: Schedule | None = None
    tags: tuple[str, ...] = ()


Find = Callable[[Order, Facts], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Screen:
    """The rules of all `phases` filed by what they need (screen.py): `finds` give places in `rules` of those that an order
    makes possible; `always` are by phase those that need nothing one could look up, `places` where these are in `rules`;
    `every` are by phase all of them; `known` keeps the rules to test where places were found together before."""

    phases: tuple[tuple[Rule, ...], ...]
    rules: tuple[Rule, ...]
    places: Mapping[Phase, tuple[int, ...]]
    always: Mapping[Phase, tuple[Rule, ...]]
    every: Mapping[Phase, tuple[Rule, ...]]
    finds: tuple[Find, ...]
    known: dict[tuple[int, ...], Mapping[Phase, Sequence[Rule]]] = field(
        default_factory=dict, compare=False, repr=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How warehouses and carriers are chosen when no rule says so. `max_parts` limits the fulfilments of one order;
    `carriers` is the carrier per warehouse, `default_carriers` a list to try among those a warehouse declares. `rates` give
    parts a cost in `currency`; `freight` says who bears the freight of a split order: `spread` over its parts, or `on_first`.
    `utc_offset` is the clock (minutes east of UTC) of calendar fields and of quiet hours that name none."""

    allow_split: bool = True
    max_parts: int = 8
    carriers: Mapping[str, str] = field(default_factory=dict)
    default_carriers: tuple[str, ...] = ()
    rates: tuple[Rate, ...] = ()
    currency: str = "CNY"
    freight: Literal["spread", "on_first"] = "spread"
    utc_offset: int = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """A compiled ruleset. `digest` is the SHA-256 of its canonical JSON: two texts under one `version` do not pass for
    one another. Rules keep the order of the document within their phase. `gift_skus` is everything gifts can add: what
    stock and goods must be known of besides the orders' own. `screen` finds the rules worth testing (None: all are)."""

    version: str
    digest: str
    holds: tuple[Rule, ...] = ()
    approvals: tuple[Rule, ...] = ()
    gifts: tuple[Rule, ...] = ()
    merges: tuple[Rule, ...] = ()
    splits: tuple[Rule, ...] = ()
    routes: tuple[Rule, ...] = ()
    carriers: tuple[Rule, ...] = ()
    schedules: tuple[Rule, ...] = ()
    tags: tuple[Rule, ...] = ()
    gift_skus: frozenset[str] = frozenset()
    routing: Routing = field(default_factory=Routing)
    screen: Screen | None = field(default=None, compare=False, repr=False)
