"""One exception and one order as the staff console shows them, and the two acts of looking closer, which are written to
the order's log: unmasking a consignee and opening source documents."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from domain.errors import HubError, RefusedError
from normalizer.divisions import place_of
from storage.events import broken_link
from storage.exception_lists import find_exception, list_order_exceptions
from storage.inbox import load_documents, open_body, versions_of
from storage.rows import Row
from storage.standing import find_account, find_partner_name, load_warehouse_names

from .archive import read_decisions, read_events
from .bootstrap import Hub
from .console_views import show_exceptions
from .corrections import CONSIGNEE_FIELDS
from .dossier import RECORD, Dossier, load_dossiers
from .gifts import FIRST, own_lines
from .merging import company_of
from .past import trace_of
from .privacy import mask_consignee, mask_remark, open_detail, ship_to_of
from .references import exception_id
from .review import id_of_number
from .views import actions_for
from .workspace import load_orders, open_workspace, write_workspace

HIDDEN = ("name", "phone", "street", "email")
_EVENTS = 100
_VERSIONS = 5
_SHOWN_CHARACTERS = 12_000
_DIFF_LINES = 120
_OVER = frozenset({"shipped", "completed", "closed"})


def exception_detail(hub: Hub, ref: str) -> Row:
    """Everything the right-hand side shows. RefusedError `not_found`."""
    with hub.read() as tx:
        row = find_exception(tx, exception_id(ref))
        if row is None:
            raise RefusedError("not_found", "there is no such exception")
        shown = show_exceptions(hub, tx, [row])[0]
        detail = open_detail(hub, row)
        problems = list(detail.pop("problems", []))
        shown |= {"problems": problems, "facts": {name: _plain(value) for name, value in detail.items()}}
        shown |= {"decision": None, "history": [], "fields": [], "suggestions": [], "lines": [], "verdicts": {}}
        if row["order_id"] is None:
            return shown | {"actions": actions_for(row), "ship_to": {}}
        dossier = load_dossiers(tx, hub.vault, [row["order_id"]], lock=False)[row["order_id"]]
        ship_to = ship_to_of(dossier.private)
        decisions = _decisions(hub, tx, dossier.id, 1)
        shown |= {
            "actions": order_actions(row, dossier.order["status"]),
            "ship_to": mask_consignee(ship_to),
            "fields": _fields(dossier, ship_to, problems),
            "suggestions": list(_suggestions(problems, ship_to)),
            "lines": [dossier.lines[number] for number in sorted(dossier.lines)],
            "verdicts": json.loads(dossier.order["verdicts"]),
            "decision": decisions[0] if decisions else None,
            "history": [_event(event) for event in reversed(read_events(hub, tx, dossier.id)[-8:])],
        }
        shown |= {name: mask_remark(dossier.private.get(name)) for name in ("buyer_message", "seller_memo")}
    return shown


def order_actions(row: Mapping[str, Any], status: str) -> tuple[str, ...]:
    """What a person can do about an exception of an order in this status."""
    return tuple(action for action in actions_for(row) if action != "cancel" or status not in _OVER)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fields(dossier: Dossier, ship_to: Mapping[str, Any], problems: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What can be corrected, with its value now; the person and the door stay hidden: an empty input keeps them."""
    wrong = {str(problem.get("path", "")) for problem in problems}
    fields: list[Row] = []
    for name in CONSIGNEE_FIELDS:
        value = str(ship_to.get(name) or "")
        hidden = name in HIDDEN and bool(value)
        shown = mask_consignee(ship_to)[name] if hidden else ""
        path = f"consignee.{name}"
        fields.append(
            {"path": path, "name": name, "line": None, "value": "" if hidden else value, "masked": shown}
            | {"wrong": path in wrong}
        )
    for number, line in sorted(own_lines(dossier).items()):
        path = f"lines.{number}.external_sku"
        fields.append(
            {
                "path": path,
                "name": "",
                "line": number,
                "value": line["external_sku"],
                "masked": "",
                "wrong": path in wrong,
            }
        )
    about_goods = any(path.startswith("lines.") for path in wrong)
    return sorted(fields, key=lambda field: (field["line"] is None) == about_goods)


