"""A gauge on the line to one account or one warehouse: passes every call on as it is, and remembers how many were under way
at once, over all machines."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx

_SECONDS = 30.0
_NOT_PASSED = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding"})


@dataclass(slots=True)
class Gauge:
    """`url` replaces the peer's own; `most` calls were under way at once, `calls` in all. Every call takes `delay` seconds
    longer."""

    url: str
    delay: float = 0.0
    under_way: int = 0
    most: int = 0
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def enter(self) -> None:
        with self.lock:
            self.calls += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)

    def leave(self) -> None:
        with self.lock:
            self.under_way -= 1


@contextlib.contextmanager
def gauged(url: str, *, delay: float = 0.0, host: str = "127.0.0.1") -> Iterator[Gauge]:
    """Listen on a free port of `host` and pass everything on to `url`'s host, until the block ends."""
    target = urlsplit(url)
    peer = f"{target.scheme}://{target.netloc}"
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=peer, timeout=_SECONDS, trust_env=False, limits=limits) as client:
        gauge = Gauge("", delay)
        server = ThreadingHTTPServer((host, 0), _handler(gauge, client))
        server.daemon_threads = True
        gauge.url = f"http://{host}:{server.server_address[1]}{target.path}"
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="gauge"
        )
        thread.start()
        try:
            yield gauge
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)


def _handler(gauge: Gauge, client: httpx.Client) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _SECONDS

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            gauge.enter()
            try:
                time.sleep(gauge.delay)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED}
                try:
                    reply = client.request(self.command, self.path, content=body, headers=headers)
                except httpx.HTTPError:
                    # What the peer dropped is dropped here too: the hub must not be told more than it was.
                    self.close_connection = True
                    return
            finally:
                gauge.leave()
            self.send_response_only(reply.status_code)
            for name, value in reply.headers.items():
                if name.lower() not in _NOT_PASSED | {"content-encoding"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(reply.content)))
            with contextlib.suppress(OSError):  # the hub may have given up waiting, or be gone
                self.end_headers()
                self.wfile.write(reply.content)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Handler
