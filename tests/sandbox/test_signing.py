"""The sandbox signs like the originals: public vectors (facts of 2026-11-21; `top_md5` and the webhook formula are official)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.signing import qimen_sign, same, shopify_hmac, top_sign

VECTORS = json.loads((Path(__file__).parent / "sign_vectors.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_signs_like_the_published_vectors(vector: dict[str, Any]) -> None:
    given, name = vector["inputs"], vector["name"]
    if name == "qimen_md5":
        found = qimen_sign(given["query"], given["body"].encode(), given["secret"])
    elif name == "shopify_webhook":
        found = shopify_hmac(given["body"].encode(), given["secret"])
    else:
        found = top_sign(given["params"], given["secret"])
    assert found == vector["expected"]


def test_an_unknown_sign_method_matches_nothing() -> None:
    assert top_sign({"sign_method": "sha1", "a": "b"}, "secret") == ""
    assert not same("", "")
