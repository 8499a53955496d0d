"""What is read and asked ahead for a group of posts changes no answer: the same posts get the same replies without it, and
whatever changed since is noticed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline import foresight, hooks, intake
from pipeline.access import identify
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, outside
from pipeline.directory import recent_directory
from pipeline.posts import Post, Reply, read_post
from storage import tables as t
from storage.inbox import Arrival, Sealed, seal_arrivals
from storage.rows import rows_of
from storage.vault import Vault
from tests.api.house import House, encoded, open_house, order

SECOND = [{"line_id": "1", "sku": "EXT-A", "quantity": 1, "unit_price": "20.00"}]
UNKNOWN = [{"line_id": "1", "sku": "EXT-?", "quantity": 1, "unit_price": "20.00"}]
BODIES: list[list[Any]] = [
    [order("PO-1"), order("PO-2", buyer_id="b")],
    [order("PO-1"), order("PO-3", lines=UNKNOWN), order("PO-4", buyer_id="b")],
    [order("PO-1", lines=SECOND), order("PO-2", updated_at="2026-11-01T00:00:00Z"), b"{", b"7", order("")],
    [order("PO-5", lines=[]), order("PO-5"), order("PO-5", lines=SECOND), order("PO-3", lines=UNKNOWN)],
    [order("PO-6", status="cancelled"), order("PO-7", totals={"paid": "7.00"}), order("PO-5", lines=[])],
]


def group(house: House, bodies: list[Any], name: str) -> list[Post]:
    caller = identify(house.hub, house.keys["acme"])
    return [read_post(caller, f"{name}-{n}", encoded(body)) for n, body in enumerate(bodies)]


def forget(hub: Hub) -> None:
    hub.memory.pop("directory", None)
    hub.memory.pop("listed", None)


def answers(house: House, before: Callable[[Hub], None]) -> list[tuple[int, Any]]:
    """Replies with what differs by chance taken out, and what is stored of the documents."""
    found: list[tuple[int, Any]] = []
    for number, bodies in enumerate(BODIES):
        posts = group(house, bodies, f"k{number}")
        before(house.hub)
        replies: list[Reply] = intake._handle(house.hub, posts)
        found += [(each.status, plain(each.body)) for each in replies]
    with house.hub.read() as tx:
        rows = rows_of(tx, t.inbox.select().order_by(t.inbox.c.external_id, t.inbox.c.seq))
    return [*found, *((row["seq"], (row["external_id"], row["state"], row["error"])) for row in rows)]


def plain(body: bytes) -> Any:
    """Numbers of orders and parts are drawn anew each time."""
    return json.loads(re.sub(rb'"(number|code)":"[^"a-z]*[0-9][^"a-z]*"', rb'"\1":""', body))


def test_replies_are_the_same_as_without_it(house: House, tmp_path: Path, sqlite_template: Path) -> None:
    ahead = answers(house, lambda _: None)
    shutil.copyfile(sqlite_template, tmp_path / "plain.db")
    other = open_house(f"sqlite:///{tmp_path / 'plain.db'}", tmp_path / "plain")
    try:
        assert answers(other, forget) == ahead
    finally:
        other.app.state.intake.close()
        close_hub(other.hub)


def test_what_was_configured_since_counts(house: House) -> None:
    assert house.post(order("PO-1"), "k1").json()["accepted"]
    listing = {"account": "acme-api", "external_sku": "EXT-A", "sku": "ANOTHER", "quantity": 1}
    apply_values(house.hub, {"listings": [listing]}, folder=house.hub.settings.data_folder)
    told = house.post(order("PO-2"), "k2").json()
    assert told["exceptions"], "nothing of that SKU is there"


def test_documents_are_sealed_while_others_may_write(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed: list[str] = []

    def watched(vault: Vault, new_ids: Any, arrivals: Sequence[Arrival]) -> list[Sealed]:
        outside()
        sealed.extend([each.external_id for each in arrivals])
        return seal_arrivals(vault, new_ids, arrivals)

    for module in (foresight, hooks):
        monkeypatch.setattr(module, "seal_arrivals", watched)
    batch = {"orders": [order("PO-1"), order("PO-2", buyer_id="b")]}
    assert house.post(batch, "k1", path="/v1/orders:batch").json()["stored"] == 2
    body = encoded(order("PO-3"))
    account = recent_directory(house.hub).account("acme-api")
    assert hooks._store(house.hub, [hooks._Delivery(account.id, "d1", (), body)]) == [True]
    assert hooks._store(house.hub, [hooks._Delivery(account.id, "d1", (), body)]) == [False]
    assert sealed == ["PO-1", "PO-2", "PO-3", "PO-3"]
    assert house.post(order("PO-3"), "k2").json()["result"] == "queued", (
        "what the webhook carried waits for the absorber"
    )
