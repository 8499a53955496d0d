"""Which rules can match an order at all, found by what the order says instead of by asking every rule.

Most rules name something the order must have - a channel, a province, one of these SKUs, an amount between two others. Such a
need is read from the rule's tree when it is compiled. The rules of all phases are filed together under what they need, so that
an order's region, say, is looked up once and not once for each rule that speaks of it; only those filed under the order's own
values are tested. A need is necessary, never sufficient: every rule found is still tested in full."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal

from domain.facts import Facts
from domain.order import Order

from .conditions import read_value
from .fields import FIELDS, Kind
from .leaves import Given
from .regions import build_cover, country_of
from .ruleset import PHASES, Find, Need, Phase, Rule, Ruleset, Screen

_TEXT = frozenset({"eq", "in", "in_list"})
_REGION = _TEXT | {"starts_with"}
_FEW = 3  # so few that need the same are tested sooner than looked up
_MOST = 20_000  # values filed for one ruleset: a hostile one names millions
_SPANS = 100  # between two bounds each: every rule is filed once for every bound there is
_KEPT = 4096

_Of = Literal["order", "facts", "line", "region"]
_Rules = Mapping[Phase, Sequence[Rule]]
_phases_of = attrgetter(
    "holds", "approvals", "gifts", "merges", "splits", "routes", "carriers", "schedules", "tags"
)  # in the order of PHASES


def need_of(tree: Mapping[str, Any], given: Given) -> Need | None:
    """What an order must have for a checked `when` tree to hold; None when that is nothing one could look up."""
    if "field" in tree:
        return _need_of_leaf(tree, given)
    if "any_line" in tree:
        inner = need_of(tree["any_line"], given)
        return inner if inner is not None and inner.of == "line" else None
    if "all" in tree:
        found = [need for branch in tree["all"] if (need := need_of(branch, given)) is not None]
        return max(found, key=_rarity, default=None)
    return None


def _rarity(need: Need) -> int:
    """Of several needs the one that fewest orders are likely to have: a yes or no says little, and so does one bound."""
    if need.of in {"line", "region"}:
        return 4
    if need.span is not None:
        return 1 if None in need.span else 3
    return 0 if True in need.values else 2


def _need_of_leaf(leaf: Mapping[str, Any], given: Given) -> Need | None:
    field, op, value = FIELDS[leaf["field"]], leaf["op"], leaf.get("value")
    if field.joint or field.scope not in {"order", "facts", "line"}:
        return None
    if (field.kind == "text" and op in _TEXT) or (field.kind == "yesno" and op == "eq"):
        return Need(field.scope, field.name, field.get, _values(field.kind, op, value, given))
    if field.kind == "region" and op in _REGION:
        return Need("region", field.name, field.get, build_cover(_values(field.kind, op, value, given)))
    if field.kind in {"number", "money", "time"} and field.scope != "line":
        span = _span(field.kind, op, value)
        return None if span is None else Need(field.scope, field.name, field.get, span=span)
    return None


def _values(kind: Kind, op: str, value: Any, given: Given) -> frozenset[Any]:
    if op == "in_list":
        return given.lists[value]
    return frozenset([read_value(kind, each) for each in (value if isinstance(value, list) else [value])])


def _span(kind: Kind, op: str, value: Any) -> tuple[Any, Any] | None:
    """The lowest and the highest value that can pass the test, None where there is no bound."""
    if op == "between":
        return read_value(kind, value[0]), read_value(kind, value[1])
    if op not in {"eq", "lt", "le", "gt", "ge"}:
        return None
    bound = read_value(kind, value)
    return None if op in {"lt", "le"} else bound, None if op in {"gt", "ge"} else bound


def rules_to_test(ruleset: Ruleset, order: Order, facts: Facts, *, trace: bool = False) -> _Rules:
    """By phase the rules that could match, in order; with `trace` all of them, because each has something to say."""
    phases, screen = _phases_of(ruleset), ruleset.screen
    if screen is None or screen.phases != phases:
        return dict(zip(PHASES, phases, strict=True))
    if trace:
        return screen.every
    found: list[int] = []
    for find in screen.finds:
        found += find(order, facts)
    if not found:
        return screen.always
    key = tuple(found)
    known = screen.known.get(key)
    if known is None:
        if len(screen.known) >= _KEPT:
            screen.known.clear()
        known = screen.known[key] = _with_found(screen, found)
    return known


def _with_found(screen: Screen, found: Sequence[int]) -> _Rules:
    """The rules that are always tested, and those at these places."""
    told: dict[Phase, Sequence[Rule]] = dict(screen.always)
    fresh: dict[Phase, set[int]] = {}
    for place in found:
        fresh.setdefault(screen.rules[place].phase, set()).add(place)
    for phase, places in fresh.items():
        told[phase] = tuple([screen.rules[place] for place in sorted(places.union(screen.places[phase]))])
    return told


def build_screen(phases: Sequence[tuple[Rule, ...]]) -> Screen:
    """What `rules_to_test` looks into. `phases` are the rules in the order of PHASES."""
    rules = tuple(rule for phase in phases for rule in phase)
    filed = _file(rules)
    looked_up = {place for needs in filed for place, _ in needs}
    places: dict[Phase, list[int]] = {phase: [] for phase in PHASES}
    for place, rule in enumerate(rules):
        if place not in looked_up:
            places[rule.phase].append(place)
    return Screen(
        phases=tuple(phases),
        rules=rules,
        places={phase: tuple(always) for phase, always in places.items()},
        always={phase: tuple([rules[place] for place in always]) for phase, always in places.items()},
        every=dict(zip(PHASES, phases, strict=True)),
        finds=tuple(_by_span(needs) if needs[0][1].span is not None else _by_value(needs) for needs in filed),
    )


_Needs = Sequence[tuple[int, Need]]


def _file(rules: Sequence[Rule]) -> list[_Needs]:
    """Rules that are found by looking up the same, with what they need of it."""
    filed: dict[tuple[str, str], list[tuple[int, Need]]] = {}
    left = _MOST
    for place, rule in enumerate(rules):
        need = rule.need
        if need is None or len(need.values) > left:
            continue
        same = filed.setdefault((need.of, need.field), [])
        if need.span is None or len(same) < _SPANS:
            left -= len(need.values)
            same.append((place, need))
    return [same for same in filed.values() if len(same) >= _FEW]


def _by_value(needs: _Needs) -> Find:
    table: dict[Any, list[int]] = {}
    for place, need in needs:
        for value in need.values:
            table.setdefault(value, []).append(place)
    filed = {value: tuple(places) for value, places in table.items()}
    of, get = needs[0][1].of, needs[0][1].get
    if of == "line":
        return _by_line(get, filed)
    if of == "facts":
        return lambda _, facts: filed.get(get(facts), ())
    return _by_region(get, filed) if of == "region" else lambda order, _: filed.get(get(order), ())


def _by_line(get: Callable[[Any], Any], filed: Mapping[Any, tuple[int, ...]]) -> Find:
    def find(order: Order, _: Facts) -> Sequence[int]:
        found: tuple[int, ...] = ()
        for line in order.lines:
            if places := filed.get(get(line)):
                found += places
        return found

    return find


def _by_region(get: Callable[[Any], Any], filed: Mapping[Any, tuple[int, ...]]) -> Find:
    known: dict[tuple[str, str], tuple[int, ...]] = {}

    def find(order: Order, _: Facts) -> Sequence[int]:
        to = get(order)
        key = (to.country, to.region)
        places = known.get(key)
        if places is None:
            codes = dict.fromkeys((country_of(to), to.region, to.region[:2], to.region[:4]))
            places = tuple(place for code in codes for place in filed.get(code, ()))
            if len(known) < _KEPT:
                known[key] = places
        return places

    return find


def _by_span(needs: _Needs) -> Find:
    """Between any two neighbours among the bounds the same rules are possible, and at each bound."""
    edges = sorted({bound for _, need in needs for bound in need.span or () if bound is not None})
    at: list[tuple[int, ...]] = [_possible(needs, edge, edge) for edge in edges]
    below = [_possible(needs, low, high) for low, high in zip([None, *edges], [*edges, None], strict=True)]
    of_facts, get = needs[0][1].of == "facts", needs[0][1].get

    def find(order: Order, facts: Facts) -> Sequence[int]:
        value = get(facts if of_facts else order)
        if value is None:  # what is not known is neither before nor after anything
            return ()
        place = bisect_left(edges, value)
        return at[place] if place < len(edges) and edges[place] == value else below[place]

    return find


def _possible(needs: _Needs, low: Any, high: Any) -> tuple[int, ...]:
    """The places of the needs that a value strictly between `low` and `high` meets, or one equal to both."""
    found = []
    for place, need in needs:
        least, most = need.span or (None, None)
        if (least is None or (low is not None and least <= low)) and (
            most is None or (high is not None and high <= most)
        ):
            found.append(place)
    return tuple(found)
