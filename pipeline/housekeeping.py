"""What has to be swept up now and then: snoozed exceptions, reservations whose time is over, credit that became free,
expired memories, finished orders, this process's lease."""

from __future__ import annotations

from datetime import timedelta

from storage.deliveries import delete_expired_deliveries
from storage.due import hasten
from storage.idempotency import delete_expired_replies

from .archive import archive_finished, train_dictionaries
from .bootstrap import Hub, keep_alive
from .expiry import end_reservations
from .review import use_free_credit, wake_snoozed

# How long what became of jobs can be looked up.
_REMEMBERED = timedelta(hours=1)


def keep_house(hub: Hub) -> None:
    """Wake what was snoozed until now, give back unpaid reservations, decide again what waited for credit, forget
    idempotency keys and delivery ids older than seven days, pack orders that ended long ago."""
    keep_alive(hub)
    train_dictionaries(hub)
    wake_snoozed(hub)
    end_reservations(hub)
    use_free_credit(hub)
    if hub.shared:
        _forget_jobs(hub)
    with hub.write() as tx:
        delete_expired_replies(tx, now=hub.now())
        delete_expired_deliveries(tx, now=hub.now())
    archive_finished(hub)


def _forget_jobs(hub: Hub) -> None:
    from storage.queue import forget_log  # noqa: PLC0415 - only installations on PostgreSQL need the library

    with hub.write() as tx:
        hasten(tx)
        forget_log(tx, _REMEMBERED)
