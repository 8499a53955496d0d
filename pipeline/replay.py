"""A ruleset tried on past orders: their decisions are read back, made again by the ruleset of their time, and by the draft,
with the same evaluator; what differs is counted and shown (docs/replay.md).

Reads in chunks, each in a read transaction of its own, and writes nothing but the result. The same rows give the same
result, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.decision import Decision
from domain.errors import HubError, RefusedError
from domain.facts import Facts, Sender
from domain.order import Order
from domain.ruleset_life import judge_rails, read_rails
from rules.decide import NO_WAREHOUSE, decide
from rules.difference import KINDS, cost_of, differences
from rules.language import load as load_ruleset
from rules.record import Network, effects_of, freeze_decision, freeze_trace, thaw, thaw_network, thaw_sender
from rules.ruleset import Ruleset
from storage.archives import list_archived, load_archived
from storage.replays import list_decisions, load_order_numbers
from storage.rows import Row
from storage.rulesets import find_contexts, load_ruleset_documents
from storage.tables import decisions

from .bootstrap import Hub
from .directory import read_directory
from .dossier import RECORD
from .past import read_ruleset

MOST = 1_000_000
EXAMPLES = 20
_CHUNK = 1_000
# How many decisions there may be per order before a replay gives up looking for further orders.
_PER_ORDER = 50
_ALL = 2**63 - 1

AGAINST = ("own", "armed")


@dataclass(slots=True)
class Kind:
    """How many orders one kind of effect is different for, what they are worth by currency, and the newest of them."""

    orders: int = 0
    value: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[int, Any, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """What has been seen so far. Pairs are [before, after]."""

    orders: int = 0
    changed: int = 0
    reproduced: int = 0
    explained_otherwise: int = 0
    not_reproduced: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    without_input: int = 0
    unreadable: int = 0
    unknown_rulesets: Counter[str] = field(default_factory=Counter)
    pairs: dict[str, list[int]] = field(
        default_factory=lambda: {name: [0, 0] for name in ("held", "split", "parts", "no_warehouse", "cost", "gifts")}
    )
    holds: dict[str, list[int]] = field(default_factory=dict)
    value: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Kind] = field(default_factory=lambda: {name: Kind() for name in KINDS})


@dataclass(slots=True)
class _Past:
    """What stored decisions share, read when it is first met."""

    networks: dict[str, Network] = field(default_factory=dict)
    senders: dict[str, Sender] = field(default_factory=dict)
    rulesets: dict[str, Ruleset | None] = field(default_factory=dict)


def replay_document(
    hub: Hub,
    document: bytes,
    *,
    last: int,
    since: int = 0,
    against: str = "own",
    rails: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Try a ruleset on the newest decision of each of the last `last` orders decided (at or after `since`, µs). JSON values;
    `digest` is that of all the others. RefusedError `ruleset_invalid`, `replay_size`, `replay_against`."""
    if not 1 <= last <= MOST:
        raise RefusedError("replay_size", f"1 to {MOST} orders")
    if against not in AGAINST:
        raise RefusedError("replay_against", f"one of {', '.join(AGAINST)}")
    draft = load_ruleset(document)
    with hub.read() as tx:
        armed = read_directory(hub, tx).ruleset
    tally = Tally()
    past = _Past()
    for rows in _chunks(hub, last=last, since=since):
        opened = [(row, _open(hub, row)) for row in rows]
        _learn(hub, past, [record for _, record in opened if record is not None])
        for row, record in opened:
            _take(tally, past, row, record, draft, armed if against == "armed" else None)
    return _result(hub, tally, draft, against, rails or read_rails({}))


