"""Listings, bundles, goods and stock as operators and their systems bring them, and the orders that waited for them.

Everything is checked first; one bad entry refuses the whole request, so that nothing is half done. Afterwards the open
orders whose exceptions the change may cure are checked and decided again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from domain.errors import MappingError, RefusedError
from normalizer.readers import as_bool, read_time
from storage import directory as stored
from storage.goods import load_goods_rows, put_goods_rows
from storage.orders import list_waiting_for_listings, list_waiting_for_stock, list_waiting_parts
from storage.rows import Row, chunks
from storage.stock import lock_stock, put_missing_stock, save_stock_entries
from storage.times import micros
from wire.strict_json import parse_value

from .bootstrap import Hub
from .directory import read_directory
from .review import cured_by, replan_orders

MAX_ENTRIES = 1_000
_MAX_UNITS = 2_000_000_000
_MAX_PRICE = 10**15
_LISTING_CODES = frozenset({"sku_unmapped", "sku_ambiguous", "sku_delisted", "price_below_floor"})
_STOCK_CODES = frozenset({"out_of_stock", "stock_stale", "no_warehouse"})
GIFT_SHORT = "gift_out_of_stock"
_MOST_CLASSES = 50
_NO_GOODS: Row = {"title": "", "weight_grams": 0, "volume_ml": 0, "supplier": "", "classes": []}
_PAGE = 500
_PAGES = 10_000


def put_listings_text(hub: Hub, body: bytes, *, actor: str) -> dict[str, Any]:
    """`{"account": …, "listings": [{"external_sku", "sku", "quantity", "listed", "floor_price"}]}`. What is given for a
    source SKU replaces everything it was mapped to. `quantity`: ours per one of theirs (default 1); `floor_price`: minor
    units per source unit. Errors: MappingError with the path, RefusedError `not_found`."""
    told = _object(body, ("account", "listings"))
    account, entries = _text(told, "account", "account"), _entries(told, "listings")
    rows = [_listing(entry, f"listings.{index}") for index, entry in enumerate(entries)]
    _refuse_twice([(row["external_sku"], row["sku"]) for row in rows], "listings")
    skus = sorted({row["external_sku"] for row in rows})
    with hub.write() as tx:
        found = [a.id for a in read_directory(hub, tx).accounts.values() if a.name == account]
        if not found:
            raise RefusedError("not_found", "there is no such account")
        now, account_id = hub.now(), found[0]
        stored.put_listings(tx, [row | {"account_id": account_id, "updated_at": now} for row in _sorted(rows)])
        removed = stored.delete_other_listings(tx, account_id, rows)
    return {"stored": len(rows), "removed": removed, "replanned": replan_listed(hub, account_id, skus, actor=actor)}


def put_stock_text(hub: Hub, body: bytes, *, actor: str) -> dict[str, Any]:
    """`{"warehouse": …, "as_of": …, "stock": [{"sku", "on_hand", "buffer", "backorder"}]}`. `on_hand` counts what is
    there, reserved units included; `buffer` and `backorder` keep their value when left out. With `as_of` (RFC 3339) an
    entry older than what is known, or than our own last movement of it, is left out and named in `stale`."""
    told = _object(body, ("warehouse", "as_of", "stock"))
    warehouse, entries = _text(told, "warehouse", "warehouse"), _entries(told, "stock")
    rows = [_level(entry, f"stock.{index}") for index, entry in enumerate(entries)]
    _refuse_twice([(row["sku"],) for row in rows], "stock")
    as_of = None if told.get("as_of") is None else micros(_time(told["as_of"]))
    with hub.write() as tx:
        found = [w.id for w in read_directory(hub, tx).targets.values() if w.name == warehouse]
        if not found:
            raise RefusedError("not_found", "there is no such warehouse")
        now, warehouse_id = hub.now(), found[0]
        if as_of is not None and as_of > now + 300_000_000:
            raise MappingError("time", "as_of is in the future", path="as_of")
        put_missing_stock(tx, [_empty(warehouse_id, row["sku"]) for row in sorted(rows, key=lambda row: row["sku"])])
        known = lock_stock(tx, [row["sku"] for row in rows])
        fresh, stale = [], []
        for row in rows:
            old = known[warehouse_id, row["sku"]]
            if as_of is not None and max(old["source_time"], old["moved_at"]) >= as_of:
                stale.append(row["sku"])
                continue
            fresh.append(old | row | {"source_time": as_of or now, "updated_at": now})
        save_stock_entries(tx, fresh)
    replanned = replan_stocked(hub, [row["sku"] for row in fresh], actor=actor)
    return {"stored": len(fresh), "stale": stale, "replanned": replanned}


def put_bundle_text(hub: Hub, body: bytes, *, actor: str) -> dict[str, Any]:
    """`{"sku": …, "components": [{"sku", "quantity"}]}`: a changed list becomes the next version; orders keep theirs."""
    told = _object(body, ("sku", "components"))
    sku, entries = _text(told, "sku", "sku"), _entries(told, "components")
    parts = []
    for index, entry in enumerate(entries):
        _only(entry, ("sku", "quantity"), f"components.{index}")
        part = _text(entry, "sku", f"components.{index}.sku")
        if part == sku:
            raise MappingError("bundle", "a bundle cannot hold itself", path=f"components.{index}.sku")
        parts.append((part, _whole(entry, "quantity", f"components.{index}.quantity", least=1, most=1_000_000)))
    _refuse_twice([(part,) for part, _ in parts], "components")
    with hub.write() as tx:
        stored.put_bundle(tx, sku, sorted(parts), hub.now())
    return {"stored": 1, "replanned": replan_stocked(hub, [sku], actor=actor)}


def put_goods_text(hub: Hub, body: bytes, *, actor: str) -> dict[str, Any]:
    """`{"goods": [{"sku", "title", "weight_grams", "volume_ml", "supplier", "classes"}]}`: what is known of our SKUs, per
    unit (0 or "": unknown, ours); what is left out keeps its value. Orders that found no warehouse are decided again."""
    entries = _entries(_object(body, ("goods",)), "goods")
    rows = [_goods(entry, f"goods.{index}") for index, entry in enumerate(entries)]
    _refuse_twice([(row["sku"],) for row in rows], "goods")
    skus = [row["sku"] for row in rows]
    with hub.write() as tx:
        known = load_goods_rows(tx, skus)
        now = hub.now()
        put_goods_rows(tx, [_NO_GOODS | known.get(row["sku"], {}) | row | {"updated_at": now} for row in rows])
    return {"stored": len(rows), "replanned": replan_stocked(hub, skus, actor=actor)}


def replan_listed(hub: Hub, account_id: int, external_skus: Sequence[str], *, actor: str) -> int:
    """Check and decide again the account's orders that waited for a mapping of these source SKUs; returns how many."""

    def page(tx: Connection, chunk: Sequence[str], after: tuple[int, int]) -> list[Row]:
        return list_waiting_for_listings(tx, _LISTING_CODES, chunk, account_id=account_id, after=after, limit=_PAGE)

    return replan_orders(hub, _waiting(hub, page, sorted(set(external_skus))), actor=actor)


