"""A hub whose other sides lie: three shops and a warehouse on one loopback server, whose every byte a test decides, and
short words for what the hub made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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
from pipeline.pull import pull_due
from pipeline.review import Action, Reviewed, review
from pipeline.sessions import channel_session
from pipeline.settings import Settings
from pipeline.settle import settle
from storage import tables as t
from storage.inbox import open_body
from storage.rows import Row, rows_of
from tests.wire.loopback import NEVER_OPENS, Loopback, Seen, reply
from wire.budget import Budget
from wire.client import Client, Limits

from .wares import CHINA

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEYS = f"1 {'11' * 32};search {'22' * 32}"
SKUS = ("A", "B")
QIMEN = {"app_key": "app", "secret": "qimen-secret", "customer_id": "customer", "owner_code": "OWNER1"}
_FIELD = re.compile(r"updated_at:(>=|<=)'([^']+)'")
Answer = bytes | None


@dataclass(slots=True)
class Clock:
    """A clock that moves a microsecond per look, and as far as a test says."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at

    def wait(self, **span: float) -> None:
        self.at += timedelta(**span)


@dataclass(slots=True)
class Item:
    """One order on a shelf: what a list is sorted by, since when it is visible, its document, and its list row (TOP only)."""

    id: str
    raw: bytes
    at: datetime
    row: bytes = b""
    visible: datetime = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Shop:
    """One shop: a shelf, answers that are given instead of the right ones, and what was asked."""

    clock: Clock
    shelf: list[Item] = field(default_factory=list)
    lies: list[Answer | Callable[[Seen], Answer]] = field(default_factory=list)
    always: Callable[[Seen], Answer] | None = None
    asked: list[str] = field(default_factory=list)
    shipped: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def lie(self, seen: Seen) -> tuple[bool, Answer]:
        """Whether this call is answered otherwise, and how (None: the connection is closed)."""
        told = self.lies.pop(0) if self.lies else self.always
        if told is None:
            return self.always is not None, None
        return True, told(seen) if callable(told) else told

    def visible(self) -> list[Item]:
        return [item for item in self.shelf if item.visible <= self.clock.at]

    # --- TOP ------------------------------------------------------------------------------------------------------------

    def top(self, form: Mapping[str, str]) -> bytes:
        """increment.get, fullinfo.get, refunds and offline.send, as facts/china/taobao.md §4 says."""
        method = form["method"].removeprefix("taobao.")
        if method == "refunds.receive.get":
            return b'{"refunds_receive_get_response":{"total_results":0}}'
        if method == "trade.fullinfo.get":
            return next(item.raw for item in self.shelf if item.id == form["tid"])
        if method == "logistics.offline.send":
            self.shipped.append(form["out_sid"])
            return b'{"logistics_offline_send_response":{"shipping":{"is_success":true}}}'
        first, last = (_top_time(form[name]) for name in ("start_modified", "end_modified"))
        found = sorted((i for i in self.visible() if first <= i.at <= last), key=lambda i: i.at, reverse=True)
        page, size = int(form["page_no"]), int(form["page_size"])
        if form["use_has_next"] == "false":
            return b'{"trades_sold_increment_get_response":{"total_results":%d}}' % len(found)
        part = found[(page - 1) * size : page * size]
        more = b"true" if page * size < len(found) else b"false"
        rows = b',"trades":{"trade":[' + b",".join(item.row for item in part) + b"]}" if part else b""
        self.meanwhile()
        return b'{"trades_sold_increment_get_response":{"has_next":' + more + rows + b"}}"

    # --- Shopify and Vendure --------------------------------------------------------------------------------------------

    def graph(self, call: Mapping[str, Any]) -> bytes:
        """HubOrders of either shop, HubOrder by id; oldest change first."""
        variables = call["variables"]
        if "login" in call["query"]:
            return b'{"data":{"login":{"id":"1"}}}'
        if "options" in variables:
            return self._vendure(variables["options"])
        if "query" not in variables:
            found = [item.raw for item in self.visible() if item.id == variables["id"]]
            return b'{"data":{"order":' + (found[0] if found else b"null") + b"}}"
        bounds = dict(_FIELD.findall(variables["query"]))
        first, last = (datetime.fromisoformat(bounds[mark]) for mark in (">=", "<="))
        inside = [i for i in self.visible() if first <= i.at.replace(microsecond=0) <= last]
        listed = sorted(inside, key=lambda i: i.at)
        start = int(variables["after"] or 0)
        part, end = listed[start : start + variables["first"]], start + variables["first"]
        self.meanwhile()
        return page(part, has_next=end < len(listed), cursor=str(end))

    def _vendure(self, options: Mapping[str, Any]) -> bytes:
        found = self.visible()
        if "code" in options["filter"]:
            found = [item for item in found if item.id in options["filter"]["code"]["in"]]
        else:
            after = next(test["after"] for test in options["filter"].values() if "after" in test)
            found = sorted((i for i in found if i.at > datetime.fromisoformat(after)), key=lambda i: i.at)
        part = found[options.get("skip", 0) :][: options["take"]]
        items = b",".join(item.raw for item in part)
        self.meanwhile()
        return b'{"data":{"orders":{"totalItems":%d,"items":[%s]}}}' % (len(found), items)


