"""The jobs that the workers of all machines take turns at, on PostgreSQL: PgQueuer's tables, in a schema of their own. A lane of
ours is an entrypoint of PgQueuer's, and its limit travels with its jobs.

Nothing here is needed to be right: what a job does is claimed again, row by row, in the tables it works on. So PgQueuer's
tables are unlogged: their commits wait for no disk, and after a crash they are empty until the next tick."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.queries import SyncQueries
from pgqueuer.types import Channel
from psycopg import RawCursor
from psycopg.rows import dict_row
from sqlalchemy import Connection, text

from .due import Wanted
from .rows import Row, rows_of

# Every name is told: PgQueuer would take them from the environment, where `CHANNEL` or `TRIGGER` may mean something else.
SETTINGS = DBSettings(
    prefix="",
    db_schema="queue",
    channel=Channel("hub_queue"),
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    statistics_table="pgqueuer_statistics",
    schedules_table="pgqueuer_schedules",
    queue_status_type="pgqueuer_status",
    function="fn_pgqueuer_changed",
    trigger="tg_pgqueuer_changed",
    durability=Durability.volatile,
)
# PgQueuer's key also blocks a job that is asked for again while it runs. Here whoever claims a job gives its key back, so that
# what is asked for meanwhile runs once more; a lane keeps the two apart as far as it must.
_GIVE_KEY_BACK = """
CREATE FUNCTION queue.give_key_back() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN NEW.dedupe_key := NULL; RETURN NEW; END$$;
CREATE TRIGGER give_key_back BEFORE UPDATE ON queue.pgqueuer FOR EACH ROW
WHEN (OLD.status = 'queued' AND NEW.status = 'picked') EXECUTE FUNCTION queue.give_key_back()"""
_HOLDERS = uuid.UUID("6f1c2a52-8d4e-4c1b-9a57-0b6d5f1e2c43")


@dataclass(frozen=True, slots=True)
class _Inside:
    """PgQueuer's statements inside a transaction of ours."""

    tx: Connection

    def fetch(self, query: str, *args: object) -> list[dict[str, Any]]:
        line: Any = self.tx.connection.driver_connection
        with RawCursor(line, row_factory=dict_row) as cursor:
            return cursor.execute(query, args).fetchall()


def install(tx: Connection) -> None:
    """Create PgQueuer's schema as the installed version spells it. PostgreSQL only."""
    line: Any = tx.connection.driver_connection
    line.execute(QueryBuilderEnvironment(SETTINGS).build_install_query())
    line.execute(_GIVE_KEY_BACK)


def put_jobs(tx: Connection, wanted: Iterable[Wanted]) -> None:
    """These jobs are to run once more, also those that are running; one that waits already waits for all who asked. Workers
    hear of it when the transaction has ended."""
    jobs = sorted({each.key: each for each in wanted}.values(), key=lambda each: each.key)
    if jobs:
        SyncQueries(_Inside(tx), QueryQueueBuilder(SETTINGS)).enqueue(
            [each.lane for each in jobs],
            [pack(each) for each in jobs],
            [0] * len(jobs),
            dedupe_key=[each.key for each in jobs],
            headers=[headers_of(each) for each in jobs],
            on_conflict="skip",
        )


def headers_of(wanted: Wanted) -> dict[str, str]:
    """What statements read of a job."""
    return {"room": str(wanted.room)}


def pack(wanted: Wanted, failures: int = 0) -> bytes:
    """A job as PgQueuer carries it, and how often it failed in a row."""
    return json.dumps([asdict(wanted), failures]).encode()


def unpack(payload: bytes | None) -> tuple[Wanted, int]:
    """What `pack` packed."""
    told, failures = json.loads(payload or b"")
    return Wanted(**told), failures


def owner_of(holder: str) -> uuid.UUID:
    """The name under which a process holds its jobs."""
    return uuid.uuid5(_HOLDERS, holder)


def list_jobs(tx: Connection) -> list[Row]:
    """Every job that waits or runs, the oldest first; `owner` of those that run, `wanted` and `failures` of all."""
    query = text("SELECT id, queue_manager_id AS owner, payload FROM queue.pgqueuer ORDER BY id")
    found = rows_of(tx, query)
    for row in found:
        row["wanted"], row["failures"] = unpack(row.pop("payload"))
    return found


def forget_log(tx: Connection, older: timedelta) -> None:
    """Forget what became of jobs so long ago."""
    tx.execute(text("DELETE FROM queue.pgqueuer_log WHERE created < now() - :older"), {"older": older})
