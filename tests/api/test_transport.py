"""The wire itself (promises.md §4 rows 1-5, 8), against a real server on loopback."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from api.app import create_app
from api.heads import closing_slow_heads
from tests.api.house import House, encoded, order

CAP = 2**20
BIG = 10 * 2**20


@contextmanager
def serving(house: House, slow_after: float = 30.0, http: str = "httptools") -> Iterator[int]:
    """The API on a free port, as the hub serves it."""
    house.app.state.intake.close()
    house.app = create_app(house.hub, slow_after=slow_after)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        config = uvicorn.Config(house.app, log_level="error", access_log=False, server_header=False, http=http)
        server = uvicorn.Server(config)
        config.callback_notify = closing_slow_heads(lambda: server.server_state.connections, longest=slow_after)
        config.timeout_notify = 0
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(params=["httptools", "h11"])
def port(request: pytest.FixtureRequest, small_house: House) -> Iterator[int]:
    with serving(small_house, http=request.param) as number:
        yield number


def head(house: House, path: str = "/v1/orders", **headers: str) -> bytes:
    lines = {"Host": "hub", "Authorization": f"Bearer {house.keys['acme']}", "Idempotency-Key": "k"} | headers
    return (f"POST {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()


def talk(port: int, *pieces: bytes, finish: bool = False, timeout: float = 10.0) -> bytes:
    """Send and read to the end of the connection; a reset after the answer is an end too."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
        except OSError:
            pass
        if finish:
            line.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while block := line.recv(65536):
                answer += block
        except ConnectionError:
            pass
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def code(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["code"])


def test_a_good_order_passes_and_tells_no_server(small_house: House, port: int) -> None:
    body = encoded(order())
    answer = talk(port, head(small_house, **{"Content-Length": str(len(body)), "Connection": "close"}) + body)
    assert status(answer) == 201
    assert b"\r\nserver:" not in answer.lower()


def test_a_body_of_the_cap_and_one_byte_is_refused_and_closed(small_house: House, port: int) -> None:
    answer = talk(port, head(small_house, **{"Content-Length": str(CAP + 1)}), b" " * (CAP + 1))
    assert (status(answer), code(answer)) == (413, "body_too_large")
    assert b"connection: close" in answer.lower()
    many = talk(port, head(small_house, "/v1/orders:batch", **{"Content-Length": str(BIG + 1)}), b" " * (BIG + 1))
    assert status(many) == 413
    assert small_house.orders() == 0


def test_a_declared_giant_is_refused_unread(small_house: House, port: int) -> None:
    answer = talk(port, head(small_house, **{"Content-Length": str(10**12)}))
    assert (status(answer), code(answer)) == (413, "body_too_large")


def test_a_batch_may_be_larger_than_an_order(small_house: House, port: int) -> None:
    body = encoded({"orders": [order(f"PO-{n}", seller_memo="x" * 9000) for n in range(150)]})
    assert len(body) > CAP
    lengths = {"Content-Length": str(len(body)), "Connection": "close"}
    assert status(talk(port, head(small_house, "/v1/orders:batch", **lengths), body)) == 200


def test_a_body_cut_short_stores_nothing_and_uses_no_key_up(small_house: House, port: int) -> None:
    talk(port, head(small_house, **{"Content-Length": "10"}), b"1234", finish=True)
    assert small_house.orders() == 0
    assert small_house.post(order(), "k").status_code == 201


def test_an_endless_stream_is_refused_at_the_cap(small_house: House, port: int) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answer = talk(port, head(small_house, **{"Transfer-Encoding": "chunked"}), *[chunk] * 40)
    assert (status(answer), code(answer)) == (413, "body_too_large")


def test_two_lengths_are_one_too_many(small_house: House, port: int) -> None:
    both = {"Content-Length": "5", "Transfer-Encoding": "chunked"}
    answer = talk(port, head(small_house, **both), b"0\r\n\r\n")
    assert status(answer) == 400
    assert small_house.orders() == 0


def test_a_gzip_bomb_is_refused_small_and_fast(small_house: House, port: int) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    assert len(bomb) < 110_000
    headers = {"Content-Length": str(len(bomb)), "Content-Encoding": "gzip"}
    began = time.perf_counter()
    answer = talk(port, head(small_house, **headers), bomb)
    assert time.perf_counter() - began < 3.0
    assert (status(answer), code(answer)) == (413, "decoded_too_large")


def test_one_encoding_only(small_house: House, port: int) -> None:
    body = gzip.compress(encoded(order()))
    lengths = {"Content-Length": str(len(body)), "Connection": "close"}
    assert status(talk(port, head(small_house, **lengths, **{"Content-Encoding": "gzip"}), body)) == 201
    for encoding in ("gzip, gzip", "br", "deflate", "gzip,identity,gzip"):
        answer = talk(port, head(small_house, **lengths, **{"Content-Encoding": encoding}), body)
        assert (status(answer), code(answer)) == (415, "content_encoding")
    for broken in (body[:-5], body + b"x", b"not gzip"):
        lengths["Content-Length"] = str(len(broken))
        answer = talk(port, head(small_house, **lengths, **{"Content-Encoding": "gzip"}), broken)
        assert (status(answer), code(answer)) == (400, "broken_encoding")


def test_a_drip_is_closed_and_holds_nobody_up(small_house: House) -> None:
    with serving(small_house, slow_after=0.5) as port:
        lines = []
        for _ in range(100):
            line = socket.create_connection(("127.0.0.1", port), timeout=10)
            line.sendall(head(small_house, **{"Content-Length": "1000"}) + b"{")
            lines.append(line)
        body = encoded(order())
        good = head(small_house, **{"Content-Length": str(len(body)), "Connection": "close"}) + body
        assert status(talk(port, good)) == 201
        began = time.monotonic()
        for line in lines:
            answer = b""
            while block := line.recv(4096):
                answer += block
            line.close()
            assert (status(answer), code(answer)) == (408, "slow_body")
        assert time.monotonic() - began < 15
