"""Signatures against published vectors, and webhook headers that mean harm."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError, RefusedError
from wire.signing import qimen_sign, qimen_verify, shopify_hmac, standard_webhook_sign, top_sign
from wire.webhooks import verify_shopify, verify_standard

VECTORS = Path(__file__).parents[1] / "fixtures" / "signatures"
TOP: list[dict[str, Any]] = json.loads((VECTORS / "top_qimen.json").read_text("utf-8"))
HOOKS: dict[str, dict[str, str]] = json.loads((VECTORS / "webhooks.json").read_text("utf-8"))
SHOPIFY = HOOKS["shopify_webhook"]
STANDARD = HOOKS["standard_webhooks"]
NOW = datetime.fromtimestamp(int(STANDARD["timestamp"]), UTC)


@pytest.mark.parametrize(
    "vector", [each for each in TOP if each["platform"] == "taobao"], ids=lambda each: str(each["name"])
)
def test_signs_as_taobao_does(vector: dict[str, Any]) -> None:
    params = vector["inputs"]["params"]
    assert top_sign(params, vector["inputs"]["secret"], params["sign_method"]) == vector["expected"]
    padded = {"empty": "", **params, "sign": "old"}
    assert top_sign(padded, vector["inputs"]["secret"], params["sign_method"]) == vector["expected"]


def test_an_unknown_sign_method_is_a_setting_to_fix() -> None:
    with pytest.raises(ConfigError, match="sign_method"):
        top_sign({}, "s", "sha1")


def test_signs_and_verifies_as_qimen_does() -> None:
    vector = next(each for each in TOP if each["platform"] == "qimen")
    query, body, secret = vector["inputs"]["query"], vector["inputs"]["body"].encode(), vector["inputs"]["secret"]
    assert qimen_sign(query, body, secret) == vector["expected"]
    signed = {**query, "sign": vector["expected"]}
    assert qimen_verify(signed, body, secret)
    assert qimen_verify(dict(reversed(signed.items())), body, ["new", secret])
    for bad, text in (
        (query, body),
        ({**signed, "sign": ""}, body),
        ({**signed, "sign": "签名é\ud800"}, body),
        ({**signed, "customerId": "other"}, body),
        (signed, body + b" "),
    ):
        assert not qimen_verify(bad, text, secret)
    assert not qimen_verify(signed, body, ["other", ""])
    assert not qimen_verify(signed, body, [])


def test_shopify_delivery_passes_under_the_new_or_the_old_secret() -> None:
    body = SHOPIFY["raw_body"].encode()
    headers = {SHOPIFY["header"]: SHOPIFY["expected"], "X-Shopify-Webhook-Id": "w1"}
    assert shopify_hmac(body, SHOPIFY["secret"]) == SHOPIFY["expected"]
    assert verify_shopify(headers, body, ["new", SHOPIFY["secret"]]) == "w1"
    for bad in (body + b" ", b""):
        with pytest.raises(RefusedError, match="signature_invalid"):
            verify_shopify(headers, bad, [SHOPIFY["secret"]])
    with pytest.raises(RefusedError, match="signature_invalid"):
        verify_shopify(headers, body, [""])


def standard(**changes: str) -> dict[str, str]:
    return {
        "webhook-id": STANDARD["id"],
        "webhook-timestamp": STANDARD["timestamp"],
        "webhook-signature": STANDARD["expected"],
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }


def test_standard_webhook_passes_with_several_signatures_or_secrets() -> None:
    body = STANDARD["raw_body"].encode()
    assert (
        standard_webhook_sign(STANDARD["id"], STANDARD["timestamp"], body, STANDARD["secret"]) == STANDARD["expected"]
    )
    secrets = ["whsec_AAAA", STANDARD["secret"]]
    for offered in (STANDARD["expected"], f"v1a,xx v1,AAAA {STANDARD['expected']}"):
        assert verify_standard(standard(webhook_signature=offered), body, secrets, NOW) == STANDARD["id"]
    assert verify_standard({k.title(): v for k, v in standard().items()}, body, secrets, NOW) == STANDARD["id"]


@pytest.mark.parametrize(("seconds", "good"), [(-301, False), (-299, True), (299, True), (301, False)])
def test_a_stamp_may_differ_by_five_minutes_either_way(seconds: int, good: bool) -> None:
    body, now = STANDARD["raw_body"].encode(), NOW + timedelta(seconds=seconds)
    if good:
        assert verify_standard(standard(), body, [STANDARD["secret"]], now)
    else:
        with pytest.raises(RefusedError, match="signature_expired"):
            verify_standard(standard(), body, [STANDARD["secret"]], now)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v1,",
        "v1",
        "é",
        "\udc80",
        "v1," + "A" * 10_000,
        " ".join(["v1,AAAA"] * 50),
        "v1,\x00",
        STANDARD["expected"].lower(),
    ],
)
def test_a_strange_signature_header_is_refused_without_detail(header: str) -> None:
    body = STANDARD["raw_body"].encode()
    with pytest.raises(RefusedError, match="signature_") as caught:
        verify_standard(standard(webhook_signature=header), body, [STANDARD["secret"]], NOW)
    assert caught.value.detail == ""
    with pytest.raises(RefusedError, match="signature_") as caught:
        verify_shopify({"x-shopify-hmac-sha256": header}, body, ["s"])
    assert caught.value.detail == ""


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.binary(max_size=20))
def test_no_header_ever_breaks_the_check(message_id: str, stamp: str, signature: str, body: bytes) -> None:
    headers = standard(webhook_id=message_id, webhook_timestamp=stamp, webhook_signature=signature)
    with pytest.raises(RefusedError, match="signature_"):
        verify_standard(headers, body, [STANDARD["secret"]], NOW)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_***", "whsec_é", ""])
def test_a_malformed_webhook_secret_blames_the_settings(secret: str) -> None:
    with pytest.raises(ConfigError, match="webhook_secret"):
        standard_webhook_sign("m", 1, b"", secret)
