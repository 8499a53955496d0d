"""The hub against a real shop: a Vendure server that nobody on this project wrote, with the sandbox's warehouses behind.

Customers order through the shop's own API while the hub runs; at the end the shop's own API says how every order ended."""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import scheduler
from domain.errors import ConfigError
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.reconcile import is_quiet, known_orders, unread_documents
from pipeline.references import exception_id
from pipeline.review import review
from pipeline.views import list_exceptions
from sandbox import Running
from sandbox import start as start_sandbox
from sandbox.live.shop import Shop, ShopError, Variant, available, prepare
from sandbox.live.shop import start as start_shop

from .demo import demo_settings, introduction, serving, warehouse
from .ledgers import call, get, ledger
from .live_customers import shop_around
from .live_judge import Ends, Wish, fault_of
from .tap import Tap, tapped

ACCOUNT = "vendure-live"
FOLDER = Path(__file__).parents[1] / ".live" / "vendure"
_LONGEST = 180.0
_SETTLED = 3.0
_SHIP_AFTER = "1.0,4.0"
_PERSON = "person:live"


@dataclass(slots=True)
class LiveReport:
    """How the orders ended, in orders. `excepted`: with an exception open at the end; `problems` must be empty."""

    orders: int
    as_they_should: int = 0
    shipped: int = 0
    cancelled: int = 0
    excepted: int = 0
    released: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.as_they_should == self.orders and not self.problems

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(slots=True)
class _Run:
    hub: Hub
    shop: Shop
    box: Running
    tap: Tap
    ours: Mapping[str, str]
    wishes: list[Wish] = field(default_factory=list)
    released: int = 0


def missing() -> str | None:
    """Why the real shop cannot run here, as one line; None if it can."""
    return available()


def run_live(
    *,
    orders: int = 50,
    seed: int = 1,
    faults: str = "none",
    database: str = "",
    folder: Path | None = None,
    say: Callable[[str], None] = print,
) -> LiveReport:
    """Install and start the shop, run `orders` orders through hub and warehouses, and ask the shop how they ended.

    `faults` are the warehouses' (none, some, storm); the shop is what it is. `database` "" uses a SQLite file in `folder` (a
    temporary one by default). ConfigError `live_shop` when the shop cannot be installed, started or used."""
    try:
        return _run_live(orders, seed, faults, database, folder, say)
    except ShopError as fault:
        raise ConfigError("live_shop", str(fault)) from fault


def _run_live(
    orders: int, seed: int, faults: str, database: str, folder: Path | None, say: Callable[[str], None]
) -> LiveReport:
    if not (FOLDER / "prepared").exists():
        say("installing a Vendure server (about 80 s, the first time only)")
    prepare(FOLDER)
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-live-")))
        shop = stack.enter_context(start_shop(FOLDER))
        box = stack.enter_context(start_sandbox(seed=seed, faults=faults, ship_after=_SHIP_AFTER))
        tap = stack.enter_context(tapped(box.qimen["url"]))
        # Polled three times a second, the shop on this machine would do little else.
        hub = open_hub(demo_settings(place, database).model_copy(update={"poll_seconds": 1.0}))
        stack.callback(close_hub, hub)
        variants = shop.variants()
        run = _Run(hub, shop, box, tap, configure(hub, shop, box, tap, variants))
        port = stack.enter_context(serving(hub))
        call(box, "hub", introduction(box, port))
        runner = scheduler.start(hub)
        stack.callback(runner.stop)
        say(f"shop {shop.url}, hub http://127.0.0.1:{port}: {orders} orders")
        began = time.monotonic()
        goods = [variant for variant in variants if variant.sku in run.ours]
        run.wishes = shop_around(shop, goods, orders, random.Random(seed))
        report = until_ended(run, orders, end=time.monotonic() + _LONGEST)
        report.seconds = round(time.monotonic() - began, 2)
        return report


def configure(hub: Hub, shop: Shop, box: Running, tap: Tap, variants: Sequence[Variant]) -> dict[str, str]:
    """The shop as an account, the sandbox's warehouses behind the tap, and each variant listed as an article of theirs. Returns the
    shop's SKU → theirs."""
    articles = [row for row in get(box, "catalog")["rows"] if not row["scarce"]]
    ours = {variant.sku: row["sku"] for variant, row in zip(variants, articles, strict=False)}
    shelves = {row["sku"]: row["stock"] for row in articles}
    account = {"base_url": shop.admin_url, "username": shop.user, "password": shop.password, "allow_private": True}
    apply_values(
        hub,
        {
            "warehouses": [_behind(tap, warehouse(box, told)) for told in box.qimen["warehouses"]],
            "accounts": [{"name": ACCOUNT, "channel": "vendure", "settings": account}],
            "listings": [{"account": ACCOUNT, "external_sku": theirs, "sku": sku} for theirs, sku in ours.items()],
            "stock": [
                {"warehouse": code.lower(), "sku": sku, "on_hand": units}
                for sku in ours.values()
                for code, units in shelves[sku].items()
            ],
        },
    )
    return ours


def _behind(tap: Tap, told: dict[str, Any]) -> dict[str, Any]:
    return told | {"settings": told["settings"] | {"base_url": tap.url}}


def until_ended(run: _Run, orders: int, *, end: float) -> LiveReport:
    """Wait until every order has ended as it should and nothing moves any more, or the time is up."""
    good_since: float | None = None
    while time.monotonic() < end:
        time.sleep(0.5)
        run.released += release(run.hub)
        report = compare(run, orders)
        if not (report.good and is_quiet(run.hub)):
            good_since = None
            continue
        good_since = good_since or time.monotonic()
        if time.monotonic() - good_since > _SETTLED:
            return report
    return compare(run, orders)


def release(hub: Hub) -> int:
    """Act as the person who looks at a changed address and lets the order go. Returns how many orders were released."""
    rows = list_exceptions(hub, account=ACCOUNT, code="hold_address_changed").rows
    for row in rows:
        review(
            hub, exception_id(row["id"]), "release", actor=_PERSON, note="the customer called: the new address is right"
        )
    return len(rows)


def compare(run: _Run, orders: int) -> LiveReport:
    """Hold the shop's own word against the warehouses' ledger and the hub's exceptions."""
    seen = {order.code: order for order in run.shop.orders()}
    documents: dict[str, list[dict[str, Any]]] = {}
    for row in ledger(run.box, "qimen"):
        documents.setdefault(row["source"], []).append(row)
    known = {order.external_id: order for order in known_orders(run.hub, ACCOUNT)}
    unread = unread_documents(run.hub, ACCOUNT)
    towns = {code: str(receiver.get("city", "")) for code, receiver in run.tap.receivers.items()}
    report = LiveReport(orders, released=run.released)
    report.problems += [f"{code}: the hub could not read it: {why}" for code, why in sorted(unread.items())]
    report.problems += [f"{code}: nobody placed it" for code in sorted(documents.keys() - {w.code for w in run.wishes})]
    for wish in run.wishes:
        order = known.get(wish.code)
        codes = order.codes if order else []
        ends = Ends(seen.get(wish.code), documents.get(wish.code, []), codes, towns)
        fault = fault_of(wish, ends, run.ours) if order else "the hub does not know it"
        report.as_they_should += not fault
        report.shipped += ends.seen is not None and ends.seen.state in {"Shipped", "Delivered"}
        report.cancelled += ends.seen is not None and ends.seen.state == "Cancelled"
        report.excepted += bool(codes)
        report.problems += [f"{wish.code} ({wish.fate}): {fault}"] if fault else []
    return report
