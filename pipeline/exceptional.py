"""Exceptions of an order: typed work for a person. Those that checks and rules raise come and go with their cause;
the others stay until a person or an event clears them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from domain.verdict import Problem

from .dossier import DETAIL, Dossier
from .workspace import Workspace, exception_row

# A rule's `approve` effect holds the order under this and the name of a stage, until somebody of that stage releases it.
APPROVE = "approve_"
# Raised by events, not by checks: planning an order anew says nothing about them.
LASTING = frozenset(
    {
        "warehouse_rejected",
        "warehouse_cancelled",
        "warehouse_exception",
        "outcome_unknown",
        "cancel_refused",
        "cancel_too_late",
        "change_too_late",
        "confirm_refused",
        "confirm_degraded",
        "over_ship",
        "short_ship",
        "ship_after_cancel",
        "tracking_conflict",
        "tracking_duplicate",
        "partly_shipped_elsewhere",
        "send_exhausted",
    }
)


def raise_exception(
    ws: Workspace, dossier: Dossier, code: str, detail: Mapping[str, Any], *, outbox_id: int | None = None
) -> None:
    """Open an exception, or bring the open one of the same code up to date."""
    for row in dossier.exceptions.values():
        if row["code"] == code:
            if row["state"] == "resolved":  # a moment ago in this transaction, and its cause is still there
                row |= {"state": "open", "resolved_at": None, "resolved_by": "", "resolution": ""}
                dossier.note("hub", "exception", code=code)
            row["detail"] = ws.hub.vault.seal_json(DETAIL, row["id"], dict(detail))
            return
    row = exception_row(
        ws,
        code,
        f"order:{dossier.id}",
        detail,
        account_id=dossier.order["account_id"],
        partner_id=dossier.order["partner_id"],
        order_id=dossier.id,
        inbox_id=dossier.order["inbox_id"],
        outbox_id=outbox_id,
    )
    dossier.exceptions[row["id"]] = row
    dossier.note("hub", "exception", code=code)


def clear_exceptions(ws: Workspace, dossier: Dossier, codes: Iterable[str] | None, *, actor: str, how: str) -> None:
    """Resolve open exceptions of these codes (None: all of them)."""
    wanted = None if codes is None else frozenset(codes)
    for row in dossier.exceptions.values():
        if row["state"] != "resolved" and (wanted is None or row["code"] in wanted):
            row |= {
                "state": "resolved",
                "resolved_at": ws.now,
                "resolved_by": actor,
                "resolution": how,
                "snoozed_until": None,
            }
            dossier.note(actor, "exception_resolved", code=row["code"], how=how)


def sync_exceptions(ws: Workspace, dossier: Dossier, causes: Mapping[str, Mapping[str, Any]]) -> None:
    """Let the open exceptions of checks and rules be exactly `causes` (code → detail)."""
    if not causes and not dossier.exceptions:
        return
    gone = {row["code"] for row in dossier.exceptions.values() if row["state"] != "resolved"} - causes.keys() - LASTING
    clear_exceptions(ws, dossier, gone, actor="hub", how="the cause is gone")
    for code, detail in causes.items():
        raise_exception(ws, dossier, code, detail)


def open_codes(dossier: Dossier) -> list[str]:
    return sorted({row["code"] for row in dossier.exceptions.values() if row["state"] != "resolved"})


def problem_causes(problems: Iterable[Problem]) -> dict[str, dict[str, Any]]:
    """Problems of the checks by code, with every place they were found at."""
    causes: dict[str, dict[str, Any]] = {}
    for problem in problems:
        entry = causes.setdefault(problem.code, {"problems": []})
        entry["problems"].append(
            {"path": problem.path, "detail": problem.detail, "candidates": list(problem.candidates)}
        )
    return causes
