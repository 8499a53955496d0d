from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import _shopify_calls, _shopify_ship, shopify
from connectors._channel import Confirmation, Since
from connectors._graphql import judge
from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from tests.wire.loopback import Loopback, reply
from wire.budget import Budget
from wire.signing import shopify_hmac
from wire.strict_json import dump, parse_value

from .shop_orders import NOW, PAGE, node, settings
from .side import Side, answering, documents, new_client, sample, session, since


@pytest.mark.parametrize(
    ("code", "on_read", "on_write"),
    [
        ("THROTTLED", RetryableError, RetryableError),
        ("ACCESS_DENIED", ConfigError, ConfigError),
        ("MAX_COST_EXCEEDED", RefusedError, RefusedError),
        ("INTERNAL_SERVER_ERROR", RetryableError, UnknownOutcomeError),
        ("", RefusedError, RefusedError),
    ],
)
def test_an_error_says_what_to_do_next(code: str, on_read: type[HubError], on_write: type[HubError]) -> None:
    body = dump({"errors": [{"message": "m", "extensions": {"code": code}}]})
    assert type(judge(body, writes=False, now=NOW)) is on_read
    assert type(judge(body, writes=True, now=NOW)) is on_write


@pytest.mark.parametrize("body", [b"", b"<html/>", b"{}", b"[]", b'{"data":null}', b"{broken"])
def test_nothing_readable_is_never_no_orders(body: bytes) -> None:
    assert isinstance(judge(body, writes=False, now=NOW), RetryableError)
    assert isinstance(judge(body, writes=True, now=NOW), UnknownOutcomeError)


def test_waits_as_long_as_the_bucket_needs() -> None:
    budget = Budget(1000, 50)
    until = _shopify_calls.learn_cost(budget, parse_value(sample("shopify/throttled.json")), NOW)
    assert until == NOW + timedelta(seconds=(312 - 100) / 100)


@pytest.mark.parametrize(
    "value", [{}, [], {"extensions": {"cost": {"throttleStatus": {"restoreRate": "100"}}}}, {"extensions": None}]
)
def test_an_answer_without_costs_teaches_nothing(value: Any) -> None:
    assert _shopify_calls.learn_cost(Budget(1000, 50), value, NOW) is None


def test_settings_keep_their_secrets() -> None:
    assert "shpat_secret" not in repr(settings())


def test_a_tracking_link_needs_a_place_for_the_number() -> None:
    with pytest.raises(ValueError, match="tracking"):
        settings(tracking_url="https://t.example/")


def test_reads_every_order_page_by_page(side: Side) -> None:
    placed = set(side.place("shopify", 20))
    pages = list(shopify.pull(side.shopify(page_size=7), since()))
    found = documents(pages)
    assert placed <= {document.external_id for document in found}
    assert all(parse_value(document.body)["id"] == document.external_id for document in found)
    assert [page.next == "" for page in pages] == [False] * (len(pages) - 1) + [True]
    stamps = [page.seen_to for page in pages if page.seen_to is not None]
    assert stamps == sorted(stamps) and len(stamps) == len(pages)


def test_resumes_at_every_page_without_losing_an_order(side: Side) -> None:
    placed = set(side.place("shopify", 15))
    account, window = side.shopify(page_size=4), since()
    pages = list(shopify.pull(account, window))
    for at, page in enumerate(pages[:-1]):
        before = {document.external_id for document in documents(pages[: at + 1])}
        after = {
            document.external_id for document in documents(shopify.pull(account, replace(window, token=page.next)))
        }
        assert placed <= before | after


def test_a_page_that_repeats_itself_is_no_progress(side: Side) -> None:
    side.place("shopify", 20)
    side.fault("shopify", "HubOrders", "repeat_page", 50)
    with pytest.raises(RetryableError, match="paging_loop"):
        list(shopify.pull(side.shopify(page_size=3), since()))


def test_a_throttled_read_waits_and_goes_on(side: Side) -> None:
    (ident,) = side.place("shopify")
    side.fault("shopify", "HubOrder", "rate_limit")
    assert [document.external_id for document in shopify.fetch(side.shopify(), [ident])] == [ident]


def test_a_query_that_costs_too_much_asks_for_fewer() -> None:
    asked: list[int] = []

    def script(seen: Any, _connection: Any) -> bytes:
        asked.append(parse_value(seen.body)["variables"]["first"])
        if asked[-1] > 6:
            return reply(200, dump({"errors": [{"message": "m", "extensions": {"code": "MAX_COST_EXCEEDED"}}]}))
        return reply(200, sample(PAGE))

    with Loopback(script) as server, new_client() as client:
        account = session(settings(base_url=server.url, allow_private=True, page_size=25), client)
        assert len(documents(shopify.pull(account, since()))) == 1
    assert asked == [25, 12, 6]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", RetryableError),
        (b"<html>", RetryableError),
        (b'{"data":{"orders":null}}', HubError),
        (b'{"data":{"orders":{"nodes":[]}}}', RetryableError),
        (b'{"data":{"orders":{"nodes":[],"pageInfo":{"hasNextPage":true,"endCursor":null}}}}', RetryableError),
        (b'{"data":{"orders":{"pageInfo":{"hasNextPage":false}}}}', HubError),
    ],
)
def test_a_list_that_is_no_list_fails_the_pull(body: bytes, error: type[HubError]) -> None:
    with answering(body) as server, new_client() as client:
        account = session(settings(base_url=server.url, allow_private=True), client)
        with pytest.raises(error):
            list(shopify.pull(account, since()))


