"""Rules as a table that people edit in a spreadsheet: one phase, one rule per row, one test per column.

The header names columns: `id`, `note`, `enabled`; tests such as `consignee.region in`, `amounts.paid ge CNY` or `any_line
line.sku in_list`; and the effect of the phase (`warehouses`, `only`, `avoid` · `carrier` · `hold`, `detail` · `tag`). An empty
cell of a test means any; all tests of a row must hold. Several values of one cell stand apart by `;`, and `\\` before a
character takes it as it is. What is refused is told by its cell (`B7`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn, cast

from .conditions import LINES, MAX_FAULTS, Fault, Survey, survey_tree
from .fields import FIELDS, OPERATORS, Field
from .language import MAX_RULES, RulesetError
from .ruleset import Phase

Cell = str | int | bool | None
Table = Sequence[Sequence[Cell]]

MAX_ROWS = MAX_RULES + 1
MAX_COLUMNS = 60
MAX_CELL = 5_000
# The columns of an effect, and whether a cell of one holds several values.
EFFECTS: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {
        "route": {"warehouses": True, "only": False, "avoid": True},
        "carrier": {"carrier": True},
        "hold": {"hold": False, "detail": False},
        "tag": {"tag": True},
    }
)
_ABOUT = ("id", "note", "enabled")
_YES = MappingProxyType({"yes": True, "true": True, "是": True, "no": False, "false": False, "否": False})
_NO_VALUE = frozenset({"empty", "present"})
_MANY = frozenset({"in", "between"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


@dataclass(frozen=True, slots=True)
class _Test:
    """One column of tests."""

    field: Field
    op: str
    lines: str = ""
    currency: str = ""

    @property
    def header(self) -> str:
        return " ".join(filter(None, (self.lines, self.field.name, self.op, self.currency)))


# --- table → rules --------------------------------------------------------------------------------------------------


def read_rules(table: Table, lists: Mapping[str, Sequence[str]] | None = None) -> list[dict[str, Any]]:
    """The rules of a table, as they stand in a ruleset document; `lists` are the document's named lists. Raises
    RulesetError with the cell (`B7`) and the reason, at most MAX_FAULTS of them."""
    _check_size(table)
    phase, columns = _read_header(table[0])
    survey = Survey(lists or {}, [])
    rules: list[dict[str, Any]] = []
    for number, row in enumerate(table[1:], 2):
        if survey.full:
            break
        if any(not _is_blank(cell) for cell in row):
            rules.append(_read_row(row, number, phase, columns, survey))
    if survey.faults:
        raise RulesetError(survey.faults)
    return rules


def phase_of(table: Table) -> Phase:
    """The phase whose effect the header names. Raises RulesetError."""
    _check_size(table)
    return _read_header(table[0])[0]


def place_faults(faults: Iterable[Fault], table: Table, places: range) -> list[Fault]:
    """Faults of a document that took its rules `places` from this table: those of a rule of the table are told by its cell, or
    its row (`row 3`) when no column is to blame."""
    header = ["" if cell is None else str(cell).strip() for cell in table[0]]
    rows = [number for number, row in enumerate(table[1:], 2) if not all(_is_blank(cell) for cell in row)]
    return [_placed(fault, header, rows, places) for fault in faults]


def _placed(fault: Fault, header: Sequence[str], rows: Sequence[int], places: range) -> Fault:
    steps = fault.path.split(".")
    if len(steps) < 2 or steps[0] != "rules" or not steps[1].isdecimal() or int(steps[1]) not in places:
        return fault
    row = rows[int(steps[1]) - places.start]
    column = next((header.index(step) for step in reversed(steps) if step in header), None)
    return Fault(f"row {row}" if column is None else f"{column_name(column)}{row}", fault.reason)


def _check_size(table: Table) -> None:
    if not table:
        _refuse("A1", "the table is empty: its first row names the columns")
    if len(table) > MAX_ROWS:
        _refuse(f"A{MAX_ROWS + 1}", f"more than {MAX_ROWS - 1} rows")
    width = max(len(row) for row in table)
    if width > MAX_COLUMNS:
        _refuse(f"{column_name(MAX_COLUMNS)}1", f"more than {MAX_COLUMNS} columns")
    for number, row in enumerate(table, 1):
        for place, cell in enumerate(row):
            if reason := _cell_fault(cell):
                _refuse(f"{column_name(place)}{number}", reason)


def _cell_fault(cell: Cell) -> str:
    if isinstance(cell, str):
        if len(cell) > MAX_CELL:
            return f"more than {MAX_CELL} characters: put long lists under `lists`"
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in cell.strip()):
            return "a control character or a line break"
        return "a formula; write \\ before a text that begins like one" if cell.lstrip().startswith("=") else ""
    return "" if cell is None or isinstance(cell, int) else "neither a text nor a whole number"


def _read_header(header: Sequence[Cell]) -> tuple[Phase, list[str | _Test]]:
    columns: list[str | _Test] = []
    for place, cell in enumerate(header):
        name = " ".join(str(cell or "").split())
        column = name if name in _ABOUT or name in _PHASE_OF else _read_test(name, f"{column_name(place)}1")
        if column in columns:
            _refuse(f"{column_name(place)}1", f"the column {name} again")
        columns.append(column)
    phases = {_PHASE_OF[column] for column in columns if isinstance(column, str) and column in _PHASE_OF}
    if "id" not in columns:
        _refuse("A1", "a table of rules has a column id")
    if len(phases) != 1:
        _refuse("A1", f"a table has the effect of one phase: {_effect_columns()}")
    return cast(Phase, phases.pop()), columns


_PHASE_OF = {column: phase for phase, columns in EFFECTS.items() for column in columns}


def _effect_columns() -> str:
    return "; ".join(f"{phase}: {', '.join(columns)}" for phase, columns in EFFECTS.items())


def _read_test(name: str, at: str) -> _Test:
    words = name.split(" ")
    lines = words.pop(0) if words[0] in LINES else ""
    field = FIELDS.get(words[0]) if 2 <= len(words) <= 3 else None
    if field is None:
        _refuse(at, f"no column is named {name[:60]!r}: a test is a field and its op, such as `consignee.region in`")
    if words[1] not in OPERATORS[field.kind]:
        _refuse(at, f"{field.name} has no test {words[1][:60]!r}; it has {', '.join(sorted(OPERATORS[field.kind]))}")
    return _Test(field, words[1], lines, words[2] if len(words) == 3 else "")


def _read_row(
    row: Sequence[Cell], number: int, phase: Phase, columns: Sequence[str | _Test], survey: Survey
) -> dict[str, Any]:
    about: dict[str, Any] = {}
    effect: dict[str, Any] = {}
    tests: list[dict[str, Any]] = []
    for place, cell in enumerate(row):
        at = f"{column_name(place)}{number}"
        if _is_blank(cell):
            continue
        if place >= len(columns):
            survey.add(at, "a value without a column")
            continue
        column = columns[place]
        if isinstance(column, _Test):
            if (test := _read_cell(column, cell, at, survey, phase)) is not None:
                tests.append(test)
        elif column in _ABOUT:
            about[column] = _read_plain(column, cell, at, survey)
        else:
            many = EFFECTS[phase][column]
            effect[column] = split_values(str(cell)) if many else _read_plain(column, cell, at, survey)
    if "id" not in about:
        survey.add(f"{column_name(columns.index('id'))}{number}", "a rule needs an id")
    if not _is_effect(phase, effect):
        place = next(n for n, column in enumerate(columns) if isinstance(column, str) and column in EFFECTS[phase])
        survey.add(f"{column_name(place)}{number}", f"a rule of phase {phase} needs its effect")
    when = tests[0] if len(tests) == 1 else {"all": tests}
    then = {"route": effect} if phase == "route" else effect
    return {"id": about.pop("id", ""), "phase": phase, "when": when, "then": then, **about}


def _is_effect(phase: Phase, effect: Mapping[str, Any]) -> bool:
    return bool({"warehouses", "avoid"} & effect.keys()) if phase == "route" else phase in effect


def _read_plain(column: str, cell: Cell, at: str, survey: Survey) -> Any:
    if column not in {"enabled", "only"}:
        return unescape(str(cell))
    known = cell if isinstance(cell, bool) else _YES.get(str(cell).strip().lower())
    if known is None:
        survey.add(at, "yes or no")
    return known


def _read_cell(test: _Test, cell: Cell, at: str, survey: Survey, phase: Phase) -> dict[str, Any] | None:
    """One cell as a condition; None when it has a fault, which `survey` has now."""
    leaf: dict[str, Any] = {"field": test.field.name, "op": test.op}
    if test.currency:
        leaf["currency"] = test.currency
    if test.op in _NO_VALUE:
        if not (cell is True or (isinstance(cell, str) and _YES.get(cell.strip().lower()))):
            survey.add(at, f"yes (the field is {test.op}), or nothing (any)")
            return None
    else:
        texts: list[Cell] = list(split_values(cell)) if test.op in _MANY and isinstance(cell, str) else [cell]
        values = [_read_value(test.field, each) for each in texts]
        if None in values:
            survey.add(at, f"{test.field.name} is compared with {_EXPECTED.get(test.field.kind, 'texts')}")
            return None
        leaf["value"] = values if test.op in _MANY else values[0]
    condition = {test.lines: leaf} if test.lines else leaf
    before = len(survey.faults)
    survey_tree(condition, "", survey, parts=phase == "carrier")
    if len(survey.faults) == before:
        return condition
    survey.faults[before:] = [Fault(at, fault.reason) for fault in survey.faults[before:]]
    return None


_EXPECTED = {
    "number": "whole numbers",
    "money": "whole minor units",
    "yesno": "yes or no",
    "text": "texts (a number in such a cell may have lost its zeros: format the column as text)",
    "set": "texts (a number in such a cell may have lost its zeros: format the column as text)",
}


def _read_value(field: Field, cell: Cell) -> Any:
    """A cell as the JSON value of a test; None when it cannot be one."""
    if field.kind == "yesno":
        return cell if isinstance(cell, bool) else _YES.get(str(cell).strip().lower())
    if field.kind in {"number", "money"}:
        if type(cell) is int:
            return cell
        digits = unescape(cell) if isinstance(cell, str) else ""
        plain = digits.removeprefix("-")
        return int(digits) if plain.isascii() and plain.isdigit() and len(plain) < 20 else None
    if type(cell) is int and field.kind == "region":  # division codes have no leading zeros to lose
        return str(cell)
    return unescape(cell) if isinstance(cell, str) else None


# --- rules → table --------------------------------------------------------------------------------------------------


def build_table(rules: Iterable[Mapping[str, Any]], phase: Phase) -> list[list[Cell]]:
    """The rules of one phase as a table, header first: what `read_rules` makes the same rules of. Raises RulesetError
    with the rule (`rules.3`) or the cell when one is more than tests that must all hold, or cannot stand in a cell."""
    if phase not in EFFECTS:
        _refuse("phase", f"rules of phase {phase} cannot be shown as a table: only {', '.join(EFFECTS)}")
    found = [(n, rule) for n, rule in enumerate(rules) if rule["phase"] == phase]
    rows = [(rule, _tests_of(rule, f"rules.{n}")) for n, rule in found]
    headers = list(dict.fromkeys(header for _, tests in rows for header in tests))
    about = ["id", *(name for name in ("note", "enabled") if any(name in rule for _, rule in found))]
    effects = [name for name in EFFECTS[phase] if any(name in _effect_of(rule) for _, rule in found)]
    header: list[Cell] = [*about, *headers, *(effects or [next(iter(EFFECTS[phase]))])]
    table = [header, *[[_shown(name, rule, tests) for name in header] for rule, tests in rows]]
    _check_size(table)
    return table


def _effect_of(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    then: Mapping[str, Any] = rule["then"]
    effect: Mapping[str, Any] = then.get("route", then)
    return effect


def _shown(name: Cell, rule: Mapping[str, Any], tests: Mapping[str, Cell]) -> Cell:
    if name in tests:
        return tests[str(name)]
    value = {**_effect_of(rule), **{key: rule[key] for key in _ABOUT if key in rule}}.get(str(name))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else join_values([value] if isinstance(value, str) else value)


def _tests_of(rule: Mapping[str, Any], at: str) -> dict[str, Cell]:
    """Header → cell of one rule's condition."""
    when = rule["when"]
    branches = when["all"] if set(when) == {"all"} else [when]
    tests: dict[str, Cell] = {}
    for branch in branches:
        lines = next(iter(branch)) if isinstance(branch, Mapping) and len(branch) == 1 else ""
        leaf = branch[lines] if lines in LINES else branch
        if not isinstance(leaf, Mapping) or "field" not in leaf:
            _refuse(at, "only tests of fields that must all hold can be shown as a row")
        lines = lines if lines in LINES else ""
        test = _Test(FIELDS[leaf["field"]], leaf["op"], lines, leaf.get("currency", ""))
        if test.header in tests:
            _refuse(at, f"two tests {test.header} cannot be shown as one cell")
        tests[test.header] = _cell_of(test, leaf.get("value"))
    return tests


