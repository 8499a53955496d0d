"""Locks on what has no row yet: two writers of one order identity wait for each other, also before the order exists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from sqlalchemy import BigInteger, Connection, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from .asking import Question, ask

_LOCK = select(func.pg_advisory_xact_lock(func.unnest(bindparam("keys", type_=ARRAY(BigInteger)))))


def lock_identities(tx: Connection, keys: Iterable[tuple[int, str]]) -> None:
    """Hold these (account id, external id) until the transaction ends. SQLite has one writer and needs none of it."""
    for question in about_identities(tx, keys):
        ask(tx, question)


def about_identities(tx: Connection, keys: Iterable[tuple[int, str]]) -> list[Question]:
    """What `lock_identities` asks: whose answer has come holds the locks."""
    if tx.dialect.name != "postgresql":
        return []
    numbers = sorted({_number(account_id, external_id) for account_id, external_id in keys})
    return [Question(_LOCK, {"keys": numbers})] if numbers else []


@lru_cache(maxsize=2048)
def _number(account_id: int, external_id: str) -> int:
    digest = hashlib.blake2b(f"{account_id}|{external_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
