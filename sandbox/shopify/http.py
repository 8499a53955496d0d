"""POST /admin/api/{version}/graphql.json: enough GraphQL for three operations, the cost bucket, and errors inside HTTP 200.

facts/global/shopify.md §1, §2, §5, §6 (2026-11-21, H; restore rate per plan M, bucket size not documented). The operation
*name* decides what runs: HubOrders, HubOrder, HubOrdersById, HubShip, HubShipMany. Selection sets are
not evaluated: every field the sandbox has is sent, but for a list that asks for id and updatedAt alone, and for orders by id
without `HubOrderFields`, of which only the fulfilments and what is open are sent.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from sandbox.clock import Clock, read_utc_stamp, utc_stamp
from sandbox.faults import Injector, answer
from sandbox.http11 import Reply, Request
from sandbox.signing import same

from .make import Doc, Order
from .store import Store, dump, render, render_open

PATH = re.compile(r"/admin/api/(\d{4}-\d{2}|unstable)/graphql\.json")
OPERATION = re.compile(r"\b(query|mutation)\s+(\w+)")
TERM = re.compile(r"updated_at:(>=|<=|>|<)'?([0-9T:Z.+-]+)'?")
FIELD = re.compile(r"\b(\w+): fulfillmentCreate\(fulfillment: \$(\w+)\)")
FIRST_MAX = 250
COST_MAX = 1000
FOREVER = 1 << 40


@dataclass(slots=True)
class Bucket:
    """The leaky bucket of calculated query cost; points and points per second."""

    maximum: float
    restore: float
    level: float
    at: float

    def refill(self, now: float) -> None:
        """Add what has dripped back since the last call."""
        self.level = min(self.maximum, self.level + max(0.0, now - self.at) * self.restore)
        self.at = now

    def extensions(self, requested: int, actual: int | None) -> Doc:
        """The `extensions` of a reply."""
        return {
            "cost": {
                "requestedQueryCost": requested,
                "actualQueryCost": actual,
                "throttleStatus": {
                    "maximumAvailable": self.maximum,
                    "currentlyAvailable": int(self.level),
                    "restoreRate": self.restore,
                },
            }
        }


class GraphError(Exception):
    """A top-level GraphQL error with extensions.code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Admin:
    """The Admin API of one store."""

    store: Store
    clock: Clock
    injector: Injector
    token: str
    bucket: Bucket

    def handle(self, request: Request) -> Reply:
        """One HTTP call."""
        found = PATH.fullmatch(request.path)
        if found is None or request.method != "POST":
            return Reply(b'{"errors":"Not Found"}', 404)
        version = (("x-shopify-api-version", found[1]),)
        if not same(request.headers.get("x-shopify-access-token", ""), self.token):
            return Reply(
                b'{"errors":"[API] Invalid API key or access token (unrecognized login or wrong password)"}',
                401,
                headers=version,
            )
        try:
            call = json.loads(request.body)
            document, variables = str(call["query"]), call.get("variables") or {}
        except (ValueError, KeyError, TypeError):
            return Reply(b'{"errors":{"query":"Required parameter missing or invalid"}}', 400, headers=version)
        named = OPERATION.search(document)
        operation = str(call.get("operationName") or (named[2] if named else ""))
        drawn = self.injector.draw("shopify", operation, request.body.decode("utf-8", "replace"))
        requested = cost_of(operation, variables)
        return answer(
            drawn,
            lambda fault: self.run(operation, document, variables, requested, fault),
            lambda: self.throttled(requested),
        )

    def throttled(self, requested: int) -> Reply:
        """HTTP 200 that says no."""
        return Reply(
            dump(
                {
                    "errors": [
                        {
                            "message": "Throttled",
                            "extensions": {
                                "code": "THROTTLED",
                                "documentation": "https://shopify.dev/api/usage/rate-limits",
                            },
                        }
                    ],
                    "extensions": self.bucket.extensions(requested, None),
                }
            )
        )

    def run(self, operation: str, document: str, variables: Doc, requested: int, fault: str) -> Reply:
        """Charge the bucket, run the operation."""
        self.bucket.refill(self.clock.now())
        if requested > COST_MAX:
            error = {
                "message": "Query cost exceeds 1000.",
                "extensions": {"code": "MAX_COST_EXCEEDED", "cost": requested},
            }
            return Reply(dump({"errors": [error]}))
        if requested > self.bucket.level:
            self.injector.hit("shopify", "bucket_empty")
            return self.throttled(requested)
        try:
            data, actual = self.execute(operation, document, variables, fault)
        except GraphError as error:
            body: Doc = {"errors": [{"message": str(error), "extensions": {"code": error.code}}]}
            return Reply(dump({**body, "extensions": self.bucket.extensions(requested, 1)}))
        self.bucket.level -= min(actual, requested)
        extensions = json.dumps(self.bucket.extensions(requested, actual), separators=(",", ":")).encode()
        return Reply(b'{"data":' + data + b',"extensions":' + extensions + b"}")

    def execute(self, operation: str, document: str, variables: Doc, fault: str) -> tuple[bytes, int]:
        """(JSON of data, actual cost). Raises GraphError for what the sandbox does not know."""
        if operation == "HubOrders":
            return self.orders(variables, fault, brief="nodes { id updatedAt }" in document)
        if operation == "HubOrder":
            order = self.find(str(variables.get("id", "")))
            name = b"node" if re.search(r"\bnode\s*\(", document) else b"order"
            return b'{"' + name + b'":' + (render(order) if order else b"null") + b"}", 8
        if operation == "HubOrdersById":
            return self.nodes(variables, brief="HubOrderFields" not in document)
        if operation == "HubShip":
            return b'{"fulfillmentCreate":' + dump(self.ship(variables.get("fulfillment"))) + b"}", 10
        if operation == "HubShipMany":
            # One after the other, in the order of the document; a result for each alias.
            named = FIELD.findall(document)
            results = [f'"{alias}":'.encode() + dump(self.ship(variables.get(name))) for alias, name in named]
            return b"{" + b",".join(results) + b"}", 10 * len(named)
        known = "HubOrders, HubOrder, HubOrdersById, HubShip and HubShipMany"
        raise GraphError("undefinedOperation", f"The sandbox knows {known}, not {operation!r}.")

    def nodes(self, variables: Doc, *, brief: bool) -> tuple[bytes, int]:
        """nodes(ids): an entry for each id, null for what is not there. `brief`: what is shipped and what is open only."""
        ids = variables.get("ids")
        if not isinstance(ids, list) or len(ids) > FIRST_MAX:
            raise GraphError("INVALID_VARIABLE", f"Variable $ids: at most {FIRST_MAX} ids")
        found = [self.find(str(ident)) for ident in ids]
        show = render_open if brief else render
        rows = b",".join(show(order) if order else b"null" for order in found)
        return b'{"nodes":[' + rows + b"]}", 8 * len(ids)

    def find(self, gid: str) -> Order | None:
        """The visible order of a gid."""
        prefix, _, text = gid.rpartition("/")
        order = self.store.orders.get(int(text)) if prefix == "gid://shopify/Order" and text.isdecimal() else None
        return None if order is None or order.hidden else order

    def orders(self, variables: Doc, fault: str, *, brief: bool) -> tuple[bytes, int]:
        """orders(first, after, query, sortKey: UPDATED_AT): oldest change first; a changed order moves to the end. `brief`: ids and
        times only."""
        first = variables.get("first")
        if not isinstance(first, int) or not 1 <= first <= FIRST_MAX:
            raise GraphError("argumentLiteralsIncompatible", f"first must be 1..{FIRST_MAX}")
        entries = self.store.index.entries
        low, high = self.store.index.span(*read_filter(variables.get("query")))
        after = variables.get("after")
        if after and fault != "repeat_page":
            low = max(low, self.store.index.after(read_cursor(str(after))))
        part = entries[low : min(high, low + first)]
        nodes = b",".join(self.brief_bytes(entry) if brief else self.node_bytes(entry) for entry in part)
        more = low + first < high
        cursor = str(after) if after and fault == "repeat_page" else (make_cursor(part[-1]) if part else None)
        self.touch_some(part)
        info = json.dumps({"hasNextPage": more, "endCursor": cursor}).encode()
        return b'{"orders":{"pageInfo":' + info + b',"nodes":[' + nodes + b"]}}", 2 + 2 * len(part)

    def node_bytes(self, entry: tuple[int, int]) -> bytes:
        """One order of a list; an older version that still stands in the list shows itself."""
        order = self.store.orders[entry[1]]
        return order.ghost[1] if order.ghost is not None and order.ghost[0] == entry[0] else render(order)

    def brief_bytes(self, entry: tuple[int, int]) -> bytes:
        """Id and time of one order of a list."""
        order = self.store.orders[entry[1]]
        return f'{{"id":"{order.doc["id"]}","updatedAt":"{utc_stamp(entry[0])}"}}'.encode()

    def touch_some(self, part: list[tuple[int, int]]) -> None:
        """Orders of kind `touched` change right after somebody has listed them, twice at most."""
        for _second, number in part:
            order = self.store.orders[number]
            if order.touches > 0:
                order.touches -= 1
                self.store.touch(order, "touched")

    def ship(self, wanted: Any) -> Doc:
        """fulfillmentCreate: what is wrong comes as userErrors with HTTP 200 and fulfillment null."""
        if not isinstance(wanted, dict):
            raise GraphError(
                "INVALID_VARIABLE", "Variable $fulfillment of type FulfillmentInput! was provided invalid value"
            )
        result = self.store.ship(wanted)
        if isinstance(result, list):
            return {"fulfillment": None, "userErrors": result}
        return {"fulfillment": result[1], "userErrors": []}


