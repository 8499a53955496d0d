"""From a checked condition tree to closures, once per ruleset.

Each condition comes in two forms. `test` answers yes or no and allocates next to nothing; `look` also says what it saw, for
the trace. Recursion is safe here because `conditions.survey_tree` has limited the depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from domain.decision import TraceStep

from .conditions import COUNT
from .fields import FIELDS, Field
from .leaves import MAX_KEPT, Given, build_reach, compile_leaf, compile_look
from .ruleset import Condition, Look, Phase, Step, Test

_WHY_LIMIT = 400


def compile_tree(tree: Mapping[str, Any], given: Given) -> Condition:
    """A checked `when` tree as closures over (order, facts), or over (order, scene) for a rule that is tested by part."""
    found = _leaf(tree, given)
    if found is not None:
        return compile_leaf(found[0], tree, found[1])
    ((key, inner),) = tree.items()
    if key == "not":
        return _negation(compile_tree(inner, given))
    if key == "any_line":
        return _any_line(compile_tree(inner, given))
    if key == "all_lines":
        return _all_lines(compile_tree(inner, given))
    branches = [compile_tree(item, given) for item in inner]
    if len(branches) == 1:
        return branches[0]
    return _every(branches) if key == "all" else _some(branches)


def speaks_of_parts(tree: Any) -> bool:
    """Whether a checked tree looks at a field of parts."""
    if isinstance(tree, list):
        return any(speaks_of_parts(item) for item in tree)
    if not isinstance(tree, dict):
        return False
    if "field" in tree:
        return FIELDS[tree["field"]].scope == "part"
    return any(speaks_of_parts(inner) for inner in tree.values())


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
            answer = one(subject, facts)
            if not answer[0]:
                return answer
            seen.append(answer[1])
        return True, _joined(" and ", seen) or "always"

    return Condition(_pair_and(tests), _pair_seen(looks, True)) if len(tests) == 2 else Condition(test, look)


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
            answer = one(subject, facts)
            if answer[0]:
                return answer
            seen.append(answer[1])
        return False, _joined(" and ", seen)

    return Condition(_pair_or(tests), _pair_seen(looks, False)) if len(tests) == 2 else Condition(test, look)


def _pair_or(tests: Sequence[Test]) -> Test:
    first, second = tests
    return lambda subject, facts: first(subject, facts) or second(subject, facts)


def _pair_seen(looks: Sequence[Look], held: bool) -> Look:
    """What two conditions saw, of which both or either must hold: the answer of the first that decides, else of both."""
    first, second = looks

    def look(subject: Any, facts: Any) -> tuple[bool, str]:
        one = first(subject, facts)
        if one[0] is not held:
            return one
        other = second(subject, facts)
        if other[0] is not held:
            return other
        why = f"{one[1]} and {other[1]}"
        return held, why if len(why) <= _WHY_LIMIT else _joined(" and ", (why,))

    return look


def _joined(word: str, seen: Sequence[str]) -> str:
    text = word.join(seen if len(seen) <= 6 else seen[:6])
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
            if line.state == "cancelled" or (first and not hit(line, facts)):
                continue
            met, why = describe(line, facts)
            if met:
                return True, f"line {number}: {why}"
            first = f"no line; line {number}: {why}"
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
            if line.state == "cancelled" or (first and hit(line, facts)):
                continue
            met, why = describe(line, facts)
            if not met:
                return False, f"line {number}: {why}"
            first = f"every line; line {number}: {why}"
        return bool(first), first or "no lines"

    return Condition(test, look)


# --- figures over lines ---------------------------------------------------------------------------------------------


def _leaf(tree: Mapping[str, Any], given: Given) -> tuple[Field, Given] | None:
    """The one field a tree tests, and what its test is compiled with; None for a group of conditions."""
    if "count" in tree or "sum" in tree:
        return _figure(tree, given)
    return (FIELDS[tree["field"]], given) if "field" in tree else None


def _figure(tree: Mapping[str, Any], given: Given) -> tuple[Field, Given]:
    """A count or a sum: a number that is tested like any other."""
    where = tree.get("count") or tree.get("where")
    chosen = compile_tree(where, given).test if where is not None else None
    if "count" in tree:
        field = replace(COUNT, get=_counter(chosen or _any))
    else:
        summed = FIELDS[tree["sum"]]
        field = replace(summed, name=f"sum {summed.name}", scope="order", get=_summer(tree["sum"], chosen, given))
    field = replace(field, joint=True)
    # The getter tests lines itself, so it needs the scene where there is one, and not only the facts in it.
    return field, given if not given.by_part else replace(given, by_part=False)


def _any(_line: Any, _facts: Any) -> bool:
    return True


def _counter(chosen: Test) -> Callable[[Any], int]:
    def count(seen: Any) -> int:
        order, facts = seen
        found = 0
        for line in order.lines:
            if line.state != "cancelled" and chosen(line, facts):
                found += 1
        return found

    return count


def _summer(name: str, chosen: Test | None, given: Given) -> Callable[[Any], int]:
    field = FIELDS[name]
    get, reach, per_unit = field.get, build_reach(field, given), field.per_unit

    def total(seen: Any) -> int:
        order, facts = seen
        found = 0
        for line in order.lines:
            if line.state != "cancelled" and (chosen is None or chosen(line, facts)):
                value = get(line if reach is None else reach(line, facts))
                found += value * line.quantity if per_unit else value
        return found

    return total


# --- steps ----------------------------------------------------------------------------------------------------------


def compile_step(rule: str, phase: Phase, tree: Mapping[str, Any], given: Given, look: Look) -> Step:
    """The trace step of one rule, whose checked tree says what `look` says. Steps that say the same are one object: they are
    frozen, and building them anew for every order costs more than the rule itself."""
    leaf = _leaf(tree, given) if "currency" not in tree else None
    if leaf is not None:  # what it keeps for each value it saw is the step itself
        return compile_look(leaf[0], tree, leaf[1], partial(TraceStep, rule, phase))
    return compile_steps(rule, phase, look)


def compile_steps(rule: str, phase: Phase, look: Look) -> Step:
    """The trace step of a rule for everything that `look` says."""
    known: dict[tuple[bool, str], TraceStep] = {}

    def step(order: Any, facts: Any) -> TraceStep:
        answer = look(order, facts)
        found = known.get(answer)
        if found is None:
            found = TraceStep(rule, phase, *answer)
            if len(known) < MAX_KEPT:
                known[answer] = found
        return found

    return step
