"""One scripted pass of the hub over a small world - poll, absorb, cancel, push, cancel again, ship, callbacks, confirm -
stage after stage in one thread, and a SIGKILL at the N-th of its writes.

A point is reached just before every INSERT, UPDATE and DELETE, just before and just after every COMMIT of a transaction that
wrote, and just before and just after every request that changes something over there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect

from bench.ledgers import ACCOUNTS
from connectors._channel import Channel, channels
from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.directory import read_directory
from pipeline.dispatch import dispatch
from pipeline.hooks import take_call
from pipeline.housekeeping import keep_house
from pipeline.pull import pull_due
from pipeline.settings import Settings
from pipeline.settle import settle
from pipeline.watch import watch_news, watch_stock
from storage.outbox import next_due
from wire.client import Client

from .crash_world import EARLY, LATE, World

_WRITES = ("INSERT", "UPDATE", "DELETE")
_LONG = 3600.0
_TURNS = 40


class _Inline(ThreadPoolExecutor):
    """A pool that does everything at once in the caller's thread, so that the N-th write is the same one every time."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future carries whatever was raised
            future.set_exception(error)
        return future


INLINE = _Inline(1)


@dataclass(slots=True)
class Points:
    """Counts the points of this process, writes each one's name to a file, and kills the process at the one wanted."""

    file: int
    at: int
    reached: int = 0
    wrote: set[int] = field(default_factory=set)

    def __call__(self, name: str) -> None:
        self.reached += 1
        os.write(self.file, f"{name}\n".encode())
        if self.reached == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """From now on every write of this process is a point."""
        event.listen(Engine, "before_cursor_execute", self._statement)
        dialects, clients = cast(Any, DefaultDialect), cast(Any, Client)
        commit, send = dialects.do_commit, clients.send

        def do_commit(dialect: DefaultDialect, connection: Any) -> None:
            wrote = id(connection.dbapi_connection) in self.wrote
            self.wrote.discard(id(connection.dbapi_connection))
            if wrote:
                self("commit")
            commit(dialect, connection)
            if wrote:
                self("committed")

        def do_send(client: Client, method: str, url: str, *, writes: bool, **rest: Any) -> Any:
            if not writes:
                return send(client, method, url, writes=writes, **rest)
            what = (rest.get("params") or rest.get("form") or {}).get("method", url.rsplit("/", 1)[-1])
            self(f"send {what}")
            try:
                return send(client, method, url, writes=writes, **rest)
            finally:
                self(f"sent {what}")

        dialects.do_commit, clients.send = do_commit, do_send

    def _statement(self, tx: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        words = statement.split(None, 3)
        if words and words[0].upper() in _WRITES:
            self.wrote.add(id(tx.connection.dbapi_connection))
            self(" ".join(words[: 2 if words[0].upper() == "UPDATE" else 3]).lower())


def small_settings(folder: Path, url: str, *, news_seconds: float) -> Settings:
    """No look-back that would hide a cursor that skips, small batches, next to no pauses."""
    return Settings(
        data_folder=folder,
        database_url=url,
        poll_seconds=0.05,
        look_back_seconds=0,
        first_look_back_seconds=600,
        retry_scale=0.001,
        senders=1,
        batch=4,
        stock_seconds=_LONG,
        news_seconds=news_seconds,
    )


def forget_overlaps() -> None:
    """What the channels' own overlaps would catch again is not caught here: the cursor has to be right by itself."""
    every = cast(dict[str, Channel], channels())
    for name in ACCOUNTS:
        every[name] = replace(every[name], overlap=timedelta(0))


def configure(settings: Settings, world: World) -> None:
    """Two shops with small pages, three warehouses, and the goods that were ordered."""
    box, rows = world.box, world.goods()
    taobao = {name: box.taobao[name] for name in ("app_key", "app_secret", "session")}
    taobao |= {"base_url": box.taobao["url"], "page_size": 2, "calls_per_second": 5000, "allow_private": True}
    shopify = {"base_url": box.shopify["url"], "token": box.shopify["token"], "page_size": 1, "allow_private": True}
    codes = [(row["sku"], row["taobao"]["outer_sku_id"], row["shopify"]["sku"]) for row in rows]
    values = {
        "warehouses": [_warehouse(world, told) for told in box.qimen["warehouses"]],
        "accounts": [
            {"name": ACCOUNTS["taobao"], "channel": "taobao", "settings": taobao},
            {"name": ACCOUNTS["shopify"], "channel": "shopify", "settings": shopify},
        ],
        "listings": [
            {"account": ACCOUNTS[channel], "external_sku": code, "sku": sku}
            for sku, *own in codes
            for channel, code in zip(("taobao", "shopify"), own, strict=True)
        ],
        "stock": [
            {"warehouse": code.lower(), "sku": row["sku"], "on_hand": units}
            for row in rows
            for code, units in row["stock"].items()
        ],
    }
    hub = open_hub(settings, migrated=True)
    try:
        apply_values(hub, values)
    finally:
        close_hub(hub)


def run_pass(settings: Settings, world: World, points: Points) -> None:
    """The child that is killed: it opens the hub, plays the script once and closes the hub."""
    points.arm()
    hub = open_hub(settings, migrated=True)
    play(hub, world)
    close_hub(hub)


def play(hub: Hub, world: World) -> None:
    """The script. What has happened in the world before does not happen again, so it can be played after a crash."""
    pull(hub)
    absorb_all(hub)
    watch_stock(hub, pool=INLINE)
    world.cancel(EARLY)
    pull(hub)
    absorb_all(hub)
    send(hub)
    world.cancel(LATE)
    pull(hub)
    absorb_all(hub)
    send(hub)
    world.ship()
    hear(hub, world, share=0.5)
    absorb_all(hub)
    send(hub)
    watch_news(hub, pool=INLINE)
    absorb_all(hub)
    send(hub)
    hear(hub, world, share=1.0)
    absorb_all(hub)
    send(hub)
    pull(hub)
    absorb_all(hub)
    keep_house(hub)


def pull(hub: Hub) -> int:
    """Poll both shops now."""
    with hub.read() as tx:
        directory = read_directory(hub, tx)
    return sum(pull_due(hub, account_id=directory.account(name).id) for name in ACCOUNTS.values())


def send(hub: Hub, *, seconds: float = 1.0) -> int:
    """Send until nothing is due within `seconds` (a parcel may wait for the one before it)."""
    total = 0
    for _ in range(_TURNS):
        total += dispatch(hub, settle, pool=INLINE)
        with hub.read() as tx:
            due = next_due(tx)
        if due is None or due > hub.now() + seconds * 1_000_000:
            return total
        time.sleep(max(0.0, (due - hub.now()) / 1_000_000))
    return total


def hear(hub: Hub, world: World, *, share: float, seconds: float = 2.0) -> None:
    """Answer callbacks, one after the other, until that share of them is answered or no more come."""
    server = _Ear(hub, world)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        told = world.messages()
        answered = sum(record["answered_at"] is not None for _, record in told)
        if answered >= len(told) * share:
            return
        server.handle_request()


def hear_waiting(hub: Hub, world: World) -> None:
    """Answer the callbacks that are waiting now."""
    server = _Ear(hub, world)
    server.timeout = 0
    for _ in range(_TURNS):
        heard = server.heard
        server.handle_request()
        if server.heard == heard:
            return


class _Ear(HTTPServer):
    """The callback address: one call at a time, in the thread that asks for it."""

    timeout = 0.5

    def __init__(self, hub: Hub, world: World) -> None:
        super().__init__(("127.0.0.1", 0), _Call, bind_and_activate=False)
        self.socket.close()
        self.socket = world.listener
        self.hub = hub
        self.heard = 0

    def handle_error(self, *_: Any) -> None:
        """A caller that has gone away meanwhile will call again."""


class _Call(BaseHTTPRequestHandler):
    server: _Ear
    timeout = 2.0  # whoever connects and says nothing must not stop the script

    def do_POST(self) -> None:
        """Store, then answer."""
        self.server.heard += 1
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        name = parts.path.rsplit("/", 1)[-1]
        status, media, answer = take_call(self.server.hub, name, dict(parse_qsl(parts.query)), headers, body).wait()
        self.send_response(status)
        self.send_header("content-type", media)
        self.send_header("content-length", str(len(answer)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def later(seconds: float) -> Callable[[], datetime]:
    """A clock that is so much ahead."""
    return lambda: datetime.now(UTC) + timedelta(seconds=seconds)


def _warehouse(world: World, told: Mapping[str, Any]) -> dict[str, Any]:
    qimen = world.box.qimen
    kind = world.kind
    return {
        "name": told["code"].lower(),
        "kind": "qimen",
        "settings": {
            "base_url": qimen["url"],
            "app_key": qimen["app_key"],
            "secret": qimen["secret"],
            "customer_id": qimen["customer_id"],
            "owner_code": qimen["owner_code"],
            "warehouse_code": told["code"],
            "sender": {
                "name": told["contact"],
                "mobile": told["phone"],
                "province": told["province"],
                "city": told["city"],
                "area": told["district"],
                "address": told["address"],
            },
            "repeats": kind if kind in {"keyed", "unsafe"} else "findable",
            "calls_per_second": 5000,
            "allow_private": True,
        },
        "info": {"country": "CN", "carriers": ["SF", "ZTO", "YTO"]},
    }
