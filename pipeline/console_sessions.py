"""Who may open the console: a session stands for one API key, and lives no longer than it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from domain.errors import RefusedError
from storage import tables as t
from storage.directory import find_key
from storage.rows import insert_missing
from storage.times import micros

from .access import identify
from .bootstrap import Hub

_ENDED = "console"


def log_in(hub: Hub, key: str) -> tuple[int, str, str]:
    """(key id, actor, scope) of a staff key. RefusedError `unauthenticated`, whatever is wrong; partners' keys open no
    console."""
    caller = identify(hub, key)
    with hub.read() as tx:
        row = find_key(tx, hub.vault.search_hash("api_key", key))
    if row is None or caller.scope == "partner":
        raise RefusedError("unauthenticated", "a valid staff key is needed")
    return int(row["id"]), caller.actor, caller.scope


def staff_of(hub: Hub, key_id: int, sid: str) -> tuple[str, str] | None:
    """(actor, scope) of the key a session was opened with, as of now; None when the key is revoked or the session ended."""
    k, d = t.api_keys, t.deliveries
    with hub.read() as tx:
        row = tx.execute(select(k.c.name, k.c.scope).where(k.c.id == key_id, k.c.revoked_at.is_(None))).one_or_none()
        ended = tx.execute(select(d.c.expires_at).where(d.c.source == _ENDED, d.c.delivery_id == sid)).scalar()
    if row is None or ended is not None or row.scope == "partner":
        return None
    return f"key:{row.name}", str(row.scope)


def end_session(hub: Hub, sid: str, until: datetime) -> None:
    """Remember, for every process, that this session was ended, for as long as its cookie could live. An ended session is
    one more id that must not count twice, so it lies with the deliveries and is swept with them."""
    with hub.write() as tx:
        insert_missing(tx, t.deliveries, [{"source": _ENDED, "delivery_id": sid, "expires_at": micros(until)}])
