"""Stock: what is reserved is what live fulfilments still have to ship, and nothing is sold twice (P9)."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from domain.errors import RefusedError, RetryableError, UnknownOutcomeError
from outbound._warehouse import StockLevel
from pipeline.absorb import absorb, absorb_all
from pipeline.apply import apply_values
from pipeline.review import cancel_by_number, review
from pipeline.supply import put_stock_text
from pipeline.watch import put_stock_levels
from storage import tables as t

from .build import Shop, config, confirmed, furnish, order, reported, ship_to, warehouse

ERRORS = {"retry": RetryableError("http_503"), "refused": RefusedError("S003"), "unknown": UnknownOutcomeError("reset")}


def snapshot(shop: Shop, free: int, locked: int, at: int) -> int:
    level = StockLevel(sku="A", free=free, locked=locked)
    return put_stock_levels(shop.hub, shop.id_of("wh1", t.warehouses), (level,), at)


def test_a_batch_never_sells_a_piece_twice(shop: Shop) -> None:
    shop.put(*(order(f"PO-{n}", goods=(("A", 30),)) for n in range(5)))
    absorb_all(shop.hub)
    states = sorted(row["state"] for row in shop.rows(t.fulfilments))
    assert states.count("ready") == 3
    assert shop.open_codes() == ["out_of_stock"] * 2
    assert shop.reserved() == 90
    shop.check_books()


def test_two_absorbers_never_sell_a_piece_twice(pg_shop: Shop) -> None:
    pg_shop.put(*(order(f"PO-{n}", goods=(("A", 30), ("B", 1))) for n in range(12)))
    gate = Barrier(3)

    def work(_: int) -> None:
        gate.wait()
        for _ in range(8):
            absorb(pg_shop.hub, limit=2)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    absorb_all(pg_shop.hub)
    assert len(pg_shop.rows(t.orders)) == 12
    assert pg_shop.reserved() == 90
    pg_shop.check_books()


def test_one_piece_has_one_winner_every_time(pg_shop: Shop) -> None:
    for n in range(5):
        sku = f"ONE-{n}"
        listing = [{"account": "acme", "external_sku": f"EXT-{sku}", "sku": sku}]
        apply_values(pg_shop.hub, {"listings": listing, "stock": [{"warehouse": "wh1", "sku": sku, "on_hand": 1}]})
        pg_shop.put(*(order(f"PO-{n}-{k}", goods=((sku, 1),)) for k in range(6)))
        gate = Barrier(3)

        def work(_: int, gate: Barrier = gate) -> None:
            gate.wait()
            for _ in range(3):
                absorb(pg_shop.hub, limit=1)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, range(3)))
        absorb_all(pg_shop.hub)
        assert pg_shop.reserved(sku) == 1
    pg_shop.check_books()


def test_a_buffer_is_never_sold_and_a_backorder_always_is(shop: Shop) -> None:
    apply_values(shop.hub, {"stock": [{"warehouse": "wh1", "sku": "A", "buffer": 99}]})
    assert shop.take(order()).codes == ["out_of_stock"]
    apply_values(shop.hub, {"stock": [{"warehouse": "wh1", "sku": "B", "backorder": True}]})
    order_ = shop.take(order("PO-2", goods=(("B", 500),)))
    assert (order_.states, shop.reserved("B")) == (["ready"], 500)
    shop.check_books()


def test_new_stock_cures_who_waited_for_it(shop: Shop) -> None:
    order_ = shop.take(order(goods=(("A", 150),)))
    assert (order_.codes, order_.sendings("push")) == (["out_of_stock"], [])
    body = {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 200}]}
    put_stock_text(shop.hub, json.dumps(body).encode(), actor="ann")
    assert (order_.again().codes, order_.again().states[-1], shop.reserved()) == ([], "ready", 150)
    shop.check_books()


def test_stock_that_arrives_for_one_of_two_waiting_orders_is_given_to_one(shop: Shop) -> None:
    shop.take(order("PO-1", goods=(("A", 100),)))
    late = [shop.take(order(f"PO-{n}", goods=(("A", 50),))) for n in (2, 3)]
    body = {"warehouse": "wh1", "stock": [{"sku": "A", "on_hand": 150}]}
    put_stock_text(shop.hub, json.dumps(body).encode(), actor="ann")
    assert [one.again().codes for one in late] == [[], ["out_of_stock"]]
    assert shop.reserved() == 150
    shop.check_books()


def test_an_older_snapshot_never_overwrites_a_newer_one(shop: Shop) -> None:
    now = shop.hub.now()
    assert snapshot(shop, 50, 0, now) == 1
    assert snapshot(shop, 70, 0, now - 1) == 0
    assert snapshot(shop, 70, 0, now) == 0
    assert shop.stock()["on_hand"] == 50


def test_a_snapshot_asked_for_before_our_own_movement_says_nothing(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("done")
    asked = shop.hub.now()
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    assert snapshot(shop, 98, 2, asked) == 0
    assert shop.stock()["on_hand"] == 98
    assert snapshot(shop, 97, 0, shop.hub.now()) == 1


def test_a_snapshot_counts_what_the_warehouse_holds_for_our_orders(shop: Shop) -> None:
    shop.take(order())
    snapshot(shop, 98, 2, shop.hub.now())
    assert (shop.stock()["on_hand"], shop.reserved()) == (100, 2)


def test_an_order_is_split_when_no_warehouse_has_it_all(shop: Shop) -> None:
    told = {"country": "CN", "carriers": ["SF"]}
    apply_values(
        shop.hub,
        {
            "warehouses": [warehouse("wh2", info=told, warehouse_code="WH02")],
            "stock": [{"warehouse": "wh2", "sku": "D", "on_hand": 5}],
            "listings": [{"account": "acme", "external_sku": "EXT-D", "sku": "D"}],
        },
    )
    totals = {"freight": "5.00", "paid": "35.00"}
    order_ = shop.take(order(goods=(("A", 2), ("D", 1)), totals=totals))
    assert order_.states == ["ready", "ready"]
    assert sum(row["freight"] for row in order_.parts) == 500
    shop.push("done")
    first, second = order_.parts
    shop.tell(confirmed(first["code"], ("SF1", [("A", 2)])), warehouse="wh1")
    assert order_.again().status == "partially_shipped"
    shop.tell(confirmed(second["code"], ("SF2", [("D", 1)])), warehouse="wh2")
    assert order_.again().status == "completed"
    shop.check_books()


class Books(RuleBasedStateMachine):
    """Orders come, change, are cancelled, pushed, shipped and reviewed in any sequence; the books always balance."""

    shop: Shop
    numbers = itertools.count(1)

    def __init__(self) -> None:
        super().__init__()
        self.shop = furnish(self.shop.hub, config(stock=[{"warehouse": "wh1", "sku": s, "on_hand": 9} for s in "ABC"]))
        self.version = 0

    def live(self, pick: int) -> Any:
        rows = self.shop.rows(t.orders)
        return self.shop.order(rows[pick % len(rows)]["external_id"]) if rows else None

    @rule(n=st.integers(0, 3), goods=st.dictionaries(st.sampled_from("ABC"), st.integers(1, 4), min_size=1))
    def source_tells(self, n: int, goods: dict[str, int]) -> None:
        self.version += 1
        self.shop.take(order(f"PO-{n}", self.version, goods=tuple(sorted(goods.items()))))

    @rule(n=st.integers(0, 3), what=st.sampled_from(["cancel", "address", "remark", "old"]))
    def source_changes(self, n: int, what: str) -> None:
        self.version += what != "old"
        told: dict[str, dict[str, Any]] = {
            "cancel": {"status": "cancelled"},
            "address": {"ship_to": ship_to(street=f"路{self.version}号")},
            "remark": {"buyer_message": "?"},
        }
        changes = told.get(what, {})
        self.shop.take(order(f"PO-{n}", 0 if what == "old" else self.version, **changes))

    @rule(pick=st.integers(0, 9))
    def staff_cancels(self, pick: int) -> None:
        found = self.live(pick)
        if found is not None:
            with suppress(RefusedError):
                cancel_by_number(self.shop.hub, found.number, actor="ann", why="?")

    @rule(end=st.sampled_from(["done", "retry", "refused", "unknown"]))
    def sendings_end(self, end: Any) -> None:
        self.shop.clock.wait(days=1)
        self.shop.push(end, ERRORS.get(end))

    @rule(pick=st.integers(0, 9), units=st.integers(1, 3), final=st.booleans(), sku=st.sampled_from("ABC"))
    def goods_leave(self, pick: int, units: int, final: bool, sku: str) -> None:
        found = self.live(pick)
        if found is not None and found.parts:
            tracking = f"SF{next(self.numbers)}"
            part = found.parts[pick % len(found.parts)]
            if part["state"] not in {"ready", "held", "exception", "planned"}:
                self.shop.tell(confirmed(part["code"], (tracking, [(sku, units)]), final=final))

    @rule(pick=st.integers(0, 9), status=st.sampled_from(["ACCEPT", "PICK", "CANCELED", "REJECT", "SIGN", "EXCEPTION"]))
    def warehouse_reports(self, pick: int, status: str) -> None:
        found = self.live(pick)
        if found is not None and found.parts and found.part["state"] not in {"ready", "held", "exception", "planned"}:
            self.shop.tell(reported(found.code, status))

    @rule(pick=st.integers(0, 9), action=st.sampled_from(["retry", "release", "dismiss"]))
    def staff_reviews(self, pick: int, action: Any) -> None:
        rows = self.shop.rows(t.exceptions, t.exceptions.c.state != "resolved")
        if rows:
            with suppress(RefusedError):
                review(self.shop.hub, rows[pick % len(rows)]["id"], action, actor="ann")

    @invariant()
    def the_books_balance(self) -> None:
        self.shop.check_books()
        assert "unabsorbable" not in self.shop.open_codes()
        for row in self.shop.rows(t.outbox):
            if row["kind"] == "push" and row["state"] in {"due", "sending"}:
                (part,) = self.shop.rows(t.fulfilments, t.fulfilments.c.id == row["fulfilment_id"])
                assert part["state"] not in {"cancelled", "held", "exception", "shipped"}


def test_the_books_balance_after_any_sequence(small_shop: Shop) -> None:
    class Here(Books):
        shop = small_shop

    calm = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Here, settings=settings(max_examples=10, stateful_step_count=12, deadline=None, suppress_health_check=calm)
    )


@pytest.mark.parametrize("units", ["0", "-1", "1.5", "1000000001"])
def test_a_quantity_that_is_none_is_an_exception(small_shop: Shop, units: str) -> None:
    told = json.dumps(order("broken")).replace('"quantity": 2', f'"quantity": {units}').encode()
    small_shop.put(told)
    absorb_all(small_shop.hub)
    assert small_shop.open_codes() == ["qty"]
