"""Bad orders of promises.md §4 (rows 13-23, 34-41, 60) as each shop can send them: alone, and in the middle of a good page of
twenty. One bad order is one exception with its raw bytes; the rest of its page flows, the cursor moves, and it can be cured."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.errors import RefusedError
from pipeline.pull import AHEAD
from storage import tables as t
from storage.times import micros

from .hostile import Yard, codes, open_yard, states
from .liars import NOW
from .spoilt import TABLES, Spoilt, good, spoil
from .wares import changed, encoded, shop_order, trade, trade_body, trade_line, trade_row

BEGIN = NOW - timedelta(minutes=50)
PAGE = 20
MIDDLE = (3, 7, 11, 15)  # each between good ones


def moment(number: int) -> datetime:
    return BEGIN + timedelta(milliseconds=number * 2000)


def fill(yard: Yard, account: str, cases: list[Spoilt], bad_places: tuple[int, ...], size: int) -> dict[int, Spoilt]:
    """Put the cases on the shelf, at these places of pages of `size` orders that are good otherwise. Numbers of the bad ones."""
    shelf, bad, left = yard.shops[account].shelf, dict[int, Spoilt](), list(cases)
    while left:
        number = len(shelf)
        if number % size in bad_places:
            bad[number] = left.pop(0)
            shelf.append(spoil(account, number, moment(number), bad[number]))
        else:
            shelf.append(good(account, number, moment(number)))
    while len(shelf) % size:
        shelf.append(good(account, len(shelf), moment(len(shelf))))
    return bad


@pytest.mark.parametrize("channel", ["tb", "sf", "ve"])
def test_one_bad_order_is_one_exception_and_its_page_flows(channel: str, database_url: str, tmp_path: Path) -> None:
    with open_yard(database_url, tmp_path) as yard:
        for account, places, size in ((channel, MIDDLE, PAGE), (f"{channel}1", (0,), 1)):
            bad = fill(yard, account, TABLES[channel], places, size)
            yard.poll(account)
            _check_cursor(yard, account)
            _check_account(yard, account, bad)
            _check_next(yard, account)
            _cure(yard, account, bad)


def _check_account(yard: Yard, account: str, bad: dict[int, Spoilt]) -> None:
    shelf = yard.shops[account].shelf
    orders, unread = yard.orders(account), yard.unread(account)
    neighbours = [item.id for number, item in enumerate(shelf) if number not in bad]
    assert [name for name in neighbours if name not in orders or states(orders[name]) != ["ready"]] == []
    for number, case in bad.items():
        if case.order:
            _check_order(orders[shelf[number].id], case)
        else:
            _check_exception(yard, shelf[number].raw, case, unread)
    assert len(orders) == len(neighbours) + sum(case.order for case in bad.values())
    assert all(row["external_id"].strip() for row in yard.rows(t.inbox))


def _check_next(yard: Yard, account: str) -> None:
    """Read again, nothing is new, and the next good one works."""
    yard.clock.wait(minutes=1)
    later = good(account, 999_000, yard.clock.at - timedelta(seconds=5))
    yard.shops[account].shelf.append(later)
    assert yard.poll(account) == 1
    assert states(yard.orders(account)[later.id]) == ["ready"]


def _check_cursor(yard: Yard, account: str) -> None:
    cursor = yard.cursor(account)
    assert (cursor["error"], cursor["failures"], cursor["page"]) == ("", 0, "")
    assert micros(NOW - timedelta(seconds=1)) <= cursor["watermark"] <= micros(yard.clock.at + AHEAD)


def _check_order(dossier: Any, case: Spoilt) -> None:
    assert codes(dossier) == ([case.says] if case.says else []), case.row
    assert states(dossier) in ([["ready"]] if not case.says else [["exception"], []]), case.row
    if case.show is not None:
        assert case.show(dossier.private) == case.shown, case.row
    if case.row == "35 two decimals in dinar":
        assert dossier.order["paid"] == 3000
    if case.row == "38 one SKU on two lines":
        assert [line["sku"] for line in dossier.lines.values()] == ["B", "B"]


def _check_exception(yard: Yard, raw: bytes, case: Spoilt, unread: list[Any]) -> None:
    kept = [(row, exceptions) for row, body, exceptions in unread if body == raw]
    assert len(kept) == 1, (case.row, len(kept))
    ((row, exceptions),) = kept
    assert (row["error"], [entry["code"] for entry in exceptions]) == (case.says, [case.says]), case.row
    again = yard.review(exceptions[0], "retry")
    assert (again.number, again.still_open) == ("", (case.says,)), case.row
    with pytest.raises(RefusedError, match="not_waivable"):
        yard.review(exceptions[0], "release")


def _cure(yard: Yard, account: str, bad: dict[int, Spoilt]) -> None:
    """The source sends good versions: orders come to life, exceptions close by themselves, and what has no name is dismissed."""
    shelf = yard.shops[account].shelf
    wrong = {number: case for number, case in bad.items() if case.says}
    for number in wrong:
        shelf[number] = good(account, number, yard.clock.at + timedelta(seconds=30))
    yard.clock.wait(minutes=1)
    yard.poll(account)
    orders = yard.orders(account)
    left = {case.row: codes(orders[shelf[number].id]) for number, case in wrong.items() if shelf[number].id in orders}
    assert left == {case.row: [] for case in wrong.values()}
    for exception in yard.rows(t.exceptions, t.exceptions.c.state == "open"):
        assert exception["order_id"] is None and ":unreadable-" in exception["subject"]
        assert yard.review(exception, "dismiss").status == "rejected"
    assert yard.open_codes() == []


def test_ids_are_kept_to_the_last_digit_blank_and_letter(database_url: str, tmp_path: Path) -> None:
    names = ["123", "000123", "A1", "a1", "A1 ", " A1", "Ａ１", "1e3"]
    with open_yard(database_url, tmp_path) as yard:
        for at, name in enumerate(names):
            yard.shops["ve"].shelf.append(good("ve", at, moment(at)))
            item = yard.shops["ve"].shelf[-1]
            item.id, item.raw = name, encoded(shop_order(name, moment(at)))
        # Row 17: a bare JSON number above 2^53, without its twin as text.
        tid = "3141592653589793238"
        document = changed(trade(tid, moment(0)), {"tid_str": ...})
        document["orders"]["order"] = [trade_line("314159265358979324", "A", 1, "25.00")]
        item = good("tb", 1, moment(0))
        item.id, item.raw, item.row = tid, trade_body(document), trade_row(document)
        yard.shops["tb"].shelf.append(item)
        yard.poll("ve", "tb")
        assert sorted(yard.orders("ve")) == sorted(names)
        assert list(yard.orders("tb")) == [tid]


@pytest.mark.parametrize(("count", "code"), [(10_000, ""), (10_001, "too_many_lines")])
def test_ten_thousand_lines_are_the_cap(count: int, code: str, postgres_url: str, tmp_path: Path) -> None:
    """On SQLite a partner's post of that size has its own test."""
    with open_yard(postgres_url, tmp_path) as yard:
        document = trade("100", moment(1))
        document |= {"payment": f"{count}.00"}
        document["orders"]["order"] = [trade_line(str(10**6 + n), "A", 1, "1.00") for n in range(count)]
        shelf = yard.shops["tb"].shelf
        shelf += [good("tb", n, moment(n)) for n in range(2)]
        giant = good("tb", 2, moment(1))
        giant.id, giant.raw, giant.row = "100", trade_body(document), trade_row(document)
        shelf.insert(1, giant)
        yard.poll("tb")
        orders = yard.orders("tb")
        assert {states(orders[item.id])[0] for item in shelf if item is not giant} == {"ready"}
        assert ("100" in orders) == (code == "")
        assert [row["error"] for row, _, _ in yard.unread("tb")] == ([code] if code else [])


