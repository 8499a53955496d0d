"""Settling: what became of a sending is written in one transaction with everything that follows from it, and only while
the claim is still ours."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta

from domain.errors import ConfigError, HubError, RetryableError
from domain.merging import Group
from domain.states import FULFILMENT, may_move
from storage.directory import set_account_state, set_warehouse_state
from storage.exceptions import put_exceptions
from storage.inbox import Arrival, put_arrivals, seal_arrivals
from storage.merges import save_merge
from storage.outbox import reply_place
from storage.rows import Row
from storage.times import micros, span
from wire.retry import next_attempt_at

from .bootstrap import Hub
from .cancel import cancel_answered
from .dossier import Dossier, Extract, extract
from .exceptional import raise_exception
from .lanes import absorb_jobs
from .plan import refresh_status, release_units, set_state
from .sending import Outcome, orders_of
from .take_order import read_again
from .workspace import (
    Workspace,
    count_stored_history,
    exception_row,
    load_goods,
    load_orders,
    open_workspace,
    write_workspace,
)

_NOT_AN_ATTEMPT = frozenset(
    {
        "breaker_open",
        "host_busy",
        "connect_failed",
        "connect_timeout",
        "budget_exhausted",
        "rate_limited",
        "claim_too_old",
        "claim_lost",
        "given_back",
    }
)
_SOON = span(timedelta(milliseconds=200))
_RANK = span(timedelta(seconds=1))
_PAUSED = span(timedelta(minutes=20))


# What a push or a confirmation that went well looks at and changes; the first line is what a credit counts.
_ORDER = "status payment currency paid verdicts"
_ROW = "kind target_kind target_id fulfilment_id package_id state token attempts looks due_at outcome reply updated_at"
_PART = "code state warehouse_ref revision news_due_at updated_at"
_PUSHED = extract(orders=_ORDER, outbox=_ROW, fulfilments=_PART)
_TOLD = extract(
    orders=f"{_ORDER} cancelled_at",
    outbox=_ROW,
    fulfilments=_PART,
    order_lines="state sku quantity components",
    packages="tracking confirm_state updated_at",
    package_lines="quantity",
)


def settle(hub: Hub, outcomes: Sequence[Outcome]) -> None:
    """Write how sendings ended. An outcome whose claim was taken over meanwhile changes nothing."""
    others = {order for outcome in outcomes if not _went_well(outcome) for order in orders_of(outcome.row)}
    plain = [outcome for outcome in outcomes if outcome.row["order_id"] not in others]
    rest = [outcome for outcome in outcomes if outcome.row["order_id"] in others]
    if plain:
        told = any(outcome.row["kind"] == "confirm" for outcome in plain)
        _settle_together(hub, plain, _TOLD if told else _PUSHED)
    if rest:
        _settle_together(hub, rest, None)


def _went_well(outcome: Outcome) -> bool:
    """Whether no more than `_PUSHED` or `_TOLD` is looked at and changed."""
    kind = outcome.row["kind"]
    if outcome.end == "wait":
        return bool(kind == "confirm")
    return outcome.end == "done" and kind in {"push", "confirm"} and "group" not in outcome.row


def _settle_together(hub: Hub, outcomes: Sequence[Outcome], part: Extract | None) -> None:
    """One transaction. `part`: all of them went well or wait for another, and this is all they need of their orders."""
    shown = seal_arrivals(hub.vault, hub.ids.take, [*_shown(outcomes)])
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        load_orders(ws, {order for outcome in outcomes for order in orders_of(outcome.row)}, part)
        # A push that did not happen may end a fulfilment that was called back, and then its order is decided anew.
        again = [o for o in outcomes if o.row["kind"] == "cancel" or (o.row["kind"] == "push" and o.end != "done")]
        replanned = {order for o in again for order in orders_of(o.row)}
        lines = [line for order in replanned for line in ws.dossiers[order].lines.values()]
        held = {line["sku"] for dossier in ws.dossiers.values() for line in dossier.fulfilment_lines.values()}
        wanted = {(ws.dossiers[line["order_id"]].order["account_id"], line["external_sku"]) for line in lines}
        load_goods(ws, wanted, held if any(o.end != "done" or o.row["kind"] == "cancel" for o in outcomes) else ())
        if replanned:
            count_stored_history(ws)
        for outcome in outcomes:
            # Changed in place: one that fails fails all of them.
            dossier = ws.dossiers[outcome.row["order_id"]]
            row = dossier.outbox[outcome.row["id"]]
            if row["state"] != "sending" or row["token"] != outcome.row["token"]:
                continue
            row["updated_at"] = ws.now
            if "group" in outcome.row:
                ws.keep(dossier)
                _SETTLE_GROUP[row["kind"]](ws, outcome, outcome.row["group"])
            else:
                _SETTLE[row["kind"]](ws, dossier, row, outcome)
                ws.keep(dossier)
            if isinstance(outcome.error, ConfigError):
                _stop_target(ws, row, outcome.error)
        write_workspace(ws)
        stored = put_arrivals(tx, shown, ws.now)
        hub.wake(absorb_jobs(stored.values()))


def _shown(outcomes: Sequence[Outcome]) -> Iterator[Arrival]:
    """What sources showed when they were read back: documents like any other."""
    for outcome in outcomes:
        told = outcome.document
        if told is not None:
            yield Arrival(
                source_kind="account",
                source_id=outcome.row["target_id"],
                kind=told.kind,
                external_id=told.external_id,
                body=told.body,
                version=told.version,
                says=told.says,
            )


def _settle_push(ws: Workspace, dossier: Dossier, row: Row, outcome: Outcome) -> None:
    fulfilment = dossier.fulfilments[row["fulfilment_id"]]
    _push_ended(ws, dossier, row, fulfilment, outcome)
    if row["state"] == "parked" and fulfilment["state"] == "cancelling":
        _wake(ws, dossier, fulfilment)  # nobody looks for it any more: the warehouse is asked all the same


def _push_ended(ws: Workspace, dossier: Dossier, row: Row, fulfilment: Row, outcome: Outcome) -> None:
    stopped = fulfilment["state"] == "cancelling"
    if outcome.end == "done":
        _end(ws, row, "done", outcome)
        fulfilment["warehouse_ref"] = outcome.reference or fulfilment["warehouse_ref"]
        dossier.note("hub", "pushed", fulfilment=fulfilment["code"], reference=outcome.reference)
        if stopped:
            _wake(ws, dossier, fulfilment)
        elif fulfilment["state"] in {"pushing", "unknown"}:
            set_state(ws, fulfilment, "accepted")
    elif outcome.end == "unknown":
        # Looks count since the last sending: after another unknown one they begin anew.
        row["looks"] = row["looks"] + 1 if outcome.looked else 0
        _later(ws, dossier, row, outcome, "unknown")
        if fulfilment["state"] == "pushing":
            set_state(ws, fulfilment, "unknown")
            dossier.note("hub", "push_unknown", fulfilment=fulfilment["code"], code=outcome.code)
    elif outcome.end == "parked":
        _end(ws, row, "parked", outcome)
        if fulfilment["state"] == "pushing":
            set_state(ws, fulfilment, "unknown")
        raise_exception(ws, dossier, "outcome_unknown", {"fulfilment": fulfilment["code"]}, outbox_id=row["id"])
    elif stopped or outcome.end == "withdrawn":
        _never_sent(ws, dossier, row, fulfilment, outcome)
    elif outcome.end == "refused":
        _end(ws, row, "refused", outcome)
        if may_move(FULFILMENT, fulfilment["state"], "rejected"):
            set_state(ws, fulfilment, "rejected")
        detail = {"fulfilment": fulfilment["code"], "code": outcome.code, "detail": outcome.detail}
        raise_exception(ws, dossier, "warehouse_rejected", detail, outbox_id=row["id"])
    else:
        if fulfilment["state"] == "pushing":
            set_state(ws, fulfilment, "ready")
        _later(ws, dossier, row, outcome, "due")


def _settle_group_push(ws: Workspace, outcome: Outcome, group: Group) -> None:
    """One answer for every fulfilment of a warehouse order. What certainly did not arrive is each order's own affair again;
    whoever was stopped meanwhile ends, the others go out anew."""
    lead = outcome.row["fulfilment_id"]
    numbers = [ws.dossiers[order_id].order["number"] for order_id, _ in group.members]
    carrier = ws.dossiers[outcome.row["order_id"]].outbox[outcome.row["id"]]
    for rank, (order_id, part) in enumerate(sorted(group.members, key=lambda member: member[1] != lead)):
        dossier = ws.dossier(order_id)
        fulfilment, row = dossier.fulfilments[part], dossier.outbox_of("push", part)
        if row is None or (part != lead and row["state"] != "waiting"):
            continue  # it went its own way
        _settle_member(ws, dossier, row, fulfilment, outcome, carrier if rank else None)
        if rank and row["state"] == carrier["state"] == "due":
            # The first one's turn comes first, and takes the others along.
            row |= {"due_at": carrier["due_at"] + rank * _RANK, "attempts": carrier["attempts"]}
        if outcome.end in {"done", "refused", "withdrawn"}:
            others = [number for number in numbers if number != dossier.order["number"]]
            told = {"fulfilment": fulfilment["code"], "merged": group.code, "orders": others, "outcome": row["state"]}
            dossier.note("hub", "merged_push", **told)
        ws.keep(dossier)
        carrier = row if part == lead else carrier
    state = {"done": "pushed", "retry": "open", "withdrawn": "open", "refused": "dissolved"}.get(outcome.end)
    if state:
        save_merge(ws.tx, group.id, state=state, now=ws.now)


def _settle_member(
    ws: Workspace, dossier: Dossier, row: Row, fulfilment: Row, outcome: Outcome, carrier: Row | None
) -> None:
    """`carrier` is the row that was sent, None when it is this member's own."""
    row["updated_at"] = ws.now
    if outcome.end == "withdrawn" and fulfilment["state"] in {"pushing", "unknown", "ready"}:
        set_state(ws, fulfilment, "ready")
        row |= {"state": "due", "due_at": ws.now, "attempts": 0, "looks": 0, "outcome": outcome.code}
    elif carrier is None:
        _settle_push(ws, dossier, row, outcome)
    else:
        _follow(ws, dossier, row, fulfilment, outcome, carrier)


