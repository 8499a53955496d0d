"""How accounts and warehouses stand: their names, their states, how fresh each account is. Settings stay sealed."""

from __future__ import annotations

from sqlalchemy import Connection, select

from .rows import Row, rows_of
from .tables import accounts, cursors, nodes, orders, partners, warehouses


def find_schema(tx: Connection) -> None:
    """Look at two tables that every process needs; raises what the database raises when they are not there."""
    tx.execute(select(nodes.c.id).limit(1)).all()
    tx.execute(select(orders.c.id).limit(1)).all()


def load_account_names(tx: Connection) -> dict[int, str]:
    """Name by id, in the order of names."""
    query = select(accounts.c.id, accounts.c.name).order_by(accounts.c.name)
    return {row.id: row.name for row in tx.execute(query)}


def load_warehouse_names(tx: Connection) -> dict[int, str]:
    """Name by id."""
    return {row.id: row.name for row in tx.execute(select(warehouses.c.id, warehouses.c.name))}


def find_account(tx: Connection, account_id: int) -> Row | None:
    """name and channel of an account."""
    rows = rows_of(tx, select(accounts.c.name, accounts.c.channel).where(accounts.c.id == account_id))
    return rows[0] if rows else None


def find_account_id(tx: Connection, name: str) -> int | None:
    """The id of the account with this name."""
    return tx.execute(select(accounts.c.id).where(accounts.c.name == name)).scalar()


def find_partner_name(tx: Connection, partner_id: int | None) -> str | None:
    """The name of a partner; None when there is no such partner."""
    if partner_id is None:
        return None
    return tx.execute(select(partners.c.name).where(partners.c.id == partner_id)).scalar()


def load_polls(tx: Connection) -> dict[int, Row]:
    """How each account's poll went, by account id: account_id, ran_at (µs or None), failures (in a row), error."""
    c = cursors
    query = select(c.c.account_id, c.c.ran_at, c.c.failures, c.c.error).where(c.c.stream == "poll")
    return {row["account_id"]: row for row in rows_of(tx, query)}


def list_polled_accounts(tx: Connection, limit: int) -> list[Row]:
    """Accounts with their poll, those in trouble first. Rows of name, channel, enabled, state, state_reason; and ran_at,
    watermark, failures, error, due_at (times in µs), which are None for an account without a poll."""
    a, c = accounts, cursors
    query = (
        select(a.c.name, a.c.channel, a.c.enabled, a.c.state, a.c.state_reason)
        .add_columns(c.c.ran_at, c.c.watermark, c.c.failures, c.c.error, c.c.due_at)
        .outerjoin(c, (c.c.account_id == a.c.id) & (c.c.stream == "poll"))
        .order_by(a.c.state.desc(), c.c.failures.desc(), a.c.name)
        .limit(limit)
    )
    return rows_of(tx, query)


def list_warehouses(tx: Connection, limit: int) -> list[Row]:
    """id, name, kind, enabled, state and state_reason of warehouses, by name."""
    w = warehouses
    columns = (w.c.id, w.c.name, w.c.kind, w.c.enabled, w.c.state, w.c.state_reason)
    return rows_of(tx, select(*columns).order_by(w.c.name).limit(limit))
