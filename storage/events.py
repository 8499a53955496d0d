"""The per-order log: append only, hash-chained, its head kept on the order, so that an edit, a removal, a reorder and a
cut tail all show. hash = SHA-256(previous hash | order | seq | time | actor | kind | detail)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from sqlalchemy import Connection, select

from .rows import Row, rows_of
from .tables import events, orders

GENESIS = b"\x00" * 32


def link(previous: bytes, order_id: int, seq: int, at: int, actor: str, kind: str, detail: str) -> bytes:
    """The hash of one entry given the one before it."""
    entry = f"{order_id}|{seq}|{at}|{len(actor)}:{actor}|{len(kind)}:{kind}|{detail}"
    return hashlib.sha256(previous + entry.encode()).digest()


def load_events(tx: Connection, order_id: int) -> list[Row]:
    return rows_of(tx, select(events).where(events.c.order_id == order_id).order_by(events.c.seq))


def broken_link(rows: Iterable[Row], order_id: int, head_seq: int, head_hash: bytes) -> int | None:
    """The seq at which a chain does not hold, None when it is whole up to the head kept on the order."""
    previous, expected = GENESIS, 1
    for row in rows:
        linked = link(previous, order_id, row["seq"], row["at"], row["actor"], row["kind"], row["detail"])
        if row["seq"] != expected or bytes(row["hash"]) != linked:
            return expected
        previous, expected = linked, expected + 1
    return None if expected - 1 == head_seq and previous == bytes(head_hash) else expected


def verify_order(tx: Connection, order_id: int) -> int | None:
    """Check one order's chain: the first seq that does not hold, or None."""
    head = tx.execute(select(orders.c.event_seq, orders.c.event_hash).where(orders.c.id == order_id)).one()
    return broken_link(load_events(tx, order_id), order_id, head.event_seq, head.event_hash)
