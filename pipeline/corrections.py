"""What a person corrected on an order: a list of (path, value) kept with it and applied to every version the source
sends, until the source itself changes the corrected field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from domain.errors import RefusedError
from domain.order import Line, Order

CONSIGNEE_FIELDS = ("name", "phone", "country", "province", "city", "district", "town", "street", "postcode", "email")
LINE_FIELDS = ("external_sku",)


def read_correction(order: Order, path: str, value: str) -> dict[str, str]:
    """Check a correction and remember what it replaces. RefusedError `correction` for a path that may not be changed."""
    return {"path": path, "value": value, "was": str(_current(order, path))}


def apply_corrections(order: Order, corrections: Sequence[Mapping[str, Any]]) -> Order:
    """The order as a person corrected it. A correction whose field the source has changed since is left out."""
    for correction in corrections:
        path, value = correction["path"], correction["value"]
        try:
            current = str(_current(order, path))
        except RefusedError:
            continue
        if current == correction["was"]:
            order = _with(order, path, value)
    return order


def _current(order: Order, path: str) -> Any:
    room, _, name = path.partition(".")
    if room == "consignee" and name in CONSIGNEE_FIELDS:
        return getattr(order.consignee, name)
    if room == "lines":
        line, name = _line(order, name)
        return getattr(line, name)
    raise RefusedError("correction", f"{path} cannot be corrected")


def _with(order: Order, path: str, value: str) -> Order:
    room, _, name = path.partition(".")
    if room == "consignee":
        changed: dict[str, Any] = {name: value, "region": "", "masked": False}
        return replace(order, consignee=replace(order.consignee, **changed))
    number, _, field = name.partition(".")
    lines = list(order.lines)
    changed = {field: value}
    lines[int(number)] = replace(lines[int(number)], **changed)
    return replace(order, lines=tuple(lines))


def _line(order: Order, rest: str) -> tuple[Line, str]:
    number, _, name = rest.partition(".")
    if not number.isdecimal() or int(number) >= len(order.lines) or name not in LINE_FIELDS:
        raise RefusedError("correction", f"lines.{rest} cannot be corrected")
    return order.lines[int(number)], name
