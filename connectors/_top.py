"""One call to Taobao's open platform (TOP): the signed form, and what its answers mean.

Facts: china/taobao.md §1, §2, §10 (read 2026-11-21): transport, signature and envelope H; error codes 7, 15, 25-29, 40, 41
and the isp/isv families H/M; the full official error table was not found, so an unknown code is refused, never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from pydantic import SecretStr

from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from wire.budget import Budget
from wire.client import Client, Reply
from wire.retry import read_with_retries
from wire.signing import top_sign
from wire.strict_json import parse_value

CHINA = timedelta(hours=8)  # GMT+8 all year round: no daylight saving, so no zone file is needed to stamp a request
Meaning = Literal["limit", "platform", "config", "replay", "later", "refused"]

_NUMBERS: Mapping[int, Meaning] = {7: "limit", 25: "config", 26: "config", 27: "config", 29: "config"}
_EXACT: Mapping[str, Meaning] = {
    "isv.request-replay-error": "replay",
    "isv.appkey-not-exists": "config",
    "isv.permission-api-package-limit": "config",
    "isv.session-expired": "config",
    "isv.timestamp-limit-error": "config",  # our clock is more than ten minutes off: repeating cannot help
    "invalid-sessionkey": "config",
    "B150": "later",
}
_FAMILIES: tuple[tuple[str, Meaning], ...] = (
    ("isv.access-limited-by-", "limit"),
    ("accesscontrol.limited-by", "limit"),
    ("isp.", "platform"),
)
_BAN = re.compile(r"last for (\d{1,6}) more seconds", re.ASCII)


class Credentials(Protocol):
    """What a TOP call needs of an account's settings."""

    @property
    def base_url(self) -> str: ...
    @property
    def app_key(self) -> str: ...
    @property
    def app_secret(self) -> SecretStr: ...
    @property
    def session(self) -> SecretStr: ...
    @property
    def sign_method(self) -> str: ...


def meaning(code: int, sub_code: str) -> Meaning:
    """What an error answer means: the sub code decides, then its family, then the number."""
    if sub_code in _EXACT:
        return _EXACT[sub_code]
    for prefix, found in _FAMILIES:
        if sub_code.startswith(prefix):
            return found
    if "B150" in sub_code.split(":"):
        return "later"
    return _NUMBERS.get(code, "refused")


def judge(body: bytes, *, writes: bool, now: datetime) -> HubError | None:
    """The error a 2xx body means, None for a success. A page, nothing at all or broken JSON is never "no orders"."""
    text = body.strip()
    if not text:
        return _unreadable("empty_body", "", writes=writes)
    if text[:1] == b"<":
        return _unreadable("auth_or_maintenance", "a page instead of JSON", writes=writes)
    try:
        value = parse_value(body)
    except MappingError as fault:
        return UnknownOutcomeError(fault.code, fault.detail) if writes else fault
    error = value.get("error_response") if isinstance(value, dict) else None
    if isinstance(error, dict):
        return _error(error, writes=writes, now=now)
    if isinstance(value, dict) and any(key.endswith("_response") for key in value):
        return None
    return _unreadable("unexpected_reply", "neither an answer nor an error", writes=writes)


def _unreadable(code: str, detail: str, *, writes: bool) -> HubError:
    return UnknownOutcomeError(code, detail) if writes else RetryableError(code, detail)


def _error(error: Mapping[str, Any], *, writes: bool, now: datetime) -> HubError:
    number, sub_code = error.get("code"), str(error.get("sub_code") or "")
    code = sub_code or f"top_{number}"
    detail = f"{error.get('msg') or ''} {error.get('sub_msg') or ''}".strip()[:300]
    match meaning(number if isinstance(number, int) else -1, sub_code):
        case "limit":
            ban = _BAN.search(str(error.get("sub_msg") or ""))
            until = now + timedelta(seconds=int(ban[1])) if ban else None
            return RetryableError("rate_limited", f"{code} {detail}", not_before=until)
        case "config":
            return ConfigError(code, detail)
        case "replay":
            return UnknownOutcomeError(code, detail) if writes else RetryableError(code, detail)
        case "platform":
            return _unreadable(code, detail, writes=writes)
        case "later":
            return RetryableError(code, detail)
        case "refused":
            return RefusedError(code, detail)


def stamp(moment: datetime) -> str:
    """An aware time as TOP writes it: GMT+8, whole seconds."""
    return (moment.astimezone(UTC) + CHINA).strftime("%Y-%m-%d %H:%M:%S")


def signed_form(settings: Credentials, method: str, params: Mapping[str, str], now: datetime) -> dict[str, str]:
    """All parameters of one call, signed. Empty ones are left out: they must be neither sent nor signed."""
    form = {
        "method": method,
        "app_key": settings.app_key,
        "session": settings.session.get_secret_value(),
        "timestamp": stamp(now),
        "format": "json",
        "v": "2.0",
        "sign_method": settings.sign_method,
        **{name: value for name, value in params.items() if value},
    }
    form["sign"] = top_sign(form, settings.app_secret.get_secret_value(), settings.sign_method)
    return form


def send_top(
    settings: Credentials,
    client: Client,
    budget: Budget,
    clock: Callable[[], datetime],
    method: str,
    params: Mapping[str, str],
    *,
    writes: bool = False,
    keep_refusals: bool = False,
) -> Reply:
    """One TOP call; a read is tried a few times within seconds, because a page of fifty details fails with any of them.
    Raises what `judge` says; with `keep_refusals` a business refusal and an unreadable document come back as the reply
    they are, so that one bad order does not fail the page it is on."""

    def judged(reply: Reply) -> HubError | None:
        error = judge(reply.body, writes=writes, now=clock())
        return None if keep_refusals and isinstance(error, RefusedError) else error

    def send() -> Reply:
        form = signed_form(settings, method, params, clock())
        return client.send("POST", settings.base_url, form=form, writes=writes, budget=budget, judge=judged)

    return send() if writes else read_with_retries(send, sleep=client.sleep, clock=clock)
