"""What is known around an order when it is checked and decided. Loaded for a whole batch by a few queries, then handed to
pure functions, and stored with the decision so that it can be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The account or partner an order came from. None in an `allowed_*` field means no limit; `credit_left` is minor
    units of `credit_currency`."""

    account: str
    channel: str
    partner: str = ""
    active: bool = True
    contract_from: datetime | None = None
    contract_to: datetime | None = None
    allowed_skus: frozenset[str] | None = None
    allowed_regions: tuple[str, ...] | None = None
    allowed_warehouses: frozenset[str] | None = None
    credit_left: int | None = None
    credit_currency: str = ""
    cod_allowed: bool = False
    tokens_usable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One mapping of a source SKU to one of ours for one account. `quantity` is how many of ours one of theirs is;
    `floor_price` is per source unit in minor units (None: no floor)."""

    external_sku: str
    sku: str
    quantity: int = 1
    listed: bool = True
    floor_price: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle SKU and what it holds, at one version."""

    sku: str
    version: int
    components: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """What is known of one of our SKUs besides its stock: grams and millilitres per unit (0: unknown), whose goods they
    are ("" ours), and named classes that rules speak of (`cold`, `liquid`, `hazardous`, `fragile`, …)."""

    sku: str
    weight_grams: int = 0
    volume_ml: int = 0
    supplier: str = ""
    classes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarehouseInfo:
    """A warehouse as routing sees it. `regions` are division-code prefixes or ISO codes it delivers to (None: anywhere);
    `province`/`city` are its own division codes (two and four digits) or ISO codes outside China. `capacity` is how many
    fulfilments it takes per day of its own clock (None: no limit), `cut_off` the minute of that day after which an order
    counts for the next day (None: none), `utc_offset` its clock in minutes east of UTC; `parcel_cost` is what one parcel
    costs there in minor units, before the carrier's price. `suppliers` are whose goods it ships (None: everybody's)."""

    name: str
    country: str = "CN"
    province: str = ""
    city: str = ""
    priority: int = 0
    regions: tuple[str, ...] | None = None
    carriers: tuple[str, ...] = ()
    accepts_tokens: bool = True
    capacity: int | None = None
    cut_off: int | None = None
    utc_offset: int = 480
    parcel_cost: int = 0
    suppliers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything `check` and `decide` may look at besides the order. `available` is ATP per (warehouse, sku): on hand -
    reserved - buffer, already less what earlier orders of the same batch took; `stale` are the (warehouse, sku) whose
    snapshot is too old to sell from; `backorder` are the SKUs that may be sold without stock. `goods` is by our SKU;
    `planned_today` how many fulfilments each warehouse (by name) has been given for its present day. `buyer_orders_30d`
    and `sender_orders_before` (orders this account or partner ever sent before this one, counted up to 1,000) are history
    like `buyer_orders_24h`."""

    now: datetime
    sender: Sender
    listings: Mapping[str, tuple[Listing, ...]] = field(default_factory=dict)
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    warehouses: tuple[WarehouseInfo, ...] = ()
    available: Mapping[tuple[str, str], int] = field(default_factory=dict)
    stale: frozenset[tuple[str, str]] = frozenset()
    backorder: frozenset[str] = frozenset()
    buyer_orders_24h: int = 0
    buyer_orders_30d: int = 0
    sender_orders_before: int = 1000
    goods: Mapping[str, Goods] = field(default_factory=dict)
    planned_today: Mapping[str, int] = field(default_factory=dict)
    waived: frozenset[str] = frozenset()
