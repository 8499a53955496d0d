"""The outline of a ruleset (rules, effects, routing) held against `ruleset.schema.json`, quickly enough for a hostile one.

The published schema describes the whole document. Here its condition and list parts, and which effects go together, are left
to the faster passes of language.py and effects.py, and items of a list that are plainly right are not given to jsonschema,
which needs some 20 µs for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

_EFFECT_CHOICE = frozenset({"oneOf", "dependentSchemas"})
_TEXT = frozenset({"type", "minLength", "maxLength"})
_NUMBER = frozenset({"type", "minimum", "maximum"})
_LIST = frozenset({"type", "items", "minItems", "maxItems"})
_OBJECT = frozenset({"type", "additionalProperties", "required", "properties"})


@cache
def schema() -> dict[str, Any]:
    """The published JSON Schema of a ruleset (draft 2020-12)."""
    loaded: dict[str, Any] = json.loads((Path(__file__).with_name("ruleset.schema.json")).read_text("utf-8"))
    return loaded


def outline_errors(document: Any) -> Iterator[ValidationError]:
    """What the outline of a document breaks, found one by one."""
    errors: Iterator[ValidationError] = _outline().iter_errors(document)
    return errors


@cache
def _outline() -> Any:
    published = schema()
    definitions = published["$defs"]
    effect = {key: value for key, value in definitions["effect"].items() if key not in _EFFECT_CHOICE}
    rule = {key: value for key, value in definitions["rule"].items() if key != "$ref"}
    rule["properties"] = {**rule["properties"], "when": True, "then": effect}
    rules = {**published["properties"]["rules"], "items": rule}
    routing = definitions["routing"]["properties"]
    rates = {**routing["rates"], "items": definitions["rate"]}
    parts = {
        "rules": rules,
        "lists": {**published["properties"]["lists"], "additionalProperties": True},
        "routing": {**definitions["routing"], "properties": {**routing, "rates": rates}},
    }
    quick: Any = extend(Draft202012Validator, {"items": _items})  # type: ignore[no-untyped-call]
    return quick({**published, "properties": {**published["properties"], **parts}})


def _items(validator: Any, items: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, list) or _are_texts(instance, items):
        return
    for n, item in enumerate(instance):
        if not is_surely_valid(item, items):
            yield from validator.descend(item, items, path=n)


def _are_texts(values: list[Any], wanted: Mapping[str, Any]) -> bool:
    """`is_surely_valid` for a whole list of texts at once."""
    if wanted.get("type") != "string" or not wanted.keys() <= _TEXT or not values or set(map(type, values)) != {str}:
        return False
    longest = max(map(len, values))
    return bool(wanted.get("minLength", 0) <= min(map(len, values)) and longest <= wanted.get("maxLength", longest))


def is_surely_valid(value: Any, wanted: Mapping[str, Any] | bool) -> bool:
    """Whether a value fits a simple schema. False also means: this schema is not simple enough to say."""
    if not isinstance(wanted, Mapping):  # `true`: what a faster pass has checked already
        return wanted is True
    kind = wanted.get("type")
    if kind == "string" and wanted.keys() <= _TEXT:
        return type(value) is str and wanted.get("minLength", 0) <= len(value) <= wanted.get("maxLength", len(value))
    if kind == "integer" and wanted.keys() <= _NUMBER:
        return type(value) is int and wanted.get("minimum", value) <= value <= wanted.get("maximum", value)
    if kind == "array" and wanted.keys() <= _LIST and type(value) is list:
        items = wanted.get("items", {})
        return wanted.get("minItems", 0) <= len(value) <= wanted.get("maxItems", len(value)) and (
            _are_texts(value, items) or all(is_surely_valid(item, items) for item in value)
        )
    if kind == "object" and wanted.keys() <= _OBJECT and type(value) is dict:
        properties = wanted.get("properties", {})
        return value.keys() >= set(wanted.get("required", ())) and all(
            key in properties and is_surely_valid(item, properties[key]) for key, item in value.items()
        )
    return False
