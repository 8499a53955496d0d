"""The parts of the OpenAPI document that no signature tells: bodies that are read as raw bytes, and the answers."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_MONEY: dict[str, Any] = {
    "description": "Major units, exact: text, or a number without an exponent.",
    "oneOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}, {"type": "number", "minimum": 0}],
}
_TIME: dict[str, Any] = {
    "type": "string",
    "format": "date-time",
    "description": "RFC 3339; without an offset it is UTC.",
}


def _object(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "object", "properties": properties}
    return told | {"required": list(required)} if required else told


def _texts(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, _TEXT)


_LINE = _object(
    {
        "line_id": {"type": "string", "minLength": 1},
        "sku": _TEXT,
        "quantity": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
        "unit_price": _MONEY,
        "amount": _MONEY,
        "discount": _MONEY,
        "title": _TEXT,
        "weight_grams": {"type": "integer", "minimum": 0},
        "requires_shipping": {"type": "boolean"},
        "cancelled": {"type": "boolean"},
    },
    ("line_id", "sku", "quantity", "unit_price"),
)
_DISCOUNT = _object(
    {
        "source": {"enum": ["platform", "shop", "coupon", "points", "member"]},
        "amount": _MONEY,
        "lines": {"type": "array", "items": _TEXT},
        "label": _TEXT,
    },
    ("source", "amount"),
)
_SHIP_TO = _object(
    _texts(
        *"name phone phone_extension country province city district town street postcode email company".split(),
    )
)
SCHEMAS: dict[str, Any] = {
    "NewOrder": _object(
        {
            "external_id": {"type": "string", "minLength": 1, "maxLength": 200},
            "updated_at": _TIME,
            "placed_at": _TIME,
            "paid_at": _TIME,
            "currency": {"type": "string", "description": "ISO 4217"},
            "status": {"enum": ["open", "cancelled"]},
            "payment": _object({"status": {"enum": ["paid", "unpaid", "cod"]}}, ("status",)),
            "totals": _object(dict.fromkeys(("goods", "freight", "tax", "discount", "paid"), _MONEY), ("paid",)),
            "ship_to": _SHIP_TO,
            "lines": {"type": "array", "items": _LINE, "minItems": 1, "maxItems": 10_000},
            "discounts": {"type": "array", "items": _DISCOUNT},
            "tags": {"type": "array", "items": _TEXT},
            "extra": {"type": "object", "additionalProperties": _TEXT},
            **_texts("buyer_id", "buyer_message", "seller_memo"),
        },
        ("external_id", "placed_at", "currency", "payment", "totals", "ship_to", "lines"),
    ),
    "Verdict": _object(
        {
            "result": {"enum": ["passed", "failed", "waiting", "not_checked"]},
            "problems": {
                "type": "array",
                "items": _object(
                    {**_texts("code", "path", "detail"), "candidates": {"type": "array", "items": _TEXT}},
                    ("code", "path", "detail", "candidates"),
                ),
            },
        },
        ("result", "problems"),
    ),
    "Receipt": _object(
        {
            **_texts("number", "external_id", "status"),
            "result": {"enum": ["created", "updated", "unchanged", "stale", "queued"]},
            "accepted": {"type": ["boolean", "null"]},
            "verdicts": _object(
                {
                    check: {"$ref": "#/components/schemas/Verdict"}
                    for check in ("sender", "listing", "stock", "consignee", "money", "payment")
                }
            ),
            "exceptions": {"type": "array", "items": _TEXT},
            "fulfilments": {"type": "array", "items": {"type": "object"}},
        },
        ("external_id", "result", "status", "accepted"),
    ),
    "Problem": _object(
        {
            **_texts("type", "title", "code", "detail"),
            "status": {"type": "integer"},
            "errors": {"type": "array", "items": {"type": "object"}},
        },
        ("type", "title", "status", "code"),
    ),
}
_WHAT = {
    400: "Not readable, or a header is missing",
    401: "No valid API key",
    403: "This key may not do that",
    404: "Not there, or not yours",
    408: "The body did not arrive in time",
    409: "Not possible in this state",
    413: "Too large",
    415: "An encoding that is not taken",
    422: "Readable, but not valid",
    503: "Try again: Retry-After says when",
    507: "No space left: try again later",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented problem answers of a route; what every authenticated route may answer is added."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    wanted = sorted({400, 401, 403, 408, 413, 415, 422, 503, 507, *statuses})
    return {status: {"description": _WHAT[status], "content": content} for status in wanted}


def body(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """`openapi_extra` for a route that reads its own bytes."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "1 to 255 printable ASCII characters, quoted or bare; kept for 7 days.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 257},
}


