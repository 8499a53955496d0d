"""The control API: JSON over HTTP on its own port, for the demo and the tests. Not a part of what the hub may know."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from .clock import SERVERS
from .faults import FAULTS, NEWS, PROFILES, read_order
from .http11 import Reply, Request
from .mix import EXPECT
from .shopify.make import Order
from .taobao.make import Trade
from .world import World, secret

Json = dict[str, Any]
PAGE = 1000
PAGE_MAX = 5000


@dataclass(slots=True)
class Control:
    """The switches of one world."""

    world: World

    def handle(self, request: Request) -> Reply:
        """Route one call; a mistake of the caller answers 400 with {"error": why}."""
        run = ROUTES.get((request.method, request.path))
        if run is None:
            return reply(
                {
                    "error": f"no such thing: {request.method} {request.path}",
                    "routes": [" ".join(key) for key in ROUTES],
                },
                404,
            )
        try:
            data = json.loads(request.body) if request.body else {}
            return reply(run(self, {**request.params(), **data}))
        except (ValueError, KeyError, TypeError) as error:
            return reply({"error": f"{type(error).__name__}: {error}"}, 400)

    def hub(self, data: Json) -> Json:
        """Where the hub is; null url forgets it."""
        base = str(data.get("url") or "").rstrip("/")
        account = data.get("shopify_account")
        self.world.hooks.url = f"{base}/webhooks/{account}" if base and account and data.get("webhooks", True) else ""
        names = data.get("warehouses") or {}
        unknown = set(names) - set(self.world.service.wms.sites)
        if unknown:
            raise ValueError(f"unknown warehouses: {sorted(unknown)}")
        self.world.newsroom.aim({code: f"{base}/callbacks/{name}" for code, name in names.items()} if base else {})
        return {"ok": True, "webhooks": self.world.hooks.url, "callbacks": self.world.newsroom.urls}

    def place(self, data: Json) -> Json:
        """Place orders."""
        ids = self.world.place(
            str(data["channel"]),
            int(data["count"]),
            str(data.get("seed", self.world.settings.seed)),
            data.get("mix"),
            float(data.get("back", 0)),
            float(data.get("rate", 0)),
            str(data.get("buyer", "")),
        )
        return {"placed": len(ids), "ids": ids}

    def catalog(self, _data: Json) -> Json:
        """What is sold and where it lies."""
        return {"rows": self.world.catalog()}

    def trade(self, data: Json) -> Trade:
        """The trade of an id. Raises KeyError."""
        return self.world.gateway.shop.trades[int(data["id"])]

    def shopify_order(self, data: Json) -> Order:
        """The order of a gid or its number. Raises KeyError."""
        return self.world.admin.store.orders[int(str(data["id"]).rsplit("/", 1)[-1])]

    def cancel(self, data: Json) -> Json:
        """The buyer cancels."""
        if data["channel"] == "taobao":
            return {"ok": self.world.gateway.shop.cancel(self.trade(data))}
        return {"ok": self.world.admin.store.cancel(self.shopify_order(data))}

    def edit(self, data: Json) -> Json:
        """The buyer or the seller changes something: what = address | remark | quantity (quantity: shopify only)."""
        what = str(data.get("what", "address"))
        if data["channel"] == "taobao":
            return {"ok": self.world.gateway.shop.edit(self.trade(data), self.world.rng, what)}
        return {"ok": self.world.admin.store.edit(self.shopify_order(data), self.world.rng, what)}

    def pay(self, data: Json) -> Json:
        """The buyer pays an unpaid order."""
        if data["channel"] == "taobao":
            return {"ok": self.world.gateway.shop.pay(self.trade(data))}
        return {"ok": self.world.admin.store.pay(self.shopify_order(data))}

    def refund(self, data: Json) -> Json:
        """Open or move a refund on one line (taobao): status = WAIT_SELLER_AGREE | CLOSED | SUCCESS …"""
        if data["channel"] != "taobao":
            raise ValueError("refunds are played on taobao only")
        oid = int(data["line"]) if data.get("line") else None
        return {
            "ok": self.world.gateway.shop.refund(self.trade(data), oid, str(data.get("status", "WAIT_SELLER_AGREE")))
        }

    def ledger(self, data: Json) -> Json:
        """One keyset page of what happened: rows with seq > after, and the next `after` (null at the end)."""
        after, limit = int(data.get("after") or 0), min(int(data.get("limit", PAGE)), PAGE_MAX)
        rows = self.rows(str(data["channel"]), after, after + limit)
        return {"rows": rows, "next": after + len(rows) if len(rows) == limit else None}

    def rows(self, channel: str, low: int, high: int) -> list[Json]:
        """Ledger rows number low+1 .. high: `seq` is the position, so a page is a slice."""
        world = self.world
        if channel == "taobao":
            return [world.gateway.shop.row(trade) for trade in world.gateway.shop.order[low:high]]
        if channel == "shopify":
            return [world.admin.store.row(order) for order in world.admin.store.order[low:high]]
        if channel == "qimen":
            return [world.service.wms.row(document) for document in world.service.wms.documents[low:high]]
        raise ValueError("channel must be taobao, shopify or qimen")

    def one(self, data: Json) -> Json:
        """The ledger rows of one order: by id, or for qimen by code (a code may have several documents)."""
        if data["channel"] == "qimen":
            wms = self.world.service.wms
            return {"rows": [wms.row(document) for document in wms.by_code.get(str(data["id"]), [])]}
        if data["channel"] == "taobao":
            return {"rows": [self.world.gateway.shop.row(self.trade(data))]}
        return {"rows": [self.world.admin.store.row(self.shopify_order(data))]}

    def summary(self, _data: Json) -> Json:
        """Totals."""
        return self.world.summary()

    def faults(self, data: Json) -> Json:
        """Switch profile, set rates, order one-shots, or clear everything."""
        injector = self.world.injector
        if data.get("clear"):
            injector.orders.clear()
            injector.use("none")
        if "profile" in data:
            injector.use(str(data["profile"]))
        for group, rates in (data.get("rates") or {}).items():
            allowed = set(NEWS) if group == "news" else {"poison"} if group == "documents" else set(FAULTS)
            if group not in injector.rates or set(rates) - allowed:
                raise ValueError(f"unknown group or fault: {group} {sorted(rates)}")
            injector.rates[group] = {name: float(rate) for name, rate in rates.items()}
        if "fault" in data:
            if data.get("server") not in SERVERS:
                raise ValueError(f"server must be one of {SERVERS}")
            injector.orders.append(read_order(data))
        if "hang_seconds" in data:
            injector.hang_seconds = float(data["hang_seconds"])
        return {
            "profile": injector.profile,
            "rates": injector.rates,
            "hits": injector.hits,
            "one_shots": [
                {"server": shot.server, "method": shot.method, "fault": shot.fault.name, "count": shot.count}
                for shot in injector.orders
            ],
        }

    def time(self, data: Json) -> Json:
        """Clock offsets in seconds: {"offset": s} for all servers or {"taobao": s, …}."""
        offsets = self.world.clock.offsets
        for server in SERVERS:
            if server in data or "offset" in data:
                offsets[server] = float(data[server] if server in data else data["offset"])
        return {"offsets": offsets, "now": {server: self.world.clock.now(server) for server in SERVERS}}

    def pause(self, data: Json) -> Json:
        """{"paused": true} stops all shipping, false resumes it."""
        self.world.service.wms.pause(bool(data.get("paused", True)))
        return {"paused": self.world.service.wms.paused, "parked": len(self.world.service.wms.parked)}

    def stock(self, data: Json) -> Json:
        """Set the free stock of one article in one warehouse."""
        key = (str(data["warehouse"]), str(data["sku"]))
        if key not in self.world.service.wms.free:
            raise KeyError(key)
        self.world.service.wms.free[key] = int(data["quantity"])
        return {"ok": True}

    def revoke(self, data: Json) -> Json:
        """Credentials change: the old ones of this server stop working. Returns the new one."""
        world, fresh = self.world, secret(self.world.settings.seed, f"{data['server']}:{self.world.rng.random()}")
        if data["server"] == "taobao":
            world.gateway.session = f"6100{fresh}"
            return {"session": world.gateway.session}
        if data["server"] == "shopify":
            world.admin.token = f"shpat_{fresh}"
            return {"token": world.admin.token}
        if data["server"] == "qimen":
            world.service.secret = world.newsroom.secret = fresh
            return {"secret": fresh}
        raise ValueError(f"server must be one of {SERVERS}")

    def kinds(self, _data: Json) -> Json:
        """The vocabulary: kinds with what must become of them, faults, profiles."""
        return {"kinds": EXPECT, "faults": sorted(FAULTS), "news": list(NEWS), "profiles": list(PROFILES)}


ROUTES: dict[tuple[str, str], Callable[[Control, Json], Json]] = {
    ("POST", "/_control/hub"): Control.hub,
    ("POST", "/_control/place"): Control.place,
    ("GET", "/_control/catalog"): Control.catalog,
    ("POST", "/_control/cancel"): Control.cancel,
    ("POST", "/_control/edit"): Control.edit,
    ("POST", "/_control/pay"): Control.pay,
    ("POST", "/_control/refund"): Control.refund,
    ("GET", "/_control/ledger"): Control.ledger,
    ("GET", "/_control/order"): Control.one,
    ("GET", "/_control/summary"): Control.summary,
    ("POST", "/_control/faults"): Control.faults,
    ("GET", "/_control/faults"): Control.faults,
    ("POST", "/_control/time"): Control.time,
    ("GET", "/_control/time"): Control.time,
    ("POST", "/_control/pause_shipping"): Control.pause,
    ("POST", "/_control/stock"): Control.stock,
    ("POST", "/_control/revoke"): Control.revoke,
    ("GET", "/_control/kinds"): Control.kinds,
}


def reply(value: Json, status: int = 200) -> Reply:
    """A JSON reply."""
    return Reply(orjson.dumps(value), status)
