"""The closed list of what a rule may look at, and which tests each kind of field has.

Names, phones and the text of tokens are not on the list, so no rule can leak or depend on them; a street can be compared
and never shows. Lines that are cancelled do not count in any order field and are skipped by `any_line`, `all_lines`,
`count` and `sum`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter, methodcaller
from types import MappingProxyType
from typing import Any, Literal, get_args

from domain.facts import Facts
from domain.order import Line, LineState, Order, OrderStatus, Payment

from .gifts import is_gift
from .goods import (
    line_classes,
    line_skus,
    line_supplier,
    live_lines,
    order_classes,
    order_suppliers,
    unit_volume,
    unit_weight,
)
from .ranking import available
from .routing import build_demand, total_needs

Kind = Literal["text", "number", "money", "time", "region", "set", "yesno"]
Scope = Literal["order", "facts", "clock", "line", "part"]

_EMPTY = frozenset({"empty", "present"})
_ORDERED = frozenset({"lt", "le", "gt", "ge", "between"})
OPERATORS: MappingProxyType[Kind, frozenset[str]] = MappingProxyType(
    {
        "text": frozenset({"eq", "ne", "in", "in_list", "contains", "starts_with"}) | _EMPTY,
        "number": frozenset({"eq", "ne", "in"}) | _ORDERED | _EMPTY,
        "money": frozenset({"eq", "ne"}) | _ORDERED | _EMPTY,
        "time": _ORDERED | _EMPTY,
        "region": frozenset({"eq", "ne", "in", "in_list", "starts_with"}) | _EMPTY,
        "set": frozenset({"contains", "in", "in_list"}) | _EMPTY,
        "yesno": frozenset({"eq"}),
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """One thing a rule may look at. `get` takes what `scope` says - the order, the facts, the local time of the ruleset's
    clock, the line, the PartView - or, if `joint`, a pair of that and the facts. Money is minor units of the order's
    currency. A `private` text never shows in a trace, only its length; `choices` are all values it can have; an
    `optional` number may be None, and then every test but empty and present is no; `per_unit` says that a sum over lines
    counts it once for every unit; `dated` texts are days, YYYY-MM-DD."""

    name: str
    kind: Kind
    scope: Scope
    get: Callable[[Any], Any]
    private: bool = False
    choices: frozenset[str] = frozenset()
    joint: bool = False
    optional: bool = False
    per_unit: bool = False
    dated: bool = False


_MINUTE = timedelta(minutes=1)
OrderAndFacts = tuple[Order, Facts]
LineAndFacts = tuple[Line, Facts]


def _line_count(order: Order) -> int:
    return len(live_lines(order))


def _units(order: Order) -> int:
    return sum([line.quantity for line in order.lines if line.state != "cancelled"])


def _weight(seen: OrderAndFacts) -> int:
    order, facts = seen
    return sum([unit_weight(line, facts.goods) * line.quantity for line in live_lines(order)])


def _volume(seen: OrderAndFacts) -> int:
    order, facts = seen
    return sum([unit_volume(line, facts.goods) * line.quantity for line in live_lines(order)])


def _order_skus(order: Order) -> frozenset[str]:
    return frozenset(sku for line in order.lines if line.state != "cancelled" for sku in line_skus(line))


def _has_message(order: Order) -> bool:
    return bool(order.buyer_message) and not order.buyer_message.isspace()


def _has_memo(order: Order) -> bool:
    return bool(order.seller_memo) and not order.seller_memo.isspace()


def _has_gift(order: Order) -> bool:
    return any(is_gift(line) or not (line.unit_price or line.amount) for line in live_lines(order))


def _virtual(order: Order) -> bool:
    lines = live_lines(order)
    return bool(lines) and not any(line.requires_shipping for line in lines)


def _paid_age(seen: OrderAndFacts) -> int | None:
    order, facts = seen
    return None if order.paid_at is None else (facts.now - order.paid_at) // _MINUTE


def _first_order(facts: Facts) -> bool:
    return facts.sender_orders_before == 0


def _short(seen: OrderAndFacts) -> bool:
    order, facts = seen
    needs = total_needs(build_demand(order) or ())
    return any(sum(available(facts, one.name, sku) for one in facts.warehouses) < n for sku, n in needs.items())


def _complete_warehouses(seen: OrderAndFacts) -> int:
    order, facts = seen
    needs = total_needs(build_demand(order) or ()).items()
    if not needs:
        return 0
    return sum(all(available(facts, one.name, sku) >= units for sku, units in needs) for one in facts.warehouses)


def _day(local: datetime) -> str:
    return local.date().isoformat()


def _minute(local: datetime) -> int:
    return local.hour * 60 + local.minute


def _whole(subject: Order) -> Any:
    return subject.consignee


def _text(name: str, scope: Scope, path: str, **more: Any) -> Field:
    return Field(name, "text", scope, attrgetter(path), **more)


def _by_goods(name: str, kind: Kind, scope: Scope, read: Callable[[Any, Any], Any], **more: Any) -> Field:
    return Field(name, kind, scope, lambda seen: read(seen[0], seen[1].goods), joint=True, **more)


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
    Field("order.weight_grams", "number", "order", _weight, joint=True),
    Field("order.volume_ml", "number", "order", _volume, joint=True),
    _by_goods("order.classes", "set", "order", order_classes),
    _by_goods("order.suppliers", "set", "order", order_suppliers),
    Field("order.has_gift", "yesno", "order", _has_gift),
    Field("order.virtual", "yesno", "order", _virtual),
    Field("order.paid_age_minutes", "number", "order", _paid_age, joint=True, optional=True),
    Field("amounts.goods", "money", "order", attrgetter("amounts.goods")),
    Field("amounts.freight", "money", "order", attrgetter("amounts.freight")),
    Field("amounts.tax", "money", "order", attrgetter("amounts.tax")),
    Field("amounts.discount", "money", "order", attrgetter("amounts.discount")),
    Field("amounts.paid", "money", "order", attrgetter("amounts.paid")),
    _text("consignee.country", "order", "consignee.country"),
    Field("consignee.region", "region", "order", _whole),
    Field("consignee.masked", "yesno", "order", attrgetter("consignee.masked")),
    _text("consignee.province", "order", "consignee.province", private=True),
    _text("consignee.city", "order", "consignee.city", private=True),
    _text("consignee.street", "order", "consignee.street", private=True),
    _text("sender.account", "facts", "sender.account"),
    _text("sender.channel", "facts", "sender.channel"),
    _text("sender.partner", "facts", "sender.partner"),
    Field("sender.credit_left", "money", "facts", attrgetter("sender.credit_left"), optional=True),
    Field("sender.orders_before", "number", "facts", attrgetter("sender_orders_before")),
    Field("sender.first_order", "yesno", "facts", _first_order),
    Field("buyer.orders_24h", "number", "facts", attrgetter("buyer_orders_24h")),
    Field("buyer.orders_30d", "number", "facts", attrgetter("buyer_orders_30d")),
    Field("stock.short", "yesno", "order", _short, joint=True),
    Field("stock.complete_warehouses", "number", "order", _complete_warehouses, joint=True),
    Field("now", "time", "facts", attrgetter("now")),
    Field("calendar.date", "text", "clock", _day, dated=True),
    Field("calendar.weekday", "number", "clock", methodcaller("isoweekday")),
    Field("calendar.minute", "number", "clock", _minute),
    _text("line.sku", "line", "sku"),
    _text("line.external_sku", "line", "external_sku"),
    _text("line.listing_id", "line", "listing_id"),
    _text("line.title", "line", "title"),
    _text("line.state", "line", "state", choices=_STATES),
    Field("line.skus", "set", "line", line_skus),
    Field("line.quantity", "number", "line", attrgetter("quantity")),
    _by_goods("line.weight_grams", "number", "line", unit_weight, per_unit=True),
    _by_goods("line.volume_ml", "number", "line", unit_volume, per_unit=True),
    _by_goods("line.classes", "set", "line", line_classes),
    _by_goods("line.supplier", "text", "line", line_supplier),
    Field("line.unit_price", "money", "line", attrgetter("unit_price"), per_unit=True),
    Field("line.amount", "money", "line", attrgetter("amount")),
    Field("line.discount", "money", "line", attrgetter("discount")),
    Field("line.paid", "money", "line", attrgetter("paid")),
    Field("line.requires_shipping", "yesno", "line", attrgetter("requires_shipping")),
    _text("part.warehouse", "part", "warehouse"),
    Field("part.units", "number", "part", attrgetter("units")),
    Field("part.weight_grams", "number", "part", attrgetter("weight_grams")),
    Field("part.volume_ml", "number", "part", attrgetter("volume_ml")),
    Field("part.value", "money", "part", attrgetter("value")),
    Field("part.classes", "set", "part", attrgetter("classes")),
    _text("part.supplier", "part", "supplier"),
)
FIELDS: MappingProxyType[str, Field] = MappingProxyType({field.name: field for field in _ALL})
