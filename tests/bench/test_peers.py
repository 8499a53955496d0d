"""The measuring beside Tryton and Vendure: everything that can be tested without them. The run itself installs both."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench import intake, tryton
from bench.peers import INTAKE_BAR, LIFE_BAR, Pair, address_of, attempt, build_report, by_turns, compare, show_peers
from bench.postgres import own_database
from bench.processes import cpu_seconds, running, wait_until
from bench.tryton_rpc import Session, TrytonError, build_call, read_result
from bench.vendure import Line
from sandbox.live.shop import ShopError, available
from tests.postgres import Server
from tests.wire.loopback import Loopback, reply

CPU = {"cpu_ms_ours": 1.0, "cpu_ms_theirs": 9.0}
BULK = {"value": 3000.0, "floor": 500.0, "ratio": 6.0, "bar": INTAKE_BAR, "good": True} | CPU
LIFE = {"value": 500.0, "floor": 15.0, "ratio": 33.3, "bar": LIFE_BAR, "good": True} | CPU


# --- Tryton's words --------------------------------------------------------------------------------------------------


def test_values_come_back_from_tryton_as_they_went() -> None:
    values = [Decimal("44.90"), datetime(2026, 11, 22, 3, 4, 5, 6), date(2026, 11, 22), {"a": [1, None, "x"]}]  # noqa: DTZ001
    sent = json.loads(build_call("model.sale.sale.create", values, {"company": 1}))
    assert (sent["method"], sent["params"][1]) == ("model.sale.sale.create", {"company": 1})
    assert sent["params"][0][0] == {"__class__": "Decimal", "decimal": "44.90"}
    assert sent["params"][0][2] == {"__class__": "date", "year": 2026, "month": 11, "day": 22}
    assert read_result(200, json.dumps({"id": 0, "result": sent["params"][0]}).encode()) == values


def test_a_value_that_tryton_has_no_word_for_is_not_sent() -> None:
    with pytest.raises(TypeError, match="no tag for set"):
        build_call("model.sale.sale.create", {1})


def test_an_error_inside_a_200_is_an_error() -> None:
    with pytest.raises(TrytonError, match="not allowed"):
        read_result(200, b'{"id": 0, "error": ["UserError", ["You are not allowed"]]}')
    with pytest.raises(TrytonError, match="answered 401"):
        read_result(401, b"<html>")


def test_a_session_goes_with_every_call_of_a_model() -> None:
    results: list[Any] = [[3, "token", None], {"company": 1}, [7, 8]]
    server = Loopback(lambda _seen, _connection: reply(200, json.dumps({"result": results.pop(0)}).encode()))
    with server, closing(Session(server.port, "erp")) as session:
        session.login("admin", "secret")
        assert session.find("sale.sale", ["state", "=", "draft"]) == [7, 8]
    last = server.seen[-1]
    assert last.target == "/erp/rpc/"
    assert last.headers["authorization"] == "Session YWRtaW46Mzp0b2tlbg=="
    assert json.loads(last.body)["params"][-1] == {"company": 1}


def test_tryton_gets_the_same_order_as_the_hub() -> None:
    ids = {"party": 2, "address": 3, "company": 1, "currency": 5, "unit": 6}
    erp = tryton.Erp(0, (), Session(0, "erp"), ids, {f"X-{number}": 1000 + number for number in range(500)})
    order = json.loads(intake.documents(1, 1, 7)[0])
    sale = tryton.build_sale(erp, order)
    ((word, lines),) = sale["lines"]
    assert (word, sale["reference"], len(lines)) == ("create", order["external_id"], intake.LINES)
    assert [(f"X-{line['product'] - 1000}", line["quantity"], str(line["unit_price"])) for line in lines] == [
        (line["sku"], line["quantity"], line["unit_price"]) for line in order["lines"]
    ]


def test_what_is_installed_is_pinned() -> None:
    text = tryton.LOCK.read_text("utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==([^ ]+) ", text, re.MULTILINE))
    assert pins["trytond"].startswith("8.2.")
    wanted = tryton.LOCK.with_suffix(".in").read_text("utf-8").split()
    assert {re.split(r"[~=\[]", name)[0] for name in wanted} <= set(pins)


# --- a shop's words --------------------------------------------------------------------------------------------------


def test_a_refusal_inside_a_shops_200_is_an_error() -> None:
    answers = [
        (b'{"data": {"addItem": {"id": "1"}}}', {"Vendure_Auth_Token": "guest-1"}),
        (b'{"data": {"pay": {"errorCode": "NO_ORDER", "message": "none"}}}', {}),
        (b'{"errors": [{"message": "FORBIDDEN"}], "data": null}', {}),
    ]
    server = Loopback(lambda _seen, _connection: reply(200, answers[0][0], **answers.pop(0)[1]))
    with server, closing(Line(f"{server.url}/shop-api")) as line:
        assert line.call("mutation") == {"addItem": {"id": "1"}}
        with pytest.raises(ShopError, match="NO_ORDER"):
            line.call("mutation")
        with pytest.raises(ShopError, match="FORBIDDEN"):
            line.call("mutation")
    assert [seen.headers.get("authorization") for seen in server.seen] == [None, "Bearer guest-1", "Bearer guest-1"]
    assert server.connections == 1


# --- arithmetic and report -------------------------------------------------------------------------------------------


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    seen: list[str] = []

    def side(name: str, rate: float) -> Callable[[int], float]:
        def take(turn: int) -> float:
            seen.append(f"{name}{turn}")
            return rate + turn

        return take

    pairs = by_turns(3, side("p", 10), side("o", 100))
    assert seen == ["o0", "p0", "p1", "o1", "o2", "p2", "p3", "o3"]
    assert pairs == [Pair(11, 101), Pair(12, 102), Pair(13, 103)]


def test_figures_are_medians_with_the_ratio_of_every_round() -> None:
    told = compare([Pair(500, 3000), Pair(100, 400), Pair(510, 2900)])
    assert told == {"value": 2900, "floor": 500, "ratio": 5.8, "ratios": [6.0, 4.0, 5.69]}


def test_good_is_what_was_measured_on_both_sides_and_above_both_bars() -> None:
    told = build_report(BULK, LIFE, "")
    assert (told["good"], told["skipped"], told["database"]) == (True, [], "sqlite")
    assert (told["value"], told["floor"], told["ratio"]) == (3000.0, 500.0, 6.0)
    assert not build_report(BULK | {"good": False}, LIFE, "")["good"]
    assert not build_report(BULK, {"faults": ["vendure: gone"], "good": False}, "")["good"]


def test_a_peer_that_is_not_there_is_skipped_with_its_reason_and_never_good() -> None:
    told = build_report({"skipped": "no network", "good": False}, LIFE, "postgresql+psycopg://u:p@h/d")
    assert (told["good"], told["value"], told["skipped"]) == (False, None, ["tryton: no network"])
    assert told["database"] == "postgresql+psycopg"
    lines = "\n".join(show_peers(told))
    assert "tryton: skipped: no network" in lines
    assert "Vendure: whole life cycle" in lines


def test_the_table_shows_rates_ratios_and_bars() -> None:
    head, bulk, single, life = show_peers(build_report(BULK | {"single": BULK}, LIFE, ""))
    assert head.split()[-6:] == ["ratio", "bar", "hub", "cpu", "ms", "peer"]
    assert bulk.split()[-6:] == ["3,000.0", "500.0", "6.0", "5", "1.00", "9.00"]
    assert single.startswith("Tryton: intake, one order a call")
    assert life.split()[-4:] == ["33.3", "25", "1.00", "9.00"]


def _never() -> Any:
    raise AssertionError("a peer that cannot run was touched")


def _fail(fault: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise fault

    return fail


def test_nothing_is_installed_where_node_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    told = attempt("vendure", available, _never, _never)
    assert not told["good"]
    assert "node is not installed" in told["skipped"]


def test_without_a_network_the_reason_is_one_line() -> None:
    fault = TrytonError("pip ended with 1:\n  no\n  route")
    told = attempt("tryton", lambda: None, _fail(fault), _never)
    assert told == {"skipped": "it could not be installed: pip ended with 1: no route", "good": False}


def test_a_peer_that_fails_while_it_is_measured_is_a_fault_and_no_skip() -> None:
    told = attempt("vendure", lambda: None, lambda: None, _fail(ShopError("the shop ended")))
    assert told == {"faults": ["vendure: the shop ended"], "good": False}


def test_an_installation_that_fails_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryton, "find_binaries", lambda: tmp_path)
    with pytest.raises(TrytonError, match="postgres"):
        tryton.prepare(tmp_path / "tryton")
    assert not (tmp_path / "tryton").exists()


# --- processes and posts ---------------------------------------------------------------------------------------------


def test_a_process_ends_with_its_block_whatever_happens(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    log = tmp_path / "log"
    started: list[subprocess.Popen[bytes]] = []

    def break_down() -> None:
        with running(command, folder=tmp_path, environment=os.environ, log=log) as process:
            started.append(process)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        break_down()
    assert started[0].poll() is not None


def test_a_server_that_dies_at_once_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such database')"]
    log = tmp_path / "log"
    with running(command, folder=tmp_path, environment=os.environ, log=log) as process:
        wrong = wait_until(lambda: False, process, log, seconds=30)
    assert wrong == "it ended with status 1: no such database"


def test_processor_time_counts_children_too() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    before = cpu_seconds([os.getpid()])
    child = subprocess.Popen([sys.executable, "-c", burn])
    try:
        end = time.monotonic() + 60
        while cpu_seconds([child.pid]) < 0.2 and child.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        child.wait()
    assert cpu_seconds([os.getpid()]) - before >= 0.2


def test_every_post_is_sent_once_and_its_answer_kept_in_its_place() -> None:
    with Loopback(lambda seen, _connection: reply(200, seen.body)) as server:
        target = intake.Target(server.port, "/rpc/", {"x-side": "peer"})
        posts = [intake.Post(str(number).encode(), {"x-number": str(number)}) for number in range(20)]
        sent = intake.send_all(target, posts, clients=3)
    assert sent.answers == [(200, str(number).encode()) for number in range(20)]
    assert sorted(int(seen.headers["x-number"]) for seen in server.seen) == list(range(20))
    assert {seen.headers["x-side"] for seen in server.seen} == {"peer"}
    assert sent.seconds > 0


def test_a_connection_that_breaks_is_told() -> None:
    with Loopback(lambda _seen, _connection: None) as server, pytest.raises(OSError):
        intake.send_all(intake.Target(server.port, "/", {}), [intake.Post(b"x", {})] * 4)


def test_the_hub_that_is_measured_stores_what_it_acknowledged(tmp_path: Path) -> None:
    with intake.serving_hub(tmp_path, "") as door:
        rate, faults = intake.post_to_hub(door, intake.documents(20, 1, 0), 10)
        again, missed = intake.post_to_hub(door, intake.documents(2, 1, 20), 1)
        assert (faults, missed, intake.count_in_hub(door)) == ([], [], 22)
        wrong = [json.dumps({"external_id": f"PO-{number}"}).encode() for number in (91, 92)]
        assert intake.post_to_hub(door, wrong, 2)[1][0].startswith("hub: 2 of 2 not stored")
    assert min(rate, again) > 0


def test_the_hub_measures_in_a_database_of_its_own(pg_server: Server) -> None:
    plain = pg_server.url("postgres").replace("postgresql+psycopg://", "postgresql://")
    with own_database(address_of("postgresql", pg_server)) as url:
        assert url != pg_server.url("postgres")
        with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://")) as connection:
            row = connection.execute("select current_database()").fetchone()
        assert row
        assert row[0].startswith("hub_bench_")
    with psycopg.connect(plain) as connection:
        assert not connection.execute("select 1 from pg_database where datname = %s", row).fetchall()
    with own_database(address_of("", pg_server)) as none:
        assert none == ""
