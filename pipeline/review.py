"""What a person does about an exception: fix and read again, release, retry, cancel, snooze, assign, dismiss.

Every action takes the order's lock, so two people cannot both resolve one exception, and is written to the order's log
with who did it. A person's release waives codes, it never edits the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from domain.errors import HubError, RefusedError
from domain.merging import Group
from domain.numbers import read_order_number
from storage.exception_lists import find_exception
from storage.exceptions import list_curable_orders, lock_exception, save_exception, wake_exceptions
from storage.inbox import load_documents, open_body, settle_documents
from storage.merges import list_mates, load_merges
from storage.order_reads import find_order_owner
from storage.rows import Row
from storage.times import micros

from .absorb import absorb_rows
from .bootstrap import Hub
from .cancel import cancel_order, put_tombstone
from .corrections import read_correction
from .directory import read_directory
from .dossier import Dossier
from .exceptional import APPROVE, LASTING, clear_exceptions, open_codes
from .limits import curable
from .merging import merge_of
from .plan import refresh_status, set_state
from .reading import newest_content, read_order
from .sessions import warehouse_session
from .take_order import read_again
from .workspace import (
    Workspace,
    count_stored_history,
    find_orders,
    load_goods,
    load_orders,
    open_workspace,
    write_workspace,
)

Action = Literal["fix", "release", "retry", "cancel", "dismiss"]
# A person cannot wave these through: what is missing is missing.
NOT_WAIVABLE = frozenset({"sku_unmapped", "sku_ambiguous", "unpaid", "no_warehouse", "currency_unknown"})


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What an action led to: the order's number ("" for a document that is no order yet), its status, what is still open."""

    number: str
    status: str
    still_open: tuple[str, ...]


def review(
    hub: Hub,
    exception_id: int,
    action: Action,
    *,
    actor: str,
    fixes: Sequence[tuple[str, str]] = (),
    note: str = "",
    scope: str = "clerk",
) -> Reviewed:
    """Act on one open exception; `scope` is what the actor's key may do. RefusedError `not_found`, `already_resolved`,
    `not_waivable`, `correction`, `order_not_cancellable`, `approval_scope`."""
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        row = _open_row(ws, exception_id)
        if action == "release":
            check_approval(row["code"], scope)
        if row["order_id"] is None:
            reviewed = _review_document(ws, row, action, actor=actor, note=note)
        else:
            reviewed = _review_order(ws, row, action, actor=actor, fixes=fixes, note=note)
        write_workspace(ws)
        return reviewed


def check_approval(code: str, scope: str) -> None:
    """Whether a key of this scope may release this code: a clerk approves what waits for the service stage, everything
    else that waits for approval is for admins. RefusedError `approval_scope`."""
    if code.startswith(APPROVE) and scope != "admin" and not (code == f"{APPROVE}service" and scope == "clerk"):
        raise RefusedError("approval_scope", f"{code.removeprefix(APPROVE)}: an admin has to approve this")


def cancel_by_number(hub: Hub, number: str, *, actor: str, why: str, partner_id: int | None = None) -> Reviewed:
    """Cancel an order for its partner or for staff. RefusedError `not_found` (also for another partner's order) and
    `order_not_cancellable` once everything has shipped."""
    order_id = id_of_number(number)
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        found = find_order_owner(tx, order_id)
        if found is None or (partner_id is not None and found["partner_id"] != partner_id):
            raise RefusedError("not_found", "there is no such order")
        load_with_goods(ws, [order_id])
        dossier = ws.dossier(order_id)
        _cancel(ws, dossier, actor=actor, why=why)
        ws.keep(dossier)
        write_workspace(ws)
        return result_of(dossier)


def id_of_number(number: str) -> int:
    """The id behind an order number as people type it. RefusedError `not_found` - also for one that cannot be a number."""
    try:
        return read_order_number(number)[1]
    except RefusedError:
        raise RefusedError("not_found", "there is no such order") from None


def cancel_by_external(hub: Hub, account_id: int, external_id: str, *, actor: str, why: str) -> Reviewed:
    """Cancel an order by its source's id; one that is not known yet leaves a tombstone, and will never be pushed."""
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        find_orders(ws, [(account_id, external_id)])
        order_id = ws.by_external.get((account_id, external_id))
        if order_id is None:
            put_tombstone(ws, account_id, external_id, why)
            return Reviewed("", "closed", ())
        load_with_goods(ws, [order_id])
        dossier = ws.dossier(order_id)
        _cancel(ws, dossier, actor=actor, why=why)
        ws.keep(dossier)
        write_workspace(ws)
        return result_of(dossier)


