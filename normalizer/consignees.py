"""The consignee check of domain.md §3: whether somebody can be found and called at this address."""

from __future__ import annotations

import re
from typing import Final

from domain.facts import Sender
from domain.order import Consignee
from domain.values import changer
from domain.verdict import Problem

from .address import locate, official_names, with_changes
from .phone import is_plain_mobile, read_phone

_MASK: Final = re.compile(r"[*＊]")
_with_place: Final = changer(Consignee, "region", "province", "city", "district")


def check_consignee(consignee: Consignee, sender: Sender) -> tuple[Consignee, tuple[Problem, ...]]:
    """The consignee with region, official division names and a clean phone, as far as they are certain, and the problems
    `address_incomplete`, `address_unknown_region`, `address_masked`, `phone_invalid`. A privacy token that this sender may use
    stands for a masked address."""
    placed = _placed(consignee)
    return (placed, ()) if placed is not None else check_closely(consignee, sender)


def check_closely(consignee: Consignee, sender: Sender) -> tuple[Consignee, tuple[Problem, ...]]:
    """The same for any consignee."""
    changes, found = locate(consignee)
    country = changes.get("country", consignee.country)
    phone = read_phone(consignee.phone, country)
    masked = consignee.masked or phone.masked or _MASK.search(consignee.name + consignee.street) is not None
    if phone.valid:
        changes["phone"] = phone.number
        changes["phone_extension"] = phone.extension or consignee.phone_extension
    changes["masked"] = masked
    name, raw_phone = consignee.name.strip() or consignee.company.strip(), consignee.phone.strip()
    trusted = masked and sender.tokens_usable and bool(consignee.token)
    consignee = with_changes(consignee, changes)
    if trusted:
        return consignee, ()
    problems = list(found)
    if not name:
        problems.append(Problem("address_incomplete", "consignee.name", "no name"))
    if masked and not any(problem.code == "address_masked" for problem in problems):
        problems.append(Problem("address_masked", "consignee", "name, phone or address are masked"))
    if not phone.valid and not phone.masked:
        detail = "not a phone number" if raw_phone else "no phone"
        problems.append(Problem("phone_invalid", "consignee.phone", detail))
    return consignee, tuple(problems)


def _placed(consignee: Consignee) -> Consignee | None:
    """What `check_closely` makes of a consignee about whom nothing is in doubt, which is nearly every one: a place in China
    that is known by these words, a mobile, a name, a street, nothing masked. None: it has to look closer."""
    name, street = consignee.name, consignee.street
    text = name + street
    if (
        consignee.country != "CN"
        or consignee.masked
        or "*" in text
        or "＊" in text
        or not is_plain_mobile(consignee.phone)
    ):
        return None
    old = (consignee.province, consignee.city, consignee.district)
    place = official_names(*old)
    if place is None or not name.strip() or not street.strip():
        return None
    if place[0] == consignee.region and place[1:] == old:
        return consignee
    return _with_place(consignee, *place)
