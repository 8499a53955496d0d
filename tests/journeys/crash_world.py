"""The other side of one crash point: a sandbox in a process of its own, forked so that it is there in a moment, and the
few things that happen in it while the hub works, crashes or is down."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

import sandbox.__main__ as server
from bench.ledgers import call, get, ledger
from sandbox import Running
from sandbox.qimen import wms

# Of the first channel's orders: one piece; two pieces of one line; two lines; two lines.
SEED = 20
ORDERS = {"taobao": 4, "shopify": 2}
EARLY, LATE = 0, 3
KINDS = ("rejects", "findable", "keyed", "unsafe")
_PATIENCE = 5.0


@dataclass(slots=True)
class World:
    """A running sandbox, the orders placed in it, and the socket on which the hub hears its callbacks."""

    box: Running
    kind: str
    listener: socket.socket
    ids: dict[str, list[str]] = field(default_factory=dict)

    def open_shops(self) -> None:
        """Place the orders. Nothing ships until `ship`."""
        for channel, count in ORDERS.items():
            # Minutes old, each from a moment of its own: what a cursor has passed is not listed again by chance.
            order = {"channel": channel, "count": count, "seed": SEED, "mix": "plain", "back": 120}
            told = call(self.box, "place", order)
            self.ids[channel] = told["ids"]
        call(self.box, "pause_shipping", {"paused": True})
        port = self.listener.getsockname()[1]
        names = {each["code"]: each["code"].lower() for each in self.box.qimen["warehouses"]}
        call(self.box, "hub", {"url": f"http://127.0.0.1:{port}", "warehouses": names, "webhooks": False})

    def cancel(self, which: int) -> None:
        """The buyer cancels an order of the first channel; again, it does nothing."""
        call(self.box, "cancel", {"channel": "taobao", "id": self.ids["taobao"][which]})

    def ship(self) -> None:
        """The warehouses ship what they have, and go on shipping. Comes back when everything has left."""
        call(self.box, "pause_shipping", {"paused": False})
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and any(row["state"] not in {"DELIVERED", "CANCELED"} for row in self.documents()):
            time.sleep(0.01)

    def step_clock(self, seconds: float) -> None:
        """Let so much time pass over there at once."""
        call(self.box, "time", {"offset": seconds})

    def documents(self) -> list[dict[str, Any]]:
        """What the warehouses have."""
        return ledger(self.box, "qimen")

    def orders(self, channel: str) -> list[dict[str, Any]]:
        """What a channel has."""
        return ledger(self.box, channel)

    def messages(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Every callback composed so far: (our code, its record)."""
        return [(row["code"], record) for row in self.documents() for record in row["news"]]

    def goods(self) -> list[dict[str, Any]]:
        """The catalogue's rows of what was ordered."""
        codes = {line["sku"] for channel in ORDERS for row in self.orders(channel) for line in row["lines"]}
        rows = get(self.box, "catalog")["rows"]
        return [row for row in rows if {row["taobao"]["outer_sku_id"], row["shopify"]["sku"]} & codes]


@contextmanager
def open_world(kind: str) -> Iterator[World]:
    """A fresh sandbox whose warehouses all treat a repeated order as `kind` says."""
    ours, theirs = os.pipe(), os.pipe()
    pid = forked(lambda: _serve(kind, ours[0], theirs[1]))
    os.close(ours[0])
    os.close(theirs[1])
    try:
        with os.fdopen(theirs[0], "rb") as reader, socket.create_server(("127.0.0.1", 0)) as listener:
            info = json.loads(reader.readline())
            world = World(Running(cast(Any, None), info), kind, listener)
            world.open_shops()
            yield world
    finally:
        os.close(ours[1])
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def forked(run: Callable[[], object]) -> int:
    """Run a function in a child that ends with this process; its exit status is 0 when the function came back."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
        run()
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the child ends here and not in its parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve(kind: str, read: int, write: int) -> None:
    os.dup2(read, 0)
    os.dup2(write, 1)
    sys.stdout = os.fdopen(1, "w")
    # Whatever has two pieces leaves in two parcels, and the same way whatever number the hub gave the order.
    wms.PARTIAL_SHARE = 1.0
    cast(Any, wms).Random = _draws
    kinds = ",".join(f"{site}={kind}" for site in ("WH01", "WH02", "WH03"))
    flags = ["--seed", "crash", "--mix", "plain", "--kinds", kinds, "--ship-after", "0,0.01"]
    gc.set_threshold(50_000, 50, 100)
    asyncio.run(server.serve(server.arguments(flags)))


def _draws(name: str) -> Random:
    return Random(name.rsplit(":", 1)[0])
