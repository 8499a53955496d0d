"""Nothing is sold twice, counted: in every round many orders claim the last piece of one SKU at the same moment, and exactly
one gets it. Orders go through the real absorber; who won is read from the stored fulfilments, not from what it answered."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Barrier
from typing import Any

from sqlalchemy import select

from pipeline.absorb import absorb_these
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.settings import Settings
from storage import tables as t
from storage.inbox import Arrival, put_arrivals, seal_arrivals

_AT_ONCE = 100
_WAREHOUSE = {
    "app_key": "app",
    "secret": "no-secret",
    "customer_id": "c1",
    "owner_code": "OWNER1",
    "warehouse_code": "WH01",
    "base_url": "http://127.0.0.1:9",
    "allow_private": True,
    "sender": {"name": "仓", "mobile": "13800000010", "province": "浙江省", "city": "杭州市", "address": "路"},
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What became of one database: `winners` is how many rounds had how many winners, `reserved` how many rounds have
    exactly one piece reserved."""

    database: str
    rounds: int
    claims: int
    at_once: int
    winners: dict[int, int]
    reserved: int
    seconds: float

    @property
    def good(self) -> bool:
        return self.winners == {1: self.rounds} and self.reserved == self.rounds


def run_claims(*, rounds: int, claims: int, databases: Sequence[str], at_once: int = _AT_ONCE) -> list[Claims]:
    """Run once on each database ("" is a temporary SQLite file); each should be empty. `at_once` transactions compete in
    every round, each with its share of the claims."""
    return [_run(rounds, claims, url, min(at_once, claims)) for url in databases]


def as_json(results: Sequence[Claims]) -> str:
    told = [asdict(each) | {"good": each.good} for each in results]
    return json.dumps({"bench": "claims", "good": all(each.good for each in results), "databases": told})


def _run(rounds: int, claims: int, url: str, at_once: int) -> Claims:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-claims-")))
        # The pool lends twice as many connections as `senders` asks for: every claim has one of its own.
        hub = open_hub(Settings(data_folder=folder, database_url=url, senders=max(1, at_once // 2)))
        stack.callback(close_hub, hub)
        pool = stack.enter_context(ThreadPoolExecutor(at_once))
        prefix = f"ONE-{hub.ids()}"
        account_id = _furnish(hub, prefix, rounds)
        began = time.monotonic()
        for n in range(rounds):
            ids = _order(hub, account_id, f"{prefix}-{n}", claims)
            _compete(hub, pool, [ids[first::at_once] for first in range(at_once)])
        seconds = round(time.monotonic() - began, 1)
        won, held = _count(hub, prefix)
        winners = Counter(won.get(f"{prefix}-{n}", 0) for n in range(rounds))
        reserved = sum(held[f"{prefix}-{n}"] == 1 for n in range(rounds))
        return Claims(hub.engine.dialect.name, rounds, claims, at_once, dict(winners), reserved, seconds)


def _furnish(hub: Hub, prefix: str, rounds: int) -> int:
    skus = [f"{prefix}-{n}" for n in range(rounds)]
    apply_values(
        hub,
        {
            "partners": [{"name": "claims"}],
            "warehouses": [{"name": "claims", "kind": "qimen", "info": {"country": "CN"}, "settings": _WAREHOUSE}],
            "accounts": [{"name": "claims", "channel": "standard", "partner": "claims", "settings": {"base_url": ""}}],
            "listings": [{"account": "claims", "external_sku": sku, "sku": sku} for sku in skus],
            "stock": [{"warehouse": "claims", "sku": sku, "on_hand": 1} for sku in skus],
        },
    )
    with hub.read() as tx:
        return int(tx.execute(select(t.accounts.c.id).where(t.accounts.c.name == "claims")).scalar_one())


def _order(hub: Hub, account_id: int, sku: str, claims: int) -> list[int]:
    arrivals = [
        Arrival(
            source_kind="account",
            source_id=account_id,
            kind="order",
            external_id=f"{sku}/{n}",
            body=json.dumps(_document(f"{sku}/{n}", sku), ensure_ascii=False).encode(),
        )
        for n in range(claims)
    ]
    with hub.write() as tx:
        return list(put_arrivals(tx, seal_arrivals(hub.vault, hub.ids.take, arrivals), hub.now()).values())


def _document(ident: str, sku: str) -> dict[str, Any]:
    place = {"country": "CN", "province": "浙江省", "city": "杭州市", "district": "余杭区", "street": "示例路1号"}
    return {
        "external_id": ident,
        "placed_at": "2026-11-21T10:00:00Z",
        "currency": "CNY",
        "payment": {"status": "paid"},
        "totals": {"paid": "10.00"},
        "ship_to": {"name": "张三", "phone": "13800138000", **place},
        "lines": [{"line_id": "1", "sku": sku, "quantity": 1, "unit_price": "10.00"}],
    }


def _compete(hub: Hub, pool: ThreadPoolExecutor, shares: Sequence[Sequence[int]]) -> None:
    gate = Barrier(len(shares))

    def claim(ids: Sequence[int]) -> int:
        gate.wait()
        return absorb_these(hub, ids)

    done = sum(pool.map(claim, shares))
    if done != sum(map(len, shares)):
        raise AssertionError(f"{done} claims of {sum(map(len, shares))} came to an end")


def _count(hub: Hub, prefix: str) -> tuple[Counter[str], dict[str, int]]:
    """Live fulfilments and reserved pieces per SKU, as they are stored."""
    f, x, s = t.fulfilments, t.fulfilment_lines, t.stock
    with hub.read() as tx:
        query = select(x.c.sku).join(f, f.c.id == x.c.fulfilment_id).where(f.c.state != "cancelled")
        won = Counter(tx.execute(query.where(x.c.sku.startswith(prefix))).scalars())
        held = {row.sku: row.reserved for row in tx.execute(select(s).where(s.c.sku.startswith(prefix)))}
    return won, held