def _post(name: str, summary: str, schema: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    told = {str(status): entry for status, entry in problems().items()}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "tags": ["orders"],
            "security": [{"key": []}],
            "parameters": [_KEY],
            **body(schema),
            "responses": answers | told,
        }
    }


def _called(name: str, summary: str, parameter: str, answers: dict[str, Any]) -> dict[str, Any]:
    told = {str(status): entry for status, entry in problems().items()}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "tags": ["inbound"],
            "parameters": [{"name": parameter, "in": "path", "required": True, "schema": _TEXT}],
            "requestBody": {"required": True, "content": {"*/*": {"schema": {}}}},
            "responses": answers | told,
        }
    }


def _answer(what: str, schema: dict[str, Any]) -> dict[str, Any]:
    header = {"description": "true: this is the stored answer of an earlier post", "schema": _TEXT}
    content = {"application/json": {"schema": schema}}
    return {"description": what, "headers": {"Idempotent-Replayed": header}, "content": content}


RECEIPT = _ref("Receipt")
_RESULT = _object({"status": {"type": "integer"}, "order": RECEIPT, "problem": _ref("Problem")}, ("status",))
# The hot routes are plain Starlette: nothing looks at a body twice. So they are written down here by hand.
PATHS: dict[str, Any] = {
    "/v1/orders": _post(
        "post_order",
        "Send one order. It is stored, checked and decided before the answer.",
        _ref("NewOrder"),
        {
            "200": _answer("The order was there already; the receipt says what changed", RECEIPT),
            "201": _answer("Stored; `accepted` and the verdicts say how it was judged", RECEIPT),
            "202": _answer("Stored, not judged yet", RECEIPT),
        },
    ),
    "/v1/orders:batch": _post(
        "post_orders",
        "Send up to 500 orders with one key. Each has its own result, in the same order.",
        _object({"orders": {"type": "array", "items": _ref("NewOrder"), "minItems": 1, "maxItems": 500}}, ("orders",)),
        {
            "200": _answer(
                "A result per order",
                _object(
                    {
                        "stored": {"type": "integer"},
                        "refused": {"type": "integer"},
                        "results": {"type": "array", "items": _RESULT},
                    },
                    ("stored", "refused", "results"),
                ),
            )
        },
    ),
    "/callbacks/{warehouse}": _called(
        "post_callback",
        "Shipping news from a warehouse, answered in its own format.",
        "warehouse",
        {"200": {"description": "In the warehouse's own format, also for what is refused", "content": {"*/*": {}}}},
    ),
    "/webhooks/{account}": _called(
        "post_webhook",
        "A channel's hint that something changed. A delivery that came before is answered like the first.",
        "account",
        {"204": {"description": "Stored"}},
    ),
}
REASON = _object({"reason": {"type": "string", "maxLength": 1000}})
MERGE = _object({"with": {"type": "string", "maxLength": 64, "description": "the other order's number"}}, ("with",))
REROUTE = _object({"warehouse": {"type": "string", "maxLength": 200}}, ("warehouse",))
NOTE = _object({"note": {"type": "string", "maxLength": 1000}})
RESOLVE = _object(
    {
        "action": {"enum": ["fix", "release", "cancel", "dismiss"]},
        "fixes": {"type": "array", "maxItems": 100, "items": _object(_texts("path", "value"), ("path", "value"))},
        "note": {"type": "string", "maxLength": 1000},
    },
    ("action",),
)
_COUNT = {"type": "integer", "minimum": 0}
LISTINGS = _object(
    {
        "account": _TEXT,
        "listings": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": _object(
                {
                    **_texts("external_sku", "sku"),
                    "quantity": {"type": "integer", "minimum": 1},
                    "listed": {"type": "boolean"},
                    "floor_price": {"type": ["integer", "null"], "minimum": 0, "description": "minor units"},
                },
                ("external_sku", "sku"),
            ),
        },
    },
    ("account", "listings"),
)
STOCK = _object(
    {
        "warehouse": _TEXT,
        "as_of": _TIME,
        "stock": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": _object(
                {"sku": _TEXT, "on_hand": _COUNT, "buffer": _COUNT, "backorder": {"type": "boolean"}},
                ("sku", "on_hand"),
            ),
        },
    },
    ("warehouse", "stock"),
)
GOODS = _object(
    {
        "goods": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": _object(
                {
                    **_texts("sku", "title", "supplier"),
                    "weight_grams": _COUNT,
                    "volume_ml": _COUNT,
                    "classes": {"type": "array", "maxItems": 50, "items": _TEXT},
                },
                ("sku",),
            ),
        },
    },
    ("goods",),
)
BUNDLE = _object(
    {
        "sku": _TEXT,
        "components": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": _object({"sku": _TEXT, "quantity": {"type": "integer", "minimum": 1}}, ("sku", "quantity")),
        },
    },
    ("sku", "components"),
)
