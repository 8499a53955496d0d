"""A real ERP beside the hub: Tryton 8.2 in a virtual environment of its own, on a PostgreSQL that syncs, served by gunicorn.

Source: Tryton itself, observed 2026-11-22 (H): install 15 s, first database 60 s, 110 MB and a cluster of 90 MB."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from . import goods
from .postgres import DURABLE, Server, build_prefix, find_binaries, init_folder, start_server
from .processes import free_port, running, wait_until
from .tryton_rpc import Session, TrytonError

LOCK = Path(__file__).parent / "tryton.lock"
MODULES = ("sale", "stock", "stock_package_shipping", "sale_shipment_cost")
WORKERS = 2
USER = "admin"
_PRISTINE = "tryton"
_INSTALL_SECONDS = 900
_ACTIVATE_SECONDS = 600
_READY_SECONDS = 60.0
_PASSED_ON = ("PATH", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Erp:
    """A running Tryton with the goods of the benchmark and no orders. `ids`: what orders refer to, by name; `products` by SKU;
    `pids`: its processes, the database's among them."""

    port: int
    pids: tuple[int, ...]
    session: Session
    ids: Mapping[str, int]
    products: Mapping[str, int]


def missing() -> str | None:
    """Why Tryton cannot run here, as one line; None if it can, as far as one sees without installing it."""
    try:
        find_binaries()
        build_prefix()
    except RuntimeError as fault:
        return str(fault)
    return None


