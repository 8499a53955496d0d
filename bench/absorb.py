"""`hub.py bench absorb`: stored documents → checked, decided orders with their pushes, in one process; the floor is the bare
driver writing exactly the same rows, in as many commits, with the same durability, in the same run."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import psycopg
from pysqlite3 import dbapi2

from pipeline.absorb import absorb
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.directory import read_directory
from pipeline.settings import Settings
from scheduler import spare_the_collector
from storage.inbox import Arrival, put_arrivals, seal_arrivals

from . import goods
from .postgres import own_database

# What absorbing an order writes; `inbox` and `stock` rows are changed, all others made.
_MADE = (
    "orders",
    "order_lines",
    "fulfilments",
    "fulfilment_lines",
    "outbox",
    "exceptions",
    "decisions",
    "events",
)
_CHANGED = {"inbox": ("state", "order_id", "error"), "stock": ("on_hand", "reserved", "moved_at", "updated_at")}
_PLAIN = (NoneType, bytes, memoryview, bool)
_KEYS = {"inbox": ("id",), "stock": ("warehouse_id", "sku")}

Tables = dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]


@dataclass(frozen=True, slots=True)
class Figure:
    """Orders per second of the hub and of the floor (medians), and what was measured. `told_floor`: of SQLite's driver when it is
    told about plain values what the hub tells it (0: another database)."""

    value: float
    floor: float
    orders: int
    runs: int
    faults: tuple[str, ...] = ()
    told_floor: float = 0.0

    @property
    def ratio(self) -> float:
        return round(self.value / self.floor, 3)


def bench_absorb(*, orders: int, seed: int, database: str, runs: int = 3, batch: int = 500) -> Figure:
    """Measure `runs` times `orders` orders, hub and floor by turns, on an empty database of its own each time."""
    rates: dict[str, list[float]] = {"hub": [], "floor": [], "told": []}
    faults: list[str] = []
    for run in range(runs + 1):
        with fresh(database, batch) as hub:
            fill_inbox(hub, orders, seed)
            spare_the_collector()  # as every process that absorbs does
            taken = {"hub": _timed(partial(absorb_all_of, hub, orders))}
            tables = _written(hub)
        faults += find_faults("hub", {"orders": orders}, tables)
        for name, driver in _drivers(database).items():
            with fresh(database, batch) as hub:
                fill_inbox(hub, orders, seed)
                own = with_own_keys(tables, _written(hub))
                with driver():
                    taken[name] = _timed(partial(write_bare, hub, own, orders, batch))
                bare = _written(hub)
            faults += find_faults(name, {table: len(rows) for table, (_, rows) in tables.items()}, bare)
            faults += [
                f"{name}: other {table}" for table in _CHANGED if values_of(table, own) != values_of(table, bare)
            ]
        if run:  # the first round warms up
            for name, seconds in taken.items():
                rates[name].append(orders / seconds)
    value, floor, told = (round(statistics.median(each), 1) if each else 0.0 for each in rates.values())
    return Figure(value, floor, orders, runs, tuple(faults), told)


def _drivers(database: str) -> Mapping[str, Callable[[], contextlib.AbstractContextManager[None]]]:
    """The bare driver, and where the hub tells it something, the driver so told."""
    return {"floor": contextlib.nullcontext} if database else {"floor": _as_it_comes, "told": contextlib.nullcontext}


def with_own_keys(tables: Tables, there: Tables) -> Tables:
    """The same rows with the keys that documents and stock have in another database, which were given out in the same order."""
    told = dict(tables)
    for table, keys in _KEYS.items():
        names, rows = tables[table]
        at = [names.index(key) for key in keys]

        def key_of(row: tuple[Any, ...], at: list[int] = at) -> tuple[Any, ...]:
            return tuple(row[n] for n in at)

        new = [list(row) for row in sorted(rows, key=key_of)]
        for row, own in zip(new, sorted(there[table][1], key=key_of), strict=True):
            for n in at:
                row[n] = own[n]
        told[table] = names, [tuple(row) for row in new]
    return told


def find_faults(side: str, wanted: Mapping[str, int], tables: Tables) -> list[str]:
    """What one side did not store, or stored too much of."""
    found = {name: len(tables[name][1]) for name in wanted}
    return [f"{side}: {found[name]} {name}, not {count}" for name, count in wanted.items() if found[name] != count]


@contextlib.contextmanager
def fresh(database: str, batch: int) -> Iterator[Hub]:
    """A furnished hub on a database of its own, gone afterwards."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-bench-")))
        url = stack.enter_context(own_database(database))
        hub = open_hub(Settings(data_folder=folder, database_url=url, batch=batch))
        stack.callback(close_hub, hub)
        (folder / "rules.json").write_text(json.dumps(goods.ruleset()))
        apply_values(hub, goods.trade() | {"ruleset": {"file": "rules.json"}}, folder=folder)
        yield hub