def replan_stocked(hub: Hub, skus: Sequence[str], *, actor: str) -> int:
    """Check and decide again the orders that waited for stock of these SKUs; returns how many."""

    def page(tx: Connection, chunk: Sequence[str], after: tuple[int, int]) -> list[Row]:
        return list_waiting_for_stock(tx, _STOCK_CODES, chunk, after=after, limit=_PAGE)

    def parts(tx: Connection, chunk: Sequence[str], after: tuple[int, int]) -> list[Row]:
        return list_waiting_parts(tx, chunk, after=after, limit=_PAGE)

    with hub.read() as tx:
        given = read_directory(hub, tx).asks.gifts & set(skus)
    # A gift that is short is no line of its order yet, so its order is found by what holds it.
    short = cured_by(hub, [GIFT_SHORT], limit=_PAGE) if given else []
    found = {*_waiting(hub, page, sorted(skus)), *_waiting(hub, parts, sorted(skus)), *short}
    return replan_orders(hub, found, actor=actor)


_Page = Callable[[Connection, Sequence[str], tuple[int, int]], list[Row]]


def _waiting(hub: Hub, page: _Page, values: Sequence[str]) -> list[int]:
    """Orders that wait for one of these values; walked by keyset, bounded."""
    found: set[int] = set()
    for chunk in chunks(values):
        found.update(_walk(hub, page, chunk))
    return sorted(found)


def _walk(hub: Hub, page: _Page, chunk: Sequence[str]) -> Iterator[int]:
    after = (0, 0)
    for _ in range(_PAGES):
        with hub.read() as tx:
            rows = page(tx, chunk, after)
        yield from (row["order_id"] for row in rows)
        if len(rows) < _PAGE:
            return
        after = (rows[-1]["id"], rows[-1]["line"])


