"""Stock, listings, bundles and goods, brought by operators' systems. PUT and POST mean the same."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from pipeline.access import Caller
from pipeline.supply import put_bundle_text, put_goods_text, put_listings_text, put_stock_text

from .callers import OWNERS, allow
from .documents import BUNDLE, GOODS, LISTINGS, STOCK, body, problems
from .orders import Ours, Raw

router = APIRouter(prefix="/v1", tags=["supply"])
Owner = Annotated[Caller, Depends(allow(OWNERS))]


@router.put("/stock", operation_id="put_stock", responses=problems(404), openapi_extra=body(STOCK))
@router.post("/stock", operation_id="post_stock", responses=problems(404), openapi_extra=body(STOCK))
def put_stock(caller: Owner, hub: Ours, raw: Raw) -> dict[str, Any]:
    """Set what a warehouse has on hand; orders that waited for it are decided again before the answer."""
    return put_stock_text(hub, raw, actor=caller.actor)


@router.put("/listings", operation_id="put_listings", responses=problems(404), openapi_extra=body(LISTINGS))
@router.post("/listings", operation_id="post_listings", responses=problems(404), openapi_extra=body(LISTINGS))
def put_listings(caller: Owner, hub: Ours, raw: Raw) -> dict[str, Any]:
    """Map source SKUs to ours; what is given for a source SKU replaces what it was mapped to."""
    return put_listings_text(hub, raw, actor=caller.actor)


@router.put("/bundles", operation_id="put_bundle", responses=problems(), openapi_extra=body(BUNDLE))
@router.post("/bundles", operation_id="post_bundle", responses=problems(), openapi_extra=body(BUNDLE))
def put_bundle(caller: Owner, hub: Ours, raw: Raw) -> dict[str, Any]:
    """Define a bundle; orders keep the version they were taken with."""
    return put_bundle_text(hub, raw, actor=caller.actor)


@router.put("/goods", operation_id="put_goods", responses=problems(), openapi_extra=body(GOODS))
@router.post("/goods", operation_id="post_goods", responses=problems(), openapi_extra=body(GOODS))
def put_goods(caller: Owner, hub: Ours, raw: Raw) -> dict[str, Any]:
    """Say what is known of our SKUs: weight, volume, supplier, classes; what is left out keeps its value."""
    return put_goods_text(hub, raw, actor=caller.actor)
