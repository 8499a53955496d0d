"""Listings, stock and bundles through the API, and the orders that waited for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.house import House, order


def line(sku: str, quantity: int = 1) -> list[dict[str, Any]]:
    return [{"line_id": "1", "sku": sku, "quantity": quantity, "unit_price": "10.00"}]


def states(house: House, number: str) -> list[str]:
    return [f["state"] for f in house.call("GET", f"/v1/orders/{number}").json()["fulfilments"]]


def put(house: House, what: str, body: dict[str, Any], *, method: str = "PUT") -> Any:
    reply = house.call(method, f"/v1/{what}", key="admin", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_new_listing_frees_the_orders_that_waited_for_it(house: House) -> None:
    waiting = house.post(order(lines=line("EXT-NEW"), totals={"paid": "10.00"}), "a").json()["number"]
    other = house.post(order("PO-2", lines=line("EXT-OTHER"), totals={"paid": "10.00"}), "b").json()["number"]
    told = put(house, "listings", {"account": "acme-api", "listings": [{"external_sku": "EXT-NEW", "sku": "A"}]})
    assert told == {"stored": 1, "removed": 0, "replanned": 1}
    assert (states(house, waiting), states(house, other)) == (["ready"], [])
    assert house.call("GET", f"/v1/orders/{waiting}").json()["accepted"] is True


def test_a_listing_given_anew_replaces_what_it_was(house: House) -> None:
    put(house, "listings", {"account": "acme-api", "listings": [{"external_sku": "EXT-A", "sku": "B", "quantity": 3}]})
    receipt = house.post(order(), "k").json()
    assert receipt["fulfilments"][0]["lines"] == [{"line_id": "1", "sku": "B", "quantity": 6}]


def test_a_delisted_sku_and_a_floor_price_stop_orders(house: House) -> None:
    listings = [
        {"external_sku": "EXT-A", "sku": "A", "listed": False},
        {"external_sku": "EXT-B", "sku": "B", "floor_price": 1001},
    ]
    put(house, "listings", {"account": "acme-api", "listings": listings}, method="POST")
    assert house.post(order(), "a").json()["exceptions"] == ["sku_delisted"]
    assert house.post(order("2", lines=line("EXT-B", 2)), "b").json()["exceptions"] == ["price_below_floor"]


def test_stock_frees_the_orders_that_waited_for_it(house: House) -> None:
    put(house, "stock", {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 1}]})
    receipt = house.post(order(), "k").json()
    assert (receipt["accepted"], receipt["exceptions"]) == (False, ["out_of_stock"])
    told = put(house, "stock", {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 2}]}, method="POST")
    assert told == {"stored": 1, "stale": [], "replanned": 1}
    assert states(house, receipt["number"]) == ["ready"]


def test_a_buffer_is_kept_and_back_orders_need_no_stock(house: House) -> None:
    put(house, "stock", {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 5, "buffer": 4}]})
    put(house, "stock", {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 5}]})
    number = house.post(order(), "k").json()["number"]
    assert states(house, number) == []
    put(house, "stock", {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 0, "backorder": True}]})
    assert states(house, number) == ["ready"]


def test_an_older_count_never_overwrites_a_newer_one(house: House) -> None:
    put(house, "stock", {"warehouse": "wh1", "as_of": "2026-11-21T11:00:00Z", "stock": [{"sku": "C", "on_hand": 7}]})
    old = {"warehouse": "wh1", "as_of": "2026-11-21T10:00:00Z", "stock": [{"sku": "C", "on_hand": 1}]}
    assert put(house, "stock", old) == {"stored": 0, "stale": ["C"], "replanned": 0}


def test_goods_are_given_by_put_and_post_alike(house: House) -> None:
    told = {"goods": [{"sku": "A", "weight_grams": 480, "classes": ["fragile"]}]}
    assert put(house, "goods", told) == {"stored": 1, "replanned": 0}
    assert put(house, "goods", {"goods": [{"sku": "A", "volume_ml": 9}]}, method="POST") == {
        "stored": 1,
        "replanned": 0,
    }


def test_what_waits_for_its_time_can_be_sent_at_once(house: House) -> None:
    house.hub.settings = house.hub.settings.model_copy(update={"delay_seconds": 600})
    number = house.post(order(), "k").json()["number"]
    assert house.call("POST", f"/v1/orders/{number}/send-now", key="clerk").json()["status"] == "pending_shipment"
    again = house.call("POST", f"/v1/orders/{number}/send-now", key="clerk")
    assert (again.status_code, again.json()["code"]) == (409, "not_ready")
    house.hub.settings = house.hub.settings.model_copy(update={"delay_seconds": 0})


def test_a_bundle_is_taken_apart(house: House) -> None:
    put(house, "bundles", {"sku": "SET", "components": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]})
    put(house, "listings", {"account": "acme-api", "listings": [{"external_sku": "EXT-SET", "sku": "SET"}]})
    receipt = house.post(order(lines=line("EXT-SET", 2), totals={"paid": "20.00"}), "k").json()
    parts = receipt["fulfilments"][0]["lines"]
    assert {part["sku"]: part["quantity"] for part in parts} == {"A": 4, "B": 2}


@pytest.mark.parametrize(
    ("what", "body", "status", "pointer"),
    [
        ("stock", {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": -1}]}, 422, "#/stock/0/on_hand"),
        ("stock", {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 1.5}]}, 422, "#/stock/0/on_hand"),
        ("stock", {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 3_000_000_000}]}, 422, "#/stock/0/on_hand"),
        (
            "stock",
            {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 1, "reserved": 0}]},
            422,
            "#/stock/0/reserved",
        ),
        ("stock", {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 1}] * 2}, 422, "#/stock"),
        ("stock", {"warehouse": "wh1", "stock": []}, 422, "#/stock"),
        ("stock", {"warehouse": "wh1", "as_of": "soon", "stock": [{"sku": "A", "on_hand": 1}]}, 422, "#/as_of"),
        ("stock", {"warehouse": "nowhere", "stock": [{"sku": "A", "on_hand": 1}]}, 404, ""),
        (
            "listings",
            {"account": "acme-api", "listings": [{"external_sku": "", "sku": "A"}]},
            422,
            "#/listings/0/external_sku",
        ),
        (
            "listings",
            {"account": "acme-api", "listings": [{"external_sku": "X", "sku": "A", "quantity": 0}]},
            422,
            None,
        ),
        (
            "listings",
            {"account": "acme-api", "listings": [{"external_sku": "X", "sku": "A", "listed": "maybe"}]},
            422,
            None,
        ),
        ("listings", {"account": "nobody", "listings": [{"external_sku": "X", "sku": "A"}]}, 404, ""),
        ("goods", {"goods": [{"sku": "A", "weight_grams": -1}]}, 422, "#/goods/0/weight_grams"),
        ("goods", {"goods": [{"sku": "A"}, {"sku": "A"}]}, 422, "#/goods"),
        ("bundles", {"sku": "SET", "components": [{"sku": "SET", "quantity": 1}]}, 422, "#/components/0/sku"),
    ],
)
def test_one_bad_entry_refuses_the_whole_request(
    small_house: House, what: str, body: dict[str, Any], status: int, pointer: str | None
) -> None:
    reply = small_house.call("PUT", f"/v1/{what}", key="admin", json=body)
    assert reply.status_code == status, reply.text
    if pointer:
        assert reply.json()["errors"][0]["pointer"] == pointer
