"""The life of a ruleset, from a draft to the orders it decides about, each step by a person with a name and in a log. What
may follow what is decided in domain.ruleset_life; here it is done, in one transaction each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from domain.errors import ConfigError, RefusedError
from domain.ruleset_life import change_state, check_approval, check_arming, read_rails
from rules.conditions import Fault
from rules.language import MAX_BYTES, RulesetError, default_ruleset
from rules.language import load as load_ruleset
from storage import rulesets as stored
from storage.rows import Row
from storage.times import micros

from .access import identify
from .bootstrap import Hub
from .replay import replay_document

_LONGEST_REASON = 500
_OPEN = frozenset({"draft", "validated", "replayed"})
_UNTRIED: dict[str, Any] = {"replay": "", "replay_digest": "", "replayed_at": None}
_UNAPPROVED: dict[str, Any] = {"approver": "", "approved_at": None, "override_reason": ""}


def list_versions(hub: Hub) -> list[Row]:
    """The newest versions, the newest first; `in_force` says which one decides now, `state` is `retired` for one that
    another has followed since."""
    with hub.read() as tx:
        rows = stored.list_rulesets(tx)
        force = stored.find_armed_ruleset(tx, hub.now())
    return [_seen(row, force, hub.now()) for row in rows]


def show_version(hub: Hub, version: str) -> Row:
    """One version with its document, faults, guard rails, replay (None: not tried yet) and log. RefusedError `not_found`."""
    with hub.read() as tx:
        row = _need(tx, version)
        force = stored.find_armed_ruleset(tx, hub.now())
        events = stored.list_ruleset_events(tx, version)
    return _seen(row, force, hub.now()) | {
        "faults": [{"path": fault.path, "reason": fault.reason} for fault in faults_of(row["document"].encode())],
        "rails": json.loads(row["rails"] or "{}"),
        "replay": json.loads(row["replay"]) if row["replay"] else None,
        "events": events,
    }


def version_in_force(hub: Hub) -> str:
    with hub.read() as tx:
        row = stored.find_armed_ruleset(tx, hub.now())
    return str(row["version"]) if row else default_ruleset().version


def faults_of(document: bytes) -> Sequence[Fault]:
    """Where and why a document is no ruleset."""
    try:
        load_ruleset(document)
    except RulesetError as error:
        return error.faults
    return ()


def write_draft(
    hub: Hub, document: bytes, *, actor: str, rails: Mapping[str, Any] | None = None, new: bool = False
) -> Row:
    """Store a draft, or (unless it must be `new`) another document for a version that nobody has approved yet. One that loads
    is validated at once.
    RefusedError `ruleset_invalid` (not a document with a version), `ruleset_version` (the version is taken), `rails`."""
    version, digest = _identity(document)
    limits = read_rails(rails or {})
    now = hub.now()
    state = "draft" if faults_of(document) else "validated"
    values = {
        "document": document.decode("utf-8-sig"),
        "digest": digest,
        "author": actor,
        "rails": limits,
        "state": state,
    }
    with hub.write() as tx:
        row = stored.find_ruleset(tx, version, lock=True)
        if row is None:
            row = {"id": hub.ids(), "version": version, "created_at": now, **values}
            stored.put_ruleset(tx, row)
        elif row["state"] in _OPEN and not new:
            stored.save_ruleset(tx, row["id"], **values, **_UNTRIED, **_UNAPPROVED)
        else:
            raise RefusedError("ruleset_version", f"{version} is {row['state']}: give changed rules a new version")
        _log(hub, tx, version, actor, "drafted", digest=digest)
        if state == "validated":
            _log(hub, tx, version, actor, "validated")
    return show_version(hub, version)


def validate_version(hub: Hub, version: str, *, actor: str) -> Row:
    """Check a draft. RefusedError `ruleset_invalid` with every path and reason."""
    with hub.write() as tx:
        row = _need(tx, version, lock=True)
        load_ruleset(row["document"].encode())
        if row["state"] == "draft":
            change_state(row, "validated")
            stored.save_ruleset(tx, row["id"], state="validated")
            _log(hub, tx, version, actor, "validated")
    return show_version(hub, version)


def replay_version(
    hub: Hub, version: str, *, actor: str, last: int, since: int = 0, against: str = "own"
) -> dict[str, Any]:
    """Try a version on past orders and keep what came of it with exactly this document. One that was approved needs a new
    approval; for one that is or was armed, or for nobody (`actor` ""), nothing is kept. RefusedError `ruleset_invalid`,
    `ruleset_state`, `replay_size`, `replay_against`."""
    with hub.read() as tx:
        row = _need(tx, version)
    if row["state"] == "draft":
        raise RefusedError("ruleset_state", f"{version} has faults: validate it first")
    result = replay_document(
        hub, row["document"].encode(), last=last, since=since, against=against, rails=json.loads(row["rails"] or "{}")
    )
    if not actor or row["state"] in {"armed", "retired"}:
        return result
    with hub.write() as tx:
        now = _need(tx, version, lock=True)
        if now["digest"] != row["digest"] or now["state"] in {"draft", "armed", "retired"}:
            raise RefusedError("ruleset_state", f"{version} was changed while it was replayed")
        told = {"replay": result, "replay_digest": now["digest"], "replayed_at": hub.now(), "state": "replayed"}
        stored.save_ruleset(tx, now["id"], **told, **_UNAPPROVED)
        _log(
            hub, tx, version, actor, "replayed",
            orders=result["orders"], changed=result["changed"], broken=result["broken"], digest=result["digest"],
        )  # fmt: skip
    return result


def approve_version(hub: Hub, version: str, *, actor: str, override: str = "") -> Row:
    """A second person agrees with what the replay showed; with broken guard rails only with a reason, which is logged.
    RefusedError `second_person`, `replay_missing`, `rails_broken`, `ruleset_state`."""
    reason = override.strip()[:_LONGEST_REASON]
    with hub.write() as tx:
        row = _need(tx, version, lock=True)
        broken = _broken(row)
        check_approval(row, broken, by=actor, override=reason)
        told = {"state": "approved", "approver": actor, "approved_at": hub.now()}
        stored.save_ruleset(tx, row["id"], **told, override_reason=reason if broken else "")
        detail = {"broken": broken, "reason": reason} if broken else {}
        _log(hub, tx, version, actor, "approved", replay=_replay_of(row).get("digest", ""), **detail)
    return show_version(hub, version)


def arm_version(hub: Hub, version: str, *, actor: str, at: int | None = None) -> Row:
    """Put an approved version in force from `at` on (µs; None or past: now). RefusedError `replay_missing`,
    `second_person`, `rails_broken`, `ruleset_state`, `ruleset_invalid`."""
    with hub.write() as tx:
        stored.lock_rulesets(tx)
        row = _need(tx, version, lock=True)
        check_arming(row, _broken(row))
        load_ruleset(row["document"].encode())
        now = hub.now()
        moment = max(at or now, now)
        stored.save_ruleset(tx, row["id"], state="armed", armed_at=now, armed_from=moment)
        _log(hub, tx, version, actor, "armed", armed_from=moment)
        _retire_followed(hub, tx, now)
    return show_version(hub, version)


def retire_version(hub: Hub, version: str, *, actor: str, reason: str = "") -> Row:
    """Give up a version that does not decide yet. RefusedError `ruleset_state`."""
    with hub.write() as tx:
        stored.lock_rulesets(tx)
        row = _need(tx, version, lock=True)
        force = stored.find_armed_ruleset(tx, hub.now())
        if force is not None and force["version"] == version:
            raise RefusedError("ruleset_state", f"{version} is in force: roll back, or arm another")
        change_state(row, "retired")
        waits = row["armed_from"] is not None and row["armed_from"] > hub.now()
        stored.save_ruleset(tx, row["id"], state="retired", **({"armed_from": None} if waits else {}))
        _log(hub, tx, version, actor, "retired", reason=reason.strip()[:_LONGEST_REASON])
    return show_version(hub, version)


def roll_back(hub: Hub, *, actor: str, reason: str = "") -> tuple[str, str]:
    """The version that was in force before decides again from this moment on, without a new approval. (from, to);
    RefusedError `nothing_to_roll_back`."""
    with hub.write() as tx:
        now = hub.now()
        rows = [row for row in stored.lock_rulesets(tx) if row["armed_from"] <= now]
        force = next((row for row in rows if row["state"] == "armed"), None)
        if force is None:
            raise RefusedError("nothing_to_roll_back", "the ruleset of a fresh installation is in force")
        before = [row for row in rows[rows.index(force) + 1 :] if not row["rolled_back"]]
        stored.save_ruleset(tx, force["id"], state="retired", rolled_back=True)
        told = before[0]["version"] if before else default_ruleset().version
        _log(hub, tx, force["version"], actor, "rolled_back", to=told, reason=reason.strip()[:_LONGEST_REASON])
        if before:
            if before[0]["state"] == "retired":
                change_state(before[0], "armed")
                stored.save_ruleset(tx, before[0]["id"], state="armed")
            _log(hub, tx, told, actor, "armed_again", after=force["version"])
    return str(force["version"]), str(told)


def export_version(hub: Hub, version: str) -> dict[str, Any]:
    """A version to take to another installation: document, guard rails, digest."""
    row = show_version(hub, version)
    return {"ruleset": json.loads(row["document"]), "rails": row["rails"], "digest": row["digest"]}


def import_version(hub: Hub, exported: bytes, *, actor: str) -> Row:
    """Store an exported version as a draft: what was tried and approved elsewhere is tried and approved here again.
    RefusedError `ruleset_export`, and as `write_draft`."""
    try:
        told = json.loads(exported)
        document = json.dumps(told["ruleset"], ensure_ascii=False, indent=2).encode()
        digest, rails = told["digest"], told["rails"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RefusedError("ruleset_export", "not what `rules export` writes") from None
    if not isinstance(rails, dict) or _identity(document)[1] != digest:
        raise RefusedError("ruleset_export", "the digest is not that of its rules: the file was changed")
    return write_draft(hub, document, actor=actor, rails=rails)


def read_file(path: Path) -> bytes:
    """The bytes of a ruleset file. ConfigError `ruleset_file`."""
    try:
        with path.open("rb") as file:
            return file.read(2 * MAX_BYTES)
    except OSError as error:
        raise ConfigError("ruleset_file", f"{path.name}: {error.strerror or error}") from None


def read_told(text: str) -> dict[str, Any]:
    """A JSON object of guard rails as a person types it. RefusedError `rails`."""
    try:
        told = json.loads(text or "{}")
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise RefusedError("rails", 'a JSON object such as {"holds_up_percent": 5}')
    return told


def read_moment(text: str) -> int:
    """A time with its offset as microseconds. RefusedError `when`."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise RefusedError("when", "a time with its offset, such as 2026-11-11T00:00:00+08:00")
    return micros(moment)


