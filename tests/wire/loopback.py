"""A real HTTP server on loopback whose every byte the test decides, and a client to ask it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wire.breaker import BreakerRule
from wire.client import Client, Limits, Reply

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
PATIENT = Limits(connect=5, read=5, total=10)  # a busy machine must not fail a test that is not about time
QUICK = Limits(connect=0.3, read=0.3, total=0.6)


NEVER_OPENS = BreakerRule(failures=1000)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Script = Callable[[Seen, socket.socket], bytes | None]


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """A well-formed reply; header names with underscores for hyphens."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Loopback:
    """`script(seen, connection)` returns the bytes to send, or None to close the connection at once."""

    script: Script
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Loopback:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # shutdown wakes the accepting thread; close alone would leave it waiting.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection:
            stream = connection.makefile("rb")
            with stream:
                while line := stream.readline():
                    method, target, _ = line.decode("latin-1").split(" ", 2)
                    headers: dict[str, str] = {}
                    while (header := stream.readline()) not in {b"\r\n", b""}:
                        name, _, value = header.decode("latin-1").partition(":")
                        headers[name.lower()] = value.strip()
                    seen = Seen(method, target, headers, stream.read(int(headers.get("content-length", "0"))))
                    self.seen.append(seen)
                    answer = self.script(seen, connection)
                    if answer is None:
                        return
                    connection.sendall(answer)


def client(limits: Limits = PATIENT, *, breaker: BreakerRule = NEVER_OPENS) -> Client:
    return Client(limits=limits, allow_private=True, clock=lambda: NOW, breaker=breaker)


def call(script: Script, *, writes: bool = False, **kw: object) -> Reply:
    limits = kw.pop("limits", PATIENT)
    assert isinstance(limits, Limits)
    with Loopback(script) as server, client(limits) as wire:
        return wire.send("POST" if writes else "GET", server.url + "/x", writes=writes, **kw)  # type: ignore[arg-type]


def answering(raw: bytes) -> Script:
    return lambda _seen, _connection: raw


def closing(raw: bytes) -> Script:
    def script(_seen: Seen, connection: socket.socket) -> None:
        connection.sendall(raw)

    return script
