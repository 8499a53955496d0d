"""The life cycle of an order in a real shop: Vendure 3.7.3, in as few requests as it lets one do it in.

Source: Vendure itself, observed 2026-11-22 (H). A cart is not there yet within the request that opens it, so a checkout takes
two requests; everything else of it shares the second one."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sandbox.live import graphql as g
from sandbox.live.shop import Shop, ShopError, Variant

from .intake import timed

CLIENTS = 4
_PAGE = 100
_CALL_SECONDS = 60.0
# Node closes a connection that was idle for five seconds, without a word.
_IDLE_SECONDS = 2.0
_NEW_ORDERS = {"filter": {"state": {"eq": "PaymentSettled"}}, "sort": {"id": "ASC"}, "take": _PAGE}
_FAULT = "... on ErrorResult { errorCode message }"
_ORDER = f"{{ {_FAULT} ... on Order {{ id code }} }}"
_OPEN = f"""mutation($items: [AddItemInput!]!) {{ addItemsToOrder(inputs: $items) {{
  order {{ id code }} errorResults {{ {_FAULT} }} }} }}"""
_CHECK_OUT = f"""mutation($customer: CreateCustomerInput!, $address: CreateAddressInput!, $methods: [ID!]!) {{
  setCustomerForOrder(input: $customer) {_ORDER}
  setOrderShippingAddress(input: $address) {_ORDER}
  setOrderShippingMethod(shippingMethodId: $methods) {_ORDER}
  transitionOrderToState(state: "ArrangingPayment") {_ORDER}
  addPaymentToOrder(input: {{method: "standard-payment", metadata: {{}}}}) {{
    {_FAULT} ... on Order {{ id code payments {{ id }} }} }} }}"""
_MOVED = f"{{ {_FAULT} ... on Fulfillment {{ id state }} }}"
_LEAVE = f"""mutation($id: ID!) {{ shipped: transitionFulfillmentToState(id: $id, state: "Shipped") {_MOVED}
  delivered: transitionFulfillmentToState(id: $id, state: "Delivered") {_MOVED} }}"""
_METHODS = "{ shippingMethods { items { id code } } }"
_CUSTOMER = {"firstName": "Ann", "lastName": "Lee", "phoneNumber": "020 7946 0958"}
_ADDRESS = {
    "fullName": "Ann Lee",
    "streetLine1": "1 High St",
    "city": "London",
    "postalCode": "SW1A 1AA",
    "countryCode": "GB",
    "phoneNumber": "020 7946 0958",
}

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Lived:
    """Some orders' whole lives. Seconds; `codes` are the shop's order codes."""

    codes: tuple[str, ...]
    placing: float
    shipping: float

    @property
    def per_second(self) -> float:
        return len(self.codes) / (self.placing + self.shipping)


class Line:
    """A connection that stays open, with the session of whoever uses it."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        self.path, self.token = parts.path, token
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=_CALL_SECONDS)
        self._used = 0.0

    def call(self, document: str, **variables: Any) -> dict[str, Any]:
        """`data` of one request. ShopError for top-level errors and for the first union that says no."""
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        body = json.dumps({"query": document, "variables": variables}).encode()
        if time.monotonic() - self._used > _IDLE_SECONDS:
            self._connection.close()
        self._connection.request("POST", self.path, body, headers)
        answer = self._connection.getresponse()
        told = json.loads(answer.read())
        self._used = time.monotonic()
        if told.get("errors"):
            raise ShopError(str(told["errors"][0].get("message")))
        self.token = answer.headers.get(g.TOKEN_HEADER) or self.token
        data: dict[str, Any] = told["data"]
        for name in data:
            g.unwrap(data, name)
        return data

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def live_through(shop: Shop, variants: Sequence[Variant], first: int, count: int) -> Lived:
    """Customers place `count` orders of one to three lines, numbered from `first`, and pay; staff list the new ones, ship each
    with a tracking code and see it delivered."""
    with closing(Line(shop.admin_url, shop.token)) as staff:
        return _live(shop, staff, variants, range(first, first + count))


