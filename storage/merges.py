"""Fulfilments that wait to share a parcel, and the warehouse orders that carry several of them.

Who waits is a fulfilment's own row (`merge_key`), so joining and leaving lock nothing but that order. Only the claim of a
push takes several: it locks the waiting pushes and skips those somebody holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, literal_column, or_, select, update

from .asking import Question, ask_rows
from .many import among, bind_values
from .rows import Row, chunks, insert_rows, rows_of, update_rows
from .tables import fulfilments, merges, orders, outbox

# Written out, so that the partial index of waiting fulfilments serves it on both databases.
_READY = fulfilments.c.state == literal_column("'ready'")
# By the order as well: the outbox has an index for that.
_ITS_PUSH = and_(
    outbox.c.order_id == fulfilments.c.order_id, outbox.c.fulfilment_id == fulfilments.c.id, outbox.c.kind == "push"
)


def load_marked(tx: Connection, fulfilment_ids: Sequence[int]) -> list[Row]:
    """Those of these fulfilments that wait for others or travel with others."""
    return ask_rows(tx, about_marked(tx, sorted(set(fulfilment_ids)))) if fulfilment_ids else []


def about_marked(tx: Connection, fulfilment_ids: Sequence[int]) -> Question:
    """What `load_marked` asks."""
    return Question(_marked(tx.dialect.name), bind_values(tx, fulfilment_ids))


@cache
def _marked(dialect: str) -> Select[Any]:
    f = fulfilments
    marked = or_(f.c.merge_key.is_not(None), f.c.merge_id.is_not(None))
    return select(f).where(among(dialect, f.c.id), marked)


def load_waiting(tx: Connection, key: bytes) -> list[Row]:
    """Ready fulfilments that wait under this key, the oldest first."""
    f = fulfilments
    return rows_of(tx, select(f).where(f.c.merge_key == key, _READY).order_by(f.c.id))


def list_waiting_pushes(tx: Connection, key: bytes, *, token: int) -> list[int]:
    """Fulfilments waiting under this key whose push is due or was claimed with this token, locked by somebody or not."""
    f = fulfilments
    query = select(f.c.id).join(outbox, _ITS_PUSH).where(f.c.merge_key == key, _READY, _free(token))
    return list(tx.execute(query).scalars())


def lock_waiting_pushes(tx: Connection, key: bytes, *, token: int) -> list[Row]:
    """The pushes of fulfilments waiting under this key that are due or claimed with this token. Those in somebody's hands are
    skipped: waiting for them here could deadlock. Their fulfilments are to be read again afterwards."""
    f = fulfilments
    query = select(outbox).join(f, _ITS_PUSH).where(f.c.merge_key == key, _READY, _free(token))
    return rows_of(tx, query.order_by(outbox.c.fulfilment_id).with_for_update(skip_locked=True, of=outbox))


def _free(token: int) -> ColumnElement[bool]:
    return or_(outbox.c.state == "due", (outbox.c.state == "sending") & (outbox.c.token == token))


def load_members(tx: Connection, merge_ids: Iterable[int]) -> list[Row]:
    """Every fulfilment that travels in these merges, by id."""
    f = fulfilments
    found: list[Row] = []
    for chunk in chunks(sorted(set(merge_ids))):
        found += rows_of(tx, select(f).where(f.c.merge_id.in_(chunk)).order_by(f.c.id))
    return found


def load_merges(tx: Connection, merge_ids: Iterable[int]) -> dict[int, Row]:
    found: dict[int, Row] = {}
    for chunk in chunks(sorted(set(merge_ids))):
        found |= {row["id"]: row for row in rows_of(tx, select(merges).where(merges.c.id.in_(chunk)))}
    return found


def find_merges(tx: Connection, codes: Iterable[str]) -> dict[str, Row]:
    """Merges by the code that a warehouse knows, for the codes we know."""
    found: dict[str, Row] = {}
    for chunk in chunks(sorted(set(codes))):
        found |= {row["code"]: row for row in rows_of(tx, select(merges).where(merges.c.code.in_(chunk)))}
    return found


def put_merge(tx: Connection, row: Row) -> None:
    insert_rows(tx, merges, [row])


def save_merge(tx: Connection, merge_id: int, *, state: str, now: int, lead_id: int | None = None) -> None:
    """What became of a merge; `lead_id` is the fulfilment whose push carries it."""
    values = {"state": state, "updated_at": now} | ({} if lead_id is None else {"lead_id": lead_id})
    tx.execute(update(merges).where(merges.c.id == merge_id).values(**values))


def mark_members(tx: Connection, fulfilment_ids: Sequence[int], merge_id: int | None) -> None:
    for chunk in chunks(fulfilment_ids):
        tx.execute(update(fulfilments).where(fulfilments.c.id.in_(chunk)).values(merge_id=merge_id))


def save_claims(tx: Connection, rows: Sequence[Row]) -> None:
    """Outbox rows of a claim that wait for the one that carries them, or were given back."""
    update_rows(tx, outbox, rows, ("state", "attempts", "looks", "token", "due_at", "outcome", "updated_at"))


def member_states(tx: Connection, fulfilment_ids: Sequence[int]) -> list[str]:
    return list(tx.execute(select(fulfilments.c.state).where(fulfilments.c.id.in_(fulfilment_ids))).scalars())


def list_mates(tx: Connection, order_id: int) -> list[int]:
    """Other orders with goods in a warehouse order that has goods of this one."""
    f, mine = fulfilments, fulfilments.alias()
    query = select(f.c.order_id).join(mine, (mine.c.merge_id == f.c.merge_id) & (mine.c.order_id == order_id))
    return sorted(set(tx.execute(query.where(f.c.order_id != order_id)).scalars()))


def list_company(tx: Connection, fulfilment: Row) -> list[str]:
    """Numbers of the other orders whose goods travel with this fulfilment, or would if it left now."""
    f = fulfilments
    if fulfilment["state"] == "ready":
        together = (f.c.merge_key == fulfilment["merge_key"], _READY)
    elif fulfilment["merge_id"] is not None and fulfilment["state"] != "cancelled":
        together = (f.c.merge_id == fulfilment["merge_id"], f.c.state != "cancelled")
    else:
        return []
    query = select(orders.c.number).join(f, f.c.order_id == orders.c.id).where(*together)
    return list(tx.execute(query.where(f.c.id != fulfilment["id"]).order_by(f.c.id)).scalars())
