"""The ready rulesets: each loads, decides its examples as it says, and has no rule that no example needs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from domain.decision import Decision
from rules import language
from rules.decide import decide
from rules.tables import build_table
from tests.rules.examples import EXAMPLES
from tests.rules.ready import WORLDS, Example, build, shown

FOLDER = Path(language.__file__).parent / "library"
PAGES = Path(language.__file__).parents[1] / "docs" / "rulesets"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
FLAT = [pytest.param(name, each, id=f"{name}: {each.name}") for name in EXAMPLES for each in EXAMPLES[name]]


def run(name: str, example: Example) -> tuple[str, Decision]:
    """The decision about an example, as a line and whole."""
    content, known = build(WORLDS[name], example)
    decision = decide(content, known, language.load((FOLDER / f"{name}.json").read_bytes()))
    return shown(content, known, decision), decision


def test_every_set_has_examples_and_a_page() -> None:
    assert sorted(EXAMPLES) == NAMES == sorted(path.stem for path in PAGES.glob("*.md"))


@pytest.mark.parametrize(("name", "example"), FLAT)
def test_an_example_is_decided_as_it_says(name: str, example: Example) -> None:
    assert run(name, example)[0] == example.decided


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_matches_in_some_example(name: str) -> None:
    document = json.loads((FOLDER / f"{name}.json").read_bytes())
    matched = {step.rule for each in EXAMPLES[name] for step in run(name, each)[1].trace if step.matched}
    assert {rule["id"] for rule in document["rules"]} <= matched


@pytest.mark.parametrize("name", NAMES)
def test_routes_and_carriers_can_be_edited_as_tables(name: str) -> None:
    rules = json.loads((FOLDER / f"{name}.json").read_bytes())["rules"]
    assert len(build_table(rules, "route")) > 1
    assert len(build_table(rules, "carrier")) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_page_tells_every_rule_class_list_warehouse_and_an_example_that_is_true(name: str) -> None:
    page, text = (PAGES / f"{name}.md").read_text(), (FOLDER / f"{name}.json").read_text()
    document = json.loads(text)
    told = set(re.findall(r"`([^`]+)`", page))
    assert {rule["id"] for rule in document["rules"]} <= told
    assert set(document["lists"]) <= told
    assert set(re.findall(r'"(wh-[a-z]+(?:-[a-z]+)?)"', text)) <= told
    assert {sku["sku"] for rule in document["rules"] for sku in rule["then"].get("gift", ())} <= told
    worked = [each.decided for each in EXAMPLES[name] if f"`{each.decided}`" in page]
    assert worked, "the worked example of the page is one of the examples here"
