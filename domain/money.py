"""Money is an integer of minor units and a currency, read per field with the strictest grammar that real sources need.

Facts (2026-11-21): minor units of ISO 4217, table published 2026-01-01 (global/standards.md, H) - CLDR and payment
providers differ from it and are not used; codes without minor units (XAU, XDR …) are not money here. Live servers
write "100.0" for yen (H) and totals with sub-cents such as 78.3615 (H): the first is exact, the second is refused
unless the caller says how to round. "RMB" is what Chinese sources write for CNY (H)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Literal

from .errors import MappingError, RefusedError

Rounding = Literal["ROUND_HALF_UP", "ROUND_HALF_EVEN", "ROUND_HALF_DOWN", "ROUND_UP", "ROUND_DOWN"]

_CODES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
    "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
    "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
    "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG "
    "YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS: Mapping[str, int] = MappingProxyType({code: n for n, codes in _CODES.items() for code in codes.split()})

# What sources write besides the code in any letter case. "¥", "$" and "元" name more than one currency: not here.
ALIASES: Mapping[str, str] = MappingProxyType({"RMB": "CNY", "人民币": "CNY"})

# One amount. Sums of thousands of amounts still fit the 63 bits of a database column.
MAX_MINOR = 10**15
_MAX_TEXT = 40
# [0-9], not \d, and fullmatch, not $: \d takes full-width digits and $ allows a line end.
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_WIDE = Context(prec=2 * _MAX_TEXT)


def read_currency(text: object, *, path: str = "") -> str:
    """The ISO 4217 code of what a source wrote: "CNY", "usd" → "USD", "RMB" → "CNY". Anything else, "" included, raises
    MappingError `currency_unknown`: a currency is never assumed."""
    if isinstance(text, str):
        # A few other letters become ASCII in upper case ("ſ" is one): they are not accepted.
        code = text.upper() if text.isascii() else text
        code = ALIASES.get(code, code)
        if code in EXPONENTS:
            return code
    raise MappingError("currency_unknown", f"no ISO 4217 code with minor units: {str(text)[:20]!r}", path=path)


def to_minor(text: str | int | Decimal, currency: str, *, path: str = "", rounding: Rounding | None = None) -> int:
    """Minor units of a major-unit amount: ("59.970", "USD") → 5997, ("100.0", "JPY") → 100, (12, "KWD") → 12000.

    Text is ASCII digits with one optional "." and an optional "-" (refund totals are negative in several sources;
    whether a sign makes sense is the caller's question). Raises MappingError `money` for anything else - spaces, "+",
    exponents, NaN, full-width digits, bool, float - for more than MAX_MINOR, and for decimals the currency does not
    have unless they are zeros or `rounding` is given; `currency_unknown` as `read_currency` does. `path` goes into the
    error."""
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        exponent = EXPONENTS[read_currency(currency, path=path)]
    plain = text if isinstance(text, str) else _plain(text, path)
    match = _NUMBER.fullmatch(plain) if len(plain) <= _MAX_TEXT else None
    if match is None:
        raise MappingError("money", f"not an amount: {plain[:_MAX_TEXT]!r}", path=path)
    sign, whole, decimals = match.groups(default="")
    kept, lost = decimals[:exponent].ljust(exponent, "0"), decimals[exponent:].rstrip("0")
    if not lost:
        minor = int(whole + kept)
        minor = -minor if sign else minor
    elif rounding is None:
        raise MappingError("money", f"{currency} has {exponent} decimals, the source says {plain!r}", path=path)
    else:
        minor = int(_WIDE.scaleb(Decimal(plain), exponent).to_integral_value(rounding, _WIDE))
    if abs(minor) > MAX_MINOR:
        raise MappingError("money", f"out of range: {plain!r}", path=path)
    return minor


def _plain(value: object, path: str) -> str:
    """An int or Decimal as text; a bool is an int to Python and a float has already lost its cents, so both are
    refused."""
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) <= MAX_MINOR:
            return str(value)
        raise MappingError("money", "out of range", path=path)
    if isinstance(value, Decimal) and value.is_finite():
        exponent = value.as_tuple().exponent
        # 1E+9 is an exponent trick; 1E-1000000 would write a megabyte of zeros.
        if isinstance(exponent, int) and -_MAX_TEXT < exponent <= 0:
            return f"{value:f}"
    raise MappingError("money", f"not an exact amount: a {type(value).__name__}", path=path)


def from_minor(amount: int, currency: str) -> str:
    """Major units as text with exactly the currency's decimals: (5997, "USD") → "59.97", (-5, "USD") → "-0.05",
    (100, "JPY") → "100". Raises MappingError `currency_unknown`."""
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        exponent = EXPONENTS[read_currency(currency)]
    if not exponent:
        return str(int(amount))
    digits = str(abs(amount)).rjust(exponent + 1, "0")
    return f"{'-' if amount < 0 else ''}{digits[:-exponent]}.{digits[-exponent:]}"


@dataclass(frozen=True, slots=True)
class Money:
    """`amount` minor units of `currency`, a code of EXPONENTS. Adding or comparing two currencies raises RefusedError
    `currency_mixed`; a wrong type or code raises MappingError `money` or `currency_unknown`."""

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount) is not int:
            raise MappingError("money", f"minor units are an int, not {type(self.amount).__name__}")
        if self.currency not in EXPONENTS:
            raise MappingError("currency_unknown", f"not a currency code: {self.currency[:20]!r}")

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise RefusedError("currency_mixed", f"{self.currency} and {other.currency}")
        return other.amount

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same(other)

    def __str__(self) -> str:
        return f"{from_minor(self.amount, self.currency)} {self.currency}"
