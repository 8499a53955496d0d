"""The outbox: every effect on the outside world, with a stable key stored before the first attempt. A claim is a lease
and a fencing token; a settlement counts only while the claim is still ours.

waiting (for another row) → due → sending → done | refused | unknown (it may have happened) | due (surely did not);
unknown → sending (look first) …; parked waits for a person; withdrawn was never sent and never will be."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select, text, update

from .rows import Row, chunks, rows_of
from .tables import fulfilments, outbox

# Written out, as in the partial indexes: with bound values SQLite would walk every row ever sent.
ALIVE = text("outbox.state IN ('due', 'sending', 'unknown')")
WAITING = text("outbox.state = 'waiting'")
# Asked before every single push: built once.
_PUSH_STATE = (
    select(outbox.c.id, fulfilments.c.state)
    .join(outbox, outbox.c.fulfilment_id == fulfilments.c.id)
    .where(
        outbox.c.id.in_(bindparam("row_ids", expanding=True)),
        outbox.c.state == "sending",
        outbox.c.token == bindparam("token"),
    )
)


def claim_outbox(
    tx: Connection,
    *,
    now: int,
    lease: int,
    token: int,
    limit: int,
    targets: Sequence[int] = (),
    only: int | None = None,
) -> list[Row]:
    """Take up to `limit` rows whose time has come: due ones, unknown ones to look at, and those whose sender's lease ran
    out (`was` tells which). Each comes back with our token and one attempt more. `targets` are skipped;
    with `only`, everything else is."""
    query = select(outbox).where(ALIVE, outbox.c.due_at <= now).order_by(outbox.c.due_at).limit(limit)
    if targets:
        query = query.where(outbox.c.target_id.not_in(targets))
    if only is not None:
        query = query.where(outbox.c.target_id == only)
    rows = rows_of(tx, query.with_for_update(skip_locked=True))
    for chunk in chunks([row["id"] for row in rows]):
        tx.execute(
            update(outbox)
            .where(outbox.c.id.in_(chunk))
            .values(state="sending", token=token, due_at=now + lease, attempts=outbox.c.attempts + 1, updated_at=now)
        )
    for row in rows:
        row.update(was=row["state"], state="sending", token=token, due_at=now + lease, attempts=row["attempts"] + 1)
    return rows


def still_claimed(tx: Connection, row_id: int, token: int) -> bool:
    """Whether a claim is still ours; asked just before every send."""
    query = select(outbox.c.id).where(outbox.c.id == row_id, outbox.c.state == "sending", outbox.c.token == token)
    return tx.execute(query).first() is not None


def push_states(tx: Connection, row_ids: Sequence[int], token: int) -> dict[int, str]:
    """The states of the fulfilments of pushes that are still claimed with this token, by outbox row; at most 500 rows."""
    rows = tx.execute(_PUSH_STATE, {"row_ids": list(row_ids), "token": token})
    return {row.id: row.state for row in rows}


def next_due(tx: Connection) -> int | None:
    """When the earliest row needs attention (µs), None if none does."""
    query = select(outbox.c.due_at).where(ALIVE).order_by(outbox.c.due_at).limit(1)
    return tx.execute(query).scalar()


def reply_place() -> str:
    return "outbox.reply"
