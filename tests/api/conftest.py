"""A furnished hub on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.bootstrap import close_hub
from tests.api.house import House, open_house


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    """The test runs on SQLite and on PostgreSQL."""
    made = open_house(database_url, tmp_path)
    yield made
    made.app.state.intake.close()
    close_hub(made.hub)


@pytest.fixture
def small_house(sqlite_url: str, tmp_path: Path) -> Iterator[House]:
    """For what no database can change: SQLite only."""
    made = open_house(sqlite_url, tmp_path)
    yield made
    made.app.state.intake.close()
    close_hub(made.hub)
