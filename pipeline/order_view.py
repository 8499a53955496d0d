"""One order with everything that belongs to it, for its page and for the partner who sent it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from domain.errors import RefusedError
from storage.exception_lists import list_order_exceptions
from storage.inbox import versions_of
from storage.order_reads import (
    find_external_owner,
    find_order_owner,
    load_after_sale_lines,
)
from storage.rows import Row

from .archive import read_decisions, read_events
from .bootstrap import Hub
from .contexts import seen_facts
from .directory import Directory, read_directory
from .dossier import RECORD, Dossier, load_dossiers
from .gifts import FIRST
from .merging import company_of
from .messages import package_units
from .past import trace_of
from .privacy import mask_consignee, mask_remark
from .receipts import build_verdicts
from .review import id_of_number
from .views import exception_rows, order_row, show_money, show_time

_LINE = ("external_id", "external_sku", "sku", "title", "quantity", "state", "weight_grams", "requires_shipping")
_LINE_MONEY = ("unit_price", "amount", "discount", "freight", "tax", "paid")
_EVENTS = 500
_EXCEPTIONS = 200
# What a partner is told about its own order: not who of our staff did what, nor which rules we decide by.
_PARTNER_ROOMS = (
    "number external_id status source_status payment currency version account blocked cancelled revision tags amounts "
    "placed_at paid_at created_at updated_at lines consignee verdicts accepted fulfilments packages after_sales exceptions"
).split()
_PARTNER_EXCEPTION = (
    "id",
    "code",
    "state",
    "order",
    "external_id",
    "problems",
    "suggestions",
    "opened_at",
    "resolved_at",
)


def order_id_of(hub: Hub, number: str, *, partner_id: int | None = None) -> int:
    """The id behind an order number, in any style. RefusedError `not_found`, also for another partner's order."""
    order_id = id_of_number(number)
    with hub.read() as tx:
        return _checked(find_order_owner(tx, order_id), partner_id)


def by_external(hub: Hub, account: str, external_id: str, *, partner_id: int | None = None) -> int:
    """The id of an account's order by its source's id. RefusedError `not_found`, also for another partner's account."""
    account_id = account_of(hub, account, partner_id=partner_id)
    with hub.read() as tx:
        return _checked(find_external_owner(tx, account_id, external_id), partner_id)


def account_of(hub: Hub, name: str, *, partner_id: int | None = None) -> int:
    """The id of an account. RefusedError `not_found`, also for another partner's."""
    with hub.read() as tx:
        for account in read_directory(hub, tx).accounts.values():
            if account.name == name and (partner_id is None or account.partner_id == partner_id):
                return account.id
    raise RefusedError("not_found", "there is no such order")


def _checked(found: Row | None, partner_id: int | None) -> int:
    if found is None or (partner_id is not None and found["partner_id"] != partner_id):
        raise RefusedError("not_found", "there is no such order")
    return int(found["id"])


def order_view(hub: Hub, order_id: int, *, reveal: bool = False) -> dict[str, Any]:
    """Everything about one order. The consignee, the buyer and long digits in remarks are masked unless `reveal` (the
    caller has checked the right and writes the audit). RefusedError `not_found`."""
    with hub.read() as tx:
        directory = read_directory(hub, tx)
        dossier = load_dossiers(tx, hub.vault, [order_id], lock=False).get(order_id)
        if dossier is None:
            raise RefusedError("not_found", "there is no such order")
        exceptions = list_order_exceptions(tx, order_id, _EXCEPTIONS)
        verdicts = build_verdicts(dossier.order, dossier.private.get("problems", []))
        return (
            order_row(directory, dossier.order)
            | _people(dossier, reveal)
            | {
                "lines": [_line(row, dossier.order["currency"]) for _, row in sorted(dossier.lines.items())],
                "fulfilments": [
                    _fulfilment(directory, dossier, row) | company_of(tx, row)
                    for _, row in sorted(dossier.fulfilments.items())
                ],
                "packages": [_package(dossier, row) for _, row in sorted(dossier.packages.items())],
                "after_sales": _after_sales(tx, dossier),
                "verdicts": verdicts,
                "accepted": not any(verdict["result"] == "failed" for verdict in verdicts.values()),
                "exceptions": exception_rows(hub, tx, directory, exceptions),
                "decision": _decision(hub, tx, order_id),
                "documents": _documents(tx, dossier),
                "events": _events(hub, tx, order_id),
            }
        )


def partner_order(hub: Hub, order_id: int) -> dict[str, Any]:
    """The same for the partner who sent it: no decision, no documents, no events, nobody's name."""
    view = order_view(hub, order_id)
    told = {name: view[name] for name in _PARTNER_ROOMS}
    told["exceptions"] = [partner_exception(row) for row in view["exceptions"]]
    return told


def partner_exception(row: Mapping[str, Any]) -> dict[str, Any]:
    """An exception as the partner whose order it is may see it."""
    return {name: row[name] for name in _PARTNER_EXCEPTION}


