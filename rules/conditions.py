"""Is a condition tree well formed? One pass without recursion that stops at its limits, so that a hostile tree costs
little and still gets a path and a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from .fields import FIELDS, OPERATORS, Field, Kind
from .regions import is_region

MAX_CONDITIONS = 5_000
MAX_DEPTH = 16
MAX_FAULTS = 20
MAX_VALUES = 1_000
INTEGER_LIMIT = 2**63 - 1

GROUPS = ("all", "any")
LINES = ("any_line", "all_lines")
FIGURES = ("count", "sum")
_KEYS = {
    "field": frozenset({"field", "op", "value", "currency"}),
    "count": frozenset({"count", "op", "value"}),
    "sum": frozenset({"sum", "where", "op", "value", "currency"}),
}
_PROPER = {
    "field": "a test has field, op, value and, for money, currency",
    "count": "a count has count (what a line must be), op and value",
    "sum": "a sum has sum (a field of a line), where, op, value and, for money, currency",
}
COUNT = Field("count", "number", "order", len)
REGION = "a division code of 2, 4 or 6 digits, a country, or an ISO 3166-2 code"
_NO_VALUE = frozenset({"empty", "present"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a ruleset: where (dotted path into the document) and why."""

    path: str
    reason: str


@dataclass(slots=True)
class Survey:
    """What the pass over all rules' trees has met so far."""

    lists: Mapping[str, Any]
    faults: list[Fault]
    conditions: int = 0
    full: bool = False
    parts: bool = False

    def add(self, path: str, reason: str) -> None:
        """Note a fault; from MAX_FAULTS on the survey is full."""
        self.faults.append(Fault(path, reason))
        self.full = self.full or len(self.faults) >= MAX_FAULTS


def survey_tree(tree: Any, path: str, survey: Survey, *, parts: bool = False) -> None:
    """Check one `when` tree; faults go to `survey`, which is `full` when there is no point in going on. Only with `parts`
    may it look at parts."""
    survey.parts = parts
    stack: list[tuple[Any, str, bool, int]] = [(tree, path, False, 1)]
    while stack and not survey.full:
        node, at, in_line, depth = stack.pop()
        survey.conditions += 1
        if survey.conditions > MAX_CONDITIONS:
            survey.add(at, f"more than {MAX_CONDITIONS} conditions in one ruleset")
            survey.full = True
        elif depth > MAX_DEPTH:
            survey.add(at, f"conditions nested deeper than {MAX_DEPTH} levels")
        elif not isinstance(node, dict):
            survey.add(at, "a condition is an object")
        elif "count" in node or "sum" in node:
            stack.extend(_survey_figure(node, at, in_line, depth, survey))
        elif "field" in node or "op" in node:
            _survey_leaf(node, at, in_line, survey)
        else:
            stack.extend(_branches(node, at, in_line, depth, survey))


def _branches(
    node: Mapping[str, Any], at: str, in_line: bool, depth: int, survey: Survey
) -> list[tuple[Any, str, bool, int]]:
    if len(node) != 1:
        survey.add(at, "a condition is one of all, any, not, any_line, all_lines, count, sum, or a field with its op")
        return []
    ((key, inner),) = node.items()
    below = f"{at}.{key}"
    if key in GROUPS:
        if not isinstance(inner, list) or (key == "any" and not inner):
            survey.add(below, "a list of conditions" + (" with at least one" if key == "any" else ""))
            return []
        return [(item, f"{below}.{n}", in_line, depth + 1) for n, item in reversed(list(enumerate(inner)))]
    if key == "not":
        return [(inner, below, in_line, depth + 1)]
    if key in LINES:
        if in_line:
            survey.add(below, "lines cannot be looked at inside a line")
            return []
        return [(inner, below, True, depth + 1)]
    survey.add(at, f"unknown condition {key[:60]!r}")
    return []


def _survey_keys(node: Mapping[str, Any], what: str, at: str, survey: Survey) -> None:
    for key in node:
        if key not in _KEYS[what]:
            survey.add(f"{at}.{key[:60]}", f"unknown key: {_PROPER[what]}")


def _survey_leaf(leaf: Mapping[str, Any], at: str, in_line: bool, survey: Survey) -> None:
    _survey_keys(leaf, "field", at, survey)
    name = leaf.get("field")
    field = FIELDS.get(name) if isinstance(name, str) else None
    if field is None:
        survey.add(f"{at}.field", f"unknown field {str(name)[:60]!r}")
    elif (field.scope == "line") != in_line:
        where = "only inside any_line, all_lines or count" if not in_line else "not inside any_line, all_lines or count"
        survey.add(f"{at}.field", f"{field.name} can be used {where}")
    elif field.scope == "part" and not survey.parts:
        survey.add(f"{at}.field", f"{field.name} can be used only in the phase carrier: there are no parts before")
    else:
        _survey_test(field, leaf, at, survey)


def _survey_test(field: Field, leaf: Mapping[str, Any], at: str, survey: Survey) -> None:
    op = leaf.get("op")
    if not isinstance(op, str) or op not in OPERATORS[field.kind]:
        allowed = ", ".join(sorted(OPERATORS[field.kind]))
        survey.add(f"{at}.op", f"{field.name} ({field.kind}) has no test {str(op)[:60]!r}; it has {allowed}")
    else:
        _survey_value(field, op, leaf, at, survey)
        _survey_currency(field, leaf, at, survey)


