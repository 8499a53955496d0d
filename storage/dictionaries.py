"""zstd dictionaries trained on what is stored here: documents of one source have most of their bytes in common.

A dictionary is named by its own content (`number_of`), kept sealed as the values are that it was trained on, never changed
and never removed: a blob names the one it needs, so whatever was written stays readable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import zstandard
from sqlalchemy import Connection, select

from domain.errors import ConfigError

from .presets import FIRST_TRAINED, PRESET_LEVEL, is_known, remember
from .rows import insert_missing, rows_of
from .tables import archives, decisions, dictionaries, inbox, orders
from .vault import Vault

# Where values are many, small and alike: the column, and the key a value is sealed under.
_SAMPLED = {
    "inbox.body": (inbox.c.id, inbox.c.body),
    "orders.private": (orders.c.id, orders.c.private),
    "decisions.record": (decisions.c.id, decisions.c.record),
    "archives.content": (archives.c.order_id, archives.c.content),
}
PLACES = tuple(_SAMPLED)
SIZE = 32_768
_CONTENT = "dictionaries.content"
_BLOCK = 4
_PAGE = 200
_LONG = 65_536
# Bytes that are read for one training at most.
_ROOM = 16 * 2**20


def number_of(content: bytes) -> int:
    """The name of a dictionary: 32 bits of its hash, above the numbers of those that are shipped."""
    number = int.from_bytes(hashlib.blake2b(content, digest_size=_BLOCK).digest())
    return number if number >= FIRST_TRAINED else number + FIRST_TRAINED


def load_samples(tx: Connection, vault: Vault, place: str, most: int) -> list[bytes]:
    """The newest values at a place, opened: at most `most`, and no more than some megabytes of them."""
    key, column = _SAMPLED[place]
    samples: list[bytes] = []
    before, room = 2**63 - 1, _ROOM
    while len(samples) < most and room > 0:
        query = select(key.label("row"), column.label("blob")).where(key < before).order_by(key.desc()).limit(_PAGE)
        page = rows_of(tx, query)
        opened = [vault.open(place, row["row"], row["blob"]) for row in page]
        # One long value teaches nothing about the many short ones.
        samples += [sample for sample in opened if len(sample) <= _LONG]
        room -= sum(map(len, opened))
        if len(page) < _PAGE:
            break
        before = page[-1]["row"]
    return samples[:most]


def train(samples: Sequence[bytes]) -> bytes | None:
    """A dictionary for values like these; None when there is too little to learn from."""
    try:
        return zstandard.train_dictionary(SIZE, list(samples)).as_bytes()
    except zstandard.ZstdError:
        return None


def compressed_size(samples: Sequence[bytes], content: bytes | None) -> int:
    """What these values come to with a dictionary (or without one), bytes."""
    known = zstandard.ZstdCompressionDict(content) if content else None
    packer = zstandard.ZstdCompressor(level=PRESET_LEVEL, dict_data=known, write_checksum=False, write_dict_id=False)
    return sum(len(packer.compress(sample)) for sample in samples)


def put_dictionary(tx: Connection, vault: Vault, place: str, content: bytes, now: int) -> int:
    """Store a dictionary (now in µs); returns its number. Values use it as soon as `adopt` has found it committed."""
    number = number_of(content)
    row = {"number": number, "place": place, "content": vault.seal(_CONTENT, number, content), "created_at": now}
    insert_missing(tx, dictionaries, [row])
    return number


def adopt(tx: Connection, vault: Vault) -> dict[str, int]:
    """From here on values are written with the newest dictionary of their place; returns when each was made (µs). What the
    transaction sees must be committed: others read what is written with it."""
    d = dictionaries
    query = select(d.c.place, d.c.number, d.c.created_at).order_by(d.c.created_at, d.c.number)
    newest = {row["place"]: row for row in rows_of(tx, query)}
    for row in newest.values():
        if not is_known(row["number"]):
            remember(row["number"], load_dictionary(tx, vault, row["number"]))
    vault.trained.numbers = {place: row["number"] for place, row in newest.items()}
    return {place: row["created_at"] for place, row in newest.items()}


def load_dictionary(tx: Connection, vault: Vault, number: int) -> bytes:
    """The content of a stored dictionary. ConfigError `vault_blob` when there is none of that number."""
    found = tx.execute(select(dictionaries.c.content).where(dictionaries.c.number == number)).scalar()
    if found is None:
        raise ConfigError("vault_blob", f"the value was compressed with dictionary {number}, which is not stored here")
    return vault.open(_CONTENT, number, found)
