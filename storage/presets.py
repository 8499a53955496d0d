"""What small sealed values of one place have in common, as zstd dictionaries: a decision record is a kilobyte of words that
every other record has too.

A blob names its dictionary by number, so one is never changed and never removed: a better one gets the next number.
They were trained on generated orders whose names were made up anew for every record
(bench.replay.train_preset), not on anybody's data: 1 on decision records that still held their traces, 2 on those that
do not, 3 on what orders keep sealed, 4 on decision records that are written by place, 5 on documents: of the simulated shops and
warehouses, and of the standard API, as many of each (bench.replay.train_documents)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import zstandard

from domain.errors import ConfigError

# By place ("table.column"): the dictionary new values are written with.
PRESETS: Mapping[str, int] = {"decisions.record": 4, "inbox.body": 5, "orders.private": 3}
NONE = 0
# Shipped dictionaries are named by one byte; those trained here (dictionaries.py) by four, from this on.
FIRST_TRAINED = 256
# With a dictionary level 1 makes smaller values than 2 in less time, and values one part in fifty larger than 3 in three quarters
# of the time (records, documents and private parts of generated orders).
LEVEL, PRESET_LEVEL = 3, 1
_FOLDER = Path(__file__).parent
_here = threading.local()
_trained: dict[int, bytes] = {}


def remember(number: int, content: bytes) -> None:
    """Make a trained dictionary known to this process. Its number is made from its content, so it never changes."""
    _trained[number] = content


def is_known(number: int) -> bool:
    """Whether values of that dictionary can be read without looking for it."""
    return number < FIRST_TRAINED or number in _trained


@cache
def _dictionary(number: int) -> zstandard.ZstdCompressionDict:
    if number in _trained:
        return zstandard.ZstdCompressionDict(_trained[number])
    path = _FOLDER / f"preset-{number}.zdict"
    if not path.is_file():
        raise ConfigError("vault_blob", f"the value was compressed with dictionary {number}, which this version lacks")
    return zstandard.ZstdCompressionDict(path.read_bytes())


def compressor(number: int) -> zstandard.ZstdCompressor:
    """This thread's compressor with that dictionary (NONE: without). It may not be shared between threads, and making one
    costs more than compressing a kilobyte with it."""
    kept: dict[int, zstandard.ZstdCompressor] = _here.__dict__.setdefault("compressors", {})
    found = kept.get(number)
    if found is None:
        known = _dictionary(number) if number else None
        # Blobs name their dictionary themselves, and AES-GCM checks them.
        found = kept[number] = zstandard.ZstdCompressor(
            level=PRESET_LEVEL if number else LEVEL, dict_data=known, write_checksum=False, write_dict_id=False
        )
    return found


def decompressor(number: int) -> zstandard.ZstdDecompressor:
    """This thread's decompressor with that dictionary. ConfigError `vault_blob` for one that is not there."""
    kept: dict[int, zstandard.ZstdDecompressor] = _here.__dict__.setdefault("decompressors", {})
    found = kept.get(number)
    if found is None:
        found = kept[number] = zstandard.ZstdDecompressor(dict_data=_dictionary(number) if number else None)
    return found
