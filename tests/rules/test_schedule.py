from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rules.ruleset import Schedule
from rules.schedule import earliest
from tests.rules.samples import NOW, facts, line, order

PAID = order(line(), paid_at=NOW - timedelta(minutes=10))
NIGHT = Schedule(quiet_from=22 * 60, quiet_to=8 * 60)


def at(hour: int, minute: int = 0, day: int = 21) -> datetime:
    """A time of Shanghai's clock."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC) - timedelta(hours=8)


def test_an_order_without_a_schedule_goes_at_once() -> None:
    assert earliest(PAID, facts(), ()) is None
    assert earliest(PAID, facts(), (Schedule(),)) is None


def test_a_delay_counts_from_the_payment_not_from_when_we_heard_of_it() -> None:
    assert earliest(PAID, facts(), (Schedule(delay_minutes=30),)) == NOW + timedelta(minutes=20)
    assert earliest(PAID, facts(), (Schedule(delay_minutes=10),)) is None
    assert earliest(order(line()), facts(), (Schedule(delay_minutes=30),)) == NOW + timedelta(minutes=30)


def test_the_latest_of_all_schedules_counts() -> None:
    day = datetime(2026, 11, 25, tzinfo=UTC)
    assert earliest(PAID, facts(), (Schedule(not_before=day), Schedule(delay_minutes=30))) == day
    assert earliest(PAID, facts(), (Schedule(not_before=NOW - timedelta(days=1)),)) is None


def test_nothing_goes_out_in_quiet_hours_which_may_span_midnight() -> None:
    assert earliest(PAID, facts(now=at(21, 59)), (NIGHT,)) is None
    assert earliest(PAID, facts(now=at(22, 0)), (NIGHT,)) == at(8, day=22)
    assert earliest(PAID, facts(now=at(3, 30, day=22)), (NIGHT,)) == at(8, day=22)
    assert earliest(PAID, facts(now=at(8, 0)), (NIGHT,)) is None


def test_a_delay_that_ends_in_quiet_hours_waits_for_their_end() -> None:
    delayed = Schedule(delay_minutes=60, quiet_from=22 * 60, quiet_to=23 * 60)
    early = order(line(), paid_at=at(21, 30))
    assert earliest(early, facts(now=at(21, 31)), (delayed,)) == at(23)
    morning = Schedule(quiet_from=23 * 60, quiet_to=23 * 60 + 30)
    assert earliest(early, facts(now=at(21, 31)), (delayed, morning)) == at(23, 30)


def test_quiet_hours_that_leave_no_minute_free_are_not_kept() -> None:
    always = (Schedule(quiet_from=0, quiet_to=720), Schedule(quiet_from=720, quiet_to=0))
    assert earliest(PAID, facts(), always) is None
    assert earliest(PAID, facts(), (Schedule(quiet_from=5, quiet_to=5),)) is None


MINUTE = st.none() | st.integers(-5, 1445)
SCHEDULES = st.lists(
    st.builds(
        Schedule,
        delay_minutes=st.integers(-5, 5000) | st.just(10**15),
        not_before=st.none() | st.integers(-9_000, 9_000).map(lambda minutes: NOW + timedelta(minutes=minutes)),
        quiet_from=MINUTE,
        quiet_to=MINUTE,
        utc_offset=st.integers(-720, 840),
    ),
    max_size=4,
)


@given(SCHEDULES, st.integers(0, 2880))
def test_the_moment_is_never_early_never_quiet_and_found_once_for_all(schedules: list[Schedule], minutes: int) -> None:
    now = NOW + timedelta(minutes=minutes)
    moment = earliest(PAID, facts(now=now), schedules)
    assert moment is None or moment > now
    start = moment or now
    assert all(one.not_before is None or start >= one.not_before for one in schedules)
    if moment is not None and moment.year < 9999:
        assert earliest(PAID, facts(now=moment), schedules) is None
