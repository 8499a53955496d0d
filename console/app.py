"""The staff console as one ASGI application: its routes, and nothing else that listens."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from pipeline.bootstrap import Hub

from . import actions, pages, rules
from .answers import Desk, FormHandler, Handler, form, page
from .guard import Guarded
from .session import make_signer

_STATIC = Path(__file__).parent / "static"
_KEPT = "public, max-age=31536000, immutable"


def create_console(hub: Hub) -> Starlette:
    """The console of this hub, to be mounted at `/` after the API."""
    desk = Desk(hub, make_signer(hub))

    def get(path: str, handler: Handler, *, public: bool = False, passive: bool = False) -> Route:
        return Route(path, page(desk, handler, public=public, passive=passive), methods=["GET"])

    def post(path: str, handler: FormHandler, *, public: bool = False, reading: bool = False, files: int = 0) -> Route:
        return Route(path, form(desk, handler, public=public, reading=reading, files=files), methods=["POST"])

    routes = [
        get("/", pages.show_overview),
        get("/login", pages.show_login, public=True),
        post("/login", actions.log_in_with_key, public=True),
        post("/logout", actions.log_out, reading=True),
        post("/preferences", actions.choose, public=True),
        get("/exceptions", pages.show_exceptions),
        get("/exceptions/counts", pages.show_counts, passive=True),
        post("/exceptions/bulk", actions.act_on_many),
        get("/exceptions/{ref}", pages.find_exception),
        post("/exceptions/{ref}", actions.act_on_exception),
        get("/orders", pages.show_orders),
        get("/orders/{number}", pages.show_order),
        post("/orders/{number}", actions.act_on_order),
        get("/rules", rules.show_rules),
        post("/rules", rules.act_on_rules),
        get("/rules/{version:path}", rules.show_rule),
        post("/rules/{version:path}", rules.act_on_rule),
        get("/rule-tables/{phase}.{kind}/{version:path}", rules.send_table),
        post("/rule-tables/{version:path}", rules.take_table, files=1),
        Mount("/static", _files, name="static"),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guarded)], exception_handlers={404: _missing, 405: _refused})


async def _files(scope: Scope, receive: Receive, send: Send) -> None:
    """Our own style and scripts: no secret, and their address changes with their content."""

    async def send_kept(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            headers = [*message.get("headers", ()), (b"cache-control", _KEPT.encode())]  # type: ignore[misc]
            message = message | {"headers": headers}
        await send(message)

    await StaticFiles(directory=_STATIC)(scope, receive, send_kept)  # type: ignore[arg-type]


async def _missing(request: Request, _error: Exception) -> Response:
    return PlainTextResponse("There is no such page.", 404)


async def _refused(request: Request, _error: Exception) -> Response:
    return PlainTextResponse("This page takes no such request.", 405)
