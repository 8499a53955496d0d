"""Replies to partner posts, sealed, by (partner id, scope, key): what a repeated post is answered with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, delete, select, tuple_

from .asking import Question, ask_rows
from .many import among_triples, bind_triples
from .rows import Row, chunks, insert_rows
from .tables import idempotency

Place = tuple[int, str, str]
_KEYS = tuple_(idempotency.c.partner_id, idempotency.c.scope, idempotency.c.key)


@cache
def _under_keys(dialect: str) -> Select[Any]:
    """Asked for every commit of posts: built once."""
    return select(idempotency).where(
        among_triples(dialect, idempotency.c.partner_id, idempotency.c.scope, idempotency.c.key)
    )


def load_replies(tx: Connection, places: Iterable[Place]) -> list[Row]:
    """Full rows of the stored replies under these keys, expired ones included."""
    return [row for question in about_replies(tx, places) for row in ask_rows(tx, question)]


def about_replies(tx: Connection, places: Iterable[Place]) -> list[Question]:
    """What `load_replies` asks."""
    query = _under_keys(tx.dialect.name)
    return [Question(query, bind_triples(tx, chunk)) for chunk in chunks(sorted(set(places)))]


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
