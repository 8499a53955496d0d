"""What a partner is told about an order it posted: the acceptance receipt, with one verdict per check, and the problem
of a document that cannot be taken. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from domain.errors import HubError, MappingError
from domain.verdict import CHECKS
from storage.compact import pack

from .dossier import Dossier
from .exceptional import open_codes

# The partner's document calls these rooms of the canonical order something else (connectors/standard.py).
_ROOMS = {"consignee": "ship_to", "amounts": "totals"}
_WAITS = (["unpaid"], ["waiting"])


def build_receipt(dossier: Dossier, warehouses: Mapping[int, str], *, result: str) -> dict[str, Any]:
    """The receipt of a stored order; `warehouses` are names by id. `result` says what the post did: created, updated, unchanged,
    stale. `accepted` is false when a check failed; the order is stored all the same and waits for its exceptions to be
    resolved."""
    order, lines, parts = dossier.order, dossier.lines, dossier.live()
    accepted, verdicts = _verdicts_of(order, dossier.private.get("problems"))
    goods: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in parts}
    for (part_id, _, _), line in dossier.fulfilment_lines.items():
        if part_id in goods:
            told = {"line_id": lines[line["line"]]["external_id"], "sku": line["sku"], "quantity": line["quantity"]}
            goods[part_id].append(told)
    return {
        "number": order["number"],
        "external_id": order["external_id"],
        "result": result,
        "status": order["status"],
        "accepted": accepted,
        "verdicts": verdicts,
        "exceptions": open_codes(dossier) if dossier.exceptions else [],
        "fulfilments": [
            {
                "code": row["code"],
                "warehouse": warehouses.get(row["warehouse_id"], ""),
                "carrier": row["carrier"],
                "state": row["state"],
                "lines": goods[row["id"]],
            }
            for row in parts
        ],
    }


def _verdicts_of(order: Mapping[str, Any], problems: list[dict[str, Any]] | None) -> tuple[bool, dict[str, Any]]:
    """Whether no check failed, and the verdicts; shared by all orders without problems that have the same."""
    if not problems:
        return _clear(order["verdicts"], order["payment"] == "cod")
    verdicts = build_verdicts(order, problems)
    return not any(verdict["result"] == "failed" for verdict in verdicts.values()), verdicts


@lru_cache(maxsize=512)
def _clear(verdicts: str, on_delivery: bool) -> tuple[bool, dict[str, Any]]:
    results = _results(verdicts, on_delivery)
    told = {check: {"result": result, "problems": []} for check, result in results}
    return not any(result == "failed" for _, result in results), told


def build_verdicts(order: Mapping[str, Any], problems: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{check: {"result": passed | failed | waiting | not_checked, "problems": […]}} from the order's row. An order that
    is only not paid yet waits; cash on delivery that is not allowed fails."""
    told: dict[str, dict[str, Any]] = {}
    for check, result in _results(order["verdicts"], order["payment"] == "cod"):
        found = [_partner_words(problem) for problem in problems if problem["check"] == check] if problems else []
        told[check] = {"result": result, "problems": [] if result == "not_checked" else found}
    return told


@lru_cache(maxsize=512)
def _results(verdicts: str, on_delivery: bool) -> tuple[tuple[str, str], ...]:
    """What came of each check, of orders with these verdicts: nearly all have the same."""
    codes: dict[str, list[str]] = json.loads(verdicts)
    told = []
    for check in CHECKS:
        if check not in codes:
            result = "not_checked"
        elif check == "payment" and codes[check] in _WAITS and not on_delivery:
            result = "waiting"
        else:
            result = "failed" if codes[check] else "passed"
        told.append((check, result))
    return tuple(told)


def _partner_words(problem: Mapping[str, Any]) -> dict[str, Any]:
    room, dot, rest = problem["path"].partition(".")
    path = f"{_ROOMS.get(room, room)}{dot}{rest}"
    return {
        "code": problem["code"],
        "path": path,
        "detail": problem["detail"],
        "candidates": list(problem["candidates"]),
    }


TITLES = {
    "malformed": "The document cannot be read",
    "invalid": "The order is not valid",
}


def build_problem(status: int, code: str, title: str, detail: str, errors: list[dict[str, str]] | None = None) -> Any:
    """A problem document (RFC 9457). `type` is stable for its code."""
    told: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    return told | {"errors": errors} if errors else told


def document_problem(error: HubError, *, malformed: bool) -> tuple[int, dict[str, Any]]:
    """400 for bytes that are no JSON of ours, 422 for a document whose content cannot be an order, with a pointer to
    the fault."""
    if malformed:
        return 400, build_problem(400, error.code, TITLES["malformed"], error.detail)
    path = error.path if isinstance(error, MappingError) else ""
    detail = error.detail.removeprefix(f"{path}: ") if path else error.detail
    entry = {"pointer": _pointer(path), "code": error.code, "detail": detail}
    return 422, build_problem(422, error.code, TITLES["invalid"], error.detail, [entry])


def _pointer(path: str) -> str:
    return "#" + "".join(f"/{part}" for part in path.split(".") if part)


def encode(value: Any) -> bytes:
    """Compact JSON, the one form in which replies are sent and stored."""
    return pack(value)
