"""Any interleaving of merges, cancels, edits, outcomes and news: no unit is at the warehouse twice, and every unit is in
one place. The warehouse is real HTTP; it forgets answers, loses requests, and says no to late cancels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import RefusedError
from pipeline.dispatch import dispatch
from pipeline.regroup import merge_orders, unmerge_order
from pipeline.review import cancel_by_number, review
from pipeline.settle import settle
from storage import tables as t
from tests.wire.loopback import Loopback, Seen, reply
from wire.safe_xml import parse

from .build import Shop, config, confirmed, furnish, order, warehouse
from .together import check_units, merging

GOODS = ((("A", 2),), (("A", 1), ("B", 3)), (("C", 1),))
HOMES = ("示例路1号", "别路9号")
Goods = Counter[tuple[str, str]]


@dataclass
class Wms:
    """`script` says what happens to the next creates: "ok", "lost" (taken, no answer), "drop" (not taken, no answer), "busy"."""

    held: dict[str, Goods] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    cancelled: list[str] = field(default_factory=list)
    script: list[str] = field(default_factory=list)

    def __call__(self, seen: Seen, _connection: Any) -> bytes | None:
        method = parse_qs(urlsplit(seen.target).query)["method"][0].split(".", 1)[1]
        root = parse(seen.body)
        code = root.findtext("deliveryOrder/deliveryOrderCode") or root.findtext("orderCode") or ""
        if method in {"create", "batchcreate"}:
            return self._create(root)
        if code not in self.held:
            return _answer("S021", "order not found")
        if method == "cancel":
            if code in self.left:
                return _answer("S022", "too late")
            del self.held[code]
            self.cancelled.append(code)
            return _answer()
        return _answer(extra=f"<deliveryOrder><deliveryOrderCode>{code}</deliveryOrderCode></deliveryOrder>")

    def _create(self, root: Any) -> bytes | None:
        """One order or a batch of them."""
        step = self.script.pop(0) if self.script else "ok"
        if step == "busy":
            return reply(429)
        for told in (root.findall("orders/order") or [root]) if step != "drop" else ():
            code = told.findtext("deliveryOrder/deliveryOrderCode")
            goods: Goods = Counter()
            for line in told.iter("orderLine"):
                goods[line.findtext("sourceOrderCode"), line.findtext("itemCode")] += int(line.findtext("planQty"))
            assert self.held.get(code, goods) == goods, "one code, other goods"
            assert code not in self.cancelled, "a cancelled code again"
            self.held[code] = goods
        return _answer() if step == "ok" else None


def _answer(code: str = "0", message: str = "ok", *, extra: str = "") -> bytes:
    flag = "success" if code == "0" else "failure"
    body = f"<response><flag>{flag}</flag><code>{code}</code><message>{message}</message>{extra}</response>"
    return reply(200, body.encode(), Content_Type="text/xml")


@dataclass
class Walk:
    shop: Shop
    wms: Wms
    versions: Counter[int] = field(default_factory=Counter)
    homes: Counter[int] = field(default_factory=Counter)

    def document(self, n: int) -> dict[str, Any]:
        place = order()["ship_to"] | {"street": HOMES[self.homes[n] % 2]}
        return order(f"PO-{n}", at=self.versions[n], buyer_id="b1", goods=GOODS[n], ship_to=place)

    def number(self, n: int) -> str:
        return self.shop.order(f"PO-{n}").number

    def edit(self, n: int) -> None:
        self.versions[n] += 1
        self.homes[n] += 1
        self.shop.take(self.document(n))

    def cancel(self, n: int) -> None:
        with suppress(RefusedError):
            cancel_by_number(self.shop.hub, self.number(n), actor="acme", why="no longer wanted")

    def unmerge(self, n: int) -> None:
        with suppress(RefusedError):
            unmerge_order(self.shop.hub, self.number(n), actor="ann")

    def merge(self, n: int) -> None:
        with suppress(RefusedError):
            merge_orders(self.shop.hub, self.number(n), self.number((n + 1) % 3), actor="ann")

    def resolve(self, n: int) -> None:
        """A person deals with whatever is open about an order."""
        for row in self.shop.order(f"PO-{n}").dossier.exceptions.values():
            for action in ("release", "retry"):
                with suppress(RefusedError):
                    review(self.shop.hub, row["id"], action, actor="ann")

    def fail(self, n: int) -> None:
        self.wms.script.append(("lost", "drop", "busy")[n])

    def tick(self, _n: int = 0) -> None:
        with ThreadPoolExecutor(2) as pool:
            dispatch(self.shop.hub, settle, pool=pool)
        self.shop.clock.wait(hours=1)

    def ship(self, n: int) -> None:
        """The warehouse sends one document off, in one parcel or in two, and tells so - twice, when it feels like it."""
        waiting = sorted(self.wms.held.keys() - self.wms.left)
        if not waiting:
            return
        code = waiting[n % len(waiting)]
        self.wms.left.add(code)
        units = Counter[str]()
        for (_, sku), quantity in self.wms.held[code].items():
            units[sku] += quantity
        goods = sorted(units.items())
        parts = [goods] if n == 0 or len(goods) < 2 else [goods[:1], goods[1:]]
        body = confirmed(code, *((f"SF-{code}-{k}", part) for k, part in enumerate(parts)))
        for _ in range(1 + n % 2):
            self.shop.tell(body)

    def check(self) -> None:
        check_units(self.shop)
        there: Goods = Counter()
        for goods in self.wms.held.values():
            there.update(goods)
        for n, lines in enumerate(GOODS):
            for sku, units in lines:
                assert there[f"PO-{n}", sku] <= units, "a unit is at the warehouse twice"

    def finish(self) -> None:
        self.wms.script.clear()
        for _ in range(9):
            self.tick()
            for _ in range(3):
                self.ship(0)
        self.check()
        for n, lines in enumerate(GOODS):
            found = self.shop.order(f"PO-{n}")
            sent = {sku: sum(goods[f"PO-{n}", sku] for goods in self.wms.held.values()) for sku, _ in lines}
            assert found.status in {"completed", "closed"} or found.codes, (found.status, found.states)
            if found.status == "completed":
                assert sent == dict(lines)
            elif not found.codes:
                assert not any(sent.values())
        confirms = Counter(row["package_id"] for row in self.shop.rows(t.outbox, t.outbox.c.kind == "confirm"))
        assert all(times == 1 for times in confirms.values())
        assert {row["state"] for row in self.shop.rows(t.outbox)} <= {"done", "withdrawn", "refused"}


STEPS: tuple[Callable[[Walk, int], None], ...] = (
    Walk.edit,
    Walk.cancel,
    Walk.unmerge,
    Walk.merge,
    Walk.resolve,
    Walk.fail,
    Walk.tick,
    Walk.tick,
    Walk.tick,
    Walk.ship,
)
walks = st.lists(st.tuples(st.sampled_from(range(len(STEPS))), st.integers(0, 2)), min_size=4, max_size=12)


def walk(shop: Shop, steps: list[tuple[int, int]]) -> None:
    wms = Wms()
    with Loopback(wms) as server:
        told = config()
        told["warehouses"] = [warehouse(url=server.url, repeats="findable")]
        walker = Walk(furnish(shop.hub, told), wms)
        merging(shop.hub)
        for n in range(3):
            walker.shop.take(walker.document(n))
        for which, n in steps:
            STEPS[which](walker, n)
            walker.check()
        walker.finish()


relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@given(walks)
@settings(relaxed, max_examples=8)
def test_no_interleaving_sends_a_unit_twice_or_loses_one(small_shop: Shop, steps: list[tuple[int, int]]) -> None:
    walk(small_shop, steps)


@given(walks)
@settings(relaxed, max_examples=3)
def test_nor_on_the_other_database(pg_shop: Shop, steps: list[tuple[int, int]]) -> None:
    walk(pg_shop, steps)


@pytest.mark.parametrize("fault", [0, 1, 2])
@pytest.mark.parametrize("late", [Walk.cancel, Walk.edit])
def test_a_change_after_any_outcome_ends_well(small_shop: Shop, fault: int, late: Callable[[Walk, int], None]) -> None:
    told = [(Walk.fail, fault), *[(Walk.tick, 0)] * 3, (late, 1), (Walk.resolve, 1), (Walk.tick, 0), (late, 0)]
    walk(small_shop, [(STEPS.index(step), n) for step, n in told])
