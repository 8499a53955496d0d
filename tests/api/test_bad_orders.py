"""Bad inputs of promises.md §4 that a partner can post: what each gets, that its bytes are kept, and that the good order
next to it never notices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from storage import tables as t
from storage.inbox import open_body
from tests.api.house import House, encoded, order


def raw(**changes: Any) -> bytes:
    """A good order in which a value may be raw JSON text: wrap it as `Raw`."""
    text = json.dumps(
        order(**{k: f"@{k}@" if isinstance(v, Raw) else v for k, v in changes.items()}), ensure_ascii=False
    )
    for name, value in changes.items():
        if isinstance(value, Raw):
            text = text.replace(f'"@{name}@"', value)
    return text.encode()


class Raw(str):
    """JSON as it is."""

    __slots__ = ()


def line(**changes: Any) -> list[dict[str, Any]]:
    return [{"line_id": "1", "sku": "EXT-A", "quantity": 2, "unit_price": "10.00"} | changes]


DEEP = b'{"external_id":"PO-bad","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
TOTALS = b'{"external_id":"PO-bad","totals":{"total":"1","total":"999"}}'
GOOD = encoded(order("PO-bad"))
# (row of promises.md §4, body, status, code of the problem and of the exception)
REFUSED = [
    ("13", DEEP, 400, "depth"),
    ("14 NaN", raw(external_id="PO-bad", totals=Raw('{"paid": NaN}')), 400, "money"),
    ("14 Infinity", raw(external_id="PO-bad", totals=Raw('{"paid": Infinity}')), 400, "money"),
    ("14 1e999", raw(external_id="PO-bad", totals=Raw('{"paid": 1e999}')), 400, "money"),
    ("14 text", raw(external_id="PO-bad", totals={"paid": "1e3"}), 422, "money"),
    ("15", TOTALS, 400, "duplicate_key"),
    ("16", raw(external_id="PO-bad", totals=Raw('{"paid": ' + "9" * 5000 + "}")), 400, "number"),
    ("19 full-width", raw(external_id="PO-bad", totals={"paid": "１２"}), 422, "money"),
    ("22 BOM", b"\xef\xbb\xbf" + GOOD, 400, "encoding"),
    ("22 UTF-16", GOOD.decode().encode("utf-16"), 400, "encoding"),
    ("22 GBK", GOOD.decode().encode("gbk"), 400, "encoding"),
    ("34 zero", raw(external_id="PO-bad", lines=line(quantity=0)), 422, "qty"),
    ("34 negative", raw(external_id="PO-bad", lines=line(quantity=-1)), 422, "qty"),
    ("34 huge", raw(external_id="PO-bad", lines=line(quantity=10**9)), 422, "qty"),
    ("34 half", raw(external_id="PO-bad", lines=line(quantity=1.5)), 422, "qty"),
    ("34 blank", raw(external_id="PO-bad", lines=line(quantity="1 ")), 422, "qty"),
    ("35 negative", raw(external_id="PO-bad", lines=line(unit_price="-0.01")), 422, "money"),
    ("35 fen of fen", raw(external_id="PO-bad", lines=line(unit_price="1.001")), 422, "money"),
    ("35 yen", raw(external_id="PO-bad", currency="JPY", lines=line(unit_price="1.50")), 422, "money"),
    ("37 missing", raw(external_id="PO-bad", currency=None), 422, "currency_unknown"),
    ("37 none", raw(external_id="PO-bad", currency="XYZ"), 422, "currency_unknown"),
    ("38 no lines", raw(external_id="PO-bad", lines=[]), 422, "no_lines"),
    ("38 line twice", raw(external_id="PO-bad", lines=line() * 2), 422, "duplicate_line"),
    ("38 too many", raw(external_id="PO-bad", lines=line() * 10_001), 422, "too_many_lines"),
    ("40 empty", raw(external_id=""), 422, "id"),
    ("40 blank", raw(external_id=" "), 422, "id"),
    ("40 null", raw(external_id=None), 422, "id"),
    ("40 too long", raw(external_id="x" * 201), 422, "id"),
    ("41 zero", raw(external_id="PO-bad", placed_at="0000-00-00"), 422, "time"),
    ("41 epoch", raw(external_id="PO-bad", placed_at=Raw("1700000000000")), 422, "time"),
    ("41 future", raw(external_id="PO-bad", placed_at="2099-01-01T00:00:00Z"), 422, "time"),
    ("not an object", b"[1]", 422, "not_a_record"),
    ("not JSON", b"hello", 400, "json"),
    ("nothing", b"", 400, "json"),
]


def test_a_bad_document_is_a_problem_and_an_exception_and_harms_no_neighbour(house: House) -> None:
    async def send(key: str, content: bytes) -> Any:
        async with house.client() as client:
            return await client.post("/v1/orders", content=content, headers={"Idempotency-Key": key})

    for number, (row, body, status, code) in enumerate(REFUSED):
        around = [send(f"k{number}-{n}", encoded(order(f"PO-{number}-{n}"))) for n in range(2)]
        before, bad, after = house.together(around[0], send("bad", body), around[1])
        assert (bad.status_code, bad.json()["code"]) == (status, code), (row, bad.text)
        assert bad.headers["content-type"] == "application/problem+json"
        assert bad.json()["type"] == f"/problems/{code}"
        assert "Traceback" not in bad.text
        assert (before.status_code, after.status_code) == (201, 201), row
        kept = last_exception(house)
        assert kept["body"] == body, row
        assert kept["error"] == code or code == "id", row
        assert kept["external_id"].strip()
    shown = house.call("GET", "/v1/exceptions", key="admin", params={"limit": 200}).json()
    assert {code for _, _, _, code in REFUSED} <= set(shown["counts"]["codes"]) | {"id"}
    assert all(entry["actions"] == ["retry", "dismiss"] for entry in shown["exceptions"])
    assert house.count("/v1/orders", "orders") == 2 * len(REFUSED)


def last_exception(house: House) -> dict[str, Any]:
    """The newest document that could not be read, with its opened bytes."""
    i = t.inbox
    with house.hub.read() as tx:
        query = i.select().where(i.c.state == "exception").order_by(i.c.id.desc()).limit(1)
        found = dict(tx.execute(query).mappings().one())
    return found | {"body": open_body(house.hub.vault, found)}


def test_a_bad_document_sent_again_is_one_exception_and_the_same_answer(house: House) -> None:
    bodies = [house.post(order(lines=[]), "k").content for _ in range(3)]
    assert len(set(bodies)) == 1
    assert house.count("/v1/exceptions", "exceptions") == 1


def test_a_corrected_body_may_come_with_the_same_key_and_resolves_the_exception(house: House) -> None:
    assert house.post(order(lines=[]), "k").status_code == 422
    assert house.post(order(), "k").status_code == 201
    assert house.count("/v1/exceptions", "exceptions") == 0


def test_a_number_as_id_is_kept_to_the_last_digit(house: House) -> None:
    receipt = house.post(raw(external_id=Raw("3141592653589793238")), "k").json()
    assert receipt["external_id"] == "3141592653589793238"
    found = house.call("GET", "/v1/orders/by-external/acme-api/3141592653589793238").json()
    assert found["external_id"] == "3141592653589793238"


def test_ids_that_look_alike_are_different_orders(house: House) -> None:
    names = ["123", "000123", "A1", "a1", "A1 ", "Ａ1"]
    numbers = {house.post(order(name), f"k{index}").json()["number"] for index, name in enumerate(names)}
    assert len(numbers) == len(names)


@pytest.mark.parametrize("text", ["a\\u0000b", "a\\ud800b"], ids=["NUL", "lone surrogate"])
def test_what_a_database_refuses_is_replaced_and_the_bytes_are_kept(house: House, text: str) -> None:
    body = raw(seller_memo=Raw(f'"{text}"'))
    reply = house.post(body, "k")
    assert reply.status_code == 201
    assert house.call("GET", f"/v1/orders/{reply.json()['number']}", key="admin").json()["seller_memo"] == "a�b"
    with house.hub.read() as tx:
        (kept,) = [dict(found) for found in tx.execute(t.inbox.select()).mappings()]
    assert open_body(house.hub.vault, kept) == body


def test_emoji_and_hostile_text_are_stored_as_text(house: House) -> None:
    names = "<svg/onload=alert(1)> 😀\u202e\u200b' OR 1=1-- ${7*7}\nlevel=error"
    reply = house.post(order(seller_memo=names, tags=[]), "k")
    shown = house.call("GET", f"/v1/orders/{reply.json()['number']}", key="admin").json()
    assert shown["seller_memo"] == names


def test_a_total_off_by_one_is_a_verdict_and_no_silent_fix(house: House) -> None:
    receipt = house.post(order(totals={"paid": "20.01"}), "k").json()
    assert receipt["accepted"] is False
    assert "money_mismatch" in receipt["exceptions"]
    assert house.call("GET", f"/v1/orders/{receipt['number']}").json()["amounts"]["paid"] == {
        "minor": 2001,
        "text": "20.01",
    }


@pytest.mark.parametrize("word", ["RMB", "cny"])
def test_currency_words_of_the_trade_are_read(small_house: House, word: str) -> None:
    number = small_house.post(order(currency=word), "k").json()["number"]
    assert small_house.call("GET", f"/v1/orders/{number}").json()["currency"] == "CNY"


def test_the_same_sku_on_two_lines_stays_two_lines(house: House) -> None:
    lines = [*line(), *line(line_id="2")]
    number = house.post(order(lines=lines, totals={"paid": "40.00"}), "k").json()["number"]
    assert len(house.call("GET", f"/v1/orders/{number}").json()["lines"]) == 2


def test_a_sku_with_two_meanings_is_not_guessed(house: House) -> None:
    both = [{"external_sku": "EXT-A", "sku": "A"}, {"external_sku": "EXT-A", "sku": "B"}]
    body = {"account": "acme-api", "listings": both}
    assert house.call("PUT", "/v1/listings", key="admin", json=body).status_code == 200
    receipt = house.post(order(), "k").json()
    assert receipt["exceptions"] == ["sku_ambiguous"]
    assert receipt["verdicts"]["listing"]["problems"][0]["candidates"] == ["A", "B"]


def test_ten_thousand_lines_are_within_the_cap(small_house: House) -> None:
    lines = [{"line_id": str(n), "sku": "E", "quantity": 1, "unit_price": "1"} for n in range(10_000)]
    body = encoded(order(lines=lines, totals={"paid": "10000"}))
    assert len(body) < 2**20
    receipt = small_house.post(body, "k").json()
    assert receipt["exceptions"] == ["sku_unmapped"]
