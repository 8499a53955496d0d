"""What belongs to orders, read to be shown or compared: nothing is locked, nothing sealed is opened."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, select

from .rows import Row, load_rows, rows_of
from .tables import after_sale_lines, archives, decisions, fulfilments, orders, outbox, packages, warehouses


def find_order_owner(tx: Connection, order_id: int) -> Row | None:
    """id and partner_id of an order."""
    return _owner(rows_of(tx, select(orders.c.id, orders.c.partner_id).where(orders.c.id == order_id)))


def find_external_owner(tx: Connection, account_id: int, external_id: str) -> Row | None:
    """id and partner_id of the order that an account knows by this id."""
    o = orders
    query = select(o.c.id, o.c.partner_id).where(o.c.account_id == account_id, o.c.external_id == external_id)
    return _owner(rows_of(tx, query))


def _owner(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None


def load_order_rows(tx: Connection, order_ids: Iterable[int]) -> dict[int, Row]:
    """Full rows of orders by id."""
    return {row["id"]: row for row in load_rows(tx, orders, orders.c.id, order_ids)}


def load_order_heads(tx: Connection, order_ids: Collection[int]) -> dict[int, Row]:
    """id, number, external_id and status of orders, by id."""
    if not order_ids:
        return {}
    o = orders
    query = select(o.c.id, o.c.number, o.c.external_id, o.c.status).where(o.c.id.in_(order_ids))
    return {row["id"]: row for row in rows_of(tx, query)}


def load_newest_decisions(tx: Connection, order_id: int, limit: int) -> list[Row]:
    """Full rows of an order's decisions, the newest first; `record` stays sealed."""
    d = decisions
    return rows_of(tx, select(d).where(d.c.order_id == order_id).order_by(d.c.id.desc()).limit(limit))


def load_after_sale_lines(tx: Connection, after_sale_ids: Collection[int]) -> list[Row]:
    """after_sale_id, line and quantity of these after-sales."""
    a = after_sale_lines
    return rows_of(tx, select(a).where(a.c.after_sale_id.in_(after_sale_ids))) if after_sale_ids else []


def load_warehouses_of(tx: Connection, order_ids: Collection[int]) -> list[tuple[int, str]]:
    """(order id, warehouse name) of every fulfilment of these orders that is not cancelled."""
    f, w = fulfilments, warehouses
    query = (
        select(f.c.order_id, w.c.name)
        .join(w, w.c.id == f.c.warehouse_id)
        .where(f.c.order_id.in_(order_ids), f.c.state != "cancelled")
    )
    return [(row.order_id, row.name) for row in tx.execute(query)]


def load_fulfilments(tx: Connection, order_ids: Iterable[int]) -> list[Row]:
    """Full rows of these orders' fulfilments, by id within a chunk of orders."""
    return list(load_rows(tx, fulfilments, fulfilments.c.order_id, order_ids))


def load_packages(tx: Connection, order_ids: Iterable[int]) -> list[Row]:
    """Full rows of these orders' packages, by id within a chunk of orders."""
    return list(load_rows(tx, packages, packages.c.order_id, order_ids))


def find_pushed_orders(tx: Connection, order_ids: Iterable[int]) -> set[int]:
    """Those of these orders of which at least one fulfilment was accepted by its warehouse."""
    ids = list(order_ids)
    rows = load_rows(tx, outbox, outbox.c.order_id, ids)
    pushed = {row["order_id"] for row in rows if row["kind"] == "push" and row["state"] == "done"}
    # The outbox rows of an archived order are packed; what its warehouse answered stands on the fulfilment too.
    packed = {row["order_id"] for row in load_rows(tx, archives, archives.c.order_id, ids)}
    parts = load_rows(tx, fulfilments, fulfilments.c.order_id, packed)
    return pushed | {row["order_id"] for row in parts if row["warehouse_ref"]}
