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
    if room == "bundles":
        _check_parts(f"{place}.components", entry.get("components"))


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
}
