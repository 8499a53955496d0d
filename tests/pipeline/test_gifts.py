"""What rules add, park and time: gifts that nobody outside knows of, approvals by stage, schedules."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from domain.errors import RefusedError
from pipeline.apply import apply_values
from pipeline.messages import build_confirmation, build_shipment
from pipeline.order_view import order_view
from pipeline.review import review, send_now
from pipeline.supply import put_stock_text
from storage.times import micros

from . import build
from .build import NOW, Shop, confirmed, lines_of, order, ship_to, trade

MANY = {"field": "order.units", "op": "ge", "value": 2}
GIFT = {"id": "g", "phase": "gift", "when": MANY, "then": {"gift": [{"sku": "GIFT", "quantity": 1}]}}


def arm(shop: Shop, *rules: dict[str, Any]) -> None:
    """Arm a ruleset of these rules; a gift has stock."""
    stock = [{"warehouse": "wh1", "sku": "GIFT", "on_hand": 10}]
    goods = [{"sku": "GIFT", "title": "A cup", "weight_grams": 200}]
    apply_values(shop.hub, {"stock": stock, "goods": goods})
    build.arm(shop.hub, *rules)


def gift_states(order_: Any) -> list[tuple[str, str]]:
    rows = [row for number, row in sorted(order_.dossier.lines.items()) if number >= 100_000]
    return [(row["external_id"], row["state"]) for row in rows]


def test_a_gift_is_a_line_of_the_order_that_costs_nothing(shop: Shop) -> None:
    arm(shop, GIFT)
    order_ = shop.take(order())
    assert (order_.states, gift_states(order_), shop.reserved("GIFT")) == (["ready"], [("gift:g:GIFT", "open")], 1)
    view = order_view(shop.hub, order_.id)
    assert [(line["title"], line["gift"], line["paid"]["minor"]) for line in view["lines"]][1] == ("A cup", True, 0)
    (job,) = shop.claim()
    account = job.directory.accounts[order_.dossier.order["account_id"]]
    shipment = build_shipment(job.dossier, job.dossier.fulfilments[order_.part["id"]], account)
    assert [(line.sku, line.quantity, line.amount) for line in shipment.lines] == [("A", 2, 2000), ("GIFT", 1, 0)]
    assert shipment.total == 2000
    shop.check_books()


def test_a_newer_version_neither_drops_nor_doubles_a_gift(shop: Shop) -> None:
    arm(shop, GIFT)
    shop.take(order())
    order_ = shop.take(order(at=1, goods=(("A", 2), ("B", 1))))
    assert (order_.states[-1], gift_states(order_)) == ("ready", [("gift:g:GIFT", "open")])
    assert [row["sku"] for row in order_.dossier.lines_of(order_.part["id"])] == ["A", "B", "GIFT"]
    shop.push()
    order_ = shop.take(order(at=2, goods=(("A", 2), ("B", 1)), tags=["vip"]))
    assert (order_.states[-1], order_.sendings("cancel")) == ("accepted", [])
    shop.check_books()


def test_a_gift_goes_when_its_rule_no_longer_matches(shop: Shop) -> None:
    arm(shop, GIFT)
    shop.take(order())
    order_ = shop.take(order(at=1, goods=(("A", 1),)))
    assert (gift_states(order_), shop.reserved("GIFT"), order_.states) == (
        [("gift:g:GIFT", "cancelled")],
        0,
        ["cancelled", "ready"],
    )
    order_ = shop.take(order(at=2))
    assert (gift_states(order_), shop.reserved("GIFT")) == ([("gift:g:GIFT", "open")], 1)
    shop.check_books()


def test_what_was_pushed_stays_given(shop: Shop) -> None:
    arm(shop, GIFT)
    order_ = shop.take(order())
    shop.push()
    arm(shop)
    order_ = shop.take(order(at=1, tags=["vip"]))
    assert (order_.states, gift_states(order_)) == (["accepted"], [("gift:g:GIFT", "open")])
    shop.check_books()


def test_a_gift_is_shipped_and_never_confirmed(shop: Shop) -> None:
    arm(shop, GIFT)
    order_ = shop.take(trade(), account="tb")
    shop.push()
    shop.tell(confirmed(order_.code, ("SF1", [("GIFT", 1)]), final=False))
    shop.tell(confirmed(order_.code, ("SF2", [("A", 2)])))
    order_ = order_.again()
    first, second = order_.parcels
    assert (first["confirm_state"], second["confirm_state"], len(order_.sendings("confirm"))) == ("none", "due", 1)
    assert "gift_parcel" in order_.events
    (job,) = shop.claim()
    told = build_confirmation(job.dossier, second, job.directory.accounts[job.row["target_id"]])
    assert told is not None
    assert (told.lines, told.whole_order) == (((lines_of(trade())[0]["oid_str"], 2),), True)
    shop.end([job])
    assert (order_.again().status, shop.stock("GIFT")["on_hand"]) == ("completed", 9)
    shop.check_books()


def test_a_parcel_with_a_gift_in_it_tells_of_the_goods_only(shop: Shop) -> None:
    arm(shop, GIFT)
    order_ = shop.take(trade(), account="tb")
    shop.push()
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2), ("GIFT", 1)])))
    (job,) = shop.claim()
    told = build_confirmation(job.dossier, order_.again().parcels[0], job.directory.accounts[job.row["target_id"]])
    assert told is not None
    assert told.lines == ((lines_of(trade())[0]["oid_str"], 2),)


@pytest.mark.parametrize(("optional", "codes"), [(True, []), (False, ["gift_out_of_stock"])])
def test_a_gift_that_is_short_stops_an_order_only_if_its_rule_says_so(
    shop: Shop, optional: bool, codes: list[str]
) -> None:
    then = {"gift": [{"sku": "GIFT", "quantity": 11}], "if_available": optional}
    arm(shop, GIFT | {"then": then})
    order_ = shop.take(order())
    assert (order_.codes, gift_states(order_)) == (codes, [])
    body = {"warehouse": "wh1", "stock": [{"sku": "GIFT", "on_hand": 11}]}
    put_stock_text(shop.hub, json.dumps(body).encode(), actor="ann")
    order_ = order_.again()
    assert (order_.codes, order_.states[-1], len(gift_states(order_))) == ([], "ready", 0 if optional else 1)
    shop.check_books()


def test_money_is_frozen_without_the_gifts(shop: Shop) -> None:
    arm(shop, GIFT)
    shop.take(order())
    order_ = shop.take(order(at=1, goods=(("A", 3),)))
    paid = [row["paid"] for _, row in sorted(order_.dossier.lines.items())]
    assert paid == [3000, 0]


# --- approvals -------------------------------------------------------------------------------------------------------


def approve(stage: str) -> dict[str, Any]:
    return {"id": stage, "phase": "approve", "when": MANY, "then": {"approve": stage}}


def test_each_stage_is_released_by_who_may(shop: Shop) -> None:
    arm(shop, approve("service"), approve("finance"))
    order_ = shop.take(order())
    assert (order_.codes, order_.states) == (["approve_finance", "approve_service"], ["held"])
    finance = order_.exception("approve_finance")
    with pytest.raises(RefusedError) as refused:
        review(shop.hub, finance, "release", actor="clerk", scope="clerk")
    assert refused.value.code == "approval_scope"
    review(shop.hub, order_.exception("approve_service"), "release", actor="clerk", scope="clerk")
    assert order_.again().codes == ["approve_finance"]
    review(shop.hub, finance, "release", actor="admin", scope="admin")
    assert (order_.again().codes, order_.again().states) == ([], ["ready"])


def test_an_approval_ends_when_what_was_approved_changes(shop: Shop) -> None:
    arm(shop, approve("service"))
    order_ = shop.take(order())
    review(shop.hub, order_.exception("approve_service"), "release", actor="clerk", scope="clerk")
    assert shop.take(order(at=1, tags=["vip"])).codes == []
    assert shop.take(order(at=2, ship_to=ship_to(street="别的路9号"))).codes == ["approve_service"]


# --- schedules -------------------------------------------------------------------------------------------------------


def later(minutes: int) -> dict[str, Any]:
    at = (NOW + timedelta(minutes=minutes)).isoformat()
    return {"id": "later", "phase": "schedule", "when": MANY, "then": {"schedule": {"not_before": at}}}


def test_nothing_goes_out_before_its_time(shop: Shop) -> None:
    arm(shop, later(60))
    order_ = shop.take(order())
    assert (order_.states, shop.claim()) == (["ready"], [])
    assert order_view(shop.hub, order_.id)["fulfilments"][0]["goes_out_at"] == "2026-11-21T13:00:00Z"
    shop.clock.wait(minutes=61)
    assert len(shop.claim()) == 1


def test_another_schedule_times_a_push_anew_until_it_is_claimed(shop: Shop) -> None:
    arm(shop, later(60))
    order_ = shop.take(order())
    arm(shop, later(30))
    order_ = shop.take(order(at=1, tags=["vip"]))
    assert order_.outbox("push")["due_at"] == micros(NOW + timedelta(minutes=30))
    shop.clock.wait(minutes=31)
    jobs = shop.claim()
    arm(shop, later(90))
    shop.take(order(at=2, tags=["vip", "new"]))
    assert order_.again().outbox("push")["state"] == "sending"
    shop.end(jobs)
    assert order_.again().states == ["accepted"]


def test_a_person_may_send_at_once_what_waits_for_its_time(shop: Shop) -> None:
    arm(shop, later(60))
    order_ = shop.take(order())
    send_now(shop.hub, order_.number, actor="ann")
    order_ = shop.take(order(at=1, tags=["vip"]))
    assert len(shop.claim()) == 1
    with pytest.raises(RefusedError) as refused:
        send_now(shop.hub, order_.number, actor="ann")
    assert refused.value.code == "not_ready"


def test_the_delay_window_counts_from_the_release_whatever_is_decided_anew(shop: Shop) -> None:
    shop.hub.settings = shop.hub.settings.model_copy(update={"delay_seconds": 600})
    order_ = shop.take(order())
    due = order_.outbox("push")["due_at"]
    shop.clock.wait(minutes=5)
    order_ = shop.take(order(at=1, tags=["vip"]))
    assert order_.outbox("push")["due_at"] == due
