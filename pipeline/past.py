"""A decision as it was made: its input, its ruleset, and what every rule saw then.

A record keeps the whole input, which rules matched and what came of it; the words of the trace follow from these and the
ruleset, and are made when somebody reads them (decision 0014)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from domain.errors import RefusedError
from rules.changes import Case
from rules.decide import decide
from rules.language import default_document, default_ruleset
from rules.language import load as load_ruleset
from rules.record import freeze_trace, thaw, thaw_network, thaw_sender
from rules.ruleset import Ruleset
from storage.rulesets import find_contexts, load_ruleset_documents

NO_INPUT, NO_RULESET, UNUSABLE = "without_input", "unknown_ruleset", "unusable"
_OTHERWISE = "matched then; this version of the program cannot say why"


def trace_of(tx: Connection, record: Mapping[str, Any]) -> list[list[Any]]:
    """What every rule saw, as (rule, phase, matched, why). Where it cannot be told any more - the input was purged, the
    program does not decide so today - the rules that matched, as they were stored."""
    if "trace" in record:  # written before decision 0014
        return list(record["trace"])
    matched = record.get("matched", ())
    found = find_case(tx, record.get("input"))
    if not isinstance(found, str):
        decision = decide(found[0].order, found[0].facts, found[0].ruleset)
        if list(decision.matched) == list(matched):
            return freeze_trace(decision)
    return [[rule, "", True, _OTHERWISE] for rule in matched]


def find_case(tx: Connection, told: Mapping[str, Any] | None) -> tuple[Case, dict[str, Any]] | str:
    """The input of a decision and the document of its ruleset, or why there is none."""
    if told is None:
        return NO_INPUT
    contexts = find_contexts(tx, (told["n"], told["w"]))
    if len(contexts) < 2:
        return NO_INPUT
    shared = json.loads(contexts[told["n"]])
    network = thaw_network(shared)
    digest = network.ruleset
    document = load_ruleset_documents(tx, [digest]).get(digest)
    ruleset = read_ruleset(document or shared.get("document"), digest)
    if ruleset is None:
        return NO_RULESET
    try:
        order, facts = thaw(told, network, thaw_sender(json.loads(contexts[told["w"]])))
    except (KeyError, IndexError, TypeError, ValueError):  # written by a version whose fields are not ours any more
        return UNUSABLE
    return Case(order, facts, ruleset), json.loads(document or shared.get("document") or default_document())


@lru_cache(maxsize=32)
def read_ruleset(document: str | None, digest: str) -> Ruleset | None:
    """The ruleset with this digest, from its document or the program's own; None when this version of the program does not
    know a word of it any more."""
    if document is None:
        return default_ruleset() if default_ruleset().digest == digest else None
    try:
        ruleset = load_ruleset(document.encode())
    except RefusedError:
        return None
    return ruleset if ruleset.digest == digest else None
