"""Where places lie in relation to one another, as far as a division code tells.

Source: GB/T 2260 division codes - the first two digits are the province, the first four the city, and the first digit
its geographic group, which trade splits further into the seven groups below (2026-11-21, H for the codes; M for the
groups: 华东/华中/华南 are custom, not a standard). Elsewhere ISO 3166-1 and 3166-2 (facts/global/standards.md, H)."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from domain.order import Consignee

_MEMBERS = {
    "华北": ("11", "12", "13", "14", "15"),
    "东北": ("21", "22", "23"),
    "华东": ("31", "32", "33", "34", "35", "36", "37"),
    "华中": ("41", "42", "43"),
    "华南": ("44", "45", "46"),
    "西南": ("50", "51", "52", "53", "54"),
    "西北": ("61", "62", "63", "64", "65"),
    "港澳台": ("71", "81", "82"),
}
GROUPS = MappingProxyType({code: name for name, codes in _MEMBERS.items() for code in codes})

SAME_CITY, SAME_PROVINCE, SAME_GROUP, SAME_COUNTRY, ELSEWHERE = range(5)
NEARNESS = ("same city", "same province", "same part of the country", "same country", "another country")


def is_region(code: str) -> bool:
    """Whether `code` can stand in a ruleset: 2, 4 or 6 digits (China), `US`, or `US-CA`."""
    if code.isascii() and code.isdigit():
        return len(code) in {2, 4, 6}
    country, dash, rest = code.partition("-")
    if not (len(country) == 2 and country.isascii() and country.isalpha() and country.isupper()):
        return False
    return not dash or (1 <= len(rest) <= 3 and rest.isascii() and rest.isalnum() and rest.upper() == rest)


def prefix(code: str) -> str:
    """A Chinese code without its empty levels (`440000` is all of `44`); any other code as it is."""
    if code.isascii() and code.isdigit():
        while len(code) > 2 and code.endswith("00"):
            code = code[:-2]
    return code


def build_cover(codes: Iterable[str]) -> frozenset[str]:
    """What `covers` looks into: division-code prefixes, ISO 3166-2 codes and countries in one set."""
    return frozenset(prefix(code) for code in codes if code)


def covers(cover: frozenset[str], country: str, region: str) -> bool:
    """Whether a place lies in one of the regions of `cover`. While `region` is "" only the country can say yes."""
    if country in cover or region in cover:
        return True
    if region[2:3] == "-":  # IE-C and IE-CW are two places: an ISO 3166-2 code is never a prefix of another
        return region[:2] in cover
    return region[:2] in cover or region[:4] in cover


def country_of(consignee: Consignee) -> str:
    """The country stated, else the one the division code implies, else ""."""
    region = consignee.region
    return consignee.country or ("CN" if region[:2].isdigit() else region[:2])


def nearness(country: str, region: str, at_country: str, at_province: str, at_city: str) -> int:
    """How near a warehouse (`at_…`: its own codes) is to a place: SAME_CITY (0) … ELSEWHERE (4)."""
    if not country or country != at_country:
        return ELSEWHERE
    place = prefix(region)
    if place[:2].isdigit():
        city, province = prefix(at_city)[:4], (at_province or at_city)[:2]
        if len(city) == 4 and place[:4] == city:
            return SAME_CITY
        if province and place[:2] == province:
            return SAME_PROVINCE
        group = GROUPS.get(place[:2])
        return SAME_GROUP if group is not None and group == GROUPS.get(province) else SAME_COUNTRY
    if place and place == at_city:
        return SAME_CITY
    return SAME_PROVINCE if place and place == at_province else SAME_COUNTRY
