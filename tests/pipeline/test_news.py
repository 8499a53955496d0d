"""What a warehouse tells: parcels once, in any order, however often, and never more than was asked for."""

from __future__ import annotations

import pytest

from pipeline.review import cancel_by_number
from storage import tables as t
from tests.connectors.side import sample

from .build import Order, Shop, confirmed, order, reported, trade


def pushed(shop: Shop, **changes: object) -> Order:
    order_ = shop.take(order(**changes))  # type: ignore[arg-type]
    shop.push("done", reference="W1")
    return order_.again()


def test_a_final_confirm_ships_and_completes_the_order(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    order_ = order_.again()
    assert (order_.status, order_.states, order_.codes) == ("completed", ["shipped"], [])
    assert (shop.stock()["on_hand"], shop.reserved()) == (98, 0)
    shop.check_books()


def test_the_same_message_again_changes_nothing(shop: Shop) -> None:
    order_ = pushed(shop)
    body = confirmed(order_.code, ("SF1", [("A", 2)]))
    shop.tell(body, "e-1")
    before = (order_.again().events, shop.stock())
    shop.tell(body, "e-1")
    shop.tell(body, "another id, the same parcel")
    assert (order_.again().events, shop.stock()) == before
    assert len(order_.again().parcels) == 1


def test_partial_shipments_in_two_messages_add_up(shop: Shop) -> None:
    order_ = pushed(shop, goods=(("A", 2), ("B", 1)))
    shop.tell(confirmed(order_.code, ("SF1", [("A", 1)]), final=False, status="PARTDELIVERED"))
    order_ = order_.again()
    assert (order_.status, order_.states) == ("pending_shipment", ["picking"]) or order_.status == "partially_shipped"
    shop.check_books()
    shop.tell(confirmed(order_.code, ("SF2", [("A", 1), ("B", 1)])))
    order_ = order_.again()
    assert (order_.status, order_.states, len(order_.parcels)) == ("completed", ["shipped"], 2)
    assert (shop.reserved("A"), shop.reserved("B")) == (0, 0)
    shop.check_books()


def test_the_second_message_may_come_first(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("SF2", [("A", 1)]), final=False))
    shop.tell(confirmed(order_.code, ("SF1", [("A", 1)]), final=False))
    assert order_.again().states == ["shipped"]
    shop.check_books()


def test_news_before_the_answer_to_the_push_proves_that_it_arrived(shop: Shop) -> None:
    order_ = shop.take(order())
    jobs = shop.claim()
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    assert (order_.again().states, order_.again().sendings("push")) == (["shipped"], ["done"])
    shop.end(jobs, "refused", code="S005")
    assert (order_.again().states, order_.again().codes) == (["shipped"], [])


def test_progress_before_the_answer_to_the_push_harms_nothing(shop: Shop) -> None:
    order_ = shop.take(order())
    jobs = shop.claim()
    shop.tell(reported(order_.code, "PICK"))
    assert order_.again().states == ["picking"]
    shop.end(jobs, "refused", code="S005")
    assert order_.again().states == ["picking"]


