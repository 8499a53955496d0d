"""What a warehouse did not call back about: news asked for fulfilments that are quiet for too long, and stock levels.
Callbacks may be lost; the question finds what they would have said."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from domain.errors import HubError, RefusedError
from outbound._warehouse import StockLevel
from storage.fulfilments import any_news_due, claim_news_due
from storage.inbox import Arrival, put_arrivals, seal_arrivals
from storage.rows import Row
from storage.stock import any_stock_due, claim_stock_due, list_stock_skus, lock_warehouse_stock, save_stock_levels
from storage.times import micros

from .bootstrap import Hub, outside
from .directory import Target, read_directory, recent_directory
from .exceptional import raise_exception
from .gather import Gather
from .lanes import absorb_jobs
from .sessions import warehouse_session
from .supply import replan_stocked
from .workspace import load_orders, open_workspace, write_workspace

_BATCH = 64
# Seconds: nobody waits in front of a warehouse's or shop's message, so more of them may share a commit.
GATHER = 0.02


def watch_news(hub: Hub, *, pool: ThreadPoolExecutor, warehouse_id: int | None = None) -> int:
    """Ask about fulfilments (of one warehouse) whose news is due; what comes is stored like a callback. A warehouse that once
    said yes and now knows nothing of it is told to a person. Returns documents stored."""
    now = hub.now()
    again = now + round(hub.settings.news_seconds * 1_000_000)
    with hub.read() as tx:  # a look takes no turn at writing
        if not any_news_due(tx, now=now):
            return 0
    with hub.write() as tx:
        directory = read_directory(hub, tx)
        rows = claim_news_due(tx, now=now, again=again, limit=_BATCH, warehouse_id=warehouse_id)
    # The orders of one warehouse order are asked about once.
    once = {row["code"]: (row, directory.targets[row["warehouse_id"]]) for row in rows}
    asked = list(once.values())
    bodies = list(pool.map(lambda item: _ask(hub, *item), asked)) if asked else []
    arrivals = [
        Arrival(
            source_kind="warehouse", source_id=target.id, kind="shipment", external_id=f"query:{row['code']}", body=body
        )
        for (row, target), body in zip(asked, bodies, strict=True)
        if body
    ]
    missing = {row["code"] for (row, _), body in zip(asked, bodies, strict=True) if body == b""}
    absent = [row for row in rows if row["code"] in missing]
    if absent:
        _report_absent(hub, absent)
    if not arrivals:
        return 0
    sealed = seal_arrivals(hub.vault, hub.ids.take, arrivals)
    with hub.write() as tx:
        stored = put_arrivals(tx, sealed, hub.now())
        hub.wake(absorb_jobs(stored.values()))
        return len(stored)


def _ask(hub: Hub, row: Row, target: Target) -> bytes | None:
    """The answer's bytes, b"" when the warehouse says that it has no such order, None when it could not be asked."""
    if target.kind.news is None or target.state != "active":
        return None
    outside()
    try:
        return target.kind.news(warehouse_session(hub, target), row["code"], row["warehouse_ref"]) or b""
    except HubError:
        return None  # asked again when it is due next time


def _report_absent(hub: Hub, rows: Sequence[Row]) -> None:
    """Accepted by a warehouse that now has no such order: its yes was worth nothing, and only a person may send it again."""
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        load_orders(ws, [row["order_id"] for row in rows])
        for row in rows:
            dossier = ws.dossier(row["order_id"])
            fulfilment = dossier.fulfilments[row["id"]]
            if fulfilment["state"] in {"accepted", "picking"}:
                detail = {"fulfilment": row["code"], "detail": "accepted, and now the warehouse has no such order"}
                raise_exception(ws, dossier, "outcome_unknown", detail)
                ws.keep(dossier)
        write_workspace(ws)


def take_callbacks(hub: Hub, target: Target, pieces: Sequence[tuple[str, bytes]]) -> Future[bool]:
    """Hand on verified callbacks (event id, body) of one call, which is answered after they are stored: False when each is the
    same as the last one of its id. Calls that come together share one commit."""
    arrivals = [
        Arrival(source_kind="warehouse", source_id=target.id, kind="shipment", external_id=event_id, body=body)
        for event_id, body in pieces
    ]
    gather: Gather[Sequence[Arrival], bool] | None = hub.memory.get("callbacks")
    if gather is None:
        made = Gather(partial(_store_callbacks, hub), name="callbacks", limit=64, wait=GATHER)
        gather = hub.memory.setdefault("callbacks", made)
    return gather.submit(arrivals)


def _store_callbacks(hub: Hub, calls: Sequence[Sequence[Arrival]]) -> list[bool | Exception]:
    owners = [place for place, call in enumerate(calls) for _ in call]
    sealed = seal_arrivals(hub.vault, hub.ids.take, [arrival for call in calls for arrival in call])
    with hub.write() as tx:
        stored = put_arrivals(tx, sealed, hub.now())
        hub.wake(absorb_jobs(stored.values()))
    new = {owners[index] for index in stored}
    return [place in new for place in range(len(calls))]


def watch_stock(hub: Hub, *, pool: ThreadPoolExecutor, warehouse_id: int | None = None) -> int:
    """Read stock levels of warehouses that are due (or of one, if it is due); returns how many rows were brought up to date."""
    now = hub.now()
    again = now + round(hub.settings.stock_seconds * 1_000_000)
    with hub.read() as tx:
        if not any_stock_due(tx, now=now):
            return 0
    with hub.write() as tx:
        directory = read_directory(hub, tx)
        ids = claim_stock_due(tx, now=now, again=again, warehouse_id=warehouse_id)
        wanted = {warehouse_id: list_stock_skus(tx, warehouse_id) for warehouse_id in ids}
    work = [(directory.targets[warehouse_id], skus) for warehouse_id, skus in wanted.items() if skus]
    return sum(pool.map(partial(_take_stock, hub), work)) if work else 0


def _take_stock(hub: Hub, work: tuple[Target, list[str]]) -> int:
    target, skus = work
    if target.kind.stock is None:
        return 0
    outside()
    asked_at = hub.now()
    try:
        levels = target.kind.stock(warehouse_session(hub, target), skus)
    except HubError:
        return 0
    return put_stock_levels(hub, target.id, levels, asked_at)


def put_stock_levels(hub: Hub, warehouse_id: int, levels: tuple[StockLevel, ...], source_time: int) -> int:
    """Write a snapshot, and look again at orders that waited for what came. An older snapshot never overwrites a newer one,
    and one asked for before our own last movement says nothing about now."""
    told = {level.sku: level for level in levels}
    with hub.write() as tx:
        now = micros(hub.clock())
        rows = lock_warehouse_stock(tx, warehouse_id, told)
        fresh = [
            row
            | {
                "on_hand": told[row["sku"]].free + told[row["sku"]].locked,
                "source_time": source_time,
                "updated_at": now,
            }
            for row in rows
            if row["source_time"] < source_time and row["moved_at"] < source_time
        ]
        save_stock_levels(tx, fresh)
        before = {row["sku"]: row["on_hand"] for row in rows}
    more = [row["sku"] for row in fresh if row["on_hand"] > before[row["sku"]]]
    if more:
        replan_stocked(hub, more, actor="hub")
    return len(fresh)


def warehouse_of(hub: Hub, name: str) -> Target:
    """The warehouse of that name. RefusedError `not_found`."""
    for target in recent_directory(hub).targets.values():
        if target.name == name:
            return target
    raise RefusedError("not_found", "there is no such warehouse")
