"""Everything stored about one order, loaded together, changed in memory, written back together.

Whatever changes an order - a document, a sending's outcome, a person - goes through a dossier inside one transaction
that holds the order's lock, so there is one place where rows of an order are written and one log of why. Lock order:
orders, their outbox rows, stock; each sorted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from storage import tables as t
from storage.archives import about_archived, load_archived, restore_archived
from storage.asking import Question, about_by, ask_ahead, ask_by
from storage.compact import pack, sorted_text
from storage.database import is_sqlite
from storage.events import GENESIS, link
from storage.rows import Row, Table, insert_rows, insert_tuples, update_rows
from storage.vault import Vault

PRIVATE = "orders.private"
DETAIL = "exceptions.detail"
RECORD = "decisions.record"

_MUTABLE: dict[Table, tuple[str, ...]] = {
    t.orders: tuple(
        column.name
        for column in t.orders.c
        if column.name not in {"id", "number", "account_id", "partner_id", "external_id", "created_at"}
    ),
    t.order_lines: tuple(column.name for column in t.order_lines.c if column.name not in {"order_id", "line"}),
    t.fulfilments: (
        *("state", "carrier", "warehouse_ref", "freight", "revision", "news_due_at", "day", "updated_at"),
        *("merge_key", "merge_id"),
    ),
    t.fulfilment_lines: ("quantity", "shipped"),
    t.packages: ("state", "confirm_state", "carrier", "carrier_name", "updated_at"),
    t.outbox: ("state", "attempts", "looks", "token", "due_at", "outcome", "reply", "updated_at"),
    t.exceptions: ("state", "detail", "assignee", "snoozed_until", "resolved_at", "resolved_by", "resolution"),
    t.after_sales: ("state", "source_status", "amount", "source_time", "updated_at"),
}


# What a loaded row is known by, to its owner and among its owner's, and what of an order any change of it looks at.
_KEYS: dict[Table, tuple[str, ...]] = {
    t.orders: ("id", "account_id", "external_id", "event_seq", "event_hash", "revision", "updated_at"),
    t.order_lines: ("order_id", "line"),
    t.fulfilments: ("id", "order_id"),
    t.fulfilment_lines: ("fulfilment_id", "line", "sku"),
    t.packages: ("id", "order_id"),
    t.package_lines: ("package_id", "line", "sku"),
    t.outbox: ("id", "order_id"),
    t.exceptions: ("id", "order_id", "state"),
    t.after_sales: ("id", "order_id", "external_id"),
}

_by_id = itemgetter("id")


@dataclass(frozen=True, slots=True)
class Plain:
    """JSON that is sealed when its row is written. No driver takes it for a value, so it is never written as it is."""

    text: bytes


@dataclass(slots=True)
class Dossier:
    """One order's rows by their keys. `private` is the opened `orders.private`; `moves` are stock changes to make
    (warehouse, sku, on hand, reserved), `slots` places in a warehouse's day taken or given back (warehouse, day, count);
    `decisions` have their record `Plain` until they are written; `log` are events to append (actor, kind, detail)."""

    order: Row
    private: dict[str, Any]
    new: bool = False
    lines: dict[int, Row] = field(default_factory=dict)
    fulfilments: dict[int, Row] = field(default_factory=dict)
    fulfilment_lines: dict[tuple[int, int, str], Row] = field(default_factory=dict)
    packages: dict[int, Row] = field(default_factory=dict)
    package_lines: dict[tuple[int, int, str], Row] = field(default_factory=dict)
    outbox: dict[int, Row] = field(default_factory=dict)
    exceptions: dict[int, Row] = field(default_factory=dict)
    after_sales: dict[str, Row] = field(default_factory=dict)
    decisions: list[Row] = field(default_factory=list)
    after_sale_lines: list[Row] = field(default_factory=list)
    log: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)
    moves: list[tuple[int, str, int, int]] = field(default_factory=list)
    slots: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def id(self) -> int:
        return int(self.order["id"])

    def note(self, actor: str, kind: str, **detail: Any) -> None:
        """Append an event. `detail` holds names and numbers, never buyer data."""
        self.log.append((actor, kind, detail))

    def lines_of(self, fulfilment_id: int) -> list[Row]:
        return [row for key, row in self.fulfilment_lines.items() if key[0] == fulfilment_id]

    def live(self) -> list[Row]:
        """Fulfilments that are not cancelled, oldest first."""
        rows = [row for row in self.fulfilments.values() if row["state"] != "cancelled"]
        return sorted(rows, key=_by_id) if len(rows) > 1 else rows

    def outbox_of(self, kind: str, fulfilment_id: int) -> Row | None:
        """The newest row of that kind for a fulfilment."""
        rows = [row for row in self.outbox.values() if row["kind"] == kind and row["fulfilment_id"] == fulfilment_id]
        return max(rows, key=lambda row: int(row["id"])) if rows else None


@dataclass(frozen=True, slots=True)
class Extract:
    """What of an order is loaded for those who neither look at nor change anything else: these tables, some of them (and the
    order itself) by these `columns` only, and the private part if it is `opened`. The rest of the dossier is empty, and is
    left as it is stored."""

    tables: frozenset[Table]
    opened: bool = False
    columns: Mapping[Table, tuple[str, ...]] = field(default_factory=dict)


_OF_ORDERS = (t.outbox, t.order_lines, t.fulfilments, t.packages, t.exceptions, t.after_sales)
_ALL: frozenset[Table] = frozenset(_MUTABLE) | {t.package_lines}
_NAMES: Mapping[Table, tuple[str, ...]] = {table: tuple(table.c.keys()) for table in _ALL}
_WHOLE = Extract(_ALL, opened=True)
# All of an order when None; which part may depend on its row.
Part = Extract | Callable[[Row], Extract | None] | None


def extract(*, opened: bool = False, **columns: str) -> Extract:
    """An extract of tables by their names, each with its columns in one text; what rows are told apart by comes by itself."""
    named = {t.metadata.tables[name]: {*words.split()} for name, words in columns.items()}
    narrow = {
        table: tuple(c for c in _NAMES[table] if c in words or c in _KEYS[table]) for table, words in named.items()
    }
    return Extract(frozenset(named), opened, narrow)


def load_dossiers(
    tx: Connection,
    vault: Vault,
    order_ids: Iterable[int],
    *,
    lock: bool = True,
    part: Part = None,
) -> dict[int, Dossier]:
    """Load everything stored about these orders, or a `part` of it; with `lock` nobody else changes them until the transaction
    ends, and what was archived of them is brought back."""
    ids = sorted(set(order_ids))
    if not ids:
        return {}
    found: dict[int, Dossier] = {}
    parts: dict[int, Extract] = {}
    names = part.columns.get(t.orders, _NAMES[t.orders]) if isinstance(part, Extract) else _NAMES[t.orders]
    if not is_sqlite(tx):
        ask_ahead(tx, [*about_by(tx, t.orders, names, "id", ids, lock=lock), *about_archived(tx, ids)])
    for row in ask_by(tx, t.orders, names, "id", ids, lock=lock):
        order_id: int = row["id"]
        told = parts[order_id] = (part(row) if callable(part) else part) or _WHOLE
        private = vault.open_json(PRIVATE, order_id, row["private"]) if told.opened else {}
        found[order_id] = Dossier(order=row, private=private)
    packed = _packed(tx, vault, found, lock=lock)
    kinds = [*{id(each): each for each in parts.values()}.values()]
    _ask_for_rows(tx, parts, kinds, lock=lock)
    _fill(found, parts, partial(_rows, tx, packed, kinds), lock=lock)
    return found


def _ask_for_rows(tx: Connection, parts: Mapping[int, Extract], kinds: Sequence[Extract], *, lock: bool) -> None:
    """Ask ahead for what is found by its order, in the order in which `_fill` asks: outbox rows are locked first."""
    if is_sqlite(tx):
        return
    asked: list[Question] = []
    for table in _OF_ORDERS:
        ids = [order_id for order_id, part in parts.items() if table in part.tables]
        locks = lock and table is t.outbox
        asked += about_by(tx, table, _names_of(kinds, table), "order_id", ids, lock=locks) if ids else []
    ask_ahead(tx, asked)


def _fill(
    found: dict[int, Dossier], parts: Mapping[int, Extract], rows_of: Callable[..., Iterable[Row]], *, lock: bool
) -> None:
    def wanting(table: Table) -> list[int]:
        return [order_id for order_id, part in parts.items() if table in part.tables]

    for row in rows_of(t.outbox, "order_id", wanting(t.outbox), lock=lock):
        found[row["order_id"]].outbox[row["id"]] = row
    for row in rows_of(t.order_lines, "order_id", wanting(t.order_lines)):
        found[row["order_id"]].lines[row["line"]] = row
    owner: dict[int, Dossier] = {}
    for row in rows_of(t.fulfilments, "order_id", wanting(t.fulfilments)):
        found[row["order_id"]].fulfilments[row["id"]] = row
        if t.fulfilment_lines in parts[row["order_id"]].tables:
            owner[row["id"]] = found[row["order_id"]]
    for row in rows_of(t.fulfilment_lines, "fulfilment_id", owner):
        owner[row["fulfilment_id"]].fulfilment_lines[row["fulfilment_id"], row["line"], row["sku"]] = row
    parcels: dict[int, Dossier] = {}
    for row in rows_of(t.packages, "order_id", wanting(t.packages)):
        found[row["order_id"]].packages[row["id"]] = row
        if t.package_lines in parts[row["order_id"]].tables:
            parcels[row["id"]] = found[row["order_id"]]
    for row in rows_of(t.package_lines, "package_id", parcels):
        parcels[row["package_id"]].package_lines[row["package_id"], row["line"], row["sku"]] = row
    for row in rows_of(t.exceptions, "order_id", wanting(t.exceptions)):
        if row["state"] != "resolved":
            found[row["order_id"]].exceptions[row["id"]] = row
    for row in rows_of(t.after_sales, "order_id", wanting(t.after_sales)):
        found[row["order_id"]].after_sales[row["external_id"]] = row


def _packed(tx: Connection, vault: Vault, order_ids: Iterable[int], *, lock: bool) -> dict[Table, list[Row]]:
    """What is archived of these orders, by table: nothing once it has been brought back."""
    packed: dict[Table, list[Row]] = {}
    if lock:
        restore_archived(tx, vault, order_ids)
        return packed
    for rows in load_archived(tx, vault, order_ids).values():
        for table, values in rows.items():
            packed.setdefault(table, []).extend(values)
    return packed


def _rows(
    tx: Connection,
    packed: Mapping[Table, list[Row]],
    kinds: Sequence[Extract],
    table: Table,
    column: str,
    values: Collection[int],
    *,
    lock: bool = False,
) -> Iterable[Row]:
    if not values:
        return ()
    rows = ask_by(tx, table, _names_of(kinds, table), column, values, lock=lock)
    return [*rows, *packed[table]] if table in packed else rows


def _names_of(kinds: Sequence[Extract], table: Table) -> tuple[str, ...]:
    """The columns to load: all, where two kinds of parts that are loaded together want others. One question takes all locks."""
    named = {part.columns.get(table, _NAMES[table]) for part in kinds if table in part.tables}
    return named.pop() if len(named) == 1 else _NAMES[table]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How a dossier looked when it was loaded."""

    order: Row
    private: dict[str, Any]
    rows: dict[Table, dict[Any, Row]]


