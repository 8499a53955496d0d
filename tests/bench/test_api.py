"""The measurement of posts is itself right: small, through a real server, and it notices what was acknowledged and is not there."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.api import Run, bench_api, show_api, verify
from bench.posting import Work, build_request, post_apart, read_requests, write_requests
from pipeline.bootstrap import close_hub
from tests.api.house import open_house, order


def test_every_acknowledged_order_is_found() -> None:
    told = bench_api(orders=60, seed=1, database="", runs=1, steady_for=0.25)
    assert (told["good"], told["faults"]) == (True, [])
    assert told["orders"] >= 60 + 60 + 60 + 50
    assert min(told["value"], told["floor"], told["batch"], told["p50_ms"]) > 0
    assert any("0" in line and "acknowledged" in line for line in show_api(told))


def test_an_order_that_was_acknowledged_and_is_not_there_is_a_fault(sqlite_url: str, tmp_path: Path) -> None:
    house = open_house(sqlite_url, tmp_path)
    number = house.post(order("PO-1"), "k").json()["number"]
    house.app.state.intake.close()
    close_hub(house.hub)
    run = Run(house.hub.settings, {}, 1, told={"PO-1": number, "PO-2": "PA-9"})
    verify(run)
    assert run.faults == ["PO-2: acknowledged, not there"]


def test_a_partner_that_fails_says_why(tmp_path: Path) -> None:
    write_requests(tmp_path / "requests", [b"x"])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(RuntimeError, match=r"status 1(.|\n)*ConnectionRefusedError"):
            post_apart(Work(str(tmp_path / "requests"), port, 1))


def test_a_line_that_the_server_closed_while_it_was_idle_is_not_used_again(tmp_path: Path) -> None:
    """uvicorn closes a kept connection after five quiet seconds; here, as soon as it has answered."""
    write_requests(tmp_path / "requests", [build_request("/", "k", f"k{n}", b"{}") for n in range(3)])
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(answer_each_line_once, server, 3)
        done = post_apart(Work(str(tmp_path / "requests"), server.getsockname()[1], 3, rate=5.0))
    assert [status for status, _ in done.answers] == [200] * 3


def answer_each_line_once(server: socket.socket, count: int) -> None:
    lines = [server.accept()[0] for _ in range(count)]
    for line in reversed(lines):
        with line:
            line.recv(65_536)
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def test_requests_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    requests = [build_request("/v1/orders", "key", f"k{n}", b"{}" * n) for n in range(3)]
    write_requests(tmp_path / "requests", requests)
    assert read_requests(tmp_path / "requests") == requests
