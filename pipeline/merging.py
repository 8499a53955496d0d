"""Orders that wait for others of the same buyer, and the moment in which they become one warehouse order.

Until then nothing connects them but an equal key, each on its own fulfilment: an order that is cancelled, changed or held
stops waiting by its own rows. The claim of a push gathers whoever waits under its key, under lock, and gives the warehouse
order its code before the first attempt (docs/merging.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from domain.decision import Merging
from domain.facts import Goods
from domain.merging import Candidate, Group, find_obstacle, merge_text
from domain.numbers import order_number
from storage.merges import (
    find_merges,
    list_company,
    list_waiting_pushes,
    load_marked,
    load_members,
    load_merges,
    load_waiting,
    lock_waiting_pushes,
    mark_members,
    put_merge,
    save_claims,
    save_merge,
)
from storage.rows import Row
from storage.times import span

from .bootstrap import Hub
from .directory import Account
from .dossier import Dossier
from .workspace import Workspace

PREFIX = "MG"
# What of a channel's own words says how a parcel is to be delivered.
_TERMS = ("shipping_method", "store", "delivery_note")
_SETTLED = frozenset({"refused", "refunded", "exchange_shipped", "withdrawn"})
_UNPUSHED = frozenset({"planned", "held", "exception", "ready", "rejected"})
_HELD_BY_OTHERS = 3  # times a claim waits for members that somebody is changing
_PAUSE = span(timedelta(milliseconds=150))


# --- waiting: one order's own rows -------------------------------------------------------------------------------------


def wait_for_others(
    ws: Workspace, dossier: Dossier, account: Account, merging: Merging | None, goods: Mapping[str, Goods]
) -> None:
    """Let the unpushed fulfilments of a planned order wait for others, or stop waiting, as the decision says."""
    if merging is None and "merging" not in dossier.private:
        return
    if merging is None:
        del dossier.private["merging"]
    else:
        skus = {line["sku"] for line in dossier.lines.values()} | {x["sku"] for x in dossier.fulfilment_lines.values()}
        kinds = sorted({kind for sku in skus if sku in goods for kind in _kinds(goods[sku])})
        window = {"rule": merging.rule, "until": _window_end(dossier, merging), "kinds": kinds}
        dossier.private["merging"] = window
    for row in dossier.live():
        if row["state"] in _UNPUSHED:
            _wait_or_stop(ws, dossier, row, account)


def _wait_or_stop(ws: Workspace, dossier: Dossier, row: Row, account: Account) -> None:
    until = dossier.private.get("merging", {}).get("until", 0)
    candidate = read_candidate(ws, dossier, row, account)
    free = not find_obstacle(candidate) and not dossier.private.get("apart")
    key = merge_key(ws, candidate) if free else None
    if key is not None and until <= ws.now and key != row["merge_key"]:
        key = None  # too late to begin to wait
    if key is None:
        leave(dossier, row)
    else:
        join(dossier, row, key, until)


def join(dossier: Dossier, fulfilment: Row, key: bytes, until: int) -> None:
    """From now on this fulfilment waits under `key`, its push at least until `until` (µs)."""
    fulfilment["merge_key"] = key
    push = dossier.outbox_of("push", fulfilment["id"])
    if push is not None and push["state"] == "due" and not push["attempts"]:
        waits = dossier.private["merging"]
        # When it would go out if it waited for nobody: what leaving gives it back.
        dossier.private["merging"] = waits | {"due": min(push["due_at"], waits.get("due", push["due_at"]))}
        push["due_at"] = max(push["due_at"], until)


def leave(dossier: Dossier, fulfilment: Row) -> None:
    """It waits for nobody any more; its push goes out as any other."""
    if fulfilment["merge_key"] is None:
        return
    fulfilment |= {"merge_key": None, "merge_id": None}
    push = dossier.outbox_of("push", fulfilment["id"])
    if push is not None and push["state"] == "due" and not push["attempts"]:
        push["due_at"] = dossier.private.get("merging", {}).get("due", push["due_at"])


def merge_key(ws: Workspace, candidate: Candidate) -> bytes:
    return ws.hub.vault.search_hash("merge", merge_text(candidate))


def read_candidate(ws: Workspace, dossier: Dossier, fulfilment: Row, account: Account) -> Candidate:
    """A fulfilment as the merge checks see it: what will be shipped, to whom, by whom, and on which terms."""
    order, private = dossier.order, dossier.private
    to = private.get("ship_to") or private["consignee"]
    waits = private.get("merging", {})
    target = ws.directory.targets.get(fulfilment["warehouse_id"])
    place = ("country", "region", "province", "city", "district", "town", "street", "postcode", "company")
    extra = {pair[0]: pair[1] for pair in private["extra"]}
    return Candidate(
        owner=f"account {account.id}" if account.partner_id is None else f"partner {account.partner_id}",
        channel=account.channel.name,
        buyer=private["buyer_id"],
        consignee=to["name"],
        phone=f"{to['phone']}-{to['phone_extension']}",
        address="|".join(str(to[name]) for name in place),
        warehouse=str(fulfilment["warehouse_id"]),
        carrier=fulfilment["carrier"],
        term="|".join(extra.get(name, "") for name in _TERMS),
        currency=order["currency"],
        kinds=tuple(waits.get("kinds", ())),
        ready=fulfilment["state"] == "ready",
        paid=order["payment"] == "paid",
        shipped=bool(dossier.packages) or order["status"] != "pending_shipment",
        after_sale=any(row["state"] not in _SETTLED for row in dossier.after_sales.values()),
        cod=order["payment"] == "cod",
        abroad=target is None or to["country"] != target.info.country,
        masked=bool(to["masked"]),
        split=len(dossier.live()) > 1,
        ruled=bool(waits.get("until")),
    )


def _kinds(goods: Goods) -> Iterable[str]:
    return (*goods.classes, *((f"supplier {goods.supplier}",) if goods.supplier else ()))


def _window_end(dossier: Dossier, merging: Merging) -> int:
    """When the order has waited long enough (µs); 0: it never waits."""
    if not merging.window_minutes:
        return 0
    return int(dossier.order["paid_at"] or dossier.order["placed_at"]) + span(timedelta(minutes=merging.window_minutes))


# --- the claim: several orders' pushes become one ----------------------------------------------------------------------


def gather(hub: Hub, tx: Connection, rows: Sequence[Row], *, now: int) -> list[Row]:
    """Claimed rows → the rows to send. A first push takes along whoever waits with it; a row about a warehouse order that
    exists carries its members (`row["group"]`)."""
    marked = {row["id"]: row for row in load_marked(tx, [r["fulfilment_id"] for r in rows if r["kind"] != "confirm"])}
    if not marked:
        return list(rows)
    by_key: dict[bytes, list[Row]] = {}
    merged: list[tuple[Row, int]] = []
    sent: list[Row] = []
    for row in rows:
        fulfilment = marked.get(row["fulfilment_id"]) if row["kind"] != "confirm" else None
        if fulfilment is not None and fulfilment["state"] == "ready" and row["kind"] == "push":
            if fulfilment["merge_key"] is not None and row["was"] == "due":
                by_key.setdefault(fulfilment["merge_key"], []).append(row)
                continue
        elif fulfilment is not None and fulfilment["merge_id"] is not None:
            merged.append((row, fulfilment["merge_id"]))
        sent.append(row)
    groups = load_groups(tx, (merge_id for _, merge_id in merged))
    for row, merge_id in merged:
        row["group"] = groups[merge_id]
    for key, claimed in sorted(by_key.items()):
        sent += _seal(hub, tx, key, claimed, now=now)
    return sent


def load_groups(tx: Connection, merge_ids: Iterable[int]) -> dict[int, Group]:
    """Warehouse orders with their members."""
    found = load_merges(tx, merge_ids)
    members: dict[int, list[tuple[int, int]]] = {}
    for row in load_members(tx, found):
        members.setdefault(row["merge_id"], []).append((row["order_id"], row["id"]))
    return {
        merge_id: Group(merge_id, row["code"], tuple(members[merge_id]))
        for merge_id, row in found.items()
        if merge_id in members
    }


def merge_of(ws: Workspace, dossier: Dossier, push: Row) -> Group | None:
    """The warehouse order that a fulfilment's push went into, if it was one for several and was not taken apart."""
    fulfilment = dossier.fulfilments[push["fulfilment_id"]]
    if fulfilment["merge_id"] is None or fulfilment["state"] in _UNPUSHED | {"cancelled"}:
        return None
    return load_groups(ws.tx, [fulfilment["merge_id"]]).get(fulfilment["merge_id"])