def _suggestions(problems: Sequence[Mapping[str, Any]], ship_to: Mapping[str, Any]) -> Iterator[Row]:
    """Candidates that one click can apply, as (path, before, after); only what would change something."""
    seen: set[str] = set()
    for problem in problems:
        path = str(problem.get("path", ""))
        room, _, name = path.partition(".")
        if room != "consignee" or name not in CONSIGNEE_FIELDS:
            continue
        for candidate in problem.get("candidates", ()):
            wanted = _division(str(candidate)) or {name: str(candidate)}
            fixes = [
                (f"consignee.{field}", str(ship_to.get(field) or ""), value)
                for field, value in wanted.items()
                if str(ship_to.get(field) or "") != value
            ]
            if fixes and str(candidate) not in seen:
                seen.add(str(candidate))
                yield {"label": str(candidate), "fixes": fixes, "evidence": str(problem.get("detail", ""))}


def _division(candidate: str) -> dict[str, str] | None:
    """The levels of a Chinese division candidate ("320106 江苏省 南京市 鼓楼区"); None when it is something else."""
    code = candidate.partition(" ")[0]
    place = place_of(code) if len(code) == 6 and code.isdecimal() else None
    if place is None:
        return None
    levels = {"province": place.province, "city": place.city, "district": place.district}
    return {name: value for name, value in levels.items() if value}


def _decisions(hub: Hub, tx: Connection, order_id: int, limit: int) -> list[Row]:
    shown = []
    for row in read_decisions(hub, tx, order_id, limit):
        try:
            record = hub.vault.open_json(RECORD, row["id"], row["record"])
            record["trace"] = trace_of(tx, record)
        except HubError:
            record = {}
        names = ("ruleset", "released", "created_at")
        shown.append({name: row[name] for name in names} | {"record": _record(record)})
    return shown


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record.get(name) or [] for name in ("holds", "parts", "tags", "trace")} | {
        "facts": record.get("facts") or {}
    }


def _event(row: Row) -> Row:
    detail = json.loads(row["detail"]) if row["detail"] else {}
    told = [(name, _plain(value)) for name, value in detail.items() if value not in ("", [], None)]
    return {"seq": row["seq"], "at": row["at"], "actor": row["actor"], "kind": row["kind"], "told": told}


def order_detail(hub: Hub, number: str) -> Row:
    """Everything stored about one order, consignee masked. RefusedError `not_found`."""
    order_id = id_of_number(number)
    with hub.read() as tx:
        found = load_dossiers(tx, hub.vault, [order_id], lock=False)
        if order_id not in found:
            raise RefusedError("not_found", "there is no such order")
        dossier = found[order_id]
        order = dossier.order
        account = find_account(tx, order["account_id"])
        partner = find_partner_name(tx, order["partner_id"])
        exceptions = list_order_exceptions(tx, order_id, 50)
        events = read_events(hub, tx, order_id)
        warehouses = load_warehouse_names(tx)
        ship_to = ship_to_of(dossier.private)
        return (
            {name: value for name, value in order.items() if name not in _SEALED}
            | {
                "account": account["name"] if account else "",
                "channel": account["channel"] if account else "",
                "partner": partner or "",
                "tags": json.loads(order["tags"]),
                "verdicts": json.loads(order["verdicts"]),
                "consignee": mask_consignee(ship_to),
                "lines": [_line(line) for _, line in sorted(dossier.lines.items())],
                "fulfilments": [
                    _fulfilment(dossier, row, warehouses) | company_of(tx, row)
                    for _, row in sorted(dossier.fulfilments.items())
                ],
                "packages": [_package(dossier, row) for _, row in sorted(dossier.packages.items())],
                "after_sales": sorted(dossier.after_sales.values(), key=lambda row: int(row["id"])),
                "releasable": any("release" in actions_for(row) for row in exceptions),
                "exceptions": show_exceptions(hub, tx, exceptions),
                "decisions": _decisions(hub, tx, order_id, 3),
                "documents": _versions(tx, order),
                "events": [_event(row) for row in reversed(events[-_EVENTS:])],
                "whole": broken_link(events, order_id, order["event_seq"], order["event_hash"]) is None,
                "open": order["status"] not in _OVER and order["cancelled_at"] is None,
            }
            | {name: mask_remark(dossier.private.get(name)) for name in ("buyer_message", "seller_memo", "seller_flag")}
            | {name: dossier.private.get(name) or [] for name in ("forbids", "notes", "corrections", "waived")}
        )


