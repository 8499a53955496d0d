"""Orders that ended long ago are packed away: smaller, found as before, and brought back before anything of them changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from domain.errors import ConfigError
from pipeline import archive
from pipeline.archive import archive_finished, read_decisions, read_events, train_dictionaries
from pipeline.bootstrap import Hub, keep_alive
from pipeline.console_details import order_detail
from pipeline.explanation import explain_order
from pipeline.order_view import order_view
from pipeline.reconcile import known_orders
from pipeline.replay import replay_document
from storage import tables as t
from storage.dictionaries import number_of
from storage.events import verify_order
from storage.presets import _trained

from .build import Order, Shop, confirmed, order
from .test_replay import SAME

PACKED = (t.order_lines, t.fulfilment_lines, t.package_lines, t.outbox, t.events, t.decisions)


def shipped(shop: Shop, ident: str = "PO-1") -> Order:
    """An order on its way for ever."""
    took = shop.take(order(ident, goods=(("A", 2), ("B", 1))))
    shop.push(reference="WMS-1")
    shop.tell(confirmed(took.again().code, (f"SF-{ident}", [("A", 2), ("B", 1)])))
    return took.again()


def test_an_order_is_packed_when_it_ended_and_was_quiet_for_a_week(shop: Shop) -> None:
    done = shipped(shop)
    waiting = shop.take(order("PO-2"))
    assert archive_finished(shop.hub) == 0
    shop.clock.wait(days=8)
    keep_alive(shop.hub)
    assert archive_finished(shop.hub) == 1
    for table in PACKED:
        owners = {row.get("order_id", waiting.id) for row in shop.rows(table)}
        assert done.id not in owners
    assert shop.rows(t.inbox, t.inbox.c.source_kind == "warehouse") == []
    assert [row["order_id"] for row in shop.rows(t.archives)] == [done.id]
    assert archive_finished(shop.hub) == 0


def seen(shop: Shop, order_id: int) -> list[Any]:
    """Everything that is shown of an order, wherever."""
    hub = shop.hub
    with hub.read() as tx:
        log = read_events(hub, tx, order_id)
        made = [{**row, "record": b""} for row in read_decisions(hub, tx, order_id, 5)]
    told = replay_document(hub, SAME, last=10)
    return [
        order_view(hub, order_id),
        order_detail(hub, order_view(hub, order_id)["number"]),
        explain_order(hub, order_id),
        log,
        made,
        told,
    ]


def test_a_packed_order_is_shown_explained_and_replayed_as_before(shop: Shop) -> None:
    done = shipped(shop)
    before, known = seen(shop, done.id), list(known_orders(shop.hub, "acme"))
    shop.clock.wait(days=8)
    keep_alive(shop.hub)
    assert archive_finished(shop.hub) == 1
    assert seen(shop, done.id) == before
    assert list(known_orders(shop.hub, "acme")) == known


def test_late_news_brings_an_order_back_whole(shop: Shop) -> None:
    done = shipped(shop)
    documents = shop.rows(t.inbox)
    rows = {table: shop.rows(table) for table in PACKED}
    shop.clock.wait(days=8)
    keep_alive(shop.hub)
    archive_finished(shop.hub)
    shop.take(order("PO-1", 5, goods=(("A", 2), ("B", 1)), buyer_message="late"))
    assert shop.rows(t.archives) == []
    for table in (t.order_lines, t.fulfilment_lines, t.package_lines, t.outbox):
        assert shop.rows(table) == rows[table]
    assert shop.rows(t.events)[: len(rows[t.events])] == rows[t.events]
    kept = {row["id"]: row for row in shop.rows(t.inbox)}
    vault = shop.hub.vault
    for row in documents:
        again = kept[row["id"]]
        assert vault.open("inbox.body", row["id"], again["body"]) == vault.open("inbox.body", row["id"], row["body"])
        assert {**again, "body": b""} == {**row, "body": b""}
    with shop.hub.read() as tx:
        assert verify_order(tx, done.id) is None


def test_what_somebody_waits_for_or_was_tampered_with_is_never_packed(shop: Shop) -> None:
    stuck, forged = shipped(shop, "PO-1"), shipped(shop, "PO-2")
    shop.tell(confirmed(stuck.code, ("SF-PO-2", [("A", 1)])))  # the other order's number
    assert shop.open_codes() == ["tracking_duplicate"]
    with shop.hub.write() as tx:
        tx.execute(t.events.update().where(t.events.c.order_id == forged.id, t.events.c.seq == 1).values(actor="me"))
    shop.clock.wait(days=8)
    keep_alive(shop.hub)
    assert archive_finished(shop.hub) == 0


@pytest.fixture
def few(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A few values are enough to learn from; the hub, which other tests use too, forgets it."""
    monkeypatch.setattr(archive, "_ENOUGH", 60)
    yield
    shop.hub.vault.trained.numbers = {}


def test_what_is_written_after_training_is_smaller_and_all_of_it_stays_readable(shop: Shop, few: None) -> None:
    shop.put(*(order(f"PO-{n}", goods=(("A", n % 7 + 1),), buyer_message=f"no {n}") for n in range(80)))
    before = sorted(len(row["body"]) for row in shop.rows(t.inbox))
    assert "inbox.body" in train_dictionaries(shop.hub)
    assert train_dictionaries(shop.hub) == []
    shop.put(*(order(f"PO-{n}", goods=(("A", n % 7 + 1),), buyer_message=f"no {n}") for n in range(80, 90)))
    after, vault = shop.rows(t.inbox)[80:], shop.hub.vault
    assert max(len(row["body"]) for row in after) < before[0]
    without = [vault.seal("some.place", 1, vault.open("inbox.body", row["id"], row["body"])) for row in after]
    assert max(len(row["body"]) for row in after) < 0.6 * min(map(len, without))
    for row in shop.rows(t.inbox):
        assert row["external_id"].encode() in shop.hub.vault.open("inbox.body", row["id"], row["body"])


def test_another_process_finds_a_dictionary_it_has_not_met(shop: Shop, few: None) -> None:
    shop.put(*(order(f"PO-{n}", buyer_message=f"no {n}") for n in range(80)))
    train_dictionaries(shop.hub)
    (number,) = (row["number"] for row in shop.rows(t.dictionaries, t.dictionaries.c.place == "inbox.body"))
    shop.put(order("PO-X"))
    content = _trained.pop(number)  # as a process that has not looked since
    assert number_of(content) == number
    row = shop.rows(t.inbox)[-1]
    assert b"PO-X" in shop.hub.vault.open("inbox.body", row["id"], row["body"])
    _trained.pop(number)
    find, shop.hub.vault.trained.find = shop.hub.vault.trained.find, None
    with pytest.raises(ConfigError, match=str(number)):
        shop.hub.vault.open("inbox.body", row["id"], row["body"])
    shop.hub.vault.trained.find = find


def test_a_process_adopts_what_another_has_trained(shop: Shop, few: None) -> None:
    shop.put(*(order(f"PO-{n}", buyer_message=f"no {n}") for n in range(80)))
    train_dictionaries(shop.hub)
    hub: Hub = shop.hub
    known = dict(hub.vault.trained.numbers)
    hub.vault.trained.numbers = {}
    keep_alive(hub)
    assert hub.vault.trained.numbers == known
