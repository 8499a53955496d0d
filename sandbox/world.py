"""Everything behind the three servers, put together; one process, one event loop, no locks."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from . import mix as mixes
from .catalog import DEFAULT_KINDS, Sku, catalog_row, make_sites, make_skus
from .clock import Clock
from .faults import Injector
from .posting import Poster
from .qimen.http import Service
from .qimen.news import Newsroom
from .qimen.wms import Wms
from .shopify import store as shopify_store
from .shopify.hooks import Hooks
from .shopify.http import Admin, Bucket
from .shopify.store import Store
from .taobao import make as taobao_make
from .taobao import shop as taobao_shop
from .taobao.http import Gateway
from .taobao.shop import Shop

Mix = str | dict[str, float] | None
PLACE_LIMIT = 200_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is made of. `tempo` stretches the pauses between an order's events; `restore` is Shopify points per second."""

    seed: str = "1"
    faults: str = "none"
    mix: str = "full"
    kinds: tuple[tuple[str, str], ...] = tuple(DEFAULT_KINDS.items())
    tempo: float = 1.0
    hang_seconds: float = 5.0
    restore: float = 2000.0
    bucket: float = 20000.0
    ship_after: tuple[float, float] = (0.05, 0.3)
    news_batch: int = 1


def secret(seed: str, name: str) -> str:
    """A credential of this run: stable for a seed, worthless elsewhere."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:32]


@dataclass(slots=True)
class World:
    """The servers, their state and the switches of the control API."""

    settings: Settings
    clock: Clock
    rng: Random
    skus: list[Sku]
    injector: Injector
    gateway: Gateway
    admin: Admin
    service: Service
    hooks: Hooks
    newsroom: Newsroom
    placed: dict[str, int]

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something after so many seconds of this run's tempo."""
        asyncio.get_running_loop().call_later(seconds * self.settings.tempo, action)

    def place(
        self, channel: str, count: int, seed: str, mix: Mix, back: float = 0.0, rate: float = 0.0, buyer: str = ""
    ) -> list[str]:
        """Place `count` orders; each stamped up to `back` seconds ago, or `rate` per second from now on. Returns their ids (none
        for those still to come). Order k of a (seed, channel) is the same in every run. All orders of a named `buyer` (taobao) go
        to one person in plain text. Raises ValueError."""
        if channel not in {"taobao", "shopify"} or not 0 <= count <= PLACE_LIMIT:
            raise ValueError("channel must be taobao or shopify, count 0..200000")
        table = mixes.weights(
            channel, self.settings.mix if mix is None else mix, self.injector.rates["documents"].get("poison", 0.0)
        )
        if rate > 0:
            for k in range(count):
                asyncio.get_running_loop().call_later(k / rate, self.place_one, channel, seed, k, table, 0.0, buyer)
            return []
        return [self.place_one(channel, seed, k, table, back, buyer) for k in range(count)]

    def place_one(self, channel: str, seed: str, k: int, table: dict[str, float], back: float, buyer: str = "") -> str:
        """Place one order and plan what its kind lets happen to it. Returns its id."""
        rng = Random(f"{seed}:{channel}:{k}")
        kind = mixes.pick(rng, table)
        ago = rng.random() * back
        self.placed[channel] += 1
        if channel == "taobao":
            trade = self.gateway.shop.place(rng, kind, ago)
            if buyer:
                trade.doc.update(taobao_make.one_buyer(buyer))
            taobao_shop.schedule(self.gateway.shop, trade, rng, self.later)
            return str(trade.tid)
        order = self.admin.store.place(rng, kind, ago)
        shopify_store.schedule(self.admin.store, order, rng, self.later)
        return str(order.doc["id"])

    def catalog(self) -> list[dict[str, object]]:
        """The rows of GET /_control/catalog."""
        wms = self.service.wms
        return [catalog_row(sku, {site: wms.free[site, sku.code] for site in wms.sites}) for sku in self.skus]

    def summary(self) -> dict[str, object]:
        """Totals for a person or a progress bar; it walks all orders, so do not poll it fast."""
        trades, orders, documents = self.gateway.shop.order, self.admin.store.order, self.service.wms.documents
        codes = Counter(document.code for document in documents)
        return {
            "taobao": {
                "orders": len(trades),
                "by_kind": Counter(trade.kind for trade in trades),
                "by_status": Counter(str(trade.doc["status"]) for trade in trades),
                "shipments": sum(len(trade.shipments) for trade in trades),
                "refused_shipments": sum(len(trade.refused) for trade in trades),
            },
            "shopify": {
                "orders": len(orders),
                "by_kind": Counter(order.kind for order in orders),
                "by_status": Counter(
                    f"{order.doc['displayFinancialStatus']}/{order.doc['displayFulfillmentStatus']}" for order in orders
                ),
                "shipments": sum(len(order.shipments) for order in orders),
                "refused_shipments": sum(len(order.refused) for order in orders),
                "webhooks": self.hooks.counts,
            },
            "qimen": {
                "orders": len(documents),
                "codes": len(codes),
                "duplicate_codes": sum(count > 1 for count in codes.values()),
                "by_state": Counter(document.state for document in documents),
                "by_warehouse": Counter(document.warehouse for document in documents),
                "packages": sum(len(document.packages) for document in documents),
                "news": self.newsroom.counts,
                "news_waiting": len(self.newsroom.waiting),
                "paused": self.service.wms.paused,
            },
            "requests": self.injector.calls,
            "faults": {"profile": self.injector.profile, "hits": self.injector.hits},
        }


def make_world(settings: Settings) -> World:
    """Build a world. Raises ValueError or KeyError for settings that make no sense."""
    seed, clock = settings.seed, Clock()
    rng = Random(f"{seed}:chance")
    injector = Injector(rng, clock.now, settings.hang_seconds)
    injector.use(settings.faults)
    skus, sites, poster = make_skus(seed), make_sites(dict(settings.kinds)), Poster()

    def soon(seconds: float, action: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_later(seconds, action)

    hooks = Hooks(clock, injector, poster, secret(seed, "shopify-webhook"), soon)
    newsroom = Newsroom(
        clock,
        injector,
        Poster(),  # a warehouse is not the shop: its news never waits for the shop's calls
        "qm" + secret(seed, "qimen-key")[:8],
        secret(seed, "qimen"),
        "cust-0001",
        soon,
        batch=settings.news_batch,
    )
    wms = Wms(
        seed,
        clock,
        {site.code: site for site in sites},
        {sku.code: sku for sku in skus},
        soon,
        newsroom.tell,
        settings.ship_after,
    )
    gateway = Gateway(
        Shop(seed, clock, skus), clock, injector, "12497914", secret(seed, "taobao"), "6100" + secret(seed, "session")
    )
    bucket = Bucket(settings.bucket, settings.restore, settings.bucket, clock.now())
    admin = Admin(Store(seed, clock, skus, hooks.announce), clock, injector, "shpat_" + secret(seed, "shopify"), bucket)
    service = Service(wms, clock, injector, newsroom.app_key, newsroom.secret, newsroom.customer_id)
    return World(
        settings, clock, rng, skus, injector, gateway, admin, service, hooks, newsroom, {"taobao": 0, "shopify": 0}
    )
