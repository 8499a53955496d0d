"""A running Vendure shop: its process, and what customers and staff do in it, through its own two APIs.

Source: Vendure 3.7.3 itself, observed 2026-11-21 (H); README.md beside this file says what it really answered.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import graphql as g
from .install import (
    USER,
    ShopError,
    available,
    prepare,
    pristine,
    read_password,
    server_command,
    server_environment,
)

__all__ = [
    "Address", "Customer", "FulfilmentSeen", "LineSeen", "OrderSeen", "Shop", "ShopError", "Variant",
    "available", "prepare", "start",
]  # fmt: skip

START_SECONDS = 60.0
STOP_SECONDS = 10.0
PAGE = 100
MOST_PAGES = 1000


@dataclass(frozen=True, slots=True)
class Variant:
    """Something the shop sells. Price in minor units, tax included; `free` = on hand - allocated, units."""

    id: str
    sku: str
    name: str
    price_with_tax: int
    currency: str
    free: int


@dataclass(frozen=True, slots=True)
class Customer:
    """Who checks out, as a guest."""

    first_name: str
    last_name: str
    email: str
    phone: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """A shipping address; `country_code` must be one of the shop's 248 countries (ISO 3166-1 alpha-2)."""

    full_name: str
    street_line1: str
    city: str
    postal_code: str
    country_code: str
    province: str = ""
    street_line2: str = ""
    company: str = ""
    phone_number: str = ""


@dataclass(frozen=True, slots=True)
class LineSeen:
    """An order line on the shop's side, units. `placed` never changes; `quantity` falls when units are cancelled."""

    id: str
    sku: str
    placed: int
    quantity: int
    fulfilled: int


@dataclass(frozen=True, slots=True)
class FulfilmentSeen:
    """A parcel on the shop's side; `units` is sku → units in it."""

    id: str
    state: str
    method: str
    tracking: str
    units: dict[str, int]


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """An order as the shop's admin API shows it. Money in minor units; times as the shop wrote them (UTC, ms)."""

    id: str
    code: str
    state: str
    updated_at: str
    currency: str
    total_with_tax: int
    address: dict[str, str]
    lines: tuple[LineSeen, ...]
    fulfilments: tuple[FulfilmentSeen, ...]


def start(folder: Path, port: int = 0) -> Shop:
    """Start the prepared shop on 127.0.0.1:`port` (0: any free one) with no orders, and log in as its administrator.

    Every start begins with a fresh copy of the populated database. Raises ShopError if it is not ready in 60 s.
    """
    folder = folder.resolve()
    port = port or _free_port()
    database = folder / f"shop-{port}.sqlite"
    _drop(database)
    shutil.copyfile(pristine(folder), database)
    log = folder / f"shop-{port}.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            server_command(),
            cwd=folder,
            env=server_environment(folder, database, port),
            stdin=subprocess.PIPE,  # held open on purpose: its end is how the server learns that we are gone
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    shop = Shop(process, f"http://127.0.0.1:{port}", read_password(folder), database)
    try:
        _wait_until_ready(process, log)
        shop.login()
    except BaseException:
        shop.stop()
        raise
    return shop


