"""Ids only grow; order numbers are unique, tell nothing and catch a slip of the finger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.errors import ConfigError, RefusedError
from domain.numbers import MAX_ID, IdMaker, Style, made_at, order_number, parse_order_number, read_order_number

NOW_MS = 1_795_262_400_000
STYLES: tuple[Style, ...] = ("grouped", "plain", "digits")
IDS = st.integers(0, MAX_ID)
PREFIXES = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=6)


def test_ids_grow_and_hold_time_node_and_counter() -> None:
    ids = IdMaker(5, lambda: NOW_MS).take(3)
    assert [id_ & 4095 for id_ in ids] == [0, 1, 2]
    assert {id_ >> 12 & 1023 for id_ in ids} == {5}
    assert {made_at(id_) for id_ in ids} == {datetime.fromtimestamp(NOW_MS // 1000, UTC)}
    assert all(0 < id_ <= MAX_ID for id_ in ids)


@given(st.lists(st.tuples(st.integers(-5000, 5000), st.integers(-1, 9000)), max_size=12), st.integers(0, 1023))
def test_ids_only_grow_whatever_the_clock_does(steps: list[tuple[int, int]], node: int) -> None:
    clock = iter([NOW_MS + shift for shift, _ in steps])
    maker = IdMaker(node, lambda: next(clock))
    ids = [id_ for _, n in steps if n > 0 for id_ in maker.take(n)]
    assert all(a < b for a, b in pairwise(ids))
    assert len(ids) == sum(n for _, n in steps if n > 0)
    assert {id_ >> 12 & 1023 for id_ in ids} <= {node}


def test_a_full_millisecond_borrows_the_next_one() -> None:
    maker = IdMaker(0, lambda: NOW_MS)
    ids = maker.take(4097)
    assert made_at(ids[-1]) - made_at(ids[0]) == timedelta(milliseconds=1)
    assert maker() == ids[-1] + 1


def test_goes_on_after_the_highest_id_of_before_a_restart() -> None:
    before = IdMaker(7, lambda: NOW_MS).take(10_000)[-1]
    assert IdMaker(7, lambda: NOW_MS - 3_600_000, after=before)() == before + 1


def test_nodes_never_make_the_same_id() -> None:
    assert not set(IdMaker(1, lambda: NOW_MS).take(5000)) & set(IdMaker(2, lambda: NOW_MS).take(5000))


def test_threads_never_get_the_same_id() -> None:
    ticks = count(NOW_MS * 10)
    maker = IdMaker(3, lambda: next(ticks) // 10)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: maker.take(1500), range(40)))
    assert len({id_ for ids in taken for id_ in ids}) == 60_000


@pytest.mark.parametrize("node", [-1, 1024])
def test_refuses_a_node_that_does_not_fit(node: int) -> None:
    with pytest.raises(ConfigError, match="node"):
        IdMaker(node, lambda: NOW_MS)


@pytest.mark.parametrize("clock", [0, 1_577_836_799_999, 1_577_836_800_000 + (1 << 41)])
def test_refuses_a_clock_outside_the_years_of_an_id(clock: int) -> None:
    with pytest.raises(ConfigError, match="clock"):
        IdMaker(0, lambda: clock).take(1)


@given(IDS, PREFIXES)
@example(0, "0")
@example(MAX_ID, "ZZZZZZ")
def test_every_number_leads_back_to_its_id(id_: int, prefix: str) -> None:
    plain = order_number(id_, prefix, "plain")
    for style in STYLES:
        number = order_number(id_, prefix, style)
        assert read_order_number(number) == (prefix, id_)
        assert parse_order_number(number) == plain
        assert parse_order_number(f" {number.lower()} ") == plain


@given(st.sets(IDS, min_size=2, max_size=50))
def test_two_ids_never_share_a_number(ids: set[int]) -> None:
    for style in STYLES:
        assert len({order_number(id_, "TB", style) for id_ in ids}) == len(ids)


def test_looks_as_documented() -> None:
    id_ = IdMaker(1, lambda: NOW_MS)()
    grouped, plain, digits = (order_number(id_, "TB", style) for style in STYLES)
    assert [len(group) for group in grouped.split("-")] == [2, 5, 5, 5]
    assert plain == grouped.replace("-", "")
    assert digits.isdigit() and digits.startswith("2911") and len(digits) == 25
    assert not set(plain[2:]) & set("ILOU")


def test_neighbours_look_unrelated() -> None:
    ids = IdMaker(1, lambda: NOW_MS).take(2000)
    bodies = [order_number(id_, "TB", "plain")[2:15] for id_ in ids]
    same = [sum(a == b for a, b in zip(x, y, strict=True)) for x, y in pairwise(bodies)]
    # 13 characters, one in 32 equal by chance (one in 8 for the first): half a character on average.
    assert sum(same) < len(same)
    assert len({body[:4] for body in bodies}) > 1900
    rising = sum(a < b for a, b in pairwise(bodies))
    assert 800 < rising < 1200


@pytest.mark.parametrize("style", STYLES)
@given(id_=IDS, prefix=st.sampled_from(["TB", "JD", "LOU1", "0", "I", "ZZZZZZ"]))
def test_catches_every_wrong_character(style: Style, id_: int, prefix: str) -> None:
    number = order_number(id_, prefix, style)
    for place, right in enumerate(number):
        for wrong in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ- .０":
            if wrong == right:
                continue
            _expect_refused_or_same(number[:place] + wrong + number[place + 1 :], number)


@pytest.mark.parametrize("style", STYLES)
@given(id_=IDS, prefix=PREFIXES)
def test_catches_every_swap_of_neighbours(style: Style, id_: int, prefix: str) -> None:
    number = order_number(id_, prefix, style)
    for place in range(len(number) - 1):
        if number[place] != number[place + 1]:
            swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
            with pytest.raises(RefusedError, match="number_check"):
                parse_order_number(swapped)


def _expect_refused_or_same(typed: str, number: str) -> None:
    """An O for a 0, an I or L for a 1, a space for a hyphen are the same number read aloud; all else is a mistake."""
    try:
        plain = parse_order_number(typed)
    except RefusedError:
        return
    assert plain == parse_order_number(number)
    assert any(a != b and a in "OIL -" for a, b in zip(typed, number, strict=True))


def test_reads_what_a_person_hears() -> None:
    number = order_number(13, "TB")
    heard = number[:3] + number[3:].replace("0", "O").replace("1", "l").replace("-", " ")
    assert parse_order_number(heard) == number.replace("-", "")


@pytest.mark.parametrize(
    "text", ["", " ", "TB", "TB-", "１２", "TB-UUUUU-UUUUU-UUUUU", "9" * 25, "9" * 100, "TB\n" * 9]
)
def test_refuses_what_is_no_number(text: str) -> None:
    with pytest.raises(RefusedError, match="number_check"):
        parse_order_number(text)


@pytest.mark.parametrize("prefix", ["", "tb", "T B", "TOOLONG", "淘", "T-B"])
def test_refuses_a_prefix_nobody_can_read_out(prefix: str) -> None:
    with pytest.raises(ConfigError, match="number_prefix"):
        order_number(1, prefix)


@pytest.mark.parametrize("id_", [-1, MAX_ID + 1])
def test_refuses_an_integer_that_is_no_id(id_: int) -> None:
    with pytest.raises(ValueError, match="63 bits"):
        order_number(id_, "TB")
