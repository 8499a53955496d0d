"""One GraphQL call over HTTP and what its answers mean: a 200 may carry errors, a page or nothing at all.

Facts: global/shopify.md §6 and global/vendure-medusa-saleor.md (read 2026-11-21, H): errors come as top-level `errors[]` with
extensions.code, mutations say no inside `data`. Codes not in the table are refused, never repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


_Read = tuple[Any, Sequence[tuple[bytes, Any]] | None]
_NOTHING: _Read = (None, None)


@dataclass(frozen=True, slots=True)
class Answered:
    """A judged answer, read once: its `data`, and the records of the list that was asked for, each with its exact bytes (None
    when there is no list)."""

    reply: Reply
    data: Mapping[str, Any]
    records: Sequence[tuple[bytes, Any]] | None

    def listed(self) -> Sequence[tuple[bytes, Any]]:
        """The records. MappingError `records_missing`: no list is a failure, never "no orders"."""
        if self.records is None:
            raise MappingError("records_missing", "no array here")
        return self.records


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
) -> Answered:
    """One operation. Raises what `judge` says, and ConfigError for the statuses that mean shop or address; `learn` is shown
    every readable answer and may say when to come back; `records` is the path of a list of which single entries may be
    unreadable (`wire.salvage`)."""

    read: list[_Read] = []

    def judged(reply: Reply) -> HubError | None:
        error, found = _judged(reply.body, writes=writes, now=now, learn=learn, records=records)
        read.append(found)
        return error

    sent = {"Content-Type": "application/json", **(headers or {})}
    content = dump({"query": document, "variables": dict(variables)})
    try:
        reply = client.send(
            "POST", url, headers=sent, content=content, auth=auth, writes=writes, budget=budget, judge=judged
        )
        value, listed = read[-1]
        return Answered(reply, value["data"], listed)
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
    return _judged(body, writes=writes, now=now, learn=learn, records=records)[0]


def _judged(
    body: bytes,
    *,
    writes: bool,
    now: datetime,
    learn: Callable[[Any, datetime], datetime | None] | None,
    records: str,
) -> tuple[HubError | None, _Read]:
    text = body.strip()
    if not text:
        return _unreadable("empty_body", "", writes=writes), _NOTHING
    if text[:1] == b"<":
        return _unreadable("auth_or_maintenance", "a page instead of JSON", writes=writes), _NOTHING
    try:
        read = _read(body, records)
    except MappingError as fault:
        unreadable = UnknownOutcomeError if writes else RetryableError
        return unreadable(fault.code, fault.detail), _NOTHING
    value = read[0]
    if not isinstance(value, dict):
        return _unreadable("unexpected_reply", "not an object", writes=writes), read
    back = learn(value, now) if learn is not None else None
    errors = value.get("errors")
    if errors:
        return _error(errors, back, writes=writes), read
    if not isinstance(value.get("data"), dict):
        return _unreadable("unexpected_reply", "neither data nor errors", writes=writes), read
    return None, read


def _read(body: bytes, records: str) -> _Read:
    if records:
        try:
            return salvage_records(body, records)
        except MappingError as error:
            if error.code != "records_missing":
                raise
    return parse_value(body), None


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
