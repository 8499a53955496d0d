"""The store's state: orders, what buyers do to them, fulfilments. No HTTP here.

Fulfilment rules: facts/global/shopify.md §5 (2026-11-21, H): ids are FulfillmentOrderLineItem ids, one order and one location per
call, not idempotent (only the remaining quantities limit it), failures come as userErrors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import orjson

from sandbox.catalog import Sku
from sandbox.clock import Clock, iso_ms, utc_stamp
from sandbox.mix import EXPECT
from sandbox.places import abroad_address
from sandbox.timeindex import TimeIndex

from .make import Doc, Order, make_order, total_minor

UserError = dict[str, object]
Announce = Callable[[str, Order], None]


@dataclass(slots=True)
class Store:
    """All orders of one store, on the store's own clock. `announce(topic, order)` tells the webhook sender."""

    seed: str
    clock: Clock
    skus: list[Sku]
    announce: Announce
    orders: dict[int, Order] = field(default_factory=dict)
    order: list[Order] = field(default_factory=list)
    index: TimeIndex = field(default_factory=TimeIndex)
    by_fulfillment_order: dict[str, tuple[Order, Doc]] = field(default_factory=dict)
    fulfilled: int = 0

    def now(self) -> float:
        """Epoch seconds on the store's clock."""
        return self.clock.now("shopify")

    def place(self, rng: Random, kind: str, back: float = 0.0) -> Order:
        """A buyer places an order, `back` seconds ago."""
        order = make_order(rng, len(self.order) + 1, kind, self.skus, self.now() - back)
        self.orders[order.number] = order
        self.order.append(order)
        for entry in order.fulfillment_orders:
            self.by_fulfillment_order[entry["id"]] = (order, entry)
        if kind == "late":
            order.hidden = True
        else:
            self.index.add(order.updated, order.number)
        if kind == "double":
            old = node(order) | {"displayFinancialStatus": "PENDING", "updatedAt": utc_stamp(order.updated - 2)}
            order.ghost = (order.updated - 2, dump(old))
            self.index.add(order.updated - 2, order.number)
        order.touches = 2 if kind == "touched" else 0
        self.announce("orders/create", order)
        return order

    def reveal(self, order: Order) -> None:
        """A late order appears in the lists, under its old stamp."""
        if order.hidden:
            order.hidden = False
            self.index.add(order.updated, order.number)

    def touch(self, order: Order, what: str = "", topic: str = "orders/updated") -> None:
        """The order changed now."""
        second = max(int(self.now()), order.updated)
        if not order.hidden:
            self.index.move(order.updated, second, order.number)
        order.updated = second
        order.doc["updatedAt"] = utc_stamp(second)
        order.raw = b""
        if what:
            order.events.append({"what": what, "at": iso_ms(self.now())})
        self.announce(topic, order)

    def pay(self, order: Order) -> bool:
        """The buyer pays; False when there is nothing to pay."""
        if order.doc["displayFinancialStatus"] != "PENDING" or order.cancelled_at is not None:
            return False
        order.paid_at = self.now()
        order.doc["displayFinancialStatus"] = "PAID"
        self.touch(order, "paid")
        return True

    def cancel(self, order: Order) -> bool:
        """Cancel the order unless something of it is shipped: then False, and it is recorded."""
        if order.fulfillments or order.cancelled_at is not None:
            order.cancel_refused_at = self.now()
            return False
        order.cancelled_at = self.now()
        order.doc.update(
            cancelledAt=utc_stamp(int(order.cancelled_at)),
            cancelReason="CUSTOMER",
            displayFinancialStatus="REFUNDED" if order.paid_at else "VOIDED",
        )
        for line in order.lines:
            line.update(currentQuantity=0, unfulfilledQuantity=0)
        for entry in order.fulfillment_orders:
            entry.update(status="CLOSED", supportedActions=[])
            for item in entry["lineItems"]:
                item["remainingQuantity"] = 0
        self.touch(order, "cancelled", "orders/cancelled")
        return True

    def edit(self, order: Order, rng: Random, what: str) -> bool:
        """what = address | remark | quantity (one piece less of a line that has several); False once shipped or cancelled."""
        if order.fulfillments or order.cancelled_at is not None:
            return False
        if what == "address":
            order.doc["shippingAddress"] = abroad_address(rng)
        elif what == "remark":
            order.doc["note"] = "Customer called: use another carrier"
        elif what == "quantity":
            item = next(
                (
                    item
                    for entry in order.fulfillment_orders
                    for item in entry["lineItems"]
                    if item["remainingQuantity"] > 1
                ),
                None,
            )
            if item is None:
                return self.edit(order, rng, "remark")
            line = next(line for line in order.lines if line["id"] == item["lineItem"]["id"])
            item.update(remainingQuantity=item["remainingQuantity"] - 1, totalQuantity=item["totalQuantity"] - 1)
            line.update(
                currentQuantity=line["currentQuantity"] - 1, unfulfilledQuantity=line["unfulfilledQuantity"] - 1
            )
        else:
            return False
        self.touch(order, f"edited {what}")
        return True

    def ship(self, wanted: Doc) -> tuple[Order, Doc] | list[UserError]:
        """The effect of fulfillmentCreate: (order, fulfilment) or the userErrors."""
        picks = self._picks(wanted)
        if isinstance(picks, str):
            groups = wanted.get("lineItemsByFulfillmentOrder") or [{}]
            known = self.by_fulfillment_order.get(str(groups[0].get("fulfillmentOrderId")))
            if known is not None:
                known[0].refused.append(
                    {
                        "at": iso_ms(self.now()),
                        "tracking": (wanted.get("trackingInfo") or {}).get("number"),
                        "message": picks,
                    }
                )
            return [{"field": ["fulfillment", "lineItemsByFulfillmentOrder", "0"], "message": picks}]
        order, items = picks
        return order, self._fulfil(order, items, wanted.get("trackingInfo") or {})

    def _picks(self, wanted: Doc) -> tuple[Order, list[tuple[Doc, int]]] | str:
        """The (fulfilment order line, quantity) pairs that a call names, or why it is refused."""
        groups = wanted.get("lineItemsByFulfillmentOrder")
        if not isinstance(groups, list) or not groups:
            return "Line items by fulfillment order can't be blank."
        orders: list[Order] = []
        places: set[str] = set()
        items: list[tuple[Doc, int]] = []
        for group in groups:
            known = self.by_fulfillment_order.get(str(group.get("fulfillmentOrderId")))
            if known is None:
                return "Fulfillment order does not exist."
            order, entry = known
            if entry["status"] not in {"OPEN", "IN_PROGRESS"}:
                return "The fulfillment order is not in an open state."
            orders.append(order)
            places.add(entry["assignedLocation"]["location"]["id"])
            picked = _pick_items(entry, group.get("fulfillmentOrderLineItems") or [])
            if isinstance(picked, str):
                return picked
            items.extend(picked)
        if any(order is not orders[0] for order in orders):
            return "All fulfillment orders must belong to the same order."
        if len(places) > 1:
            return "All fulfillment orders must be assigned to a single location."
        return orders[0], items

    def _fulfil(self, order: Order, items: list[tuple[Doc, int]], tracking: Doc) -> Doc:
        self.fulfilled += 1
        lines = {line["id"]: line for line in order.lines}
        for item, quantity in items:
            item["remainingQuantity"] -= quantity
            lines[item["lineItem"]["id"]]["unfulfilledQuantity"] -= quantity
        for entry in order.fulfillment_orders:
            left = sum(item["remainingQuantity"] for item in entry["lineItems"])
            if left == 0:
                entry.update(status="CLOSED", supportedActions=[])
            elif left < sum(item["totalQuantity"] for item in entry["lineItems"]):
                entry["status"] = "IN_PROGRESS"
        fulfilment = fulfilment_doc(self.fulfilled, utc_stamp(int(self.now())), items, tracking)
        order.fulfillments.append(fulfilment)
        order.shipments.append(
            {
                "tracking": tracking.get("number"),
                "company": tracking.get("company"),
                "at": iso_ms(self.now()),
                "lines": [{"id": item["lineItem"]["id"], "quantity": quantity} for item, quantity in items],
            }
        )
        whole = all(entry["status"] == "CLOSED" for entry in order.fulfillment_orders)
        order.doc["displayFulfillmentStatus"] = "FULFILLED" if whole else "PARTIALLY_FULFILLED"
        self.touch(order)
        return fulfilment

    def row(self, order: Order) -> Doc:
        """The ledger row of an order."""
        return {
            "seq": order.seq,
            "id": order.doc["id"],
            "name": order.doc["name"],
            "channel": "shopify",
            "kind": order.kind,
            "expect": EXPECT[order.kind],
            "status": f"{order.doc['displayFinancialStatus']}/{order.doc['displayFulfillmentStatus']}",
            "created": iso_ms(order.created),
            "paid_at": _iso(order.paid_at),
            "cancelled_at": _iso(order.cancelled_at),
            "cancel_refused_at": _iso(order.cancel_refused_at),
            "currency": order.doc["currencyCode"],
            "total_minor": total_minor(order.doc),
            "events": order.events,
            "lines": [
                {"id": line["id"], "sku": line["sku"], "quantity": line["currentQuantity"], "ordered": line["quantity"]}
                for line in order.lines
            ],
            "shipments": order.shipments,
            "refused_shipments": order.refused,
        }


