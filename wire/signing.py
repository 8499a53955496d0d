"""Signature formulas, as pure functions over text and bytes. Nothing here compares with `==` or raises on hostile
input.

Sources (2026-11-21): TOP `docId=101617`, facts taobao.md section 2 (H, official vector reproduced); Qimen facts
qimen.md section 2 (H for the formula; the official digest cannot be reproduced because its body is not printed, so the
vector is our own); Shopify facts shopify.md section 8 (H); Standard Webhooks facts standards.md (H, official vector).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from domain.errors import ConfigError

TIMESTAMP_ZONE = "Asia/Shanghai"  # TOP and Qimen stamp requests in GMT+8, `yyyy-MM-dd HH:mm:ss` (H)


def top_sign(params: Mapping[str, str], secret: str, method: str = "md5", body: bytes = b"") -> str:
    """Taobao/TOP signature, upper-case hex. `params` are all text parameters, raw (not url-encoded); `body` as sent, for calls
    whose parameters stand in the query (`TaobaoUtils.signTopRequestWithBody` of the official Java SDK, 2026-11-22, H).

    `sign` and empty parameters are left out, so an empty one must not be sent either. `method` "hmac" is HMAC-**MD5**,
    the trap of several clients. Raises ConfigError `sign_method` for any other name.
    """
    text = _bytes(_joined(params)) + body
    key = _bytes(secret)
    if method == "md5":
        return _md5(key + text + key)
    if method == "hmac":
        return hmac.new(key, text, hashlib.md5).hexdigest().upper()
    if method == "hmac-sha256":
        return hmac.new(key, text, hashlib.sha256).hexdigest().upper()
    raise ConfigError("sign_method", "md5, hmac or hmac-sha256")


def qimen_sign(query: Mapping[str, str], body: bytes, secret: str) -> str:
    """Qimen signature, upper-case hex: MD5 over secret + sorted query (decoded, without `sign` and empties) + body as
    sent + secret.
    """
    key = _bytes(secret)
    return _md5(key + _bytes(_joined(query)) + body + key)


def qimen_verify(query: Mapping[str, str], body: bytes, secrets: str | Sequence[str]) -> bool:
    """Whether `query["sign"]` fits the raw body under any of `secrets` (two during a rotation). Never raises."""
    given = _bytes(query.get("sign", "").upper())
    known = (secrets,) if isinstance(secrets, str) else tuple(secrets)
    good = [same(given, _bytes(qimen_sign(query, body, secret))) for secret in known if secret]
    return any(good)


def shopify_hmac(body: bytes, secret: str) -> str:
    """base64(HMAC-SHA256(client secret, raw body)), the value of `X-Shopify-Hmac-Sha256`."""
    return _b64(hmac.new(_bytes(secret), body, hashlib.sha256).digest())


def standard_webhook_sign(message_id: str, timestamp: int | str, body: bytes, secret: str) -> str:
    """`v1,<base64>` of Standard Webhooks over `id.timestamp.body`. `timestamp` in unix seconds.

    `secret` is `whsec_` + base64 of the key bytes. Raises ConfigError `webhook_secret` when it is not.
    """
    signed = _bytes(f"{message_id}.{timestamp}.") + body
    return "v1," + _b64(hmac.new(standard_webhook_key(secret), signed, hashlib.sha256).digest())


def standard_webhook_key(secret: str) -> bytes:
    """The key bytes inside a `whsec_…` secret. Raises ConfigError `webhook_secret`."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("webhook_secret", "whsec_ followed by base64 is expected") from None
    if not key:
        raise ConfigError("webhook_secret", "empty")
    return key


def same(given: bytes, expected: bytes) -> bool:
    """Constant-time comparison. On bytes, because `compare_digest` raises TypeError for non-ASCII text."""
    return hmac.compare_digest(given, expected)


def _joined(params: Mapping[str, str]) -> str:
    return "".join(key + value for key, value in sorted(params.items()) if key and value and key != "sign")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().upper()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    # A lone surrogate from a hostile header must give a wrong signature, not an exception.
    return text.encode("utf-8", "replace")
