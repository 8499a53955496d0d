"""The store answers like the Admin API (facts/global/shopify.md, 2026-11-21)."""

from __future__ import annotations

import json
from typing import Any

import sandbox
from sandbox.signing import shopify_hmac

from .calls import Calls
from .conftest import Heard

ORDER = "query HubOrder($id: ID!) { order(id: $id) { id } }"
SHIP = "mutation HubShip($fulfillment: FulfillmentInput!) { fulfillmentCreate(fulfillment: $fulfillment) { fulfillment { id } } }"


def place(calls: Calls, count: int, seed: str, mix: object = "plain") -> list[str]:
    return list(calls.control("place", channel="shopify", count=count, seed=seed, mix=mix)["ids"])


def order(calls: Calls, gid: str) -> dict[str, Any]:
    return dict(calls.graph(ORDER, {"id": gid})["data"]["order"])


def ship(calls: Calls, groups: list[dict[str, Any]], number: str = "1Z999") -> dict[str, Any]:
    tracking = {"company": "UPS", "number": number}
    return dict(
        calls.graph(SHIP, {"fulfillment": {"lineItemsByFulfillmentOrder": groups, "trackingInfo": tracking}})["data"][
            "fulfillmentCreate"
        ]
    )


def test_refuses_a_wrong_token(calls: Calls) -> None:
    url = f"{calls.box.shopify['url']}/admin/api/2026-07/graphql.json"
    answer = calls.client.post(
        url, headers={"X-Shopify-Access-Token": "no"}, json={"query": "query HubOrders { orders }"}
    )
    assert answer.status_code == 401


def test_pages_by_cursor_over_orders_of_one_second(calls: Calls) -> None:
    ids, found, after = place(calls, 25, "pages"), [], None
    while True:
        page = calls.orders(7, after, "updated_at:>='2020-01-01T00:00:00Z'")
        found += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert [gid for gid in found if gid in ids] == ids
    assert calls.orders(7, None, "updated_at:>='2099-01-01T00:00:00Z'")["nodes"] == []


def test_refuses_a_filter_it_would_not_apply(calls: Calls) -> None:
    body = calls.graph("query HubOrders { orders }", {"first": 5, "query": "status:open"})
    assert body["errors"][0]["extensions"]["code"] == "SANDBOX_FILTER"


def test_totals_add_up_in_every_currency(calls: Calls) -> None:
    def amount(bag: dict[str, Any]) -> int:
        whole, _, rest = bag["shopMoney"]["amount"].partition(".")
        return int(whole) * 1000 + int(rest.ljust(3, "0"))

    currencies = set()
    for gid in place(calls, 60, "money"):
        doc = order(calls, gid)
        lines = sum(amount(line["priceAfterAllDiscountsBeforeTaxesSet"]) for line in doc["lineItems"]["nodes"])
        assert lines == amount(doc["subtotalPriceSet"])
        parts = ("subtotalPriceSet", "totalShippingPriceSet", "totalTaxSet")
        assert amount(doc["totalPriceSet"]) == sum(amount(doc[name]) for name in parts)
        gross = sum(amount(line["originalUnitPriceSet"]) * line["quantity"] for line in doc["lineItems"]["nodes"])
        assert gross - amount(doc["totalDiscountsSet"]) == lines
        currencies.add(doc["currencyCode"])
    assert currencies == {"USD", "EUR", "JPY", "KWD"}


def test_ships_by_fulfilment_order_line_and_never_more_than_is_left(calls: Calls) -> None:
    gid = place(calls, 1, "ship")[0]
    entry = order(calls, gid)["fulfillmentOrders"]["nodes"][0]
    item = entry["lineItems"]["nodes"][0]
    wrong = [
        {
            "fulfillmentOrderId": entry["id"],
            "fulfillmentOrderLineItems": [{"id": item["lineItem"]["id"], "quantity": 1}],
        }
    ]
    assert ship(calls, wrong)["userErrors"]
    right = [
        {
            "fulfillmentOrderId": entry["id"],
            "fulfillmentOrderLineItems": [{"id": item["id"], "quantity": item["remainingQuantity"]}],
        }
    ]
    assert ship(calls, right)["fulfillment"]["trackingInfo"] == [{"company": "UPS", "number": "1Z999", "url": None}]
    again = ship(calls, right)
    assert again["fulfillment"] is None
    assert again["userErrors"]
    row = calls.control(f"order?channel=shopify&id={gid}")["rows"][0]
    assert len(row["shipments"]) == 1
    assert len(row["refused_shipments"]) == 2
    assert order(calls, gid)["fulfillments"][0]["trackingInfo"][0]["number"] == "1Z999"


