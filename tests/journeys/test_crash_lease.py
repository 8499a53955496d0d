"""A reader's claim on a stream: it ends within a minute of its death, and not before, however slow the channel is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline import pull
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.settings import Settings
from storage.cursors import claim_cursors, keep_cursor
from storage.rows import Row
from tests.wire.loopback import Loopback, Seen, reply

MINUTE = 60_000_000
EMPTY = b'{"data":{"orders":{"nodes":[],"pageInfo":{"hasNextPage":false,"endCursor":null}}}}'


@pytest.fixture
def hub(tmp_path: Path, database_url: str) -> Iterator[Hub]:
    opened = open_hub(Settings(data_folder=tmp_path, database_url=database_url, senders=2), migrated=True)
    yield opened
    close_hub(opened)


def _open_shop(hub: Hub, url: str) -> None:
    settings = {"base_url": url, "token": "token", "allow_private": True}
    apply_values(hub, {"accounts": [{"name": "shop", "channel": "shopify", "settings": settings}]})


def _claim(hub: Hub, token: int, *, after: int = 0) -> list[Row]:
    with hub.write() as tx:
        rows = claim_cursors(tx, now=hub.now() + after, lease=MINUTE, token=token, limit=9)
    return [row for row in rows if row["stream"] == "poll"]


def test_a_dead_readers_stream_is_free_after_a_minute(hub: Hub) -> None:
    assert timedelta(seconds=60) >= pull.LEASE >= 3 * pull.BEAT
    _open_shop(hub, "http://127.0.0.1:9")
    assert len(_claim(hub, 1)) == 1
    assert _claim(hub, 2, after=MINUTE - 2_000_000) == []
    assert len(_claim(hub, 3, after=MINUTE + 1)) == 1


def test_a_claim_that_ran_out_or_was_taken_over_is_not_prolonged(hub: Hub) -> None:
    _open_shop(hub, "http://127.0.0.1:9")
    (first,) = _claim(hub, 1)
    now = hub.now()
    with hub.write() as tx:
        assert keep_cursor(tx, first, now=now, lease=MINUTE)
        assert not keep_cursor(tx, first, now=now + MINUTE + 1, lease=MINUTE)
    (second,) = _claim(hub, 2, after=MINUTE + 2_000_000)
    with hub.write() as tx:
        assert not keep_cursor(tx, first, now=now, lease=MINUTE)
        assert keep_cursor(tx, second, now=now, lease=MINUTE)


def test_a_slow_reader_keeps_its_stream(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "LEASE", timedelta(seconds=1))
    monkeypatch.setattr(pull, "BEAT", timedelta(seconds=0.1))
    asked, go_on = threading.Event(), threading.Event()

    def script(_seen: Seen, _connection: socket.socket) -> bytes:
        asked.set()
        go_on.wait(10)
        return reply(body=EMPTY)

    with Loopback(script) as shop:
        _open_shop(hub, shop.url)
        reader = threading.Thread(target=pull.pull_due, args=(hub,))
        reader.start()
        assert asked.wait(10)
        time.sleep(1.5)
        assert _claim(hub, 7) == []
        go_on.set()
        reader.join(10)
    assert len(_claim(hub, 8, after=MINUTE)) == 1