def prepare(folder: Path) -> None:
    """Install Tryton in `folder` and fill its first database; a second call with the same recipe does nothing.

    About 90 s the first time (network). TrytonError with one line of what went wrong."""
    if (reason := missing()) is not None:
        raise TrytonError(reason)
    stamp, wanted = folder / "prepared", _recipe_hash()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _run([sys.executable, "-m", "venv", str(folder / "venv")], dict(os.environ), _INSTALL_SECONDS)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "-r", str(LOCK)], dict(os.environ), _INSTALL_SECONDS)
    init_folder(folder)
    _write_password(folder)
    with cluster(folder) as server:
        _populate(folder, server)
    stamp.write_text(wanted)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Server]:
    """The PostgreSQL whose data are in `folder`, running. Its socket is elsewhere: a path to a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="hub-tryton-") as name:
        place = Path(name)
        (place / "data").symlink_to(folder.resolve() / "data")
        server = start_server(place, DURABLE)
        try:
            _sweep(server)
            yield server
        finally:
            server.stop()


def _sweep(server: Server) -> None:
    """Drop what runs that were killed left behind: every database made for one run has a number in its name."""
    with server.connect() as connection:
        made = connection.execute("select datname from pg_database where datname ~ '_[0-9]+$'").fetchall()
        for (name,) in made:
            connection.execute(f'drop database "{name}" with (force)')


@contextlib.contextmanager
def serving(folder: Path, server: Server) -> Iterator[Erp]:
    """Tryton on a copy of its first database, with two processes; the copy is dropped at the end."""
    name = f"tryton_{time.time_ns()}"
    with server.connect() as connection:
        connection.execute(f'create database "{name}" template "{_PRISTINE}"')
    try:
        with (
            _gunicorn(folder, server, name, WORKERS) as (port, pid),
            contextlib.closing(Session(port, name)) as session,
        ):
            session.login(USER, _password(folder))
            yield Erp(port, (pid, *server.pids), session, _find_ids(session), _find_products(session))
    finally:
        with server.connect() as connection:
            connection.execute(f'drop database if exists "{name}" with (force)')


def build_sale(erp: Erp, order: Mapping[str, Any]) -> dict[str, Any]:
    """An order of the hub's standard API as the values of `sale.sale.create`: the same reference, goods, units and prices. The
    customer and the address are there already; freight, discount and checks are left out."""
    first = next(iter(erp.products.values()))
    lines = [
        {
            "type": "line",
            "product": erp.products.get(line["sku"], first),
            "quantity": line["quantity"],
            "unit": erp.ids["unit"],
            "unit_price": Decimal(line["unit_price"]),
        }
        for line in order["lines"]
    ]
    return {
        "reference": order["external_id"],
        "company": erp.ids["company"],
        "currency": erp.ids["currency"],
        "party": erp.ids["party"],
        "invoice_address": erp.ids["address"],
        "shipment_address": erp.ids["address"],
        "lines": [["create", lines]],
    }


def _populate(folder: Path, server: Server) -> None:
    with server.connect() as connection:
        connection.execute(f'create database "{_PRISTINE}"')
    admin = [str(folder / "venv/bin/trytond-admin"), "-d", _PRISTINE]
    with tempfile.TemporaryDirectory(prefix="hub-tryton-") as home:
        environment = _environment(server, Path(home)) | {"TRYTONPASSFILE": str(folder / "password")}
        _run([*admin, "--all", "--email", "admin@example.test"], environment, _ACTIVATE_SECONDS)
        _run([*admin, "-u", *MODULES, "--activate-dependencies"], environment, _ACTIVATE_SECONDS)
    # One process: what one process is told, the other's caches learn only minutes later.
    with _gunicorn(folder, server, _PRISTINE, 1) as (port, _), contextlib.closing(Session(port, _PRISTINE)) as session:
        session.login(USER, _password(folder))
        _set_up(session, _password(folder))


def _set_up(session: Session, password: str) -> None:
    """A company that counts in yuan, one customer, and the goods of the benchmark."""
    rate = {"rate": Decimal(1)}
    currency = {"name": "Yuan", "code": "CNY", "symbol": "¥", "rates": [["create", [rate]]]}
    (money,) = session.find("currency.currency", ["code", "=", "CNY"]) or session.ask(
        "currency.currency", "create", [currency]
    )
    (shop,) = session.ask("party.party", "create", [{"name": "Shop"}])
    (company,) = session.ask("company.company", "create", [{"party": shop, "currency": money}])
    session.ask("res.user", "write", [session.user], {"companies": [["add", [company]]], "company": company})
    session.login(USER, password)
    address = {"street": "示例路1号", "city": "杭州市"}
    session.ask("party.party", "create", [{"name": "Customer", "addresses": [["create", [address]]]}])
    (unit,) = session.find("product.uom", ["symbol", "=", "u"])
    items = [
        {
            "name": f"Goods {number}",
            "type": "goods",
            "salable": True,
            "default_uom": unit,
            "sale_uom": unit,
            "list_price": Decimal("10.00"),
            "products": [["create", [{"suffix_code": f"X-{number}"}]]],
        }
        for number in range(goods.SKUS)
    ]
    session.ask("product.template", "create", items)


def _find_ids(session: Session) -> dict[str, int]:
    party = session.find("party.party", ["name", "=", "Customer"])[0]
    return {
        "party": party,
        "address": session.find("party.address", ["party", "=", party])[0],
        "company": session.find("company.company")[0],
        "currency": session.find("currency.currency", ["code", "=", "CNY"])[0],
        "unit": session.find("product.uom", ["symbol", "=", "u"])[0],
    }


def _find_products(session: Session) -> dict[str, int]:
    ids = session.find("product.product")
    return {row["code"]: row["id"] for row in session.ask("product.product", "read", ids, ["code"])}


@contextlib.contextmanager
def _gunicorn(folder: Path, server: Server, database: str, workers: int) -> Iterator[tuple[int, int]]:
    """Its port and its process id."""
    port = free_port()
    command = [str(folder / "venv/bin/gunicorn"), "--workers", str(workers), "--bind", f"127.0.0.1:{port}"]
    command += ["--no-control-socket", "--timeout", "120", "trytond.application:app"]
    log = folder / "gunicorn.log"
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="hub-tryton-") as home:
        environment = _environment(server, Path(home)) | {"TRYTOND_DATABASE_NAMES": database}
        with running(command, folder=folder, environment=environment, log=log) as process:
            # The socket listens before a worker has loaded anything: only an answer means that one is there.
            wrong = wait_until(lambda: _answers(port), process, log, seconds=_READY_SECONDS)
            if wrong:
                raise TrytonError(f"Tryton does not serve: {wrong}")
            yield port, process.pid


def _answers(port: int) -> bool:
    with contextlib.closing(Session(port, "")) as session:
        session.path = "/rpc/"
        return bool(session.call("common.server.version"))


def _environment(server: Server, home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {
        "HOME": str(home),
        "PGHOST": str(server.folder),
        "PGPORT": str(server.port),
        "TRYTOND_DATABASE__URI": "postgresql://postgres@/",
    }


def _write_password(folder: Path) -> None:
    with os.fdopen(os.open(folder / "password", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(18))


def _password(folder: Path) -> str:
    return (folder / "password").read_text()


def _recipe_hash() -> str:
    version = _run([str(find_binaries() / "postgres"), "--version"], dict(os.environ), 30)
    told = json.dumps([LOCK.read_text(), MODULES, goods.SKUS, version.split(".")[0], sys.version_info[:2]])
    return hashlib.sha256(told.encode()).hexdigest()


def _run(command: list[str], environment: dict[str, str], seconds: int) -> str:
    name = " ".join([Path(command[0]).name, *command[1:3]])
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise TrytonError(f"{name}: {fault}") from fault
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise TrytonError(f"{name} ended with {done.returncode}: {lines[-1][:300] if lines else 'it said nothing'}")
    return done.stdout
