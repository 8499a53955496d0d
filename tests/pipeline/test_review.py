"""What people do about exceptions: one action wins, everything is written down, and what they corrected stays corrected."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import select

from domain.errors import RefusedError
from pipeline.housekeeping import keep_house
from pipeline.review import assign, cured_by, review, snooze
from storage import tables as t

from .build import Shop, order, ship_to

BAD_PHONE = ship_to(phone="12")


def test_exceptions_come_and_go_with_their_causes(shop: Shop) -> None:
    order_ = shop.take(order(ship_to=BAD_PHONE, goods=(("NEW", 1),)))
    assert order_.codes == ["phone_invalid", "sku_unmapped"]
    order_ = shop.take(order(at=1, goods=(("NEW", 1),)))
    assert "phone_invalid" not in order_.codes
    order_ = shop.take(order(at=2, ship_to=ship_to(phone="13"), goods=(("NEW", 1),)))
    assert "phone_invalid" in order_.codes
    rows = shop.rows(t.exceptions, t.exceptions.c.code == "phone_invalid")
    assert [row["state"] for row in rows] == ["resolved", "open"]
    assert rows[0]["resolved_by"] == "hub"


def test_the_same_cause_again_is_the_same_exception(shop: Shop) -> None:
    shop.take(order(ship_to=BAD_PHONE))
    shop.take(order(at=1, ship_to=BAD_PHONE))
    assert len(shop.rows(t.exceptions)) == 1


def test_a_fix_is_read_again_and_survives_new_versions(shop: Shop) -> None:
    order_ = shop.take(order(ship_to=BAD_PHONE))
    told = review(
        shop.hub, order_.exception("phone_invalid"), "fix", actor="ann", fixes=[("consignee.phone", "13900139000")]
    )
    assert told.still_open == ()
    assert order_.again().states == ["ready"]
    order_ = shop.take(order(at=1, ship_to=BAD_PHONE, tags=["vip"]))
    assert (order_.codes, order_.states) == ([], ["ready"])
    assert order_.dossier.private["ship_to"]["phone"].endswith("13900139000")


def test_a_fix_ends_when_the_source_itself_changes_the_field(shop: Shop) -> None:
    order_ = shop.take(order(ship_to=BAD_PHONE))
    fixes = [("consignee.phone", "13900139000")]
    review(shop.hub, order_.exception("phone_invalid"), "fix", actor="ann", fixes=fixes)
    order_ = shop.take(order(at=1, ship_to=ship_to(phone="13700137000")))
    assert order_.dossier.private["ship_to"]["phone"].endswith("13700137000")


def test_a_field_may_be_fixed_again_after_the_source_changed_it(shop: Shop) -> None:
    order_ = shop.take(order(ship_to=BAD_PHONE))
    fixes = [("consignee.phone", "13900139000")]
    review(shop.hub, order_.exception("phone_invalid"), "fix", actor="ann", fixes=fixes)
    order_ = shop.take(order(at=1, ship_to=ship_to(phone="13")))
    assert "phone_invalid" in order_.codes
    review(shop.hub, order_.exception("phone_invalid"), "fix", actor="ann", fixes=fixes)
    assert "phone_invalid" not in order_.again().codes


def test_a_fixed_sku_is_mapped_and_planned(shop: Shop) -> None:
    order_ = shop.take(order(goods=(("NEW", 1),)))
    fixes = [("lines.0.external_sku", "EXT-B")]
    review(shop.hub, order_.exception("sku_unmapped"), "fix", actor="ann", fixes=fixes)
    assert (order_.again().states, shop.reserved("B")) == (["ready"], 1)
    shop.check_books()


@pytest.mark.parametrize("path", ["status", "consignee.token", "lines.9.external_sku", "lines.0.paid", "consignee"])
def test_what_may_not_be_corrected_is_refused_and_changes_nothing(shop: Shop, path: str) -> None:
    order_ = shop.take(order(ship_to=BAD_PHONE))
    with pytest.raises(RefusedError, match="correction"):
        review(shop.hub, order_.exception("phone_invalid"), "fix", actor="ann", fixes=[(path, "x")])
    assert order_.again().codes == ["phone_invalid"]


def test_a_release_waives_the_code_for_later_versions_too(shop: Shop) -> None:
    order_ = shop.take(order(buyer_message="请发顺丰"))
    review(shop.hub, order_.exception("hold_remark"), "release", actor="ann", note="seen")
    assert order_.again().states == ["ready"]
    order_ = shop.take(order(at=1, buyer_message="请发顺丰", tags=["vip"]))
    assert (order_.states, order_.codes) == (["ready"], [])


@pytest.mark.parametrize(("changes", "code"), [({"goods": (("NEW", 1),)}, "sku_unmapped")])
def test_what_is_missing_cannot_be_waived(shop: Shop, changes: dict[str, object], code: str) -> None:
    order_ = shop.take(order(**changes))  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="not_waivable"):
        review(shop.hub, order_.exception(code), "release", actor="ann")


def test_a_cause_that_is_still_there_cannot_be_dismissed(shop: Shop) -> None:
    order_ = shop.take(order(ship_to=BAD_PHONE))
    with pytest.raises(RefusedError, match="not_waivable"):
        review(shop.hub, order_.exception("phone_invalid"), "dismiss", actor="ann")


def test_a_second_person_is_told_that_it_is_resolved(shop: Shop) -> None:
    order_ = shop.take(order(buyer_message="请发顺丰"))
    row_id = order_.exception("hold_remark")
    review(shop.hub, row_id, "release", actor="ann")
    with pytest.raises(RefusedError, match="already_resolved"):
        review(shop.hub, row_id, "cancel", actor="bob")
    assert order_.again().status == "pending_shipment"


def test_two_people_at_the_same_instant_have_one_winner(pg_shop: Shop) -> None:
    for n in range(6):
        order_ = pg_shop.take(order(f"PO-{n}", buyer_message="请发顺丰"))
        row_id, gate = order_.exception("hold_remark"), Barrier(2)

        def act(actor: str, gate: Barrier = gate, row_id: int = row_id) -> str:
            gate.wait()
            try:
                review(pg_shop.hub, row_id, "release", actor=actor)
            except RefusedError as error:
                return error.code
            return actor

        with ThreadPoolExecutor(2) as pool:
            ends = sorted(pool.map(act, ("ann", "bob")))
        assert ends[0] == "already_resolved" or ends == ["already_resolved", "bob"]
        assert order_.again().events.count("review_release") == 1
    pg_shop.check_books()


def test_every_action_is_in_the_orders_log_with_who_did_it(shop: Shop) -> None:
    order_ = shop.take(order(buyer_message="请发顺丰"))
    review(shop.hub, order_.exception("hold_remark"), "release", actor="ann", note="seen")
    rows = shop.rows(t.events, t.events.c.order_id == order_.id, t.events.c.kind == "review_release")
    assert [row["actor"] for row in rows] == ["ann"]


def test_a_dismissed_document_stays_stored_and_is_asked_about_no_more(shop: Shop) -> None:
    from pipeline.absorb import absorb_all

    shop.put(order(totals={"paid": "NaN"}))
    absorb_all(shop.hub)
    (row,) = shop.rows(t.exceptions)
    assert review(shop.hub, row["id"], "dismiss", actor="ann").status == "rejected"
    assert shop.open_codes() == []
    assert [r["state"] for r in shop.rows(t.inbox)] == ["exception"]
    with pytest.raises(RefusedError, match="already_resolved"):
        review(shop.hub, row["id"], "retry", actor="ann")


def test_a_document_that_still_cannot_be_read_stays_open(shop: Shop) -> None:
    from pipeline.absorb import absorb_all

    shop.put(order(totals={"paid": "NaN"}))
    absorb_all(shop.hub)
    (row,) = shop.rows(t.exceptions)
    assert review(shop.hub, row["id"], "retry", actor="ann").still_open == ("money",)
    assert shop.open_codes() == ["money"]


def test_a_snoozed_exception_wakes_by_itself(shop: Shop) -> None:
    order_ = shop.take(order(buyer_message="请发顺丰"))
    row_id = order_.exception("hold_remark")
    snooze(shop.hub, row_id, shop.clock.at + timedelta(hours=1), actor="ann")
    assign(shop.hub, row_id, "bob", actor="ann")
    keep_house(shop.hub)
    assert [row["state"] for row in shop.rows(t.exceptions)] == ["snoozed"]
    shop.clock.wait(hours=2)
    keep_house(shop.hub)
    (row,) = shop.rows(t.exceptions)
    assert (row["state"], row["assignee"]) == ("open", "bob")


def test_nothing_can_be_done_about_what_is_not_there(shop: Shop) -> None:
    with pytest.raises(RefusedError, match="not_found"):
        review(shop.hub, 1, "retry", actor="ann")
    with pytest.raises(RefusedError, match="not_found"):
        assign(shop.hub, 1, "ann", actor="ann")


def test_orders_that_wait_for_a_code_are_found_by_it(shop: Shop) -> None:
    order_ = shop.take(order(goods=(("NEW", 1),)))
    shop.take(order("PO-2"))
    assert cured_by(shop.hub, ["sku_unmapped"]) == [order_.id]
    assert cured_by(shop.hub, ["sku_unmapped"], account_id=shop.id_of("tb")) == []


def test_expired_memories_are_forgotten_and_the_others_kept(shop: Shop) -> None:
    now = shop.hub.now()
    rows = [{"source": "s", "delivery_id": str(n), "expires_at": now + n * 1_000_000} for n in (-1, 1_000)]
    with shop.hub.write() as tx:
        tx.execute(t.deliveries.insert(), rows)
    keep_house(shop.hub)
    with shop.hub.read() as tx:
        assert tx.execute(select(t.deliveries.c.delivery_id)).scalars().all() == ["1000"]


def test_a_retry_whose_cause_is_still_there_leaves_the_exception_open(shop: Shop) -> None:
    order_ = shop.take(order(buyer_message="请发顺丰"))
    row_id = order_.exception("hold_remark")
    assert review(shop.hub, row_id, "retry", actor="ann").still_open == ("hold_remark",)
    (row,) = shop.rows(t.exceptions)
    assert (row["id"], row["state"], row["resolved_by"]) == (row_id, "open", "")
