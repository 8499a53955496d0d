"""The mapping language: how one source document becomes one canonical order.

`At(path, read, default)` is all of it - a dotted path (or a function), a reader, a default - and an `if` is a Python
function in the connector's file. A mapping is compiled once, when it is made, to closures. Nothing is repaired: a
document that cannot be read exactly is a MappingError with a stable code and the path to the fault (promises.md §4,
rows 34-42)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from domain.errors import MappingError
from domain.money import MAX_MINOR
from domain.order import AfterSale, Amounts, Consignee, Discount, Line, Order, OrderStatus, Payment
from domain.values import build

from .compiled import (
    REQUIRED,
    At,
    Both,
    Derived,
    Field,
    Getter,
    Record,
    Section,
    compile_field,
    compile_section,
    fixed,
    read_records,
)
from .readers import Context, as_currency, as_is, as_text

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

MAX_LINES: Final = 10_000  # row 38: accepted within the cap
MAX_ID_LENGTH: Final = 200  # an index of PostgreSQL holds 2,704 bytes; no source's ids come near
_FUTURE: Final = timedelta(days=1)  # row 41: a later time is a fault of the source's clock or of the unit

_ORDER_FIELDS: Final = frozenset(
    "external_id version source_time source_status payment currency placed_at paid_at forbids_shipping buyer_id "
    "buyer_message seller_memo seller_flag tags notes".split()
)
_OWN_GETTERS: Final = ("currency", "payment", "forbids_shipping", "notes", "tags")
_STATUSES: Final = frozenset(
    {"pending_payment", "pending_shipment", "partially_shipped", "shipped", "completed", "closed"}
)
_PAYMENTS: Final = frozenset({"unpaid", "paid", "cod"})


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
    compiled: _Compiled = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", _compile(self))


@dataclass(frozen=True, slots=True)
class _Compiled:
    currency: Getter
    status: Getter
    payment: Getter
    forbids: Getter | None
    notes: Getter | None
    tags: Getter | None
    order: Section
    ship_to: Section
    amounts: Section
    lines: Getter
    lines_path: str
    line: Section
    discounts: Getter | None
    discount: Section
    after_sales: Getter | None
    after_sale: Section
    extra: Section


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


def _compile(mapping: OrderMapping) -> _Compiled:
    _refuse_incomplete(mapping)

    def one(name: str) -> Getter | None:
        return compile_field(mapping.order[name], name) if name in mapping.order else None

    currency = mapping.order["currency"]
    if isinstance(currency, At) and currency.read is as_text:
        currency = At(currency.path, as_currency, currency.default)
    path = mapping.lines.path if isinstance(mapping.lines, At) else None
    return _Compiled(
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
    )


def _list_getter(source: Field, name: str) -> Getter:
    """A list that is absent is empty; `lines` refuses that itself. A reader given to the At is kept."""
    if isinstance(source, At):
        read = as_is if source.read is as_text else source.read
        source = At(source.path, read, None if source.default is REQUIRED else source.default)
    return compile_field(source, name)


def normalize(record: Mapping[str, Any], mapping: OrderMapping, *, zone: tzinfo, now: datetime) -> Order:
    """One source document as a canonical order. `zone` is the source's declared zone for times without an offset,
    `now` an aware UTC time that limits the future (now + 1 day).

    Errors, all MappingError with the path to the fault: `id` `time` `qty` `money` `currency_unknown` `no_lines`
    `too_many_lines` `duplicate_line` `missing` `type` `number` `bool` `unreadable`. A status the mapping does not
    know is no error: the order is taken, shown, and may not ship (`unknown_status`). The
    figures on the lines are the source's own: whoever takes the order allocates (`domain.allocation`), once."""
    compiled = mapping.compiled
    context = Context(zone=zone, order=record)
    context.currency = compiled.currency(record, context)
    fields: dict[str, Any] = {name: get(record, context) for name, get in compiled.order}
    _refuse_blank_id(fields["external_id"], "external_id")
    _refuse_bad_times(fields, now)
    lines = _read_lines(record, compiled, context)
    amounts = {name: get(record, context) for name, get in compiled.amounts}
    if amounts.get("goods") is None:
        amounts["goods"] = _bounded(sum([line.amount for line in lines]), "amounts.goods")
    fields = _read_state(record, mapping, context) | fields
    if "version" not in fields:
        fields["version"] = fields["source_time"].isoformat(timespec="microseconds")
    return build(
        Order,
        **fields,
        currency=context.currency,
        amounts=build(Amounts, **amounts),
        consignee=build(Consignee, **{name: get(record, context) for name, get in compiled.ship_to}),
        lines=lines,
        tags=_texts(compiled.tags, record, context, "tags"),
        discounts=_read_discounts(record, compiled, context),
        after_sales=_read_after_sales(record, compiled, context, now),
        extra=tuple([(name, text) for name, get in compiled.extra if (text := get(record, context))]),
    )


