from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from rules.conditions import MAX_FAULTS, MAX_VALUES
from rules.fields import FIELDS, OPERATORS, Field
from rules.language import RulesetError, load
from rules.sheets import MAX_BYTES, read_table, write_csv, write_xlsx
from rules.tables import Cell, build_table, column_name, join_values, read_rules, split_values, unescape
from tests.rules.samples import ALWAYS, document, on, rule

HEADER: list[Cell] = ["id", "consignee.region in", "amounts.paid ge", "any_line line.sku in_list", "warehouses", "only"]
LISTS = {"fragile": ["A"]}


def refused(make: Callable[[], Any]) -> list[tuple[str, str]]:
    with pytest.raises(RulesetError) as caught:
        make()
    assert len(caught.value.faults) <= MAX_FAULTS
    return [(fault.path, fault.reason) for fault in caught.value.faults]


def workbook(*rows: list[Any]) -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_row_is_a_rule_and_an_empty_cell_means_any() -> None:
    rows: list[list[Cell]] = [
        HEADER,
        ["south", "44; 45;450000", 10000, None, "wh-gz; wh-sz", "yes"],
        [],
        ["rest", None, None, "fragile", "wh-hz", None],
        ["all", "", " ", None, "wh-bj", False],
    ]
    rules = read_rules(rows, LISTS)
    assert rules == [
        rule(
            {"all": [on("consignee.region", "in", ["44", "45", "450000"]), on("amounts.paid", "ge", 10000)]},
            {"route": {"warehouses": ["wh-gz", "wh-sz"], "only": True}},
            id="south",
        ),
        rule({"any_line": on("line.sku", "in_list", "fragile")}, {"route": {"warehouses": ["wh-hz"]}}, id="rest"),
        rule(ALWAYS, {"route": {"warehouses": ["wh-bj"], "only": False}}, id="all"),
    ]
    assert len(load(document(*rules, lists=LISTS)).routes) == 3


def test_tables_of_carriers_holds_and_tags() -> None:
    carriers = read_rules(
        [["id", "part.weight_grams between", "carrier"], ["heavy", "20000; 90000", "DEPPON; cheapest"]]
    )
    assert carriers == [
        rule(on("part.weight_grams", "between", [20000, 90000]), {"carrier": ["DEPPON", "cheapest"]}, id="heavy")
    ]
    holds = read_rules(
        [["id", "note", "enabled", "order.paid_at empty", "hold", "detail"], [1, "why", "否", "yes", "hold_x", "look"]]
    )
    assert holds == [
        rule(on("order.paid_at", "empty"), {"hold": "hold_x", "detail": "look"}, id="1", note="why", enabled=False)
    ]
    tags = read_rules([["id", "amounts.paid ge CNY", "tag"], ["t", "5", "a; b"]])
    assert tags == [rule(on("amounts.paid", "ge", 5, currency="CNY"), {"tag": ["a", "b"]}, id="t")]


