"""What is sealed, opened for a screen, and how much of it a screen may show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from domain.errors import ConfigError
from storage.rows import Row

from .bootstrap import Hub
from .dossier import DETAIL, PRIVATE

_LONG_DIGITS = re.compile(r"\d{5,}")


def open_private(hub: Hub, order: Row) -> dict[str, Any]:
    """The sealed part of an order; empty when its key is gone: the page must still be usable."""
    try:
        opened: dict[str, Any] = hub.vault.open_json(PRIVATE, order["id"], order["private"])
    except ConfigError:
        return {}
    return opened


def open_detail(hub: Hub, row: Row) -> dict[str, Any]:
    """What an exception says about itself; empty when its key is gone."""
    try:
        opened: dict[str, Any] = hub.vault.open_json(DETAIL, row["id"], row["detail"])
    except ConfigError:
        return {}
    return opened


def ship_to_of(private: Mapping[str, Any]) -> dict[str, Any]:
    """Where an order goes: what the hub made of it, or what the source said."""
    return private.get("ship_to") or private.get("consignee") or {}


def mask_name(name: str) -> str:
    """The first character: enough to tell two orders apart on a screen that others can see."""
    return name[:1] + "**" if name else ""


def mask_consignee(ship_to: Mapping[str, Any]) -> dict[str, str]:
    """Divisions, country and postcode as they are; the person and the door hidden."""
    phone, email, street = (str(ship_to.get(name) or "") for name in ("phone", "email", "street"))
    masked = {
        "name": mask_name(str(ship_to.get("name") or "")),
        "phone": f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 9 else "***" if phone else "",
        "street": f"{street[:2]}***" if street else "",
        "email": f"{email[:1]}***@{email.rpartition('@')[2]}" if "@" in email else "***" if email else "",
        "company": mask_name(str(ship_to.get("company") or "")),
    }
    plain = ("country", "province", "city", "district", "town", "postcode", "region")
    return {name: str(ship_to.get(name) or "") for name in plain} | masked


def mask_remark(text: object) -> str:
    """A remark without the long numbers people write into it: they are phones."""
    return _LONG_DIGITS.sub("***", str(text or ""))
