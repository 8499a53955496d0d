"""Check an order, decide about it, and make its rows say so: fulfilments, reservations, pushes, exceptions, decision.

What no warehouse knows yet is planned anew each time; what one knows of is never touched here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from domain.allocation import Shares
from domain.decision import Decision, Part
from domain.facts import Facts
from domain.freight import share_freight
from domain.order import Line, Order, OrderStatus, consignee_values
from domain.states import FULFILMENT, Progress, move, roll_up
from domain.verdict import Problem, Verdict
from normalizer.checks import PASSED, check
from rules.decide import decide
from rules.record import freeze, freeze_decision
from storage.compact import pack
from storage.rows import Row
from storage.times import micros, span

from .contexts import shared_of
from .directory import Account
from .dossier import Dossier, Plain
from .exceptional import open_codes, problem_causes, sync_exceptions
from .gifts import FIRST, own_lines, parts_to_plan, with_gift_lines
from .limits import day_of
from .merging import wait_for_others
from .reservations import held_places, may_reserve, set_day
from .workspace import Workspace

# A fulfilment stays in this state while its goods are not in stock; it reserves nothing and has no push.
WAITING = "planned"
UNPUSHED = frozenset({"planned", "held", "exception", "ready", "rejected"})
# What a plan with parts that wait for stock has answered already.
SHORT = frozenset({"out_of_stock", "stock_stale"})
KNOWN_OUTSIDE = frozenset({"pushing", "unknown", "accepted", "picking", "cancelling", "shipped", "delivered"})


def plan_order(
    ws: Workspace, dossier: Dossier, order: Order, account: Account, shares: Sequence[Shares] | None = None
) -> None:
    """Bring the plan of an open order up to date. `order` is its newest content, allocated; where its lines do not say what they
    carry, `shares` does."""
    unpushed, outside = _apart(dossier.live()) if dossier.fulfilments else ((), ())
    returned = _returned(ws, dossier, unpushed) if unpushed else None
    facts = ws.facts(account, dossier, returned=returned, slots=held_places(ws, unpushed) if unpushed else None)
    if dossier.new and ws.directory.asks.history:
        dossier.private.setdefault("sent_before", facts.sender_orders_before)
    if chosen := dossier.private.get("warehouse"):
        facts = replace(facts, warehouses=tuple(each for each in facts.warehouses if each.name == chosen))
    checked, verdicts = check(_still_to_ship(dossier, order, outside) if outside else order, facts, shares)
    passed = verdicts == PASSED
    waiting = not passed and any(verdict.waiting for verdict in verdicts)
    _remember_goods(dossier, checked)
    dossier.private["ship_to"] = consignee_values(checked.consignee)
    dossier.order["country"], dossier.order["region"] = checked.consignee.country, checked.consignee.region
    seen = with_gift_lines(dossier, checked, outside)
    decision = decide(seen, facts, ws.directory.ruleset, trace=False)
    problems = [] if passed else _left(verdicts, decision)
    causes: dict[str, Mapping[str, Any]] = {} if waiting or not problems else dict(problem_causes(problems))
    if decision.holds and not problems and not waiting and _anything_to_ship(checked):
        causes |= {hold.code: {"rule": hold.rule, "detail": hold.detail} for hold in decision.holds}
    sync_exceptions(ws, dossier, causes)
    stopped = decision.holds or (dossier.exceptions and open_codes(dossier))
    state = "exception" if problems else "held" if stopped else "ready"
    reserves = may_reserve(ws, dossier, account, checked, waiting=waiting)
    parts = parts_to_plan(ws, dossier, checked, decision, outside) if reserves else ()
    _replace_plan(ws, dossier, unpushed, parts, "held" if waiting else state, decision.not_before)
    _share_freight(ws, dossier)
    wait_for_others(ws, dossier, account, decision.merging, facts.goods)
    _keep_decision(ws, dossier, seen, decision, _PASSED if passed else _codes(verdicts), facts)
    row, tags = dossier.order, order.tags
    row["verdicts"] = _PASSED_TEXT if passed else _verdicts_text(verdicts)
    row["tags"] = _tags_text((*tags, *[tag for tag in decision.tags if tag not in tags]) if decision.tags else tags)
    row["blocked"] = bool(problems or decision.holds or waiting)
    dossier.private["problems"] = [] if passed else _problem_values(verdicts)
    refresh_status(dossier)


def _apart(live: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """What no warehouse knows of, and what one does."""
    return (
        [row for row in live if row["state"] in UNPUSHED],
        [row for row in live if row["state"] in KNOWN_OUTSIDE],
    )


def _left(verdicts: Sequence[Verdict], decision: Decision) -> list[Problem]:
    """The problems that the plan does not answer."""
    settled = SHORT if any(part.waits for part in decision.parts) else frozenset()
    return [problem for verdict in verdicts for problem in verdict.problems if problem.code not in settled]


def _problem_values(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    return [
        {"check": v.check, "code": p.code, "path": p.path, "detail": p.detail, "candidates": list(p.candidates)}
        for v in verdicts
        for p in v.problems
    ]


def _codes(verdicts: Sequence[Verdict]) -> dict[str, list[str]]:
    return {verdict.check: [problem.code for problem in verdict.problems] for verdict in verdicts}


def _verdicts_text(verdicts: Sequence[Verdict]) -> str:
    return json.dumps({v.check: [p.code for p in v.problems] or (["waiting"] if v.waiting else []) for v in verdicts})


_PASSED = _codes(PASSED)
_PASSED_TEXT = _verdicts_text(PASSED)


@lru_cache(maxsize=1024)
def _tags_text(tags: tuple[str, ...]) -> str:
    return json.dumps(tags, ensure_ascii=False)


def _anything_to_ship(order: Order) -> bool:
    return any(line.requires_shipping and line.state not in {"shipped", "cancelled"} for line in order.lines)


def drop_plan(ws: Workspace, dossier: Dossier) -> None:
    """Take back everything that no warehouse knows of: fulfilments, pushes, reservations."""
    for row in dossier.live():
        if row["state"] in UNPUSHED:
            _cancel_unpushed(ws, dossier, row)


def release_units(dossier: Dossier, fulfilment: Row) -> None:
    """Give a fulfilment's unshipped reservations back to stock, and its place in the warehouse's day. One that waits for
    stock has neither."""
    set_day(dossier, fulfilment, None)
    if fulfilment["state"] != WAITING:
        _reserve(dossier, fulfilment, -1)


def _reserve(dossier: Dossier, fulfilment: Row, sign: int = 1) -> None:
    row_id, warehouse_id = fulfilment["id"], fulfilment["warehouse_id"]
    for (owner, _, sku), line in dossier.fulfilment_lines.items():
        if owner == row_id and (left := line["quantity"] - line["shipped"]):
            dossier.moves.append((warehouse_id, sku, 0, sign * left))


def set_state(ws: Workspace, fulfilment: Row, state: str) -> bool:
    """Move a fulfilment along the published table; False when it is there already."""
    if not move(FULFILMENT, fulfilment["state"], state):
        return False
    fulfilment["state"] = state
    fulfilment["updated_at"] = ws.now
    fulfilment["revision"] += 1
    fulfilment["news_due_at"] = (
        ws.now + round(ws.hub.settings.news_seconds * 1_000_000) if state in {"accepted", "picking"} else None
    )
    return True


def refresh_status(dossier: Dossier) -> None:
    """Compute the order's status from all its fulfilments; facts that would lead backwards leave it."""
    order = dossier.order
    if not dossier.package_lines:
        if order["cancelled_at"] is not None and not dossier.live():
            order["status"] = "closed"
            return
        states = {line["state"] for number, line in dossier.lines.items() if number < FIRST}
        left = states != {"cancelled"} if states else None
        order["status"] = _unshipped_status(order["status"], left, order["payment"] != "unpaid")
        return
    progress = [
        Progress(
            line["quantity"],
            line["quantity"] if line["state"] == "cancelled" else 0,
            shipped_units(dossier, line),
        )
        for line in own_lines(dossier).values()
    ]
    closing = order["cancelled_at"] is not None and not dossier.live()
    if closing and not any(step.shipped for step in progress):
        order["status"] = "closed"
        return
    confirmed = bool(dossier.packages) and all(
        row["confirm_state"] in {"confirmed", "none", "degraded"} for row in dossier.packages.values()
    )
    order["status"] = roll_up(order["status"], progress, paid=order["payment"] != "unpaid", complete=confirmed)


