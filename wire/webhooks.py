"""Checks of incoming webhooks: raw body in, the delivery's id out, or a refusal that says nothing useful to an
attacker.

Answer every refusal with the same 401 and body; the code is for our own log. Sources (2026-11-21): facts shopify.md
section 8 (H; after a rotation the old secret may sign for an hour, hence several secrets), facts standards.md "Standard
Webhooks" (H), promises.md section 1: +-300 s in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from domain.errors import RefusedError

from .signing import same, shopify_hmac, standard_webhook_sign

TOLERANCE = timedelta(seconds=300)
_LONGEST_HEADER = 4096
_MOST_SIGNATURES = 10  # a rotation needs two or three; more is an attempt to buy guesses


def verify_shopify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> str:
    """Check `X-Shopify-Hmac-Sha256` over the raw body with each of `secrets`; return `X-Shopify-Webhook-Id` ("" if
    absent).

    Shopify signs no timestamp: remember the ids to refuse a replay. Raises RefusedError `signature_missing` or
    `signature_invalid`.
    """
    given = _header(headers, "x-shopify-hmac-sha256")
    _require_any(given, [shopify_hmac(body, secret) for secret in secrets if secret])
    return _header(headers, "x-shopify-webhook-id")[:255]


def verify_standard(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime, tolerance: timedelta = TOLERANCE
) -> str:
    """Check a Standard Webhooks delivery; return its `webhook-id`, which the caller remembers (7 days) against replays.

    `now` is aware; the stamp may differ from it by `tolerance` either way. The signature is checked first, so a
    stranger cannot learn whether a stamp would have been in time. Raises RefusedError `signature_missing`,
    `signature_invalid`, `signature_expired`.
    """
    message_id = _header(headers, "webhook-id")
    stamp = _header(headers, "webhook-timestamp")
    given = _header(headers, "webhook-signature")
    if not (message_id and stamp and given):
        raise RefusedError("signature_missing")
    if (
        not _plain(message_id)
        or len(message_id) > 255
        or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12)
    ):
        raise RefusedError("signature_invalid")
    _require_any(
        given, [standard_webhook_sign(message_id, stamp, body, secret) for secret in secrets if secret], several=True
    )
    if abs(now.timestamp() - int(stamp)) > tolerance.total_seconds():
        raise RefusedError("signature_expired")
    return message_id


def _require_any(given: str, expected: list[str], *, several: bool = False) -> None:
    if not given:
        raise RefusedError("signature_missing")
    offers = given.split(" ") if several else [given]
    if len(given) > _LONGEST_HEADER or len(offers) > _MOST_SIGNATURES:
        raise RefusedError("signature_invalid")
    known = [want.encode("ascii") for want in expected]
    # Every pair is compared, so that the time says nothing about which one fitted.
    good = [same(offer.encode("utf-8", "replace"), want) for offer in offers for want in known]
    if not any(good):
        raise RefusedError("signature_invalid")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        value = next((each for key, each in headers.items() if key.lower() == name), "")
    return value


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()
