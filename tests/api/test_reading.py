"""Lists, pages, exceptions and figures: complete under change, bounded, masked."""

from __future__ import annotations

import asyncio
from typing import Any

from pipeline.order_view import order_id_of, order_view
from tests.api.house import House, encoded, order


def bad(**changes: Any) -> dict[str, Any]:
    lines = [{"line_id": "1", "sku": "UNKNOWN", "quantity": 2, "unit_price": "10.00"}]
    return order(lines=lines, **changes)


def test_pages_lose_nothing_while_orders_come_in(house: House) -> None:
    house.post({"orders": [order(f"A-{n}") for n in range(40)]}, "b", path="/v1/orders:batch")

    async def walk_and_post() -> tuple[set[str], set[str]]:
        seen: set[str] = set()
        posted = {f"A-{n}" for n in range(40)}
        cursor = ""
        async with house.client() as client:
            for page in range(40):
                told = (await client.get("/v1/orders", params={"limit": 7, "cursor": cursor})).json()
                seen |= {row["external_id"] for row in told["orders"]}
                posted.add(f"B-{page}")
                body = encoded(order(f"B-{page}"))
                await client.post("/v1/orders", content=body, headers={"Idempotency-Key": f"b{page}"})
                cursor = told["next"]
                if not cursor:
                    break
            resumed = (await client.get("/v1/orders", params={"updated_since": told["resume"], "limit": 200})).json()
            return posted, seen | {row["external_id"] for row in resumed["orders"]}

    posted, seen = asyncio.run(walk_and_post())
    assert len(posted) > 44
    assert seen == posted


def test_many_orders_with_one_stamp_are_all_listed(house: House) -> None:
    house.post({"orders": [order(f"A-{n:02}") for n in range(25)]}, "b", path="/v1/orders:batch")
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        told = house.call("GET", "/v1/orders", params={"limit": 10, "cursor": cursor}).json()
        assert len({row["updated_at"] for row in told["orders"]}) == 1
        seen += [row["external_id"] for row in told["orders"]]
        cursor = told["next"]
    assert sorted(seen) == [f"A-{n:02}" for n in range(25)]


def test_a_change_comes_again_with_a_higher_revision(house: House) -> None:
    house.post(order("A"), "a")
    house.post(order("B"), "b")
    told = house.call("GET", "/v1/orders", params={"limit": 1}).json()
    first = told["orders"][0]
    house.call("POST", f"/v1/orders/{first['number']}/cancel")
    after: list[dict[str, Any]] = []
    while told["next"]:
        told = house.call("GET", "/v1/orders", params={"limit": 1, "cursor": told["next"]}).json()
        after += told["orders"]
    again = next(row for row in after if row["number"] == first["number"])
    assert (again["status"], again["revision"] > first["revision"]) == ("closed", True)


def test_lists_are_filtered(house: House) -> None:
    number = house.post(order("A"), "a").json()["number"]
    house.post(order("B", payment={"status": "unpaid"}), "b")

    def ids(**params: Any) -> list[str]:
        return [row["external_id"] for row in house.call("GET", "/v1/orders", params=params).json()["orders"]]

    assert ids(status="pending_payment") == ["B"]
    assert ids(search=number) == ids(search="A") == ["A"]
    assert ids(search="8000") == ["A", "B"]
    assert ids(account="acme-api") == ["A", "B"]
    assert ids(account="shop") == ids(updated_since="2030-01-01T00:00:00Z") == []


def test_parameters_that_are_none_are_problems(small_house: House) -> None:
    bad_ones = ({"limit": 0}, {"limit": 201}, {"status": "x"}, {"updated_since": "yesterday"}, {"search": "x" * 201})
    for params in bad_ones:
        reply = small_house.call("GET", "/v1/orders", params=params)
        assert (reply.status_code, reply.json()["code"]) == (422, "parameter")
    for path in ("/v1/orders?search=a%00b", "/v1/orders/a%00b", "/v1/orders/by-external/acme-api/%00"):
        assert small_house.call("GET", path).json()["code"] == "zero_byte"


def test_a_number_is_found_in_any_style_and_no_integer_ever_shows(house: House) -> None:
    reply = house.post(order(), "k")
    number = reply.json()["number"]
    order_id = str(order_id_of(house.hub, number))
    texts = [reply.text]
    for typed in (number, number.replace("-", ""), number.lower(), number.replace("-", " ")):
        shown = house.call("GET", f"/v1/orders/{typed}", key="admin")
        assert shown.json()["number"] == number
        texts.append(shown.text)
    texts += [house.call("GET", path, key="admin").text for path in ("/v1/orders", "/v1/exceptions")]
    assert not any(order_id in text for text in texts)
    for wrong in ("x", number[:-1] + ("0" if number[-1] != "0" else "1"), "PA", "1"):
        assert house.call("GET", f"/v1/orders/{wrong}").status_code == 404


