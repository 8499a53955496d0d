"""The warehouses answer like Qimen WMSs, each kind in its own way (facts/china/qimen.md, 2026-11-21)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

import sandbox
from sandbox.qimen.xml import nodes, read_xml, text
from sandbox.signing import qimen_sign

from .calls import Calls, delivery, query_order
from .conftest import Heard

KINDS = "WH01=rejects,WH02=keyed,WH03=findable,WH04=unsafe"


@pytest.fixture(scope="module")
def calls() -> Iterator[Calls]:
    with sandbox.start(seed="wms", kinds=KINDS, ship_after="0.05,0.1") as box:
        client = Calls(box)
        yield client
        client.client.close()


def flag(answer: str) -> str:
    return text(read_xml(answer.encode()), "flag")


def rows(calls: Calls, code: str) -> list[dict[str, object]]:
    return list(calls.control(f"order?channel=qimen&id={code}")["rows"])


def test_checks_the_sign_over_the_exact_body(calls: Calls) -> None:
    assert "sign-check-failure" in calls.qimen("deliveryorder.create", delivery("S-1"), secret="wrong")
    assert "sign-check-failure" in calls.qimen("deliveryorder.create", delivery("S-1"), customerId="other")
    assert "sign-check-failure" in calls.qimen("deliveryorder.create", delivery("S-1"), timestamp="2026-01-01 00:00:00")
    assert rows(calls, "S-1") == []


def test_names_the_missing_field_and_the_unknown_article(calls: Calls) -> None:
    assert "shopNick不能为空" in calls.qimen(
        "deliveryorder.create", delivery("M-1").replace("<shopNick>店</shopNick>", "")
    )
    assert "商品编码不存在" in calls.qimen("deliveryorder.create", delivery("M-1", item="NO"))
    assert "库存不足" in calls.qimen("deliveryorder.create", delivery("M-1", item="SKU-1200", quantity=6))
    assert flag(calls.qimen("deliveryorder.create", "<!DOCTYPE x>")) == "failure"


def test_each_kind_of_warehouse_treats_a_repeated_code_in_its_own_way(calls: Calls) -> None:
    seen = {}
    for warehouse in ("WH01", "WH02", "WH03", "WH04"):
        code = f"R-{warehouse}"
        answers = [calls.qimen("deliveryorder.create", delivery(code, warehouse)) for _ in range(2)]
        found = calls.qimen("deliveryorder.query", query_order(code, warehouse))
        seen[warehouse] = (flag(answers[1]), answers[0] == answers[1], len(rows(calls, code)), flag(found))
    assert seen == {
        "WH01": ("failure", False, 1, "success"),
        "WH02": ("success", True, 1, "success"),
        "WH03": ("success", False, 2, "success"),
        "WH04": ("success", False, 2, "failure"),
    }
    assert calls.control("summary")["qimen"]["duplicate_codes"] == 2


def test_a_batch_lists_only_what_failed(calls: Calls) -> None:
    orders = "".join(
        f"<order>{delivery(code, item=item)}</order>" for code, item in (("B-1", "SKU-1001"), ("B-2", "NO"))
    )
    answer = read_xml(calls.qimen("deliveryorder.batchcreate", f"<orders>{orders}</orders>").encode())
    assert text(answer, "flag") == "failure"
    assert [text(row, "deliveryOrderCode") for row in nodes(answer, "orders.order")] == ["B-2"]
    assert len(rows(calls, "B-1")) == 1


def test_cancels_before_shipping_and_refuses_after(calls: Calls) -> None:
    calls.control("pause_shipping", paused=True)
    body = "<warehouseCode>WH01</warehouseCode><orderCode>{}</orderCode><orderType>JYCK</orderType>"
    for code in ("C-1", "C-2"):
        assert flag(calls.qimen("deliveryorder.create", delivery(code))) == "success"
    assert [flag(calls.qimen("order.cancel", body.format("C-1"))) for _ in range(2)] == ["success", "success"]
    calls.control("pause_shipping", paused=False)
    time.sleep(0.3)
    assert flag(calls.qimen("order.cancel", body.format("C-2"))) == "failure"
    assert flag(calls.qimen("order.cancel", body.format("C-none"))) == "failure"
    assert [row["state"] for code in ("C-1", "C-2") for row in rows(calls, code)] == ["CANCELED", "DELIVERED"]
    assert "CANCELED" in calls.qimen("orderprocess.query", "<orderCode>C-1</orderCode><orderType>JYCK</orderType>")


def test_stock_is_held_on_accepting_and_gone_on_shipping(calls: Calls) -> None:
    ask = "<criteriaList><criteria><warehouseCode>WH01</warehouseCode><itemCode>SKU-1150</itemCode></criteria></criteriaList>"

    def stock() -> tuple[int, int]:
        item = nodes(read_xml(calls.qimen("inventory.query", ask).encode()), "items.item")[0]
        return int(text(item, "quantity")), int(text(item, "lockQuantity"))

    free, held = stock()
    calls.control("pause_shipping", paused=True)
    calls.qimen("deliveryorder.create", delivery("I-1", item="SKU-1150", quantity=2))
    assert stock() == (free - 2, held + 2)
    calls.control("pause_shipping", paused=False)
    time.sleep(0.4)
    assert stock() == (free - 2, held)


def test_tells_the_hub_until_it_says_success(calls: Calls, hub: Heard) -> None:
    hub.refuse = 2
    calls.control("hub", url=hub.url, warehouses={"WH02": "wh-gz"})
    before = len(hub.wait(1))  # what earlier tests left untold arrives now
    assert before
    time.sleep(1.0)
    known = len(hub.messages)
    calls.qimen("deliveryorder.create", delivery("N-1", "WH02"))
    path, _, body = hub.wait(known + 1)[-1]
    calls.control("hub", url="")
    parts = urlsplit(path)
    query = dict(parse_qsl(parts.query))
    assert parts.path == "/callbacks/wh-gz"
    assert query["method"] == "deliveryorder.confirm"
    assert query["sign"] == qimen_sign(query, body, calls.box.qimen["secret"])
    node = read_xml(body)
    assert text(node, "deliveryOrder.deliveryOrderCode") == "N-1"
    assert text(node, "deliveryOrder.outBizCode") == f"{text(node, 'deliveryOrder.deliveryOrderId')}-1"
    retold = [row["news"] for row in rows(calls, "R-WH02")]
    assert any(news["attempts"] > 1 and news["answered_at"] for items in retold for news in items)  # type: ignore[attr-defined]


def test_parts_of_an_order_come_in_messages_that_add_up(calls: Calls, hub: Heard) -> None:
    calls.control("hub", url=hub.url, warehouses={"WH01": "wh-hz"})
    for number in range(40):
        calls.qimen("deliveryorder.create", delivery(f"P-{number}", quantity=3))
    time.sleep(0.8)
    calls.control("hub", url="")
    shipped: dict[str, int] = {}
    types: dict[str, list[str]] = {}
    for _, _, body in hub.wait(40):
        node = read_xml(body)
        code = text(node, "deliveryOrder.deliveryOrderCode")
        for package in nodes(node, "packages.package"):
            shipped[code] = shipped.get(code, 0) + sum(
                int(text(item, "quantity")) for item in nodes(package, "items.item")
            )
        types.setdefault(code, []).append(text(node, "deliveryOrder.confirmType"))
    mine = {code: count for code, count in shipped.items() if code.startswith("P-")}
    assert set(mine.values()) == {3}
    assert ["1", "0"] in types.values()


def test_confirms_of_one_warehouse_may_come_in_one_message(hub: Heard) -> None:
    with sandbox.start(seed="together", kinds=KINDS, news_batch=20, ship_after="0.2,0.2") as box:
        calls = Calls(box)
        calls.control("hub", url=hub.url, warehouses={"WH01": "wh-hz"})
        codes = [f"T-{at}" for at in range(5)]
        orders = "".join(f"<order>{delivery(code)}</order>" for code in codes)
        assert flag(calls.qimen("deliveryorder.batchcreate", f"<orders>{orders}</orders>")) == "success"
        path, _, body = hub.wait(1, 10)[0]
        query = dict(parse_qsl(urlsplit(path).query))
        assert query["method"] == "deliveryorder.batchconfirm"
        assert query["sign"] == qimen_sign(query, body, box.qimen["secret"])
        told = [text(row, "deliveryOrder.deliveryOrderCode") for row in nodes(read_xml(body), "orders.order")]
        assert len(set(told)) == len(told) > 1
        assert set(told) <= set(codes)
        calls.client.close()