def replan_orders(hub: Hub, order_ids: Iterable[int], *, actor: str) -> int:
    """Check and decide open orders again - after new listings, new stock or new rules. Returns how many were looked at."""
    done = 0
    ids = sorted(set(order_ids))
    for start in range(0, len(ids), hub.settings.batch):
        with hub.write() as tx:
            ws = open_workspace(hub, tx, hub.clock())
            load_with_goods(ws, ids[start : start + hub.settings.batch])
            for order_id in list(ws.dossiers):
                dossier = ws.dossier(order_id)
                if dossier.order["status"] in {"pending_shipment", "partially_shipped", "pending_payment"}:
                    try:
                        replan(ws, dossier)
                    except HubError:
                        continue  # it cannot be read any more: it stays as it is, and the others go on
                    ws.keep(dossier)
                    done += 1
            write_workspace(ws)
    return done


def use_free_credit(hub: Hub) -> int:
    """Decide again the orders that were stopped because the credit was exceeded and now have room; returns how many."""
    with hub.read() as tx:
        ids = curable(tx, read_directory(hub, tx), most=hub.settings.batch)
    return replan_orders(hub, ids, actor="hub")


def send_now(hub: Hub, number: str, *, actor: str, partner_id: int | None = None) -> Reviewed:
    """Let a released order go out at once, whatever the delay window and its schedule say. RefusedError `not_found`,
    `not_ready` when nothing of it waits for its time."""
    order_id = id_of_number(number)
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        found = find_order_owner(tx, order_id)
        if found is None or (partner_id is not None and found["partner_id"] != partner_id):
            raise RefusedError("not_found", "there is no such order")
        load_with_goods(ws, [order_id])
        dossier = ws.dossier(order_id)
        pushes = [dossier.outbox_of("push", row["id"]) for row in dossier.live() if row["state"] == "ready"]
        first = [push for push in pushes if push is not None and push["state"] == "due" and not push["attempts"]]
        waiting = [push for push in first if push["due_at"] > ws.now]
        if not waiting:
            raise RefusedError("not_ready", "nothing of this order waits for its time")
        for push in waiting:
            push["due_at"] = ws.now
        dossier.private["at_once"] = True
        dossier.note(actor, "sent_at_once")
        ws.keep(dossier)
        write_workspace(ws)
        return result_of(dossier)


def cured_by(hub: Hub, codes: Iterable[str], *, account_id: int | None = None, limit: int = 1000) -> list[int]:
    """Orders with an open exception of these codes: what a new listing or new stock may cure."""
    with hub.read() as tx:
        return list_curable_orders(tx, codes, account_id=account_id, limit=limit)


def assign(hub: Hub, exception_id: int, assignee: str, *, actor: str) -> None:
    """Give an open exception to somebody ("" = nobody)."""
    _set(hub, exception_id, {"assignee": assignee}, actor, "assigned")


def snooze(hub: Hub, exception_id: int, until: datetime | None, *, actor: str) -> None:
    """Put an exception away until a time; None wakes it."""
    state = "open" if until is None else "snoozed"
    values = {"state": state, "snoozed_until": None if until is None else micros(until)}
    _set(hub, exception_id, values, actor, "woken" if until is None else "snoozed")


def wake_snoozed(hub: Hub) -> int:
    """Open again what was snoozed until now."""
    now = hub.now()
    with hub.write() as tx:
        return wake_exceptions(tx, now=now)


def _review_order(
    ws: Workspace, row: Row, action: Action, *, actor: str, fixes: Sequence[tuple[str, str]], note: str
) -> Reviewed:
    load_with_goods(ws, [row["order_id"]])
    dossier = ws.dossier(row["order_id"])
    dossier.note(actor, f"review_{action}", code=row["code"], note=note, fields=[path for path, _ in fixes])
    if action == "cancel":
        _cancel(ws, dossier, actor=actor, why=note or "cancelled by staff")
    elif action == "dismiss":
        if row["code"] not in LASTING:
            raise RefusedError("not_waivable", "its cause is still there: fix or release it")
        clear_exceptions(ws, dossier, [row["code"]], actor=actor, how=note or "dismissed")
        replan(ws, dossier)
    else:
        if action == "fix":
            _correct(ws, dossier, fixes, actor)
        if action == "release":
            _waive(dossier, row["code"])
        clear_exceptions(ws, dossier, [row["code"]], actor=actor, how=note or action)
        _retry_parked(ws, dossier, row, action)
        replan(ws, dossier)
    ws.keep(dossier)
    return result_of(dossier)


