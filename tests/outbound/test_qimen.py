from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qsl

import pytest

from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from domain.order import Consignee, ShippingNews
from outbound import qimen
from outbound._qimen_order import PLATFORMS, create_tree, document
from outbound._warehouse import Session, Shipment, ShipmentLine
from tests.connectors.side import Side, answering, clock, new_client, plenty, sample
from tests.wire.loopback import Loopback, reply
from wire.safe_xml import build, parse, to_value
from wire.signing import qimen_sign

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
PLACED = datetime(2026, 11, 20, 13, 30, 5, tzinfo=UTC)
_numbers = count(1)


def settings(**given: Any) -> qimen.QimenSettings:
    sender = {
        "name": "示例旗舰店",
        "mobile": "13800000010",
        "province": "浙江省",
        "city": "杭州市",
        "area": "余杭区",
        "address": "示例仓库1号",
    }
    known = {
        "app_key": "k",
        "secret": "qimen-secret",
        "customer_id": "c1",
        "owner_code": "OWNER1",
        "warehouse_code": "WH01",
    }
    return qimen.QimenSettings(**{**known, "sender": sender, **given})


def shipment(**changes: Any) -> Shipment:
    """The shipment of the fact sheet's sample."""
    line = ShipmentLine(
        ref="1",
        sku="SKU-1001-RED-L",
        quantity=2,
        title="示例T恤 红色 L",
        source_order="4212345678900234567",
        source_line="4212345678901234567",
        unit_price=9900,
        amount=19800,
        discount=2880,
    )
    receiver = Consignee(
        name="张**",
        phone="138****0000",
        country="CN",
        province="浙江省",
        city="杭州市",
        district="余杭区",
        town="仓前街道",
        street="***",
        token="1oExampleOaid1oExampleOaid1oExampleOaid==",
        masked=True,
    )
    given: dict[str, Any] = {
        "code": "HUB-DO-0001",
        "order_number": "TB-1",
        "source_order": "4212345678900234567",
        "channel": "taobao",
        "shop": "示例旗舰店",
        "currency": "CNY",
        "placed_at": PLACED,
        "paid_at": datetime(2026, 11, 20, 13, 31, 10, tzinfo=UTC),
        "created_at": datetime(2026, 11, 20, 14, 10, tzinfo=UTC),
        "consignee": receiver,
        "lines": (line,),
        "goods": 19800,
        "discount": 2880,
        "freight": 800,
        "total": 17720,
        "carrier": "SF",
        "buyer_id": "t**8",
        "buyer_message": "请发顺丰",
        "seller_memo": "老客户",
        "split": True,
    }
    return Shipment(**{**given, **changes})


def tree(body: bytes) -> Any:
    return to_value(parse(body))


def session(side_settings: qimen.QimenSettings, client: Any, now: Callable[[], datetime] = clock) -> Session:
    return Session(warehouse="wh", settings=side_settings, client=client, budget=plenty(), clock=now)


def at(side: Side, warehouse: str = "WH01", **given: Any) -> Session:
    told = side.box.qimen
    known = {name: told[name] for name in ("app_key", "secret", "customer_id", "owner_code")}
    place = {"base_url": told["url"], "warehouse_code": warehouse, "allow_private": True}
    return session(settings(**{**known, **place, **given}), side.client)


def goods(side: Side, **changes: Any) -> Shipment:
    """A shipment of something the sandbox has on its shelves, under a new code."""
    sku = side.control("catalog")["rows"][0]["sku"]
    base = shipment(code=f"HUB-{next(_numbers):06d}")
    return replace(base, **{"lines": (replace(base.lines[0], sku=sku),), **changes})


# --- what is sent --------------------------------------------------------------------------------------------------------