_SEALED = frozenset({"private", "event_hash", "buyer_hash", "phone_hash", "tail_hash", "merge_hash"})


def _line(line: Row) -> Row:
    parts = [f"{quantity} × {sku}" for sku, quantity in json.loads(line["components"])] if line["components"] else []
    return line | {"components": ", ".join(parts), "gift": line["line"] >= FIRST}


def _fulfilment(dossier: Dossier, row: Row, warehouses: Mapping[int, str]) -> Row:
    sent = sorted(
        (each for each in dossier.outbox.values() if each["fulfilment_id"] == row["id"]), key=lambda x: x["id"]
    )
    return row | {
        "warehouse": warehouses.get(row["warehouse_id"], ""),
        "units": sorted(dossier.lines_of(row["id"]), key=lambda line: (line["line"], line["sku"])),
        "sent": [{name: each[name] for name in ("kind", "state", "attempts", "due_at", "outcome")} for each in sent],
    }


def _package(dossier: Dossier, row: Row) -> Row:
    units = [line for key, line in sorted(dossier.package_lines.items()) if key[0] == row["id"]]
    code = dossier.fulfilments[row["fulfilment_id"]]["code"] if row["fulfilment_id"] in dossier.fulfilments else ""
    return row | {"units": units, "fulfilment": code}


def _versions(tx: Connection, order: Row) -> list[Row]:
    rows = versions_of(tx, "account", order["account_id"], "order", order["external_id"])
    return list(reversed(rows))[:20]


def unmask(hub: Hub, number: str, *, actor: str) -> dict[str, str]:
    """The consignee in full; that `actor` saw it is in the order's log before anything is shown."""
    dossier = _look_closer(hub, number, actor, "consignee")
    ship_to = ship_to_of(dossier.private)
    return {name: str(value) for name, value in ship_to.items() if isinstance(value, str)}


def source_documents(hub: Hub, number: str, *, actor: str) -> list[Row]:
    """The newest stored versions, read out: text and the difference to the version before; logged like `unmask`."""
    order = _look_closer(hub, number, actor, "documents").order
    with hub.read() as tx:
        versions = versions_of(tx, "account", order["account_id"], "order", order["external_id"])[-_VERSIONS:]
        bodies = {row["id"]: row for row in load_documents(tx, [row["id"] for row in versions])}
    texts = [_pretty(open_body(hub.vault, bodies[row["id"]])) for row in versions]
    shown = []
    for index, row in enumerate(versions):
        changes = _difference(texts[index - 1], texts[index]) if index else []
        newest = index == len(versions) - 1
        shown.append(row | {"text": texts[index][:_SHOWN_CHARACTERS] if newest else "", "changes": changes})
    return shown[::-1]


def _look_closer(hub: Hub, number: str, actor: str, what: str) -> Dossier:
    order_id = id_of_number(number)
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        load_orders(ws, [order_id])
        if order_id not in ws.dossiers:
            raise RefusedError("not_found", "there is no such order")
        dossier = ws.dossier(order_id)
        dossier.note(actor, "unmasked", what=what)
        ws.keep(dossier)
        write_workspace(ws)
    return dossier


def _pretty(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except ValueError:
        return body.decode("utf-8", "replace")


def _difference(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=1)
    return [line[:300] for line in lines if not line.startswith(("---", "+++"))][:_DIFF_LINES]