def test_an_order_shows_everything_and_masks_the_buyer(house: House) -> None:
    number = house.post(order(buyer_id="buyer-77", seller_memo="call 13912345678"), "k").json()["number"]
    shown = house.call("GET", f"/v1/orders/{number}", key="admin").json()
    text = str(shown)
    for hidden in ("13800138000", "张三", "示例路1号", "buyer-77", "13912345678"):
        assert hidden not in text
    assert (shown["consignee"]["city"], shown["masked"]) == ("杭州市", True)
    (line,) = shown["lines"]
    assert (line["paid"], line["sku"]) == ({"minor": 2000, "text": "20.00"}, "A")
    assert shown["decision"]["trace"]
    assert [entry["state"] for entry in shown["documents"]] == ["done"]
    assert shown["events"][0]["kind"] == "received"
    revealed = order_view(house.hub, order_id_of(house.hub, number), reveal=True)
    assert revealed["consignee"]["phone"].endswith("13800138000")
    assert revealed["buyer_id"] == "buyer-77"


def test_an_exception_says_what_to_choose_and_is_resolved_by_a_fix(house: House) -> None:
    number = house.post(bad(), "k").json()["number"]
    (row,) = house.call("GET", "/v1/exceptions", key="clerk").json()["exceptions"]
    assert (row["code"], row["order"]["number"]) == ("sku_unmapped", number)
    assert row["actions"] == ["fix", "retry", "cancel"]
    path = f"/v1/exceptions/{row['id']}"
    release = house.call("POST", f"{path}/resolve", key="clerk", json={"action": "release"})
    assert (release.status_code, release.json()["code"]) == (409, "not_waivable")
    fix = {"action": "fix", "fixes": [{"path": "lines.0.external_sku", "value": "EXT-A"}], "note": "their typo"}
    done = house.call("POST", f"{path}/resolve", key="clerk", json=fix)
    assert done.json() == {"number": number, "status": "pending_shipment", "exceptions": []}
    again = house.call("POST", f"{path}/resolve", key="clerk", json=fix)
    assert (again.status_code, again.json()["code"]) == (409, "already_resolved")
    assert house.call("GET", path, key="clerk").json()["resolved_by"] == "key:clerk"
    shown = house.call("GET", f"/v1/orders/{number}", key="admin").json()
    assert [f["state"] for f in shown["fulfilments"]] == ["ready"]


def test_an_unreadable_document_is_retried_or_dismissed(house: House) -> None:
    house.post(b"{", "k")
    (row,) = house.call("GET", "/v1/exceptions", key="clerk").json()["exceptions"]
    retried = house.call("POST", f"/v1/exceptions/{row['id']}/retry", key="clerk")
    assert (retried.status_code, retried.json()["status"]) == (200, "exception")
    told = {"action": "dismiss", "note": "a test of theirs"}
    assert house.call("POST", f"/v1/exceptions/{row['id']}/resolve", key="clerk", json=told).status_code == 200
    assert house.count("/v1/exceptions", "exceptions") == 0


def test_a_request_about_an_exception_is_read_strictly(small_house: House) -> None:
    small_house.post(bad(), "k")
    (row,) = small_house.call("GET", "/v1/exceptions", key="clerk").json()["exceptions"]
    for content, status in (
        (b'{"action":"fix","action":"cancel"}', 400),
        (b"[]", 422),
        (b'{"action":"destroy"}', 422),
        (b'{"action":"fix"}', 422),
        (b'{"action":"cancel","fixes":[{"path":"a","value":"b"}]}', 422),
        (b'{"action":"fix","fixes":[{"path":"paid","value":"1"}]}', 422),
        (b'{"action":"release","state":"resolved"}', 422),
        (b'{"action":"cancel","note":5}', 422),
    ):
        reply = small_house.call("POST", f"/v1/exceptions/{row['id']}/resolve", key="clerk", content=content)
        assert reply.status_code == status, (content, reply.text)


def test_exceptions_are_counted_paged_and_filtered(house: House) -> None:
    house.post({"orders": [bad(external_id=f"A-{n}") for n in range(5)]}, "b", path="/v1/orders:batch")
    house.post(b"{", "k")
    told = house.call("GET", "/v1/exceptions", key="read", params={"limit": 4}).json()
    assert told["counts"] == {"more": False, "codes": {"json": 1, "sku_unmapped": 5}, "open": 6, "snoozed": 0}
    rest = house.call("GET", "/v1/exceptions", key="read", params={"limit": 4, "cursor": told["next"]}).json()
    assert (len(told["exceptions"]), len(rest["exceptions"]), rest["next"]) == (4, 2, None)
    only = house.call("GET", "/v1/exceptions", key="read", params={"code": "json", "account": "acme-api"}).json()
    assert [row["code"] for row in only["exceptions"]] == ["json"]


def test_figures_name_routes_states_and_queues(house: House) -> None:
    house.post(bad(), "k")
    house.call("GET", "/nothing/PO-secret")
    house.call("GET", "/v1/orders/PO-secret")
    text = house.call("GET", "/metrics", key="read").text
    assert 'hub_orders{status="pending_shipment"} 1.0' in text
    assert 'hub_exceptions_open{code="sku_unmapped"} 1.0' in text
    assert 'hub_queue{queue="inbox"} 0.0' in text
    assert 'hub_http_requests_total{method="POST",route="/v1/orders",status="201"} 1.0' in text
    assert 'route="/v1/orders/{number}",status="404"' in text
    assert "PO-secret" not in text


def test_alive_and_ready(house: House) -> None:
    assert house.call("GET", "/healthz", key=None).json() == {"status": "ok"}
    assert house.call("GET", "/readyz", key=None).json() == {"status": "ready"}
