"""A database with a long past, made in minutes: some thousand orders of the usual mix are really absorbed, sent, shipped and
archived; then their stored rows are copied in SQL, again and again, each time some hours later, with new ids, numbers, hashes
and times. Every table and index grows as it would have; only what is sealed is copied byte for byte, so it has the size of
the real thing and does not open (it is sealed for the row it was copied from).

Time here is the bench's own: it only goes forward, so rows are appended as they are in life."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
from pysqlite3 import dbapi2

from domain.numbers import order_number
from pipeline.absorb import absorb
from pipeline.apply import apply_values
from pipeline.archive import WALK, archive_finished, train_dictionaries
from pipeline.bootstrap import Hub, close_hub, keep_alive, open_hub
from pipeline.directory import read_directory
from pipeline.settings import Settings
from storage.archives import save_mark
from storage.inbox import Arrival, put_arrivals, seal_arrivals
from storage.times import span

from . import goods
from .finishing import finish_orders
from .postgres import own_database

_START = datetime(2025, 10, 1, tzinfo=UTC)
_BUYERS = 1_000_000
_TAILS = 10_000
_GATHER = 20_000  # orders per commit of a copy
_COPIED = ("orders", "fulfilments", "packages", "inbox", "exceptions", "archives")
_EMPTY = ("order_lines", "fulfilment_lines", "package_lines", "outbox", "events", "decisions")
_IDS = frozenset({"id", "order_id", "fulfilment_id", "inbox_id"})
_TIMES = frozenset(
    {"received_at", "source_time", "placed_at", "paid_at", "created_at", "updated_at", "opened_at", "resolved_at"}
    | {"shipped_at"}
)
_SIZES = """import json, sqlite3, sys
query = "select name, sum(pgsize) from dbstat where aggregate = true group by name order by 2 desc"
print(json.dumps(sqlite3.connect(sys.argv[1], uri=True).execute(query).fetchall()))"""
_AGE = (
    "update exceptions set state = 'resolved', resolved_at = opened_at, resolution = 'fixed' where state <> 'resolved'",
    "update orders set status = 'closed' where status = 'pending_shipment'",
    "update fulfilments set state = 'cancelled' where state in ('held', 'exception')",
)


@dataclass(slots=True)
class Calendar:
    """The bench's clock: runs as the real one does, and is put forward by `skip`."""

    at: datetime = _START
    began: float = field(default_factory=monotonic)

    def __call__(self) -> datetime:
        return self.at + timedelta(seconds=monotonic() - self.began)

    def skip(self, step: timedelta) -> None:
        self.at += step


@dataclass(slots=True)
class Past:
    """A hub with a past. `orders` are stored in it, `taken` is the number of the next document, `step` lies between two
    copies."""

    hub: Hub
    calendar: Calendar
    seed: int
    template: int
    step: timedelta
    orders: int = 0
    taken: int = 0
    ids: dict[str, int] = field(default_factory=dict)

    def take(self, count: int) -> None:
        """Store that many new documents, as a reader would have; placed within the last days."""
        arrivals = []
        begin = self.calendar() - timedelta(seconds=self.taken % 864_000 + count)
        for account, external_id, body in goods.documents(count, self.seed, first=self.taken, begin=begin):
            source = self.ids[account]
            arrivals.append(
                Arrival(source_kind="account", source_id=source, kind="order", external_id=external_id, body=body)
            )
        for start in range(0, count, 1_000):
            with self.hub.write() as tx:
                put_arrivals(
                    tx,
                    seal_arrivals(self.hub.vault, self.hub.ids.take, arrivals[start : start + 1_000]),
                    self.hub.now(),
                )
        self.taken += count
        self.orders += count


