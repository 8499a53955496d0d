"""Posting orders: receipts, idempotency (P4), batches, and neighbours that never notice (P7)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from pipeline import intake as intake_module
from pipeline.absorb import absorb_rows
from pipeline.access import identify
from pipeline.bootstrap import Hub
from storage import tables as t
from tests.api.house import House, encoded, order


def inbox_rows(hub: Hub) -> list[dict[str, Any]]:
    with hub.read() as tx:
        return [dict(row) for row in tx.execute(t.inbox.select().order_by(t.inbox.c.id)).mappings()]


def test_answers_with_a_verdict_per_check_and_a_plan(house: House) -> None:
    reply = house.post(order(), "k")
    assert reply.status_code == 201
    receipt = reply.json()
    assert receipt["accepted"] is True
    assert receipt["result"] == "created"
    assert receipt["status"] == "pending_shipment"
    checks = ["sender", "listing", "stock", "consignee", "money", "payment"]
    assert {check: receipt["verdicts"][check]["result"] for check in checks} == dict.fromkeys(checks, "passed")
    (plan,) = receipt["fulfilments"]
    assert (plan["warehouse"], plan["state"], plan["lines"]) == (
        "wh1",
        "ready",
        [{"line_id": "1", "sku": "A", "quantity": 2}],
    )
    assert receipt["number"].startswith("PA-")


def test_an_order_that_fails_its_checks_is_stored_and_says_why(house: House) -> None:
    ship_to = order()["ship_to"] | {"phone": "123", "district": "", "city": "", "province": "", "street": "鼓楼区1号"}
    lines = [{"line_id": "1", "sku": "UNKNOWN", "quantity": 2, "unit_price": "10.00"}]
    reply = house.post(order(ship_to=ship_to, lines=lines, totals={"paid": "20.01"}), "k")
    assert reply.status_code == 201
    receipt = reply.json()
    assert receipt["accepted"] is False
    failed = {check: verdict["problems"] for check, verdict in receipt["verdicts"].items() if verdict["problems"]}
    assert {"listing", "consignee", "money"} <= set(failed)
    assert failed["listing"][0] == {
        "code": "sku_unmapped",
        "path": "lines.0.external_sku",
        "detail": failed["listing"][0]["detail"],
        "candidates": [],
    }
    assert any(p["path"].startswith("ship_to") for p in failed["consignee"])
    assert any(p["code"] == "money_mismatch" and p["path"] == "totals.paid" for p in failed["money"])
    assert {"sku_unmapped", "money_mismatch"} <= set(receipt["exceptions"])
    assert house.orders() == 1


def test_an_unpaid_order_waits(house: House) -> None:
    receipt = house.post(order(payment={"status": "unpaid"}), "k").json()
    assert (receipt["accepted"], receipt["status"]) == (True, "pending_payment")
    assert receipt["verdicts"]["payment"]["result"] == "waiting"


def test_cash_on_delivery_that_is_not_allowed_fails(house: House) -> None:
    receipt = house.post(order(payment={"status": "cod"}), "k").json()
    assert (receipt["accepted"], receipt["verdicts"]["payment"]["result"]) == (False, "failed")


def test_the_same_key_and_body_get_the_same_bytes(house: House) -> None:
    first = house.post(order(), "k")
    again = house.post(order(), "k")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert house.orders() == 1


def test_a_replay_survives_what_happened_to_the_order_since(house: House) -> None:
    first = house.post(order(), "k")
    house.call("POST", f"/v1/orders/{first.json()['number']}/cancel")
    again = house.post(order(), "k")
    assert again.content == first.content


def test_a_quoted_key_is_the_bare_key(house: House) -> None:
    first = house.post(order(), '"k-1"')
    assert house.post(order(), "k-1").content == first.content
    assert house.post(order(), "k-1").headers["idempotent-replayed"] == "true"


def test_the_same_key_with_another_body_is_refused(house: House) -> None:
    first = house.post(order(), "k")
    other = house.post(order("PO-2"), "k")
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    assert other.headers["content-type"] == "application/problem+json"
    assert house.post(order(), "k").content == first.content
    assert house.orders() == 1


@pytest.mark.parametrize("key", [None, "", '""', "x" * 256, "é", "a\tb"])
def test_a_key_that_is_none_is_refused(small_house: House, key: str | None) -> None:
    headers = {} if key is None else {"Idempotency-Key": key.encode("latin-1")}
    reply = small_house.call("POST", "/v1/orders", json=order(), headers=headers)
    assert reply.status_code == 400
    assert reply.json()["code"] in {"idempotency_key_missing", "idempotency_key_invalid"}
    assert small_house.orders() == 0


def test_a_key_of_255_characters_is_taken(small_house: House) -> None:
    assert small_house.post(order(), "x" * 255).status_code == 201


def test_twenty_at_once_are_one_order(house: House) -> None:
    async def send() -> Any:
        async with house.client() as client:
            return await client.post("/v1/orders", content=encoded(order()), headers={"Idempotency-Key": "k"})

    replies = house.together(*(send() for _ in range(20)))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.content for reply in replies}) == 1
    assert house.orders() == 1
    assert len(inbox_rows(house.hub)) == 1


def test_twenty_at_once_with_their_own_keys_are_one_order(house: House) -> None:
    async def send(number: int) -> Any:
        async with house.client() as client:
            return await client.post("/v1/orders", content=encoded(order()), headers={"Idempotency-Key": f"k{number}"})

    replies = house.together(*(send(number) for number in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] * 19 + [201]
    assert len({reply.json()["number"] for reply in replies}) == 1
    assert house.orders() == 1


def test_two_workers_with_one_key_make_one_order(house: House) -> None:
    """As two processes behind one load balancer would: nothing is shared but the database."""
    caller, second = identify(house.hub, house.keys["acme"]), intake_module.Intake(house.hub)
    workers = (second, house.app.state.intake)
    futures = [worker.enqueue(caller, f"k{n}", encoded(order())) for n in range(10) for worker in workers]
    replies = [future.result(30) for future in futures]
    second.close()
    assert all(a.body == b.body for a, b in zip(replies[::2], replies[1::2], strict=True))
    assert house.orders() == 1


def test_another_partner_may_use_the_same_key_and_id(house: House) -> None:
    first, other = house.post(order(), "k"), house.post(order(), "k", key="zeta")
    assert (first.status_code, other.status_code) == (201, 201)
    assert first.json()["number"] != other.json()["number"]
    assert house.orders() == 2


def test_the_same_order_with_another_key_is_the_same_order(house: House) -> None:
    first, again = house.post(order(), "k1"), house.post(order(), "k2")
    assert again.status_code == 200
    assert (again.json()["number"], again.json()["result"]) == (first.json()["number"], "unchanged")
    assert house.orders() == 1


def test_a_newer_version_updates_and_an_older_one_is_only_recorded(house: House) -> None:
    house.post(order(updated_at="2026-11-21T11:00:00Z"), "k1")
    newer = house.post(order(updated_at="2026-11-21T11:30:00Z", seller_memo="two"), "k2")
    assert (newer.status_code, newer.json()["result"]) == (200, "updated")
    older = house.post(order(updated_at="2026-11-21T11:10:00Z", seller_memo="old"), "k3")
    assert (older.status_code, older.json()["result"]) == (200, "stale")
    number = newer.json()["number"]
    assert house.call("GET", f"/v1/orders/{number}", key="admin").json()["seller_memo"] == "two"


def test_a_key_may_be_used_anew_after_seven_days(house: House) -> None:
    house.post(order(), "k")
    house.clock.at += timedelta(days=6, hours=23)
    assert house.post(order("PO-2"), "k").status_code == 422
    house.clock.at += timedelta(hours=2)
    assert house.post(order("PO-2"), "k").status_code == 201


def test_a_batch_answers_each_order_and_one_bad_one_harms_none(house: House) -> None:
    good = [order(f"PO-{number}") for number in range(4)]
    bad = order("PO-bad", lines=[])
    body = {"orders": [*good[:2], bad, {"external_id": 7, "x": None}, *good[2:]]}
    reply = house.post(body, "b", path="/v1/orders:batch")
    assert reply.status_code == 200
    told = reply.json()
    assert (told["stored"], told["refused"]) == (4, 2)
    assert [entry["status"] for entry in told["results"]] == [201, 201, 422, 422, 201, 201]
    assert told["results"][2]["problem"]["code"] == "no_lines"
    assert house.orders() == 4
    assert house.post(body, "b", path="/v1/orders:batch").content == reply.content
    other = house.post({"orders": good}, "b", path="/v1/orders:batch")
    assert other.json()["code"] == "idempotency_key_reused"


def test_a_batch_has_one_to_five_hundred_orders(small_house: House) -> None:
    house = small_house
    assert house.post({"orders": []}, "a", path="/v1/orders:batch").status_code == 422
    assert house.post({"orders": None}, "b", path="/v1/orders:batch").json()["code"] == "records_missing"
    assert house.post(b'{"orders": [', "c", path="/v1/orders:batch").status_code == 400
    many = {"orders": [{"external_id": str(number)} for number in range(501)]}
    assert house.post(many, "d", path="/v1/orders:batch").status_code == 413
    assert house.orders() == 0


def test_a_batch_of_five_hundred_is_one_commit(house: House) -> None:
    reply = house.post({"orders": [order(f"PO-{n}") for n in range(500)]}, "b", path="/v1/orders:batch")
    assert reply.json()["stored"] == 500


def test_a_document_that_breaks_its_transaction_harms_no_neighbour(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = absorb_rows

    def fragile(ws: Any, rows: Any, **given: Any) -> Any:
        if any(row["external_id"] == "PO-poison" for row in rows):
            raise ZeroDivisionError
        return real(ws, rows, **given)

    monkeypatch.setattr(intake_module, "absorb_rows", fragile)

    async def send(name: str) -> Any:
        async with house.client() as client:
            return await client.post("/v1/orders", content=encoded(order(name)), headers={"Idempotency-Key": name})

    names = [f"PO-{number}" for number in range(9)] + ["PO-poison"]
    replies = dict(zip(names, house.together(*(send(name) for name in names)), strict=True))
    assert replies.pop("PO-poison").status_code == 202
    assert {reply.status_code for reply in replies.values()} == {201}
    waiting = [row for row in inbox_rows(house.hub) if row["state"] == "new"]
    assert [row["external_id"] for row in waiting] == ["PO-poison"]
    assert house.post(order("PO-poison"), "PO-poison").headers["idempotent-replayed"] == "true"


def test_nothing_is_answered_before_the_commit(house: House) -> None:
    """P5, seen from inside: at the moment of the answer another connection sees the order and the kept reply."""
    seen: list[int] = []

    def look(_: object) -> None:
        with house.hub.read() as tx:
            seen.extend(len(tx.execute(table.select()).all()) for table in (t.orders, t.idempotency, t.inbox))

    caller = identify(house.hub, house.keys["acme"])
    future = house.app.state.intake.enqueue(caller, "k", encoded(order()))
    future.add_done_callback(look)
    assert future.result(30).status == 201
    house.app.state.intake.close()
    assert seen == [1, 1, 1]


def test_a_caller_who_left_stops_nobody(house: House) -> None:
    async def leave() -> Any:
        async with house.client() as client:
            sent = client.post("/v1/orders", json=order("PO-left"), headers={"Idempotency-Key": "l"})
            post = asyncio.create_task(sent)
            await asyncio.sleep(0)
            post.cancel()
            await asyncio.gather(post, return_exceptions=True)
            return await client.post("/v1/orders", json=order("PO-2"), headers={"Idempotency-Key": "k"})

    assert asyncio.run(leave()).status_code == 201
