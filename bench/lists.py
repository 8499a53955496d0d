"""`hub.py bench list`: what people and partners look at, timed on a database with a past, next to the bare driver asking for the
same page in the same run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import Any

import psycopg
from pysqlite3 import dbapi2
from sqlalchemy import select

from domain.numbers import order_number
from pipeline.console_overview import overview
from pipeline.console_views import account_names, exception_tabs, list_open, list_orders_page
from pipeline.figures import overview as figures
from pipeline.order_view import order_view
from pipeline.references import exception_ref
from pipeline.views import count_exceptions, count_orders, list_orders
from storage.tables import orders, packages
from storage.times import moment

from .history import Past, grow, opened_past

BAR_MS = 50.0
_PAGE = 51
_EXCEPTIONS = 50


@dataclass(frozen=True, slots=True)
class Place:
    """A stored order to look for: what it is known by."""

    id: int
    external_id: str
    updated_at: int
    tracking: str


@dataclass(frozen=True, slots=True)
class Look:
    """One list: how the hub shows it, and the bare statement of the same rows, both for a place."""

    name: str
    show: Callable[[Place], object]
    sql: str = ""
    values: Callable[[Place], tuple[Any, ...]] = lambda _: ()


def bench_lists(*, count: int, seed: int, database: str, times: int = 100) -> dict[str, Any]:
    """p50 and p95 of every list with that many stored orders, milliseconds; `value` is the worst p95, good under 50."""
    with opened_past(seed=seed, database=database, template=min(5_000, max(500, count // 4)), largest=count) as past:
        grow(past, count)
        settle(past)
        found = measure_lists(past, times)
    return told(found) | {"bench": "list", "orders": past.orders}


def told(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The worst list, its floor, and all of them."""
    worst = max(found, key=lambda name: found[name]["p95"])
    value, floor = found[worst]["p95"], found[worst].get("floor", 0.0)
    ratio = round(floor / value, 3) if value else 0.0
    return {"value": value, "floor": floor, "ratio": ratio, "worst": worst, "lists": found, "good": value <= BAR_MS}


def settle(past: Past) -> None:
    """What a server's own housekeeping would have done by now."""
    if past.hub.settings.url.startswith("postgresql"):
        with psycopg.connect(_plain(past.hub.settings.url), autocommit=True) as pg:
            pg.execute("vacuum (analyze)")


def measure_lists(past: Past, times: int) -> dict[str, dict[str, float]]:
    """Milliseconds of every list at `times` places spread over the whole past: p50, p95, and the bare driver's p95."""
    places = _places(past, times)
    found: dict[str, dict[str, float]] = {}
    with _driver(past.hub.settings.url) as ask:
        for look in _looks(past):
            mine, bare = [], []
            for place in places:
                _forget(past)
                mine.append(_milliseconds(lambda place=place, look=look: look.show(place)))  # type: ignore[misc]
                if look.sql:
                    bare.append(_milliseconds(lambda place=place, look=look: ask(look.sql, look.values(place))))  # type: ignore[misc]
            found[look.name] = {"p50": _part(mine, 0.5), "p95": _part(mine, 0.95)}
            if bare:
                found[look.name]["floor"] = _part(bare, 0.95)
    return found