@contextlib.contextmanager
def opened_past(*, seed: int, database: str, template: int, largest: int, batch: int = 500) -> Iterator[Past]:
    """A hub with `template` orders that were really absorbed, finished and archived, ready to be copied up to `largest`."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-bench-")))
        url = stack.enter_context(own_database(database))
        calendar = Calendar()
        settings = Settings(data_folder=folder, database_url=url, batch=batch, archive_days=0.0)
        hub = open_hub(settings, clock=calendar)
        stack.callback(close_hub, hub)
        (folder / "rules.json").write_text(json.dumps(goods.ruleset()))
        apply_values(hub, goods.trade() | {"ruleset": {"file": "rules.json"}}, folder=folder)
        with hub.read() as tx:
            ids = {account.name: account.id for account in read_directory(hub, tx).accounts.values()}
        step = timedelta(days=400) / max(1, largest // template)
        past = Past(hub, calendar, seed, template, max(step, timedelta(minutes=30)), ids=ids)
        _live(past, min(template, 2_000))
        train_dictionaries(hub)
        _age(past)
        train_dictionaries(hub)
        calendar.skip(past.step)
        keep_alive(hub)
        yield past


def _live(past: Past, orders: int) -> None:
    past.take(orders)
    while absorb(past.hub):
        pass
    finish_orders(past.hub)


def _age(past: Past) -> None:
    """What a person would have looked after is looked after, and housekeeping comes by."""
    with past.hub.write() as tx:
        for statement in _AGE:
            tx.exec_driver_sql(statement)
    past.calendar.skip(timedelta(seconds=1))
    for _ in range(1_000):
        if not archive_finished(past.hub):
            return


def grow(past: Past, orders: int) -> None:
    """Bring the past to that many orders: one template of them lives, the rest are its copies."""
    hub, missing = past.hub, orders - past.orders
    if missing <= 0:
        return
    finish_orders(hub)
    _age(past)
    template = min(missing, past.template)
    low = hub.ids.take(1)[0]
    first = past.taken
    _live(past, template)
    _age(past)
    _copy(past, low, first, (missing - template) // template, template)
    keep_alive(hub)


def _copy(past: Past, low: int, first: int, times: int, template: int) -> None:
    connection = _open(past.hub.settings.url)
    try:
        marks = "%s" if _is_pg(past) else "?"
        for table in _COPIED:
            owner = "order_id" if table == "archives" else "id"
            connection.execute(f"create temp table t_{table} as select * from {table} where {owner} > {low}")  # noqa: S608
        for table in _EMPTY:
            left = connection.execute(f"select count(*) from {table}").fetchone()  # noqa: S608 - names of this module
            if left and left[0]:
                raise RuntimeError(f"{left[0]} rows of {table} were not archived")
        _pools(past, connection, marks)
        statements = [_statement(connection, table, past, template) for table in _COPIED]
        ids = [row[0] for row in connection.execute("select id from t_orders order by id").fetchall()]
        per_commit = max(1, _GATHER // template)
        for start in range(0, times, per_commit):
            connection.execute("begin")
            for copy in range(start + 1, min(times, start + per_commit) + 1):
                moved = past.step * copy
                values = {"shift": (span(moved) // 1000) << 22, "later": span(moved), "copy": copy}
                if _is_pg(past):
                    _number(connection, ids, values["shift"])
                for statement in statements:
                    connection.execute(statement, values)
            connection.execute("commit")
        for table in _COPIED:
            connection.execute(f"drop table t_{table}")
    finally:
        connection.close()
    past.orders += times * template
    past.taken = first + (times + 1) * template
    past.calendar.skip(past.step * (times + 1))
    # As in life, where housekeeping went along while they ended: the copies are packed already.
    with past.hub.write() as tx:
        save_mark(tx, WALK, past.hub.now(), 0)


def _open(url: str) -> Any:
    """A connection of its own for copies: nothing that is acknowledged to anybody, so nothing waits for the disk."""
    if url.startswith("sqlite"):
        connection = dbapi2.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        for pragma in ("synchronous=off", "cache_size=-262144", "temp_store=memory", "wal_autocheckpoint=20000"):
            connection.execute(f"pragma {pragma}")
        connection.create_function("order_number", 1, lambda row_id: order_number(row_id, "PA"), deterministic=True)
        return connection
    pg = psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True)
    pg.execute("set synchronous_commit = off")
    # As long and as varied as a number; only the hub's own arithmetic makes true ones.
    pg.execute("create temp table numbers (id bigint primary key, number text)")
    return pg


def _number(connection: Any, ids: Sequence[int], shift: int) -> None:
    """The numbers of one copy, which only the hub's own arithmetic makes."""
    connection.execute("truncate numbers")
    with connection.cursor().copy("copy numbers from stdin") as rows:
        for row_id in ids:
            rows.write_row((row_id + shift, order_number(row_id + shift, "PA")))


def _is_pg(past: Past) -> bool:
    return past.hub.settings.url.startswith("postgresql")


