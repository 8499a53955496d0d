from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest

from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from outbound import qimen
from outbound._warehouse import Accepted
from tests.connectors.side import Side, answering, new_client, sample
from tests.wire.loopback import Loopback, reply
from wire.safe_xml import build
from wire.signing import qimen_sign

from .shipments import NOW, at, goods, session, settings, shipment, tree, wait_until_shipped


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html><body>login</body></html>",
        b"{}",
        b"<response/>",
        b"<response><flag>maybe</flag></response>",
        b"<a",
    ],
)
def test_nothing_readable_is_no_answer(body: bytes) -> None:
    assert isinstance(qimen.judge(body, writes=False), RetryableError)
    assert isinstance(qimen.judge(body, writes=True), UnknownOutcomeError)


def test_a_bad_signature_stops_the_warehouse() -> None:
    body = build("response", {"flag": "failure", "code": "sign-check-failure", "message": "Illegal request"})
    assert isinstance(qimen.judge(body, writes=True), ConfigError)


def test_a_platform_fault_is_unknown_for_a_write() -> None:
    body = build("response", {"flag": "failure", "code": "isp.remote-service-timeout", "message": "x"})
    assert isinstance(qimen.judge(body, writes=True), UnknownOutcomeError)
    assert isinstance(qimen.judge(body, writes=False), RetryableError)


def test_an_entity_bomb_is_no_answer() -> None:
    body = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><response><flag>success</flag><code>&x;</code></response>'
    assert isinstance(qimen.judge(body, writes=True), UnknownOutcomeError)


def test_a_wrong_secret_stops_the_warehouse(side: Side) -> None:
    with pytest.raises(ConfigError):
        qimen.send(at(side, secret="another-secret"), goods(side))


def documents_of(side: Side, code: str) -> list[Any]:
    url = f"{side.box.control}/_control/order"
    found: list[Any] = side.client.send("GET", url, params={"channel": "qimen", "id": code}, writes=False).json()[
        "rows"
    ]
    return found


def test_sends_once_and_finds_it(side: Side) -> None:
    place, parcel = at(side), goods(side)
    assert qimen.find(place, parcel.code, "") is None
    accepted = qimen.send(place, parcel)
    assert accepted.reference.startswith("WMS-DO-")
    assert qimen.find(place, parcel.code, "") == accepted
    (made,) = documents_of(side, parcel.code)
    assert made["warnings"] == [] and made["lines"][0]["source"] == parcel.source_order


@pytest.mark.parametrize("warehouse", ["WH01", "WH02"])
def test_a_repeat_of_a_known_code_is_the_first_acceptance(side: Side, warehouse: str) -> None:
    place, parcel = at(side, warehouse), goods(side)
    assert qimen.send(place, parcel) == qimen.send(place, parcel)
    assert len(documents_of(side, parcel.code)) == 1


def test_an_unknown_item_is_the_warehouses_own_no(side: Side) -> None:
    parcel = goods(side)
    bad = replace(parcel, lines=(replace(parcel.lines[0], sku="SKU-9999"),))
    with pytest.raises(RefusedError, match=r"S003.*SKU-9999"):
        qimen.send(at(side), bad)


def test_existing_in_words_only_proves_nothing() -> None:
    """The WMS says "already there", but its query knows no such order: unknown, so nobody sends it under another code."""
    exists = build("response", {"flag": "failure", "code": "X1", "message": "单据已存在"})
    missing = build("response", {"flag": "failure", "code": "X2", "message": "单据不存在"})
    with answering(exists, missing) as server, new_client() as client, pytest.raises(UnknownOutcomeError, match="X1"):
        qimen.send(session(settings(base_url=server.url, allow_private=True), client), shipment())


def test_a_wms_may_have_its_own_code_for_existing() -> None:
    exists = build("response", {"flag": "failure", "code": "E77", "message": "no"})
    known = build(
        "response", {"flag": "success", "deliveryOrder": {"deliveryOrderCode": "HUB-DO-0001", "deliveryOrderId": "W1"}}
    )
    with answering(exists, known) as server, new_client() as client:
        place = session(settings(base_url=server.url, allow_private=True, exists_codes=["E77"]), client)
        assert qimen.send(place, shipment()).reference == "W1"


def test_a_look_that_fails_does_not_say_it_is_not_there(side: Side) -> None:
    place, parcel = at(side, "WH04", repeats="unsafe"), goods(side)
    qimen.send(place, parcel)
    with pytest.raises(RefusedError):
        qimen.find(place, parcel.code, "")
    assert qimen.repeats(place.settings) == "unsafe"


def test_an_answer_about_another_order_is_not_believed() -> None:
    other = build(
        "response", {"flag": "success", "deliveryOrder": {"deliveryOrderCode": "OTHER", "deliveryOrderId": "W1"}}
    )
    with answering(other) as server, new_client() as client, pytest.raises(RetryableError):
        qimen.find(session(settings(base_url=server.url, allow_private=True), client), "HUB-DO-0001", "")