def fulfilment_doc(number: int, stamp: str, items: list[tuple[Doc, int]], tracking: Doc) -> Doc:
    """A Fulfillment as GraphQL shows it."""
    nodes = [
        {
            "id": f"gid://shopify/FulfillmentLineItem/{number * 100 + at}",
            "quantity": quantity,
            "lineItem": {"id": item["lineItem"]["id"]},
        }
        for at, (item, quantity) in enumerate(items)
    ]
    return {
        "id": f"gid://shopify/Fulfillment/{4_255_000_000 + number}",
        "status": "SUCCESS",
        "createdAt": stamp,
        "trackingInfo": [{name: tracking.get(name) for name in ("company", "number", "url")}],
        "fulfillmentLineItems": {"nodes": nodes},
    }


def _pick_items(entry: Doc, named: list[Doc]) -> list[tuple[Doc, int]] | str:
    """Lines of one fulfilment order by name; none named means all that is left."""
    if not named:
        return [(item, item["remainingQuantity"]) for item in entry["lineItems"] if item["remainingQuantity"] > 0]
    items = {item["id"]: item for item in entry["lineItems"]}
    picked: list[tuple[Doc, int]] = []
    for want in named:
        item, quantity = items.get(str(want.get("id"))), want.get("quantity")
        if item is None:
            return "Fulfillment order line item does not exist."
        if not isinstance(quantity, int) or quantity < 1 or quantity > item["remainingQuantity"]:
            return "Invalid fulfillment order line item quantity requested."
        picked.append((item, quantity))
    return picked


