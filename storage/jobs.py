"""Jobs that the workers of all machines take turns at, on PostgreSQL. A job is one row by its key and stays there: it is
due while more is `wanted` than `done`, so that however often it is asked for while it waits or runs, it runs once more.

A claim is a lease with a token. Jobs of one `lane` (an account, a warehouse) run side by side only as far as their widths
(calls at once) fit into `most`, whoever runs them. Nothing here is needed to be right: what a job does is claimed again,
row by row, in the tables it works on. So the commits of this table need not be durable.

Whoever writes several rows takes them by their keys, and whoever claims waits for none: nobody waits in a circle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Select, and_, bindparam, case, exists, func, literal, select, text, true, update

from .rows import Row, dialect_insert, rows_of
from .tables import accounts, cursors, fulfilments, inbox, jobs, outbox, warehouses

_WORK = ("due", "sending", "unknown")
_LOOK = 1_000
_GATE = 7_305_132
_CHANNEL = "hub_jobs"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job to be done: `key` names it, `name` its kind, `subject_id` and `part` what it is about; it makes up to `width` calls
    at once, of the `most` of its lane ("" has no limit)."""

    key: str
    name: str
    subject_id: int = 0
    part: str = ""
    lane: str = ""
    width: int = 1
    most: int = 1


def hasten(tx: Connection) -> None:
    """This transaction holds nothing but jobs: its commit does not wait for the disk, and the server ends it when its worker
    freezes inside it, because all others wait for the gate."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SET LOCAL synchronous_commit = off"))
        tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = '3s'"))


def take_tick(tx: Connection, name: str, tick: int) -> bool:
    """Whether the caller is the one that plans this tick (µs): of several schedulers with one tick only one is, and an older
    tick has passed. The others wait until its transaction has ended."""
    statement = dialect_insert(tx, jobs).values(_row(Wanted(f"tick:{name}", "tick"), tick) | {"done": tick})
    later = statement.on_conflict_do_update(
        index_elements=["key"],
        set_={"wanted": statement.excluded.wanted, "done": statement.excluded.done},
        where=jobs.c.wanted < statement.excluded.wanted,
    )
    return tx.execute(later.returning(jobs.c.key)).first() is not None


def put_jobs(tx: Connection, wanted: Mapping[Wanted, int]) -> None:
    """These jobs are to run once, each for its tick (µs); a tick that was asked for already changes nothing."""
    if wanted:
        statement = dialect_insert(tx, jobs)
        new = statement.excluded
        changed = {name: new[name] for name in ("wanted", "lane", "width", "most")}
        later = statement.on_conflict_do_update(index_elements=["key"], set_=changed, where=jobs.c.wanted < new.wanted)
        tx.execute(later, [_row(each, wanted[each]) for each in _sorted(wanted)])


def wake_jobs(tx: Connection, wanted: Sequence[Wanted], now: int) -> None:
    """These jobs are to run once more from now (µs) on, also those that are running; workers that listen hear of it."""
    if wanted:
        statement = dialect_insert(tx, jobs)
        asked = case((jobs.c.wanted < statement.excluded.wanted, statement.excluded.wanted), else_=jobs.c.wanted + 1)
        later = statement.on_conflict_do_update(index_elements=["key"], set_={"wanted": asked})
        tx.execute(later, [_row(each, now) for each in _sorted(wanted)])
        call_workers(tx)


def call_workers(tx: Connection) -> None:
    """Tell the workers that listen to look for jobs, when this transaction has ended."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_notify(_CHANNEL, "")))


def claim_jobs(
    tx: Connection, *, holder: str, room: Mapping[frozenset[str], int], now: int, lease: int, tokens: Sequence[int]
) -> list[Row]:
    """Take due jobs as far as their lanes have room (times in µs): of each set of names at most so many, of all together as
    many as there are tokens. One claimer at a time, so that two cannot fill a lane together."""
    left = {names: places for names, places in room.items() if places > 0}
    pool_of = {name: names for names in left for name in names}
    if not pool_of or not tokens:
        return []
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(_GATE)))
    running = select(jobs.c.lane, func.sum(jobs.c.width)).where(jobs.c.lease_until > now, jobs.c.lane != "")
    used: Counter[str] = Counter({lane: int(width) for lane, width in tx.execute(running.group_by(jobs.c.lane))})
    due = and_(
        jobs.c.wanted > jobs.c.done, jobs.c.due_at <= now, jobs.c.lease_until <= now, jobs.c.name.in_(sorted(pool_of))
    )
    taken: list[Row] = []
    open_jobs = select(jobs).where(due).order_by(jobs.c.due_at, jobs.c.wanted).limit(_LOOK)
    for row in rows_of(tx, open_jobs.with_for_update(skip_locked=True)):
        if len(taken) == len(tokens):
            break
        full = row["lane"] and used[row["lane"]] + row["width"] > row["most"]
        if left[pool_of[row["name"]]] > 0 and not full:
            left[pool_of[row["name"]]] -= 1
            used[row["lane"]] += row["width"]
            taken.append(row | {"token": tokens[len(taken)], "holder": holder, "lease_until": now + lease})
    if taken:
        claim = update(jobs).where(jobs.c.key == bindparam("b_key"))
        names = ("token", "holder", "lease_until")
        told = [{f"b_{name}": row[name] for name in ("key", *names)} for row in taken]
        set_to: Row = {name: bindparam(f"b_{name}") for name in names} | {"runs": jobs.c.runs + 1}
        tx.execute(claim.values(set_to), told)
    return taken


