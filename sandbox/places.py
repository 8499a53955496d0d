"""Invented people at real divisions: the receivers of generated orders."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

# state, city, district, town as Taobao writes them; the two last rows are counties directly under a province, which stand in
# receiver_district only (facts/china/taobao.md §5, H)
CHINA = (
    ("浙江省", "杭州市", "余杭区", "仓前街道"),
    ("浙江省", "杭州市", "西湖区", "北山街道"),
    ("浙江省", "宁波市", "鄞州区", "下应街道"),
    ("浙江省", "温州市", "鹿城区", "五马街道"),
    ("江苏省", "南京市", "鼓楼区", "湖南路街道"),
    ("江苏省", "苏州市", "姑苏区", "平江街道"),
    ("江苏省", "无锡市", "梁溪区", "崇安寺街道"),
    ("上海", "上海市", "浦东新区", "陆家嘴街道"),
    ("上海", "上海市", "静安区", "南京西路街道"),
    ("北京", "北京市", "海淀区", "中关村街道"),
    ("北京", "北京市", "朝阳区", "望京街道"),
    ("天津", "天津市", "和平区", "小白楼街道"),
    ("广东省", "广州市", "天河区", "石牌街道"),
    ("广东省", "广州市", "白云区", "三元里街道"),
    ("广东省", "深圳市", "南山区", "粤海街道"),
    ("广东省", "深圳市", "福田区", "莲花街道"),
    ("广东省", "佛山市", "禅城区", "祖庙街道"),
    ("福建省", "厦门市", "思明区", "鼓浪屿街道"),
    ("福建省", "福州市", "鼓楼区", "东街街道"),
    ("湖北省", "武汉市", "洪山区", "关山街道"),
    ("湖南省", "长沙市", "岳麓区", "岳麓街道"),
    ("河南省", "郑州市", "金水区", "花园路街道"),
    ("山东省", "济南市", "历下区", "千佛山街道"),
    ("山东省", "青岛市", "市南区", "香港中路街道"),
    ("四川省", "成都市", "武侯区", "桂溪街道"),
    ("四川省", "成都市", "锦江区", "春熙路街道"),
    ("四川省", "绵阳市", "涪城区", ""),
    ("重庆", "重庆市", "渝中区", "解放碑街道"),
    ("重庆", "重庆市", "江北区", "观音桥街道"),
    ("陕西省", "西安市", "雁塔区", "小寨路街道"),
    ("云南省", "昆明市", "五华区", "华山街道"),
    ("贵州省", "贵阳市", "云岩区", ""),
    ("辽宁省", "沈阳市", "和平区", ""),
    ("黑龙江省", "哈尔滨市", "南岗区", ""),
    ("广西壮族自治区", "南宁市", "青秀区", ""),
    ("内蒙古自治区", "呼和浩特市", "新城区", ""),
    ("新疆维吾尔自治区", "乌鲁木齐市", "天山区", ""),
    ("西藏自治区", "拉萨市", "城关区", ""),
    ("海南省", "海口市", "龙华区", ""),
    ("海南省", "", "琼海市", ""),
    ("湖北省", "", "仙桃市", ""),
)
SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡林郭何高罗"
GIVEN = (
    "伟",
    "芳",
    "娜",
    "敏",
    "静",
    "丽",
    "强",
    "磊",
    "洋",
    "艳",
    "勇",
    "军",
    "杰",
    "娟",
    "涛",
    "明",
    "超",
    "秀英",
    "建华",
    "志强",
    "晓梅",
    "雨桐",
)
ROADS = ("人民路", "中山路", "解放路", "建设路", "文化路", "和平路", "幸福路", "学院路")
REMARKS = ("请发顺丰", "周末送货", "易碎品轻放", "送礼用，请勿放价格单", "尽快发货谢谢", "放门卫")
PREFIXES = ("130", "135", "138", "139", "150", "158", "176", "186", "188", "199")


@dataclass(frozen=True, slots=True)
class Person:
    """A Chinese receiver in plain text."""

    name: str
    mobile: str
    state: str
    city: str
    district: str
    town: str
    address: str


def china_person(rng: Random) -> Person:
    """An invented receiver at a real division."""
    state, city, district, town = rng.choice(CHINA)
    mobile = f"{rng.choice(PREFIXES)}{rng.randrange(10**8):08d}"
    address = f"{rng.choice(ROADS)}{rng.randrange(1, 400)}号{rng.randrange(1, 30)}幢{rng.randrange(101, 2600)}室"
    return Person(rng.choice(SURNAMES) + rng.choice(GIVEN), mobile, state, city, district, town, address)


# city, province, province code, ZIP pattern (first digits), country code, country
ABROAD = (
    ("Austin", "Texas", "TX", "787{:02d}", "US", "United States"),
    ("Seattle", "Washington", "WA", "981{:02d}", "US", "United States"),
    ("Boston", "Massachusetts", "MA", "021{:02d}", "US", "United States"),
    ("Denver", "Colorado", "CO", "802{:02d}", "US", "United States"),
    ("London", "England", "ENG", "SW1A {}AA", "GB", "United Kingdom"),
    ("Manchester", "England", "ENG", "M1 {}AE", "GB", "United Kingdom"),
    ("Berlin", "", "", "101{:02d}", "DE", "Germany"),
    ("München", "", "", "803{:02d}", "DE", "Germany"),
    ("Hamburg", "", "", "200{:02d}", "DE", "Germany"),
)
ZIPS = {
    "787{:02d}": (1, 5),
    "981{:02d}": (1, 9),
    "021{:02d}": (8, 16),
    "802{:02d}": (2, 12),
    "SW1A {}AA": (1, 3),
    "M1 {}AE": (1, 8),
    "101{:02d}": (15, 19),
    "803{:02d}": (31, 39),
    "200{:02d}": (95, 99),
}
STREETS = {"US": "{} Elm St", "GB": "{} High Street", "DE": "Hauptstraße {}"}
PHONES = {"US": "+1512555{:04d}", "GB": "+442079460{:03d}", "DE": "+493023125{:03d}"}
FIRST = ("Mary", "James", "Olivia", "Liam", "Emma", "Noah", "Anna", "Jürgen", "Zoë", "Seán")
LAST = ("Major", "Smith", "Müller", "O'Brien", "Schmidt", "Taylor", "Weiß", "Brown")


def abroad_address(rng: Random) -> dict[str, str | None]:
    """A MailingAddress of the US, Great Britain or Germany, field names as in the Admin API."""
    city, province, code, pattern, country, country_name = rng.choice(ABROAD)
    first, last = rng.choice(FIRST), rng.choice(LAST)
    return {
        "name": f"{first} {last}",
        "firstName": first,
        "lastName": last,
        "company": None,
        "address1": STREETS[country].format(rng.randrange(1, 300)),
        "address2": rng.choice((None, "Apt 3", "2nd floor")),
        "city": city,
        "province": province or None,
        "provinceCode": code or None,
        "zip": pattern.format(rng.randrange(*ZIPS[pattern])),
        "country": country_name,
        "countryCodeV2": country,
        "phone": PHONES[country].format(rng.randrange(100, 200)),
    }