def _read_state(record: Record, mapping: OrderMapping, context: Context) -> dict[str, Any]:
    """Status, payment and what forbids shipping. A word of the source that the tables do not know never ships."""
    compiled = mapping.compiled
    told = compiled.status(record, context)
    status = mapping.statuses.get(told)
    forbids = _texts(compiled.forbids, record, context, "forbids_shipping")
    notes = _texts(compiled.notes, record, context, "notes")
    if status is None:
        status, forbids, notes = "pending_payment", (*forbids, "unknown_status"), (*notes, f"unknown_status:{told}")
    payment = compiled.payment(record, context)
    if not isinstance(payment, str):
        raise MappingError("type", f"the payment state is {type(payment).__name__}, not text", path="payment")
    if mapping.payments is not None and payment not in mapping.payments:
        payment, notes = "unpaid", (*notes, f"unknown_payment:{payment}")
    elif mapping.payments is not None:
        payment = mapping.payments[payment]
    if payment not in _PAYMENTS:
        raise MappingError("unreadable", f"{payment[:40]!r} is not a payment state", path="payment")
    return {"status": status, "source_status": told, "payment": payment, "forbids_shipping": forbids, "notes": notes}


def _texts(get: Getter | None, record: Record, context: Context, name: str) -> tuple[str, ...]:
    value = None if get is None else get(record, context)
    if not value:
        return ()
    found = (value,) if isinstance(value, str) else value
    if isinstance(found, (tuple, list, set, frozenset)) and all(isinstance(text, str) for text in found):
        return tuple(found)
    raise MappingError("type", f"texts were expected, not {type(value).__name__}", path=name)


def _bounded(minor: int, path: str) -> int:
    if minor > MAX_MINOR:
        raise MappingError("money", "out of range", path=path)
    return minor


def _refuse_blank_id(value: Any, path: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise MappingError("id", "an empty id identifies nothing", path=path)
    if len(value) > MAX_ID_LENGTH:
        raise MappingError("id", f"an id of {len(value)} characters, at most {MAX_ID_LENGTH}", path=path)


def _refuse_bad_times(fields: Mapping[str, Any], now: datetime) -> None:
    latest = now + _FUTURE
    for name in ("source_time", "placed_at", "paid_at"):
        value = fields.get(name)
        if value is None and name == "paid_at":
            continue
        if not isinstance(value, datetime) or value.tzinfo is not UTC:
            raise MappingError("time", "an aware UTC time is needed", path=name)
        if value > latest:
            raise MappingError("time", f"{value.isoformat()} is in the future", path=name)


def _read_lines(record: Record, compiled: _Compiled, context: Context) -> tuple[Line, ...]:
    records = read_records(compiled.lines, record, context, compiled.lines_path)
    if not records:
        raise MappingError("no_lines", "an order without lines", path=compiled.lines_path)
    if len(records) > MAX_LINES:
        raise MappingError("too_many_lines", f"{len(records)} lines, at most {MAX_LINES}", path=compiled.lines_path)
    lines: list[Line] = []
    seen: set[str] = set()
    section = compiled.line
    for index, item in enumerate(records):
        context.prefix = f"{compiled.lines_path}.{index}."
        fields = {name: get(item, context) for name, get in section}
        identity = fields["external_id"]
        _refuse_blank_id(identity, f"{context.prefix}external_id")
        if identity in seen:
            raise MappingError("duplicate_line", f"line id {identity[:60]} is there twice", path=context.prefix[:-1])
        seen.add(identity)
        if fields.get("amount") is None:
            fields["amount"] = _bounded(fields["unit_price"] * fields["quantity"], context.prefix + "amount")
        elif "unit_price" not in fields:
            # rounded down, so that the floor-price check errs on the side of asking a person
            fields["unit_price"] = fields["amount"] // fields["quantity"]
        lines.append(build(Line, **fields))
    context.prefix = ""
    return tuple(lines)


def _read_discounts(record: Record, compiled: _Compiled, context: Context) -> tuple[Discount, ...]:
    if compiled.discounts is None:
        return ()
    found = []
    for index, item in enumerate(read_records(compiled.discounts, record, context, "discounts")):
        context.prefix = f"discounts.{index}."
        found.append(Discount(**{name: get(item, context) for name, get in compiled.discount}))
    context.prefix = ""
    return tuple(found)


def _read_after_sales(record: Record, compiled: _Compiled, context: Context, now: datetime) -> tuple[AfterSale, ...]:
    if compiled.after_sales is None:
        return ()
    found = []
    for index, item in enumerate(read_records(compiled.after_sales, record, context, "after_sales")):
        context.prefix = f"after_sales.{index}."
        sale = AfterSale(**{name: get(item, context) for name, get in compiled.after_sale})
        _refuse_blank_id(sale.external_id, f"{context.prefix}external_id")
        if sale.source_time is not None and sale.source_time > now + _FUTURE:
            raise MappingError(
                "time", f"{sale.source_time.isoformat()} is in the future", path=f"{context.prefix}source_time"
            )
        found.append(sale)
    context.prefix = ""
    return tuple(found)
