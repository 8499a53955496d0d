"""What `decide` saw of an order, as JSON values, so that a decision can be made again later: by its own ruleset, which must
give the same, or by a draft, to see the difference (docs/replay.md).

Driven by the fields of the dataclasses: every field is kept unless it is named in LEFT_OUT, so a field added tomorrow is
kept without a change here, and one of a type that cannot be kept stops the import. The order and the facts are written by
place, and what stands at which place is kept once with the warehouses (decision 0019); all else is written by name, without
values equal to their default. Who gets the parcel, and what only the checks read, is left out: no rule can look at it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import compress
from operator import attrgetter, ne
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from domain.decision import Decision, Part
from domain.facts import Bundle, Facts, Goods, Sender, WarehouseInfo
from domain.order import Consignee, Line, Order

Json = dict[str, Any]
# The fields in the order of their places; of one whose values have fields themselves its name, these, and whether it has many.
Layout = Sequence[Any]
# By class: the fields no rule can look at, with what stands in their place when a record is read.
LEFT_OUT: Mapping[type, Mapping[str, Any]] = {
    Order: {
        "external_id": "",
        "version": "",
        "discounts": (),
        "after_sales": (),
        "buyer_id": "",
        "extra": (),
    },
    Consignee: dict.fromkeys("name phone phone_extension district town postcode email company token".split(), ""),
    Line: {"share": None},
    Facts: {"listings": {}},
}
# Configuration that many decisions share: kept once, beside the records.
SHARED = frozenset({"warehouses", "sender"})
# Facts about more goods and places than the order concerns: only what concerns it is kept.
NARROWED = frozenset({"available", "stale", "backorder", "goods", "planned_today", "bundles"})
_SHOWN_APART = frozenset({"ruleset", "holds", "parts", "tags", "trace", "matched"})
_PART_APART = frozenset({"warehouse", "carrier", "lines", "why", "cost", "waits"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NONE: tuple[()] = ()

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the values of one class are written and read: its kept fields, what they are by default, their converters.
    `places` convert what is written by place."""

    made: type
    names: tuple[str, ...]
    get: Callable[[Any], tuple[Any, ...]]
    defaults: tuple[Any, ...]
    writes: tuple[tuple[str, Convert], ...]
    reads: Mapping[str, Convert | None]
    fill: Mapping[str, Any]
    places: tuple[tuple[int, Convert], ...]
    layout: Layout

    def place(self, value: Any) -> list[Any]:
        """All kept fields, in the order of `layout`."""
        told = [*self.get(value)]
        for at, write in self.places:
            each = told[at]
            if each is not None and each is not _NONE:  # which JSON has names for
                told[at] = write(each)
        return told

    def place_each(self, values: Iterable[Any]) -> list[Sequence[Any]]:
        """The same for many values, few of which have anything to convert."""
        seen: list[Sequence[Any]] = [*map(self.get, values)]
        for at, write in self.places:
            for n, row in enumerate(seen):
                each = row[at]
                if each is not None and each is not _NONE:
                    seen[n] = (*row[:at], write(each), *row[at + 1 :])
        return seen

    def pack(self, value: Any) -> Json:
        """The kept fields that are not as by default, by name."""
        seen = self.get(value)
        if seen == self.defaults:
            return {}
        packed = dict(compress(zip(self.names, seen, strict=True), map(ne, seen, self.defaults)))
        for name, write in self.writes:
            if name in packed:
                packed[name] = write(packed[name])
        return packed

    def unpack(self, packed: Mapping[str, Any], **more: Any) -> Any:
        given = dict(self.fill)
        reads = self.reads
        for name, value in packed.items():
            if name in reads:  # a field that was removed since is nothing any more
                read = reads[name]
                given[name] = value if read is None else read(value)
        return self.made(**given, **more)