def cost_of(operation: str, variables: Doc) -> int:
    """Requested cost in points, known before execution."""
    if not isinstance(variables, dict):
        return 10
    first, ids = variables.get("first"), variables.get("ids")
    if operation == "HubOrders" and isinstance(first, int):
        return 12 + 3 * min(first, FIRST_MAX)
    if operation == "HubOrdersById" and isinstance(ids, list):
        return 10 * len(ids)
    return 10 * len(variables) if operation == "HubShipMany" else 10


def read_filter(text: object) -> tuple[int, int]:
    """(first, last) second of `updated_at` terms. Raises GraphError for any other term: the original would filter by it."""
    first, last = 0, FOREVER
    if not text:
        return first, last
    if TERM.sub("", str(text)).replace("AND", "").strip():
        raise GraphError("SANDBOX_FILTER", f"The sandbox filters by updated_at only: {text!r}")
    for operator, stamp in TERM.findall(str(text)):
        second = read_utc_stamp(stamp)
        if second is None:
            raise GraphError("SANDBOX_FILTER", f"not a time: {stamp!r}")
        if operator in {">=", ">"}:
            first = max(first, second + (operator == ">"))
        else:
            last = min(last, second - (operator == "<"))
    return first, last


def make_cursor(entry: tuple[int, int]) -> str:
    """An opaque cursor."""
    return base64.b64encode(json.dumps({"last_value": entry[0], "last_id": entry[1]}).encode()).decode()


def read_cursor(text: str) -> tuple[int, int]:
    """The entry behind a cursor. Raises GraphError."""
    try:
        data = json.loads(base64.b64decode(text))
        return int(data["last_value"]), int(data["last_id"])
    except (ValueError, KeyError, TypeError):
        raise GraphError("INVALID_CURSOR", f"`{text}` is not a valid cursor") from None
