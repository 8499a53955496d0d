"""Secrets, raw documents and consignee data at rest (promises.md S22).

A sealed blob is: version byte (1) | key id byte | nonce (12) | AES-256-GCM ciphertext and tag. The associated data is
"table.column.row", so a value copied to another row, column or table does not open. Search columns hold keyed BLAKE2b
hashes, whose key never changes with a rotation of the sealing keys (else nothing could be found again)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import ConfigError

from .compact import pack, unpack
from .presets import NONE, PRESETS, compressor, decompressor, is_known, remember

VERSION = 1
_RAW, _ZSTD, _PRESET, _TRAINED = 0, 1, 2, 3
_HEAD = {_ZSTD: 1, _PRESET: 2, _TRAINED: 5}
_SMALL = 64
_MAX_OPENED = 64 * 2**20


@dataclass(slots=True)
class Trained:
    """Dictionaries trained on what is stored (storage.dictionaries): the number of the one that values of a place are written
    with, and how to read one that this process has not met."""

    numbers: dict[str, int] = field(default_factory=dict)
    find: Callable[[int], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Vault:
    """`current` seals; every key in `keys` opens; `search_key` makes the search hashes. Keys are 32 bytes."""

    keys: Mapping[int, bytes] = field(repr=False)
    current: int
    search_key: bytes = field(repr=False)
    trained: Trained = field(default_factory=Trained, repr=False)
    _ciphers: dict[int, AESGCM] = field(default_factory=dict, repr=False)
    _hashes: dict[str, hashlib.blake2b] = field(default_factory=dict, repr=False)

    def seal(self, place: str, row: object, plain: bytes) -> bytes:
        """Encrypt `plain` for exactly one place ("table.column") and row; larger values are compressed first, at some
        places against what most values there have in common (presets.py)."""
        packed = _pack(place, plain, self.trained.numbers.get(place))
        nonce = _new_nonce()
        cipher = self._cipher(self.current)
        return b"%c%c%b%b" % (VERSION, self.current, nonce, cipher.encrypt(nonce, packed, _aad(place, row)))

    def open(self, place: str, row: object, blob: bytes) -> bytes:
        """Decrypt a blob of that place and row. ConfigError `vault_key` when the key is missing or does not fit."""
        blob = bytes(blob)
        if len(blob) < 14 + 17 or blob[0] != VERSION:
            raise ConfigError("vault_blob", f"{place}: not a sealed value")
        try:
            packed = self._cipher(blob[1]).decrypt(blob[2:14], blob[14:], _aad(place, row))
        except InvalidTag:
            raise ConfigError("vault_key", f"{place}: the value does not open with this key at this row") from None
        if packed[0] == _RAW:
            return packed[1:]
        frame = packed[_HEAD[packed[0]] :]
        if zstandard.frame_content_size(frame) > _MAX_OPENED:
            raise ConfigError("vault_blob", f"{place}: larger than anything that is ever sealed")
        if packed[0] == _PRESET:
            return decompressor(packed[1]).decompress(frame, max_output_size=_MAX_OPENED)
        if packed[0] == _TRAINED:
            return decompressor(self._met(int.from_bytes(packed[1:5]))).decompress(frame, max_output_size=_MAX_OPENED)
        return decompressor(NONE).decompress(frame, max_output_size=_MAX_OPENED)

    def seal_json(self, place: str, row: object, value: Any) -> bytes:
        return self.seal(place, row, pack(value))

    def seal_many(self, place: str, values: Iterable[tuple[object, bytes]]) -> list[bytes]:
        """`seal` of (row, plain) pairs of one place, in their order: what all of them need is looked up once, and stays at
        hand from one to the next."""
        head, number = _head_of(place, self.trained.numbers.get(place))
        compress, encrypt = compressor(number).compress, self._cipher(self.current).encrypt
        mark, raw, sealed = b"%c%c" % (VERSION, self.current), b"%c" % _RAW, []
        for row, plain in values:
            nonce = _new_nonce()
            packed = head + compress(plain) if len(plain) > _SMALL else raw + plain
            sealed.append(mark + nonce + encrypt(nonce, packed, _aad(place, row)))
        return sealed

    def open_json(self, place: str, row: object, blob: bytes) -> Any:
        return unpack(self.open(place, row, blob))

    def search_hash(self, purpose: str, text: str) -> bytes:
        """16 bytes that are equal for equal text of one purpose, and say nothing without the key."""
        blank = self._hashes.get(purpose)
        if blank is None:
            person = purpose.encode()[:16]
            blank = self._hashes[purpose] = hashlib.blake2b(digest_size=16, key=self.search_key, person=person)
        found = blank.copy()
        found.update(text.encode())
        return found.digest()

    def _met(self, number: int) -> int:
        """A trained dictionary's number, once this process knows its content."""
        if not is_known(number):
            if self.trained.find is None:
                raise ConfigError("vault_blob", f"the value was compressed with dictionary {number}, which is not here")
            remember(number, self.trained.find(number))
        return number

    def _cipher(self, key_id: int) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            key = self.keys.get(key_id)
            if key is None:
                raise ConfigError("vault_key", f"key {key_id} is not in the key file")
            cipher = self._ciphers[key_id] = AESGCM(key)
        return cipher