def fill_inbox(hub: Hub, orders: int, seed: int, *, first: int = 0) -> None:
    """Store the documents as a reader would have."""
    with hub.read() as tx:
        ids = {account.name: account.id for account in read_directory(hub, tx).accounts.values()}
    batch: list[Arrival] = []
    for account, external_id, body in goods.documents(orders, seed, first=first):
        batch.append(
            Arrival(source_kind="account", source_id=ids[account], kind="order", external_id=external_id, body=body)
        )
        if len(batch) == 1000:
            _store(hub, batch)
            batch = []
    _store(hub, batch)


def _store(hub: Hub, arrivals: Sequence[Arrival]) -> None:
    with hub.write() as tx:
        put_arrivals(tx, seal_arrivals(hub.vault, hub.ids.take, arrivals), hub.now())


def absorb_all_of(hub: Hub, orders: int) -> None:
    """Absorb until that many documents have come to an end."""
    done = 0
    while done < orders:
        taken = absorb(hub)
        if not taken:
            raise RuntimeError(f"only {done} of {orders} documents were absorbed")
        done += taken


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _written(hub: Hub) -> Tables:
    """Every row that absorbing made or changed, as plain tuples."""
    found: Tables = {}
    with hub.read() as tx:
        for table in (*_MADE, *_CHANGED):
            result = tx.exec_driver_sql(f"select * from {table}")  # noqa: S608 - names of this module
            found[table] = tuple(result.keys()), [tuple(row) for row in result]
    return found


def write_bare(hub: Hub, tables: Tables, orders: int, batch: int) -> None:
    """The same rows through the bare driver, in commits of `batch` orders."""
    steps = max(1, -(-orders // batch))
    if hub.settings.url.startswith("sqlite"):
        connection = dbapi2.connect(hub.settings.url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("pragma synchronous=full")
        _write_sqlite(connection, tables, steps)
        connection.close()
        return
    plain = hub.settings.url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain) as pg:
        _write_postgresql(pg, tables, steps)


@contextlib.contextmanager
def _as_it_comes() -> Iterator[None]:
    """The driver of SQLite without what the hub tells it about plain values: the floor is a driver as anybody has it."""
    told = dict(dbapi2.adapters)
    try:
        for key in [key for key in told if key[0] in _PLAIN]:
            del dbapi2.adapters[key]
        yield
    finally:
        dbapi2.adapters.update(told)


def _share(rows: list[tuple[Any, ...]], step: int, steps: int) -> list[tuple[Any, ...]]:
    return rows[len(rows) * step // steps : len(rows) * (step + 1) // steps]


def _write_sqlite(connection: sqlite3.Connection, tables: Tables, steps: int) -> None:
    for step in range(steps):
        connection.execute("begin immediate")
        for table in _MADE:
            names, rows = tables[table]
            connection.executemany(_insert(table, names, "?"), _share(rows, step, steps))
        for table in _CHANGED:
            statement, rows = _update(table, tables, "?")
            connection.executemany(statement, _share(rows, step, steps))
        connection.execute("commit")


def _write_postgresql(connection: psycopg.Connection, tables: Tables, steps: int) -> None:
    for step in range(steps):
        with connection.cursor() as cursor:
            for table in _MADE:
                names, rows = tables[table]
                cursor.executemany(_insert(table, names, "%s"), _share(rows, step, steps))
            for table in _CHANGED:
                statement, rows = _update(table, tables, "%s")
                cursor.executemany(statement, _share(rows, step, steps))
        connection.commit()


def _insert(table: str, names: Sequence[str], mark: str) -> str:
    return f"insert into {table} ({','.join(names)}) values ({','.join([mark] * len(names))})"  # noqa: S608


def values_of(table: str, tables: Tables) -> list[tuple[Any, ...]]:
    """Key and changed columns of every row, in the order of the keys."""
    names, rows = tables[table]
    at = [names.index(name) for name in (*_KEYS[table], *_CHANGED[table])]
    return sorted([tuple(row[n] for n in at) for row in rows], key=lambda row: row[: len(_KEYS[table])])


def _update(table: str, tables: Tables, mark: str) -> tuple[str, list[tuple[Any, ...]]]:
    """An update of the changed columns by key, and its values."""
    names, rows = tables[table]
    columns, keys = _CHANGED[table], _KEYS[table]
    at = [names.index(name) for name in (*columns, *keys)]
    sets, where = ",".join(f"{name}={mark}" for name in columns), " and ".join(f"{name}={mark}" for name in keys)
    return f"update {table} set {sets} where {where}", [tuple(row[n] for n in at) for row in rows]  # noqa: S608