def test_a_lost_answer_is_unknown_and_then_found(side: Side) -> None:
    place, parcel = at(side), goods(side)
    side.fault("qimen", "deliveryorder.create", "drop_after_effect")
    with pytest.raises(UnknownOutcomeError):
        qimen.send(place, parcel)
    assert qimen.find(place, parcel.code, "") is not None


@pytest.mark.parametrize("fault", ["html", "empty_after", "truncate", "error_after"])
def test_an_unreadable_answer_to_a_send_is_unknown(side: Side, fault: str) -> None:
    side.fault("qimen", "deliveryorder.create", fault)
    with pytest.raises(UnknownOutcomeError):
        qimen.send(at(side), goods(side))


def test_a_split_acceptance_names_all_parts() -> None:
    parts = [{"deliveryOrderId": "W1"}, {"deliveryOrderId": "W2"}]
    body = build("response", {"flag": "success", "deliveryOrders": {"deliveryOrder": parts}})
    with answering(body) as server, new_client() as client:
        assert (
            qimen.send(session(settings(base_url=server.url, allow_private=True), client), shipment()).reference
            == "W1,W2"
        )


def test_cancels_before_shipping_and_again(side: Side) -> None:
    side.control("pause_shipping", paused=True)
    place, parcel = at(side), goods(side)
    reference = qimen.send(place, parcel).reference
    assert qimen.cancel(place, parcel.code, reference, "买家退款").cancelled
    assert qimen.cancel(place, parcel.code, reference, "买家退款").cancelled


def test_too_late_is_not_unknown(side: Side) -> None:
    place, parcel = at(side), goods(side)
    qimen.send(place, parcel)
    wait_until_shipped(place, parcel.code)
    answer = qimen.cancel(place, parcel.code, "", "")
    assert (answer.cancelled, answer.unknown_order) == (False, False)
    assert "S022" in answer.detail


def test_an_order_that_never_arrived_is_unknown(side: Side) -> None:
    answer = qimen.cancel(at(side), "HUB-NEVER", "", "")
    assert (answer.cancelled, answer.unknown_order) == (False, True)


def test_missing_in_words_only_proves_nothing() -> None:
    """ "The goods do not exist" is not "the order does not exist": only a query proves that."""
    refused = build("response", {"flag": "failure", "code": "X", "message": "商品不存在"})
    known = build(
        "response", {"flag": "success", "deliveryOrder": {"deliveryOrderCode": "HUB-DO-0001", "deliveryOrderId": "W1"}}
    )
    with answering(refused, known) as server, new_client() as client:
        answer = qimen.cancel(session(settings(base_url=server.url, allow_private=True), client), "HUB-DO-0001", "", "")
    assert not answer.unknown_order


def test_asks_for_stock_fifty_items_at_a_time(side: Side) -> None:
    skus = [row["sku"] for row in side.control("catalog")["rows"]][:120]
    levels = qimen.stock(at(side), [*skus, "NOBODY-HAS-THIS"])
    assert {level.sku for level in levels} == set(skus)
    assert all(level.free >= 0 for level in levels)


def test_reads_the_sample_and_sums_batches() -> None:
    rows = [
        {"warehouseCode": "WH01", "itemCode": "A", "inventoryType": "ZP", "quantity": n, "lockQuantity": 1}
        for n in (3, 4)
    ]
    others = [
        {"warehouseCode": "WH09", "itemCode": "A", "inventoryType": "ZP", "quantity": 99},
        {"warehouseCode": "WH01", "itemCode": "A", "inventoryType": "CC", "quantity": 99},
    ]
    body = build("response", {"flag": "success", "items": {"item": [*rows, *others]}})
    with answering(sample("qimen/inventory_query.response.xml"), body) as server, new_client() as client:
        place = session(settings(base_url=server.url, allow_private=True), client)
        (level,) = qimen.stock(place, ["SKU-1001-RED-L"])
        assert (level.free, level.locked) == (120, 4)
        (summed,) = qimen.stock(place, ["A"])
        assert (summed.free, summed.locked) == (7, 2)


def test_stock_nobody_can_read_is_not_zero() -> None:
    body = build("response", {"flag": "success", "items": {"item": {"itemCode": "A", "quantity": "-3"}}})
    with answering(body) as server, new_client() as client, pytest.raises(MappingError):
        qimen.stock(session(settings(base_url=server.url, allow_private=True), client), ["A"])


BODY = sample("qimen/deliveryorder_confirm.request.xml")


def signed(secret: str = "qimen-secret", **changes: str) -> dict[str, str]:
    query = {
        "method": "deliveryorder.confirm",
        "timestamp": "2026-11-21 12:00:00",
        "format": "xml",
        "app_key": "k",
        "v": "2.0",
        "sign_method": "md5",
        "customerId": "c1",
        **changes,
    }
    return {**query, "sign": qimen_sign(query, BODY, secret)}