@lru_cache(maxsize=64)
def _unshipped_status(current: OrderStatus, left: bool | None, paid: bool) -> OrderStatus:
    """The status of an order of which nothing was shipped; `left`: whether anything is still to ship, None without lines."""
    lines = () if left is None else (Progress(1, 0 if left else 1),)
    return roll_up(current, lines, paid=paid, complete=False)


def shipped_units(dossier: Dossier, line: Row) -> int:
    """Whole units of an order line that left: for a bundle the least complete component counts."""
    if not line["components"]:
        number, sku = line["line"], line["sku"]
        return sum(
            [row["quantity"] for key, row in dossier.package_lines.items() if key[1] == number and key[2] == sku]
        )
    per_unit = _per_unit(line)
    shipped: Counter[str] = Counter()
    for key, row in dossier.package_lines.items():
        if key[1] == line["line"]:
            shipped[row["sku"]] += row["quantity"]
    return min((shipped[sku] // units for sku, units in per_unit.items()), default=0)


def _per_unit(line: Row) -> dict[str, int]:
    if line["components"]:
        return {part[0]: part[1] for part in json.loads(line["components"])}
    return {line["sku"]: 1} if line["sku"] else {}


def _returned(ws: Workspace, dossier: Dossier, unpushed: Sequence[Row]) -> dict[tuple[str, str], int]:
    returned: Counter[tuple[str, str]] = Counter()
    for row in unpushed:
        target = ws.directory.targets.get(row["warehouse_id"])
        if row["state"] != WAITING and target is not None:
            for line in dossier.lines_of(row["id"]):
                returned[target.name, line["sku"]] += line["quantity"] - line["shipped"]
    return returned


def _still_to_ship(dossier: Dossier, order: Order, outside: Sequence[Row]) -> Order:
    """The order less what a warehouse already knows of (`outside`): those units are not planned again."""
    taken: Counter[tuple[int, str]] = Counter()
    stoppable: set[int] = set()
    for row in outside:
        left = row["state"] in {"shipped", "delivered"}
        for line in dossier.lines_of(row["id"]):
            taken[line["line"], line["sku"]] += line["shipped" if left else "quantity"]
            stoppable |= set() if left else {line["line"]}
    lines = tuple(_less(line, dossier.lines.get(n), taken, n) for n, line in enumerate(order.lines))
    if any(line.state == "after_sale" and number in stoppable for number, line in enumerate(order.lines)):
        return replace(order, lines=lines, forbids_shipping=(*order.forbids_shipping, "after_sale"))
    return replace(order, lines=lines)


def _less(line: Line, row: Row | None, taken: Mapping[tuple[int, str], int], number: int) -> Line:
    per_unit = _per_unit(row) if row else {}
    gone = max((taken.get((number, sku), 0) // units for sku, units in per_unit.items()), default=0)
    if not gone:
        return line
    return replace(line, state="shipped") if gone >= line.quantity else replace(line, quantity=line.quantity - gone)


def _remember_goods(dossier: Dossier, checked: Order) -> None:
    for number, line in enumerate(checked.lines):
        row = dossier.lines[number]
        row["sku"] = line.sku
        if line.components and not row["components"]:
            row["components"] = json.dumps([[part.sku, part.quantity] for part in line.components])


def _replace_plan(
    ws: Workspace,
    dossier: Dossier,
    unpushed: Sequence[Row],
    parts: Sequence[Part],
    state: str,
    not_before: datetime | None,
) -> None:
    kept: set[int] = set()
    for part in parts:
        warehouse = ws.directory.target(part.warehouse)
        match = _match(dossier, unpushed, kept, warehouse.id, part) if unpushed else None
        if match is None:
            match = _new_fulfilment(ws, dossier, warehouse.id, part)
        kept.add(match["id"])
        match["carrier"] = part.carrier
        if match["state"] == WAITING and not part.waits:
            _reserve(dossier, match)
        set_state(ws, match, WAITING if part.waits else state)
        day = None
        if warehouse.info.capacity is not None and not part.waits:
            day = day_of(warehouse.info, ws.at if not_before is None else max(ws.at, not_before))
        if match["day"] != day:
            set_day(dossier, match, day)
        _sync_push(ws, dossier, match, not_before)
    for row in unpushed:
        if row["id"] not in kept:
            _cancel_unpushed(ws, dossier, row)


def _match(
    dossier: Dossier, unpushed: Sequence[Row], kept: Collection[int], warehouse_id: int, part: Part
) -> Row | None:
    """The fulfilment that is this part already, and no other part's."""
    free = (row for row in unpushed if row["id"] not in kept)
    return next((row for row in free if _same_part(dossier, row, warehouse_id, part)), None)


def _same_part(dossier: Dossier, row: Row, warehouse_id: int, part: Part) -> bool:
    wanted = Counter[tuple[int, str]]()
    for line in part.lines:
        wanted[line.line, line.sku] += line.quantity
    has = {(line["line"], line["sku"]): line["quantity"] for line in dossier.lines_of(row["id"])}
    other = {"rejected"} if not part.waits else UNPUSHED - {WAITING}  # what is reserved does not start to wait
    return row["warehouse_id"] == warehouse_id and wanted == has and row["state"] not in other


def _new_fulfilment(ws: Workspace, dossier: Dossier, warehouse_id: int, part: Part) -> Row:
    row_id, order = ws.new_id(), dossier.order
    row: Row = {
        "id": row_id,
        "code": f"{order['number']}-{len(dossier.fulfilments) + 1}",
        "order_id": order["id"],
        "warehouse_id": warehouse_id,
        "state": "planned",
        "carrier": part.carrier,
        "warehouse_ref": "",
        "freight": 0,
        "revision": 0,
        "news_due_at": None,
        "day": None,
        "merge_key": None,
        "merge_id": None,
        "created_at": ws.now,
        "updated_at": ws.now,
    }
    dossier.fulfilments[row_id] = row
    lines = dossier.fulfilment_lines
    for line in part.lines:
        key = (row_id, line.line, line.sku)
        if (same := lines.get(key)) is not None:
            same["quantity"] += line.quantity
            continue
        lines[key] = {
            "fulfilment_id": row_id,
            "line": line.line,
            "sku": line.sku,
            "quantity": line.quantity,
            "shipped": 0,
        }
    dossier.note("hub", "planned", fulfilment=row["code"], warehouse=part.warehouse, carrier=part.carrier)
    return row


def _cancel_unpushed(ws: Workspace, dossier: Dossier, row: Row) -> None:
    release_units(dossier, row)
    set_state(ws, row, "cancelled")
    push = dossier.outbox_of("push", row["id"])
    if push is not None and push["state"] in {"due", "waiting", "parked"}:
        push |= {"state": "withdrawn", "updated_at": ws.now}
    dossier.note("hub", "plan_dropped", fulfilment=row["code"])


def _sync_push(ws: Workspace, dossier: Dossier, fulfilment: Row, not_before: datetime | None = None) -> None:
    """A ready fulfilment has a push that is due, not before the delay window and its schedule are over; any other has none
    that could start."""
    push = dossier.outbox_of("push", fulfilment["id"]) if dossier.outbox else None
    if fulfilment["state"] == "ready":
        since = push["updated_at"] if push is not None and push["state"] == "due" else ws.now
        due_at = _goes_out(ws, dossier, since, not_before)
        if push is None:
            add_outbox(ws, dossier, "push", "warehouse", fulfilment["warehouse_id"], fulfilment, due_at=due_at)
            dossier.note("hub", "released", fulfilment=fulfilment["code"])
        elif push["state"] in {"withdrawn", "parked"}:
            push |= {"state": "due", "due_at": due_at, "attempts": 0, "looks": 0, "updated_at": ws.now}
            dossier.note("hub", "released", fulfilment=fulfilment["code"])
        elif push["state"] == "due" and push["attempts"] == 0:
            push["due_at"] = due_at
    elif push is not None and push["state"] == "due":
        push |= {"state": "withdrawn", "updated_at": ws.now}


def _goes_out(ws: Workspace, dossier: Dossier, since: int, not_before: datetime | None) -> int:
    """When a push that is ready since then (µs) may start: after the delay window and the schedule, unless a person said at
    once."""
    if dossier.private.get("at_once"):
        return since
    delay = ws.hub.settings.delay_seconds
    leaves = since + _delay(delay) if delay else since
    return leaves if not_before is None else max(leaves, micros(not_before))


@lru_cache(maxsize=8)
def _delay(seconds: float) -> int:
    return span(timedelta(seconds=seconds))


def hold_unpushed(ws: Workspace, dossier: Dossier) -> None:
    """Nothing of this order goes out any more until a person has looked."""
    for row in dossier.live():
        if row["state"] == "ready":
            set_state(ws, row, "held")
            _sync_push(ws, dossier, row)


def add_outbox(
    ws: Workspace,
    dossier: Dossier,
    kind: str,
    target_kind: str,
    target_id: int,
    fulfilment: Row | None,
    *,
    due_at: int,
    package_id: int | None = None,
    state: str = "due",
    turn: int = 0,
) -> Row:
    """A new effect to have on the outside world. Its key is stored before the first attempt and never changes."""
    row_id = ws.new_id()
    order_id, fulfilment_id = dossier.order["id"], fulfilment["id"] if fulfilment else None
    about = package_id if package_id is not None else fulfilment_id or order_id
    row: Row = {
        "id": row_id,
        "key": f"{kind}:{about}:{turn}" if turn else f"{kind}:{about}",
        "kind": kind,
        "target_kind": target_kind,
        "target_id": target_id,
        "order_id": order_id,
        "fulfilment_id": fulfilment_id,
        "package_id": package_id,
        "state": state,
        "attempts": 0,
        "looks": 0,
        "token": 0,
        "due_at": due_at,
        "outcome": "",
        "reply": None,
        "created_at": ws.now,
        "updated_at": ws.now,
    }
    dossier.outbox[row_id] = row
    return row


def _share_freight(ws: Workspace, dossier: Dossier) -> None:
    """Freight of a split order is shared by the parts that no warehouse knows of, less what the others bear already."""
    if len(dossier.fulfilments) == 1:
        (only,) = dossier.fulfilments.values()
        if only["state"] in UNPUSHED:
            only["freight"] = max(0, dossier.order["freight"])  # nobody to share with
        return
    live = dossier.live()
    rows = [row for row in live if row["state"] in UNPUSHED]
    values = [sum(_value(dossier, line) for line in dossier.lines_of(row["id"])) for row in rows]
    kept = [row["freight"] for row in live if row["state"] not in UNPUSHED]
    shares = share_freight(dossier.order["freight"], values, kept, ws.directory.ruleset.routing.freight)
    for row, share in zip(rows, shares, strict=True):
        row["freight"] = share


def _value(dossier: Dossier, line: Row) -> int:
    row = dossier.lines[line["line"]]
    return int(row["amount"]) * int(line["quantity"]) // max(1, int(row["quantity"]))


def _keep_decision(
    ws: Workspace, dossier: Dossier, order: Order, decision: Decision, verdicts: dict[str, list[str]], facts: Facts
) -> None:
    network, sender, gifts = shared_of(ws, facts, ws.directory.ruleset)
    record: dict[str, Any] = {
        "verdicts": verdicts,
        **freeze_decision(decision),
        "input": {"n": network, "w": sender, **freeze(order, facts, gifts)},
    }
    dossier.decisions.append(
        {
            "id": ws.new_id(),
            "order_id": dossier.order["id"],
            "ruleset": decision.ruleset,
            "released": decision.released,
            "record": Plain(pack(record)),
            "created_at": ws.now,
        }
    )
