"""One call to Taobao's open platform (TOP): the signed form, and what its answers mean.

Facts: china/taobao.md §1, §2, §10 (read 2026-11-21): transport, signature and envelope H; error codes 7, 15, 25-29, 40, 41
and the isp/isv families H/M; the full official error table was not found, so an unknown code is refused, never repeated.

Many calls in one request: "API批量调用" of TOP's documentation and `BatchFeature` of its Java SDK (read 2026-11-22): address
/router/batch, parameters of all calls after #PUBLIC#, separator, answers in the order of the calls, results independent of each
other, the signature over query and body H; how many calls at most was not found (the setting `batch` stays small), that each
call counts against the limits M.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from urllib.parse import quote_plus

from pydantic import SecretStr

from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from wire.budget import Budget
from wire.client import Client, Reply
from wire.retry import read_with_retries
from wire.signing import top_sign
from wire.strict_json import parse_value

_REST, _BATCH = "/router/rest", "/router/batch"
_SEPARATOR = b"\r\n-S-\r\n"
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
# The last member of an answer's envelope: quotes inside any other value are escaped, so nothing a buyer wrote looks like it.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
_REQUEST_ID = re.compile(rb',"request_id":"[A-Za-z0-9._-]{1,64}"\}\}\s*\Z')


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


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one call: its exact bytes, their value (None when unreadable), and the error it means."""

    body: bytes
    value: Any
    error: HubError | None


def without_request_id(body: bytes) -> bytes:
    """An answer less the id that TOP gives each call (taobao.md §1, H): what two answers have in common that say the same. One
    in which it stands elsewhere is left as it is."""
    return _REQUEST_ID.sub(b"}}", body)


def judge(body: bytes, *, writes: bool, now: datetime) -> HubError | None:
    """The error a 2xx body means, None for a success. A page, nothing at all or broken JSON is never "no orders"."""
    return read_answer(body, writes=writes, now=now).error


def read_answer(body: bytes, *, writes: bool, now: datetime) -> Answer:
    """A 2xx body read and judged once."""
    text = body.strip()
    if not text:
        return Answer(body, None, _unreadable("empty_body", "", writes=writes))
    if text[:1] == b"<":
        return Answer(body, None, _unreadable("auth_or_maintenance", "a page instead of JSON", writes=writes))
    try:
        value = parse_value(body)
    except MappingError as fault:
        return Answer(body, None, UnknownOutcomeError(fault.code, fault.detail) if writes else fault)
    error = value.get("error_response") if isinstance(value, dict) else None
    if isinstance(error, dict):
        return Answer(body, value, _error(error, writes=writes, now=now))
    if isinstance(value, dict) and any(key.endswith("_response") for key in value):
        return Answer(body, value, None)
    return Answer(body, value, _unreadable("unexpected_reply", "neither an answer nor an error", writes=writes))


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


def takes_many(settings: Credentials) -> bool:
    """Whether the address is one that has a sister for many calls at once."""
    return settings.base_url.endswith(_REST)


def build_form(values: Mapping[str, str]) -> bytes:
    """As `urlencode`, which takes three times as long for what needs no escaping: numbers, dates and names of ours."""
    told = [f"{name}={value if _PLAIN(value) else quote_plus(value)}" for name, value in values.items() if value]
    return "&".join(told).encode("ascii")


def send_top_many(
    settings: Credentials,
    client: Client,
    budget: Budget,
    clock: Callable[[], datetime],
    method: str,
    shared: Mapping[str, str],
    calls: Sequence[Mapping[str, str]],
    *,
    writes: bool = False,
) -> list[Answer]:
    """Several calls of one method in one request, in the order of the calls. `shared` are the parameters they have in common.
    Raises when the calls have no answers of their own; what was written is then unknown for all of them."""
    public = {"method": method, "session": settings.session.get_secret_value(), **shared}
    body = b"#PUBLIC#" + _SEPARATOR.join(build_form(each) for each in (public, *calls))
    budget.take(len(calls))

    def judged(reply: Reply) -> HubError | None:
        if len(reply.body.split(_SEPARATOR)) == len(calls):
            return None
        error = judge(reply.body, writes=writes, now=clock())
        return error or _unreadable("unexpected_reply", "not one answer for each call", writes=writes)

    def send() -> Reply:
        query = {
            "app_key": settings.app_key,
            "timestamp": stamp(clock()),
            "format": "json",
            "v": "2.0",
            "sign_method": settings.sign_method,
        }
        query["sign"] = top_sign(query, settings.app_secret.get_secret_value(), settings.sign_method, body)
        url = settings.base_url.removesuffix(_REST) + _BATCH
        headers = {"Content-Type": "text/plain;charset=utf-8"}
        return client.send("POST", url, params=query, headers=headers, content=body, writes=writes, judge=judged)

    reply = send() if writes else read_with_retries(send, sleep=client.sleep, clock=clock)
    answers = [read_answer(part, writes=writes, now=clock()) for part in reply.body.split(_SEPARATOR)]
    for answer in answers:
        if isinstance(answer.error, RetryableError) and answer.error.not_before is not None:
            budget.hold_until(answer.error.not_before)
    return answers
