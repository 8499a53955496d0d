"""Deliveries that must not count twice, by (source, delivery id), until they expire."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from .rows import insert_missing
from .tables import deliveries


def find_delivery(tx: Connection, source: str, delivery_id: str, *, now: int) -> bool:
    """Whether this delivery came before and is still remembered (now in µs)."""
    d = deliveries
    known = select(d.c.delivery_id).where(d.c.source == source, d.c.delivery_id == delivery_id)
    return tx.execute(known.where(d.c.expires_at > now)).scalar() is not None


def put_delivery(tx: Connection, source: str, delivery_id: str, *, expires_at: int) -> None:
    """Remember a delivery until then (µs); once is enough."""
    insert_missing(tx, deliveries, [{"source": source, "delivery_id": delivery_id, "expires_at": expires_at}])


def delete_expired_deliveries(tx: Connection, *, now: int) -> None:
    """Forget what expired before `now` (µs)."""
    tx.execute(delete(deliveries).where(deliveries.c.expires_at < now))
