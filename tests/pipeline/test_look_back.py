"""Polls that look back a short way find what was late all the same, soon, and list the rest far less often (P6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors._channel import Page, Session, Since
from domain.errors import RetryableError
from pipeline.directory import read_directory
from pipeline.look_back import Pace, Whole, poll_start
from pipeline.pull import LEASE, pull_due, pull_stream
from storage.cursors import claim_cursors
from storage.times import span

from .build import NOW, Shop
from .test_pull import TIDS, document, stored

SETTLED = timedelta(seconds=3)


def seconds(told: float) -> timedelta:
    return timedelta(seconds=told)


def pace(period: float = 30, look_back: float = 900) -> Pace:
    return Pace(seconds(period), seconds(look_back), SETTLED)


@pytest.mark.parametrize(
    ("period", "look_back", "pause", "short"),
    [(30, 900, 60, 60), (10, 900, 60, 20), (1, 900, 60, 4), (1, 15, 5, 4), (0.05, 60, 20, 4)],
)
def test_a_minute_apart_or_less(period: float, look_back: float, pause: float, short: float) -> None:
    told = pace(period, look_back)
    assert (told.saves, told.pause, told.short) == (True, seconds(pause), seconds(short))


@pytest.mark.parametrize(
    ("period", "look_back"), [(60, 900), (40, 900), (3600, 900), (30, 60), (1, 4), (0.05, 0), (5, 15)]
)
def test_slow_polls_and_short_look_backs_stay_whole(period: float, look_back: float) -> None:
    for last in (None, Whole(NOW, 0.0, NOW)):
        start, whole = poll_start(pace(period, look_back), NOW, last, NOW + seconds(period), period)
        assert (start, whole) == (NOW - seconds(look_back), True)


@pytest.mark.parametrize(("by_clock", "by_counter"), [(90, 1), (1, 90), (-7200, 1), (-0.001, 1)])
def test_a_clock_that_steps_makes_the_next_poll_whole(by_clock: float, by_counter: float) -> None:
    last = Whole(NOW, 100.0, NOW)
    assert poll_start(pace(1), NOW, last, NOW + seconds(1), 101.0) == (NOW - seconds(4), False)
    assert poll_start(pace(1), NOW, last, NOW + seconds(by_clock), 100.0 + by_counter)[1]


def test_a_process_that_reads_an_account_now_and_then_lists_twice_the_look_back_at_most() -> None:
    last = Whole(NOW, 0.0, NOW)
    later = NOW + seconds(7200)
    assert poll_start(pace(), later, last, later, 7200.0) == (later - seconds(1800), True)


POLLS = st.lists(
    st.tuples(
        st.floats(0.0, 3.0),  # how many periods more than one pass before the next poll
        st.sampled_from(["read", "read", "read", "read", "restarted", "failed", "another"]),
    ),
    min_size=8,
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([(30.0, 900.0), (10.0, 900.0), (1.0, 900.0), (1.0, 15.0), (0.25, 60.0), (50.0, 900.0)]),
    POLLS,
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20),
)
@example((1.0, 15.0), [(0.0, "read")] * 60, [(0.2, 1.0), (0.5, 0.99)])
@example((30.0, 900.0), [(0.0, "read")] * 9 + [(0.0, "restarted")] + [(0.0, "read")] * 9, [(0.5, 1.0)])
def test_whatever_shows_up_within_the_look_back_is_found_by_the_next_whole_poll(
    kind: tuple[float, float], polls: list[tuple[float, str]], orders: list[tuple[float, float]]
) -> None:
    """`orders`: when one becomes visible (a part of all the time), and how late that is (a part of the look-back)."""
    told = pace(*kind)
    # Two processes on one database take turns; each remembers its own whole polls only.
    memories: list[Whole | None] = [None, None]
    at, mine, watermark, failed = 0.0, 0, NOW, False
    reads: list[tuple[float, float, float, bool]] = []  # when, from, to, the whole way
    for pause, event in polls:
        at += kind[0] * (1 + pause)
        if event == "restarted":
            memories[mine] = None
        elif event == "another":
            mine = 1 - mine
        elif event == "failed":
            failed = True
            continue
        now = NOW + seconds(at)
        start, whole = poll_start(told, watermark, memories[mine], now, at, whole=failed)
        watermark, failed = now, False
        reads.append(((now - NOW).total_seconds(), (start - NOW).total_seconds(), (now - NOW).total_seconds(), whole))
        if whole:
            memories[mine] = Whole(now, at, watermark)
    for part, late in orders:
        visible = part * at
        stamp = visible - late * (kind[1] - 1e-3)
        after = [read for read in reads if read[0] >= visible]
        found = next((n for n, (_, start, end, _) in enumerate(after) if start <= stamp <= end), None)
        first_whole = next((n for n, read in enumerate(after) if read[3]), None)
        if first_whole is None:
            continue
        assert found is not None and found <= first_whole
        # And a whole one is never far: no poll is short that comes later than the pause after one.
        began = [read[0] for read in reads if read[3] and read[0] < visible]
        if after[0][3] is False:
            assert began and all(read[0] - began[-1] <= told.pause.total_seconds() for read in after[:first_whole])
        if stamp >= visible - told.short.total_seconds() + 1e-3:
            assert found == 0


def test_orders_are_listed_a_third_as_often_by_polls_of_ten_seconds() -> None:
    told, last, watermark, listed = pace(10), None, NOW, 0.0
    for n in range(1, 91):
        now = NOW + seconds(10 * n)
        start, whole = poll_start(told, watermark, last, now, 10.0 * n)
        listed += (now - start).total_seconds()
        watermark = now
        last = Whole(now, 10.0 * n, now) if whole else last
    assert listed / 900 < 22  # each order, instead of 91 times


Pull = Callable[[Session, Since], Iterator[Page]]


def poll(shop: Shop, pull: Pull) -> int:
    with shop.hub.read() as tx:
        account = read_directory(shop.hub, tx).account("tb")
    with shop.hub.write() as tx:
        rows = claim_cursors(tx, now=shop.hub.now(), lease=span(LEASE), token=1, limit=9)
    (cursor,) = [row for row in rows if row["stream"] == "poll"]
    return pull_stream(shop.hub, replace(account, channel=replace(account.channel, pull=pull, fetch=None)), cursor)


class Source:
    """A shop's list: orders by stamp, each from when it can be seen."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.orders: dict[str, tuple[float, float]] = {}
        self.asked: list[float] = []
        self.fails = False

    def pull(self, _: Session, since: Since) -> Iterator[Page]:
        self.asked.append((since.end - since.start).total_seconds())
        if self.fails:
            raise RetryableError("http_503")
        found = [
            document(tid)
            for tid, (stamp, visible) in self.orders.items()
            if since.start <= NOW + seconds(stamp) <= since.end and self.shop.clock.at >= NOW + seconds(visible)
        ]
        yield Page(documents=tuple(found), seen_to=since.end)


