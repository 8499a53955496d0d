"""Who calls: the key in the Authorization header, and what its scope may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from domain.errors import RefusedError
from pipeline.access import Caller, identify, remembered
from pipeline.bootstrap import Hub

READERS = frozenset({"partner", "clerk", "admin", "read"})
WORKERS = frozenset({"clerk", "admin"})
CANCELLERS = frozenset({"partner", "clerk", "admin"})
OWNERS = frozenset({"admin"})
PARTNERS = frozenset({"partner"})


def hub_of(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


async def caller_of(hub: Hub, presented: str, scopes: frozenset[str]) -> Caller:
    """The caller behind a presented key, if its scope is one of these. RefusedError `unauthenticated`, `forbidden`."""
    caller = remembered(hub, presented)
    if caller is None:
        caller = await run_in_threadpool(identify, hub, presented)
    if caller.scope not in scopes or (scopes <= WORKERS and not caller.staff):
        raise RefusedError("forbidden", "this key may not do that")
    return caller


def allow(scopes: frozenset[str]) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency for routes: the caller, if its scope is one of these."""

    async def check(request: Request) -> Caller:
        return await caller_of(hub_of(request), HeadersTold(request.scope).bearer(), scopes)

    return check


class HeadersTold:
    """What a request's headers say of its caller."""

    __slots__ = ("_authorizations", "_keys")

    def __init__(self, scope: Scope) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._authorizations = [value for name, value in headers if name == b"authorization"]
        self._keys = [value for name, value in headers if name == b"idempotency-key"]

    def bearer(self) -> str:
        """The presented key; "" (which is nobody's) when there is none, or more than one."""
        told = self._authorizations[0].decode("latin-1") if len(self._authorizations) == 1 else ""
        scheme, _, key = told.strip().partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    def idempotency_key(self) -> str:
        """The Idempotency-Key, quoted (RFC 8941 string) or bare. RefusedError `idempotency_key_missing`,
        `idempotency_key_invalid`."""
        if not self._keys:
            raise RefusedError("idempotency_key_missing", "send an Idempotency-Key header of your own making")
        key = self._keys[0].decode("latin-1").strip()
        if len(key) >= 2 and key[0] == key[-1] == '"':
            key = _unquoted(key[1:-1])
        if len(self._keys) > 1 or not 1 <= len(key) <= 255 or not (key.isascii() and key.isprintable()):
            raise RefusedError("idempotency_key_invalid", "1 to 255 printable ASCII characters, once")
        return key


def _unquoted(text: str) -> str:
    return text.replace('\\"', '"').replace("\\\\", "\\")
