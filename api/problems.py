"""Errors as problem documents (RFC 9457): a stable `code`, never a trace, never what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from domain.errors import HubError, MappingError, RefusedError, RetryableError
from pipeline.receipts import build_problem, document_problem, encode
from pipeline.regroup import MERGE_REFUSALS
from pipeline.trouble import read_trouble

MEDIA = "application/problem+json"
RETRY_AFTER = "5"
_STATUS = {
    "unauthenticated": 401,
    "forbidden": 403,
    "no_intake": 403,
    "approval_scope": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "slow_body": 408,
    "already_resolved": 409,
    "not_waivable": 409,
    "order_not_cancellable": 409,
    "not_ready": 409,
    "already_pushed": 409,
    "not_merged": 409,
    "reroute_impossible": 409,
    **dict.fromkeys(MERGE_REFUSALS, 409),
    "body_too_large": 413,
    "decoded_too_large": 413,
    "batch_too_large": 413,
    "content_encoding": 415,
    "idempotency_key_missing": 400,
    "idempotency_key_invalid": 400,
    "ambiguous_length": 400,
    "broken_encoding": 400,
    "cursor": 400,
    "zero_byte": 400,
    "disk_full": 507,
}
# What the strict reader says about bytes that are no JSON of ours; a fault with a path is about the content.
_MALFORMED = frozenset({"json", "encoding", "depth", "number", "string_too_long", "duplicate_key"})
_NOTHING = "there is nothing here, or it is not yours"
_TITLES = {"unauthenticated": "No valid API key", "not_found": "Not found"}


def problem(status: int, code: str, detail: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """A problem response. 401 says how to authenticate, 503 and 507 when to come again."""
    title = _TITLES.get(code) or HTTPStatus(status).phrase
    return _send(status, build_problem(status, code, title, detail), headers)


def _send(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    told = dict(headers or {})
    if status == HTTPStatus.UNAUTHORIZED:
        told["WWW-Authenticate"] = "Bearer"
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE}:
        told["Retry-After"] = RETRY_AFTER
    return Response(encode(body), status, told, MEDIA)


def problem_of(error: Exception) -> Response | None:
    """The response for an error raised on purpose or by the database; None for a fault of ours."""
    known = error if isinstance(error, HubError) else read_trouble(error)
    if known is None:
        return None
    if isinstance(known, MappingError):
        status, body = document_problem(known, malformed=known.code in _MALFORMED and not known.path)
        return _send(status, body)
    status = _STATUS.get(known.code) or (503 if isinstance(known, RetryableError) else 0)
    if status == HTTPStatus.NOT_FOUND:
        # One text for everything that is not there and everything that is not yours (P21).
        return problem(status, "not_found", _NOTHING)
    if status:
        return problem(status, known.code, known.detail)
    if isinstance(known, RefusedError):
        return problem(422, known.code, known.detail)
    # A configuration that stops us is the operator's business: the caller hears that it is not its fault.
    return problem(503, "misconfigured", "the hub needs its operator")


def add_handlers(app: FastAPI) -> None:
    """Let every error of this application become a problem document."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HubError, _on_hub_error)


async def _on_http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, f"http_{status}")
    headers = error.headers if isinstance(error, HTTPException) else None
    return problem(status, code, _NOTHING if status == HTTPStatus.NOT_FOUND else "", headers)


async def _on_validation(_: Request, error: Exception) -> Response:
    """What FastAPI refuses: parameters. Their values are not repeated."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    errors = [
        {"parameter": ".".join(str(part) for part in entry["loc"][1:]), "code": entry["type"], "detail": entry["msg"]}
        for entry in found[:20]
    ]
    return _send(422, build_problem(422, "parameter", "A parameter is not valid", "", errors))


async def _on_hub_error(_: Request, error: Exception) -> Response:
    return problem_of(error) or problem(500, "internal")
