"""`hub.py bench peers`: the hub beside software that does part of the same work, by turns in the same run. Tryton, an ERP, takes
orders in bulk over HTTP; Vendure, a shop, leads orders through their whole life. Both are installed in an ignored folder."""

from __future__ import annotations

import contextlib
import http.client
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from domain.errors import HubError
from sandbox.live.shop import Shop, ShopError, Variant, available
from sandbox.live.shop import prepare as prepare_vendure
from sandbox.live.shop import start as start_vendure

from . import intake, tryton, vendure
from .demo import ANY_POINTS, run_demo
from .postgres import OWN_SERVER, Server, own_database
from .processes import cpu_seconds
from .tryton_rpc import TrytonError

INTAKE_BAR, LIFE_BAR = 5.0, 25.0
FOLDER = Path(__file__).parents[1] / ".live"
_LIFE_SHARE = 25  # Vendure gets one order for so many of the hub's: it should take about as long
_MOST_LIVES = 60  # a round, so that the sample shop's stock lasts
_SINGLE_SHARE = 10
_WARM_LIVES = 100
_FAULTS = (
    TrytonError,
    ShopError,
    HubError,
    OSError,
    http.client.HTTPException,
    RuntimeError,
    ValueError,
    psycopg.Error,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One round: orders per second of the peer and of the hub."""

    peer: float
    ours: float


@dataclass(frozen=True, slots=True)
class Course:
    """What was asked for: orders a round of the hub, the first seed, rounds, the hub's database, where the peers live."""

    orders: int
    seed: int
    rounds: int
    database: str
    folder: Path


def run_peers(*, orders: int, seed: int, rounds: int, database: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Measure both. `value` and `floor` are medians of orders per second in calls of fifty, the hub's and Tryton's; a peer that
    cannot run here says why under `skipped`, and then nothing is good."""
    course = Course(orders, seed, rounds, database, folder)
    bulk = attempt("tryton", tryton.missing, lambda: tryton.prepare(folder / "tryton"), lambda: _intake(course))
    life = attempt("vendure", available, lambda: prepare_vendure(folder / "vendure"), lambda: _life(course))
    return build_report(bulk, life, database)


def build_report(bulk: Mapping[str, Any], life: Mapping[str, Any], database: str) -> dict[str, Any]:
    """The whole report from the two parts; good if both were measured, nothing is missing on any side, and both bars hold."""
    parts = {"tryton": bulk, "vendure": life}
    return {
        "bench": "peers",
        "unit": "orders/s",
        "value": bulk.get("value"),
        "floor": bulk.get("floor"),
        "ratio": bulk.get("ratio"),
        "database": database.split(":", 1)[0] or "sqlite",
        **parts,
        "skipped": [f"{name}: {part['skipped']}" for name, part in parts.items() if "skipped" in part],
        "good": all(part.get("good") is True for part in parts.values()),
    }


def compare(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Medians over the rounds, their ratio, and the ratio of every round: the machine may have been shared."""
    value = statistics.median(pair.ours for pair in pairs)
    floor = statistics.median(pair.peer for pair in pairs)
    return {
        "value": round(value, 1),
        "floor": round(floor, 1),
        "ratio": round(value / floor, 2),
        "ratios": [round(pair.ours / pair.peer, 2) for pair in pairs],
    }


def by_turns(rounds: int, peer: Callable[[int], float], ours: Callable[[int], float]) -> list[Pair]:
    """Both sides, one after the other, in every round the other way round; round 0 warms up and does not count."""
    pairs = []
    for turn in range(rounds + 1):
        if turn % 2:
            theirs = peer(turn)
            mine = ours(turn)
        else:
            mine = ours(turn)
            theirs = peer(turn)
        if turn:
            pairs.append(Pair(theirs, mine))
    return pairs


def show_peers(told: Mapping[str, Any]) -> list[str]:
    """The figures as lines of a table."""
    rates = f"{'hub':>9} {'peer':>9} {'ratio':>7} {'bar':>4}"
    lines = [f"{'orders/s, medians':<40} {rates} {'hub cpu ms':>11} {'peer':>9}"]
    bulk, life = told["tryton"], told["vendure"]
    lines += _row(f"Tryton: intake, {intake.PER_CALL} orders a call", bulk)
    if "single" in bulk:
        lines += _row("Tryton: intake, one order a call", bulk["single"])
    lines += _row("Vendure: whole life cycle", life)
    for name, part in (("tryton", bulk), ("vendure", life)):
        lines += [f"{name}: skipped: {part['skipped']}"] if "skipped" in part else []
        lines += [f"{name}: {fault}" for fault in part.get("faults", [])]
    return lines


def _row(name: str, part: Mapping[str, Any]) -> list[str]:
    if "value" not in part:
        return []
    bar = f"{part['bar']:.0f}" if "bar" in part else ""
    rates = f"{part['value']:>9,.1f} {part['floor']:>9,.1f} {part['ratio']:>7.1f} {bar:>4}"
    return [f"{name:<40} {rates} {part['cpu_ms_ours']:>11.2f} {part['cpu_ms_theirs']:>9.2f}"]


def attempt(
    name: str, why_not: Callable[[], str | None], prepare: Callable[[], None], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Measure what can be measured: one peer's trouble is no reason to lose the other's figures."""
    if (reason := why_not()) is not None:
        return {"skipped": reason, "good": False}
    try:
        prepare()
    except _FAULTS as fault:
        return {"skipped": f"it could not be installed: {_one_line(fault)}", "good": False}
    try:
        return measure()
    except _FAULTS as fault:
        return {"faults": [f"{name}: {_one_line(fault)}"], "good": False}


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:400] or type(fault).__name__


@dataclass(slots=True)
class _Side:
    """One side of the intake: how it is posted to, its processes, and what came of it. CPU in ms per order, a round each."""

    post: Callable[[list[bytes], int], tuple[float, list[str]]]
    pids: tuple[int, ...]
    faults: list[str] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def take(self, orders: list[bytes], per_call: int) -> float:
        before = cpu_seconds(self.pids)
        rate, faults = self.post(orders, per_call)
        self.cpu_ms.append(1000 * (cpu_seconds(self.pids) - before) / len(orders))
        self.faults += faults
        return rate


def _intake(course: Course) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-peers-")))
        server = stack.enter_context(tryton.cluster(course.folder / "tryton"))
        erp = stack.enter_context(tryton.serving(course.folder / "tryton", server))
        url = stack.enter_context(own_database(address_of(course.database, server)))
        door = stack.enter_context(intake.serving_hub(folder, url))
        own = server.pids if course.database == OWN_SERVER else ()
        theirs = _Side(partial(intake.post_to_tryton, erp), erp.pids)
        ours = _Side(partial(intake.post_to_hub, door), (door.pid, *own))
        span = max(1, course.orders // intake.PER_CALL) * intake.PER_CALL
        many = _exchange(course, theirs, ours, span, intake.PER_CALL, first=0)
        placed = (course.rounds + 1) * span
        span = max(1, course.orders // _SINGLE_SHARE)
        single = _exchange(course, theirs, ours, span, 1, first=placed)
        placed += (course.rounds + 1) * span
        here, (there, lines) = intake.count_in_hub(door), intake.count_in_tryton(erp)
    faults = theirs.faults + ours.faults
    if (here, there, lines) != (placed, placed, placed * intake.LINES):
        faults.append(f"{placed} orders were posted: the hub has {here}, Tryton {there} with {lines} lines")
    return {
        **many,
        "bar": INTAKE_BAR,
        "single": single,
        "orders_ours": here,
        "orders_theirs": there,
        "clients": intake.CLIENTS,
        "per_call": intake.PER_CALL,
        "rounds": course.rounds,
        "faults": faults[:20],
        "good": not faults and many["ratio"] >= INTAKE_BAR,
    }


def _exchange(course: Course, theirs: _Side, ours: _Side, span: int, per_call: int, *, first: int) -> dict[str, Any]:
    """`span` orders a round to each side, the same ones, numbered from `first`."""

    def batch(turn: int) -> list[bytes]:
        return intake.documents(span, course.seed, first + turn * span)

    pairs = by_turns(
        course.rounds, lambda turn: theirs.take(batch(turn), per_call), lambda turn: ours.take(batch(turn), per_call)
    )
    cpu = {name: side.cpu_ms[-course.rounds :] for name, side in (("ours", ours), ("theirs", theirs))}
    return compare(pairs) | {f"cpu_ms_{name}": round(statistics.median(each), 2) for name, each in cpu.items()}


@dataclass(slots=True)
class _OurLives:
    """The hub's life cycle as `hub.py bench life` measures it, both ends' ledgers compared; each time on an empty database."""

    course: Course
    server: Server | None
    done: int = 0
    exceptions: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def take(self, turn: int) -> float:
        orders = self.course.orders if turn else min(self.course.orders, _WARM_LIVES)
        seed = self.course.seed + turn
        with own_database(address_of(self.course.database, self.server)) as url:
            report = run_demo(
                orders=orders, seed=seed, faults="none", mix="plain", database=url, apart=True, points=ANY_POINTS
            )
        done = sum(channel.confirmed for channel in report.channels.values())
        for channel in report.channels.values():
            self.exceptions.update(channel.exceptions)
        if not report.good:
            self.faults.append(
                f"hub: {report.lost} lost, {report.duplicated} doubled, {report.unaccounted} unaccounted"
            )
            self.faults += [f"hub: {fault}" for fault in report.faults[:5]]
        self.done += done
        self.cpu_ms.append(report.cpu_ms_per_order["all"])
        # An order that waits for a person (an address that nobody knows) is accounted for, but not lived through.
        return report.orders_per_second * done / orders


@dataclass(slots=True)
class _TheirLives:
    """The shop's life cycle, `count` orders a turn on one running shop."""

    shop: Shop
    count: int
    variants: Sequence[Variant]
    codes: list[str] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    placing: list[float] = field(default_factory=list)

    def take(self, turn: int) -> float:
        pids = [self.shop.process.pid]
        before = cpu_seconds(pids)
        lived = vendure.live_through(self.shop, self.variants, turn * self.count, self.count)
        self.cpu_ms.append(1000 * (cpu_seconds(pids) - before) / self.count)
        self.codes += lived.codes
        self.placing.append(lived.placing / (lived.placing + lived.shipping))
        return lived.per_second


def _life(course: Course) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        server = None
        if course.database == OWN_SERVER:
            tryton.prepare(course.folder / "tryton")
            server = stack.enter_context(tryton.cluster(course.folder / "tryton"))
        shop = stack.enter_context(start_vendure(course.folder / "vendure"))
        count = max(1, min(course.orders // _LIFE_SHARE, _MOST_LIVES))
        ours, theirs = _OurLives(course, server), _TheirLives(shop, count, shop.variants())
        told = compare(by_turns(course.rounds, theirs.take, ours.take))
        faults = ours.faults + vendure.find_faults(shop, theirs.codes)
    return {
        **told,
        "cpu_ms_ours": round(statistics.median(ours.cpu_ms[1:]), 2),
        "cpu_ms_theirs": round(statistics.median(theirs.cpu_ms[1:]), 2),
        "checkout_share": round(statistics.median(theirs.placing[1:]), 2),
        "bar": LIFE_BAR,
        "orders_ours": ours.done,
        "exceptions_ours": dict(ours.exceptions),
        "orders_theirs": len(theirs.codes),
        "clients": vendure.CLIENTS,
        "rounds": course.rounds,
        "faults": faults[:20],
        "good": not faults and told["ratio"] >= LIFE_BAR,
    }


def address_of(asked: str, server: Server | None) -> str:
    """Where the hub's databases are made: "" SQLite files, for OWN_SERVER the one that Tryton works on, else the address that was
    given."""
    return server.url("postgres") if asked == OWN_SERVER and server is not None else asked
