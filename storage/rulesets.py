"""Rulesets: every version that was ever armed is kept, and one is armed."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from .rows import Row, insert_rows, rows_of
from .tables import rulesets


def find_armed_ruleset(tx: Connection) -> Row | None:
    """The full row of the ruleset in force."""
    rows = rows_of(
        tx, select(rulesets).where(rulesets.c.state == "armed").order_by(rulesets.c.armed_at.desc()).limit(1)
    )
    return rows[0] if rows else None


def find_ruleset(tx: Connection, version: str) -> Row | None:
    """The full row of a version, armed or not."""
    rows = rows_of(tx, select(rulesets).where(rulesets.c.version == version))
    return rows[0] if rows else None


def put_armed_ruleset(tx: Connection, row: Row) -> None:
    """Store a new version in force; the one before is retired. `row` has id, version, document, author, created_at and
    armed_at (µs)."""
    _retire(tx)
    insert_rows(tx, rulesets, [row | {"state": "armed"}])


def arm_ruleset(tx: Connection, ruleset_id: int, *, now: int) -> None:
    """Put a stored version in force (now in µs); the one before is retired."""
    _retire(tx)
    tx.execute(update(rulesets).where(rulesets.c.id == ruleset_id).values(state="armed", armed_at=now))


def _retire(tx: Connection) -> None:
    tx.execute(update(rulesets).where(rulesets.c.state == "armed").values(state="retired"))