# Drawn from the system in blocks, because asking it costs more than sealing. Each is used once: a list gives an entry to one
# thread only, and a forked child draws its own.
_NONCES: list[bytes] = []
_BLOCK = 256
os.register_at_fork(after_in_child=_NONCES.clear)


def _new_nonce() -> bytes:
    try:
        return _NONCES.pop()
    except IndexError:
        drawn = os.urandom(12 * _BLOCK)
        _NONCES.extend([drawn[at : at + 12] for at in range(0, len(drawn) - 12, 12)])
        return drawn[-12:]


def _pack(place: str, plain: bytes, trained: int | None) -> bytes:
    if len(plain) <= _SMALL:
        return b"%c%b" % (_RAW, plain)
    head, number = _head_of(place, trained)
    return head + compressor(number).compress(plain)


@lru_cache(maxsize=256)
def _head_of(place: str, trained: int | None) -> tuple[bytes, int]:
    """How a compressed value of a place begins, and the number of its dictionary."""
    if trained is not None:
        return b"%c%b" % (_TRAINED, trained.to_bytes(4)), trained
    preset = PRESETS.get(place)
    return (b"%c" % _ZSTD, NONE) if preset is None else (b"%c%c" % (_PRESET, preset), preset)


def _aad(place: str, row: object) -> bytes:
    return f"{place}.{row}".encode()


def load_vault(key_file: Path | None, key_text: str = "") -> Vault:
    """Keys from text (`HUB_KEY`) or a file; lines of `id hex64`, the first line seals, `search hex64` is the search key.
    A missing file is made, readable by its owner only; one that others can read is refused."""
    if not key_text:
        if key_file is None:
            raise ConfigError("vault_key", "neither a key nor a key file is configured")
        key_text = _read_or_make(key_file)
    return parse_keys(key_text)


def parse_keys(text: str) -> Vault:
    """Read the key lines. ConfigError `vault_key` on anything else."""
    keys: dict[int, bytes] = {}
    search = b""
    for line in text.replace(";", "\n").splitlines():
        words = line.split()
        if not words:
            continue
        try:
            name, key = words[0], bytes.fromhex(words[1])
        except (IndexError, ValueError):
            raise ConfigError("vault_key", "a key line is `id hex64`") from None
        if len(key) != 32:
            raise ConfigError("vault_key", "a key has 32 bytes")
        if name == "search":
            search = key
        elif name.isdecimal() and 0 < int(name) < 256:
            keys[int(name)] = key
        else:
            raise ConfigError("vault_key", "a key id is 1 to 255")
    if not keys or not search:
        raise ConfigError("vault_key", "at least one key and the search key are needed")
    return Vault(keys=keys, current=next(iter(keys)), search_key=search)


def new_keys() -> str:
    return f"1 {os.urandom(32).hex()}\nsearch {os.urandom(32).hex()}\n"


def _read_or_make(path: Path) -> str:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError("vault_key_file", f"{path.name} can be read by others: chmod 600") from None
        return path.read_text()
    with os.fdopen(handle, "w") as file:
        file.write(new_keys())
        file.flush()
        os.fsync(file.fileno())
    return path.read_text()
