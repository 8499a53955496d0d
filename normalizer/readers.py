"""Readers: one source value → one exact value, or MappingError with a stable code and no guess (promises.md §4, rows
17-19, 34-37, 40-42).

Policy for ids: kept exactly as sent - no trimming, no case folding, no full-width folding - so `123`, `000123`, `A1`,
`a1` and `A1 ` are five ids; an id that is empty or only blanks is refused. Numbers become their exact decimal text;
binary floats are refused everywhere, because the digits the source wrote are already lost in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from domain.errors import MappingError
from domain.money import EXPONENTS, read_currency, to_minor

MAX_QUANTITY: Final = 1_000_000  # row 34: 1e9 of anything is a fault of the source, not an order
# Earlier is a null date, or seconds read as milliseconds: no source here existed then.
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?(?:[Zz]|[+-]\d\d:?\d\d))?", re.ASCII
)
_SHORT: Final = 15  # characters of an amount that is in range whatever its digits are
_QUANTITY: Final = re.compile(r"[1-9][0-9]{0,6}")
_WHOLE: Final = re.compile(r"([1-9][0-9]{0,6})(?:\.0+)?")
_TRUE: Final = frozenset({"true", "1", "yes", "y"})
_FALSE: Final = frozenset({"false", "0", "no", "n", ""})


@dataclass(slots=True)
class Context:
    """What a reader may need besides the value. `currency` is "" until the order's own currency has been read;
    `order` is the whole record and `prefix` the dotted path of the line being read, with its final dot."""

    zone: tzinfo
    order: Mapping[str, Any]
    currency: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Contextual:
    """A reader that needs the order's currency or the declared zone. `code` names the failure when the value is
    missing; `blank_is_missing` lets "" take the default of its At. `texts` gives, for a zone and a currency, a function
    that reads texts as `read` does, only faster, with a MappingError where `read` raises one; such a reader never looks
    at the context's order."""

    read: Callable[[Any, Context], Any]
    code: str
    blank_is_missing: bool = False
    texts: Callable[[Context], Callable[[str], Any]] | None = None


def as_is(value: Any) -> Any:
    """The value itself, for functions that have already read it."""
    return value


def as_text(value: Any) -> str:
    """Text exactly as sent; integers and decimals as their exact digits. Errors: `type` for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    raise MappingError("type", f"text or an exact number was expected, not {type(value).__name__}")


def as_trimmed(value: Any) -> str:
    """Text for people (names, streets) without surrounding white space; never for ids."""
    return as_text(value).strip()


def as_joined(separator: str = ", ") -> Callable[[Any], str]:
    """A reader for a list of texts shown as one (two address lines): blanks are left out."""

    def read(value: Any) -> str:
        return separator.join(text for item in as_list(value) if item is not None and (text := as_trimmed(item)))

    return read


def as_quantity(value: Any) -> int:
    """A positive whole number of pieces up to MAX_QUANTITY: an int, or text of ASCII digits with no sign, point,
    blank or leading zero. Errors: `qty` (0, -1, 1e9, 1.5, "1 ")."""
    if type(value) is int:
        if 0 < value <= MAX_QUANTITY:
            return value
    elif isinstance(value, str) and _QUANTITY.fullmatch(value) and (count := int(value)) <= MAX_QUANTITY:
        return count
    raise MappingError("qty", f"not a whole number from 1 to {MAX_QUANTITY}: {_shown(value)}")


def as_quantity_decimal(value: Any) -> int:
    """As `as_quantity`, for sources that write pieces as decimals ("2.0000"): only zeros may follow the point.
    Errors: `qty`."""
    text = format(value, "f") if isinstance(value, Decimal) and value.is_finite() else value
    if isinstance(text, str) and (found := _WHOLE.fullmatch(text)):
        return as_quantity(int(found.group(1)))
    return as_quantity(text)


def as_whole(value: Any) -> int:
    """A whole number from 0 up (grams, counts). Errors: `number`."""
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, Decimal) and value.is_finite() and value >= 0 and value == value.to_integral_value():
        return int(value)
    raise MappingError("number", f"not a whole number from 0 up: {_shown(value)}")


def as_bool(value: Any) -> bool:
    """true/false, 1/0, yes/no in any case; "" is false. Errors: `bool`."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if text in _TRUE:
        return True
    if text in _FALSE and isinstance(value, (str, int)):
        return False
    raise MappingError("bool", f"neither true nor false: {_shown(value)}")