def test_an_order_that_shows_up_late_is_there_after_the_next_whole_poll(shop: Shop) -> None:
    source = Source(shop)
    source.orders = {TIDS[0]: (40, 40), TIDS[1]: (20, 100), TIDS[2]: (-700, 100)}
    when: dict[str, float] = {}
    for n in range(8):
        poll(shop, source.pull)
        for tid in stored(shop):
            when.setdefault(tid, 31.0 * n)
        shop.clock.wait(seconds=31)
    assert when == {TIDS[0]: 62, TIDS[1]: 124, TIDS[2]: 124}
    wholes = [n for n, asked in enumerate(source.asked) if asked > 900]
    assert wholes == [0, 2, 4, 6]


def test_after_a_failure_or_a_restart_the_whole_way_is_read(shop: Shop) -> None:
    source = Source(shop)
    poll(shop, source.pull)
    shop.clock.wait(seconds=31)
    poll(shop, source.pull)
    assert source.asked[-1] < 100
    source.fails = True
    shop.clock.wait(seconds=31)
    poll(shop, source.pull)
    source.fails = False
    shop.clock.wait(seconds=61)
    poll(shop, source.pull)
    assert source.asked[-1] > 900
    shop.clock.wait(seconds=31)
    shop.hub.memory.clear()
    poll(shop, source.pull)
    assert source.asked[-1] > 900


def test_a_window_that_another_began_is_not_taken_for_the_whole_way(shop: Shop) -> None:
    source = Source(shop)

    def half(session: Session, since: Since) -> Iterator[Page]:
        if not since.token:
            yield Page(documents=(document(TIDS[0]),), next="p1")
            raise RetryableError("http_503")
        yield from source.pull(session, since)

    poll(shop, half)
    shop.clock.wait(seconds=61)
    shop.hub.memory.clear()
    poll(shop, half)
    shop.clock.wait(seconds=31)
    poll(shop, source.pull)
    assert source.asked[-1] > 900


def test_a_poll_that_a_person_asks_for_looks_back_the_whole_way(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def note(*_: object, whole: bool) -> int:
        asked.append(whole)
        return 0

    monkeypatch.setattr("pipeline.pull.pull_stream", note)
    with shop.hub.read() as tx:
        account = read_directory(shop.hub, tx).account("tb")
    pull_due(shop.hub, account_id=account.id)
    shop.clock.wait(hours=1)
    pull_due(shop.hub, account_id=account.id, stream="poll")
    assert asked == [True, False]
