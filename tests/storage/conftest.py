"""An engine on each database, and the little a statement needs: ids, a vault, a place to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
from sqlalchemy import Connection, Engine

from domain.numbers import IdMaker
from storage.database import open_engine
from storage.vault import Vault, parse_keys

NOW = 1_795_262_400_000_000
KEYS = f"1 {'11' * 32}\nsearch {'22' * 32}"


@dataclass(slots=True)
class Store:
    """A migrated database."""

    engine: Engine
    vault: Vault
    ids: Callable[[int], list[int]]

    def write(self) -> AbstractContextManager[Connection]:
        return self.engine.begin()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    engine = open_engine(database_url)
    yield Store(engine, parse_keys(KEYS), IdMaker(1, lambda: NOW // 1000).take)
    engine.dispose()


@pytest.fixture
def pg_store(postgres_url: str) -> Iterator[Store]:
    engine = open_engine(postgres_url)
    yield Store(engine, parse_keys(KEYS), IdMaker(1, lambda: NOW // 1000).take)
    engine.dispose()


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    engine = open_engine(sqlite_url)
    yield Store(engine, parse_keys(KEYS), IdMaker(1, lambda: NOW // 1000).take)
    engine.dispose()