def _follow(ws: Workspace, dossier: Dossier, row: Row, fulfilment: Row, outcome: Outcome, carrier: Row) -> None:
    """What became of the push that carried this fulfilment became of its own."""
    if carrier["state"] == "unknown":
        row["state"] = "waiting"
        if fulfilment["state"] == "pushing":
            set_state(ws, fulfilment, "unknown")
        return
    row["attempts"] = carrier["attempts"]
    if carrier["state"] == "parked" and outcome.end in {"unknown", "retry"}:
        _park_exhausted(ws, dossier, row, outcome, "unknown" if outcome.end == "unknown" else "due")
        if fulfilment["state"] == "pushing":
            set_state(ws, fulfilment, "unknown" if outcome.end == "unknown" else "ready")
        elif fulfilment["state"] == "cancelling":
            _wake(ws, dossier, fulfilment)
        return
    _settle_push(ws, dossier, row, outcome)


def _never_sent(ws: Workspace, dossier: Dossier, row: Row, fulfilment: Row, outcome: Outcome) -> None:
    """The warehouse certainly has nothing: the fulfilment can end here."""
    _end(ws, row, "withdrawn", outcome)
    asked = dossier.outbox_of("cancel", fulfilment["id"])
    if asked is not None and asked["state"] in {"waiting", "due"}:
        asked |= {"state": "withdrawn", "updated_at": ws.now}
    if fulfilment["state"] == "cancelling":
        cancel_answered(ws, dossier, fulfilment, cancelled=True, detail=outcome.code)
        _replan(ws, dossier)
    elif fulfilment["state"] in {"pushing", "ready"}:
        if fulfilment["state"] == "pushing":
            set_state(ws, fulfilment, "ready")
        release_units(dossier, fulfilment)
        set_state(ws, fulfilment, "cancelled")
    refresh_status(dossier)