def test_sends_what_the_sample_says() -> None:
    """Every field of the fact sheet's sample that the hub knows, with the sample's own value."""
    ours = tree(
        document(settings(platforms={"taobao": "TM"}), create_tree(settings(platforms={"taobao": "TM"}), shipment()))
    )
    theirs = tree(sample("qimen/deliveryorder_create.request.xml"))
    unknown = {"itemId", "extCode", "latestDeliveryTime"}
    assert (
        ours["orderLines"][0].items() >= {k: v for k, v in theirs["orderLines"][0].items() if k not in unknown}.items()
    )
    head = {
        k: v
        for k, v in theirs["deliveryOrder"].items()
        if k not in unknown | {"orderFlag", "senderInfo", "receiverInfo"}
    }
    assert ours["deliveryOrder"].items() >= head.items()
    assert ours["deliveryOrder"]["senderInfo"] == theirs["deliveryOrder"]["senderInfo"]
    assert ours["deliveryOrder"]["receiverInfo"] == theirs["deliveryOrder"]["receiverInfo"]
    assert ours["deliveryOrder"]["orderFlag"] == "SPLIT"


def test_a_repeat_is_byte_equal() -> None:
    assert document(settings(), create_tree(settings(), shipment())) == document(
        settings(), create_tree(settings(), shipment())
    )


def test_the_totals_obey_qimens_money_rule() -> None:
    head = create_tree(settings(), shipment(total=17800))["deliveryOrder"]
    cents = {
        name: int(head[name].replace(".", "")) for name in ("totalAmount", "itemAmount", "discountAmount", "freight")
    }
    assert cents["totalAmount"] == cents["itemAmount"] - cents["discountAmount"] + cents["freight"]


def test_cash_on_delivery_is_still_to_be_collected() -> None:
    head = create_tree(settings(), shipment(cod=True, split=False))["deliveryOrder"]
    assert (head["orderFlag"], head["arAmount"], head["gotAmount"]) == ("COD", "177.20", "0.00")


def test_dollars_are_never_sent_as_yuan() -> None:
    made = create_tree(settings(), shipment(currency="USD"))
    assert "totalAmount" not in made["deliveryOrder"]
    assert made["orderLines"]["orderLine"][0]["actualPrice"] == "0.00"
    assert (made["extendProps"]["currency"], made["extendProps"]["totalAmount"]) == ("USD", "177.20")
    with pytest.raises(RefusedError, match="currency_unsupported"):
        create_tree(settings(), shipment(currency="USD", cod=True))


def test_only_a_token_names_its_trade() -> None:
    plain = replace(
        shipment().consignee, token="", name="张三", phone="13812345678", phone_extension="12", masked=False
    )
    head = create_tree(settings(), shipment(consignee=plain))["deliveryOrder"]
    assert head["oaidOrderSourceCode"] is None
    assert head["receiverInfo"]["mobile"] == "13812345678-12"


def test_a_county_without_a_city_stands_in_for_it() -> None:
    county = replace(shipment().consignee, city="", district="神农架林区")
    assert create_tree(settings(), shipment(consignee=county))["deliveryOrder"]["receiverInfo"]["city"] == "神农架林区"


@pytest.mark.parametrize(("carrier", "code"), [("SF", "SF"), ("", "OTHER"), ("DBL", "DBKD")])
def test_the_carrier_is_the_agreed_code(carrier: str, code: str) -> None:
    agreed = settings(carriers={"DBL": "DBKD"})
    assert create_tree(agreed, shipment(carrier=carrier))["deliveryOrder"]["logisticsCode"] == code


def test_a_carrier_nobody_agreed_on_is_a_question_for_a_person() -> None:
    with pytest.raises(RefusedError, match="carrier_unknown"):
        create_tree(settings(), shipment(carrier="DBL"))


def test_other_channels_are_others_unless_agreed() -> None:
    assert set(PLATFORMS) == {"taobao"}
    assert create_tree(settings(), shipment(channel="shopify"))["deliveryOrder"]["sourcePlatformCode"] == "OTHERS"
    assert (
        create_tree(settings(platforms={"shopify": "GW"}), shipment(channel="shopify"))["deliveryOrder"][
            "sourcePlatformCode"
        ]
        == "GW"
    )


@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "\ud800"])
def test_what_xml_cannot_carry_is_refused_and_nothing_is_sent(text: str) -> None:
    with (
        answering(sample("qimen/deliveryorder_create.response.xml")) as server,
        new_client() as client,
        pytest.raises(RefusedError, match="unencodable"),
    ):
        qimen.send(session(settings(base_url=server.url, allow_private=True), client), shipment(buyer_message=text))
    assert server.seen == []


