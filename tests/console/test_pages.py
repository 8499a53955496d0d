"""Every page: there, small, quick, in both languages, and harmless whatever a buyer typed (promises.md S15)."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from typing import Any

import pytest

from pipeline.bootstrap import Hub
from pipeline.console_views import list_open, list_orders_page
from tests.console.desk import Desk
from tests.console.seeds import HOSTILE, order_document, post

pytestmark = pytest.mark.anyio

SMALL = 60 * 1024


def _paths(hub: Hub) -> list[str]:
    rows = list_open(hub).rows
    numbers = [row["number"] for row in list_orders_page(hub).rows]
    return [
        "/",
        "/exceptions",
        "/exceptions?state=snoozed",
        "/exceptions?state=resolved",
        "/exceptions?assignee=me",
        "/exceptions?code=phone_invalid&account=acme-api",
        "/exceptions?q=8000",
        "/orders",
        "/orders?status=pending_shipment&account=acme-api",
        "/orders?q=nothing-like-it",
        *(f"/exceptions?at={row['ref']}" for row in rows),
        *(f"/orders/{number}" for number in numbers),
    ]


async def test_every_page_is_there_and_small_in_both_languages(hub: Hub, clerk: Desk) -> None:
    for language in ("en", "zh"):
        await clerk.send("/preferences", {"lang": language})
        for path in _paths(hub):
            page = await clerk.text(path)
            assert len(page.encode()) <= SMALL, path
            assert f'<html lang="{"zh-CN" if language == "zh" else "en"}"' in page


async def test_fifty_rows_fit_a_small_quick_page(one_hub: Hub, desk: Desk) -> None:
    post(one_hub, [order_document(f"MANY-{i}", sku=f"NEW-{i}", buyer_message="早点发") for i in range(120)])
    await desk.log_in("clerk")
    for path in ("/exceptions", "/orders", "/orders?status=pending_shipment"):
        page = await desk.text(path)
        assert len(page.encode()) <= SMALL
        times = []
        for _ in range(5):
            began = time.perf_counter()
            await desk.text(path)
            times.append(time.perf_counter() - began)
        # 50 ms is the promise; a loaded machine runs other tests beside this one.
        assert min(times) < 0.1, (path, times)


async def test_a_list_goes_on_where_it_stopped_and_shows_every_row_once(one_hub: Hub, desk: Desk) -> None:
    post(one_hub, [order_document(f"MANY-{i}", sku="NEW") for i in range(115)])
    await desk.log_in("clerk")
    for path, pattern in (
        ("/exceptions?code=sku_unmapped", r'<tr data-ref="(\w+)"'),
        ("/orders", r'/orders/(PA-[\w-]+)"'),
    ):
        seen: list[str] = []
        following = path
        while following:
            page = await desk.text(following)
            seen += re.findall(pattern, page)
            found = re.search(r'rel="next" href="([^"]+)"', page)
            following = found[1].replace("&amp;", "&") if found else ""
        assert len(seen) == len(set(seen)) >= 116


async def test_an_order_is_found_by_whatever_people_read_out(hub: Hub, clerk: Desk) -> None:
    number = list_orders_page(hub, text="PO-FINE").rows[0]["number"]
    for text in (number, number.lower(), number.replace("-", ""), "PO-FINE"):
        answer = await clerk.get(f"/orders?q={text}")
        assert answer.headers["location"] == f"/orders/{number}"
    assert number in await clerk.text("/orders?q=8000")
    assert (await clerk.text("/exceptions?q=PO-PHONE")).count("<tr data-ref=") == 1


class _Nodes(HTMLParser):
    """What a browser would make of a page: elements and attributes, not text."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told: dict[str, Any] = dict(attrs)
        if tag == "script":
            self.scripts.append(told.get("src") or "")
        if tag in {"iframe", "object", "embed", "base", "style"}:
            self.faults.append(tag)
        self.faults += [f"{tag} {name}" for name in told if name.startswith("on") or name in {"style", "srcdoc"}]
        for name in ("href", "src", "action", "formaction"):
            target = told.get(name) or "/"
            if not target.startswith(("/", "#")) or target.startswith("//"):
                self.faults.append(f"{tag} {name}={target}")


