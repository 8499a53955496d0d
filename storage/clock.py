"""What time the database says it is: the one clock that all machines can share."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from .times import moment


def read_clock(tx: Connection) -> datetime | None:
    """The server's time (aware UTC) while this statement ran; None on SQLite, which has no clock of its own."""
    if tx.dialect.name != "postgresql":
        return None
    seconds = tx.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")).scalar_one()
    return moment(int(seconds))