def test_a_gbk_warehouse_gets_no_question_marks() -> None:
    with pytest.raises(RefusedError, match="unencodable"):
        document(settings(gbk_only=True), create_tree(settings(), shipment(buyer_message="👍")))
    document(settings(gbk_only=True), create_tree(settings(), shipment()))


# --- answers -------------------------------------------------------------------------------------------------------------


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


# --- sending, finding, cancelling ----------------------------------------------------------------------------------------


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
    with pytest.raises(RefusedError, match="S003.*SKU-9999"):
        qimen.send(at(side), bad)


def test_existing_in_words_only_proves_nothing() -> None:
    """The WMS says "already there", but its query knows no such order: refused, for a person to see."""
    exists = build("response", {"flag": "failure", "code": "X1", "message": "单据已存在"})
    missing = build("response", {"flag": "failure", "code": "X2", "message": "单据不存在"})
    with answering(exists, missing) as server, new_client() as client, pytest.raises(RefusedError, match="X1"):
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
    shipped(place, parcel.code)
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


# --- news ----------------------------------------------------------------------------------------------------------------


def shipped(place: Session, code: str) -> ShippingNews:
    for _ in range(100):
        body = qimen.news(place, code, "")
        assert body is not None
        (told,) = qimen.read_news(body)
        if told.final:
            return told
        time.sleep(0.02)
    raise AssertionError("it never shipped")


def test_asks_for_news_and_reads_them(side: Side) -> None:
    place, parcel = at(side), goods(side)
    assert qimen.news(place, parcel.code, "") is None
    qimen.send(place, parcel)
    told = shipped(place, parcel.code)
    assert (told.state, told.reference) == ("shipped", parcel.code)
    assert all(each.carrier == "SF" and each.tracking for each in told.parcels)
    packed = [line for each in told.parcels for line in each.lines]
    assert sum(line.quantity for line in packed) == 2 and {line.line_ref for line in packed} == {"1"}


def test_the_same_news_asked_twice_is_one_event(side: Side) -> None:
    place, parcel = at(side), goods(side)
    qimen.send(place, parcel)
    assert shipped(place, parcel.code).event_id == shipped(place, parcel.code).event_id


def test_reads_a_final_confirm() -> None:
    (told,) = qimen.read_news(sample("qimen/deliveryorder_confirm.request.xml"))
    assert (told.reference, told.event_id, told.state, told.final) == ("HUB-DO-0001", "WMS-DO-77001-1", "shipped", True)
    (parcel,) = told.parcels
    assert (parcel.tracking, parcel.carrier, parcel.weight_grams, parcel.package_code) == (
        "SF1234567890123",
        "SF",
        520,
        "PKG-1",
    )
    assert [(line.line_ref, line.sku, line.quantity) for line in parcel.lines] == [("1", "SKU-1001-RED-L", 2)]
    assert told.source_time == datetime(2026, 11, 21, 7, 0, tzinfo=UTC)


def test_an_intermediate_confirm_is_not_the_end() -> None:
    (told,) = qimen.read_news(sample("qimen/deliveryorder_confirm.partial.request.xml"))
    assert (told.state, told.final) == ("picking", False)
    assert told.parcels[0].lines[0].line_ref == "2"  # the item code stands on one line only


def confirm(**changes: Any) -> bytes:
    value = tree(sample("qimen/deliveryorder_confirm.request.xml"))
    head = {**value["deliveryOrder"], **changes}
    packages = {"package": [{**each, "items": {"item": each["items"]}} for each in value["packages"]]}
    return build("request", {"deliveryOrder": head, "packages": packages})


def test_delivered_but_intermediate_is_not_the_end() -> None:
    (told,) = qimen.read_news(confirm(confirmType="1"))
    assert (told.state, told.final) == ("picking", False)


