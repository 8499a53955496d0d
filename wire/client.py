"""The one guarded HTTP client. Every call to a channel, warehouse, carrier or partner webhook goes through
`Client.send`.

It uses httpx's request, URL, header and auth types over an httpcore pool of its own. `httpx.Client` itself is left out
on purpose: it logs full URLs (TOP puts its session and signature there) and keeps one cookie jar, which would carry one
account's cookies to another. Source: promises.md sections 1, 3, 4 (rows 6-12, 58-60) and 6, 2026-11-21, H.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import httpcore
import httpx

from domain.errors import HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError

from .auth import HeaderToken
from .body import ACCEPT_ENCODING, read_body
from .breaker import BreakerRule, Host
from .budget import Budget
from .guard import check_url
from .network import Call, GuardedBackend
from .outcome import broken_error, secret_values, status_error
from .strict_json import JsonLimits, parse_value

USER_AGENT = "order-hub/0.1"

_FORBIDDEN = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "proxy-authorization"}
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_MOST_HOSTS = 4096
_MOST_AUTH_STEPS = 3
_KEEP_ALIVE = 15.0
_NOT_SENT: dict[type[Exception], str] = {
    httpcore.ConnectTimeout: "connect_timeout",
    httpcore.ConnectError: "connect_failed",
    httpcore.PoolTimeout: "host_busy",
}
_BROKEN: dict[type[Exception], str] = {
    httpcore.ReadTimeout: "read_timeout",
    httpcore.WriteTimeout: "write_timeout",
    httpcore.ReadError: "connection_lost",
    httpcore.WriteError: "connection_lost",
    httpcore.RemoteProtocolError: "truncated",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """`connect`, `read` (between two pieces) and `total` in seconds; `max_bytes` of decoded body; `per_host` calls at
    once.
    """

    connect: float = 3.0
    read: float = 15.0
    total: float = 30.0
    max_bytes: int = 20 * 2**20
    per_host: int = 16


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete 2xx reply: decoded `body`, `sent_at` just before the first byte, `received_at` after the last (aware
    UTC).
    """

    status: int
    headers: httpx.Headers
    body: bytes
    sent_at: datetime
    received_at: datetime
    writes: bool = False

    def json(self, *, limits: JsonLimits | None = None) -> Any:
        """The body through the strict reader. An empty body or a web page is a failure, never "nothing there".

        Raises RetryableError `empty_reply` or `auth_or_maintenance`, MappingError as `strict_json.parse`; after a write
        all of these are UnknownOutcomeError, because the answer that would tell is unreadable.
        """
        try:
            if not self.body.strip():
                raise RetryableError("empty_reply", "a document is due")
            if self.body.lstrip()[:1] == b"<":
                raise RetryableError("auth_or_maintenance", "a page instead of JSON")
            return parse_value(self.body, limits=limits) if limits else parse_value(self.body)
        except HubError as error:
            if self.writes:
                raise UnknownOutcomeError(error.code, "the reply to a write cannot be read") from error
            raise

    def text(self) -> str:
        """The body as UTF-8 text. Raises MappingError `encoding`."""
        try:
            return self.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MappingError("encoding", f"not UTF-8 at byte {error.start}") from None


