"""The hub's own JSON documents - blobs, details of events, tags - written and read fast. What comes from outside is read by
wire.strict_json instead: this reader keeps the last of two equal keys and makes floats."""

from __future__ import annotations

import json
from typing import Any

import orjson

# What JSON has no name for is a fault of ours, as with the standard library, and never quietly written in some form.
_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_SORTED = _STRICT | orjson.OPT_SORT_KEYS
# Before a document that only the standard library writes and reads exactly.
_EXACT = b" "
_PLAIN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def pack(value: Any) -> bytes:
    """Compact UTF-8 JSON. TypeError or ValueError for what JSON has no name for."""
    try:
        return orjson.dumps(value, option=_STRICT)
    except TypeError:  # integers of more than 64 bits, keys that are no text, subclasses
        return _EXACT + _PLAIN(value).encode()


def sorted_text(value: Any) -> str:
    """Compact JSON with sorted keys: equal values of plain types make equal texts."""
    try:
        return orjson.dumps(value, option=_SORTED).decode()
    except TypeError:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def unpack(data: bytes) -> Any:
    """What `pack` wrote. ValueError for anything that is not JSON."""
    return json.loads(data) if data.startswith(_EXACT) else orjson.loads(data)
