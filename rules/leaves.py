"""One test on one value: how each kind of field is compared, how what was seen is shown, and where the value is found.

A test is made over a getter; the getter of a field that does not look at the subject alone is given what its scope needs
by a reach (`build_reach`). Nothing is evaluated from text: every closure is written out below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any

from .conditions import read_value
from .fields import Field, Kind
from .regions import build_cover, country_of, covers
from .ruleset import Condition, Test

Lists = Mapping[str, frozenset[str]]
Get = Callable[[Any], Any]
Make = Callable[[Get, Any], Test]
Reach = Callable[[Any, Any], Any]
Tell = Callable[[bool, str], Any]

MAX_KEPT = 256
_SHOWN_TEXT = 40


@dataclass(frozen=True, slots=True)
class Given:
    """What a tree is compiled with: the named lists, the ruleset's clock, and whether its rule is tested by part."""

    lists: Lists
    clock: timezone
    by_part: bool = False


def compile_leaf(field: Field, leaf: Mapping[str, Any], given: Given) -> Condition:
    """A checked test (`op`, `value`, `currency`) on one field, in both forms."""
    op, currency = leaf["op"], leaf.get("currency")
    make, value = _make(field, op), _value(field, op, leaf.get("value"), given.lists)
    reach = build_reach(field, given)
    test, look = make(field.get, value), compile_look(field, leaf, given, _answer)
    condition = Condition(test if reach is None else _reaching(reach, test), look)
    return condition if currency is None else _in_currency(condition, field, currency, given)


def compile_look(field: Field, leaf: Mapping[str, Any], given: Given, tell: Tell) -> Callable[[Any, Any], Any]:
    """What a checked test on one field says of it, whatever the currency: `tell` of whether it holds and of what it saw."""
    op, currency, make = leaf["op"], leaf.get("currency"), _make(field, leaf["op"])
    label = f"{field.name} {op}{_shown_value(field, leaf.get('value'))}{f' {currency}' if currency else ''}: saw "
    check = make(_itself, _value(field, op, leaf.get("value"), given.lists))
    look, reach = _looker(field, check, label, tell), build_reach(field, given)
    return look if reach is None else _reaching(reach, look)


def _answer(met: bool, why: str) -> tuple[bool, str]:
    return met, why


def _make(field: Field, op: str) -> Make:
    make = MAKERS[field.kind][op]
    return _unless_none(make) if field.optional and op not in {"empty", "present"} else make


def build_reach(field: Field, given: Given) -> Reach | None:
    """From (subject, facts or scene) to what the field's getter takes; None when that is the subject."""
    if field.scope == "part":
        return _part
    if field.scope == "facts":
        return _facts_of_scene if given.by_part else _facts
    if field.scope == "clock":
        local = _local(given.clock)
        if given.by_part:
            return lambda _, scene: local(scene.facts.now)
        return lambda _, facts: local(facts.now)
    if field.joint:
        return _with_facts_of_scene if given.by_part else _with_facts
    return None


def _local(clock: timezone) -> Callable[[datetime], datetime]:
    """A moment by this clock. The last is kept: orders of one batch are decided at one moment."""
    last: tuple[datetime | None, datetime | None] = (None, None)

    def local(now: datetime) -> datetime:
        nonlocal last
        known, told = last  # one value, so that no thread sees the moment of one and the time of another
        if told is None or known is not now:
            told = now.astimezone(clock)
            last = (now, told)
        return told

    return local


def _itself(value: Any) -> Any:
    return value


def _facts(_subject: Any, facts: Any) -> Any:
    return facts


def _facts_of_scene(_subject: Any, scene: Any) -> Any:
    return scene.facts


def _part(_subject: Any, scene: Any) -> Any:
    return scene.part


def _with_facts(subject: Any, facts: Any) -> Any:
    return subject, facts


def _with_facts_of_scene(subject: Any, scene: Any) -> Any:
    return subject, scene.facts


