"""Reads one document field by field, by the closures of a compiled mapping: what every document means, and the only place
that says what is wrong with one. `usual.py` reads the same from documents without surprises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from domain.errors import MappingError
from domain.money import MAX_MINOR
from domain.order import AfterSale, Amounts, Consignee, Discount, Line, Order, OrderStatus, Payment
from domain.values import build

from .compiled import Getter, Record, Section, read_records
from .readers import Context

MAX_LINES: Final = 10_000  # row 38: accepted within the cap
MAX_ID_LENGTH: Final = 200  # an index of PostgreSQL holds 2,704 bytes; no source's ids come near
FUTURE: Final = timedelta(days=1)  # row 41: a later time is a fault of the source's clock or of the unit
PAYMENTS: Final = frozenset({"unpaid", "paid", "cod"})


@dataclass(frozen=True, slots=True)
class Compiled:
    """A mapping as getters, and its two tables."""

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
    statuses: Mapping[str, OrderStatus]
    payments: Mapping[str, Payment] | None


def read_plainly(record: Mapping[str, Any], compiled: Compiled, zone: tzinfo, now: datetime) -> Order:
    """One document as an order; see `mapping.normalize` for errors."""
    context = Context(zone=zone, order=record)
    context.currency = compiled.currency(record, context)
    fields: dict[str, Any] = {name: get(record, context) for name, get in compiled.order}
    _refuse_blank_id(fields["external_id"], "external_id")
    _refuse_bad_times(fields, now)
    lines = _read_lines(record, compiled, context)
    amounts = {name: get(record, context) for name, get in compiled.amounts}
    if amounts.get("goods") is None:
        amounts["goods"] = _bounded(sum([line.amount for line in lines]), "amounts.goods")
    fields = _read_state(record, compiled, context) | fields
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
        discounts=read_discounts(record, compiled, context),
        after_sales=read_after_sales(record, compiled, context, now),
        extra=tuple([(name, text) for name, get in compiled.extra if (text := get(record, context))]),
    )


def _read_state(record: Record, compiled: Compiled, context: Context) -> dict[str, Any]:
    """Status, payment and what forbids shipping. A word of the source that the tables do not know never ships."""
    told = compiled.status(record, context)
    status = compiled.statuses.get(told)
    forbids = _texts(compiled.forbids, record, context, "forbids_shipping")
    notes = _texts(compiled.notes, record, context, "notes")
    if status is None:
        status, forbids, notes = "pending_payment", (*forbids, "unknown_status"), (*notes, f"unknown_status:{told}")
    payment = compiled.payment(record, context)
    if not isinstance(payment, str):
        raise MappingError("type", f"the payment state is {type(payment).__name__}, not text", path="payment")
    if compiled.payments is not None and payment not in compiled.payments:
        payment, notes = "unpaid", (*notes, f"unknown_payment:{payment}")
    elif compiled.payments is not None:
        payment = compiled.payments[payment]
    if payment not in PAYMENTS:
        raise MappingError("unreadable", f"{payment[:40]!r} is not a payment state", path="payment")
    return {"status": status, "source_status": told, "payment": payment, "forbids_shipping": forbids, "notes": notes}


def _texts(get: Getter | None, record: Record, context: Context, name: str) -> tuple[str, ...]:
    value = None if get is None else get(record, context)
    return texts_of(value, name) if value else ()


def texts_of(value: Any, name: str) -> tuple[str, ...]:
    """One text, or texts, that are not empty. Errors: `type` for anything else."""
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
    latest = now + FUTURE
    for name in ("source_time", "placed_at", "paid_at"):
        value = fields.get(name)
        if value is None and name == "paid_at":
            continue
        if not isinstance(value, datetime) or value.tzinfo is not UTC:
            raise MappingError("time", "an aware UTC time is needed", path=name)
        if value > latest:
            raise MappingError("time", f"{value.isoformat()} is in the future", path=name)


def _read_lines(record: Record, compiled: Compiled, context: Context) -> tuple[Line, ...]:
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


def read_discounts(record: Record, compiled: Compiled, context: Context) -> tuple[Discount, ...]:
    """The order-level discounts, in the source's order."""
    if compiled.discounts is None:
        return ()
    found = []
    for index, item in enumerate(read_records(compiled.discounts, record, context, "discounts")):
        context.prefix = f"discounts.{index}."
        found.append(Discount(**{name: get(item, context) for name, get in compiled.discount}))
    context.prefix = ""
    return tuple(found)


def read_after_sales(record: Record, compiled: Compiled, context: Context, now: datetime) -> tuple[AfterSale, ...]:
    """The after-sales that stand in the order's own document."""
    if compiled.after_sales is None:
        return ()
    found = []
    for index, item in enumerate(read_records(compiled.after_sales, record, context, "after_sales")):
        context.prefix = f"after_sales.{index}."
        sale = AfterSale(**{name: get(item, context) for name, get in compiled.after_sale})
        _refuse_blank_id(sale.external_id, f"{context.prefix}external_id")
        if sale.source_time is not None and sale.source_time > now + FUTURE:
            raise MappingError(
                "time", f"{sale.source_time.isoformat()} is in the future", path=f"{context.prefix}source_time"
            )
        found.append(sale)
    context.prefix = ""
    return tuple(found)