@pytest.mark.parametrize("status", [401, 402, 403, 404, 423])
def test_a_shop_that_is_closed_to_us_stops_the_account(status: int) -> None:
    with Loopback(lambda _seen, _connection: reply(status, b"{}")) as server, new_client() as client:
        account = session(settings(base_url=server.url, allow_private=True), client)
        with pytest.raises(ConfigError):
            list(shopify.pull(account, since()))


def test_an_order_nobody_knows_gives_no_document(side: Side) -> None:
    assert shopify.fetch(side.shopify(), ["gid://shopify/Order/1"]) == ()


def test_a_fetched_order_keeps_its_exact_bytes() -> None:
    raw = b'{ "id" : "gid://shopify/Order/1", "note": "\\"order\\": {x}", "updatedAt":"2026-01-31T09:05:12Z" }'
    body = b'{"extensions":{"order":{"a":1}},"data":{"order": ' + raw + b"}}"
    with answering(body) as server, new_client() as client:
        (document,) = shopify.fetch(
            session(settings(base_url=server.url, allow_private=True), client), ["gid://shopify/Order/1"]
        )
    assert document.body == raw


def parcel(side: Side, ident: str, tracking: str, **changes: Any) -> Confirmation:
    rows = side.row("shopify", ident)["lines"]
    given: dict[str, Any] = {
        "order_id": ident,
        "package_key": tracking,
        "tracking": tracking,
        "carrier": "SF",
        "lines": tuple((row["id"], row["quantity"]) for row in rows),
        "whole_order": True,
        "shipped_at": NOW,
    }
    return Confirmation(**{**given, **changes})


def test_confirms_once_however_often_it_is_told(side: Side) -> None:
    (ident,) = side.place("shopify")
    account, told = side.shopify(), parcel(side, ident, "SF1")
    assert _shopify_ship.find(account, told) is None
    first = _shopify_ship.confirm(account, told)
    assert first.reference.startswith("gid://shopify/Fulfillment/")
    assert _shopify_ship.confirm(account, told) == first == _shopify_ship.find(account, told)
    shipments = side.row("shopify", ident)["shipments"]
    assert {each["tracking"] for each in shipments} == {"SF1"}
    assert sum(line["quantity"] for each in shipments for line in each["lines"]) == sum(
        units for _, units in told.lines
    )


def test_ships_from_two_locations_with_one_call_each(side: Side) -> None:
    for ident in side.place("shopify", 80):
        order = parse_value(shopify.fetch(side.shopify(), [ident])[0].body)
        if len({each["assignedLocation"]["location"]["id"] for each in order["fulfillmentOrders"]["nodes"]}) > 1:
            _shopify_ship.confirm(side.shopify(), parcel(side, ident, "SF2"))
            assert len(side.row("shopify", ident)["shipments"]) == 2
            assert _shopify_ship.find(side.shopify(), parcel(side, ident, "SF2")) is not None
            return
    pytest.fail("the sandbox made no order with two locations")


def test_ships_a_part_and_then_the_rest(side: Side) -> None:
    ident = next(i for i in side.place("shopify", 40) if side.row("shopify", i)["lines"][0]["quantity"] > 1)
    whole = parcel(side, ident, "SF3", whole_order=False)
    line, units = whole.lines[0]
    part = replace(whole, lines=((line, 1),))
    rest = replace(whole, tracking="SF4", lines=((line, units - 1), *whole.lines[1:]))
    account = side.shopify()
    _shopify_ship.confirm(account, part)
    assert _shopify_ship.find(account, rest) is None
    _shopify_ship.confirm(account, rest)
    assert _shopify_ship.find(account, rest) is not None


def test_units_that_nobody_can_fulfil_are_refused(side: Side) -> None:
    (ident,) = side.place("shopify")
    told = parcel(side, ident, "SF5")
    account = side.shopify()
    _shopify_ship.confirm(account, told)
    with pytest.raises(RefusedError, match="not_fulfillable"):
        _shopify_ship.confirm(account, replace(told, tracking="SF6"))


def test_a_lost_answer_is_unknown_and_then_found(side: Side) -> None:
    (ident,) = side.place("shopify")
    told = parcel(side, ident, "SF7")
    account = side.shopify()
    side.fault("shopify", "HubShip", "drop_after_effect")
    with pytest.raises(UnknownOutcomeError):
        _shopify_ship.confirm(account, told)
    assert _shopify_ship.find(account, told) is not None or len(side.row("shopify", ident)["shipments"]) == 1
    _shopify_ship.confirm(account, told)
    assert _shopify_ship.find(account, told) is not None


