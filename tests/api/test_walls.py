"""Who may see and do what (P21, S10): every route of the OpenAPI document, every kind of caller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from domain.errors import RefusedError
from pipeline.access import identify, make_key, revoke_key
from tests.api.house import House, order

# Who is served; everybody else hears 403 (401 without a key). Checked below to name every operation there is.
ALL = {"acme", "clerk", "admin", "read"}
STAFF = ALL - {"acme"}
SUPPLY = ("stock", "listings", "bundles", "goods")
ALLOWED: dict[tuple[str, str], set[str]] = {
    ("post", "/v1/orders"): {"acme"},
    ("post", "/v1/orders:batch"): {"acme"},
    ("get", "/v1/orders"): ALL,
    ("get", "/v1/orders/{number}"): ALL,
    ("get", "/v1/orders/{number}/explanation"): ALL,
    ("get", "/v1/orders/by-external/{account}/{external_id}"): ALL,
    ("post", "/v1/orders/{number}/cancel"): {"acme", "clerk", "admin"},
    ("post", "/v1/orders/by-external/{account}/{external_id}/cancel"): {"acme", "clerk", "admin"},
    ("post", "/v1/orders/{number}/send-now"): {"clerk", "admin"},
    **{("post", f"/v1/orders/{{number}}/{name}"): {"clerk", "admin"} for name in ("merge", "unmerge", "reroute")},
    ("get", "/v1/exceptions"): ALL,
    ("get", "/v1/exceptions/{exception}"): ALL,
    ("post", "/v1/exceptions/{exception}/resolve"): {"clerk", "admin"},
    ("post", "/v1/exceptions/{exception}/retry"): {"clerk", "admin"},
    **{(method, f"/v1/{name}"): {"admin"} for method in ("put", "post") for name in SUPPLY},
    ("get", "/metrics"): STAFF,
}
OPEN = {("get", "/healthz"), ("get", "/readyz")}
SIGNED = {("post", "/callbacks/{warehouse}"), ("post", "/webhooks/{account}")}


def operations(house: House) -> Iterator[tuple[str, str]]:
    for path, methods in house.call("GET", "/openapi.json", key=None).json()["paths"].items():
        yield from ((method, path) for method in methods)


def fill(path: str, number: str = "PA-00000-00000-00000") -> str:
    values = {"number": number, "account": "acme-api", "external_id": "PO-1", "exception": number, "warehouse": "wh1"}
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def test_every_operation_has_a_declared_expectation(small_house: House) -> None:
    assert set(operations(small_house)) == ALLOWED.keys() | OPEN | SIGNED


def test_nobody_gets_in_without_a_key(small_house: House) -> None:
    house = small_house
    for method, path in operations(house):
        if (method, path) in OPEN:
            continue
        reply = house.call(method.upper(), fill(path), key=None)
        expected = 401 if (method, path) not in SIGNED or path.startswith("/webhooks") else 200
        assert reply.status_code == expected, (method, path, reply.text)
        if path.startswith("/callbacks"):
            assert b"<flag>failure</flag>" in reply.content
        else:
            assert reply.json()["code"] == "unauthenticated"
            assert reply.headers["www-authenticate"] == "Bearer"


def test_every_caller_gets_exactly_what_its_scope_allows(small_house: House) -> None:
    house = small_house
    for (method, path), allowed in ALLOWED.items():
        for key in ALL:
            reply = house.call(method.upper(), fill(path), key=key, headers={"Idempotency-Key": "k"}, content=b"{}")
            assert (reply.status_code == 403) == (key not in allowed), (method, path, key, reply.text)
            assert reply.status_code < 500


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer nobody",
        "Basic {key}",
        "{key}",
        "Bearer {key}x",
        "Bearer hub_" + "x" * 9000,
        "Bearer é",
    ],
)
def test_a_key_that_is_none_gets_the_same_answer(small_house: House, header: str) -> None:
    text = header.replace("{key}", small_house.keys["acme"])
    reply = small_house.call("GET", "/v1/orders", key=None, headers={"Authorization": text.encode()})
    nothing = small_house.call("GET", "/v1/orders", key=None)
    assert (reply.status_code, reply.content) == (401, nothing.content)


def test_a_revoked_key_stops_working(house: House) -> None:
    assert house.call("GET", "/v1/orders").status_code == 200
    assert revoke_key(house.hub, "acme") == 1
    assert house.call("GET", "/v1/orders").status_code == 401


def test_a_key_is_stored_as_a_keyed_hash_only(house: House) -> None:
    key = make_key(house.hub, "once", "read")
    assert len(key) > 40
    with house.hub.read() as tx:
        from storage import tables as t

        rows = [dict(row) for row in tx.execute(t.api_keys.select()).mappings()]
    assert all(key not in str(row) and len(bytes(row["key_hash"])) == 16 for row in rows)
    with pytest.raises(RefusedError):
        identify(house.hub, key.upper())


def own(house: House, key: str) -> str:
    """An order of that partner with an exception; its number."""
    lines = [{"line_id": "1", "sku": "UNKNOWN", "quantity": 2, "unit_price": "10.00"}]
    number: str = house.post(order(lines=lines), f"k-{key}", key=key).json()["number"]
    return number


def test_a_foreign_order_is_an_unknown_order(house: House) -> None:
    foreign, unknown = own(house, "zeta"), "PA-00000-00000-000VX"
    exception = house.call("GET", "/v1/exceptions", key="zeta").json()["exceptions"][0]["id"]
    pairs = [
        ("GET", f"/v1/orders/{foreign}", f"/v1/orders/{unknown}"),
        ("POST", f"/v1/orders/{foreign}/cancel", f"/v1/orders/{unknown}/cancel"),
        ("GET", "/v1/orders/by-external/zeta-api/PO-1", "/v1/orders/by-external/nobody/PO-1"),
        ("GET", "/v1/orders/by-external/zeta-api/PO-1", "/v1/orders/by-external/acme-api/PO-9"),
        ("POST", "/v1/orders/by-external/zeta-api/PO-1/cancel", "/v1/orders/by-external/nobody/PO-1/cancel"),
        ("POST", "/v1/orders/by-external/zeta-api/PO-9/cancel", "/v1/orders/by-external/nobody/PO-9/cancel"),
        ("GET", f"/v1/exceptions/{exception}", "/v1/exceptions/EX0000000000000J7"),
    ]
    for method, theirs, nobodys in pairs:
        a, b = house.call(method, theirs), house.call(method, nobodys)
        assert (a.status_code, a.content) == (404, b.content), theirs
        assert {k: v for k, v in a.headers.items() if k != "date"} == dict(b.headers)
    assert house.call("GET", f"/v1/orders/{foreign}", key="zeta").json()["cancelled"] is False


def test_a_partner_lists_its_own_and_nobody_elses(house: House) -> None:
    mine, theirs = own(house, "acme"), own(house, "zeta")
    for path, name in (("/v1/orders", "orders"), ("/v1/exceptions", "exceptions")):
        for params in ({}, {"account": "zeta-api"}, {"search": "PO-1"}, {"search": theirs}):
            if name == "exceptions" and "search" in params:
                continue
            text = house.call("GET", path, params=params).text
            assert theirs not in text
    assert mine in house.call("GET", "/v1/orders", params={"search": "PO-1"}).text
    assert theirs not in house.call("GET", "/v1/orders", params={"search": "8000"}).text


def test_a_partner_sees_no_staff_and_no_rules(house: House) -> None:
    number = own(house, "acme")
    exception = house.call("GET", "/v1/exceptions").json()["exceptions"][0]["id"]
    told = {"action": "fix", "fixes": [{"path": "lines.0.external_sku", "value": "EXT-A"}], "note": "by Jo"}
    assert house.call("POST", f"/v1/exceptions/{exception}/resolve", key="clerk", json=told).status_code == 200
    for path in (
        f"/v1/orders/{number}",
        "/v1/exceptions",
        "/v1/exceptions?state=resolved",
        f"/v1/exceptions/{exception}",
    ):
        shown = house.call("GET", path).text
        assert not any(word in shown for word in ("clerk", "by Jo", "decision", "assignee", "resolved_by", "events"))


def test_a_partner_is_told_the_outcome_of_its_own_order_and_no_reasons_of_ours(house: House) -> None:
    number = house.post(order(buyer_message="please call 13912345678"), "k").json()["number"]
    foreign = own(house, "zeta")
    path = f"/v1/orders/{number}/explanation"
    told = house.call("GET", path).json()
    assert told.keys() == {"made_at", "released", "holds", "fulfilments"}
    assert (told["released"], told["holds"], told["fulfilments"]) == (False, ["hold_remark"], 1)
    assert house.call("GET", path, params={"instead": "release"}).json() == told
    for instead in ("warehouse=wh1", "rule=remark", "carrier=SF"):
        reply = house.call("GET", path, params={"instead": instead})
        assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
    assert house.call("GET", f"/v1/orders/{foreign}/explanation").status_code == 404
    staff = house.call("GET", path, key="read", params={"instead": "release"}).json()
    assert staff["reproduced"] is True
    assert staff["instead"]["changes"]
    assert "13912345678" not in str(staff)
    reply = house.call("GET", path, key="read", params={"instead": "money=1"})
    assert (reply.status_code, reply.json()["code"]) == (422, "alternative")


def test_a_cursor_of_another_partner_or_list_is_refused(house: House) -> None:
    for number in range(3):
        house.post(order(f"PO-{number}"), f"k{number}", key="zeta")
    theirs = house.call("GET", "/v1/orders", key="zeta", params={"limit": 1}).json()["next"]
    for params in ({"cursor": theirs}, {"cursor": theirs[:-2] + "AA"}, {"cursor": "x"}, {"cursor": "é"}):
        reply = house.call("GET", "/v1/orders", params=params)
        assert (reply.status_code, reply.json()["code"]) == (400, "cursor")
    assert house.call("GET", "/v1/exceptions", key="zeta", params={"cursor": theirs}).status_code == 400


def test_headers_say_nothing_and_allow_nothing(small_house: House) -> None:
    for path, key in (("/v1/orders", "acme"), ("/v1/orders", None), ("/nothing", None), ("/healthz", None)):
        headers = small_house.call("GET", path, key=key).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert not {"server", "x-powered-by"} & set(headers)
    assert small_house.call("TRACE", "/v1/orders").status_code == 405
    assert small_house.call("DELETE", "/v1/orders").headers["content-type"] == "application/problem+json"


def test_the_docs_need_no_foreign_server_and_can_be_off(small_house: House) -> None:
    from api.app import create_app

    page = small_house.call("GET", "/docs", key=None)
    assert page.status_code == 200
    assert "https://" not in page.text.replace("https://www.w3.org", "")
    document: dict[str, Any] = small_house.call("GET", "/openapi.json", key=None).json()
    assert document["openapi"].startswith("3.1")
    small_house.app = create_app(small_house.hub, docs=False)
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert small_house.call("GET", path, key=None).status_code == 404
