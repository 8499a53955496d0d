"""Which rules of a phase can match an order at all, found by what the order says instead of by asking every rule.

Most rules name something the order must have - a channel, a province, one of these SKUs. Such a need is read from the rule's
tree when it is compiled; the rules of a phase are then filed under the values they need, and only those filed under the
order's own values are tested. A need is necessary, never sufficient: every rule found is still tested in full."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from domain.facts import Facts
from domain.order import Order

from .conditions import read_value
from .fields import FIELDS, Kind
from .leaves import Given
from .regions import build_cover, country_of
from .ruleset import Need, Rule, Screen

_TEXT = frozenset({"eq", "in", "in_list"})
_REGION = _TEXT | {"starts_with"}
_FEW = 16  # so few are tested sooner than looked up: `bench rules` takes 29 us with 3 and 20 with this, of 30 rules
_MOST = 20_000  # values filed for one phase: a hostile ruleset names millions

_Of = Literal["order", "facts", "line", "region"]
_Get = Callable[[Any], Any]


def need_of(tree: Mapping[str, Any], given: Given) -> Need | None:
    """What an order must have for a checked `when` tree to hold; None when that is nothing one could look up."""
    if "field" in tree:
        return _need_of_leaf(tree, given)
    if "any_line" in tree:
        inner = need_of(tree["any_line"], given)
        return inner if inner is not None and inner.of == "line" else None
    if "all" in tree:
        found = [need for branch in tree["all"] if (need := need_of(branch, given)) is not None]
        # Of several the one that fewest orders are likely to have: a yes or no says little.
        return max(found, key=lambda need: (need.of in {"line", "region"}, True not in need.values), default=None)
    return None


def _need_of_leaf(leaf: Mapping[str, Any], given: Given) -> Need | None:
    field, op, value = FIELDS[leaf["field"]], leaf["op"], leaf.get("value")
    if field.joint or field.scope not in {"order", "facts", "line"}:
        return None
    if (field.kind == "text" and op in _TEXT) or (field.kind == "yesno" and op == "eq"):
        return Need(field.scope, field.name, field.get, _values(field.kind, op, value, given))
    if field.kind == "region" and op in _REGION:
        return Need("region", field.name, field.get, build_cover(_values(field.kind, op, value, given)))
    return None


def _values(kind: Kind, op: str, value: Any, given: Given) -> frozenset[Any]:
    if op == "in_list":
        return given.lists[value]
    return frozenset([read_value(kind, each) for each in (value if isinstance(value, list) else [value])])


def places_to_test(
    rules: Sequence[Rule], screens: Mapping[int, Screen], order: Order, facts: Facts
) -> Sequence[int] | None:
    """The places of the rules that could match, in order; None (all of them) where nothing was filed for exactly these
    rules."""
    screen = screens.get(id(rules))
    if screen is None or screen.rules is not rules:
        return None
    found = set(screen.always)
    for of, get, filed in screen.tables:
        for key in _keys(of, get, order, facts):
            places = filed.get(key)
            if places is not None:
                found.update(places)
    return sorted(found)


def _keys(of: _Of, get: _Get, order: Order, facts: Facts) -> Sequence[Any]:
    if of == "line":
        return [get(line) for line in order.lines]
    if of == "facts":
        return (get(facts),)
    seen = get(order)
    if of == "order":
        return (seen,)
    return (country_of(seen), seen.region, seen.region[:2], seen.region[:4])


def build_screens(phases: Iterable[tuple[Rule, ...]]) -> dict[int, Screen]:
    """What `places_to_test` looks into, by the identity of each phase's rules."""
    return {id(rules): _build(rules) for rules in phases if len(rules) > _FEW}


def _build(rules: tuple[Rule, ...]) -> Screen:
    always: list[int] = []
    filed: dict[tuple[_Of, str], tuple[_Get, dict[Any, list[int]]]] = {}
    left = _MOST
    for place, rule in enumerate(rules):
        need = rule.need
        if need is None or len(need.values) > left:
            always.append(place)
            continue
        left -= len(need.values)
        _, table = filed.setdefault((need.of, need.field), (need.get, {}))
        for value in need.values:
            table.setdefault(value, []).append(place)
    tables = tuple(
        (of, get, {value: tuple(places) for value, places in table.items()}) for (of, _), (get, table) in filed.items()
    )
    return Screen(rules, tuple(always), tables)
