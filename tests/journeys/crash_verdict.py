"""After a crash: a new process opens the same database, runs to quiet, and holds the hub's rows against both ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import func, select

from bench.ledgers import ACCOUNTS
from pipeline.absorb import absorb_all
from pipeline.bootstrap import Hub
from pipeline.reconcile import Known, is_quiet, known_orders
from pipeline.watch import watch_news
from storage import tables as t
from storage.events import verify_order
from storage.rows import rows_of

from .crash_pass import INLINE, hear_waiting, play, pull, send
from .crash_world import EARLY, LATE, World

_OVER = frozenset({"done", "refused", "withdrawn", "parked"})
_GONE = frozenset({"cancelled", "shipped", "delivered"})
_TOLD = frozenset({"confirmed", "degraded"})
# What a warehouse that can neither repeat nor be asked leaves to a person.
_UNSURE = frozenset({"outcome_unknown", "cancel_refused", "cancel_too_late", "ship_after_cancel", "warehouse_rejected"})


def unstored_answers(hub: Hub, world: World) -> list[str]:
    """Callbacks that were answered with success and are in no stored row: an answer that came before its commit."""
    i = t.inbox
    with hub.read() as tx:
        kept = set(tx.execute(select(i.c.external_id).where(i.c.source_kind == "warehouse")).scalars())
    return [
        f"callback {record['biz']} answered and not stored"
        for code, record in world.messages()
        if record["answered_at"] is not None and f"{code}:{record['biz']}" not in kept
    ]


def recover(hub: Hub, world: World, *, seconds: float) -> list[str]:
    """Play the script again, go on until nothing moves, and say what is wrong then."""
    faults = unstored_answers(hub, world)
    play(hub, world)
    end = time.monotonic() + seconds
    wrong = ["never quiet"]
    while wrong and time.monotonic() < end:
        _round(hub, world)
        wrong = _compare(hub, world)
    # What would be done twice is done in the next round.
    _round(hub, world)
    return faults + (wrong or _compare(hub, world))


def _round(hub: Hub, world: World) -> None:
    world.ship()
    hear_waiting(hub, world)
    pull(hub)
    absorb_all(hub)
    send(hub, seconds=0.3)
    watch_news(hub, pool=INLINE)
    absorb_all(hub)
    send(hub, seconds=0.3)


def _compare(hub: Hub, world: World) -> list[str]:
    documents: dict[str, list[Mapping[str, Any]]] = {}
    for row in world.documents():
        documents.setdefault(row["source"], []).append(row)
    faults = [] if is_quiet(hub) else ["work is left"]
    for channel, account in ACCOUNTS.items():
        known = list(known_orders(hub, account))
        by_id = {order.external_id: order for order in known}
        if len(known) != len(world.ids[channel]) or by_id.keys() != set(world.ids[channel]):
            faults.append(f"{channel}: knows {sorted(by_id)}, not {sorted(world.ids[channel])}")
        for index, row in enumerate(world.orders(channel)):
            order = by_id.get(row["id"])
            if order is not None:
                stopped = channel == "taobao" and index in {EARLY, LATE}
                there = documents.get(row["id"], [])
                told = _judge(world.kind, row, order, there, stopped=stopped, early=stopped and index == EARLY)
                faults += [f"{channel} {index}: {fault}" for fault in told]
    return faults + list(_own_faults(hub))


def _judge(
    kind: str, row: Mapping[str, Any], order: Known, there: list[Mapping[str, Any]], *, stopped: bool, early: bool
) -> Iterator[str]:
    """One order at both ends. It is cancelled at the source (`stopped`; `early`: before any push) or has to arrive whole."""
    unsure = kind == "unsafe" and _UNSURE & set(order.codes)
    codes = Counter(document["code"] for document in there)
    yield from (f"{code} at the warehouse twice" for code, count in codes.items() if count > 1)
    if kind in {"findable", "rejects"}:
        yield from (f"{doc['code']} sent again without a look" for doc in there if doc["refused_creates"])
    live = [document for document in there if document["state"] != "CANCELED"]
    units = Counter[str]()
    for document in live:
        units.update({line["sub_source"]: line["quantity"] for line in document["lines"]})
    shipments = [(shipment["tracking"], line["id"]) for shipment in row["shipments"] for line in shipment["lines"]]
    yield from (f"told twice: {key}" for key, count in Counter(shipments).items() if count > 1)
    yield from (f"refused at the channel: {refused}" for refused in row["refused_shipments"])
    if stopped:
        if early and there:
            yield "pushed after its cancel"
        if live and not unsure:
            yield f"at the warehouse although cancelled: {live[0]['state']}"
        if order.status != "closed" and not unsure:
            yield f"cancelled and {order.status}: {order.codes} {order.fulfilments}"
    elif unsure:
        ordered = {line["id"]: line.get("ordered", line["quantity"]) for line in row["lines"]}
        yield from (f"more there than ordered: {line}" for line in units if units[line] > ordered.get(line, 0))
    else:
        yield from _unfinished(row, order, live, units)


def _unfinished(
    row: Mapping[str, Any], order: Known, live: list[Mapping[str, Any]], units: Counter[str]
) -> Iterator[str]:
    """Every unit ordered was at a warehouse once and has left; every parcel is known once and told."""
    ordered = {line["id"]: line.get("ordered", line["quantity"]) for line in row["lines"]}
    if dict(units) != ordered:
        yield f"ordered {ordered}, at the warehouse {dict(units)} ({order.status}, {order.codes})"
    parcels = sorted(package["tracking"] for document in live for package in document["packages"])
    if parcels != sorted(tracking for tracking, _ in order.packages):
        yield f"parcels {parcels}, known {order.packages}"
    silent = [tracking for tracking, state in order.packages if state not in _TOLD]
    told = {shipment["tracking"] for shipment in row["shipments"]}
    silent += [tracking for tracking, state in order.packages if state == "confirmed" and tracking not in told]
    if silent or told - set(parcels):
        yield f"not told {silent}, invented {sorted(told - set(parcels))}"
    if order.status != "completed" or order.codes or {state for _, state in order.fulfilments} - _GONE:
        yield f"ended as {order.status} {order.codes} {order.fulfilments}"


def _own_faults(hub: Hub) -> Iterator[str]:
    """What the hub's own rows must agree on, whatever the other side says."""
    with hub.read() as tx:
        for order_id in tx.execute(select(t.orders.c.id)).scalars().all():
            if (seq := verify_order(tx, order_id)) is not None:
                yield f"the log of order {order_id} breaks at {seq}"
        left = rows_of(tx, select(t.outbox.c.kind, t.outbox.c.state).where(t.outbox.c.state.not_in(_OVER)))
        yield from (f"outbox {row['kind']} still {row['state']}" for row in left)
        documents = rows_of(tx, select(t.inbox.c.external_id, t.inbox.c.state, t.inbox.c.error))
        yield from (f"document {row}" for row in documents if row["state"] not in {"done", "stale"})
        for row in rows_of(tx, select(t.cursors)):
            if row["lease_until"] or row["failures"] or row["page"] or row["error"]:
                yield f"cursor {row}"
        for table in (t.accounts, t.warehouses):
            stopped = tx.execute(select(table.c.name).where(table.c.state != "active")).scalars().all()
            yield from (f"{name} is stopped" for name in stopped)
        f, line = t.fulfilments, t.fulfilment_lines
        query = (
            select(f.c.warehouse_id, line.c.sku, func.sum(line.c.quantity - line.c.shipped).label("units"))
            .join(f, f.c.id == line.c.fulfilment_id)
            .where(f.c.state.not_in(_GONE))
            .group_by(f.c.warehouse_id, line.c.sku)
        )
        owed = {(row["warehouse_id"], row["sku"]): int(row["units"]) for row in rows_of(tx, query)}
        for row in rows_of(tx, select(t.stock)):
            if row["reserved"] != owed.pop((row["warehouse_id"], row["sku"]), 0) or row["on_hand"] < 0:
                yield f"stock {row}"
        yield from (f"nothing reserved for {key}" for key, units in owed.items() if units)
