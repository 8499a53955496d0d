"""What a plan leaves to wait for stock: it is there to see, reserves nothing, and goes out once there is stock for it."""

from __future__ import annotations

import json

import pytest

from pipeline.review import cancel_by_number
from pipeline.supply import put_stock_text

from .build import Order, Shop, arm, order

PARTIAL = {"id": "partial", "phase": "split", "when": {"all": []}, "then": {"split": {"partial": True}}}


@pytest.fixture
def shop(shop: Shop) -> Shop:
    arm(shop.hub, PARTIAL)
    return shop


def receive(shop: Shop, units: int) -> None:
    told = {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": units}]}
    put_stock_text(shop.hub, json.dumps(told).encode(), actor="ann")


def live(found: Order) -> list[tuple[str, int]]:
    """State and units of its fulfilments that are not cancelled."""
    lines = found.dossier.lines_of
    return [(row["state"], sum(line["quantity"] for line in lines(row["id"]))) for row in found.dossier.live()]


def test_what_is_there_goes_out_and_the_rest_waits_without_a_reservation_or_a_push(shop: Shop) -> None:
    order_ = shop.take(order(goods=(("A", 130),)))
    assert live(order_) == [("ready", 100), ("planned", 30)]
    assert (order_.codes, shop.reserved(), order_.sendings("push")) == ([], 100, ["due"])
    shop.push("done")
    assert live(order_.again()) == [("accepted", 100), ("planned", 30)]
    shop.check_books()


def test_what_waits_goes_out_as_stock_arrives_all_of_it_under_its_own_code(shop: Shop) -> None:
    order_ = shop.take(order(goods=(("A", 130),)))
    shop.push("done")
    receive(shop, 130)
    assert live(order_.again()) == [("accepted", 100), ("ready", 30)]
    assert order_.again().code == order_.code
    assert shop.reserved() == 130
    shop.push("done")
    assert live(order_.again()) == [("accepted", 100), ("accepted", 30)]
    shop.check_books()


def test_when_some_of_it_arrives_that_much_goes_out(shop: Shop) -> None:
    order_ = shop.take(order(goods=(("A", 130),)))
    shop.push("done")
    receive(shop, 120)
    assert sorted(live(order_.again())) == [("accepted", 100), ("planned", 10), ("ready", 20)]
    assert shop.reserved() == 120
    shop.check_books()


def test_a_cancelled_order_waits_no_more(shop: Shop) -> None:
    order_ = shop.take(order(goods=(("A", 130),)))
    cancel_by_number(shop.hub, order_.number, actor="ann", why="wish")
    assert order_.again().status == "closed"
    assert (live(order_.again()), shop.reserved()) == ([], 0)
    shop.check_books()


def test_of_two_orders_that_wait_the_older_one_is_served_first(shop: Shop) -> None:
    first = shop.take(order("PO-1", goods=(("A", 105),)))
    second = shop.take(order("PO-2", goods=(("A", 5),)))
    assert (live(first), live(second)) == ([("ready", 100), ("planned", 5)], [("planned", 5)])
    shop.push("done")
    receive(shop, 105)
    assert (live(first.again()), live(second.again())) == ([("accepted", 100), ("ready", 5)], [("planned", 5)])
    shop.check_books()


def test_the_freight_of_an_order_that_waits_in_part_stays_what_it_was(shop: Shop) -> None:
    totals = {"freight": "5.00", "paid": "1305.00"}
    order_ = shop.take(order(goods=(("A", 130),), totals=totals))
    assert sum(row["freight"] for row in order_.dossier.live()) == 500
    shop.push("done")
    receive(shop, 120)
    assert sum(row["freight"] for row in order_.again().dossier.live()) == 500