def keep_jobs(tx: Connection, tokens: Sequence[int], *, now: int, lease: int) -> set[int]:
    """Prolong claims that still run (times in µs); returns the tokens of those that are still ours. One that ran out is not
    brought back."""
    kept = set(tx.execute(_held(tokens).where(jobs.c.lease_until > now)).scalars())
    if kept:
        tx.execute(update(jobs).where(jobs.c.token.in_(kept)).values(lease_until=now + lease))
    return kept


def _held(tokens: Sequence[int]) -> Select[int]:
    """The tokens of those claims that stand, their rows locked in the order of their keys."""
    return select(jobs.c.token).where(jobs.c.token.in_(tokens)).order_by(jobs.c.key).with_for_update()


def end_job(tx: Connection, row: Row, *, now: int, error: str = "", again_at: int = 0) -> bool:
    """A claimed job has ended, as far as it was wanted when it was claimed; with an `error` it is due again at `again_at`
    (µs). False when somebody else has it now."""
    ours = and_(jobs.c.key == row["key"], jobs.c.token == row["token"])
    values: Row = {"lease_until": 0, "holder": "", "error": error, "due_at": again_at or now}
    values |= {"failures": row["failures"] + 1} if error else {"failures": 0, "done": row["wanted"]}
    return tx.execute(update(jobs).where(ours).values(values)).rowcount == 1


def give_back_jobs(tx: Connection, tokens: Sequence[int]) -> None:
    """Claimed jobs that this worker will not do: they are due at once."""
    if tokens:
        tx.execute(_held(tokens)).all()
        tx.execute(update(jobs).where(jobs.c.token.in_(tokens)).values(lease_until=0, holder=""))
        call_workers(tx)


def list_jobs(tx: Connection) -> list[Row]:
    """Every job, by key."""
    return rows_of(tx, select(jobs).order_by(jobs.c.key))


# --- what is due in the other tables ---------------------------------------------------------------------------------


def list_due_streams(tx: Connection, *, now: int) -> list[tuple[int, str]]:
    """(account id, stream) of what is to be read and nobody reads, the longest due first."""
    where = (cursors.c.due_at <= now, cursors.c.lease_until <= now, accounts.c.enabled, accounts.c.state == "active")
    query = select(cursors.c.account_id, cursors.c.stream).join(accounts, accounts.c.id == cursors.c.account_id)
    return [(row[0], row[1]) for row in tx.execute(query.where(*where).order_by(cursors.c.due_at).limit(_LOOK))]


def list_due_targets(tx: Connection, *, now: int) -> list[int]:
    """Ids of warehouses and accounts to which something is to be sent."""
    found: list[int] = []
    for table in (warehouses, accounts):
        waits = exists(
            select(literal(1)).where(
                outbox.c.target_id == table.c.id, outbox.c.state.in_(_WORK), outbox.c.due_at <= now
            )
        )
        found += tx.execute(select(table.c.id).where(table.c.enabled, table.c.state == "active", waits)).scalars()
    return found


def list_due_news(tx: Connection, *, now: int) -> list[int]:
    """Ids of warehouses with fulfilments that are quiet for too long, of the first of these."""
    f = fulfilments
    some = select(f.c.warehouse_id).where(f.c.news_due_at <= now).order_by(f.c.news_due_at).limit(_LOOK).subquery()
    return list(tx.execute(select(some.c.warehouse_id).distinct()).scalars())


def list_due_stock(tx: Connection, *, now: int) -> list[int]:
    """Ids of warehouses whose levels are to be read."""
    w = warehouses
    return list(tx.execute(select(w.c.id).where(w.c.enabled, w.c.state == "active", w.c.stock_due_at <= now)).scalars())


def is_inbox_waiting(tx: Connection) -> bool:
    """Whether any document waits to be absorbed."""
    return (
        tx.execute(select(true()).where(exists(select(inbox.c.id).where(inbox.c.state == "new")))).first() is not None
    )


def _sorted(wanted: Iterable[Wanted]) -> list[Wanted]:
    return sorted({each.key: each for each in wanted}.values(), key=lambda each: each.key)


def _row(each: Wanted, wanted: int) -> Row:
    blank = {"done": 0, "due_at": 0, "lease_until": 0, "token": 0, "holder": "", "runs": 0, "failures": 0, "error": ""}
    return asdict(each) | {"wanted": wanted} | blank
