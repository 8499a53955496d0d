"""The mapping language: how one source document becomes one canonical order.

`At(path, read, default)` is all of it - a dotted path (or a function), a reader, a default - and an `if` is a Python
function in the connector's file. A mapping is compiled once, when it is made: to closures (`plain.py`), and to a quick way
for documents without surprises (`usual.py`). Nothing is repaired: a document that cannot be read exactly is a MappingError
with a stable code and the path to the fault (promises.md §4, rows 34-42)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Final

from domain.order import AfterSale, Amounts, Consignee, Discount, Line, Order, OrderStatus, Payment

from .compiled import REQUIRED, At, Both, Derived, Field, Getter, Record, compile_field, compile_section, fixed
from .plain import MAX_ID_LENGTH, MAX_LINES, Compiled, read_plainly
from .readers import as_currency, as_is, as_text
from .usual import Usual, prepare, read_usual

__all__ = [
    "MAX_ID_LENGTH",
    "MAX_LINES",
    "REQUIRED",
    "At",
    "Both",
    "Derived",
    "Field",
    "OrderMapping",
    "Record",
    "fixed",
    "normalize",
]

_ORDER_FIELDS: Final = frozenset(
    "external_id version source_time source_status payment currency placed_at paid_at forbids_shipping buyer_id "
    "buyer_message seller_memo seller_flag tags notes".split()
)
_OWN_GETTERS: Final = ("currency", "payment", "forbids_shipping", "notes", "tags")
_STATUSES: Final = frozenset(
    {"pending_payment", "pending_shipment", "partially_shipped", "shipped", "completed", "closed"}
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrderMapping:
    """How one source's document is read. Keys are the canonical field names of `domain.order`; wherever an `At` may
    stand, a function of the record may too, or `Both(function)` of the order record and the line record.

    `order`: external_id, source_time, currency, placed_at are required; `version` defaults to source_time; `payment`
    gives "unpaid" | "paid" | "cod", through the table `payments` if there is one. `ship_to`: fields of Consignee.
    `lines`: the list of line records, `line` their fields (`external_id`, `external_sku`, `quantity` required, and
    `unit_price` or `amount`, which is unit price × quantity where it is not mapped or None); money paths are read in the
    order's currency. `amounts`: `paid` required, `goods` defaults to Σ line amounts (also when it reads as None), the rest
    to 0. `discounts`/`discount` and `after_sales`/`after_sale`: lists of records and their fields, when the source has
    them. `status` gives the source's word (shown as `source_status`, unless
    `order` maps that), `statuses` its meaning; an unknown word never ships (`unknown_status`). `extra`: channel facts
    a target may need; blanks are left out. `ignored`: source paths left unread on purpose (coverage.py). Errors:
    ValueError for a field name that does not exist."""

    order: Mapping[str, Field]
    ship_to: Mapping[str, Field]
    lines: Field
    line: Mapping[str, Field]
    amounts: Mapping[str, Field]
    status: Field
    statuses: Mapping[str, OrderStatus]
    payments: Mapping[str, Payment] | None = None
    discounts: Field | None = None
    discount: Mapping[str, Field] = field(default_factory=dict)
    after_sales: Field | None = None
    after_sale: Mapping[str, Field] = field(default_factory=dict)
    extra: Mapping[str, Field] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    compiled: Compiled = field(init=False, repr=False)
    usual: Usual = field(init=False, repr=False)

    def __post_init__(self) -> None:
        compiled = _compile(self)
        object.__setattr__(self, "compiled", compiled)
        object.__setattr__(self, "usual", _prepare(self, compiled))


def _refuse_incomplete(mapping: OrderMapping) -> None:
    if unknown := sorted(mapping.order.keys() - _ORDER_FIELDS):
        raise ValueError(f"no such order fields: {unknown}")
    if missing := sorted({"external_id", "source_time", "currency", "placed_at", "payment"} - mapping.order.keys()):
        raise ValueError(f"order fields not mapped: {missing}")
    if missing := sorted({"external_id", "external_sku", "quantity"} - mapping.line.keys()):
        raise ValueError(f"line fields not mapped: {missing}")
    if not mapping.line.keys() & {"unit_price", "amount"} or "paid" not in mapping.amounts:
        raise ValueError("line.unit_price or line.amount, and amounts.paid, must be mapped")
    if wrong := sorted(set(mapping.statuses.values()) - _STATUSES):
        raise ValueError(f"not order statuses: {wrong}")


def _compile(mapping: OrderMapping) -> Compiled:
    _refuse_incomplete(mapping)

    def one(name: str) -> Getter | None:
        return compile_field(mapping.order[name], name) if name in mapping.order else None

    currency = mapping.order["currency"]
    if isinstance(currency, At) and currency.read is as_text:
        currency = At(currency.path, as_currency, currency.default)
    path = mapping.lines.path if isinstance(mapping.lines, At) else None
    return Compiled(
        currency=compile_field(currency, "currency", "str"),
        status=compile_field(mapping.status, "status", "str"),
        payment=compile_field(mapping.order["payment"], "payment"),
        forbids=one("forbids_shipping"),
        notes=one("notes"),
        tags=one("tags"),
        order=compile_section({name: at for name, at in mapping.order.items() if name not in _OWN_GETTERS}, Order),
        ship_to=compile_section(mapping.ship_to, Consignee),
        amounts=compile_section(mapping.amounts, Amounts),
        lines=_list_getter(mapping.lines, "lines"),
        lines_path=path if isinstance(path, str) else "lines",
        line=compile_section(mapping.line, Line),
        discounts=None if mapping.discounts is None else _list_getter(mapping.discounts, "discounts"),
        discount=compile_section(mapping.discount, Discount),
        after_sales=None if mapping.after_sales is None else _list_getter(mapping.after_sales, "after_sales"),
        after_sale=compile_section(mapping.after_sale, AfterSale),
        extra=compile_section(mapping.extra, None),
        statuses=mapping.statuses,
        payments=mapping.payments,
    )


def _prepare(mapping: OrderMapping, compiled: Compiled) -> Usual:
    names = ("order", "ship_to", "amounts", "line", "extra")
    lists = {"lines": mapping.lines, "discounts": mapping.discounts, "after_sales": mapping.after_sales}
    return prepare(
        compiled,
        {name: getattr(mapping, name) for name in names},
        {name: _list_field(source) for name, source in lists.items() if source is not None},
        mapping.status,
    )


def _list_getter(source: Field, name: str) -> Getter:
    return compile_field(_list_field(source), name)


def _list_field(source: Field) -> Field:
    """A list that is absent is empty; `lines` refuses that itself. A reader given to the At is kept."""
    if not isinstance(source, At):
        return source
    read = as_is if source.read is as_text else source.read
    return At(source.path, read, None if source.default is REQUIRED else source.default)


def normalize(record: Mapping[str, Any], mapping: OrderMapping, *, zone: tzinfo, now: datetime) -> Order:
    """One source document as a canonical order. `zone` is the source's declared zone for times without an offset,
    `now` an aware UTC time that limits the future (now + 1 day).

    Errors, all MappingError with the path to the fault: `id` `time` `qty` `money` `currency_unknown` `no_lines`
    `too_many_lines` `duplicate_line` `missing` `type` `number` `bool` `unreadable`. A status the mapping does not
    know is no error: the order is taken, shown, and may not ship (`unknown_status`). The
    figures on the lines are the source's own: whoever takes the order allocates (`domain.allocation`), once."""
    order = read_usual(record, mapping.usual, zone, now)
    return read_plainly(record, mapping.compiled, zone, now) if order is None else order
