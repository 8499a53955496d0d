"""What orders share: stock by mode and buffer, places in a warehouse's day, credit. Nobody gets what another has."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import update

from domain.errors import ConfigError, MappingError
from domain.facts import WarehouseInfo
from pipeline.absorb import absorb_all, absorb_these
from pipeline.apply import apply_values
from pipeline.housekeeping import keep_house
from pipeline.limits import day_of
from pipeline.review import cancel_by_number, replan_orders
from pipeline.supply import put_goods_text
from pipeline.workspace import load_goods, open_workspace
from storage import tables as t

from .build import Shop, confirmed, order, warehouse

UNPAID = {"status": "unpaid"}


def configure(shop: Shop, partner: dict[str, Any] | None = None, **options: Any) -> None:
    """Give the partner's intake options; `partner` are the partner's."""
    account = {"name": "acme", "channel": "standard", "partner": "acme", "settings": {"base_url": ""}}
    told: dict[str, Any] = {"accounts": [account | {"options": options}]}
    if partner is not None:
        told["partners"] = [{"name": "acme", "options": partner}]
    apply_values(shop.hub, told)


def bring(shop: Shop, sku: str, on_hand: int) -> None:
    listing = [{"account": "acme", "external_sku": f"EXT-{sku}", "sku": sku}]
    apply_values(shop.hub, {"listings": listing, "stock": [{"warehouse": "wh1", "sku": sku, "on_hand": on_hand}]})


# --- stock -----------------------------------------------------------------------------------------------------------


def test_an_unpaid_order_reserves_only_where_its_account_says_so(shop: Shop) -> None:
    order_ = shop.take(order(payment=UNPAID))
    assert (order_.states, shop.reserved()) == ([], 0)
    configure(shop, reserve="on_order")
    order_ = shop.take(order("PO-2", payment=UNPAID))
    assert (order_.status, order_.states, order_.sendings("push")) == ("pending_payment", ["held"], [])
    assert shop.reserved() == 2
    order_ = shop.take(order("PO-2", at=1))
    assert (order_.status, order_.states, shop.reserved()) == ("pending_shipment", ["ready"], 2)
    assert order_.dossier.order["reserved_until"] is None
    shop.check_books()


def test_a_reservation_ends_when_nobody_pays_in_time(shop: Shop) -> None:
    apply_values(shop.hub, {"goods": [{"sku": "B", "classes": ["special_offer"]}]})
    configure(shop, reserve="on_order", unpaid_minutes={"*": 300})
    slow = shop.take(order(payment=UNPAID))
    fast = shop.take(order("PO-2", payment=UNPAID, placed_at="2026-11-21T11:45:00Z", goods=(("B", 1),)))
    assert (slow.states, fast.states) == (["held"], ["held"])
    shop.clock.wait(minutes=16)
    keep_house(shop.hub)
    assert (slow.again().states, fast.again().states, shop.reserved("B")) == (["held"], ["cancelled"], 0)
    fast = shop.take(order("PO-2", at=130, payment=UNPAID, goods=(("B", 1),), tags=["x"]))
    assert (fast.states, fast.status) == (["cancelled"], "pending_payment")
    fast = shop.take(order("PO-2", at=131, goods=(("B", 1),)))
    assert (fast.states[-1], shop.reserved("B")) == ("ready", 1)
    shop.check_books()


def test_a_cancelled_or_refunded_line_gives_its_units_back(shop: Shop) -> None:
    shop.take(order(goods=(("A", 2), ("B", 1))))
    told = order(at=1, goods=(("A", 2), ("B", 1)))
    told["lines"][1]["cancelled"] = True
    shop.take(told)
    assert (shop.reserved("A"), shop.reserved("B")) == (2, 0)
    shop.check_books()


def test_an_account_never_sees_its_own_buffer(shop: Shop) -> None:
    bring(shop, "S", 7)
    configure(shop, stock_buffers={"*": 90, "S": 5})
    assert shop.take(order(goods=(("S", 3),))).codes == ["out_of_stock"]
    assert shop.take(order("PO-2", goods=(("S", 2),))).states == ["ready"]
    assert shop.take(order("PO-3", goods=(("A", 11),))).codes == ["out_of_stock"]
    replan_orders(shop.hub, [shop.order("PO-2").id], actor="ann")
    assert shop.order("PO-2").states == ["ready"]
    shop.check_books()


def test_stock_that_is_too_old_is_not_sold_from(shop: Shop) -> None:
    shop.hub.settings = shop.hub.settings.model_copy(update={"stale_seconds": 3600})
    with shop.hub.write() as tx:
        tx.execute(update(t.stock).where(t.stock.c.sku == "A").values(source_time=shop.hub.now() - 7_200_000_000))
    assert shop.take(order()).codes == ["stock_stale"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_last_piece_has_one_winner_every_round(request: pytest.FixtureRequest, database: str) -> None:
    from .build import furnish

    hub = request.getfixturevalue("sqlite_hub" if database == "sqlite" else "postgres_hub")
    shop, rounds, claims = furnish(hub), 15, 20
    for n in range(rounds):
        bring(shop, f"ONE-{n}", 1)
        ids = shop.put(*(order(f"PO-{n}-{k}", goods=((f"ONE-{n}", 1),)) for k in range(claims)))
        gate = Barrier(claims)

        def claim(row_id: int, gate: Barrier = gate) -> int:
            gate.wait()
            return absorb_these(shop.hub, [row_id])

        with ThreadPoolExecutor(claims) as pool:
            assert sum(pool.map(claim, ids)) == claims
        won = shop.rows(t.fulfilment_lines, t.fulfilment_lines.c.sku == f"ONE-{n}")
        assert (len(won), shop.reserved(f"ONE-{n}")) == (1, 1)
    shop.check_books()


# --- capacity --------------------------------------------------------------------------------------------------------


def planned(shop: Shop) -> dict[int, int]:
    return {row["day"]: row["planned"] for row in shop.rows(t.capacity, t.capacity.c.day > 0) if row["planned"]}


@pytest.mark.parametrize(
    ("told", "at", "day"),
    [
        ({}, "2026-11-21T15:59:00Z", 21),
        ({}, "2026-11-21T16:00:00Z", 22),
        ({"cut_off": 960}, "2026-11-21T07:59:00Z", 21),
        ({"cut_off": 960}, "2026-11-21T08:00:00Z", 22),
        ({"cut_off": 960, "utc_offset": -300}, "2026-11-21T20:59:00Z", 21),
    ],
)
def test_a_day_is_the_warehouses_own_and_ends_at_its_cut_off(told: dict[str, Any], at: str, day: int) -> None:
    found = day_of(WarehouseInfo(name="w", **told), datetime.fromisoformat(at).astimezone(UTC))
    assert found == datetime(2026, 11, day, tzinfo=UTC).toordinal()


def test_what_is_planned_takes_a_place_in_the_day_and_gives_it_back(shop: Shop) -> None:
    info = {"country": "CN", "capacity": 5}
    apply_values(shop.hub, {"warehouses": [warehouse(info=info)]})
    today = datetime(2026, 11, 21, tzinfo=UTC).toordinal()
    first, second = shop.take(order()), shop.take(order("PO-2"))
    assert planned(shop) == {today: 2}
    shop.take(order(at=1, goods=(("A", 3),)))
    assert planned(shop) == {today: 2}
    cancel_by_number(shop.hub, second.number, actor="ann", why="?")
    assert planned(shop) == {today: 1}
    shop.push()
    shop.tell(confirmed(first.again().code, ("SF1", [("A", 3)])))
    assert planned(shop) == {today: 1}


def test_rules_and_routing_see_how_full_a_day_is(shop: Shop) -> None:
    apply_values(shop.hub, {"warehouses": [warehouse(info={"country": "CN", "capacity": 5, "parcel_cost": 7})]})
    order_ = shop.take(order())
    with shop.hub.write() as tx:
        ws = open_workspace(shop.hub, tx, shop.hub.clock())
        account = ws.directory.account("acme")
        load_goods(ws, [(account.id, "EXT-A")])
        assert ws.facts(account, order_.dossier).planned_today == {"wh1": 1}
        assert ws.facts(account, order_.dossier, slots={"wh1": 1}).planned_today == {"wh1": 0}
        assert (
            ws.facts(account, order_.dossier).warehouses[0].capacity,
            ws.directory.target("wh1").info.parcel_cost,
        ) == (5, 7)


def test_parallel_plans_count_every_place(pg_shop: Shop) -> None:
    apply_values(pg_shop.hub, {"warehouses": [warehouse(info={"country": "CN", "capacity": 500})]})
    ids = pg_shop.put(*(order(f"PO-{n}", goods=(("ABC"[n % 3], 1),)) for n in range(24)))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: absorb_these(pg_shop.hub, ids[n::6]), range(6)))
    assert list(planned(pg_shop).values()) == [24]


# --- credit ----------------------------------------------------------------------------------------------------------

LIMIT = {"credit_limit": 5000, "credit_currency": "CNY"}


def used(shop: Shop) -> list[int | None]:
    return [row["used"] for row in shop.rows(t.credits)]


def test_open_orders_use_credit_until_they_are_over(shop: Shop) -> None:
    configure(shop, LIMIT)
    first, second, third = shop.take(order()), shop.take(order("PO-2")), shop.take(order("PO-3"))
    assert (first.codes, second.codes, third.codes) == ([], [], ["credit_exceeded"])
    assert used(shop) == [4000]
    cancel_by_number(shop.hub, first.number, actor="ann", why="?")
    assert used(shop) == [2000]
    keep_house(shop.hub)
    assert (third.again().codes, third.again().states[-1], used(shop)) == ([], "ready", [4000])
    shop.push()
    shop.tell(confirmed(second.code, ("SF1", [("A", 2)])))
    shop.push()
    assert (second.again().status, used(shop)) == ("completed", [2000])


def test_a_new_version_counts_once(shop: Shop) -> None:
    configure(shop, LIMIT)
    shop.take(order())
    assert shop.take(order(at=1, goods=(("A", 5),))).codes == []
    assert used(shop) == [5000]
    assert shop.take(order(at=2, goods=(("A", 6),))).codes == ["credit_exceeded"]
    assert used(shop) == [0]


def test_a_limit_that_is_set_later_counts_what_is_open_already(shop: Shop) -> None:
    shop.take(order(goods=(("A", 4),)))
    configure(shop, LIMIT)
    assert shop.take(order("PO-2")).codes == ["credit_exceeded"]
    assert used(shop) == [4000]
    configure(shop, LIMIT | {"credit_limit": 6000})
    keep_house(shop.hub)
    assert (shop.order("PO-2").codes, used(shop)) == ([], [6000])


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_parallel_orders_never_exceed_the_credit(request: pytest.FixtureRequest, database: str) -> None:
    from .build import furnish

    shop = furnish(request.getfixturevalue("sqlite_hub" if database == "sqlite" else "postgres_hub"))
    configure(shop, LIMIT)
    ids = shop.put(*(order(f"PO-{n}", goods=(("ABC"[n % 3], 1),)) for n in range(18)))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: absorb_these(shop.hub, ids[n::6]), range(6)))
    assert (used(shop), shop.open_codes()) == ([5000], ["credit_exceeded"] * 13)


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_is_loaded_only_for_rules_that_ask(shop: Shop) -> None:
    from .test_gifts import arm

    told = [order(f"PO-{n}", buyer_id="b1") for n in range(3)]
    shop.take(*told[:2])
    when = {"field": "buyer.orders_30d", "op": "ge", "value": 2}
    first = {"field": "sender.orders_before", "op": "eq", "value": 2}
    arm(
        shop,
        {"id": "often", "phase": "hold", "when": when, "then": {"hold": "hold_often"}},
        {"id": "third", "phase": "hold", "when": first, "then": {"hold": "hold_third"}},
    )
    order_ = shop.take(told[2])
    assert order_.codes == ["hold_often", "hold_third"]
    replan_orders(shop.hub, [order_.id], actor="ann")
    shop.take(order("PO-9", buyer_id="b2"))
    replan_orders(shop.hub, [order_.id], actor="ann")
    assert order_.again().codes == ["hold_often", "hold_third"]
    assert shop.order("PO-9").codes == []


def test_orders_of_one_batch_count_for_each_other(shop: Shop) -> None:
    from .test_gifts import arm

    when = {"field": "buyer.orders_24h", "op": "ge", "value": 2}
    arm(shop, {"id": "often", "phase": "hold", "when": when, "then": {"hold": "hold_often"}})
    recent: dict[str, Any] = {"placed_at": "2026-11-21T11:00:00Z", "updated_at": "2026-11-21T11:00:00Z"}
    shop.put(*(order(f"PO-{n}", buyer_id="b1", **recent) for n in range(4)))
    absorb_all(shop.hub)
    assert sorted(code for n in range(4) for code in shop.order(f"PO-{n}").codes) == ["hold_often"] * 2


# --- goods -----------------------------------------------------------------------------------------------------------


def put_goods(shop: Shop, *entries: dict[str, Any]) -> dict[str, Any]:
    return put_goods_text(shop.hub, json.dumps({"goods": list(entries)}).encode(), actor="ann")


def test_what_is_left_out_of_goods_keeps_its_value(shop: Shop) -> None:
    put_goods(shop, {"sku": "A", "weight_grams": 500, "classes": ["cold", "liquid"], "supplier": "acme"})
    assert put_goods(shop, {"sku": "A", "volume_ml": 900}) == {"stored": 1, "replanned": 0}
    (row,) = shop.rows(t.goods)
    assert (row["weight_grams"], row["volume_ml"], row["supplier"], row["classes"]) == (
        500,
        900,
        "acme",
        '["cold", "liquid"]',
    )


def test_goods_of_a_batch_are_facts(shop: Shop) -> None:
    put_goods(shop, {"sku": "A", "weight_grams": 500, "classes": ["cold"]}, {"sku": "B", "weight_grams": 1})
    with shop.hub.write() as tx:
        ws = open_workspace(shop.hub, tx, shop.hub.clock())
        load_goods(ws, [(ws.directory.account("acme").id, "EXT-A")])
        assert {sku: (g.weight_grams, g.classes) for sku, g in ws.goods.items()} == {"A": (500, frozenset({"cold"}))}


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ({"sku": ""}, "goods.0.sku"),
        ({"sku": "A", "weight_grams": -1}, "goods.0.weight_grams"),
        ({"sku": "A", "volume_ml": 1.5}, "goods.0.volume_ml"),
        ({"sku": "A", "classes": "cold"}, "goods.0.classes"),
        ({"sku": "A", "classes": [1]}, "goods.0.classes"),
        ({"sku": "A", "colour": "red"}, "goods.0.colour"),
    ],
)
def test_bad_goods_are_refused_with_their_place(small_shop: Shop, entry: dict[str, Any], path: str) -> None:
    with pytest.raises(MappingError) as refused:
        put_goods(small_shop, entry)
    assert (refused.value.path, small_shop.rows(t.goods)) == (path, [])


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ({"warehouses": [warehouse(info={"capacity": -1})]}, "warehouses.0.info.capacity"),
        ({"warehouses": [warehouse(info={"cut_off": "24:00"})]}, "warehouses.0.info.cut_off"),
        ({"warehouses": [warehouse(info={"cut_off": 16})]}, "warehouses.0.info.cut_off"),
        ({"warehouses": [warehouse(info={"utc_offset": 900})]}, "warehouses.0.info.utc_offset"),
        ({"warehouses": [warehouse(info={"suppliers": "acme"})]}, "warehouses.0.info.suppliers"),
        ({"partners": [{"name": "p", "options": {"credit_limit": 1.5}}]}, "partners.0.options.credit_limit"),
        ({"partners": [{"name": "p", "options": {"reserve": "never"}}]}, "partners.0.options.reserve"),
        ({"partners": [{"name": "p", "options": {"stock_buffers": {"A": -1}}}]}, "partners.0.options.stock_buffers"),
        ({"goods": [{"weight_grams": 1}]}, "goods.0.sku"),
        ({"goods": [{"sku": "A", "weight_grams": "heavy"}]}, "goods.0.weight_grams"),
    ],
)
def test_a_limit_that_is_none_is_refused_with_its_place(small_shop: Shop, told: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError, match=place.replace(".", r"\.")):
        apply_values(small_shop.hub, told)
