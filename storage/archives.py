"""Orders that have come to their end, out of the tables that work is done on.

What nobody looks for by anything but the order - its lines, its finished outbox rows, its log, its decisions, the news of
its warehouses - is packed into one sealed value per order; what is found by other things stays where it is: the order,
its fulfilments (code), its packages (tracking number), its own documents (identity), its exceptions. Nothing is lost:
`load_archived` gives the rows as they were, `restore_archived` puts them back before anything of the order changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, literal_column, select, tuple_

from .asking import Question, about_by, ask_rows
from .events import GENESIS, broken_link, link
from .inbox import body_hash
from .rows import Row, Table, chunks, delete_rows, insert_rows, load_rows, rows_of, upsert_rows
from .tables import (
    archives,
    decisions,
    events,
    exceptions,
    fulfilment_lines,
    fulfilments,
    inbox,
    marks,
    order_lines,
    orders,
    outbox,
    package_lines,
    packages,
)
from .vault import Vault

PLACE = "archives.content"
ENDED = ("completed", "closed")
_SETTLED = ("done", "refused", "withdrawn")
_FORMAT = 1
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Rows = dict[Table, list[Row]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A packed table: the column its rows are found by (an order's, fulfilment's, package's id), what is sealed in it,
    what is not kept because it can be worked out again."""

    table: Table
    owner: Column[Any]
    sealed: str = ""
    left_out: str = ""


_KINDS = (
    _Kind(order_lines, order_lines.c.order_id),
    _Kind(fulfilment_lines, fulfilment_lines.c.fulfilment_id),
    _Kind(package_lines, package_lines.c.package_id),
    _Kind(outbox, outbox.c.order_id, sealed="reply"),
    _Kind(events, events.c.order_id, left_out="hash"),
    _Kind(decisions, decisions.c.order_id, sealed="record"),
    _Kind(inbox, inbox.c.order_id, sealed="body", left_out="body_hash"),
)
# Written out, so that the partial index of news serves it on both databases.
_IS_NEWS = inbox.c.source_kind != literal_column("'account'")


def list_changed(tx: Connection, *, after: tuple[int, int], until: int, limit: int) -> list[Row]:
    """id, status and updated_at of orders by last change, beyond `after` (µs, id) and until then (µs)."""
    o = orders
    changed = tuple_(o.c.updated_at, o.c.id)
    query = select(o.c.id, o.c.status, o.c.updated_at).where(changed > tuple_(*after), o.c.updated_at <= until)
    return rows_of(tx, query.order_by(o.c.updated_at, o.c.id).limit(limit))


def load_mark(tx: Connection, name: str) -> tuple[int, int]:
    """How far a walk has come: (µs, id) of the last it has seen."""
    found = tx.execute(select(marks.c.at, marks.c.row_id).where(marks.c.name == name)).one_or_none()
    return (found.at, found.row_id) if found else (0, 0)


def save_mark(tx: Connection, name: str, at: int, row_id: int) -> None:
    """Remember how far a walk has come."""
    upsert_rows(tx, marks, [{"name": name, "at": at, "row_id": row_id}])


def archive_orders(tx: Connection, vault: Vault, order_ids: Iterable[int], *, until: int) -> int:
    """Pack those of these orders that have ended, are not waited for by anybody or anything, and did not change after
    `until` (µs); returns how many. One whose log does not hold is left as it is."""
    heads = {
        row["id"]: row
        for row in load_rows(tx, orders, orders.c.id, order_ids, lock=True)
        if row["status"] in ENDED and row["updated_at"] <= until
    }
    parts = list(load_rows(tx, fulfilments, fulfilments.c.order_id, heads))
    parcels = list(load_rows(tx, packages, packages.c.order_id, heads))
    busy = {row["order_id"] for row in parts if row["news_due_at"] is not None}
    for row in load_rows(tx, exceptions, exceptions.c.order_id, heads):
        busy |= {row["order_id"]} if row["state"] != "resolved" else set()
    owners = {row["id"]: row["order_id"] for row in (*parts, *parcels)} | {order_id: order_id for order_id in heads}
    found = _rows_of(tx, heads, owners)
    busy |= {row["order_id"] for rows in found.values() for row in rows[outbox] if row["state"] not in _SETTLED}
    busy |= {row["order_id"] for rows in found.values() for row in rows[inbox] if row["state"] == "new"}
    busy |= {order_id for order_id, rows in found.items() if not _holds(heads[order_id], rows[events])}
    done = {order_id: rows for order_id, rows in found.items() if order_id not in busy}
    insert_rows(
        tx,
        archives,
        [{"order_id": each, "content": vault.seal(PLACE, each, _pack(vault, rows))} for each, rows in done.items()],
    )
    _delete(tx, done, owners)
    return len(done)


def load_archived(tx: Connection, vault: Vault, order_ids: Iterable[int]) -> dict[int, Rows]:
    """The packed rows of these orders as they were, by order, for those that are archived."""
    return {
        row["order_id"]: _unpack(vault, row["order_id"], vault.open(PLACE, row["order_id"], row["content"]))
        for question in about_archived(tx, order_ids)
        for row in ask_rows(tx, question)
    }


