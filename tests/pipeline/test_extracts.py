"""What is loaded and written in part comes out as if all of it had been."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import settle as settling
from pipeline.dossier import Dossier, extract
from pipeline.messages import build_confirmation, build_shipment
from pipeline.sending import Outcome
from pipeline.workspace import load_orders, open_workspace, write_workspace
from storage import tables as t

from .build import Order, Shop, confirmed, trade

GOODS = (("A", 2), ("B", 1))
# What tells two orders of the same content from one another, and what is sealed for one of them.
_OWN = frozenset(
    {
        "id",
        "number",
        "code",
        "key",
        "external_id",
        "inbox_id",
        "order_id",
        "fulfilment_id",
        "package_id",
        "private",
        "reply",
    }
    | {
        "event_hash",
        "hash",
        "token",
        "listing_id",
        "merge_hash",
        "updated_at",
        "tracking",
        "warehouse_ref",
        "detail",
        "subject",
    }
)


def walk(shop: Shop, tid: str, parcel: str, *, stopped: bool) -> tuple[Order, list[Any]]:
    """An order is pushed, shipped and told; how all its rows looked after each settlement."""
    told: list[Any] = []
    order_ = shop.take(trade(tid, goods=GOODS), account="tb")
    jobs = shop.claim()
    if stopped:
        shop.take(trade(tid, 1, goods=GOODS, status="TRADE_CLOSED"), account="tb")
    shop.end(jobs, "done", reference="W1")
    told.append(rows_of(shop, order_.again()))
    shop.tell(confirmed(order_.code, (parcel, [("A", 2), ("B", 1)])))
    shop.push("done", degraded="without the size")
    told.append(rows_of(shop, order_.again()))
    return order_.again(), told


def rows_of(shop: Shop, order_: Order) -> list[Any]:
    dossier = order_.dossier
    kept = (dossier.lines, dossier.fulfilments, dossier.fulfilment_lines, dossier.packages, dossier.package_lines)
    tables = [[dossier.order], *([*rows.values()] for rows in (*kept, dossier.outbox, dossier.exceptions))]
    events = shop.rows(t.events, t.events.c.order_id == order_.id)
    return [
        [{name: _shown(name, row[name]) for name in row.keys() - _OWN} for row in rows] for rows in (*tables, events)
    ]


def _shown(name: str, value: Any) -> Any:
    """The clock moves on between two orders: of a time only whether there is one."""
    return value is not None if name.endswith("at") else value


@pytest.mark.parametrize("stopped", [False, True])
def test_a_settlement_of_a_part_writes_what_a_settlement_of_all_writes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    in_part, first = walk(shop, "4212345678900234567", "SF1", stopped=stopped)
    monkeypatch.setattr(settling, "_went_well", lambda _: False)
    whole, second = walk(shop, "4212345678900234568", "SF2", stopped=stopped)
    assert first == second
    assert (in_part.dossier.private.keys(), in_part.events) == (whole.dossier.private.keys(), whole.events)


def test_a_parcel_that_waits_for_another_is_settled_with_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(tid: str, *parcels: str) -> list[Any]:
        order_ = shop.take(trade(tid, goods=GOODS), account="tb")
        shop.push("done")
        shop.tell(confirmed(order_.code, (parcels[0], [("A", 2)]), (parcels[1], [("B", 1)])))
        first, second = sorted(shop.claim(), key=lambda job: int(job.row["id"]))
        settling.settle(shop.hub, [Outcome(row=first.row, end="done"), Outcome(row=second.row, end="wait")])
        assert order_.again().sendings("confirm") == ["done", "due"]
        seen = rows_of(shop, order_.again())
        shop.clock.wait(seconds=1)
        shop.push("done")
        return [seen, rows_of(shop, order_.again()), order_.again().status]

    in_part = told("4212345678900234567", "SF1", "SF2")
    monkeypatch.setattr(settling, "_went_well", lambda _: False)
    assert in_part == told("4212345678900234568", "SF3", "SF4")


def test_what_was_not_loaded_is_missing_and_stays_as_it_is(shop: Shop) -> None:
    order_ = shop.take(trade(goods=GOODS), account="tb")
    part = extract(orders="status", order_lines="sku")
    with shop.hub.write() as tx:
        ws = open_workspace(shop.hub, tx, shop.clock())
        load_orders(ws, [order_.id], part)
        dossier = ws.dossiers[order_.id]
        assert "currency" not in dossier.order and not dossier.outbox and dossier.lines.keys() == {0, 1}
        with pytest.raises(KeyError):
            dossier.lines[0]["quantity"]
        dossier.lines[0]["sku"] = "C"
        dossier.note("hub", "changed")
        ws.keep(dossier)
        write_workspace(ws)
    after = order_.again().dossier
    before = order_.dossier.order
    assert {name for name in before if before[name] != after.order[name]} == {
        "event_seq",
        "event_hash",
        "revision",
        "updated_at",
    }
    assert after.lines[0] == order_.dossier.lines[0] | {"sku": "C"} and after.lines[1] == order_.dossier.lines[1]


def test_what_a_claim_loads_says_what_the_whole_order_would_say(shop: Shop) -> None:
    order_ = shop.take(trade(goods=GOODS), account="tb")
    (push,) = shop.claim()
    account = push.directory.account("tb")
    told: Dossier = order_.again().dossier
    assert build_shipment(push.dossier, push.fulfilment, account) == build_shipment(told, push.fulfilment, account)
    shop.end([push], "done")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)]), ("SF2", [("B", 1)])))
    for job in shop.claim():
        told = order_.again().dossier
        parcel = told.packages[job.row["package_id"]]
        assert build_confirmation(job.dossier, parcel, account) == build_confirmation(told, parcel, account) is not None
