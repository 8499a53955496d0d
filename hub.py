"""The command line: everything an operator does without a browser. `python hub.py --help`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from domain.errors import ConfigError, HubError
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.settings import load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
screen = Console(stderr=True)
_LOOK = 0.2  # seconds between two looks whether a signal came

rules = typer.Typer(
    no_args_is_help=True, help="Versions of the rules: draft, replay on past orders, approve, arm, roll back."
)
app.add_typer(rules, name="rules")
orders_app = typer.Typer(invoke_without_command=True)
app.add_typer(orders_app, name="orders")
tables = typer.Typer(no_args_is_help=True, help="Rules of one phase as a spreadsheet.")
rules.add_typer(tables, name="table")

Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
Key = Annotated[str, typer.Option("--key", envvar="HUB_STAFF_KEY", help="your clerk's or admin's key: who does it")]
Reason = Annotated[str, typer.Option("--reason", help="for the log")]


def main() -> None:
    """Run a command; an error of ours is one clear line and exit status 1."""
    with _speaking():
        app()


@contextlib.contextmanager
def _speaking() -> Iterator[None]:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        yield
    except HubError as error:
        screen.print(f"[red]{error.code}[/red] {error.detail}", highlight=False)
        sys.exit(1)


@app.command()
def apply(file: Path, as_json: Json = False) -> None:
    """Load accounts, warehouses, partners, keys, listings and stock from a TOML or CSV file. Applied twice, it changes nothing."""
    from pipeline.apply import apply_file

    with _hub() as hub:
        _print(apply_file(hub, file).changed, as_json)


@app.command()
def check(as_json: Json = False) -> None:
    """Validate the configuration and try every connection."""
    from pipeline.connections import check_connections

    with _hub() as hub:
        results = check_connections(hub)
    _print(results, as_json)
    if any(result != "ok" for result in results.values()):
        raise typer.Exit(1)


@app.command()
def serve(
    port: int = 8000,
    host: str = "127.0.0.1",
    workers: Annotated[bool, typer.Option(help="also run the timed jobs in this process")] = True,
    docs: Annotated[bool, typer.Option(help="offer the API documentation at /docs")] = True,
    jobs: Annotated[str, typer.Option(help="only these timed jobs, by comma, or none: the others run elsewhere")] = "",
    fd: Annotated[
        int | None, typer.Option(help="serve on this inherited listening socket, which several processes may share")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="so many processes answer, a core each; the timed jobs get one of their own")
    ] = 1,
) -> None:
    """API, console, scheduler and workers in one process; or API and console in several, and the timed jobs in one of their own."""
    names = [] if jobs.strip() == "none" else _names(jobs)
    runs = workers and jobs.strip() != "none"
    if processes > 1:
        _serve_together(processes, host, port, fd, docs=docs, names=names if runs else None)
    else:
        _serve_here(host=host, port=port, fd=fd, docs=docs, names=names if runs else None)


def _serve_here(
    *, docs: bool, names: list[str] | None, host: str = "", port: int = 0, fd: int | None = None, listener: Any = None
) -> None:
    """Serve on an address or on a listening socket until told to stop, with the timed jobs of these names ([]: all; None: none)."""
    import uvicorn

    import scheduler
    from api.app import create_app
    from api.heads import closing_slow_heads
    from console.app import create_console

    with _hub() as hub:
        site = create_app(hub, docs=docs)
        site.mount("/", create_console(hub))
        config = uvicorn.Config(
            site, host=host, port=port, fd=fd, log_level="warning", access_log=False, server_header=False
        )
        server = uvicorn.Server(config)
        config.callback_notify, config.timeout_notify = closing_slow_heads(lambda: server.server_state.connections), 1
        # The server raises the signal once more when it has answered what it had: the work after it must still be done.
        _on_stop(lambda: None)
        runner = scheduler.keep_only(hub) if names is None else scheduler.start(hub, names)
        try:
            server.run(sockets=None if listener is None else [listener])
        finally:
            runner.stop()


def _serve_together(
    processes: int, host: str, port: int, fd: int | None, *, docs: bool, names: list[str] | None
) -> None:
    """So many processes that answer on one socket, and one for the timed jobs of these names."""
    import uvicorn

    from api.processes import Task, keep_running

    with _hub():
        pass  # what is wrong is said once, and one process brings the schema up to date
    config = uvicorn.Config("", host=host, port=port, fd=fd, log_level="warning")
    listener = config.bind_socket()
    serving = [Task(f"serve {number + 1}", _serve_beside, (listener, docs)) for number in range(processes)]
    keep_running([*serving, *([] if names is None else [Task("work", _work_beside, (",".join(names),))])])


def _serve_beside(listener: Any, docs: bool) -> None:
    with _speaking():
        _serve_here(docs=docs, names=None, listener=listener)


def _work_beside(jobs: str) -> None:
    with _speaking():
        work(once=False, jobs=jobs)


@app.command()
def sync(account: str = typer.Argument(""), once: bool = typer.Option(False, "--once"), as_json: Json = False) -> None:
    """Read one account (or all that are due) now and absorb what comes."""
    from pipeline.absorb import absorb_all
    from pipeline.directory import read_directory
    from pipeline.pull import pull_due

    with _hub() as hub:
        while True:
            with hub.read() as tx:
                account_id = read_directory(hub, tx).account(account).id if account else None
            with _busy(f"reading {account or 'every account'}"):
                new = pull_due(hub, account_id=account_id)
                absorbed = absorb_all(hub)
            _print({"new_documents": new, "absorbed": absorbed}, as_json)
            if once:
                return
            time.sleep(hub.settings.poll_seconds)


@app.command()
def work(
    once: bool = typer.Option(False, "--once"),
    jobs: Annotated[str, typer.Option(help="only these timed jobs, by comma: the others run elsewhere")] = "",
    as_json: Json = False,
) -> None:
    """Run the timed jobs: on PostgreSQL in turns with any number of other such processes, on SQLite all of them here; with
    --once until nothing is due."""
    import scheduler

    with _hub() as hub:
        if once:
            with _busy("working"):
                done = scheduler.run_once(hub)
            _print(done, as_json)
            return
        told: list[bool] = []
        _on_stop(lambda: told.append(True))
        runner = scheduler.start(hub, _names(jobs))
        # No lock: a signal that comes just before the wait for one does not end it, and one that comes while a handler holds it
        # waits for itself.
        while not told:
            time.sleep(_LOOK)
        runner.stop()


@orders_app.callback()
def orders(
    context: typer.Context,
    status: str = "",
    account: str = "",
    search: str = "",
    after: str = "",
    limit: int = 50,
    as_json: Json = False,
) -> None:
    """List orders, newest change last; or explain one."""
    from pipeline.views import list_orders

    if context.invoked_subcommand is not None:
        return
    with _hub() as hub:
        page = list_orders(hub, status=status, account=account, search=search, after_cursor=after, limit=limit)
    _print(page, as_json)


@orders_app.command("explain")
def explain_order(
    number: str,
    instead: Annotated[
        str, typer.Option(help="why not: warehouse=NAME, rule=ID, carrier=NAME or release, and what would change it")
    ] = "",
    as_json: Json = False,
) -> None:
    """Why an order was decided as it was: what fired and what every condition saw; and why not otherwise."""
    from pipeline.explanation import explain_order, show_lines
    from pipeline.order_view import order_id_of

    with _hub() as hub:
        told = explain_order(hub, order_id_of(hub, number), instead)
    if as_json:
        _print(told, as_json)
    else:
        sys.stdout.write("\n".join(show_lines(told)) + "\n")


@app.command()
def exceptions(code: str = "", state: str = "open", after: str = "", limit: int = 50, as_json: Json = False) -> None:
    """List exceptions."""
    from pipeline.views import list_exceptions

    with _hub() as hub:
        page = list_exceptions(hub, state=state, code=code, after=after, limit=limit)
    _print(page, as_json)


@app.command()
def demo(
    orders: int = 200,
    seed: int = 1,
    faults: str = typer.Option("none", help="none, some or storm"),
    mix: str = typer.Option("full", help="full or plain"),
    database: str = typer.Option("", help="a database URL, or the word postgresql; a temporary SQLite file by default"),
    serve: bool = typer.Option(False, "--serve", help="keep running with the console"),
    port: int = 8000,
    as_json: Json = False,
) -> None:
    """Run the whole life of N orders against a sandbox and compare the ledgers of both ends with the hub."""
    if serve:
        from bench.showcase import run_showcase

        run_showcase(orders=orders, seed=seed, faults=faults, port=port)
        return
    from bench.demo import run_demo
    from bench.postgres import named_database

    with _busy(f"{orders} orders, faults: {faults}"), named_database(database) as url:
        report = run_demo(orders=orders, seed=seed, faults=faults, mix=mix, database=url, apart=True)
    if as_json:
        sys.stdout.write(report.as_json() + "\n")
    else:
        screen.print_json(report.as_json())
    if not report.good:
        raise typer.Exit(1)


@app.command()
def bench(
    what: str = typer.Argument(
        "life",
        help="absorb: stored documents to decided orders; api: orders posted over HTTP, one by one and in "
        "batches; life: plain orders through the whole life cycle, the sandbox on the same cores; "
        "rules: 30 rules on one order; claims: orders that compete for the last piece; "
        "replay: a draft tried on that many generated past orders; "
        "scale: the life cycle with several workers on PostgreSQL; "
        "peers: bulk intake beside Tryton and the life cycle beside Vendure, which it installs; "
        "list: every list and search with that many stored orders; "
        "growth: cost, pages and bytes per order up to --orders; memory: the most held while --orders are absorbed",
    ),
    orders: int = typer.Option(0, min=0, help="how many; 0: as many as give steady figures in some minutes"),
    seed: int = 1,
    rounds: int = typer.Option(0, min=0, help="claims: how many last pieces (1000); peers: how many rounds (5)"),
    claims: int = typer.Option(100, min=2, help="claims: how many orders want each"),
    database: str = typer.Option(
        "",
        help="a database URL, or the word postgresql for a server from the packages; a temporary SQLite file by default "
        "(claims: besides it)",
    ),
    workers: str = typer.Option("1,2,4", help="scale: how many workers, by comma"),
    chaos: bool = typer.Option(False, "--chaos", help="scale: workers are killed and frozen meanwhile"),
    processes: int = typer.Option(2, min=1, help="api: how many processes serve"),
    folder: str = typer.Option("", help="peers: where Tryton and Vendure are installed, .live by default"),
    as_json: Json = False,
) -> None:
    """Measure. `value` is what the name says (orders or rounds per second, microseconds, seconds), `floor` and `ratio` tell what
    could be had at best in the same run; exit status 1 when something was lost, doubled or wrong."""
    from bench.measures import Choice, measure, table_of

    choice = Choice(orders, seed, rounds, claims, database, workers, chaos=chaos, folder=folder, processes=processes)
    with _busy(f"measuring {what}"):
        told = measure(what, choice)
    if lines := () if as_json else table_of(told):
        sys.stdout.write("\n".join(lines) + "\n")
    else:
        _print(told, as_json)
    if not told["good"]:
        raise typer.Exit(1)


@app.command()
def live(orders: int = 50, seed: int = 1, faults: str = "none", database: str = "", as_json: Json = False) -> None:
    """Run against a real Vendure shop (Node 20 and npm; skipped without them) and ask the shop how its orders ended."""
    from bench.live import missing, run_live
    from bench.postgres import named_database

    if (reason := missing()) is not None:
        screen.print(f"live: skipped: {reason}")
        return
    with _busy(f"{orders} orders of a real shop"), named_database(database) as url:
        report = run_live(orders=orders, seed=seed, faults=faults, database=url, say=screen.print)
    if as_json:
        sys.stdout.write(report.as_json() + "\n")
    else:
        screen.print_json(report.as_json())
    if not report.good:
        raise typer.Exit(1)


@rules.command("list")
def list_rules(as_json: Json = False) -> None:
    """Every version with its state and who wrote and approved it."""
    from pipeline.rulesets import list_versions

    with _hub() as hub:
        _print(list_versions(hub), as_json)


@rules.command("show")
def show_rules(version: str, as_json: Json = False) -> None:
    """One version: document, faults, guard rails, replay, log."""
    from pipeline.rulesets import show_version

    with _hub() as hub:
        _print(show_version(hub, version), as_json)


@rules.command("draft")
def draft_rules(
    file: Path,
    rails: Annotated[str, typer.Option(help='guard rails as JSON, such as {"holds_up_percent": 5}')] = "{}",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Store a ruleset file as a draft; one that loads is validated at once."""
    from pipeline.rulesets import read_file, read_told, write_draft

    with _hub() as hub:
        _print(write_draft(hub, read_file(file), actor=_who(hub, key), rails=read_told(rails)), as_json)


