"""One small world for all stories about many machines: a primary and a synchronous standby, a sandbox behind gauges, an API,
and three workers on three hosts, or in this one where there can be no hosts."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.demo import configure, introduction, place_orders, serving
from bench.gauge import Gauge, gauged
from bench.hosts import Hosts, hosts, missing
from bench.ledgers import Report, call
from bench.machines import Machine, jobs_of, machine_settings, machines, until_accounted
from bench.postgres import FAST, Server, copy_folder, init_folder, start_server
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.settings import Settings
from sandbox import Running
from sandbox import start as start_sandbox
from storage.rows import Row

CALLS = 4
_PAIR = (*[each for each in FAST if "synchronous_commit" not in each], "wal_retrieve_retry_interval=100ms")


@dataclass(slots=True)
class World:
    """`placed` orders so far; `report` of the last `settle`."""

    settings: Settings
    hub: Hub
    box: Running
    gauges: dict[str, Gauge]
    workers: list[Machine]
    hosts: Hosts | None
    servers: list[Server]
    placed: int = 0
    seed: int = 0

    def place(self, count: int) -> None:
        """Buyers order."""
        self.seed += 1
        place_orders(self.box, count, self.seed)
        self.placed += count

    def settle(self, seconds: float = 40.0) -> Report:
        """Wait until every order so far has gone all its way."""
        return until_accounted(self.hub, self.box, self.placed, seconds=seconds)

    def jobs(self, worker: Machine) -> list[Row]:
        """What this worker holds."""
        return jobs_of(self.hub, worker)

    def until_busy(self, worker: Machine, seconds: float = 10.0) -> bool:
        """Wait until this worker holds a job; False if it got none."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.jobs(worker):
                return True
            time.sleep(0.01)
        return False

    def restart_database(self) -> None:
        """The primary crashes, and comes back a moment later."""
        primary = self.servers[0]
        primary.stop(signal.SIGQUIT)
        time.sleep(0.3)
        self.servers[0] = start_server(primary.folder, _settings(self.hosts), primary.port)

    def promote(self) -> None:
        """The primary is killed, its standby takes over."""
        self.servers[0].stop(signal.SIGQUIT)
        with self.servers[1].connect() as connection:
            connection.execute("select pg_promote()")


def faults_of(world: World, report: Report) -> list[str]:
    """What is wrong with a report of this world: lost, doubled, not told to its shop, lanes too full."""
    found = list(report.faults)
    counts = {name: getattr(report, name) for name in ("lost", "duplicated", "unaccounted")}
    found += [f"{name}: {count}" for name, count in counts.items() if count]
    confirmed = sum(told.confirmed for told in report.channels.values())
    if confirmed != world.placed:
        found.append(f"{confirmed} of {world.placed} confirmed")
    found += [f"{name}: {gauge.most} at once" for name, gauge in world.gauges.items() if gauge.most > CALLS]
    return found


@contextlib.contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """Everything up and configured, workers started, nothing ordered yet."""
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(hosts(3)) if missing() is None else None
        outside = place.address if place else "127.0.0.1"
        servers = _open_pair(stack, place)
        names = ",".join(outside if place else str(each.folder) for each in servers)
        ports = ",".join(str(each.port) for each in servers)
        url = f"postgresql+psycopg://postgres@/hub?host={names}&port={ports}&target_session_attrs=read-write&application_name=throwaway"
        box = stack.enter_context(start_sandbox(seed=1, faults="none", mix="plain", tempo=0.2))
        settings = machine_settings(folder, url, calls=CALLS)
        hub = open_hub(settings)
        stack.callback(close_hub, hub)
        peers = {"taobao": box.taobao["url"], "shopify": box.shopify["url"]}
        peers |= {each["code"]: box.qimen["url"] for each in box.qimen["warehouses"]}
        gauges = {name: stack.enter_context(gauged(peer, delay=0.02, host=outside)) for name, peer in peers.items()}
        configure(hub, box, {name: gauge.url for name, gauge in gauges.items()})
        port = stack.enter_context(serving(hub))
        call(box, "hub", introduction(box, port))
        workers = stack.enter_context(machines(settings, 3, place.names if place else ()))
        yield World(settings, hub, box, gauges, workers, place, servers)


def _open_pair(stack: contextlib.ExitStack, place: Hosts | None) -> list[Server]:
    """A primary that acknowledges a commit when its standby has it, and that standby."""
    first = init_folder()
    servers, folders = list[Server](), [first]
    stack.callback(_clear, servers, folders)
    with (first / "data" / "pg_hba.conf").open("a") as file:
        file.write("host all all 10.213.0.0/16 trust\n")
    servers.append(start_server(first, _settings(place)))
    with servers[0].connect() as connection:
        connection.execute("create database hub")
    second = copy_folder(servers[0], "second")
    folders.append(second)
    servers.append(start_server(second, _settings(place), 5433))
    with servers[0].connect() as connection:
        connection.execute("alter system set synchronous_standby_names = '*'")
        connection.execute("select pg_reload_conf()")
    return servers


def _clear(servers: list[Server], folders: list[Path]) -> None:
    for server in reversed(servers):
        server.stop()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(place: Hosts | None) -> tuple[str, ...]:
    return (*_PAIR, f"listen_addresses={place.address}") if place else _PAIR
