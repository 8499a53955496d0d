"""The tables of this folder are complete, and every test they name exists, is collected, and runs where it is said to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.api.test_bad_orders import REFUSED
from tests.journeys import spoilt, test_bad_inputs_pages, test_bad_inputs_warehouse
from tests.journeys.test_bad_inputs_warehouse import MESSAGES

from .bad_inputs import BAD_INPUTS
from .faults import FAULTS
from .lessons import LESSONS
from .table import Row

TESTS = Path(__file__).parents[1]
TABLES: Mapping[str, Mapping[Any, Row]] = {"bad inputs": BAD_INPUTS, "faults": FAULTS, "lessons": LESSONS}
ROWS = [(f"{table}: {key}", row) for table, rows in TABLES.items() for key, row in rows.items()]
# The matrix of promises.md §3 has these faults, and these sides can have each (the others are "-" there).
SIDES = {
    "5xx, 429": {"channel", "warehouse"},
    "time-out after the peer committed": {"channel", "warehouse", "partner"},
    "reply lost, reset, truncated": {"channel", "warehouse", "partner"},
    "200 with an error, a page, nothing": {"channel", "warehouse"},
    "duplicate delivery": {"channel", "warehouse", "partner"},
    "reordered, repeated page token": {"channel", "warehouse"},
    "hang": {"channel", "warehouse", "partner"},
    "slow drip": {"channel", "warehouse", "partner"},
    "clock skew at the peer": {"channel", "partner", "own"},
    "credentials revoked": {"channel", "warehouse", "partner"},
    "schema drift": {"channel", "warehouse", "partner"},
    "network partition": {"channel", "warehouse", "own"},
    "disk full": {"channel", "warehouse", "partner"},
    "database fails over": {"channel", "warehouse", "partner", "own"},
    "worker killed or frozen": {"channel", "warehouse", "partner", "own"},
    "hub down for 6 h": {"channel", "warehouse", "partner", "own"},
}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """What a file defines at its top; of what it imports from a test file, what stands there."""
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests.") and path.name == "conftest.py":
            yield from functions(TESTS.parent / f"{(node.module or '').replace('.', '/')}.py")


def find_test(name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """A function that pytest would collect, and that nothing skips."""
    path, _, function = name.partition("::")
    file = TESTS / path
    if not file.exists() or not file.name.startswith("test_") or not function.startswith("test_"):
        return None
    found = next((each for each in functions(file) if each.name == function), None)
    marks = [ast.unparse(mark) for mark in found.decorator_list] if found is not None else []
    # skipif stays: some machines cannot take a network away, and say so.
    return None if any(re.search(r"mark\.(skip\b|xfail)", mark) for mark in marks) else found


def needed(path: Path, names: set[str]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The fixtures that these names lead to, through the file itself and every conftest above it."""
    fixtures: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    above = [folder / "conftest.py" for folder in reversed(path.parents) if folder.is_relative_to(TESTS)]
    for file in [*above, path]:
        if file.exists():
            fixtures |= {each.name: each for each in functions(file)}
    todo, seen = set(names), set[str]()
    while todo:
        name = todo.pop()
        if name in fixtures and name not in seen:
            yield fixtures[name]
            todo |= arguments(fixtures[name])
        seen.add(name)


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    return {each.arg for each in function.args.args}


def runs_on_both(name: str) -> bool:
    """Whether a test gets both databases: by a parameter of its own, or of a fixture that it leads to."""
    found = find_test(name)
    if found is None:
        return False
    path = TESTS / name.partition("::")[0]
    marks = [ast.unparse(mark) for each in (found, *needed(path, arguments(found))) for mark in each.decorator_list]
    return any("sqlite" in mark and "postgresql" in mark for mark in marks)


def test_every_row_names_tests_that_exist_or_says_why_not() -> None:
    assert [(name, test) for name, row in ROWS for test in row.tests if find_test(test) is None] == []
    assert [name for name, row in ROWS if bool(row.tests) == bool(row.not_built) or not row.what] == []
    assert [name for name, row in ROWS if len(set(row.tests)) < len(row.tests)] == []


def test_what_is_stored_is_shown_on_both_databases() -> None:
    assert [name for name, row in ROWS if row.stored and not any(map(runs_on_both, row.tests))] == []


def test_no_row_of_a_table_is_missing() -> None:
    assert list(BAD_INPUTS) == list(range(1, 61))
    assert {fault: {side for other, side in FAULTS if other == fault} for fault, _ in FAULTS} == SIDES
    # 1 to 8, and of these cursors, 200-with-error, silent success, duplicates and webhooks are promised by name.
    lessons = {int(name.split()[0]) for name in LESSONS}
    assert lessons == set(range(1, 9))
    assert not [name for name, row in LESSONS.items() if row.not_built and "JWS" not in name]


def _numbers(names: Iterator[str]) -> set[int]:
    return {int(found.group()) for name in names if (found := re.match(r"\d+", name))}


CASES: Mapping[str, set[int]] = {
    "spoilt": _numbers(case.row for cases in spoilt.TABLES.values() for case in cases),
    "refused": _numbers(row for row, *_ in REFUSED),
    "no_pages": _numbers(row for row, *_ in test_bad_inputs_pages.NO_PAGES),
    # Three more stand in the test itself, because they need a file and an address.
    "messages": _numbers(row for row, *_ in MESSAGES) | {24, 26},
}


def test_the_big_tables_of_cases_hold_every_row_they_are_named_for() -> None:
    missing = [
        (number, table) for number, row in BAD_INPUTS.items() for table in row.cases if number not in CASES[table]
    ]
    assert missing == []
    text = Path(test_bad_inputs_warehouse.__file__).read_text(encoding="utf-8")
    assert '("24 entity"' in text and '("26 external"' in text
    # And the other way round: a case of a row that its table does not name would be proof that nobody finds.
    told = {table: {number for number, row in BAD_INPUTS.items() if table in row.cases} for table in CASES}
    assert {table: sorted(CASES[table] - told[table]) for table in CASES} == {key: [] for key in CASES}


def test_a_test_that_is_gone_renamed_or_on_one_database_only_is_found() -> None:
    assert find_test("promises/test_tables.py::test_no_row_of_a_table_is_missing") is not None
    assert find_test("promises/test_tables.py::test_gone") is None
    assert find_test("promises/gone.py::test_gone") is None
    assert find_test("promises/table.py::shown") is None
    assert runs_on_both("api/test_trouble.py::test_a_database_that_is_gone_is_a_503_and_comes_back")
    assert not runs_on_both("api/test_trouble.py::test_a_full_disk_is_a_507_and_nothing_is_acknowledged")
    assert runs_on_both("promises/test_partner_rows.py::test_what_a_partner_writes_makes_no_line_of_a_log")
