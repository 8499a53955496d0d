"""Where each account's reading stands: one row per (account, stream), claimed by one reader at a time. The cursor is
written in the transaction that stores the rows it moved over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import BigInteger, ColumnElement, Connection, Update, and_, bindparam, case, func, select, update

from .asking import Question, ask, tell
from .many import among, bind_values
from .rows import Row, insert_missing, rows_of
from .tables import accounts, cursors

STREAMS = ("poll", "day", "week")
_SAVED = ("watermark", "window_start", "window_end", "page", "due_at", "lease_until", "failures", "ran_at", "error")
# Asked or written for every poll and every page of one: built once.
_DUE = (
    select(cursors.c.account_id)
    .join(accounts, accounts.c.id == cursors.c.account_id)
    .where(
        accounts.c.enabled,
        accounts.c.state == "active",
        cursors.c.lease_until <= bindparam("now"),
        cursors.c.due_at <= bindparam("now"),
    )
    .limit(1)
)
_OURS = and_(cursors.c.account_id == bindparam("of_account"), cursors.c.stream == bindparam("of_stream"))
_SAVE = (
    update(cursors)
    .where(_OURS, cursors.c.token == bindparam("of_token"))
    .values({name: bindparam(name) for name in _SAVED})
)


def ensure_cursors(tx: Connection, account_id: int, *, watermark: int, due: dict[str, int]) -> None:
    """Make the rows of a new account; rows that exist keep their place."""
    insert_missing(
        tx,
        cursors,
        [
            {
                "account_id": account_id,
                "stream": stream,
                "watermark": watermark,
                "window_start": None,
                "window_end": None,
                "page": "",
                "due_at": due[stream],
                "lease_until": 0,
                "token": 0,
                "failures": 0,
                "ran_at": None,
                "error": "",
            }
            for stream in STREAMS
        ],
    )


def claim_cursors(
    tx: Connection, *, now: int, lease: int, token: int, limit: int, account_id: int | None = None, stream: str = ""
) -> list[Row]:
    """Take streams that are due and that nobody reads (`account_id`: that account's poll, due or not; with `stream`: that one,
    when it is due)."""
    query = (
        select(cursors)
        .join(accounts, accounts.c.id == cursors.c.account_id)
        .where(accounts.c.enabled, accounts.c.state == "active", cursors.c.lease_until <= now)
        .order_by(cursors.c.due_at)
        .limit(limit)
    )
    if account_id is not None:
        query = query.where(cursors.c.account_id == account_id, cursors.c.stream == (stream or "poll"))
    if account_id is None or stream:
        query = query.where(cursors.c.due_at <= now)
    rows = rows_of(tx, query.with_for_update(skip_locked=True, of=cursors))
    for row in rows:
        tx.execute(update(cursors).where(_at(row)).values(lease_until=now + lease, token=token))
        row.update(lease_until=now + lease, token=token)
    return rows


def any_due(tx: Connection, *, now: int) -> bool:
    """Whether `claim_cursors` may find a stream."""
    return bool(ask(tx, Question(_DUE, {"now": now})))


def save_cursor(tx: Connection, row: Row) -> bool:
    """Write a cursor that is still ours; False (and nothing written) when another reader has taken it over."""
    ours = {"of_account": row["account_id"], "of_stream": row["stream"], "of_token": row["token"]}
    return tell(tx, _SAVE, ours | {name: row[name] for name in _SAVED}) == 1


def keep_cursor(tx: Connection, row: Row, *, now: int, lease: int) -> bool:
    """Prolong a claim that is still ours and still runs (times in µs); False when there is nothing to prolong."""
    ours = (_at(row), cursors.c.token == row["token"], cursors.c.lease_until > now)
    return tx.execute(update(cursors).where(*ours).values(lease_until=now + lease)).rowcount == 1


def set_due(tx: Connection, account_ids: Sequence[int], now: int, *, gap: int = 0) -> list[int]:
    """Let these accounts' polls run at once, but `gap` µs after they last ended at the earliest: a hundred hints in one second
    are one poll. Returns those that are due now and were not before."""
    if not account_ids:
        return []
    told = ask(tx, Question(_hasten(tx.dialect.name), bind_values(tx, account_ids) | {"now": now, "gap": gap}))
    return sorted([account_id for account_id, due_at in told if due_at <= now])


@cache
def _hasten(dialect: str) -> Update:
    """Built once: every delivery of a webhook asks for it."""
    now, gap = bindparam("now", type_=BigInteger), bindparam("gap", type_=BigInteger)
    ran = cursors.c.ran_at
    soonest = case((func.coalesce(ran, 0) + gap > now, ran + gap), else_=now)
    mine = (among(dialect, cursors.c.account_id), cursors.c.stream == "poll", cursors.c.due_at > soonest)
    return update(cursors).where(*mine).values(due_at=soonest).returning(cursors.c.account_id, cursors.c.due_at)


def _at(row: Row) -> ColumnElement[bool]:
    return and_(cursors.c.account_id == row["account_id"], cursors.c.stream == row["stream"])
