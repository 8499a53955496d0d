"""Installs the Vendure server into a throwaway folder and fills its first database, once.

Source: the server itself, Vendure 3.7.3 on Node 20.20 (observed 2026-11-21, H); see README.md beside this file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

RECIPE = Path(__file__).parent / "vendure"
RECIPE_FILES = ("package.json", "package-lock.json", ".npmrc", "server.cjs")
LEAST_NODE = 20
USER = "superadmin"
INSTALL_SECONDS = 900
POPULATE_SECONDS = 180
# What the server may see of our environment: its own settings come on top, nothing of the hub's does.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG")


class ShopError(Exception):
    """The shop could not be installed or started, or refused a call; `code` is Vendure's `errorCode` if it gave one."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def available() -> str | None:
    """Why the real shop cannot run here, as one line for a person; None if it can."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return f"the real shop needs Node {LEAST_NODE} and npm; {'node' if node is None else 'npm'} is not installed"
    try:
        said = _run([node, "--version"], Path.cwd(), dict(os.environ), 30).strip()
    except ShopError as fault:
        return f"node does not run: {fault}"
    major = re.match(r"v(\d+)\.", said)
    if major is None or int(major[1]) < LEAST_NODE:
        return f"the real shop needs Node {LEAST_NODE} or later; this is {said}"
    return None


def prepare(folder: Path) -> None:
    """Install the server and populate its first database in `folder`; a second call with the same recipe does nothing.

    About 75 s the first time (network), then instant. Raises ShopError with the end of what npm or the server said.
    """
    reason = available()
    if reason is not None:
        raise ShopError(reason)
    stamp, wanted = folder / "prepared", _recipe_hash()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    for name in RECIPE_FILES:
        shutil.copyfile(RECIPE / name, folder / name)
    _run([_program("npm"), "ci", "--no-audit", "--no-fund"], folder, dict(os.environ), INSTALL_SECONDS)
    _write_password(folder)
    _populate(folder)
    stamp.write_text(wanted)


def server_environment(folder: Path, database: Path, port: int) -> dict[str, str]:
    """The environment of the Node process: loopback port, database file, credentials, no telemetry."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {
        "VENDURE_DISABLE_TELEMETRY": "1",
        "NODE_ENV": "production",
        "SHOP_DATABASE": str(database),
        "SHOP_PORT": str(port),
        "SHOP_USER": USER,
        "SHOP_PASSWORD": read_password(folder),
    }


def server_command(*arguments: str) -> list[str]:
    """The command that runs the server script, to be started in the prepared folder."""
    return [_program("node"), "server.cjs", *arguments]


def read_password(folder: Path) -> str:
    """The superadmin password made up for this installation."""
    return str(json.loads((folder / "credentials.json").read_text())["password"])


def pristine(folder: Path) -> Path:
    """The populated database without orders; every start works on a fresh copy of it."""
    return folder / "pristine.sqlite"


def _populate(folder: Path) -> None:
    unfinished = folder / "populating.sqlite"
    unfinished.unlink(missing_ok=True)
    _run(server_command("populate"), folder, server_environment(folder, unfinished, 0), POPULATE_SECONDS)
    unfinished.replace(pristine(folder))


def _write_password(folder: Path) -> None:
    path = folder / "credentials.json"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"user": USER, "password": secrets.token_urlsafe(18)}, file)


def _recipe_hash() -> str:
    digest = hashlib.sha256()
    for name in RECIPE_FILES:
        digest.update((RECIPE / name).read_bytes())
    return digest.hexdigest()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ShopError(f"{name} is not installed")
    return found


def _run(command: list[str], folder: Path, environment: dict[str, str], seconds: int) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise ShopError(f"{Path(command[0]).name} {command[-1]} took more than {seconds} s") from late
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).strip()[-2000:]
        raise ShopError(f"{Path(command[0]).name} {command[1]} ended with {done.returncode}: {tail}")
    return done.stdout
