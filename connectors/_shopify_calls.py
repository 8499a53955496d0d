"""Shopify's Admin API as this connector calls it: one operation, what its cost teaches, and orders read by their ids.

Facts: global/shopify.md §6 (read 2026-11-21, H). `nodes(ids:)` gives one entry for each id, null for what it does not know: Admin
GraphQL reference, QueryRoot.nodes (2026-11-22, H).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.errors import RefusedError, RetryableError
from wire.auth import HeaderToken
from wire.budget import Budget
from wire.retry import read_with_retries
from wire.strict_json import parse_value

from ._channel import Session
from ._graphql import Answered, send_graphql
from ._shopify_queries import ORDER, ORDERS_BY_ID

_NODES = "data.nodes"
_LONGEST_WAIT = timedelta(minutes=10)


def read_query(session: Session, document: str, variables: Mapping[str, Any], *, records: str = "") -> Answered:
    """A query, with short waits when Shopify says how long; a longer one is left to the caller's schedule."""
    return read_with_retries(
        lambda: call_admin(session, document, variables, writes=False, records=records),
        sleep=session.client.sleep,
        clock=session.clock,
    )


def call_admin(
    session: Session, document: str, variables: Mapping[str, Any], *, writes: bool, records: str = ""
) -> Answered:
    settings = session.settings

    def learn(value: Any, now: datetime) -> datetime | None:
        return learn_cost(session.budget, value, now)

    return send_graphql(
        session.client,
        f"{settings.base_url.rstrip('/')}/admin/api/{settings.api_version}/graphql.json",
        document,
        variables,
        writes=writes,
        now=session.clock(),
        auth=HeaderToken("X-Shopify-Access-Token", settings.token.get_secret_value()),
        budget=session.budget,
        learn=learn,
        records=records,
    )


def learn_cost(budget: Budget, value: Any, now: datetime) -> datetime | None:
    """Tell the budget what throttleStatus says; when a throttled call may come again: now + (requested - available) / rate."""
    extensions = value.get("extensions") if isinstance(value, Mapping) else None
    cost = extensions.get("cost") if isinstance(extensions, Mapping) else None
    status = cost.get("throttleStatus") if isinstance(cost, Mapping) else None
    if not isinstance(cost, Mapping) or not isinstance(status, Mapping):
        return None
    names = ("currentlyAvailable", "restoreRate", "maximumAvailable")
    told = [status.get(name) for name in names]
    if any(isinstance(number, bool) or not isinstance(number, (int, Decimal)) for number in told):
        return None
    available, rate, maximum = (float(str(number)) for number in told)
    budget.learn(available, rate, maximum)
    requested = cost.get("requestedQueryCost")
    if not value.get("errors") or type(requested) is not int or rate <= 0:
        return None
    seconds = max(0.0, (requested - available) / rate)
    return now + min(timedelta(seconds=seconds), _LONGEST_WAIT)


def read_orders(session: Session, ids: Sequence[str], document: str = ORDERS_BY_ID) -> dict[str, tuple[bytes, Any]]:
    """The orders of these ids in full or as `document` asks, each with its exact bytes (value None when it cannot be read);
    unknown ones are missing. What costs too much at once is asked for in halves."""
    try:
        records = read_query(session, document, {"ids": list(ids)}, records=_NODES).listed()
    except RefusedError as error:
        if error.code != "MAX_COST_EXCEEDED" or len(ids) == 1:
            raise
        half = len(ids) // 2
        return read_orders(session, ids[:half], document) | read_orders(session, ids[half:], document)
    if len(records) != len(ids):
        raise RetryableError("unexpected_reply", "not one node for each id")
    return {ident: (raw, order) for ident, (raw, order) in zip(ids, records, strict=True) if raw != b"null"}


def read_order(session: Session, ident: str) -> tuple[bytes, Mapping[str, Any]] | None:
    """One order as sent: the answer that holds it, and its value. None when Shopify does not know it."""
    answer = read_query(session, ORDER, {"id": ident})
    order = answer.data.get("order")
    if order is None:
        return None
    if not isinstance(order, Mapping):
        raise RetryableError("unexpected_reply", "order is not an object")
    return answer.reply.body, order


def cut_out(body: bytes, name: str, value: Any) -> bytes:
    """The exact bytes of the object under `name` in a document already read strictly."""
    text, mark, at = body.decode("utf-8"), f'"{name}"', 0
    while (at := text.find(mark, at)) >= 0:
        at += len(mark)
        start = at + len(text[at:]) - len(text[at:].lstrip(" \t\r\n:"))
        if text[start : start + 1] == "{":
            _, end = json.JSONDecoder().raw_decode(text, start)
            piece = text[start:end].encode("utf-8")
            if parse_value(piece) == value:
                return piece
    raise RetryableError("unexpected_reply", f"no {name} in the answer")