def page(items: list[Item], *, has_next: bool, cursor: str) -> bytes:
    """One Shopify page."""
    info = json.dumps({"hasNextPage": has_next, "endCursor": cursor}).encode()
    nodes = b",".join(item.raw for item in items)
    return b'{"data":{"orders":{"pageInfo":' + info + b',"nodes":[' + nodes + b"]}}}"


def _top_time(text: str) -> datetime:
    return datetime.strptime(f"{text}+0800", "%Y-%m-%d %H:%M:%S%z").astimezone(UTC)


@dataclass(slots=True)
class Wms:
    """A Qimen warehouse: what it knows by code, answers given instead of the right ones, what it was sent."""

    known: dict[str, bytes] = field(default_factory=dict)
    lies: list[Answer | Callable[[Seen], Answer]] = field(default_factory=list)
    calls: list[tuple[str, bytes]] = field(default_factory=list)
    before: Callable[[str, bytes], None] = lambda _method, _body: None
    forgets: bool = False

    def answer(self, seen: Seen) -> Answer:
        method = dict(parse_qsl(seen.target.partition("?")[2]))["method"]
        self.calls.append((method, seen.body))
        self.before(method, seen.body)
        if self.lies:
            lie = self.lies.pop(0)
            return lie(seen) if callable(lie) else lie
        code = tagged(seen.body, "deliveryOrderCode") or tagged(seen.body, "orderCode")
        if method == "deliveryorder.create":
            if not self.forgets:
                self.known[code] = seen.body
            return reply(200, answer_xml("<deliveryOrderId>W-1</deliveryOrderId>"))
        if method == "order.cancel":
            return reply(200, answer_xml())
        if code not in self.known:
            return reply(200, answer_xml(flag="failure", code="S021", message="单据不存在"))
        head = f"<deliveryOrder><deliveryOrderCode>{code}</deliveryOrderCode><status>ACCEPT</status></deliveryOrder>"
        return reply(200, answer_xml(head))

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)


def answer_xml(more: str = "", *, flag: str = "success", code: str = "0", message: str = "ok") -> bytes:
    """A Qimen answer."""
    head = f"<flag>{flag}</flag><code>{code}</code><message>{message}</message>"
    return f'<?xml version="1.0" encoding="utf-8"?><response>{head}{more}</response>'.encode()


def tagged(body: bytes, name: str) -> str:
    """The text of the first element of that name."""
    found = re.search(f"<{name}>([^<]*)</{name}>".encode(), body)
    return found.group(1).decode() if found else ""


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
def open_yard(url: str, folder: Path, **settings: Any) -> Iterator[Yard]:
    """Everything on one database. Accounts named tb, sf and ve read pages of 20, tb1, sf1 and ve1 pages of one order."""
    clock = Clock()
    accounts = {**ACCOUNTS, **_ALONE}
    shops = {name: Shop(clock) for name in accounts}
    wms = Wms()

    def script(seen: Seen, _connection: Any) -> Answer:
        room = seen.target.partition("?")[0].split("/")[1]
        if room == "wms":
            return wms.answer(seen)
        return serve(shops[room], seen)

    given = {"first_look_back_seconds": 3600, "look_back_seconds": 900, "key": KEYS} | settings
    hub = open_hub(Settings(database_url=url, data_folder=folder, **given), clock=clock, migrated=True)
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


def stamp(at: datetime) -> str:
    """As TOP and Qimen write a time."""
    return (at.astimezone(UTC) + CHINA).strftime("%Y-%m-%d %H:%M:%S")
