"""From a checked condition tree to closures, once per ruleset. Nothing is evaluated from text: every closure is written
out below.

Each condition comes in two forms. `test` answers yes or no and allocates nothing; `look` also says what it saw, for the
trace. Recursion is safe here because `conditions.survey_tree` has limited the depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from domain.decision import TraceStep

from .conditions import read_value
from .fields import FIELDS, Field, Kind
from .regions import build_cover, country_of, covers
from .ruleset import Condition, Look, Phase, Step, Test

Lists = Mapping[str, frozenset[str]]
Get = Callable[[Any], Any]
Make = Callable[[Get, Any], Test]

MAX_KEPT = 256
_WHY_LIMIT = 400
_SHOWN_TEXT = 40


def compile_tree(tree: Mapping[str, Any], lists: Lists) -> Condition:
    """A checked `when` tree as closures over (order, facts)."""
    if "field" in tree:
        return _leaf(tree, lists)
    ((key, inner),) = tree.items()
    if key == "not":
        return _negation(compile_tree(inner, lists))
    if key == "any_line":
        return _any_line(compile_tree(inner, lists))
    if key == "all_lines":
        return _all_lines(compile_tree(inner, lists))
    branches = [compile_tree(item, lists) for item in inner]
    if len(branches) == 1:
        return branches[0]
    return _every(branches) if key == "all" else _some(branches)


# --- groups ---------------------------------------------------------------------------------------------------------


def _every(branches: Sequence[Condition]) -> Condition:
    tests, looks = tuple(branch.test for branch in branches), tuple(branch.look for branch in branches)

    def test(subject: Any, facts: Any) -> bool:
        for one in tests:  # noqa: SIM110 - a generator would be allocated for every order
            if not one(subject, facts):
                return False
        return True

    def look(subject: Any, facts: Any) -> tuple[bool, str]:
        seen = []
        for one in looks:
            met, why = one(subject, facts)
            if not met:
                return False, why
            seen.append(why)
        return True, _joined(" and ", seen) or "always"

    return Condition(_pair_and(tests) if len(tests) == 2 else test, look)


def _pair_and(tests: Sequence[Test]) -> Test:
    first, second = tests
    return lambda subject, facts: first(subject, facts) and second(subject, facts)


def _some(branches: Sequence[Condition]) -> Condition:
    tests, looks = tuple(branch.test for branch in branches), tuple(branch.look for branch in branches)

    def test(subject: Any, facts: Any) -> bool:
        for one in tests:  # noqa: SIM110 - a generator would be allocated for every order
            if one(subject, facts):
                return True
        return False

    def look(subject: Any, facts: Any) -> tuple[bool, str]:
        seen = []
        for one in looks:
            met, why = one(subject, facts)
            if met:
                return True, why
            seen.append(why)
        return False, _joined(" and ", seen)

    return Condition(test, look)


def _joined(word: str, seen: Sequence[str]) -> str:
    text = word.join(seen[:6])
    return text if len(text) <= _WHY_LIMIT else text[: _WHY_LIMIT - 1] + "…"


def _negation(inner: Condition) -> Condition:
    test, look = inner.test, inner.look

    def opposite(subject: Any, facts: Any) -> tuple[bool, str]:
        met, why = look(subject, facts)
        return not met, f"not ({why})"

    return Condition(lambda subject, facts: not test(subject, facts), opposite)


def _any_line(inner: Condition) -> Condition:
    hit, describe = inner.test, inner.look

    def test(order: Any, facts: Any) -> bool:
        for line in order.lines:  # noqa: SIM110 - a generator would be allocated for every order
            if line.state != "cancelled" and hit(line, facts):
                return True
        return False

    def look(order: Any, facts: Any) -> tuple[bool, str]:
        first = ""
        for number, line in enumerate(order.lines, 1):
            if line.state == "cancelled":
                continue
            if hit(line, facts):
                return True, f"line {number}: {describe(line, facts)[1]}"
            first = first or f"no line; line {number}: {describe(line, facts)[1]}"
        return False, first or "no lines"

    return Condition(test, look)


def _all_lines(inner: Condition) -> Condition:
    hit, describe = inner.test, inner.look

    def test(order: Any, facts: Any) -> bool:
        found = False  # an order without lines is not one where "all lines" are anything
        for line in order.lines:
            if line.state != "cancelled":
                if not hit(line, facts):
                    return False
                found = True
        return found

    def look(order: Any, facts: Any) -> tuple[bool, str]:
        first = ""
        for number, line in enumerate(order.lines, 1):
            if line.state == "cancelled":
                continue
            if not hit(line, facts):
                return False, f"line {number}: {describe(line, facts)[1]}"
            first = first or f"every line; line {number}: {describe(line, facts)[1]}"
        return bool(first), first or "no lines"

    return Condition(test, look)


# --- leaves ---------------------------------------------------------------------------------------------------------


def _eq(get: Get, value: Any) -> Test:
    return lambda subject, _: get(subject) == value


def _ne(get: Get, value: Any) -> Test:
    return lambda subject, _: get(subject) != value


def _lt(get: Get, value: Any) -> Test:
    return lambda subject, _: get(subject) < value


def _le(get: Get, value: Any) -> Test:
    return lambda subject, _: get(subject) <= value


def _gt(get: Get, value: Any) -> Test:
    return lambda subject, _: get(subject) > value


def _ge(get: Get, value: Any) -> Test:
    return lambda subject, _: get(subject) >= value


def _between(get: Get, value: Any) -> Test:
    low, high = value
    return lambda subject, _: low <= get(subject) <= high


def _in(get: Get, value: Any) -> Test:
    return lambda subject, _: get(subject) in value


def _contains(get: Get, value: Any) -> Test:
    part = value.casefold()
    return lambda subject, _: part in get(subject).casefold()


def _starts_with(get: Get, value: Any) -> Test:
    return lambda subject, _: get(subject).startswith(value)


def _has(get: Get, value: Any) -> Test:
    return lambda subject, _: value in get(subject)


def _meets(get: Get, value: Any) -> Test:
    return lambda subject, _: not value.isdisjoint(get(subject))


def _blank(get: Get, _value: Any) -> Test:
    def test(subject: Any, _facts: Any) -> bool:
        text = get(subject)
        return not text or text.isspace()

    return test


def _none(get: Get, _value: Any) -> Test:
    return lambda subject, _: not get(subject)


def _region_blank(get: Get, _value: Any) -> Test:
    return lambda subject, _: not get(subject).region


def _region_eq(get: Get, value: Any) -> Test:
    return lambda subject, _: get(subject).region == value


def _region_in(get: Get, value: Any) -> Test:
    cover = build_cover((value,) if isinstance(value, str) else value)

    def test(subject: Any, _facts: Any) -> bool:
        place = get(subject)
        return covers(cover, country_of(place), place.region)

    return test


def _unless_none(make: Make) -> Make:
    """A time that is not known is neither before nor after anything."""

    def made(get: Get, value: Any) -> Test:
        test = make(lambda seen: seen, value)

        def known(subject: Any, facts: Any) -> bool:
            seen = get(subject)
            return seen is not None and test(seen, facts)

        return known

    return made


def _negated(make: Make) -> Make:
    def made(get: Get, value: Any) -> Test:
        test = make(get, value)
        return lambda subject, facts: not test(subject, facts)

    return made


_ORDERED: dict[str, Make] = {"lt": _lt, "le": _le, "gt": _gt, "ge": _ge, "between": _between}
MAKERS: MappingProxyType[Kind, Mapping[str, Make]] = MappingProxyType(
    {
        "text": {
            "eq": _eq, "ne": _ne, "in": _in, "in_list": _in, "contains": _contains, "starts_with": _starts_with,
            "empty": _blank, "present": _negated(_blank),
        },
        "number": {"eq": _eq, "ne": _ne, "in": _in, **_ORDERED},
        "money": {"eq": _eq, "ne": _ne, **_ORDERED},
        "time": {
            **{op: _unless_none(make) for op, make in _ORDERED.items()},
            "empty": _none, "present": _negated(_none),
        },
        "region": {
            "eq": _region_eq, "ne": _negated(_region_eq), "in": _region_in, "in_list": _region_in,
            "starts_with": _region_in, "empty": _region_blank, "present": _negated(_region_blank),
        },
        "set": {"contains": _has, "in": _meets, "in_list": _meets, "empty": _none, "present": _negated(_none)},
        "yesno": {"eq": _eq},
    }
)  # fmt: skip


def _leaf(leaf: Mapping[str, Any], lists: Lists) -> Condition:
    field, op = FIELDS[leaf["field"]], leaf["op"]
    test = MAKERS[field.kind][op](field.get, _value(field, op, leaf.get("value"), lists))
    label = f"{field.name} {op}{_shown_value(leaf.get('value'))}"
    if "currency" in leaf:
        test = _in_currency(test, leaf["currency"])
        label += f" {leaf['currency']}"
    look = _looker(field, test, f"{label}: saw ")
    if field.scope == "facts":
        return Condition(_of_facts(test), lambda _, facts: look(facts, facts))
    return Condition(test, look)


def _of_facts(test: Test) -> Test:
    return lambda _, facts: test(facts, facts)


def _in_currency(test: Test, currency: str) -> Test:
    return lambda order, facts: order.currency == currency and test(order, facts)


def _looker(field: Field, test: Test, prefix: str) -> Look:
    get = field.get
    if field.kind in {"number", "money"}:
        return lambda subject, facts: (test(subject, facts), f"{prefix}{get(subject)}")
    show = _SHOW["private" if field.private else field.kind]
    if field.private or field.kind in {"region", "set"}:
        return lambda subject, facts: (test(subject, facts), prefix + show(get(subject)))
    known: dict[Any, tuple[bool, str]] = {}  # the test looks at this value only, so the answer may be kept

    def look(subject: Any, facts: Any) -> tuple[bool, str]:
        seen = get(subject)
        answer = known.get(seen)
        if answer is None:
            answer = test(subject, facts), prefix + show(seen)
            if len(known) < MAX_KEPT:
                known[seen] = answer
        return answer

    return look


def compile_step(rule: str, phase: Phase, look: Look) -> Step:
    """The trace step of one rule. Steps that say the same are one object: they are frozen, and building them anew for
    every order costs more than the rule itself."""
    known: tuple[dict[str, TraceStep], dict[str, TraceStep]] = ({}, {})

    def step(order: Any, facts: Any) -> TraceStep:
        met, why = look(order, facts)
        kept = known[met]
        found = kept.get(why)
        if found is None:
            found = TraceStep(rule, phase, met, why)
            if len(kept) < MAX_KEPT:
                kept[why] = found
        return found

    return step


def _value(field: Field, op: str, value: Any, lists: Lists) -> Any:
    if op == "in_list":
        return lists[value]
    if op == "in":
        return frozenset(read_value(field.kind, item) for item in value)
    if op == "between":
        return tuple(read_value(field.kind, item) for item in value)
    return read_value(field.kind, value) if value is not None else None


def _shown_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return f" {', '.join(_cut(str(item)) for item in value[:3])}" + (f" … ({len(value)})" if len(value) > 3 else "")
    return f" {_cut(str(value))}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "…"


def _show_text(seen: str) -> str:
    return f"'{_cut(seen)}'" if seen else "nothing"


def _show_private(seen: str) -> str:
    return f"a text of {len(seen)}" if seen else "nothing"


def _show_time(seen: Any) -> str:
    return str(seen.isoformat()) if seen else "nothing"


def _show_region(seen: Any) -> str:
    return f"{country_of(seen) or 'no country'} {seen.region or 'unresolved'}"


def _show_set(seen: Any) -> str:
    return _cut(", ".join(sorted(seen)[:5])) if seen else "nothing"


def _show_yesno(seen: bool) -> str:
    return "yes" if seen else "no"


_SHOW: Mapping[str, Callable[[Any], str]] = {
    "text": _show_text, "private": _show_private, "number": str, "money": str, "time": _show_time,
    "region": _show_region, "set": _show_set, "yesno": _show_yesno,
}  # fmt: skip
