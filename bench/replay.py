"""How long a draft takes to be tried on past orders: orders of a generated year-end go through absorb as any order does,
then a draft that routes, holds and tags differently is replayed on all of them, twice."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

import zstandard

from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.dossier import PRIVATE, RECORD
from pipeline.replay import replay_document
from pipeline.settings import Settings
from sandbox.places import CHINA
from storage.directory import load_accounts
from storage.inbox import Arrival, put_arrivals, seal_arrivals
from storage.replays import list_decisions

BEGAN = datetime(2026, 11, 11, 0, 0, tzinfo=UTC)
_SITES = (
    ("wh-hz", "33", "3301"),
    ("wh-gz", "44", "4401"),
    ("wh-cd", "51", "5101"),
    ("wh-wh", "42", "4201"),
    ("wh-bj", "11", "1101"),
)
_SKUS = 200
_ACCOUNTS = 20
_CHUNK = 2_000
_GOODS = ("春季新款连衣裙", "男士休闲裤", "保温杯", "无线充电器", "儿童书包", "帆布包", "运动水壶", "抱枕")
_SENDER = {
    "name": "仓",
    "mobile": "13800000000",
    "province": "浙江省",
    "city": "杭州市",
    "area": "余杭区",
    "address": "示例路1号",
}


@contextlib.contextmanager
def generated(orders: int, seed: int, database: str = "") -> Iterator[Hub]:
    """A hub with that many absorbed orders; on a temporary SQLite file unless a database is named."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-replay-")))
        clock = iter(BEGAN + timedelta(milliseconds=7 * n) for n in range(10**12))
        hub = open_hub(Settings(data_folder=folder, database_url=database), clock=lambda: next(clock))
        stack.callback(close_hub, hub)
        furnish(hub)
        fill(hub, orders, seed)
        yield hub


def furnish(hub: Hub) -> None:
    """Five warehouses, twenty accounts of partners, two hundred articles that are in some of the warehouses."""
    qimen = {"base_url": "http://127.0.0.1:9", "app_key": "k", "secret": "s", "customer_id": "c", "allow_private": True}
    qimen |= {"owner_code": "o", "warehouse_code": "w", "sender": _SENDER}
    rng = Random("stock")
    skus = [f"SKU-{1000 + n}" for n in range(_SKUS)]
    accounts = [f"shop-{n:02}" for n in range(_ACCOUNTS)]
    apply_values(
        hub,
        {
            "partners": [{"name": name} for name in accounts],
            "warehouses": [
                {
                    "name": name,
                    "kind": "qimen",
                    "settings": qimen,
                    "info": {"country": "CN", "province": province, "city": city, "carriers": ["SF", "ZTO", "YTO"]},
                }
                for name, province, city in _SITES
            ],
            "accounts": [
                {"name": name, "channel": "standard", "partner": name, "settings": {"base_url": ""}}
                for name in accounts
            ],
            "listings": [
                {"account": name, "external_sku": f"X-{sku}", "sku": sku} for name in accounts for sku in skus
            ],
            "stock": [
                {"warehouse": site[0], "sku": sku, "on_hand": rng.choice((0, 200, 5_000, 1_000_000))}
                for site in _SITES
                for sku in skus
            ]
            + [{"warehouse": "wh-hz", "sku": f"{sku}-BACK", "on_hand": 0} for sku in skus[:1]],
        },
    )


def fill(hub: Hub, orders: int, seed: int) -> None:
    """Post and absorb that many orders, all decided by the ruleset in force."""
    rng = Random(f"{seed}:past")
    with hub.read() as tx:
        accounts = [row["id"] for row in load_accounts(tx)]
    for start in range(0, orders, _CHUNK):
        arrivals = [_arrival(rng, accounts, n) for n in range(start, min(start + _CHUNK, orders))]
        with hub.write() as tx:
            put_arrivals(tx, seal_arrivals(hub.vault, hub.ids.take, arrivals), hub.now())
        absorb_all(hub)


def _arrival(rng: Random, accounts: list[int], number: int) -> Arrival:
    document = order_document(rng, number)
    return Arrival(
        source_kind="account",
        source_id=accounts[number % len(accounts)],
        kind="order",
        external_id=document["external_id"],
        body=json.dumps(document, ensure_ascii=False).encode(),
        version="",
    )


