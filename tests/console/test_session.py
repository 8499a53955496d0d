"""Who gets in, for how long, and what ends it (promises.md S13)."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from pipeline.access import revoke_key
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub
from tests.console.desk import Desk, sit_down
from tests.console.seeds import KEYS, NOW

pytestmark = pytest.mark.anyio


async def test_nobody_sees_a_page_without_logging_in(desk: Desk) -> None:
    for path in ("/", "/exceptions", "/orders", "/orders/PA-1", "/exceptions/counts"):
        answer = await desk.get(path)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")


async def test_a_staff_key_opens_the_console_and_leads_back(desk: Desk) -> None:
    answer = await desk.send("/login", {"key": KEYS["clerk"], "next": "/orders?status=shipped"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/orders?status=shipped")
    assert (await desk.get("/")).status_code == 200


@pytest.mark.parametrize("key", ["", "hub_nobody_knows_this_key_000", KEYS["partner"], "\ud800" * 3, "x" * 5000])
async def test_any_other_key_is_turned_away(desk: Desk, key: str) -> None:
    answer = await desk.send("/login", {"key": key.encode("utf-8", "replace").decode()})
    assert answer.status_code == 401
    assert (await desk.get("/")).status_code == 303


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
async def test_logging_in_never_leads_to_another_site(desk: Desk, path: str) -> None:
    answer = await desk.send("/login", {"key": KEYS["clerk"], "next": path})
    assert answer.headers["location"] == "/"


async def test_a_session_planted_before_logging_in_is_worth_nothing(desk: Desk) -> None:
    await desk.get("/login")
    planted = desk.client.cookies["hub"]
    await desk.log_in("clerk")
    assert desk.client.cookies["hub"] != planted
    desk.client.cookies.set("hub", planted, domain="console.test")
    assert (await desk.get("/")).status_code == 303


async def test_a_session_ends_after_half_an_hour_without_use(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("clerk")
    one_hub.clock = lambda: NOW + timedelta(minutes=29)
    assert (await desk.get("/")).status_code == 200
    one_hub.clock = lambda: NOW + timedelta(minutes=58)
    assert (await desk.get("/")).status_code == 200
    one_hub.clock = lambda: NOW + timedelta(minutes=89)
    assert (await desk.get("/")).status_code == 303


async def test_a_session_ends_after_twelve_hours_whatever_happens(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("clerk")
    for minutes in range(0, 12 * 60, 25):
        one_hub.clock = lambda at=minutes: NOW + timedelta(minutes=at)  # type: ignore[misc]
        assert (await desk.get("/orders")).status_code == 200
    one_hub.clock = lambda: NOW + timedelta(hours=12)
    assert (await desk.get("/")).status_code == 303


async def test_signing_out_ends_the_session_for_every_copy_of_its_cookie(desk: Desk) -> None:
    await desk.log_in("clerk")
    copied = desk.client.cookies["hub"]
    assert (await desk.send("/logout", {})).status_code == 303
    desk.client.cookies.set("hub", copied, domain="console.test")
    assert (await desk.get("/")).status_code == 303


@pytest.mark.parametrize("scope", ["read", "clerk", "admin"])
async def test_a_key_that_names_a_partner_opens_no_console_whatever_its_scope(
    hub: Hub, clerk: Desk, scope: str
) -> None:
    narrow = {"name": "narrow", "key": "hub_narrow_key_00000000000000", "scope": scope, "partner": "acme"}
    apply_values(hub, {"keys": [narrow]})
    assert (await sit_down(hub).send("/login", {"key": narrow["key"]})).status_code == 401
    assert (await clerk.get("/")).status_code == 200
    apply_values(hub, {"keys": [narrow | {"name": "clerk", "key": KEYS["clerk"]}]})
    assert (await clerk.get("/")).status_code == 303


async def test_a_revoked_key_ends_its_sessions_at_once(hub: Hub, clerk: Desk) -> None:
    revoke_key(hub, "clerk")
    assert (await clerk.get("/")).status_code == 303


async def test_a_cookie_made_elsewhere_or_changed_is_nobody(desk: Desk) -> None:
    await desk.log_in("clerk")
    good = desk.client.cookies["hub"]
    for forged in (good[:5] + ("A" if good[5] != "A" else "B") + good[6:], good.split(".")[0], "x.y", "", "a" * 5000):
        desk.client.cookies.set("hub", forged, domain="console.test")
        assert (await desk.get("/")).status_code == 303


async def test_cookies_are_out_of_reach_and_bound_to_the_host_over_https(one_hub: Hub, desk: Desk) -> None:
    plain = (await desk.get("/login")).headers["set-cookie"].lower()
    assert plain.startswith("hub=") and "httponly" in plain and "samesite=lax" in plain and "secure" not in plain
    secure = sit_down(one_hub, scheme="https")
    answer = await secure.get("/login")
    told = answer.headers["set-cookie"]
    assert told.startswith("__Host-hub=") and "Secure" in told and "Path=/" in told and "Domain" not in told
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    await secure.client.aclose()


async def test_a_page_that_only_counts_keeps_no_session_alive(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("clerk")
    for minutes in range(29):
        one_hub.clock = lambda at=minutes: NOW + timedelta(minutes=at)  # type: ignore[misc]
        assert (await desk.get("/exceptions/counts")).status_code == 200
    one_hub.clock = lambda: NOW + timedelta(minutes=31)
    assert (await desk.get("/exceptions/counts")).status_code == 303


async def test_an_open_demo_signs_in_whoever_sits_at_this_machine_and_nobody_else(one_hub: Hub, desk: Desk) -> None:
    one_hub.settings = one_hub.settings.model_copy(update={"console_open": True})
    for host, status in (("localhost:8000", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("console.test", 303)):
        assert (await desk.get("/", host=host)).status_code == status
        desk.client.cookies.clear()
    away = sit_down(one_hub, client=("192.0.2.7", 5))
    assert (await away.get("/", host="localhost")).status_code == 303
    await away.client.aclose()


async def test_the_demo_can_act(one_hub: Hub, desk: Desk) -> None:
    one_hub.settings = one_hub.settings.model_copy(update={"console_open": True})
    desk.client.base_url = httpx.URL("http://localhost")
    answer = await desk.send("/preferences", {"lang": "zh", "back": "/"}, origin="http://localhost")
    assert answer.status_code == 303
    assert 'lang="zh-CN"' in await desk.text("/")