def _review_document(ws: Workspace, row: Row, action: Action, *, actor: str, note: str) -> Reviewed:
    """A document that never became an order: read it again, or give it up (it stays stored)."""
    if action == "retry" and row["inbox_id"] is not None:
        orders = absorb_rows(ws, load_documents(ws.tx, [row["inbox_id"]]), again=True)
        if not orders:
            return Reviewed("", "exception", (row["code"],))
        _resolve(ws, row, actor, "read again")
        return result_of(ws.dossiers[next(iter(orders.values()))])
    if action in {"dismiss", "cancel"}:
        _resolve(ws, row, actor, note or action)
        if row["inbox_id"] is not None:
            ended = {"id": row["inbox_id"], "state": "exception", "order_id": None, "error": f"{action} by {actor}"}
            settle_documents(ws.tx, [ended])
        return Reviewed("", "rejected", ())
    if action == "retry":
        _resolve(ws, row, actor, "retried")
        return Reviewed("", "", ())
    raise RefusedError("not_waivable", "a document that cannot be read can only be retried or dismissed")


def _correct(ws: Workspace, dossier: Dossier, fixes: Sequence[tuple[str, str]], actor: str) -> None:
    account = ws.directory.accounts[dossier.order["account_id"]]
    (row,) = load_documents(ws.tx, [dossier.order["inbox_id"]])
    # What a correction replaces is what the source itself says now, not what was corrected before.
    order = read_order(account, open_body(ws.hub.vault, row), ws.at)
    kept = {fix["path"]: fix for fix in dossier.private.get("corrections", [])}
    for path, value in fixes:
        kept[path] = read_correction(order, path, value.strip())
    dossier.private["corrections"] = list(kept.values())
    dossier.note(actor, "corrected", fields=sorted(kept))


def _waive(dossier: Dossier, code: str) -> None:
    if code in NOT_WAIVABLE:
        raise RefusedError("not_waivable", f"{code} cannot be released: fix its cause")
    waived = dossier.private.setdefault("waived", [])
    if code not in waived:
        waived.append(code)


def _retry_parked(ws: Workspace, dossier: Dossier, row: Row, action: Action) -> None:
    """A person says: try again. What may have happened is looked up first, as ever - where nobody but a person can look,
    "retry" means that it is not there, and it is sent again."""
    first = dossier.outbox.get(row["outbox_id"]) if row["outbox_id"] is not None else None
    group = merge_of(ws, dossier, first) if first is not None and first["kind"] == "push" else None
    if group is not None and row["code"] == "outcome_unknown":
        _send_group_again(ws, dossier, group, row, action)
        return
    for outbox in dossier.outbox.values():
        # One exception stands for every sending of its kind that ended so: two parcels, two refusals, one code.
        if first is None or outbox["kind"] != first["kind"] or outbox["state"] not in {"parked", "refused"}:
            continue
        if outbox["kind"] != "push" or outbox["state"] != "refused":
            _send_again(ws, dossier, outbox, row, action)
        # A refused fulfilment is planned anew under a new code.


def _send_group_again(ws: Workspace, acting: Dossier, group: Group, row: Row, action: Action) -> None:
    """What may have happened to one order of a warehouse order may have happened to all of them: one look, or one sending."""
    before = load_merges(ws.tx, [group.id])[group.id]
    for order_id, part in group.members:
        dossier = acting if order_id == acting.id else ws.dossier(order_id)
        push = dossier.outbox_of("push", part)
        if push is None or push["state"] != "parked":
            continue
        _send_again(ws, dossier, push, row, action)
        if push["state"] == "unknown" and part != before["lead_id"]:
            push["state"] = "waiting"
        clear_exceptions(ws, dossier, [row["code"]], actor="hub", how=f"{action} of {group.code}")
        if dossier is not acting:
            ws.keep(dossier)


