"""Orders found by what a source knows them by, tombstones of those that must never be pushed, buyers, and orders that
wait for goods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, func, literal, or_, select, true, tuple_

from .asking import Question, ask
from .many import among, among_pairs, bind_pairs, bind_values, each_pair, each_value
from .rows import Row, chunks, insert_missing, rows_of
from .tables import exceptions, fulfilment_lines, fulfilments, order_lines, orders, tombstones

Identity = tuple[int, str]


def find_orders(tx: Connection, identities: Iterable[Identity]) -> list[int]:
    """Ids of the orders that exist of these (account id, external id)."""
    return [row[0] for question in about_orders(tx, identities) for row in ask(tx, question)]


def about_orders(tx: Connection, identities: Iterable[Identity]) -> list[Question]:
    """What `find_orders` asks."""
    query = _ids_of(tx.dialect.name)
    return [Question(query, bind_pairs(tx, chunk)) for chunk in chunks(sorted(set(identities)))]


@cache
def _ids_of(dialect: str) -> Select[Any]:
    o = orders.c
    if dialect == "sqlite":
        return select(o.id).where(among_pairs(dialect, o.account_id, o.external_id))
    # Once for each identity, and only its own index brings them in this order: a plan that was made before the server had counted
    # any rows took the index of buyers and looked at every order of the account.
    told = each_pair(o.account_id, o.external_id)
    of_account = select(o.id).where(o.account_id == told.c.a, o.external_id.between(told.c.b, told.c.b))
    found = of_account.order_by(o.external_id).limit(1).lateral()
    return select(found.c.id).select_from(told.join(found, true()))


def find_finished(tx: Connection, account_id: int, external_ids: Sequence[str]) -> set[str]:
    """Those of these orders that are completed or closed: nothing of ours can go out for them any more."""
    return {row[0] for question in about_finished(tx, account_id, external_ids) for row in ask(tx, question)}


def about_finished(tx: Connection, account_id: int, external_ids: Sequence[str]) -> list[Question]:
    """What `find_finished` asks."""
    query, account = _finished_of(tx.dialect.name), {"account_id": account_id}
    return [Question(query, account | bind_values(tx, chunk)) for chunk in chunks(sorted(set(external_ids)))]


@cache
def _finished_of(dialect: str) -> Select[Any]:
    o, over = orders.c, or_(orders.c.status == "completed", orders.c.status == "closed")
    mine = o.account_id == bindparam("account_id")
    if dialect == "sqlite":
        return select(o.external_id).where(mine, among(dialect, o.external_id), over)
    told = each_value(o.external_id)  # once for each, as in `_ids_of`
    of_account = select(o.external_id).where(mine, o.external_id.between(told.c.value, told.c.value), over)
    found = of_account.order_by(o.external_id).limit(1).lateral()
    return select(found.c.external_id).select_from(told.join(found, true()))


def find_tombstones(tx: Connection, identities: Iterable[Identity]) -> set[Identity]:
    """Those of these (account id, external id) that were cancelled before they came."""
    return {(row[0], row[1]) for question in about_tombstones(tx, identities) for row in ask(tx, question)}


def about_tombstones(tx: Connection, identities: Iterable[Identity]) -> list[Question]:
    """What `find_tombstones` asks."""
    query = _tombstones_of(tx.dialect.name)
    return [Question(query, bind_pairs(tx, chunk)) for chunk in chunks(sorted(set(identities)))]


@cache
def _tombstones_of(dialect: str) -> Select[Any]:
    t = tombstones.c
    return select(t.account_id, t.external_id).where(among_pairs(dialect, t.account_id, t.external_id))


def put_tombstone(tx: Connection, row: Row) -> None:
    """Remember that an order must never be pushed: account_id, external_id, reason, created_at (µs). Once is enough."""
    insert_missing(tx, tombstones, [row])


def count_buyers(tx: Connection, buyers: Iterable[tuple[int, bytes]], *, since: int) -> dict[tuple[int, bytes], int]:
    """How many orders these buyers (account id, buyer hash) placed after `since` (µs)."""
    asked = about_buyers(tx, buyers, since=since)
    return {(row[0], bytes(row[1])): row[2] for question in asked for row in ask(tx, question) if row[2]}


def about_buyers(tx: Connection, buyers: Iterable[tuple[int, bytes]], *, since: int) -> list[Question]:
    """What `count_buyers` asks."""
    query = _placed_by(tx.dialect.name)
    return [Question(query, bind_pairs(tx, chunk) | {"since": since}) for chunk in chunks(sorted(set(buyers)))]


@cache
def _placed_by(dialect: str) -> Select[Any]:
    o, since = orders.c, orders.c.placed_at > bindparam("since")
    if dialect == "sqlite":
        pairs = among_pairs(dialect, o.account_id, o.buyer_hash)
        return select(o.account_id, o.buyer_hash, func.count()).where(pairs, since).group_by(o.account_id, o.buyer_hash)
    # Buyer by buyer: while statistics are young, any other order of things looks as cheap, and walks the whole index.
    told = each_pair(o.account_id, o.buyer_hash)
    mine = (
        select(func.count().label("placed")).where(o.account_id == told.c.a, o.buyer_hash == told.c.b, since).lateral()
    )
    return select(told.c.a, told.c.b, mine.c.placed).join_from(told, mine, true())


def count_sent(tx: Connection, account_ids: Sequence[int], *, most: int) -> int:
    """How many orders these accounts ever sent, counted up to `most`."""
    few = select(orders.c.id).where(orders.c.account_id.in_(account_ids)).limit(most).subquery()
    return int(tx.execute(select(func.count()).select_from(few)).scalar_one())


def list_reservations_due(tx: Connection, *, now: int, limit: int) -> list[int]:
    """Ids of orders whose reservation ends by now (µs), the earliest first."""
    o = orders
    due = select(o.c.id).where(o.c.reserved_until <= now).order_by(o.c.reserved_until).limit(limit)
    return list(tx.execute(due).scalars())


def list_waiting_for_listings(
    tx: Connection,
    codes: Iterable[str],
    external_skus: Sequence[str],
    *,
    account_id: int,
    after: tuple[int, int],
    limit: int,
) -> list[Row]:
    """Lines with one of these source SKUs in an account's orders with an open exception of these codes. Rows of `id` (the
    exception's), `line`, `order_id`, in the order of (id, line) and beyond `after`."""
    concerned = order_lines.c.external_sku.in_(external_skus)
    return _list_waiting(tx, codes, [concerned, exceptions.c.account_id == account_id], after, limit)