@rules.command("validate")
def validate_rules(version: str, key: Key = "", as_json: Json = False) -> None:
    """Check a draft again; every fault has a path and a reason."""
    from pipeline.rulesets import validate_version

    with _hub() as hub:
        _print(validate_version(hub, version, actor=_who(hub, key)), as_json)


@rules.command("replay")
def replay_rules(
    version: str,
    last: Annotated[int, typer.Option(help="on how many orders, the newest decisions first")] = 50_000,
    since: Annotated[
        str, typer.Option(help="only decisions from this time on, such as 2026-11-11T00:00:00+08:00")
    ] = "",
    against: Annotated[str, typer.Option(help="own: the ruleset of their time; armed: the one in force now")] = "own",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Try a version on past orders and show the difference; kept for its approval when a key says who did it."""
    from pipeline.rulesets import read_moment, replay_version

    with _hub() as hub:
        who = _who(hub, key) if key else ""
        with _busy(f"replaying up to {last} orders"):
            told = replay_version(
                hub, version, actor=who, last=last, since=read_moment(since) if since else 0, against=against
            )
    _print(told, as_json)


@rules.command("approve")
def approve_rules(
    version: str,
    override: Annotated[str, typer.Option(help="why it is all right that guard rails are broken")] = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Agree, as a second person, with what the replay showed."""
    from pipeline.rulesets import approve_version

    with _hub() as hub:
        _print(approve_version(hub, version, actor=_who(hub, key), override=override), as_json)


@rules.command("arm")
def arm_rules(
    version: str,
    at: Annotated[str, typer.Option(help="from when on, such as 2026-11-11T00:00:00+08:00; default now")] = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Put an approved version in force."""
    from pipeline.rulesets import arm_version, read_moment

    with _hub() as hub:
        _print(arm_version(hub, version, actor=_who(hub, key), at=read_moment(at) if at else None), as_json)


@rules.command("retire")
def retire_rules(version: str, reason: Reason = "", key: Key = "", as_json: Json = False) -> None:
    """Give up a version that does not decide yet."""
    from pipeline.rulesets import retire_version

    with _hub() as hub:
        _print(retire_version(hub, version, actor=_who(hub, key), reason=reason), as_json)


@rules.command("rollback")
def rollback_rules(reason: Reason = "", key: Key = "", as_json: Json = False) -> None:
    """Put the version before in force again, at once."""
    from pipeline.rulesets import roll_back

    with _hub() as hub:
        was, now = roll_back(hub, actor=_who(hub, key), reason=reason)
    _print({"was": was, "now": now}, as_json)


@rules.command("export")
def export_rules(version: str, as_json: Json = False) -> None:
    """A version with its guard rails, to take to another installation."""
    from pipeline.rulesets import export_version

    with _hub() as hub:
        _print(export_version(hub, version), as_json)


@rules.command("import")
def import_rules(file: Path, key: Key = "", as_json: Json = False) -> None:
    """Store an exported version as a draft."""
    from pipeline.rulesets import import_version, read_file

    with _hub() as hub:
        _print(import_version(hub, read_file(file), actor=_who(hub, key)), as_json)


@rules.command("library")
def library(name: str = typer.Argument(""), as_json: Json = False) -> None:
    """Ready rulesets to start from: all of them, or the document of one."""
    from pipeline.rule_library import list_ready, read_ready

    if not name:
        _print(list_ready(), as_json)
        return
    sys.stdout.write(read_ready(name).decode())


@tables.command("export")
def export_rule_table(
    version: str,
    file: Path,
    phase: Annotated[str, typer.Option(help="route, carrier, hold or tag")],
    form: Annotated[str, typer.Option("--format", help="csv or xlsx; default: as the file is named")] = "",
    as_json: Json = False,
) -> None:
    """Write the rules of one phase to a file for a spreadsheet."""
    from pipeline.rule_tables import export_table

    with _hub() as hub:
        table = export_table(hub, version, phase, form or file.suffix.removeprefix(".").lower())
    try:
        file.write_bytes(table)
    except OSError as error:
        raise ConfigError("ruleset_file", f"{file.name}: {error.strerror or error}") from None
    _print({"file": str(file), "bytes": len(table)}, as_json)


@tables.command("import")
def import_rule_table(
    version: str,
    file: Path,
    phase: Annotated[str, typer.Option(help="route, carrier, hold or tag")],
    name: Annotated[str, typer.Option("--as", help="the new version; default: the old one's name with a number")] = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Make a new draft of a version, with the rules of one phase as a spreadsheet has them."""
    from pipeline.rule_tables import import_table
    from pipeline.rulesets import read_file

    with _hub() as hub:
        row = import_table(hub, version, phase, read_file(file), actor=_who(hub, key), name=name)
    _print(row, as_json)


def _who(hub: Hub, key: str) -> str:
    from pipeline.rulesets import staff_actor

    return staff_actor(hub, key)


class _Opened:
    def __enter__(self) -> Hub:
        self.hub = open_hub(load_settings())
        return self.hub

    def __exit__(self, *_: object) -> None:
        close_hub(self.hub)


def _names(text: str) -> list[str]:
    """Names of timed jobs. ConfigError `job_unknown`."""
    import scheduler

    names, known = [name.strip() for name in text.split(",") if name.strip()], [job.name for job in scheduler.JOBS]
    for name in names:
        if name not in known:
            raise ConfigError("job_unknown", f"there is no job {name}: {', '.join(known)}")
    return names


def _on_stop(stop: Callable[[], object]) -> None:
    """SIGTERM and Ctrl-C ask for an end instead of being one: what is claimed is finished or given back."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def _hub() -> _Opened:
    return _Opened()


def _busy(what: str) -> Progress:
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=screen, transient=True
    )
    progress.add_task(what, total=None)
    return progress


def _print(value: Any, as_json: bool) -> None:
    text = json.dumps(
        dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value,
        ensure_ascii=False,
    )
    if as_json:
        sys.stdout.write(text + "\n")
    else:
        Console().print_json(text)


if __name__ == "__main__":
    main()
