"""Readers are exact: what they cannot read exactly they refuse, with a stable code."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import MappingError
from normalizer.readers import (
    MAX_QUANTITY,
    Context,
    Contextual,
    as_bool,
    as_currency,
    as_epoch_millis,
    as_epoch_seconds,
    as_joined,
    as_list,
    as_money,
    as_quantity,
    as_quantity_decimal,
    as_scaled_money,
    as_text,
    as_texts,
    as_time,
    as_time_in,
    as_whole,
    money_sum,
    read_time,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def within(reader: Contextual, value: Any, currency: str = "CNY") -> Any:
    return reader.read(value, Context(zone=SHANGHAI, order={}, currency=currency))


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(MappingError) as caught:
        call(*arguments)
    return caught.value.code


def outcome(call: Any, *arguments: Any) -> str:
    try:
        call(*arguments)
    except MappingError as error:
        return error.code
    return ""


@pytest.mark.parametrize("value", ["123", "000123", "A1 ", "a1", "Ａ１", "", " ", "gid://x/1"])
def test_texts_are_kept_exactly_as_sent(value: str) -> None:
    assert as_text(value) == value


def test_numbers_become_their_exact_digits() -> None:
    assert as_text(3141592653589793238) == "3141592653589793238"
    assert as_text(Decimal("12.30")) == "12.30"
    assert as_text(Decimal("1E+3")) == "1000"


@pytest.mark.parametrize("value", [1.5, True, None, [], {}, Decimal("NaN"), Decimal("Infinity")])
def test_no_text_is_made_of_what_is_not_exact(value: Any) -> None:
    assert code_of(as_text, value) == "type"


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        10**9,
        1.5,
        "1 ",
        " 1",
        "",
        "0",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "01",
        "１",
        True,
        None,
        [],
        "9" * 30,
        pytest.param(10**5000, id="5001 digits"),
    ],
)
def test_refuses_a_quantity_that_is_not_a_plain_number_of_pieces(value: Any) -> None:
    assert code_of(as_quantity, value) == "qty"


@given(st.integers(1, MAX_QUANTITY))
def test_reads_every_quantity_up_to_the_limit(count: int) -> None:
    assert as_quantity(count) == as_quantity(str(count)) == as_quantity_decimal(f"{count}.000") == count


@pytest.mark.parametrize("value", ["1.5", "1.", Decimal("1.5"), Decimal(0), Decimal("NaN"), "0.0", 2.0])
def test_padded_quantities_must_still_be_whole(value: Any) -> None:
    assert code_of(as_quantity_decimal, value) == "qty"
    assert as_quantity_decimal(Decimal("2.0000")) == 2


@pytest.mark.parametrize(
    ("value", "currency", "minor"),
    [("12.30", "CNY", 1230), ("0.00", "CNY", 0), (12, "CNY", 1200), ("100.0", "JPY", 100), ("1.234", "KWD", 1234),
     (Decimal("5.5"), "USD", 550)],
)  # fmt: skip
def test_money_is_minor_units_of_the_orders_currency(value: Any, currency: str, minor: int) -> None:
    assert within(as_money, value, currency) == minor


@pytest.mark.parametrize(
    ("value", "currency"),
    [("-0.01", "CNY"), ("1.234", "CNY"), ("1.5", "JPY"), ("1.2345", "KWD"), ("１２", "CNY"), ("", "CNY"), ("1,000", "CNY"),
     (1.5, "CNY"), (True, "CNY"), ("NaN", "CNY"), (Decimal("NaN"), "CNY"), ("1e3", "CNY"), (" 1", "CNY"), ({}, "CNY"),
     pytest.param(10**5000, "CNY", id="5001 digits"), ("9" * 300, "CNY")],
)  # fmt: skip
def test_refuses_money_that_is_not_an_exact_amount(value: Any, currency: str) -> None:
    assert code_of(within, as_money, value, currency) == "money"


def test_a_refused_amount_is_refused_every_time() -> None:
    assert [code_of(within, as_money, "1.234") for _ in range(3)] == ["money"] * 3


def test_scaled_money_knows_its_own_scale_and_the_currencys() -> None:
    assert within(as_scaled_money(2), 1999) == 1999
    assert within(as_scaled_money(2), 10000, "JPY") == 100
    assert within(as_scaled_money(2), "1999") == 1999
    assert code_of(within, as_scaled_money(2), 10001, "JPY") == "money"
    assert code_of(within, as_scaled_money(2), "19.99") == "money"
    assert code_of(within, as_scaled_money(2), -1) == "money"


def test_sums_of_fields_are_exact() -> None:
    total = money_sum("a", "b", minus=("c",))
    assert total({"a": "0.1", "b": "0.2", "c": "0.05"}) == Decimal("0.25")
    assert total({"a": "", "b": None}) == 0
    assert code_of(total, {"a": 0.1}) == "money"
    assert code_of(total, {"a": "x"}) == "money"
    assert code_of(total, {"a": "1e999"}) == "money"


@pytest.mark.parametrize(("value", "code"), [("RMB", "CNY"), ("usd", "USD"), ("CNY", "CNY"), ("人民币", "CNY")])
def test_currencies_are_mapped_by_table(value: str, code: str) -> None:
    assert as_currency(value) == code


@pytest.mark.parametrize("value", ["", "XXX", "¥", "dollars", None, 156, "CN Y"])
def test_an_unknown_currency_is_never_assumed(value: Any) -> None:
    assert code_of(as_currency, value) == "currency_unknown"


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-20 21:30:05", datetime(2026, 11, 20, 13, 30, 5, tzinfo=UTC)),
        ("2026-11-20T21:30:05", datetime(2026, 11, 20, 13, 30, 5, tzinfo=UTC)),
        ("2026-11-20T21:30:05Z", datetime(2026, 11, 20, 21, 30, 5, tzinfo=UTC)),
        ("2026-11-20T21:30:05.123456789Z", datetime(2026, 11, 20, 21, 30, 5, 123456, tzinfo=UTC)),
        ("2026-11-20T21:30:05-04:00", datetime(2026, 11, 21, 1, 30, 5, tzinfo=UTC)),
        ("2026-11-20 21:30:05 +0800", datetime(2026, 11, 20, 13, 30, 5, tzinfo=UTC)),
        ("2026-11-20T21:30", datetime(2026, 11, 20, 13, 30, tzinfo=UTC)),
    ],
)
def test_times_without_offset_are_in_the_declared_zone(value: str, moment: datetime) -> None:
    assert within(as_time, value) == moment


@pytest.mark.parametrize(
    "value",
    ["0000-00-00", "0000-00-00 00:00:00", "2026-11-20", "20261120", "2026-13-01 00:00:00", "2026-02-30 00:00:00", "now",
     "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "２０２６-11-20 21:30:05", 1700000000, None, 1.5, {}, ""],
)  # fmt: skip
def test_refuses_a_time_that_is_none(value: Any) -> None:
    assert code_of(within, as_time, value) == "time"


def test_an_overlap_is_its_first_hour_and_a_gap_loses_nothing() -> None:
    overlap = [read_time(f"2026-10-25 0{hour}:30:00", BERLIN) for hour in (1, 2, 3)]
    assert overlap == [datetime(2026, 10, 24, 23, 30, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
                       datetime(2026, 10, 25, 2, 30, tzinfo=UTC)]  # fmt: skip
    assert read_time("2026-03-29 02:30:00", BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert read_time("2026-03-29 03:30:00", BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_source_may_fix_its_own_zone() -> None:
    assert within(as_time_in("UTC"), "2026-11-20 21:30:05") == datetime(2026, 11, 20, 21, 30, 5, tzinfo=UTC)


def test_epochs_are_read_in_the_unit_that_was_declared() -> None:
    moment = datetime(2026, 11, 20, 13, 30, 5, tzinfo=UTC)
    seconds = int(moment.timestamp())
    assert within(as_epoch_seconds, seconds) == within(as_epoch_seconds, str(seconds)) == moment
    assert within(as_epoch_millis, seconds * 1000 + 7) == moment.replace(microsecond=7000)
    assert code_of(within, as_epoch_seconds, seconds * 1000) == "time"
    assert code_of(within, as_epoch_millis, seconds) == "time"
    assert [code_of(within, as_epoch_seconds, bad) for bad in (0, -1, 1.5, True, "1e9", 10**40, None)] == ["time"] * 7


def test_flags_lists_and_counts() -> None:
    assert [as_bool(value) for value in (True, "true", 1, "1", "Yes")] == [True] * 5
    assert [as_bool(value) for value in (False, "false", 0, "0", "")] == [False] * 5
    assert code_of(as_bool, "maybe") == "bool"
    assert code_of(as_bool, None) == "bool"
    assert as_list({"a": 1}) == ({"a": 1},)
    assert code_of(as_list, "a") == "type"
    assert as_texts("a, b,,") == as_texts(["a ", "b", ""]) == ("a", "b")
    assert as_joined(" / ")(["12 Elm St", None, "", "Apt 3"]) == "12 Elm St / Apt 3"
    assert as_whole("0") == 0 and as_whole(Decimal("5.0")) == 5
    assert [code_of(as_whole, bad) for bad in (-1, "x", 1.5, Decimal("1.5"), "٣")] == ["number"] * 5


@given(st.one_of(st.text(max_size=30), st.floats(), st.integers(), st.none(), st.decimals(), st.booleans()))
def test_readers_answer_or_refuse_and_never_stumble(value: Any) -> None:
    for reader in (as_money, as_time, as_epoch_seconds, as_epoch_millis, as_scaled_money(2)):
        assert outcome(within, reader, value) in {"", "money", "time"}
    for plain in (as_text, as_quantity, as_quantity_decimal, as_whole, as_bool, as_currency):
        assert outcome(plain, value) in {"", "type", "qty", "number", "bool", "currency_unknown"}
