"""The pages of the rules: every version with where it stands, one version with what a replay showed, and the steps of its life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from domain.errors import ConfigError, RefusedError
from pipeline.rulesets import (
    approve_version,
    arm_version,
    list_versions,
    read_moment,
    read_told,
    replay_version,
    retire_version,
    roll_back,
    show_version,
    validate_version,
    version_in_force,
    write_draft,
)

from .answers import Visit, go, show

# A page waits for its replay: more orders are replayed by `hub.py rules replay`.
REPLAYED_HERE = 2_000
_SHOWN = 20_000
_EXAMPLES = 5
Fields = Mapping[str, list[str]]


def _one(fields: Fields, name: str) -> str:
    return fields.get(name, [""])[0].strip()


def _address(version: str) -> str:
    return f"/rules/{quote(version, safe='')}"


def show_rules(visit: Visit) -> Response:
    rows, force = list_versions(visit.hub), version_in_force(visit.hub)
    return show(visit, "rules.html", rows=rows, force=force, active="rules")


def show_rule(visit: Visit) -> Response:
    row = show_version(visit.hub, visit.request.path_params["version"][:200])
    replay = row["replay"] or {}
    kinds = [
        (name, kind | {"examples": kind["examples"][:_EXAMPLES]}) for name, kind in replay.get("kinds", {}).items()
    ]
    document = row["document"]
    values: dict[str, Any] = {"row": row, "replay": row["replay"], "kinds": kinds, "document": document[:_SHOWN]}
    values |= {"cut": len(document) > _SHOWN, "own": row["author"] == visit.session.actor, "here_most": REPLAYED_HERE}
    values |= {"tried": bool(row["replay_digest"]) and row["replay_digest"] == row["digest"]}
    return show(visit, "rule.html", **values, address=_address(row["version"]), active="rules")


def act_on_rules(visit: Visit, fields: Fields) -> Response:
    """Store a draft, or roll back."""
    actor, wanted = visit.session.actor, _one(fields, "do")
    try:
        if wanted == "draft":
            document = fields.get("document", [""])[0].encode()
            row = write_draft(visit.hub, document, actor=actor, rails=read_told(_one(fields, "rails")))
            return go(visit, _address(row["version"]), code="done")
        if wanted == "rollback":
            _, now = roll_back(visit.hub, actor=actor, reason=_one(fields, "reason"))
            return go(visit, "/rules", code="rolled_back", more=now[:100])
    except (RefusedError, ConfigError) as error:
        return go(visit, "/rules", tone="bad", code=error.code, more=error.detail)
    raise RefusedError("not_found", "there is no such action")


def act_on_rule(visit: Visit, fields: Fields) -> Response:
    """One step in the life of a version."""
    version = visit.request.path_params["version"][:200]
    try:
        _step(visit, version, fields)
    except (RefusedError, ConfigError) as error:
        if error.code == "not_found":
            raise
        return go(visit, _address(version), tone="bad", code=error.code, more=error.detail)
    return go(visit, _address(version), code="done")


def _step(visit: Visit, version: str, fields: Fields) -> None:
    hub, actor, wanted = visit.hub, visit.session.actor, _one(fields, "do")
    reason = _one(fields, "reason")
    if wanted == "validate":
        validate_version(hub, version, actor=actor)
    elif wanted == "replay":
        replay_version(hub, version, actor=actor, last=REPLAYED_HERE)
    elif wanted == "approve":
        approve_version(hub, version, actor=actor, override=reason)
    elif wanted == "arm":
        at = _one(fields, "at")
        arm_version(hub, version, actor=actor, at=read_moment(at) if at else None)
    elif wanted == "retire":
        retire_version(hub, version, actor=actor, reason=reason)
    else:
        raise RefusedError("not_found", "there is no such action")
