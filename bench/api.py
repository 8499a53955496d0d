"""`hub.py bench api`: posts over HTTP, each answered only after its commit. `hub.py serve` runs as its own process, so does the
partner; the floor is a bare application on the same server that inserts the same rows, by turns in the same run. Afterwards
every order that was acknowledged is looked for in the database, under the number that was told, once."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from domain.errors import ConfigError
from pipeline.access import make_key
from pipeline.apply import apply_values
from pipeline.bootstrap import close_hub, open_hub
from pipeline.settings import Settings
from storage.database import open_engine

from . import goods
from .postgres import own_database
from .posting import Done, Work, build_request, post_apart, write_requests
from .processes import answers, cpu_seconds, free_port, running, running_hub, wait_until

CLIENTS = 32
RATE = 200.0
_STEADY_CLIENTS = 64
_STEADY_SECONDS = 10.0
_BATCHES = (50, 500)
_WARM = 300
_ROOT = Path(__file__).parents[1]
_READY_SECONDS = 30.0
_OWN = ("inbox", "orders", "idempotency")
_OF_ORDER = ("order_lines", "fulfilments", "outbox", "exceptions", "decisions", "events")


@dataclass(slots=True)
class Run:
    """One run: its database, keys by account, what was posted and what was acknowledged (numbers by external id)."""

    settings: Settings
    keys: Mapping[str, str]
    seed: int
    placed: int = 0
    told: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Side:
    """A served address and its process."""

    port: int
    process: subprocess.Popen[bytes]


def bench_api(
    *, orders: int, seed: int, database: str, processes: int = 1, runs: int = 3, steady_for: float = _STEADY_SECONDS
) -> dict[str, Any]:
    """Measure `runs` times `orders` single posts of hub and floor by turns, then batches, then single posts at a steady rate.
    So many `processes` serve; `cpu_ms` is processor time of them all (without their database's) per single post, `batch_cpu_ms`
    that per order of a batch."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-bench-")))
        run, bare = _configure(stack, folder, database, seed)
        hub = stack.enter_context(_serving_hub(run.settings, processes))
        floor = stack.enter_context(_serving_floor(bare))
        singles = _by_turns(run, hub, floor, folder, orders, runs)
        batched, batch_cpu = _batches(run, hub, folder, orders)
        os.sync()  # what the stages before wrote at full speed is not on its way to the disk any more
        steady = _singles(run, hub, folder, int(RATE * steady_for), rate=RATE)
        verify(run)
    value, least = statistics.median(singles["value"]), statistics.median(singles["floor"])
    sorted_ms = sorted(steady.milliseconds)
    return {
        "bench": "api",
        "unit": "orders/s",
        "value": round(value, 1),
        "floor": round(least, 1),
        "ratio": round(value / least, 3),
        "batch": round(batched, 1),
        "batch_cpu_ms": round(batch_cpu, 3),
        "p50_ms": round(sorted_ms[len(sorted_ms) // 2], 2),
        "p99_ms": round(sorted_ms[len(sorted_ms) * 99 // 100], 2),
        "max_ms": round(sorted_ms[-1], 2),
        "cpu_ms": round(statistics.median(singles["cpu_ms"]), 3),
        "floor_cpu_ms": round(statistics.median(singles["floor_cpu_ms"]), 3),
        "client_cpu_ms": round(statistics.median(singles["client_cpu_ms"]), 3),
        "orders": len(run.told),
        "clients": CLIENTS,
        "processes": processes,
        "rate": RATE,
        "database": run.settings.url.split(":", 1)[0],
        "faults": run.faults[:20],
        "good": not run.faults,
    }


def show_api(told: Mapping[str, Any]) -> list[str]:
    """The figures as lines of a table."""
    rows = [
        (f"single posts, {told['clients']} clients", f"{told['value']:,.0f} /s", f"{told['cpu_ms']:.2f} ms CPU each"),
        ("  the floor", f"{told['floor']:,.0f} /s", f"{told['floor_cpu_ms']:.2f} ms CPU each; ratio {told['ratio']}"),
        (
            "orders in batches of 50 to 500",
            f"{told['batch']:,.0f} /s",
            f"{told['batch_cpu_ms']:.2f} ms CPU each; 2 clients",
        ),
        (f"single posts at {told['rate']:.0f} /s", f"{told['p50_ms']} ms p50", f"{told['p99_ms']} ms p99"),
        (
            "acknowledged and not there, or twice",
            str(len(told["faults"])),
            f"of {told['orders']:,}, {told['database']}",
        ),
    ]
    return [f"{name:<40} {value:>14}   {note}" for name, value, note in rows]


def _by_turns(run: Run, hub: Side, floor: Side, folder: Path, orders: int, runs: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ("value", "floor", "cpu_ms", "floor_cpu_ms", "client_cpu_ms")}
    for turn in range(runs + 1):
        count = orders if turn else min(orders, _WARM)
        first, used = run.placed, cpu_seconds([hub.process.pid])
        mine = _singles(run, hub, folder, count)
        used = cpu_seconds([hub.process.pid]) - used
        _hand_over(run, first, floor, folder / "rows")
        spent = cpu_seconds([floor.process.pid])
        bare = _post(floor, folder, _requests(run, first, count), CLIENTS)
        spent = cpu_seconds([floor.process.pid]) - spent
        if any(status != 201 for status, _ in bare.answers):
            raise RuntimeError("the floor failed")
        if turn:  # the first turn warms up
            found["value"].append(count / mine.seconds)
            found["floor"].append(count / bare.seconds)
            found["cpu_ms"].append(1000 * used / count)
            found["floor_cpu_ms"].append(1000 * spent / count)
            found["client_cpu_ms"].append(1000 * mine.cpu / count)
    return found


def _singles(run: Run, hub: Side, folder: Path, count: int, *, rate: float = 0.0) -> Done:
    """Post new orders one by one; what was acknowledged is remembered."""
    first = run.placed
    run.placed += count
    done = _post(hub, folder, _requests(run, first, count), _STEADY_CLIENTS if rate else CLIENTS, rate)
    for number, (status, numbers) in zip(range(first, first + count), done.answers, strict=True):
        _note(run, [_name(number)], status, numbers)
    return done


def _batches(run: Run, hub: Side, folder: Path, count: int) -> tuple[float, float]:
    """Orders per second in batches of sizes drawn at random, two at a time, and milliseconds of processor time per order."""
    draw, sizes = Random(run.seed), [_BATCHES[0]]
    while sum(sizes) < count:
        sizes.append(draw.randint(*_BATCHES))
    requests, groups = [], []
    for size in sizes:
        documents = list(goods.documents(size * goods.ACCOUNTS, run.seed, first=run.placed))[:: goods.ACCOUNTS]
        account, names = documents[0][0], [name for _, name, _ in documents]
        run.placed += size * goods.ACCOUNTS
        body = b'{"orders":[' + b",".join(each for *_, each in documents) + b"]}"
        requests.append(build_request("/v1/orders:batch", run.keys[account], f"batch-{names[0]}", body))
        groups.append(names)
    used = cpu_seconds([hub.process.pid])
    done = _post(hub, folder, requests, 2)
    used = cpu_seconds([hub.process.pid]) - used
    for names, (status, numbers) in zip(groups, done.answers, strict=True):
        _note(run, names, status, numbers)
    run.placed = int(groups[-1][-1].removeprefix("PO-")) + goods.ACCOUNTS
    return sum(sizes) / done.seconds, 1000 * used / sum(sizes)


def _requests(run: Run, first: int, count: int) -> list[bytes]:
    return [
        build_request("/v1/orders", run.keys[account], f"single-{name}", body)
        for account, name, body in goods.documents(count, run.seed, first=first)
    ]


def _name(number: int) -> str:
    return f"PO-{number:09d}"


def _note(run: Run, names: Sequence[str], status: int, numbers: Sequence[str]) -> None:
    if status not in {200, 201} or len(numbers) != len(names):
        run.faults.append(f"{names[0]}: answered {status} with {len(numbers)} numbers for {len(names)} orders")
    for name, number in zip(names, numbers, strict=False):
        run.told[name] = number


def verify(run: Run) -> None:
    """Every acknowledged order is stored under its number, and nothing is stored twice."""
    engine = open_engine(run.settings.url, pool=1)
    with engine.begin() as tx:
        rows = tx.exec_driver_sql("select external_id, number from orders").all()
    engine.dispose()
    stored: dict[str, str] = {row[0]: row[1] for row in rows}
    if len(stored) != len(rows):
        run.faults.append(f"{len(rows) - len(stored)} orders are stored twice")
    run.faults += [
        f"{name}: acknowledged, not there" for name, number in run.told.items() if stored.get(name) != number
    ]


def _post(side: Side, folder: Path, requests: Sequence[bytes], connections: int, rate: float = 0.0) -> Done:
    file = folder / "requests"
    write_requests(file, requests)
    return post_apart(Work(str(file), side.port, connections, rate))


def _hand_over(run: Run, first: int, floor: Side, file: Path) -> None:
    """Give the floor the rows that the hub wrote for the orders since `first`."""
    marks = {"like": f"{_name(first)[:3]}%", "from": _name(first)}
    engine = open_engine(run.settings.url, pool=1)
    statements: dict[str, str] = {}
    found: dict[str, dict[str, list[tuple[Any, ...]]]] = {}

    def take(tx: Any, table: str, owner: str, names: Mapping[Any, str], where: str = "") -> list[dict[str, Any]]:
        result = tx.exec_driver_sql(f"select * from {table} {where}")  # noqa: S608 - names of this module
        keys = tuple(result.keys())
        statements[table] = f"insert into {table} ({','.join(keys)}) values ({','.join('?' * len(keys))})"  # noqa: S608
        rows = [dict(zip(keys, row, strict=True)) for row in result]
        own = [row for row in rows if row[owner] in names]
        for row in own:
            found.setdefault(names[row[owner]], {}).setdefault(table, []).append(tuple(row.values()))
        return own

    with engine.begin() as tx:
        since = f"where external_id >= '{marks['from']}'"
        fresh = {_name(number): _name(number) for number in range(first, run.placed)}
        orders = {row["id"]: row["external_id"] for row in take(tx, "orders", "external_id", fresh, since)}
        take(tx, "inbox", "external_id", fresh, since)
        take(tx, "idempotency", "key", {f"single-{name}": name for name in fresh})
        least = f"where order_id >= {min(orders)}"
        parts: dict[Any, tuple[str, Any]] = {}
        for table in _OF_ORDER:
            rows = take(tx, table, "order_id", orders, least)
            if table == "fulfilments":
                parts = {row["id"]: (orders[row["order_id"]], row["warehouse_id"]) for row in rows}
        of_part = {part: name for part, (name, _) in parts.items()}
        for row in take(tx, "fulfilment_lines", "fulfilment_id", of_part):
            name, warehouse = parts[row["fulfilment_id"]]
            found[name].setdefault("stock", []).append((row["quantity"], warehouse, row["sku"]))
    engine.dispose()
    file.write_bytes(pickle.dumps((statements, found)))
    _ask(floor.port, "/rows", str(file).encode())


def _configure(stack: contextlib.ExitStack, folder: Path, database: str, seed: int) -> tuple[Run, str]:
    """Two equal databases with the trade and no orders: the hub's, and the floor's by its address."""
    url = stack.enter_context(own_database(database))
    settings = Settings(data_folder=folder / "data", database_url=url)
    hub = open_hub(settings)
    try:
        trade, names = goods.trade(), [f"partner-{n}" for n in range(goods.ACCOUNTS)]
        for account, name in zip(trade["accounts"], names, strict=True):
            account["partner"] = name
        (folder / "rules.json").write_text(json.dumps(goods.ruleset()))
        apply_values(
            hub,
            trade | {"partners": [{"name": name} for name in names], "ruleset": {"file": "rules.json"}},
            folder=folder,
        )
        keys = {f"shop-{n}": make_key(hub, name, "partner", name) for n, name in enumerate(names)}
    finally:
        close_hub(hub)
    if not database:
        shutil.copyfile(settings.data_folder / "hub.db", folder / "floor.db")
        return Run(settings, keys, seed), f"sqlite:///{folder / 'floor.db'}"
    return Run(settings, keys, seed), stack.enter_context(own_database(database, like=url))


@contextlib.contextmanager
def _serving_hub(settings: Settings, processes: int) -> Iterator[Side]:
    """`hub.py serve` as an installation runs it whose timed jobs run elsewhere."""
    port, count = free_port(), str(processes)
    with running_hub(settings, "serve", "--jobs", "none", "--port", str(port), "--processes", count) as process:
        yield _ready(port, "/readyz", process)


@contextlib.contextmanager
def _serving_floor(database: str) -> Iterator[Side]:
    port = free_port()
    command = [sys.executable, "-m", "bench.bare_api", str(port), database]
    with running(command, folder=_ROOT, environment=os.environ, log=None) as process:
        yield _ready(port, "/", process)


def _ready(port: int, path: str, process: subprocess.Popen[bytes]) -> Side:
    wrong = wait_until(lambda: answers(port, path), process, None, seconds=_READY_SECONDS)
    if wrong:
        raise ConfigError("api_not_ready", wrong)
    return Side(port, process)


def _ask(port: int, path: str, body: bytes) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=body, timeout=60) as reply:
        reply.read()
