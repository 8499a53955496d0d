"""Which part of its order a document of a batch needs. News of a warehouse touches nothing that is private; and a newer version
of an order that is over - mostly the source showing what we told it - changes what the source says and nothing else: it is
not decided again, so no goods, history or sendings are looked at (docs/decisions/0024)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from domain.order import Order
from storage import tables as t
from storage.rows import Row

from .dossier import Extract

# What `take_news` looks at and changes.
_NEWS = Extract(
    frozenset({t.outbox, t.order_lines, t.fulfilments, t.fulfilment_lines, t.packages, t.package_lines, t.exceptions})
)
# What `take_order` looks at and changes of an order that is over, when the source neither closes it nor tells of a refund.
_OVER = Extract(frozenset({t.order_lines, t.packages}), opened=True)

Key = tuple[int, str]


@dataclass(slots=True)
class Needs:
    """What the documents of one batch need of their orders. `plain` says of each order with documents (account id, external id)
    whether all of them only tell its state, `told` are the orders with news, `shared` those of a warehouse order for
    several; `over` are the orders found to be over, as far as a part of them was enough."""

    plain: Mapping[Key, bool]
    told: frozenset[int]
    shared: frozenset[int]
    over: set[Key] = field(default_factory=set)

    def part_of(self, row: Row) -> Extract | None:
        """What is loaded of the order of this row, None for all of it."""
        key = (row["account_id"], row["external_id"])
        plain = self.plain.get(key)
        if plain is None:
            return _NEWS if row["id"] in self.told and row["id"] not in self.shared else None
        if plain and row["id"] not in self.told and is_over(row):
            self.over.add(key)
            return _OVER
        return None


def is_over(row: Row) -> bool:
    """Whether nothing is planned for this order any more, whatever its source says."""
    return row["status"] in {"closed", "completed"} or row["cancelled_at"] is not None


def needs_of(orders: Iterable[tuple[int, Order]], told: Iterable[int], shared: Iterable[int]) -> Needs:
    """What documents need that were read as these orders (account id, order), and as news of the orders `told`."""
    plain: dict[Key, bool] = {}
    for account_id, order in orders:
        key = (account_id, order.external_id)
        plain[key] = plain.get(key, True) and order.status != "closed" and not order.after_sales
    return Needs(plain, frozenset(told), frozenset(shared))
