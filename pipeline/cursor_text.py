"""Where a list goes on, as text that only we can make: signed, bound to the list and its filters."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Sequence

from domain.errors import RefusedError
from storage.vault import Vault

_SIGNATURE = 12


def write_cursor(vault: Vault, about: str, position: Sequence[int]) -> str:
    """The text for a position. `about` names the list with its filters: elsewhere the text is refused."""
    plain = json.dumps(list(position), separators=(",", ":"))
    return base64.urlsafe_b64encode(_sign(vault, about, plain) + plain.encode()).rstrip(b"=").decode()


def read_cursor(vault: Vault, about: str, text: str, length: int) -> tuple[int, ...]:
    """The position of `length` integers in a cursor of ours. RefusedError `cursor` for anything else."""
    refused = RefusedError("cursor", "this is no cursor of this list")
    if not text.isascii() or len(text) > 400:
        raise refused
    try:
        blob = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        plain = blob[_SIGNATURE:].decode("ascii")
    except (binascii.Error, ValueError):
        raise refused from None
    if not hmac.compare_digest(blob[:_SIGNATURE], _sign(vault, about, plain)):
        raise refused
    position = json.loads(plain)
    if len(position) != length:
        raise refused
    return tuple(position)


def _sign(vault: Vault, about: str, plain: str) -> bytes:
    return vault.search_hash("cursor", f"{about}\n{plain}")[:_SIGNATURE]
