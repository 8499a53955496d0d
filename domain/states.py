"""The three state machines of domain.md §4 as data, and the rules for news that comes late, twice or out of order.
None of the machines is ever inferred from another. Every edge says when it is taken; `as_markdown` prints the tables
for the docs.

Sources may skip steps (a channel first tells of an order when it is already shipped), so edges lead forward to every
later state a source can report. Nothing leads out of a terminal state, and a warehouse's news of goods that left wins
over what we wanted: a fulfilment being pushed, looked for or cancelled becomes shipped when it shipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from .errors import RefusedError
from .order import OrderStatus

FulfilmentState = Literal[
    "planned",
    "held",
    "exception",
    "ready",
    "pushing",
    "unknown",
    "accepted",
    "picking",
    "rejected",
    "cancelling",
    "shipped",
    "delivered",
    "cancelled",
]
AfterSaleState = Literal[
    "requested",
    "approved",
    "refused",
    "awaiting_return",
    "return_received",
    "awaiting_exchange_stock",
    "exchange_shipped",
    "refunding",
    "refunded",
    "withdrawn",
]
Arrival = Literal["move", "same", "stale", "illegal"]


@dataclass(frozen=True, slots=True)
class Machine:
    """`moves[state][next]` says when that move is made; a state without moves is terminal. `first` are the states in
    which a record may be seen for the first time."""

    name: str
    first: frozenset[str]
    moves: Mapping[str, Mapping[str, str]]

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(self.moves)

    @property
    def terminal(self) -> frozenset[str]:
        return frozenset(state for state, moves in self.moves.items() if not moves)


_CLOSED = "cancelled, refunded or never paid"
_ORDER: dict[str, dict[str, str]] = {
    "pending_payment": {
        "pending_shipment": "paid, or cash on delivery allowed",
        "partially_shipped": "the source tells of payment and a first parcel at once",
        "shipped": "the source tells of payment and shipping at once",
        "completed": "the source tells of the whole life at once",
        "closed": "not paid in time, or cancelled",
    },
    "pending_shipment": {
        "partially_shipped": "some units shipped",
        "shipped": "all units that are not cancelled shipped",
        "completed": "nothing to ship: virtual goods delivered, pick-up redeemed; or told late",
        "closed": _CLOSED,
    },
    "partially_shipped": {
        "shipped": "the rest shipped, or was cancelled",
        "completed": "the rest shipped and everything is confirmed",
        "closed": _CLOSED,
    },
    "shipped": {
        "completed": "external: every parcel confirmed to the source; own shop: received, signed for, or N days passed",
        "closed": "refunded in full after shipping",
    },
    "completed": {},
    "closed": {},
}

_PUT_ASIDE = {
    "held": "a rule or a person parks it",
    "exception": "a check fails: work for a person",
}
_LEFT = {
    "picking": "the warehouse works on it, or shipped a part of it",
    "shipped": "the warehouse's last parcel for it left",
}
_FULFILMENT: dict[str, dict[str, str]] = {
    "planned": {**_PUT_ASIDE, "ready": "released", "cancelled": "cancelled, or planned anew"},
    "held": {
        "planned": "warehouse or parts are chosen anew",
        "exception": _PUT_ASIDE["exception"],
        "ready": "the hold's condition is met, or a person releases it",
        "cancelled": "cancelled while held",
    },
    "exception": {
        "planned": "warehouse or parts are chosen anew",
        "held": "resolved, but a rule or a person parks it",
        "ready": "resolved",
        "cancelled": "cancelled instead of resolved",
    },
    "ready": {
        **_PUT_ASIDE,
        "planned": "warehouse or parts are chosen anew, or orders are merged",
        "pushing": "a push claimed it; the only way into a warehouse",
        "cancelled": "cancelled inside the delay window: nobody else knows of it",
    },
    "pushing": {
        "accepted": "the warehouse said yes",
        "unknown": "it may have arrived: look before sending again",
        "rejected": "the warehouse said no",
        "ready": "certainly not sent: again later",
        "cancelling": "a cancel was committed while the push was under way",
        **_LEFT,
    },
    "unknown": {
        "accepted": "found at the warehouse",
        "pushing": "not found, or the warehouse honours our key: sent again",
        "ready": "not found: again later",
        "rejected": "found refused",
        "cancelling": "cancelled: the warehouse must be asked",
        "cancelled": "not found, and no longer wanted",
        **_LEFT,
    },
    "accepted": {
        "rejected": "the warehouse changed its mind after accepting",
        "cancelling": "cancelled: the warehouse must be asked",
        "cancelled": "the warehouse cancelled it by itself",
        **_LEFT,
    },
    "picking": {
        "shipped": _LEFT["shipped"],
        "cancelling": "cancelled: the warehouse must be asked",
        "cancelled": "the warehouse cancelled it by itself",
    },
    "rejected": {
        "planned": "a person sends it elsewhere",
        "ready": "a person corrected it: push again",
        "accepted": "corrected at the warehouse",
        "cancelled": "given up",
        **_LEFT,
    },
    "cancelling": {
        "cancelled": "the warehouse agreed, or never had it",
        "accepted": "the warehouse refused to cancel: it will ship",
        **_LEFT,
    },
    "shipped": {"delivered": "the carrier delivered every parcel"},
    "delivered": {},
    "cancelled": {},
}

_REFUND = {"refunding": "the refund was ordered", "refunded": "the money went back"}
_EXCHANGE = {
    "awaiting_exchange_stock": "other goods will be sent: exchange or resend",
    "exchange_shipped": "the other goods left",
}
_WITHDRAWN = {"withdrawn": "the buyer gave it up, or the platform closed it without a refund"}
_RETURN = {"awaiting_return": "goods are to come back", "return_received": "goods came back"}
_AFTER_SALE: dict[str, dict[str, str]] = {
    "requested": {
        "approved": "agreed, or the merchant was silent for 5 days",
        "refused": "the merchant refused",
        **_RETURN,
        **_REFUND,
        **_EXCHANGE,
        **_WITHDRAWN,
    },
    "approved": {"refused": "the agreement was taken back", **_RETURN, **_REFUND, **_EXCHANGE, **_WITHDRAWN},
    "refused": {
        "requested": "the buyer asked again with the same document",
        "approved": "arbitration overruled the merchant",
        **_RETURN,
        **_REFUND,
        **_EXCHANGE,
        **_WITHDRAWN,
    },
    "awaiting_return": {
        "return_received": _RETURN["return_received"],
        "refused": "nothing came back in time",
        **_REFUND,
        **_EXCHANGE,
        **_WITHDRAWN,
    },
    "return_received": {"refused": "inspection failed", **_REFUND, **_EXCHANGE, **_WITHDRAWN},
    "awaiting_exchange_stock": {"exchange_shipped": _EXCHANGE["exchange_shipped"], **_REFUND, **_WITHDRAWN},
    "refunding": {"refunded": _REFUND["refunded"]},
    "refunded": {},
    "exchange_shipped": {},
    "withdrawn": {},
}

ORDER = Machine("order", frozenset(_ORDER), _ORDER)
FULFILMENT = Machine("fulfilment", frozenset({"planned"}), _FULFILMENT)
AFTER_SALE = Machine("after_sale", frozenset(_AFTER_SALE), _AFTER_SALE)
MACHINES = (ORDER, FULFILMENT, AFTER_SALE)


def may_move(machine: Machine, current: str, target: str) -> bool:
    """Is there an edge? A state is not an edge to itself. Raises RefusedError `state_unknown` for a name not in the
    table: a source's unknown status is stored and shown as text, never as a state."""
    if current not in machine.moves or target not in machine.moves:
        raise RefusedError("state_unknown", f"{machine.name}: {current!r} or {target!r}")
    return target in machine.moves[current]