def _live(shop: Shop, staff: Line, variants: Sequence[Variant], numbers: range) -> Lived:
    methods = {each["code"]: each["id"] for each in staff.call(_METHODS)["shippingMethods"]["items"]}
    codes: list[str] = []

    def place(number: int, guest: Line, till: Line) -> None:
        codes.append(_place(number, guest, till, variants, methods["standard-shipping"]))

    placing = _share(shop, numbers, place)
    began = time.perf_counter()
    wanted = set(codes)
    for _ in range(len(numbers) // _PAGE + 2):
        found = staff.call(g.ORDERS, options=_NEW_ORDERS)["orders"]["items"]
        mine = [order for order in found if order["code"] in wanted]
        if not mine:
            break
        _share(shop, mine, lambda order, _, desk: _ship(order, desk))
    return Lived(tuple(codes), placing, time.perf_counter() - began)


def find_faults(shop: Shop, codes: Sequence[str]) -> list[str]:
    """Orders that the shop does not show as delivered in one parcel with its tracking code."""
    seen = {order.code: order for order in shop.orders()}
    faults = []
    for code in codes:
        order = seen.get(code)
        if order is None:
            faults.append(f"vendure: {code} is not there")
        elif order.state != "Delivered" or [each.tracking for each in order.fulfilments] != [f"T-{code}"]:
            faults.append(f"vendure: {code} is {order.state} with {len(order.fulfilments)} parcels")
    return faults


def _share(shop: Shop, items: Iterable[Item], act: Callable[[Item, Line, Line], None]) -> float:
    """Seconds until four clients have done all items, each on its own two connections: a guest's and the staff's."""
    work, turn, faults = iter(items), threading.Lock(), list[Exception]()

    def run() -> None:
        try:
            with closing(Line(shop.shop_url)) as guest, closing(Line(shop.admin_url, shop.token)) as staff:
                while not faults:
                    with turn:
                        item = next(work, None)
                    if item is None:
                        return
                    act(item, guest, staff)
        except (OSError, http.client.HTTPException, ValueError, ShopError) as fault:
            faults.append(fault)

    seconds = timed(run, CLIENTS)
    if faults:
        raise faults[0]
    return seconds


def _place(number: int, guest: Line, staff: Line, variants: Sequence[Variant], method: str) -> str:
    """A new guest's checkout, and staff who take the money; returns the order's code."""
    guest.token = ""
    chosen = [variants[(number * 3 + n) % len(variants)] for n in range(1 + number % 3)]
    opened = guest.call(_OPEN, items=[{"productVariantId": each.id, "quantity": 1} for each in chosen])
    if opened["addItemsToOrder"]["errorResults"]:
        raise ShopError(f"addItemsToOrder: {opened['addItemsToOrder']['errorResults'][0]['message']}")
    customer = _CUSTOMER | {"emailAddress": f"customer{number}@example.test"}
    order = guest.call(_CHECK_OUT, customer=customer, address=_ADDRESS, methods=[method])["addPaymentToOrder"]
    for payment in order["payments"]:
        staff.call(g.SETTLE, id=payment["id"])
    return str(order["code"])


def _ship(order: Mapping[str, Any], staff: Line) -> None:
    """One parcel with everything, a tracking code, sent and delivered."""
    lines = [{"orderLineId": line["id"], "quantity": line["quantity"]} for line in order["lines"]]
    arguments = [{"name": "method", "value": "SF"}, {"name": "trackingCode", "value": f"T-{order['code']}"}]
    handler = {"code": "manual-fulfillment", "arguments": arguments}
    made = staff.call(g.FULFIL, input={"lines": lines, "handler": handler})["addFulfillmentToOrder"]
    staff.call(_LEAVE, id=made["id"])
