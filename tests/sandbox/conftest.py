"""A running sandbox per test file, and a stand-in for the hub that writes down what it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import sandbox

from .calls import Calls

SUCCESS = b"<response><flag>success</flag><code>0</code><message>ok</message></response>"
FAILURE = b"<response><flag>failure</flag><code>BUSY</code><message>later</message></response>"


@dataclass
class Heard:
    """What the stand-in heard: (path, headers, body); it says no to the first `refuse` messages."""

    url: str = ""
    refuse: int = 0
    messages: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, count: int, seconds: float = 5.0) -> list[tuple[str, dict[str, str], bytes]]:
        """The messages, once there are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.messages) >= count, seconds), f"heard only {self.messages}"
            return list(self.messages)


@pytest.fixture(scope="module")
def calls() -> Iterator[Calls]:
    """A sandbox without random faults and with plain orders only; a test orders what it needs."""
    with sandbox.start(seed="tests", mix="plain", tempo=0.1, ship_after="0.02,0.05", hang_seconds=0.3) as box:
        client = Calls(box)
        yield client
        client.client.close()


@pytest.fixture
def hub() -> Iterator[Heard]:
    """A hub that only listens."""
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with heard.changed:
                heard.messages.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                refused = len(heard.messages) <= heard.refuse
                heard.changed.notify_all()
            answer = FAILURE if refused else SUCCESS
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    heard.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield heard
    server.shutdown()
    thread.join()
    server.server_close()
