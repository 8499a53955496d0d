"""A light partner in a process of its own: prebuilt requests over kept connections, one at a time on each, either as fast as
they are answered or at a steady rate. `python -m bench.posting` reads what to do as JSON from standard input and writes what
came of it to a file beside the requests."""

from __future__ import annotations

import asyncio
import json
import resource
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httptools
import orjson
import uvloop

_SIZE = struct.Struct(">I")
LOST = 599  # the connection ended before the answer
_SAID = 40  # lines
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Work:
    """Post the requests of a file to a port of this machine over so many connections. `rate`: requests per second whatever the
    answers do (open loop); 0: each connection sends when it was answered (closed loop)."""

    file: str
    port: int
    connections: int
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """`answers`: per request its status and the numbers of the orders it was told of; `milliseconds`: from when each should
    have been sent to its answer; `seconds`: from the first request to the last answer; `cpu`: seconds of this process."""

    answers: list[tuple[int, list[str]]]
    milliseconds: list[float]
    seconds: float
    cpu: float


def build_request(path: str, key: str, idempotency_key: str, body: bytes) -> bytes:
    """One request as it goes over the line."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nIdempotency-Key: {idempotency_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def write_requests(path: Path, requests: Sequence[bytes]) -> None:
    path.write_bytes(b"".join(_SIZE.pack(len(request)) + request for request in requests))


def read_requests(path: Path) -> list[bytes]:
    told, at, found = path.read_bytes(), 0, []
    while at < len(told):
        (size,) = _SIZE.unpack_from(told, at)
        at += _SIZE.size
        found.append(told[at : at + size])
        at += size
    return found


def post_apart(work: Work) -> Done:
    """Do the work in a process of its own. RuntimeError with what that process said when it failed."""
    command = [sys.executable, "-m", "bench.posting"]
    ran = subprocess.run(
        command, cwd=_ROOT, input=json.dumps(asdict(work)), capture_output=True, text=True, check=False, timeout=600
    )
    if ran.returncode:
        said = "\n".join(ran.stderr.strip().splitlines()[-_SAID:])
        raise RuntimeError(f"bench.posting ended with status {ran.returncode} after {work}:\n{said}")
    return Done(**json.loads(_told_in(work).read_bytes()))


def _told_in(work: Work) -> Path:
    """The file that says what came of some work: more than a pipe holds at once."""
    return Path(f"{work.file}.done")


class _Post:
    """All requests, who waits and who is idle."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests = requests
        self.waiting: deque[int] = deque()
        self.idle: list[_Line] = []
        self.intended = [0.0] * len(requests)
        self.ended = [0.0] * len(requests)
        self.answers: list[tuple[int, bytes]] = [(LOST, b"")] * len(requests)
        self.left = len(requests)
        self.alive = 0
        self.done = asyncio.Event()

    def arrive(self, index: int) -> None:
        if self.idle:
            self.idle.pop().post(index)
        else:
            self.waiting.append(index)

    def answered(self, line: _Line, index: int, status: int, body: bytes) -> None:
        self.ended[index] = time.perf_counter()
        self.answers[index] = (status, body)
        self.left -= 1
        if not self.left:
            self.done.set()
        elif status == LOST:
            return
        elif self.waiting:
            line.post(self.waiting.popleft())
        else:
            self.idle.append(line)

    def lost(self, line: _Line) -> None:
        """A line that ended: a server closes one that was quiet for too long. The others go on."""
        self.alive -= 1
        if line in self.idle:
            self.idle.remove(line)
        if not self.alive:
            self.done.set()


class _Line(asyncio.Protocol):
    def __init__(self, whole: _Post) -> None:
        self._whole = whole
        self._index = -1
        self._body = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def post(self, index: int) -> None:
        self._index, self._body = index, b""
        self._whole.intended[index] = self._whole.intended[index] or time.perf_counter()
        self._transport.write(self._whole.requests[index])

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        index, self._index = self._index, -1
        self._whole.answered(self, index, self._parser.get_status_code(), self._body)

    def connection_lost(self, _: Exception | None) -> None:
        self._whole.lost(self)
        if self._index >= 0:
            self._whole.answered(self, self._index, LOST, b"")

    def close(self) -> None:
        self._transport.close()


async def _run(work: Work) -> Done:
    whole = _Post(read_requests(Path(work.file)))
    loop = asyncio.get_running_loop()
    lines = [
        (await loop.create_connection(lambda: _Line(whole), "127.0.0.1", work.port))[1] for _ in range(work.connections)
    ]
    whole.idle, whole.alive = list(lines), len(lines)
    began, cpu = time.perf_counter(), _cpu()
    if work.rate:
        whole.intended = [began + index / work.rate for index in range(len(whole.requests))]
        for index, at in enumerate(whole.intended):
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            whole.arrive(index)
    else:
        for index in range(len(whole.requests)):
            whole.arrive(index)
    await whole.done.wait()
    cpu = _cpu() - cpu
    for line in lines:
        line.close()
    return Done(
        answers=[(status, _numbers(body) if status < 300 else []) for status, body in whole.answers],
        milliseconds=[round((end - start) * 1000, 3) for start, end in zip(whole.intended, whole.ended, strict=True)],
        seconds=max(max(whole.ended) - began, 0.0),
        cpu=cpu,
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _numbers(body: bytes) -> list[str]:
    told = orjson.loads(body)
    results = [entry.get("order") or {} for entry in told["results"]] if "results" in told else [told]
    return [receipt["number"] for receipt in results if receipt.get("number")]


def main() -> None:
    """Do the work that standard input tells of."""
    work = Work(**json.load(sys.stdin))
    _told_in(work).write_bytes(orjson.dumps(uvloop.run(_run(work))))


if __name__ == "__main__":
    main()
