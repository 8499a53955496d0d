"""Rulesets: every version that was ever written is kept with where it stands, and one is in force.

In force is the armed version with the newest `armed_from` that has come: a version armed for tomorrow needs nobody to
switch it on."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from .rows import Row, insert_missing, insert_rows, rows_of
from .tables import contexts, ruleset_log, rulesets

_LISTED = [column for column in rulesets.c if column.name not in {"document", "replay"}]
# Asked in every transaction as a part of the directory's stamp: built once.
IN_FORCE = (
    select(rulesets.c.id)
    .where(rulesets.c.state == "armed", rulesets.c.armed_from <= bindparam("now"))
    .order_by(rulesets.c.armed_from.desc(), rulesets.c.id.desc())
    .limit(1)
)


def find_armed_ruleset(tx: Connection, now: int) -> Row | None:
    """The full row of the ruleset in force at `now` (µs)."""
    found = tx.execute(IN_FORCE, {"now": now}).scalar()
    rows = rows_of(tx, select(rulesets).where(rulesets.c.id == found)) if found is not None else []
    return rows[0] if rows else None


def find_ruleset(tx: Connection, version: str, *, lock: bool = False) -> Row | None:
    """The full row of a version; with `lock` nobody else changes it until this transaction ends."""
    query = select(rulesets).where(rulesets.c.version == version)
    rows = rows_of(tx, query.with_for_update() if lock else query)
    return rows[0] if rows else None


def list_rulesets(tx: Connection, limit: int = 200) -> list[Row]:
    """The newest versions without their documents and replays, the newest first."""
    return rows_of(tx, select(*_LISTED).order_by(rulesets.c.created_at.desc(), rulesets.c.id.desc()).limit(limit))


def load_ruleset_documents(tx: Connection, digests: Collection[str]) -> dict[str, str]:
    """Documents by their digest."""
    query = select(rulesets.c.digest, rulesets.c.document).where(rulesets.c.digest.in_(sorted(digests)))
    return {row[0]: row[1] for row in tx.execute(query)}


def lock_rulesets(tx: Connection) -> list[Row]:
    """Every version that is or was armed, locked, the newest moment first: who arms or rolls back does so alone."""
    query = select(*_LISTED).where(rulesets.c.armed_from.is_not(None)).order_by(rulesets.c.id)
    return sorted(rows_of(tx, query.with_for_update()), key=lambda row: (row["armed_from"], row["id"]), reverse=True)


def count_armed_ever(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).where(rulesets.c.armed_from.is_not(None))).scalar_one())


def put_ruleset(tx: Connection, row: Row) -> None:
    """Store a new version: id, version, state, document, digest, author, created_at (µs), rails (a mapping) and, for the
    first configuration file only, armed_at and armed_from."""
    blank: Row = dict.fromkeys(("replay", "replay_digest", "approver", "override_reason"), "")
    blank |= dict.fromkeys(("replayed_at", "approved_at", "armed_at", "armed_from"))
    insert_rows(tx, rulesets, [blank | {"rolled_back": False} | row | {"rails": _json(row["rails"])}])


def save_ruleset(tx: Connection, ruleset_id: int, **values: Any) -> None:
    """Set columns of a version; `rails` and `replay` are values and stored as JSON."""
    told = {
        name: _json(value) if name in {"rails", "replay"} and value != "" else value for name, value in values.items()
    }
    tx.execute(update(rulesets).where(rulesets.c.id == ruleset_id).values(**told))


def put_ruleset_event(tx: Connection, row: Row) -> None:
    """Append to the log of rulesets: id, version, at (µs), actor, kind, detail (a mapping of names and numbers)."""
    insert_rows(tx, ruleset_log, [row | {"detail": _json(row["detail"])}])


def list_ruleset_events(tx: Connection, version: str = "", limit: int = 200) -> list[Row]:
    """The newest events of one version, or of all, the newest first."""
    query = select(ruleset_log).order_by(ruleset_log.c.id.desc()).limit(limit)
    rows = rows_of(tx, query.where(ruleset_log.c.version == version) if version else query)
    return [row | {"detail": json.loads(row["detail"])} for row in rows]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


# --- what decisions share --------------------------------------------------------------------------------------------


def find_contexts(tx: Connection, digests: Collection[str]) -> dict[str, str]:
    """Contents by their digest."""
    query = select(contexts.c.digest, contexts.c.content).where(contexts.c.digest.in_(sorted(digests)))
    return {row[0]: row[1] for row in tx.execute(query)}


def put_contexts(tx: Connection, rows: list[Row]) -> None:
    """Store contents by their digest (digest, content, created_at in µs); one that is there is the same."""
    insert_missing(tx, contexts, sorted(rows, key=lambda row: str(row["digest"])))
