"""Money is read strictly, written exactly and never mixed."""

from __future__ import annotations

import ast
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import MappingError, RefusedError
from domain.money import EXPONENTS, MAX_MINOR, Money, from_minor, read_currency, to_minor
from tests.source import ROOT

CURRENCIES = st.sampled_from(["JPY", "KRW", "CNY", "USD", "EUR", "KWD", "BHD", "CLF"])


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("59.97", "USD", 5997),
        ("59.970", "USD", 5997),
        ("100.0", "JPY", 100),
        ("100", "JPY", 100),
        ("2.5", "KWD", 2500),
        ("2.345", "KWD", 2345),
        ("0.0001", "CLF", 1),
        ("1234", "HUF", 123400),
        ("-10.00", "EUR", -1000),
        ("-0.00", "EUR", 0),
        ("007.50", "EUR", 750),
        (12, "KWD", 12000),
        (-3, "USD", -300),
        (Decimal("44.90"), "EUR", 4490),
        (Decimal("44.9000"), "EUR", 4490),
        ("199.00", "RMB", 19900),
        ("1.5", "usd", 150),
    ],
)
def test_reads_amounts_by_the_currency_exponent(text: str | int | Decimal, currency: str, minor: int) -> None:
    assert to_minor(text, currency) == minor


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "1 ",
            " 1",
            "1\n",
            "+1",
            "--1",
            "1.",
            ".5",
            ".",
            "-",
            "1,000",
            "1,5",
            "1_000",
            "1e3",
            "1E-2",
            "0x10",
        ),
        *(
            "NaN",
            "nan",
            "Infinity",
            "-inf",
            "１２",
            "1.２",
            "١٢",
            "²",
            "1.2.3",
            "¥1",
            "1元",
            "None",
            "9" * 41,
            "9" * 17,
        ),
        *(
            Decimal("NaN"),
            Decimal("sNaN"),
            Decimal("Infinity"),
            Decimal("1E+3"),
            Decimal("1E-1000000"),
            Decimal("0E+5"),
        ),
        *(True, False, 1.5, 100.0, None, [], {}, b"1", 10**19, 10**400),
    ],
)
def test_refuses_what_is_not_an_exact_amount(text: object) -> None:
    with pytest.raises(MappingError) as caught:
        to_minor(text, "USD", path="lines.0.price")  # type: ignore[arg-type]
    assert caught.value.code == "money"
    assert caught.value.path == "lines.0.price"


@pytest.mark.parametrize(
    ("text", "currency"), [("1.001", "CNY"), ("100.5", "JPY"), ("1.2345", "KWD"), ("78.3615", "EUR")]
)
def test_refuses_decimals_the_currency_does_not_have(text: str, currency: str) -> None:
    for amount in (text, Decimal(text)):
        with pytest.raises(MappingError, match="decimals"):
            to_minor(amount, currency)


def test_rounds_sub_cents_only_when_told_how() -> None:
    assert to_minor("78.3615", "EUR", rounding="ROUND_HALF_UP") == 7836
    assert to_minor("78.365", "EUR", rounding="ROUND_HALF_UP") == 7837
    assert to_minor("78.365", "EUR", rounding="ROUND_HALF_EVEN") == 7836
    assert to_minor("-78.365", "EUR", rounding="ROUND_DOWN") == -7836
    assert to_minor(Decimal("99.5"), "JPY", rounding="ROUND_HALF_UP") == 100


@pytest.mark.parametrize(
    "currency", ["", "XTS", "XAU", "XDR", "HRK", "BTC", "¥", "元", " USD", "USD ", "uſd", None, 156]
)
def test_refuses_a_currency_nobody_can_name(currency: object) -> None:
    with pytest.raises(MappingError) as caught:
        to_minor("1", currency, path="currency")  # type: ignore[arg-type]
    assert caught.value.code == "currency_unknown"


def test_knows_what_sources_call_a_currency() -> None:
    assert [read_currency(text) for text in ("CNY", "cny", "RMB", "rmb", "人民币", "jpy")] == [*["CNY"] * 5, "JPY"]


def test_holds_the_table_of_iso_4217() -> None:
    assert len(EXPONENTS) == 165
    assert {
        code: EXPONENTS[code] for code in ("HUF", "TWD", "IDR", "COP", "MGA", "MRU", "ISK", "UGX", "IQD", "UYW")
    } == {
        **dict.fromkeys(("HUF", "TWD", "IDR", "COP", "MGA", "MRU"), 2),
        **dict.fromkeys(("ISK", "UGX"), 0),
        "IQD": 3,
        "UYW": 4,
    }


@given(st.integers(-MAX_MINOR, MAX_MINOR), CURRENCIES)
def test_what_is_written_is_read_back(amount: int, currency: str) -> None:
    text = from_minor(amount, currency)
    assert to_minor(text, currency) == amount
    assert to_minor(Decimal(text), currency) == amount
    assert len(text.partition(".")[2]) == EXPONENTS[currency]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9), CURRENCIES)
def test_never_changes_an_amount_silently(value: Decimal, currency: str) -> None:
    try:
        minor = to_minor(f"{value:f}", currency)
    except MappingError:
        assert value.scaleb(EXPONENTS[currency]) % 1
    else:
        assert Decimal(minor) == value.scaleb(EXPONENTS[currency])


@given(st.text(max_size=12))
def test_any_text_is_an_amount_or_a_mapping_error(text: str) -> None:
    try:
        to_minor(text, "USD")
    except MappingError:
        return
    assert text.isascii() and not text.isspace()


def test_adds_and_compares_only_one_currency() -> None:
    five, two = Money(500, "EUR"), Money(200, "EUR")
    assert (five + two, five - two, -two) == (Money(700, "EUR"), Money(300, "EUR"), Money(-200, "EUR"))
    assert two < five and two <= five and five > two and five >= two and five != two
    assert str(five) == "5.00 EUR"
    other = Money(500, "USD")
    assert other != five
    for mixed in (
        lambda: five + other,
        lambda: five - other,
        lambda: five < other,
        lambda: five <= other,
        lambda: five > other,
        lambda: five >= other,
    ):
        with pytest.raises(RefusedError, match="currency_mixed"):
            mixed()


@pytest.mark.parametrize(("amount", "currency"), [(True, "EUR"), (1.0, "EUR"), ("1", "EUR"), (1, "eur"), (1, "XTS")])
def test_money_holds_an_int_and_a_code(amount: object, currency: str) -> None:
    with pytest.raises(MappingError):
        Money(amount, currency)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["money", "allocation", "order", "facts"])
def test_no_float_in_modules_that_hold_money(name: str) -> None:
    tree = ast.parse((ROOT / "domain" / f"{name}.py").read_text(encoding="utf-8"))
    floats = [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    ]
    assert not floats
