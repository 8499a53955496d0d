"""Stock by (warehouse, SKU), in units: on hand, reserved, buffer. Always locked in one order: SKU, then warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Integer, Select, select, type_coerce, update

from .asking import Question, ask
from .many import among, bind_values
from .rows import Row, chunks, dialect_insert, insert_missing, rows_of, update_rows
from .tables import stock, warehouses

# A stock row in the order of the table's columns: warehouse id, SKU, on hand, reserved, buffer, back-order, source time, moved at,
# updated at (times in µs).
Level = tuple[int, str, int, int, int, bool, int, int, int]


@cache
def _of_skus(dialect: str) -> Select[Any]:
    """By both columns of the key: by the SKU alone the whole table would be read."""
    anywhere = stock.c.warehouse_id.in_(select(warehouses.c.id))
    # Yes and no as they are stored: making them Python's takes a fifth of the time of the whole answer.
    columns = [
        column if column is not stock.c.backorder else type_coerce(column, Integer).label(column.name)
        for column in stock.c
    ]
    found = select(*columns).where(anywhere, among(dialect, stock.c.sku))
    # SQLite has one writer and locks no rows: there is nothing to put in order.
    return found if dialect == "sqlite" else found.order_by(stock.c.sku, stock.c.warehouse_id).with_for_update()


def lock_stock(tx: Connection, skus: Iterable[str]) -> dict[tuple[int, str], Row]:
    """Stock rows of these SKUs, locked in one order everywhere (SKU, warehouse) until the transaction ends."""
    return {(level[0], level[1]): level_row(level) for level in lock_levels(tx, skus)}


def lock_levels(tx: Connection, skus: Iterable[str]) -> list[Level]:
    """The same rows as they come, for whoever changes few of them (see `level_row`)."""
    return [level for question in about_stock(tx, skus) for level in ask(tx, question)]


def level_row(level: Level) -> Row:
    """A stock row by the names of its columns."""
    warehouse_id, sku, on_hand, reserved, buffer, backorder, source_time, moved_at, updated_at = level
    return {
        "warehouse_id": warehouse_id,
        "sku": sku,
        "on_hand": on_hand,
        "reserved": reserved,
        "buffer": buffer,
        "backorder": backorder,
        "source_time": source_time,
        "moved_at": moved_at,
        "updated_at": updated_at,
    }


def about_stock(tx: Connection, skus: Iterable[str]) -> list[Question]:
    """What `lock_stock` asks: its answer is locked."""
    query = _of_skus(tx.dialect.name)
    return [Question(query, bind_values(tx, chunk)) for chunk in chunks(sorted(set(skus)))]


def lock_warehouse_stock(tx: Connection, warehouse_id: int, skus: Iterable[str]) -> list[Row]:
    """One warehouse's rows of these SKUs, locked in the order of SKUs until the transaction ends."""
    where = (stock.c.warehouse_id == warehouse_id, stock.c.sku.in_(sorted(set(skus))))
    return rows_of(tx, select(stock).where(*where).order_by(stock.c.sku).with_for_update())


def add_stock(tx: Connection, rows: Sequence[Row]) -> None:
    """Make stock rows; one that somebody else made meanwhile takes our units on top of its own."""
    if rows:
        statement = dialect_insert(tx, stock)
        told = statement.excluded
        more = {"on_hand": stock.c.on_hand + told.on_hand, "reserved": stock.c.reserved + told.reserved}
        tx.execute(statement.on_conflict_do_update(index_elements=["warehouse_id", "sku"], set_=more), rows)


def put_missing_stock(tx: Connection, rows: Sequence[Row]) -> None:
    """Make stock rows; one that is there stays as it is."""
    insert_missing(tx, stock, rows)


def save_stock_terms(tx: Connection, rows: Sequence[Row]) -> None:
    """Write buffer and back-order of rows that are there."""
    update_rows(tx, stock, rows, ("buffer", "backorder", "updated_at"))


def save_stock_entries(tx: Connection, rows: Sequence[Row]) -> None:
    """Write what somebody entered about rows that are there: units on hand, buffer, back-order, and its time (µs)."""
    update_rows(tx, stock, rows, ("on_hand", "buffer", "backorder", "source_time", "updated_at"))


def save_stock_levels(tx: Connection, rows: Sequence[Row]) -> None:
    """Write what a warehouse counted: units on hand, and its time (µs)."""
    update_rows(tx, stock, rows, ("on_hand", "source_time", "updated_at"))


def save_stock_moves(tx: Connection, rows: Sequence[Row]) -> None:
    """Write what orders did to locked rows: units on hand and reserved, and when goods last moved (µs)."""
    update_rows(tx, stock, rows, ("on_hand", "reserved", "moved_at", "updated_at"))


def list_stock_skus(tx: Connection, warehouse_id: int) -> list[str]:
    """Every SKU a warehouse is known to hold."""
    return list(
        tx.execute(select(stock.c.sku).where(stock.c.warehouse_id == warehouse_id).order_by(stock.c.sku)).scalars()
    )


def any_stock_due(tx: Connection, *, now: int) -> bool:
    """Whether `claim_stock_due` may find a warehouse."""
    w = warehouses
    due = select(w.c.id).where(w.c.enabled, w.c.state == "active", w.c.stock_due_at <= now)
    return tx.execute(due.limit(1)).first() is not None


def claim_stock_due(tx: Connection, *, now: int, again: int, warehouse_id: int | None = None) -> list[int]:
    """Ids of warehouses (or of the one that is named) whose levels are to be read now; their next reading is at `again` (times
    in µs)."""
    w = warehouses
    due = select(w.c.id).where(w.c.enabled, w.c.state == "active", w.c.stock_due_at <= now)
    if warehouse_id is not None:
        due = due.where(w.c.id == warehouse_id)
    ids = list(tx.execute(due.with_for_update(skip_locked=True)).scalars())
    tx.execute(update(w).where(w.c.id.in_(ids)).values(stock_due_at=again))
    return ids
