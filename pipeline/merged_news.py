"""News of a warehouse order that carries several orders: each is told its own part of it and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from domain.merging import Group, Member, Share, share_news
from domain.order import ShippingNews
from storage.merges import save_merge
from storage.rows import Row

from .dossier import Dossier
from .exceptional import clear_exceptions, raise_exception
from .take_news import take_news
from .workspace import Workspace

_UNSURE = frozenset({"unknown", "sending", "parked"})


def take_merged_news(ws: Workspace, group: Group, news: ShippingNews, owners: Mapping[str, set[int]]) -> int:
    """Apply one event to every member. Told twice, or late, it does nothing twice. Returns the first member's order."""
    _prove_arrival(ws, group, news)
    members = [_read_member(ws.dossiers[order_id], part) for order_id, part in group.members]
    stopping = any(ws.dossiers[order_id].fulfilments[part]["state"] == "cancelling" for order_id, part in group.members)
    others = {number: set(ids) - group.orders for number, ids in owners.items()}
    for (order_id, part), own in zip(group.members, share_news(news, members), strict=True):
        dossier = ws.dossier(order_id)
        fulfilment = dossier.fulfilments[part]
        if news.state == "cancelled" and stopping and fulfilment["state"] != "cancelling" and not own.parcels:
            continue  # the answer to the question of one of them decides for all, and its sender settles it
        take_news(ws, dossier, own, others)
        _miss(ws, dossier, fulfilment, news, own)
        ws.keep(dossier)
    return group.members[0][0]


def _read_member(dossier: Dossier, part: int) -> Member:
    rows = sorted(dossier.lines_of(part), key=lambda row: (row["line"], row["sku"]))
    parcels: dict[str, Counter[str]] = {}
    for package in dossier.packages.values():
        if package["fulfilment_id"] == part:
            held = [row for key, row in dossier.package_lines.items() if key[0] == package["id"]]
            parcels[package["tracking"]] = Counter()
            for row in held:
                parcels[package["tracking"]][row["sku"]] += row["quantity"]
    shares = (Share(row["line"], row["sku"], row["quantity"], row["quantity"] - row["shipped"]) for row in rows)
    return Member(dossier.fulfilments[part]["code"], tuple(shares), parcels)


def _prove_arrival(ws: Workspace, group: Group, news: ShippingNews) -> None:
    """News about a warehouse order means that its push arrived, for each of its members."""
    dossiers = [(ws.dossier(order_id), part) for order_id, part in group.members]
    pushes = [push for dossier, part in dossiers if (push := dossier.outbox_of("push", part)) is not None]
    unsure = [push for push in pushes if push["state"] in _UNSURE]
    if not unsure or (all(push["state"] == "sending" for push in unsure) and not news.parcels):
        return
    for push in pushes:
        if push["state"] in _UNSURE or push["state"] == "waiting":
            push["state"] = "unknown"  # each order takes its own part of the news as the proof
    for dossier, _ in dossiers:
        ws.keep(dossier)
    save_merge(ws.tx, group.id, state="pushed", now=ws.now)


def _miss(ws: Workspace, dossier: Dossier, fulfilment: Row, news: ShippingNews, own: ShippingNews) -> None:
    """A final message with parcels of which none is this order's: the warehouse is asked what it knows, and a person told."""
    lines = dossier.lines_of(fulfilment["id"])
    if fulfilment["state"] == "shipped" and all(line["shipped"] == line["quantity"] for line in lines):
        clear_exceptions(ws, dossier, {"short_ship"}, actor="warehouse", how="the missing parcel was told later")
    elif news.final and news.parcels and not own.parcels and fulfilment["state"] in {"accepted", "picking"}:
        fulfilment["news_due_at"] = ws.now
        raise_exception(ws, dossier, "short_ship", {"fulfilment": fulfilment["code"]})
