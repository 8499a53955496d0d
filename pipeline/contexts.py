"""What many decisions were made with - the warehouses as routing saw them, the ruleset, the sender - kept once, under its own
digest, so that the record of one decision stays small."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from domain.facts import Facts
from rules.language import default_document, default_ruleset
from rules.record import freeze_network, freeze_sender, thaw, thaw_network, thaw_sender
from rules.ruleset import Ruleset
from storage.rulesets import find_contexts, put_contexts

from .bootstrap import Hub

if TYPE_CHECKING:
    from .workspace import Workspace

# 96 bits: two different contents of one installation never meet.
_BYTES = 12
_MOST = 4096


def digest_of(content: str) -> str:
    """The name of a content: 16 letters."""
    return base64.urlsafe_b64encode(hashlib.blake2b(content.encode(), digest_size=_BYTES).digest()).decode()


def shared_of(ws: Workspace, facts: Facts, ruleset: Ruleset) -> tuple[str, str, frozenset[str]]:
    """(digest of the warehouses and the ruleset, digest of the sender, the SKUs that the ruleset may give away); both are stored
    with this workspace."""
    # By identity: the directory hands out the same objects until the configuration changes, and hashing them all costs more.
    warehouses, sender, memory = facts.warehouses, facts.sender, _memory(ws.hub)
    known = warehouses is ws.directory.warehouses
    key = (id(ruleset), id(warehouses)) if known else (id(ruleset), *map(id, warehouses))
    network, sent = memory.get(key), memory.get(id(sender))
    if network is None:
        # The one that comes with the program is in no table, and the next version may come with another.
        document = default_document().decode() if ruleset.digest == default_ruleset().digest else ""
        content = _json(freeze_network(warehouses, ruleset.digest, document))
        network = _remember(memory, key, (digest_of(content), content, ruleset.gift_skus), (ruleset, warehouses))
    if sent is None:
        content = _json(freeze_sender(sender))
        sent = _remember(memory, id(sender), (digest_of(content), content, frozenset()), sender)
    ws.contexts[network[0]] = network[1]
    ws.contexts[sent[0]] = sent[1]
    return network[0], sent[0], network[2]


def write_contexts(ws: Workspace) -> None:
    """Store what this batch's decisions share and no earlier transaction has stored."""
    known: set[str] = ws.hub.memory.setdefault("contexts_stored", set())
    fresh = {digest: content for digest, content in ws.contexts.items() if digest not in known}
    if not fresh:
        return
    # Only what was there before this transaction is remembered: this one may still fail.
    stored = find_contexts(ws.tx, fresh.keys())
    put_contexts(
        ws.tx,
        [
            {"digest": digest, "content": content, "created_at": ws.now}
            for digest, content in fresh.items()
            if digest not in stored
        ],
    )
    known.update(stored)


def seen_facts(tx: Connection, told: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a decision's frozen input says to people: stock as `warehouse|sku`, the region, waived codes. {} without one."""
    found = find_contexts(tx, (told["n"], told["w"])) if told else {}
    if told is None or len(found) < 2:
        return {}
    network = thaw_network(json.loads(found[told["n"]]))
    try:
        order, facts = thaw(told, network, thaw_sender(json.loads(found[told["w"]])))
    except (KeyError, IndexError, TypeError, ValueError):  # written by a version whose fields are not ours
        return {}
    stock = {f"{place}|{sku}": units for (place, sku), units in sorted(facts.available.items())}
    return {"available": stock, "region": order.consignee.region, "waived": sorted(facts.waived)}


_Kept = tuple[str, str, frozenset[str]]


def _memory(hub: Hub) -> dict[Any, Any]:
    found: dict[Any, Any] | None = hub.memory.get("contexts")
    return hub.memory.setdefault("contexts", {}) if found is None else found


def _remember(memory: dict[Any, Any], key: Any, kept: _Kept, alive: object) -> _Kept:
    """`alive` is kept too, so that no other object gets the identity that the key is made of."""
    if len(memory) > _MOST:
        memory.clear()
    memory[key] = (*kept, alive)
    return kept


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
