"""Rulesets to start from, as documents: `rules/library/` holds one JSON file each, docs/rulesets/ a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rules.language
from domain.errors import ConfigError

_FOLDER = Path(rules.language.__file__).parent / "library"


def list_ready() -> list[dict[str, Any]]:
    """Name, version, note and number of rules of each, by name."""
    found = []
    for name in _names():
        document = json.loads(read_ready(name))
        about = {"name": name, "version": document["version"], "note": document["note"]}
        found.append(about | {"rules": len(document["rules"])})
    return found


def read_ready(name: str) -> bytes:
    """The document of that name. ConfigError `ruleset_unknown`."""
    if name not in _names():
        raise ConfigError("ruleset_unknown", f"the library has no {name[:60]}: {', '.join(_names())}")
    return (_FOLDER / f"{name}.json").read_bytes()


def _names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.json"))
