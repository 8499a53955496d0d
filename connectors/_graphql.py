"""One GraphQL call over HTTP and what its answers mean: a 200 may carry errors, a page or nothing at all.

Facts: global/shopify.md §6 and global/vendure-medusa-saleor.md (read 2026-11-21, H): errors come as top-level `errors[]` with
extensions.code, mutations say no inside `data`. Codes not in the table are refused, never repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import httpx

from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from wire.budget import Budget
from wire.client import Client, Reply
from wire.salvage import salvage_records
from wire.strict_json import dump, parse_value

Meaning = Literal["config", "limit", "platform", "refused"]

_CODES: Mapping[str, Meaning] = {
    "ACCESS_DENIED": "config",
    "FORBIDDEN": "config",
    "UNAUTHENTICATED": "config",
    "SHOP_INACTIVE": "config",
    "THROTTLED": "limit",
    "INTERNAL_SERVER_ERROR": "platform",
    "TIMEOUT": "platform",
}
_HTTP_CONFIG = frozenset({"http_402", "http_404", "http_423"})  # frozen shop, wrong address or version, locked shop


def send_graphql(
    client: Client,
    url: str,
    document: str,
    variables: Mapping[str, Any],
    *,
    writes: bool,
    now: datetime,
    auth: httpx.Auth | None = None,
    headers: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    learn: Callable[[Any, datetime], datetime | None] | None = None,
    records: str = "",
) -> Reply:
    """One operation. Raises what `judge` says, and ConfigError for the statuses that mean shop or address; `learn` is shown
    every readable answer and may say when to come back; `records` is the path of a list of which single entries may be
    unreadable (`wire.salvage`)."""

    def judged(reply: Reply) -> HubError | None:
        return judge(reply.body, writes=writes, now=now, learn=learn, records=records)

    sent = {"Content-Type": "application/json", **(headers or {})}
    content = dump({"query": document, "variables": dict(variables)})
    try:
        return client.send(
            "POST", url, headers=sent, content=content, auth=auth, writes=writes, budget=budget, judge=judged
        )
    except RefusedError as error:
        if error.code in _HTTP_CONFIG:
            raise ConfigError(error.code, error.detail) from error
        raise


def judge(
    body: bytes,
    *,
    writes: bool,
    now: datetime,
    learn: Callable[[Any, datetime], datetime | None] | None = None,
    records: str = "",
) -> HubError | None:
    """The error a 2xx body means, None when it has data and no errors."""
    text = body.strip()
    if not text:
        return _unreadable("empty_body", "", writes=writes)
    if text[:1] == b"<":
        return _unreadable("auth_or_maintenance", "a page instead of JSON", writes=writes)
    try:
        value = _value(body, records)
    except MappingError as fault:
        return UnknownOutcomeError(fault.code, fault.detail) if writes else RetryableError(fault.code, fault.detail)
    if not isinstance(value, dict):
        return _unreadable("unexpected_reply", "not an object", writes=writes)
    back = learn(value, now) if learn is not None else None
    errors = value.get("errors")
    if errors:
        return _error(errors, back, writes=writes)
    if not isinstance(value.get("data"), dict):
        return _unreadable("unexpected_reply", "neither data nor errors", writes=writes)
    return None


def _value(body: bytes, records: str) -> Any:
    try:
        return parse_value(body)
    except MappingError:
        if not records:
            raise
        return salvage_records(body, records)[0]


def _unreadable(code: str, detail: str, *, writes: bool) -> HubError:
    return UnknownOutcomeError(code, detail) if writes else RetryableError(code, detail)


def _error(errors: Any, back: datetime | None, *, writes: bool) -> HubError:
    first = errors[0] if isinstance(errors, list) else errors
    extensions = first.get("extensions") if isinstance(first, Mapping) else None
    code = str(extensions.get("code") or "") if isinstance(extensions, Mapping) else ""
    detail = str(first.get("message") if isinstance(first, Mapping) else first)[:300]
    match _CODES.get(code, "refused"):
        case "config":
            return ConfigError(code, detail)
        case "limit":
            return RetryableError("rate_limited", detail, not_before=back)
        case "platform":
            return _unreadable(code, detail, writes=writes)
        case "refused":
            return RefusedError(code or "graphql_error", detail)


def data_of(reply: Reply) -> Mapping[str, Any]:
    """The `data` of a judged reply."""
    data: Mapping[str, Any] = reply.json()["data"]
    return data
