"""A furnished hub on each database, and somebody at a desk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipeline.bootstrap import Hub, close_hub
from tests.console.desk import Desk, sit_down
from tests.console.seeds import STOPPED, broken_document, furnish, make_hub, post


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    """Orders that stop for known reasons, on SQLite and on PostgreSQL."""
    yield from _hub(database_url, tmp_path)


@pytest.fixture
def one_hub(sqlite_url: str, tmp_path: Path) -> Iterator[Hub]:
    """The same on SQLite alone, for what does not touch the database."""
    yield from _hub(sqlite_url, tmp_path)


def _hub(url: str, folder: Path) -> Iterator[Hub]:
    hub = make_hub(url, folder)
    furnish(hub)
    post(hub, list(STOPPED.values()))
    post(hub, [broken_document("PO-BAD")])
    yield hub
    close_hub(hub)


@pytest.fixture
async def clerk(hub: Hub) -> AsyncIterator[Desk]:
    """A clerk who is signed in."""
    desk = sit_down(hub)
    await desk.log_in("clerk")
    yield desk
    await desk.client.aclose()


@pytest.fixture
async def desk(one_hub: Hub) -> AsyncIterator[Desk]:
    """Somebody who is not signed in."""
    desk = sit_down(one_hub)
    yield desk
    await desk.client.aclose()
