"""Rows 28-31 of promises.md §4 at an account whose deliveries are stamped and carry their orders (Standard Webhooks)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from storage import tables as t
from storage.inbox import open_body
from tests.api.house import House, encoded, order
from wire.signing import standard_webhook_sign

SECRET, OLD_SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQt"


@pytest.fixture
def hooked(house: House) -> House:
    """The partner's account has secrets."""
    settings = {"webhook_secret": SECRET, "webhook_secret_old": OLD_SECRET}
    account = {"name": "acme-api", "channel": "standard", "partner": "acme", "settings": settings}
    apply_values(house.hub, {"accounts": [account]})
    return house


def deliver(
    house: House, body: bytes, *, ident: str = "msg_1", late: int = 0, secret: str = SECRET, **headers: bytes
) -> int:
    """The status that a delivery gets, stamped so many seconds after the hub's clock."""
    stamp = int(house.clock.at.timestamp()) + late
    told: dict[str, Any] = {
        "webhook-id": ident,
        "webhook-timestamp": str(stamp),
        "webhook-signature": standard_webhook_sign(ident, stamp, body, secret),
    }
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    return house.call("POST", "/webhooks/acme-api", key=None, content=body, headers=told).status_code


def stored(house: House) -> list[dict[str, Any]]:
    with house.hub.read() as tx:
        return [dict(row) for row in tx.execute(t.inbox.select().order_by(t.inbox.c.id)).mappings()]


def test_a_stamp_may_be_five_minutes_off_and_not_a_second_more(hooked: House) -> None:
    """Row 28."""
    for late, status in ((-301, 401), (301, 401), (-(10**6), 401), (-299, 204), (299, 204), (0, 204)):
        assert deliver(hooked, encoded(order(f"PO{late}")), ident=f"msg{late}", late=late) == status, late
    assert deliver(hooked, encoded(order("PO-old")), ident="old", secret=OLD_SECRET) == 204
    absorb_all(hooked.hub)
    shown = hooked.call("GET", "/v1/orders").json()["orders"]
    assert {row["external_id"] for row in shown} == {"PO-299", "PO299", "PO0", "PO-old"}


def test_one_delivery_a_hundred_times_and_after_three_days_is_one_order(hooked: House) -> None:
    """Row 29."""
    body = encoded(order())
    assert {deliver(hooked, body) for _ in range(100)} == {204}
    hooked.clock.at += timedelta(days=3)
    assert deliver(hooked, body) == 204
    absorb_all(hooked.hub)
    assert (hooked.orders(), len(stored(hooked))) == (1, 1)
    # Another delivery of the same bytes is dropped as the document it is, and a post of it finds the order.
    assert deliver(hooked, body, ident="msg_2") == 204
    assert hooked.post(body, "k").json()["result"] == "unchanged"
    assert (hooked.orders(), len(stored(hooked))) == (1, 1)


def test_a_signature_that_does_not_fit_stores_nothing(hooked: House) -> None:
    """Rows 30 and 31, and accounts without a secret."""
    body = encoded(order())
    stamp = int(hooked.clock.at.timestamp())
    good = standard_webhook_sign("msg_1", stamp, body, SECRET).encode()
    strange = (
        b"",
        b"\xff",
        "签".encode(),
        b"A" * 10_240,
        b" ".join([good] * 50),
        b"v1,",
        b"v1a," + good[3:],
        good[:-2],
    )
    assert {deliver(hooked, body, webhook_signature=each) for each in strange} == {401}
    assert deliver(hooked, body, secret="whsec_YW5vdGhlcg==") == 401
    assert deliver(hooked, body + b" ", webhook_signature=good) == 401
    assert deliver(hooked, body, webhook_id=b"msg_9") == 401
    assert deliver(hooked, body, webhook_timestamp=str(stamp + 1).encode()) == 401
    other = {"webhook-id": "m", "webhook-timestamp": str(stamp), "webhook-signature": good.decode()}
    assert hooked.call("POST", "/webhooks/zeta-api", key=None, content=body, headers=other).status_code == 401
    assert stored(hooked) == []
    assert deliver(hooked, body) == 204


def test_a_delivery_that_is_no_order_is_kept_and_told_to_a_person(hooked: House) -> None:
    bodies = [b"hello", b'{"external_id":" "}', encoded(order("PO-1", lines=[])), b"\xff\xfe"]
    for number, body in enumerate(bodies):
        assert deliver(hooked, body, ident=f"msg_{number}") == 204
    absorb_all(hooked.hub)
    assert [open_body(hooked.hub.vault, row) for row in stored(hooked)] == bodies
    assert {row["state"] for row in stored(hooked)} == {"exception"}
    assert hooked.count("/v1/exceptions", "exceptions") == len(bodies)
    assert deliver(hooked, encoded(order("PO-1")), ident="cured") == 204
    absorb_all(hooked.hub)
    assert (hooked.orders(), hooked.count("/v1/exceptions", "exceptions")) == (1, len(bodies) - 1)