@dataclass(frozen=True, slots=True)
class _Exchange:
    status: int
    headers: httpx.Headers
    body: bytes
    fault: Exception | None
    sent_at: datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Client:
    """Thread-safe; one instance is shared by all workers of a process. See `send` for what it promises."""

    def __init__(
        self,
        *,
        limits: Limits = Limits(),
        allow_private: bool = False,
        clock: Callable[[], datetime] = _utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        breaker: BreakerRule = BreakerRule(),  # noqa: B008 - frozen
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._allow_private = allow_private
        self._clock = clock
        self._monotonic = monotonic
        self.sleep = sleep
        self._rule = breaker
        self._call = Call()
        self._hosts: dict[bytes, Host] = {}
        self._lock = threading.Lock()
        self._timeouts = {"connect": limits.connect, "read": limits.read, "write": limits.read, "pool": limits.connect}
        self._tls = tls or _tls()
        self._backend = GuardedBackend(self._call, allow_private=allow_private)
        self._pools: dict[tuple[str, bytes, int | None], httpcore.ConnectionPool] = {}

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
        writes: bool,
        budget: Budget | None = None,
        judge: Callable[[Reply], HubError | None] | None = None,
    ) -> Reply:
        """Make one call and return its 2xx reply; everything else is an error named by what to do next.

        `writes` says whether the call changes something over there, whatever its method. `budget` is asked for one unit
        first. `judge` reads a 2xx reply and may return the error it really means; that error is raised. No redirect is
        followed, no retry is made. Raises RetryableError (nothing happened, or a read), UnknownOutcomeError (a write
        that may have happened), ConfigError (401, 403), RefusedError (other 4xx, redirects, addresses and headers that
        must not be used, replies over the cap).
        """
        target = check_url(url, allow_private=self._allow_private)
        request = _request(method, target, headers, params, content, form)
        if budget is not None:
            budget.take(1)
        host = self._host(target.netloc)
        try:
            reply, error = self._guarded(host, request, auth, writes, (params, form))
        finally:
            with self._lock:
                host.users -= 1
        if error is None and reply is not None and judge is not None:
            error = judge(reply)
        if error is not None:
            if budget is not None and isinstance(error, RetryableError) and error.not_before is not None:
                budget.hold_until(error.not_before)
            raise error
        if reply is None:
            raise RetryableError("no_reply")
        return reply

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _guarded(
        self,
        host: Host,
        request: httpx.Request,
        auth: httpx.Auth | None,
        writes: bool,
        fields: tuple[Mapping[str, str] | None, ...],
    ) -> tuple[Reply | None, HubError | None]:
        """One call inside the host's slot and breaker."""
        probe = host.enter(self._limits.connect)
        outcome: bool | None = None
        call = self._call
        call.deadline, call.sent = time.monotonic() + self._limits.total, False
        try:
            try:
                done = self._exchange(request) if auth is None else self._authenticated(request, auth)
            except HubError as error:
                outcome = False if isinstance(error, RetryableError) else None
                return None, error
            except (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol) as error:
                return None, RefusedError("request_refused", str(error)[:200])
            except Exception as error:
                if not isinstance(error, (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)):
                    raise
                outcome = False
                code = _NOT_SENT.get(type(error)) or _BROKEN.get(type(error), "connection_lost")
                return None, broken_error(code, request.url.host, sent=call.sent, writes=writes)
            outcome = done.status < 500 and not isinstance(done.fault, RetryableError)
            return self._judged(done, request, writes, fields)
        finally:
            call.deadline = float("inf")
            host.leave(probe, outcome)

    def _judged(
        self, done: _Exchange, request: httpx.Request, writes: bool, fields: tuple[Mapping[str, str] | None, ...]
    ) -> tuple[Reply | None, HubError | None]:
        received_at = self._clock()
        if not 200 <= done.status <= 299:
            known = secret_values(request.headers, *fields)
            error = status_error(done.status, done.headers, done.body, writes=writes, now=received_at, secrets=known)
            return None, error
        if isinstance(done.fault, HubError):
            # The peer said yes to a write and we lost the rest: looking is the only way to know what it said.
            return None, UnknownOutcomeError(done.fault.code, done.fault.detail) if writes else done.fault
        return Reply(done.status, done.headers, done.body, done.sent_at, received_at, writes), None

    def _exchange(self, request: httpx.Request) -> _Exchange:
        """Send one request and read its reply. A fault in the body is returned, not raised: the status may decide
        alone.
        """
        url = request.url
        sent_at = self._clock()
        response = self._pool_of(url).handle_request(
            httpcore.Request(
                request.method.encode("ascii"),
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions={"timeout": self._timeouts},
            )
        )
        headers = httpx.Headers(response.headers)
        body, fault = b"", None
        try:
            if not 300 <= response.status <= 399 and request.method != "HEAD":
                encoding, length = headers.get("content-encoding", ""), headers.get("content-length", "")
                body = read_body(response.iter_stream(), encoding, length, self._limits.max_bytes)
        except HubError as error:
            fault = error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            fault = RetryableError(_BROKEN.get(type(error), "connection_lost"), url.host)
        finally:
            with suppress(httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
                response.close()
        return _Exchange(response.status, headers, body, fault, sent_at)

    def _authenticated(self, request: httpx.Request, auth: httpx.Auth) -> _Exchange:
        flow = auth.sync_auth_flow(request)
        try:
            current = next(flow)
            if isinstance(auth, HeaderToken):
                return self._exchange(current)
            for _ in range(_MOST_AUTH_STEPS):
                if current.url.netloc != request.url.netloc:
                    check_url(str(current.url), allow_private=self._allow_private)
                self._call.sent = False  # the step before was answered in full
                done = self._exchange(current)
                reply = httpx.Response(done.status, headers=_plain(done.headers), content=done.body, request=current)
                try:
                    current = flow.send(reply)
                except StopIteration:
                    return done
            return done
        finally:
            flow.close()

    def _pool_of(self, url: httpx.URL) -> httpcore.ConnectionPool:
        """The connections to one origin. httpcore looks at every connection of a pool for every call, so a pool holds those
        of one peer only; hosts beyond the bound share one."""
        key = (url.scheme, url.raw_host, url.port)
        with self._lock:
            if key not in self._pools and len(self._pools) >= _MOST_HOSTS:
                key = ("", b"", None)
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = httpcore.ConnectionPool(
                    ssl_context=self._tls,
                    max_connections=None,  # bounded per host, so that one host can never starve another
                    max_keepalive_connections=self._limits.per_host,
                    keepalive_expiry=_KEEP_ALIVE,
                    network_backend=self._backend,
                )
            return pool

    def _host(self, netloc: bytes) -> Host:
        with self._lock:
            host = self._hosts.get(netloc)
            if host is None:
                if len(self._hosts) >= _MOST_HOSTS:
                    idle = next((key for key, each in self._hosts.items() if not each.users), None)
                    if idle is not None:
                        del self._hosts[idle]
                host = self._hosts[netloc] = Host(self._limits.per_host, self._rule, self._monotonic, self._clock)
            host.users += 1
            return host


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _request(
    method: str,
    target: httpx.URL,
    headers: Mapping[str, str] | None,
    params: Mapping[str, str] | None,
    content: bytes | None,
    form: Mapping[str, str] | None,
) -> httpx.Request:
    """Put the request together. Raises RefusedError `header_refused`, `request_refused` or `url_refused`."""
    if not _HEADER_NAME.fullmatch(method):
        raise RefusedError("request_refused", "method")
    if content is not None and form is not None:
        raise RefusedError("request_refused", "content and form together")
    fields = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": ACCEPT_ENCODING}
    if form is not None:
        content = urlencode(form).encode("ascii")
        fields["Content-Type"] = "application/x-www-form-urlencoded;charset=utf-8"
    for name, value in (headers or {}).items():
        # A tracking number with a line break in it must not become a header of its own.
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value) or name.lower() in _FORBIDDEN:
            raise RefusedError("header_refused", name[:60].encode("ascii", "replace").decode("ascii"))
        fields[name] = value
    if params:
        try:
            query = urlencode(params).encode("ascii")
            target = target.copy_with(query=target.query + b"&" + query if target.query else query)
        except (httpx.InvalidURL, UnicodeEncodeError):
            raise RefusedError("url_refused", "parameters") from None
    return httpx.Request(method, target, headers=fields, content=content)


def _plain(headers: httpx.Headers) -> httpx.Headers:
    """Headers for the auth flow's copy of the reply, whose body is already decoded."""
    kept = httpx.Headers(headers)
    kept.pop("content-encoding", None)
    kept.pop("content-length", None)
    kept.pop("transfer-encoding", None)
    return kept
