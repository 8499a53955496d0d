"""What is loaded and written in part comes out as if all of it had been."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError
from domain.numbers import IdMaker
from pipeline import absorb as absorbing
from pipeline import settle as settling
from pipeline.absorb import absorb_all
from pipeline.bootstrap import Hub
from pipeline.dossier import Dossier, Extract, extract
from pipeline.extracts import Needs
from pipeline.messages import build_confirmation, build_shipment
from pipeline.sending import Outcome
from pipeline.workspace import load_orders, open_workspace, write_workspace
from storage import tables as t
from storage.inbox import Arrival, put_arrivals, seal_arrivals
from tests.clocks import FAR_MS

from .build import NOW, Order, Shop, confirmed, furnish, lines_of, trade

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


Steps = list[tuple[str, int, str]]
Rows = list[Any]
TRADES = ("4212345678900234567", "4212345678900234568")
# What a source's next document says; "shown" is what it shows after our own confirmation.
SAYS = ("same", "shown", "finished", "closed", "refund", "moved", "fewer", "dearer", "remark", "older")
NEWS: dict[str, dict[str, Any]] = {
    "all": {"goods": GOODS},
    "some": {"goods": (("A", 1),), "final": False},
    "short": {"goods": (("A", 1),)},
    "over": {"goods": (("A", 3), ("B", 1))},
    "cancelled": {"goods": None, "status": "CANCELED"},
    "rejected": {"goods": None, "status": "REJECT"},
    "exception": {"goods": None, "status": "EXCEPTION"},
    "accepted": {"goods": None, "status": "ACCEPT"},
}
_STEPS = st.one_of(
    st.tuples(st.just("document"), st.integers(0, 1), st.sampled_from(SAYS)),
    st.tuples(st.just("news"), st.integers(0, 1), st.sampled_from(sorted(NEWS))),
    st.tuples(st.just("absorb"), st.just(0), st.just("")),
    st.tuples(st.just("settle"), st.just(0), st.sampled_from(("done", "done", "unknown"))),
)
# Nearly every order goes this way, and what happens afterwards is most of the question.
_USUAL = (
    *(("document", 0, "same"), ("absorb", 0, ""), ("settle", 0, "done"), ("news", 0, "all"), ("absorb", 0, "")),
    *(("settle", 0, "done"), ("document", 0, "shown"), ("absorb", 0, "")),
)


def said(tid: str, at: int, says: str) -> dict[str, Any]:
    """A version of a trade, at that many minutes."""
    goods = (("A", 1), ("B", 1)) if says == "fewer" else GOODS
    told = trade(tid, 0 if says == "older" else at, goods=goods)
    head = told["trade_fullinfo_get_response"]["trade"]
    status = {"shown": "WAIT_BUYER_CONFIRM_GOODS", "finished": "TRADE_FINISHED", "closed": "TRADE_CLOSED"}.get(says)
    if status is not None:
        head |= {"status": status, "consign_time": "2026-11-21 21:00:00"}
        for line in lines_of(told):
            line |= {"status": status, "consign_time": "2026-11-21 21:00:00", "invoice_no": "SF1"}
    if says == "refund":
        lines_of(told)[0] |= {"refund_status": "WAIT_SELLER_AGREE", "refund_id": "77"}
    if says == "moved":
        head |= {"receiver_address": "示例路9号"}
    if says == "dearer":
        head |= {"post_fee": "1.00", "payment": "31.00"}
    if says == "remark":
        head |= {"buyer_message": "轻放"}
    return told


def tell(shop: Shop, tid: str, turn: int, kind: str) -> None:
    """A warehouse's message about the newest part of an order comes, and waits to be absorbed."""
    with suppress(Exception):
        code = shop.order(tid, "tb").code
        told = dict(NEWS[kind])
        goods = told.pop("goods")
        body = confirmed(code, *([(f"SF{turn}", goods)] if goods else []), **told)
        source = shop.id_of("wh1", t.warehouses)
        arrival = Arrival(source_kind="warehouse", source_id=source, kind="shipment", external_id=f"e{turn}", body=body)
        with shop.hub.write() as tx:
            put_arrivals(tx, seal_arrivals(shop.hub.vault, shop.hub.ids.take, [arrival]), shop.hub.now())


def live(hub: Hub, steps: Steps) -> Rows:
    """The same from the same beginning; every row that it leaves, opened."""
    random.seed(0)  # what spreads retries
    hub.ids = IdMaker(1, lambda: int(NOW.timestamp() * 1000), until_ms=FAR_MS)
    shop = furnish(hub)
    for turn, (kind, which, what) in enumerate(steps, 1):
        if kind == "document":
            shop.put(said(TRADES[which], turn, what), account="tb")
        elif kind == "news":
            tell(shop, TRADES[which], turn, what)
        elif kind == "absorb":
            absorb_all(shop.hub)
        else:
            shop.push(what)  # type: ignore[arg-type]
    absorb_all(shop.hub)
    shop.check_books()
    kept = [table for table in t.metadata.sorted_tables if table.name not in {"nodes", "accounts", "warehouses"}]
    return [[(table.name, opened(shop, table, row)) for row in shop.rows(table)] for table in kept]


def opened(shop: Shop, table: Any, row: dict[str, Any]) -> dict[str, Any]:
    told = dict(row)
    for name, value in row.items():
        if isinstance(value, bytes):
            with suppress(ConfigError):
                told[name] = shop.hub.vault.open(f"{table.name}.{name}", row.get("id", ""), value)
    return told


def whole(monkeypatch: pytest.MonkeyPatch, hub: Hub, steps: Steps) -> Rows:
    with monkeypatch.context() as patched:
        patched.setattr(absorbing, "needs_of", lambda *_: Needs({}, frozenset(), frozenset()))
        return live(hub, steps)


@pytest.fixture
def both(sqlite_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Callable[[Steps], tuple[Rows, Rows]]:
    """What steps leave when parts of orders are loaded, and when all of them is."""
    return lambda steps: (live(sqlite_hub, steps), whole(monkeypatch, sqlite_hub, steps))


@given(st.booleans(), st.lists(_STEPS, max_size=7))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_documents_that_load_a_part_write_what_they_write_with_all(
    both: Callable[[Steps], tuple[Rows, Rows]], usual: bool, steps: Steps
) -> None:
    in_part, in_all = both([*(_USUAL if usual else _USUAL[:3]), *steps])
    assert in_part == in_all


@pytest.mark.parametrize("says", ["shown", "closed", "refund"])
def test_a_newer_version_of_an_order_that_is_over_leaves_the_same_on_each_database(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    steps = [*_USUAL[:6], ("document", 0, says), ("absorb", 0, ""), ("news", 0, "all")]
    assert live(shop.hub, steps) == whole(monkeypatch, shop.hub, steps)


def test_what_was_not_opened_cannot_be_lost(small_shop: Shop) -> None:
    order_ = small_shop.take(trade(), account="tb")
    with small_shop.hub.write() as tx:
        ws = open_workspace(small_shop.hub, tx, small_shop.hub.clock())
        load_orders(ws, [order_.id], Extract(frozenset()))
        dossier = ws.dossier(order_.id)
        dossier.private["note"] = "x"
        ws.keep(dossier)
        with pytest.raises(AssertionError):
            write_workspace(ws)
