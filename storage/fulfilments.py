"""Fulfilments found by what a warehouse knows them by, and those whose turn has come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Update, bindparam, func, select, update

from .asking import Question, ask, tell
from .many import among, bind_values
from .rows import Row, chunks, rows_of, update_rows
from .tables import fulfilments, merges, packages


def find_fulfilments(tx: Connection, codes: Iterable[str]) -> dict[str, int]:
    """Order ids by fulfilment code, for the codes we know."""
    return {code: order_id for question in about_codes(tx, codes) for code, order_id in ask(tx, question)}


def about_codes(tx: Connection, codes: Iterable[str]) -> list[Question]:
    """What `find_fulfilments` asks."""
    query = _of_codes(tx.dialect.name)
    return [Question(query, bind_values(tx, chunk)) for chunk in chunks(sorted(set(codes)))]


@cache
def _of_codes(dialect: str) -> Select[Any]:
    return select(fulfilments.c.code, fulfilments.c.order_id).where(among(dialect, fulfilments.c.code))


def find_tracking_owners(tx: Connection, numbers: Iterable[str]) -> dict[str, set[int]]:
    """Which orders already have a package with these tracking numbers: order ids by number."""
    owners: dict[str, set[int]] = {}
    for question in about_numbers(tx, numbers):
        for tracking, order_id in ask(tx, question):
            owners.setdefault(tracking, set()).add(order_id)
    return owners


def about_numbers(tx: Connection, numbers: Iterable[str]) -> list[Question]:
    """What `find_tracking_owners` asks."""
    query = _of_numbers(tx.dialect.name)
    return [Question(query, bind_values(tx, chunk)) for chunk in chunks(sorted(set(numbers)))]


@cache
def _of_numbers(dialect: str) -> Select[Any]:
    return select(packages.c.tracking, packages.c.order_id).where(among(dialect, packages.c.tracking))


def mark_pushing(tx: Connection, ids: Sequence[int], *, now: int) -> None:
    """Those of these fulfilments that are ready are being pushed from now (µs) on."""
    if ids:
        tell(tx, _pushing(tx.dialect.name), {**bind_values(tx, ids), "at": now})


@cache
def _pushing(dialect: str) -> Update:
    f = fulfilments
    ready = update(f).where(among(dialect, f.c.id), f.c.state == "ready")
    return ready.values(state="pushing", updated_at=bindparam("at"))


def any_news_due(tx: Connection, *, now: int) -> bool:
    """Whether `claim_news_due` may find a fulfilment."""
    query = select(fulfilments.c.id).where(fulfilments.c.news_due_at <= now).limit(1)
    return tx.execute(query).first() is not None


def claim_news_due(tx: Connection, *, now: int, again: int, limit: int, warehouse_id: int | None = None) -> list[Row]:
    """Fulfilments (of one warehouse, when it is named) that have been quiet for too long, the longest first; they are due
    next at `again` (times in µs). Rows of id, order_id, code (as the warehouse knows it), warehouse_id, warehouse_ref."""
    f = fulfilments
    merged = select(merges.c.code).where(merges.c.id == f.c.merge_id).scalar_subquery()
    code = func.coalesce(merged, f.c.code).label("code")
    columns = (f.c.id, f.c.order_id, code, f.c.warehouse_id, f.c.warehouse_ref)
    query = select(*columns).where(f.c.news_due_at <= now)
    if warehouse_id is not None:
        query = query.where(f.c.warehouse_id == warehouse_id)
    rows = rows_of(tx, query.order_by(f.c.news_due_at).limit(limit).with_for_update(skip_locked=True))
    update_rows(tx, f, [row | {"news_due_at": again} for row in rows], ("news_due_at",))
    return rows