class Shop:
    """A running shop. `url`, `admin_url` and `token` are what a hub account for it needs."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, password: str, database: Path) -> None:
        self.process, self.url, self.user, self.password = process, url, USER, password
        self._database = database
        self.admin_url, self.shop_url = f"{url}/admin-api", f"{url}/shop-api"
        self.token = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def login(self) -> str:
        """Log in anew; the token is kept for our own calls and returned."""
        data, self.token = g.call(self.admin_url, g.LOGIN, {"user": self.user, "password": self.password}, "")
        g.unwrap(data, "login")
        return self.token

    def stop(self) -> None:
        """End the server and drop its database (its log stays); safe to call twice."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
        _drop(self._database)

    def admin(self, document: str, **variables: Any) -> Any:
        """`data` of one admin call. Raises ShopError for top-level errors; a union's error is left to `unwrap`."""
        return g.call(self.admin_url, document, variables, self.token)[0]

    def variants(self) -> list[Variant]:
        """What can be ordered. A SKU that the sample data gives to several variants is left out: it names nothing."""
        found = [_variant(item) for item in self._pages(g.VARIANTS, "productVariants")]
        counts: dict[str, int] = {}
        for variant in found:
            counts[variant.sku] = counts.get(variant.sku, 0) + 1
        return [variant for variant in found if counts[variant.sku] == 1]

    def place(
        self,
        lines: Sequence[tuple[str, int]],
        customer: Customer,
        address: Address,
        *,
        note: str = "",
        coupon: str = "",
        shipping: str = "standard-shipping",
        settle: bool = True,
    ) -> str:
        """Check out (variant id, units) lines as a guest and pay; returns the order code.

        `settle=False` leaves the order in PaymentAuthorized. The note is a private order note (Vendure has no
        customer remark of its own). Raises ShopError for whatever the shop refuses.
        """
        checkout = _Checkout(self.shop_url)
        for variant_id, quantity in lines:
            checkout.call("addItemToOrder", g.ADD_ITEM, id=variant_id, quantity=quantity)
        checkout.call("setCustomerForOrder", g.SET_CUSTOMER, input=_customer_input(customer))
        checkout.call("setOrderShippingAddress", g.SET_ADDRESS, input=_camel(asdict(address)))
        methods = {m["code"]: m["id"] for m in checkout.call("eligibleShippingMethods", g.SHIPPING_METHODS)}
        checkout.call("setOrderShippingMethod", g.SET_SHIPPING, ids=[methods[shipping]])
        if coupon:
            checkout.call("applyCouponCode", g.APPLY_COUPON, code=coupon)
        checkout.call("transitionOrderToState", g.TO_PAYMENT)
        order = checkout.call("addPaymentToOrder", g.PAY)
        if note:
            self.admin(g.NOTE, input={"id": order["id"], "note": note, "isPublic": False})
        if settle:
            for payment in order["payments"]:
                g.unwrap(self.admin(g.SETTLE, id=payment["id"]), "settlePayment")
        return str(order["code"])

    def cancel(self, code: str, units: dict[str, int] | None = None) -> str:
        """Cancel the order, or only `units` (sku → units) of it; returns the order's state afterwards."""
        order = self.order(code)
        given: dict[str, Any] = {"orderId": order.id, "reason": "changed their mind", "cancelShipping": not units}
        if units:
            given["lines"] = _line_inputs(order, units)
        return str(g.unwrap(self.admin(g.CANCEL, input=given), "cancelOrder")["state"])

    def edit_address(self, code: str, **fields: str) -> str:
        """Change fields of the shipping address of a placed order; returns the state afterwards (the former one).

        Vendure allows it only through Modifying: state → Modifying, modifyOrder, state → what it was.
        """
        order = self.order(code)
        g.unwrap(self.admin(g.TRANSITION, id=order.id, state="Modifying"), "transitionOrderToState")
        change = {
            "dryRun": False,
            "orderId": order.id,
            "updateShippingAddress": _camel(fields),
            "note": "address edited",
        }
        try:
            g.unwrap(self.admin(g.MODIFY, input=change), "modifyOrder")
        finally:
            back = g.unwrap(self.admin(g.TRANSITION, id=order.id, state=order.state), "transitionOrderToState")
        return str(back["state"])

    def ship(self, code: str, units: dict[str, int], method: str, tracking: str) -> str:
        """Fulfil and ship by hand, as shop staff would; returns the fulfilment's id."""
        order = self.order(code)
        arguments = [{"name": "method", "value": method}, {"name": "trackingCode", "value": tracking}]
        handler = {"code": "manual-fulfillment", "arguments": arguments}
        made = g.unwrap(
            self.admin(g.FULFIL, input={"lines": _line_inputs(order, units), "handler": handler}),
            "addFulfillmentToOrder",
        )
        g.unwrap(self.admin(g.FULFILMENT_STATE, id=made["id"], state="Shipped"), "transitionFulfillmentToState")
        return str(made["id"])

    def add_coupon(self, code: str, percent: int) -> None:
        """A promotion: `percent` off the whole order for whoever types `code`."""
        action = {"code": "order_percentage_discount", "arguments": [{"name": "discount", "value": str(percent)}]}
        given = {"enabled": True, "couponCode": code, "conditions": [], "actions": [action]}
        given["translations"] = [{"languageCode": "en", "name": f"{percent}% off"}]
        g.unwrap(self.admin(g.PROMOTION, input=given), "createPromotion")

    def order(self, code: str) -> OrderSeen:
        """One order by its code. Raises ShopError if the shop has none."""
        found = self.admin(g.ORDERS, options={"filter": {"code": {"eq": code}}, "take": 1})["orders"]["items"]
        if not found:
            raise ShopError(f"the shop has no order {code}")
        return _order(found[0])

    def orders(self) -> list[OrderSeen]:
        """Every placed order, oldest first."""
        return [_order(item) for item in self._order_pages()]

    def _order_pages(self) -> Iterator[Any]:
        for page in range(MOST_PAGES):
            options = {"filter": {"active": {"eq": False}}, "sort": {"id": "ASC"}, "take": PAGE, "skip": page * PAGE}
            items = self.admin(g.ORDERS, options=options)["orders"]["items"]
            yield from items
            if len(items) < PAGE:
                return

    def _pages(self, document: str, name: str) -> Iterator[Any]:
        for page in range(MOST_PAGES):
            items = self.admin(document, skip=page * PAGE, take=PAGE)[name]["items"]
            yield from items
            if len(items) < PAGE:
                return


