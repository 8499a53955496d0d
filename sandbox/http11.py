"""A small HTTP/1.1 server on asyncio and httptools.

Why not an ASGI server: the other side must be able to drop a connection, cut a body in the middle or sit silent, and it shares two
cores with the hub, so a call has to cost tens of microseconds. Handlers are plain functions `Request -> Reply`: nothing awaits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast
from urllib.parse import parse_qsl

import httptools

BODY_LIMIT = 16 * 1024 * 1024
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
JSON = "application/json;charset=utf-8"
XML = "text/xml;charset=utf-8"
HTML = "text/html;charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """One call as received: `query` is the raw query string, `body` the exact bytes (signatures are made over them)."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def params(self) -> dict[str, str]:
        """The query string, decoded; of a repeated name the last one counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Reply:
    """`delay` in seconds before the first byte; `cut`: "" whole, "drop" no byte and reset, "truncate" half the body and close."""

    body: bytes
    status: int = 200
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    cut: str = ""

    def later(self, seconds: float) -> Reply:
        """The same reply, so many seconds later."""
        return replace(self, delay=self.delay + seconds)

    def broken(self, cut: str) -> Reply:
        """The same reply, dropped or truncated."""
        return replace(self, cut=cut)


Handler = Callable[[Request], Reply]
DateHeader = Callable[[], str]


@dataclass(slots=True)
class Connection(asyncio.Protocol):
    """One client connection; calls on it are answered one after the other, also when one of them is slow."""

    handle: Handler
    date: DateHeader
    transport: asyncio.Transport | None = None
    parser: httptools.HttpRequestParser | None = None
    url: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    busy: bool = False
    waiting: deque[tuple[Request, bool]] = field(default_factory=deque)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client is here."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own class does not inherit asyncio's
        self.parser = httptools.HttpRequestParser(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio: the client is gone; what it still asked for is forgotten."""
        self.transport = None
        self.waiting.clear()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came in."""
        if self.parser is None:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if self.transport is not None:
                self.transport.close()

    def on_message_begin(self) -> None:
        """httptools: a new request."""
        self.url, self.headers, self.parts, self.size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        """httptools: a part of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """httptools: a part of the body; a peer that sends too much is cut off."""
        self.size += len(body)
        if self.size > BODY_LIMIT and self.transport is not None:
            self.transport.abort()
            return
        self.parts.append(body)

    def on_message_complete(self) -> None:
        """httptools: the request is whole."""
        if self.parser is None:
            return
        path, _, query = self.url.decode("latin-1").partition("?")
        method = self.parser.get_method().decode("ascii")
        self.waiting.append(
            (Request(method, path, query, self.headers, b"".join(self.parts)), self.parser.should_keep_alive())
        )
        self.run()

    def run(self) -> None:
        """Answer what waits, unless an answer is already under way."""
        while self.waiting and not self.busy:
            request, keep = self.waiting.popleft()
            try:
                reply = self.handle(request)
            except Exception as fault:  # noqa: BLE001 -- a bug of ours must not look like a fault that was asked for
                reply = Reply(f"sandbox defect: {fault!r}".encode(), 500, "text/plain", (("x-sandbox-defect", "1"),))
            if reply.delay > 0:
                self.busy = True
                asyncio.get_running_loop().call_later(reply.delay, self.finish, reply, keep)
            else:
                self.write(reply, keep)

    def finish(self, reply: Reply, keep: bool) -> None:
        """A delayed reply is due."""
        self.busy = False
        self.write(reply, keep)
        self.run()

    def write(self, reply: Reply, keep: bool) -> None:
        """Put the reply on the wire, whole or broken as it says."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if reply.cut == "drop":
            transport.abort()
            return
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
        ending = "" if keep else "connection: close\r\n"
        head = (
            f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Status')}\r\ncontent-type: {reply.kind}\r\n"
            f"content-length: {len(reply.body)}\r\ndate: {self.date()}\r\n{extra}{ending}\r\n"
        )
        if reply.cut == "truncate":
            transport.write(head.encode("latin-1") + reply.body[: len(reply.body) // 2])
            transport.close()
            return
        transport.write(head.encode("latin-1") + reply.body)
        if not keep:
            transport.close()


async def listen(handle: Handler, date: DateHeader, port: int) -> tuple[asyncio.Server, str]:
    """Serve on loopback; port 0 takes a free one. Returns the server and its base URL."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(handle, date), "127.0.0.1", port, backlog=1024
    )
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
