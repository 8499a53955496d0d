"""Replies to partner posts, sealed, by (partner id, scope, key): what a repeated post is answered with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, delete, select, tuple_

from .rows import Row, chunks, insert_rows, rows_of
from .tables import idempotency

Place = tuple[int, str, str]
_KEYS = tuple_(idempotency.c.partner_id, idempotency.c.scope, idempotency.c.key)
# Asked for every commit of posts: built once.
_UNDER_KEYS = select(idempotency).where(_KEYS.in_(bindparam("places", expanding=True)))


def load_replies(tx: Connection, places: Iterable[Place]) -> list[Row]:
    """Full rows of the stored replies under these keys, expired ones included."""
    return [row for chunk in chunks(sorted(set(places)), 300) for row in rows_of(tx, _UNDER_KEYS, {"places": chunk})]


def put_replies(tx: Connection, rows: Sequence[Row]) -> None:
    """Store replies: rows of partner_id, scope, key, body_hash, status, reply (sealed), created_at, expires_at (µs). A plain
    insert on purpose: another process with the same key must fail here."""
    insert_rows(tx, idempotency, rows)


def delete_reply(tx: Connection, place: Place) -> None:
    """Forget one reply, so that its key may be used again."""
    tx.execute(delete(idempotency).where(_KEYS.in_([place])))


def delete_expired_replies(tx: Connection, *, now: int) -> None:
    """Forget what expired before `now` (µs)."""
    tx.execute(delete(idempotency).where(idempotency.c.expires_at < now))
