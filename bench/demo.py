"""The demo: a sandbox on free loopback ports, this hub beside it, orders until quiet, then both ends' ledgers compared.

It proves, it does not trust: what it prints comes from the other side's own ledger and the hub's stored rows."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import uvicorn

import scheduler
from api.app import create_app
from domain.errors import ConfigError
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.reconcile import is_quiet
from pipeline.settings import Settings
from pipeline.views import list_exceptions
from sandbox import Running
from sandbox import start as start_sandbox

from .ledgers import ACCOUNTS, Report, call, compare, get
from .postgres import server_pids
from .processes import answers, cpu_of, cpu_seconds, free_port, running_hub, wait_until

# What the largest plan allows, and far more than these machines ask for: whoever measures the hub must not measure a plan.
SHOPIFY_POINTS, ANY_POINTS = 2_000.0, 1_000_000.0
_LONGEST = {"none": 120.0, "some": 300.0, "storm": 600.0}
_SETTLED = 3.0
_READY_SECONDS = 30.0
_LOOK = 0.1
# What has a process of its own, besides the API: Python uses one core a process.
_APART = (("dispatch", "news"), ("absorb",))
# On PostgreSQL what talks to one account or warehouse shares its limits, and a worker does all of it.
_APART_SHARED = (("pull", "dispatch", "news", "stock"), ("absorb",))


def demo_settings(folder: Path, database: str) -> Settings:
    """Fast polls and retries: the other side is on this machine and its storms last seconds, not hours. Large batches: nobody
    posts beside them who would wait for a turn at writing."""
    return Settings(
        data_folder=folder,
        database_url=database,
        poll_seconds=1.0,
        senders=8,
        first_look_back_seconds=600,
        retry_scale=0.004,
        stock_seconds=5,
        news_seconds=8,
        console_open=True,
        batch=500,
    )


def run_demo(
    *,
    orders: int,
    seed: int,
    faults: str,
    mix: str = "full",
    database: str = "",
    folder: Path | None = None,
    tempo: float = 1.0,
    apart: bool = False,
    points: float = SHOPIFY_POINTS,
) -> Report:
    """Run once and compare. `database` "" uses a SQLite file in `folder` (a temporary one by default); `tempo` below 1 makes
    the buyers' pauses shorter, and the wait at the end; `apart` runs the API, the sendings and absorbing in processes of their own;
    `points` a second are what the Shopify shop allows.

    `seconds` of the report: from just before the first order is placed at its channel to the moment when nothing moves any
    more and nothing moves afterwards: every order pulled, checked, decided, pushed, shipped, its news absorbed, its tracking
    number told to the channel and the answer committed. Starting and ending of processes and the comparison of the ledgers are
    outside. `cpu_ms_per_order` is what each process used between the same two moments, `database` what all processes of a
    PostgreSQL server did that was started for it."""
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-demo-")))
        box = stack.enter_context(
            start_sandbox(seed=seed, faults=faults, mix=mix, tempo=tempo, news_batch=20, shopify_restore=points)
        )
        hub = open_hub(demo_settings(place, database))
        stack.callback(close_hub, hub)
        configure(hub, box)
        started: dict[str, int] = {}
        port = stack.enter_context(serving_apart(hub, started) if apart else serving(hub))
        call(box, "hub", introduction(box, port))
        theirs = [job for jobs in _split(hub) for job in jobs] if apart else []
        runner = scheduler.start(hub, [job.name for job in scheduler.JOBS if job.name not in theirs])
        stack.callback(runner.stop)
        began = time.monotonic()
        pids = {
            "house" if apart and hub.shared else "pull, stock, house": os.getpid(),
            "sandbox": box.process.pid,
            **started,
        }
        used = partial(_used, pids, server_pids(database))
        before = used()
        place_orders(box, orders, seed)
        report, quiet = _until_accounted(hub, box, orders, used, end=began + _LONGEST[faults], settled=_SETTLED * tempo)
        report.seconds = round(quiet.at - began, 2)
        report.orders_per_second = round(orders / report.seconds, 1)
        report.cpu_ms_per_order = _per_order(before, quiet.cpu, orders)
        report.faults += _failing(hub) if faults == "none" else []
        return report


def _failing(hub: Hub) -> list[str]:
    """What is open about connections that cannot be read: webhooks may have brought their orders all the same."""
    return [f"{row['code']}: {row['detail']}" for row in list_exceptions(hub, code="connection_failing").rows]


def _per_order(before: Mapping[str, float], after: Mapping[str, float], orders: int) -> dict[str, float]:
    """Milliseconds of each process, of those that are still there, and of all."""
    spent = {name: round((after[name] - before[name]) * 1000 / max(1, orders), 3) for name in before if name in after}
    return spent | {"all": round(sum(spent.values()), 3)}


def configure(hub: Hub, box: Running, urls: Mapping[str, str] = MappingProxyType({})) -> None:
    """Two shops, the sandbox's warehouses, its catalogue as listings and stock. `urls`: other addresses, by the names of the
    channels and the codes of the warehouses."""
    rows = get(box, "catalog")["rows"]
    apply_values(
        hub,
        {
            "warehouses": [warehouse(box, w, urls.get(w["code"], box.qimen["url"])) for w in box.qimen["warehouses"]],
            "accounts": [
                {
                    "name": ACCOUNTS["taobao"],
                    "channel": "taobao",
                    "options": {"look_back_seconds": 15},
                    "settings": {
                        "base_url": urls.get("taobao", box.taobao["url"]),
                        "app_key": box.taobao["app_key"],
                        "app_secret": box.taobao["app_secret"],
                        "session": box.taobao["session"],
                        "calls_per_second": 5000,
                        "page_size": 100,
                        "batch": 20,
                        "allow_private": True,
                    },
                },
                {
                    "name": ACCOUNTS["shopify"],
                    "channel": "shopify",
                    "options": {"look_back_seconds": 15},
                    "settings": {
                        "base_url": urls.get("shopify", box.shopify["url"]),
                        "token": box.shopify["token"],
                        "webhook_secret": box.shopify["webhook_secret"],
                        "page_size": 100,
                        "batch": 50,
                        "allow_private": True,
                    },
                },
            ],
            "listings": [entry for row in rows for entry in _listings(row)],
            "stock": [
                {"warehouse": code.lower(), "sku": row["sku"], "on_hand": units}
                for row in rows
                for code, units in row["stock"].items()
            ],
        },
    )


def place_orders(box: Running, orders: int, seed: int) -> None:
    """Two thirds on the first channel, the rest on the second."""
    first = orders * 2 // 3
    for channel, count in (("taobao", first), ("shopify", orders - first)):
        if count:
            call(box, "place", {"channel": channel, "count": count, "seed": seed})


@contextlib.contextmanager
def serving(hub: Hub, port: int = 0) -> Iterator[int]:
    """The hub's API on a loopback port, in a thread of this process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        config = uvicorn.Config(
            create_app(hub), log_level="warning", access_log=False, server_header=False, lifespan="on"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name="api")
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(10)


