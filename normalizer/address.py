"""Where a consignee is: the division code in China, the ISO code elsewhere - or what is wrong, with what it might
have been.

Nothing is guessed: a name that fits two places (鼓楼区) gives candidates, a former name (渝北区) gives its successor as a
candidate, and only a person chooses. What is certain is filled in: official names for short ones (浙江 → 浙江省), the city
of a municipality's district, the county that stands directly under a province. Counties under a province come with an
empty or repeated city (facts/china/taobao.md §5, 2026-11-21, H). Development zones (苏州工业园区) are no divisions and are
in no table: under a known city they are taken as they are and the region is the city's."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from domain.order import Consignee
from domain.values import changed
from domain.verdict import Problem

from .countries import locate_abroad, read_country
from .divisions import FORMER, MUNICIPALITIES, WITHOUT_DETAIL, Place, Table, table

MAX_CANDIDATES: Final = 12

_BLANKS: Final = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]+")
_MASK: Final = re.compile(r"[*＊]")
_ZONE: Final = re.compile(
    r".+(?:开发区|高新区|高新技术区|产业园区?|工业园区?|园区|新区|示范区|管理区|风景区|度假区|保税区|合作区|实验区|试验区)$"
)
_NO_CITY: Final = re.compile(
    r"^(?:(?:省|自治区)?直辖(?:县|市)?(?:级)?(?:行政区划|行政单位|行政区)?|市辖区|市辖县|县|.{2}(?:城区|郊县|县))$"
)
_NO_DISTRICT: Final = frozenset({"市辖区", "其他区", "其它区", "其他", "其它", "无"})
_BETWEEN: Final = " \t,，、/-—|"


@dataclass(frozen=True, slots=True)
class Resolution:
    """The consignee with `region` and official names as far as they are certain, and what is wrong."""

    consignee: Consignee
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """The deepest division that is certain, and the problem that stopped the search."""

    place: Place | None
    problem: Problem | None = None


def resolve(consignee: Consignee, *, tokens_usable: bool = False) -> Resolution:
    """Country, divisions and street of a consignee. A privacy token counts as a complete address when
    `tokens_usable`; a masked address without one is `address_masked`. Other codes: `address_incomplete`,
    `address_unknown_region`. Paths are `consignee.<field>`; candidates are division codes with names, or ISO
    codes."""
    changes, problems = locate(consignee)
    trusted = tokens_usable and bool(consignee.token)
    return Resolution(with_changes(consignee, changes), () if trusted else problems)


def locate(consignee: Consignee) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """What `resolve` would change on a consignee, and its problems without regard to tokens."""
    country, suggestion = read_country(consignee.country)
    if not country:
        code = "address_unknown_region" if consignee.country.strip() else "address_incomplete"
        detail = f"{consignee.country[:40]!r} is no country code"
        return {}, (Problem(code, "consignee.country", detail, suggestion),)
    changes: dict[str, Any]
    if country == "CN":
        changes, problems = _resolve_china(consignee)
    else:
        region, problems = locate_abroad(
            country, consignee.province, consignee.city, consignee.district, consignee.postcode
        )
        changes = {"region": region}
    changes["country"] = country
    street = changes.get("street", consignee.street)
    if not street.strip():
        problems = (*problems, Problem("address_incomplete", "consignee.street", "no street"))
    elif _MASK.search(street) and not any(problem.code == "address_masked" for problem in problems):
        problems = (*problems, Problem("address_masked", "consignee.street", "the street is masked"))
    return changes, problems


def with_changes(consignee: Consignee, changes: Mapping[str, Any]) -> Consignee:
    """The consignee with some fields changed; itself if nothing differs."""
    if all(getattr(consignee, name) == value for name, value in changes.items()):
        return consignee
    return changed(consignee, **changes)


def _resolve_china(consignee: Consignee) -> tuple[dict[str, str], tuple[Problem, ...]]:
    certain = _certain(consignee.province, consignee.city, consignee.district)
    if certain is not None:
        return dict(certain), ()
    levels = (_tidy(consignee.province), _tidy(consignee.city), _tidy(consignee.district))
    if _MASK.search("".join(levels)):
        known = _locate(
            *(level if not any(map(_MASK.search, levels[: at + 1])) else "" for at, level in enumerate(levels))
        )
        return _names(known.place), (Problem("address_masked", "consignee.province", "the region is masked"),)
    found = _locate(*levels)
    if found.problem is None:
        return _names(found.place), ()
    if not levels[2] or levels[2] in _NO_DISTRICT:
        inline, rest = _split_street(consignee.street, levels)
        if inline.problem is None:
            return {**_names(inline.place), "street": rest}, ()
        if inline.problem.candidates and not any(levels):
            return {"region": ""}, (inline.problem,)
    if not any(levels) and (problem := _bare_district(consignee.street)) is not None:
        return {"region": ""}, (problem,)
    return _names(found.place), (found.problem,)


def _names(place: Place | None) -> dict[str, str]:
    """What is certain, in official names. A county directly under its province stands as its own city, because
    targets want that field filled."""
    if place is None:
        return {"region": ""}
    changes = {"region": place.code, "province": place.province}
    if place.level > 1:
        changes["city"] = place.city or place.district
    if place.level == 3:
        changes["district"] = place.district
    elif place.code in MUNICIPALITIES:
        changes["city"] = place.province
    return changes


def _tidy(text: str) -> str:
    return _BLANKS.sub("", text)


@lru_cache(maxsize=1024)
def _certain(province: str, city: str, district: str) -> Mapping[str, str] | None:
    """What these three words mean when nothing is masked or in doubt: nearly always, and nearly always the same words."""
    levels = (_tidy(province), _tidy(city), _tidy(district))
    if _MASK.search("".join(levels)):
        return None
    found = _locate(*levels)
    return _names(found.place) if found.problem is None else None


@lru_cache(maxsize=8192)
def official_names(province: str, city: str, district: str) -> tuple[str, str, str, str] | None:
    """(division code, official province, city, district) in China, where these words leave no doubt; None where they do, or
    where the street has to tell more."""
    names = _certain(province, city, district)
    if names is None:
        return None
    return names["region"], names.get("province", province), names.get("city", city), names.get("district", district)


@lru_cache(maxsize=8192)
def _locate(province: str, city: str, district: str) -> _Found:
    divisions = table()
    code = divisions.provinces.get(province) or divisions.provinces.get(province.upper())
    if not province:
        code, problem = _province_of(divisions, city, district)
        if problem is not None:
            return _Found(None, problem)
    if code is None:
        where = divisions.cities.get(province, ()) or divisions.names.get(province, ())
        return _Found(None, _unknown("province", province, where))
    if code in WITHOUT_DETAIL:
        return _Found(divisions.by_code[code])
    if code in MUNICIPALITIES:
        return _locate_in_municipality(divisions, code, city, district)
    return _locate_in_province(divisions, code, city, district)


def _province_of(divisions: Table, city: str, district: str) -> tuple[str | None, Problem | None]:
    """The province of a city that only one province has."""
    code = divisions.provinces.get(city)
    if code in MUNICIPALITIES:
        return code, None
    cities = divisions.cities.get(city, ())
    if len(cities) == 1:
        return cities[0][:2] + "0000", None
    where = cities or divisions.names.get(district or city, ())
    return None, Problem("address_incomplete", "consignee.province", "no province", _labels(where))


def _locate_in_municipality(divisions: Table, code: str, city: str, district: str) -> _Found:
    here = divisions.by_code[code]
    below = divisions.below[code]
    if city and divisions.provinces.get(city) != code and not _NO_CITY.match(city):
        if city in below and district in {"", city}:
            district = city
        else:
            return _Found(here, _unknown("city", city, divisions.cities.get(city, ()) or divisions.names.get(city, ())))
    if divisions.provinces.get(district) == code:
        district = ""
    return _district(divisions, here, below, district)


def _locate_in_province(divisions: Table, code: str, city: str, district: str) -> _Found:
    here, below = divisions.by_code[code], divisions.below[code]
    codes = below.get(city, ())
    if len(codes) > 1:
        return _Found(here, _ambiguous("city", city, codes))
    if codes:
        place = divisions.by_code[codes[0]]
        if place.level == 3:
            return _direct_county(divisions, place, district)
        return _in_city(divisions, place, district)
    if not city or divisions.provinces.get(city) == code or _NO_CITY.match(city):
        return _without_city(divisions, here, district)
    if not district and (only := _only(divisions, code, city)) is not None:
        return _Found(only)
    where = _former(code, city) or divisions.cities.get(city, ()) or divisions.names.get(city, ())
    return _Found(here, _unknown("city", city, where))


def _direct_county(divisions: Table, place: Place, district: str) -> _Found:
    below = divisions.below[place.code[:2] + "0000"]
    fits = not district or district in _NO_DISTRICT or _ZONE.match(district) or district in divisions.towns[place.code]
    if fits or place.code in below.get(district, ()):
        return _Found(place)
    return _Found(place, _unknown("district", district, divisions.names.get(district, ())))


def _in_city(divisions: Table, place: Place, district: str) -> _Found:
    if place.code in divisions.towns:
        repeated = place.code in divisions.cities.get(district, ())
        if not district or repeated or district in _NO_DISTRICT or district in divisions.towns[place.code]:
            return _Found(place)
        if _ZONE.match(district) and district not in divisions.names:
            return _Found(place)
        return _Found(place, _unknown("district", district, divisions.names.get(district, ())))
    below = divisions.below[place.code]
    if district not in divisions.names and place.code in divisions.cities.get(district, ()):
        district = ""  # the city's own name once more, though a county has it as its short name (长沙)
    return _district(divisions, place, below, district)


def _without_city(divisions: Table, here: Place, district: str) -> _Found:
    codes = divisions.below[here.code].get(district, ())
    if len(codes) == 1 and divisions.by_code[codes[0]].level == 3:
        return _Found(divisions.by_code[codes[0]])
    if len(codes) == 1:
        return _in_city(divisions, divisions.by_code[codes[0]], "")
    if (only := _only(divisions, here.code, district)) is not None:
        return _Found(only)
    inside = tuple(code for code in divisions.names.get(district, ()) if code[:2] == here.code[:2])
    if district and not inside:
        return _Found(
            here, _unknown("district", district, _former(here.code, district) or divisions.names.get(district, ()))
        )
    return _Found(here, Problem("address_incomplete", "consignee.city", "no city", _labels(inside)))


def _only(divisions: Table, province: str, district: str) -> Place | None:
    """The one district of this full name inside a province, unless the name also had another place once."""
    inside = [code for code in divisions.names.get(district, ()) if code[:2] == province[:2]]
    if len(inside) == 1 and not any(name == district and at[:2] == province[:2] for at, name in FORMER):
        return divisions.by_code[inside[0]]
    return None


def _district(divisions: Table, here: Place, below: Mapping[str, tuple[str, ...]], district: str) -> _Found:
    if not district or district in _NO_DISTRICT:
        return _Found(here, Problem("address_incomplete", "consignee.district", "no district"))
    codes = below.get(district, ())
    if len(codes) == 1:
        return _Found(divisions.by_code[codes[0]])
    if codes:
        return _Found(here, _ambiguous("district", district, codes))
    where = _former(here.code, district) or below.get(district[:-1], ())
    if not where and _ZONE.match(district) and district not in divisions.names:
        return _Found(here)
    return _Found(here, _unknown("district", district, where or divisions.names.get(district, ())))


def _former(code: str, name: str) -> tuple[str, ...]:
    return FORMER.get((code[:4], name)) or FORMER.get((code[:2], name), ())


def _labels(codes: tuple[str, ...]) -> tuple[str, ...]:
    by_code = table().by_code
    return tuple(by_code[code].label for code in codes[:MAX_CANDIDATES])


def _unknown(level: str, name: str, codes: tuple[str, ...]) -> Problem:
    return Problem("address_unknown_region", f"consignee.{level}", f"{name[:40]} is not there", _labels(codes))


def _ambiguous(level: str, name: str, codes: tuple[str, ...]) -> Problem:
    return Problem(
        "address_unknown_region", f"consignee.{level}", f"{name[:40]} is more than one place", _labels(codes)
    )


def _split_street(street: str, levels: tuple[str, str, str]) -> tuple[_Found, str]:
    """One free line that starts with its divisions (浙江省杭州市余杭区文一西路1号), and the rest of it. Only full district
    names count, and only if all levels fit together."""
    divisions = table()
    province, city, _ = levels
    rest = street.lstrip(_BETWEEN).removeprefix("中国").lstrip(_BETWEEN)
    named, after = _prefix(rest, divisions.provinces)
    if named and (not province or divisions.provinces[named] == divisions.provinces.get(province)):
        known, _ = _prefix(rest, divisions.cities)
        if len(known) <= len(named):  # 吉林市 is a city, 吉林 alone a province
            province, rest = named, after
    code = divisions.provinces.get(province)
    if code in MUNICIPALITIES:  # 上海市 上海市 市辖区 浦东新区
        for _ in range(3):
            named, after = _prefix(rest, (divisions.by_code[code].name, "市辖区"))
            rest = after if named else rest
    named, after = _prefix(rest, divisions.cities)
    if named and (not city or divisions.cities[named] == divisions.cities.get(city)):
        city, rest = named, after
    named, after = _prefix(rest, divisions.names)
    found = _locate(province, city, named)
    if found.problem is None and (found.place is None or found.place.level == 1 or not after):
        return _Found(None, Problem("address_incomplete", "consignee.district", "no district")), street
    return found, after


def _prefix(text: str, names: Collection[str]) -> tuple[str, str]:
    """The longest of `names` that `text` starts with, and what follows it."""
    for length in range(min(len(text), 15), 1, -1):
        if text[:length] in names:
            return text[:length], text[length:].lstrip(_BETWEEN)
    return "", text


def _bare_district(street: str) -> Problem | None:
    """A line that starts with a district but no city: every place of that name, for a person to choose."""
    divisions = table()
    named, _ = _prefix(street.lstrip(_BETWEEN), divisions.names)
    codes = divisions.names.get(named, ())
    if not codes:
        return None
    return Problem("address_incomplete", "consignee.province", f"{named} without its province", _labels(codes))
