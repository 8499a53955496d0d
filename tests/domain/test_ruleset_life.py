"""No change of the rules decides about orders before it was tried on past ones and a second person agreed."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from domain.errors import RefusedError
from domain.ruleset_life import (
    RAILS,
    RULESET,
    RulesetState,
    change_state,
    check_approval,
    check_arming,
    judge_rails,
    read_rails,
)


def row(state: str = "replayed", **more: Any) -> dict[str, Any]:
    told = {"version": "v", "state": state, "author": "key:li", "approver": "", "digest": "d", "replay_digest": "d"}
    return told | {"override_reason": ""} | more


def code(call: Any, *words: Any, **named: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        call(*words, **named)
    return caught.value.code


def test_the_table_holds_the_states_of_the_type_and_arming_comes_from_approval_or_a_roll_back() -> None:
    assert set(RULESET.states) == set(get_args(RulesetState))
    assert {state for state in RULESET.states if "armed" in RULESET.moves[state]} == {"approved", "retired"}
    assert {state for state in RULESET.states if "approved" in RULESET.moves[state]} == {"replayed"}
    change_state(row("draft"), "validated")
    assert code(change_state, row("draft"), "armed") == "ruleset_state"
    assert code(change_state, row("armed"), "armed") == "ruleset_state"


def test_nobody_approves_what_they_wrote_or_what_was_not_replayed() -> None:
    check_approval(row(), [], by="key:wang", override="")
    assert code(check_approval, row(), [], by="key:li", override="") == "second_person"
    assert code(check_approval, row("validated"), [], by="key:wang", override="") == "replay_missing"
    assert code(check_approval, row(replay_digest="other"), [], by="key:wang", override="") == "replay_missing"
    assert code(check_approval, row("armed"), [], by="key:wang", override="") == "ruleset_state"


def test_broken_guard_rails_need_a_named_reason() -> None:
    assert code(check_approval, row(), ["failed"], by="key:wang", override="  ") == "rails_broken"
    check_approval(row(), ["failed"], by="key:wang", override="one test order only")
    approved = row("approved", approver="key:wang")
    assert code(check_arming, approved, ["failed"]) == "rails_broken"
    check_arming(approved | {"override_reason": "one test order only"}, ["failed"])


def test_arming_needs_exactly_the_replayed_document_and_two_people() -> None:
    check_arming(row("approved", approver="key:wang"), [])
    assert code(check_arming, row("approved", approver="key:wang", replay_digest="x"), []) == "replay_missing"
    assert code(check_arming, row("approved"), []) == "second_person"
    assert code(check_arming, row("approved", approver="key:li"), []) == "second_person"
    for state in ("replayed", "retired", "armed"):
        assert code(check_arming, row(state, approver="key:wang"), []) == "ruleset_state"


def test_rails_are_named_whole_numbers() -> None:
    assert read_rails({"holds_up_percent": 7}) == {**RAILS, "holds_up_percent": 7}
    for told in ({"speed": 1}, {"failed": -1}, {"failed": True}, {"failed": "1"}, {"failed": 1.5}):
        assert code(read_rails, told) == "rails"


TOTALS: dict[str, Any] = {
    "orders": 300,
    "held": [3, 9],
    "split": [30, 20],
    "cost": [100_000, 103_001],
    "no_warehouse": [1, 2],
    "not_reproduced": 0,
    "failed": 0,
}


def test_rails_are_compared_exactly() -> None:
    judged = {one.name: (one.found, one.broken) for one in judge_rails(read_rails({}), TOTALS)}
    assert judged["holds_up_percent"] == ("2.00", False)  # 6 of 300 is 2 %, and 2 % is allowed
    assert judged["splits_up_percent"] == ("-3.33", False)
    assert judged["cost_up_percent"] == ("3.01", True)  # 3.001 %, rounded up: never shown as what is allowed
    assert judged["no_warehouse_up"] == ("1", True)
    more = {one.name: one.broken for one in judge_rails(read_rails({"orders_at_least": 301}), {**TOTALS, "failed": 1})}
    assert more["orders_at_least"]
    assert more["failed"]


def test_a_replay_of_nothing_breaks_no_percentage() -> None:
    nothing = {name: [0, 0] for name in ("held", "split", "cost", "no_warehouse")}
    assert not any(one.broken for one in judge_rails(RAILS, {**TOTALS, **nothing, "orders": 0}))
