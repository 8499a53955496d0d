"""Rows 33, 56 and 60 of promises.md §4: a success whose answer was lost, text that would be a formula in a spreadsheet, and text
that would forge a line of a log."""

from __future__ import annotations

import asyncio
import csv
import io
import logging
from typing import Any

import httpx
import pytest
from openpyxl import load_workbook

from pipeline.absorb import absorb_all
from rules.sheets import read_table, write_csv, write_xlsx
from rules.tables import build_table, read_rules
from storage import tables as t
from tests.api.house import House, encoded, order
from tests.rules.samples import on, rule

FORGED = "ok\r\n2026-11-21 ERROR root: admin signed in\x1b[2J <svg/onload=alert(1)> ' OR 1=1-- ${7*7}"


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/orders:batch"])
def test_a_retry_after_an_answer_that_was_lost_hears_the_stored_success(house: House, path: str) -> None:
    """Row 33: it was committed, and whoever stands between says 500."""
    body: Any = order() if path == "/v1/orders" else {"orders": [order(f"PO-{number}") for number in range(3)]}

    async def lossy(scope: Any, receive: Any, send: Any) -> None:
        async def lost(_: Any) -> None:
            raise ConnectionResetError

        await house.app(scope, receive, lost)

    async def post() -> None:
        transport = httpx.ASGITransport(app=lossy)
        headers = {"Authorization": f"Bearer {house.keys['acme']}", "Idempotency-Key": "k"}
        async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=headers) as client:
            await client.post(path, content=encoded(body))

    with pytest.raises(ConnectionResetError):
        asyncio.run(post())
    stored = house.orders()
    again = [house.post(body, "k", path=path) for _ in range(3)]
    assert stored == house.orders() == (1 if path == "/v1/orders" else 3)
    assert {reply.status_code for reply in again} == {201 if path == "/v1/orders" else 200}
    assert {reply.headers["idempotent-replayed"] for reply in again} == {"true"}
    assert len({reply.content for reply in again}) == 1
    with house.hub.read() as tx:
        assert len(tx.execute(t.inbox.select()).all()) == stored


def test_what_a_partner_writes_makes_no_line_of_a_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Row 60: taken, refused, unreadable, in an address, a query, a header."""
    caplog.set_level(logging.DEBUG)
    told = order(seller_memo=FORGED, buyer_message=FORGED, tags=[FORGED])
    told["ship_to"]["name"] = FORGED
    assert house.post(told, "k").status_code == 201
    assert house.post(order("PO-2", currency=FORGED), "k2").status_code == 422
    assert house.post(b"\xff" + FORGED.encode(), "k3").status_code == 400
    absorb_all(house.hub)
    for path in ("/v1/orders/%0d%0aX-Evil:%201", "/v1/orders?search=%0d%0aX-Evil:%201", "/%0aERROR"):
        reply = house.call("GET", path)
        assert reply.status_code < 500 and "x-evil" not in reply.headers
    reply = house.call("POST", "/v1/orders", content=encoded(order("PO-3")), headers={"Idempotency-Key": "a\tb"})
    assert reply.status_code == 400
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "asyncio"))]
    assert [record.getMessage() for record in ours if any(ord(letter) < 32 for letter in record.getMessage())] == []
    assert "signed in" not in caplog.text


FORMULAS = [
    "=cmd|'/C calc'!A0",
    "+1+2",
    "-1+2",
    "@SUM(A1)",
    "＝1+1",
    "＋1",
    "－1+2",
    "＠x",
    "-5",
    'a"b,c',
    "a\\b",
    "'x",
]


def test_no_cell_of_a_table_of_rules_is_a_formula() -> None:
    """Row 56: a text that begins like one gets a backslash, a number stays a number, a workbook's texts are texts; and everything
    comes back as it was."""
    rules = [
        rule(on("order.buyer_message", "contains", text), {"tag": [text]}, id=f"r{n}")
        for n, text in enumerate(FORMULAS)
    ]
    table = build_table(rules, "tag")
    written = write_csv(table)
    cells = [cell for row in csv.reader(io.StringIO(written.decode("utf-8-sig"), newline="")) for cell in row]
    assert [cell for cell in cells if cell.lstrip()[:1] in set("=+-@＝＋－＠\t\r\0")] == ["-5", "-5"]
    sheet = load_workbook(io.BytesIO(write_xlsx(table))).worksheets[0]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n"}
    assert not [
        cell.value for row in sheet.iter_rows() for cell in row if cell.data_type == "n" and cell.value is not None
    ]
    for raw in (written, write_xlsx(table)):
        assert read_rules(read_table(raw), {}) == rules
