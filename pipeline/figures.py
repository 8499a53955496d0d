"""Figures about the running hub: is it ready, what waits and since when, how fresh each account is. Bounded."""

from __future__ import annotations

from typing import Any

from storage.counts import count_due_effects, count_hints, count_new_documents
from storage.rows import Row
from storage.standing import find_schema, load_polls

from .bootstrap import Hub
from .directory import read_directory
from .views import COUNT_LIMIT, count_exceptions, count_orders, show_time


def ready(hub: Hub) -> None:
    """Ask the database for its schema; raises what the database raises when it is not there or not migrated."""
    with hub.read() as tx:
        find_schema(tx)


def overview(hub: Hub) -> dict[str, Any]:
    """Orders, exceptions, queues, accounts and warehouses at a glance. Ages are seconds."""
    with hub.read() as tx:
        now = hub.now()
        directory = read_directory(hub, tx)
        queues = {
            "inbox": _queue(*count_new_documents(tx, COUNT_LIMIT), now),
            "outbox": _queue(*count_due_effects(tx, now=now, limit=COUNT_LIMIT), now),
            "hints": _queue(count_hints(tx, COUNT_LIMIT), None, now),
        }
        polls = load_polls(tx)
    return {
        "orders": count_orders(hub),
        "exceptions": count_exceptions(hub),
        "queues": queues,
        "accounts": [
            {
                "name": account.name,
                "channel": account.channel.name,
                "enabled": account.enabled,
                "state": account.state,
                **_freshness(polls.get(account.id), now),
            }
            for account in sorted(directory.accounts.values(), key=lambda account: account.name)
        ],
        "warehouses": [
            {"name": target.name, "kind": target.kind.name, "enabled": target.enabled, "state": target.state}
            for target in sorted(directory.targets.values(), key=lambda target: target.name)
        ],
    }


def _queue(waiting: int, oldest: int | None, now: int) -> dict[str, Any]:
    return {"waiting": waiting, "oldest_seconds": 0 if oldest is None else max(0, (now - oldest) // 1_000_000)}


def _freshness(poll: Row | None, now: int) -> dict[str, Any]:
    if poll is None:
        return {"polled_at": None, "age_seconds": None, "failures": 0, "error": ""}
    age = None if poll["ran_at"] is None else max(0, (now - poll["ran_at"]) // 1_000_000)
    return {
        "polled_at": show_time(poll["ran_at"]),
        "age_seconds": age,
        "failures": poll["failures"],
        "error": poll["error"],
    }
