"""Rows 33 and 60 of promises.md §4 at the API: a success whose answer was lost, and text that would forge a line of a log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from api import orders as orders_module
from pipeline.absorb import absorb_all
from storage import tables as t
from tests.api.house import House, encoded, order

FORGED = "ok\r\n2026-11-21 ERROR root: admin signed in\x1b[2J <svg/onload=alert(1)> ' OR 1=1-- ${7*7}"


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/orders:batch"])
def test_a_retry_after_an_answer_that_was_lost_hears_the_stored_success(
    house: House, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 33: it was committed, and the caller heard 500."""
    body: Any = order() if path == "/v1/orders" else {"orders": [order(f"PO-{number}") for number in range(3)]}

    def lost(_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(orders_module, "_answer", lost)
        assert house.post(body, "k", path=path).status_code == 500
    stored = house.orders()
    again = [house.post(body, "k", path=path) for _ in range(3)]
    assert stored == house.orders() == (1 if path == "/v1/orders" else 3)
    assert {reply.status_code for reply in again} == {201 if path == "/v1/orders" else 200}
    assert {reply.headers["idempotent-replayed"] for reply in again} == {"true"}
    assert len({reply.content for reply in again}) == 1
    with house.hub.read() as tx:
        assert len(tx.execute(t.inbox.select()).all()) == stored


def test_what_a_partner_writes_makes_no_line_of_a_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Row 60: taken, refused, unreadable, in an address, a query, a header."""
    caplog.set_level(logging.DEBUG)
    told = order(seller_memo=FORGED, buyer_message=FORGED, tags=[FORGED])
    told["ship_to"]["name"] = FORGED
    assert house.post(told, "k").status_code == 201
    assert house.post(order("PO-2", currency=FORGED), "k2").status_code == 422
    assert house.post(b"\xff" + FORGED.encode(), "k3").status_code == 400
    absorb_all(house.hub)
    for path in ("/v1/orders/%0d%0aX-Evil:%201", "/v1/orders?search=%0d%0aX-Evil:%201", "/%0aERROR"):
        reply = house.call("GET", path)
        assert reply.status_code < 500 and "x-evil" not in reply.headers
    reply = house.call("POST", "/v1/orders", content=encoded(order("PO-3")), headers={"Idempotency-Key": "a\tb"})
    assert reply.status_code == 400
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "asyncio"))]
    assert [record.getMessage() for record in ours if any(ord(letter) < 32 for letter in record.getMessage())] == []
    assert "signed in" not in caplog.text
