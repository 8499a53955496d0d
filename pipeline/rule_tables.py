"""Decision tables of a stored ruleset: out as a file for a spreadsheet, and back as a draft in which they take the place of
the rules of their phase."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from domain.errors import ConfigError, RefusedError
from rules.conditions import Fault
from rules.language import RulesetError
from rules.sheets import read_table, write_csv, write_xlsx
from rules.tables import EFFECTS, Table, build_table, phase_of, place_faults, read_rules
from storage.rulesets import find_ruleset

from .bootstrap import Hub
from .rulesets import faults_of, show_version, write_draft

PHASES = tuple(EFFECTS)
_WRITERS = {"csv": write_csv, "xlsx": write_xlsx}
KINDS = tuple(_WRITERS)
_LONGEST = 100
_TRIED = 1_000


def export_table(hub: Hub, version: str, phase: str, kind: str) -> bytes:
    """The rules of one phase as a file, `csv` or `xlsx`; only its header when there are none. RulesetError with the rule when
    one cannot be a row; RefusedError `not_found`; ConfigError `table_phase`, `table_kind`."""
    known = _phase(phase)
    if kind not in _WRITERS:
        raise ConfigError("table_kind", f"{' or '.join(KINDS)}, not {kind[:20]}")
    document = _document(hub, version)
    return _WRITERS[kind](build_table(document["rules"], known))


def import_table(hub: Hub, version: str, phase: str, raw: bytes, *, actor: str, name: str = "") -> dict[str, Any]:
    """A new draft: `version` with the rules of one phase replaced by those of a CSV or XLSX file, and its guard rails. `name`
    is the new version, by default the old one's with a number. The table's rules stand where the first of the old ones stood.
    RulesetError with cells (`B7`), or with the rule when an old one has no row and would be lost; RefusedError `not_found`,
    `ruleset_version`; ConfigError `table_phase`."""
    known = _phase(phase)
    document = _document(hub, version)
    build_table(document["rules"], known)
    table = read_table(raw)
    rows = read_rules(table, document.get("lists", {}))
    if phase_of(table) != known:
        raise RulesetError([Fault("A1", f"a table of phase {phase_of(table)}, not of {known}")])
    rules, first = _replaced(document["rules"], known, rows)
    changed = document | {"version": name.strip() or _next(hub, version), "rules": rules}
    told = json.dumps(changed, ensure_ascii=False, indent=2).encode()
    _refuse_faults(told, table, range(first, first + len(rows)))
    return write_draft(hub, told, actor=actor, rails=show_version(hub, version)["rails"], new=True)


def faults_told(error: RefusedError) -> list[dict[str, str]]:
    """Where and why a table was refused, as [{path, reason}]: a path is a cell, or a rule of the version."""
    return error.listed() if isinstance(error, RulesetError) else []


def _refuse_faults(told: bytes, table: Table, places: range) -> None:
    faults = faults_of(told)
    if faults:
        raise RulesetError(place_faults(faults, table, places))


def _phase(phase: str) -> Any:
    if phase not in EFFECTS:
        raise ConfigError("table_phase", f"a table holds rules of {', '.join(PHASES)}, not of {phase[:20]}")
    return phase


def _document(hub: Hub, version: str) -> dict[str, Any]:
    row = show_version(hub, version)
    faults = faults_of(row["document"].encode())
    if faults:
        raise RulesetError(faults)
    found: dict[str, Any] = json.loads(row["document"])
    return found


def _replaced(
    rules: Sequence[Mapping[str, Any]], phase: str, rows: Sequence[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], int]:
    """The rules with those of one phase replaced, and where the new ones begin."""
    first = next((n for n, rule in enumerate(rules) if rule["phase"] == phase), len(rules))
    others = [rule for rule in rules[first:] if rule["phase"] != phase]
    return [*rules[:first], *rows, *others], first


def _next(hub: Hub, version: str) -> str:
    """`v1` → `v1.2`, `v1.2` → `v1.3`, the first that no version has."""
    stem, dot, last = version.rpartition(".")
    numbered = bool(dot) and last.isascii() and last.isdigit() and len(last) < 6
    base, start = (stem, int(last) + 1) if numbered else (version, 2)
    names = (f"{base[: _LONGEST - 8]}.{n}" for n in range(start, start + _TRIED))
    with hub.read() as tx:
        free = next((name for name in names if find_ruleset(tx, name) is None), "")
    if not free:
        raise RefusedError("ruleset_version", "give the new draft a name")
    return free
