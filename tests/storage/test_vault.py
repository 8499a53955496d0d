"""Sealed values open with the right key at their own row only (promises.md S22)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError
from storage.compact import pack
from storage.vault import Vault, load_vault, new_keys, parse_keys

KEYS = f"1 {'11' * 32}\nsearch {'22' * 32}"
VAULT = parse_keys(KEYS)


@given(st.binary(max_size=300))
def test_what_was_sealed_opens_unchanged(plain: bytes) -> None:
    blob = VAULT.seal("inbox.body", 7, plain)
    assert VAULT.open("inbox.body", 7, blob) == plain
    assert len(plain) < 4 or plain not in blob


@pytest.mark.parametrize("place", ["orders.private", "decisions.record", "inbox.body"])
def test_many_values_sealed_together_open_each_at_its_own_row(place: str) -> None:
    values = [(row, {"name": "x" * (row % 90), "row": row}) for row in range(200)]
    blobs = VAULT.seal_many(place, [(row, pack(value)) for row, value in values])
    assert [VAULT.open_json(place, row, blob) for (row, _), blob in zip(values, blobs, strict=True)] == [
        value for _, value in values
    ]
    assert [len(blob) for blob in blobs] == [len(VAULT.seal_json(place, row, value)) for row, value in values]
    assert len(set(blobs)) == len(blobs)
    with pytest.raises(ConfigError, match="vault_key"):
        VAULT.open(place, 1, blobs[2])


def test_a_thousand_swapped_values_are_a_thousand_refusals() -> None:
    blobs = [VAULT.seal("orders.private", row, f"secret {row}".encode()) for row in range(1001)]
    refused = 0
    for row in range(1000):
        with pytest.raises(ConfigError, match="vault_key"):
            VAULT.open("orders.private", row, blobs[row + 1])
        refused += 1
    assert refused == 1000


def test_a_value_does_not_open_in_another_column_or_table() -> None:
    blob = VAULT.seal("accounts.settings", 1, b"secret")
    for place in ("accounts.options", "warehouses.settings", "accounts.settings.1"):
        with pytest.raises(ConfigError, match="vault_key"):
            VAULT.open(place, 1, blob)


@pytest.mark.parametrize("at", [0, 1, 5, 20, -1])
def test_a_changed_byte_never_opens(at: int) -> None:
    blob = bytearray(VAULT.seal("inbox.body", 1, b"x" * 100))
    blob[at] ^= 1
    with pytest.raises(ConfigError):
        VAULT.open("inbox.body", 1, bytes(blob))


@pytest.mark.parametrize("blob", [b"", b"\x01", b"plain text that was never sealed at all"])
def test_what_was_never_sealed_is_named_as_such(blob: bytes) -> None:
    with pytest.raises(ConfigError, match="vault_blob"):
        VAULT.open("inbox.body", 1, blob)


def test_a_wrong_key_is_a_question_of_configuration() -> None:
    blob = VAULT.seal("inbox.body", 1, b"secret")
    with pytest.raises(ConfigError, match="vault_key"):
        parse_keys(f"1 {'33' * 32}\nsearch {'22' * 32}").open("inbox.body", 1, blob)
    with pytest.raises(ConfigError, match="key 1 is not in the key file"):
        parse_keys(f"2 {'11' * 32}\nsearch {'22' * 32}").open("inbox.body", 1, blob)


def test_after_a_rotation_old_values_open_and_new_ones_use_the_first_key() -> None:
    rotated = parse_keys(f"2 {'33' * 32}\n1 {'11' * 32}\nsearch {'22' * 32}")
    old = VAULT.seal("inbox.body", 1, b"old")
    assert rotated.open("inbox.body", 1, old) == b"old"
    new = rotated.seal("inbox.body", 1, b"new")
    assert new[1] == 2
    with pytest.raises(ConfigError):
        VAULT.open("inbox.body", 1, new)
    assert rotated.search_hash("phone", "138") == VAULT.search_hash("phone", "138")


def test_the_same_value_is_never_sealed_alike() -> None:
    assert VAULT.seal("inbox.body", 1, b"x") != VAULT.seal("inbox.body", 1, b"x")


def test_search_hashes_are_equal_for_equal_text_of_one_purpose_and_key_only() -> None:
    other = parse_keys(f"1 {'11' * 32}\nsearch {'44' * 32}")
    assert VAULT.search_hash("phone", "138") == VAULT.search_hash("phone", "138")
    assert len({v.search_hash(p, "138") for v in (VAULT, other) for p in ("phone", "buyer")}) == 4


@pytest.mark.parametrize(
    "text", ["", "1", "1 xyz", f"1 {'11' * 31}", f"1 {'11' * 32}", f"0 {'11' * 32}", f"search {'22' * 32}"]
)
def test_key_lines_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="vault_key"):
        parse_keys(text)


def test_a_missing_key_file_is_made_for_its_owner_only_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    made = load_vault(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_vault(path).open("a.b", 1, made.seal("a.b", 1, b"x")) == b"x"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys"
    path.write_text(new_keys())
    os.chmod(path, mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_vault(path)


def test_without_any_key_nothing_opens() -> None:
    with pytest.raises(ConfigError, match="vault_key"):
        load_vault(None)


def test_a_vault_never_shows_its_keys() -> None:
    assert "11" * 8 not in repr(VAULT)
    assert "22" * 8 not in repr(VAULT)


def test_a_value_that_would_grow_beyond_every_bound_is_not_opened() -> None:
    huge = Vault(keys=VAULT.keys, current=1, search_key=VAULT.search_key)
    blob = huge.seal("inbox.body", 1, b"\x00" * (65 * 2**20))
    with pytest.raises(ConfigError, match="vault_blob"):
        VAULT.open("inbox.body", 1, blob)
