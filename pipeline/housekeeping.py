"""What has to be swept up now and then: snoozed exceptions, expired memories, this process's lease."""

from __future__ import annotations

from sqlalchemy import delete

from storage import tables as t

from .bootstrap import Hub, keep_alive
from .review import wake_snoozed


def keep_house(hub: Hub) -> None:
    """Wake what was snoozed until now, forget idempotency keys and delivery ids older than seven days."""
    keep_alive(hub)
    wake_snoozed(hub)
    with hub.write() as tx:
        for table in (t.idempotency, t.deliveries):
            tx.execute(delete(table).where(table.c.expires_at < hub.now()))