def _reaching(reach: Reach, ask: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    if reach is _facts:
        return lambda _, facts: ask(facts, facts)
    if reach is _with_facts:
        return lambda subject, facts: ask((subject, facts), facts)
    return lambda subject, facts: ask(reach(subject, facts), facts)


def _in_currency(condition: Condition, field: Field, currency: str, given: Given) -> Condition:
    test, look = condition.test, condition.look

    def fits(order: Any, facts: Any) -> bool:
        if field.scope != "facts":
            return bool(order.currency == currency)
        return bool((facts.facts if given.by_part else facts).sender.credit_currency == currency)

    def looked(order: Any, facts: Any) -> tuple[bool, str]:
        met, why = look(order, facts)
        return (met, why) if fits(order, facts) else (False, f"{why} of another currency")

    return Condition(lambda order, facts: fits(order, facts) and test(order, facts), looked)


# --- tests ----------------------------------------------------------------------------------------------------------


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


def _unknown(get: Get, _value: Any) -> Test:
    return lambda subject, _: get(subject) is None


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
    """What is not known is neither before nor after anything, nor equal to it."""

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
        "number": {"eq": _eq, "ne": _ne, "in": _in, **_ORDERED, "empty": _unknown, "present": _negated(_unknown)},
        "money": {"eq": _eq, "ne": _ne, **_ORDERED, "empty": _unknown, "present": _negated(_unknown)},
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


# --- what was seen --------------------------------------------------------------------------------------------------


def _looker(field: Field, check: Test, prefix: str, tell: Tell) -> Callable[[Any, Any], Any]:
    """`check` is the test on a value that has been fetched already. It looks at this value only, so what is told may be
    kept."""
    get = field.get
    show = _SHOW["private" if field.private else field.kind]
    if field.kind == "region":
        return _place_looker(get, lambda place: tell(check(place, None), prefix + show(place)))
    # Not kept: what may not be stored, and times, which hardly come twice and are slow to hash.
    if field.private or field.kind == "time":

        def see(subject: Any, facts: Any) -> Any:
            seen = get(subject)
            return tell(check(seen, facts), prefix + show(seen))

        return see
    known: dict[Any, Any] = {}

    def look(subject: Any, facts: Any) -> Any:
        seen = get(subject)
        answer = known.get(seen)
        if answer is None:
            answer = tell(check(seen, facts), prefix + show(seen))
            if len(known) < MAX_KEPT:
                known[seen] = answer
        return answer

    return look


def _place_looker(get: Get, answer_for: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Of a consignee, tests of regions look at the country and the region only, and show nothing else."""
    known: dict[tuple[str, str], Any] = {}

    def look(subject: Any, _facts: Any) -> Any:
        place = get(subject)
        at = (place.country, place.region)
        answer = known.get(at)
        if answer is None:
            answer = answer_for(place)
            if len(known) < MAX_KEPT:
                known[at] = answer
        return answer

    return look


def _value(field: Field, op: str, value: Any, lists: Lists) -> Any:
    if op == "in_list":
        return lists[value]
    if op == "in":
        return frozenset(read_value(field.kind, item) for item in value)
    if op == "between":
        return tuple(read_value(field.kind, item) for item in value)
    return read_value(field.kind, value) if value is not None else None


def _shown_value(field: Field, value: Any) -> str:
    """What a test compares with, as the trace shows it: never a word that a private text may contain."""
    if value is None:
        return ""
    if field.private:
        return " …"
    if isinstance(value, list):
        return f" {', '.join(_cut(str(item)) for item in value[:3])}" + (f" … ({len(value)})" if len(value) > 3 else "")
    return f" {_cut(str(value))}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "…"


def show_value(field: Field, value: Any) -> str:
    """A value of this field as traces show it: of a private text only its length."""
    return _SHOW["private" if field.private else field.kind](value)


def _show_text(seen: str) -> str:
    return f"'{_cut(seen)}'" if seen else "nothing"


def _show_private(seen: str) -> str:
    return f"a text of {len(seen)}" if seen else "nothing"


def _show_number(seen: Any) -> str:
    return "nothing" if seen is None else str(seen)


def _show_time(seen: Any) -> str:
    return str(seen.isoformat()) if seen else "nothing"


def _show_region(seen: Any) -> str:
    return f"{country_of(seen) or 'no country'} {seen.region or 'unresolved'}"


def _show_set(seen: Any) -> str:
    if not seen:
        return "nothing"
    return _cut(seen[0]) if len(seen) == 1 and isinstance(seen, tuple) else _cut(", ".join(sorted(seen)[:5]))


def _show_yesno(seen: bool) -> str:
    return "yes" if seen else "no"


_SHOW: Mapping[str, Callable[[Any], str]] = {
    "text": _show_text, "private": _show_private, "number": _show_number, "money": _show_number, "time": _show_time,
    "region": _show_region, "set": _show_set, "yesno": _show_yesno,
}  # fmt: skip
