"""The outbox: every effect on the outside world, with a stable key stored before the first attempt. A claim is a lease
and a fencing token; a settlement counts only while the claim is still ours.

waiting (for another row) → due → sending → done | refused | unknown (it may have happened) | due (surely did not);
unknown → sending (look first) …; parked waits for a person; withdrawn was never sent and never will be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Update, bindparam, not_, select, text, update

from .asking import Question, ask, ask_rows, tell
from .many import among, bind_values
from .rows import Row
from .tables import fulfilments, outbox

# Written out, as in the partial indexes: with bound values SQLite would walk every row ever sent.
ALIVE = text("outbox.state IN ('due', 'sending', 'unknown')")
WAITING = text("outbox.state = 'waiting'")
# Asked in every turn and before every single send: built once.
_NEXT = select(outbox.c.due_at).where(ALIVE).order_by(outbox.c.due_at).limit(1)
_NEXT_TO = _NEXT.where(outbox.c.target_id == bindparam("only"))


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
    rows = ask_rows(tx, about_claim(tx, now=now, limit=limit, targets=targets, only=only))
    if rows:
        ids = bind_values(tx, [row["id"] for row in rows])
        tell(tx, _taken(tx.dialect.name), {**ids, "held": token, "until": now + lease, "at": now})
    for row in rows:
        row.update(was=row["state"], state="sending", token=token, due_at=now + lease, attempts=row["attempts"] + 1)
    return rows


def about_claim(tx: Connection, *, now: int, limit: int, targets: Sequence[int], only: int | None) -> Question:
    """What `claim_outbox` asks."""
    told: dict[str, Any] = {"now": now, "most": limit}
    if targets:
        told |= bind_values(tx, sorted(targets))
    if only is not None:
        told["only"] = only
    return Question(_due(tx.dialect.name, bool(targets), only is not None), told)


@cache
def _due(dialect: str, skips: bool, only: bool) -> Select[Any]:
    query = select(outbox).where(ALIVE, outbox.c.due_at <= bindparam("now"))
    if skips:
        query = query.where(not_(among(dialect, outbox.c.target_id)))
    if only:
        query = query.where(outbox.c.target_id == bindparam("only"))
    return query.order_by(outbox.c.due_at).limit(bindparam("most")).with_for_update(skip_locked=True)


@cache
def _taken(dialect: str) -> Update:
    taken = update(outbox).where(among(dialect, outbox.c.id))
    taken = taken.values(state="sending", attempts=outbox.c.attempts + 1, token=bindparam("held"))
    return taken.values(due_at=bindparam("until"), updated_at=bindparam("at"))


def still_claimed(tx: Connection, rows: Iterable[tuple[int, int]]) -> set[int]:
    """Which claims, by row id and token, are still ours; asked just before a send."""
    claims = dict(rows)
    return {row_id for row_id, token in ask(tx, about_tokens(tx, [*claims])) if token == claims[row_id]}


def about_tokens(tx: Connection, row_ids: Sequence[int]) -> Question:
    """What `still_claimed` asks."""
    return Question(_tokens(tx.dialect.name), bind_values(tx, row_ids))


@cache
def _tokens(dialect: str) -> Select[Any]:
    return select(outbox.c.id, outbox.c.token).where(among(dialect, outbox.c.id), outbox.c.state == "sending")


def push_states(tx: Connection, row_ids: Sequence[int], token: int) -> dict[int, str]:
    """The states of the fulfilments of pushes that are still claimed with this token, by outbox row."""
    return dict(ask(tx, about_pushes(tx, row_ids, token)))


def about_pushes(tx: Connection, row_ids: Sequence[int], token: int) -> Question:
    """What `push_states` asks."""
    return Question(_push_states(tx.dialect.name), {**bind_values(tx, row_ids), "held": token})


@cache
def _push_states(dialect: str) -> Select[Any]:
    query = select(outbox.c.id, fulfilments.c.state).join(outbox, outbox.c.fulfilment_id == fulfilments.c.id)
    return query.where(among(dialect, outbox.c.id), outbox.c.state == "sending", outbox.c.token == bindparam("held"))


def next_due(tx: Connection, *, only: int | None = None) -> int | None:
    """When the earliest row (of one target, if `only` names it) needs attention (µs), None if none does."""
    found = ask(tx, about_next(only))
    return found[0][0] if found else None


def about_next(only: int | None = None) -> Question:
    """What `next_due` asks."""
    return Question(_NEXT, {}) if only is None else Question(_NEXT_TO, {"only": only})


def reply_place() -> str:
    return "outbox.reply"
