"""The words of a stored decision's trace are those of its time, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update

from pipeline import past
from pipeline.console_details import order_detail
from pipeline.dossier import RECORD
from pipeline.past import find_case, trace_of
from rules.decide import decide
from rules.record import freeze_trace
from storage import tables as t

from .build import Shop, order


def stored(shop: Shop) -> dict[str, Any]:
    row = shop.rows(t.decisions)[0]
    record: dict[str, Any] = shop.hub.vault.open_json(RECORD, row["id"], row["record"])
    return record


def test_the_trace_of_a_stored_decision_is_the_trace_of_its_time(shop: Shop) -> None:
    shop.take(order("PO-1", seller_memo="请合并"))
    record = stored(shop)
    assert "trace" not in record
    with shop.hub.read() as tx:
        found = find_case(tx, record["input"])
        told = trace_of(tx, record)
    assert not isinstance(found, str)
    case, _ = found
    again = decide(case.order, case.facts, case.ruleset)
    assert told == freeze_trace(again)
    assert record["matched"] == [step[0] for step in told if step[2] and step[1] not in {"route", "split"}] != []
    shown = order_detail(shop.hub, shop.order("PO-1").number)["decisions"][0]["record"]["trace"]
    assert shown == told


def test_the_ruleset_of_the_program_is_kept_for_when_the_program_changes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.take(order("PO-1", seller_memo="请合并"))
    record = stored(shop)
    with shop.hub.read() as tx:
        told = trace_of(tx, record)
        monkeypatch.setattr(past, "default_ruleset", lambda: pytest.fail("it has changed since"))
        assert trace_of(tx, record) == told


def test_what_cannot_be_told_any_more_is_not_made_up(shop: Shop) -> None:
    shop.take(order("PO-1", seller_memo="请合并"))
    record = stored(shop)
    matched = record["matched"]
    with shop.hub.write() as tx:
        for changed in ({"input": None}, {"matched": ["another", *matched]}):
            told = trace_of(tx, {**record, **changed})
            assert [step[0] for step in told] == changed.get("matched", matched)
            assert {step[3] for step in told} == {"matched then; this version of the program cannot say why"}
        old = [["rule", "hold", True, "saw it"]]
        assert trace_of(tx, {"trace": old}) == old
        content = next(row["content"] for row in shop.rows(t.contexts) if "ruleset" in row["content"])
        lost = json.dumps(json.loads(content) | {"ruleset": "gone"})
        tx.execute(update(t.contexts).where(t.contexts.c.content == content).values(content=lost))
        assert [step[0] for step in trace_of(tx, record)] == matched
