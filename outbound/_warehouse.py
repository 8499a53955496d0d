"""The machinery of every warehouse target: one frozen value per module, found by the file's existence (design.md §3),
plus a promise about repetition: after an unknown outcome `keyed` resends, `findable` looks first, `unsafe` is parked."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from domain.errors import HubError
from domain.order import Consignee, ShippingNews
from wire.budget import Budget
from wire.client import Client

Repeats = Literal["keyed", "findable", "unsafe"]


class Settings(BaseModel):
    """What an operator types in. Secrets are `SecretStr`; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    allow_private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One warehouse at work: its settings, the shared client, its budget, the clock."""

    warehouse: str
    settings: Any
    client: Client
    budget: Budget
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipmentLine:
    """One line of a shipment. `ref` is our line number within the fulfilment (comes back in news), money in minor units
    for the whole line: `amount` before, `discount` of it, `paid` for goods."""

    ref: str
    sku: str
    quantity: int
    title: str
    source_order: str
    source_line: str
    unit_price: int
    amount: int
    discount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """One fulfilment as a warehouse has to know it. `code` is our stable key; the same code never means other goods."""

    code: str
    order_number: str
    source_order: str
    channel: str
    shop: str
    currency: str
    placed_at: datetime
    paid_at: datetime | None
    created_at: datetime
    consignee: Consignee
    lines: tuple[ShipmentLine, ...]
    goods: int
    discount: int
    freight: int
    total: int
    cod: bool = False
    carrier: str = ""
    buyer_id: str = ""
    buyer_message: str = ""
    seller_memo: str = ""
    split: bool = False
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The warehouse has it: its own reference, "" if it gives none."""

    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAnswer:
    """The warehouse's verdict on a cancel. `unknown_order`: it says it has no such order."""

    cancelled: bool
    unknown_order: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StockLevel:
    """A snapshot of one SKU: `free` units not frozen, `locked` units frozen for orders the warehouse already has."""

    sku: str
    free: int
    locked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """What the warehouse sends us. `verify(headers, query, body, settings, now)` raises RefusedError on a bad signature;
    `news` reads one body into a list of events; `reply(error)` is the exact answer it expects (None = success): status,
    content type, body. `pieces` cuts a message about several orders into one for each, in the bytes as sent, each with its
    events."""

    verify: Callable[[Mapping[str, str], Mapping[str, str], bytes, Any, datetime], None]
    news: Callable[[bytes], tuple[ShippingNews, ...]]
    reply: Callable[[Exception | None], tuple[int, str, bytes]]
    pieces: Callable[[bytes], Sequence[tuple[bytes, tuple[ShippingNews, ...]]]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warehouse:
    """A kind of target we push fulfilments to. `find` answers None when the target does not know the code; `news` asks for
    one fulfilment's progress; it returns the raw body, which `read_news` reads (so that pulled and called-back news are
    stored alike). `send_many` sends first attempts together, at most `batch(settings)` of them, and gives one answer or
    error per shipment in their order; what it raises concerns them all."""

    name: str
    title: str
    settings: type[Settings]
    repeats: Callable[[Any], Repeats]
    send: Callable[[Session, Shipment], Accepted]
    find: Callable[[Session, str, str], Accepted | None]
    cancel: Callable[[Session, str, str, str], CancelAnswer]
    news: Callable[[Session, str, str], bytes | None] | None
    read_news: Callable[[bytes], tuple[ShippingNews, ...]]
    stock: Callable[[Session, Sequence[str]], tuple[StockLevel, ...]] | None = None
    callback: Callback | None = None
    budget: Callable[[Any], Budget] | None = None
    accepts_tokens: bool = False
    send_many: Callable[[Session, Sequence[Shipment]], Sequence[Accepted | HubError]] | None = None
    batch: Callable[[Any], int] | None = None


@cache
def warehouses() -> Mapping[str, Warehouse]:
    """Every kind of warehouse there is: the modules of this package that do not start with an underscore."""
    package = importlib.import_module(__package__)
    names = (module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))
    return {name: importlib.import_module(f"{__package__}.{name}").WAREHOUSE for name in names}
