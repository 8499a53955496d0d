"""The reference page says what the code has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rules.effects import EFFECTS, build_routing
from rules.fields import FIELDS, OPERATORS
from rules.language import load
from rules.outline import schema
from rules.ruleset import PHASES
from rules.tables import EFFECTS as COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, heading
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines() if line.startswith("|")
    ]
    return [row for row in cells if not set("".join(row)) <= {"-"}]


def test_the_page_tells_every_field_with_its_kind_and_every_test() -> None:
    told = {
        row[0].strip("`"): row[1]
        for heading in ("Order and receiver", "Sender, buyer, calendar", "Lines", "Parts")
        for row in rows(heading)[1:]
    }
    assert told == {field.name: field.kind for field in FIELDS.values()}
    tests = {row[0]: set(re.findall(r"`(\w+)`", row[1])) for row in rows("Conditions") if row[0] in OPERATORS}
    assert tests == {kind: set(ops) for kind, ops in OPERATORS.items()}


def test_the_page_tells_every_phase_in_order_and_every_effect() -> None:
    table = rows("Phases and effects")[1:]
    assert tuple(dict.fromkeys(row[0].strip("`") for row in table)) == PHASES
    effects = {effect for names in EFFECTS.values() for effect in names}
    assert {re.findall(r'"(\w+)"', row[1])[0] for row in table} == effects
    for name in schema()["$defs"]["effect"]["properties"]["split"]["properties"]:
        assert f'"{name}"' in PAGE
    properties = schema()["$defs"]["condition"]["properties"]
    assert all(f'"{key}"' in PAGE for key in properties)
    assert all(f"`{column}`" in PAGE for columns in COLUMNS.values() for column in columns)


def test_the_page_tells_every_key_of_routing_and_its_default() -> None:
    told = {row[0].strip("`"): row[1] for row in rows("`routing`")[1:]}
    assert told.keys() == schema()["$defs"]["routing"]["properties"].keys()
    plain = build_routing({})
    for name in ("allow_split", "max_parts", "currency", "freight", "utc_offset"):
        assert told[name] == str(getattr(plain, name)).replace("True", "true")


def test_the_example_on_the_page_loads() -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(json.loads(example)["rules"]) == len({each["phase"] for each in json.loads(example)["rules"]}) == 5
    assert load(example.encode()).routing.rates
