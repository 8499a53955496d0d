"""The guarded client when the other side breaks, lies, hangs or points inside."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from domain.errors import ConfigError, RefusedError, RetryableError, UnknownOutcomeError
from tests.wire.loopback import NOW, PATIENT, QUICK, Loopback, Script, Seen, answering, call, client, closing, reply
from wire.auth import Bearer
from wire.breaker import BreakerRule
from wire.client import Client, Limits

# -- when the connection fails -----------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("writes", [False, True])
def test_not_connecting_is_always_again_later(writes: bool) -> None:
    with client() as wire, pytest.raises(RetryableError, match="connect_failed"):
        wire.send("POST", f"http://127.0.0.1:{free_port()}/", writes=writes)


@pytest.mark.parametrize("writes", [False, True])
def test_an_unknown_name_is_again_later(writes: bool) -> None:
    with client() as wire, pytest.raises(RetryableError, match="dns"):
        wire.send("POST", "http://nowhere.invalid/", writes=writes)


def hang(_seen: Seen, _connection: socket.socket) -> None:
    time.sleep(2)


BREAKS: list[tuple[str, Script]] = [
    ("read_timeout", hang),
    ("truncated", closing(b"")),
    ("truncated", closing(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 2500)),
    ("truncated", closing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")),
    ("truncated", closing(b"HTTP/1.1 200 OK\r\nContent-Le")),
    ("truncated", closing(b"SSH-2.0-OpenSSH\r\n\r\n")),
    ("truncated", closing(reply(200, gzip.compress(b"x" * 500, mtime=0)[:-9], Content_Encoding="gzip"))),
]


@pytest.mark.parametrize(("code", "script"), BREAKS)
def test_after_sending_a_read_is_repeated_and_a_write_is_looked_up(code: str, script: Script) -> None:
    with pytest.raises(RetryableError) as again:
        call(script, limits=QUICK)
    with pytest.raises(UnknownOutcomeError) as unknown:
        call(script, writes=True, content=b"{}", limits=QUICK)
    assert (again.value.code, unknown.value.code) == (code, code)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"])
def test_a_slow_drip_ends_with_the_total_time(start: bytes) -> None:
    def drip(_seen: Seen, connection: socket.socket) -> None:
        connection.sendall(start or b"H")
        for each in b"TTP/1.1 200 OK\r\nX: " + b"y" * 400:
            connection.sendall(bytes([each]))
            time.sleep(0.02)

    began = time.monotonic()
    with pytest.raises(RetryableError, match="read_timeout"):
        call(drip, limits=QUICK)
    assert time.monotonic() - began < 4


def test_a_status_that_decides_alone_survives_a_broken_body() -> None:
    with pytest.raises(ConfigError, match="credentials_refused"):
        call(closing(b"HTTP/1.1 401 X\r\nContent-Length: 500\r\n\r\nno"), writes=True)


# -- size and encoding of the body -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
        ("identity", lambda data: data),
    ],
)
def test_decodes_one_encoding(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    body = b"".join(b'{"order": %d}' % number for number in range(30_000))
    assert call(answering(reply(200, pack(body), Content_Encoding=encoding))).body == body


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", ", ".join(["gzip"] * 100)])
def test_refuses_other_encodings_and_several(encoding: str) -> None:
    with pytest.raises(RefusedError, match="encoding_refused"):
        call(answering(reply(200, gzip.compress(b"{}"), Content_Encoding=encoding)))


def test_refuses_a_body_that_is_not_what_it_says_or_goes_on_after_the_end() -> None:
    for body in (b"plain text", gzip.compress(b"{}") + b"more"):
        with pytest.raises(RefusedError, match="encoding_refused"):
            call(answering(reply(200, body, Content_Encoding="gzip")))


def test_a_bomb_costs_little_memory() -> None:
    bomb = gzip.compress(bytes(100 * 2**20), 9)
    assert len(bomb) < 110_000
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="decoded_too_large"):
            call(answering(reply(200, bomb, Content_Encoding="gzip")), limits=Limits())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 2**20


@pytest.mark.parametrize(
    "raw",
    [
        reply(200, b"x" * 2001),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 3,
        reply(200, gzip.compress(b"x" * 2001), Content_Encoding="gzip"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ],
)
def test_caps_the_body_however_it_is_framed(raw: bytes) -> None:
    with pytest.raises(RefusedError, match="decoded_too_large"):
        call(answering(raw), limits=Limits(max_bytes=2000))
    assert len(call(answering(reply(200, b"x" * 2000)), limits=Limits(max_bytes=2000)).body) == 2000


# -- redirects and addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_never_follows_a_redirect_so_credentials_stay_home(status: int) -> None:
    with Loopback(answering(reply())) as canary:
        with pytest.raises(RefusedError, match="redirect_refused"):
            call(answering(reply(status, b"", Location=canary.url + "/steal")), auth=Bearer("secret"))
        assert canary.connections == 0


def test_a_private_address_is_refused_unless_the_account_says_so() -> None:
    with Loopback(answering(reply())) as canary, Client(limits=PATIENT) as wire:
        for url in (canary.url, f"http://localhost:{canary.port}", f"http://[::ffff:127.0.0.1]:{canary.port}"):
            with pytest.raises(RefusedError, match="address_refused"):
                wire.send("GET", url, writes=False)
    assert canary.connections == 0


def test_connects_to_the_address_that_was_checked_and_asks_no_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[str] = []

    def flipping(host: str, port: int, **_: object) -> list[object]:
        answers.append(host)
        first = "127.0.0.1" if len(answers) == 1 else "10.255.255.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (first, port))]

    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: object, **kw: object) -> object:
        return flipping(host, port) if host == "shop.example" else real(host, port, *rest, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with Loopback(answering(reply())) as server, client() as wire:
        wire.send("GET", f"http://shop.example:{server.port}/x", writes=False)
    assert server.seen[0].headers["host"] == f"shop.example:{server.port}"
    assert answers == ["shop.example"]


# -- one host's share --------------------------------------------------------------------------------------------------


def test_a_hanging_host_holds_only_its_own_slots() -> None:
    limits = Limits(connect=0.1, read=1, total=1, per_host=2)
    release = threading.Event()

    def wait(_seen: Seen, _connection: socket.socket) -> bytes:
        release.wait(5)
        return reply()

    with (
        Loopback(wait) as slow,
        Loopback(answering(reply())) as good,
        client(limits) as wire,
        ThreadPoolExecutor(2) as pool,
    ):
        busy = [pool.submit(wire.send, "GET", slow.url, writes=False) for _ in range(2)]
        while len(slow.seen) < 2:
            time.sleep(0.005)
        with pytest.raises(RetryableError, match="host_busy"):
            wire.send("POST", slow.url, writes=True)
        assert wire.send("GET", good.url, writes=False).status == 200
        release.set()
        assert [each.result().status for each in busy] == [200, 200]


def test_the_breaker_opens_after_five_failures_and_probes_once() -> None:
    ticks = [0.0]
    broken = [True]

    def script(_seen: Seen, _connection: socket.socket) -> bytes:
        return reply(500 if broken[0] else 200)

    with (
        Loopback(script) as server,
        Client(limits=PATIENT, allow_private=True, clock=lambda: NOW, monotonic=lambda: ticks[0]) as wire,
    ):
        for _ in range(5):
            with pytest.raises(UnknownOutcomeError):
                wire.send("POST", server.url, writes=True)
        with pytest.raises(RetryableError, match="breaker_open") as caught:
            wire.send("POST", server.url, writes=True)
        assert caught.value.not_before == NOW + timedelta(seconds=10)
        assert len(server.seen) == 5
        ticks[0] = 10.1
        with pytest.raises(RetryableError, match="http_500"):
            wire.send("GET", server.url, writes=False)
        with pytest.raises(RetryableError, match="breaker_open") as caught:
            wire.send("GET", server.url, writes=False)
        assert caught.value.not_before == NOW + timedelta(seconds=20)
        assert len(server.seen) == 6
        ticks[0], broken[0] = 40.0, False
        assert wire.send("GET", server.url, writes=False).status == 200
        assert wire.send("GET", server.url, writes=False).status == 200


def test_while_a_probe_runs_nobody_else_tries() -> None:
    release = threading.Event()
    ticks = [0.0]

    def script(_seen: Seen, _connection: socket.socket) -> bytes:
        if ticks[0]:
            release.wait(5)
            return reply()
        return reply(500)

    rule = BreakerRule(failures=1, cool_down=1)
    with (
        Loopback(script) as server,
        Client(limits=Limits(), allow_private=True, monotonic=lambda: ticks[0], breaker=rule) as wire,
        ThreadPoolExecutor(1) as pool,
    ):
        with pytest.raises(RetryableError, match="http_500"):
            wire.send("GET", server.url, writes=False)
        ticks[0] = 2.0
        probe = pool.submit(wire.send, "GET", server.url, writes=False)
        while len(server.seen) < 2:
            time.sleep(0.005)
        with pytest.raises(RetryableError, match="breaker_open"):
            wire.send("GET", server.url, writes=False)
        release.set()
        assert probe.result().status == 200
        assert wire.send("GET", server.url, writes=False).status == 200


def test_client_errors_do_not_open_the_breaker() -> None:
    with Loopback(answering(reply(404))) as server, client(breaker=BreakerRule()) as wire:
        for _ in range(8):
            with pytest.raises(RefusedError, match="http_404"):
                wire.send("GET", server.url, writes=False)
    assert len(server.seen) == 8


def test_many_threads_share_one_client() -> None:
    with (
        Loopback(lambda seen, _: reply(200, seen.target.encode())) as server,
        client(Limits(per_host=8)) as wire,
        ThreadPoolExecutor(16) as pool,
    ):
        got = list(pool.map(lambda n: wire.send("GET", f"{server.url}/{n}", writes=False).body, range(200)))
    assert got == [b"/%d" % n for n in range(200)]
    assert server.connections <= 16
