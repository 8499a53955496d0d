"""A cancelled order ends in exactly one way, wherever the cancel meets it (P11)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from domain.errors import RefusedError, RetryableError, UnknownOutcomeError
from pipeline.absorb import absorb_all
from pipeline.review import Reviewed, cancel_by_external, cancel_by_number
from storage import tables as t

from .build import Order, Shop, confirmed, order, trade


def cancel(shop: Shop, order_: Order) -> Reviewed:
    return cancel_by_number(shop.hub, order_.number, actor="acme", why="no longer wanted")


def test_before_the_push_it_closes_at_once(shop: Shop) -> None:
    order_ = shop.take(order())
    assert cancel(shop, order_).status == "closed"
    order_ = order_.again()
    assert (order_.states, order_.sendings("push"), order_.sendings("cancel")) == (["cancelled"], ["withdrawn"], [])
    assert (shop.reserved(), shop.claim()) == (0, [])
    shop.check_books()


def test_told_twice_it_does_nothing_twice(shop: Shop) -> None:
    order_ = shop.take(order())
    cancel(shop, order_)
    events = order_.again().events
    cancel(shop, order_)
    shop.take(order(at=9, status="cancelled"))
    assert [kind for kind in order_.again().events if kind == "cancel"] == ["cancel"]
    assert len(order_.again().events) <= len(events) + 1


def test_it_clears_the_exceptions_of_an_order_that_was_held(shop: Shop) -> None:
    order_ = shop.take(order(buyer_message="请发顺丰"))
    assert order_.codes == ["hold_remark"]
    cancel(shop, order_)
    assert (order_.again().status, order_.again().codes) == ("closed", [])


@pytest.mark.parametrize("end", ["done", "refused", "retry"])
def test_while_the_push_is_in_flight_it_waits_for_the_answer(shop: Shop, end: str) -> None:
    order_ = shop.take(order())
    jobs = shop.claim()
    assert cancel(shop, order_).status == "pending_shipment"
    assert (order_.again().states, order_.again().sendings("cancel")) == (["cancelling"], ["waiting"])
    assert shop.claim() == []
    errors = {"refused": RefusedError("S003"), "retry": RetryableError("http_503")}
    shop.end(jobs, end, errors.get(end))  # type: ignore[arg-type]
    if end == "done":
        assert order_.again().sendings("cancel") == ["due"]
        shop.push("done")
    order_ = order_.again()
    assert (order_.status, order_.states, shop.reserved()) == ("closed", ["cancelled"], 0)
    assert (order_.codes, shop.claim()) == ([], [])
    shop.check_books()


def test_after_the_push_the_warehouse_decides_yes(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("done")
    assert cancel(shop, order_).status == "pending_shipment"
    (job,) = shop.claim()
    assert job.row["kind"] == "cancel"
    shop.end([job], "done")
    order_ = order_.again()
    assert (order_.status, order_.states, shop.reserved(), order_.codes) == ("closed", ["cancelled"], 0, [])
    shop.check_books()


def test_after_the_push_the_warehouse_decides_no_and_ships(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("done")
    cancel(shop, order_)
    shop.push("refused", code="cancel_refused", detail="already packed")
    order_ = order_.again()
    assert (order_.status, order_.states, order_.codes) == ("pending_shipment", ["accepted"], ["cancel_refused"])
    assert shop.reserved() == 2
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    order_ = order_.again()
    assert order_.states == ["shipped"]
    assert order_.codes == ["cancel_refused", "cancel_too_late"]
    shop.check_books()


def test_a_cancel_whose_answer_is_lost_is_asked_again(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("done")
    cancel(shop, order_)
    shop.push("unknown", UnknownOutcomeError("read_timeout"))
    assert (order_.again().states, order_.again().sendings("cancel")) == (["cancelling"], ["due"])
    shop.clock.wait(minutes=1)
    shop.push("done")
    assert order_.again().status == "closed"


def test_after_everything_shipped_it_is_refused(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("done")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    with pytest.raises(RefusedError, match="order_not_cancellable"):
        cancel(shop, order_)
    assert order_.again().status == "completed"


def test_a_source_that_closes_a_shipped_order_is_told_to_a_person(shop: Shop) -> None:
    order_ = shop.take(trade(), account="tb")
    shop.push("done")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    order_ = shop.take(trade(at=9, status="TRADE_CLOSED"), account="tb")
    assert (order_.states, "cancel_too_late" in order_.codes) == (["shipped"], True)


def test_with_one_parcel_gone_the_rest_is_stopped_and_a_person_told(shop: Shop) -> None:
    order_ = shop.take(order(goods=(("A", 2),)))
    shop.push("done")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 1)]), final=False))
    cancel(shop, order_)
    shop.push("done")
    order_ = order_.again()
    assert (order_.states, order_.codes, shop.reserved()) == (["cancelled"], ["cancel_too_late"], 0)
    assert order_.status in {"partially_shipped", "closed"}
    shop.check_books()


def test_an_unknown_order_number_says_nothing_about_other_partners_orders(shop: Shop) -> None:
    order_ = shop.take(order())
    for number in ("PA-00000-00000-00000", "x", order_.number):
        with pytest.raises(RefusedError, match="not_found"):
            cancel_by_number(shop.hub, number, actor="zeta", why="", partner_id=1)
    assert order_.again().states == ["ready"]


def test_a_cancel_and_its_order_at_the_same_instant_never_end_in_a_push(pg_shop: Shop) -> None:
    account = pg_shop.id_of("acme")
    for n in range(8):
        ident = f"PO-{n}"
        pg_shop.put(order(ident))
        gate = Barrier(2)

        def create(gate: Barrier = gate) -> None:
            gate.wait()
            absorb_all(pg_shop.hub)

        def stop(gate: Barrier = gate, ident: str = ident) -> None:
            gate.wait()
            cancel_by_external(pg_shop.hub, account, ident, actor="acme", why="changed my mind")

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(create), pool.submit(stop)]:
                future.result()
        assert pg_shop.order(ident).status == "closed"
    assert pg_shop.claim() == []
    pg_shop.check_books()


def test_a_claim_and_a_cancel_at_the_same_instant_have_one_winner(pg_shop: Shop) -> None:
    for n in range(8):
        order_ = pg_shop.take(order(f"PO-{n}"))
        gate = Barrier(2)

        def claims(gate: Barrier = gate) -> int:
            gate.wait()
            return len(pg_shop.claim())

        def stop(gate: Barrier = gate, order_: Order = order_) -> None:
            gate.wait()
            cancel(pg_shop, order_)

        with ThreadPoolExecutor(2) as pool:
            claimed, stopped = pool.submit(claims), pool.submit(stop)
            stopped.result()
            taken = claimed.result()
        order_ = order_.again()
        assert (taken, order_.states, order_.sendings("push")) in [
            (1, ["cancelling"], ["sending"]),
            (0, ["cancelled"], ["withdrawn"]),
        ]
    pg_shop.check_books()


def test_a_tombstone_is_kept_once_however_often_it_is_told(shop: Shop) -> None:
    account = shop.id_of("acme")
    for _ in range(2):
        cancel_by_external(shop.hub, account, "PO-1", actor="acme", why="changed my mind")
    assert len(shop.rows(t.tombstones)) == 1
