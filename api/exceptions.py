"""Exceptions: typed work for a person, and what the person did about it."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter

from pipeline.desk import resolve_exception, retry_exception
from pipeline.order_view import partner_exception
from pipeline.views import count_exceptions, exception_view, list_exceptions

from .documents import NOTE, RESOLVE, body, problems
from .orders import Cursor, Limit, Ours, Raw, Reader, Text, Worker

router = APIRouter(prefix="/v1/exceptions", tags=["exceptions"])


@router.get("", responses=problems())
def get_exceptions(
    caller: Reader,
    hub: Ours,
    state: Literal["open", "snoozed", "resolved"] = "open",
    code: Text = "",
    account: Text = "",
    cursor: Cursor = "",
    limit: Limit = 50,
) -> dict[str, Any]:
    """Exceptions in one state, the oldest first, with how many there are by code (counted up to 10 000)."""
    page = list_exceptions(
        hub, partner_id=caller.partner_id, state=state, code=code, account=account, after=cursor, limit=limit
    )
    rows = page.rows if caller.staff else [partner_exception(row) for row in page.rows]
    return {
        "exceptions": rows,
        "next": page.next or None,
        "counts": count_exceptions(hub, partner_id=caller.partner_id),
    }


@router.get("/{exception}", responses=problems(404))
def get_exception(caller: Reader, hub: Ours, exception: str) -> dict[str, Any]:
    """One exception, with the values to choose from and what can be done."""
    view = exception_view(hub, exception, partner_id=caller.partner_id)
    return view if caller.staff else partner_exception(view)


@router.post("/{exception}/resolve", responses=problems(404, 409), openapi_extra=body(RESOLVE))
def post_resolve(caller: Worker, hub: Ours, raw: Raw, exception: str) -> dict[str, Any]:
    """Fix, release, cancel or dismiss. A release waives a code for this order; it never edits a verdict."""
    return resolve_exception(hub, caller, exception, raw)


@router.post("/{exception}/retry", responses=problems(404, 409), openapi_extra=body(NOTE, required=False))
def post_retry(caller: Worker, hub: Ours, raw: Raw, exception: str) -> dict[str, Any]:
    """Read the document once more, or send what was parked; what may have happened is looked up first."""
    return retry_exception(hub, caller, exception, raw)