def as_list(value: Any) -> Sequence[Any]:
    """A list as sent; a single object becomes a list of one, because XML and some JSON sources fold it. Errors:
    `type`."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, Mapping):
        return (value,)
    raise MappingError("type", f"a list was expected, not {type(value).__name__}")


def as_texts(value: Any) -> tuple[str, ...]:
    """A list of texts, or one text with commas (tags). Blanks are left out."""
    parts = value.split(",") if isinstance(value, str) else as_list(value)
    return tuple(text for part in parts if (text := as_trimmed(part)))


def as_currency(value: Any) -> str:
    """The ISO 4217 code of what the source wrote, by `domain.money.read_currency`. Errors: `currency_unknown`."""
    return (
        value if type(value) is str and value in EXPONENTS else read_currency(value if isinstance(value, str) else "")
    )


def _money(value: Any, context: Context) -> int:
    return _minor(value, context.currency)


def _minor(value: Any, currency: str) -> int:
    minor = to_minor(value, currency)
    if minor < 0:
        raise MappingError("money", f"a negative amount: {_shown(value)}")
    return minor


@lru_cache(maxsize=8)
def _minors_in(currency: str) -> Callable[[str], int]:
    """Only for texts: to a dictionary 1, 1.0, True and Decimal("1") are one key. Prices come again and again; and nearly every
    amount has no sign and exactly the currency's decimals."""
    digits = EXPONENTS.get(currency, 0)

    def read(text: str) -> int:
        if text.isascii() and len(text) <= _SHORT:
            whole, _, decimals = text.partition(".")
            if len(decimals) == digits > 0 and whole.isdigit() and decimals.isdigit():
                return int(whole + decimals)
        return _minor(text, currency)

    return lru_cache(maxsize=2048)(read)


as_money: Final = Contextual(_money, "money", texts=lambda context: _minors_in(context.currency))
"""Major units of the order's currency ("12.30", 12, Decimal) → minor units, as `domain.money.to_minor` reads them,
and never negative. Errors: `money`, `currency_unknown`."""


def as_scaled_money(digits: int) -> Contextual:
    """A reader for whole numbers of 10^-digits major units: fen (2), or a source that always multiplies by 100, yen
    too (facts/global/vendure-medusa-saleor.md, 2026-11-21, H). Errors: `money`."""

    def read(value: Any, context: Context) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if type(value) is not int:
            raise MappingError("money", f"not a whole number of minor units: {_shown(value)}")
        return _money(Decimal(value).scaleb(-digits), context)

    return Contextual(read, "money")


def money_sum(*paths: str, minus: tuple[str, ...] = ()) -> Callable[[Mapping[str, Any]], Decimal]:
    """A function for At: Σ of the top-level fields `paths` less those in `minus`, in major units, exact. Fields that
    are absent or "" count as nothing. Errors: `money`."""

    def total(record: Mapping[str, Any]) -> Decimal:
        result = Decimal(0)
        for sign, names in ((1, paths), (-1, minus)):
            for name in names:
                result += sign * _decimal(record.get(name), name)
        return result

    return total


def _decimal(value: Any, name: str) -> Decimal:
    if value is None or value == "":
        return Decimal(0)
    if isinstance(value, (float, bool)) or (
        isinstance(value, str) and not (value.isascii() and value == value.strip())
    ):
        raise MappingError("money", f"{name} is not an exact amount: {_shown(value)}")
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise MappingError("money", f"{name} is not an amount: {_shown(value)}") from None
    if not number.is_finite() or abs(number) >= Decimal(10) ** 15:
        raise MappingError("money", f"{name} is not an amount: {_shown(value)}")
    return number


