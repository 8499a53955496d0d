"""Who may share a parcel, and whose is what of its news."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.merging import (
    SAME,
    Candidate,
    Member,
    Share,
    count_units,
    find_difference,
    find_obstacle,
    line_offsets,
    merge_text,
    share_news,
)
from domain.order import PackedLine, Parcel, ShippingNews

ONE = Candidate(
    owner="partner 1",
    channel="standard",
    buyer="b1",
    consignee="张三",
    phone="13800138000-",
    address="CN|330110|示例路1号",
    warehouse="7",
    carrier="SF",
    term="",
    currency="CNY",
)
FLAGS = {
    "shipped": "merge_shipped",
    "after_sale": "merge_after_sale",
    "cod": "merge_sealed",
    "abroad": "merge_sealed",
    "masked": "merge_masked",
    "split": "merge_split",
}


def changed(name: str, value: object) -> Candidate:
    told: dict[str, Any] = {name: value}
    return replace(ONE, **told)


@pytest.mark.parametrize(("name", "code"), SAME)
def test_the_first_thing_that_differs_names_the_refusal(name: str, code: str) -> None:
    other = changed(name, ("x",) if name == "kinds" else "other")
    assert (find_difference(ONE, other), find_difference(ONE, ONE)) == (code, "")
    assert merge_text(ONE) != merge_text(other)
    assert find_difference(ONE, replace(other, kinds=("cold",))) == code


@pytest.mark.parametrize(("name", "code"), FLAGS.items())
def test_a_reason_to_ship_alone_is_told_by_name(name: str, code: str) -> None:
    assert (find_obstacle(changed(name, True)), find_obstacle(ONE)) == (code, "")


@pytest.mark.parametrize(
    ("name", "code"), [("ready", "merge_not_ready"), ("paid", "merge_unpaid"), ("ruled", "merge_no_rule")]
)
def test_what_is_missing_is_told_by_name(name: str, code: str) -> None:
    assert find_obstacle(changed(name, False)) == code


# --- news --------------------------------------------------------------------------------------------------------------

SKUS = ("A", "B", "C")
shares = st.lists(
    st.tuples(st.sampled_from(SKUS), st.integers(1, 4)), min_size=1, max_size=3, unique_by=lambda each: each[0]
)


@st.composite
def groups(draw: st.DrawFn) -> list[Member]:
    return [
        Member(f"F{n}", tuple(Share(line, sku, units, units) for line, (sku, units) in enumerate(draw(shares))), {})
        for n in range(draw(st.integers(2, 4)))
    ]


def news(*parcels: Parcel) -> ShippingNews:
    return ShippingNews(reference="MG", event_id="e", state="shipped", source_status="", parcels=parcels, final=True)


def parcel(number: str, *lines: tuple[str, str, int]) -> Parcel:
    return Parcel(
        tracking=number, carrier="SF", lines=tuple(PackedLine(line_ref=r, sku=s, quantity=q) for r, s, q in lines)
    )


def refs(members: list[Member]) -> list[tuple[str, str, int]]:
    """Every line of the warehouse order as a warehouse tells it back."""
    return [
        (str(offset + number), share.sku, share.quantity)
        for member, offset in zip(members, line_offsets(members), strict=True)
        for number, share in enumerate(member.shares, 1)
    ]


@given(groups(), st.data())
@settings(max_examples=80, deadline=None)
def test_every_unit_told_of_is_in_exactly_one_members_news(members: list[Member], data: st.DataObject) -> None:
    lines = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["", "1", "2", "5", "99", "x"]), st.sampled_from([*SKUS, "Z"]), st.integers(1, 9)
            ),
            min_size=1,
            max_size=6,
        )
    )
    told = news(parcel("SF1", *lines[:3]), *([parcel("SF2", *lines[3:])] if lines[3:] else []))
    shared = share_news(told, members)
    assert [each.reference for each in shared] == [member.code for member in members]
    for one in told.parcels:
        parts = [line for own in shared for each in own.parcels if each.tracking == one.tracking for line in each.lines]
        assert count_units(parts) == count_units(one.lines)


@given(groups(), st.booleans(), st.data())
@settings(max_examples=80, deadline=None)
def test_with_line_numbers_or_without_everybody_gets_what_is_his(
    members: list[Member], numbered: bool, data: st.DataObject
) -> None:
    lines = data.draw(st.permutations(refs(members)))
    cut = data.draw(st.integers(0, len(lines)))
    told = [each if numbered else ("", *each[1:]) for each in lines]
    parcels = [parcel(f"SF{n}", *part) for n, part in enumerate((told[:cut], told[cut:])) if part]
    for member, own in zip(members, share_news(news(*parcels), members), strict=True):
        got: Counter[str] = Counter()
        for each in own.parcels:
            got += count_units(each.lines)
            if numbered:
                for line in each.lines:
                    assert member.shares[int(line.line_ref) - 1].sku == line.sku
        assert got == Counter({share.sku: share.quantity for share in member.shares})


@given(groups())
@settings(max_examples=40, deadline=None)
def test_a_parcel_without_a_list_holds_everything_and_leaves_nothing_for_the_next(members: list[Member]) -> None:
    shared = share_news(news(parcel("SF1"), parcel("SF2")), members)
    assert [own.parcels[0].tracking for own in shared] == ["SF1"] * len(members)
    assert [len(own.parcels) for own in shared] == [2, *[1] * (len(members) - 1)]


def test_a_number_told_before_means_what_it_meant_then() -> None:
    members = [
        Member("F1", (Share(0, "A", 2, 0),), {"SF1": Counter({"A": 2})}),
        Member("F2", (Share(0, "A", 1, 0),), {"SF1": Counter({"A": 1})}),
    ]
    again = share_news(news(parcel("SF1", ("", "A", 3))), members)
    assert [[p.lines for p in own.parcels] for own in again] == [[()], [()]]
    other = share_news(news(parcel("SF1", ("", "A", 2))), members)
    assert [[count_units(p.lines) for p in own.parcels] for own in other] == [[Counter({"A": 2})], []]


def test_a_line_number_that_stands_for_another_article_is_not_believed() -> None:
    members = [Member("F1", (Share(0, "A", 1, 1),), {}), Member("F2", (Share(0, "B", 1, 1),), {})]
    first, second = share_news(news(parcel("SF1", ("1", "B", 1))), members)
    assert (first.parcels, [line.sku for p in second.parcels for line in p.lines]) == ((), ["B"])
