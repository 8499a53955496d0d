"""The other side as the connector tests use it: a running sandbox, its switches, and sessions that talk to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sandbox
from connectors import shopify, taobao
from connectors._channel import Document, Session, Since
from sandbox.launch import Running
from tests.wire.loopback import Loopback, Script, reply
from wire.breaker import BreakerRule
from wire.budget import Budget
from wire.client import Client, Limits

FIXTURES = Path(__file__).parents[1] / "fixtures"
HOUR = timedelta(hours=1)


def sample(name: str) -> bytes:
    """The bytes of a fixture, by "folder/file"."""
    return (FIXTURES / name).read_bytes()


def clock() -> datetime:
    """The real time: the sandbox runs on it."""
    return datetime.now(UTC)


def new_client(sleep: Callable[[float], None] = lambda _seconds: None) -> Client:
    """A client that may talk to loopback, never gives a host up and, unless told otherwise, waits for nothing."""
    return Client(
        limits=Limits(connect=5, read=5, total=10),
        allow_private=True,
        sleep=sleep,
        breaker=BreakerRule(failures=10_000),
    )


def plenty() -> Budget:
    """A budget that never waits."""
    return Budget(1_000_000, 1_000_000)


def since(back: timedelta = HOUR, token: str = "") -> Since:
    """From `back` ago until now."""
    now = clock()
    return Since(start=now - back, end=now, token=token)


@dataclass
class Side:
    """A sandbox with its switches."""

    box: Running
    client: Client

    def control(self, name: str, **data: Any) -> Any:
        """One call of the control API."""
        raw = json.dumps(data).encode() if data else None
        headers = {"Content-Type": "application/json"}
        method = "POST" if data else "GET"
        url = f"{self.box.control}/_control/{name}"
        return self.client.send(method, url, content=raw, headers=headers, writes=True).json()

    def place(self, channel: str, count: int = 1, kind: str = "plain") -> list[str]:
        """Place orders of one kind; their ids."""
        found: list[str] = self.control(
            "place", channel=channel, count=count, mix="plain" if kind == "plain" else {kind: 1e9}
        )["ids"]
        return found

    def row(self, channel: str, ident: str) -> Any:
        """What really happened to one order."""
        url = f"{self.box.control}/_control/order"
        return self.client.send("GET", url, params={"channel": channel, "id": ident}, writes=False).json()["rows"][0]

    def fault(self, server: str, method: str, fault: str, count: int = 1) -> None:
        """The next `count` calls of this method go wrong."""
        self.control("faults", server=server, method=method, fault=fault, count=count)

    def taobao(self, **settings: Any) -> Session:
        """An account of the Taobao shop."""
        told = self.box.taobao
        given = {"base_url": told.pop("url"), "allow_private": True, **told, **settings}
        return session(taobao.TaobaoSettings(**given), self.client)

    def shopify(self, **settings: Any) -> Session:
        """An account of the Shopify shop."""
        told = self.box.shopify
        given = {
            "base_url": told["url"],
            "token": told["token"],
            "webhook_secret": told["webhook_secret"],
            "allow_private": True,
            **settings,
        }
        return session(shopify.ShopifySettings(**given), self.client)


def session(settings: Any, client: Client, now: Callable[[], datetime] = clock) -> Session:
    """A session with plenty of budget."""
    return Session(account="test", settings=settings, client=client, budget=plenty(), clock=now)


@contextmanager
def running(**options: Any) -> Iterator[Side]:
    """A sandbox for one test file."""
    with (
        sandbox.start(seed="connectors", mix="plain", tempo=0.1, hang_seconds=0.3, **options) as box,
        new_client(time.sleep) as client,
    ):
        yield Side(box, client)


@contextmanager
def answering(*bodies: bytes, **headers: str) -> Iterator[Loopback]:
    """A server that gives these bodies in turn (the last one for ever)."""
    left = list(bodies)

    def script(_seen: Any, _connection: Any) -> bytes:
        body = left.pop(0) if len(left) > 1 else left[0]
        return reply(200, body, Content_Type="application/json", **headers)

    given: Script = script
    with Loopback(given) as server:
        yield server


def documents(pages: Any) -> list[Document]:
    """All documents of all pages."""
    return [document for page in pages for document in page.documents]
