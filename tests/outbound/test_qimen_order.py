from __future__ import annotations

from dataclasses import replace

import pytest

from domain.errors import RefusedError
from outbound import qimen
from outbound._qimen_order import PLATFORMS, batch_document, create_tree, document, order_part
from tests.connectors.side import answering, new_client, sample

from .shipments import session, settings, shipment, tree


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


def test_a_batch_is_written_order_by_order_as_it_would_be_in_one() -> None:
    given = {"deliveryOrder": {"code": "<&>", "remark": "中"}, "orderLines": {"orderLine": [{"n": 1}, {"n": 2}]}}
    parts = [order_part(settings(), given)] * 3
    assert batch_document(parts) == document(settings(), {"orders": {"order": [given] * 3}})
