"""How the originals sign: the sandbox's own code, so that a mistake in the hub's signing cannot hide behind a shared one.

Taobao TOP: facts/china/taobao.md §2 (2026-11-21, H: official vector reproduced). Qimen: facts/china/qimen.md §2 (H for the formula,
M for the failure body). Shopify webhooks: facts/global/shopify.md §8 (H).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping


def _joined(params: Mapping[str, str]) -> str:
    return "".join(f"{name}{params[name]}" for name in sorted(params) if name and name != "sign" and params[name] != "")


def top_sign(params: Mapping[str, str], secret: str, body: bytes = b"") -> str:
    """The sign of a TOP call, upper-case hex; `sign_method` in `params` is md5, hmac (= HMAC-MD5) or hmac-sha256, else "". `body`
    of a call with many calls in it is signed as sent."""
    text, method = _joined(params).encode() + body, params.get("sign_method", "")
    if method == "md5":
        return hashlib.md5(secret.encode() + text + secret.encode(), usedforsecurity=False).hexdigest().upper()
    if method in {"hmac", "hmac-sha256"}:
        digest = "md5" if method == "hmac" else "sha256"
        return hmac.digest(secret.encode(), text, digest).hex().upper()
    return ""


def qimen_sign(query: Mapping[str, str], body: bytes, secret: str) -> str:
    """The sign of a Qimen call in either direction, upper-case hex MD5 over the exact body bytes."""
    text = f"{secret}{_joined(query)}".encode()
    return hashlib.md5(text + body + secret.encode(), usedforsecurity=False).hexdigest().upper()


def shopify_hmac(body: bytes, secret: str) -> str:
    """The value of X-Shopify-Hmac-Sha256 for a webhook body."""
    return base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()


def same(given: str, expected: str) -> bool:
    """Constant-time comparison; an empty expectation never matches."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
