"""Ways to say who we are, as `httpx.Auth` values: a channel or warehouse names one, the client applies it.

Schemes that sign parameters (TOP, Qimen) are not here: they build their own query with `wire.signing`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Generator

import httpx

from domain.errors import ConfigError

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class HeaderToken(httpx.Auth):
    """A secret in a header of its own, e.g. `X-Shopify-Access-Token`. Raises ConfigError `credentials_malformed`."""

    __slots__ = ("_header", "_value")

    def __init__(self, header: str, value: str) -> None:
        # Checked here, not when sending: a line break in a stored token must name the settings as the culprit.
        if not _TOKEN.fullmatch(header):
            raise ConfigError("credentials_malformed", "header name")
        if not value or not value.isascii() or not value.isprintable():
            raise ConfigError("credentials_malformed", "empty, or characters that no header can carry")
        self._header = header
        self._value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._header!r}, '***')"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Set the header; one request, no reply needed."""
        request.headers[self._header] = self._value
        yield request


def Bearer(token: str) -> httpx.Auth:
    """`Authorization: Bearer <token>`."""
    if not token:
        raise ConfigError("credentials_malformed", "empty token")
    return HeaderToken("Authorization", f"Bearer {token}")


def Basic(user: str, password: str) -> httpx.Auth:
    """`Authorization: Basic` over UTF-8 (RFC 7617). A colon in `user` cannot be carried and raises ConfigError."""
    if ":" in user:
        raise ConfigError("credentials_malformed", "colon in the user name")
    pair = base64.b64encode(f"{user}:{password}".encode("utf-8", "replace")).decode("ascii")
    return HeaderToken("Authorization", f"Basic {pair}")