@pytest.mark.parametrize(
    ("status", "state", "final"),
    [
        ("ACCEPT", "accepted", False),
        ("EXCEPTION", "exception", False),
        ("CANCELED", "cancelled", True),
        ("REJECT", "rejected", True),
        ("CANCELEDFAIL", "", False),
        ("CLOSED", "", False),
        ("NEVER_SEEN", "", False),
    ],
)
def test_a_status_is_told_and_never_guessed(status: str, state: str, final: bool) -> None:
    (told,) = qimen.read_news(confirm(status=status))
    assert (told.state, told.final, told.source_status) == (state, final, status)


def test_one_parcel_without_items_holds_what_the_lines_say() -> None:
    value = tree(sample("qimen/deliveryorder_confirm.request.xml"))
    (package,) = value["packages"]
    bare = {k: v for k, v in package.items() if k != "items"}
    lines = {
        "orderLine": [
            {"orderLineNo": "1", "itemCode": "A", "actualQty": "2"},
            {"orderLineNo": "2", "itemCode": "B", "actualQty": "0"},
        ]
    }
    (told,) = qimen.read_news(
        build("request", {"deliveryOrder": value["deliveryOrder"], "packages": {"package": bare}, "orderLines": lines})
    )
    assert [(line.line_ref, line.quantity) for line in told.parcels[0].lines] == [("1", 2)]


def test_an_item_on_two_lines_without_a_number_is_not_guessed() -> None:
    items = {"item": {"itemCode": "A", "quantity": "1"}}
    lines = {"orderLine": [{"orderLineNo": "1", "itemCode": "A"}, {"orderLineNo": "2", "itemCode": "A"}]}
    head = {"deliveryOrderCode": "X", "status": "DELIVERED"}
    package = {"package": {"logisticsCode": "SF", "expressCode": "T", "items": items}}
    (told,) = qimen.read_news(build("request", {"deliveryOrder": head, "packages": package, "orderLines": lines}))
    assert told.parcels[0].lines[0].line_ref == ""


def test_reads_a_batch_confirm_order_by_order() -> None:
    orders = [
        {"deliveryOrder": {"deliveryOrderCode": code, "status": "DELIVERED", "outBizCode": f"B{code}"}}
        for code in ("A", "B")
    ]
    told = qimen.read_news(build("request", {"orders": {"order": orders}}))
    assert [(each.reference, each.event_id) for each in told] == [("A", "BA"), ("B", "BB")]


def test_reads_progress_reported_or_asked() -> None:
    (reported,) = qimen.read_news(sample("qimen/orderprocess_report.request.xml"))
    asked = qimen.read_news(sample("qimen/orderprocess_query.response.xml"))
    assert (reported.state, reported.detail) == ("picking", "拣货完成")
    assert [each.state for each in asked] == ["accepted", "picking"]
    assert reported.event_id == asked[1].event_id


def test_progress_never_says_shipped() -> None:
    order, process = {"orderCode": "X"}, {"processStatus": "DELIVERED", "operateTime": "2026-11-21 13:20:00"}
    (told,) = qimen.read_news(build("request", {"order": order, "process": process}))
    assert (told.state, told.source_status) == ("", "DELIVERED")


@pytest.mark.parametrize(
    ("tree_", "code"),
    [
        ({"deliveryOrder": {"status": "DELIVERED"}}, "id"),
        ({"order": {"orderId": "1"}, "process": {"processStatus": "PICK"}}, "id"),
        ({"items": {"item": {}}}, "unknown_message"),
        ({"deliveryOrder": {"deliveryOrderCode": "X", "operateTime": "yesterday"}}, "time"),
        (
            {
                "deliveryOrder": {"deliveryOrderCode": "X"},
                "packages": {"package": {"items": {"item": {"itemCode": "A", "quantity": "-1"}}}},
            },
            "qty",
        ),
    ],
)
def test_unreadable_news_are_an_exception_with_its_reason(tree_: Any, code: str) -> None:
    with pytest.raises(MappingError) as raised:
        qimen.read_news(build("request", tree_))
    assert raised.value.code == code


# --- stock ---------------------------------------------------------------------------------------------------------------


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


# --- callbacks -----------------------------------------------------------------------------------------------------------

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
