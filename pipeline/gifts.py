"""Gifts: goods that rules add to an order. They are lines of ours, numbered apart from the source's, so that whatever the
source lists, drops or adds leaves them alone; they cost nothing, and no channel is ever told of them.

Rules see the gifts an order has as lines after its own. One whose rule no longer matches stays as a cancelled line unless a
warehouse knows of it; its quantity is the one it was given with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from domain.decision import Decision, Gift, Part
from domain.order import Component, Line, Order
from storage.rows import Row

from .dossier import Dossier
from .workspace import Workspace

# The source's lines are numbered from 0 and there are at most 10,000 of them.
FIRST = 100_000


def own_lines(dossier: Dossier) -> dict[int, Row]:
    """The lines the source knows of."""
    return {number: row for number, row in dossier.lines.items() if number < FIRST}


def gift_lines(dossier: Dossier) -> dict[int, Row]:
    if max(dossier.lines, default=0) < FIRST:
        return {}
    return {number: row for number, row in sorted(dossier.lines.items()) if number >= FIRST}


def with_gift_lines(dossier: Dossier, order: Order, outside: Iterable[Row]) -> Order:
    """The order with the gifts it has as further lines, less what a warehouse knows of (`outside`)."""
    if len(dossier.lines) == len(order.lines):  # all of them the source's
        return order
    rows = gift_lines(dossier)
    gone = _gone(dossier, outside)
    return replace(order, lines=(*order.lines, *(_line(row, gone.get(number, 0)) for number, row in rows.items())))


def parts_to_plan(
    ws: Workspace, dossier: Dossier, order: Order, decision: Decision, outside: Sequence[Row]
) -> tuple[Part, ...]:
    """The parts of a decision as they are planned: no units of a line whose refund is open, gifts under their own numbers,
    and no gift that would leave without goods of the order. Brings the gift lines to what was decided."""
    own = len(order.lines)
    refunds = "after_sale" in [line.state for line in order.lines]
    if not refunds and not decision.gifts and len(dossier.lines) == own:
        return decision.parts
    refunded = {number for number, line in enumerate(order.lines) if line.state == "after_sale"}
    numbers = [*range(own), *_settle_gifts(ws, dossier, decision.gifts, outside)]
    parts = [
        replace(
            part,
            lines=tuple(replace(line, line=numbers[line.line]) for line in part.lines if line.line not in refunded),
        )
        for part in decision.parts
    ]
    if not outside and not any(line.line < own for part in parts for line in part.lines):
        return ()
    return tuple(part for part in parts if part.lines)


def _settle_gifts(ws: Workspace, dossier: Dossier, gifts: Sequence[Gift], outside: Sequence[Row]) -> list[int]:
    """Let the gift lines be those decided and those a warehouse knows of; their numbers, new ones last."""
    rows, gone = gift_lines(dossier), _gone(dossier, outside)
    wanted = {f"gift:{gift.rule}:{gift.sku}": gift for gift in gifts}
    for number, row in rows.items():
        row["state"] = "open" if row["external_id"] in wanted or gone.get(number) else "cancelled"
    numbers = list(rows)
    known = {row["external_id"] for row in rows.values()}
    for name, gift in wanted.items():
        if name not in known:
            numbers.append(FIRST + len(numbers))
            dossier.lines[numbers[-1]] = _row(ws, dossier.id, numbers[-1], name, gift)
            dossier.note("hub", "gift", rule=gift.rule, sku=gift.sku, quantity=gift.quantity)
    return numbers


def _gone(dossier: Dossier, outside: Iterable[Row]) -> dict[int, int]:
    """Whole units of each gift that a warehouse knows of."""
    units: Counter[tuple[int, str]] = Counter()
    for row in outside:
        for line in dossier.lines_of(row["id"]):
            if line["line"] >= FIRST:
                units[line["line"], line["sku"]] += line["quantity"]
    gone: dict[int, int] = {}
    for (number, sku), count in units.items():
        whole = count // _components(dossier.lines[number]).get(sku, 1)
        gone[number] = max(gone.get(number, 0), whole)
    return gone


def _components(row: Row) -> dict[str, int]:
    return dict(json.loads(row["components"])) if row["components"] else {row["sku"]: 1}


def _line(row: Row, gone: int) -> Line:
    left = row["quantity"] - gone
    parts = json.loads(row["components"]) if row["components"] else ()
    return Line(
        external_id=row["external_id"],
        external_sku="",
        quantity=left if left > 0 else row["quantity"],
        unit_price=0,
        amount=0,
        share=0,
        title=row["title"],
        weight_grams=row["weight_grams"],
        state="shipped" if left <= 0 else row["state"],
        sku=row["sku"],
        components=tuple(Component(sku, units) for sku, units in parts),
    )


def _row(ws: Workspace, order_id: int, number: int, name: str, gift: Gift) -> Row:
    goods, bundle = ws.goods.get(gift.sku), ws.bundles.get(gift.sku)
    return dict.fromkeys(("unit_price", "amount", "discount", "freight", "tax", "paid"), 0) | {
        "order_id": order_id,
        "line": number,
        "external_id": name,
        "external_sku": "",
        "listing_id": "",
        "sku": gift.sku,
        "title": ws.titles.get(gift.sku) or gift.sku,
        "quantity": gift.quantity,
        "weight_grams": goods.weight_grams if goods else 0,
        "state": "open",
        "requires_shipping": True,
        "components": json.dumps([list(part) for part in bundle.components]) if bundle else None,
    }
