"""What real servers did (live-servers.md, observed 2026-11-21), each as a test that names its lesson."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from connectors import vendure
from connectors._channel import Confirmation
from domain.errors import HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from domain.money import to_minor
from normalizer.compiled import At, compile_field
from normalizer.readers import Context, as_money, as_scaled_money, as_time_in, read_time
from pipeline.absorb import absorb_all
from pipeline.hooks import take_webhook
from pipeline.watch import watch_news
from storage import tables as t
from tests.connectors.shopkeeper import Shopkeeper
from tests.connectors.side import new_client, session
from tests.wire.loopback import Loopback, Seen, client, reply
from wire.paging import link_header
from wire.signing import shopify_hmac
from wire.strict_json import dump, parse_value

from .hostile import Yard, codes, open_yard, serve, states
from .liars import NOW, Cut, Item, answer_xml, confirm_xml, package
from .spoilt import good
from .wares import encoded, iso, node

OLD = NOW - timedelta(minutes=30)
ALL = (("1", "A", 2), ("2", "B", 1))
SHOPS = ("tb", "sf", "ve")


def known(yard: Yard, account: str) -> set[str]:
    """The orders of an account whose document is stored."""
    rows = yard.rows(t.inbox, t.inbox.c.source_id == yard.id_of(account), t.inbox.c.source_kind == "account")
    return {row["external_id"] for row in rows}


# --- 1. Cursors: a plain time cursor loses orders on a real ERP -------------------------------------------------------------


@pytest.mark.parametrize("account", SHOPS)
def test_lesson_1_three_hundred_orders_of_one_second_over_pages_of_a_hundred(
    account: str, sqlite_url: str, tmp_path: Path
) -> None:
    with open_yard(sqlite_url, tmp_path, pages=100) as yard:
        yard.shops[account].shelf = [good(account, n, OLD) for n in range(300)]
        assert yard.poll(account, absorb=False) == 300
        assert yard.cursor(account)["error"] == ""
        assert yard.poll(account, absorb=False) == 0  # and it does not stall


def _while_it_is_made(yard: Yard, account: str, lasts: timedelta) -> set[str]:
    """400 orders made by one remote transaction of this length, all stamped with its start, while others come and the cursor
    moves on. The ids of all."""
    numbers, shelf = count(1000), yard.shops[account].shelf
    made = [good(account, n, yard.clock.at) for n in range(400)]
    for item in made:
        item.visible = yard.clock.at + lasts
    shelf += made
    for _ in range(8):
        shelf.append(good(account, next(numbers), yard.clock.at))
        yard.poll(account, absorb=False)
        yard.clock.wait(seconds=lasts.total_seconds() / 6)
    return {item.id for item in shelf}


@pytest.mark.parametrize("account", SHOPS)
def test_lesson_1_nothing_of_a_transaction_that_was_open_while_the_cursor_moved_is_lost(
    account: str, sqlite_url: str, tmp_path: Path
) -> None:
    with open_yard(sqlite_url, tmp_path, pages=100) as yard:
        placed = _while_it_is_made(yard, account, timedelta(seconds=2))
        yard.clock.wait(seconds=30)
        yard.poll(account, absorb=False)
        assert known(yard, account) == placed


def test_lesson_1_the_same_whole_way_and_a_transaction_longer_than_the_look_back(
    database_url: str, tmp_path: Path
) -> None:
    """Two seconds: by the poll. Forty minutes, which no look-back covers: by the sweep. All of them become orders."""
    with open_yard(database_url, tmp_path, pages=100) as yard:
        placed = _while_it_is_made(yard, "sf", timedelta(seconds=2))
        yard.clock.wait(seconds=30)
        yard.poll("sf")
        assert set(yard.orders("sf")) == placed
        slow = [good("sf", 5000 + n, yard.clock.at) for n in range(20)]
        for item in slow:
            item.visible = yard.clock.at + timedelta(minutes=40)
        yard.shops["sf"].shelf += slow
        for _ in range(5):
            yard.clock.wait(minutes=10)
            yard.poll("sf")
        assert not {item.id for item in slow} & set(yard.orders("sf"))
        yard.clock.wait(minutes=20)
        yard.sweep()
        assert {item.id for item in slow} <= set(yard.orders("sf"))


# --- 2. HTTP 200 is not success ---------------------------------------------------------------------------------------------


SHAPES: list[Callable[[], bytes | Cut | None]] = [
    lambda: reply(200, b'{"detail":"busy","status_code":500}'),
    lambda: reply(200, b'{"error":"UserError"}'),
    lambda: reply(200, b'{"errors":[{"message":"no"}]}'),
    lambda: reply(200, b'{"logistics_offline_send_response":{"shipping":{"is_success":false}}}'),
    lambda: reply(200, b'{"logistics_offline_send_response":{}}'),
    lambda: reply(200, b'{"result":{"__typename":"ItemsAlreadyFulfilledError","errorCode":"X"}}'),
    lambda: reply(400, b'{"message":"no such order"}'),
]


def shipped(yard: Yard, count_: int) -> None:
    """Orders that left the warehouse; their parcels wait to be told to the channel."""
    yard.shops["tb"].shelf = [good("tb", n, OLD + timedelta(seconds=n)) for n in range(count_)]
    yard.poll("tb")
    yard.push(2)
    for order in yard.orders("tb").values():
        (row,) = order.fulfilments.values()
        yard.tell(confirm_xml(row["code"], package(f"SF{row['id']}", ALL), biz=f"b{row['id']}"))
    absorb_all(yard.hub)


def test_lesson_2_an_error_inside_200_is_never_a_confirmation(database_url: str, tmp_path: Path) -> None:
    with open_yard(database_url, tmp_path) as yard:
        shipped(yard, len(SHAPES))
        shop = yard.shops["tb"]
        lies: Iterator[Callable[[], bytes | Cut | None]] = iter(SHAPES)

        def lying(seen: Seen) -> bytes | Cut | None:
            if b"offline.send" in seen.body and (make := next(lies, None)) is not None:
                return make()
            shop.always = None
            try:
                return serve(shop, seen)
            finally:
                shop.always = lying

        shop.always = lying
        yard.push()
        packages = [row for order in yard.orders("tb").values() for row in order.packages.values()]
        assert "confirmed" not in {row["confirm_state"] for row in packages}
        for _ in range(3):
            yard.clock.wait(minutes=5)
            yard.push()
        for order in yard.orders("tb").values():
            # What was plainly refused waits for a person; what was unclear was looked up and told once.
            (row,) = order.packages.values()
            assert (row["confirm_state"] == "refused") == (codes(order) == ["confirm_refused"])
            assert row["confirm_state"] in {"refused", "confirmed"}
        assert len(set(shop.shipped)) == len(shop.shipped)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b'{"data":{"addFulfillmentToOrder":{"errorCode":"INSUFFICIENT","message":"no"}}}', RefusedError),
        (b'{"data":{"addFulfillmentToOrder":{"__typename":"Fulfillment"}}}', UnknownOutcomeError),
        (b'{"data":{"addFulfillmentToOrder":null}}', UnknownOutcomeError),
        (b'{"error":"busy"}', UnknownOutcomeError),
        (b'{"detail":"busy","status_code":500}', UnknownOutcomeError),
    ],
)
def test_lesson_2_a_typed_result_may_be_an_error(answer: bytes, error: type[HubError]) -> None:
    with _vendure(lambda operation, told: reply(200, answer) if operation == "HubShip" else told) as (account, parcel):
        with pytest.raises(error):
            vendure.confirm(account, parcel)
        assert vendure.find(account, parcel) is None


# --- 3. "Succeeded" and nothing happened: only a re-read proves it -------------------------------------------------------------


def test_lesson_3_a_shipment_that_says_success_and_ships_nothing_is_not_confirmed() -> None:
    silent = b'{"data":{"transitionFulfillmentToState":{"__typename":"Fulfillment","id":"1","state":"Pending"}}}'
    with (
        _vendure(lambda operation, told: reply(200, silent) if operation == "HubShipped" else told) as (
            account,
            parcel,
        ),
        pytest.raises(UnknownOutcomeError, match="not_shipped"),
    ):
        vendure.confirm(account, parcel)


def test_lesson_3_a_channel_that_says_yes_and_shows_nothing_is_asked_again(database_url: str, tmp_path: Path) -> None:
    with open_yard(database_url, tmp_path) as yard:
        shipped(yard, 1)
        shop = yard.shops["tb"]
        shop.forgets = True
        yard.push()
        (order,) = yard.orders("tb").values()
        assert [row["confirm_state"] for row in order.packages.values()] == ["due"]
        assert [row["state"] for row in order.outbox.values() if row["kind"] == "confirm"] == ["unknown"]
        shop.forgets = False
        yard.clock.wait(minutes=5)
        yard.push()
        (order,) = yard.orders("tb").values()
        assert [row["confirm_state"] for row in order.packages.values()] == ["confirmed"]


def test_lesson_3_a_warehouse_that_says_yes_and_has_nothing_is_told_to_a_person(
    database_url: str, tmp_path: Path
) -> None:
    with open_yard(database_url, tmp_path) as yard:
        yard.shops["tb"].shelf = [good("tb", n, OLD + timedelta(seconds=n)) for n in range(2)]
        yard.poll("tb")
        yard.wms.forgets = True
        yard.push()
        for order in yard.orders("tb").values():
            assert states(order) == ["accepted"]
        yard.wms.known[next(iter(_codes(yard)))] = b""
        yard.clock.wait(hours=1)
        watch_news(yard.hub, pool=yard.pool)
        absorb_all(yard.hub)
        assert sorted(codes(order) for order in yard.orders("tb").values()) == [[], ["outcome_unknown"]]
        assert yard.wms.count("deliveryorder.create") == 2  # nobody sends it again by himself


def _codes(yard: Yard) -> list[str]:
    return [row["code"] for order in yard.orders("tb").values() for row in order.fulfilments.values()]


# --- 4. Duplicate references are accepted: we look before we repeat ------------------------------------------------------------


def test_lesson_4_a_target_that_takes_the_same_reference_twice_gets_it_once(database_url: str, tmp_path: Path) -> None:
    with open_yard(database_url, tmp_path) as yard:
        taken: list[str] = []

        def took(seen: Seen) -> bytes | Cut | None:
            code = seen.body.decode().partition("<deliveryOrderCode>")[2].partition("<")[0]
            taken.append(code)
            yard.wms.known[code] = seen.body
            return None  # the line breaks after the effect

        yard.wms.lies = [took] * 5
        yard.shops["tb"].shelf = [good("tb", n, OLD + timedelta(seconds=n)) for n in range(5)]
        yard.poll("tb")
        for _ in range(4):
            yard.push()
            yard.clock.wait(minutes=5)
        assert sorted(taken) == sorted(set(taken)) == sorted(_codes(yard))
        assert yard.wms.count("deliveryorder.create") == 5


def test_lesson_4_one_refused_of_many_is_refused_alone(database_url: str, tmp_path: Path) -> None:
    """No bulk call is made whose one duplicate would fail the rest."""
    with open_yard(database_url, tmp_path) as yard:
        yard.wms.lies = [reply(200, answer_xml(flag="failure", code="S003", message="unknown item"))]
        yard.shops["tb"].shelf = [good("tb", n, OLD + timedelta(seconds=n)) for n in range(6)]
        yard.poll("tb")
        yard.push()
        assert sorted(states(order)[0] for order in yard.orders("tb").values()) == ["accepted"] * 5 + ["rejected"]
        assert {method for method, _ in yard.wms.calls} == {"deliveryorder.create"}


# --- 5. Paging ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http://shop.test/orders?page=2", "//shop.test/orders?page=2", "/orders?page=2"])
def test_lesson_5_a_next_link_with_a_broken_scheme_keeps_ours(scheme: str) -> None:
    asked: list[str] = []

    def fetch(url: str) -> tuple[list[int], str]:
        asked.append(url)
        return [len(asked)], f'<{scheme}>; rel="next"' if len(asked) == 1 else ""

    assert [batch.records for batch in link_header(fetch, "https://shop.test/orders")] == [[1], [2]]
    assert asked == ["https://shop.test/orders", "https://shop.test/orders?page=2"]


def test_lesson_5_a_next_link_to_another_host_is_not_followed() -> None:
    pages = link_header(lambda _url: ([1], '<https://evil.test/x>; rel="next"'), "https://shop.test/orders")
    with pytest.raises(RefusedError, match="link_refused"):
        list(pages)


def test_lesson_5_a_colon_in_a_query_is_written_so_that_it_breaks_nothing() -> None:
    with Loopback(lambda _seen, _connection: reply(200)) as server, client() as wire:
        wire.send("GET", server.url, params={"since": "2026-11-21T12:00:00+08:00"}, writes=False)
        assert server.seen[0].target == "/?since=2026-11-21T12%3A00%3A00%2B08%3A00"


# --- 6. Times --------------------------------------------------------------------------------------------------------------------


def test_lesson_6_local_times_in_two_formats_naive_utc_and_twins_are_one_instant() -> None:
    shanghai, moment = ZoneInfo("Asia/Shanghai"), datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    for local in ("2026-11-21 20:00:00", "2026-11-21T20:00:00", "2026-11-21T20:00:00.000", "2026-11-21 20:00"):
        assert read_time(local, shanghai) == moment
    assert read_time("2026-11-21T12:00:00", UTC) == read_time("2026-11-21T12:00:00Z", shanghai) == moment
    record = {"date_created": "2026-11-21T20:00:00", "date_created_gmt": "2026-11-21T12:00:00"}
    site = compile_field(At("date_created", as_time_in("Asia/Shanghai")), "placed_at")
    twin = compile_field(At("date_created_gmt", as_time_in("UTC")), "placed_at")
    context = Context(zone=ZoneInfo("America/New_York"), order=record)
    assert site(record, context) == twin(record, context) == moment


# --- 7. Money --------------------------------------------------------------------------------------------------------------------


def test_lesson_7_every_way_to_write_an_amount_is_exact_or_refused() -> None:
    record = parse_value(
        b'{"minor":7836,"number":78.36,"text":"78.36","php":78.3600000000000000000000000000,'
        b'"tagged":{"__class__":"Decimal","decimal":"78.36"},"subcent":78.3615,"subcent_text":"78.3615"}'
    )
    context = Context(zone=UTC, order=record, currency="EUR")

    def read(field: At) -> Any:
        return compile_field(field, "paid")(record, context)

    exact = [At("minor", as_scaled_money(2)), *(At(f, as_money) for f in ("number", "text", "php", "tagged.decimal"))]
    assert [read(field) for field in exact] == [7836] * 5
    for name in ("subcent", "subcent_text"):
        with pytest.raises(MappingError, match="money"):
            read(At(name, as_money))
    assert to_minor(Decimal("78.3615"), "EUR", rounding="ROUND_HALF_UP") == 7836
    with pytest.raises(MappingError, match="money"):
        as_money.read(78.36, context)  # a binary float has lost its cents already


def test_lesson_7_a_total_with_sub_cents_is_one_exception(database_url: str, tmp_path: Path) -> None:
    with open_yard(database_url, tmp_path) as yard:
        odd = encoded(node("7", OLD, currency="EUR", price="39.18075", total="78.3615"))
        yard.shops["sf"].shelf = [good("sf", 1, OLD), Item("gid://shopify/Order/7", odd, OLD), good("sf", 2, OLD)]
        yard.poll("sf")
        assert len(yard.orders("sf")) == 2 and [row["error"] for row, _, _ in yard.unread("sf")] == ["money"]


# --- 8. Webhooks ------------------------------------------------------------------------------------------------------------------


def webhook(yard: Yard, delivery: str, topic: str, body: bytes, **headers: str) -> bool:
    told = {
        "x-shopify-hmac-sha256": shopify_hmac(body, "hook-secret"),
        "x-shopify-webhook-id": delivery,
        "x-shopify-topic": topic,
    }
    received = take_webhook(yard.hub, "sf", told | headers, body)
    return all(each.result(10) for each in received.stored)


def hint_body(number: int, **more: Any) -> bytes:
    return dump({"id": number, "admin_graphql_api_id": f"gid://shopify/Order/{number}", **more})


def test_lesson_8_an_unsigned_form_encoded_ping_changes_nothing(database_url: str, tmp_path: Path) -> None:
    with open_yard(database_url, tmp_path) as yard:
        ping = b"webhook_id=5"
        for headers in (
            {"content-type": "application/x-www-form-urlencoded"},
            {"x-shopify-hmac-sha256": ""},
            {"x-shopify-hmac-sha256": "签", "x-shopify-topic": "orders/create"},
            {"x-shopify-hmac-sha256": shopify_hmac(ping, "another-secret")},
            {"x-shopify-hmac-sha256": "A" * 10_240},
        ):
            with pytest.raises(RefusedError, match="unauthenticated"):
                take_webhook(yard.hub, "sf", headers, ping)
        # Signed, and still no order in it: remembered, and nothing more.
        assert webhook(yard, "ping", "", ping) is True
        assert yard.rows(t.hints) == [] and len(yard.rows(t.deliveries)) == 1


def test_lesson_8_a_created_that_comes_late_and_says_cancelled_is_only_a_hint(
    database_url: str, tmp_path: Path
) -> None:
    """`created` is byte-identical to `updated`, arrives after it, and already says how it ended. What the shop itself shows
    decides."""
    with open_yard(database_url, tmp_path) as yard:
        fine = node("1", OLD)
        yard.shops["sf"].shelf = [Item("gid://shopify/Order/1", encoded(fine), OLD)]
        body = hint_body(1, cancelled_at="2026-11-21T11:59:00Z", financial_status="voided")
        assert webhook(yard, "d-updated", "orders/updated", body)
        assert webhook(yard, "d-created", "orders/create", body)
        yard.poll("sf")
        (order,) = yard.orders("sf").values()
        assert (order.order["status"], states(order)) == ("pending_shipment", ["ready"])
        assert [row["state"] for row in yard.rows(t.inbox)] == ["done"]


def test_lesson_8_events_out_of_order_and_a_hundred_times_end_as_the_shop_says(
    database_url: str, tmp_path: Path
) -> None:
    with open_yard(database_url, tmp_path) as yard:
        shop = yard.shops["sf"]
        closed = node("1", OLD + timedelta(minutes=2)) | {"cancelledAt": iso(OLD + timedelta(minutes=2))}
        shop.shelf = [Item("gid://shopify/Order/1", encoded(closed), OLD + timedelta(minutes=2)), good("sf", 2, OLD)]
        events = [
            ("c", "orders/cancelled", hint_body(1)),
            ("b", "orders/updated", hint_body(1)),
            ("a", "orders/create", hint_body(1)),
        ]
        news = [webhook(yard, *event) for event in events * 34]
        assert sum(news) == 3
        yard.clock.wait(days=3)
        assert not any(webhook(yard, *event) for event in events)  # and none of them after three days
        yard.clock.wait(days=-3)
        shop.asked.clear()
        yard.poll("sf")
        assert len([asked for asked in shop.asked if "HubOrder(" in asked]) <= 1
        orders = yard.orders("sf")
        assert orders["gid://shopify/Order/1"].order["status"] == "closed"
        yard.push()
        assert yard.wms.count("deliveryorder.create") == 1


def test_lesson_8_a_hint_before_its_order_is_visible_loses_nothing(database_url: str, tmp_path: Path) -> None:
    with open_yard(database_url, tmp_path) as yard:
        late = good("sf", 1, NOW - timedelta(seconds=5))
        late.visible = NOW + timedelta(seconds=30)
        yard.shops["sf"].shelf = [late]
        webhook(yard, "early", "orders/create", hint_body(1))
        assert yard.poll("sf") == 0 and yard.cursor("sf")["error"] == ""
        yard.clock.wait(minutes=1)
        yard.poll("sf")
        assert set(yard.orders("sf")) == {late.id}


class _vendure:
    """A Vendure shop with one order, whose answers a test may replace by operation."""

    def __init__(self, twist: Callable[[str, bytes | None], bytes | None]) -> None:
        self._shop, self._twist = Shopkeeper(), twist

    def __enter__(self) -> tuple[Any, Confirmation]:
        code = self._shop.place(1, "2026-11-21T11:00:00.000Z")

        def script(seen: Seen, connection: Any) -> bytes | None:
            operation = json.loads(seen.body)["query"].split("(")[0].split()[-1]
            return self._twist(operation, self._shop.script(seen, connection))

        self._server, self._client = Loopback(script).__enter__(), new_client().__enter__()
        settings = vendure.VendureSettings(
            base_url=f"{self._server.url}/admin-api",
            username="hub",
            password=SecretStr("secret-password"),
            allow_private=True,
        )
        parcel = Confirmation(
            order_id=code,
            package_key="p",
            tracking="1Z1",
            carrier="UPS",
            lines=(("1-0", 2), ("1-1", 3)),
            whole_order=True,
            shipped_at=NOW,
        )
        return replace(session(settings, self._client), clock=lambda: NOW), parcel

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.__exit__()


def test_lesson_2_a_missing_order_may_be_a_400_and_is_no_outage() -> None:
    with (
        Loopback(lambda _seen, _connection: reply(400, b'{"message":"order 7 not found"}')) as server,
        client() as wire,
    ):
        with pytest.raises(RefusedError, match="http_400"):
            wire.send("GET", server.url, writes=False)
        with pytest.raises(RefusedError, match="http_400"):
            wire.send("POST", server.url, writes=True)
    assert not issubclass(RefusedError, RetryableError)
