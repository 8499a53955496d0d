"""Bad inputs of a warehouse (promises.md §4 rows 23-27, 51-53, 60): hostile XML in callbacks and answers, signatures that do not
fit, tracking that cannot be, goods that were not ordered, and cancels that meet a push."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from pipeline.dossier import Dossier
from pipeline.watch import watch_stock
from storage import tables as t
from storage.inbox import open_body
from tests.wire.loopback import Loopback, Seen, reply
from wire.signing import qimen_sign

from .hostile import Yard, codes, open_yard, states
from .liars import NOW, QIMEN, Cut, answer_xml, confirm_xml, package, signed, tagged
from .spoilt import HOSTILE, Spoilt, good, spoil

OLD = NOW - timedelta(minutes=45)
ALL = (("1", "A", 2), ("2", "B", 1))


def accepted(yard: Yard, count: int) -> list[str]:
    """Orders of 2 x A and 1 x B that the warehouse has; their fulfilment codes, in the order of their ids."""
    yard.shops["tb"].shelf = [good("tb", n, OLD + timedelta(seconds=n)) for n in range(count)]
    yard.poll("tb")
    yard.push(2)
    orders = yard.orders("tb")
    assert all(states(order) == ["accepted"] for order in orders.values())
    return [code_of(orders[item.id]) for item in yard.shops["tb"].shelf]


def code_of(order: Dossier) -> str:
    (row,) = order.fulfilments.values()
    return str(row["code"])


def laughs() -> bytes:
    entities = ["<!ENTITY a 'ha'>"]
    for name, before in zip("bcdefghijk", "abcdefghij", strict=True):
        entities.append(f"<!ENTITY {name} '{f'&{before};' * 10}'>")
    return f"<!DOCTYPE r [{''.join(entities)}]><request><x>&k;</x></request>".encode()


def external(where: str) -> bytes:
    return f'<!DOCTYPE r SYSTEM "{where}"><request><deliveryOrder/></request>'.encode()


def entity(where: str) -> bytes:
    return f'<!DOCTYPE r [<!ENTITY x SYSTEM "{where}">]><request><deliveryOrder>&x;</deliveryOrder></request>'.encode()


def one(quantity: str) -> Callable[[str], bytes]:
    return lambda code: confirm_xml(code, package("SF9", [("1", "A", quantity)]), biz=f"q{quantity}")


# (row, the message about an order, the code of its exception)
MESSAGES: list[tuple[str, Callable[[str], bytes], str]] = [
    ("25 billion laughs", lambda _code: laughs(), "dtd"),
    ("13 deep", lambda _code: b"<a>" * 5000 + b"</a>" * 5000, "depth"),
    ("elements, 60,000", lambda _code: b"<request>" + b"<a/>" * 60_000 + b"</request>", "too_many_nodes"),
    ("22 byte order mark", lambda code: b"\xef\xbb\xbf" + confirm_xml(code, biz="b"), "encoding"),
    ("22 GBK", lambda code: confirm_xml(code, biz="顺丰").decode().encode("gbk"), "encoding"),
    ("22 UTF-16", lambda code: confirm_xml(code, biz="b").decode().encode("utf-16"), "encoding"),
    ("no XML", lambda _code: b"hello", "xml"),
    ("no order", lambda _code: confirm_xml("", biz="n"), "id"),
    ("no news", lambda _code: b"<request><stock/></request>", "unknown_message"),
    *((f"34 {units}", one(units), "qty") for units in ("0", "-1", "1.5", "1e3", "NaN", "１", "", "9" * 5000)),
    ("52 unknown order", lambda _code: confirm_xml("NOBODY-1", package("SF8", ALL), biz="u"), "tracking_unknown_order"),
]


def test_a_bad_message_is_one_exception_and_the_others_ship(database_url: str, tmp_path: Path) -> None:
    """Rows 13, 22, 24-26, 34, 52: each between good messages, absorbed together."""
    pipe = tmp_path / "secret"
    os.mkfifo(pipe)  # whoever opened it to read would wait for ever
    with open_yard(database_url, tmp_path) as yard, Loopback(lambda _seen, _connection: reply(200)) as canary:
        messages = [
            *MESSAGES,
            ("24 entity", lambda _code: entity(f"file://{pipe}"), "dtd"),
            ("24 network entity", lambda _code: entity(f"{canary.url}/x"), "dtd"),
            ("26 external", lambda _code: external(f"{canary.url}/x.dtd"), "dtd"),
        ]
        ordered = accepted(yard, 20 + len(messages))
        fine, hit = ordered[:20], ordered[20:]
        bodies = {row: make(code) for (row, make, _), code in zip(messages, hit, strict=True)}
        for at, (row, _, says) in enumerate(messages):
            if at < len(fine):
                assert b"success" in yard.tell(confirm_xml(fine[at], package(f"SF1{at:03d}", ALL), biz=f"good{at}"))
            begin = time.monotonic()
            answer = yard.tell(bodies[row])
            assert time.monotonic() - begin < 4, row
            assert (b"<flag>failure</flag>" in answer) == (says != "tracking_unknown_order"), row
            assert b"Traceback" not in answer and b"<!" not in answer
        absorb_all(yard.hub)
        inbox = yard.rows(t.inbox, t.inbox.c.source_kind == "warehouse", t.inbox.c.state == "exception")
        kept = {open_body(yard.hub.vault, row): row["error"] for row in inbox}
        assert {row: kept[bodies[row]] for row, _, _ in messages} == {row: says for row, _, says in messages}
        opened = {x["inbox_id"]: x for x in yard.rows(t.exceptions, t.exceptions.c.state == "open")}
        assert {row["id"] for row in inbox} == set(opened) and len(inbox) == len(messages)
        by_code = {code_of(order): order for order in yard.orders("tb").values()}
        assert {states(by_code[code])[0] for code in fine[: len(messages)]} == {"shipped"}
        assert {states(by_code[code])[0] for code in hit} == {"accepted"}
        assert canary.connections == 0
        first = next(iter(opened.values()))
        assert yard.review(first, "retry").status == "exception"
        assert yard.review(first, "dismiss").status == "rejected"


def test_a_signature_that_does_not_fit_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """Row 27."""
    with open_yard(database_url, tmp_path) as yard:
        (code,) = accepted(yard, 1)
        body = confirm_xml(code, package("SF1", ALL), biz="b1")
        fair = signed(yard.clock, body)
        unsorted = "".join(f"{name}{value}" for name, value in sorted(fair.items(), reverse=True) if name != "sign")
        key = QIMEN["secret"].encode()
        reordered = hashlib.md5(key + unsorted.encode() + body + key, usedforsecurity=False).hexdigest().upper()
        bad = {
            "wrong": fair | {"sign": "0" * 32},
            "missing": {name: value for name, value in fair.items() if name != "sign"},
            "empty": fair | {"sign": ""},
            "not ASCII": fair | {"sign": "\udcff签"},
            "ten kilobytes": fair | {"sign": "A" * 10_240},
            "another customer's": signed(yard.clock, body, secret="other-secret"),
            "for another customer": signed(yard.clock, body, customerId="other"),
            "over re-ordered parameters": fair | {"sign": reordered},
            "over another body": fair | {"sign": qimen_sign(fair, body + b" ", QIMEN["secret"])},
            "another method": signed(yard.clock, body, sign_method="hmac"),
            "too old": signed(yard.clock, body, timestamp="2026-11-21 19:49:00"),
            "too new": signed(yard.clock, body, timestamp="2026-11-21 20:11:00"),
            "no time": signed(yard.clock, body, timestamp=""),
            "no such time": signed(yard.clock, body, timestamp="0000-00-00 00:00:00"),
        }
        before = len(yard.rows(t.inbox))
        for name, query in bad.items():
            answer = yard.tell(body, query)
            assert b"<flag>failure</flag><code>sign-check-failure</code>" in answer, name
            assert answer == yard.tell(body, bad["wrong"]), name
        absorb_all(yard.hub)
        assert len(yard.rows(t.inbox)) == before
        assert states(yard.orders("tb")[yard.shops["tb"].shelf[0].id]) == ["accepted"]
        # The order in which a query is written is nobody's business.
        assert b"success" in yard.tell(body, dict(reversed(fair.items())))
        absorb_all(yard.hub)
        assert states(yard.orders("tb")[yard.shops["tb"].shelf[0].id]) == ["shipped"]


LIES: list[Callable[[], bytes | Cut | None]] = [
    lambda: reply(200, laughs()),
    lambda: reply(200, external("http://127.0.0.1:9/x.dtd").replace(b"request", b"response")),
    lambda: reply(200, answer_xml().replace(b"ok", "好".encode("gbk"))),
    lambda: reply(200, b"\xef\xbb\xbf" + answer_xml()),
    lambda: reply(200, b"<response>" * 40 + b"</response>" * 40),
    lambda: reply(200, b"<html><body>busy</body></html>"),
    lambda: reply(200, b""),
    lambda: reply(200, b'{"flag":"success"}'),
    lambda: reply(200, b"<response><code>0</code></response>"),
    lambda: reply(200, answer_xml(flag="maybe")),
    lambda: reply(200, answer_xml(flag="failure", code="isp.busy", message="later")),
    lambda: reply(500, answer_xml()),
    lambda: Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n<response>"),
    lambda: None,
]


def test_an_answer_nobody_can_read_is_looked_up_and_never_sent_twice(database_url: str, tmp_path: Path) -> None:
    """Rows 22, 24-26 in answers: the warehouse took the order, and what it said cannot be understood."""
    with open_yard(database_url, tmp_path) as yard:
        for make in LIES:

            def taken(seen: Seen, make: Callable[[], bytes | Cut | None] = make) -> bytes | Cut | None:
                yard.wms.known[tagged(seen.body, "deliveryOrderCode")] = seen.body
                return make()

            yard.wms.lies.append(taken)
        yard.shops["tb"].shelf = [good("tb", n, OLD + timedelta(seconds=n)) for n in range(len(LIES))]
        yard.poll("tb")
        yard.push()
        assert {states(order)[0] for order in yard.orders("tb").values()} == {"unknown"}
        for _ in range(3):
            yard.clock.wait(minutes=5)
            yard.push()
        assert {states(order)[0] for order in yard.orders("tb").values()} == {"accepted"}
        assert yard.wms.count("deliveryorder.create") == len(LIES) == len(yard.wms.known)


def test_what_a_gbk_printer_cannot_print_is_asked_and_never_a_question_mark(database_url: str, tmp_path: Path) -> None:
    """Row 23; row 60 in the XML for the warehouse."""
    with open_yard(database_url, tmp_path) as yard:
        smile = spoil("tb", 0, OLD, Spoilt("", {"receiver_name": "张😀三"}, ""))
        plain = spoil("tb", 1, OLD, Spoilt("", {"receiver_name": HOSTILE}, ""))
        yard.shops["tb"].shelf = [smile, plain]
        _gbk_only(yard)
        yard.poll("tb")
        yard.push(2)
        orders = yard.orders("tb")
        assert codes(orders[smile.id]) == ["warehouse_rejected"]
        (row,) = yard.rows(t.outbox, t.outbox.c.order_id == orders[smile.id].id)
        assert row["outcome"] == "unencodable"
        assert states(orders[plain.id]) == ["accepted"]
        ((_, sent),) = yard.wms.calls
        assert b"&lt;svg/onload=alert(1)&gt;" in sent and b"?" not in sent.partition(b"?>")[2]


def _gbk_only(yard: Yard) -> None:
    with yard.hub.read() as tx:
        sealed = tx.execute(t.warehouses.select()).mappings().one()
    told = yard.hub.vault.open_json("warehouses.settings", sealed["id"], sealed["settings"])
    entry = {"name": "wh1", "kind": "qimen", "info": {"country": "CN", "carriers": ["SF"]}}
    apply_values(yard.hub, {"warehouses": [entry | {"settings": told | {"gbk_only": True}}]})


def test_tracking_that_cannot_be_is_an_exception_and_told_at_most_once(database_url: str, tmp_path: Path) -> None:
    """Row 52 and the tracking of row 60."""
    with open_yard(database_url, tmp_path) as yard:
        first, second, empty, evil, giant, fine = accepted(yard, 6)
        told = {
            first: "SF1",
            second: "SF1",
            empty: " ",
            evil: "SF1&#13;&#10;X-Evil: 1",
            giant: "7" * 5000,
            fine: "SF6",
        }
        for at, (code, tracking) in enumerate(told.items()):
            yard.tell(confirm_xml(code, package(tracking, ALL), biz=f"b{at}"))
        absorb_all(yard.hub)
        by_code = {code_of(order): order for order in yard.orders("tb").values()}
        assert {code: codes(by_code[code]) for code in told} == {
            first: [],
            second: ["tracking_duplicate"],
            empty: ["tracking_conflict"],
            evil: ["tracking_conflict"],
            giant: ["tracking_conflict"],
            fine: [],
        }
        # Told again after delivery, under another event and byte for byte.
        again = confirm_xml(first, package("SF1", ALL), biz="b0-again")
        yard.push(2)
        for _ in range(2):
            yard.tell(again)
            yard.tell(confirm_xml(first, package("SF1", ALL), biz="b0"))
            absorb_all(yard.hub)
            yard.push()
        yard.tell(confirm_xml(first, package("SF1", (("1", "A", 1),)), biz="b0-other"))
        absorb_all(yard.hub)
        order = next(o for o in yard.orders("tb").values() if code_of(o) == first)
        assert len(order.packages) == 1 and codes(order) == ["tracking_conflict"]
        assert sorted(yard.shops["tb"].shipped) == ["SF1", "SF6"]


def test_goods_that_were_not_ordered_are_an_exception_and_a_part_is_a_part(database_url: str, tmp_path: Path) -> None:
    """Row 53."""
    with open_yard(database_url, tmp_path) as yard:
        over, foreign, part = accepted(yard, 3)
        yard.tell(confirm_xml(over, package("SF1", (("1", "A", 3), ("2", "B", 1))), biz="b1"))
        yard.tell(confirm_xml(foreign, package("SF2", (*ALL, ("3", "C", 1))), biz="b2"))
        yard.tell(confirm_xml(part, package("SF3", (("1", "A", 1),)), biz="b3", final=False, status="PARTDELIVERED"))
        absorb_all(yard.hub)
        by_code = {code_of(order): order for order in yard.orders("tb").values()}
        assert [codes(by_code[code]) for code in (over, foreign, part)] == [["over_ship"], ["over_ship"], []]
        assert [states(by_code[code]) for code in (over, foreign, part)] == [["shipped"], ["shipped"], ["picking"]]
        sent = {key[2]: row["quantity"] for key, row in by_code[over].package_lines.items()}
        assert sent == {"A": 2, "B": 1}
        # A person dismisses what cannot be cured; the rest of the part comes.
        (exception,) = [row for row in by_code[over].exceptions.values() if row["state"] == "open"]
        assert yard.review(exception, "dismiss").still_open == ()
        yard.tell(confirm_xml(part, package("SF4", (("1", "A", 1), ("2", "B", 1))), biz="b4"))
        absorb_all(yard.hub)
        order = next(o for o in yard.orders("tb").values() if code_of(o) == part)
        assert states(order) == ["shipped"] and len(order.packages) == 2


def cancelled_version(yard: Yard, number: int) -> None:
    """The buyer cancels at the channel, and the hub hears of it."""
    item = yard.shops["tb"].shelf[number]
    yard.clock.wait(seconds=5)
    changes = {"status": "TRADE_CLOSED_BY_TAOBAO"}
    yard.shops["tb"].shelf[number] = spoil("tb", number, yard.clock.at - timedelta(seconds=2), Spoilt("", changes, ""))
    assert yard.shops["tb"].shelf[number].id == item.id
    yard.poll("tb")


@pytest.mark.parametrize("agrees", [True, False])
def test_a_cancel_during_a_push_is_asked_at_the_warehouse(agrees: bool, database_url: str, tmp_path: Path) -> None:
    """Rows 51 and 53, P11: closed, or shipped with an exception; never a push after the cancel."""
    with open_yard(database_url, tmp_path) as yard:
        yard.shops["tb"].shelf = [good("tb", 0, OLD)]
        yard.poll("tb")

        def before(method: str, _body: bytes) -> None:
            if method == "deliveryorder.create":
                cancelled_version(yard, 0)
            elif method == "order.cancel" and not agrees:
                yard.wms.lies.append(reply(200, answer_xml(flag="failure", code="S022", message="已出库")))

        yard.wms.before = before
        for _ in range(3):
            yard.push()
            yard.clock.wait(seconds=30)
        (order,) = yard.orders("tb").values()
        assert [method for method, _ in yard.wms.calls] == ["deliveryorder.create", "order.cancel"]
        if agrees:
            assert (order.order["status"], states(order), codes(order)) == ("closed", ["cancelled"], [])
        else:
            assert codes(order) == ["cancel_refused"]
        yard.tell(confirm_xml(code_of(order), package("SF1", ALL), biz="b1"))
        absorb_all(yard.hub)
        (order,) = yard.orders("tb").values()
        assert codes(order) == (["ship_after_cancel"] if agrees else ["cancel_refused", "cancel_too_late"])
        assert len(order.packages) == 1
        yard.push(2)
        assert yard.shops["tb"].shipped == [] and yard.wms.count("deliveryorder.create") == 1


def test_a_cancel_after_shipment_is_told_to_a_person(database_url: str, tmp_path: Path) -> None:
    """Row 51."""
    with open_yard(database_url, tmp_path) as yard:
        (code,) = accepted(yard, 1)
        yard.tell(confirm_xml(code, package("SF1", ALL), biz="b1"))
        absorb_all(yard.hub)
        yard.push(2)
        cancelled_version(yard, 0)
        yard.push(2)
        (order,) = yard.orders("tb").values()
        assert codes(order) == ["cancel_too_late"] and states(order) == ["shipped"]
        assert yard.shops["tb"].shipped == ["SF1"] and yard.wms.count("order.cancel") == 0


def test_stock_that_cannot_be_is_not_believed(database_url: str, tmp_path: Path) -> None:
    def told(quantity: str) -> bytes:
        item = f"<item><itemCode>A</itemCode><quantity>{quantity}</quantity><inventoryType>ZP</inventoryType></item>"
        return reply(200, answer_xml(f"<items>{item * 3}</items>"))

    with open_yard(database_url, tmp_path) as yard:
        where = (t.stock.c.sku == "A",)
        for quantity in ("-1", "1.5", "NaN", "１２", "9" * 5000, ""):
            yard.wms.lies = [told(quantity)]
            yard.clock.wait(hours=1)
            assert watch_stock(yard.hub, pool=yard.pool) in ({0} if quantity else {0, 1}), quantity
            if quantity:
                assert yard.rows(t.stock, *where)[0]["on_hand"] == 1_000_000_000
        yard.wms.lies = [told("999999999")]
        yard.clock.wait(hours=1)
        watch_stock(yard.hub, pool=yard.pool)
        assert 0 < yard.rows(t.stock, *where)[0]["on_hand"] < 2**31
