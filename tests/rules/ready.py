"""The worlds in which the ready rulesets are at home, and a decision in a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from domain.decision import Decision
from domain.facts import Facts, Goods, Sender, WarehouseInfo
from domain.order import Amounts, Consignee, Order
from rules.gifts import add_gifts
from tests.rules.samples import facts, line, order, warehouse

CHINA = timezone(timedelta(hours=8))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=CHINA)


@dataclass(frozen=True, kw_only=True)
class World:
    """Where a set is at home: warehouses with what they have of each SKU, and what is known of the goods."""

    now: str
    warehouses: tuple[WarehouseInfo, ...]
    stock: Mapping[str, Mapping[str, int]]
    goods: Mapping[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Example:
    """An order, what is known around it, and what is decided as `shown` writes it."""

    name: str
    goods: tuple[tuple[str, int, int], ...]
    to: str = "330106"
    order: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    now: str = ""
    decided: str = ""


def case(name: str, *goods: tuple[str, int, int], **more: Any) -> Example:
    return Example(name=name, goods=goods, **more)


def told(tags: str, **more: Any) -> dict[str, Any]:
    return {"tags": tuple(tags.split()), **more}


def by(partner: str, credit: int | None = None, **more: Any) -> dict[str, Any]:
    sender = Sender(account=partner, channel="standard", partner=partner, credit_left=credit, credit_currency="CNY")
    return {"sender": sender, "sender_orders_before": 50} | more


def known(**goods: tuple[int, str]) -> dict[str, dict[str, Any]]:
    """SKU = grams, classes."""
    return {
        sku.replace("_", "-"): {"weight_grams": grams, "classes": frozenset(classes.split())}
        for sku, (grams, classes) in goods.items()
    }


def build(world: World, example: Example) -> tuple[Order, Facts]:
    now = at(example.now or world.now)
    total = sum(units * price for _, units, price in example.goods)
    consignee = Consignee(name="张三", country="CN", region=example.to)
    lines = [
        line(sku, units, amount=units * price, unit_price=price, external_id=str(n))
        for n, (sku, units, price) in enumerate(example.goods)
    ]
    told = {"amounts": Amounts(goods=total, paid=total), "consignee": consignee, "placed_at": now, "paid_at": now}
    about = {sku: Goods(sku=sku, **values) for sku, values in world.goods.items()}
    stock = {(name, sku): units for name, mine in world.stock.items() for sku, units in mine.items()}
    extra = {"now": now, "goods": about, "sender_orders_before": 50} | dict(example.facts)
    return order(*lines, **(told | dict(example.order))), facts(stock, *world.warehouses, **extra)


def shown(content: Order, known: Facts, decision: Decision) -> str:
    """The decision in a line: holds; parts; gifts; how long it may wait for others; the first moment, in China; tags."""
    skus = [one.sku for one in add_gifts(content, decision.gifts, known).lines]
    told = [f"holds {' '.join(hold.code for hold in decision.holds)}"] if decision.holds else []
    for part in decision.parts:
        units = " ".join(f"{one.quantity}×{skus[one.line]}" for one in part.lines)
        told.append(f"{part.warehouse} {part.carrier} {units}{' waits' if part.waits else ''}")
    if decision.gifts:
        told.append(f"gifts {' '.join(f'{gift.quantity}×{gift.sku}' for gift in decision.gifts)}")
    if decision.merging is not None:
        told.append(f"merge {decision.merging.window_minutes}" if decision.merging.window_minutes else "alone")
    if decision.not_before is not None:
        told.append(f"from {decision.not_before.astimezone(CHINA):%m-%d %H:%M}")
    return "; ".join([*told, *(f"tag {tag}" for tag in decision.tags)])


SF, ZTO, YTO, EMS, DBL, JD = "SF", "ZTO", "YTO", "EMS", "DBL", "JD"
ALL = (SF, ZTO, YTO, EMS, DBL, JD)
WORLDS = {
    "e-commerce": World(
        now="2026-11-18T10:00",
        warehouses=(warehouse("wh-east", "3301", carriers=ALL), warehouse("wh-south", "4401", carriers=ALL)),
        stock={
            "wh-east": {"TEA": 50, "OIL": 50, "SOFA": 5, "GIFT-CUP": 1},
            "wh-south": {"TEA": 50, "OIL": 50, "GIFT-CUP": 1},
        },
        goods=known(TEA=(500, ""), OIL=(1000, "liquid"), SOFA=(18000, "installed"), GIFT_CUP=(200, "")),
    ),
    "flash-sale": World(
        now="2026-11-11T00:30",
        warehouses=(
            warehouse("wh-main", "3301", carriers=ALL),
            warehouse("wh-sale", "3101", carriers=ALL, capacity=100),
            warehouse("wh-overflow", "4401", carriers=ALL, capacity=100),
        ),
        stock={
            "wh-sale": {"SALE-1": 9, "SALE-2": 2, "GIFT-CUP": 5, "GIFT-BAG": 1},
            "wh-overflow": {"SALE-1": 9, "GIFT-CUP": 5},
            "wh-main": {"SOCKS": 9},
        },
        goods=known(SALE_1=(300, ""), SALE_2=(1500, ""), SOCKS=(100, "")),
    ),
    "distribution": World(
        now="2026-11-18T10:00",
        warehouses=(
            warehouse("wh-retail", "3301", carriers=ALL),
            warehouse("wh-main", "3101", carriers=ALL),
            warehouse("wh-partners", "4401", carriers=ALL),
        ),
        stock={
            name: {"POT": 900, "PAN": 900, "KEPT-1": 900, "CATALOGUE": 9}
            for name in ("wh-retail", "wh-main", "wh-partners")
        },
        goods=known(POT=(2000, ""), KEPT_1=(100, "")) | {"PAN": {"supplier": "panmaker"}},
    ),
    "cross-border": World(
        now="2026-11-18T10:00",
        warehouses=(
            warehouse("wh-bonded", "3301", carriers=(SF, ZTO)),
            WarehouseInfo(name="wh-abroad", country="JP", carriers=(EMS,)),
            warehouse("wh-home", "3301", carriers=ALL),
        ),
        stock={
            "wh-bonded": {"MILK": 90, "SERUM": 90, "CREAM": 90},
            "wh-abroad": {"BAG": 90},
            "wh-home": {"MILK": 90, "BAG": 90},
        },
        goods=known(
            MILK=(900, "bonded"), SERUM=(50, "bonded cosmetic"), CREAM=(50, "bonded cosmetic"), BAG=(700, "direct")
        ),
    ),
    "cold-chain": World(
        now="2026-11-18T10:00",
        warehouses=(
            warehouse("wh-dry", "3301", carriers=(ZTO, YTO)),
            warehouse("wh-cold-east", "3101", carriers=(SF, ZTO)),
            warehouse("wh-cold-south", "4401", carriers=(JD, ZTO)),
        ),
        stock={
            "wh-dry": {"RICE": 90, "FISH": 90},
            "wh-cold-east": {"FISH": 90, "ICE": 90, "ICE-PACK": 90, "RICE": 9},
            "wh-cold-south": {"FISH": 90, "LYCHEE": 90, "ICE-PACK": 90},
        },
        goods=known(
            RICE=(5000, "dry"),
            FISH=(4000, "chilled"),
            LYCHEE=(1000, "chilled"),
            ICE=(500, "frozen"),
            ICE_PACK=(300, "ice"),
        ),
    ),
}
