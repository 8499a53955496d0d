"""Opening a database and bringing it to the newest schema. SQLite runs with WAL, synchronous=FULL and BEGIN IMMEDIATE
from a fixed SQLite library (the one bundled with CPython may carry the WAL-reset bug, fixed in 3.51.3); PostgreSQL with
READ COMMITTED and durable commits."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from psycopg.types.string import BytesBinaryDumper
from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from domain.errors import ConfigError

from .lines import READ_ONLY, forget_prepared
from .rows import send_before

_SQLITE_FIXED = (3, 51, 3)
_BUSY_SECONDS = 30
_QUIET_SECONDS = 0.5
_MIGRATIONS = Path(__file__).parent / "migrations"


def open_engine(url: str, *, pool: int = 24, patience: float = 30.0) -> Engine:
    """An engine for `sqlite:///…` or `postgresql+psycopg://…`. `patience`: seconds after which the PostgreSQL server ends a
    transaction whose process went silent inside it (frozen, cut off) and holds locks. ConfigError `database` for anything
    else or for a posture in which an acknowledged write could be lost."""
    try:
        backend = make_url(url).get_backend_name()
    except exc.ArgumentError:  # it is not repeated: there may be a password in it
        raise ConfigError("database", "not an address: sqlite:///FILE or postgresql+psycopg://HOST/NAME") from None
    if backend == "sqlite":
        return _open_sqlite(url, pool)
    if backend == "postgresql":
        return _open_postgresql(url, pool, patience)
    raise ConfigError("database", f"{backend} is not supported: use sqlite or postgresql")


def reading(engine: Engine) -> Engine:
    """The same engine for transactions that only read: on SQLite they take no write lock, on PostgreSQL a question that is told to
    the driver as it is (`storage.asking`) is one round trip, without BEGIN and COMMIT."""
    return engine.execution_options(**{READ_ONLY: True})


def is_sqlite(engine_or_tx: Engine | Connection) -> bool:
    return engine_or_tx.dialect.name == "sqlite"


class Commits:
    """Says whether anybody has committed anything to an SQLite file, for a thousandth of what a transaction costs: by a
    connection of its own, on which nothing is ever written (sqlite.org/pragma.html#pragma_data_version, 2026-11-22, H).
    Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._line: Any = None

    def count(self) -> int:
        """A number that differs from the last one when there was a commit in between, by whomever."""
        with self._lock:
            if self._line is None:
                self._line = self._engine.raw_connection()
                self._line.detach()  # or it would be one of the pool's
            found = self._line.dbapi_connection.execute("PRAGMA data_version").fetchall()
        return int(found[0][0])

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            line, self._line = self._line, None
            if line is not None:
                line.close()


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest schema; killed half-way, the next call starts over or goes on. One that has it
    is only read: a command does not wait for a writer to find that out."""
    engine = open_engine(url, pool=1)
    try:
        if _version(engine) != newest_version():
            _upgrade(engine)
    finally:
        engine.dispose()


def newest_version() -> str:
    """The number of the newest migration, by its file name."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _version(engine: Engine) -> str | None:
    """The migration the database stands at, or None when it never had one."""
    try:
        with reading(engine).begin() as tx:
            found: str | None = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DBAPIError:
        return None
    return found


def _upgrade(engine: Engine) -> None:
    from alembic import command  # noqa: PLC0415 - it takes longer to load than a command needs that has nothing to migrate
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    with engine.begin() as tx:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.attributes["connection"] = tx
        if not is_sqlite(tx):
            # Two processes may start at once; the second waits and finds the work done.
            tx.execute(text("SELECT pg_advisory_xact_lock(7305131)"))
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigError("database", f"its schema is not one of this version's: {error}") from error


def _open_sqlite(url: str, pool: int) -> Engine:
    import pysqlite3.dbapi2 as library  # noqa: PLC0415 - only installations on SQLite need the wheel

    if library.sqlite_version_info < _SQLITE_FIXED:
        raise ConfigError(
            "database", f"SQLite {library.sqlite_version} has the WAL-reset bug: 3.51.3 or newer is needed"
        )
    _name_plain_values(library)
    engine = create_engine(
        url,
        module=library,
        hide_parameters=True,
        poolclass=QueuePool,
        pool_size=pool,
        max_overflow=pool,
        pool_use_lifo=True,  # the one that was used last has pages in its memory that are still true
        connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.execute("PRAGMA cache_size=-16384")
        # Each copies every touched page and syncs: in a large database nearly every row touches pages of its own.
        cursor.execute("PRAGMA wal_autocheckpoint=16000")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(tx: Connection) -> None:
        reads = tx.get_execution_options().get(READ_ONLY, False)
        tx.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _name_plain_values(library: Any) -> None:
    """The driver asks every value that is no number and no text what to store for it, at the price of two errors raised and
    caught, eight times what storing it costs. These are stored as they are; functions of the interpreter say so."""
    nothing: dict[None, None] = {}
    library.register_adapter(type(None), nothing.get)
    library.register_adapter(bytes, bytes)
    library.register_adapter(memoryview, memoryview)
    library.register_adapter(bool, int)


def _open_postgresql(url: str, pool: int, patience: float) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=pool,
        max_overflow=pool,
        pool_use_lifo=True,
        connect_args=_manners(url, patience),
    )
    _ask_whether_alive(engine)

    @event.listens_for(engine, "before_cursor_execute")
    def _in_order(tx: Connection, *_: Any) -> None:
        send_before(tx)

    @event.listens_for(engine, "rollback")
    def _rolled_back(tx: Connection) -> None:
        if not tx.invalidated:
            forget_prepared(tx)

    @event.listens_for(engine, "connect")
    def _plain_bytes(connection: Any, _record: Any) -> None:
        # The driver keeps the last dumper that was registered for a type, and for bytes in a stream that is one in Python, for its
        # wrapper of them, which nothing of ours uses: a tenth of a stream's price.
        connection.adapters.register_dumper(bytes, BytesBinaryDumper)

    @event.listens_for(engine, "first_connect")
    def _posture(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                value = cursor.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]
                if value == "off" and not _is_throwaway(url):
                    raise ConfigError("database", f"PostgreSQL runs with {name}=off: acknowledged orders could be lost")
        connection.rollback()

    return engine


def _ask_whether_alive(engine: Engine) -> None:
    """A line that was quiet is asked whether it still works before anybody gets it, and replaced with all others when it does not.
    One that worked a moment ago is not asked: that would cost every transaction of a busy process a round trip."""

    @event.listens_for(engine, "checkin")
    def _used(_line: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(line: Any, record: Any, _proxy: Any) -> None:
        used = record.info.get("used")
        if used is None or time.monotonic() - used < _QUIET_SECONDS:
            return
        try:
            engine.dialect.do_ping(line)
        except engine.dialect.loaded_dbapi.Error as error:
            raise exc.InvalidatePoolError from error


def _manners(url: str, patience: float) -> dict[str, object]:
    """What a line that may be cut needs: a dead peer is noticed within half a minute on both sides."""
    asked = make_url(url).query
    told: dict[str, object] = {
        "connect_timeout": 10,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "options": f"-c idle_in_transaction_session_timeout={round(patience * 1000)}",
    }
    return {name: value for name, value in told.items() if name not in asked}


def line_words(engine: Engine) -> dict[str, Any]:
    """What `psycopg.connect` needs for a connection beside the engine's, to the same PostgreSQL: autocommit, for no
    transaction ever stays open on it."""
    _, words = engine.dialect.create_connect_args(engine.url)
    return {**words, **_manners(engine.url.render_as_string(hide_password=False), _BUSY_SECONDS), "autocommit": True}


def _is_throwaway(url: str) -> bool:
    """Test servers say in their own URL that their data may be lost."""
    return "application_name=throwaway" in url
