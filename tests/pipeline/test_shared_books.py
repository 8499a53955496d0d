"""Stock, gifts, credit and places in a day in any sequence of events: the books of all of them always balance."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from pipeline.apply import apply_values
from pipeline.directory import read_directory
from pipeline.housekeeping import keep_house
from pipeline.limits import counted_value
from storage import tables as t

from .build import Shop, order, warehouse
from .test_gifts import GIFT, approve, arm
from .test_limits import configure
from .test_stock import Books


class SharedBooks(Books):
    """The same life with limits, gifts, approvals, parts that wait and orders nobody has paid for."""

    def __init__(self) -> None:
        super().__init__()
        apply_values(self.shop.hub, {"warehouses": [warehouse(info={"country": "CN", "capacity": 3})]})
        configure(
            self.shop, {"credit_limit": 9000, "credit_currency": "CNY"}, reserve="on_order", stock_buffers={"B": 1}
        )
        when = {"field": "order.units", "op": "ge", "value": 5}
        part = {"id": "p", "phase": "split", "when": when, "then": {"split": {"partial": True}}}
        arm(self.shop, GIFT, approve("service") | {"when": when}, part)

    @rule(n=st.integers(0, 3), units=st.integers(1, 4))
    def nobody_has_paid(self, n: int, units: int) -> None:
        self.version += 1
        self.shop.take(order(f"PO-{n}", self.version, goods=(("A", units),), payment={"status": "unpaid"}))

    @rule(days=st.integers(0, 4))
    def time_passes(self, days: int) -> None:
        self.shop.clock.wait(days=days)
        keep_house(self.shop.hub)

    @invariant()
    def limits_balance(self) -> None:
        hub = self.shop.hub
        with hub.read() as tx:
            directory = read_directory(hub, tx)
            rows = [dict(row) for row in tx.execute(select(t.orders)).mappings()]
        account = directory.account("acme")
        used = [row["used"] for row in self.shop.rows(t.credits)]
        assert used in ([], [sum(counted_value(account, row) for row in rows)])
        places = Counter(row["day"] for row in self.shop.rows(t.fulfilments) if row["day"] is not None)
        kept = {row["day"]: row["planned"] for row in self.shop.rows(t.capacity, t.capacity.c.day > 0)}
        assert {day: count for day, count in kept.items() if count} == dict(places)


def test_everything_shared_balances_after_any_sequence(small_shop: Shop) -> None:
    class Here(SharedBooks):
        shop = small_shop

    calm = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Here, settings=settings(max_examples=8, stateful_step_count=14, deadline=None, suppress_health_check=calm)
    )
