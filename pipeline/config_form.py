"""The form of a configuration document, checked before anything is stored: what is missing or of the wrong kind is named by
its place (`listings.3.quantity`). What names mean - channels, kinds, accounts - is checked where they are looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from domain.errors import ConfigError

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "partners": ("name",),
    "warehouses": ("name", "kind"),
    "accounts": ("name", "channel"),
    "keys": ("name", "key"),
    "listings": ("account", "external_sku", "sku"),
    "stock": ("warehouse", "sku"),
    "bundles": ("sku", "components"),
    "goods": ("sku",),
}
_SCOPES = ("partner", "clerk", "admin", "read")
_MOST = 2_000_000_000


def check_form(values: Mapping[str, Any]) -> None:
    """Raises ConfigError `config_file` with the place of the first fault."""
    for room, required in _REQUIRED.items():
        entries = values.get(room, [])
        if not isinstance(entries, list):
            raise _wrong(room, "a list was expected")
        for number, entry in enumerate(entries):
            _check_entry(room, f"{room}.{number}", entry, required)
    if "ruleset" in values and not _is_text(_get(values["ruleset"], "file")):
        raise _wrong("ruleset.file", "the name of a file was expected")
    if "csv" in values and not isinstance(_get(values["csv"], "files"), list):
        raise _wrong("csv.files", "a list of file names was expected")


def read_moment(value: object) -> datetime | None:
    """A time with an offset, None for nothing. Raises ValueError."""
    if value is None or value == "":
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset")
    return moment


def _check_entry(room: str, place: str, entry: Any, required: tuple[str, ...]) -> None:
    if not isinstance(entry, Mapping):
        raise _wrong(place, "a table was expected")
    for name in required:
        if name != "components" and not _is_text(entry.get(name)):
            raise _wrong(f"{place}.{name}", "a text is missing")
    for name in ("settings", "options", "info"):
        if not isinstance(entry.get(name, {}), Mapping):
            raise _wrong(f"{place}.{name}", "a table was expected")
    for (owner, name), fits in _KINDS.items():
        if owner == room and entry.get(name) is not None and entry[name] != "" and not fits(entry[name]):
            raise _wrong(f"{place}.{name}", f"not possible: {str(entry[name])[:60]!r}")
    for owner, name, inner in _TABLES:
        if owner == room:
            _check_table(f"{place}.{name}", entry.get(name, {}), inner)
    if room == "bundles":
        _check_parts(f"{place}.components", entry.get("components"))


def _check_table(place: str, told: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], bool]]) -> None:
    """Values of a table that have a form of their own; names nobody knows here are left to whoever reads them."""
    for name, fits in kinds.items():
        if told.get(name) is not None and not fits(told[name]):
            raise _wrong(f"{place}.{name}", f"not possible: {str(told[name])[:60]!r}")


def read_minute(text: str) -> int:
    """The minute of the day of a time such as "16:00". Raises ValueError."""
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(hour) in {1, 2} and len(minute) == 2):
        raise ValueError("a time such as 16:00 was expected")
    if int(hour) > 23 or int(minute) > 59:
        raise ValueError("there is no such time of day")
    return int(hour) * 60 + int(minute)


def _is_minute(value: Any) -> bool:
    try:
        return isinstance(value, str) and read_minute(value) >= 0
    except ValueError:
        return False


def _number(least: int, most: int = _MOST) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _counts(least: int) -> Callable[[Any], bool]:
    """A table of whole numbers by name."""
    fits = _number(least)
    return lambda value: isinstance(value, Mapping) and all(_is_text(k) and fits(v) for k, v in value.items())


def _check_parts(place: str, parts: Any) -> None:
    if not isinstance(parts, list) or not parts:
        raise _wrong(place, "a list of [sku, quantity] was expected")
    for part in parts:
        if not (isinstance(part, list) and len(part) == 2 and _is_text(part[0]) and _whole(1)(part[1])):
            raise _wrong(place, "a list of [sku, quantity] was expected")


def _whole(least: int) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        text = str(value)
        return not isinstance(value, bool) and text.isascii() and text.isdigit() and least <= int(text[:19]) <= _MOST

    return fits


def _is_moment(value: Any) -> bool:
    try:
        read_moment(value)
    except ValueError:
        return False
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _wrong(place: str, why: str) -> ConfigError:
    return ConfigError("config_file", f"{place}: {why}")


_KINDS: Mapping[tuple[str, str], Callable[[Any], bool]] = {
    ("partners", "contract_from"): _is_moment,
    ("partners", "contract_to"): _is_moment,
    ("keys", "scope"): _SCOPES.__contains__,
    ("listings", "quantity"): _whole(1),
    ("listings", "floor_price"): _whole(0),
    ("stock", "on_hand"): _whole(0),
    ("stock", "buffer"): _whole(0),
    ("goods", "weight_grams"): _whole(0),
    ("goods", "volume_ml"): _whole(0),
    ("goods", "title"): _is_text,
    ("goods", "supplier"): lambda value: isinstance(value, str),
    ("goods", "classes"): lambda value: isinstance(value, str) or _texts(value),
}
_OPTIONS: Mapping[str, Callable[[Any], bool]] = {
    "stock_buffers": _counts(0),
    "unpaid_minutes": _counts(1),
    "reserve": lambda value: value in ("on_order", "on_payment"),
    "credit_limit": _number(0, 10**15),
    "max_calls": _number(1),
}
# (section, table inside an entry, its values that have a form)
_TABLES = (
    (
        "warehouses",
        "info",
        {
            "capacity": _number(0),
            "cut_off": _is_minute,
            "utc_offset": _number(-840, 840),
            "parcel_cost": _number(0),
            "suppliers": _texts,
            "max_calls": _number(1),
        },
    ),
    ("accounts", "options", _OPTIONS),
    ("partners", "options", _OPTIONS),
)