def test_a_partial_shipment_can_be_repeated_by_mistake_and_the_ledger_shows_both(calls: Calls) -> None:
    for gid in place(calls, 40, "twice"):
        entry = order(calls, gid)["fulfillmentOrders"]["nodes"][0]
        item = entry["lineItems"]["nodes"][0]
        if item["remainingQuantity"] > 1:
            group = [
                {"fulfillmentOrderId": entry["id"], "fulfillmentOrderLineItems": [{"id": item["id"], "quantity": 1}]}
            ]
            assert not ship(calls, group)["userErrors"] + ship(calls, group)["userErrors"]
            assert len(calls.control(f"order?channel=shopify&id={gid}")["rows"][0]["shipments"]) == 2
            return
    raise AssertionError("no order with two pieces of a line")


def test_two_locations_need_two_calls(calls: Calls) -> None:
    documents = (order(calls, gid) for gid in place(calls, 80, "places"))
    entries = next(doc["fulfillmentOrders"]["nodes"] for doc in documents if len(doc["fulfillmentOrders"]["nodes"]) > 1)
    assert (
        "single location"
        in ship(calls, [{"fulfillmentOrderId": entry["id"]} for entry in entries])["userErrors"][0]["message"]
    )
    assert all(not ship(calls, [{"fulfillmentOrderId": entry["id"]}])["userErrors"] for entry in entries)


def test_cancelled_orders_cannot_be_shipped_and_shipped_ones_not_cancelled(calls: Calls) -> None:
    cancelled, shipped = place(calls, 2, "cancel")
    assert calls.control("cancel", channel="shopify", id=cancelled) == {"ok": True}
    entry = order(calls, cancelled)["fulfillmentOrders"]["nodes"][0]
    assert "open state" in ship(calls, [{"fulfillmentOrderId": entry["id"]}])["userErrors"][0]["message"]
    assert not ship(calls, [{"fulfillmentOrderId": order(calls, shipped)["fulfillmentOrders"]["nodes"][0]["id"]}])[
        "userErrors"
    ]
    assert calls.control("cancel", channel="shopify", id=shipped) == {"ok": False}


def test_an_empty_bucket_says_throttled_with_http_200() -> None:
    with sandbox.start(seed="cost", mix="plain", orders=10, shopify_restore=10) as box:
        calls = Calls(box)
        bodies = [calls.graph("query HubOrders { orders }", {"first": 20}) for _ in range(5)]
        calls.client.close()
    throttled = [body for body in bodies if "errors" in body]
    assert throttled
    assert throttled[0]["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert throttled[0]["extensions"]["cost"]["throttleStatus"]["restoreRate"] == 10


def test_webhooks_are_signed_over_the_bytes_sent(calls: Calls, hub: Heard) -> None:
    calls.control("hub", url=hub.url, shopify_account="shop-1")
    gid = place(calls, 1, "hooks")[0]
    calls.control("cancel", channel="shopify", id=gid)
    messages = hub.wait(2)
    calls.control("hub", url="")
    assert {path for path, _, _ in messages} == {"/webhooks/shop-1"}
    assert {headers["x-shopify-topic"] for _, headers, _ in messages} == {"orders/create", "orders/cancelled"}
    for _, headers, body in messages:
        assert headers["x-shopify-hmac-sha256"] == shopify_hmac(body, calls.box.shopify["webhook_secret"])
        assert json.loads(body)["admin_graphql_api_id"] == gid
