"""Addresses: what is certain is filled in, what is not certain is asked - with candidates, never with a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.order import Consignee
from domain.verdict import Problem
from normalizer.address import Resolution, resolve
from normalizer.divisions import FORMER, place_of, short_names, table

STREET = "文一西路969号"


def china(province: str = "", city: str = "", district: str = "", street: str = STREET, **rest: str) -> Resolution:
    return resolve(Consignee(country="CN", province=province, city=city, district=district, street=street, **rest))  # type: ignore[arg-type]


def found(resolution: Resolution) -> tuple[str, str, str, str]:
    assert resolution.problems == ()
    place = resolution.consignee
    return place.region, place.province, place.city, place.district


def problem(resolution: Resolution) -> Problem:
    (only,) = resolution.problems
    return only


@pytest.mark.parametrize(
    ("given_names", "region"),
    [
        (("浙江省", "杭州市", "余杭区"), "330110"),
        (("浙江", "杭州", "余杭"), "330110"),
        ((" 浙江 ", "杭 州", "余杭区\u200b"), "330110"),
        (("内蒙古", "呼和浩特", "新城区"), "150102"),
        (("新疆", "乌鲁木齐", "天山区"), "650102"),
        (("广西", "南宁", "青秀区"), "450103"),
        (("湖北", "恩施州", "恩施市"), "422801"),
        (("吉林", "吉林", "昌邑区"), "220202"),
        (("湖南", "长沙", "长沙县"), "430121"),
        (("", "杭州市", "西湖区"), "330106"),
        (("ZJ", "杭州市", "西湖区"), "330106"),
        (("Zhejiang", "杭州市", "西湖区"), "330106"),
    ],
)
def test_full_and_short_names_find_one_division(given_names: tuple[str, str, str], region: str) -> None:
    code, *names = found(china(*given_names))
    place = place_of(region)
    assert place is not None
    assert (code, names) == (region, [place.province, place.city, place.district])


@pytest.mark.parametrize(
    "given_names",
    [("上海", "上海", "浦东新区"), ("上海市", "市辖区", "浦东新区"), ("上海市", "", "浦东新区"), ("上海市", "浦东新区", ""),
     ("上海", "上海城区", "浦东新区"), ("", "上海市", "浦东新区"), ("上海市", "直辖", "浦东")],
)  # fmt: skip
def test_a_municipality_is_its_own_city(given_names: tuple[str, str, str]) -> None:
    assert found(china(*given_names)) == ("310115", "上海市", "上海市", "浦东新区")


def test_the_counties_of_chongqing_are_below_the_municipality() -> None:
    assert found(china("重庆市", "县", "忠县"))[0] == "500233"


@pytest.mark.parametrize(
    "given_names",
    [("湖北省", "", "仙桃市"), ("湖北省", "仙桃市", ""), ("湖北省", "仙桃市", "仙桃市"), ("湖北省", "湖北省", "仙桃市"),
     ("湖北省", "省直辖县级行政区划", "仙桃市"), ("湖北", "直辖县", "仙桃"),
     ("湖北省", "仙桃市", "干河街道"), ("湖北", "仙桃", "")],
)  # fmt: skip
def test_a_county_directly_under_its_province_needs_no_city(given_names: tuple[str, str, str]) -> None:
    assert found(china(*given_names))[:3] == ("429004", "湖北省", "仙桃市")


def test_other_direct_counties_are_found_too() -> None:
    assert found(china("新疆", "自治区直辖县级行政区划", "石河子市"))[0] == "659001"
    assert found(china("海南省", "", "定安县"))[0] == "469021"
    assert found(china("河南", "济源", "济源市"))[0] == "419001"


@pytest.mark.parametrize("town", ["", "虎门镇", "虎门", "东莞市", "市辖区"])
def test_a_city_without_districts_takes_its_towns(town: str) -> None:
    assert found(china("广东", "东莞", town))[0] == "441900"


def test_a_city_without_districts_does_not_take_another_citys_district() -> None:
    wrong = problem(china("广东", "东莞", "天河区"))
    assert (wrong.code, wrong.path) == ("address_unknown_region", "consignee.district")
    assert wrong.candidates == ("440106 广东省 广州市 天河区",)


def test_a_bare_district_that_many_cities_have_gives_candidates_and_no_guess() -> None:
    expected = (
        "320106 江苏省 南京市 鼓楼区",
        "320302 江苏省 徐州市 鼓楼区",
        "350102 福建省 福州市 鼓楼区",
        "410204 河南省 开封市 鼓楼区",
    )
    for resolution in (china("", "", "鼓楼区"), china(street="鼓楼区中山路1号")):
        asked = problem(resolution)
        assert (asked.code, asked.path, asked.candidates) == ("address_incomplete", "consignee.province", expected)
        assert resolution.consignee.region == ""
    within = problem(china("江苏省", "", "鼓楼区"))
    assert within.candidates == expected[:2]


def test_a_bare_district_is_never_placed_even_when_only_one_has_the_name() -> None:
    resolution = china("", "", "余杭区")
    assert problem(resolution).candidates == ("330110 浙江省 杭州市 余杭区",)
    assert resolution.consignee.region == ""


def test_a_short_name_that_is_two_places_gives_both() -> None:
    asked = problem(china("新疆", "伊犁", "伊宁"))
    assert asked.code == "address_unknown_region"
    assert [candidate[:6] for candidate in asked.candidates] == ["654002", "654021"]


@pytest.mark.parametrize(
    ("given_names", "candidates"),
    [
        (("重庆市", "重庆市", "渝北区"), ("500157 重庆市 重庆市 两江新区",)),
        (("浙江省", "杭州市", "江干区"), ("330102 浙江省 杭州市 上城区", "330114 浙江省 杭州市 钱塘区")),
        (("浙江省", "杭州市", "富阳市"), ("330111 浙江省 杭州市 富阳区",)),
        (("湖北省", "襄樊市", "襄城区"), ("420600 湖北省 襄阳市",)),
    ],
)
def test_a_former_name_is_a_suggestion(given_names: tuple[str, str, str], candidates: tuple[str, ...]) -> None:
    asked = problem(china(*given_names))
    assert (asked.code, asked.candidates) == ("address_unknown_region", candidates)


def test_every_former_name_is_gone_and_its_successor_exists() -> None:
    divisions = table()
    for (prefix, name), codes in FORMER.items():
        assert not [code for code in divisions.names.get(name, ()) if code.startswith(prefix)]
        assert all(code in divisions.by_code and code.startswith(prefix) for code in codes)


@pytest.mark.parametrize(
    ("given_names", "path", "first"),
    [
        (("浙江省", "南京市", "鼓楼区"), "consignee.city", "320100 江苏省 南京市"),
        (("浙江省", "杭州市", "浦东新区"), "consignee.district", "310115 上海市 上海市 浦东新区"),
        (("杭州市", "", "余杭区"), "consignee.province", "330100 浙江省 杭州市"),
        (("上海市", "杭州市", "余杭区"), "consignee.city", "330100 浙江省 杭州市"),
    ],
)
def test_names_that_do_not_belong_together_say_where_they_are(
    given_names: tuple[str, str, str], path: str, first: str
) -> None:
    asked = problem(china(*given_names))
    assert (asked.code, asked.path, asked.candidates[0]) == ("address_unknown_region", path, first)


def test_what_is_certain_is_kept_when_a_deeper_level_is_not() -> None:
    resolution = china("浙江", "杭州", "火星区")
    assert problem(resolution).candidates == ()
    assert (resolution.consignee.region, resolution.consignee.city) == ("330100", "杭州市")
    assert resolution.consignee.district == "火星区"


@pytest.mark.parametrize(
    ("given_names", "path"),
    [
        (("", "", ""), "consignee.province"),
        (("浙江省", "", ""), "consignee.city"),
        (("浙江省", "杭州市", ""), "consignee.district"),
        (("浙江省", "杭州市", "市辖区"), "consignee.district"),
        (("湖南", "长沙", "长沙"), "consignee.district"),
        (("上海市", "上海市", ""), "consignee.district"),
    ],
)
def test_a_missing_level_is_incomplete(given_names: tuple[str, str, str], path: str) -> None:
    asked = problem(china(*given_names))
    assert (asked.code, asked.path) == ("address_incomplete", path)


def test_a_development_zone_stands_for_its_city() -> None:
    resolution = china("江苏省", "苏州市", "苏州工业园区")
    assert found(resolution) == ("320500", "江苏省", "苏州市", "苏州工业园区")


@pytest.mark.parametrize(("province", "code"), [("台湾省", "710000"), ("香港", "810000"), ("澳门特别行政区", "820000")])
def test_provinces_without_a_table_are_taken_as_they_are(province: str, code: str) -> None:
    assert found(china(province, "某市", "某区"))[0] == code


@pytest.mark.parametrize(
    ("line", "region", "street"),
    [
        ("浙江省杭州市余杭区文一西路969号", "330110", "文一西路969号"),
        ("中国 浙江省 杭州市 余杭区 文一西路969号", "330110", "文一西路969号"),
        ("杭州余杭区文一西路969号", "330110", "文一西路969号"),
        ("上海市浦东新区世纪大道1号", "310115", "世纪大道1号"),
        ("上海上海市市辖区徐汇区漕溪路1号", "310104", "漕溪路1号"),
        ("吉林市船营区光华路1号", "220204", "光华路1号"),
        ("湖北省仙桃市干河大道1号", "429004", "干河大道1号"),
        ("广东省东莞市虎门镇太沙路1号", "441900", "虎门镇太沙路1号"),
        ("内蒙古自治区呼和浩特市新城区1号", "150102", "1号"),
    ],
)
def test_one_free_line_is_split_into_levels(line: str, region: str, street: str) -> None:
    resolution = china(street=line)
    assert found(resolution)[0] == region
    assert resolution.consignee.street == street


def test_missing_levels_are_found_at_the_start_of_the_street() -> None:
    assert found(china("浙江省", "杭州市", "", "西湖区文三路1号"))[0] == "330106"
    assert found(china("浙江省", "", "", "杭州市西湖区文三路1号"))[0] == "330106"


@pytest.mark.parametrize("line", ["长春路1号", "浙江省杭州市", "浙江大学", "杭州湾大道", "余杭塘路1号", "1号", "中国"])
def test_a_street_that_only_sounds_like_a_place_is_not_split(line: str) -> None:
    resolution = china(street=line)
    assert resolution.problems
    assert (resolution.consignee.region, resolution.consignee.street) == ("", line)


def test_an_address_without_a_street_is_incomplete() -> None:
    assert problem(china("浙江省", "杭州市", "余杭区", " ")).path == "consignee.street"


def test_a_masked_address_is_masked_unless_its_token_can_be_used() -> None:
    masked = Consignee(country="CN", province="浙江省", city="杭州市", district="余杭区", street="***", token="oaid")
    assert [item.code for item in resolve(masked).problems] == ["address_masked"]
    trusted = resolve(masked, tokens_usable=True)
    assert (trusted.problems, trusted.consignee.region) == ((), "330110")
    hidden = china("浙江省", "***", "***")
    assert (problem(hidden).code, hidden.consignee.region) == ("address_masked", "330000")
    token_only = Consignee(country="CN", token="oaid")
    assert resolve(token_only, tokens_usable=True).problems == ()


def test_resolving_twice_changes_nothing_more() -> None:
    for first in (china("浙江", "杭州", "余杭"), china("湖北", "", "仙桃"), china(street="上海浦东新区世纪大道1号")):
        assert resolve(first.consignee) == first


def test_every_division_of_the_table_finds_itself() -> None:
    for place in table().by_code.values():
        if place.level == 3:
            resolution = china(place.province, place.city, place.district)
            assert (resolution.consignee.region, resolution.problems) == (place.code, ())


def test_short_names_of_self_governing_places_leave_out_the_peoples() -> None:
    assert short_names("恩施土家族苗族自治州") == ("恩施", "恩施州")
    assert short_names("伊犁哈萨克自治州") == ("伊犁", "伊犁州")
    assert short_names("阿克苏地区") == ("阿克苏",)
    assert short_names("忠县") == ()


@given(st.lists(st.text(max_size=12), min_size=4, max_size=4))
def test_any_text_gets_an_answer(texts: list[str]) -> None:
    assert china(texts[0], texts[1], texts[2], texts[3]).consignee.country == "CN"


def abroad(country: str, **fields: str) -> Resolution:
    return resolve(Consignee(country=country, street="12 Elm St", **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("country", "fields", "region"),
    [
        ("US", {"province": "TX", "city": "Austin", "postcode": "78701"}, "US-TX"),
        ("us", {"province": "texas", "city": "Austin", "postcode": "78701-1234"}, "US-TX"),
        ("GB", {"city": "London", "postcode": "SW1A 1AA"}, "GB"),
        ("DE", {"city": "Berlin", "postcode": "10115"}, "DE"),
        ("HK", {"province": "Kowloon"}, "HK"),
        ("JP", {"province": "東京都", "postcode": "160-0022"}, "JP-13"),
        ("CA", {"province": "ON", "city": "Toronto", "postcode": "M5V 2T6"}, "CA-ON"),
        ("IR", {"city": "Tehran"}, "IR"),
    ],
)
def test_other_countries_get_their_iso_region(country: str, fields: dict[str, str], region: str) -> None:
    resolution = abroad(country, **fields)
    assert resolution.problems == ()
    assert (resolution.consignee.region, resolution.consignee.country) == (region, country.upper())


@pytest.mark.parametrize(
    ("country", "fields", "code", "path"),
    [
        ("US", {"city": "Austin", "postcode": "78701"}, "address_incomplete", "consignee.province"),
        ("US", {"province": "TX", "postcode": "78701"}, "address_incomplete", "consignee.city"),
        ("US", {"province": "Texs", "city": "A", "postcode": "78701"}, "address_unknown_region", "consignee.province"),
        ("US", {"province": "TX", "city": "A", "postcode": "10001"}, "address_unknown_region", "consignee.postcode"),
        ("GB", {"city": "London", "postcode": "x"}, "address_incomplete", "consignee.postcode"),
    ],
)
def test_other_countries_say_what_is_missing_or_wrong(
    country: str, fields: dict[str, str], code: str, path: str
) -> None:
    asked = problem(abroad(country, **fields))
    assert (asked.code, asked.path) == (code, path)


def test_a_mistyped_state_has_near_candidates() -> None:
    assert problem(abroad("US", province="Texs", city="A", postcode="78701")).candidates == ("US-TX",)


@pytest.mark.parametrize(("written", "candidates"), [("UK", ("GB",)), ("USA", ("US",)), ("XX", ()), ("Atlantis", ())])
def test_a_country_that_is_no_iso_code_is_only_suggested(written: str, candidates: tuple[str, ...]) -> None:
    asked = problem(abroad(written))
    assert (asked.code, asked.path, asked.candidates) == ("address_unknown_region", "consignee.country", candidates)


def test_a_missing_country_is_incomplete_and_china_has_its_own_names() -> None:
    assert problem(abroad("")).code == "address_incomplete"
    named = resolve(Consignee(country="中国", province="浙江", city="杭州", district="西湖", street="1"))
    assert (named.consignee.country, named.problems) == ("CN", ())