def snapshot(dossier: Dossier) -> Snapshot:
    """Remember the stored rows, to write only what changes. It shares them with the dossier: `copy_of` it is what may change."""
    return Snapshot(order=dossier.order, private=dossier.private, rows=dict(_keyed(dossier)))


def copy_of(dossier: Dossier) -> Dossier:
    """The same rows to change, without what is to be appended."""
    rows = {table: {key: dict(row) for key, row in kept.items()} for table, kept in _keyed(dossier)}
    return Dossier(
        order=dict(dossier.order),
        private=_copied(dossier.private),
        new=dossier.new,
        lines=rows[t.order_lines],
        fulfilments=rows[t.fulfilments],
        fulfilment_lines=rows[t.fulfilment_lines],
        packages=rows[t.packages],
        package_lines=rows[t.package_lines],
        outbox=rows[t.outbox],
        exceptions=rows[t.exceptions],
        after_sales=rows[t.after_sales],
    )


def _copied(value: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing that changes: what is in `private` is replaced, never changed in place, but its lists."""
    return {name: list(entry) if isinstance(entry, list) else entry for name, entry in value.items()}


def write_dossiers(tx: Connection, vault: Vault, dossiers: Sequence[tuple[Dossier, Snapshot | None]], now: int) -> None:
    """Write what changed, with a few bulk statements. Stock moves are the caller's."""
    inserts: dict[Table, list[Row]] = {table: [] for table in _WRITE_ORDER}
    updates: dict[Table, list[Row]] = {table: [] for table in _WRITE_ORDER}
    columns: dict[Table, set[str]] = {table: set() for table in _WRITE_ORDER}
    events: list[tuple[Any, ...]] = []
    for dossier, _ in dossiers:
        if dossier.log:
            _chain(dossier, events, now)
    _seal_orders(dossiers, vault, now)
    for dossier, before in dossiers:
        if before is not None:
            _compare(dossier, before, inserts, updates, columns)
        inserts[t.decisions] += dossier.decisions
        inserts[t.after_sale_lines] += dossier.after_sale_lines
    fresh = [dossier for dossier, before in dossiers if before is None]
    for table, rows in _all_of(fresh):
        inserts[table] += rows
    records = vault.seal_many(RECORD, [(row["id"], row["record"].text) for row in inserts[t.decisions]])
    for row, record in zip(inserts[t.decisions], records, strict=True):
        row["record"] = record
    for table in _WRITE_ORDER:
        insert_rows(tx, table, inserts[table])
        if columns[table]:
            # Writing what is there already would write every index of it anew.
            update_rows(tx, table, updates[table], tuple(name for name in _MUTABLE[table] if name in columns[table]))
    insert_tuples(tx, t.events, _EVENT, events)


def _compare(
    dossier: Dossier,
    before: Snapshot,
    inserts: dict[Table, list[Row]],
    updates: dict[Table, list[Row]],
    columns: dict[Table, set[str]],
) -> None:
    """What of a stored order is new, and what is another than it was, in which `columns`."""
    if dossier.order != before.order:
        updates[t.orders].append(dossier.order)
        _note_changed(columns[t.orders], dossier.order, before.order)
    for table, rows in _keyed(dossier):
        if not rows:
            continue
        kept = before.rows[table]
        if rows == kept:
            continue
        for key, row in rows.items():
            old = kept.get(key)
            if old is None:
                inserts[table].append(row)
            elif row != old:
                updates[table].append(row)
                _note_changed(columns[table], row, old)


def _note_changed(changed: set[str], row: Row, old: Row) -> None:
    changed.update([name for name, value in row.items() if value != old[name]])


_WRITE_ORDER: tuple[Table, ...] = (
    t.orders,
    t.order_lines,
    t.fulfilments,
    t.fulfilment_lines,
    t.packages,
    t.package_lines,
    t.outbox,
    t.exceptions,
    t.after_sales,
    t.after_sale_lines,
    t.decisions,
)
_EVENT = ("order_id", "seq", "at", "actor", "kind", "detail", "hash")


def _keyed(dossier: Dossier) -> tuple[tuple[Table, dict[Any, Row]], ...]:
    return (
        (t.order_lines, dossier.lines),
        (t.fulfilments, dossier.fulfilments),
        (t.fulfilment_lines, dossier.fulfilment_lines),
        (t.packages, dossier.packages),
        (t.package_lines, dossier.package_lines),
        (t.outbox, dossier.outbox),
        (t.exceptions, dossier.exceptions),
        (t.after_sales, dossier.after_sales),
    )


def _all_of(dossiers: Sequence[Dossier]) -> tuple[tuple[Table, list[Row]], ...]:
    """Every row of orders of which none is stored, by table."""
    return (
        (t.orders, [each.order for each in dossiers]),
        (t.order_lines, [row for each in dossiers for row in each.lines.values()]),
        (t.fulfilments, [row for each in dossiers for row in each.fulfilments.values()]),
        (t.fulfilment_lines, [row for each in dossiers for row in each.fulfilment_lines.values()]),
        (t.packages, [row for each in dossiers for row in each.packages.values()]),
        (t.package_lines, [row for each in dossiers for row in each.package_lines.values()]),
        (t.outbox, [row for each in dossiers for row in each.outbox.values()]),
        (t.exceptions, [row for each in dossiers for row in each.exceptions.values()]),
        (t.after_sales, [row for each in dossiers for row in each.after_sales.values()]),
    )


def _chain(dossier: Dossier, rows: list[tuple[Any, ...]], now: int) -> None:
    """Append the events of the log to the order's chain, as rows of `_EVENT`."""
    order = dossier.order
    order_id, seq, previous = order["id"], order["event_seq"], bytes(order["event_hash"] or GENESIS)
    for actor, kind, detail in dossier.log:
        seq += 1
        text = sorted_text(detail) if detail else ""
        previous = link(previous, order_id, seq, now, actor, kind, text)
        rows.append((order_id, seq, now, actor, kind, text, previous))
    order["event_seq"], order["event_hash"] = seq, previous


def _seal_orders(dossiers: Sequence[tuple[Dossier, Snapshot | None]], vault: Vault, now: int) -> None:
    # One after the other: with other work in between, sealing one takes three times as long.
    fresh = [dossier for dossier, before in dossiers if before is None or dossier.private != before.private]
    if any(before is not None and not before.private and dossier.private for dossier, before in dossiers):
        raise AssertionError("a private part that was not opened would be lost")
    privates = vault.seal_many(PRIVATE, [(dossier.order["id"], pack(dossier.private)) for dossier in fresh])
    for dossier, private in zip(fresh, privates, strict=True):
        dossier.order["private"] = private
    for dossier, before in dossiers:
        if before is not None and (dossier.order != before.order or dossier.log):
            dossier.order["updated_at"] = now
            dossier.order["revision"] = int(before.order["revision"]) + 1