@cache
def _shape(made: type, also_out: frozenset[str] = frozenset()) -> _Shape:
    out = LEFT_OUT.get(made, {})
    hints = get_type_hints(made)
    kept = [each for each in fields(made) if each.name not in out and each.name not in also_out]
    names = tuple(each.name for each in kept)
    converters = {name: _converters(hints[name], f"{made.__name__}.{name}") for name in names}
    get = attrgetter(*names) if len(names) > 1 else lambda value: tuple([getattr(value, name) for name in names])
    return _Shape(
        made=made,
        names=names,
        get=get,
        defaults=tuple(_default(each) for each in kept),
        writes=tuple((name, write) for name, (write, _) in converters.items() if write is not None),
        reads={name: read for name, (_, read) in converters.items()},
        fill=dict(out),
        places=tuple(
            (at, place) for at, name in enumerate(names) if (place := _placer(hints[name], converters[name][0]))
        ),
        layout=[_place(name, hints[name]) for name in names],
    )


def _inner(hint: Any) -> tuple[_Shape, bool] | None:
    """The shape of what a field of this type holds, and whether it holds many of them; None when that has no fields."""
    many = get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis
    made = get_args(hint)[0] if many else hint
    return (_shape(made), many) if isinstance(made, type) and is_dataclass(made) else None


def _place(name: str, hint: Any) -> Any:
    inner = _inner(hint)
    return name if inner is None else [name, inner[0].layout, inner[1]]


def _placer(hint: Any, write: Convert | None) -> Convert | None:
    """How a value of this type is written by place: as `write` does, but for what has fields itself and for plain tuples,
    which JSON has lists for."""
    inner = _inner(hint)
    if inner is None:
        plain = get_origin(hint) is tuple and all(each in {str, int, bool, Ellipsis} for each in get_args(hint))
        return None if plain else write
    shape, many = inner
    if many:
        return shape.place_each
    return shape.place if shape.places else shape.get


def _named(values: Sequence[Any], layout: Layout) -> Json:
    """What was written by place, by name."""
    named: Json = {}
    for entry, value in zip(layout, values, strict=True):
        if isinstance(entry, str):
            named[entry] = value
        else:
            name, inner, many = entry
            named[name] = [_named(each, inner) for each in value] if many else _named(value, inner)
    return named


def _default(each: Any) -> Any:
    """The default of a field; an object nothing equals when it has none."""
    if each.default is not MISSING:
        return each.default
    return each.default_factory() if each.default_factory is not MISSING else object()