def move(machine: Machine, current: str, target: str) -> bool:
    """True when the state changes, False when it already is `target` (told twice). Raises RefusedError `illegal_move`
    when the table has no such edge, so also for anything out of a terminal state; `state_unknown`."""
    edges = machine.moves.get(current)
    if (edges is not None and target in edges) or may_move(machine, current, target):
        return True
    if current == target:
        return False
    raise RefusedError("illegal_move", f"{machine.name}: {current} to {target}")


def is_newer(candidate: str, current: str) -> bool:
    """Does the source version `candidate` replace `current`? Text compare by code point (in SQL: COLLATE "C"); equal
    versions, "" for sources without one included, are decided by arrival: the later one wins."""
    return candidate >= current


def judge(machine: Machine, current: str, target: str, *, version: str, current_version: str) -> Arrival:
    """What to do with news that says `target` at source version `version`. Always record it; then `move`: change the
    state and keep the version; `same`: keep the version only (a duplicate, or news about something else); `stale`:
    change nothing, it is older than what we know; `illegal`: change no state, keep the version, and raise an exception
    for a person - a terminal state never revives. Raises RefusedError `state_unknown`."""
    allowed = may_move(machine, current, target)
    if not is_newer(version, current_version):
        return "stale"
    if current == target:
        return "same"
    return "move" if allowed else "illegal"


