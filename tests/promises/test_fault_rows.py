"""Faults of promises.md §3 that no room's own test shows: a full disk under polls and pushes, and six hours away."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, exc

from domain.errors import HubError
from storage import tables as t
from tests.journeys.hostile import Yard, open_yard, states
from tests.journeys.liars import NOW
from tests.journeys.spoilt import good
from wire.client import Limits

SHOPS = ("tb", "sf", "ve")


def try_all(yard: Yard) -> None:
    """One round of everything; what the runner would log and try again is passed over."""
    for step in (lambda: yard.poll("sf"), yard.push):
        with suppress(exc.SQLAlchemyError, HubError):
            step()


def test_while_the_disk_is_full_nothing_is_read_or_pushed_and_then_everything_is(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Cursors stay where the rows are, no push is made twice, and nobody has to do anything afterwards (P17)."""
    with open_yard(sqlite_url, tmp_path) as yard:
        yard.shops["tb"].shelf = [good("tb", n, NOW - timedelta(minutes=9, seconds=n)) for n in range(12)]
        yard.poll("tb")
        yard.shops["sf"].shelf = [good("sf", n, NOW - timedelta(minutes=9, seconds=n)) for n in range(60)]
        before = yard.cursor("sf")["watermark"]
        with yard.hub.engine.connect() as connection:
            pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())

        def limit(connection: Any, *_: Any) -> None:
            connection.execute(f"PRAGMA max_page_count={pages}")

        event.listen(yard.hub.engine, "checkout", limit)
        yard.hub.engine.pool.dispose()
        for _ in range(3):
            try_all(yard)
            yard.clock.wait(seconds=20)
        stored = {row["external_id"] for row in yard.rows(t.inbox, t.inbox.c.source_id == yard.id_of("sf"))}
        assert len(stored) < 60
        assert yard.cursor("sf")["watermark"] == before
        event.remove(yard.hub.engine, "checkout", limit)
        with yard.hub.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        yard.hub.engine.pool.dispose()
        for _ in range(6):
            yard.clock.wait(minutes=3)
            try_all(yard)
        everything = [order for shop in ("tb", "sf") for order in yard.orders(shop).values()]
        assert [states(order) for order in everything] == [["accepted"]] * 72
        assert yard.wms.count("deliveryorder.create") == len(yard.wms.known) == 72
        with yard.hub.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_after_six_hours_away_nothing_is_missing_and_no_host_is_flooded(database_url: str, tmp_path: Path) -> None:
    """The look-back is a quarter of an hour: the cursor itself must reach back to where it was."""
    with open_yard(database_url, tmp_path) as yard:
        yard.poll(*SHOPS)
        for account in SHOPS:
            yard.shops[account].shelf = [good(account, n, NOW + timedelta(minutes=9 * n)) for n in range(40)]
        yard.clock.wait(hours=6, minutes=1)
        busy, most, lock = 0, 0, threading.Lock()

        def count(_method: str, _body: bytes) -> None:
            nonlocal busy, most
            with lock:
                busy += 1
                most = max(most, busy)
            time.sleep(0.001)
            with lock:
                busy -= 1

        yard.wms.before = count
        for account in SHOPS:
            assert yard.poll(account) == 40
            assert yard.cursor(account)["error"] == ""
            assert set(yard.orders(account)) == {item.id for item in yard.shops[account].shelf}
        for _ in range(8):
            yard.push()
        assert yard.wms.count("deliveryorder.create") == len(yard.wms.known) == 120
        assert most <= Limits().per_host
