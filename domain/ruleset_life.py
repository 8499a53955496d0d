"""The life of a ruleset version, and what stands between a draft and orders (docs/replay.md). Pure: rows in, yes or a
RefusedError with a stable code out.

A version is tried on past orders before it is armed, and nobody arms a change alone: the person who approves is not the
person who wrote it. What was replayed is what is armed: the replay names the digest of the document it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .errors import RefusedError
from .states import Machine, move

RulesetState = Literal["draft", "validated", "replayed", "approved", "armed", "retired"]
# Who wrote a ruleset that came with the first configuration file; a person's actor is `key:NAME`.
INSTALLER = "apply"
# What a replay may show before a named person has to say why it is all right. Percent of the orders replayed, but for
# cost: percent of what they cost. `no_warehouse_up` and `not_reproduced` are numbers of orders; `orders_at_least` is how
# many must have been replayed.
RAILS: Mapping[str, int] = {
    "holds_up_percent": 2,
    "splits_up_percent": 5,
    "cost_up_percent": 3,
    "no_warehouse_up": 0,
    "not_reproduced": 0,
    "failed": 0,
    "orders_at_least": 0,
}

_WITHDRAWN = "given up by a person"
_AGAIN = "its document was replaced"
_LIFE: dict[str, dict[str, str]] = {
    "draft": {"validated": "it loads: every field, value and effect is understood", "retired": _WITHDRAWN},
    "validated": {"replayed": "tried on past orders", "draft": _AGAIN, "retired": _WITHDRAWN},
    "replayed": {
        "approved": "a second person agrees with what the replay showed",
        "draft": _AGAIN,
        "retired": _WITHDRAWN,
    },
    "approved": {
        "armed": "in force from a moment on",
        "replayed": "tried again: the approval was of another replay",
        "retired": _WITHDRAWN,
    },
    "armed": {"retired": "another version came into force, it was rolled back, or was withdrawn before its moment"},
    "retired": {"armed": "the version after it was rolled back"},
}
RULESET = Machine("ruleset", frozenset({"draft", "armed"}), _LIFE)


@dataclass(frozen=True, slots=True)
class Rail:
    """One guard rail after a replay: what it allows, what was found (text, because percent has two decimals), and whether
    it is broken."""

    name: str
    limit: int
    found: str
    broken: bool


def read_rails(told: Mapping[str, Any]) -> dict[str, int]:
    """The guard rails of a draft: those told, the others as RAILS. RefusedError `rails`."""
    for name, limit in told.items():
        if name not in RAILS:
            raise RefusedError("rails", f"{name}: one of {', '.join(RAILS)}")
        if type(limit) is not int or not 0 <= limit <= 1_000_000_000:
            raise RefusedError("rails", f"{name}: a whole number from 0 on")
    return {**RAILS, **told}


def judge_rails(rails: Mapping[str, int], totals: Mapping[str, Any]) -> list[Rail]:
    """Every rail against a replay's totals: `orders`, `held`, `split`, `no_warehouse` (each [before, after]), `cost`
    ([before, after] minor units), `not_reproduced`, `failed`."""
    orders = int(totals["orders"])
    found = {
        "holds_up_percent": _percent(totals["held"], orders),
        "splits_up_percent": _percent(totals["split"], orders),
        "cost_up_percent": _percent(totals["cost"], int(totals["cost"][0])),
    }
    counts = {
        "no_warehouse_up": int(totals["no_warehouse"][1]) - int(totals["no_warehouse"][0]),
        "not_reproduced": int(totals["not_reproduced"]),
        "failed": int(totals["failed"]),
    }
    judged = []
    for name, limit in rails.items():
        if name in found:
            hundredths = found[name]
            text = f"{'-' if hundredths < 0 else ''}{abs(hundredths) // 100}.{abs(hundredths) % 100:02}"
            judged.append(Rail(name, limit, text, hundredths > limit * 100))
        elif name == "orders_at_least":
            judged.append(Rail(name, limit, str(orders), orders < limit))
        else:
            count = counts[name]
            judged.append(Rail(name, limit, str(count), count > limit))
    return judged


def _percent(pair: Sequence[int], whole: int) -> int:
    """Hundredths of a percent by which the second is more than the first, rounded up; of nothing, nothing."""
    more = int(pair[1]) - int(pair[0])
    return -(-more * 10_000 // whole) if whole > 0 else 0


def change_state(row: Mapping[str, Any], target: RulesetState) -> None:
    """May this version go there? RefusedError `ruleset_state`."""
    try:
        moved = move(RULESET, row["state"], target)
    except RefusedError:
        moved = False
    if not moved:
        raise RefusedError("ruleset_state", f"{row['version']} is {row['state']}: it cannot become {target}")


def check_approval(row: Mapping[str, Any], broken: Sequence[str], *, by: str, override: str) -> None:
    """May `by` approve this version? RefusedError `ruleset_state`, `second_person`, `replay_missing`, `rails_broken`."""
    if by == row["author"]:
        raise RefusedError("second_person", f"{row['version']} was written by {by}: somebody else approves it")
    if row["state"] in {"draft", "validated"} or row["replay_digest"] != row["digest"]:
        raise RefusedError("replay_missing", f"{row['version']}: replay exactly this document first")
    change_state(row, "approved")
    if broken and not override.strip():
        raise RefusedError(
            "rails_broken", f"{row['version']} breaks {', '.join(broken)}: a reason is needed to approve it"
        )


def check_arming(row: Mapping[str, Any], broken: Sequence[str]) -> None:
    """May this version be armed? RefusedError `replay_missing`, `second_person`, `rails_broken`, `ruleset_state`."""
    if row["state"] in {"armed", "retired"}:  # only a roll back brings a retired version into force again
        raise RefusedError("ruleset_state", f"{row['version']} is {row['state']}: it cannot become armed")
    if row["replay_digest"] != row["digest"]:
        raise RefusedError("replay_missing", f"{row['version']}: replay exactly this document first")
    if row["approver"] in {"", row["author"]}:
        raise RefusedError("second_person", f"{row['version']} has not been approved by a second person")
    if broken and not row["override_reason"]:
        raise RefusedError(
            "rails_broken", f"{row['version']} breaks {', '.join(broken)} and nobody said why that is all right"
        )
    change_state(row, "armed")
