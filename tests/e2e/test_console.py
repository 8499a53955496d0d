"""The console in a real browser: what a person at a queue does all day, by keyboard, by mouse, and without scripts."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, expect

from console.app import create_console
from pipeline.bootstrap import Hub, close_hub
from pipeline.console_details import order_detail
from pipeline.console_views import list_open, list_orders_page
from pipeline.rulesets import replay_version, write_draft
from tests.console.seeds import HOSTILE, KEYS, STOPPED, broken_document, furnish, make_hub, order_document, post


@dataclass(frozen=True, slots=True)
class Site:
    """A console that listens on loopback, and the hub behind it."""

    url: str
    hub: Hub

    def order(self, external_id: str) -> dict[str, object]:
        return order_detail(self.hub, list_orders_page(self.hub, text=external_id).rows[0]["number"])


@contextlib.contextmanager
def _serve(hub: Hub) -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_console(hub), log_level="error", lifespan="off", server_header=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        end = time.monotonic() + 10
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def site(sqlite_url: str, tmp_path: Path) -> Iterator[Site]:
    """A console with one exception of each kind."""
    hub = make_hub(sqlite_url, tmp_path, now=datetime.now(UTC))
    hub.clock = lambda: datetime.now(UTC)
    furnish(hub)
    post(hub, list(STOPPED.values()))
    post(hub, [broken_document("PO-BAD")])
    with _serve(hub) as url:
        yield Site(url, hub)
    close_hub(hub)


def _watch(page: Page) -> list[str]:
    """Whatever a page does that ours never do: dialogs, script errors, refused content."""
    seen: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        seen.append(f"dialog {dialog.message}")
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("pageerror", lambda error: seen.append(f"error {error}"))
    page.on("console", lambda message: seen.append(message.text) if message.type == "error" else None)
    return seen


def _log_in(page: Page, site: Site, who: str = "clerk", path: str = "/exceptions") -> None:
    page.goto(f"{site.url}{path}")
    page.get_by_label("API key").fill(KEYS[who])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site.url}{path}")


def test_a_clerk_clears_exceptions_by_keyboard(site: Site, page: Page) -> None:
    seen = _watch(page)
    _log_in(page, site)
    current = page.locator('tr[aria-current="true"]')
    detail = page.locator("article.detail")
    expect(detail.locator("h2")).to_have_text("Region is not known")
    page.keyboard.press("j")
    expect(detail.locator("h2")).to_have_text("Address is incomplete")
    page.keyboard.press("k")
    expect(detail.locator("h2")).to_have_text("Region is not known")
    expect(detail.locator("ins")).to_have_text("两江新区")
    page.keyboard.press("a")
    expect(page.get_by_role("status")).to_contain_text("Resolved.")
    expect(current).to_contain_text("Address is incomplete")  # the next one, without asking
    page.keyboard.press("2")
    expect(page.get_by_role("status")).to_contain_text("Resolved.")
    assert site.order("PO-REGION")["consignee"]["district"] == "两江新区"  # type: ignore[index]
    assert site.order("PO-CHOICE")["consignee"]["city"] == "徐州市"  # type: ignore[index]
    assert not seen


def test_a_field_is_fixed_in_place_and_typing_survives_moving_away(site: Site, page: Page) -> None:
    _log_in(page, site)
    page.locator("tr").get_by_role("link", name="Phone number is not valid").click()
    detail = page.locator("article.detail")
    expect(detail.locator("h2")).to_have_text("Phone number is not valid")
    page.keyboard.press("e")
    field = detail.locator('input[name="fix:consignee.phone"]')
    expect(field).to_be_focused()
    page.keyboard.type("13912345678")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(detail.locator("h2")).to_have_text("SKU has no mapping")
    page.keyboard.press("k")
    expect(field).to_have_value("13912345678")
    detail.get_by_role("button", name="Save and check again").click()
    expect(page.get_by_role("status")).to_contain_text("Resolved.")
    assert site.order("PO-PHONE")["consignee"]["phone"] == "139****5678"  # type: ignore[index]


def test_many_are_selected_and_done_at_once_with_a_result_each(site: Site, page: Page) -> None:
    _log_in(page, site)
    bar = page.locator("#bulk")
    expect(bar).to_be_hidden()
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(bar.locator("[data-selected]")).to_have_text("2")
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()
    page.get_by_label("Select all").check()
    bar.get_by_role("button", name="Release").click()
    results = page.locator(".results li")
    expect(results).to_have_count(7)
    expect(results.filter(has_text="Resolved.")).not_to_have_count(0)
    expect(results.filter(has_text="cannot be waved through")).to_have_count(2)


def test_search_and_help_are_one_key_away(site: Site, page: Page) -> None:
    _log_in(page, site)
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("PO-FINE")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing waits here.")).to_be_visible()
    page.goto(f"{site.url}/orders")
    page.keyboard.press("/")
    page.keyboard.type("PO-FINE")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("PA-")
    expect(page.get_by_text("log is whole")).to_be_visible()


_TIME_MOVES = """async () => {
    const pane = document.querySelector("[data-pane]"), times = [];
    const change = () => new Promise((done) =>
        new MutationObserver((_, me) => { me.disconnect(); done(); }).observe(pane, { childList: true }));
    for (let i = 0; i < 5; i++) {
        const began = performance.now(), changed = change();
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
        await changed;
        times.push(performance.now() - began);
    }
    return Math.min(...times);
}"""


def test_the_next_detail_is_there_at_once(site: Site, page: Page) -> None:
    _log_in(page, site)
    took = page.evaluate(_TIME_MOVES)
    assert took < 100


def test_a_new_exception_shows_within_a_second_or_so(site: Site, page: Page) -> None:
    _log_in(page, site)
    count = page.locator('.tabs [data-count="open"]')
    before = int(count.inner_text())
    page.wait_for_timeout(1_200)  # one count of what is shown
    post(site.hub, [order_document("LATER", sku="NEW-1")])
    expect(count).to_have_text(str(before + 1), timeout=2_500)
    expect(page.get_by_role("link", name="New ones")).to_be_visible()


def test_everything_works_without_scripts(site: Site, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    _log_in(page, site)
    page.locator("tr").get_by_role("link", name="Buyer or seller left a remark").click()
    page.locator("article.detail").get_by_role("button", name="Release").click()
    expect(page.get_by_role("status")).to_contain_text("Resolved.")
    page.locator("tr").get_by_role("link", name="Phone number is not valid").click()
    page.locator('input[name="fix:consignee.phone"]').fill("13912345678")
    page.get_by_role("button", name="Save and check again").click()
    expect(page.get_by_role("status")).to_contain_text("Resolved.")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name="异常队列")).to_be_visible()
    page.get_by_role("button", name="退出").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("登录")
    context.close()


def test_what_a_buyer_typed_never_runs(site: Site, page: Page) -> None:
    for index, text in enumerate(HOSTILE):
        ship_to = dict.fromkeys(("name", "phone", "province", "city", "district", "street"), text)
        order = order_document(f"BAD-{index}", ship_to=ship_to, buyer_message=text, seller_memo=text, tags=[text])
        order["lines"][0] |= {"sku": text, "title": text}
        post(site.hub, [order])
    seen = _watch(page)
    page.add_init_script(
        "window.hits = []; addEventListener('securitypolicyviolation', (e) => hits.push(e.violatedDirective))"
    )
    _log_in(page, site, "admin", "/")
    paths = [f"/exceptions?at={row['ref']}" for row in list_open(site.hub).rows if row["order"]][-10:]
    paths += [f"/orders/{row['number']}" for row in list_orders_page(site.hub, limit=5).rows]
    for path in ["/", "/exceptions", "/orders", *paths]:
        page.goto(f"{site.url}{path}")
        assert page.evaluate("hits") == []
        assert page.locator("script").count() == 1
    assert not seen


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_is_accessible(site: Site, page: Page, language: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{site.url}/login")
    _check(page, "/login")
    _log_in(page, site, "admin", "/")
    if language == "zh":
        page.get_by_role("button", name="中文").click()
    number = list_orders_page(site.hub, text="PO-REMARK").rows[0]["number"]
    paths = ["/", "/orders", f"/orders/{number}", "/exceptions?state=snoozed", "/exceptions?at=EX-NOPE"]
    hold = {"id": "r", "phase": "hold", "when": {"all": []}, "then": {"hold": "hold_flag"}}
    write_draft(site.hub, json.dumps({"version": "v1", "rules": [hold]}).encode(), actor="key:li")
    replay_version(site.hub, "v1", actor="key:li", last=100)
    write_draft(site.hub, b'{"version": "v2", "rules": [{}]}', actor="key:li")
    paths += ["/rules", "/rules/v1", "/rules/v2"]
    paths += [f"/exceptions?at={row['ref']}" for row in list_open(site.hub, limit=2).rows]
    for path in paths:
        page.goto(f"{site.url}{path}")
        _check(page, path, light=language == "en")
    if language == "zh":
        return  # the same pages, narrower: nothing more to find
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/exceptions", paths[-1], f"/orders/{number}"):
        page.goto(f"{site.url}{path}")
        _check(page, f"{path} on a phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def _check(page: Page, path: str, *, light: bool = False) -> None:
    """Everything in dark; in light what colours change."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    for scheme, options in (("dark", None), ("light", {"runOnly": ["color-contrast"]}))[: 1 + light]:
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
        found = Axe().run(page, options=options)
        assert found.violations_count == 0, f"{path} {scheme}: {found.generate_report()}"
