"""The pages of the rules: every version with where it stands, one version with what a replay showed, and the steps of its life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from domain.errors import ConfigError, RefusedError
from pipeline.rule_tables import KINDS, PHASES, export_table, faults_told, import_table
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
_MEDIA = {"csv": "text/csv; charset=utf-8", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
Fields = Mapping[str, list[str]]


def _one(fields: Fields, name: str) -> str:
    return fields.get(name, [""])[0].strip()


def _address(version: str) -> str:
    return f"/rules/{quote(version, safe='')}"


def show_rules(visit: Visit) -> Response:
    rows, force = list_versions(visit.hub), version_in_force(visit.hub)
    return show(visit, "rules.html", rows=rows, force=force, active="rules")


def show_rule(visit: Visit, table_faults: Sequence[Mapping[str, str]] = ()) -> Response:
    """One version; `table_faults` say where a table of it was refused."""
    row = show_version(visit.hub, visit.request.path_params["version"][:200])
    replay = row["replay"] or {}
    kinds = [
        (name, kind | {"examples": kind["examples"][:_EXAMPLES]}) for name, kind in replay.get("kinds", {}).items()
    ]
    document = row["document"]
    values: dict[str, Any] = {"row": row, "replay": row["replay"], "kinds": kinds, "document": document[:_SHOWN]}
    values |= {"cut": len(document) > _SHOWN, "own": row["author"] == visit.session.actor, "here_most": REPLAYED_HERE}
    values |= {"tried": bool(row["replay_digest"]) and row["replay_digest"] == row["digest"]}
    values |= {"table_faults": table_faults, "phases": PHASES, "kinds_of_table": KINDS}
    values["tables"] = f"/rule-tables/{{}}{quote(row['version'], safe='')}"
    status = 409 if table_faults else 200
    return show(visit, "rule.html", status, **values, address=_address(row["version"]), active="rules")


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


def send_table(visit: Visit) -> Response:
    """The rules of one phase of a version as a file."""
    told = visit.request.path_params
    version, phase, kind = told["version"][:200], told["phase"], told["kind"]
    if phase not in PHASES or kind not in KINDS:
        raise RefusedError("not_found", "there is no such table")
    try:
        table = export_table(visit.hub, version, phase, kind)
    except RefusedError as error:
        if error.code == "not_found":
            raise
        return show_rule(visit, faults_told(error))
    name = f"attachment; filename={phase}.{kind}"
    return Response(table, media_type=_MEDIA[kind], headers={"content-disposition": name})


def take_table(visit: Visit, fields: Fields) -> Response:
    """A new draft of a version, with the rules of one phase as an uploaded table has them."""
    version = visit.request.path_params["version"][:200]
    raw, actor = visit.uploads.get("table", b""), visit.session.actor
    try:
        row = import_table(visit.hub, version, _one(fields, "phase"), raw, actor=actor, name=_one(fields, "name"))
    except (RefusedError, ConfigError) as error:
        if error.code == "not_found":
            raise
        faults = faults_told(error) if isinstance(error, RefusedError) else []
        if faults:
            return show_rule(visit, faults)
        return go(visit, _address(version), tone="bad", code=error.code, more=error.detail)
    return go(visit, _address(row["version"]), code="done")
