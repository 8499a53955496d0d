"""Replies of a channel that are no page (promises.md §4 rows 6, 7, 9-12, 22, 59), and pages that mislead a cursor (rows 41-50):
a failure is never "no orders", the cursor stays where the stored rows are, a person hears of it, and nothing is lost."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors.standard import MAPPING
from normalizer.mapping import normalize
from pipeline.review import cancel_by_external
from storage import tables as t
from storage.times import micros
from tests.api.house import order
from tests.wire.loopback import Loopback, Seen, reply

from .hostile import Yard, codes, open_yard, serve, states
from .liars import NOW, Clock, Cut, Item, page
from .spoilt import Spoilt, good, spoil
from .wares import encoded, node

SHOPS = ("tb", "sf", "ve")
OLD = NOW - timedelta(minutes=45)


@cache
def bomb() -> bytes:
    """64 MiB of spaces in 64 KB."""
    return gzip.compress(b" " * 2**26, 9)


def twisted(body: bytes) -> bytes:
    return reply(200, body, Content_Type="application/json")


# (row, the reply to every call, the connector's error)
NO_PAGES: list[tuple[str, Callable[[], bytes | Cut], str]] = [
    ("6 bomb", lambda: reply(200, bomb(), Content_Encoding="gzip"), "decoded_too_large"),
    (
        "7 gzip a hundred times",
        lambda: reply(200, b"x", Content_Encoding=", ".join(["gzip"] * 100)),
        "encoding_refused",
    ),
    ("9 cut short", lambda: Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b" " * 2500), "truncated"),
    ("10 a page", lambda: reply(200, b"<html>login</html>", Content_Type="text/html"), "auth_or_maintenance"),
    ("12 empty", lambda: reply(200, b""), "empty_body"),
    ("12 nothing", lambda: b"HTTP/1.1 204 No Content\r\n\r\n", "empty_body"),
    ("22 byte order mark", lambda: twisted(b"\xef\xbb\xbf{}"), "encoding"),
    ("22 UTF-16", lambda: twisted("{}".encode("utf-16")), "encoding"),
    ("13 deep", lambda: twisted(b"[" * 100_000), "depth"),
    ("half a document", lambda: twisted(b'{"data":{"orders":{"nodes":[{"id":'), "json"),
    ("status inside", lambda: twisted(b'{"detail":"busy","status_code":500}'), "unexpected_reply"),
    ("error inside", lambda: twisted(b'{"error":"busy"}'), "unexpected_reply"),
    ("null", lambda: twisted(b"null"), "unexpected_reply"),
    ("a list", lambda: twisted(b"[]"), "unexpected_reply"),
]
THROTTLED = b'{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}]}'
LIMITED = {
    "tb": b'{"error_response":{"code":7,"msg":"call limited"}}',
    "sf": THROTTLED,
    "ve": THROTTLED,
}
NO_LIST = {
    "tb": b'{"trades_sold_increment_get_response":{}}',
    "sf": b'{"data":{"orders":null}}',
    "ve": b'{"data":{"orders":{"totalItems":3}}}',
}


def stock_up(yard: Yard, account: str, count: int, begin: datetime, *, step: float = 1.0, first: int = 0) -> list[Item]:
    made = [good(account, first + n, begin + timedelta(seconds=n * step)) for n in range(count)]
    yard.shops[account].shelf += made
    return made


@pytest.mark.parametrize("account", SHOPS)
def test_a_reply_that_is_no_page_is_a_failure_and_the_cursor_stays(
    account: str, database_url: str, tmp_path: Path
) -> None:
    with open_yard(database_url, tmp_path) as yard, Loopback(lambda _seen, _connection: reply(200)) as canary:
        shop, items = yard.shops[account], stock_up(yard, account, 3, OLD)
        told = [
            *NO_PAGES,
            ("11 limited", lambda: twisted(LIMITED[account]), "rate_limited"),
            ("no list", lambda: twisted(NO_LIST[account]), ""),
            ("59 elsewhere", lambda: reply(308, b"", Location=f"{canary.url}/x"), "redirect_refused"),
        ]
        before = yard.cursor(account)["watermark"]
        for at, (row, make, code) in enumerate(told):
            answer = make()
            shop.always = lambda seen, answer=answer: _served(yard, account, seen) if logs_in(seen) else answer
            assert yard.poll(account) == 0, row
            cursor = yard.cursor(account)
            assert (cursor["watermark"], cursor["failures"]) == (before, at + 1), row
            assert cursor["error"] and cursor["error"] == (code or cursor["error"]), row
            assert yard.orders(account) == {}
        assert canary.connections == 0
        assert yard.open_codes() == ["connection_failing"]
        shop.always = None
        assert yard.poll(account) == 3
        assert set(yard.orders(account)) == {item.id for item in items}
        assert (yard.cursor(account)["error"], yard.open_codes()) == ("", [])


@pytest.mark.parametrize("account", SHOPS)
def test_twenty_five_orders_of_one_second_over_pages_of_ten(account: str, database_url: str, tmp_path: Path) -> None:
    """Row 43, and again when reading stops after each page."""
    with open_yard(database_url, tmp_path, pages=10) as yard:
        items = stock_up(yard, account, 25, OLD, step=0)
        shop, whole = yard.shops[account], 0
        while yard.cursor(account)["error"] or not whole:
            # One call more than last time goes well, then the line is cut.
            shop.lies = [None] * 0
            calls = iter(range(whole + 1))
            shop.always = lambda seen, calls=calls: (
                _served(yard, account, seen) if next(calls, None) is not None else None
            )
            yard.poll(account)
            whole += 5
            assert whole < 500
        assert set(yard.orders(account)) == {item.id for item in items}


def _served(yard: Yard, account: str, seen: Seen) -> bytes | Cut | None:
    """The right answer although another is set."""
    shop = yard.shops[account]
    kept, shop.always = shop.always, None
    try:
        return serve(shop, seen)
    finally:
        shop.always = kept


@pytest.mark.parametrize("account", SHOPS)
def test_what_becomes_visible_late_is_found(account: str, database_url: str, tmp_path: Path) -> None:
    """Row 44: ten minutes late by the look-back of the poll, twelve hours late by the sweep."""
    with open_yard(database_url, tmp_path) as yard:
        yard.poll(account)
        soon, late = stock_up(yard, account, 2, NOW - timedelta(seconds=30))
        soon.visible, late.visible = NOW + timedelta(minutes=10), NOW + timedelta(hours=12)
        for _ in range(4):
            yard.clock.wait(minutes=3)
            yard.poll(account)
        assert set(yard.orders(account)) == {soon.id}
        yard.clock.wait(hours=11)
        yard.poll(account)
        yard.clock.wait(hours=1)
        if account != "ve":  # that channel looks at all open orders every time
            assert yard.poll(account) == 0
        yard.sweep()
        assert set(yard.orders(account)) == {soon.id, late.id}


def logs_in(seen: Seen) -> bool:
    return b"login(" in seen.body


def _loop_top(seen: Seen, items: list[Item]) -> bytes:
    form = seen.body.decode()
    if "refunds" in form:
        return reply(200, b'{"refunds_receive_get_response":{"total_results":0}}')
    if "fullinfo" in form:
        return reply(200, next(item.raw for item in items if item.id in form))
    if "use_has_next=false" in form:
        return reply(200, b'{"trades_sold_increment_get_response":{"total_results":60}}')
    rows = b",".join(item.row for item in items)
    return reply(200, b'{"trades_sold_increment_get_response":{"has_next":true,"trades":{"trade":[' + rows + b"]}}}")


@pytest.mark.parametrize("account", SHOPS)
def test_a_page_that_comes_again_and_again_stops_the_reading(account: str, database_url: str, tmp_path: Path) -> None:
    """Row 45: stop after three repeats, tell a person, and do not move past what was stored."""
    with open_yard(database_url, tmp_path) as yard:
        shop, items = yard.shops[account], stock_up(yard, account, 20, OLD)
        rest = stock_up(yard, account, 5, OLD + timedelta(minutes=1), first=100)
        body = b",".join(item.raw for item in items)
        answers: dict[str, Callable[[Seen], bytes]] = {
            "tb": lambda seen: _loop_top(seen, items),
            "sf": lambda _seen: reply(200, page(items, has_next=True, cursor="20")),
            "ve": lambda _seen: reply(200, b'{"data":{"orders":{"totalItems":99,"items":[%s]}}}' % body),
        }
        shop.always = lambda seen: _served(yard, account, seen) if logs_in(seen) else answers[account](seen)
        for _ in range(3):
            asked = len(shop.asked)
            yard.poll(account)
            assert len(shop.asked) - asked < 40
        cursor = yard.cursor(account)
        assert cursor["error"] == ("count_mismatch" if account == "tb" else "paging_loop")
        assert cursor["watermark"] <= micros(items[-1].at)
        assert yard.open_codes() == ["connection_failing"]
        shop.always = None
        yard.poll(account)
        assert set(yard.orders(account)) == {item.id for item in items + rest}


def test_one_empty_page_that_promises_more_is_believed_two_are_not(database_url: str, tmp_path: Path) -> None:
    """Row 46."""
    with open_yard(database_url, tmp_path) as yard:
        shop, items = yard.shops["sf"], stock_up(yard, "sf", 3, OLD)
        empty = reply(200, page([], has_next=True, cursor="0"))
        before = yard.cursor("sf")["watermark"]
        shop.lies = [empty, reply(200, page([], has_next=True, cursor="00"))]
        assert yard.poll("sf") == 0
        assert (yard.cursor("sf")["error"], yard.cursor("sf")["watermark"]) == ("paging_empty", before)
        shop.lies = [empty]
        yard.poll("sf")
        assert set(yard.orders("sf")) == {item.id for item in items}


@pytest.mark.parametrize("account", ["tb", "ve"])
def test_fewer_rows_than_the_source_counts_do_not_move_the_cursor(
    account: str, database_url: str, tmp_path: Path
) -> None:
    """Row 46: what came is stored all the same."""
    with open_yard(database_url, tmp_path) as yard:
        shop, items = yard.shops[account], stock_up(yard, account, 5, OLD)
        before = yard.cursor(account)["watermark"]

        def three(seen: Seen) -> bytes | Cut | None:
            counts = b"use_has_next=false" in seen.body or b"fullinfo" in seen.body or logs_in(seen)
            shop.shelf = items if counts else items[:3]
            told = _served(yard, account, seen)
            assert isinstance(told, bytes)
            return told if account == "tb" else _recounted(told)

        shop.always = three
        yard.poll(account)
        assert (yard.cursor(account)["error"], yard.cursor(account)["watermark"]) == ("count_mismatch", before)
        assert set(yard.orders(account)) == ({item.id for item in items[:3]} if account == "tb" else set())
        shop.always, shop.shelf = None, items
        yard.poll(account)
        assert set(yard.orders(account)) == {item.id for item in items}
        assert yard.cursor(account)["watermark"] > before


def _recounted(told: bytes) -> bytes:
    body = told.partition(b"\r\n\r\n")[2].replace(b'"totalItems":3', b'"totalItems":5')
    return reply(200, body, vendure_auth_token="t0ken-t0ken")


@pytest.mark.parametrize("account", SHOPS)
def test_orders_that_come_and_change_while_pages_are_read_are_not_missed(
    account: str, database_url: str, tmp_path: Path
) -> None:
    """Row 47: between any two pages one order is new, one changes, one is gone for good."""
    with open_yard(database_url, tmp_path, pages=10) as yard:
        shop, items = yard.shops[account], stock_up(yard, account, 60, OLD)
        gone: set[str] = set()
        numbers = iter(range(1000, 1012))

        def meanwhile() -> None:
            number = next(numbers, None)
            if number is None:
                return
            shop.shelf.append(good(account, number, yard.clock.at))
            moved = items[(number - 1000) * 5 % 60]
            moved.at = yard.clock.at  # it leaves its place and is newest now
            victim = items[(number - 1000) * 5 % 60 + 1]
            if victim in shop.shelf:
                shop.shelf.remove(victim)
                gone.add(victim.id)

        shop.meanwhile = meanwhile
        for _ in range(6):
            yard.clock.wait(seconds=20)
            yard.poll(account)
        assert gone and {item.id for item in shop.shelf} <= set(yard.orders(account))
        assert yard.cursor(account)["error"] == ""


def test_two_versions_of_an_order_newest_wins_whatever_came_first(database_url: str, tmp_path: Path) -> None:
    """Rows 48 and 49: on one page, and an older version after a newer one. All are recorded."""
    with open_yard(database_url, tmp_path) as yard:
        shop = yard.shops["sf"]
        new = encoded(node("1", OLD + timedelta(minutes=5)) | {"email": "new@example.com"})
        old = encoded(node("1", OLD) | {"email": "old@example.com", "displayFinancialStatus": "PENDING"})
        ident = "gid://shopify/Order/1"
        shop.shelf = [*stock_up(yard, "sf", 9, OLD, first=10), Item(ident, new, OLD), Item(ident, old, OLD)]
        yard.poll("sf")
        older = encoded(node("1", OLD - timedelta(minutes=5)) | {"cancelledAt": "2026-11-21T11:00:00Z"})
        shop.shelf.append(Item(ident, older, yard.clock.at))
        yard.clock.wait(seconds=2)
        yard.poll("sf")
        order = yard.orders("sf")[ident]
        assert (order.private["buyer_id"], order.order["status"]) == ("new@example.com", "pending_shipment")
        assert states(order) == ["ready"]
        told = yard.rows(t.inbox, t.inbox.c.external_id == ident)
        assert [row["state"] for row in told] == ["done", "stale", "stale"]
        stale = yard.rows(t.events, t.events.c.order_id == order.id, t.events.c.kind == "stale_version")
        assert len(stale) == 2


def test_a_cancel_before_its_order_leaves_nothing_to_push(database_url: str, tmp_path: Path) -> None:
    """Row 50: by a tombstone, and by an order that is first seen cancelled."""
    with open_yard(database_url, tmp_path) as yard:
        early, closed, fine = stock_up(yard, "sf", 3, OLD)
        cancel_by_external(yard.hub, yard.id_of("sf"), early.id, actor="partner", why="cancelled")
        closed.raw = spoil("sf", 1, OLD, Spoilt("", {"cancelledAt": "2026-11-21T11:20:00Z"}, "")).raw
        yard.poll("sf")
        yard.push(2)
        orders = yard.orders("sf")
        assert [orders[item.id].order["status"] for item in (early, closed, fine)] == [
            "closed",
            "closed",
            "pending_shipment",
        ]
        assert [states(orders[item.id]) for item in (early, closed, fine)] == [[], [], ["accepted"]]
        assert yard.wms.count("deliveryorder.create") == 1


def test_a_time_nobody_can_have_does_not_carry_the_cursor_away(database_url: str, tmp_path: Path) -> None:
    """Row 41: the last order of a page says 2099 and the next page fails for hours. Its orders are found without a sweep."""
    with open_yard(database_url, tmp_path) as yard:
        items = stock_up(yard, "sf", 40, OLD)
        items[19].raw = encoded(node("19", items[19].at) | {"updatedAt": "2099-01-01T00:00:00Z"})
        first = reply(200, page(items[:20], has_next=True, cursor="20"))
        for _ in range(4):
            yard.shops["sf"].lies = [first]
            yard.shops["sf"].always = lambda _seen: reply(503, b"")
            yard.poll("sf")
            assert yard.cursor("sf")["watermark"] <= micros(items[20].at)
        yard.shops["sf"].always = None
        yard.clock.wait(hours=2)
        yard.poll("sf")
        assert set(yard.orders("sf")) == {item.id for item in items if item is not items[19]}
        assert [row["error"] for row, _, _ in yard.unread("sf")] == ["time"]


@pytest.mark.parametrize(
    ("told", "instant"),
    [
        ("2026-03-08 02:30:00", "2026-03-08T07:30:00+00:00"),  # in the gap: read with the offset before it
        ("2026-11-01 01:30:00", "2026-11-01T05:30:00+00:00"),  # in the overlap: its first occurrence
        ("2026-11-01T01:30:00-05:00", "2026-11-01T06:30:00+00:00"),  # the zone is told: the second one
        ("2026-07-01 12:00:00", "2026-07-01T16:00:00+00:00"),
    ],
)
def test_a_local_time_is_one_instant_in_the_declared_zone(told: str, instant: str) -> None:
    """Row 42."""
    document = order("1", placed_at=told, updated_at=told)
    read = normalize(document, MAPPING, zone=ZoneInfo("America/New_York"), now=NOW)
    assert read.placed_at.isoformat() == read.source_time.isoformat() == instant


def test_the_hubs_own_zone_changes_nothing_when_its_clocks_go_back(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 42: an order every ten minutes while New York's 01:00-02:00 comes twice. None skipped, none double."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        with open_yard(sqlite_url, tmp_path) as yard:
            clock: Clock = yard.clock
            clock.at = datetime.fromisoformat("2026-11-01T05:00:00+00:00")
            with yard.hub.write() as tx:
                tx.execute(t.cursors.update().values(watermark=micros(clock.at)))
            for number in range(14):
                for account in SHOPS:
                    yard.shops[account].shelf.append(good(account, number, clock.at + timedelta(seconds=10)))
                clock.wait(minutes=10)
                yard.poll(*SHOPS)
            for account in SHOPS:
                assert set(yard.orders(account)) == {item.id for item in yard.shops[account].shelf}
                assert all(codes(order) == [] for order in yard.orders(account).values())
            assert len(yard.rows(t.inbox)) == 42
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_hint_that_cannot_be_followed_does_not_stop_the_poll(database_url: str, tmp_path: Path) -> None:
    """A webhook names an order whose detail is unreadable, and one that the shop refuses."""
    with open_yard(database_url, tmp_path) as yard:
        bad = spoil("sf", 1, OLD, Spoilt("", {"x": "y"}, ""))
        bad.raw = bad.raw.replace(b'"x": "y"', b'"x": NaN')
        yard.shops["sf"].shelf = [bad, *stock_up(yard, "sf", 2, OLD, first=5)]
        account = yard.id_of("sf")

        def hint(*names: str) -> None:
            rows: list[dict[str, Any]] = [
                {"account_id": account, "external_id": name, "due_at": 0, "attempts": 0} for name in names
            ]
            with yard.hub.write() as tx:
                tx.execute(t.hints.insert(), rows)

        hint(bad.id, "gid://shopify/Order/6")
        for _ in range(6):
            yard.poll("sf")
            assert yard.cursor("sf")["error"] == ""
            yard.clock.wait(minutes=2)
        assert yard.rows(t.hints) == []
        assert len(yard.orders("sf")) == 2 and [row["error"] for row, _, _ in yard.unread("sf")] == ["number"]
