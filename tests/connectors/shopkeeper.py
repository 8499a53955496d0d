"""A Vendure of a few lines: what the connector needs of the admin API, with the quirks observed on the real one
(sandbox/live/README.md, 2026-11-21): `after` is exclusive, FORBIDDEN comes with HTTP 200, a code may be used twice."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.wire.loopback import Seen, reply
from wire.strict_json import dump, parse_value

from .side import sample

TEMPLATE: dict[str, Any] = parse_value(sample("vendure/orders_page.json"))["data"]["orders"]["items"][1]
FORBIDDEN = sample("vendure/forbidden.json")


@dataclass
class Shopkeeper:
    """Orders by code; `requests` are the operations in the order they came."""

    password: str = "secret-password"
    tokens: set[str] = field(default_factory=set)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    logins: int = 0
    made: int = 0
    drop: str = ""
    before: dict[str, Callable[[], None]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def place(self, number: int, placed: str, **changes: Any) -> str:
        """An order with one line of two and one line of three units."""
        order = copy.deepcopy(TEMPLATE)
        code = f"CODE{number:06d}"
        order.update(
            id=str(number), code=code, orderPlacedAt=placed, updatedAt=placed, createdAt=placed, fulfillments=[]
        )
        order["lines"] = [{**line, "id": f"{number}-{at}"} for at, line in enumerate(order["lines"])]
        order.update(changes)
        self.orders[code] = order
        return code

    def cancel(self, code: str) -> None:
        """Cancel a whole order: no units are left to fulfil."""
        order = self.orders[code]
        order["state"] = "Cancelled"
        for line in order["lines"]:
            line["quantity"] = 0

    def script(self, seen: Seen, _connection: Any) -> bytes | None:
        """One HTTP call."""
        with self.lock:
            call = parse_value(seen.body)
            operation = call["query"].split("(")[0].split()[-1]
            self.requests.append(operation)
            if operation == "HubLogin":
                return self.login(call["variables"])
            if seen.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
                return reply(200, FORBIDDEN, vendure_auth_token="")
            if operation in self.before:
                self.before.pop(operation)()
            answer = {"HubOrders": self.listed, "HubShip": self.ship, "HubShipped": self.shipped}[operation](
                call["variables"]
            )
            if self.drop == operation:
                self.drop = ""
                return None
            return reply(200, dump({"data": answer}))

    def login(self, variables: Any) -> bytes:
        if variables["password"] != self.password:
            wrong = {"__typename": "InvalidCredentialsError", "errorCode": "INVALID_CREDENTIALS_ERROR", "message": "no"}
            return reply(200, dump({"data": {"login": wrong}}))
        self.logins += 1
        token = f"token{self.logins}"
        self.tokens.add(token)
        return reply(200, dump({"data": {"login": {"__typename": "CurrentUser", "id": "1"}}}), vendure_auth_token=token)

    def listed(self, variables: Any) -> Any:
        options = variables["options"]
        found = list(self.orders.values())
        for name, test in options["filter"].items():
            if "after" in test:
                found = [order for order in found if str(order[name] or "") > test["after"]]
            elif "in" in test:
                found = [order for order in found if order[name] in test["in"]]
            else:
                found = [order for order in found if order[name] == test["eq"]]
        for name in options.get("sort", {}):
            found.sort(key=lambda order: str(order[name] or ""))
        skip, take = options.get("skip", 0), options["take"]
        return {"orders": {"totalItems": len(found), "items": found[skip : skip + take]}}

    def ship(self, variables: Any) -> Any:
        given = variables["input"]
        arguments = {each["name"]: each["value"] for each in given["handler"]["arguments"]}
        wanted = {row["orderLineId"]: row["quantity"] for row in given["lines"]}
        order = next(o for o in self.orders.values() if {line["id"] for line in o["lines"]} & set(wanted))
        taken = self.units(order)
        free = {line["id"]: line["quantity"] - taken.get(line["id"], 0) for line in order["lines"]}
        if any(count > free.get(line, 0) for line, count in wanted.items()):
            return parse_value(sample("vendure/fulfil_already.json"))["data"]
        self.made += 1
        lines = [{"orderLineId": line, "quantity": count} for line, count in wanted.items()]
        made = {
            "id": str(self.made),
            "state": "Pending",
            "method": arguments["method"],
            "trackingCode": arguments["trackingCode"],
        }
        order["fulfillments"].append({**made, "lines": lines})
        return {"addFulfillmentToOrder": {"__typename": "Fulfillment", **made}}

    def shipped(self, variables: Any) -> Any:
        parcels = [
            each for order in self.orders.values() for each in order["fulfillments"] if each["id"] == variables["id"]
        ]
        if parcels[0]["state"] == "Shipped":
            return parse_value(sample("vendure/shipped_again.json"))["data"]
        parcels[0]["state"] = "Shipped"
        return {
            "transitionFulfillmentToState": {"__typename": "Fulfillment", "id": parcels[0]["id"], "state": "Shipped"}
        }

    @staticmethod
    def units(order: dict[str, Any]) -> dict[str, int]:
        found: dict[str, int] = {}
        for parcel in order["fulfillments"]:
            for row in parcel["lines"]:
                found[row["orderLineId"]] = found.get(row["orderLineId"], 0) + row["quantity"]
        return found
