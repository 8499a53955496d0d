"""Callbacks of warehouses and webhooks of channels: signed, stored, then answered; told twice, done once."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import hooks
from pipeline.absorb import absorb_all
from storage import tables as t
from tests.api.house import SECRETS, House, order
from wire.signing import qimen_sign, shopify_hmac

CONFIRM = (Path(__file__).parent.parent / "fixtures" / "qimen" / "deliveryorder_confirm.request.xml").read_bytes()


def signed(body: bytes, secret: str = SECRETS["qimen"], **changes: str) -> dict[str, str]:
    query = {
        "method": "deliveryorder.confirm",
        "timestamp": "2026-11-21 20:00:00",
        "format": "xml",
        "app_key": "app",
        "v": "2.0",
        "sign_method": "md5",
        "customerId": "customer",
    } | changes
    return query | {"sign": qimen_sign(query, body, secret)}


def call_back(house: House, body: bytes, query: dict[str, str]) -> Any:
    return house.call("POST", "/callbacks/wh1", key=None, params=query, content=body)


def rows(house: House, table: Any) -> list[dict[str, Any]]:
    with house.hub.read() as tx:
        return [dict(row) for row in tx.execute(table.select()).mappings()]


def confirm_for(code: str) -> bytes:
    return CONFIRM.replace(b"HUB-DO-0001", code.encode()).replace(b"SKU-1001-RED-L", b"A")


def test_a_callback_is_stored_before_it_is_answered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    body = confirm_for("PA-1")
    reply = call_back(house, body, signed(body))
    assert (reply.status_code, b"<flag>success</flag>" in reply.content) == (200, True)
    assert reply.headers["content-type"].startswith("text/xml")
    (kept,) = rows(house, t.inbox)
    assert (kept["source_kind"], kept["kind"], kept["state"]) == ("warehouse", "shipment", "new")

    def broken(*_: Any) -> bool:
        raise OSError

    monkeypatch.setattr(hooks, "take_callbacks", broken)
    failed = call_back(house, confirm_for("PA-2"), signed(confirm_for("PA-2")))
    assert (failed.status_code, b"success" in failed.content) == (500, False)


def test_a_callback_ships_the_order_once(house: House) -> None:
    receipt = house.post(order(), "k").json()
    body = confirm_for(receipt["fulfilments"][0]["code"])
    for _ in range(5):
        assert b"<flag>success</flag>" in call_back(house, body, signed(body)).content
    absorb_all(house.hub)
    shown = house.call("GET", f"/v1/orders/{receipt['number']}").json()
    assert [(p["tracking"], p["lines"]) for p in shown["packages"]] == [
        ("SF1234567890123", [{"line_id": "1", "quantity": 2}])
    ]
    assert len([row for row in rows(house, t.inbox) if row["source_kind"] == "warehouse"]) == 1


def test_a_callback_that_is_not_signed_changes_nothing(house: House) -> None:
    body = confirm_for("PA-1")
    good = signed(body)
    cases = [
        (body + b" ", good),
        (body, signed(body, "other-secret")),
        (body, {k: v for k, v in good.items() if k != "sign"}),
        (body, good | {"sign": "é" * 10}),
        (body, good | {"sign": "x" * 10_000}),
        (body, good | {"method": "order.cancel"}),
        (body, signed(body, customerId="another")),
        (body, signed(body, timestamp="2026-11-21 19:40:00")),
        (body, signed(body, timestamp="")),
    ]
    for content, query in cases:
        reply = call_back(house, content, query)
        assert b"<flag>failure</flag>" in reply.content, query
        assert reply.status_code < 500
    assert rows(house, t.inbox) == []


def test_a_signed_callback_that_is_no_news_is_kept_and_refused(house: House) -> None:
    body = b"<request><gossip/></request>"
    reply = call_back(house, body, signed(body))
    assert b"<flag>failure</flag>" in reply.content
    (kept,) = rows(house, t.inbox)
    assert kept["external_id"].startswith("unreadable-")
    absorb_all(house.hub)
    assert house.count("/v1/exceptions", "exceptions") == 1


def test_unknown_warehouses_and_accounts_answer_like_bad_signatures(small_house: House) -> None:
    paths = ("/callbacks/nowhere", "/webhooks/nobody", "/webhooks/acme-api", "/webhooks/shop")
    replies = [small_house.call("POST", path, key=None, content=b"{}") for path in paths]
    assert {reply.status_code for reply in replies} == {401}
    assert {reply.json()["code"] for reply in replies} == {"unauthenticated"}


HOOK = json.dumps({"id": 820982911946154508, "admin_graphql_api_id": "gid://shopify/Order/820982911946154508"}).encode()


def hook(house: House, body: bytes = HOOK, *, delivery: str = "d-1", signature: bytes | None = None) -> Any:
    headers = {
        "X-Shopify-Topic": b"orders/create",
        "X-Shopify-Webhook-Id": delivery.encode(),
        "X-Shopify-Hmac-Sha256": shopify_hmac(HOOK, SECRETS["webhook"]).encode() if signature is None else signature,
    }
    return house.call("POST", "/webhooks/shop", key=None, content=body, headers=headers)


def test_a_webhook_told_a_hundred_times_has_one_effect(house: House) -> None:
    due = house.hub.now() + 3_600_000_000
    with house.hub.write() as tx:
        tx.execute(t.cursors.update().values(due_at=due))
    assert {hook(house).status_code for _ in range(100)} == {204}
    (hint,) = rows(house, t.hints)
    assert hint["external_id"] == "gid://shopify/Order/820982911946154508"
    assert len(rows(house, t.deliveries)) == 1
    assert min(row["due_at"] for row in rows(house, t.cursors)) <= house.hub.now()
    with house.hub.write() as tx:
        tx.execute(t.hints.delete())
    house.clock.at += timedelta(days=3)
    assert hook(house).status_code == 204
    assert rows(house, t.hints) == []
    assert hook(house, delivery="d-2").status_code == 204
    assert len(rows(house, t.hints)) == 1


def test_a_webhook_with_another_body_or_a_strange_signature_is_refused(house: House) -> None:
    assert hook(house, HOOK + b" ").status_code == 401
    for signature in (b"", "é".encode(), b"x" * 10_000, b",".join([b"a"] * 50), b"v1,"):
        assert hook(house, signature=signature).status_code == 401
    assert rows(house, t.hints) == rows(house, t.deliveries) == []


def test_a_delivery_without_an_id_is_known_by_its_bytes(house: House) -> None:
    assert {hook(house, delivery="").status_code for _ in range(3)} == {204}
    assert len(rows(house, t.deliveries)) == 1


def batch_for(*codes: str) -> bytes:
    orders = [confirm_for(code).partition(b"?>")[2].strip() for code in codes]
    cut = [order.replace(b"<request>", b"<order>").replace(b"</request>", b"</order>") for order in orders]
    return b"<request><orders>" + b"".join(cut) + b"</orders></request>"


def test_confirms_of_several_orders_are_stored_one_by_one_and_answered_once(house: House) -> None:
    body = batch_for("PA-1", "PA-2", "PA-3")
    reply = call_back(house, body, signed(body))
    assert (reply.status_code, b"<flag>success</flag>" in reply.content) == (200, True)
    kept = rows(house, t.inbox)
    assert len(kept) == len({row["external_id"] for row in kept}) == 3
    call_back(house, body, signed(body))
    assert len(rows(house, t.inbox)) == 3


def test_the_second_call_of_a_warehouse_is_answered_like_the_first(house: House) -> None:
    for code in ("PA-1", "PA-2", "PA-3"):
        body = confirm_for(code)
        assert b"<flag>success</flag>" in call_back(house, body, signed(body)).content
        bad = call_back(house, body, signed(body) | {"sign": "0" * 32})
        assert b"sign-check-failure" in bad.content
    assert len(rows(house, t.inbox)) == 3
