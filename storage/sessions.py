"""Console sessions that were ended before their cookie ran out. An ended session is one more id that must not count
twice, so it lies with the deliveries and is swept with them."""

from __future__ import annotations

from sqlalchemy import Connection, select

from .deliveries import put_delivery
from .tables import deliveries

_SOURCE = "console"


def find_ended(tx: Connection, sid: str) -> bool:
    """Whether this session was ended."""
    d = deliveries
    return tx.execute(select(d.c.expires_at).where(d.c.source == _SOURCE, d.c.delivery_id == sid)).scalar() is not None


def put_ended(tx: Connection, sid: str, until: int) -> None:
    """Remember until then (µs) that this session was ended; once is enough."""
    put_delivery(tx, _SOURCE, sid, expires_at=until)
