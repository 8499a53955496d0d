"""A furnished hub on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.bootstrap import close_hub

from .build import Shop, open_shop


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    """The test runs on SQLite and on PostgreSQL."""
    made = open_shop(database_url, tmp_path)
    yield made
    close_hub(made.hub)


@pytest.fixture
def pg_shop(postgres_url: str, tmp_path: Path) -> Iterator[Shop]:
    """For races that only a database with several writers can have."""
    made = open_shop(postgres_url, tmp_path)
    yield made
    close_hub(made.hub)