async def test_what_a_buyer_types_is_text_on_every_page(hub: Hub, clerk: Desk) -> None:
    documents = []
    for index, text in enumerate(HOSTILE):
        ship_to = dict.fromkeys(
            ("name", "phone", "province", "city", "district", "town", "street", "postcode", "email"), text
        )
        order = order_document(
            f"BAD-{index} {text}", ship_to=ship_to, buyer_message=text, seller_memo=text, tags=[text]
        )
        order["lines"][0] |= {"sku": text, "title": text}
        documents.append(order)
    post(hub, documents)
    paths = _paths(hub) + [f"/orders?q={text}" for text in HOSTILE] + [f"/exceptions?q={text}&at=x" for text in HOSTILE]
    for path in paths:
        answer = await clerk.client.get(path, follow_redirects=True)
        nodes = _Nodes()
        nodes.feed(answer.text)
        assert not nodes.faults, (path, nodes.faults)
        assert [src.partition("?")[0] for src in nodes.scripts] == ["/static/console.js"], path
        assert "49" not in re.findall(r"\{\{ (\S+) \}\}", answer.text)
    shown = await clerk.text("/orders/" + list_orders_page(hub, text=f"BAD-4 {HOSTILE[4]}").rows[0]["number"])
    assert "{{ 7*7 }}${7*7}" in shown


async def test_an_order_says_why_and_why_not_in_both_languages(hub: Hub, clerk: Desk) -> None:
    numbers = {
        name: list_orders_page(hub, text=name).rows[0]["number"] for name in ("PO-REMARK", "PO-FINE", "PO-STOCK")
    }
    remark = f"/orders/{numbers['PO-REMARK']}"
    assert 'name="why"' in await clerk.text(remark)
    for language, same, hold in (
        ("en", "Decided again: the same", "A hold stops it."),
        ("zh", "重新决策: 结果相同", "被挂起。"),
    ):
        await clerk.send("/preferences", {"lang": language})
        page = await clerk.text(f"{remark}?why=release")
        assert same in page and hold in page and len(page.encode()) <= SMALL
        assert "<code>hold_remark</code>" in page
        assert "请发顺丰" not in page.partition('id="why-not"')[2].partition("</section>")[0]
    await clerk.send("/preferences", {"lang": "en"})
    assert "That is what was decided." in await clerk.text(f"/orders/{numbers['PO-FINE']}?why=warehouse&name=hz")
    assert "<code>hz|OUR-B</code>" in await clerk.text(f"/orders/{numbers['PO-STOCK']}?why=warehouse&name=hz")
    assert "Choose what to ask about" in await clerk.text(f"{remark}?why=rule&name=")
    assert "It was not known" in await clerk.text(f"{remark}?why=warehouse&name=<b>")
    assert (await clerk.get(f"{remark}?why=x&name=y")).status_code == 200


async def test_an_address_that_names_nothing_is_a_page_not_a_crash(clerk: Desk) -> None:
    for path in ("/exceptions?at=EX-NOPE", "/orders/PA-1", "/orders/%00", "/exceptions?after=zzz", "/orders?after=1"):
        assert (await clerk.get(path)).status_code == 404, path
    assert (await clerk.get("/nothing")).status_code == 404


async def test_counts_are_there_for_a_page_that_stays_open(hub: Hub, clerk: Desk) -> None:
    told = (await clerk.get("/exceptions/counts")).json()
    assert told["open"] == sum(told["codes"].values()) >= 6
    post(hub, [order_document("LATER", sku="NEW")])
    told = (await clerk.get("/exceptions/counts")).json()
    assert told["open"] >= 6


async def test_a_part_of_the_page_is_served_for_moving_on(clerk: Desk) -> None:
    ref = await clerk.ref_of("phone_invalid")
    part = (await clerk.get(f"/exceptions?at={ref}", **{"x-part": "detail"})).text
    assert part.lstrip().startswith("<article") and "<html" not in part and f'data-ref="{ref}"' in part
