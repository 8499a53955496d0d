"""The indexed sweep: for every N, a world of its own, a pass killed at its N-th write, a restart, a verdict.

`python -m tests.journeys.crash_sweep --database sqlite|postgresql [--kinds findable] [--first 1] [--last N] [--step 1]`
prints one JSON object and ends with status 1 when anything is wrong at any point."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import storage.queue  # noqa: F401 - every point is two forks: what they would all load is loaded before
from connectors._channel import Document
from normalizer import divisions
from normalizer.phone import read_phone
from outbound._warehouse import warehouses
from pipeline import pull
from pipeline.bootstrap import Hub, close_hub, open_hub
from rules.language import default_ruleset
from storage.cursors import save_cursor
from storage.database import migrate
from storage.rows import Row
from tests.postgres import Server, run_server
from wire.client import Client

from .crash_pass import Points, configure, forget_overlaps, later, run_pass, small_settings
from .crash_verdict import recover
from .crash_world import KINDS, LATE, World, forked, open_world

# A dead reader's or sender's rows are taken over when its lease ends.
DOWN_SECONDS = 61.0
_LIMIT = 40.0
_TEMPLATE = "crash_template"


@dataclass(slots=True)
class Verdict:
    """What became of one point: its number, the write at which the pass was killed, what was wrong after the restart."""

    point: int
    kind: str
    name: str = ""
    killed: bool = False
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lab:
    """Where points are tried: fresh migrated databases, and how many seconds a restart may take to come to rest."""

    folder: Path
    server: Server | None
    patience: float

    @contextmanager
    def fresh(self, point: int) -> Iterator[tuple[Path, str]]:
        """A folder and the address of a database of its own for one point."""
        folder = self.folder / f"point-{os.getpid()}-{point}"
        folder.mkdir()
        name = f"crash_{os.getpid()}_{point}"
        try:
            if self.server is None:
                shutil.copyfile(self.folder / "template.db", folder / "hub.db")
                yield folder, f"sqlite:///{folder / 'hub.db'}"
                return
            with self.server.connect() as connection:
                connection.execute(f"create database {name} template {_TEMPLATE} strategy file_copy")
            yield folder, self.server.url(name)
            with self.server.connect() as connection:
                connection.execute(f"drop database {name} with (force)")
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(
    database: str, kinds: Sequence[str], *, step: int, first: int, last: int, patience: float, workers: int
) -> list[Verdict]:
    """Every `step`-th point of the pass from `first` to `last`; each kind of warehouse has a pass of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-crash-")))
        server = stack.enter_context(run_server()) if database == "postgresql" else None
        lab = Lab(folder, server, patience)
        _build_template(lab)
        forget_overlaps()
        _warm()
        plan = [(kind, 0) for kind in kinds]
        _work(lab, plan, workers)
        whole = _verdicts(folder)
        lengths = {verdict.kind: int(verdict.name or 0) for verdict in whole}
        plan = [(kind, point) for kind in kinds for point in range(first, min(last, lengths[kind]) + 1, step)]
        _work(lab, plan, workers)
        return _verdicts(folder)


def run_point(lab: Lab, kind: str, point: int) -> Verdict:
    """Kill one pass at one point, restart, judge. Point 0 is never reached: its name is the length of the pass."""
    verdict, began = Verdict(point, kind), time.monotonic()
    with lab.fresh(point) as (folder, url), open_world(kind) as world:
        names = folder / "names"
        ended = _wait(forked(lambda: _pass(folder, url, world, names, point)))
        told = names.read_text().splitlines() if names.exists() else []
        verdict.killed = ended == -signal.SIGKILL
        verdict.name = told[-1] if verdict.killed and told else str(len(told))
        if not verdict.killed and ended != 0:
            verdict.faults.append(f"the pass itself ended with {ended}")
        if point % 2:
            # Every other time the buyer cancels while nobody is there.
            world.cancel(LATE)
        world.step_clock(DOWN_SECONDS)
        answer = folder / "answer"
        ended = _wait(forked(lambda: _restart(folder, url, world, answer, lab.patience)))
        verdict.faults += json.loads(answer.read_text()) if ended == 0 else [f"the restart ended with {ended}"]
    verdict.seconds = round(time.monotonic() - began, 2)
    return verdict


def _pass(folder: Path, url: str, world: World, names: Path, point: int) -> None:
    faulthandler.dump_traceback_later(_LIMIT, exit=True)
    settings = small_settings(folder, url, news_seconds=0.05)
    configure(settings, world)
    run_pass(settings, world, Points(os.open(names, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), point))


