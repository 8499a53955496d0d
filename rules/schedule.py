"""When the fulfilments of an order may be released at the earliest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from domain.facts import Facts
from domain.order import Order

from .ruleset import Schedule

_DAY = 1440
_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def earliest(order: Order, facts: Facts, schedules: Sequence[Schedule]) -> datetime | None:
    """The first moment all `schedules` agree to, aware UTC; None when that is now or past. Delays count from payment, or
    from when the order was placed while that is not known. A quiet time may span midnight; its end is free. Quiet times
    that together leave no minute of the day are not kept: an order never waits for ever."""
    if not schedules:
        return None
    paid = order.paid_at or order.placed_at
    start = facts.now
    for schedule in schedules:
        if schedule.delay_minutes > 0:
            start = max(start, _later(paid, schedule.delay_minutes))
        if schedule.not_before is not None:
            start = max(start, schedule.not_before)
    moment = _after_quiet(start, [one for one in schedules if _is_quiet(one)])
    return moment if moment > facts.now else None


def _is_quiet(schedule: Schedule) -> bool:
    return (
        schedule.quiet_from is not None and schedule.quiet_to is not None and schedule.quiet_from != schedule.quiet_to
    )


def _after_quiet(start: datetime, schedules: Sequence[Schedule]) -> datetime:
    moment = start
    for _ in range(2 * len(schedules) + 1):  # inside one day every quiet time ends at most twice
        wait = next((left for schedule in schedules if (left := _quiet_left(moment, schedule))), 0)
        if not wait:
            return moment
        moment = _later(_EPOCH, (moment - _EPOCH) // _MINUTE + wait)
    return start


def _quiet_left(moment: datetime, schedule: Schedule) -> int:
    """Minutes from the present one to the end of the quiet time, 0 outside it."""
    begin, end = (schedule.quiet_from or 0) % _DAY, (schedule.quiet_to or 0) % _DAY
    minute = ((moment - _EPOCH) // _MINUTE + schedule.utc_offset) % _DAY
    inside = begin <= minute < end if begin < end else minute >= begin or minute < end
    return (end - minute) % _DAY if inside and begin != end else 0


def _later(moment: datetime, minutes: int) -> datetime:
    try:
        return moment + minutes * _MINUTE
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