def test_a_list_row_that_names_no_trade_is_not_dropped(database_url: str, tmp_path: Path) -> None:
    """Nobody can ask for its detail: the row itself is kept for a person (row 40)."""
    with open_yard(database_url, tmp_path) as yard:
        shelf = yard.shops["tb"].shelf
        shelf += [good("tb", n, moment(n)) for n in range(5)]
        shelf[2].row = b'{"tid":null,"status":"WAIT_SELLER_SEND_GOODS","modified":"2026-11-21 19:30:00"}'
        yard.poll("tb")
        assert len(yard.orders("tb")) == 4
        ((row, body, exceptions),) = yard.unread("tb")
        assert body == shelf[2].row and len(exceptions) == 1 and row["error"] in {"id", "time"}


def test_a_retry_reads_what_the_source_said_last(database_url: str, tmp_path: Path) -> None:
    """Two bad versions with one fault are one exception, about the newer one; an older one never closes a later one's."""
    with open_yard(database_url, tmp_path) as yard:
        unpaid = Spoilt("v1", {"orders.order.0.num": 0}, "qty")
        yard.shops["tb"].shelf.append(spoil("tb", 1, moment(1), unpaid))
        yard.poll("tb")
        yard.shops["tb"].shelf[0] = spoil("tb", 1, moment(60), unpaid)
        yard.poll("tb")
        (exception,) = yard.rows(t.exceptions, t.exceptions.c.state == "open")
        newest = max(row["id"] for row in yard.rows(t.inbox))
        assert exception["inbox_id"] == newest
