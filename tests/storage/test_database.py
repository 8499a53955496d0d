"""Opening a database: durable or not at all, one writer at a time, migrated once however many start at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from pysqlite3 import dbapi2
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

import storage.database
from domain.errors import ConfigError
from storage import tables as t
from storage.cursors import claim_cursors, ensure_cursors, save_cursor, set_due
from storage.database import Commits, migrate, newest_version, open_engine, reading
from storage.directory import directory_stamp, put_account, put_bundle, put_partner, set_account_state
from storage.nodes import claim_node, free_node, keep_node
from storage.rows import Row, insert_missing, rows_of, upsert_rows
from storage.times import maybe_moment, micros, moment, span
from tests.postgres import Server

from .conftest import NOW, Store

HOUR = 3_600_000_000


def test_an_address_that_is_none_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="not an address") as refused:
        open_engine("no address, secret")
    assert "secret" not in str(refused.value)


def test_sqlite_runs_durable_and_guarded(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    with engine.begin() as tx:
        names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        assert [str(tx.execute(text(f"pragma {name}")).scalar()) for name in names] == ["wal", "2", "1", "1"]
    engine.dispose()


@pytest.mark.parametrize("value", [None, b"", b"\x00\xff", memoryview(b"view"), True, False])
def test_plain_values_are_stored_as_they_are_and_nobody_is_asked_how(sqlite_url: str, value: object) -> None:
    engine = open_engine(sqlite_url)
    with engine.begin() as tx:
        assert (type(value), dbapi2.PrepareProtocol) in dbapi2.adapters
        stored = tx.exec_driver_sql("select ?, typeof(?)", (value, value)).one()
        kind = {type(None): "null", bool: "integer"}.get(type(value), "blob")
        assert tuple(stored) == (value, kind)
    engine.dispose()


def test_a_reader_takes_no_write_lock(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    with engine.begin() as writer, reading(engine).begin() as reader:
        insert_missing(writer, t.nodes, [{"id": 1, "holder": "x", "lease_until": 0}])
        assert rows_of(reader, t.nodes.select()) == []
    engine.dispose()


def test_every_commit_shows_and_nothing_else_does(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    commits = Commits(engine)

    def seen(round_: int) -> list[bool]:
        """Whether it shows: nothing at all, a look, a turn at writing that wrote nothing, one that was taken back, a commit."""
        told, last = [], commits.count()
        for what in (None, "look", "empty", "undone", "done"):
            if what == "look":
                with reading(engine).begin() as tx:
                    rows_of(tx, t.nodes.select())
            elif what is not None:
                with engine.connect() as tx, tx.begin() as turn:
                    if what != "empty":
                        insert_missing(tx, t.nodes, [{"id": round_, "holder": what, "lease_until": 0}])
                    if what == "undone":
                        turn.rollback()
            last, before = commits.count(), last
            told.append(last != before)
        return told

    assert [seen(round_) for round_ in range(3)] == [[False, False, False, False, True]] * 3
    commits.close()
    assert commits.count() == commits.count()  # opened again when it is asked again
    commits.close()
    engine.dispose()


def test_a_postgresql_that_may_lose_what_it_acknowledged_is_refused(pg_server: Server, postgres_url: str) -> None:
    engine = open_engine(postgres_url.replace("application_name=throwaway", "application_name=hub"))
    with pytest.raises(ConfigError, match="off"):
        engine.connect()
    engine.dispose()
    assert pg_server.folder.exists()


def test_a_line_that_broke_while_it_was_quiet_is_noticed_before_it_is_used(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.database, "_QUIET_SECONDS", 0.0)
    engine, other = open_engine(postgres_url), open_engine(postgres_url)
    ask = text("select pg_backend_pid()")
    with engine.begin() as tx:
        numbers = [tx.execute(ask).scalar_one()]
    with engine.begin() as tx:
        assert tx.execute(ask).scalar_one() == numbers[0], "the one that was used last"
    with other.begin() as tx:
        tx.execute(text("select pg_terminate_backend(:number, 5000)"), {"number": numbers[0]})
    with engine.begin() as tx:
        assert tx.execute(ask).scalar_one() != numbers[0]
    engine.dispose()
    other.dispose()


def test_any_other_database_is_refused() -> None:
    with pytest.raises(ConfigError, match="mysql"):
        open_engine("mysql://root@127.0.0.1/hub")


def test_the_migrated_schema_is_the_declared_one(database_url: str) -> None:
    migrate(database_url)
    engine = open_engine(database_url)
    found = inspect(engine)
    assert set(found.get_table_names()) - {"alembic_version"} == set(t.metadata.tables)
    for name, table in t.metadata.tables.items():
        assert {c["name"] for c in found.get_columns(name)} == {c.name for c in table.columns}
        assert {i["name"] for i in found.get_indexes(name)} >= {i.name for i in table.indexes}
    engine.dispose()


def test_two_processes_that_migrate_at_once_make_one_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(migrate, (url, url)))
    engine = open_engine(url)
    assert set(inspect(engine).get_table_names()) - {"alembic_version"} == set(t.metadata.tables)
    engine.dispose()


def test_a_database_with_the_newest_schema_is_opened_beside_a_long_write(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    with engine.begin(), ThreadPoolExecutor(1) as pool:
        pool.submit(migrate, sqlite_url).result(timeout=10)
    engine.dispose()


def test_the_newest_version_is_the_end_of_the_chain() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(storage.database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [newest_version()]


def test_a_database_of_newer_code_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'newer.db'}"
    migrate(url)
    engine = open_engine(url)
    with engine.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999_later'"))
    with pytest.raises(ConfigError, match="9999_later"):
        migrate(url)
    engine.dispose()


def test_states_that_do_not_exist_are_refused_by_the_database_itself(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as tx:
        insert_missing(tx, t.cursors, [cursor_row(stream="hourly")])
    with pytest.raises(IntegrityError), store.write() as tx:
        upsert_rows(tx, t.stock, [stock_row(on_hand=-1)])


def stock_row(**given: int) -> Row:
    numbers = dict.fromkeys(("on_hand", "reserved", "buffer", "source_time", "moved_at", "updated_at"), 0)
    return {"warehouse_id": 1, "sku": "A", "backorder": False, **numbers, **given}


def cursor_row(**given: object) -> Row:
    numbers = dict.fromkeys(("watermark", "due_at", "lease_until", "token", "failures"), 0)
    blank = dict.fromkeys(("window_start", "window_end", "ran_at"))
    return {"account_id": 1, "stream": "poll", "page": "", "error": "", **numbers, **blank, **given}


# --- node numbers ----------------------------------------------------------------------------------------------------


def test_every_process_gets_a_node_of_its_own(store: Store) -> None:
    def claim(holder: str) -> int:
        with store.write() as tx:
            return claim_node(tx, holder, now=NOW, lease=HOUR)

    with ThreadPoolExecutor(4) as pool:
        nodes = list(pool.map(claim, [f"process-{n}" for n in range(8)]))
    assert sorted(nodes) == list(range(8))


def test_a_node_is_reused_when_it_was_freed_or_its_lease_ran_out(store: Store) -> None:
    with store.write() as tx:
        first, second = (claim_node(tx, name, now=NOW, lease=HOUR) for name in "ab")
        free_node(tx, first, "a", now=NOW)
        assert claim_node(tx, "c", now=NOW, lease=HOUR) == first
        assert claim_node(tx, "d", now=NOW + HOUR, lease=HOUR) == first
        assert not keep_node(tx, first, "c", now=NOW, lease=HOUR)
        assert keep_node(tx, second, "b", now=NOW + HOUR, lease=HOUR)


# --- cursors ---------------------------------------------------------------------------------------------------------


def account(store: Store, name: str = "shop", now: int = NOW) -> int:
    (row_id,) = store.ids(1)
    row: Row = {"id": row_id, "name": name, "channel": "taobao", "partner_id": None, "options": {}, "enabled": True}
    with store.write() as tx:
        put_account(tx, store.vault, row | {"created_at": now, "updated_at": now}, {"token": "canary"})
    return row_id


def test_a_stream_has_one_reader_and_only_its_token_writes(store: Store) -> None:
    account_id = account(store)
    due = {"poll": NOW, "day": NOW + HOUR, "week": NOW + HOUR}
    with store.write() as tx:
        ensure_cursors(tx, account_id, watermark=NOW - HOUR, due=due)
        (late,) = claim_cursors(tx, now=NOW, lease=HOUR, token=1, limit=9)
        assert claim_cursors(tx, now=NOW + 1, lease=HOUR, token=2, limit=9) == []
        ours = claim_cursors(tx, now=NOW + HOUR, lease=HOUR, token=3, limit=9)
        assert sorted(row["stream"] for row in ours) == ["day", "poll", "week"]
        assert not save_cursor(tx, late | {"watermark": 5})
        poll = next(row for row in ours if row["stream"] == "poll")
        assert save_cursor(tx, poll | {"watermark": NOW})
        ensure_cursors(tx, account_id, watermark=0, due=due)
        rows = rows_of(tx, t.cursors.select().where(t.cursors.c.stream == "poll"))
        assert [row["watermark"] for row in rows] == [NOW]


def test_a_stopped_account_is_not_read(store: Store) -> None:
    account_id = account(store)
    with store.write() as tx:
        ensure_cursors(tx, account_id, watermark=0, due=dict.fromkeys(("poll", "day", "week"), NOW))
        assert set_account_state(tx, account_id, "stopped", "session_expired", NOW + 1)
        assert not set_account_state(tx, account_id, "stopped", "session_expired", NOW + 2)
        assert claim_cursors(tx, now=NOW, lease=HOUR, token=1, limit=9) == []


def test_a_poll_can_be_brought_forward_and_never_put_off(store: Store) -> None:
    account_id = account(store)
    with store.write() as tx:
        ensure_cursors(tx, account_id, watermark=0, due={"poll": NOW + HOUR, "day": NOW + HOUR, "week": NOW + HOUR})
        assert set_due(tx, [account_id], NOW) == [account_id]
        assert set_due(tx, [account_id], NOW + 5) == []
        rows = rows_of(tx, t.cursors.select().order_by(t.cursors.c.due_at))
        assert (rows[0]["stream"], rows[0]["due_at"]) == ("poll", NOW)


def test_a_poll_that_ended_a_moment_ago_is_brought_forward_and_not_due_yet(store: Store) -> None:
    account_id = account(store)
    with store.write() as tx:
        ensure_cursors(tx, account_id, watermark=0, due={"poll": NOW + HOUR, "day": NOW + HOUR, "week": NOW + HOUR})
        tx.execute(t.cursors.update().values(ran_at=NOW - 3))
        assert set_due(tx, [account_id], NOW, gap=5) == []
        rows = rows_of(tx, t.cursors.select().order_by(t.cursors.c.due_at))
        assert (rows[0]["stream"], rows[0]["due_at"]) == ("poll", NOW + 2)


# --- the directory ---------------------------------------------------------------------------------------------------


def test_every_change_of_configuration_shows_whatever_the_clock_of_its_writer_says(store: Store) -> None:
    first, _ = account(store, "a", NOW), account(store, "b", NOW + HOUR)
    with store.write() as tx:
        before = directory_stamp(tx, NOW)
        assert set_account_state(tx, first, "stopped", "x", NOW - HOUR)
        after = directory_stamp(tx, NOW)
        assert after != before
        partner: Row = {"id": 1, "name": "p", "title": "p", "active": True, "contract_from": None, "contract_to": None}
        put_partner(tx, partner | {"options": {}, "created_at": 5, "updated_at": 5})
        assert directory_stamp(tx, NOW) != after


def test_a_bundle_changes_by_a_new_version(store: Store) -> None:
    with store.write() as tx:
        for parts in ([("A", 1)], [("A", 1)], [("A", 2)]):
            put_bundle(tx, "SET", parts, NOW)
        assert [row["version"] for row in rows_of(tx, t.bundles.select())] == [1, 2]


# --- times -----------------------------------------------------------------------------------------------------------


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_come_back_to_the_microsecond(at: datetime) -> None:
    assert moment(micros(at)) == at
    assert maybe_moment(None) is None


@given(st.timedeltas(timedelta(0), timedelta(days=9999)))
def test_spans_are_exact(delta: timedelta) -> None:
    assert timedelta(microseconds=span(delta)) == delta
