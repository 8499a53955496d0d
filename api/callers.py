"""Who calls: the key in the Authorization header, and what its scope may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.concurrency import run_in_threadpool

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


async def caller_of(request: Request, scopes: frozenset[str]) -> Caller:
    """The caller, if its scope is one of these. RefusedError `unauthenticated`, `forbidden`."""
    presented = _bearer(request)
    hub = hub_of(request)
    caller = remembered(hub, presented)
    if caller is None:
        caller = await run_in_threadpool(identify, hub, presented)
    if caller.scope not in scopes or (scopes <= WORKERS and not caller.staff):
        raise RefusedError("forbidden", "this key may not do that")
    return caller


def allow(scopes: frozenset[str]) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency for routes: the caller, if its scope is one of these."""

    async def check(request: Request) -> Caller:
        return await caller_of(request, scopes)

    return check


def _bearer(request: Request) -> str:
    """The presented key; "" (which is nobody's) when there is none, or more than one."""
    told = request.headers.getlist("authorization")
    scheme, _, key = told[0].strip().partition(" ") if len(told) == 1 else ("", "", "")
    return key.strip() if scheme.lower() == "bearer" else ""


def idempotency_key(request: Request) -> str:
    """The Idempotency-Key, quoted (RFC 8941 string) or bare. RefusedError `idempotency_key_missing`,
    `idempotency_key_invalid`."""
    told = request.headers.getlist("idempotency-key")
    if not told:
        raise RefusedError("idempotency_key_missing", "send an Idempotency-Key header of your own making")
    key = told[0].strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = _unquoted(key[1:-1])
    if len(told) > 1 or not 1 <= len(key) <= 255 or not all(" " <= character <= "~" for character in key):
        raise RefusedError("idempotency_key_invalid", "1 to 255 printable ASCII characters, once")
    return key


def _unquoted(text: str) -> str:
    return text.replace('\\"', '"').replace("\\\\", "\\")
