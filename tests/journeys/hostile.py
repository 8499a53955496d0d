"""A hub whose other sides lie: three shops and a warehouse on one loopback server, whose every byte a test decides, and
short words for what the hub made of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy import select

from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.directory import read_directory
from pipeline.dispatch import dispatch
from pipeline.dossier import Dossier, load_dossiers
from pipeline.hooks import take_call
from pipeline.pull import pull_due
from pipeline.review import Action, Reviewed, review
from pipeline.sessions import channel_session
from pipeline.settings import Settings
from pipeline.settle import settle
from storage import tables as t
from storage.inbox import open_body
from storage.rows import Row, rows_of
from tests.clocks import FAR_MS
from tests.wire.loopback import NEVER_OPENS, Loopback, Seen, reply
from wire.budget import Budget
from wire.client import Client, Limits

from .liars import QIMEN, Answer, Clock, Cut, Shop, Wms, signed

KEYS = f"1 {'11' * 32};search {'22' * 32}"
SKUS = ("A", "B")


@dataclass(slots=True)
class Yard:
    """An open hub with accounts on the hostile shops, one warehouse, and its pool."""

    hub: Hub
    clock: Clock
    server: Loopback
    shops: dict[str, Shop]
    wms: Wms
    pool: ThreadPoolExecutor

    def poll(self, *names: str, absorb: bool = True) -> int:
        """Read these accounts' newest changes now, and absorb them. How many documents were new."""
        new = sum(pull_due(self.hub, account_id=self.id_of(name)) for name in names)
        if absorb:
            absorb_all(self.hub)
        return new

    def sweep(self) -> None:
        """Whatever timers are due: polls, sweeps, absorbing."""
        pull_due(self.hub)
        absorb_all(self.hub)

    def push(self, turns: int = 1) -> None:
        for _ in range(turns):
            dispatch(self.hub, settle, pool=self.pool)

    def tell(self, body: bytes, query: Mapping[str, str] | None = None) -> bytes:
        """A warehouse's callback arrives; what it is answered. Not absorbed yet."""
        told = signed(self.clock, body) if query is None else query
        status, _, answer = take_call(self.hub, "wh1", told, {}, body).wait()
        assert status == 200
        return answer

    def id_of(self, name: str, table: Any = t.accounts) -> int:
        with self.hub.read() as tx:
            return int(tx.execute(select(table.c.id).where(table.c.name == name)).scalar_one())

    def rows(self, table: Any, *where: Any) -> list[Row]:
        with self.hub.read() as tx:
            return rows_of(tx, select(table).where(*where).order_by(*table.primary_key))

    def cursor(self, name: str) -> Row:
        (row,) = self.rows(t.cursors, t.cursors.c.account_id == self.id_of(name), t.cursors.c.stream == "poll")
        return row

    def orders(self, name: str) -> dict[str, Dossier]:
        """Every order of an account, by its external id."""
        o = t.orders
        with self.hub.read() as tx:
            ids = tx.execute(select(o.c.id).where(o.c.account_id == self.id_of(name))).scalars().all()
            found = load_dossiers(tx, self.hub.vault, ids, lock=False)
        return {dossier.order["external_id"]: dossier for dossier in found.values()}

    def unread(self, name: str) -> list[tuple[Row, bytes, list[Row]]]:
        """Documents of an account that became no order: the row, its opened bytes, its open exceptions."""
        i = t.inbox
        rows = self.rows(i, i.c.source_kind == "account", i.c.source_id == self.id_of(name), i.c.state == "exception")
        opened = {row["inbox_id"]: row for row in self.rows(t.exceptions, t.exceptions.c.state != "resolved")}
        return [
            (row, open_body(self.hub.vault, row), [opened[row["id"]]] if row["id"] in opened else []) for row in rows
        ]

    def review(self, exception: Row, action: Action, **told: Any) -> Reviewed:
        return review(self.hub, exception["id"], action, actor="user:clerk", **told)

    def open_codes(self) -> list[str]:
        return sorted(row["code"] for row in self.rows(t.exceptions, t.exceptions.c.state != "resolved"))


def codes(dossier: Dossier) -> list[str]:
    """Codes of the open exceptions of an order."""
    return sorted(row["code"] for row in dossier.exceptions.values() if row["state"] != "resolved")


def states(dossier: Dossier) -> list[str]:
    """States of its fulfilments, oldest first."""
    return [row["state"] for _, row in sorted(dossier.fulfilments.items())]


ACCOUNTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "tb": ("taobao", {"page_size": 20, "window_minutes": 1440, "app_key": "k", "app_secret": "s", "session": "x"}),
    "sf": ("shopify", {"page_size": 20, "token": "shpat_0123456789", "webhook_secret": "hook-secret"}),
    "ve": ("vendure", {"page_size": 20, "username": "hub", "password": "pw"}),
}
_ALONE = {f"{name}1": (channel, told | {"page_size": 1}) for name, (channel, told) in ACCOUNTS.items()}


@contextmanager
def open_yard(url: str, folder: Path, *, pages: int = 20, **settings: Any) -> Iterator[Yard]:
    """Everything on one database. Accounts named tb, sf and ve read pages of `pages`, tb1, sf1 and ve1 pages of one order."""
    clock = Clock()
    own = {name: (channel, told | {"page_size": pages}) for name, (channel, told) in ACCOUNTS.items()}
    accounts = {**own, **_ALONE}
    shops = {name: Shop(clock) for name in accounts}
    wms = Wms()

    def script(seen: Seen, connection: socket.socket) -> bytes | None:
        room = seen.target.partition("?")[0].split("/")[1]
        told = wms.answer(seen) if room == "wms" else serve(shops[room], seen)
        if isinstance(told, Cut):
            connection.sendall(told.data)
            return None
        return told

    given: dict[str, Any] = {"first_look_back_seconds": 3600, "look_back_seconds": 900, "key": KEYS} | settings
    hub = open_hub(Settings(database_url=url, data_folder=folder, **given), clock=clock, migrated=True)
    hub.ids.extend(FAR_MS)
    hub.private_client = Client(
        limits=Limits(connect=5, read=2, total=5),
        allow_private=True,
        clock=clock,
        sleep=lambda _seconds: None,
        breaker=NEVER_OPENS,
    )
    with Loopback(script) as server, ThreadPoolExecutor(8) as pool, closing(hub):
        _furnish(hub, server.url, accounts)
        yield Yard(hub, clock, server, shops, wms, pool)


@contextmanager
def closing(hub: Hub) -> Iterator[None]:
    try:
        yield
    finally:
        close_hub(hub)


def serve(shop: Shop, seen: Seen) -> Answer:
    """One call of a shop."""
    lying, told = shop.lie(seen)
    body = seen.body.decode()
    top = body.startswith("method=")
    form = dict(parse_qsl(body)) if top else {}
    shop.asked.append(form["method"] if top else body[:200])
    if lying:
        return told
    if top:
        return reply(200, shop.top(form))
    answer = shop.graph(json.loads(body))
    return reply(200, answer, vendure_auth_token="t0ken-t0ken")


def _furnish(hub: Hub, url: str, accounts: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    own = [
        {
            "name": name,
            "channel": channel,
            "settings": {"base_url": f"{url}/{name}", "allow_private": True}
            | told
            | ({"calls_per_second": 10_000} if channel == "taobao" else {}),
        }
        for name, (channel, told) in accounts.items()
    ]
    sender = {
        "name": "仓",
        "mobile": "13800000010",
        "province": "浙江省",
        "city": "杭州市",
        "area": "余杭区",
        "address": "路",
    }
    warehouse = {
        "name": "wh1",
        "kind": "qimen",
        "info": {"country": "CN", "carriers": ["SF"], "priority": 1},
        "settings": QIMEN
        | {"base_url": f"{url}/wms", "warehouse_code": "WH01", "allow_private": True, "sender": sender}
        | {"calls_per_second": 10_000},
    }
    wares = [{"account": name, "external_sku": f"EXT-{sku}", "sku": sku} for name in accounts for sku in SKUS]
    twice = [{"account": name, "external_sku": "EXT-TWO", "sku": sku} for name in accounts for sku in SKUS]
    stock = [{"warehouse": "wh1", "sku": sku, "on_hand": 1_000_000_000} for sku in SKUS]
    apply_values(hub, {"warehouses": [warehouse], "accounts": own, "listings": wares + twice, "stock": stock})
    _never_wait(hub)


def _never_wait(hub: Hub) -> None:
    """Budgets are other tests' business."""
    with hub.read() as tx:
        directory = read_directory(hub, tx)
    for account in directory.accounts.values():
        channel_session(hub, account, settled_after=timedelta(0))
        key = f"session:account:{account.id}"
        stamp, settings, _ = hub.memory[key]
        hub.memory[key] = (stamp, settings, Budget(1_000_000, 1_000_000, clock=hub.clock))