def _looks(past: Past) -> tuple[Look, ...]:
    hub = past.hub
    names = sorted(account_names(hub).values())
    newest = "select * from orders where id < ? order by id desc limit 51"
    changed = "select * from orders where (updated_at, id) > (?, ?) order by updated_at, id limit 51"
    return (
        Look("orders", lambda _: list_orders_page(hub), "select * from orders order by id desc limit 51"),
        Look("orders, deep", lambda at: list_orders_page(hub, after=_number(at)), newest, lambda at: (at.id,)),
        Look("orders of a status", lambda at: list_orders_page(hub, status="closed", after=_number(at))),
        Look("orders of a rare status", lambda at: list_orders_page(hub, status="pending_payment", after=_number(at))),
        Look("orders of an account", lambda at: list_orders_page(hub, account=names[0], after=_number(at))),
        Look(
            "search by number",
            lambda at: list_orders_page(hub, text=_number(at)),
            "select * from orders where id = ?",
            lambda at: (at.id,),
        ),
        Look(
            "search by external id",
            lambda at: list_orders_page(hub, text=at.external_id),
            "select * from orders where account_id in (select id from accounts) and external_id = ?",
            lambda at: (at.external_id,),
        ),
        Look(
            "search by tracking number",
            lambda at: list_orders_page(hub, text=at.tracking),
            "select * from orders where id in (select order_id from packages where tracking = ?)",
            lambda at: (at.tracking,),
        ),
        Look("search by phone", lambda at: list_orders_page(hub, text=f"{at.id % 10_000:04d}")),
        Look(
            "exceptions", lambda _: list_open(hub), "select * from exceptions where state = 'open' order by id limit 51"
        ),
        Look(
            "exceptions, resolved and deep",
            lambda at: list_open(hub, state="resolved", after=exception_ref(at.id)),
            "select * from exceptions where state = 'resolved' and id < ? order by id desc limit 51",
            lambda at: (at.id,),
        ),
        Look("exception tabs", lambda _: exception_tabs(hub)),
        Look("overview", lambda _: overview(hub)),
        Look("figures", lambda _: figures(hub)),
        Look("api orders", lambda _: list_orders(hub), changed, lambda _: (0, 0)),
        Look(
            "api orders, updated_since",
            lambda at: list_orders(hub, updated_since=moment(at.updated_at)),
            changed,
            lambda at: (at.updated_at, -1),
        ),
        Look(
            "api orders of a status", lambda at: list_orders(hub, status="closed", updated_since=moment(at.updated_at))
        ),
        Look("api counts", lambda _: (count_orders(hub), count_exceptions(hub))),
        Look("one order", lambda _: order_view(hub, _real(past))),
    )


def _number(place: Place) -> str:
    return order_number(place.id, "PA")


def _real(past: Past) -> int:
    """The oldest archived order: it was lived, so its sealed values are its own."""
    known = past.hub.memory.get("bench:real")
    if known is None:
        with past.hub.read() as tx:
            known = past.hub.memory["bench:real"] = tx.exec_driver_sql(
                "select min(order_id) from archives"
            ).scalar_one()
    return int(known)


def _places(past: Past, count: int) -> list[Place]:
    rng = Random(f"{past.seed}:places")
    found, o, p = [], orders, packages
    with past.hub.read() as tx:
        low = int(tx.exec_driver_sql("select min(id) from orders").scalar_one())
        high = int(tx.exec_driver_sql("select max(id) from orders").scalar_one())
        for _ in range(count):
            at = rng.randrange(low, high)
            row = tx.execute(
                select(o.c.id, o.c.external_id, o.c.updated_at).where(o.c.id >= at).order_by(o.c.id).limit(1)
            ).one()
            parcel = select(p.c.tracking).where(p.c.order_id >= row.id).order_by(p.c.order_id).limit(1)
            tracking = tx.execute(parcel).scalar()
            found.append(Place(row.id, row.external_id, row.updated_at, tracking or "SF0"))
    return found


def _forget(past: Past) -> None:
    """What pages keep for a moment is counted anew for every look."""
    for key in [key for key in past.hub.memory if key.startswith("console:")]:
        del past.hub.memory[key]


@contextlib.contextmanager
def _driver(url: str) -> Iterator[Callable[[str, tuple[Any, ...]], list[Any]]]:
    if url.startswith("sqlite"):
        with contextlib.closing(dbapi2.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            yield lambda sql, values: list(connection.execute(sql, values).fetchall())
        return
    with psycopg.connect(_plain(url), autocommit=True) as pg:
        yield lambda sql, values: list(pg.execute(sql.replace("?", "%s").encode(), values).fetchall())


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def _milliseconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return (perf_counter() - began) * 1000


def _part(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 3)
