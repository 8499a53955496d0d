"""How a row of one of the tables is written down: what must hold, and the tests that show it - or why there is nothing to show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`what` is the row in short. `tests` are `path::function` below tests/. `cases`: the row's number stands in the table of
    cases of these modules. `stored`: something of it lies in the database, so one test at least runs on SQLite and PostgreSQL.
    `not_built` says why a row, or `rest` why a part of it, has no test: what it speaks of does not exist here."""

    what: str
    tests: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    stored: bool = True
    rest: str = ""
    not_built: str = ""


def shown(what: str, *tests: str, cases: str = "", stored: bool = True, rest: str = "") -> Row:
    return Row(what, tests, tuple(cases.split()), stored, rest)


def not_built(what: str, why: str) -> Row:
    return Row(what, stored=False, not_built=why)
