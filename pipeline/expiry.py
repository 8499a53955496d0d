"""Reservations of orders nobody has paid for in time: given back."""

from __future__ import annotations

from storage.orders import list_reservations_due

from .bootstrap import Hub
from .plan import drop_plan, refresh_status
from .workspace import Workspace, load_goods, load_orders, open_workspace, write_workspace

_TURNS = 1_000


def end_reservations(hub: Hub) -> int:
    """Give back what unpaid orders have reserved for longer than their account allows; returns how many orders. They stay
    open: paid later, they are planned anew from what there is then."""
    done = 0
    for _ in range(_TURNS):
        with hub.write() as tx:
            ids = list_reservations_due(tx, now=hub.now(), limit=hub.settings.batch)
            if not ids:
                break
            ws = open_workspace(hub, tx, hub.clock())
            load_orders(ws, ids)
            load_goods(ws, (), {line["sku"] for d in ws.dossiers.values() for line in d.fulfilment_lines.values()})
            done += sum(_end(ws, order_id) for order_id in ids)
            write_workspace(ws)
    return done


def _end(ws: Workspace, order_id: int) -> bool:
    dossier = ws.dossier(order_id)
    until = dossier.order["reserved_until"]
    if until is None or until > ws.now:
        return False  # it was paid while we waited for its lock
    dossier.order["reserved_until"] = None
    dossier.private["reservation_over"] = True
    drop_plan(ws, dossier)
    dossier.note("hub", "reservation_ended", why="not paid in time")
    refresh_status(dossier)
    ws.keep(dossier)
    return True
