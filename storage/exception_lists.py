"""Lists of exceptions: keyset pages by state, those of one order, and which orders and documents have any."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, select

from .rows import Row, load_rows, rows_of
from .tables import exceptions, inbox


def list_exceptions(
    tx: Connection,
    state: str,
    *,
    after: int | None,
    limit: int,
    newest_first: bool = False,
    code: str = "",
    assignee: str = "",
    account_ids: Sequence[int] | None = None,
    partner_id: int | None = None,
    order_ids: Collection[int] | None = None,
    window: int | None = None,
) -> tuple[list[Row], int | None]:
    """Exceptions in one state by id: at most `limit` full rows beyond the id `after`, and the id at which the window
    ended, None when nothing was left out. "" and None filter nothing. With a filter at most `window` rows of the state
    are looked at; without a `window`, or when `order_ids` are given, all are."""
    x = exceptions
    base: list[Any] = [x.c.state == state]
    if after is not None:
        base.append(x.c.id < after if newest_first else x.c.id > after)
    order = x.c.id.desc() if newest_first else x.c.id
    filters: list[Any] = [x.c.code == code] if code else []
    filters += [x.c.assignee == assignee] if assignee else []
    filters += [x.c.account_id.in_(account_ids)] if account_ids is not None else []
    filters += [x.c.partner_id == partner_id] if partner_id is not None else []
    end = None
    if order_ids is not None:
        filters.append(x.c.order_id.in_(order_ids))
    elif filters and window is not None:
        end = tx.execute(select(x.c.id).where(*base).order_by(order).offset(window - 1).limit(1)).scalar()
        if end is not None:
            filters.append(x.c.id >= end if newest_first else x.c.id <= end)
    return rows_of(tx, select(x).where(*base, *filters).order_by(order).limit(limit)), end


def list_order_exceptions(tx: Connection, order_id: int, limit: int) -> list[Row]:
    """Full rows of an order's exceptions in any state, the oldest first."""
    x = exceptions
    return rows_of(tx, select(x).where(x.c.order_id == order_id).order_by(x.c.id).limit(limit))


def list_unread_documents(tx: Connection, account_id: int) -> list[tuple[str, str]]:
    """(external id, exception code) of an account's documents that became no order and still wait for a person."""
    x, i = exceptions, inbox
    query = (
        select(i.c.external_id, x.c.code)
        .join(x, x.c.inbox_id == i.c.id)
        .where(x.c.account_id == account_id, x.c.order_id.is_(None), x.c.state != "resolved")
    )
    return [(row.external_id, row.code) for row in tx.execute(query)]


def find_exception(tx: Connection, row_id: int) -> Row | None:
    """The full row of one exception in any state."""
    rows = rows_of(tx, select(exceptions).where(exceptions.c.id == row_id))
    return rows[0] if rows else None


def find_stuck_orders(tx: Connection, order_ids: Collection[int]) -> set[int]:
    """Those of these orders that have an exception nobody has resolved."""
    x = exceptions
    query = select(x.c.order_id).where(x.c.order_id.in_(order_ids), x.c.state != "resolved")
    return set(tx.execute(query).scalars())


def load_unresolved(tx: Connection, order_ids: Iterable[int]) -> list[tuple[int, str]]:
    """(order id, code) of every exception of these orders that nobody has resolved, the oldest first within a chunk."""
    rows = load_rows(tx, exceptions, exceptions.c.order_id, order_ids)
    return [(row["order_id"], row["code"]) for row in rows if row["state"] != "resolved"]