def _cell_of(test: _Test, value: Any) -> Cell:
    if test.op in _NO_VALUE:
        return "yes"
    if isinstance(value, list):
        return join_values([str(each) for each in value])
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, int) else join_values([value])


# --- cells ----------------------------------------------------------------------------------------------------------


def join_values(values: Iterable[str]) -> str:
    """Values as the text of one cell. Numbers may begin with -, other texts like a formula get a \\ first."""
    return "; ".join(_escape(value) for value in values)


def _escape(value: str) -> str:
    last = len(value) - 1
    number = value.removeprefix("-").isascii() and value.removeprefix("-").isdigit()
    formula = value.startswith(_FORMULA) and not number
    return "".join(
        f"\\{letter}"
        if letter in "\\;" or (place == 0 and formula) or (place in {0, last} and letter.isspace())
        else letter
        for place, letter in enumerate(value)
    )


def split_values(text: str) -> list[str]:
    """The values of one cell."""
    return [unescape(part) for part in _parts(text) if part.strip()]


def _parts(text: str) -> Iterator[str]:
    start, at = 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == ";":
            yield text[start:at]
            start = at + 1
        at += 1
    yield text[start:]


def unescape(text: str) -> str:
    """One value without the blanks around it, each \\ taking the character behind it as it is."""
    text = text.lstrip()
    kept: list[str] = []
    solid = at = 0
    while at < len(text):
        taken = text[at] == "\\" and at + 1 < len(text)
        at += taken
        kept.append(text[at])
        if taken or not text[at].isspace():
            solid = len(kept)
        at += 1
    return "".join(kept[:solid])


def column_name(place: int) -> str:
    """A for 0, Z for 25, AA for 26."""
    name = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        name = chr(65 + letter) + name
    return name


def _is_blank(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _refuse(at: str, reason: str) -> NoReturn:
    raise RulesetError([Fault(at, reason)][:MAX_FAULTS])
