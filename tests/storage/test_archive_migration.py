"""A database with orders in it is brought to archives and dictionaries without losing or changing a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, text

import storage.database
from storage.database import migrate, open_engine
from tests.postgres import Server

ORDER = (
    "INSERT INTO orders (id, number, account_id, partner_id, external_id, status, source_status, payment, currency, goods, "
    "freight, tax, discount, paid, version, source_time, placed_at, country, region, tail_hash, blocked, verdicts, tags, "
    "private, inbox_id, event_seq, event_hash, revision, created_at, updated_at) VALUES (:id, 'N', 7, :partner, :external, "
    "'completed', 's', 'paid', 'CNY', 1, 0, 0, 0, 1, 'v', 5, 5, 'CN', '33', :tail, :no, '{}', '[]', :blob, 1, 0, :blob, 0, 5, 5)"
)
DOCUMENT = (
    "INSERT INTO inbox (id, source_kind, source_id, kind, external_id, seq, version, body_hash, body, size, received_at, state, "
    "order_id) VALUES (:id, :source, 7, 'shipment', :external, 1, 'v', :blob, :blob, 3, 5, 'done', :order)"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'old.db'}"
        return
    server: Server = request.getfixturevalue("pg_server")
    with server.connect() as connection:
        connection.execute("create database hub_filled")
        yield server.url("hub_filled")
        connection.execute("drop database hub_filled with (force)")


def stored(tx: Connection) -> list[tuple[object, ...]]:
    found = [tuple(row) for row in tx.execute(text("SELECT * FROM orders ORDER BY id"))]
    return found + [tuple(row) for row in tx.execute(text("SELECT * FROM inbox ORDER BY id"))]


def test_a_filled_database_is_upgraded_as_it_is(old_url: str) -> None:
    engine = open_engine(old_url)
    with engine.begin() as tx:
        config = Config()
        config.set_main_option("script_location", str(Path(storage.database.__file__).parent / "migrations"))
        config.attributes["connection"] = tx
        command.upgrade(config, "0006")
        for number in range(1, 300):
            told = {"id": number, "external": f"E{number}", "blob": b"xyz", "no": False}
            tx.execute(text(ORDER), told | {"partner": number % 3 or None, "tail": b"t" if number % 2 else None})
            source = "warehouse" if number % 2 else "account"
            tx.execute(text(DOCUMENT), told | {"source": source, "order": number if number % 5 else None})
        before = stored(tx)
    migrate(old_url)
    with engine.begin() as tx:
        assert stored(tx) == before
        names = {index["name"] for table in ("orders", "inbox", "outbox") for index in inspect(tx).get_indexes(table)}
        assert {"ix_orders_partner", "ix_orders_tail", "ix_inbox_news", "ix_outbox_waiting"} <= names
    engine.dispose()
