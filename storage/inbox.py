"""The inbox: what sources sent, byte for byte, sealed; one row per version of a document.

A document that says the same as the latest stored version of its id is dropped; an older version that comes back is a new
version. That two identical deliveries at the same instant make one row is the unique index on
(source, kind, external id, seq), not the look-up before it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Update,
    and_,
    bindparam,
    func,
    select,
    text,
    true,
    update,
)

from domain.errors import RetryableError
from domain.values import maker

from .asking import Question, ask, ask_rows
from .many import among, bind_values, each_value
from .rows import Row, chunks, insert_missing, insert_rows, rows_of, update_rows
from .tables import inbox
from .vault import Vault

_PLACE = "inbox.body"
_TRIES = 5
# Written out, as in the partial index: with a bound value a plan that is kept would walk every document there ever was.
NEW = text("inbox.state = 'new'")
_SECOND = 1024 << 22  # of an id, which counts milliseconds above its lowest 22 bits
_NONE = (0, b"", 0)  # the seq, the hash and the id of no version
_Key = tuple[str, int, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A document to store: who sent it (`account` or `warehouse` and its id), what it is about, its exact bytes; `says`, when
    given, are those that tell something."""

    source_kind: str
    source_id: int
    kind: str
    external_id: str
    body: bytes
    version: str = ""
    says: bytes = b""

    @property
    def key(self) -> _Key:
        return (self.source_kind, self.source_id, self.kind, self.external_id)


@dataclass(frozen=True, slots=True)
class Sealed:
    """An arrival ready to be stored: the id it will have, the hash of what it tells, its body sealed for that id."""

    id: int
    arrival: Arrival
    digest: bytes
    body: bytes


Anew = Callable[[Arrival], Sealed]
_sealed = maker(Sealed, ("id", "arrival", "digest", "body"))


def seal_arrivals(vault: Vault, new_ids: Callable[[int], list[int]], arrivals: Sequence[Arrival]) -> list[Sealed]:
    """All that storing documents needs besides the database: done before the transaction, while others write."""
    ids = new_ids(len(arrivals)) if arrivals else []
    bodies = vault.seal_many(_PLACE, zip(ids, (arrival.body for arrival in arrivals), strict=True))
    return [
        _sealed(row_id, arrival, body_hash(arrival.says or arrival.body), body)
        for row_id, arrival, body in zip(ids, arrivals, bodies, strict=True)
    ]


def seal_arrival(vault: Vault, new_ids: Callable[[int], list[int]], arrival: Arrival) -> Sealed:
    """The same for one document."""
    return seal_arrivals(vault, new_ids, [arrival])[0]


def put_arrivals(tx: Connection, sealed: Sequence[Sealed], now: int, anew: Anew | None = None) -> dict[int, int]:
    """Store what is new, in the given order. Returns the inbox id of each arrival (by its index) that was stored. `anew` seals once
    more, under an id of now, what was sealed before the version that is stored already: of two versions of a document the later
    has the higher id, where both may come at the same time."""
    return {index: row["id"] for index, row in put_new(tx, sealed, now, anew).items()}


def put_new(tx: Connection, sealed: Sequence[Sealed], now: int, anew: Anew | None = None) -> dict[int, Row]:
    """The same, with whole rows as they were stored."""
    stored: dict[int, Row] = {}
    left = list(enumerate(sealed))
    for _ in range(len(sealed) + _TRIES):
        if not left:
            return stored
        latest = _latest(tx, {each.arrival.key for _, each in left})
        rows: list[Row] = []
        owners: dict[int, tuple[int, Row]] = {}
        later: list[tuple[int, Sealed]] = []
        for index, each in left:
            key = each.arrival.key
            seq, last, newest = latest.get(key, _NONE)
            if each.digest == last:
                continue
            latest[key] = (-1, each.digest, newest)
            if seq < 0:
                later.append((index, each))
                continue
            rows.append(_row(anew(each.arrival) if anew and each.id < newest else each, seq + 1, now))
            owners[rows[-1]["id"]] = (index, rows[-1])
        # In one order everywhere: two readers of the same documents wait for each other, and never in a circle.
        inserted = insert_missing(tx, inbox, sorted(rows, key=_key))
        won = owners.keys() if inserted == len(rows) else _present(tx, list(owners))
        stored.update(owners[row_id] for row_id in won)
        lost = [index for row_id, (index, _) in owners.items() if row_id not in won]
        left = sorted([*later, *((index, sealed[index]) for index in lost)], key=lambda pair: pair[0])
    if left:
        raise RetryableError("inbox_busy", "other writers keep storing newer versions of the same documents")
    return stored