def _listing(entry: Mapping[str, Any], path: str) -> Row:
    _only(entry, ("external_sku", "sku", "quantity", "listed", "floor_price"), path)
    floor = entry.get("floor_price")
    return {
        "external_sku": _text(entry, "external_sku", f"{path}.external_sku"),
        "sku": _text(entry, "sku", f"{path}.sku"),
        "quantity": _whole(entry, "quantity", f"{path}.quantity", least=1, most=1_000_000, default=1),
        "listed": _flag(entry, "listed", path) if entry.get("listed") is not None else True,
        "floor_price": None
        if floor is None
        else _whole(entry, "floor_price", f"{path}.floor_price", least=0, most=_MAX_PRICE),
    }


def _level(entry: Mapping[str, Any], path: str) -> Row:
    _only(entry, ("sku", "on_hand", "buffer", "backorder"), path)
    row: Row = {
        "sku": _text(entry, "sku", f"{path}.sku"),
        "on_hand": _whole(entry, "on_hand", f"{path}.on_hand", least=0, most=_MAX_UNITS),
    }
    if entry.get("buffer") is not None:
        row["buffer"] = _whole(entry, "buffer", f"{path}.buffer", least=0, most=_MAX_UNITS)
    if entry.get("backorder") is not None:
        row["backorder"] = _flag(entry, "backorder", path)
    return row


def _goods(entry: Mapping[str, Any], path: str) -> Row:
    _only(entry, ("sku", "title", "weight_grams", "volume_ml", "supplier", "classes"), path)
    row: Row = {"sku": _text(entry, "sku", f"{path}.sku")}
    for name in ("weight_grams", "volume_ml"):
        if entry.get(name) is not None:
            row[name] = _whole(entry, name, f"{path}.{name}", least=0, most=_MAX_UNITS)
    for name in ("title", "supplier"):
        if entry.get(name) is not None:
            row[name] = _text(entry, name, f"{path}.{name}") if entry[name] != "" else ""
    if entry.get("classes") is not None:
        told = entry["classes"]
        if not isinstance(told, list) or len(told) > _MOST_CLASSES:
            raise MappingError(
                "classes", f"a list of at most {_MOST_CLASSES} names was expected", path=f"{path}.classes"
            )
        row["classes"] = sorted({_text({"class": name}, "class", f"{path}.classes") for name in told})
    return row


def _empty(warehouse_id: int, sku: str) -> Row:
    numbers = dict.fromkeys(("on_hand", "reserved", "buffer", "source_time", "moved_at", "updated_at"), 0)
    return {"warehouse_id": warehouse_id, "sku": sku, "backorder": False, **numbers}


def _object(body: bytes, names: Sequence[str]) -> Mapping[str, Any]:
    told = parse_value(body)
    if not isinstance(told, Mapping):
        raise MappingError("type", "an object was expected")
    _only(told, names, "")
    return told


def _only(entry: Any, names: Sequence[str], path: str) -> None:
    """Refuse what nobody reads: a misspelt name must not become a default."""
    if not isinstance(entry, Mapping):
        raise MappingError("type", "an object was expected", path=path)
    unknown = sorted(set(entry) - set(names))
    if unknown:
        raise MappingError(
            "unknown_field", f"known are {', '.join(names)}", path=f"{path}.{unknown[0][:60]}".lstrip(".")
        )


def _entries(told: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    entries = told.get(name)
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ENTRIES:
        raise MappingError("entries", f"a list of 1 to {MAX_ENTRIES} was expected", path=name)
    return entries


def _text(entry: Mapping[str, Any], name: str, path: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise MappingError("text", "text of 1 to 200 characters was expected", path=path)
    return value


def _whole(entry: Mapping[str, Any], name: str, path: str, *, least: int, most: int, default: int | None = None) -> int:
    value = entry.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not int or not least <= value <= most:
        raise MappingError("qty", f"a whole number from {least} to {most} was expected", path=path)
    return value


def _flag(entry: Mapping[str, Any], name: str, path: str) -> bool:
    try:
        return as_bool(entry[name])
    except MappingError:
        raise MappingError("bool", "true or false was expected", path=f"{path}.{name}") from None


def _time(value: Any) -> datetime:
    try:
        return read_time(value, UTC)
    except MappingError as error:
        raise MappingError("time", error.detail, path="as_of") from None


def _refuse_twice(keys: Sequence[tuple[str, ...]], path: str) -> None:
    if len(set(keys)) != len(keys):
        raise MappingError("duplicate", "one entry is there twice", path=path)


def _sorted(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["external_sku"], row["sku"]))