def order_document(rng: Random, number: int) -> dict[str, Any]:
    """One order of the standard API, for an invented receiver at a real division."""
    province, city, district, _town = rng.choice(CHINA)
    placed = BEGAN - timedelta(seconds=rng.randrange(3 * 86_400))
    lines = [_line(rng, n) for n in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    paid = sum(int(line["unit_price"].replace(".", "")) * line["quantity"] for line in lines)
    return {
        "external_id": f"PO-{number:08}",
        "placed_at": placed.isoformat(),
        "paid_at": (placed + timedelta(seconds=rng.randrange(600))).isoformat(),
        "updated_at": placed.isoformat(),
        "currency": "CNY",
        "payment": {"status": "paid"},
        "totals": {"paid": f"{paid // 100}.{paid % 100:02}"},
        "ship_to": {
            "name": rng.choice(("王伟", "李娜", "张敏")),
            "phone": f"138{rng.randrange(10**8):08}",
            "country": "CN",
            "province": province,
            "city": city,
            "district": district,
            "street": f"示例路{rng.randrange(1, 999)}号",
        },
        "lines": lines,
        "buyer_message": rng.choice(("请尽快发货", "放门卫", "要发票")) if rng.random() < 0.05 else "",
        "buyer_id": f"b{rng.randrange(100_000)}",
        "tags": ["vip"] if rng.random() < 0.1 else [],
    }


def _line(rng: Random, number: int) -> dict[str, Any]:
    sku, fen = f"X-SKU-{1000 + rng.randrange(_SKUS)}", rng.randrange(990, 29_900)
    return {
        "line_id": str(number + 1),
        "sku": sku,
        "quantity": rng.choice((1, 1, 1, 2, 3)),
        "unit_price": f"{fen // 100}.{fen % 100:02}",
        "title": f"{rng.choice(_GOODS)} {rng.choice(('红色', '黑色', '白色'))} {rng.choice('SMLX')}",
        "weight_grams": rng.randrange(50, 2_000),
    }


def plain_records(hub: Hub, limit: int) -> list[bytes]:
    """Opened decision records, as they were before they were compressed."""
    with hub.read() as tx:
        rows = list_decisions(tx, before=2**62, since=0, limit=limit)
    return [hub.vault.open(RECORD, row["id"], row["record"]) for row in rows]


def plain_privates(hub: Hub, limit: int) -> list[bytes]:
    """Opened private blobs of orders."""
    with hub.read() as tx:
        rows = tx.exec_driver_sql(f"select id, private from orders order by id limit {limit:d}").all()  # noqa: S608
    return [hub.vault.open(PRIVATE, row[0], row[1]) for row in rows]


def train_preset(place: str, orders: int, seed: int, size: int = 8_192) -> bytes:
    """A zstd dictionary from generated orders' blobs of one place (`decisions.record`, `orders.private`): what the files
    storage/preset-N.zdict hold."""
    rng = Random(f"{seed}:preset")
    with generated(orders, seed) as hub:
        blobs = plain_records(hub, orders) if place == RECORD else plain_privates(hub, orders)
        return zstandard.train_dictionary(size, [_disguised(rng, each) for each in blobs]).as_bytes()


def train_documents(kinds: Sequence[Sequence[bytes]], seed: int, size: int = 8_192, each: int = 300) -> bytes:
    """The same from documents of several kinds, as many of `each`: of what an inbox was sent in a demo and what partners write."""
    rng = Random(f"{seed}:preset")
    disguised = [[_disguised(rng, body) for body in bodies] for bodies in kinds]
    samples: list[bytes | bytearray | memoryview] = [body for kind in disguised for body in islice(cycle(kind), each)]
    return zstandard.train_dictionary(size, samples).as_bytes()


def _disguised(rng: Random, record: bytes) -> bytes:
    """The record with other names of goods, warehouses, people and contexts: the dictionary is to know what every
    installation's records have in common, not this one's names."""
    names: dict[str, str] = {}

    def other(found: re.Match[str]) -> str:
        alphabet = "0123456789" if found[0].isdigit() else "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789-"
        return names.setdefault(found[0], "".join(rng.choices(alphabet, k=len(found[0]))))

    pattern = r"X-SKU-\d+|SKU-\d+|wh-\w\w|(?<=\"[nw]\":\")[^\"]{16}|(?<=\"name\":\")[^\"]+|\d{6,}|[0-9a-f]{24}"
    return re.sub(pattern, other, record.decode()).encode()


def resident() -> int:
    """The most memory this process ever held, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


DRAFT: dict[str, Any] = {
    "version": "bench-draft",
    "rules": [
        {
            "id": "hold-dear",
            "phase": "hold",
            "when": {"field": "amounts.paid", "op": "gt", "value": 80_000},
            "then": {"hold": "hold_dear", "detail": "somebody looks at dear orders"},
        },
        {
            "id": "south-from-cd",
            "phase": "route",
            "when": {"field": "consignee.region", "op": "in", "value": ["44", "45"]},
            "then": {"route": {"warehouses": ["wh-cd"]}},
        },
        {
            "id": "vip",
            "phase": "tag",
            "when": {"field": "order.tags", "op": "contains", "value": "vip"},
            "then": {"tag": "first"},
        },
        *(
            {
                "id": f"tag-{n}",
                "phase": "tag",
                "when": {"any_line": {"field": "line.sku", "op": "eq", "value": f"SKU-{1000 + n}"}},
                "then": {"tag": f"t{n}"},
            }
            for n in range(27)
        ),
    ],
    "routing": {"default_carriers": ["SF", "ZTO", "YTO"]},
}


def measure_replay(orders: int, seed: int, database: str = "") -> dict[str, Any]:
    """Seconds to generate and to replay, twice, and whether both replays said the same byte for byte."""
    began = time.monotonic()
    with generated(orders, seed, database) as hub:
        filled = time.monotonic()
        size = sum(map(len, plain_records(hub, 2_000)))
        before = resident()
        document = json.dumps(DRAFT).encode()
        first = replay_document(hub, document, last=orders)
        once = time.monotonic()
        second = replay_document(hub, document, last=orders)
        return {
            "bench": "replay",
            "value": round(once - filled, 2),
            "orders": first["orders"],
            "good": first == second and first["orders"] == first["reproduced"] == orders,
            "seconds": round(once - filled, 2),
            "again_seconds": round(time.monotonic() - once, 2),
            "generate_seconds": round(filled - began, 2),
            "changed": first["changed"],
            "digest": first["digest"],
            "resident_before": before,
            "resident": resident(),
            "record_bytes": size // min(orders, 2_000),
        }
