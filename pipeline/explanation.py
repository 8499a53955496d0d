"""Why an order was decided as it was, and why not otherwise: its newest decision is made again with exactly what was known
then, compared with what was stored, and explained (docs/explain.md). Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from domain.decision import Decision
from domain.errors import RefusedError
from rules.alternatives import Goal, read_goal
from rules.decide import decide
from rules.explain import Alternative, RuleSeen, explain, explain_alternative, look_at_rules
from rules.record import effects_of, freeze_decision
from rules.seen import Seen
from storage.rows import Row

from .access import Caller
from .archive import read_decisions
from .bootstrap import Hub
from .dossier import RECORD
from .order_view import order_id_of
from .past import find_case
from .views import show_time

NO_DECISION = "no_decision"


def explain_number(hub: Hub, caller: Caller, number: str, instead: str = "") -> dict[str, Any]:
    """The explanation as this caller may see it: staff everything but private texts, a partner the outcome of its own order
    only. RefusedError `not_found`, `alternative`, `forbidden` (a partner that asks for anything but the release)."""
    order_id = order_id_of(hub, number, partner_id=caller.partner_id)
    if caller.staff:
        return explain_order(hub, order_id, instead)
    if instead and read_goal(instead).kind != "release":
        raise RefusedError("forbidden", "a partner may ask about the release of its own order only")
    return _outcome(hub, order_id)


def explain_order(hub: Hub, order_id: int, instead: str = "") -> dict[str, Any]:
    """What was decided, what every condition saw, whether the same is decided again, and, with `instead`
    (`warehouse=NAME`, `rule=ID`, `carrier=NAME`, `release`), why not and the smallest change. JSON values.
    RefusedError `alternative`."""
    goal = read_goal(instead) if instead else None
    with hub.read() as tx:
        row = _newest(hub, tx, order_id)
        record: dict[str, Any] = hub.vault.open_json(RECORD, row["id"], row["record"]) if row else {}
        found = find_case(tx, record.get("input")) if row else NO_DECISION
    if row is None or isinstance(found, str):
        return _head(row) | {"unexplained": found, "reproduced": None, "rules": [], "instead": None}
    case, document = found
    decision = decide(case.order, case.facts, case.ruleset)
    differs = _differences(record, decision)
    return _head(row) | {
        "unexplained": "",
        "reproduced": not differs,
        "differs": differs,
        "decision": explain(replace(decision, trace=())),
        "rules": [_rule(seen) for seen in look_at_rules(document, case, decision)],
        "warehouses": _warehouses(decision),
        "instead": _alternative(explain_alternative(document, case, decision, goal)) if goal else None,
    }


def _newest(hub: Hub, tx: Connection, order_id: int) -> Row | None:
    found = read_decisions(hub, tx, order_id, 1)
    return found[0] if found else None


def _outcome(hub: Hub, order_id: int) -> dict[str, Any]:
    """What a partner is told: neither rules nor facts, stock, warehouses or reasons in words of ours."""
    with hub.read() as tx:
        row = _newest(hub, tx, order_id)
        record: dict[str, Any] = hub.vault.open_json(RECORD, row["id"], row["record"]) if row else {}
    told = _head(row)
    told.pop("ruleset")
    return told | {
        "holds": list(dict.fromkeys(hold[0] for hold in record.get("holds", ()))),
        "fulfilments": len(record.get("parts", ())),
    }


def _head(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {"ruleset": "", "made_at": None, "released": False}
    return {"ruleset": row["ruleset"], "made_at": show_time(row["created_at"]), "released": bool(row["released"])}


def _differences(record: Mapping[str, Any], again: Decision) -> list[str]:
    """The names of the effects that are not decided again as they were stored."""
    before, after = effects_of(record), effects_of(freeze_decision(again))
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _rule(seen: RuleSeen) -> dict[str, Any]:
    told: dict[str, Any] = {"rule": seen.rule, "phase": seen.phase, "matched": seen.matched}
    if seen.part:
        told["part"] = seen.part
    return told | {"first": _leaf(seen.first), "conditions": _tree(seen.tree)}


def _leaf(seen: Seen) -> dict[str, Any]:
    return {"held": seen.held, "why": seen.why or seen.form, "line": seen.line}


def _tree(seen: Seen) -> dict[str, Any]:
    told: dict[str, Any] = {"form": seen.form, "held": seen.held}
    if seen.why:
        told["why"] = seen.why
    if seen.line:
        told["line"] = seen.line
    if seen.inner:
        told["inner"] = [_tree(one) for one in seen.inner]
    return told


def _warehouses(decision: Decision) -> list[dict[str, Any]]:
    """The steps of the plan: every warehouse looked at, then parts there is more to say of."""
    steps = [step for step in decision.trace if step.phase in {"route", "split"}]
    named = [step for step in steps if step.rule.startswith(("warehouse ", "part "))]
    return [{"name": step.rule, "chosen": step.matched, "why": step.why} for step in named]


def _alternative(told: Alternative) -> dict[str, Any]:
    goal: Goal = told.goal
    reason = told.reason
    return {
        "kind": goal.kind,
        "name": goal.name,
        "held": told.held,
        "reason": {"code": reason.code, "detail": reason.detail, "chosen": reason.chosen, "asked": reason.asked},
        "changes": [[change.told() for change in changes] for changes in told.answer.found],
        "tries": told.answer.tries,
        "tried_all": told.answer.whole,
    }


def show_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """An explanation as lines for a terminal: `+` held, `-` did not, indented as conditions are nested."""
    if told["unexplained"]:
        yield f"cannot be decided again: {told['unexplained']}"
        return
    yield from told["decision"]
    again = (
        "the same is decided again" if told["reproduced"] else f"decided otherwise today: {', '.join(told['differs'])}"
    )
    yield again
    for rule in told["rules"]:
        part = f" part {rule['part']}" if "part" in rule else ""
        yield f"{_sign(rule['matched'])} {rule['phase']} {rule['rule']}{part}: {rule['first']['why']}"
        for depth, node in flat(rule["conditions"]):
            yield f"  {'  ' * depth}{_sign(node['held'])} {_words(node)}"
    for step in told["warehouses"]:
        yield f"{_sign(step['chosen'])} {step['name']}: {step['why']}"
    if told["instead"]:
        yield from _alternative_lines(told["instead"])


def flat(tree: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The conditions of a rule one after another, each with how deep it is."""
    yield depth, tree
    for inner in tree.get("inner", ()):
        yield from flat(inner, depth + 1)


def _sign(held: bool) -> str:
    return "+" if held else "-"


def _words(node: Mapping[str, Any]) -> str:
    line = f"line {node['line']}: " if "line" in node else ""
    return line + (node.get("why", "") if node["form"] == "test" else f"{node['form']} {node.get('why', '')}".rstrip())


def _alternative_lines(told: Mapping[str, Any]) -> Iterator[str]:
    asked = f"{told['kind']} {told['name']}".rstrip()
    if told["held"]:
        yield f"{asked}: that is what was decided"
        return
    yield f"why not {asked}: {told['reason']['code']}: {told['reason']['detail']}"
    for changes in told["changes"]:
        yield "it would have been with: " + " and ".join(_change_line(change) for change in changes)
    if not told["changes"]:
        all_of_it = "" if told["tried_all"] else ", and not everything was tried"
        yield f"no change was found within {told['tries']} tries{all_of_it}"


def _change_line(change: Mapping[str, Any]) -> str:
    line = f"line {change['line']}: " if change["line"] else ""
    return f"{line}{change['kind']} {change['what']}: {change['before']} → {change['after']}"