def test_a_user_error_is_a_refusal() -> None:
    order = node(fulfillments=[])
    bodies = [dump({"data": {"order": order}}), sample("shopify/user_error.json")]
    told = Confirmation(
        order_id=order["id"],
        package_key="p",
        tracking="1Z",
        carrier="UPS",
        lines=(("gid://shopify/LineItem/111", 2),),
        whole_order=True,
        shipped_at=NOW,
    )
    with (
        answering(*bodies) as server,
        new_client() as client,
        pytest.raises(RefusedError, match="not in an open state"),
    ):
        _shopify_ship.confirm(session(settings(base_url=server.url, allow_private=True), client), told)


def test_an_order_on_hold_is_not_fulfilled() -> None:
    order = node()
    order["fulfillmentOrders"]["nodes"][0]["status"] = "ON_HOLD"
    with pytest.raises(RefusedError, match="not_fulfillable"):
        _shopify_ship.by_location(order, {"gid://shopify/LineItem/111": 1})


def test_carriers_have_shopifys_names_or_our_link() -> None:
    told = Confirmation(
        order_id="1", package_key="p", tracking="T1", carrier="SF", lines=(), whole_order=True, shipped_at=NOW
    )
    link = settings(tracking_url="https://t.example/{tracking}")
    assert _shopify_ship.tracking_info(link, told) == {"number": "T1", "company": "SF Express"}
    other = replace(told, carrier="ZTO")
    assert _shopify_ship.tracking_info(link, other) == {
        "number": "T1",
        "company": "中通快递",
        "url": "https://t.example/T1",
    }
    assert _shopify_ship.tracking_info(settings(carriers={"ZTO": "ZTO Express"}), other)["company"] == "ZTO Express"


BODY = b'{"id":5678901234567,"admin_graphql_api_id":"gid://shopify/Order/5678901234567","name":"#1001"}'


@pytest.mark.parametrize("secret", ["new-secret", "old-secret"])
def test_a_webhook_may_be_signed_with_the_secret_before(secret: str) -> None:
    headers = {"X-Shopify-Hmac-Sha256": shopify_hmac(BODY, secret)}
    shopify.verify(headers, BODY, settings(webhook_secret="new-secret", webhook_secret_old="old-secret"), NOW)


def test_a_webhook_with_another_secret_is_refused() -> None:
    headers = {"X-Shopify-Hmac-Sha256": shopify_hmac(BODY, "guess")}
    with pytest.raises(RefusedError):
        shopify.verify(headers, BODY, settings(webhook_secret="new-secret"), NOW)


def test_without_a_secret_no_webhook_is_believed() -> None:
    with pytest.raises(ConfigError):
        shopify.verify({"X-Shopify-Hmac-Sha256": shopify_hmac(BODY, "")}, BODY, settings(), NOW)


@pytest.mark.parametrize(
    ("topic", "body", "ids"),
    [
        ("orders/updated", BODY, ("gid://shopify/Order/5678901234567",)),
        ("orders/updated", b'{"id":5678901234567}', ("gid://shopify/Order/5678901234567",)),
        (
            "fulfillments/create",
            b'{"id":1,"order_id":7,"admin_graphql_api_id":"gid://shopify/Fulfillment/1"}',
            ("gid://shopify/Order/7",),
        ),
        ("refunds/create", b'{"id":1,"order_id":7}', ("gid://shopify/Order/7",)),
        ("products/update", b'{"id":1}', ()),
        ("orders/updated", b"[]", ()),
    ],
)
def test_a_webhook_hints_at_its_order(topic: str, body: bytes, ids: tuple[str, ...]) -> None:
    assert shopify.hints({"X-Shopify-Topic": topic, "X-Shopify-Webhook-Id": "w1"}, body) == ("w1", ids)


@given(
    st.integers(0, 10**14),
    st.sampled_from(["gid://shopify/Order/{}", "gid:\\/\\/shopify\\/Order\\/{}", "gid://shopify/Fulfillment/{}", "{}"]),
    st.sampled_from([',"note":"x"}', "}", ',"tags":{"id":1}}', ',"id":7}', ' ,"a":1}', "", ',"a":}']),
)
def test_what_a_webhook_begins_with_hints_at_what_all_of_it_would(number: int, gid: str, rest: str) -> None:
    body = f'{{"id":{number},"admin_graphql_api_id":"{gid.format(number)}"{rest}'.encode()
    told = {"X-Shopify-Topic": "orders/create", "X-Shopify-Webhook-Id": "w1"}
    try:
        careful = shopify.hints(told, b" " + body)
    except MappingError:
        # No document, and signed all the same: at most it is asked for.
        with suppress(MappingError):
            assert shopify.hints(told, body) == ("w1", (f"gid://shopify/Order/{number}",))
    else:
        assert shopify.hints(told, body) == careful == ("w1", (f"gid://shopify/Order/{number}",))


def test_a_window_in_the_future_is_simply_empty(side: Side) -> None:
    now = side.shopify().clock() + timedelta(days=300)
    (page,) = shopify.pull(side.shopify(), Since(start=now, end=now + timedelta(hours=1)))
    assert page.documents == () and page.next == ""