def make_new(tx: Connection, sealed: Sequence[Sealed], now: int, anew: Anew) -> dict[int, Row]:
    """The rows of `put_new` for documents that all differ, not stored yet: for a transaction that knows before its end how each
    of them ends, and writes it once (`put_made`)."""
    latest = _latest(tx, {each.arrival.key for each in sealed})
    if not latest:
        return {index: _row(each, 1, now) for index, each in enumerate(sealed)}
    made = {}
    for index, each in enumerate(sealed):
        seq, last, newest = latest.get(each.arrival.key, _NONE)
        if each.digest != last:
            made[index] = _row(anew(each.arrival) if each.id < newest else each, seq + 1, now)
    return made


def put_made(tx: Connection, rows: Iterable[Row]) -> None:
    """Store what `make_new` made. A plain insert on purpose: whoever stored another version meanwhile was first."""
    insert_rows(tx, inbox, sorted(rows, key=_key))


def body_hash(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def due_documents(tx: Connection, limit: int, part: tuple[int, int] = (0, 1)) -> list[int]:
    """Ids of documents that wait to be absorbed, oldest first: those of `part` (which one, of how many)."""
    return [row[0] for row in ask(tx, about_due(limit, part))]


def about_due(limit: int, part: tuple[int, int] = (0, 1)) -> Question:
    """What `due_documents` asks."""
    number, parts = part
    return Question(_due(parts > 1), {"limit": limit} | ({"number": number, "parts": parts} if parts > 1 else {}))


@cache
def _due(parted: bool) -> Select[Any]:
    query = select(inbox.c.id).where(NEW)
    if parted:
        query = query.where(inbox.c.id // _SECOND % bindparam("parts") == bindparam("number"))
    return query.order_by(inbox.c.id).limit(bindparam("limit"))


def part_of(row_id: int, parts: int) -> int:
    """Which part of the inbox a document is in. Those of one second are together, because what is absorbed together shares
    statements and a commit; a backlog is spread evenly."""
    return row_id // _SECOND % parts


def claim_documents(tx: Connection, ids: Sequence[int], known: Mapping[int, Row] | None = None) -> list[Row]:
    """Lock these documents for this transaction, oldest first. Left out: what another worker holds, what is not new any
    more, and what has an older version that is still waiting elsewhere (nothing overtakes within one document). `known` are
    those that were loaded before: of a document nothing changes but how it ended."""
    held = {row[0] for question in about_claims(tx, ids) for row in ask(tx, question)}
    rows = {row_id: row for row_id, row in (known or {}).items() if row_id in held}
    # The first version of a document has none before it.
    later = [row_id for row_id in held if row_id not in rows or rows[row_id]["seq"] > 1]
    late = {row_id for chunk in chunks(sorted(later)) for row_id in _behind(tx, chunk, held)}
    rows |= {row["id"]: row for row in load_documents(tx, held - late - rows.keys())}
    return [rows[row_id] for row_id in sorted(held - late)]


def about_claims(tx: Connection, ids: Sequence[int]) -> list[Question]:
    """What `claim_documents` asks first: whose answer has come holds them."""
    query = _claim(tx.dialect.name)
    return [Question(query, bind_values(tx, chunk)) for chunk in chunks(sorted(ids))]


def about_older(tx: Connection, ids: Sequence[int]) -> Question:
    """What `claim_documents` asks of documents that are not the first of their kind."""
    return Question(_pairs(tx.dialect.name), bind_values(tx, ids))


@cache
def _claim(dialect: str) -> Select[Any]:
    query = select(inbox.c.id).where(among(dialect, inbox.c.id), inbox.c.state == "new").order_by(inbox.c.id)
    return query.with_for_update(skip_locked=True)


def claim_new(tx: Connection, rows: Sequence[Row]) -> list[Row]:
    """`claim_documents` for rows that this very transaction stored: nobody else can see them, but an older version may still be
    waiting elsewhere."""
    held = {row["id"] for row in rows}
    later = [row["id"] for row in rows if row["seq"] > 1]
    late = {row_id for chunk in chunks(sorted(later)) for row_id in _behind(tx, chunk, held)}
    return sorted((row for row in rows if row["id"] not in late), key=lambda row: int(row["id"]))


def load_documents(tx: Connection, ids: Iterable[int]) -> list[Row]:
    """Whole rows, oldest first."""
    query = _whole(tx.dialect.name)
    asked = [Question(query, bind_values(tx, chunk)) for chunk in chunks(sorted(set(ids)))]
    return [row for question in asked for row in ask_rows(tx, question)]


@cache
def _whole(dialect: str) -> Select[Any]:
    return select(inbox).where(among(dialect, inbox.c.id)).order_by(inbox.c.id)


def open_body(vault: Vault, row: Row) -> bytes:
    return vault.open(_PLACE, row["id"], row["body"])


def settle_documents(tx: Connection, rows: Sequence[Row]) -> None:
    """Write how documents ended: rows of id, state, order_id, error."""
    if len(rows) > 1 and tx.dialect.name == "sqlite":
        told = [(row["id"], row["state"], row["order_id"], row["error"]) for row in rows]
        tx.execute(_settle_many(), {"ended": orjson.dumps(told).decode()})
    else:
        update_rows(tx, inbox, rows, ("state", "order_id", "error"))


@cache
def _settle_many() -> Update:
    """On SQLite, which takes a list as JSON: a statement for each document costs twice as much."""
    each = func.json_each(bindparam("ended")).table_valued("value").c.value
    names = ("id", "state", "order_id", "error")
    told = select(*[func.json_extract(each, f"$[{place}]").label(name) for place, name in enumerate(names)]).subquery()
    values = {name: told.c[name] for name in names[1:]}
    return update(inbox).where(inbox.c.id == told.c.id).values(values)


def known_versions(tx: Connection, account_id: int, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Version and arrival time (µs) of the latest stored order document of each id. One that could not be read is not known:
    the source may answer better next time."""
    latest = _latest_rows(tx, {("account", account_id, "order", external_id) for external_id in ids})
    return {row["external_id"]: (row["version"], row["received_at"]) for row in latest if row["state"] != "exception"}


def find_latest(tx: Connection, source_kind: str, source_id: int, kind: str, external_id: str) -> Row:
    """id, state and order_id of the latest version of a document that is stored."""
    where = (inbox.c.source_kind == source_kind, inbox.c.source_id == source_id, inbox.c.kind == kind)
    query = select(inbox.c.id, inbox.c.state, inbox.c.order_id).where(*where, inbox.c.external_id == external_id)
    return rows_of(tx, query.order_by(inbox.c.seq.desc()).limit(1))[0]


def versions_of(tx: Connection, source_kind: str, source_id: int, kind: str, external_id: str) -> list[Row]:
    """Every stored version of one document, oldest first, without bodies."""
    columns = [column for column in inbox.c if column.name != "body"]
    where = and_(
        inbox.c.source_kind == source_kind,
        inbox.c.source_id == source_id,
        inbox.c.kind == kind,
        inbox.c.external_id == external_id,
    )
    return rows_of(tx, select(*columns).where(where).order_by(inbox.c.seq))


def _key(row: Mapping[str, Any]) -> _Key:
    return (row["source_kind"], row["source_id"], row["kind"], row["external_id"])


def _row(sealed: Sealed, seq: int, now: int) -> Row:
    arrival = sealed.arrival
    return {
        "id": sealed.id,
        "source_kind": arrival.source_kind,
        "source_id": arrival.source_id,
        "kind": arrival.kind,
        "external_id": arrival.external_id,
        "seq": seq,
        "version": arrival.version,
        "body_hash": sealed.digest,
        "body": sealed.body,
        "size": len(arrival.body),
        "received_at": now,
        "state": "new",
        "order_id": None,
        "error": None,
    }


def _latest(tx: Connection, keys: set[_Key]) -> dict[_Key, tuple[int, bytes, int]]:
    """The seq, the hash and the id of the latest version of each of these documents that is stored."""
    return {_key(row): (row["seq"], bytes(row["body_hash"]), row["id"]) for row in _latest_rows(tx, keys)}


@cache
def _latest_of(dialect: str) -> Select[Any]:
    """Asked for every page and every arrival: built once."""
    source: list[BindParameter[Any]] = [bindparam(name) for name in ("source_kind", "source_id", "kind")]
    names = (
        "id",
        "source_kind",
        "source_id",
        "kind",
        "external_id",
        "seq",
        "body_hash",
        "version",
        "received_at",
        "state",
    )
    columns = [inbox.c[name] for name in names]

    def of_source(table: FromClause) -> list[ColumnElement[bool]]:
        return [table.c[mark.key] == mark for mark in source]

    # Once for each id, by the index from its end: a plan has no choice. Left to choose, a database that has counted no rows begins
    # with all documents of the source (SQLite always, which never counts; PostgreSQL while it has not, and keeps that plan).
    if dialect == "sqlite":
        given, newer = func.json_each(bindparam("values")).table_valued("value"), inbox.alias()
        of_id = select(newer.c.id).where(*of_source(newer), newer.c.external_id == given.c.value)
        last = of_id.order_by(newer.c.seq.desc()).limit(1).correlate(given).scalar_subquery()
        return select(*columns).select_from(given.join(inbox, inbox.c.id == last))
    told = each_value(inbox.c.external_id)
    of_id = select(*columns).where(*of_source(inbox), inbox.c.external_id == told.c.value)
    newest = of_id.order_by(inbox.c.seq.desc()).limit(1).lateral()
    return select(*newest.c).select_from(told.join(newest, true()))


def _latest_rows(tx: Connection, keys: set[_Key]) -> list[Row]:
    return [row for question in about_latest(tx, keys) for row in ask_rows(tx, question)]


def about_latest(tx: Connection, keys: Iterable[_Key]) -> list[Question]:
    """What is asked of the latest versions of documents, by their keys, before new ones are stored."""
    query, asked = _latest_of(tx.dialect.name), []
    sources: dict[tuple[str, int, str], list[str]] = {}
    for source_kind, source_id, kind, external_id in set(keys):
        sources.setdefault((source_kind, source_id, kind), []).append(external_id)
    for (source_kind, source_id, kind), ids in sorted(sources.items()):
        source = {"source_kind": source_kind, "source_id": source_id, "kind": kind}
        asked += [Question(query, source | bind_values(tx, chunk)) for chunk in chunks(sorted(ids))]
    return asked


def _present(tx: Connection, ids: Sequence[int]) -> set[int]:
    return {
        row_id
        for chunk in chunks(ids)
        for row_id in tx.execute(select(inbox.c.id).where(inbox.c.id.in_(chunk))).scalars()
    }


def _behind(tx: Connection, ids: Sequence[int], held: set[int]) -> list[int]:
    pairs = ask(tx, about_older(tx, ids))
    return [row_id for row_id, older_id in pairs if older_id not in held]


@cache
def _pairs(dialect: str) -> Select[Any]:
    """Documents and their older versions that wait too."""
    older = inbox.alias()
    same = and_(
        older.c.source_kind == inbox.c.source_kind,
        older.c.source_id == inbox.c.source_id,
        older.c.kind == inbox.c.kind,
        older.c.external_id == inbox.c.external_id,
        older.c.seq < inbox.c.seq,
        older.c.state == "new",
    )
    return select(inbox.c.id, older.c.id).join(older, same).where(among(dialect, inbox.c.id))