@dataclass(slots=True)
class _Checkout:
    """One guest: the token arrives with the first answer and must be sent ever after."""

    url: str
    token: str = field(default="", repr=False)

    def call(self, name: str, document: str, **variables: Any) -> Any:
        data, self.token = g.call(self.url, document, variables, self.token)
        return g.unwrap(data, name)


def _customer_input(customer: Customer) -> dict[str, str]:
    return {
        "firstName": customer.first_name,
        "lastName": customer.last_name,
        "emailAddress": customer.email,
        "phoneNumber": customer.phone,
    }


def _camel(fields: dict[str, str]) -> dict[str, str]:
    words = {name: name.split("_") for name in fields}
    return {w[0] + "".join(part.capitalize() for part in w[1:]): fields[name] for name, w in words.items()}


def _line_inputs(order: OrderSeen, units: dict[str, int]) -> list[dict[str, Any]]:
    return [{"orderLineId": line.id, "quantity": units[line.sku]} for line in order.lines if line.sku in units]


def _variant(item: Any) -> Variant:
    free = sum(level["stockOnHand"] - level["stockAllocated"] for level in item["stockLevels"])
    return Variant(item["id"], item["sku"], item["name"], item["priceWithTax"], item["currencyCode"], free)


def _order(item: Any) -> OrderSeen:
    skus = {line["id"]: line["productVariant"]["sku"] for line in item["lines"]}
    parcels = tuple(_fulfilment(parcel, skus) for parcel in item["fulfillments"])
    live = [parcel for parcel in item["fulfillments"] if parcel["state"] != "Cancelled"]
    shipped: dict[str, int] = {}
    for row in (row for parcel in live for row in parcel["lines"]):
        shipped[row["orderLineId"]] = shipped.get(row["orderLineId"], 0) + row["quantity"]
    lines = tuple(
        LineSeen(ln["id"], skus[ln["id"]], ln["orderPlacedQuantity"], ln["quantity"], shipped.get(ln["id"], 0))
        for ln in item["lines"]
    )
    address = {name: value or "" for name, value in (item["shippingAddress"] or {}).items()}
    return OrderSeen(
        item["id"], item["code"], item["state"], item["updatedAt"], item["currencyCode"], item["totalWithTax"],
        address, lines, parcels,
    )  # fmt: skip


def _fulfilment(parcel: Any, skus: dict[str, str]) -> FulfilmentSeen:
    units: dict[str, int] = {}
    for row in parcel["lines"]:
        sku = skus[row["orderLineId"]]
        units[sku] = units.get(sku, 0) + row["quantity"]
    return FulfilmentSeen(parcel["id"], parcel["state"], parcel["method"] or "", parcel["trackingCode"] or "", units)


def _drop(database: Path) -> None:
    for part in database.parent.glob(f"{database.name}*"):
        part.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        if "ready" in said.split():
            return
        if process.poll() is not None:
            raise ShopError(f"the shop ended while starting: {said[-2000:]}")
        time.sleep(0.1)
    raise ShopError(f"the shop was not ready after {START_SECONDS:.0f} s: {log.read_text(errors='replace')[-2000:]}")