def _survey_figure(
    node: Mapping[str, Any], at: str, in_line: bool, depth: int, survey: Survey
) -> list[tuple[Any, str, bool, int]]:
    """A `count` or a `sum`; what is left to look at is the condition on its lines."""
    what = "count" if "count" in node else "sum"
    if in_line:
        survey.add(f"{at}.{what}", "lines cannot be looked at inside a line")
        return []
    _survey_keys(node, what, at, survey)
    if what == "count":
        _survey_test(COUNT, node, at, survey)
        return [(node["count"], f"{at}.count", True, depth + 1)]
    name = node["sum"]
    field = FIELDS.get(name) if isinstance(name, str) else None
    if field is None or field.scope != "line" or field.kind not in {"number", "money"}:
        numeric = [each.name for each in FIELDS.values() if each.scope == "line" and each.kind in {"number", "money"}]
        survey.add(f"{at}.sum", f"a sum is of one of {', '.join(numeric)}")
        return []
    _survey_test(replace(field, scope="order"), node, at, survey)
    return [(node["where"], f"{at}.where", True, depth + 1)] if "where" in node else []


def _survey_currency(field: Field, leaf: Mapping[str, Any], at: str, survey: Survey) -> None:
    if "currency" not in leaf:
        return
    code = leaf["currency"]
    if field.kind != "money" or field.scope == "line":
        survey.add(f"{at}.currency", "only money of the order, the sender or a part has a currency")
    elif not (isinstance(code, str) and len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()):
        survey.add(f"{at}.currency", "a currency is three capital letters (ISO 4217)")


def _survey_value(field: Field, op: str, leaf: Mapping[str, Any], at: str, survey: Survey) -> None:
    at = f"{at}.value"
    if op in _NO_VALUE:
        if "value" in leaf:
            survey.add(at, f"{op} takes no value")
        return
    value = leaf.get("value")
    if op == "in_list":
        _survey_list_name(field, value, at, survey)
    elif op == "in":
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
            survey.add(at, f"a list of 1 to {MAX_VALUES} values (longer ones are named lists)")
            return
        _survey_items(field, value, at, survey)
    elif op == "between":
        if not isinstance(value, list) or len(value) != 2:
            survey.add(at, "between takes two values: lowest and highest")
        elif _survey_items(field, value, at, survey) and read_value(field.kind, value[0]) > read_value(
            field.kind, value[1]
        ):
            survey.add(at, "the first value of between is the lower one")
    elif reason := _fault_of(field, value, free_text=op in {"contains", "starts_with"}):
        survey.add(at, reason)


def _survey_items(field: Field, values: Sequence[Any], at: str, survey: Survey) -> bool:
    for n, value in enumerate(values):
        if reason := _fault_of(field, value):
            survey.add(f"{at}.{n}", reason)
            return False
    return True


def _survey_list_name(field: Field, name: Any, at: str, survey: Survey) -> None:
    if not isinstance(name, str) or name not in survey.lists:
        survey.add(at, f"no list is named {str(name)[:60]!r}")
        return
    values = survey.lists[name]
    if field.kind == "region" and isinstance(values, list):
        bad = next((n for n, item in enumerate(values) if not (isinstance(item, str) and is_region(item))), None)
        if bad is not None:
            survey.add(f"lists.{name[:60]}.{bad}", f"not a region, but {field.name} is tested with this list")


def _fault_of(field: Field, value: Any, *, free_text: bool = False) -> str:
    """Why `value` cannot be compared with the field ("": it can)."""
    kind = field.kind
    if kind in {"number", "money"}:
        what = "a whole number of minor units" if kind == "money" else "a whole number"
        return "" if type(value) is int and abs(value) <= INTEGER_LIMIT else what
    if kind == "yesno":
        return "" if isinstance(value, bool) else "true or false"
    if not isinstance(value, str) or not value:
        return "a text that is not empty"
    if kind == "time":
        return "" if is_time(value) else "a time with its offset, such as 2026-11-11T00:00:00+08:00"
    if kind == "region":
        return "" if is_region(value) else REGION
    if field.choices and not free_text and value not in field.choices:
        return f"{field.name} is one of {', '.join(sorted(field.choices))}"
    return "a day such as 2026-11-11" if field.dated and not free_text and not _is_day(value) else ""


def _is_day(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def is_time(value: str) -> bool:
    """Whether the text is an ISO 8601 time that says its offset and that UTC can name."""
    try:
        return datetime.fromisoformat(value).utcoffset() is not None and read_time(value).year > 0
    except (ValueError, OverflowError):
        return False


def read_time(value: str) -> datetime:
    """The moment in UTC: two times of one zone are compared five times as fast as times of two."""
    return datetime.fromisoformat(value).astimezone(UTC)


def read_value(kind: Kind, value: Any) -> Any:
    """A checked JSON value as what the field's getter is compared with."""
    return read_time(value) if kind == "time" else value
