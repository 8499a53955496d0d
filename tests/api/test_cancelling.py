"""Cancels by partners and staff: before the order, before the push, after it, twice."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from storage import tables as t
from tests.api.house import House, order


def test_cancels_before_the_push_at_once(house: House) -> None:
    number = house.post(order(), "k").json()["number"]
    for _ in range(2):
        reply = house.call("POST", f"/v1/orders/{number}/cancel", json={"reason": "no longer wanted"})
        assert (reply.status_code, reply.json()) == (200, {"number": number, "status": "closed", "exceptions": []})
    shown = house.call("GET", f"/v1/orders/{number}", key="admin").json()
    assert [f["state"] for f in shown["fulfilments"]] == ["cancelled"]
    cancels = [event for event in shown["events"] if event["kind"] == "cancel"]
    assert [(event["actor"], event["detail"]) for event in cancels] == [("key:acme", {"why": "no longer wanted"})]


def test_a_cancel_before_its_order_leaves_a_tombstone(house: House) -> None:
    path = "/v1/orders/by-external/acme-api/PO%2F1/cancel"
    reply = house.call("POST", path)
    assert (reply.status_code, reply.json()) == (200, {"number": "", "status": "closed", "exceptions": []})
    later = house.post(order("PO/1"), "k")
    assert (later.status_code, later.json()["status"], later.json()["fulfilments"]) == (201, "closed", [])
    assert house.call("GET", "/v1/orders/by-external/acme-api/PO/1").json()["cancelled"] is True
    with house.hub.read() as tx:
        assert not tx.execute(t.outbox.select()).all()


def test_the_tombstone_is_this_partners_only(house: House) -> None:
    house.call("POST", "/v1/orders/by-external/acme-api/PO-1/cancel")
    assert house.post(order(), "k", key="zeta").json()["status"] == "pending_shipment"


def test_cancels_by_the_partners_own_id(house: House) -> None:
    number = house.post(order(), "k").json()["number"]
    reply = house.call("POST", "/v1/orders/by-external/acme-api/PO-1/cancel", key="clerk")
    assert reply.json() == {"number": number, "status": "closed", "exceptions": []}


def test_a_cancel_in_the_document_closes_the_order(house: House) -> None:
    house.post(order(), "k")
    receipt = house.post(order(status="cancelled", updated_at="2026-11-21T11:00:00Z"), "k2").json()
    assert (receipt["result"], receipt["status"]) == ("updated", "closed")


def move(house: House, **values: Any) -> None:
    with house.hub.write() as tx:
        tx.execute(update(t.fulfilments).values(**values))


def test_a_cancel_after_the_push_asks_the_warehouse(house: House) -> None:
    number = house.post(order(), "k").json()["number"]
    move(house, state="accepted")
    reply = house.call("POST", f"/v1/orders/{number}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (200, "pending_shipment")
    shown = house.call("GET", f"/v1/orders/{number}").json()
    assert ([f["state"] for f in shown["fulfilments"]], shown["cancelled"]) == (["cancelling"], True)


def test_a_cancel_after_shipping_is_too_late(house: House) -> None:
    number = house.post(order(), "k").json()["number"]
    move(house, state="shipped")
    reply = house.call("POST", f"/v1/orders/{number}/cancel")
    assert (reply.status_code, reply.json()["code"]) == (409, "order_not_cancellable")


def test_a_cancel_is_read_strictly(small_house: House) -> None:
    number = small_house.post(order(), "k").json()["number"]
    for content in (b"[]", b'{"why":"x"}', b'{"reason":1}', b'{"reason":"a","reason":"b"}'):
        assert small_house.call("POST", f"/v1/orders/{number}/cancel", content=content).status_code in {400, 422}
    for name in ("%20", "x" * 201):
        reply = small_house.call("POST", f"/v1/orders/by-external/acme-api/{name}/cancel")
        assert (reply.status_code, reply.json()["code"]) == (422, "id")
    assert small_house.call("GET", f"/v1/orders/{number}").json()["cancelled"] is False
