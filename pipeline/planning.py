"""What is due becomes jobs, once per tick, however many schedulers tick: whoever takes the tick first plans it."""

from __future__ import annotations

from storage.due import (
    hasten,
    is_inbox_waiting,
    list_due_news,
    list_due_stock,
    list_due_streams,
    list_due_targets,
    take_tick,
)
from storage.queue import put_jobs

from .bootstrap import Hub
from .directory import read_directory
from .lanes import absorb_jobs, ask_job, dispatch_jobs, house_job, pull_job

_HOUSE = 60_000_000


def tick_seconds(hub: Hub) -> float:
    """How often to look for what is due: what comes by itself wakes the workers anyway."""
    return max(0.1, min(1.0, hub.settings.poll_seconds / 2))


def plan(hub: Hub) -> bool:
    """Put the jobs of this tick, and say whether it was ours to plan. All schedulers see the same ticks: whole periods of the
    database's time."""
    now, period = hub.now(), round(tick_seconds(hub) * 1_000_000)
    with hub.write() as tx:
        hasten(tx)
        if not take_tick(tx, "plan", now - now % period):
            return False
        directory, default = read_directory(hub, tx), hub.settings.calls
        wanted = absorb_jobs() if is_inbox_waiting(tx) else []
        for account_id, stream in list_due_streams(tx, now=now):
            wanted.append(pull_job(account_id, stream, directory.calls("account", account_id, default)))
        for target_id in list_due_targets(tx, now=now):
            kind = "warehouse" if target_id in directory.targets else "account"
            calls = directory.calls(kind, target_id, default)
            wanted += dispatch_jobs(kind, target_id, calls, all_shards=True)
        for name, found in (("news", list_due_news(tx, now=now)), ("stock", list_due_stock(tx, now=now))):
            wanted += [ask_job(name, each, directory.calls("warehouse", each, default)) for each in found]
        if take_tick(tx, "house", now - now % _HOUSE):
            wanted.append(house_job())
        put_jobs(tx, wanted)
    return True
