"""Orders brought to their end without a network: their pushes are accepted, their warehouses tell one parcel each, through
the same claims, settlements and documents as with one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pipeline.absorb import absorb
from pipeline.bootstrap import Hub
from pipeline.dispatch import claim
from pipeline.sending import Job, Outcome
from pipeline.settle import settle
from storage.inbox import Arrival, put_arrivals, seal_arrivals
from storage.rows import Row

_TURNS = 100_000
_CONFIRM = """<?xml version="1.0" encoding="utf-8"?>
<request>
  <deliveryOrder><deliveryOrderCode>{code}</deliveryOrderCode><deliveryOrderId>{ref}</deliveryOrderId><warehouseCode>WH01</warehouseCode><orderType>JYCK</orderType>
    <status>DELIVERED</status><outBizCode>{ref}-1</outBizCode><confirmType>0</confirmType><orderConfirmTime>{at}</orderConfirmTime><operateTime>{at}</operateTime></deliveryOrder>
  <packages><package><logisticsCode>SF</logisticsCode><logisticsName>顺丰速运</logisticsName><expressCode>{tracking}</expressCode><packageCode>PKG-1</packageCode><weight>0.52</weight><volume>2.0</volume>
    <items>{items}</items></package></packages>
  <orderLines>{lines}</orderLines>
</request>
"""
_ITEM = (
    "<item><itemCode>{sku}</itemCode><itemId>WMS-{sku}</itemId><quantity>{units}</quantity>"
    "<orderLineNo>{no}</orderLineNo></item>"
)
_LINE = (
    "<orderLine><orderLineNo>{no}</orderLineNo><orderSourceCode>{order}</orderSourceCode><itemCode>{sku}</itemCode>"
    "<itemId>WMS-{sku}</itemId><inventoryType>ZP</inventoryType><ownerCode>OWNER1</ownerCode><planQty>{units}</planQty>"
    "<actualQty>{units}</actualQty></orderLine>"
)


def finish_orders(hub: Hub, *, batch: int = 500) -> int:
    """Send everything that is due to warehouses that accept it, and absorb what they tell; returns how many parcels left."""
    parcels = 0
    for _ in range(_TURNS):
        jobs = claim(hub, batch)
        if not jobs:
            break
        settle(hub, [Outcome(row=job.row, end="done", reference=_reference(job)) for job in jobs])
        _tell(hub, jobs)
        while absorb(hub):
            pass
        parcels += len(jobs)
    return parcels


def _reference(job: Job) -> str:
    return f"WMS{job.row['id'] % 10**10:010d}"


def _tell(hub: Hub, jobs: Sequence[Job]) -> None:
    at = (hub.clock() + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")
    told = []
    for job in jobs:
        body = _confirm(job, at).encode()
        key = f"{job.code}:{_reference(job)}-1"
        target = job.row["target_id"]
        told.append(Arrival(source_kind="warehouse", source_id=target, kind="shipment", external_id=key, body=body))
    with hub.write() as tx:
        put_arrivals(tx, seal_arrivals(hub.vault, hub.ids.take, told), hub.now())


def _confirm(job: Job, at: str) -> str:
    rows: list[Row] = sorted(job.dossier.lines_of(job.row["fulfilment_id"]), key=lambda row: (row["line"], row["sku"]))
    numbered = [
        {"no": n, "sku": row["sku"], "units": row["quantity"], "order": job.dossier.order["external_id"]}
        for n, row in enumerate(rows, 1)
    ]
    return _CONFIRM.format(
        code=job.code,
        ref=_reference(job),
        at=at,
        tracking=f"SF{job.row['id'] % 10**13:013d}",
        items="".join(_ITEM.format(**each) for each in numbered),
        lines="".join(_LINE.format(**each) for each in numbered),
    )