def _restart(folder: Path, url: str, world: World, answer: Path, patience: float) -> None:
    faulthandler.dump_traceback_later(_LIMIT, exit=True)
    hub = open_hub(small_settings(folder, url, news_seconds=0.05), clock=later(DOWN_SECONDS), migrated=True)
    answer.write_text(json.dumps(recover(hub, world, seconds=patience)))
    close_hub(hub)


def _wait(pid: int) -> int:
    """How a child ended: its exit status, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _build_template(lab: Lab) -> None:
    """Migrate once; every point copies. In a child, so that this process never had an engine."""

    def build() -> None:
        if lab.server is not None:
            with lab.server.connect() as connection:
                connection.execute(f"create database {_TEMPLATE}")
            migrate(lab.server.url(_TEMPLATE))
            return
        from pysqlite3 import dbapi2

        path = lab.folder / "template.db"
        migrate(f"sqlite:///{path}")
        connection = dbapi2.connect(str(path))
        connection.execute("pragma wal_checkpoint(truncate)").close()
        connection.close()

    if _wait(forked(build)) != 0:
        raise RuntimeError("the template could not be built")


def _sabotage() -> None:
    """Make the hub save a cursor before the rows it moved over: the fault that a sweep has to find and random kills miss."""
    store = pull.store_documents

    def store_late(hub: Hub, account_id: int, documents: Sequence[Document], cursor: Row | None = None) -> int:
        if cursor is not None:
            with hub.write() as tx:
                save_cursor(tx, cursor)
        return store(hub, account_id, documents)

    cast(Any, pull).store_documents = store_late


def _warm() -> None:
    """Read once what every child would read again: it is the same for all of them."""
    divisions.table()
    warehouses()
    default_ruleset()
    for country in ("CN", "US", "DE", "GB"):
        read_phone("13800000000", country)
    Client().close()
    gc.collect()
    gc.freeze()


def _work(lab: Lab, plan: Sequence[tuple[str, int]], workers: int) -> None:
    """Share the points between processes; each writes its verdicts to a file of its own."""

    def run(mine: Sequence[tuple[str, int]]) -> None:
        with (lab.folder / f"verdicts-{os.getpid()}").open("w") as file:
            for kind, point in mine:
                try:
                    verdict = run_point(lab, kind, point)
                except Exception:  # noqa: BLE001 - one point's trouble is that point's verdict
                    verdict = Verdict(point, kind, faults=[traceback.format_exc()[-2000:]])
                print(json.dumps(asdict(verdict)), file=file, flush=True)
                if verdict.faults:
                    print(verdict, file=sys.stderr, flush=True)

    pids = [forked(lambda at=at: run(plan[at::workers])) for at in range(min(workers, len(plan)))]  # type: ignore[misc]
    for pid in pids:
        if _wait(pid) != 0:
            raise RuntimeError("a worker of the sweep failed")


def _verdicts(folder: Path) -> list[Verdict]:
    lines = [line for path in folder.glob("verdicts-*") for line in path.read_text().splitlines()]
    return sorted((Verdict(**json.loads(line)) for line in lines), key=lambda each: (each.kind, each.point))


def report(verdicts: Sequence[Verdict], seconds: float) -> dict[str, Any]:
    """The sums, and every point at which something was wrong."""
    return {
        "passes": {each.kind: int(each.name) for each in verdicts if each.point == 0},
        "points": sum(each.point > 0 for each in verdicts),
        "killed": sum(each.killed for each in verdicts),
        "violations": sum(len(each.faults) for each in verdicts),
        "seconds": round(seconds, 1),
        "faulty": [asdict(each) for each in verdicts if each.faults],
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.journeys.crash_sweep")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--kinds", default="findable", help=f"of {','.join(KINDS)}")
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, default=100_000)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds a restart may take to come to rest")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sabotage", action="store_true", help="break the hub, to see whether the sweep notices")
    args = parser.parse_args()
    if args.sabotage:
        _sabotage()
    began = time.monotonic()
    kinds = args.kinds.split(",")
    plan = {name: getattr(args, name) for name in ("step", "first", "last", "patience", "workers")}
    verdicts = sweep(args.database, kinds, **plan)
    told = report(verdicts, time.monotonic() - began)
    print(json.dumps(told, ensure_ascii=False, indent=1))
    sys.exit(1 if told["violations"] else 0)


if __name__ == "__main__":
    main()
