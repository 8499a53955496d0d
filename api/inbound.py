"""What warehouses and channels call: authenticated by a signature over the raw bytes, stored before it is answered."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from pipeline.hooks import answer_callback, take_webhook

from .documents import problems
from .orders import Ours, Raw

router = APIRouter(tags=["inbound"])
_ANY = {"requestBody": {"required": True, "content": {"*/*": {"schema": {}}}}}


@router.post("/callbacks/{warehouse}", responses=problems(), openapi_extra=_ANY)
def post_callback(request: Request, hub: Ours, raw: Raw, warehouse: str) -> Response:
    """Shipping news from a warehouse, answered in its own format."""
    status, media, answer = answer_callback(hub, warehouse, dict(request.query_params), _lowered(request), raw)
    return Response(answer, status, media_type=media)


@router.post("/webhooks/{account}", status_code=204, responses=problems(), openapi_extra=_ANY)
def post_webhook(request: Request, hub: Ours, raw: Raw, account: str) -> Response:
    """A channel's hint that something changed. A delivery that came before is answered like the first."""
    take_webhook(hub, account, _lowered(request), raw)
    return Response(status_code=204)


def _lowered(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}