def _converters(hint: Any, at: str) -> tuple[Convert | None, Convert | None]:
    """How a value of this type is written as JSON and read back; (None, None): as it is. TypeError when nobody knows."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in {str, int, bool} or origin is Literal:
        return None, None
    if hint is datetime:
        return _write_time, _read_time
    if origin in {Union, UnionType} and len(inner) == 2 and type(None) in inner:
        write, read = _converters(next(each for each in inner if each is not type(None)), at)
        return _unless_none(write), _unless_none(read)
    if origin is tuple:
        return _of_tuple(inner, at)
    if origin is frozenset:
        write, read = _converters(inner[0], at)
        return lambda value: _each(sorted(value), write) if value else [], lambda value: frozenset(_each(value, read))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _of_mapping(inner, at)
    if is_dataclass(hint) and isinstance(hint, type):
        shape = _shape(hint)
        return shape.pack, shape.unpack
    raise TypeError(f"{at}: a value of type {hint} cannot be kept with a decision: say how in rules/record.py")


def _of_tuple(inner: tuple[Any, ...], at: str) -> tuple[Convert, Convert]:
    if inner[-1] is Ellipsis:
        write, read = _converters(inner[0], at)
        return lambda value: _each(value, write), lambda value: tuple(_each(value, read))
    pairs = [_converters(each, at) for each in inner]
    writes, reads = [write or _same for write, _ in pairs], [read or _same for _, read in pairs]
    return (
        lambda value: [write(each) for write, each in zip(writes, value, strict=True)],
        lambda value: tuple(read(each) for read, each in zip(reads, value, strict=True)),
    )


def _of_mapping(inner: tuple[Any, ...], at: str) -> tuple[Convert, Convert]:
    (write_key, read_key), (write, read) = (_converters(each, at) for each in inner)
    to_key, from_key, to_value, from_value = (each or _same for each in (write_key, read_key, write, read))
    return (
        lambda value: [[to_key(key), to_value(value[key])] for key in sorted(value)],
        lambda value: {from_key(key): from_value(each) for key, each in value},
    )


def _same(value: Any) -> Any:
    return value


def _each(values: Iterable[Any], convert: Convert | None) -> list[Any]:
    return list(values) if convert is None else [convert(value) for value in values]


def _unless_none(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: None if value is None else convert(value)


def _write_time(value: datetime) -> int | str | list[int]:
    """Whole seconds since 1970, or those and microseconds; a time of another offset as it is written, because the trace
    shows it so."""
    if value.tzinfo is not UTC:
        return value.isoformat()
    since = value - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    return [seconds, since.microseconds] if since.microseconds else seconds


def _read_time(value: int | str | Sequence[int]) -> datetime:
    if isinstance(value, int):
        return _EPOCH + value * _SECOND
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    return _EPOCH + timedelta(seconds=value[0], microseconds=value[1])


@dataclass(frozen=True, slots=True)
class Network:
    """What many decisions share: the warehouses as routing saw them, the digest of the ruleset, and what stands where in what
    was written by place (nothing in what is from before 0019)."""

    warehouses: tuple[WarehouseInfo, ...]
    ruleset: str
    layout: Mapping[str, Layout] = field(default_factory=dict)


_ORDER, _SENDER, _WAREHOUSE = _shape(Order), _shape(Sender), _shape(WarehouseInfo)
_FACTS, _GOODS = _shape(Facts, SHARED | NARROWED), _shape(Goods, frozenset({"sku"}))
_BUNDLE = _shape(Bundle)
_PART, _DECISION = _shape(Part, _PART_APART), _shape(Decision, _SHOWN_APART)


# --- what was decided about ------------------------------------------------------------------------------------------


def freeze(order: Order, facts: Facts, skus: Collection[str] = ()) -> Json:
    """Everything `decide` may look at but the shared configuration, as JSON values. `skus` are SKUs concerned besides the
    order's own (gifts of the ruleset)."""
    gifts, extra = {}, []
    if skus:
        gifts = {sku: facts.bundles[sku] for sku in skus if sku in facts.bundles}
        extra = sorted({*skus, *(part for bundle in gifts.values() for part, _ in bundle.components)})
    concerned = _concerned(order, extra)
    # Other names than those of what was written by name until 0019: a program of before says that it cannot read these.
    frozen: Json = {"O": _ORDER.place(order), "F": _FACTS.place(facts), "a": _stock(facts, concerned)}
    if extra:
        frozen["k"] = extra
    if gifts:
        frozen["u"] = [_BUNDLE.pack(gifts[sku]) for sku in sorted(gifts)]
    if facts.stale:
        frozen["s"] = [
            [n, k]
            for n, one in enumerate(facts.warehouses)
            for k, sku in enumerate(concerned)
            if (one.name, sku) in facts.stale
        ]
    if facts.backorder:
        frozen["b"] = [k for k, sku in enumerate(concerned) if sku in facts.backorder]
    if facts.goods:
        frozen["g"] = [[k, _GOODS.pack(facts.goods[sku])] for k, sku in enumerate(concerned) if sku in facts.goods]
    if facts.planned_today:
        planned = facts.planned_today
        frozen["p"] = [[n, planned[one.name]] for n, one in enumerate(facts.warehouses) if one.name in planned]
    return frozen


