"""Lists that move, repeat and lie while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import RefusedError, RetryableError
from wire.paging import Batch, cursor, last_page_first, link_header, next_link, offset_stable, page_number, windows

START = datetime(2026, 11, 21, tzinfo=UTC)


def ids(batches: Iterator[Batch[int]]) -> list[int]:
    return [record for batch in batches for record in batch.records]


def same(record: int) -> int:
    return record


# -- windows -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.integers(10, 1440), st.integers(0, 9))
def test_windows_cover_everything_and_overlap(minutes: int, span: int, overlap: int) -> None:
    end = START + timedelta(minutes=minutes)
    found = list(windows(START, end, timedelta(minutes=span), timedelta(minutes=overlap)))
    assert found[0][0] == START - timedelta(minutes=overlap)
    assert found[-1][1] == end
    assert all(stop - begin <= timedelta(minutes=span) for begin, stop in found)
    assert all(left[1] - right[0] == timedelta(minutes=overlap) for left, right in pairwise(found))


def test_windows_that_could_never_end_are_refused() -> None:
    with pytest.raises(ValueError):
        list(windows(START, START, timedelta(minutes=5), timedelta(minutes=5)))


# -- all schemes on an honest source -----------------------------------------------------------------------------------

PAGE = 10


def by_cursor(rows: list[int]) -> Iterator[Batch[int]]:
    def fetch(token: int | None) -> tuple[list[int], int | None]:
        at = token or 0
        return rows[at : at + PAGE], at + PAGE if at + PAGE < len(rows) else None

    return cursor(fetch)


def by_page(rows: list[int]) -> Iterator[Batch[int]]:
    return page_number(lambda page: (rows[(page - 1) * PAGE : page * PAGE], None, None), size=PAGE)


def by_page_with_total(rows: list[int]) -> Iterator[Batch[int]]:
    return page_number(lambda page: (rows[(page - 1) * PAGE : page * PAGE], None, len(rows)), size=PAGE)


def by_page_with_more(rows: list[int]) -> Iterator[Batch[int]]:
    return page_number(
        lambda page: (rows[page * PAGE : page * PAGE + PAGE], page * PAGE + PAGE < len(rows), None), size=PAGE, start=0
    )


def by_last_page(rows: list[int]) -> Iterator[Batch[int]]:
    return last_page_first(lambda: len(rows), lambda page: rows[(page - 1) * PAGE : page * PAGE], PAGE, key=same)


def by_offset(rows: list[int]) -> Iterator[Batch[int]]:
    return offset_stable(lambda offset: (rows[offset : offset + PAGE], None), size=PAGE, key=same)


def by_link(rows: list[int]) -> Iterator[Batch[int]]:
    def fetch(url: str) -> tuple[list[int], str]:
        at = int(url.partition("at=")[2] or 0)
        following = f'<https://shop.example/o?at={at + PAGE}>; rel="next"' if at + PAGE < len(rows) else ""
        return rows[at : at + PAGE], following

    return link_header(fetch, "https://shop.example/o")


SCHEMES = [by_cursor, by_page, by_page_with_total, by_page_with_more, by_last_page, by_offset, by_link]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 25, 30])
def test_reads_every_record_of_equal_stamps_once(
    scheme: Callable[[list[int]], Iterator[Batch[int]]], count: int
) -> None:
    rows = list(range(count))  # 25 orders with one timestamp over page size 10: nothing here sorts or compares by time
    assert sorted(ids(scheme(rows))) == rows


# -- loops, empties, lies ----------------------------------------------------------------------------------------------


def test_a_token_that_comes_for_the_third_time_stops_the_reading() -> None:
    for tokens in (["a"] * 9, ["a", "b"] * 9):
        calls: list[str | None] = []

        def fetch(
            token: str | None, calls: list[str | None] = calls, tokens: list[str] = tokens
        ) -> tuple[list[int], str]:
            calls.append(token)
            return [len(calls)], tokens[len(calls)]

        with pytest.raises(RetryableError, match="paging_loop"):
            ids(cursor(fetch))
        assert len(calls) <= 7


def test_a_page_that_comes_for_the_third_time_stops_the_reading() -> None:
    pages: list[int] = []
    with pytest.raises(RetryableError, match="paging_loop"):
        ids(page_number(lambda page: (pages.append(page) or [1, 2], True, None), size=2))  # type: ignore[func-returns-value]
    assert pages == [1, 2, 3]


def test_an_empty_page_that_promises_more_is_believed_once() -> None:
    pages: dict[int | None, tuple[list[int], int | None]] = {None: ([1], 1), 1: ([], 2), 2: ([2], None)}
    assert ids(cursor(lambda token: pages[token])) == [1, 2]
    with pytest.raises(RetryableError, match="paging_empty"):
        ids(cursor(lambda token: ([], (token or 0) + 1)))
    with pytest.raises(RetryableError, match="count_mismatch"):
        ids(page_number(lambda _: ([], True, None), size=5))


@pytest.mark.parametrize("records", [None, {}, "text", 5])
def test_a_page_that_is_no_list_is_never_no_orders(records: Any) -> None:
    schemes: list[Callable[[], Iterator[Batch[Any]]]] = [
        lambda: cursor(lambda _: (records, None)),
        lambda: page_number(lambda _: (records, None, None), size=5),
        lambda: last_page_first(lambda: 3, lambda _: records, 5, key=same),
        lambda: offset_stable(lambda _: (records, None), size=5, key=same),
        lambda: link_header(lambda _: (records, ""), "https://a.example/"),
    ]
    for scheme in schemes:
        with pytest.raises(RetryableError, match="page_unreadable"):
            list(scheme())


@pytest.mark.parametrize("total", [None, "3", -1, True])
def test_a_missing_total_is_an_error(total: Any) -> None:
    with pytest.raises(RetryableError, match="page_unreadable"):
        list(last_page_first(lambda: total, lambda _: [], 5, key=same))


def test_fewer_records_than_the_total_is_an_error() -> None:
    with pytest.raises(RetryableError, match="count_mismatch"):
        ids(page_number(lambda page: ([1, 2] if page == 1 else [], None, 5), size=2))
    with pytest.raises(RetryableError, match="count_mismatch"):
        ids(last_page_first(lambda: 5, lambda page: [page], 2, key=same))
    with pytest.raises(RetryableError, match="count_mismatch"):
        ids(offset_stable(lambda offset: ([1, 2] if offset == 0 else [], 5), size=2, key=same))


def test_pages_are_bounded() -> None:
    with pytest.raises(RetryableError, match="paging_endless"):
        ids(cursor(lambda token: ([token or 0], (token or 0) + 1), max_pages=50))
    with pytest.raises(RetryableError, match="paging_endless"):
        ids(last_page_first(lambda: 10**9, lambda _: [1], 1, key=same))


# -- sources that move while they are read -----------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.lists(st.integers(0, 59), max_size=8), st.randoms(use_true_random=False))
def test_reading_from_the_last_page_misses_nothing_that_stays(count: int, leaving: Sequence[int], chance: Any) -> None:
    rows = list(range(count))
    queue = list(leaving)

    def page(number: int) -> list[int]:
        got = rows[(number - 1) * PAGE : number * PAGE]
        if queue and chance.random() < 0.7 and (gone := queue.pop()) in rows:
            rows.remove(gone)  # modified just now: it leaves the window and comes back in a later one
        return got

    read = set(ids(last_page_first(lambda: len(rows), page, PAGE, key=same)))
    assert read >= set(range(count)) - set(leaving)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(0, 39), max_size=3))
def test_offset_paging_reads_again_until_nothing_moves(count: int, leaving: list[int]) -> None:
    rows = list(range(count))
    queue = list(leaving)

    def fetch(offset: int) -> tuple[list[int], int | None]:
        got = rows[offset : offset + PAGE]
        if queue and (gone := queue.pop()) in rows:
            rows.remove(gone)
        return got, None

    read = ids(offset_stable(fetch, size=PAGE, key=same, passes=6))
    assert set(read) >= set(range(count)) - set(leaving)
    assert len(read) == len(set(read))


def test_offset_paging_gives_up_on_a_list_that_never_rests() -> None:
    shift = iter(range(0, 100_000, 100))

    def fetch(offset: int) -> tuple[list[int], int | None]:
        start = next(shift)
        return list(range(start, start + (10 if offset < 20 else 3))), None

    with pytest.raises(RetryableError, match="paging_unstable"):
        ids(offset_stable(fetch, size=10, key=same))


# -- links -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('<https://a.example/p?x=1,2>; rel="next"', "https://a.example/p?x=1,2"),
        ('<https://a.example/0>; rel="previous", <https://a.example/2>; rel="next"', "https://a.example/2"),
        ("<p2>; title=x; rel=next", "p2"),
        ('<p2>; rel="last next"', "p2"),
        ('<p2>; rel="nextish"', None),
        ("garbage", None),
        ("<<<", None),
        ("", None),
    ],
)
def test_finds_the_next_link(header: str, expected: str | None) -> None:
    assert next_link(header) == expected


def test_a_next_link_keeps_our_scheme_and_never_leaves_the_host() -> None:
    asked: list[str] = []

    def fetch(url: str) -> tuple[list[int], str]:
        asked.append(url)
        return [len(asked)], '<http://shop.example/o?page=2>; rel="next"' if len(
            asked
        ) == 1 else '<?page=3>; rel="next"' if len(asked) == 2 else ""

    assert ids(link_header(fetch, "https://shop.example/o")) == [1, 2, 3]
    assert asked == ["https://shop.example/o", "https://shop.example/o?page=2", "https://shop.example/o?page=3"]
    for bad in ("https://evil.example/o", "https://shop.example:444/o", "//evil.example/"):
        with pytest.raises(RefusedError, match="link_refused"):
            ids(link_header(lambda _, bad=bad: ([1], f'<{bad}>; rel="next"'), "https://shop.example/o"))  # type: ignore[misc]
