"""Who may open the console: a session stands for one API key, and lives no longer than it."""

from __future__ import annotations

from datetime import datetime

from domain.errors import RefusedError
from storage.keys import find_key, find_living_key
from storage.sessions import find_ended, put_ended
from storage.times import micros

from .access import identify
from .bootstrap import Hub


def log_in(hub: Hub, key: str) -> tuple[int, str, str]:
    """(key id, actor, scope) of a staff key. RefusedError `unauthenticated`, whatever is wrong. The console shows every
    partner's orders, so a key that names a partner opens it with no scope."""
    caller = identify(hub, key)
    with hub.read() as tx:
        row = find_key(tx, hub.vault.search_hash("api_key", key))
    if row is None or caller.scope == "partner" or not caller.staff:
        raise RefusedError("unauthenticated", "a valid staff key is needed")
    return int(row["id"]), caller.actor, caller.scope


def staff_of(hub: Hub, key_id: int, sid: str) -> tuple[str, str] | None:
    """(actor, scope) of the key a session was opened with, as of now; None when the key is revoked or names a partner
    now, or the session ended."""
    with hub.read() as tx:
        row = find_living_key(tx, key_id)
        ended = find_ended(tx, sid)
    if row is None or ended or row["scope"] == "partner" or row["partner_id"] is not None:
        return None
    return f"key:{row['name']}", str(row["scope"])


def end_session(hub: Hub, sid: str, until: datetime) -> None:
    """Remember, for every process, that this session was ended, for as long as its cookie could live."""
    with hub.write() as tx:
        put_ended(tx, sid, micros(until))