def list_waiting_for_stock(
    tx: Connection, codes: Iterable[str], skus: Sequence[str], *, after: tuple[int, int], limit: int
) -> list[Row]:
    """Lines with one of these SKUs, or with a bundle, or with goods not mapped yet, in orders with an open exception of
    these codes. Rows and order as in `list_waiting_for_listings`."""
    lines = order_lines
    concerned = or_(lines.c.sku.in_(skus), lines.c.components.is_not(None), lines.c.sku == "")
    return _list_waiting(tx, codes, [concerned], after, limit)


def list_waiting_parts(tx: Connection, skus: Sequence[str], *, after: tuple[int, int], limit: int) -> list[Row]:
    """Lines with one of these SKUs of fulfilments that wait for stock. Rows and order as in `list_waiting_for_listings`,
    with the fulfilment's id for the exception's."""
    f, lines = fulfilments, fulfilment_lines
    waits = f.c.state == literal("planned", literal_execute=True)  # as in the index: a bound value would not use it
    query = (
        select(f.c.id, lines.c.line, f.c.order_id)
        .join(lines, lines.c.fulfilment_id == f.c.id)
        .where(
            waits,
            lines.c.sku.in_(skus),
            tuple_(f.c.id, lines.c.line) > tuple_(*after),
        )
        .order_by(f.c.id, lines.c.line)
        .limit(limit)
    )
    return rows_of(tx, query)


def _list_waiting(
    tx: Connection, codes: Iterable[str], concerned: list[Any], after: tuple[int, int], limit: int
) -> list[Row]:
    x, lines = exceptions, order_lines
    stuck = (x.c.state.in_(("open", "snoozed")), x.c.code.in_(sorted(codes)), x.c.order_id.is_not(None))
    query = (
        select(x.c.id, lines.c.line, x.c.order_id)
        .join(lines, and_(lines.c.order_id == x.c.order_id))
        .where(*stuck, *concerned, tuple_(x.c.id, lines.c.line) > tuple_(*after))
        .order_by(x.c.id, lines.c.line)
        .limit(limit)
    )
    return rows_of(tx, query)
