"""Rules of several phases at once: gifts, schedules, capacity and splits in parcels that orders share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.errors import RefusedError
from pipeline.apply import apply_values
from pipeline.messages import build_merged_shipment
from pipeline.regroup import merge_orders, unmerge_order
from pipeline.review import cancel_by_number, send_now
from pipeline.sending import Job
from storage import tables as t
from storage.times import micros

from .build import NOW, Order, Shop, arm, confirmed, warehouse
from .test_limits import planned
from .together import check_units, merge_rows, merge_rule, take_two

ALWAYS: dict[str, Any] = {"all": []}
MANY = {"field": "order.units", "op": "ge", "value": 3}
GIFT = {"id": "g", "phase": "gift", "when": MANY, "then": {"gift": [{"sku": "GIFT", "quantity": 1}]}}


def scheduled(minutes: int) -> dict[str, Any]:
    at = (NOW + timedelta(minutes=minutes)).isoformat()
    return {"id": "later", "phase": "schedule", "when": ALWAYS, "then": {"schedule": {"not_before": at}}}


def furnished(shop: Shop, *rules: dict[str, Any]) -> Shop:
    told = {"stock": [{"warehouse": "wh1", "sku": "GIFT", "on_hand": 10}], "goods": [{"sku": "GIFT", "title": "A cup"}]}
    apply_values(shop.hub, told)
    arm(shop.hub, merge_rule(), *rules)
    return shop


def shared(jobs: list[Job]) -> Job:
    (job,) = [job for job in jobs if job.group]
    return job


def sent(job: Job) -> list[tuple[str, str, int]]:
    """(source order, SKU, units) of what a push sends."""
    parts = [(d, f, job.directory.accounts[d.order["account_id"]]) for d, f in job.parts]
    return [(line.source_order, line.sku, line.quantity) for line in build_merged_shipment(job.code, parts).lines]


def units(order_: Order) -> list[tuple[str, int]]:
    """(SKU, units) of its newest fulfilment."""
    return sorted((row["sku"], row["quantity"]) for row in order_.dossier.lines_of(order_.part["id"]))


def test_a_gift_travels_in_the_parcel_that_two_orders_share(shop: Shop) -> None:
    furnished(shop, GIFT)
    one, two = take_two(shop)  # 2 A; 1 A and 3 B, which earn a gift
    shop.clock.wait(hours=2, minutes=1)
    job = shared(shop.claim())
    assert sorted(sent(job)) == [("PO-1", "A", 2), ("PO-2", "A", 1), ("PO-2", "B", 3), ("PO-2", "GIFT", 1)]
    shop.end([job])
    shop.tell(confirmed(job.code, ("SF1", [("A", 3), ("B", 3), ("GIFT", 1)])))
    assert [each.again().status for each in (one, two)] == ["completed", "completed"]
    assert (shop.stock("GIFT")["on_hand"], shop.reserved("GIFT")) == (9, 0)
    assert shop.open_codes() == []
    check_units(shop)


def test_a_gift_leaves_the_shared_parcel_with_its_order(shop: Shop) -> None:
    furnished(shop, GIFT)
    one, two = take_two(shop)
    unmerge_order(shop.hub, two.number, actor="ann")
    assert units(two.again()) == [("A", 1), ("B", 3), ("GIFT", 1)]
    assert shop.reserved("GIFT") == 1
    merge_orders(shop.hub, one.number, two.number, actor="ann")
    shop.clock.wait(hours=2, minutes=1)
    assert ("PO-2", "GIFT", 1) in sent(shared(shop.claim()))
    check_units(shop)


def test_a_parcel_taken_apart_after_its_push_keeps_each_gift_once(shop: Shop) -> None:
    furnished(shop, GIFT)
    one, two = take_two(shop)
    shop.clock.wait(hours=2, minutes=1)
    shop.end([shared(shop.claim())])
    cancel_by_number(shop.hub, one.number, actor="acme", why="?")
    shop.push("done")  # the warehouse stops the one order it has
    assert (one.again().status, two.again().states[-1]) == ("closed", "ready")
    assert units(two.again()) == [("A", 1), ("B", 3), ("GIFT", 1)]
    assert shop.reserved("GIFT") == 1
    check_units(shop)


def test_send_now_takes_whoever_waits_for_the_same_parcel_along(shop: Shop) -> None:
    furnished(shop)
    one, two = take_two(shop)
    assert shop.claim() == []
    send_now(shop.hub, one.number, actor="ann")
    job = shared(shop.claim())
    assert {d.id for d, _ in job.parts} == {one.id, two.id}
    shop.end([job])
    assert [each.again().states for each in (one, two)] == [["accepted"], ["accepted"]]
    with pytest.raises(RefusedError, match="not_ready"):
        send_now(shop.hub, two.number, actor="ann")
    check_units(shop)


def test_a_shared_parcel_waits_for_the_later_of_window_and_schedule(shop: Shop) -> None:
    furnished(shop, scheduled(180))  # the windows end after 120 minutes
    one, two = take_two(shop)
    assert [each.outbox("push")["due_at"] for each in (one, two)] == [micros(NOW + timedelta(minutes=180))] * 2
    shop.clock.wait(minutes=150)
    assert shop.claim() == []
    shop.clock.wait(minutes=31)
    assert {d.id for d, _ in shared(shop.claim()).parts} == {one.id, two.id}


def test_each_order_of_a_shared_parcel_takes_its_own_place_in_a_day(shop: Shop) -> None:
    apply_values(shop.hub, {"warehouses": [warehouse(info={"country": "CN", "carriers": ["SF"], "capacity": 9})]})
    furnished(shop)
    today = NOW.date().toordinal()
    one, two = take_two(shop)
    assert planned(shop) == {today: 3}  # a stranger's besides
    shop.clock.wait(hours=2, minutes=1)
    shop.end([shared(shop.claim())])
    assert planned(shop) == {today: 3}
    cancel_by_number(shop.hub, one.number, actor="acme", why="?")
    shop.push("done")
    assert two.again().states[-1] == "ready"
    assert sum(planned(shop).values()) == 2


def test_an_order_that_a_split_set_apart_ships_alone(shop: Shop) -> None:
    apart = {"id": "apart", "phase": "split", "when": ALWAYS, "then": {"split": {"apart": [["cold"]]}}}
    apply_values(shop.hub, {"goods": [{"sku": "B", "classes": "cold"}]})
    furnished(shop, apart)
    one, two = take_two(shop)  # of the second A and B may not travel together
    assert (len(one.parts), len(two.parts)) == (1, 2)
    assert [row["merge_key"] for row in two.parts] == [None, None]
    with pytest.raises(RefusedError, match="merge_split"):
        merge_orders(shop.hub, one.number, two.number, actor="ann")
    assert [job.group for job in shop.claim() if job.row["order_id"] == two.id] == [None, None]
    assert merge_rows(shop) == []
    assert shop.rows(t.fulfilments, t.fulfilments.c.order_id == one.id)[0]["merge_key"] is not None
