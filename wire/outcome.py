"""What a status, a time-out or a broken connection means: decided here, once, for everybody.

The question is always "may it have happened?". Before a byte left: no, so again. After it, a read may be repeated and a
write may not: the caller looks first. Source: promises.md sections 1, 3 and P13 (2026-11-21, H).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from domain.errors import ConfigError, HubError, RefusedError, RetryableError, UnknownOutcomeError

RETRY_AFTER_CAP = timedelta(hours=24)

_DETAIL = 300
_SHORTEST_SECRET = 8
_SECRET_NAME = re.compile(r"auth|token|secret|sign|session|key|passw|cookie|hmac", re.IGNORECASE)
_AGAIN_READS = frozenset({408, 409, 425})
_AGAIN_WRITES = frozenset({409, 425})


def status_error(
    status: int, headers: httpx.Headers, body: bytes, *, writes: bool, now: datetime, secrets: tuple[str, ...] = ()
) -> HubError | None:
    """The error for an HTTP status, None for 2xx. `secrets` are texts that must not appear in the error's detail."""
    if 200 <= status <= 299:
        return None
    code = f"http_{status}"
    if 300 <= status <= 399:
        # 303 answers a write that was done: "see the result over there".
        return (
            UnknownOutcomeError(code)
            if writes and status == httpx.codes.SEE_OTHER
            else RefusedError("redirect_refused", code)
        )
    if status in {401, 403}:
        return ConfigError("credentials_refused", code)
    not_before = retry_after(headers.get("retry-after", ""), now)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RetryableError("rate_limited", code, not_before=not_before)
    if status >= 500 or status < 200:
        return UnknownOutcomeError(code) if writes else RetryableError(code, not_before=not_before)
    if status in (_AGAIN_WRITES if writes else _AGAIN_READS):
        return RetryableError(code, not_before=not_before)
    if status == httpx.codes.REQUEST_TIMEOUT:
        return UnknownOutcomeError(code)
    return RefusedError(code, readable(body, secrets))


def broken_error(code: str, detail: str, *, sent: bool, writes: bool) -> HubError:
    """The error for a call that ended without a usable reply."""
    if sent and writes:
        return UnknownOutcomeError(code, detail)
    return RetryableError(code, detail)


def retry_after(value: str, now: datetime) -> datetime | None:
    """`Retry-After` in seconds or as an HTTP date, as aware UTC between `now` and `now` + 24 h; None if absent or
    unreadable.
    """
    text = value.strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return now + min(timedelta(seconds=int(text[:9])), RETRY_AFTER_CAP)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return max(now, min(moment, now + RETRY_AFTER_CAP))


def readable(body: bytes, secrets: tuple[str, ...] = ()) -> str:
    """The first 300 printable characters of a body, without `secrets`: some servers echo what was sent."""
    text = body[: 8 * _DETAIL].decode("utf-8", "replace")
    for secret in secrets:
        text = text.replace(secret, "***")
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:_DETAIL]


def secret_values(headers: httpx.Headers, *fields: Mapping[str, str] | None) -> tuple[str, ...]:
    """The values in headers and parameters whose names say that they are secret."""
    pairs = [pair for group in (headers, *fields) if group for pair in group.items()]
    found = {part for name, value in pairs if _SECRET_NAME.search(name) for part in (value, *value.split(" "))}
    return tuple(sorted((part for part in found if len(part) >= _SHORTEST_SECRET), key=len, reverse=True))