def _send_again(ws: Workspace, dossier: Dossier, outbox: Row, row: Row, action: Action) -> None:
    state = "unknown" if row["code"] == "outcome_unknown" else "due"
    if state == "unknown" and not _can_look(ws, outbox):
        if action != "retry":
            return
        state = "due"
        fulfilment = dossier.fulfilments.get(outbox["fulfilment_id"])
        if outbox["kind"] == "push" and fulfilment is not None and fulfilment["state"] == "unknown":
            set_state(ws, fulfilment, "ready")
    outbox |= {"state": state, "due_at": ws.now, "attempts": 0, "looks": 0, "updated_at": ws.now}
    if outbox["package_id"] is not None:
        dossier.packages[outbox["package_id"]]["confirm_state"] = "due"


def _can_look(ws: Workspace, outbox: Row) -> bool:
    """Whether the target can tell what became of a sending."""
    if outbox["kind"] == "push":
        target = ws.directory.targets[outbox["target_id"]]
        return target.kind.repeats(warehouse_session(ws.hub, target).settings) != "unsafe"
    channel = ws.directory.accounts[outbox["target_id"]].channel
    return channel.find is not None and channel.can.repeats != "unsafe"


def replan(ws: Workspace, dossier: Dossier) -> None:
    """Check and decide an order anew, unless it has ended."""
    if dossier.order["cancelled_at"] is not None or dossier.order["status"] in {"closed", "completed", "shipped"}:
        return
    account = ws.directory.accounts[dossier.order["account_id"]]
    order = newest_content(ws, dossier, account)
    load_goods(
        ws,
        {(account.id, line.external_sku) for line in order.lines},
        {line["sku"] for line in dossier.fulfilment_lines.values()},
    )
    read_again(ws, dossier, account)


def _cancel(ws: Workspace, dossier: Dossier, *, actor: str, why: str) -> None:
    live = dossier.live()
    if dossier.order["status"] in {"shipped", "completed"} or (
        live and all(row["state"] in {"shipped", "delivered"} for row in live)
    ):
        raise RefusedError("order_not_cancellable", "everything has shipped: open an after-sale instead")
    cancel_order(ws, dossier, actor=actor, why=why)


def load_with_goods(ws: Workspace, order_ids: Iterable[int]) -> None:
    """Lock and load these orders with everything a plan of theirs needs."""
    load_orders(ws, order_ids)
    wanted = {(d.order["account_id"], line["external_sku"]) for d in ws.dossiers.values() for line in d.lines.values()}
    load_goods(ws, wanted, {line["sku"] for d in ws.dossiers.values() for line in d.fulfilment_lines.values()})
    count_stored_history(ws)


def _open_row(ws: Workspace, exception_id: int) -> Row:
    found = find_exception(ws.tx, exception_id)
    if found is None:
        raise RefusedError("not_found", "there is no such exception")
    if found["order_id"] is not None:
        # The orders' locks come first, as everywhere; those of one warehouse order together, because its push is one.
        load_with_goods(ws, [found["order_id"], *list_mates(ws.tx, found["order_id"])])
    row = lock_exception(ws.tx, exception_id)
    if row["state"] == "resolved":
        raise RefusedError("already_resolved", f"resolved by {row['resolved_by']}")
    return row


def _resolve(ws: Workspace, row: Row, actor: str, how: str) -> None:
    values: dict[str, Any] = {"state": "resolved", "resolved_at": ws.now, "resolved_by": actor, "resolution": how}
    save_exception(ws.tx, row["id"], values)


def _set(hub: Hub, exception_id: int, values: dict[str, Any], actor: str, kind: str) -> None:
    """Change an open exception and, when it is about an order, say so in the order's log."""
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        row = _open_row(ws, exception_id)
        if row["order_id"] is None:
            save_exception(tx, exception_id, values)
            return
        dossier = ws.dossier(row["order_id"])
        dossier.exceptions[exception_id] |= values
        dossier.note(actor, f"exception_{kind}", code=row["code"])
        ws.keep(dossier)
        write_workspace(ws)


def result_of(dossier: Dossier) -> Reviewed:
    """What an action has led to."""
    refresh_status(dossier)
    return Reviewed(dossier.order["number"], dossier.order["status"], tuple(open_codes(dossier)))