def _chunks(hub: Hub, *, last: int, since: int) -> Iterator[list[Row]]:
    """The newest decision of each order, newest first, in chunks."""
    seen: set[int] = set()
    before = _ALL
    for _ in range(_PER_ORDER * (last // _CHUNK + 1)):
        with hub.read() as tx:
            rows = list_decisions(tx, before=before, since=since, limit=_CHUNK)
        fresh: list[Row] = []
        for row in rows:
            if row["order_id"] not in seen and len(seen) < last:
                seen.add(row["order_id"])
                fresh.append(row)
        if fresh:
            yield fresh
        if len(seen) >= last:
            return
        if len(rows) < _CHUNK:
            break
        before = rows[-1]["id"]
    yield from _archived(hub, seen, last=last, since=since)


def _archived(hub: Hub, seen: set[int], *, last: int, since: int) -> Iterator[list[Row]]:
    """After those: the newest decision of each archived order, the newest order first."""
    before = _ALL
    for _ in range(last // _CHUNK + 2):
        with hub.read() as tx:
            ids = list_archived(tx, before=before, limit=_CHUNK)
            packed = load_archived(tx, hub.vault, [each for each in ids if each not in seen])
        made = [max(rows[decisions], key=lambda row: int(row["id"])) for rows in packed.values() if rows[decisions]]
        fresh = sorted((row for row in made if row["created_at"] >= since), key=lambda row: -int(row["order_id"]))
        fresh = fresh[: last - len(seen)]
        seen |= {row["order_id"] for row in fresh}
        if fresh:
            yield fresh
        if len(ids) < _CHUNK or len(seen) >= last or not fresh:
            return
        before = ids[-1]


def _open(hub: Hub, row: Row) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = hub.vault.open_json(RECORD, row["id"], row["record"])
    except (HubError, ValueError):
        return None
    return record


def _learn(hub: Hub, past: _Past, records: list[dict[str, Any]]) -> None:
    """Read the contexts and rulesets that these records name and no earlier one did."""
    inputs = [record["input"] for record in records if "input" in record]
    wanted = {told["n"] for told in inputs} - past.networks.keys() | {
        told["w"] for told in inputs
    } - past.senders.keys()
    if not wanted:
        return
    with hub.read() as tx:
        found = {digest: json.loads(content) for digest, content in find_contexts(tx, wanted).items()}
        past.networks |= {digest: thaw_network(told) for digest, told in found.items() if "warehouses" in told}
        past.senders |= {digest: thaw_sender(told) for digest, told in found.items() if "sender" in told}
        digests = {network.ruleset for network in past.networks.values()} - past.rulesets.keys()
        documents = {told["ruleset"]: told["document"] for told in found.values() if "document" in told}
        documents |= load_ruleset_documents(tx, digests)
    for digest in digests:
        past.rulesets[digest] = read_ruleset(documents.get(digest), digest)


def _take(
    tally: Tally, past: _Past, row: Row, record: dict[str, Any] | None, draft: Ruleset, armed: Ruleset | None
) -> None:
    if record is None:
        tally.unreadable += 1
        return
    told = record.get("input")
    if told is None or told["n"] not in past.networks or told["w"] not in past.senders:
        tally.without_input += 1
        return
    network = past.networks[told["n"]]
    own = past.rulesets[network.ruleset]
    if own is None:
        tally.unknown_rulesets[row["ruleset"]] += 1
        return
    tally.orders += 1
    try:
        order, facts = thaw(told, network, past.senders[told["w"]])
        before = decide(order, facts, own)
    except Exception:  # noqa: BLE001 - a record nobody can use is counted, and the others are replayed
        tally.not_reproduced.append(row["order_id"])
        return
    _compare_with_stored(tally, row, record, before)
    _try_draft(tally, row, order, facts, before if armed is None else decide(order, facts, armed, trace=False), draft)


def _compare_with_stored(tally: Tally, row: Row, record: Mapping[str, Any], again: Decision) -> None:
    fresh = freeze_decision(again)
    if effects_of(fresh) != effects_of(record):
        tally.not_reproduced.append(row["order_id"])
        return
    tally.reproduced += 1
    stored, told = (
        (record["trace"], freeze_trace(again)) if "trace" in record else (record["matched"], fresh["matched"])
    )
    tally.explained_otherwise += stored != told


def _try_draft(tally: Tally, row: Row, order: Order, facts: Facts, before: Decision, draft: Ruleset) -> None:
    try:
        after = decide(order, facts, draft, trace=False)
    except Exception:  # noqa: BLE001 - a draft that fails on an order is what a replay is to find
        tally.failed.append(row["order_id"])
        return
    tally.value[order.currency] += order.amounts.paid
    _count(tally, before, after)
    found = differences(before, after)
    tally.changed += bool(found)
    for one in found:
        kind = tally.kinds[one.kind]
        kind.orders += 1
        kind.value[order.currency] += order.amounts.paid
        if len(kind.examples) < EXAMPLES:
            kind.examples.append((row["order_id"], one.before, one.after))


def _count(tally: Tally, *decisions: Decision) -> None:
    priced = all(cost_of(decision) for decision in decisions)
    for at, decision in enumerate(decisions):
        codes = {hold.code for hold in decision.holds}
        pairs = tally.pairs
        pairs["held"][at] += bool(codes)
        pairs["split"][at] += len(decision.parts) > 1
        pairs["parts"][at] += len(decision.parts)
        pairs["no_warehouse"][at] += NO_WAREHOUSE in codes
        pairs["gifts"][at] += sum(gift.quantity for gift in decision.gifts)
        pairs["cost"][at] += cost_of(decision) if priced else 0
        for code in codes:
            tally.holds.setdefault(code, [0, 0])[at] += 1


def _result(hub: Hub, tally: Tally, draft: Ruleset, against: str, rails: Mapping[str, int]) -> dict[str, Any]:
    lost, failed = tally.not_reproduced, tally.failed
    named = {order_id for kind in tally.kinds.values() for order_id, _, _ in kind.examples}
    with hub.read() as tx:
        numbers = load_order_numbers(tx, named | {*lost[:EXAMPLES], *failed[:EXAMPLES]})
    totals = {"orders": tally.orders, "not_reproduced": len(lost), "failed": len(failed), **tally.pairs}
    judged = judge_rails(rails, totals)
    told: dict[str, Any] = {
        "version": draft.version,
        "ruleset_digest": draft.digest,
        "against": against,
        "orders": tally.orders,
        "changed": tally.changed,
        "reproduced": tally.reproduced,
        "explained_otherwise": tally.explained_otherwise,
        "not_reproduced": _some(lost, numbers),
        "failed": _some(failed, numbers),
        "without_input": tally.without_input,
        "unreadable": tally.unreadable,
        "unknown_rulesets": dict(tally.unknown_rulesets),
        "totals": {**tally.pairs, "holds": tally.holds, "value": dict(tally.value)},
        "currency": draft.routing.currency,
        "kinds": {name: _kind(kind, numbers) for name, kind in tally.kinds.items() if kind.orders},
        "rails": [{"name": one.name, "limit": one.limit, "found": one.found, "broken": one.broken} for one in judged],
        "broken": [one.name for one in judged if one.broken],
    }
    text = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return {**told, "digest": hashlib.sha256(text.encode()).hexdigest()}


def _some(order_ids: list[int], numbers: Mapping[int, str]) -> dict[str, Any]:
    return {"orders": len(order_ids), "examples": [numbers.get(each, "") for each in order_ids[:EXAMPLES]]}


def _kind(kind: Kind, numbers: Mapping[int, str]) -> dict[str, Any]:
    return {
        "orders": kind.orders,
        "value": dict(kind.value),
        "examples": [
            {"order": numbers.get(order_id, ""), "before": before, "after": after}
            for order_id, before, after in kind.examples
        ],
    }
