"""The language operators write: one JSON document in, a compiled `Ruleset` or a list of paths and reasons out.

Limits come first and are checked without recursion, then the condition trees, then the outline (rules, effects, routing)
by `ruleset.schema.json`. The published schema describes the whole document; here its condition and list parts are left
to the faster passes before it, so that a hostile document is refused within 100 ms. There are no expressions and no
patterns: whatever a text says, it is compared, never run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from jsonschema import Draft202012Validator

from domain.decision import Hold
from domain.errors import RefusedError

from .compiler import Lists, compile_step, compile_tree
from .conditions import INTEGER_LIMIT, MAX_FAULTS, Fault, Survey, survey_tree
from .ruleset import Condition, Phase, Route, Routing, Rule, Ruleset

MAX_BYTES = 4 * 1024 * 1024
MAX_RULES = 500
MAX_LIST = 100_000
MAX_ITEMS = 200_000
MAX_CONTAINERS = 30_000
MAX_NESTING = 48
MAX_TEXT = 1_000
_FOLDER = Path(__file__).parent
_DUPLICATE = "\x00duplicate"
_LIST_FAULT = "a list holds texts only, none of them empty"


class RulesetError(RefusedError):
    """The ruleset is refused (`ruleset_invalid`); `faults` say where and why, at most MAX_FAULTS of them."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        shown = "; ".join(f"{fault.path or 'document'}: {fault.reason}" for fault in self.faults)
        super().__init__("ruleset_invalid", shown)

    def listed(self) -> list[dict[str, str]]:
        """The faults as JSON values: [{path, reason}]."""
        return [{"path": fault.path, "reason": fault.reason} for fault in self.faults]


@cache
def schema() -> dict[str, Any]:
    """The published JSON Schema of a ruleset (draft 2020-12)."""
    loaded: dict[str, Any] = json.loads((_FOLDER / "ruleset.schema.json").read_text("utf-8"))
    return loaded


@cache
def default_ruleset() -> Ruleset:
    """The ruleset of a fresh installation (`default.json`): hold on remarks, nearest warehouse with stock."""
    return load((_FOLDER / "default.json").read_bytes())


def load(document: bytes | Mapping[str, Any]) -> Ruleset:
    """Check and compile a ruleset. Raises RulesetError (a RefusedError, code `ruleset_invalid`) with every path and
    reason found, at most MAX_FAULTS."""
    content = _parse(document) if isinstance(document, bytes) else document
    _refuse_if(_limit_faults(content))
    survey = _survey(content)
    if not survey.full:
        room = MAX_FAULTS - len(survey.faults)
        survey.faults.extend(islice(_outline_faults(content), room))
    _refuse_if(survey.faults)
    _refuse_if(_meaning_faults(content))
    return _build(content)


def _refuse_if(faults: list[Fault]) -> None:
    if faults:
        raise RulesetError(faults)


def _refuse(reason: str, path: str = "") -> NoReturn:
    raise RulesetError([Fault(path, reason)])


# --- reading --------------------------------------------------------------------------------------------------------


def _parse(raw: bytes) -> Any:
    if len(raw) > MAX_BYTES:
        _refuse(f"larger than {MAX_BYTES} bytes")
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_constant)
    except UnicodeDecodeError as error:
        _refuse(f"not UTF-8 at byte {error.start}")
    except RecursionError:
        _refuse(f"nested deeper than {MAX_NESTING} levels from character {_deep_at(raw)} on")
    except json.JSONDecodeError as error:
        _refuse(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})")
    except ValueError as error:  # a number of more than 4,300 digits
        _refuse(f"not JSON: {str(error)[:100]}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        found[_DUPLICATE] = next(key for n, key in enumerate(keys) if key in keys[:n])
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _deep_at(raw: bytes) -> int:
    depth = 0
    for at, byte in enumerate(raw[:100_000]):
        depth += (byte in b"[{") - (byte in b"]}")
        if depth > MAX_NESTING:
            return at
    return 0


# --- limits ---------------------------------------------------------------------------------------------------------

_Place = tuple[Any, tuple[Any, ...]]


def _limit_faults(document: Any) -> list[Fault]:
    """The first limit that the document breaks. Looks at every value once; a document that contains itself is caught
    by its depth."""
    stack: list[_Place] = [(document, ())]
    items = containers = 0
    while stack:
        value, path = stack.pop()
        if len(path) > MAX_NESTING:
            return [Fault(_dotted(path), f"nested deeper than {MAX_NESTING} levels")]
        items += len(value) if isinstance(value, (dict, list)) else 1
        if isinstance(value, list) and len(value) > MAX_LIST:
            return [Fault(_dotted(path), f"a list of more than {MAX_LIST} items")]
        if items > MAX_ITEMS:
            return [Fault(_dotted(path), f"more than {MAX_ITEMS} values in one ruleset")]
        below: list[_Place] = []
        reason = _scan(value, path, below)
        if reason is not None:
            return [reason]
        containers += len(below)
        if containers > MAX_CONTAINERS:
            return [Fault(_dotted(path), f"more than {MAX_CONTAINERS} objects and lists in one ruleset")]
        stack.extend(reversed(below))
    return []


def _scan(value: Any, path: tuple[Any, ...], below: list[_Place]) -> Fault | None:
    if isinstance(value, dict):
        if _DUPLICATE in value:
            return Fault(_dotted((*path, value[_DUPLICATE])), "the same key twice")
        for key in value:
            reason = _scalar_fault(key) if isinstance(key, str) else "keys are texts"
            if reason:
                return Fault(_dotted((*path, key)), reason)
    pairs = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else (value,))
    for key, item in pairs:
        if isinstance(item, (dict, list)):
            below.append((item, (*path, key)))
            if len(below) > MAX_CONTAINERS:
                return None
        elif reason := _scalar_fault(item):
            return Fault(_dotted((*path, key)), reason)
    return None