def _iso(epoch: float | None) -> str | None:
    return None if epoch is None else iso_ms(epoch)


def dump(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return orjson.dumps(value)


def node(order: Order) -> Doc:
    """The order as GraphQL shows it: connections around the lists, `fulfillments` a plain list."""
    page = {"pageInfo": {"hasNextPage": False, "endCursor": None}}
    return {
        **order.doc,
        "shippingLines": {"nodes": order.doc["shippingLines"]},
        "lineItems": {**page, "nodes": order.lines},
        "fulfillmentOrders": {
            "nodes": [{**entry, "lineItems": {"nodes": entry["lineItems"]}} for entry in order.fulfillment_orders]
        },
        "fulfillments": order.fulfillments,
    }


def render(order: Order) -> bytes:
    """The order's JSON, kept until it changes."""
    if not order.raw:
        order.raw = dump(node(order))
    return order.raw


def render_open(order: Order) -> bytes:
    """Of the order what was shipped and what is still to be."""
    whole = node(order)
    return dump({name: whole[name] for name in ("id", "fulfillmentOrders", "fulfillments")})


Later = Callable[[float, Callable[[], object]], None]


def schedule(store: Store, order: Order, rng: Random, later: Later) -> None:
    """What happens to the order after it was placed, by kind; `later` gets seconds and an action."""
    kind = order.kind
    if kind == "late":
        later(rng.uniform(1, 6), lambda: store.reveal(order))
    elif kind == "paid_later":
        later(rng.uniform(1, 4), lambda: store.pay(order))
    elif kind == "unpaid_closed":
        later(rng.uniform(1, 4), lambda: store.cancel(order))
    elif kind == "cancelled_early":
        store.cancel(order)
    elif kind == "cancelled_race":
        later(rng.uniform(0.1, 4), lambda: store.cancel(order))
    elif kind == "edited":
        what = rng.choice(("address", "remark", "quantity"))
        later(rng.uniform(0.2, 3), lambda: store.edit(order, rng, what))