def find_groups(tx: Connection, codes: Iterable[str]) -> dict[str, Group]:
    """Warehouse orders for several fulfilments, by the code that a warehouse knows."""
    found = find_merges(tx, codes)
    groups = load_groups(tx, (row["id"] for row in found.values())) if found else {}
    return {code: groups[row["id"]] for code, row in found.items() if row["id"] in groups}


def _seal(hub: Hub, tx: Connection, key: bytes, claimed: list[Row], *, now: int) -> list[Row]:
    """Whoever waits under this key and is nobody else's at this moment goes out together, or alone."""
    token = claimed[0]["token"]
    pushes = {row["fulfilment_id"]: row for row in lock_waiting_pushes(tx, key, token=token)}
    members = [row for row in load_waiting(tx, key) if row["id"] in pushes]
    lead = min(claimed, key=lambda row: int(row["fulfilment_id"]))
    missing = set(list_waiting_pushes(tx, key, token=token)) - pushes.keys()
    if missing and lead["looks"] < _HELD_BY_OTHERS:
        back = {"state": "due", "due_at": now + _PAUSE, "token": 0, "updated_at": now}
        save_claims(tx, [row | back | {"attempts": row["attempts"] - 1, "looks": row["looks"] + 1} for row in claimed])
        return []
    if len(members) < 2:
        for row in members:
            if row["merge_id"] is not None:
                mark_members(tx, [row["id"]], None)
                save_merge(tx, row["merge_id"], state="dissolved", now=now)
        return claimed
    group = _group_of(hub, tx, key, members, lead, now=now)
    waits = {"state": "waiting", "token": 0, "outcome": group.code, "updated_at": now}
    save_claims(tx, [row | waits for row in pushes.values() if row["fulfilment_id"] != lead["fulfilment_id"]])
    lead["group"] = group
    return [lead]