def read_time(value: Any, zone: tzinfo) -> datetime:
    """ISO 8601 or "yyyy-MM-dd HH:mm:ss" → aware UTC. Without an offset the declared `zone` counts: a time inside a
    DST overlap is its first occurrence, one inside a gap is read with the offset before the gap (so it lands after
    it) - every local time has exactly one instant, and none is skipped. Errors: `time`."""
    if isinstance(value, datetime):
        moment = value
    else:
        if not isinstance(value, str) or not _ISO.fullmatch(value):
            raise MappingError("time", f"not a date and time: {_shown(value)}")
        try:
            moment = datetime.fromisoformat(
                value if " " not in value[11:] else value[:11] + value[11:].replace(" ", "")
            )
        except ValueError:
            raise MappingError("time", f"no such date and time: {_shown(value)}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return _plausible(moment, value)


def _plausible(moment: datetime, value: Any) -> datetime:
    try:
        utc = moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise MappingError("time", f"out of range: {_shown(value)}") from None
    if utc < _EARLIEST:
        raise MappingError("time", f"before the year 2000: {_shown(value)}")
    return utc


def _epoch(divisor: int) -> Callable[[Any, Context], datetime]:
    def read(value: Any, _: Context) -> datetime:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
            value = int(value)
        if type(value) is not int:
            raise MappingError(
                "time", f"not a whole number of {'milli' if divisor == 1000 else ''}seconds: {_shown(value)}"
            )
        seconds, rest = divmod(value, divisor)
        try:
            moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * (1_000_000 // divisor))
        except (OverflowError, ValueError, OSError):
            raise MappingError("time", f"out of range, milliseconds taken for seconds? {_shown(value)}") from None
        return _plausible(moment, value)

    return read


_MINUTES: Final = {
    f"{hour:02}:{minute:02}": timedelta(hours=hour, minutes=minute) for hour in range(24) for minute in range(60)
}
_SECONDS: Final = {f":{second:02}": timedelta(seconds=second) for second in range(60)}
_TAIL: Final = re.compile(r"(?: ?(?:[Zz]|[+-]\d\d:?\d\d))?", re.ASCII)


@lru_cache(maxsize=1024)
def _day(text: str, zone: tzinfo) -> datetime | None:
    """The first moment of a day, told as its date, what stands between date and time, and what follows the seconds. None where
    the hours of that day are not 24 of equal length, or are no times at all."""
    if not _TAIL.fullmatch(text, 11):
        return None
    try:
        first, *later = [read_time(f"{text[:11]}{hour:02}:00:00{text[11:]}", zone) for hour in range(24)]
        last = read_time(f"{text[:11]}23:59:59{text[11:]}", zone)
    except MappingError:
        return None
    even = all(moment - first == timedelta(hours=hour) for hour, moment in enumerate(later, 1))
    return first if even and last - later[-1] == timedelta(minutes=59, seconds=59) else None


def read_text_time(text: str, zone: tzinfo) -> datetime:
    """`read_time` for texts: days come again and again, and a moment of one is a sum."""
    day = _day(text[:11] + text[19:], zone)
    minutes, seconds = _MINUTES.get(text[11:16]), _SECONDS.get(text[16:19])
    if day is None or minutes is None or seconds is None:
        return read_time(text, zone)
    return day + minutes + seconds


as_time: Final = Contextual(
    lambda value, context: read_time(value, context.zone),
    "time",
    blank_is_missing=True,
    texts=lambda context: partial(read_text_time, zone=context.zone),
)
"""`read_time` in the zone declared for the source."""

as_epoch_seconds: Final = Contextual(_epoch(1), "time", blank_is_missing=True)
"""Whole seconds since 1970. Milliseconds given here leave the calendar or the future limit and are `time`."""

as_epoch_millis: Final = Contextual(_epoch(1000), "time", blank_is_missing=True)
"""Whole milliseconds since 1970. Seconds given here fall before the year 2000 and are `time`."""


def as_time_in(zone_name: str) -> Contextual:
    """As `as_time`, but naive values are always in `zone_name` - for a source whose document fixes the zone."""
    zone = ZoneInfo(zone_name)
    return Contextual(
        lambda value, _: read_time(value, zone),
        "time",
        blank_is_missing=True,
        texts=lambda _: partial(read_text_time, zone=zone),
    )


def _shown(value: Any) -> str:
    """The start of a bad value for people: one line, bounded, whatever was sent."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "an integer of too many digits"
    return text if len(text) <= 60 else text[:57] + "..."
