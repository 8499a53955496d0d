"""The judge of `make live`: it must see what it is there to see. The run itself needs Node and is no part of the tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from bench.live_judge import Ends, Fate, Wish, fault_of
from bench.tap import Tap, tapped
from sandbox.live.shop import FulfilmentSeen, LineSeen, OrderSeen
from tests.wire.loopback import Loopback, reply
from wire.safe_xml import build

OURS = {"BOOT": "SKU-1", "SOCK": "SKU-2"}
CREATE = {"deliveryOrder": {"deliveryOrderCode": "VE1-1", "receiverInfo": {"name": "Ann & Co", "city": "Leeds"}}}


def parcel(tracking: str, units: dict[str, int], state: str = "Shipped") -> FulfilmentSeen:
    return FulfilmentSeen("1", state, "SF", tracking, units)


def document(code: str = "VE1-1", state: str = "DELIVERED", **parcels: dict[str, int]) -> dict[str, Any]:
    packages = [
        {"tracking": tracking, "lines": [{"sku": sku, "quantity": count} for sku, count in units.items()]}
        for tracking, units in parcels.items()
    ]
    return {"code": code, "state": state, "packages": packages}


LINES = (LineSeen("7", "BOOT", 2, 2, 2), LineSeen("8", "SOCK", 3, 3, 3))
PARCELS = (parcel("T1", {"BOOT": 2}), parcel("T2", {"SOCK": 3}))
SEEN = OrderSeen("1", "ABC", "Shipped", "", "USD", 1000, {}, LINES, PARCELS)
GOOD = Ends(SEEN, [document(T1={"SKU-1": 2}, T2={"SKU-2": 3})], [], {"VE1-1": "Leeds"})
CANCELLED = replace(GOOD, seen=replace(SEEN, state="Cancelled"))


def judged(ends: Ends, fate: Fate = "ship", town: str = "Leeds") -> str:
    return fault_of(Wish("ABC", {"BOOT": 2, "SOCK": 3}, fate, town), ends, OURS)


def test_an_order_shipped_as_ordered_is_right() -> None:
    assert judged(GOOD) == judged(GOOD, "edit") == ""


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"seen": None}, "does not show it"),
        ({"seen": replace(SEEN, state="PartiallyShipped")}, "not shipped"),
        ({"seen": replace(SEEN, fulfilments=PARCELS[:1])}, "parcels differ"),
        ({"seen": replace(SEEN, fulfilments=(*PARCELS, parcel("T3", {"SOCK": 1})))}, "never gave"),
        ({"seen": replace(SEEN, fulfilments=(*PARCELS, parcel("T2", {"SOCK": 3})))}, "parcels differ"),
        ({"seen": replace(SEEN, fulfilments=(parcel("T1", {"BOOT": 2}), parcel("T2", {"SOCK": 2})))}, "parcels differ"),
        ({"seen": replace(SEEN, fulfilments=(*PARCELS, parcel("T2", {"SOCK": 3}, "Pending")))}, "never left"),
        ({"seen": replace(SEEN, lines=(LINES[0], replace(LINES[1], fulfilled=2)))}, "units differ"),
        ({"seen": replace(SEEN, lines=(LINES[0], replace(LINES[1], quantity=2)))}, "units differ"),
        ({"seen": replace(SEEN, lines=LINES[:1])}, "units differ"),
        ({"documents": [*GOOD.documents, document("VE1-1")]}, "twice"),
        ({"documents": [*GOOD.documents, document("VE1-2", T3={"SKU-1": 2})]}, "parcels differ"),
        ({"documents": [*GOOD.documents, document("VE1-2", "ACCEPT")]}, "has not shipped"),
        ({"codes": ["short_ship"]}, "exceptions are open"),
        ({"towns": {"VE1-1": "York"}}, "another address"),
    ],
)
def test_what_went_wrong_is_seen(changes: dict[str, Any], fault: str) -> None:
    assert fault in judged(replace(GOOD, **changes))


def test_a_document_cancelled_at_the_warehouse_does_not_count() -> None:
    old = document("VE1-0", "CANCELED")
    assert judged(replace(GOOD, documents=[old, *GOOD.documents]), "edit") == ""


def test_an_edit_that_came_too_late_must_be_before_a_person() -> None:
    late = replace(GOOD, towns={"VE1-1": "York"})
    assert "another address" in judged(late, "edit")
    assert judged(replace(late, codes=["change_too_late"]), "edit") == ""


def test_a_cancelled_order_that_left_must_be_before_a_person() -> None:
    assert "nobody was told" in judged(CANCELLED, "cancel")
    assert judged(replace(CANCELLED, codes=["cancel_too_late"]), "cancel") == ""
    assert "cancelled, but Shipped" in judged(GOOD, "cancel")
    stopped = replace(
        CANCELLED, documents=[document(state="CANCELED")], seen=replace(SEEN, state="Cancelled", fulfilments=())
    )
    assert judged(stopped, "cancel") == ""


def test_the_tap_passes_everything_on_and_remembers_the_receiver() -> None:
    with Loopback(lambda _seen, _connection: reply(200, b"<response/>", Content_Type="text/xml")) as wms:  # noqa: SIM117
        with tapped(f"{wms.url}/router/qimen/service") as tap, httpx.Client(trust_env=False) as client:
            body = build("request", CREATE)
            for method in ("deliveryorder.create", "order.cancel"):
                answer = client.post(f"{tap.url}?method={method}&sign=a%2Bb", content=body)
                assert (answer.status_code, answer.content) == (200, b"<response/>")
    assert [(seen.target, seen.body) for seen in wms.seen] == [
        (f"/router/qimen/service?method={method}&sign=a%2Bb", body)
        for method in ("deliveryorder.create", "order.cancel")
    ]
    assert tap.receivers == {"VE1-1": {"name": "Ann & Co", "city": "Leeds"}}


def test_the_tap_remembers_every_receiver_of_a_call_for_many() -> None:
    other = {"deliveryOrder": {"deliveryOrderCode": "VE2-1", "receiverInfo": {"name": "Bo", "city": "York"}}}
    tap = Tap("")
    tap.remember("/?method=deliveryorder.batchcreate", build("request", {"orders": {"order": [CREATE, other]}}))
    assert {code: told["city"] for code, told in tap.receivers.items()} == {"VE1-1": "Leeds", "VE2-1": "York"}
