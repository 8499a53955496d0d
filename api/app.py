"""The partner API as one ASGI application: authenticate, validate, call the pipeline, render."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool

from pipeline.bootstrap import Hub
from pipeline.intake import Intake

from . import exceptions, figures, inbound, orders, supply
from .documents import PATHS, SCHEMAS
from .guard import SLOW_AFTER_S, Guard, Shortcut
from .problems import add_handlers

VERSION = "1"
_OPEN = frozenset({"/healthz", "/readyz", "/callbacks/{warehouse}", "/webhooks/{account}"})


def create_app(hub: Hub, *, docs: bool = True, slow_after: float = SLOW_AFTER_S) -> FastAPI:
    """The application over an open hub, which it does not close. `docs`: /docs, /redoc and /openapi.json, without any
    foreign server. `slow_after`: seconds a body may take. Serve it without a Server header (uvicorn server_header=False)."""
    intake, counters = Intake(hub), figures.Figures(hub)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(intake.close)

    told: dict[str, Any] = {"title": "Order hub", "version": VERSION, "lifespan": lifespan, "redirect_slashes": False}
    app = FastAPIOffline(**told) if docs else FastAPI(**told, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.hub, app.state.intake, app.state.figures = hub, intake, counters
    add_handlers(app)
    hot = [*orders.posting_routes(hub, intake), *inbound.calling_routes(hub)]
    app.router.routes.extend(hot)
    for room in (orders, exceptions, supply, figures):
        app.include_router(room.router)
    guard = partial(
        Guard, count=counters.count, templates={route.endpoint: route.path for route in hot}, slow_after=slow_after
    )
    app.add_middleware(guard)
    build = app.build_middleware_stack
    # What a framework does around every request costs more than taking an order: posts and callbacks meet only the guard.
    app.build_middleware_stack = lambda: Shortcut(build(), {route.path: guard(route.app) for route in hot})  # type: ignore[method-assign]
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document: what FastAPI knows, the two hot routes, and how to authenticate."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for path, methods in PATHS.items():
            made["paths"].setdefault(path, {}).update(methods)
        components = made.setdefault("components", {})
        components.setdefault("schemas", {}).update(SCHEMAS)
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, methods in made["paths"].items():
            for operation in methods.values():
                operation["security"] = [] if path in _OPEN else [{"key": []}]
        app.openapi_schema = made
    return app.openapi_schema
