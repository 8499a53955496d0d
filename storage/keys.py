"""API keys. Only keyed hashes are stored; a key that is revoked stays, and opens nothing."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from .rows import Row, insert_rows, rows_of
from .tables import api_keys


def put_key(tx: Connection, row: Row) -> None:
    """Store an API key by its keyed hash; the same hash again changes name, scope and partner."""
    found = tx.execute(select(api_keys.c.id).where(api_keys.c.key_hash == row["key_hash"])).scalar()
    if found is None:
        insert_rows(tx, api_keys, [row])
    else:
        values = {name: row[name] for name in ("name", "scope", "partner_id", "revoked_at")}
        tx.execute(update(api_keys).where(api_keys.c.id == found).values(values))


def find_key(tx: Connection, key_hash: bytes) -> Row | None:
    """The key with this hash if it is not revoked."""
    rows = rows_of(tx, select(api_keys).where(api_keys.c.key_hash == key_hash, api_keys.c.revoked_at.is_(None)))
    return rows[0] if rows else None


def find_living_key(tx: Connection, key_id: int) -> Row | None:
    """name, scope and partner of a key that is not revoked."""
    k = api_keys
    rows = rows_of(tx, select(k.c.name, k.c.scope, k.c.partner_id).where(k.c.id == key_id, k.c.revoked_at.is_(None)))
    return rows[0] if rows else None


def revoke_keys(tx: Connection, name: str, *, now: int) -> int:
    """Revoke every key of that name (now in µs); returns how many that were."""
    k = api_keys
    return tx.execute(update(k).where(k.c.name == name, k.c.revoked_at.is_(None)).values(revoked_at=now)).rowcount
