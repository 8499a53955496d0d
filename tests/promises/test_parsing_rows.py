"""Rows 13-17, 22 and 24-26 of promises.md §4 where the tests of the rooms do not look: in the middle of a batch, on every page
that shows an order, over a whole page of a channel, and from a process that has no network."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import pytest
from typer.testing import CliRunner

from console.app import create_console
from hub import app as command_line
from pipeline.access import make_key
from storage import tables as t
from storage.inbox import open_body
from tests.api.house import KEYS, House, encoded, order
from tests.api.test_bad_orders import REFUSED
from tests.journeys.hostile import open_yard
from tests.journeys.liars import NOW, Shop
from tests.journeys.spoilt import good
from tests.wire.loopback import Seen, reply

from .processes import run_python

OLD = NOW - timedelta(minutes=10)


def test_one_document_that_is_no_json_harms_no_neighbour_in_its_batch(house: House) -> None:
    """Rows 13-16 and 22: in the middle of twenty; the corrected one is taken afterwards."""
    bad = [
        entry
        for entry in REFUSED
        if entry[2] == 400 and entry[1] and "BOM" not in entry[0] and "UTF-16" not in entry[0]
    ]
    assert {row.split()[0] for row, *_ in bad} >= {"13", "14", "15", "16", "22"}
    for at, (row, body, status, code) in enumerate(bad):
        around = [encoded(order(f"PO-{at}-{number}")) for number in range(19)]
        told = b'{"orders":[' + b",".join([*around[:10], body, *around[10:]]) + b"]}"
        answer = house.post(told, f"batch-{at}", path="/v1/orders:batch").json()
        assert (answer["stored"], answer["refused"]) == (19, 1), (row, answer)
        one = answer["results"][10]
        assert (one["status"], one["problem"]["code"]) == (status, code), row
        assert house.post(told, f"batch-{at}", path="/v1/orders:batch").json() == answer
        with house.hub.read() as tx:
            kept = [dict(found) for found in tx.execute(t.inbox.select().order_by(t.inbox.c.id)).mappings()]
        unread = [found for found in kept if found["state"] == "exception"]
        assert open_body(house.hub.vault, max(unread, key=lambda found: found["id"])) == body, row
        assert len(unread) == at + 1
    assert house.post(order("PO-bad"), "cured").status_code == 201


BIG = "3141592653589793238"


def test_a_number_above_what_javascript_holds_is_shown_to_the_last_digit(
    sqlite_url: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 17: API, list, batch, command line, console. Nowhere a JSON number, which a browser would round."""
    assert house.post(encoded(order("@")).replace(b'"@"', BIG.encode()), "k").status_code == 201
    one = b'{"orders":[' + encoded(order("@")).replace(b'"@"', BIG[::-1].encode()) + b"]}"
    assert house.post(one, "b", path="/v1/orders:batch").json()["results"][0]["order"]["external_id"] == BIG[::-1]
    for path in ("/v1/orders", f"/v1/orders/by-external/acme-api/{BIG}"):
        text = house.call("GET", path).text
        assert f'"{BIG}"' in text and not re.search(r"[:\[,]\s*\d{16,}", text), path
    pages = asyncio.run(_pages(house))
    assert all(BIG in page for page in pages)
    # The only numbers a script could read are attributes and texts: there is no inline script at all.
    assert not any(re.search(r"<script(?![^>]*\bsrc=)", page) for page in pages)
    monkeypatch.setenv("DATABASE_URL", house.hub.settings.url)
    monkeypatch.setenv("HUB_KEY", KEYS)
    monkeypatch.setenv("HUB_DATA", str(house.hub.settings.data_folder))
    printed = CliRunner().invoke(command_line, ["orders", "--json"])
    assert printed.exit_code == 0, printed.output
    assert {row["external_id"] for row in json.loads(printed.stdout)["rows"]} == {BIG, BIG[::-1]}


async def _pages(house: House) -> list[str]:
    """The list and the page of the order, as a clerk's browser gets them."""
    make_key(house.hub, "li", "clerk")
    number = house.app.state.hub and (await _list(house))[BIG]
    transport = httpx.ASGITransport(app=create_console(house.hub))
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test") as browser:
        form = (await browser.get("/login")).text
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', form)
        assert found is not None
        told = {"csrf": found.group(1), "key": house.keys["clerk"], "next": "/"}
        headers = {"origin": "https://console.test", "sec-fetch-site": "same-origin"}
        assert (await browser.post("/login", data=told, headers=headers)).status_code == 303
        pages = [await browser.get(path) for path in ("/orders", f"/orders?q={BIG}", f"/orders/{number}")]
    assert {page.status_code for page in pages} <= {200, 303}
    return [page.text for page in pages if page.status_code == 200]


async def _list(house: House) -> dict[str, str]:
    async with house.client("admin") as client:
        shown = (await client.get("/v1/orders")).json()["orders"]
    return {row["external_id"]: row["number"] for row in shown}


