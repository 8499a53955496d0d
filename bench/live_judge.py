"""How an order of the real shop should have ended, and whether it did: the shop's own word against the warehouse's ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.live.shop import OrderSeen

Fate = Literal["ship", "cancel", "edit"]
Parcels = dict[str, dict[str, int]]

# The edit came when the parcel had left or could not be stopped: a person is asked.
_TOO_LATE = frozenset({"change_too_late", "cancel_refused"})
_OUT = frozenset({"Shipped", "Delivered"})


@dataclass(frozen=True, slots=True)
class Wish:
    """One order as its customer meant it: `units` per SKU of the shop; `town` is where it is to go in the end."""

    code: str
    units: Mapping[str, int]
    fate: Fate = "ship"
    town: str = ""


@dataclass(frozen=True, slots=True)
class Ends:
    """Everything known of one order at the end: the shop's word, the warehouse's documents, the hub's open exceptions, and the
    town of each document's receiver by its code."""

    seen: OrderSeen | None
    documents: Sequence[Mapping[str, Any]]
    codes: Sequence[str]
    towns: Mapping[str, str]


def fault_of(wish: Wish, ends: Ends, ours: Mapping[str, str]) -> str:
    """What is wrong with how an order ended, "" if nothing. `ours`: the shop's SKU → the warehouse's."""
    if ends.seen is None:
        return "the shop does not show it"
    twice = [code for code, count in Counter(row["code"] for row in ends.documents).items() if count > 1]
    if twice:
        return f"at the warehouse twice: {twice}"
    live = [row for row in ends.documents if row["state"] != "CANCELED"]
    waiting = [row["code"] for row in live if row["state"] != "DELIVERED"]
    if waiting:
        return f"the warehouse has not shipped {waiting}"
    told, sent = _told(ends.seen, ours), _sent(live)
    strange = sorted(told.keys() - sent.keys())
    if strange:
        return f"tracking the warehouse never gave: {strange}"
    if wish.fate == "cancel":
        return _cancelled(ends, sent)
    return _shipped(wish, ends, told, sent) or _moved(wish, ends, live)


def _cancelled(ends: Ends, sent: Parcels) -> str:
    """Cancelled in the shop; what left all the same has a person looking at it."""
    if ends.seen is None or ends.seen.state != "Cancelled":
        return f"cancelled, but {ends.seen.state if ends.seen else 'not shown'}"
    return "shipped although cancelled, and nobody was told" if sent and not ends.codes else ""


def _shipped(wish: Wish, ends: Ends, told: Parcels, sent: Parcels) -> str:
    seen = ends.seen
    if seen is None or seen.state not in _OUT:
        return f"not shipped: {seen.state if seen else 'not shown'}, exceptions {list(ends.codes)}"
    if told != sent:
        return f"parcels differ: the shop has {told}, the warehouse {sent}"
    wrong = [
        line.sku for line in seen.lines if not line.placed == line.quantity == line.fulfilled == _wanted(wish, line.sku)
    ]
    if wrong or len(seen.lines) != len(wish.units):
        return f"units differ from what was ordered: {wrong}"
    pending = [parcel.id for parcel in seen.fulfilments if parcel.state not in _OUT]
    if pending:
        return f"fulfilments that never left: {pending}"
    allowed = _TOO_LATE if wish.fate == "edit" else frozenset()
    left = sorted(set(ends.codes) - allowed)
    return f"shipped, but exceptions are open: {left}" if left else ""


def _moved(wish: Wish, ends: Ends, live: Sequence[Mapping[str, Any]]) -> str:
    """An order goes where its customer lives now, or a person knows that it does not."""
    if wish.fate == "edit" and _TOO_LATE & set(ends.codes):
        return ""
    old = [row["code"] for row in live if ends.towns.get(row["code"]) != wish.town]
    return f"sent to another address: {old}" if old else ""


def _wanted(wish: Wish, sku: str) -> int:
    return wish.units.get(sku, 0)


def _told(seen: OrderSeen, ours: Mapping[str, str]) -> Parcels:
    """Tracking → units per SKU of the warehouse, as the shop shows it."""
    parcels: dict[str, Counter[str]] = {}
    for parcel in seen.fulfilments:
        if parcel.state in _OUT:
            units = {ours.get(sku, sku): count for sku, count in parcel.units.items()}
            parcels.setdefault(parcel.tracking, Counter()).update(units)
    return {tracking: dict(units) for tracking, units in parcels.items()}


def _sent(live: Sequence[Mapping[str, Any]]) -> Parcels:
    parcels: dict[str, Counter[str]] = {}
    for document in live:
        for package in document["packages"]:
            for line in package["lines"]:
                parcels.setdefault(package["tracking"], Counter())[line["sku"]] += line["quantity"]
    return {tracking: dict(units) for tracking, units in parcels.items()}
