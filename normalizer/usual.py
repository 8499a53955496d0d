"""Reads documents without surprises, several times faster than field by field, and never differently: what is unusual in any
way is None, and is read by `plain.py`. Prepared once for each mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, tzinfo
from operator import itemgetter
from typing import Any, Final, TypeAlias

from domain.money import EXPONENTS, MAX_MINOR
from domain.order import Amounts, Consignee, Line, Order
from domain.values import maker

from .bulk import FAULTS, Named, Plans, Shape, read_values, shape_of
from .compiled import At, Field
from .plain import FUTURE, MAX_ID_LENGTH, MAX_LINES, PAYMENTS, Compiled, read_after_sales, read_discounts, texts_of
from .readers import Context, as_currency, as_text

_MAX_KITS: Final = 8  # zones and currencies of one mapping that are prepared at a time
_NOTHING: Final = 0  # the place of a value that is always None
_STATE: Final = ("status", "payment", "external_id", "source_time", "placed_at", "paid_at", "source_status", "version")
_LISTS: Final = ("lines", "forbids_shipping", "notes", "tags", "discounts", "after_sales")
_OURS: Final = (
    "status",
    "source_status",
    "payment",
    "forbids_shipping",
    "notes",
    "tags",
    "currency",
    "version",
    "external_id",
    "source_time",
    "placed_at",
    "paid_at",
    "amounts",
    "consignee",
    "lines",
    "discounts",
    "after_sales",
    "extra",
)

Pick: TypeAlias = Callable[[Sequence[Any]], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _LinePlaces:
    external_id: int
    quantity: int
    unit_price: int | None
    amount: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """A mapping prepared: where everything is (`record`, `line`), and for each value to be made, which of the values read are
    its own (`pick_…`) and how it is made of them. `currency` is its key where that is all there is to it."""

    compiled: Compiled
    currency: str | None
    record: Shape
    line: Shape
    has_version: bool
    has_source_status: bool
    pick_state: Pick
    pick_lists: Pick
    pick_goods: int
    pick_amounts: Pick
    pick_consignee: Pick
    pick_order: Pick
    pick_extra: Pick
    extra: tuple[str, ...]
    at: _LinePlaces
    make_amounts: Callable[..., Amounts]
    make_consignee: Callable[..., Consignee]
    make_order: Callable[..., Order]
    make_line: Callable[..., Line]
    kits: dict[tuple[tzinfo, str], tuple[Plans, Plans]] = field(default_factory=dict)


def prepare(
    compiled: Compiled, sections: Mapping[str, Mapping[str, Field]], lists: Mapping[str, Field], status: Field
) -> Usual:
    """`sections`: order, ship_to, amounts, line, extra; `lists`: lines, discounts, after_sales, as far as the source has them."""
    order, amounts, ship_to = sections["order"], sections["amounts"], sections["ship_to"]
    own = {name: order[name] for name in ("payment", "forbids_shipping", "notes", "tags") if name in order}
    plain = {name: source for name, source in order.items() if name not in own and name != "currency"}
    parts = {
        "own": [(name, source, "") for name, source in own.items()],
        "lists": [(name, source, "") for name, source in lists.items()],
        "status": [("status", status, "str")],
        "order": _typed(plain, Order),
        "ship_to": _typed(ship_to, Consignee),
        "amounts": _typed(amounts, Amounts),
        "extra": [(name, source, "str") for name, source in sections["extra"].items()],
    }
    shape = shape_of([each for part in parts.values() for each in part])
    # One more place in front is always None: for what this source does not have.
    places = iter([place + 1 for place in shape.places])
    where = {part: {name: next(places) for name, _, _ in named} for part, named in parts.items()}
    told = where["own"] | where["lists"] | where["status"] | where["order"]
    rest = tuple(name for name in where["order"] if name not in _OURS)
    fees = tuple(name for name in where["amounts"] if name != "goods")
    line, at, line_names = _line_shape(sections["line"])
    return Usual(
        compiled=compiled,
        currency=_currency_key(order["currency"]),
        record=shape,
        line=line,
        has_version="version" in plain,
        has_source_status="source_status" in plain,
        pick_state=_picker([told.get(name, _NOTHING) for name in _STATE]),
        pick_lists=_picker([told.get(name, _NOTHING) for name in _LISTS]),
        pick_goods=where["amounts"].get("goods", _NOTHING),
        pick_amounts=_picker([where["amounts"][name] for name in fees]),
        pick_consignee=_picker(list(where["ship_to"].values())),
        pick_order=_picker([told[name] for name in rest]),
        pick_extra=_picker(list(where["extra"].values())),
        extra=tuple(where["extra"]),
        at=at,
        make_amounts=maker(Amounts, ("goods", *fees)),
        make_consignee=maker(Consignee, tuple(where["ship_to"])),
        make_order=maker(Order, (*_OURS, *rest)),
        make_line=maker(Line, line_names),
    )


def _currency_key(source: Field) -> str | None:
    if not isinstance(source, At) or source.read not in (as_text, as_currency) or not isinstance(source.path, str):
        return None
    return None if "." in source.path else source.path


def _typed(section: Mapping[str, Field], target: type) -> list[Named]:
    types = {item.name: str(item.type) for item in fields(target)}
    return [(name, source, types[name]) for name, source in section.items()]


def _line_shape(section: Mapping[str, Field]) -> tuple[Shape, _LinePlaces, tuple[str, ...]]:
    shape = shape_of(_typed(section, Line))
    at = dict(zip(section, shape.places, strict=True))
    names = sorted(section, key=at.__getitem__)
    # What is made of the others comes last.
    names += [name for name in ("amount", "unit_price") if name not in section]
    return shape, _LinePlaces(at["external_id"], at["quantity"], at.get("unit_price"), at.get("amount")), tuple(names)


def _picker(places: Sequence[int]) -> Pick:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple([values[place] for place in places])


def read_usual(record: Mapping[str, Any], usual: Usual, zone: tzinfo, now: datetime) -> Order | None:
    """The order that `plain.read_plainly` reads; None for a document that it should read."""
    if type(record) is not dict:
        return None
    try:
        return _read(record, usual, zone, now)
    except FAULTS:
        return None


def _read(record: dict[str, Any], usual: Usual, zone: tzinfo, now: datetime) -> Order | None:
    compiled = usual.compiled
    context = Context(zone, record)
    told: Any = None if usual.currency is None else record.get(usual.currency)
    currency: str = told if told in EXPONENTS else compiled.currency(record, context)
    context.currency = currency
    kit = usual.kits.get((zone, currency)) or _kit(usual, zone, currency)
    values = [None, *read_values(usual.record, record, context, kit[0])]
    word, payment, external_id, source_time, placed_at, paid_at, source_status, version = usual.pick_state(values)
    status = compiled.statuses.get(word)
    payment = payment if compiled.payments is None else compiled.payments[payment]
    latest = now + FUTURE
    if (
        status is None
        or payment not in PAYMENTS
        or not _is_id(external_id)
        or not _is_time(source_time, latest)
        or not _is_time(placed_at, latest)
        or not (paid_at is None or _is_time(paid_at, latest))
    ):
        return None
    items, forbids, notes, tags, discounts, after_sales = usual.pick_lists(values)
    lines = _lines(items, usual, context, kit[1])
    if lines is None:
        return None
    goods = values[usual.pick_goods]
    if goods is None and (goods := sum([line.amount for line in lines])) > MAX_MINOR:
        return None
    texts = usual.pick_extra(values)
    return usual.make_order(
        status,
        source_status if usual.has_source_status else word,
        payment,
        texts_of(forbids, "forbids_shipping") if forbids else (),
        texts_of(notes, "notes") if notes else (),
        texts_of(tags, "tags") if tags else (),
        currency,
        version if usual.has_version else source_time.isoformat(timespec="microseconds"),
        external_id,
        source_time,
        placed_at,
        paid_at,
        usual.make_amounts(goods, *usual.pick_amounts(values)),
        usual.make_consignee(*usual.pick_consignee(values)),
        lines,
        () if discounts is None else read_discounts(record, compiled, context),
        () if after_sales is None else read_after_sales(record, compiled, context, now),
        tuple([pair for pair in zip(usual.extra, texts, strict=True) if pair[1]]) if any(texts) else (),
        *usual.pick_order(values),
    )


def _lines(items: Any, usual: Usual, context: Context, plans: Plans) -> tuple[Line, ...] | None:
    if type(items) is not list or not 0 < len(items) <= MAX_LINES:
        return None
    shape, make, at = usual.line, usual.make_line, usual.at
    lines: list[Line] = []
    seen: set[str] = set()
    for item in items:
        if type(item) is not dict:
            return None
        values = read_values(shape, item, context, plans)
        external_id, price = values[at.external_id], at.unit_price
        if not _is_id(external_id) or external_id in seen:
            return None
        seen.add(external_id)
        if at.amount is None or values[at.amount] is None:
            if price is None or (amount := values[price] * values[at.quantity]) > MAX_MINOR:
                return None
            if at.amount is None:
                values.append(amount)
            else:
                values[at.amount] = amount
        elif price is None:
            values.append(values[at.amount] // values[at.quantity])
        lines.append(make(*values))
    return tuple(lines)


def _is_id(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_ID_LENGTH and bool(value.strip())


def _is_time(value: Any, latest: datetime) -> bool:
    return type(value) is datetime and value.tzinfo is UTC and value <= latest


def _kit(usual: Usual, zone: tzinfo, currency: str) -> tuple[Plans, Plans]:
    context = Context(zone=zone, order={}, currency=currency)
    if len(usual.kits) >= _MAX_KITS:
        usual.kits.clear()
    kit = usual.kits[zone, currency] = (Plans(context), Plans(context))
    return kit
