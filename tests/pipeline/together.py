"""Orders of one buyer that wait for each other, and what must hold of them at any moment."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.bootstrap import Hub
from storage import tables as t

from .build import Order, Shop, arm, order

WINDOW = 240  # minutes; orders of `build` are placed two hours before the clock starts


def merge_rule(minutes: int = WINDOW) -> dict[str, Any]:
    """A rule of the merge phase for everybody; 0: nobody waits."""
    window = {"window_minutes": minutes} if minutes else False
    return {"id": "wait", "phase": "merge", "when": {"all": []}, "then": {"merge": window}}


def merging(hub: Hub, minutes: int | None = WINDOW) -> None:
    """From now on a ruleset with a rule of the merge phase is in force; None: one without."""
    arm(hub, *([] if minutes is None else [merge_rule(minutes)]))


def take_two(shop: Shop, **changes: Any) -> tuple[Order, Order]:
    """Two orders of one buyer, 2 A and 1 A + 3 B; both wait."""
    shop.put(
        order("PO-1", buyer_id="b1", **changes), order("PO-2", buyer_id="b1", goods=(("A", 1), ("B", 3)), **changes)
    )
    shop.take(order("PO-0", ship_to=order()["ship_to"] | {"name": "王五"}))  # a stranger, who waits as well
    return shop.order("PO-1"), shop.order("PO-2")


def merge_rows(shop: Shop) -> list[dict[str, Any]]:
    return shop.rows(t.merges)


def check_units(shop: Shop) -> None:
    """Every unit of every order is in exactly one place, and money is what it was: the books, and per line of an order the
    units of its live fulfilments never exceed what was ordered, nor do its parcels."""
    shop.check_books()
    live = {row["id"]: row for row in shop.rows(t.fulfilments) if row["state"] != "cancelled"}
    all_parts = {row["id"]: row["order_id"] for row in shop.rows(t.fulfilments)}
    ordered = Counter({(row["order_id"], row["line"]): row["quantity"] for row in shop.rows(t.order_lines)})
    planned: Counter[tuple[int, int]] = Counter()
    for line in shop.rows(t.fulfilment_lines):
        if line["fulfilment_id"] in live:
            planned[all_parts[line["fulfilment_id"]], line["line"]] += line["quantity"]
    assert all(planned[key] <= ordered[key] for key in planned)
    parcels = {row["id"]: row["fulfilment_id"] for row in shop.rows(t.packages)}
    packed: Counter[tuple[int, int]] = Counter()
    for line in shop.rows(t.package_lines):
        packed[parcels[line["package_id"]], line["line"]] += line["quantity"]
    for line in shop.rows(t.fulfilment_lines):
        assert packed[line["fulfilment_id"], line["line"]] == line["shipped"]
