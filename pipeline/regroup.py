"""What a person does about parcels until they are pushed: merge two orders, take an order out again, send it from another
warehouse. Each changes the orders' plans under their locks, and is written to their logs."""

from __future__ import annotations

from domain.errors import RefusedError
from domain.merging import OBSTACLES, SAME, Candidate, find_difference, find_obstacle
from storage.merges import list_company
from storage.rows import Row

from .bootstrap import Hub
from .dossier import Dossier
from .merging import join, leave, merge_key, read_candidate
from .plan import KNOWN_OUTSIDE, UNPUSHED
from .review import Reviewed, id_of_number, load_with_goods, replan, result_of
from .workspace import Workspace, open_workspace, write_workspace

# Why a merge by hand is refused: a fulfilment that ships alone, two that differ, one order twice.
MERGE_REFUSALS = (*OBSTACLES, *(code for _, code in SAME), "merge_same")


def merge_orders(hub: Hub, number: str, other: str, *, actor: str) -> Reviewed:
    """Let two orders travel together although one was taken out before, or their window has ended. The same checks as ever:
    RefusedError with the code of the first that fails (`merge_…`), or `not_found`."""
    ids = (id_of_number(number), id_of_number(other))
    if ids[0] == ids[1]:
        raise RefusedError("merge_same", "an order cannot be merged with itself")
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        load_with_goods(ws, ids)
        if len(ws.dossiers) < 2:
            raise RefusedError("not_found", "there is no such order")
        dossiers = [ws.dossier(order_id) for order_id in ids]
        found = [_waiting(ws, dossier) for dossier in dossiers]
        code = find_difference(found[0][1], found[1][1])
        if code:
            raise RefusedError(code, "these two orders differ in what must be equal in one parcel")
        key = merge_key(ws, found[0][1])
        for dossier, (fulfilment, _), company in zip(dossiers, found, reversed(dossiers), strict=True):
            dossier.private.pop("apart", None)
            join(dossier, fulfilment, key, dossier.private["merging"]["until"])
            dossier.note(actor, "merged", fulfilment=fulfilment["code"], order=company.order["number"])
            ws.keep(dossier)
        write_workspace(ws)
        return result_of(dossiers[0])


def unmerge_order(hub: Hub, number: str, *, actor: str) -> Reviewed:
    """Take an order out of the parcel it would share; it waits for nobody again unless a person merges it. RefusedError
    `not_merged`, `already_pushed`, `not_found`."""
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        dossier = _one(ws, number)
        rows = [row for row in dossier.live() if row["merge_key"] is not None or row["merge_id"] is not None]
        if any(row["state"] not in UNPUSHED for row in rows):
            raise RefusedError("already_pushed", "its parcel is with the warehouse: cancel it there instead")
        if not rows:
            raise RefusedError("not_merged", "it shares no parcel and waits for none")
        dossier.private["apart"] = True
        for row in rows:
            company = list_company(tx, row)
            leave(dossier, row)
            dossier.note(actor, "unmerged", fulfilment=row["code"], orders=company, why="taken out by a person")
        ws.keep(dossier)
        write_workspace(ws)
        return result_of(dossier)


def reroute_order(hub: Hub, number: str, warehouse: str, *, actor: str) -> Reviewed:
    """Plan an order anew for this warehouse ("": for the one the rules choose). RefusedError `warehouse_unknown`,
    `already_pushed`, `reroute_impossible` with what stands against it, `not_found`; then nothing has changed."""
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        dossier = _one(ws, number)
        if warehouse and warehouse not in {target.name for target in ws.directory.targets.values()}:
            raise RefusedError("warehouse_unknown", f"there is no warehouse {warehouse[:60]}")
        if any(row["state"] in KNOWN_OUTSIDE for row in dossier.live()) or not _is_open(dossier):
            raise RefusedError("already_pushed", "a warehouse has it already, or it has ended")
        dossier.private.pop("warehouse", None)
        if warehouse:
            dossier.private["warehouse"] = warehouse
        dossier.note(actor, "rerouted", warehouse=warehouse)
        replan(ws, dossier)
        done = result_of(dossier)
        names = {ws.directory.targets[row["warehouse_id"]].name for row in dossier.live()}
        if warehouse and names != {warehouse}:
            raise RefusedError("reroute_impossible", " ".join(done.still_open) or "it cannot be sent from there")
        ws.keep(dossier)
        write_workspace(ws)
        return done


def _one(ws: Workspace, number: str) -> Dossier:
    order_id = id_of_number(number)
    load_with_goods(ws, [order_id])
    if order_id not in ws.dossiers:
        raise RefusedError("not_found", "there is no such order")
    return ws.dossier(order_id)


def _waiting(ws: Workspace, dossier: Dossier) -> tuple[Row, Candidate]:
    """The one fulfilment of an order that may share a parcel. RefusedError with the code of the first check that fails."""
    account = ws.directory.accounts[dossier.order["account_id"]]
    live = dossier.live()
    if not live:
        raise RefusedError("merge_not_ready", f"{dossier.order['number']} has nothing to send")
    candidate = read_candidate(ws, dossier, live[0], account)
    code = find_obstacle(candidate)
    if code:
        raise RefusedError(code, f"{dossier.order['number']} ships alone")
    return live[0], candidate


def _is_open(dossier: Dossier) -> bool:
    return dossier.order["cancelled_at"] is None and dossier.order["status"] in {
        "pending_payment",
        "pending_shipment",
        "partially_shipped",
    }