def _scalar_fault(value: Any) -> str:
    kind = type(value)
    if kind is str:
        if len(value) > MAX_TEXT:
            return f"a text longer than {MAX_TEXT}"
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            return "a text with half a character (lone surrogate)"
        return "a text with NUL" if "\x00" in value else ""
    if kind is int:
        return "" if abs(value) <= INTEGER_LIMIT else "a number larger than 63 bits"
    if kind is bool or value is None:
        return ""
    return "numbers are whole: no decimals" if kind is float else "not a JSON value"


def _dotted(path: Iterable[Any]) -> str:
    return ".".join(str(step)[:60] for step in path)[:500]


# --- checks ---------------------------------------------------------------------------------------------------------


def _survey(document: Any) -> Survey:
    lists = document.get("lists", {}) if isinstance(document, Mapping) else {}
    survey = Survey(lists if isinstance(lists, Mapping) else {}, [])
    for name, values in survey.lists.items():
        if not isinstance(values, list):
            survey.add(_dotted(("lists", name)), "a named list is a list of texts")
            continue
        bad = next((n for n, item in enumerate(values) if not isinstance(item, str) or not item), None)
        if bad is not None:
            survey.add(_dotted(("lists", name, bad)), _LIST_FAULT)
    rules = document.get("rules") if isinstance(document, Mapping) else None
    if isinstance(rules, list) and len(rules) > MAX_RULES:
        survey.add("rules", f"more than {MAX_RULES} rules")
        survey.full = True
    for n, rule in enumerate(rules if isinstance(rules, list) else ()):
        if survey.full:
            break
        if isinstance(rule, dict) and "when" in rule:
            survey_tree(rule["when"], f"rules.{n}.when", survey)
    return survey


@cache
def _outline() -> Draft202012Validator:
    published = schema()
    done_before = {"condition": True, "list": True, "effect_of_phase": True}
    return Draft202012Validator({**published, "$defs": {**published["$defs"], **done_before}})


def _outline_faults(document: Any) -> Iterator[Fault]:
    for error in _outline().iter_errors(document):
        yield Fault(_dotted(error.absolute_path), error.message if len(error.message) <= 300 else error.message[-300:])


def _meaning_faults(document: Mapping[str, Any]) -> list[Fault]:
    """What no schema can say: ids are unique, an effect belongs to its phase."""
    faults: list[Fault] = []
    first: dict[str, int] = {}
    for n, rule in enumerate(document["rules"]):
        if rule["id"] in first:
            faults.append(Fault(f"rules.{n}.id", f"the id of rules.{first[rule['id']]} again"))
        first.setdefault(rule["id"], n)
        if rule["phase"] not in rule["then"]:
            faults.append(Fault(f"rules.{n}.then", f"a rule of phase {rule['phase']} has the effect {rule['phase']}"))
    return faults[:MAX_FAULTS]


# --- building -------------------------------------------------------------------------------------------------------


def _build(document: Mapping[str, Any]) -> Ruleset:
    lists: Lists = {name: frozenset(values) for name, values in document.get("lists", {}).items()}
    rules = [_build_rule(rule, lists) for rule in document["rules"]]
    canonical = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Ruleset(
        version=document["version"],
        digest=hashlib.sha256(canonical.encode()).hexdigest(),
        holds=_of_phase(rules, "hold"),
        routes=_of_phase(rules, "route"),
        carriers=_of_phase(rules, "carrier"),
        tags=_of_phase(rules, "tag"),
        routing=_build_routing(document.get("routing", {})),
    )


def _of_phase(rules: list[Rule], phase: Phase) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if rule.phase == phase)


_OFF = Condition(lambda _, __: False, lambda _, __: (False, "switched off"))


def _build_rule(rule: Mapping[str, Any], lists: Lists) -> Rule:
    condition = compile_tree(rule["when"], lists) if rule.get("enabled", True) else _OFF
    then = rule["then"]
    return Rule(
        id=rule["id"],
        phase=rule["phase"],
        test=condition.test,
        step=compile_step(rule["id"], rule["phase"], condition.look),
        hold=Hold(then["hold"], rule["id"], then.get("detail", "")) if "hold" in then else None,
        route=Route(tuple(then["route"]["warehouses"]), then["route"].get("only", False)) if "route" in then else None,
        carriers=_texts(then.get("carrier", ())),
        tags=_texts(then.get("tag", ())),
    )


def _build_routing(routing: Mapping[str, Any]) -> Routing:
    return Routing(
        allow_split=routing.get("allow_split", True),
        max_parts=routing.get("max_parts", 8),
        carriers=MappingProxyType(dict(routing.get("carriers", {}))),
        default_carriers=tuple(routing.get("default_carriers", ())),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