def _group_of(hub: Hub, tx: Connection, key: bytes, members: Sequence[Row], lead: Row, *, now: int) -> Group:
    """The same goods go out under the same code; other goods never do."""
    ids = [row["id"] for row in members]
    pairs = tuple((row["order_id"], row["id"]) for row in members)
    before = {row["merge_id"] for row in members if row["merge_id"] is not None}
    known = load_merges(tx, before)
    if len(known) == 1 and all(row["merge_id"] is not None for row in members):
        (merge_id,) = known
        if known[merge_id]["size"] == len(ids):
            save_merge(tx, merge_id, state="sealed", now=now, lead_id=lead["fulfilment_id"])
            return Group(merge_id, known[merge_id]["code"], pairs)
    for merge_id in sorted(known):
        save_merge(tx, merge_id, state="dissolved", now=now)
    merge_id = hub.ids()
    row: dict[str, Any] = {"id": merge_id, "code": order_number(merge_id, PREFIX), "state": "sealed"}
    row |= {"warehouse_id": members[0]["warehouse_id"], "key_hash": key, "lead_id": lead["fulfilment_id"]}
    put_merge(tx, row | {"size": len(ids), "created_at": now, "updated_at": now})
    mark_members(tx, ids, merge_id)
    return Group(merge_id, row["code"], pairs)


def company_of(tx: Connection, fulfilment: Row) -> dict[str, Any]:
    """With which orders a fulfilment shares its parcel, and the code the warehouse knows that parcel's order by."""
    merge_id = fulfilment["merge_id"]
    if merge_id is None and fulfilment["merge_key"] is None:
        return {"ships_with": [], "merged_code": ""}
    pushed = merge_id is not None and fulfilment["state"] != "ready"
    code = load_merges(tx, [merge_id])[merge_id]["code"] if pushed else ""
    return {"ships_with": list_company(tx, fulfilment), "merged_code": code}