def test_believes_its_own_signature_with_either_secret() -> None:
    qimen.verify({}, signed(), BODY, settings(), NOW)
    qimen.verify({}, signed("before"), BODY, settings(secret_old="before"), NOW)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({**signed(), "sign": "0" * 32}, BODY),
        ({name: value for name, value in signed().items() if name != "sign"}, BODY),
        ({**signed(), "sign": ""}, BODY),
        ({**signed(), "method": "order.cancel"}, BODY),
        (signed(), BODY.replace(b"<quantity>2", b"<quantity>3")),
        (signed(), BODY + b" "),
        (signed("someone-else"), BODY),
        (signed(customerId="c2"), BODY),
        (signed(timestamp="2026-11-21 11:49:00"), BODY),
        (signed(timestamp="2026-11-21 12:11:00"), BODY),
        (signed(timestamp="soon"), BODY),
        (signed(sign_method="hmac"), BODY),
        ({**signed(), "sign": "\udcff"}, BODY),
    ],
)
def test_refuses_every_other_call(query: dict[str, str], body: bytes) -> None:
    with pytest.raises(RefusedError, match="sign-check-failure"):
        qimen.verify({}, query, body, settings(), NOW)


def test_ten_minutes_either_way_are_in_time() -> None:
    for moment in (NOW - timedelta(minutes=10), NOW + timedelta(minutes=10)):
        qimen.verify({}, signed(), BODY, settings(), moment)


def test_answers_as_a_wms_expects() -> None:
    status, kind, body = qimen.reply(None)
    assert (status, kind) == (200, "text/xml;charset=utf-8")
    assert tree(body) == {"flag": "success", "code": "0", "message": "ok"}
    illegal = tree(qimen.reply(RefusedError("sign-check-failure", "the timestamp is stale"))[2])
    assert illegal == {"flag": "failure", "code": "sign-check-failure", "message": "Illegal request"}
    inner = tree(qimen.reply(ValueError("password=hunter2 at /srv"))[2])
    assert inner == {"flag": "failure", "code": "internal", "message": "not accepted"}


def test_the_request_carries_its_signature_over_the_exact_body() -> None:
    with (
        Loopback(lambda _seen, _connection: reply(200, sample("qimen/deliveryorder_create.response.xml"))) as server,
        new_client() as client,
    ):
        place = session(
            settings(base_url=f"{server.url}/router/qimen/service", allow_private=True), client, now=lambda: NOW
        )
        qimen.send(place, shipment())
        (seen,) = server.seen
    query = dict(parse_qsl(seen.target.partition("?")[2]))
    assert query["sign"] == qimen_sign(query, seen.body, "qimen-secret")
    assert (query["customerId"], query["timestamp"]) == ("c1", "2026-11-21 12:00:00")


def test_settings_keep_their_secrets() -> None:
    assert "qimen-secret" not in repr(settings())


def test_every_error_is_one_of_ours(side: Side) -> None:
    side.fault("qimen", "*", "rate_limit")
    with pytest.raises(HubError):
        qimen.stock(at(side), ["A"])


def test_several_orders_go_in_one_call(side: Side) -> None:
    parcels = [goods(side), goods(side), goods(side)]
    assert qimen.send_many(at(side), parcels) == [Accepted()] * 3
    assert [len(documents_of(side, parcel.code)) for parcel in parcels] == [1, 1, 1]


def test_the_order_that_a_call_lists_is_refused_and_its_silent_neighbours_are_unknown(side: Side) -> None:
    good, bad = goods(side), goods(side)
    bad = replace(bad, lines=(replace(bad.lines[0], sku="NO-SUCH-SKU"),))
    first, second = qimen.send_many(at(side), [good, bad])
    assert isinstance(first, UnknownOutcomeError)
    assert isinstance(second, RefusedError)
    assert qimen.find(at(side), good.code, "") is not None


def test_an_order_of_a_call_that_is_there_already_is_found(side: Side) -> None:
    known, new = goods(side), goods(side)
    accepted = qimen.send(at(side), known)
    again, _ = qimen.send_many(at(side), [known, new])
    assert again == accepted
    assert len(documents_of(side, known.code)) == 1


def test_an_order_that_cannot_be_written_stays_out_of_the_call(side: Side) -> None:
    good, bad = goods(side), replace(goods(side), buyer_message="bell \x07")
    first, second = qimen.send_many(at(side), [good, bad])
    assert first == Accepted()
    assert isinstance(second, MappingError)


def test_an_answer_about_orders_that_were_not_sent_proves_nothing() -> None:
    listed = b"<orders><order><deliveryOrderCode>OTHER</deliveryOrderCode><message>no</message></order></orders>"
    body = b"<response><flag>success</flag><code>0</code><message>ok</message>" + listed + b"</response>"
    with Loopback(lambda _seen, _connection: reply(200, body)) as server, new_client() as client:
        place = session(
            settings(base_url=f"{server.url}/router/qimen/service", allow_private=True), client, now=lambda: NOW
        )
        with pytest.raises(UnknownOutcomeError):
            qimen.send_many(place, [shipment(), shipment(code="HUB-DO-0002")])