def _people(dossier: Dossier, reveal: bool) -> dict[str, Any]:
    private = dossier.private
    consignee = private.get("ship_to") or private["consignee"]
    buyer, texts = (
        private["buyer_id"],
        {name: private[name] for name in ("buyer_message", "seller_memo", "seller_flag")},
    )
    if reveal:
        return {"consignee": dict(consignee), "buyer_id": buyer, "masked": False, **texts}
    hidden = {name: mask_remark(text) for name, text in texts.items()}
    return {
        "consignee": mask_consignee(consignee),
        "buyer_id": f"{buyer[:1]}***" if buyer else "",
        "masked": True,
        **hidden,
    }


def _line(row: Row, currency: str) -> dict[str, Any]:
    told = {name: row[name] for name in _LINE} | {"line": row["line"] + 1}
    # Goods of ours that a rule added; the source knows nothing of them.
    told["gift"] = row["line"] >= FIRST
    told["requires_shipping"] = bool(row["requires_shipping"])
    told["components"] = json.loads(row["components"]) if row["components"] else []
    return told | {name: show_money(row[name], currency) for name in _LINE_MONEY}


def _fulfilment(directory: Directory, dossier: Dossier, row: Row) -> dict[str, Any]:
    target = directory.targets.get(row["warehouse_id"])
    push = dossier.outbox_of("push", row["id"])
    return {
        "code": row["code"],
        "warehouse": target.name if target else "",
        "state": row["state"],
        "carrier": row["carrier"],
        "warehouse_ref": row["warehouse_ref"],
        "freight": show_money(row["freight"], dossier.order["currency"]),
        "goes_out_at": show_time(push["due_at"]) if push and push["state"] == "due" else None,
        "push": {"state": push["state"], "attempts": push["attempts"], "outcome": push["outcome"]} if push else None,
        "lines": [
            {"line_id": dossier.lines[line["line"]]["external_id"]}
            | {name: line[name] for name in ("sku", "quantity", "shipped")}
            for line in dossier.lines_of(row["id"])
        ],
        "created_at": show_time(row["created_at"]),
        "updated_at": show_time(row["updated_at"]),
    }


def _package(dossier: Dossier, row: Row) -> dict[str, Any]:
    units = package_units(dossier, row["id"])
    return {
        "tracking": row["tracking"],
        "carrier": row["carrier"],
        "carrier_name": row["carrier_name"],
        "state": row["state"],
        "confirmed": row["confirm_state"],
        "fulfilment": dossier.fulfilments[row["fulfilment_id"]]["code"],
        "lines": [
            {"line_id": dossier.lines[line]["external_id"], "quantity": quantity}
            for line, quantity in sorted(units.items())
        ],
        "shipped_at": show_time(row["shipped_at"]),
    }


def _after_sales(tx: Connection, dossier: Dossier) -> list[dict[str, Any]]:
    rows = sorted(dossier.after_sales.values(), key=lambda row: int(row["id"]))
    lines = load_after_sale_lines(tx, [row["id"] for row in rows])
    return [
        {
            "external_id": row["external_id"],
            "kind": row["kind"],
            "state": row["state"],
            "source_status": row["source_status"],
            "amount": show_money(row["amount"], dossier.order["currency"]),
            "lines": [
                {"line_id": dossier.lines[line["line"]]["external_id"], "quantity": line["quantity"]}
                for line in lines
                if line["after_sale_id"] == row["id"]
            ],
            "updated_at": show_time(row["updated_at"]),
        }
        for row in rows
    ]


def _decision(hub: Hub, tx: Connection, order_id: int) -> dict[str, Any] | None:
    found = read_decisions(hub, tx, order_id, 1)
    if not found:
        return None
    row = found[0]
    record: dict[str, Any] = hub.vault.open_json(RECORD, row["id"], row["record"])
    trace = [dict(zip(("rule", "phase", "matched", "why"), step, strict=True)) for step in trace_of(tx, record)]
    record = {name: value for name, value in record.items() if name not in {"trace", "matched"}}
    told = {"ruleset": row["ruleset"], "released": bool(row["released"]), "made_at": show_time(row["created_at"])}
    facts = seen_facts(tx, record.pop("input", None)) or record.pop("facts", {})
    return {**told, **record, "facts": facts, "trace": trace}


def _documents(tx: Connection, dossier: Dossier) -> list[dict[str, Any]]:
    """Every version the source sent, the newest last, without its content."""
    rows = versions_of(tx, "account", dossier.order["account_id"], "order", dossier.order["external_id"])
    return [
        {
            "version": row["version"],
            "seq": row["seq"],
            "state": row["state"],
            "size": row["size"],
            "error": row["error"] or "",
            "current": row["id"] == dossier.order["inbox_id"],
            "received_at": show_time(row["received_at"]),
        }
        for row in rows
    ]


def _events(hub: Hub, tx: Connection, order_id: int) -> list[dict[str, Any]]:
    return [
        {
            "seq": row["seq"],
            "at": show_time(row["at"]),
            "actor": row["actor"],
            "kind": row["kind"],
            "detail": json.loads(row["detail"]) if row["detail"] else {},
        }
        for row in read_events(hub, tx, order_id)[-_EVENTS:]
    ]
