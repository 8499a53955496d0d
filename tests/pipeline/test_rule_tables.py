"""Decision tables go out as files and come back as drafts: nothing is lost on the way, and faults are told by their cell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain.errors import HubError, RefusedError
from pipeline.rule_tables import KINDS, export_table, faults_told, import_table
from pipeline.rulesets import show_version, write_draft

from .build import Shop

ROUTE = {
    "id": "south",
    "note": "=not a formula",
    "phase": "route",
    "when": {
        "all": [
            {"field": "consignee.region", "op": "in", "value": ["44", "45"]},
            {"field": "amounts.paid", "op": "ge", "value": 9900, "currency": "CNY"},
            {"any_line": {"field": "line.sku", "op": "in_list", "value": "tea"}},
        ]
    },
    "then": {"route": {"warehouses": ["wh;1", "wh2"], "only": True}},
}
CARRIER = {
    "id": "heavy",
    "phase": "carrier",
    "when": {"field": "part.weight_grams", "op": "ge", "value": 15000},
    "then": {"carrier": ["DBL", "cheapest"]},
}
HOLD = {
    "id": "dear",
    "enabled": False,
    "phase": "hold",
    "when": {"field": "amounts.paid", "op": "ge", "value": 100},
    "then": {"hold": "hold_dear", "detail": "a person looks"},
}
TAG = {"id": "vip", "phase": "tag", "when": {"all": []}, "then": {"tag": ["vip", "-gold"]}}
SPLIT = {"id": "apart", "phase": "split", "when": {"all": []}, "then": {"split": {"by_supplier": True}}}
RULES = [HOLD, SPLIT, ROUTE, ROUTE | {"id": "rest", "when": {"all": []}}, CARRIER, TAG]


@pytest.fixture
def told(small_shop: Shop) -> Shop:
    document = {"version": "v1", "note": "n", "rules": RULES, "lists": {"tea": ["A"]}, "routing": {"max_parts": 3}}
    write_draft(small_shop.hub, json.dumps(document).encode(), actor="ann", rails={"holds_up_percent": 7})
    return small_shop


def document_of(shop: Shop, version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(show_version(shop.hub, version)["document"])
    return found


def refused(shop: Shop, phase: str, table: str, version: str = "v1") -> list[dict[str, str]]:
    with pytest.raises(RefusedError) as failure:
        import_table(shop.hub, version, phase, table.encode(), actor="ann", name="refused")
    with pytest.raises(RefusedError):
        show_version(shop.hub, "refused")
    return faults_told(failure.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", ["route", "carrier", "hold", "tag"])
def test_a_table_that_nobody_touched_comes_back_as_the_same_rules(told: Shop, phase: str, kind: str) -> None:
    row = import_table(told.hub, "v1", phase, export_table(told.hub, "v1", phase, kind), actor="bo")
    assert (row["version"], row["state"], row["author"]) == ("v1.2", "validated", "bo")
    assert row["rails"]["holds_up_percent"] == 7
    assert document_of(told, "v1.2") == document_of(told, "v1") | {"version": "v1.2"}
    again = import_table(told.hub, "v1.2", phase, export_table(told.hub, "v1.2", phase, kind), actor="bo")
    assert again["version"] == "v1.3"


def test_the_rules_of_a_table_stand_where_those_of_its_phase_stood(told: Shop) -> None:
    table = "id,warehouses\nnew-1,wh1\n,\nnew-2,wh2\n"
    import_table(told.hub, "v1", "route", table.encode(), actor="bo", name="v9")
    assert [rule["id"] for rule in document_of(told, "v9")["rules"]] == [
        *("dear", "apart", "new-1", "new-2"),
        *("heavy", "vip"),
    ]
    import_table(told.hub, "v9", "route", b"id,warehouses\n", actor="bo", name="v10")
    assert export_table(told.hub, "v10", "route", "csv").decode("utf-8-sig").split() == ["id,warehouses"]
    import_table(told.hub, "v10", "route", table.encode(), actor="bo", name="v11")
    assert [rule["id"] for rule in document_of(told, "v11")["rules"]][-1] == "new-2"


@pytest.mark.parametrize(
    ("phase", "table", "path", "reason"),
    [
        ("route", "id,amounts.paid ge,warehouses\na,many,wh1\n", "B2", "amounts.paid"),
        ("route", "id,amount,warehouses\na,1,wh1\n", "B1", "no column"),
        ("route", "id,warehouses\n,\na,wh1\ndear,wh1\n", "A4", "the id of rules.0 again"),
        ("hold", "id,hold\na,hold_a\nb,Not a code\n", "B3", ""),
        ("hold", "id,hold\na\n", "B2", "effect"),
        ("route", "id,carrier\na,SF\n", "A1", "a table of phase carrier, not of route"),
        ("route", "id,any_line line.sku in_list,warehouses\na,coffee,wh1\n", "B2", "coffee"),
        ("tag", "id;tag\na;=1\n", "B2", "formula"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_by_its_cell(
    told: Shop, phase: str, table: str, path: str, reason: str
) -> None:
    (fault, *_) = refused(told, phase, table)
    assert fault["path"] == path
    assert reason in fault["reason"]


def test_rules_that_have_no_row_are_never_lost_by_a_table(told: Shop) -> None:
    either = HOLD | {"id": "either", "when": {"any": [HOLD["when"], HOLD["when"]]}}
    write_draft(told.hub, json.dumps({"version": "w", "rules": [TAG, either]}).encode(), actor="ann")
    (fault,) = refused(told, "hold", "id,hold\na,hold_a\n", "w")
    assert fault["path"] == "rules.1"
    with pytest.raises(RefusedError, match=r"rules\.1"):
        export_table(told.hub, "w", "hold", "csv")


def test_a_table_never_overwrites_a_version(told: Shop) -> None:
    before = document_of(told, "v1")
    with pytest.raises(RefusedError) as failure:
        import_table(told.hub, "v1", "route", b"id,warehouses\n", actor="bo", name="v1")
    assert (failure.value.code, document_of(told, "v1")) == ("ruleset_version", before)


@pytest.mark.parametrize(("phase", "kind"), [("gift", "csv"), ("route", "pdf"), ("route", "")])
def test_other_phases_and_files_are_refused(told: Shop, phase: str, kind: str) -> None:
    with pytest.raises(HubError) as failure:
        export_table(told.hub, "v1", phase, kind)
    assert failure.value.code in {"table_phase", "table_kind"}
