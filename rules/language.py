"""The language operators write: one JSON document in, a compiled `Ruleset` or a list of paths and reasons out.

Limits come first and are checked without recursion, then the condition trees, then the outline (rules, effects, routing)
by `ruleset.schema.json` (outline.py), then what no schema can say (effects.py). A hostile document is refused within
100 ms. There are no expressions and no
patterns: whatever a text says, it is compared, never run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from domain.errors import RefusedError

from .conditions import INTEGER_LIMIT, MAX_FAULTS, Fault, Survey, survey_tree
from .effects import build_ruleset, find_faults
from .outline import outline_errors
from .ruleset import Ruleset

MAX_BYTES = 4 * 1024 * 1024
MAX_RULES = 500
MAX_LIST = 100_000
MAX_ITEMS = 200_000
MAX_CONTAINERS = 20_000
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
def default_ruleset() -> Ruleset:
    """The ruleset of a fresh installation (`default.json`): hold on remarks, nearest warehouse with stock."""
    return load(default_document())


def default_document() -> bytes:
    """The document of `default_ruleset`."""
    return (_FOLDER / "default.json").read_bytes()


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
    _refuse_if(list(islice(find_faults(content), MAX_FAULTS)))
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return build_ruleset(content, hashlib.sha256(canonical.encode()).hexdigest())


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
    if _are_plain(value):
        return None
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


def _are_plain(value: Any) -> bool:
    """Whether a list holds nothing but texts that are surely fine; looked at as a whole, for long lists."""
    if not isinstance(value, list) or set(map(type, value)) != {str}:
        return False
    whole = "".join(value)
    return max(map(len, value)) <= MAX_TEXT and whole.isascii() and "\x00" not in whole


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
            survey_tree(rule["when"], f"rules.{n}.when", survey, parts=rule.get("phase") == "carrier")
    return survey


def _outline_faults(document: Any) -> Iterator[Fault]:
    for error in outline_errors(document):
        yield Fault(_dotted(error.absolute_path), error.message if len(error.message) <= 300 else error.message[-300:])