def _pools(past: Past, connection: Any, mark: str) -> None:
    """Hashes of the buyers and of the last four digits that the documents draw from."""
    search = past.hub.vault.search_hash
    kind = "bytea" if _is_pg(past) else "blob"
    pools = {
        "buyers": ("buyer", [f"buyer-{n}" for n in range(min(_BUYERS, past.template * 200))]),
        "tails": ("phone_tail", [f"{n:04d}" for n in range(_TAILS)]),
    }
    for name, (purpose, words) in pools.items():
        connection.execute(f"create temp table {name} (n integer primary key, hash {kind})")
        rows = [(n, search(purpose, word)) for n, word in enumerate(words)]
        connection.execute("begin")
        cursor = connection.cursor()
        cursor.executemany(f"insert into {name} values ({mark}, {mark})", rows)  # noqa: S608 - names of this module
        connection.execute("commit")


def _statement(connection: Any, table: str, past: Past, template: int) -> str:
    """INSERT … SELECT of one copy of a table's template rows, in the order of their ids."""
    postgres = _is_pg(past)
    description = connection.execute(f"select * from t_{table} limit 0").description  # noqa: S608
    names = [column[0] for column in description]
    shift, later, copy = ("%(shift)s", "%(later)s", "%(copy)s") if postgres else (":shift", ":later", ":copy")
    noise = "decode(md5((t.{0} + " + shift + ")::text), 'hex')" if postgres else "randomblob(16)"
    number = "(select number from numbers where id = {})" if postgres else "order_number({})"
    mod = "%%" if postgres else "%"
    owner = "order_id" if table == "archives" else "id"
    buyers = min(_BUYERS, past.template * 200)
    made = {name: f"t.{name} + {shift}" for name in _IDS} | {name: f"t.{name} + {later}" for name in _TIMES}
    made |= {name: noise.format(owner) for name in ("phone_hash", "merge_hash", "body_hash")}
    # Documents are numbered: PO-000000123.
    padded = "lpad({0}::text, 9, '0')" if postgres else "printf('%09d', {0})"
    made["external_id"] = "'PO-' || " + padded.format(
        f"(cast(substr(t.external_id, 4) as integer) + {copy} * {template})"
    )
    made["number"] = number.format(f"t.id + {shift}")
    made["code"] = number.format(f"t.order_id + {shift}") + " || substr(t.code, 21)"
    digits = "lpad({0}::text, 13, '0')" if postgres else "printf('%013d', {0})"
    made["tracking"] = "'SF' || " + digits.format(f"((t.id + {shift}) {mod} 10000000000000)")
    drawn = f"((t.id {mod} 1000003) * 7919 + {copy} * 104729) {mod} "
    made["buyer_hash"] = f"(select hash from buyers where n = {drawn}{buyers})"  # noqa: S608 - names of this module
    made["tail_hash"] = f"(select hash from tails where n = {drawn}{_TAILS})"  # noqa: S608
    columns = ", ".join(made.get(name, f"t.{name}") for name in names)
    return f"insert into {table} ({', '.join(names)}) select {columns} from t_{table} t order by t.{owner}"  # noqa: S608


def table_sizes(past: Past) -> dict[str, float]:
    """Bytes of each table and index per stored order, the largest first; `all` is the whole database."""
    return {name: round(size / past.orders, 1) for name, size in _sizes(past)}


def _sizes(past: Past) -> Sequence[tuple[str, int]]:
    url = past.hub.settings.url
    if url.startswith("sqlite"):
        return _sqlite_sizes(url.removeprefix("sqlite:///"))
    query = """select c.relname, pg_relation_size(c.oid) + coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)
               from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'i') order by 2 desc"""
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True) as pg:
        found = [(str(name), int(size)) for name, size in pg.execute(query).fetchall() if size]
        whole = pg.execute("select pg_database_size(current_database())").fetchone()
    return [("all", int(whole[0]) if whole else 0), *found]


def _sqlite_sizes(path: str) -> Sequence[tuple[str, int]]:
    """By the library of the interpreter, which has `dbstat`; the other one checkpoints first, so the file holds everything.

    In a process of its own: a process that has one file open by two SQLite libraries loses its locks on it when one of them
    closes it, and with them the memory that its connections share."""
    with contextlib.closing(dbapi2.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    done = subprocess.run(
        [sys.executable, "-IS", "-c", _SIZES, f"file:{path}?mode=ro"], capture_output=True, check=True
    )
    found = [(str(name), int(size)) for name, size in json.loads(done.stdout)]
    return [("all", Path(path).stat().st_size), *found]
