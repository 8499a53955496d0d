"""A tap on the line to the warehouse: passes every request on as it is and remembers what was said.

The warehouse's ledger shows goods and parcels; where a parcel was to go stands only in what the hub sent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from wire.safe_xml import parse, to_value

_SECONDS = 30.0
_KEPT = ("content-type", "date")


@dataclass(slots=True)
class Tap:
    """`url` replaces the warehouse's own. `receivers`: delivery order code → receiverInfo as last sent."""

    url: str
    receivers: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def remember(self, path: str, body: bytes) -> None:
        """Keep who is to receive each delivery order, one in a call or many; other calls are not ours."""
        method = parse_qs(urlsplit(path).query).get("method", [""])[0]
        if not method.endswith(("deliveryorder.create", "deliveryorder.batchcreate")):
            return
        told = to_value(parse(body))
        for order in told.get("orders", [told]):
            head = order["deliveryOrder"]
            self.receivers[head["deliveryOrderCode"]] = head["receiverInfo"]


@contextlib.contextmanager
def tapped(url: str) -> Iterator[Tap]:
    """Listen on a free loopback port and pass everything on to `url`'s host, until the block ends."""
    target = urlsplit(url)
    with httpx.Client(base_url=f"{target.scheme}://{target.netloc}", timeout=_SECONDS, trust_env=False) as client:
        tap = Tap("")
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(tap, client))
        server.daemon_threads = True
        tap.url = f"http://127.0.0.1:{server.server_address[1]}{target.path}"
        thread = threading.Thread(target=server.serve_forever, daemon=True, name="tap")
        thread.start()
        try:
            yield tap
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)


def _handler(tap: Tap, client: httpx.Client) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            tap.remember(self.path, body)
            headers = {"content-type": self.headers.get("content-type", "text/xml")}
            try:
                reply = client.post(self.path, content=body, headers=headers)
            except httpx.HTTPError:
                # What the warehouse dropped is dropped here too: the hub must not be told more than it was.
                self.close_connection = True
                return
            self.send_response_only(reply.status_code)
            for name in _KEPT:
                if name in reply.headers:
                    self.send_header(name, reply.headers[name])
            self.send_header("content-length", str(len(reply.content)))
            with contextlib.suppress(OSError):  # the hub may have given up waiting
                self.end_headers()
                self.wfile.write(reply.content)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Handler
