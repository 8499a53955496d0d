"""What every condition of a rule saw, as a tree: all of them, not only the one that decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from heapq import nsmallest
from typing import Any

from .compiler import compile_tree
from .leaves import Given
from .ruleset import Condition

MOST_NODES = 5_000
MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """One condition: its form (`test`, `all`, `any`, `not`, `any_line`, `all_lines`, `count`, `sum`), whether it held, what
    it saw, the line it looked at (from 1; 0: the whole order), and the conditions inside."""

    form: str
    held: bool
    why: str = ""
    line: int = 0
    inner: tuple[Seen, ...] = ()


@dataclass(slots=True)
class Looking:
    """What trees are looked at with. Conditions are compiled once, whatever the number of lines; `left` is how many may
    still be shown one by one, after which a condition is told as a whole."""

    lists: Mapping[str, frozenset[str]]
    clock: timezone
    left: int = MOST_NODES
    _first: dict[str, list[str]] = field(default_factory=dict)
    _known: dict[tuple[int, bool], tuple[Condition, Any]] = field(default_factory=dict)

    @property
    def given(self) -> Given:
        """What a test outside parts is compiled with."""
        return Given(self.lists, self.clock)

    def first_of(self, name: str) -> list[str]:
        """A few texts of a named list, in order."""
        if name not in self._first:
            self._first[name] = nsmallest(MOST_LINES, self.lists[name])
        return self._first[name]

    def condition(self, tree: Mapping[str, Any], *, by_part: bool = False) -> Condition:
        """The condition of one tree; the tree is kept, so that no other gets its identity."""
        key = id(tree), by_part
        if key not in self._known:
            self._known[key] = compile_tree(tree, Given(self.lists, self.clock, by_part)), tree
        return self._known[key][0]


def looking_at(document: Mapping[str, Any], utc_offset: int) -> Looking:
    """What the trees of a checked ruleset document are looked at with."""
    lists = {name: frozenset(values) for name, values in document.get("lists", {}).items()}
    return Looking(lists, timezone(timedelta(minutes=utc_offset)))


def look_at(
    tree: Mapping[str, Any], subject: Any, facts: Any, using: Looking, *, by_part: bool = False, line: int = 0
) -> Seen:
    """Every condition of a checked `when` tree on the order (with a PartScene for the facts when `by_part`) or on a line."""
    using.left -= 1
    form = _form(tree)
    if form in {"test", "count", "sum"} or using.left <= 0:
        held, why = using.condition(tree, by_part=by_part).look(subject, facts)
        return Seen(form, held, why, line)
    (inner,) = tree.values()
    if form in {"any_line", "all_lines"}:
        return _at_lines(form, tree, subject, facts, using, by_part=by_part)
    below = tuple(
        look_at(each, subject, facts, using, by_part=by_part, line=line)
        for each in (inner if isinstance(inner, list) else [inner])
    )
    if form == "not":
        return Seen(form, not below[0].held, "", line, below)
    held = all(one.held for one in below) if form == "all" else any(one.held for one in below)
    return Seen(form, held, "" if below else "always", line, below)


def _at_lines(form: str, tree: Mapping[str, Any], order: Any, facts: Any, using: Looking, *, by_part: bool) -> Seen:
    held, why = using.condition(tree, by_part=by_part).look(order, facts)
    live = [(n, line) for n, line in enumerate(order.lines, 1) if line.state != "cancelled"]
    below = []
    for n, one in live[:MOST_LINES]:
        if using.left <= 0:
            break
        below.append(look_at(tree[form], one, facts, using, by_part=by_part, line=n))
    return Seen(form, held, why, 0, tuple(below))


def _form(tree: Mapping[str, Any]) -> str:
    for form in ("count", "sum"):
        if form in tree:
            return form
    return "test" if "field" in tree else next(iter(tree))


def decisive(seen: Seen) -> Seen:
    """The first condition that made it so: for a tree that does not hold the first one that failed, for one that does
    the first that held it up."""
    for _ in range(64):
        if not seen.inner:
            return seen
        wanted = seen.held != (seen.form == "not")
        following = next((one for one in seen.inner if one.held == wanted), None)
        if following is None:  # the line that decided is beyond those that are shown
            return seen
        seen = following
    return seen
