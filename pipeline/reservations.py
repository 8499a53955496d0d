"""What an order's plan holds besides units: for how long while nobody has paid, and which place in a warehouse's day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from domain.order import Order
from storage.rows import Row
from storage.times import micros

from .directory import Account
from .dossier import Dossier
from .limits import day_of
from .workspace import Workspace


def may_reserve(ws: Workspace, dossier: Dossier, account: Account, order: Order, *, waiting: bool) -> bool:
    """Whether units may be taken for this order: always once it is paid; before that (`waiting`) only where its account
    says so, and no longer than it says (domain.md §4: unpaid timeout per product class)."""
    dossier.order["reserved_until"] = None
    if not waiting:
        dossier.private.pop("reservation_over", None)
        return True
    if not account.terms.on_order or dossier.private.get("reservation_over"):
        return False
    classes = [ws.goods[line.sku].classes if line.sku in ws.goods else frozenset[str]() for line in order.lines]
    minutes = min(map(account.terms.unpaid_for, classes))
    until = dossier.order["reserved_until"] = micros(order.placed_at + timedelta(minutes=minutes))
    return until > ws.now


def held_places(ws: Workspace, fulfilments: Iterable[Row]) -> Counter[str]:
    """Places in the present day of each warehouse that these fulfilments hold."""
    held: Counter[str] = Counter()
    for row in fulfilments:
        target = ws.directory.targets.get(row["warehouse_id"])
        if target is not None and row["day"] is not None:
            held[target.name] += row["day"] == day_of(target.info, ws.at)
    return held


def set_day(dossier: Dossier, fulfilment: Row, day: int | None) -> None:
    """Move a fulfilment to another day of its warehouse (None: out of all)."""
    if fulfilment["day"] == day:
        return
    for place, count in ((fulfilment["day"], -1), (day, 1)):
        if place is not None:
            dossier.slots.append((fulfilment["warehouse_id"], place, count))
    fulfilment["day"] = day
