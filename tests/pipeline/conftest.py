"""A furnished hub on each database. Opening one costs more than most tests, so each database has one, emptied every time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pipeline.bootstrap import Hub, close_hub
from tests.postgres import Server

from .build import Shop, furnish, open_empty

TEMPLATE = "hub_template"


@pytest.fixture(scope="session")
def sqlite_hub(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("pipeline")
    shutil.copyfile(sqlite_template, folder / "hub.db")
    hub = open_empty(f"sqlite:///{folder / 'hub.db'}", folder)
    yield hub
    close_hub(hub)


@pytest.fixture(scope="session")
def postgres_hub(
    pg_server: Server, pg_template: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hub]:
    pg_template.execute(f"create database hub_pipeline template {TEMPLATE} strategy file_copy")
    hub = open_empty(pg_server.url("hub_pipeline"), tmp_path_factory.mktemp("pipeline"))
    yield hub
    close_hub(hub)


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest) -> Shop:
    """The test runs on SQLite and on PostgreSQL."""
    return furnish(request.getfixturevalue("sqlite_hub" if request.param == "sqlite" else "postgres_hub"))


@pytest.fixture
def pg_shop(postgres_hub: Hub) -> Shop:
    """For races that only a database with several writers can have."""
    return furnish(postgres_hub)


@pytest.fixture
def small_shop(sqlite_hub: Hub) -> Shop:
    """For what no database can change."""
    return furnish(sqlite_hub)
