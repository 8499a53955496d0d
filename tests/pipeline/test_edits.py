"""What the source changes after import: applied before the push, stopped or noted after it, and money that stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import RetryableError
from pipeline.apply import apply_values
from pipeline.review import review
from storage import tables as t

from .build import Order, Shop, confirmed, lines_of, order, ship_to, trade


def money_of(order_: Order) -> list[tuple[int, int, int, int]]:
    return [(r["amount"], r["discount"], r["freight"], r["paid"]) for _, r in sorted(order_.dossier.lines.items())]


def test_a_quantity_changed_before_the_push_is_what_is_pushed(shop: Shop) -> None:
    shop.take(order())
    order_ = shop.take(order(at=1, goods=(("A", 5),)))
    assert (order_.states[-1], shop.reserved()) == ("ready", 5)
    (job,) = shop.claim()
    assert [line["quantity"] for line in job.dossier.lines_of(job.row["fulfilment_id"])] == [5]
    shop.check_books()


def test_an_address_changed_before_the_push_is_held_for_a_person(shop: Shop) -> None:
    shop.take(order())
    order_ = shop.take(order(at=1, ship_to=ship_to(street="新路5号")))
    assert (order_.states, order_.codes, shop.claim()) == (["held"], ["hold_address_changed"], [])
    review(shop.hub, order_.exception("hold_address_changed"), "release", actor="ann")
    (job,) = shop.claim()
    assert job.dossier.private["ship_to"]["street"] == "新路5号"
    assert order_.again().codes == []


def test_a_remark_added_before_the_push_is_held_for_a_person(shop: Shop) -> None:
    shop.take(order())
    order_ = shop.take(order(at=1, buyer_message="请发顺丰"))
    assert (order_.states, order_.codes, shop.claim()) == (["held"], ["hold_remark"], [])


def test_a_hold_goes_away_with_its_cause(shop: Shop) -> None:
    shop.take(order(buyer_message="请发顺丰"))
    order_ = shop.take(order(at=1))
    assert (order_.states, order_.codes) == (["ready"], [])


@pytest.mark.parametrize("change", ["address", "quantity"])
def test_a_change_during_the_push_is_intercepted_and_planned_anew(shop: Shop, change: str) -> None:
    order_ = shop.take(order())
    jobs = shop.claim()
    told: dict[str, Any] = {"ship_to": ship_to(street="新路5号")} if change == "address" else {"goods": (("A", 1),)}
    shop.take(order(at=1, **told))
    assert (order_.again().states[0], order_.again().sendings("cancel")) == ("cancelling", ["waiting"])
    shop.end(jobs, "done")
    (job,) = shop.claim()
    shop.end([job], "done")
    order_ = order_.again()
    assert order_.states[0] == "cancelled"
    assert order_.states[1] in {"ready", "held"}
    assert len({row["code"] for row in order_.parts}) == 2
    assert shop.reserved() == (2 if change == "address" else 1)
    shop.check_books()


def test_an_address_changed_after_the_push_goes_out_under_a_new_code(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("done")
    order_ = shop.take(order(at=1, ship_to=ship_to(street="新路5号")))
    assert order_.states == ["cancelling"]
    shop.push("done")
    order_ = order_.again()
    assert (order_.states, order_.codes) == (["cancelled", "held"], ["hold_address_changed"])
    review(shop.hub, order_.exception("hold_address_changed"), "release", actor="ann")
    (job,) = shop.claim()
    assert job.dossier.fulfilments[job.row["fulfilment_id"]]["code"].endswith("-2")
    shop.check_books()


def test_a_warehouse_that_cannot_stop_it_any_more_leaves_it_to_a_person(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("done")
    shop.take(order(at=1, goods=(("A", 1),)))
    shop.push("refused", code="cancel_refused", detail="packed")
    order_ = order_.again()
    assert order_.states == ["accepted"]
    assert "cancel_refused" in order_.codes
    assert shop.claim() == []
    shop.check_books()


def test_a_remark_changed_after_the_push_is_noted_and_stops_nothing(shop: Shop) -> None:
    shop.take(order())
    shop.push("done")
    order_ = shop.take(order(at=1, buyer_message="请发顺丰"))
    assert (order_.states, order_.sendings("cancel")) == (["accepted"], [])
    assert "changed_after_push" in order_.events


def test_a_change_after_shipping_is_too_late(shop: Shop) -> None:
    order_ = shop.take(trade(), account="tb")
    shop.push("done")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    order_ = shop.take(trade(at=9, receiver_address="新路5号"), account="tb")
    assert order_.states == ["shipped"]
    assert "change_too_late" in order_.codes
    assert order_.sendings("cancel") == []


def test_the_same_content_with_a_newer_stamp_changes_nothing(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("done")
    order_ = shop.take(order(at=7))
    assert (order_.states, order_.codes, order_.sendings("cancel")) == (["accepted"], [], [])


def test_an_open_refund_stops_the_order_and_a_closed_one_lets_it_go(shop: Shop) -> None:
    told = trade(goods=(("A", 2), ("B", 1)))
    lines_of(told)[1] |= {"refund_status": "WAIT_SELLER_AGREE", "refund_id": "77"}
    order_ = shop.take(told, account="tb")
    assert (order_.codes, shop.claim()) == (["platform_forbids_shipping"], [])
    told = trade(at=2, goods=(("A", 2), ("B", 1)))
    lines_of(told)[1] |= {"refund_status": "CLOSED", "refund_id": "77"}
    order_ = shop.take(told, account="tb")
    assert (order_.codes, order_.states[-1]) == ([], "ready")
    assert [row["state"] for row in order_.dossier.after_sales.values()] == ["withdrawn"]
    shop.check_books()


def test_a_refunded_line_is_not_shipped_and_re_spreads_nothing(shop: Shop) -> None:
    goods = (("A", 2), ("B", 1))
    money: dict[str, Any] = {"post_fee": "1.00", "payment": "31.00"}
    order_ = shop.take(trade(goods=goods, **money), account="tb")
    frozen = money_of(order_)
    told = trade(at=2, goods=goods, **money)
    lines_of(told)[1] |= {"refund_status": "SUCCESS", "refund_id": "77", "status": "TRADE_CLOSED"}
    order_ = shop.take(told, account="tb")
    assert money_of(order_) == frozen
    assert (order_.dossier.lines[1]["state"], shop.reserved("A"), shop.reserved("B")) == ("cancelled", 2, 0)
    shop.push("done")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    assert order_.again().status == "shipped"
    shop.check_books()


def test_a_refund_opened_after_the_push_stops_it_at_the_warehouse(shop: Shop) -> None:
    shop.take(trade(), account="tb")
    shop.push("done")
    told = trade(at=2)
    lines_of(told)[0] |= {"refund_status": "WAIT_SELLER_AGREE", "refund_id": "77"}
    order_ = shop.take(told, account="tb")
    assert "platform_forbids_shipping" in order_.codes
    assert order_.states == ["cancelling"]


def test_money_is_allocated_once_and_frozen_when_a_line_is_cancelled(shop: Shop) -> None:
    totals = {"goods": "30.00", "freight": "1.00", "discount": "2.00", "paid": "29.00"}
    shape: dict[str, Any] = {
        "goods": (("A", 2), ("B", 1)),
        "totals": totals,
        "discounts": [{"source": "coupon", "amount": "2.00"}],
    }
    order_ = shop.take(order(**shape))
    assert order_.codes == []
    frozen = money_of(order_)
    assert sum(row[3] for row in frozen) == 2900
    later = order(at=1, **shape)
    later["lines"][1]["cancelled"] = True
    order_ = shop.take(later)
    assert money_of(order_) == frozen
    assert shop.reserved("B") == 0


def test_money_that_does_not_add_up_is_never_repaired(shop: Shop) -> None:
    order_ = shop.take(order(totals={"paid": "20.01"}))
    assert (order_.codes, shop.claim()) == (["money_mismatch"], [])
    assert order_.dossier.order["paid"] == 2001


def test_a_line_dropped_by_the_source_is_cancelled_and_not_shipped(shop: Shop) -> None:
    shop.take(order(goods=(("A", 2), ("B", 1))))
    order_ = shop.take(order(at=1, goods=(("A", 2),)))
    assert (shop.reserved("A"), shop.reserved("B")) == (2, 0)
    assert order_.states[-1] == "ready"
    shop.check_books()


def test_a_source_that_ships_past_us_takes_its_goods_back(shop: Shop) -> None:
    shop.take(trade(), account="tb")
    told = trade(at=2, status="WAIT_BUYER_CONFIRM_GOODS")
    order_ = shop.take(told, account="tb")
    assert (order_.status, order_.states, shop.reserved(), shop.claim()) == ("shipped", ["cancelled"], 0, [])


def test_what_a_line_is_made_of_stays_frozen_when_its_listing_goes(shop: Shop) -> None:
    """domain.md §3: the mapping is frozen on the order. A listing changed later never changes what a pushed order is."""
    order_ = shop.take(trade(), account="tb")
    shop.push("done")
    with shop.hub.write() as tx:
        tx.execute(t.listings.delete())
    shop.take(trade(at=1, seller_flag=3), account="tb")
    order_ = shop.take(trade(at=2, seller_flag=4), account="tb")
    assert order_.dossier.lines[0]["sku"] == "A"
    apply_values(shop.hub, {"listings": [{"account": "tb", "external_sku": "EXT-A", "sku": "A"}]})
    order_ = shop.take(trade(at=3, seller_flag=0), account="tb")
    assert len([state for state in order_.states if state != "cancelled"]) == 1
    shop.tell(confirmed(order_.parts[0]["code"], ("SF1", [("A", 2)])))
    assert order_.again().status == "shipped"


def test_a_bundle_keeps_the_parts_it_was_taken_with(shop: Shop) -> None:
    listing = [{"account": "acme", "external_sku": "EXT-SET", "sku": "SET"}]
    apply_values(shop.hub, {"listings": listing, "bundles": [{"sku": "SET", "components": [["A", 1], ["B", 2]]}]})
    shop.take(order(goods=(("SET", 3),)))
    assert (shop.reserved("A"), shop.reserved("B")) == (3, 6)
    apply_values(shop.hub, {"bundles": [{"sku": "SET", "components": [["C", 1]]}]})
    shop.take(order(at=1, goods=(("SET", 3),), seller_memo=""))
    order_ = shop.take(order(at=2, goods=(("SET", 2),)))
    assert (shop.reserved("A"), shop.reserved("B"), shop.reserved("C")) == (2, 4, 0)
    assert order_.states[-1] == "ready"
    shop.check_books()


def test_what_a_short_shipment_left_can_be_sent_after_a_persons_word(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("done")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 1)])))
    review(shop.hub, order_.again().exception("short_ship"), "retry", actor="ann")
    order_ = order_.again()
    assert (order_.states, shop.reserved()) == (["shipped", "ready"], 1)
    shop.check_books()


def test_an_edit_during_a_push_that_did_not_happen_is_planned_as_it_is_now(shop: Shop) -> None:
    order_ = shop.take(order())
    jobs = shop.claim()
    shop.take(order(at=9, goods=(("A", 3),)))
    shop.end(jobs, "retry", RetryableError("http_429"))
    order_ = order_.again()
    assert (order_.states[0], order_.states[-1], order_.codes) == ("cancelled", "ready", [])
    shop.check_books()
