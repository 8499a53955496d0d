"""Both ends' ledgers held against what the hub stored: what was lost, doubled, or has no account of itself."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.bootstrap import Hub
from pipeline.reconcile import Known, known_orders, unread_documents
from sandbox import Running

ACCOUNTS = {"taobao": "tb-demo", "shopify": "sf-demo"}


@dataclass(slots=True)
class ChannelReport:
    """How one channel's orders ended, in orders."""

    placed: int = 0
    known: int = 0
    released: int = 0
    pushed: int = 0
    shipped: int = 0
    confirmed: int = 0
    cancelled: int = 0
    exceptions: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """The whole run. `lost`, `duplicated` and `unaccounted` must be 0; `faults` lists what is wrong, if anything is."""

    channels: dict[str, ChannelReport]
    lost: int = 0
    duplicated: int = 0
    unaccounted: int = 0
    seconds: float = 0.0
    orders_per_second: float = 0.0
    cpu_ms_per_order: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated or self.unaccounted)

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def call(box: Running, name: str, body: Mapping[str, Any]) -> Any:
    """One control call of the sandbox."""
    request = urllib.request.Request(  # noqa: S310 - the sandbox's own loopback address
        f"{box.control}/_control/{name}", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
        return json.loads(reply.read())


def get(box: Running, name: str) -> Any:
    with urllib.request.urlopen(f"{box.control}/_control/{name}", timeout=60) as reply:  # noqa: S310
        return json.loads(reply.read())


def ledger(box: Running, channel: str) -> list[dict[str, Any]]:
    """The other side's whole ledger of a channel (or of the warehouses: `qimen`)."""
    rows: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = get(box, f"ledger?channel={channel}&after={after}&limit=5000")
        rows += page["rows"]
        after = page["next"]
    return rows


def compare(hub: Hub, box: Running) -> Report:
    """Hold the hub's rows against both ends' ledgers."""
    warehouse: dict[str, list[dict[str, Any]]] = {}
    codes: Counter[str] = Counter()
    for row in ledger(box, "qimen"):
        codes[row["code"]] += 1
        for source in row["sources"] or [row["source"]]:
            warehouse.setdefault(source, []).append(row)
    report = Report(channels={})
    twice = {code for code, count in codes.items() if count > 1}
    report.duplicated += len(twice)
    report.faults += [f"{code}: at the warehouse twice" for code in sorted(twice)]
    for channel, account in ACCOUNTS.items():
        orders = {order.external_id: order for order in known_orders(hub, account)}
        unread = unread_documents(hub, account)
        told = report.channels[channel] = ChannelReport()
        counted: Counter[str] = Counter(unread.values())
        for row in ledger(box, channel):
            order = orders.get(row["id"])
            told.placed += 1
            _count(told, counted, order)
            _judge(report, row, order, unread.get(row["id"], ""), warehouse.get(row["id"], []))
        told.exceptions = dict(sorted(counted.items()))
    return report


def _count(told: ChannelReport, counted: Counter[str], order: Known | None) -> None:
    if order is None:
        return
    told.known += 1
    counted.update(order.codes)
    states = [state for _, state in order.fulfilments]
    told.released += bool(order.pushed or any(s in {"ready", "pushing", "unknown"} for s in states))
    told.pushed += order.pushed
    told.shipped += bool(order.packages)
    told.confirmed += bool(order.packages) and all(s in {"confirmed", "degraded", "none"} for _, s in order.packages)
    told.cancelled += order.status == "closed"


def _judge(
    report: Report, row: Mapping[str, Any], order: Known | None, unread: str, there: list[dict[str, Any]]
) -> None:
    """One placed order: is it lost, doubled, or without an account of itself?"""
    name = f"{row['channel']} {row['id']} ({row['kind']})"
    if order is None and not unread:
        report.lost += row["expect"] != "nothing"
        report.unaccounted += row["expect"] == "nothing"
        report.faults.append(f"{name}: not known")
        return
    doubled = _doubled(row, there)
    if doubled:
        report.duplicated += 1
        report.faults.append(f"{name}: {doubled}")
    missing = _unexplained(row, order, unread, there)
    if missing:
        report.unaccounted += 1
        report.faults.append(f"{name}: {missing}")


def _doubled(row: Mapping[str, Any], there: list[dict[str, Any]]) -> str:
    ordered = {line["id"]: line.get("ordered", line["quantity"]) for line in row["lines"]}
    sent: Counter[str] = Counter()
    for document in there:
        if document["state"] != "CANCELED":
            for line in document["lines"]:
                sent[line["sub_source"]] += line["quantity"]
    over = [line for line, units in sent.items() if units > ordered.get(line, 0)]
    if over:
        return f"more at the warehouse than ordered: {over}"
    told = Counter((s["tracking"], line["id"]) for s in row["shipments"] for line in s["lines"])
    twice = [key for key, count in told.items() if count > 1]
    return f"told twice: {twice}" if twice else ""


def _unexplained(row: Mapping[str, Any], order: Known | None, unread: str, there: list[dict[str, Any]]) -> str:
    live = [document for document in there if document["state"] != "CANCELED"]
    parcels = {package["tracking"] for document in live for package in document["packages"]}
    told = {shipment["tracking"] for shipment in row["shipments"]}
    codes = [unread] if unread else list(order.codes) if order else []
    if told - parcels:
        return f"tracking the warehouse never gave: {sorted(told - parcels)}"
    expect = row["expect"]
    if expect in {"nothing", "exception"}:
        if live:
            return "at a warehouse although it must not be"
        return "" if expect == "nothing" or codes else "no exception"
    if live and not (row["cancelled_at"] and codes):
        return _untold(row, order, live, parcels, told, codes)
    if expect == "ship" and not codes:
        return f"neither shipped nor excepted ({order.status if order else '-'})"
    closed = order is not None and order.status == "closed"
    return "" if codes or closed or (not live and row["cancelled_at"]) else "no end"


def _untold(
    row: Mapping[str, Any],
    order: Known | None,
    live: list[dict[str, Any]],
    parcels: set[str],
    told: set[str],
    codes: list[str],
) -> str:
    """Everything a warehouse has must have left, and every parcel must be told or explained."""
    waiting = [document["code"] for document in live if document["state"] != "DELIVERED"]
    if waiting:
        return f"not shipped yet: {waiting}"
    states = dict(order.packages) if order else {}
    missing = parcels - states.keys()
    if missing:
        return f"parcels the hub does not know: {sorted(missing)}"
    silent = {number for number in parcels - told if states[number] != "degraded"}
    return f"parcels not told to the channel: {sorted(silent)}" if silent and not codes else ""
