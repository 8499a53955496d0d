"""For every test of a rule: the nearest values at which it turns, and the changes of the input that bring them about.

Nothing here decides: a change is a candidate, and only a decision made with it says whether it helps. Fields that follow from
others are changed where they come from: a weight at a line, a class at its goods, short stock at a warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from domain.order import Consignee, Order

from .changes import (
    Case,
    Change,
    distance_of,
    stock_to,
    with_amounts,
    with_consignee,
    with_facts,
    with_goods,
    with_line,
    with_order,
    with_sender,
)
from .conditions import COUNT, read_value
from .fields import FIELDS, Field
from .gifts import is_gift
from .goods import line_skus
from .leaves import build_reach, show_value
from .ranking import available
from .routing import build_demand, total_needs
from .seen import Looking

MOST_LINES = 20
_MOST_VALUES = 4
_SECOND, _MINUTE = timedelta(seconds=1), timedelta(minutes=1)
_OTHER = {"order.currency": "XXX", "consignee.country": "ZZ", "sender.account": "other", "sender.channel": "other"}
_FACTS = {
    "sender.orders_before": "sender_orders_before",
    "buyer.orders_24h": "buyer_orders_24h",
    "buyer.orders_30d": "buyer_orders_30d",
    "now": "now",
}
_DERIVED_LINES = frozenset({"line.skus", "line.classes", "line.supplier", "line.volume_ml"})
_MAY_BE_UNKNOWN = frozenset({"order.paid_at", "sender.credit_left", "order.paid_age_minutes"})
_LEAST = {"line.quantity": 1}


def changes_of_tree(tree: Any, case: Case, using: Looking) -> Iterator[Change]:
    """Candidates from every test of a checked `when` tree, in its order; both ways, for a `not` turns them round."""
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        node, in_line = stack.pop()
        if "count" in node or "sum" in node:
            yield from _of_figure(node, case, using)
            inner = node.get("count") or node.get("where")
            stack += [(inner, True)] if inner is not None else []
        elif "field" in node:
            yield from _of_test(node, case, using, in_line=in_line)
        else:
            ((key, inner),) = node.items()
            below = inner if isinstance(inner, list) else [inner]
            stack += [(one, in_line or key in {"any_line", "all_lines"}) for one in reversed(below)]


def _of_test(leaf: Mapping[str, Any], case: Case, using: Looking, *, in_line: bool) -> Iterator[Change]:
    field = FIELDS[leaf["field"]]
    if in_line:
        for number, line in own_lines(case.order):
            reach = build_reach(field, using.given)
            now = field.get(line if reach is None else reach(line, case.facts))
            yield from _line_changes(field, leaf, case, using, number, now)
        return
    if field.scope == "part":
        yield from _part_changes(field, leaf, case, using)
        return
    reach = build_reach(field, using.given)
    now = field.get(case.order if reach is None else reach(case.order, case.facts))
    for value in values_around(field, leaf, now, using):
        yield from _to(field, value, now, case, using)
    if "currency" in leaf:
        yield from _in_currency(field, leaf["currency"], case)


def own_lines(order: Order) -> list[tuple[int, Any]]:
    """The lines of the source that are not cancelled, by their number from 1; at most MOST_LINES."""
    found = [(n, line) for n, line in enumerate(order.lines, 1) if line.state != "cancelled" and not is_gift(line)]
    return found[:MOST_LINES]


def _in_currency(field: Field, code: str, case: Case) -> Iterator[Change]:
    if field.scope == "facts":
        now = case.facts.sender.credit_currency
        if now != code:
            change = Change("sender", "credit_currency", now, code)
            yield replace(change, apply=lambda seen: with_sender(seen, credit_currency=code))
    elif case.order.currency != code:
        change = Change("value", "order.currency", f"'{case.order.currency}'", f"'{code}'")
        yield replace(change, apply=lambda seen: with_order(seen, currency=code))


# --- values -----------------------------------------------------------------------------------------------------------


def values_around(field: Field, leaf: Mapping[str, Any], now: Any, using: Looking) -> list[Any]:
    """Values of this field next to where its test turns, without the present one; None stands for unknown."""
    op: str = leaf["op"]
    value: Any = leaf.get("value")
    if op == "in_list":
        value = using.first_of(value)[:_MOST_VALUES]
    if op in {"in", "in_list"}:
        wanted = [read_value(field.kind, each) for each in value[:_MOST_VALUES]]
    elif op == "between":
        wanted = [read_value(field.kind, each) for each in value]
    else:
        wanted = [] if value is None else [read_value(field.kind, value)]
    found = _AROUND[field.kind](field, op, wanted, now)
    return [each for n, each in enumerate(found) if each != now and each not in found[:n]]


def _numbers(field: Field, op: str, wanted: list[Any], now: Any) -> list[Any]:
    found = [each + step for each in wanted for step in (0, -1, 1)] or [0, 1]
    found = [each for each in found if each >= _LEAST.get(field.name, 0) or field.kind == "money"]
    found.sort(key=lambda each: abs(each - (now or 0)))
    if op in {"empty", "present"} and field.name in _MAY_BE_UNKNOWN:
        return [None, *found]
    return found


def _times(field: Field, _op: str, wanted: list[Any], now: Any) -> list[Any]:
    found: list[Any] = []
    for each in wanted:
        for step in (timedelta(0), -_SECOND, _SECOND):
            try:
                found.append(each + step)
            except OverflowError:
                continue
    return [*found, *([None] if now is not None and field.name in _MAY_BE_UNKNOWN else [])]


def _texts(field: Field, op: str, wanted: list[Any], now: Any) -> list[Any]:
    if field.choices:
        found = [each for each in wanted if each in field.choices]
        return [*found, *sorted(field.choices)]
    if field.dated:
        return [day for each in wanted for day in (each, _next_day(each))]
    more = [f"{each}{now}" for each in wanted] if op in {"contains", "starts_with"} else []
    return [*more, *wanted, _OTHER.get(field.name, ""), *(["x"] if op in {"empty", "present"} else [])]


def _next_day(day: str) -> str:
    try:
        return (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
    except (ValueError, OverflowError):
        return day


def _regions(_field: Field, _op: str, wanted: list[Any], now: Consignee) -> list[Any]:
    found = [replace(now, region=each, country="CN" if each[:1].isdigit() else each[:2]) for each in wanted]
    return [*found, replace(now, region=""), replace(now, region="", country="")]


def _sets(_field: Field, _op: str, wanted: list[Any], now: Any) -> list[Any]:
    kept = tuple(now)
    added = [(*kept, each) for each in wanted if each not in kept]
    without = tuple(each for each in kept if each not in wanted)
    return [*added, without, *([] if kept else [("x",)]), ()]


def _yesno(_field: Field, _op: str, _wanted: list[Any], now: Any) -> list[Any]:
    return [not now]


_AROUND: Mapping[str, Callable[[Field, str, list[Any], Any], list[Any]]] = {
    "number": _numbers, "money": _numbers, "time": _times, "text": _texts, "region": _regions, "set": _sets,
    "yesno": _yesno,
}  # fmt: skip


# --- from a value to a changed input ----------------------------------------------------------------------------------


def _said(field: Field, value: Any) -> str:
    return "nothing" if value is None else show_value(field, value)


def _change(
    field: Field, now: Any, value: Any, put: Callable[[Case], Case], line: int = 0, kind: str = "value"
) -> Change:
    before, after = _said(field, now), _said(field, value)
    if field.private and before == after:
        after = f"another {after}"
    return Change(kind, field.name, before, after, line, distance_of(now, value), put)


def _to(field: Field, value: Any, now: Any, case: Case, using: Looking) -> Iterator[Change]:
    """Changes after which an order field, a fact or the clock has this value."""
    room, _, name = field.name.partition(".")
    special = _SPECIAL.get(field.name)
    if special is not None:
        yield from special(field, value, now, case, using)
    elif field.name in _FACTS:
        yield _change(field, now, value, lambda seen: with_facts(seen, **{_FACTS[field.name]: value}))
    elif room == "amounts":
        yield _change(field, now, value, lambda seen: with_amounts(seen, **{name: value}))
    elif room == "consignee":
        yield _change(field, now, value, lambda seen: with_consignee(seen, **{name: value}))
    elif room == "sender":
        yield _change(field, now, value, lambda seen: with_sender(seen, **{name: value}))
    elif room == "order":
        yield _change(field, now, value, lambda seen: with_order(seen, **{name: value}))


def _remark(field: Field, value: Any, now: Any, _case: Case, _using: Looking) -> Iterator[Change]:
    name = field.name.removeprefix("order.has_")
    yield _change(field, now, value, lambda seen: with_order(seen, **{name: "x" if value else ""}))


def _paid_age(field: Field, value: Any, now: Any, case: Case, _using: Looking) -> Iterator[Change]:
    try:
        paid = None if value is None else case.facts.now - value * _MINUTE
    except OverflowError:
        return
    yield _change(field, now, value, lambda seen: with_order(seen, paid_at=paid))


def _region(field: Field, value: Any, now: Any, _case: Case, _using: Looking) -> Iterator[Change]:
    places = {"region": value.region, "country": value.country}
    yield _change(field, now, value, lambda seen: with_consignee(seen, **places))


def _first(field: Field, value: Any, now: Any, _case: Case, _using: Looking) -> Iterator[Change]:
    yield _change(field, now, value, lambda seen: with_facts(seen, sender_orders_before=0 if value else 1))


def _clock(field: Field, value: Any, now: Any, case: Case, using: Looking) -> Iterator[Change]:
    local = case.facts.now.astimezone(using.clock)
    try:
        if field.name == "calendar.minute":
            moved = local + (value - now) * _MINUTE if 0 <= value < 1440 else None
        elif field.name == "calendar.weekday":
            moved = local + timedelta(days=(value - now + 3) % 7 - 3) if 1 <= value <= 7 else None
        else:
            day = datetime.fromisoformat(value)
            moved = local.replace(year=day.year, month=day.month, day=day.day)
        utc = moved.astimezone(case.facts.now.tzinfo) if moved is not None else None
    except (ValueError, OverflowError):
        return
    if utc is not None:
        yield _change(field, now, value, lambda seen: with_facts(seen, now=utc))


def _units(_field: Field, value: Any, now: Any, case: Case, _using: Looking) -> Iterator[Change]:
    quantity = FIELDS["line.quantity"]
    for number, line in own_lines(case.order):
        if (units := line.quantity + value - now) >= 1:
            yield _line_change(quantity, number, line.quantity, units)


def _weight(_field: Field, value: Any, now: Any, case: Case, _using: Looking) -> Iterator[Change]:
    yield from _weights(case, value - now)


def _weights(case: Case, more: int) -> Iterator[Change]:
    field = FIELDS["line.weight_grams"]
    for number, line in own_lines(case.order):
        old = field.get((line, case.facts))
        each = -(-more // line.quantity) if line.quantity > 0 else more
        if old + each > 0:
            yield _line_change(field, number, old, old + each)


def _volume(_field: Field, value: Any, now: Any, case: Case, _using: Looking) -> Iterator[Change]:
    for number, line in own_lines(case.order):
        old = FIELDS["line.volume_ml"].get((line, case.facts))
        each = old + (-(-(value - now) // line.quantity) if line.quantity > 0 else value - now)
        if each > 0:
            yield from _goods_changes(FIELDS["line.volume_ml"], each, old, number, line)


def _by_lines(field: Field, value: Any, _now: Any, case: Case, _using: Looking) -> Iterator[Change]:
    """Sets of an order that come from its lines: a line that has what is missing, or has not what is too much."""
    name = {"order.skus": "line.sku", "order.classes": "line.classes", "order.suppliers": "line.supplier"}[field.name]
    inner = FIELDS[name]
    for number, line in own_lines(case.order):
        old = inner.get(line) if not inner.joint else inner.get((line, case.facts))
        if name == "line.classes":
            yield from _goods_changes(inner, tuple(sorted(value)), old, number, line)
            continue
        for each in [*sorted(set(value) - {old})[:_MOST_VALUES], ""]:
            if name == "line.sku":
                yield _line_change(inner, number, old, each)
            else:
                yield from _goods_changes(inner, each, old, number, line)


def _shipped(_field: Field, value: Any, _now: Any, case: Case, _using: Looking) -> Iterator[Change]:
    for number, line in own_lines(case.order):
        yield _line_change(FIELDS["line.requires_shipping"], number, line.requires_shipping, not value)


def _stock(_field: Field, _value: Any, _now: Any, case: Case, _using: Looking) -> Iterator[Change]:
    for sku, units in total_needs(build_demand(case.order) or ()).items():
        total = sum(available(case.facts, one.name, sku) for one in case.facts.warehouses)
        for one in case.facts.warehouses[:MOST_LINES]:
            have = available(case.facts, one.name, sku)
            for wanted in (units, max(0, have + units - total), max(0, min(have, units - 1, have + units - 1 - total))):
                if wanted != have:
                    yield stock_to(case, one.name, sku, wanted)


def _none(*_: Any) -> Iterator[Change]:
    return iter(())


_Special = Callable[[Field, Any, Any, Case, Looking], Iterator[Change]]
_SPECIAL: Mapping[str, _Special] = {
    "order.has_buyer_message": _remark, "order.has_seller_memo": _remark, "order.paid_age_minutes": _paid_age,
    "consignee.region": _region, "sender.first_order": _first, "calendar.minute": _clock, "calendar.weekday": _clock,
    "calendar.date": _clock, "order.units": _units, "order.weight_grams": _weight, "order.volume_ml": _volume,
    "order.classes": _by_lines, "order.suppliers": _by_lines, "order.skus": _by_lines, "order.virtual": _shipped,
    "stock.short": _stock, "stock.complete_warehouses": _stock, "order.line_count": _none, "order.has_gift": _none,
}  # fmt: skip


# --- lines ------------------------------------------------------------------------------------------------------------


def _line_changes(
    field: Field, leaf: Mapping[str, Any], case: Case, using: Looking, number: int, now: Any
) -> Iterator[Change]:
    line = case.order.lines[number - 1]
    for value in values_around(field, leaf, now, using):
        if field.name in {"line.classes", "line.supplier", "line.volume_ml"}:
            yield from _goods_changes(field, value, now, number, line)
        elif field.name == "line.skus":
            for each in value[-1:]:
                yield _line_change(FIELDS["line.sku"], number, line.sku, each)
        else:
            yield _line_change(field, number, now, value)


def _line_change(field: Field, number: int, now: Any, value: Any) -> Change:
    name = field.name.removeprefix("line.")
    return _change(field, now, value, lambda seen: with_line(seen, number, **{name: value}), number)


def _goods_changes(field: Field, value: Any, now: Any, number: int, line: Any) -> Iterator[Change]:
    name = field.name.removeprefix("line.")
    values = {name: frozenset(value) if name == "classes" else value}
    for sku in line_skus(line)[:_MOST_VALUES]:
        change = _change(field, now, value, partial(with_goods, sku=sku, values=values), number, "goods")
        yield replace(change, what=f"{sku}.{name}")


def _part_changes(field: Field, leaf: Mapping[str, Any], case: Case, using: Looking) -> Iterator[Change]:
    """Parts follow from the plan: what the goods are like is all that can be changed about them, and an order that is one
    part is what the boundary is measured on."""
    if field.name == "part.units":
        total = FIELDS["order.units"].get(case.order)
        for value in values_around(field, leaf, total, using):
            yield from _units(field, value, total, case, using)
    elif field.name == "part.weight_grams":
        total = FIELDS["order.weight_grams"].get((case.order, case.facts))
        for value in values_around(field, leaf, total, using):
            yield from _weights(case, value - total)
    elif field.name == "part.value":
        total = sum(line.amount for _, line in own_lines(case.order))
        for value in values_around(field, leaf, total, using):
            for number, line in own_lines(case.order):
                yield _line_change(FIELDS["line.amount"], number, line.amount, line.amount + value - total)
    elif field.name in {"part.classes", "part.supplier"}:
        inner = FIELDS["line." + field.name.removeprefix("part.")]
        for number, line in own_lines(case.order):
            now = inner.get((line, case.facts))
            for value in values_around(inner, leaf, now, using):
                yield from _goods_changes(inner, value, now, number, line)


def _of_figure(tree: Mapping[str, Any], case: Case, using: Looking) -> Iterator[Change]:
    """A sum turns when one of its lines has more or less; a count turns by the tests inside it."""
    if "count" in tree:
        return
    field = FIELDS[tree["sum"]]
    if field.name in _DERIVED_LINES:
        return
    summed = replace(COUNT, name="sum", kind=field.kind)
    chosen = using.condition(tree["where"]).test if "where" in tree else None
    lines = [(n, one) for n, one in own_lines(case.order) if chosen is None or chosen(one, case.facts)]
    values = {n: field.get((one, case.facts)) if field.joint else field.get(one) for n, one in lines}
    total = sum(values[n] * one.quantity if field.per_unit else values[n] for n, one in lines)
    for wanted in values_around(summed, tree, total, using):
        for number, line in lines:
            times = line.quantity if field.per_unit else 1
            if not times or wanted is None:
                continue
            value = values[number] - (total - wanted) // times
            if value >= _LEAST.get(field.name, 0) or field.kind == "money":
                yield _line_change(field, number, values[number], value)
