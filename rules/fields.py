"""The closed list of what a rule may look at, and which tests each kind of field has.

Names, phones, streets and the text of tokens are not on the list, so no rule can leak or depend on them. Lines that are
cancelled do not count in any order field and are skipped by `any_line` and `all_lines`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Literal, get_args

from domain.order import Line, LineState, Order, OrderStatus, Payment

Kind = Literal["text", "number", "money", "time", "region", "set", "yesno"]
Scope = Literal["order", "facts", "line"]

_EMPTY = frozenset({"empty", "present"})
_ORDERED = frozenset({"lt", "le", "gt", "ge", "between"})
OPERATORS: MappingProxyType[Kind, frozenset[str]] = MappingProxyType(
    {
        "text": frozenset({"eq", "ne", "in", "in_list", "contains", "starts_with"}) | _EMPTY,
        "number": frozenset({"eq", "ne", "in"}) | _ORDERED,
        "money": frozenset({"eq", "ne"}) | _ORDERED,
        "time": _ORDERED | _EMPTY,
        "region": frozenset({"eq", "ne", "in", "in_list", "starts_with"}) | _EMPTY,
        "set": frozenset({"contains", "in", "in_list"}) | _EMPTY,
        "yesno": frozenset({"eq"}),
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """One thing a rule may look at. `get` takes the order, the facts or the line (`scope`); money is minor units of the
    order's currency. A `private` text never shows in a trace, only its length; `choices` are all values it can have."""

    name: str
    kind: Kind
    scope: Scope
    get: Callable[[Any], Any]
    private: bool = False
    choices: frozenset[str] = frozenset()


def live_lines(order: Order) -> list[Line]:
    """The lines that are not cancelled."""
    return [line for line in order.lines if line.state != "cancelled"]


def _line_count(order: Order) -> int:
    return len(live_lines(order))


def _units(order: Order) -> int:
    return sum(line.quantity for line in order.lines if line.state != "cancelled")


def _weight(order: Order) -> int:
    return sum(line.weight_grams * line.quantity for line in order.lines if line.state != "cancelled")


def _line_skus(line: Line) -> tuple[str, ...]:
    parts = tuple(component.sku for component in line.components)
    return (line.sku, *parts) if line.sku else parts


def _order_skus(order: Order) -> frozenset[str]:
    return frozenset(sku for line in order.lines if line.state != "cancelled" for sku in _line_skus(line))


def _has_message(order: Order) -> bool:
    return bool(order.buyer_message) and not order.buyer_message.isspace()


def _has_memo(order: Order) -> bool:
    return bool(order.seller_memo) and not order.seller_memo.isspace()


def _whole(subject: Order) -> Any:
    return subject.consignee


def _text(name: str, scope: Scope, path: str, **more: Any) -> Field:
    return Field(name, "text", scope, attrgetter(path), **more)


_STATES = frozenset(get_args(LineState))
_ALL = (
    _text("order.status", "order", "status", choices=frozenset(get_args(OrderStatus))),
    _text("order.payment", "order", "payment", choices=frozenset(get_args(Payment))),
    _text("order.source_status", "order", "source_status"),
    _text("order.currency", "order", "currency"),
    _text("order.seller_flag", "order", "seller_flag"),
    _text("order.buyer_message", "order", "buyer_message", private=True),
    _text("order.seller_memo", "order", "seller_memo", private=True),
    Field("order.has_buyer_message", "yesno", "order", _has_message),
    Field("order.has_seller_memo", "yesno", "order", _has_memo),
    Field("order.placed_at", "time", "order", attrgetter("placed_at")),
    Field("order.paid_at", "time", "order", attrgetter("paid_at")),
    Field("order.source_time", "time", "order", attrgetter("source_time")),
    Field("order.tags", "set", "order", attrgetter("tags")),
    Field("order.notes", "set", "order", attrgetter("notes")),
    Field("order.forbids_shipping", "set", "order", attrgetter("forbids_shipping")),
    Field("order.skus", "set", "order", _order_skus),
    Field("order.line_count", "number", "order", _line_count),
    Field("order.units", "number", "order", _units),
    Field("order.weight_grams", "number", "order", _weight),
    Field("amounts.goods", "money", "order", attrgetter("amounts.goods")),
    Field("amounts.freight", "money", "order", attrgetter("amounts.freight")),
    Field("amounts.tax", "money", "order", attrgetter("amounts.tax")),
    Field("amounts.discount", "money", "order", attrgetter("amounts.discount")),
    Field("amounts.paid", "money", "order", attrgetter("amounts.paid")),
    _text("consignee.country", "order", "consignee.country"),
    Field("consignee.region", "region", "order", _whole),
    Field("consignee.masked", "yesno", "order", attrgetter("consignee.masked")),
    _text("sender.account", "facts", "sender.account"),
    _text("sender.channel", "facts", "sender.channel"),
    _text("sender.partner", "facts", "sender.partner"),
    Field("buyer.orders_24h", "number", "facts", attrgetter("buyer_orders_24h")),
    Field("now", "time", "facts", attrgetter("now")),
    _text("line.sku", "line", "sku"),
    _text("line.external_sku", "line", "external_sku"),
    _text("line.listing_id", "line", "listing_id"),
    _text("line.title", "line", "title"),
    _text("line.state", "line", "state", choices=_STATES),
    Field("line.skus", "set", "line", _line_skus),
    Field("line.quantity", "number", "line", attrgetter("quantity")),
    Field("line.weight_grams", "number", "line", attrgetter("weight_grams")),
    Field("line.unit_price", "money", "line", attrgetter("unit_price")),
    Field("line.amount", "money", "line", attrgetter("amount")),
    Field("line.discount", "money", "line", attrgetter("discount")),
    Field("line.paid", "money", "line", attrgetter("paid")),
    Field("line.requires_shipping", "yesno", "line", attrgetter("requires_shipping")),
)
FIELDS: MappingProxyType[str, Field] = MappingProxyType({field.name: field for field in _ALL})