def _settle_cancel(ws: Workspace, dossier: Dossier, row: Row, outcome: Outcome) -> None:
    fulfilment = dossier.fulfilments[row["fulfilment_id"]]
    if outcome.end in {"done", "refused"}:
        _end(ws, row, outcome.end, outcome)
        cancel_answered(ws, dossier, fulfilment, cancelled=outcome.end == "done", detail=outcome.detail)
        _replan(ws, dossier)
    elif outcome.end == "withdrawn":
        _end(ws, row, "withdrawn", outcome)
    else:
        _later(ws, dossier, row, outcome, "due")


def _settle_confirm(ws: Workspace, dossier: Dossier, row: Row, outcome: Outcome) -> None:
    package = dossier.packages[row["package_id"]]
    if outcome.end == "done":
        _end(ws, row, "done", outcome)
        package |= {"confirm_state": "degraded" if outcome.degraded else "confirmed", "updated_at": ws.now}
        dossier.note("hub", "confirmed", tracking=package["tracking"], degraded=outcome.degraded)
        refresh_status(dossier)
    elif outcome.end == "wait":
        row |= {"state": "due", "due_at": ws.now + _SOON, "attempts": max(0, row["attempts"] - 1)}
    elif outcome.end in {"refused", "parked"}:
        _end(ws, row, outcome.end, outcome)
        package |= {"confirm_state": "refused", "updated_at": ws.now}
        code = "confirm_refused" if outcome.end == "refused" else "outcome_unknown"
        detail = {"tracking": package["tracking"], "code": outcome.code, "detail": outcome.detail}
        raise_exception(ws, dossier, code, detail, outbox_id=row["id"])
    else:
        _later(ws, dossier, row, outcome, "unknown" if outcome.end == "unknown" else "due")