def thaw(frozen: Mapping[str, Any], network: Network, sender: Sender) -> tuple[Order, Facts]:
    """The order and the facts as `decide` saw them: `decide` gives the same for both, whatever the ruleset. KeyError,
    IndexError, TypeError or ValueError for what a version wrote whose fields are not ours."""
    warehouses, layout = network.warehouses, network.layout
    order: Order = _ORDER.unpack(_named(frozen["O"], layout["O"]) if "O" in frozen else frozen["o"])
    concerned = _concerned(order, frozen.get("k", ()))
    names = [one.name for one in warehouses]
    available = {
        (names[row[at]], concerned[k]): row[at + 1] for k, row in enumerate(frozen["a"]) for at in range(0, len(row), 2)
    }
    facts: Facts = _FACTS.unpack(
        _named(frozen["F"], layout["F"]) if "F" in frozen else frozen["f"],
        warehouses=warehouses,
        sender=sender,
        available=available,
        stale=frozenset((names[n], concerned[k]) for n, k in frozen.get("s", ())),
        backorder=frozenset(concerned[k] for k in frozen.get("b", ())),
        bundles={bundle.sku: bundle for bundle in map(_BUNDLE.unpack, frozen.get("u", ()))},
        goods={concerned[k]: _GOODS.unpack(packed, sku=concerned[k]) for k, packed in frozen.get("g", ())},
        planned_today={names[n]: count for n, count in frozen.get("p", ())},
    )
    return order, facts


def _concerned(order: Order, extra: Iterable[str]) -> list[str]:
    """The SKUs whose stock and goods count for this order, sorted: records name them by their place."""
    found = {*extra}
    for line in order.lines:
        found.add(line.sku)
        if line.components:
            found.update([part.sku for part in line.components])
    found.discard("")
    return sorted(found)


def _stock(facts: Facts, skus: Sequence[str]) -> list[list[int]]:
    """Per SKU: warehouse's place, units, place, units, …; places without units are left out."""
    rows, units_at, warehouses = [], facts.available.get, facts.warehouses
    for sku in skus:
        row: list[int] = []
        for n, one in enumerate(warehouses):
            if units := units_at((one.name, sku)):
                row += (n, units)
        rows.append(row)
    return rows


def freeze_network(warehouses: Sequence[WarehouseInfo], ruleset: str, document: str = "") -> Json:
    """The warehouses of the facts and the digest of the ruleset in force: one record for many decisions. `document` is the
    ruleset itself where it is kept nowhere else."""
    told: Json = {
        "warehouses": [_WAREHOUSE.pack(one) for one in warehouses],
        "ruleset": ruleset,
        "layout": {"O": _ORDER.layout, "F": _FACTS.layout},
    }
    return told | {"document": document} if document else told


def thaw_network(shared: Mapping[str, Any]) -> Network:
    """What many decisions shared."""
    warehouses = tuple(_WAREHOUSE.unpack(one) for one in shared["warehouses"])
    return Network(warehouses, shared["ruleset"], shared.get("layout", {}))


def freeze_sender(sender: Sender) -> Json:
    return {"sender": _SENDER.pack(sender)}


def thaw_sender(shared: Mapping[str, Any]) -> Sender:
    found: Sender = _SENDER.unpack(shared["sender"])
    return found


# --- what was decided ------------------------------------------------------------------------------------------------


def freeze_decision(decision: Decision) -> Json:
    """The decision as JSON values: holds and parts as lists that people's pages show, anything else by name. Of the trace
    only which rules matched: its words follow from the ruleset and the frozen input (`freeze_trace`)."""
    return {
        "holds": [[hold.code, hold.rule, hold.detail] for hold in decision.holds],
        "parts": [
            [
                part.warehouse,
                part.carrier,
                [[x.line, x.sku, x.quantity] for x in part.lines],
                part.why,
                part.cost,
                part.waits,
                *(_rest(part) if _PART.names else ()),
            ]
            for part in decision.parts
        ],
        "tags": list(decision.tags),
        "matched": list(decision.matched),
        **_DECISION.pack(decision),
    }


def freeze_trace(decision: Decision) -> list[list[Any]]:
    """The trace as JSON values: rule, phase, matched, why."""
    return [[step.rule, step.phase, step.matched, step.why] for step in decision.trace]


def _rest(part: Part) -> list[Json]:
    more = _PART.pack(part)
    return [more] if more else []


def effects_of(record: Mapping[str, Any]) -> Json:
    """What of a frozen decision takes effect: everything `freeze_decision` writes but the rules that matched."""
    return {name: record[name] for name in ("holds", "parts", "tags", *_DECISION.names) if name in record}