def about_archived(tx: Connection, order_ids: Iterable[int]) -> list[Question]:
    """What `load_archived` asks."""
    return about_by(tx, archives, ("order_id", "content"), "order_id", order_ids)


def restore_archived(tx: Connection, vault: Vault, order_ids: Iterable[int]) -> None:
    """Put the rows of these orders back, because something of them is about to change. The orders are locked."""
    found = load_archived(tx, vault, order_ids)
    for kind in _KINDS:
        insert_rows(tx, kind.table, [row for rows in found.values() for row in rows.get(kind.table, ())])
    delete_rows(tx, archives, archives.c.order_id, found)


def list_archived(tx: Connection, *, before: int, limit: int) -> list[int]:
    """Ids of archived orders under `before`, the newest first."""
    a = archives
    query = select(a.c.order_id).where(a.c.order_id < before).order_by(a.c.order_id.desc()).limit(limit)
    return list(tx.execute(query).scalars())


def _rows_of(tx: Connection, heads: Mapping[int, Row], owners: Mapping[int, int]) -> dict[int, Rows]:
    found: dict[int, Rows] = {order_id: defaultdict(list) for order_id in heads}
    for kind in _KINDS:
        if kind.table is inbox:
            rows = _news(tx, heads)
        else:
            rows = list(load_rows(tx, kind.table, kind.owner, heads if kind.owner.name == "order_id" else owners))
        for row in rows:
            found[owners[row[kind.owner.name]]][kind.table].append(row)
    return found


def _news(tx: Connection, order_ids: Collection[int]) -> list[Row]:
    return [
        row
        for chunk in chunks(sorted(order_ids))
        for row in rows_of(tx, select(inbox).where(_IS_NEWS, inbox.c.order_id.in_(chunk)).order_by(inbox.c.id))
    ]


def _holds(head: Row, log: Sequence[Row]) -> bool:
    return broken_link(log, head["id"], head["event_seq"], bytes(head["event_hash"])) is None


def _delete(tx: Connection, done: Mapping[int, Rows], owners: Mapping[int, int]) -> None:
    parts = [each for each, order_id in owners.items() if order_id in done]
    for kind in _KINDS:
        if kind.table is inbox:
            delete_rows(tx, inbox, inbox.c.id, [row["id"] for rows in done.values() for row in rows[inbox]])
        else:
            delete_rows(tx, kind.table, kind.owner, done if kind.owner.name == "order_id" else parts)


def _pack(vault: Vault, rows: Rows) -> bytes:
    """Names of columns once per table, then the rows; sealed values opened, so that all of it is compressed together."""
    told: dict[str, Any] = {}
    for kind in _KINDS:
        if rows.get(kind.table):
            names = [column.name for column in kind.table.c if column.name != kind.left_out]
            opened = (_opened(vault, kind, row) for row in rows[kind.table])
            told[kind.table.name] = [names, *([row[name] for name in names] for row in opened)]
    return _encode({"format": _FORMAT, "rows": told}).encode("utf-8", "surrogateescape")


def _opened(vault: Vault, kind: _Kind, row: Row) -> Row:
    if not kind.sealed or row[kind.sealed] is None:
        return row
    plain = vault.open(f"{kind.table.name}.{kind.sealed}", row["id"], row[kind.sealed])
    # Whatever bytes a source sent come back from this as they were.
    return row | {kind.sealed: plain.decode("utf-8", "surrogateescape")}


def _unpack(vault: Vault, order_id: int, packed: bytes) -> Rows:
    told = json.loads(packed.decode("utf-8", "surrogateescape"))["rows"]
    found: Rows = {}
    for kind in _KINDS:
        names, *values = told.get(kind.table.name, [[]])
        rows = [dict(zip(names, value, strict=True)) for value in values]
        found[kind.table] = _COMPLETE.get(kind.table, _as_is)(vault, kind, order_id, rows)
    return found


def _as_is(_vault: Vault, _kind: _Kind, _order_id: int, rows: list[Row]) -> list[Row]:
    return rows


def _chained(_vault: Vault, _kind: _Kind, order_id: int, rows: list[Row]) -> list[Row]:
    previous = GENESIS
    for row in rows:
        previous = link(previous, order_id, row["seq"], row["at"], row["actor"], row["kind"], row["detail"])
        row["hash"] = previous
    return rows


def _sealed(vault: Vault, kind: _Kind, _order_id: int, rows: list[Row]) -> list[Row]:
    for row in rows:
        text = row[kind.sealed]
        if text is None:
            continue
        plain = text.encode("utf-8", "surrogateescape")
        row[kind.sealed] = vault.seal(f"{kind.table.name}.{kind.sealed}", row["id"], plain)
        if kind.table is inbox:
            row["body_hash"] = body_hash(plain)
    return rows


_COMPLETE: Mapping[Table, Callable[[Vault, _Kind, int, list[Row]], list[Row]]] = {
    events: _chained,
    outbox: _sealed,
    decisions: _sealed,
    inbox: _sealed,
}
