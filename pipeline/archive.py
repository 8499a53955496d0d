"""Orders that ended and have been quiet for a while leave the tables that work is done on; whoever reads one finds it as it
was, and whatever changes one brings it back first (`pipeline.dossier.load_dossiers`)."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from storage.archives import (
    ENDED,
    Rows,
    archive_orders,
    list_changed,
    load_archived,
    load_mark,
    save_mark,
)
from storage.dictionaries import (
    PLACES,
    adopt,
    compressed_size,
    load_dictionary,
    load_samples,
    put_dictionary,
    train,
)
from storage.events import load_events
from storage.order_reads import load_newest_decisions
from storage.rows import Row
from storage.tables import decisions, events
from storage.times import span

from .bootstrap import Hub

WALK = "archive"
_BATCH = 200
# Of one call; the next minute goes on from there.
_TURNS = 150
_SAMPLES = 4_000
_ENOUGH = 1_000
_MONTH = span(timedelta(days=30))
_BETTER = 0.95


def archive_finished(hub: Hub, *, turns: int = _TURNS) -> int:
    """Pack orders that ended and did not change for `archive_days`, in short transactions, the longest quiet first; returns how
    many. An order that was passed over comes again when it changes."""
    packed = 0
    until = hub.now() - span(timedelta(days=hub.settings.archive_days))
    for _ in range(turns):
        with hub.write() as tx:
            rows = list_changed(tx, after=load_mark(tx, WALK), until=until, limit=_BATCH)
            if not rows:
                break
            ended = [row["id"] for row in rows if row["status"] in ENDED]
            packed += archive_orders(tx, hub.vault, ended, until=until)
            save_mark(tx, WALK, rows[-1]["updated_at"], rows[-1]["id"])
    return packed


def train_dictionaries(hub: Hub) -> list[str]:
    """Learn from what is stored what its values have in common: at every place that has enough values and no dictionary yet, or
    one of last month that a new one beats. Returns those places; what is written from now on uses them."""
    with hub.read() as tx:
        known = adopt(tx, hub.vault)
    now, learnt = hub.now(), []
    for place in PLACES:
        if place in known and now - known[place] < _MONTH:
            continue
        with hub.read() as tx:
            samples = load_samples(tx, hub.vault, place, _SAMPLES)
            old = load_dictionary(tx, hub.vault, hub.vault.trained.numbers[place]) if place in known else None
        content = train(samples[len(samples) // 4 :]) if len(samples) >= _ENOUGH else None
        if content is None or not _beats(content, old, samples[: len(samples) // 4]):
            continue
        with hub.write() as tx:
            put_dictionary(tx, hub.vault, place, content, now)
        learnt.append(place)
    if learnt:
        with hub.read() as tx:
            adopt(tx, hub.vault)
    return learnt


def _beats(content: bytes, old: bytes | None, samples: list[bytes]) -> bool:
    return compressed_size(samples, content) < _BETTER * compressed_size(samples, old)


def read_events(hub: Hub, tx: Connection, order_id: int) -> list[Row]:
    """The log of an order, oldest first, wherever it is."""
    return load_events(tx, order_id) or _packed(hub, tx, order_id).get(events, [])


def read_decisions(hub: Hub, tx: Connection, order_id: int, limit: int) -> list[Row]:
    """Full rows of an order's decisions, the newest first, wherever they are; `record` is sealed."""
    found = load_newest_decisions(tx, order_id, limit)
    if found:
        return found
    packed = _packed(hub, tx, order_id).get(decisions, [])
    return sorted(packed, key=lambda row: int(row["id"]), reverse=True)[:limit]


def _packed(hub: Hub, tx: Connection, order_id: int) -> Rows:
    return load_archived(tx, hub.vault, [order_id]).get(order_id, {})
