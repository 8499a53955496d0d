"""The walls in front of every route: how much may come in, how slowly, in which encoding; and what every answer carries.

A body is read here, whole, before anything else runs: a caller that drips holds a few kilobytes and no thread, and what
never arrives was never there. Limits are promises.md §1: 1 MiB, 10 MiB for batches, declared, as read and as decoded."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import RefusedError

from .problems import problem, problem_of

ONE_CAP, BATCH_CAP = 2**20, 10 * 2**20
# So much of a body that is too large is still read, so that the caller can hear the answer before the connection closes.
_SLACK = 64 * 1024
SLOW_AFTER_S = 30.0
_STEP = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS

_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"strict-transport-security", b"max-age=31536000"),
)
_STRICT = b"default-src 'none'; frame-ancestors 'none'"
_DOCS = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
)
_DOCS_PATHS = ("/docs", "/redoc", "/static-offline-docs")

_log = logging.getLogger("hub.api")


class Guard:
    """ASGI middleware. `count` hears of every answer: route, method, status; `templates` names the plain routes'
    endpoints, which the framework does not."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        count: Callable[[str, str, int], None],
        templates: Mapping[Any, str],
        slow_after: float = SLOW_AFTER_S,
    ) -> None:
        self._app, self._count, self._templates, self._slow_after = app, count, templates, slow_after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                # The console is mounted inside and has its own policy: what an answer says itself stands.
                told = list(message.get("headers", ()))
                said = {name.lower() for name, _ in told}
                message["headers"] = told + [pair for pair in _headers(scope["path"]) if pair[0] not in said]
                self._count(self._route(scope), scope["method"], message["status"])
            await send(message)

        try:
            body = await self._read(scope, receive)
            if body is not None:
                await self._app(scope, _replay(body, receive), answer)
        except Exception as error:
            response = problem_of(error) or _internal(error, scope)
            if isinstance(error, RefusedError) and error.code in _CLOSING:
                response.headers["Connection"] = "close"
            if started:
                raise
            await response(scope, receive, answer)

    def _route(self, scope: Scope) -> str:
        """The route's template: a counter must not grow with what callers type."""
        template = self._templates.get(scope.get("endpoint", self._app)) or getattr(scope.get("route"), "path", "")
        return str(template) or "none"

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The decoded body; None when the caller went away before it was complete."""
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            raise RefusedError("zero_byte", "an address holds no zero byte")
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        lengths = [value for name, value in headers if name == b"content-length"]
        chunked = any(name == b"transfer-encoding" for name, _ in headers)
        if len(lengths) > 1 or (lengths and chunked):
            raise RefusedError("ambiguous_length", "Content-Length and Transfer-Encoding together")
        if not chunked and (not lengths or lengths[0] == b"0"):
            return b""
        cap = BATCH_CAP if scope["path"] == "/v1/orders:batch" else ONE_CAP
        gzipped = _is_gzip(value for name, value in headers if name == b"content-encoding")
        if lengths and (not lengths[0].isdigit() or int(lengths[0][:20]) > cap + _SLACK):
            raise RefusedError("body_too_large", f"at most {cap} bytes")
        try:
            async with asyncio.timeout(self._slow_after):
                return await _collect(receive, cap, gzipped, _SLACK if lengths else 0)
        except TimeoutError:
            raise RefusedError("slow_body", "the body did not arrive in time") from None


_CLOSING = frozenset({"ambiguous_length", "body_too_large", "decoded_too_large", "slow_body", "content_encoding"})


async def _collect(receive: Receive, cap: int, gzipped: bool, slack: int) -> bytes | None:
    """Read to the end, never more than the cap and `slack`: what declared no end is not read beyond the piece that is too much."""
    read, decoder = 0, zlib.decompressobj(_GZIP) if gzipped else None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk: bytes = message.get("body", b"")
        more = bool(message.get("more_body", False))
        read += len(chunk)
        if read > cap and (not more or read > cap + slack):
            raise RefusedError("body_too_large", f"at most {cap} bytes")
        if read <= cap:
            body += _inflate(decoder, chunk, cap + 1 - len(body)) if decoder is not None else chunk
        if len(body) > cap:
            raise RefusedError("decoded_too_large", f"at most {cap} bytes when decoded")
        if not more:
            if decoder is not None and (not decoder.eof or decoder.unused_data):
                raise RefusedError("broken_encoding", "not one complete gzip stream")
            return bytes(body)


def _inflate(decoder: Any, chunk: bytes, room: int) -> bytes:
    """At most `room` bytes of what the chunk decodes to; the caller refuses when all of it is used."""
    try:
        return bytes(decoder.decompress(chunk, room))
    except zlib.error:
        raise RefusedError("broken_encoding", "not a gzip stream") from None


def _is_gzip(values: Iterable[bytes]) -> bool:
    """One encoding only: a second one is a bomb's disguise."""
    told = [part.strip().lower() for value in values for part in value.split(b",")]
    told = [part for part in told if part not in {b"", b"identity"}]
    if not told:
        return False
    if told in ([b"gzip"], [b"x-gzip"]):
        return True
    raise RefusedError("content_encoding", "gzip or none, once")


def _replay(body: bytes, receive: Receive) -> Receive:
    """What was read, in one piece; then what the connection has to say."""
    told = False

    async def replayed() -> Message:
        nonlocal told
        if not told:
            told = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


_POLICY = b"content-security-policy"
_PLAIN_HEADERS = (*_ALWAYS, (_POLICY, _STRICT))
_DOCS_HEADERS = (*_ALWAYS, (_POLICY, _DOCS + b"frame-ancestors 'none'"))


def _headers(path: str) -> tuple[tuple[bytes, bytes], ...]:
    return _DOCS_HEADERS if path.startswith(_DOCS_PATHS) else _PLAIN_HEADERS


class Shortcut:
    """ASGI application: POST to one of the `hot` paths goes there, everything else to the `rest`. A hot path may end in one name
    in braces, which stands for any one name."""

    def __init__(self, rest: ASGIApp, hot: Mapping[str, ASGIApp]) -> None:
        self._rest = rest
        self._exact = {path: app for path, app in hot.items() if "{" not in path}
        self._named = {path.partition("{")[0]: app for path, app in hot.items() if "{" in path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = None
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            app = self._exact.get(path)
            if app is None:
                parent, slash, name = path.rpartition("/")
                app = self._named.get(parent + slash) if name else None
        await (app or self._rest)(scope, receive, send)


def _internal(error: Exception, scope: Scope) -> Response:
    # The text of an error may hold what was sent: its type and where it happened are enough to find it.
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where is not None else ""
    _log.error(
        "request failed: %s at %s, %s %s",
        type(error).__name__,
        place,
        scope["method"],
        getattr(scope.get("route"), "path", ""),
    )
    return problem(500, "internal", "an unexpected error; it has been recorded")
