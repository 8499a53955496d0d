"""Lists of orders: keyset pages in two orders, and the look-up of what a person typed.

Where no index serves a filter, at most `window` rows of the list are looked at; the list then says where the window
ended, and the caller goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, tuple_

from .rows import Row, rows_of
from .tables import orders, packages

# The part of a window that is looked at first.
_SHORT = 10


def list_changed_orders(
    tx: Connection,
    *,
    after: Sequence[int],
    partner_id: int | None,
    status: str,
    account_ids: Sequence[int] | None,
    ids: Sequence[int] | None,
    window: int,
    limit: int,
) -> tuple[list[Row], tuple[int, int] | None]:
    """Orders by last change, the oldest first: at most `limit` full rows beyond `after` (updated_at in µs, id), and the
    (updated_at, id) at which the window ended, None when nothing was left out. `status` "" and `account_ids` None filter
    nothing. With `ids` only these orders count, and there is no window."""
    o = orders
    changed = tuple_(o.c.updated_at, o.c.id)
    base: list[Any] = [changed > tuple_(*after)]
    if partner_id is not None:
        base.append(o.c.partner_id == partner_id)
    filters: list[Any] = [o.c.status == status] if status else []
    filters += [o.c.account_id.in_(account_ids)] if account_ids is not None else []
    end = None
    if ids is not None:
        base.append(o.c.id.in_(ids))
    elif filters:
        walk = select(o.c.updated_at, o.c.id).where(*base).order_by(o.c.updated_at, o.c.id)
        end = tx.execute(walk.offset(window - 1).limit(1)).one_or_none()
        filters += [changed <= tuple_(*end)] if end is not None else []
    query = select(o).where(*base, *filters).order_by(o.c.updated_at, o.c.id).limit(limit)
    return rows_of(tx, query), None if end is None else (end.updated_at, end.id)


def list_newest_orders(
    tx: Connection,
    *,
    before: int | None,
    status: str,
    account_id: int | None,
    ids: Sequence[int] | None,
    window: int,
    limit: int,
) -> tuple[list[Row], int | None]:
    """Orders by id, the newest first: at most `limit` full rows with an id under `before`, and the id of the last row looked
    at, None when nothing was left out. `status` "" and `account_id` None filter nothing. With `ids` only these orders
    count, and there is no window."""
    o = orders
    base: list[Any] = [o.c.id < before] if before is not None else []
    filters: list[Any] = [o.c.status == status] if status else []
    if account_id is not None:
        filters.append(o.c.account_id + 0 == account_id)  # by id, newest first: an index on accounts would have to sort
    page = select(o).order_by(o.c.id.desc()).limit(limit)
    if ids is not None or not filters:
        filters += [o.c.id.in_(ids)] if ids is not None else []
        return rows_of(tx, page.where(*base, *filters)), None
    # Rows are wide, and of the distant past they lie on disk: few are looked at before many.
    for size in (max(1, window // _SHORT), window):
        walk = select(o.c.id).where(*base).order_by(o.c.id.desc()).offset(size - 1).limit(1)
        floor = tx.execute(walk).scalar()
        found = rows_of(tx, page.where(*base, *filters, *([o.c.id >= floor] if floor is not None else [])))
        if floor is None or len(found) >= limit:
            break
    return found, floor


def list_account_orders(tx: Connection, account_id: int, *, after: int, limit: int) -> list[Row]:
    """id, external_id, number and status of an account's orders with an id beyond `after`, the oldest first."""
    o = orders
    columns = (o.c.id, o.c.external_id, o.c.number, o.c.status)
    query = select(*columns).where(o.c.account_id == account_id, o.c.id > after).order_by(o.c.id).limit(limit)
    return rows_of(tx, query)


def find_order_ids(
    tx: Connection,
    text: str,
    *,
    account_ids: Sequence[int],
    tail_hash: bytes | None,
    limit: int,
    partner_id: int | None = None,
) -> list[int]:
    """Ids of at most `limit` orders, the newest first, that a text names exactly: the external id within `account_ids`,
    the tracking number, or the hash of the last four digits of the phone. With `partner_id` only that partner's orders
    are met (`account_ids` must be the partner's too)."""
    o, p = orders, packages
    mine: list[Any] = [o.c.partner_id == partner_id] if partner_id is not None else []
    by_tracking = select(p.c.order_id).where(p.c.tracking == text)
    if mine:
        by_tracking = by_tracking.join(o, o.c.id == p.c.order_id).where(*mine)
    queries = [select(o.c.id).where(o.c.account_id.in_(account_ids), o.c.external_id == text), by_tracking]
    if tail_hash is not None:
        queries.append(select(o.c.id).where(o.c.tail_hash == tail_hash, *mine).order_by(o.c.id.desc()))
    found = {row_id for query in queries for row_id in tx.execute(query.limit(limit)).scalars()}
    return sorted(found, reverse=True)[:limit]