def test_news_settles_an_unknown_and_a_parked_push(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("parked")
    assert order_.again().states == ["unknown"]
    shop.tell(reported(order_.code, "ACCEPT"))
    assert (order_.again().states, order_.again().sendings("push")) == (["accepted"], ["done"])


def test_tracking_for_an_unknown_order_is_an_exception_with_its_message(shop: Shop) -> None:
    shop.tell(confirmed("NO-SUCH-CODE", ("SF1", [("A", 1)])))
    (row,) = shop.rows(t.exceptions)
    assert (row["code"], row["order_id"]) == ("tracking_unknown_order", None)
    assert row["inbox_id"] is not None


def test_one_number_for_two_orders_is_refused_for_the_second(shop: Shop) -> None:
    first, second = shop.take(order("PO-1")), shop.take(order("PO-2"))
    shop.push("done")
    shop.tell(confirmed(first.code, ("SF1", [("A", 2)])))
    shop.tell(confirmed(second.code, ("SF1", [("A", 2)])))
    assert (first.again().codes, second.again().codes) == ([], ["tracking_duplicate"])
    assert second.again().parcels == []
    shop.check_books()


def test_one_number_for_two_orders_in_the_same_batch_is_refused_too(shop: Shop) -> None:
    first, second = shop.take(order("PO-1")), shop.take(order("PO-2"))
    shop.push("done")
    from pipeline.absorb import absorb_all
    from storage.inbox import Arrival, put_arrivals, seal_arrivals

    with shop.hub.write() as tx:
        told = [
            Arrival(
                source_kind="warehouse",
                source_id=shop.id_of("wh1", t.warehouses),
                kind="shipment",
                external_id=f"e-{order_.code}",
                body=confirmed(order_.code, ("SF1", [("A", 2)])),
            )
            for order_ in (first, second)
        ]
        put_arrivals(tx, seal_arrivals(shop.hub.vault, shop.hub.ids.take, told), shop.hub.now())
    absorb_all(shop.hub)
    assert sorted([first.again().codes, second.again().codes]) == [[], ["tracking_duplicate"]]


def test_a_parcel_without_a_number_is_never_a_parcel(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("", [("A", 2)])))
    assert (order_.again().codes, order_.again().parcels) == (["tracking_conflict"], [])
    assert order_.again().status == "pending_shipment"


def test_more_than_was_ordered_is_told_to_a_person(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("SF1", [("A", 3)])))
    order_ = order_.again()
    assert (order_.codes, order_.states) == (["over_ship"], ["shipped"])
    assert order_.detail("over_ship")["units"] == {"A": 1}
    shop.check_books()


def test_goods_that_were_never_ordered_are_told_to_a_person(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("SF1", [("C", 1)])))
    assert (order_.again().codes, order_.again().parcels) == (["over_ship"], [])


def test_another_parcel_after_everything_shipped_is_told_to_a_person(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    shop.tell(confirmed(order_.code, ("SF2", [("A", 1)])))
    assert (order_.again().codes, len(order_.again().parcels)) == (["over_ship"], 1)


def test_a_second_parcel_without_a_list_of_goods_is_not_lost_silently(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("SF1", []), ("SF2", [])))
    order_ = order_.again()
    assert ([row["tracking"] for row in order_.parcels], order_.codes) == (["SF1"], ["tracking_conflict"])


def test_the_same_number_with_other_goods_is_a_conflict(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("SF1", [("A", 1)]), final=False))
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    assert "tracking_conflict" in order_.again().codes


def test_a_short_final_message_ends_the_fulfilment_and_asks_a_person(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("SF1", [("A", 1)])))
    order_ = order_.again()
    assert (order_.states, order_.codes, order_.status) == (["shipped"], ["short_ship"], "partially_shipped")
    assert (shop.reserved(), shop.stock()["on_hand"]) == (0, 99)
    shop.check_books()


def test_what_a_short_message_left_out_may_still_come(shop: Shop) -> None:
    other = shop.take(order("PO-2"))
    order_ = pushed(shop)
    shop.tell(confirmed(order_.code, ("SF1", [("A", 1)])))
    shop.tell(confirmed(order_.code, ("SF2", [("A", 1)])))
    assert (order_.again().status, len(order_.again().parcels)) == ("completed", 2)
    assert (shop.reserved(), shop.stock()["on_hand"], other.again().states) == (2, 98, ["accepted"])
    shop.check_books()


def test_a_parcel_of_a_cancelled_order_is_recorded_and_told(shop: Shop) -> None:
    order_ = pushed(shop)
    cancel_by_number(shop.hub, order_.number, actor="acme", why="no longer wanted")
    shop.push("done")
    assert (order_.again().status, shop.reserved()) == ("closed", 0)
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    order_ = order_.again()
    assert (order_.status, order_.codes, len(order_.parcels)) == ("closed", ["ship_after_cancel"], 1)
    assert (shop.reserved(), shop.stock()["on_hand"]) == (0, 98)
    shop.check_books()


def test_goods_that_left_win_over_a_cancel_that_is_still_asked(shop: Shop) -> None:
    order_ = pushed(shop)
    cancel_by_number(shop.hub, order_.number, actor="acme", why="no longer wanted")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    order_ = order_.again()
    assert (order_.states, order_.codes) == (["shipped"], ["cancel_too_late"])
    shop.push("refused", code="cancel_refused")
    order_ = order_.again()
    assert (order_.states, "cancel_too_late" in order_.codes) == (["shipped"], True)
    shop.check_books()


