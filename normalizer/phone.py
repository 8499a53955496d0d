"""Phone numbers as they really come: mobiles, landlines with extensions, marketplaces' virtual numbers, masked ones.

Facts (2026-11-21): virtual numbers are `188xxxxxxxx-123` with a numeric tail, which the target must dial too
(facts/china/taobao.md §7, H; design.md §6 also names `…转1234`, H); masked ones keep `*` in the middle
(facts/china/samples, H). Chinese numbers are split here before phonenumbers could misread them; the rest of the world
is asked of phonenumbers."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import phonenumbers

PhoneKind = Literal["mobile", "landline", "virtual", "service", "international", "masked", "unknown"]


@dataclass(frozen=True, slots=True)
class Phone:
    """`number` is the national form in China (`13812345678`, `0571-12345678`), E.164 elsewhere, and the raw text
    while it is not valid. `extension` is what is dialled after it. A masked number is not valid: nobody can call
    it."""

    number: str
    extension: str = ""
    masked: bool = False
    valid: bool = False
    kind: PhoneKind = "unknown"


_TAIL: Final = r"(?:\s*(?:转|轉|分机|分機|ext\.?|x|#|,|，|-|—|–|_)\s*:?([0-9]{1,8}))?"
_PREFIX: Final = r"(?:(?:\+|00)?86[\s-]?)?"
_MOBILE: Final = re.compile(_PREFIX + r"(1[3-9][0-9])[\s-]?([0-9]{4})[\s-]?([0-9]{4})" + _TAIL, re.IGNORECASE)
_LANDLINE: Final = re.compile(
    r"(?:(?:\+|00)86[\s-]?\(?0?|\(?0)(?:(10|2[0-9])|([3-9][0-9]{2}))\)?[\s-]?([1-9][0-9]{6,7})" + _TAIL, re.IGNORECASE
)
_SERVICE: Final = re.compile(r"([48]00)[\s-]?([0-9]{3,4})[\s-]?([0-9]{3,4})" + _TAIL, re.IGNORECASE)
_PLAIN_MOBILE: Final = re.compile(r"1[3-9][0-9]{9}")
_MASK: Final = re.compile(r"[*＊●•]|x{3,}", re.IGNORECASE)


def is_plain_mobile(raw: str) -> bool:
    """Whether `read_phone` in China would find nothing but a mobile number in this text, exactly as it stands."""
    return _PLAIN_MOBILE.fullmatch(raw) is not None


def read_phone(raw: str, country: str) -> Phone:
    """What a phone text says. `country` (ISO alpha-2) is where a number without + is from; "CN" has its own rules.
    Two numbers in one text are not valid: which one to call is a person's choice. Never raises."""
    if country == "CN" and _PLAIN_MOBILE.fullmatch(raw):
        return Phone(raw, valid=True, kind="mobile")
    return _read(raw[:80], country)


@lru_cache(maxsize=16384)
def _read(raw: str, country: str) -> Phone:
    text = "".join(char for char in unicodedata.normalize("NFKC", raw) if char.isprintable()).strip()
    if not text:
        return Phone("")
    if _MASK.search(text):
        return Phone(text, masked=True, kind="masked")
    if country == "CN" and (phone := _read_chinese(text)) is not None:
        return phone
    return _read_international(text, country)


def _read_chinese(text: str) -> Phone | None:
    if found := _MOBILE.fullmatch(text):
        number, extension = "".join(found.group(1, 2, 3)), found.group(4) or ""
        return Phone(number, extension, valid=True, kind="virtual" if extension else "mobile")
    if (found := _SERVICE.fullmatch(text)) and len(found.group(2) + found.group(3)) == 7:
        return Phone("-".join(found.group(1, 2, 3)), found.group(4) or "", valid=True, kind="service")
    if found := _LANDLINE.fullmatch(text):
        area = f"0{found.group(1) or found.group(2)}"
        return Phone(f"{area}-{found.group(3)}", found.group(4) or "", valid=True, kind="landline")
    if text.startswith("+") and not text.startswith("+86"):
        return None
    return Phone(text)


def _read_international(text: str, country: str) -> Phone:
    try:
        parsed = phonenumbers.parse(text, None if text.startswith("+") else country)
    except phonenumbers.NumberParseException:
        return Phone(text)
    if not phonenumbers.is_valid_number(parsed):
        return Phone(text)
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return Phone(number, parsed.extension or "", valid=True, kind="international")
