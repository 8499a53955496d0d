"""What stands around every page: headers, the size of a body, and who may change something (promises.md S14, S15, S28)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 2**20
CSP = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
HEADERS: Mapping[str, str] = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
_HSTS = "max-age=31536000; includeSubDomains"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class Guarded:
    """An ASGI application with our headers on every answer. Pages may hold buyers' data: nobody stores them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        secure = scope.get("scheme") == "https"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                if secure:
                    headers["strict-transport-security"] = _HSTS
            await send(message)

        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY or "transfer-encoding" in Headers(scope=scope):
            refused = PlainTextResponse("The form is too large.", 413)
            await refused(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


def is_our_form(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that this form was sent from one of our own pages. Scripts without a browser send neither
    header; they still need the session and its token."""
    if not headers.get("content-type", "").startswith(_FORMS):
        return False
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


def is_at_home(request: Request) -> bool:
    """Whether a browser on this very machine asked for this very machine: an open demo is nobody else's, and no other
    name may be made to point at it."""
    host = request.headers.get("host", "").rpartition("]")[2].partition(":")[0]
    named = host in {"localhost", "127.0.0.1"} or request.headers.get("host", "").startswith("[::1]")
    return named and request.client is not None and request.client.host in {"127.0.0.1", "::1"}


def safe_path(text: str, otherwise: str = "/") -> str:
    """A path on this site to go on to, or `otherwise`: never another host, however it is spelled."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\")) and len(text) <= 2000
    return text if plain and text.isprintable() and "\\" not in text else otherwise
