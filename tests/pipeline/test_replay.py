"""Past orders are decided again exactly as they were, and a draft's difference is counted, on both databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from domain.errors import RefusedError
from pipeline import replay
from pipeline.apply import apply_values
from pipeline.dossier import RECORD
from pipeline.replay import replay_document
from pipeline.supply import replan_stocked
from storage import tables as t

from .build import Shop, order, warehouse


def draft(*rules: dict[str, Any], **more: Any) -> bytes:
    listed = [{"when": {"all": []}} | rule for rule in rules]
    return json.dumps({"version": "draft", "rules": listed, **more}).encode()


HOLD = {
    "id": "h",
    "phase": "hold",
    "when": {"field": "amounts.paid", "op": "gt", "value": 3_000},
    "then": {"hold": "hold_dear"},
}
SAME = draft(routing={"default_carriers": ["SF"]})


def take(shop: Shop, count: int = 5) -> None:
    """Orders of 10, 20, 30, … yuan."""
    shop.put(*(order(f"PO-{n}", goods=(("A", n),)) for n in range(1, count)))
    shop.take(order(f"PO-{count}", goods=(("A", count),)))


def test_every_decision_is_reproduced_by_its_own_version(shop: Shop) -> None:
    take(shop)
    shop.take(
        order("PO-MSG", buyer_message="请尽快"),
        order("PO-NONE", goods=(("C", 500),)),
        order("PO-TWO", goods=(("A", 1), ("B", 2))),
    )
    told = replay_document(shop.hub, SAME, last=100)
    assert (told["orders"], told["reproduced"], told["explained_otherwise"]) == (8, 8, 0)
    assert told["not_reproduced"] == {"orders": 0, "examples": []}
    assert told["kinds"].keys() == {"hold", "exception"}  # the draft knows no remarks
    assert told["kinds"]["hold"]["examples"] == [
        {"order": shop.order("PO-MSG").number, "before": ["hold_remark"], "after": []}
    ]


def test_a_decision_with_a_gift_is_reproduced_when_it_was_made_again(shop: Shop, tmp_path: Path) -> None:
    gift = {"id": "g", "phase": "gift", "when": {"all": []}, "then": {"gift": [{"sku": "B", "quantity": 1}]}}
    (tmp_path / "rules.json").write_bytes(draft(gift).replace(b'"draft"', b'"v1"'))
    apply_values(shop.hub, {"ruleset": {"file": "rules.json"}}, tmp_path)
    shop.take(order("PO-1"))
    shop.take(order("PO-1", at=5, goods=(("A", 4),)))
    told = replay_document(shop.hub, SAME, last=10)
    assert (told["orders"], told["reproduced"], told["totals"]["gifts"]) == (1, 1, [1, 0])


def test_the_difference_is_counted_with_money_and_examples(shop: Shop) -> None:
    take(shop)
    told = replay_document(shop.hub, draft(HOLD, {"id": "t", "phase": "tag", "then": {"tag": "x"}}), last=100)
    assert (told["orders"], told["changed"]) == (5, 5)
    assert told["totals"]["held"] == [0, 2]
    assert told["totals"]["holds"] == {"hold_dear": [0, 2]}
    assert told["kinds"]["hold"]["value"] == {"CNY": 9_000}
    assert [one["order"] for one in told["kinds"]["hold"]["examples"]] == [shop.order(f"PO-{n}").number for n in (5, 4)]
    assert told["kinds"]["tag"]["orders"] == 5
    assert told["broken"] == ["holds_up_percent"]


def test_a_second_replay_says_the_same_byte_for_byte(shop: Shop) -> None:
    take(shop)
    first, second = (replay_document(shop.hub, draft(HOLD), last=100) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    assert first["digest"] == second["digest"] != replay_document(shop.hub, SAME, last=100)["digest"]


def test_another_warehouse_is_seen_and_a_changed_configuration_does_not_change_the_past(shop: Shop) -> None:
    take(shop, 2)
    far = {"country": "CN", "province": "44", "city": "4401", "carriers": ["ZTO"]}
    apply_values(shop.hub, {"warehouses": [warehouse("wh2", info=far)]})
    apply_values(shop.hub, {"stock": [{"warehouse": "wh2", "sku": "A", "on_hand": 50}]})
    shop.take(order("PO-3"))
    route = {"id": "r", "phase": "route", "then": {"route": {"warehouses": ["wh2"]}}}
    told = replay_document(shop.hub, draft(route), last=100)
    assert told["reproduced"] == 3
    assert told["kinds"]["warehouse"]["examples"] == [
        {"order": shop.order("PO-3").number, "before": ["wh1"], "after": ["wh2"]}
    ]


def test_each_order_counts_once_with_its_newest_decision(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    take(shop, 3)
    replan_stocked(shop.hub, ["A"], actor="test")
    shop.take(order("PO-1", at=5, goods=(("A", 4),)))
    monkeypatch.setattr(replay, "_CHUNK", 2)
    told = replay_document(shop.hub, draft(HOLD), last=100)
    assert (told["orders"], told["totals"]["held"]) == (3, [0, 1])
    assert replay_document(shop.hub, draft(HOLD), last=2)["orders"] == 2
    assert replay_document(shop.hub, draft(HOLD), last=10, since=shop.hub.now())["orders"] == 0


def test_a_record_that_says_something_else_is_named(shop: Shop) -> None:
    take(shop, 2)
    target = shop.order("PO-1")
    (row,) = shop.rows(t.decisions, t.decisions.c.order_id == target.id)
    record = shop.hub.vault.open_json(RECORD, row["id"], row["record"])
    change = shop.hub.vault.seal_json(RECORD, row["id"], {**record, "tags": ["another"]})
    with shop.hub.write() as tx:
        tx.execute(update(t.decisions).where(t.decisions.c.id == row["id"]).values(record=change))
    told = replay_document(shop.hub, SAME, last=10)
    assert told["reproduced"] == 1
    assert told["not_reproduced"] == {"orders": 1, "examples": [target.number]}
    assert "not_reproduced" in told["broken"]
    old = shop.hub.vault.seal_json(RECORD, row["id"], {name: record[name] for name in record if name != "input"})
    with shop.hub.write() as tx:
        tx.execute(update(t.decisions).where(t.decisions.c.id == row["id"]).values(record=old))
    assert replay_document(shop.hub, SAME, last=10)["without_input"] == 1
    with shop.hub.write() as tx:
        tx.execute(update(t.decisions).where(t.decisions.c.id == row["id"]).values(record=b"nonsense"))
    assert replay_document(shop.hub, SAME, last=10)["unreadable"] == 1


def test_a_ruleset_that_is_not_there_any_more_is_said_not_guessed(shop: Shop) -> None:
    take(shop, 1)
    with shop.hub.write() as tx:
        content = next(row["content"] for row in shop.rows(t.contexts) if "ruleset" in row["content"])
        lost = json.dumps(json.loads(content) | {"ruleset": "gone"})
        tx.execute(update(t.contexts).where(t.contexts.c.content == content).values(content=lost))
    told = replay_document(shop.hub, SAME, last=10)
    assert (told["orders"], sum(told["unknown_rulesets"].values())) == (0, 1)


def test_what_decisions_share_is_stored_once(shop: Shop) -> None:
    take(shop, 4)
    shop.take(order("PO-9"))
    assert len(shop.rows(t.contexts)) == 2
    assert len(shop.hub.memory["contexts_stored"]) == 2
    shop.hub.memory.clear()  # another process
    shop.take(order("PO-10"))
    assert len(shop.rows(t.contexts)) == 2


def test_bounds_are_refused_by_name(small_shop: Shop) -> None:
    for last, against, code in (
        (0, "own", "replay_size"),
        (10**7, "own", "replay_size"),
        (1, "mine", "replay_against"),
    ):
        with pytest.raises(RefusedError) as caught:
            replay_document(small_shop.hub, SAME, last=last, against=against)
        assert caught.value.code == code


def test_the_ruleset_in_force_can_be_what_a_draft_is_compared_with(small_shop: Shop) -> None:
    take(small_shop, 3)
    told = replay_document(small_shop.hub, SAME, last=10, against="armed")
    assert (told["against"], told["changed"], told["reproduced"]) == ("armed", 0, 3)
