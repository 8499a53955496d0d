"""What every test may ask for: a fixed clock, a fresh migrated database (SQLite, PostgreSQL), and calm properties."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import Server, run_server

# The same examples on every machine and run: a red build is always about the change.
# `pytest --hypothesis-profile=deep` searches for new ones.
_CALM = [HealthCheck.too_slow]
settings.register_profile("house", derandomize=True, deadline=None, max_examples=50, suppress_health_check=_CALM)
settings.register_profile("deep", deadline=None, max_examples=10_000, database=None, suppress_health_check=_CALM)
settings.load_profile("house")

TEMPLATE = "hub_template"
_numbers = count(1)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes and sets never name a test: two test processes may build or order them differently."""
    return argname if isinstance(val, (bytes, set, frozenset)) else None


@pytest.fixture
def now() -> datetime:
    """The moment at which every test happens unless it says otherwise."""
    return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """`@pytest.mark.anyio` tests run on the loop that production uses."""
    return "asyncio"


@pytest.fixture(scope="session")
def pg_server() -> Iterator[Server]:
    """A real PostgreSQL, one per test process: starting costs 0.6 s, and two processes start theirs side by side."""
    with run_server() as server:
        yield server


@pytest.fixture(scope="session")
def pg_template(pg_server: Server) -> Iterator[psycopg.Connection]:
    """An autocommit connection to a server on which the migrated database TEMPLATE is ready to be copied."""
    from storage.database import migrate

    with pg_server.connect() as connection:
        connection.execute(f"create database {TEMPLATE}")
        migrate(pg_server.url(TEMPLATE))
        # A database with a session still open cannot be copied; closing may take a moment on the server's side.
        connection.execute(f"alter database {TEMPLATE} allow_connections false")
        kick = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s"
        connection.execute(kick, [TEMPLATE])
        yield connection


@pytest.fixture
def postgres_url(pg_server: Server, pg_template: psycopg.Connection) -> Iterator[str]:
    """The address of a fresh migrated PostgreSQL database, dropped after the test."""
    name = f"hub_{next(_numbers)}"
    pg_template.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
    yield pg_server.url(name)
    pg_template.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file with everything in the file itself: a copy of it is a whole database."""
    from pysqlite3 import dbapi2

    from storage.database import migrate

    path = tmp_path_factory.mktemp("template") / "hub.db"
    migrate(f"sqlite:///{path}")
    connection = dbapi2.connect(str(path))
    connection.execute("pragma wal_checkpoint(truncate)").close()
    connection.close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The address of a fresh migrated SQLite file in the test's own folder."""
    path = tmp_path / "hub.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The test runs twice: with a fresh migrated database on SQLite and on PostgreSQL."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
