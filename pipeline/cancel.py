"""Cancels and intercepts (domain.md §7): before a push at once, after it as a question to the warehouse, and never a
push that starts after a cancel was committed."""

from __future__ import annotations

from collections.abc import Iterable

from domain.states import FulfilmentState, on_cancel
from storage import orders as stored
from storage.rows import Row

from .dossier import Dossier
from .exceptional import clear_exceptions, raise_exception
from .plan import add_outbox, drop_plan, refresh_status, release_units, set_state
from .workspace import Workspace


def cancel_order(ws: Workspace, dossier: Dossier, *, actor: str, why: str) -> None:
    """Commit a cancel of the whole order: told twice, it does nothing twice."""
    if dossier.order["cancelled_at"] is None:
        dossier.order["cancelled_at"] = ws.now
        dossier.note(actor, "cancel", why=why)
    elif dossier.order["status"] == "closed":
        return
    drop_plan(ws, dossier)
    outside = dossier.live()
    intercept(ws, dossier, [row for row in outside if row["state"] not in {"shipped", "delivered"}], why=why)
    if any(row["state"] in {"shipped", "delivered"} for row in outside) or dossier.packages:
        raise_exception(ws, dossier, "cancel_too_late", {"why": why, "packages": len(dossier.packages)})
    if not outside:
        clear_exceptions(ws, dossier, None, actor="hub", how="the order is cancelled")
    refresh_status(dossier)


def intercept(ws: Workspace, dossier: Dossier, fulfilments: Iterable[Row], *, why: str) -> None:
    """Ask the warehouses to stop these fulfilments. While a push is in flight the question waits for its outcome."""
    for row in fulfilments:
        target = on_cancel(_state(row))
        if target is None:
            continue
        push = dossier.outbox_of("push", row["id"])
        in_flight = push is not None and push["state"] in {"sending", "unknown", "waiting"}
        set_state(ws, row, target)
        asked = dossier.outbox_of("cancel", row["id"])
        if asked is None or asked["state"] in {"done", "refused", "withdrawn", "parked"}:
            turn = sum(
                1 for old in dossier.outbox.values() if old["kind"] == "cancel" and old["fulfilment_id"] == row["id"]
            )
            state = "waiting" if in_flight else "due"
            add_outbox(
                ws, dossier, "cancel", "warehouse", row["warehouse_id"], row, due_at=ws.now, state=state, turn=turn
            )
        dossier.note("hub", "intercept", fulfilment=row["code"], why=why)


def cancel_answered(ws: Workspace, dossier: Dossier, fulfilment: Row, *, cancelled: bool, detail: str) -> None:
    """What the warehouse said to a cancel: it gives the goods back, or it ships them all the same."""
    if fulfilment["state"] != "cancelling":
        return
    if cancelled:
        release_units(dossier, fulfilment)
        set_state(ws, fulfilment, "cancelled")
        dossier.note("warehouse", "cancelled", fulfilment=fulfilment["code"])
    else:
        set_state(ws, fulfilment, "accepted")
        dossier.note("warehouse", "cancel_refused", fulfilment=fulfilment["code"])
        raise_exception(ws, dossier, "cancel_refused", {"fulfilment": fulfilment["code"], "detail": detail})
    refresh_status(dossier)
    if dossier.order["status"] == "closed":
        clear_exceptions(ws, dossier, None, actor="hub", how="the order is cancelled")


def put_tombstone(ws: Workspace, account_id: int, external_id: str, why: str) -> None:
    """Remember a cancel that came before its order: the order will be stored closed and never pushed."""
    row = {"account_id": account_id, "external_id": external_id, "reason": why, "created_at": ws.now}
    stored.put_tombstone(ws.tx, row)
    ws.tombstones.add((account_id, external_id))


def _state(row: Row) -> FulfilmentState:
    state: FulfilmentState = row["state"]
    return state
