"""States move only along the published tables, and late news never brings anything back."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import RefusedError
from domain.order import OrderStatus
from domain.states import (
    AFTER_SALE,
    FULFILMENT,
    MACHINES,
    ORDER,
    AfterSaleState,
    FulfilmentState,
    Machine,
    Progress,
    as_markdown,
    first_status,
    is_newer,
    judge,
    may_move,
    move,
    on_cancel,
    roll_up,
)

by_machine = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)


def test_the_tables_hold_the_states_of_the_types() -> None:
    assert set(ORDER.states) == set(get_args(OrderStatus))
    assert set(FULFILMENT.states) == set(get_args(FulfilmentState))
    assert set(AFTER_SALE.states) == set(get_args(AfterSaleState))


def test_terminal_states_are_the_ends_of_a_life() -> None:
    assert ORDER.terminal == {"completed", "closed"}
    assert FULFILMENT.terminal == {"delivered", "cancelled"}
    assert AFTER_SALE.terminal == {"refunded", "exchange_shipped", "withdrawn"}


@by_machine
def test_every_state_can_be_reached_and_can_end(machine: Machine) -> None:
    def reach(start: set[str]) -> set[str]:
        seen = set(start)
        while more := {target for state in seen for target in machine.moves[state]} - seen:
            seen |= more
        return seen

    assert reach(set(machine.first)) == set(machine.states)
    assert all(reach({state}) & machine.terminal for state in machine.states)
    assert all(
        target in machine.moves and target != state for state in machine.states for target in machine.moves[state]
    )


@pytest.mark.parametrize("state", ["planned", "held", "exception", "ready"])
def test_only_a_push_leads_into_a_warehouse(state: str) -> None:
    beyond = {"accepted", "picking", "shipped", "delivered", "unknown", "rejected", "cancelling"}
    assert not beyond & set(FULFILMENT.moves[state])
    assert ("pushing" in FULFILMENT.moves[state]) == (state == "ready")


@pytest.mark.parametrize("state", ["pushing", "unknown", "accepted", "picking", "rejected", "cancelling"])
def test_goods_that_left_are_shipped_whatever_we_wanted(state: str) -> None:
    assert move(FULFILMENT, state, "shipped")


def test_a_cancelled_fulfilment_never_ships() -> None:
    with pytest.raises(RefusedError, match="illegal_move"):
        move(FULFILMENT, "cancelled", "shipped")


def test_being_told_twice_is_no_move_and_no_error() -> None:
    assert move(ORDER, "shipped", "shipped") is False
    assert move(ORDER, "closed", "closed") is False


@by_machine
def test_an_unknown_status_is_never_a_state(machine: Machine) -> None:
    for current, target in ((machine.states[0], "TRADE_WEIRD"), ("", machine.states[0])):
        with pytest.raises(RefusedError, match="state_unknown"):
            may_move(machine, current, target)


def test_versions_compare_as_text_and_equal_ones_by_arrival() -> None:
    assert is_newer("2026-11-21T12:00:01Z", "2026-11-21T12:00:00Z")
    assert not is_newer("2026-11-21T12:00:00Z", "2026-11-21T12:00:01Z")
    assert is_newer("7", "7") and is_newer("", "")
    assert not is_newer("", "1")


def test_late_news_is_recorded_and_not_applied() -> None:
    assert judge(ORDER, "shipped", "pending_shipment", version="1", current_version="2") == "stale"
    assert judge(ORDER, "pending_shipment", "shipped", version="1", current_version="2") == "stale"
    assert judge(ORDER, "pending_shipment", "shipped", version="3", current_version="2") == "move"
    assert judge(ORDER, "shipped", "shipped", version="3", current_version="2") == "same"
    assert judge(ORDER, "closed", "pending_shipment", version="3", current_version="2") == "illegal"
    assert judge(ORDER, "shipped", "pending_payment", version="3", current_version="2") == "illegal"


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
@given(data=st.data())
def test_no_history_makes_an_illegal_move_or_revives_an_end(machine: Machine, data: st.DataObject) -> None:
    states = st.sampled_from(machine.states)
    news = data.draw(st.lists(st.tuples(st.integers(0, 9).map(str), states), min_size=1, max_size=12))
    arrivals = data.draw(st.permutations(news + data.draw(st.lists(st.sampled_from(news), max_size=5))))
    current, known, ended = data.draw(st.sampled_from(sorted(machine.first))), "", ""
    for version, told in arrivals:
        arrival = judge(machine, current, told, version=version, current_version=known)
        assert (arrival == "stale") == (version < known)
        if arrival == "move":
            assert told in machine.moves[current] and not ended
            current = told
        if arrival != "stale":
            known = version
        ended = current if current in machine.terminal else ""


@given(st.permutations(range(5)))
def test_any_order_of_arrival_ends_with_the_newest_version(order: list[int]) -> None:
    life: tuple[OrderStatus, ...] = ("pending_payment", "pending_shipment", "partially_shipped", "shipped", "completed")
    first, *later = order
    current: str = first_status(life[first], tombstone=False)
    known = str(first)
    for index in later:
        if judge(ORDER, current, life[index], version=str(index), current_version=known) == "move":
            current, known = life[index], str(index)
    assert current == "completed"


def test_an_order_after_its_cancel_is_born_closed() -> None:
    assert first_status("pending_shipment", tombstone=True) == "closed"
    assert first_status("pending_shipment", tombstone=False) == "pending_shipment"


@pytest.mark.parametrize("state", get_args(FulfilmentState))
def test_a_cancel_asks_the_warehouse_exactly_when_it_may_know(state: FulfilmentState) -> None:
    target = on_cancel(state)
    assert (target is None) == (state in {"shipped", "delivered", "cancelled", "cancelling"})
    assert (target == "cancelling") == (state in {"pushing", "unknown", "accepted", "picking"})
    assert target is None or may_move(FULFILMENT, state, target)


@pytest.mark.parametrize(
    ("lines", "paid", "complete", "status"),
    [
        ([Progress(2), Progress(1)], False, False, "pending_payment"),
        ([Progress(2), Progress(1)], True, False, "pending_shipment"),
        ([Progress(2, shipped=1), Progress(1)], True, False, "partially_shipped"),
        ([Progress(2, shipped=2), Progress(1)], True, True, "partially_shipped"),
        ([Progress(2, shipped=2), Progress(1, shipped=1)], True, False, "shipped"),
        ([Progress(2, shipped=2), Progress(1, shipped=1)], True, True, "completed"),
        ([Progress(2, shipped=2), Progress(1, cancelled=1)], True, False, "shipped"),
        ([Progress(2, shipped=1, cancelled=1), Progress(1)], True, False, "partially_shipped"),
        ([Progress(2, cancelled=1), Progress(1, cancelled=1)], True, False, "pending_shipment"),
        ([Progress(2, cancelled=2), Progress(1, cancelled=1)], True, False, "closed"),
        ([Progress(2, cancelled=2, shipped=2)], True, False, "shipped"),
        ([Progress(2, shipped=3)], True, False, "shipped"),
        ([], True, False, "pending_shipment"),
    ],
)
def test_the_order_is_what_all_its_parcels_say(
    lines: list[Progress], paid: bool, complete: bool, status: OrderStatus
) -> None:
    assert roll_up("pending_payment", lines, paid=paid, complete=complete) == status


PROGRESS = st.builds(Progress, st.integers(1, 4), st.integers(0, 4), st.integers(0, 5))


@given(st.sampled_from(get_args(OrderStatus)), st.lists(st.lists(PROGRESS, max_size=3), max_size=6), st.booleans())
def test_rolling_up_never_goes_back(status: OrderStatus, days: list[list[Progress]], paid: bool) -> None:
    for lines in days:
        after = roll_up(status, lines, paid=paid, complete=False)
        assert after == status or after in ORDER.moves[status]
        status = after


@by_machine
def test_the_table_for_the_docs_has_every_move(machine: Machine) -> None:
    table = as_markdown(machine)
    for state, moves in machine.moves.items():
        for target, when in moves.items():
            assert f"| `{state}` | `{target}` | {when} |" in table
    assert table.count("terminal") == len(machine.terminal)
