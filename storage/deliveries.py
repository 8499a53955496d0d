"""Deliveries that must not count twice, by (source, delivery id), until they expire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, select, true

from .asking import Question, ask
from .many import among_pairs, bind_pairs, each_pair
from .rows import chunks, insert_missing
from .tables import deliveries

Delivery = tuple[str, str]


def find_delivery(tx: Connection, source: str, delivery_id: str, *, now: int) -> bool:
    """Whether this delivery came before and is still remembered (now in µs)."""
    d = deliveries
    known = select(d.c.delivery_id).where(d.c.source == source, d.c.delivery_id == delivery_id)
    return tx.execute(known.where(d.c.expires_at > now)).scalar() is not None


def put_delivery(tx: Connection, source: str, delivery_id: str, *, expires_at: int) -> None:
    """Remember a delivery until then (µs); once is enough."""
    insert_missing(tx, deliveries, [{"source": source, "delivery_id": delivery_id, "expires_at": expires_at}])


def put_deliveries(tx: Connection, told: Sequence[Delivery], *, now: int, expires_at: int) -> list[bool]:
    """Remember several (source, delivery id) until then (µs); says of each whether it is the first of its kind."""
    seen: set[Delivery] = set()
    for question in about_deliveries(tx, told, now=now):
        seen |= {(row[0], row[1]) for row in ask(tx, question)}
    new = []
    for each in told:
        new.append(each not in seen)
        seen.add(each)
    rows = [
        {"source": source, "delivery_id": ident, "expires_at": expires_at}
        for (source, ident), first in sorted(zip(told, new, strict=True))
        if first
    ]
    insert_missing(tx, deliveries, rows)
    return new


def about_deliveries(tx: Connection, told: Iterable[Delivery], *, now: int) -> list[Question]:
    """What is asked of deliveries before they are remembered."""
    query = _known(tx.dialect.name)
    return [Question(query, bind_pairs(tx, chunk) | {"now": now}) for chunk in chunks(sorted(set(told)))]


@cache
def _known(dialect: str) -> Select[Any]:
    d = deliveries.c
    alive = select(d.source, d.delivery_id).where(d.expires_at > bindparam("now"))
    if dialect == "sqlite":
        return alive.where(among_pairs(dialect, d.source, d.delivery_id))
    # One by one: a plan made while there were none walks all that are remembered, by when they expire.
    told = each_pair(deliveries.c.source, deliveries.c.delivery_id)
    of_id = alive.where(d.source == told.c.a, d.delivery_id == told.c.b).limit(1).lateral()
    return select(*of_id.c).select_from(told.join(of_id, true()))


def delete_expired_deliveries(tx: Connection, *, now: int) -> None:
    """Forget what expired before `now` (µs)."""
    tx.execute(delete(deliveries).where(deliveries.c.expires_at < now))