def _split(hub: Hub) -> tuple[tuple[str, ...], ...]:
    return _APART_SHARED if hub.shared else _APART


@contextlib.contextmanager
def serving_apart(hub: Hub, started: dict[str, int]) -> Iterator[int]:
    """The hub's API in a second process and its sendings in a third, on the same database; they die with this one. `started`
    gets their process ids by name."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running_hub(hub.settings, "serve", "--jobs", "none", "--port", str(port)))
        started["api"] = process.pid
        for jobs in _split(hub):
            worker = stack.enter_context(running_hub(hub.settings, "work", "--jobs", ",".join(jobs)))
            started[", ".join(jobs)] = worker.pid
        wrong = wait_until(lambda: answers(port), process, None, seconds=_READY_SECONDS)
        if wrong:
            raise ConfigError("api_not_ready", wrong)
        yield port


@dataclass(frozen=True, slots=True)
class _Quiet:
    """Since when nothing moves (monotonic seconds), and what every process had used by then."""

    at: float
    cpu: Mapping[str, float]


def _until_accounted(
    hub: Hub, box: Running, orders: int, used: Callable[[], dict[str, float]], *, end: float, settled: float
) -> tuple[Report, _Quiet]:
    """Wait until nothing moves and everything is accounted for, or the time is up; says since when nothing moved."""
    quiet: _Quiet | None = None
    while time.monotonic() < end:
        time.sleep(_LOOK)
        if not is_quiet(hub):
            quiet = None
            continue
        quiet = quiet or _Quiet(time.monotonic(), used())
        if time.monotonic() - quiet.at <= settled:
            continue  # comparing costs more than what is measured, and would be in vain
        report = compare(hub, box)
        placed = sum(told.placed for told in report.channels.values())
        if report.good and placed >= orders:
            return report, quiet
        time.sleep(0.5)
    return compare(hub, box), _Quiet(time.monotonic(), used())


def _used(pids: Mapping[str, int], server: Sequence[int]) -> dict[str, float]:
    """What every process has used, and what the database server's together."""
    return cpu_by_name(pids) | ({"database": cpu_seconds(server)} if server else {})


def cpu_by_name(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system seconds each of these processes alone has used since it started; nothing for one that is gone."""
    return {name: used for name, pid in pids.items() if (used := cpu_of(pid)) is not None}


def introduction(box: Running, port: int) -> dict[str, Any]:
    return {
        "url": f"http://127.0.0.1:{port}",
        "taobao_account": ACCOUNTS["taobao"],
        "shopify_account": ACCOUNTS["shopify"],
        "warehouses": {w["code"]: w["code"].lower() for w in box.qimen["warehouses"]},
        "webhooks": True,
    }


def warehouse(box: Running, told: Mapping[str, Any], url: str = "") -> dict[str, Any]:
    """A warehouse of the sandbox as the hub is told of it."""
    return {
        "name": told["code"].lower(),
        "kind": "qimen",
        "settings": {
            "base_url": url or box.qimen["url"],
            "app_key": box.qimen["app_key"],
            "secret": box.qimen["secret"],
            "customer_id": box.qimen["customer_id"],
            "owner_code": box.qimen["owner_code"],
            "warehouse_code": told["code"],
            "sender": {
                "name": told["contact"],
                "mobile": told["phone"],
                "province": told["province"],
                "city": told["city"],
                "area": told["district"],
                "address": told["address"],
            },
            "repeats": "unsafe" if told["kind"] == "unsafe" else "keyed" if told["kind"] == "keyed" else "findable",
            "calls_per_second": 5000,
            "batch": 50,
            "allow_private": True,
        },
        "info": {"country": "CN", "carriers": ["SF", "ZTO", "YTO"]},
    }


def _listings(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"account": ACCOUNTS["taobao"], "external_sku": row["taobao"]["outer_sku_id"], "sku": row["sku"]}
    yield {"account": ACCOUNTS["shopify"], "external_sku": row["shopify"]["sku"], "sku": row["sku"]}