def test_a_delivered_parcel_may_be_told_of_again(shop: Shop) -> None:
    order_ = pushed(shop)
    body = confirmed(order_.code, ("SF1", [("A", 2)]))
    shop.tell(body, "e-1")
    shop.tell(reported(order_.code, "SIGN"))
    order_ = order_.again()
    assert (order_.states, order_.parcels[0]["state"]) == (["delivered"], "delivered")
    shop.tell(body, "e-2")
    shop.tell(reported(order_.code, "PICK"))
    order_ = order_.again()
    assert (order_.states, order_.codes, len(order_.parcels)) == (["delivered"], [], 1)
    shop.check_books()


def test_progress_never_goes_back(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(reported(order_.code, "PICK"))
    shop.tell(reported(order_.code, "ACCEPT"))
    assert order_.again().states == ["picking"]


def test_a_warehouse_that_cancels_by_itself_is_told_to_a_person(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(reported(order_.code, "CANCELED"))
    order_ = order_.again()
    assert (order_.states, order_.codes, shop.reserved()) == (["cancelled"], ["warehouse_cancelled"], 0)
    assert order_.status == "pending_shipment"
    shop.check_books()


def test_a_warehouse_that_has_trouble_is_told_to_a_person(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(reported(order_.code, "EXCEPTION"))
    assert (order_.again().states, order_.again().codes) == (["accepted"], ["warehouse_exception"])


def test_an_unknown_word_is_stored_and_moves_nothing(shop: Shop) -> None:
    order_ = pushed(shop)
    shop.tell(reported(order_.code, "LEVITATING"))
    assert (order_.again().states, order_.again().codes) == (["accepted"], [])
    assert order_.again().events[-1] == "unknown_status"


@pytest.mark.parametrize("body", [b"<request/>", b"<!DOCTYPE x [<!ENTITY a 'b'>]><request>&a;</request>", b"not xml"])
def test_a_message_nobody_can_read_is_one_exception(shop: Shop, body: bytes) -> None:
    order_ = pushed(shop)
    shop.tell(body)
    assert len(shop.open_codes()) == 1
    assert order_.again().codes == []


def test_the_fact_sheets_message_is_read(shop: Shop) -> None:
    order_ = pushed(shop)
    body = sample("qimen/news/deliveryorder_confirm.request.xml").replace(b"HUB-DO-0001", order_.code.encode())
    shop.tell(body.replace(b"SKU-1001-RED-L", b"A"))
    order_ = order_.again()
    assert (order_.states, order_.parcels[0]["tracking"]) == (["shipped"], "SF1234567890123")
    assert order_.part["warehouse_ref"] in {"W1", "WMS-DO-77001"}


def test_a_status_is_computed_from_all_parts(shop: Shop) -> None:
    order_ = shop.take(trade(goods=(("A", 1), ("B", 1))), account="tb")
    shop.push("done")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 1)]), final=False))
    assert order_.again().status == "partially_shipped"
    shop.tell(confirmed(order_.code, ("SF2", [("B", 1)])))
    assert order_.again().status == "shipped"
    shop.push("done")
    shop.push("done")
    assert order_.again().status == "completed"


def test_a_short_final_message_is_asked_about_and_the_lost_parcel_clears_it(shop: Shop) -> None:
    """The message of the first parcel is lost, the final one of the second arrives: the warehouse knows of both."""
    order_ = shop.take(order(goods=(("A", 3),)))
    shop.push("done")
    shop.tell(confirmed(order_.code, ("SF2", [("A", 1)])))
    order_ = order_.again()
    assert order_.codes == ["short_ship"]
    assert order_.parts[0]["news_due_at"] is not None
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)]), ("SF2", [("A", 1)])))
    order_ = order_.again()
    assert order_.codes == []
    assert order_.parts[0]["news_due_at"] is None
    assert [state for state in order_.states if state != "cancelled"] == ["shipped"]
    assert shop.reserved("A") == 0
    shop.check_books()
