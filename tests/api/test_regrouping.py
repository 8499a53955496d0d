"""Merging, taking apart and rerouting by staff over the API; the refusals have names."""

from __future__ import annotations

from tests.api.house import House, order
from tests.pipeline.together import merging


def test_staff_takes_an_order_out_of_a_parcel_and_puts_it_back(house: House) -> None:
    merging(house.hub)
    one, two = (house.post(order(n), n).json()["number"] for n in ("PO-1", "PO-2"))
    shown = house.call("GET", f"/v1/orders/{one}").json()["fulfilments"]
    assert [row["ships_with"] for row in shown] == [[two]]
    assert house.call("POST", f"/v1/orders/{one}/unmerge", key="clerk").json()["number"] == one
    assert house.call("GET", f"/v1/orders/{one}").json()["fulfilments"][0]["ships_with"] == []
    again = house.call("POST", f"/v1/orders/{one}/unmerge", key="clerk")
    assert (again.status_code, again.json()["code"]) == (409, "not_merged")
    assert house.call("POST", f"/v1/orders/{one}/merge", key="clerk", json={"with": two}).status_code == 200
    assert house.call("GET", f"/v1/orders/{two}").json()["fulfilments"][0]["ships_with"] == [one]


def test_a_refusal_names_the_first_check_that_fails(house: House) -> None:
    one = house.post(order("PO-1"), "a").json()["number"]
    two = house.post(order("PO-2"), "b", key="zeta").json()["number"]
    for path, body, status, code in (
        ("merge", {"with": two}, 409, "merge_no_rule"),
        ("merge", {"with": one}, 409, "merge_same"),
        ("merge", {"with": "PA-0"}, 404, "not_found"),
        ("merge", {}, 422, "text"),
        ("reroute", {"warehouse": "nowhere"}, 422, "warehouse_unknown"),
    ):
        reply = house.call("POST", f"/v1/orders/{one}/{path}", key="clerk", json=body)
        assert (reply.status_code, reply.json()["code"]) == (status, code)


def test_a_partner_may_do_none_of_it(house: House) -> None:
    one = house.post(order("PO-1"), "a").json()["number"]
    for path in ("merge", "unmerge", "reroute"):
        assert house.call("POST", f"/v1/orders/{one}/{path}", json={}).status_code == 403


def test_an_order_is_sent_from_a_named_warehouse(house: House) -> None:
    one = house.post(order("PO-1"), "a").json()["number"]
    for name in ("wh1", ""):
        reply = house.call("POST", f"/v1/orders/{one}/reroute", key="admin", json={"warehouse": name})
        assert (reply.status_code, reply.json()["status"]) == (200, "pending_shipment")
