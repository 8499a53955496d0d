"""Statements on exceptions that belong to no order's dossier."""

from __future__ import annotations

from sqlalchemy import Connection, update

from .tables import exceptions


def resolve_subject(tx: Connection, subject: str, *, now: int, by: str, how: str) -> int:
    """Resolve what is open about one subject (`account:ID`, `warehouse:ID`, `document:…`); returns how many (now in µs)."""
    x = exceptions
    values = {"state": "resolved", "resolved_at": now, "resolved_by": by, "resolution": how, "snoozed_until": None}
    return tx.execute(update(x).where(x.c.subject == subject, x.c.state != "resolved").values(values)).rowcount