def staff_actor(hub: Hub, key: str) -> str:
    """Who acts on the command line: the owner of a staff key that may change things. RefusedError `unauthenticated`,
    `forbidden`."""
    if not key:
        raise ConfigError("who", "say who you are: --key, or HUB_STAFF_KEY, with a clerk's or an admin's key")
    caller = identify(hub, key)
    if caller.scope not in {"clerk", "admin"} or caller.partner_id is not None:
        raise RefusedError("forbidden", "only a clerk's or an admin's key changes rules, and none that names a partner")
    return caller.actor


def _identity(document: bytes) -> tuple[str, str]:
    """(version, digest) of what may be a ruleset. RefusedError `ruleset_invalid`."""
    try:
        told = json.loads(document.decode("utf-8-sig")) if len(document) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        told = None
    version = told.get("version") if isinstance(told, dict) else None
    if not isinstance(version, str) or not 1 <= len(version) <= 100 or not version.isprintable():
        for fault in faults_of(document)[:1]:
            raise RulesetError([fault])
        raise RulesetError([Fault("version", "a printable text of 1 to 100 characters")])
    try:
        canonical = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise RulesetError(faults_of(document)) from None
    return version, hashlib.sha256(canonical).hexdigest()


def _need(tx: Connection, version: str, *, lock: bool = False) -> Row:
    row = stored.find_ruleset(tx, version, lock=lock)
    if row is None:
        raise RefusedError("not_found", f"there is no ruleset {version[:100]}")
    return row


def _replay_of(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["replay"]) if row["replay"] else {}
    return found


def _broken(row: Row) -> list[str]:
    return list(_replay_of(row).get("broken", []))


def _retire_followed(hub: Hub, tx: Connection, now: int) -> None:
    """Versions that another has followed are retired; one whose moment is still to come is left alone."""
    started = [row for row in stored.lock_rulesets(tx) if row["state"] == "armed" and row["armed_from"] <= now]
    for row in started[1:]:
        stored.save_ruleset(tx, row["id"], state="retired")
        _log(hub, tx, row["version"], "hub", "retired", reason=f"followed by {started[0]['version']}")


def _seen(row: Row, force: Row | None, now: int) -> Row:
    in_force = force is not None and force["id"] == row["id"]
    followed = row["state"] == "armed" and not in_force and row["armed_from"] <= now
    return row | {"in_force": in_force, "state": "retired" if followed else row["state"]}


def _log(hub: Hub, tx: Connection, version: str, actor: str, kind: str, **detail: Any) -> None:
    row = {"id": hub.ids(), "version": version, "at": hub.now(), "actor": actor, "kind": kind, "detail": detail}
    stored.put_ruleset_event(tx, row)
