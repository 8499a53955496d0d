"""Stored decisions are explained as they were made, and what cannot be made again says so, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import delete, update

from domain.errors import RefusedError
from pipeline.dossier import RECORD
from pipeline.explanation import explain_order, show_lines
from storage import tables as t

from .build import Shop, order


def explained(shop: Shop, external_id: str, instead: str = "") -> dict[str, Any]:
    return explain_order(shop.hub, shop.order(external_id).id, instead)


def rewrite(shop: Shop, **changes: Any) -> None:
    """The stored record of every decision with something changed."""
    d = t.decisions
    with shop.hub.write() as tx:
        for row in tx.execute(d.select()).mappings().all():
            record = {**shop.hub.vault.open_json(RECORD, row["id"], row["record"]), **changes}
            sealed = shop.hub.vault.seal_json(RECORD, row["id"], {k: v for k, v in record.items() if v is not None})
            tx.execute(update(d).where(d.c.id == row["id"]).values(record=sealed))


def test_a_decision_is_explained_from_what_was_known_then(shop: Shop) -> None:
    shop.take(order("PO-MSG", buyer_message="请尽快"), order("PO-FINE"))
    told = explained(shop, "PO-MSG", "release")
    assert (told["released"], told["reproduced"], told["differs"]) == (False, True, [])
    assert [rule["rule"] for rule in told["rules"] if rule["matched"]]
    assert told["instead"]["reason"]["code"] == "hold"
    assert {each[0]["kind"] for each in told["instead"]["changes"]} >= {"waive", "rule"}
    text = "\n".join(show_lines(told))
    assert "it would have been with: waive hold_remark: held → waived" in text
    assert "请尽快" not in text + str(told)
    assert explained(shop, "PO-FINE", "warehouse=wh1")["instead"]["held"] is True
    assert "that is what was decided" in "\n".join(show_lines(explained(shop, "PO-FINE", "release")))


def test_goods_that_are_short_are_named_with_their_units(shop: Shop) -> None:
    shop.take(order("PO-NONE", goods=(("C", 500),)))
    told = explained(shop, "PO-NONE", "warehouse=wh1")["instead"]
    assert told["reason"]["code"] == "stock"
    assert [(one["what"], one["after"]) for one in told["changes"][0]] == [("wh1|C", "500")]


def test_a_decision_that_comes_out_otherwise_says_so(shop: Shop) -> None:
    shop.take(order("PO-1"))
    rewrite(shop, holds=[["hold_x", "gone", ""]])
    told = explained(shop, "PO-1")
    assert (told["reproduced"], told["differs"], told["instead"]) == (False, ["holds"], None)
    assert "decided otherwise today: holds" in "\n".join(show_lines(told))


def test_what_cannot_be_made_again_is_said_and_nothing_is_made_up(shop: Shop) -> None:
    shop.take(order("PO-1"))
    rewrite(shop, input=None)
    told = explained(shop, "PO-1", "release")
    assert (told["unexplained"], told["reproduced"], told["instead"]) == ("without_input", None, None)
    with shop.hub.write() as tx:
        tx.execute(delete(t.decisions))
    assert explained(shop, "PO-1")["unexplained"] == "no_decision"
    assert list(show_lines(told)) == ["cannot be decided again: without_input"]


def test_a_ruleset_that_is_gone_and_an_input_nobody_can_read_are_said(shop: Shop) -> None:
    shop.take(order("PO-1"))
    told = shop.hub.vault.open_json(RECORD, *(shop.rows(t.decisions)[0][name] for name in ("id", "record")))["input"]
    rewrite(shop, input={name: told[name] for name in ("n", "w")})
    assert explained(shop, "PO-1")["unexplained"] == "unusable"
    rewrite(shop, input=told)
    assert explained(shop, "PO-1")["unexplained"] == ""
    with shop.hub.write() as tx:
        content = next(row["content"] for row in shop.rows(t.contexts) if "ruleset" in row["content"])
        lost = json.dumps(json.loads(content) | {"ruleset": "gone"})
        tx.execute(update(t.contexts).where(t.contexts.c.content == content).values(content=lost))
    assert explained(shop, "PO-1")["unexplained"] == "unknown_ruleset"
    with pytest.raises(RefusedError, match="one of"):
        explained(shop, "PO-1", "colour=red")
