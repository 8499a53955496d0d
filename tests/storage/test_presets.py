"""Records compressed against a dictionary open for ever: whatever was written with one, or without, opens."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
import zstandard

from domain.errors import ConfigError
from storage import presets
from storage.vault import Vault, new_keys, parse_keys

PLACE = "decisions.record"
FIXTURES = Path(__file__).parents[1] / "fixtures"
# A dictionary that changes makes every record written with it unreadable: a better one is a new file with the next number.
KNOWN = {
    1: "c5a952d26d68ab6960001d066b9b88f0a5eaae77704610a46a07967e451f22d9",
    2: "ced15ee7520ab98d60c30319787e656263688a8613b59dd70f7d23e0ef351911",
    3: "71eebf91d924f9fbce320cb428b7d0899da7dac21d8fdfffd1b84239d57d9ed0",
    4: "6b2c5ec47323e195eb7c585d14d6fb6584d4d0acaf33a445fceade50523cccc4",
    5: "05cdb7d2a37f5f344412c27fc97ec1661ac4e0544dc1fc9944dcf1ab446415c3",
}
RECORD = {
    "holds": [],
    "parts": [["wh", "SF", [[0, "A", 1]]]],
    "trace": [["hold-on-flag", "hold", False, "saw nothing"]] * 9,
}


@pytest.fixture
def vault() -> Vault:
    return parse_keys(new_keys())


def test_no_dictionary_was_ever_changed() -> None:
    folder = Path(presets.__file__).parent
    found = {int(path.stem.removeprefix("preset-")): path.read_bytes() for path in folder.glob("preset-*.zdict")}
    assert {number: hashlib.sha256(content).hexdigest() for number, content in found.items()} == KNOWN
    assert set(presets.PRESETS.values()) <= found.keys()


def test_a_record_comes_back_and_is_smaller_than_without_a_dictionary(vault: Vault) -> None:
    blob, other = vault.seal_json(PLACE, 1, RECORD), vault.seal_json("some.place", 1, RECORD)
    assert vault.open_json(PLACE, 1, blob) == vault.open_json("some.place", 1, other) == RECORD
    assert len(blob) < len(other)


@pytest.mark.parametrize(
    "sample", ["taobao/orders/deposit_only", "shopify/orders/paid", "standard/orders/order", "vendure/orders/changed"]
)
def test_a_document_of_any_channel_comes_back_and_is_no_larger_than_without(vault: Vault, sample: str) -> None:
    body = orjson.dumps(orjson.loads((FIXTURES / f"{sample}.json").read_bytes()))
    blob, other = vault.seal("inbox.body", 1, body), vault.seal("some.place", 1, body)
    assert vault.open("inbox.body", 1, blob) == body
    assert len(blob) < len(other)


def test_a_record_of_the_time_before_dictionaries_still_opens(vault: Vault) -> None:
    nonce = os.urandom(12)
    packed = b"\x01" + zstandard.compress(b'{"holds":[]}', 3)
    cipher = vault._cipher(vault.current)
    blob = bytes((1, vault.current)) + nonce + cipher.encrypt(nonce, packed, f"{PLACE}.7".encode())
    assert vault.open_json(PLACE, 7, blob) == {"holds": []}


def test_a_dictionary_of_a_later_version_is_named(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.vault.PRESETS", {PLACE: 1})
    blob = vault.seal_json(PLACE, 1, RECORD)
    nonce = os.urandom(12)
    packed = vault._cipher(vault.current).decrypt(blob[2:14], blob[14:], f"{PLACE}.1".encode())
    later = packed[:1] + bytes((200,)) + packed[2:]
    told = bytes((1, vault.current)) + nonce + vault._cipher(vault.current).encrypt(nonce, later, f"{PLACE}.1".encode())
    with pytest.raises(ConfigError, match="dictionary 200"):
        vault.open(PLACE, 1, told)


def test_threads_compress_side_by_side(vault: Vault) -> None:
    def there_and_back(number: int) -> bool:
        told = {**RECORD, "number": number}
        return bool(vault.open_json(PLACE, number, vault.seal_json(PLACE, number, told)) == told)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(2_000)))
