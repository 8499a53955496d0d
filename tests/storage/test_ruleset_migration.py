"""A ruleset that a configuration file armed before versions had a life is still in force after the upgrade."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

import storage.database
from rules.language import load
from storage.database import migrate, open_engine
from storage.directory import directory_stamp
from storage.rulesets import find_armed_ruleset
from tests.postgres import Server

DOCUMENT = json.dumps({"version": "v1", "note": "备注", "rules": []}, indent=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'old.db'}"
        return
    server: Server = request.getfixturevalue("pg_server")
    with server.connect() as connection:
        connection.execute("create database hub_before")
        yield server.url("hub_before")
        connection.execute("drop database hub_before with (force)")


def test_what_was_armed_stays_armed(empty_url: str) -> None:
    engine = open_engine(empty_url)
    with engine.begin() as tx:
        config = Config()
        config.set_main_option("script_location", str(Path(storage.database.__file__).parent / "migrations"))
        config.attributes["connection"] = tx
        command.upgrade(config, "0004")
        put = "INSERT INTO rulesets VALUES (:id, :version, :state, :document, 'apply', 5, :armed_at)"
        rows = [("v0", "retired", 6), ("v1", "armed", 7), ("v2", "draft", None)]
        for number, (version, state, armed_at) in enumerate(rows, 1):
            told = {"id": number, "version": version, "state": state, "document": DOCUMENT, "armed_at": armed_at}
            tx.execute(text(put), told)
    migrate(empty_url)
    with engine.begin() as tx:
        row = find_armed_ruleset(tx, now=8)
        assert row is not None
        assert (row["version"], row["armed_from"], row["digest"]) == ("v1", 7, load(DOCUMENT.encode()).digest)
        assert find_armed_ruleset(tx, now=6) is None
        assert directory_stamp(tx, 6) != directory_stamp(tx, 8)
    engine.dispose()
