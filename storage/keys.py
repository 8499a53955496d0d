"""API keys that are already stored: whether one still holds, and the end of them. Only keyed hashes are stored."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from .rows import Row, rows_of
from .tables import api_keys


def find_living_key(tx: Connection, key_id: int) -> Row | None:
    """name and scope of a key that is not revoked."""
    k = api_keys
    rows = rows_of(tx, select(k.c.name, k.c.scope).where(k.c.id == key_id, k.c.revoked_at.is_(None)))
    return rows[0] if rows else None


def revoke_keys(tx: Connection, name: str, *, now: int) -> int:
    """Revoke every key of that name (now in µs); returns how many that were."""
    k = api_keys
    return tx.execute(update(k).where(k.c.name == name, k.c.revoked_at.is_(None)).values(revoked_at=now)).rowcount
