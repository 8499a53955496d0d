"""Phones as they really come are recognised; what nobody could dial is not called valid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer.phone import Phone, read_phone


@pytest.mark.parametrize(
    "raw",
    ["13812345678", "+86 138 1234 5678", "+8613812345678", "008613812345678", "86-13812345678", "138-1234-5678",
     "１３８１２３４５６７８", " 13812345678 ", "138\u200b12345678"],
)  # fmt: skip
def test_a_chinese_mobile_is_eleven_digits_however_it_is_written(raw: str) -> None:
    assert read_phone(raw, "CN") == Phone("13812345678", valid=True, kind="mobile")


@pytest.mark.parametrize(
    ("raw", "number", "extension"),
    [
        ("18800000000-1234", "18800000000", "1234"),
        ("18800000000转1234", "18800000000", "1234"),
        ("18800000000 转 1234", "18800000000", "1234"),
        ("18800000000转分机1", "18800000000转分机1", ""),
        ("18800000000 ext.12", "18800000000", "12"),
        ("18800000000#123", "18800000000", "123"),
    ],
)
def test_a_virtual_number_is_split_from_its_extension(raw: str, number: str, extension: str) -> None:
    phone = read_phone(raw, "CN")
    assert (phone.number, phone.extension) == (number, extension)
    assert phone.valid == (phone.kind == "virtual") == bool(extension)


@pytest.mark.parametrize(
    ("raw", "number", "extension"),
    [
        ("0571-12345678", "0571-12345678", ""),
        ("057112345678", "0571-12345678", ""),
        ("(0571)12345678", "0571-12345678", ""),
        ("0571-12345678-801", "0571-12345678", "801"),
        ("0571-12345678转801", "0571-12345678", "801"),
        ("010-62345678", "010-62345678", ""),
        ("01062345678", "010-62345678", ""),
        ("+86 571 12345678", "0571-12345678", ""),
        ("0311-2345678", "0311-2345678", ""),
    ],
)
def test_a_landline_has_its_area_code_and_maybe_an_extension(raw: str, number: str, extension: str) -> None:
    assert read_phone(raw, "CN") == Phone(number, extension, valid=True, kind="landline")


def test_a_service_number_is_valid() -> None:
    assert read_phone("400-123-4567", "CN").kind == "service"
    assert read_phone("4001234567", "CN").valid


@pytest.mark.parametrize("raw", ["138****5678", "138＊＊＊＊5678", "***", "138xxxx5678", "+1512***0123"])
def test_a_masked_number_is_masked_and_not_valid(raw: str) -> None:
    phone = read_phone(raw, "CN")
    assert (phone.masked, phone.valid) == (True, False)


@pytest.mark.parametrize(
    "raw",
    ["", " ", "12345678", "1381234567", "138123456789", "23812345678", "2123456789", "13812345678,13912345678",
     "13812345678/0571-12345678", "张三", "0", "-", "+861", "5712345678"],
)  # fmt: skip
def test_what_nobody_could_dial_is_not_valid(raw: str) -> None:
    phone = read_phone(raw, "CN")
    assert (phone.valid, phone.masked) == (False, False)


@pytest.mark.parametrize(
    ("raw", "country", "number", "extension"),
    [
        ("+15125550123", "US", "+15125550123", ""),
        ("(512) 555-0123 ext. 12", "US", "+15125550123", "12"),
        ("0151 25550123", "DE", "+4915125550123", ""),
        ("6123 4567", "HK", "+85261234567", ""),
        ("+85261234567", "CN", "+85261234567", ""),
        ("+8613812345678", "US", "+8613812345678", ""),
    ],
)
def test_other_countries_get_e164(raw: str, country: str, number: str, extension: str) -> None:
    phone = read_phone(raw, country)
    assert (phone.number, phone.extension, phone.valid, phone.kind) == (number, extension, True, "international")


@pytest.mark.parametrize(("raw", "country"), [("12", "US"), ("abc", "US"), ("5550123", ""), ("+999123456", "US")])
def test_other_countries_refuse_what_their_plan_does_not_have(raw: str, country: str) -> None:
    assert not read_phone(raw, country).valid


@given(st.text(max_size=100), st.sampled_from(["CN", "US", "HK", "", "XX"]))
def test_any_text_gets_the_same_answer_twice_and_never_an_error(raw: str, country: str) -> None:
    assert read_phone(raw, country) == read_phone(raw, country)


@given(st.from_regex(r"\A1[3-9][0-9]{9}\Z"), st.from_regex(r"\A[0-9]{1,6}\Z"))
def test_reading_what_was_read_changes_nothing(number: str, extension: str) -> None:
    phone = read_phone(f"{number}-{extension}", "CN")
    assert (phone.number, phone.extension) == (number, extension)
    assert read_phone(phone.number, "CN").number == number
