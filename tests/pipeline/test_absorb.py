"""Documents become orders: each version by its rules, and one bad document harms nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from sqlalchemy import text

from pipeline.absorb import absorb, absorb_all, reabsorb
from pipeline.review import cancel_by_external, replan_orders, review
from pipeline.supply import put_listings_text
from storage import tables as t
from storage.database import is_sqlite

from .build import Shop, order, ship_to, trade

_numbers = count(1)


@contextmanager
def refusing(shop: Shop, external_id: str) -> Iterator[None]:
    """For a while the database itself refuses an order with this id, whatever statement brings it."""
    # A name of its own each time: a pooled SQLite connection may still know the trigger that another has dropped.
    when, name = f"new.external_id = '{external_id}'", f"refuse_{next(_numbers)}"
    with shop.hub.write() as tx:
        small = is_sqlite(tx)
        if small:
            refuse = f"create trigger {name} before insert on orders when {when} begin select raise(abort, 'no'); end"
            tx.execute(text(refuse))
        else:
            body = f"begin if {when} then raise exception 'no'; end if; return new; end"
            tx.execute(text(f"create function refuse() returns trigger language plpgsql as $${body}$$"))
            tx.execute(text("create trigger refuse before insert on orders for each row execute function refuse()"))
    try:
        yield
    finally:
        with shop.hub.write() as tx:
            tx.execute(text(f"drop trigger {name}" if small else "drop function refuse cascade"))


def test_a_good_order_is_planned_and_its_push_is_due(shop: Shop) -> None:
    order_ = shop.take(order())
    assert order_.status == "pending_shipment"
    assert (order_.states, order_.sendings("push"), order_.codes) == (["ready"], ["due"], [])
    assert shop.reserved() == 2
    shop.check_books()


def test_a_trade_of_a_shop_goes_the_same_way(shop: Shop) -> None:
    order_ = shop.take(trade(), account="tb")
    assert (order_.states, order_.codes) == (["ready"], [])


def test_a_later_version_is_applied_and_an_older_one_is_recorded_only(shop: Shop) -> None:
    shop.take(order(at=5))
    order_ = shop.take(order(at=3, ship_to=ship_to(street="示例路9号")))
    assert order_.dossier.private["consignee"]["street"] == "示例路1号"
    assert [row["state"] for row in shop.rows(t.inbox)] == ["done", "stale"]
    assert order_.events[-1] == "stale_version"
    order_ = shop.take(order(at=6, ship_to=ship_to(street="示例路8号")))
    assert order_.dossier.private["consignee"]["street"] == "示例路8号"


def test_two_versions_in_one_page_both_count_and_the_newer_wins(shop: Shop) -> None:
    order_ = shop.take(order(at=1), order(at=2, goods=(("A", 3),)))
    assert [row["state"] for row in shop.rows(t.inbox)] == ["done", "done"]
    assert order_.dossier.lines[0]["quantity"] == 3
    assert shop.reserved() == 3
    shop.check_books()


def test_two_versions_in_one_page_in_the_wrong_order_end_the_same(shop: Shop) -> None:
    order_ = shop.take(order(at=2, goods=(("A", 3),)), order(at=1))
    assert order_.dossier.lines[0]["quantity"] == 3
    assert [row["state"] for row in shop.rows(t.inbox)] == ["done", "stale"]


def test_a_late_event_never_revives_a_closed_order(shop: Shop) -> None:
    shop.take(order(at=1))
    assert shop.take(order(at=5, status="cancelled")).status == "closed"
    order_ = shop.take(order(at=9))
    assert (order_.status, order_.states, shop.reserved()) == ("closed", ["cancelled"], 0)
    assert shop.claim() == []


def test_an_unreadable_document_is_one_exception_among_nineteen_orders(shop: Shop) -> None:
    documents: list[dict[str, object] | bytes] = [order(f"PO-{n}") for n in range(20)]
    documents[7] = order("PO-7", totals={"paid": "NaN"})
    shop.put(*documents)
    absorb_all(shop.hub)
    assert len(shop.rows(t.orders)) == 19
    (row,) = shop.rows(t.exceptions)
    assert (row["code"], row["state"], row["order_id"]) == ("money", "open", None)
    assert [r["state"] for r in shop.rows(t.inbox)].count("exception") == 1


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[]", b"{" * 100_000, b'{"external_id":"broken","external_id":"x"}']
)
def test_bytes_that_are_no_document_are_kept_and_named(shop: Shop, body: bytes) -> None:
    shop.put(body, order())
    absorb_all(shop.hub)
    assert len(shop.rows(t.orders)) == 1
    assert [row["state"] for row in shop.rows(t.exceptions)] == ["open"]


def test_a_document_that_names_another_order_is_not_taken(shop: Shop) -> None:
    shop.put(json.dumps(order("PO-OTHER")).encode())
    absorb_all(shop.hub)
    assert (shop.rows(t.orders), shop.open_codes()) == ([], ["id_mismatch"])


def test_a_failing_transaction_is_halved_until_its_culprit_is_alone(shop: Shop) -> None:
    with refusing(shop, "PO-13"):
        shop.put(*(order(f"PO-{n}") for n in range(20)))
        absorb_all(shop.hub)
    assert len(shop.rows(t.orders)) == 19
    assert shop.open_codes() == ["unabsorbable"]
    assert {row["state"] for row in shop.rows(t.inbox)} == {"done", "exception"}
    shop.check_books()


def test_a_corrected_version_clears_the_exception_of_the_broken_one(shop: Shop) -> None:
    shop.put(order(at=1, totals={"paid": "1e999"}))
    absorb_all(shop.hub)
    assert shop.open_codes() == ["money"]
    order_ = shop.take(order(at=2))
    assert (order_.states, shop.open_codes()) == (["ready"], [])


def test_a_document_retried_after_its_cause_is_gone_gives_the_same_order(shop: Shop) -> None:
    with refusing(shop, "PO-1"):
        shop.put(order())
        absorb_all(shop.hub)
    (row,) = shop.rows(t.exceptions)
    assert review(shop.hub, row["id"], "retry", actor="ann").status == "pending_shipment"
    assert (shop.order("PO-1").states, shop.open_codes()) == (["ready"], [])
    assert [row["state"] for row in shop.rows(t.inbox)] == ["done"]


def test_retrying_reads_what_the_source_said_last(shop: Shop) -> None:
    with refusing(shop, "PO-1"):
        for version in (order(at=1), order(at=2, goods=(("A", 5),))):
            shop.put(version)
            absorb_all(shop.hub)
    (row,) = shop.rows(t.exceptions)
    review(shop.hub, row["id"], "retry", actor="ann")
    assert shop.order("PO-1").dossier.lines[0]["quantity"] == 5
    assert [row["state"] for row in shop.rows(t.inbox)] == ["exception", "done"]
    assert shop.open_codes() == []


def test_an_older_broken_version_that_is_retried_stays_older(shop: Shop) -> None:
    shop.take(order(at=5))
    (inbox_id,) = shop.put(order(at=3, goods=(("A", 9),)))
    with shop.hub.write() as tx:
        tx.execute(t.inbox.update().where(t.inbox.c.id == inbox_id).values(state="exception"))
    reabsorb(shop.hub, [inbox_id])
    assert shop.order("PO-1").dossier.lines[0]["quantity"] == 2


def test_an_unmapped_sku_is_stored_and_a_listing_cures_it(shop: Shop) -> None:
    order_ = shop.take(order(goods=(("NEW", 1),)))
    assert (order_.codes, order_.sendings("push")) == (["sku_unmapped"], [])
    listing = {"account": "acme", "listings": [{"external_sku": "EXT-NEW", "sku": "C"}]}
    assert put_listings_text(shop.hub, json.dumps(listing).encode(), actor="ann")["replanned"] == 1
    order_ = order_.again()
    assert (order_.codes, order_.states, order_.sendings("push")) == ([], ["ready"], ["due"])
    shop.check_books()


def test_replanning_twice_changes_nothing_twice(shop: Shop) -> None:
    order_ = shop.take(order())
    for _ in range(2):
        replan_orders(shop.hub, [order_.id], actor="ann")
    assert (order_.again().states, order_.again().sendings("push"), shop.reserved()) == (["ready"], ["due"], 2)
    shop.check_books()


def test_a_cancel_that_comes_before_its_order_leaves_a_tombstone(shop: Shop) -> None:
    told = cancel_by_external(shop.hub, shop.id_of("acme"), "PO-1", actor="acme", why="changed my mind")
    assert told.status == "closed"
    order_ = shop.take(order())
    assert (order_.status, order_.parts, shop.claim()) == ("closed", [], [])
    assert shop.take(order(at=9)).status == "closed"


def test_an_order_whose_first_version_is_closed_is_never_pushed(shop: Shop) -> None:
    order_ = shop.take(order(status="cancelled"))
    assert (order_.status, order_.parts, order_.codes) == ("closed", [], [])


def test_an_unpaid_order_waits_without_an_exception(shop: Shop) -> None:
    order_ = shop.take(order(payment={"status": "unpaid"}))
    assert (order_.status, order_.codes, order_.parts) == ("pending_payment", [], [])
    order_ = shop.take(order(at=1))
    assert (order_.status, order_.states) == ("pending_shipment", ["ready"])


def test_absorbing_with_nothing_waiting_does_nothing(shop: Shop) -> None:
    assert absorb(shop.hub) == 0


def test_special_characters_end_the_same_on_both_databases(shop: Shop) -> None:
    body = json.dumps(order(buyer_message="a\u0000b\ud800c")).encode()
    with shop.hub.write() as tx:
        from storage.inbox import Arrival, put_arrivals, seal_arrivals

        told = Arrival(source_kind="account", source_id=shop.id_of("acme"), kind="order", external_id="PO-1", body=body)
        put_arrivals(tx, seal_arrivals(shop.hub.vault, shop.hub.ids.take, [told]), shop.hub.now())
    absorb_all(shop.hub)
    order_ = shop.order("PO-1")
    assert "\x00" not in order_.dossier.private["buyer_message"]
    assert order_.dossier.private["notes"]