def first_status(told: OrderStatus, *, tombstone: bool) -> OrderStatus:
    """The status of an order seen for the first time; `tombstone`: its cancel came before it, so it is born closed and
    is never pushed."""
    return "closed" if tombstone else told


def on_cancel(state: FulfilmentState) -> FulfilmentState | None:
    """Where a committed cancel takes a fulfilment: to `cancelled` at once while nobody else knows of it, to
    `cancelling` when a warehouse does or may. None: it is already cancelled or being cancelled, or too late (shipped,
    delivered: an intercept or an after-sale)."""
    if state in {"planned", "held", "exception", "ready", "rejected"}:
        return "cancelled"
    return "cancelling" if state in {"pushing", "unknown", "accepted", "picking"} else None


@dataclass(frozen=True, slots=True)
class Progress:
    """One order line over all its fulfilments, in units: `shipped` counts what really left, wherever it was planned."""

    ordered: int
    cancelled: int = 0
    shipped: int = 0

    @property
    def outstanding(self) -> int:
        return max(self.ordered - self.cancelled - self.shipped, 0)


def roll_up(current: OrderStatus, lines: Iterable[Progress], *, paid: bool, complete: bool) -> OrderStatus:
    """The order's status from all its lines. `paid` includes cash on delivery; `complete` is the caller's fact -
    external: every parcel confirmed to its source; own shop: received, signed for, or N days passed. Nothing shipped
    and nothing left to ship: closed. Units that shipped although cancelled count as shipped. The result is `current`
    or a state that may follow it; facts that would lead backwards leave it as it is."""
    seen = tuple(lines)
    outstanding = any(line.outstanding for line in seen)
    shipped = any(line.shipped > 0 for line in seen)
    target: OrderStatus
    if shipped:
        target = "partially_shipped" if outstanding else "completed" if complete else "shipped"
    elif seen and not outstanding:
        target = "closed"
    else:
        target = "pending_shipment" if paid else "pending_payment"
    return target if may_move(ORDER, current, target) else current


def as_markdown(machine: Machine) -> str:
    """The machine as a Markdown table, one row per move; terminal states say so. For docs/, kept equal by a test."""
    rows = ["| from | to | when |", "|---|---|---|"]
    for state, moves in machine.moves.items():
        rows += [f"| `{state}` | `{target}` | {when} |" for target, when in moves.items()]
        if not moves:
            rows.append(f"| `{state}` | - | terminal: nothing leads out |")
    return "\n".join(rows) + "\n"
