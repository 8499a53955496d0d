"""Is the process alive, is the hub ready, and figures for a monitoring system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from domain.errors import RefusedError
from pipeline.access import Caller
from pipeline.bootstrap import Hub
from pipeline.figures import overview, ready

from .callers import READERS, allow
from .documents import problems
from .orders import Ours
from .processes import TOGETHER

router = APIRouter(tags=["operation"])
TEXT = "text/plain; version=1.0.0; charset=utf-8"


class Figures:
    """Counters of one application, or of all that serve side by side; and gauges, read from the hub at every scrape by bounded
    queries."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.registry = CollectorRegistry()
        together = TOGETHER in os.environ
        self._requests = Counter(
            "hub_http_requests",
            "Requests by route, method and status",
            ("route", "method", "status"),
            registry=None if together else self.registry,
        )
        if together:
            # Counts of all processes that serve beside this one, those that have ended included.
            MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self.registry.register(self)

    def count(self, route: str, method: str, status: int) -> None:
        """One more answer. Unknown methods share a name, so that callers cannot invent series."""
        told = (route, method if method in _METHODS else "other", status)
        counter = self._counters.get(told)
        if counter is None:
            counter = self._counters[told] = self._requests.labels(told[0], told[1], str(status))
        counter.inc()

    def describe(self) -> list[Any]:
        """Nothing is read from the database when the collector is registered."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        told = overview(self._hub)
        yield _gauge(
            "hub_orders", "Orders by status, of the 10 000 that changed last", "status", told["orders"]["statuses"]
        )
        yield _gauge(
            "hub_exceptions_open", "Open exceptions by code, up to 10 000", "code", told["exceptions"]["codes"]
        )
        queues = told["queues"]
        yield _gauge("hub_queue", "Rows that wait, up to 10 000", "queue", {n: q["waiting"] for n, q in queues.items()})
        ages = {name: queue["oldest_seconds"] for name, queue in queues.items()}
        yield _gauge("hub_queue_oldest_seconds", "Age of what waits longest", "queue", ages)
        accounts = told["accounts"]
        fresh = {row["name"]: row["age_seconds"] for row in accounts if row["age_seconds"] is not None}
        yield _gauge("hub_account_poll_age_seconds", "Since an account was last read to its end", "account", fresh)
        stopped = {row["name"]: int(row["state"] != "active") for row in [*accounts, *told["warehouses"]]}
        yield _gauge("hub_connection_stopped", "1: stopped until a person looks at it", "name", stopped)


_METHODS = frozenset({"GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"})


def _gauge(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: problems()[503]})
def readyz(hub: Ours) -> dict[str, str]:
    """The database is there and has our schema."""
    ready(hub)
    return {"status": "ready"}


@router.get("/metrics", responses=problems())
def metrics(request: Request, caller: Annotated[Caller, Depends(allow(READERS - {"partner"}))]) -> Response:
    """Prometheus text. Needs a key: how much a merchant sells is nobody's business."""
    if not caller.staff:
        raise RefusedError("forbidden", "this key may not do that")
    figures: Figures = request.app.state.figures
    return Response(generate_latest(figures.registry), media_type=TEXT)