LONG: list[list[Cell]] = [["a", "SF"] for _ in range(501)]
FAULTY: list[tuple[str, list[list[Cell]], str]] = [
    ("empty", [], "A1"),
    ("no id", [["amounts.paid ge", "carrier"]], "A1"),
    ("no effect column", [["id", "amounts.paid ge"]], "A1"),
    ("two phases", [["id", "carrier", "tag"]], "A1"),
    ("unknown column", [["id", "amounts.paid", "carrier"]], "B1"),
    ("nameless column", [["id", None, "carrier"]], "B1"),
    ("unknown field", [["id", "consignee.name eq", "carrier"]], "B1"),
    ("unknown op", [["id", "amounts.paid matches", "carrier"]], "B1"),
    ("column twice", [["id", "amounts.paid ge", "amounts.paid  ge", "carrier"]], "C1"),
    ("row without id", [["id", "carrier"], [None, "SF"]], "A2"),
    ("row without effect", [["id", "carrier"], ["a", None]], "B2"),
    ("only without warehouses", [["id", "only", "warehouses"], ["a", "yes", None]], "B2"),
    ("neither yes nor no", [["id", "only", "warehouses"], ["a", "perhaps", "w"]], "B2"),
    ("number as words", [["id", "amounts.paid ge", "carrier"], ["a", "1,000", "SF"]], "B2"),
    ("number in full width", [["id", "amounts.paid ge", "carrier"], ["a", "１２", "SF"]], "B2"),
    ("number with decimals", [["id", "amounts.paid ge", "carrier"], ["a", "5.0", "SF"]], "B2"),
    ("number for a text", [["id", "sender.account eq", "carrier"], ["a", 123, "SF"]], "B2"),
    ("no region", [["id", "consignee.region in", "carrier"], ["a", "44", "SF"], ["b", "44; 广东", "SF"]], "B3"),
    ("between of three", [["id", "order.units between", "carrier"], ["a", "1;2;3", "SF"]], "B2"),
    ("unknown list", [["id", "any_line line.sku in_list", "carrier"], ["a", "nope", "SF"]], "B2"),
    ("line field outside", [["id", "line.sku eq", "carrier"], ["a", "A", "SF"]], "B2"),
    ("part before there are any", [["id", "part.units ge", "tag"], ["a", 1, "x"]], "B2"),
    ("currency of a number", [["id", "order.units ge CNY", "tag"], ["a", 1, "x"]], "B2"),
    ("empty or what", [["id", "order.paid_at empty", "tag"], ["a", "no", "x"]], "B2"),
    ("formula", [["id", "carrier"], ["a", "=1+1"]], "B2"),
    ("line break", [["id", "carrier"], ["a", "S\nF"]], "B2"),
    ("value without a column", [["id", "carrier"], ["a", "SF", "x"]], "C2"),
    ("501 rules", [["id", "carrier"], *LONG], "A502"),
    ("61 columns", [["id"] * 61], "BI1"),
    ("long cell", [["id", "carrier"], ["a", "x" * 5001]], "B2"),
    ("decimal", [["id", "carrier"], ["a", 1.5]], "B2"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("table", "cell"), [case[1:] for case in FAULTY], ids=[case[0] for case in FAULTY])
def test_a_faulty_table_is_refused_with_its_cell_and_a_reason(table: list[list[Cell]], cell: str) -> None:
    faults = refused(lambda: read_rules(table, LISTS))
    assert faults[0][0] == cell
    assert all(reason for _, reason in faults)


def test_columns_are_named_as_in_a_spreadsheet() -> None:
    assert [column_name(n) for n in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


# --- files ----------------------------------------------------------------------------------------------------------


def test_csv_is_read_as_spreadsheets_write_it() -> None:
    expected: list[list[Cell]] = [["id", "consignee.region in", "carrier"], ["a", "44; 45", "SF"]]
    plain = "id,consignee.region in,carrier\r\na,44; 45,SF\r\n"
    apart = 'id;consignee.region in;carrier\na;"44; 45";SF\n'
    for text in (plain, plain.replace("\r\n", "\n"), plain.replace("\r\n", "\r"), apart, plain.replace(",", "\t")):
        for mark in (b"", b"\xef\xbb\xbf"):
            assert read_table(mark + text.encode()) == expected


def unpacked(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"<" * size)
    return out.getvalue()


def with_part(name: str, change: Callable[[bytes], bytes]) -> bytes:
    """A good workbook with one part of it changed."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook(["id", "carrier"], ["a", "SF"]))) as good,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bad,
    ):
        for part in good.namelist():
            bad.writestr(part, change(good.read(part)) if part == name else good.read(part))
    return out.getvalue()


def moved(sheet: bytes, to: bytes) -> bytes:
    """The sheet with its cell A2 (and the row it is in) elsewhere."""
    row = b'r="' + to.lstrip(b"AXFD") + b'"'
    return sheet.replace(b'r="2"', row).replace(b'r="A2"', b'r="' + to + b'"').replace(b'r="B2"', b'r="' + to + b'"')


def two_sheets() -> bytes:
    book = Workbook()
    book.create_sheet("second")
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
BOMB = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><worksheet>&b;</worksheet>'
FILES: list[tuple[str, Callable[[], bytes], str]] = [
    ("GBK", lambda: "id,标签".encode("gbk"), "not UTF-8 at byte 3"),
    ("UTF-16", lambda: "id,carrier".encode("utf-16"), "not UTF-8 at byte 0"),
    ("UTF-16 without mark", lambda: "id,carrier".encode("utf-16-le"), "NUL"),
    ("quote without end", lambda: b'id,carrier\n"a,SF', "not CSV"),
    ("a huge field", lambda: b"id," + b"x" * 200_000, "not CSV"),
    ("many columns", lambda: b"," * 500_000, "more than 60 columns"),
    ("many rows", lambda: b"a\n" * 400_000, "more than 500 rows"),
    ("too large", lambda: b"x" * (MAX_BYTES + 1), "larger than"),
    ("no archive", lambda: b"PK" + b"\x00" * 100, "not a workbook"),
    ("archive of something else", lambda: unpacked(10), "not a workbook"),
    ("archive that unpacks to 50 MB", lambda: unpacked(50_000_000), "unpacked"),
    ("archive of many tags", lambda: unpacked(4_000_000), "more cells"),
    ("entities", lambda: with_part(SHEET, lambda _: BOMB), "not a workbook"),
    ("truncated part", lambda: with_part(SHEET, lambda old: old[: len(old) // 2]), "not a workbook"),
    ("two sheets", two_sheets, "one sheet"),
    ("a cell in the last row of all", lambda: with_part(SHEET, lambda old: moved(old, b"A1048576")), "more than 500 rows"),
    ("a cell in the last column of all", lambda: with_part(SHEET, lambda old: moved(old, b"XFD2")), "more than 60 columns"),
    ("wide rows", lambda: workbook(*[[1] * 200] * 40), "more than 60 columns"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "reason"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_a_hostile_file_is_refused_within_100_ms(make: Callable[[], bytes], reason: str) -> None:
    raw = make()
    seconds = []
    for _ in range(3):
        start = time.thread_time()
        faults = refused(lambda: read_rules(read_table(raw)))
        seconds.append(time.thread_time() - start)
    assert reason in faults[0][1]
    assert min(seconds) <= 0.1


CELLS: list[tuple[Any, str]] = [
    ("=SUM(A1:A9)", "a formula"),
    ("#REF!", "an error"),
    (1.5, "decimals"),
    (date(2026, 11, 11), "a date"),
]


@pytest.mark.parametrize(("value", "reason"), CELLS, ids=str)
def test_a_cell_that_is_no_text_or_whole_number_is_refused(value: Any, reason: str) -> None:
    ((at, told),) = refused(lambda: read_table(workbook(["id", "amounts.paid ge", "carrier"], ["a", value, "SF"])))
    assert at == "B2"
    assert reason in told


def test_a_workbook_keeps_numbers_and_texts_apart() -> None:
    raw = workbook(
        ["id", "amounts.paid ge", "consignee.region eq", "only", "warehouses"], ["a", 5.0, 44, True, "0012"], [None], []
    )
    assert read_table(raw)[1] == ["a", 5, 44, True, "0012"]
    assert read_rules(read_table(raw))[0]["then"] == {"route": {"only": True, "warehouses": ["0012"]}}


def test_what_cannot_be_a_row_is_not_shown_as_one() -> None:
    cases: list[tuple[Any, str]] = [
        ({"any": [on("order.units", "eq", 1)]}, "rules.0"),
        ({"not": on("order.units", "eq", 1)}, "rules.0"),
        ({"all": [on("order.units", "ge", 1), on("order.units", "ge", 2)]}, "rules.0"),
        ({"count": ALWAYS, "op": "ge", "value": 2}, "rules.0"),
        (on("order.buyer_message", "contains", "a\nb"), "B2"),
        (on("order.tags", "in", ["x" * 100] * 60), "B2"),
    ]
    for when, at in cases:
        assert refused(partial(build_table, [rule(when)], "tag"))[0][0] == at
    assert refused(lambda: build_table([], "gift"))[0][0] == "phase"
    assert refused(lambda: write_xlsx([["a", "x\ufffe"]]))[0][0] == "B1"


# --- there and back -------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=8)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat)  # noqa: DTZ001
TEXTS = st.lists(TEXT, min_size=1, max_size=3)
REGION = st.sampled_from(["44", "4403", "440305", "US", "US-CA"])


def values_of(field: Field) -> st.SearchStrategy[Any]:
    if field.kind in {"number", "money"}:
        return st.integers(-(2**63) + 1, 2**63 - 1)
    if field.choices:
        return st.sampled_from(sorted(field.choices))
    if field.dated:
        return st.dates().map(lambda day: day.isoformat())
    kinds: dict[str, st.SearchStrategy[Any]] = {"yesno": st.booleans(), "time": TIMES, "region": REGION}
    return kinds.get(field.kind, TEXT)


@st.composite
def conditions(draw: st.DrawFn) -> Any:
    field = draw(st.sampled_from([each for each in FIELDS.values() if each.scope != "part"]))
    op = draw(st.sampled_from(sorted(OPERATORS[field.kind])))
    values = values_of(field)
    if op == "in_list":
        leaf = on(field.name, op, "south")
    elif op in {"empty", "present"}:
        leaf = on(field.name, op)
    elif op == "in":
        leaf = on(field.name, op, draw(st.lists(values, min_size=1, max_size=4)))
    elif op == "between":
        pair = draw(st.tuples(values, values))
        leaf = on(
            field.name,
            op,
            sorted(pair, key=lambda each: datetime.fromisoformat(each) if isinstance(each, str) else each),
        )
    else:
        leaf = on(field.name, op, draw(values))
    return {"any_line": leaf} if field.scope == "line" else leaf


EFFECTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "route": st.builds(lambda names, only: {"route": {"warehouses": names, "only": only}}, TEXTS, st.booleans()),
    "carrier": TEXTS.map(lambda names: {"carrier": names}),
    "tag": TEXTS.map(lambda names: {"tag": names}),
    "hold": TEXT.map(lambda text: {"hold": "hold_x", "detail": text}),
}  # fmt: skip


@st.composite
def tables_of(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    phase = draw(st.sampled_from(sorted(EFFECTS)))
    rules = []
    for n in range(draw(st.integers(1, 3))):
        tests = draw(st.lists(conditions(), max_size=3, unique_by=lambda test: str(list(_headers(test)))))
        when = tests[0] if len(tests) == 1 else {"all": tests}
        rules.append(rule(when, draw(EFFECTS[phase]), id=f"r{n}", phase=phase, note=draw(TEXT)))
    return phase, rules


def _headers(test: Any) -> list[str]:
    leaf = test.get("any_line", test)
    return [leaf["field"], leaf["op"]]


def _same(rules: list[dict[str, Any]]) -> list[Any]:
    """Rules as what they mean: tests in any order."""
    return [{**each, "when": sorted(map(str, each["when"].get("all", [each["when"]])))} for each in rules]


@settings(max_examples=60, deadline=None)
@given(tables_of())
def test_rules_come_back_from_a_table_as_they_were(made: tuple[str, list[dict[str, Any]]]) -> None:
    phase, rules = made
    lists = {"south": ["44", "45"]}
    load(document(*rules, lists=lists))
    table = build_table(rules, phase)  # type: ignore[arg-type]
    for back in (table, read_table(write_csv(table)), read_table(write_xlsx(table))):
        assert _same(read_rules(back, lists)) == _same(rules)


@settings(max_examples=200)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_values_come_back_from_a_cell(values: list[str]) -> None:
    cell = join_values(values)
    assert split_values(cell) == values
    assert not cell.startswith(("=", "+", "@"))
    if len(values) == 1:
        assert unescape(f"  {cell} ") == values[0]


def test_the_largest_table_is_read() -> None:
    rows: list[list[Cell]] = [["id", "order.units ge", "tag"]]
    rows += [[str(n), n, "x"] for n in range(500)]
    for raw in (write_csv(rows), write_xlsx(rows)):
        assert len(read_rules(read_table(raw))) == 500
    many = "; ".join(str(n) for n in range(MAX_VALUES))
    assert len(read_rules([["id", "order.tags in", "tag"], ["a", many, "x"]])[0]["when"]["value"]) == MAX_VALUES