def _settle_group_cancel(ws: Workspace, outcome: Outcome, group: Group) -> None:
    """The warehouse was asked to stop the one order it has. Yes stops it for every member: whose cancel it was closes, the
    others are planned anew at once. No is an answer to whoever asked."""
    asking = ws.dossier(outcome.row["order_id"])
    _settle_cancel(ws, asking, asking.outbox[outcome.row["id"]], outcome)
    ws.keep(asking)
    if outcome.end != "done":
        return
    save_merge(ws.tx, group.id, state="dissolved", now=ws.now)
    for order_id, part in group.members:
        dossier = ws.dossier(order_id)
        fulfilment = dossier.fulfilments[part]
        if fulfilment["state"] == "cancelling":
            cancel_answered(ws, dossier, fulfilment, cancelled=True, detail=outcome.detail)
        elif may_move(FULFILMENT, fulfilment["state"], "cancelled"):
            release_units(dossier, fulfilment)
            set_state(ws, fulfilment, "cancelled")
        else:
            continue
        dossier.note("hub", "unmerged", fulfilment=fulfilment["code"], merged=group.code, why=asking.order["number"])
        _replan(ws, dossier)
        refresh_status(dossier)
        ws.keep(dossier)


_SETTLE_GROUP = {"push": _settle_group_push, "cancel": _settle_group_cancel}
_SETTLE = {"push": _settle_push, "cancel": _settle_cancel, "confirm": _settle_confirm}


def _end(ws: Workspace, row: Row, state: str, outcome: Outcome) -> None:
    row |= {"state": state, "outcome": outcome.code or "ok"}
    if outcome.detail:
        row["reply"] = ws.hub.vault.seal(reply_place(), row["id"], outcome.detail[:2000].encode())


def _later(ws: Workspace, dossier: Dossier, row: Row, outcome: Outcome, state: str) -> None:
    """Try or look again when the schedule says; parked for a person when it is exhausted."""
    error: HubError = outcome.error or RetryableError(outcome.code or "again")
    if error.code in _NOT_AN_ATTEMPT:
        row["attempts"] = max(1, row["attempts"] - 1)
    jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
    if outcome.looked:
        # The target answered: looking again soon is not a failure that calls for patience.
        row["attempts"] = max(1, row["attempts"] - 1)
    attempt = 1 if outcome.looked or isinstance(error, ConfigError) else max(1, row["attempts"])
    at = next_attempt_at(ws.at, attempt, error, scale=ws.hub.settings.retry_scale, jitter=jitter)
    if isinstance(error, ConfigError):
        row |= {"state": state, "due_at": ws.now + _PAUSED, "outcome": outcome.code}
    elif at is None:
        _park_exhausted(ws, dossier, row, outcome, state)
    else:
        row |= {"state": state, "due_at": micros(at), "outcome": outcome.code}


def _park_exhausted(ws: Workspace, dossier: Dossier, row: Row, outcome: Outcome, state: str) -> None:
    _end(ws, row, "parked", outcome)
    code = "outcome_unknown" if state == "unknown" else "send_exhausted"
    detail = {"kind": row["kind"], "code": outcome.code, "attempts": row["attempts"]}
    raise_exception(ws, dossier, code, detail, outbox_id=row["id"])


def _wake(ws: Workspace, dossier: Dossier, fulfilment: Row) -> None:
    asked = dossier.outbox_of("cancel", fulfilment["id"])
    if asked is not None and asked["state"] == "waiting":
        asked |= {"state": "due", "due_at": ws.now, "updated_at": ws.now}


def _replan(ws: Workspace, dossier: Dossier) -> None:
    """Goods that came back because the order changed, not because it was cancelled, are decided anew."""
    if dossier.order["cancelled_at"] is not None or dossier.order["status"] in {"closed", "completed", "shipped"}:
        return
    account = ws.directory.accounts[dossier.order["account_id"]]
    # Stock moves of this dossier count before its own plan is made anew.
    ws.keep(dossier)
    read_again(ws, dossier, account)


def _stop_target(ws: Workspace, row: Row, error: ConfigError) -> None:
    """Credentials or permission fail: stop this target and tell a person, once."""
    if row["target_kind"] == "account":
        stopped = set_account_state(ws.tx, row["target_id"], "stopped", error.code, ws.now)
        name = ws.directory.accounts[row["target_id"]].name
    else:
        stopped = set_warehouse_state(ws.tx, row["target_id"], "stopped", error.code, ws.now)
        name = ws.directory.targets[row["target_id"]].name
    if stopped:
        subject = f"{row['target_kind']}:{row['target_id']}"
        detail = {"name": name, "code": error.code, "detail": error.detail}
        put_exceptions(ws.tx, [exception_row(ws, "connection_stopped", subject, detail)])
