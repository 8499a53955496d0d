"""Orders: posted by partners, listed, looked at, cancelled."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pipeline.access import Caller
from pipeline.bootstrap import Hub
from pipeline.desk import (
    cancel_external,
    cancel_number,
    merge_number,
    reroute_number,
    send_number_now,
    unmerge_number,
)
from pipeline.explanation import explain_number
from pipeline.intake import Intake
from pipeline.order_view import by_external, order_id_of, order_view, partner_order
from pipeline.posts import read_post
from pipeline.views import list_orders

from .callers import CANCELLERS, PARTNERS, READERS, WORKERS, HeadersTold, allow, caller_of, hub_of
from .documents import MERGE, NOTE, REASON, REROUTE, body, problems
from .problems import MEDIA

router = APIRouter(prefix="/v1/orders", tags=["orders"])
Reader = Annotated[Caller, Depends(allow(READERS))]
Canceller = Annotated[Caller, Depends(allow(CANCELLERS))]
Worker = Annotated[Caller, Depends(allow(WORKERS))]
Ours = Annotated[Hub, Depends(hub_of)]
Status = Literal["pending_payment", "pending_shipment", "partially_shipped", "shipped", "completed", "closed"]
Text = Annotated[str, Query(max_length=200)]
Cursor = Annotated[str, Query(max_length=400, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=200)]


async def raw_body(request: Request) -> bytes:
    """The bytes as sent (decoded once): the pipeline's strict reader reads them."""
    return await request.body()


Raw = Annotated[bytes, Depends(raw_body)]


class Posting:
    """The two routes that take orders, as plain ASGI: nothing looks at a request twice, and the answer comes after the commit.
    The body was read, bounded and decoded by the guard."""

    def __init__(self, hub: Hub, intake: Intake, *, many: bool) -> None:
        self._hub, self._intake, self._many = hub, intake, many

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = HeadersTold(scope)
        caller = await caller_of(self._hub, told.bearer(), PARTNERS)
        key, message = told.idempotency_key(), await receive()
        if self._many:
            # Taking a large body apart must not hold up the others.
            post = await run_in_threadpool(partial(read_post, caller, key, message["body"], many=True))
        else:
            post = read_post(caller, key, message["body"])
        reply = await self._intake.answer(post)
        headers = [
            (b"content-length", str(len(reply.body)).encode()),
            _PROBLEM if reply.status >= 400 else _JSON,
            *([_REPLAYED] if reply.replayed else []),
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})


_JSON, _PROBLEM = (b"content-type", b"application/json"), (b"content-type", MEDIA.encode())
_REPLAYED = (b"idempotent-replayed", b"true")


def posting_routes(hub: Hub, intake: Intake) -> list[Route]:
    """The hot routes: FastAPI has no part in them; documents.py describes them."""
    return [
        Route("/v1/orders", Posting(hub, intake, many=False), methods=["POST"]),
        Route("/v1/orders:batch", Posting(hub, intake, many=True), methods=["POST"]),
    ]


@router.get("", responses=problems())
def get_orders(
    caller: Reader,
    hub: Ours,
    account: Text = "",
    status: Status | None = None,
    updated_since: AwareDatetime | None = None,
    search: Text = "",
    cursor: Cursor = "",
    limit: Limit = 50,
) -> dict[str, Any]:
    """Orders by last change, the oldest first. Follow `next` to the end; then start again with `updated_since` set to
    `resume`. A page may be short and still have a `next`. An order that changed meanwhile comes twice: the higher
    `revision` is the newer one."""
    page = list_orders(
        hub,
        partner_id=caller.partner_id,
        account=account,
        status=status or "",
        updated_since=updated_since,
        search=search,
        after_cursor=cursor,
        limit=limit,
    )
    return {"orders": page.rows, "next": page.next or None, "resume": page.resume}


@router.get("/by-external/{account}/{external_id:path}", responses=problems(404))
def get_order_by_external(caller: Reader, hub: Ours, account: str, external_id: str) -> dict[str, Any]:
    """One order by its source's own id."""
    return _show(hub, caller, by_external(hub, account, external_id, partner_id=caller.partner_id))


@router.post(
    "/by-external/{account}/{external_id:path}/cancel",
    responses=problems(404, 409),
    openapi_extra=body(REASON, required=False),
)
def post_cancel_by_external(caller: Canceller, hub: Ours, raw: Raw, account: str, external_id: str) -> dict[str, Any]:
    """Cancel by the source's id. An order that has not come yet will be stored closed when it comes (`number` is "")."""
    return cancel_external(hub, caller, account, external_id, raw)


@router.get("/{number}", responses=problems(404))
def get_order(caller: Reader, hub: Ours, number: str) -> dict[str, Any]:
    """One order by its number, in any of the styles people type."""
    return _show(hub, caller, order_id_of(hub, number, partner_id=caller.partner_id))


@router.get("/{number}/explanation", responses=problems(404))
def get_explanation(
    caller: Reader,
    hub: Ours,
    number: str,
    instead: Annotated[
        str, Query(max_length=300, description="warehouse=NAME, rule=ID, carrier=NAME or release: why not that")
    ] = "",
) -> dict[str, Any]:
    """Why the order was decided as it was, decided again with what was known then; with `instead`, why not otherwise and
    the smallest change that would have made the difference. A partner is told the outcome of its own order only."""
    return explain_number(hub, caller, number, instead)


@router.post("/{number}/cancel", responses=problems(404, 409), openapi_extra=body(REASON, required=False))
def post_cancel(caller: Canceller, hub: Ours, raw: Raw, number: str) -> dict[str, Any]:
    """Cancel an order: at once before its push, afterwards as a question to the warehouse. Twice is the same as once."""
    return cancel_number(hub, caller, number, raw)


@router.post("/{number}/send-now", responses=problems(404, 409), openapi_extra=body(NOTE, required=False))
def post_send_now(caller: Worker, hub: Ours, raw: Raw, number: str) -> dict[str, Any]:
    """Let a released order go out at once, whatever the delay window and its schedule say."""
    return send_number_now(hub, caller, number, raw)


@router.post("/{number}/merge", responses=problems(404, 409), openapi_extra=body(MERGE))
def post_merge(caller: Worker, hub: Ours, raw: Raw, number: str) -> dict[str, Any]:
    """Let two orders share a parcel that nobody has been told of yet. A refusal names the first check that fails."""
    return merge_number(hub, caller, number, raw)


@router.post("/{number}/unmerge", responses=problems(404, 409))
def post_unmerge(caller: Worker, hub: Ours, raw: Raw, number: str) -> dict[str, Any]:
    """Take an order out of the parcel it would share, until it is pushed. It is not merged again by itself."""
    return unmerge_number(hub, caller, number, raw)


@router.post("/{number}/reroute", responses=problems(404, 409), openapi_extra=body(REROUTE))
def post_reroute(caller: Worker, hub: Ours, raw: Raw, number: str) -> dict[str, Any]:
    """Plan an order anew for a named warehouse ("" for the one the rules choose), until it is pushed."""
    return reroute_number(hub, caller, number, raw)


def _show(hub: Hub, caller: Caller, order_id: int) -> dict[str, Any]:
    return order_view(hub, order_id) if caller.staff else partner_order(hub, order_id)