@pytest.mark.parametrize("account", ["tb", "sf", "ve"])
def test_a_whole_page_in_another_encoding_is_no_order_and_never_mojibake(
    account: str, database_url: str, tmp_path: Path
) -> None:
    """Row 22: good orders labelled UTF-8, under a byte order mark and in UTF-16: no page, the cursor stays, a person hears of it.
    In GBK, where a record still has an end: an exception each, with its bytes. When the source speaks UTF-8 again every order is
    there; an exception whose order could not even be named is dismissed by a person."""
    with open_yard(database_url, tmp_path) as yard:
        shop = yard.shops[account]
        shop.shelf = [good(account, number, OLD + timedelta(seconds=number)) for number in range(5)]
        before = yard.cursor(account)["watermark"]
        for encode in (lambda text: b"\xef\xbb\xbf" + text.encode(), lambda text: text.encode("utf-16")):
            shop.always = _spoken(shop, encode)
            yard.poll(account)
            cursor = yard.cursor(account)
            assert (cursor["error"], cursor["watermark"], yard.rows(t.inbox)) == ("encoding", before, [])
        yard.poll(account)
        assert yard.open_codes() == ["connection_failing"]
        shop.always = _spoken(shop, lambda text: text.encode("gbk"))
        yard.poll(account)
        assert yard.orders(account) == {}
        assert [(row["error"], "张三".encode("gbk") in body) for row, body, _ in yard.unread(account)] == [
            ("encoding", True)
        ] * 5
        assert yard.open_codes() == ["encoding"] * 5
        shop.always = None
        yard.clock.wait(minutes=1)
        yard.poll(account)
        assert set(yard.orders(account)) == {item.id for item in shop.shelf}
        assert {order.private["consignee"]["name"] for order in yard.orders(account).values()} == {"张三"}
        for exception in yard.rows(t.exceptions, t.exceptions.c.state == "open"):
            assert account != "tb" and ":unreadable-" in exception["subject"]
            assert yard.review(exception, "dismiss").status == "rejected"
        assert yard.open_codes() == []


def _spoken(shop: Shop, encode: Callable[[str], bytes]) -> Callable[[Seen], bytes]:
    """The right answers in another encoding, labelled UTF-8."""

    def spoken(seen: Seen) -> bytes:
        body = _right(shop, seen)
        told = body if b"login(" in seen.body else encode(body.decode())
        return reply(200, told, Content_Type="application/json; charset=utf-8", vendure_auth_token="t0ken-t0ken")

    return spoken


def _right(shop: Shop, seen: Seen) -> bytes:
    text = seen.body.decode()
    return shop.top(dict(parse_qsl(text))) if text.startswith("method=") else shop.graph(json.loads(text))


# Every look at a file or at the network goes through an audit hook of the interpreter; expat is C and would not, so the process
# also stands in a network of its own without any device that is up, and counts what left.
HOSTILE_XML = r"""
import ctypes, json, os, sys, time

alone = ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0 if sys.platform == "linux" else False
from domain.errors import MappingError
from outbound._qimen_news import read_news
from wire.safe_xml import parse

seen = []
def hook(event, told):
    if event.startswith("socket.") or event in {"open", "os.open", "urllib.Request", "subprocess.Popen"}:
        seen.append(f"{event} {told[:2]}")

def packets():
    lines = open("/proc/net/dev").read().splitlines()[2:]
    return sum(int(line.split(":")[1].split()[9]) for line in lines)

LAUGHS = "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9))
BODIES = {
    "24 file": '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>',
    "24 parameter entity": '<!DOCTYPE r [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><r/>',
    "25 billion laughs": f"<!DOCTYPE r [<!ENTITY a 'ha'>{LAUGHS}]><r>&j;</r>",
    "26 external": '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><r/>',
    "26 public": '<!DOCTYPE r PUBLIC "-//W3C//DTD XHTML 1.0//EN" "http://example.com/x.dtd"><r>&nbsp;</r>',
    "26 parameter": '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://example.com/x.dtd"> %p;]><r/>',
}
before, told = packets(), {}
sys.addaudithook(hook)
for name, text in BODIES.items():
    best = 9.0
    for reader in (parse, read_news) * 3:
        began = time.thread_time()
        try:
            reader(text.encode())
            told[name] = "taken"
        except MappingError as error:
            told.setdefault(name, error.code)
        best = min(best, time.thread_time() - began)
    told[name] += "" if best <= 0.05 else f" in {best} s"
looked = list(seen)
print(json.dumps({"alone": alone, "told": told, "looked": looked, "left": packets() - before}))
"""


def test_xml_that_points_elsewhere_is_refused_without_a_look_at_a_file_or_a_packet() -> None:
    """Rows 24-26, in an empty network namespace where the machine allows one."""
    done = run_python(HOSTILE_XML)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["told"].values()) == {"dtd"} and len(told["told"]) == 6
    assert told["looked"] == []
    assert told["left"] == 0 or not told["alone"]
    assert told["alone"] or os.geteuid() != 0, "root may have a network of its own; nobody else must"
