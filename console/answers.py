"""From a request to a page: who asks, in which language and colours, and what was just done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from domain.errors import ConfigError, RefusedError
from pipeline.bootstrap import Hub
from pipeline.console_sessions import staff_of
from pipeline.console_views import exception_tabs

from .guard import is_at_home, is_our_form, safe_path
from .render import render
from .session import Scope, Session, Signer, new_session, read_cookie, refreshed, write_cookie
from .words import LANGUAGES, choose_language

THEMES = ("auto", "light", "dark")
_YEAR = 365 * 86_400
_FIELDS = 600


@dataclass(frozen=True, slots=True)
class Desk:
    """The console at work: the hub and what signs its cookies."""

    hub: Hub
    signer: Signer


@dataclass(frozen=True, slots=True)
class Visit:
    """One request with who sent it; `uploads` are the files of its form by field."""

    desk: Desk
    request: Request
    session: Session
    now: datetime
    uploads: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def hub(self) -> Hub:
        return self.desk.hub

    @property
    def language(self) -> str:
        return choose_language(self.request.cookies.get("lang", ""), self.request.headers.get("accept-language", ""))

    @property
    def secure(self) -> bool:
        return self.request.url.scheme == "https"


Handler = Callable[[Visit], Response]
FormHandler = Callable[[Visit, Mapping[str, list[str]]], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def cookie_name(secure: bool) -> str:
    """A `__Host-` cookie cannot come from another host or an unencrypted page; browsers accept it over https only."""
    return "__Host-hub" if secure else "hub"


def show(visit: Visit, template: str, status: int = 200, **values: Any) -> Response:
    """Render a page. Signed-in pages carry the counts of the navigation."""
    session = visit.session
    theme = visit.request.cookies.get("theme", "auto")
    shared = {
        "session": session,
        "csrf": visit.desk.signer.csrf(session),
        "language": visit.language,
        "languages": LANGUAGES,
        "theme": theme if theme in THEMES else "auto",
        "themes": THEMES,
        "now": visit.hub.now(),
        "here": _here(visit.request),
        "tabs": exception_tabs(visit.hub) if session.scope else None,
        "flash": _flash(visit),
        "demo": session.actor == "demo",
        "view": {},
    }
    response = HTMLResponse(render(visit.language, template, shared | values), status_code=status)
    response.headers["vary"] = "cookie, accept-language, x-part"
    if shared["flash"] and "hub_done" in visit.request.cookies:
        response.delete_cookie("hub_done", path="/")
    return response


def _here(request: Request) -> str:
    return safe_path(f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path)


def _flash(visit: Visit) -> list[Any] | None:
    told = visit.desk.signer.open("flash", visit.request.cookies.get("hub_done", ""))
    match told:
        case [str(sid), str(tone), str(code), str(more)] if sid == visit.session.sid:
            return [tone, code, more]
        case _:
            return None


def go(visit: Visit, path: str, *, tone: str = "good", code: str = "", more: str = "") -> Response:
    """Go on to another page and say there what happened."""
    response = RedirectResponse(safe_path(path), status_code=303)
    if code:
        sealed = visit.desk.signer.seal("flash", [visit.session.sid, tone, code, more[:300]])
        response.set_cookie(
            "hub_done", sealed, max_age=60, path="/", httponly=True, samesite="lax", secure=visit.secure
        )
    return response


def sign_in(visit: Visit, response: Response, session: Session) -> None:
    """Put a session's cookie on an answer."""
    response.set_cookie(
        cookie_name(visit.secure),
        write_cookie(visit.desk.signer, session),
        path="/",
        httponly=True,
        samesite="lax",
        secure=visit.secure,
    )


def remember_choice(visit: Visit, response: Response, name: str, value: str) -> None:
    response.set_cookie(name, value, max_age=_YEAR, path="/", httponly=True, samesite="lax", secure=visit.secure)


def page(desk: Desk, handler: Handler, *, public: bool = False, passive: bool = False) -> Endpoint:
    """An endpoint that only shows. Whoever is not signed in goes to the log-in page and comes back. `passive`: a script
    asks, not a person, so it keeps no session alive."""

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(_answer, desk, request, handler, public, passive)

    return endpoint


def form(desk: Desk, handler: FormHandler, *, public: bool = False, reading: bool = False, files: int = 0) -> Endpoint:
    """An endpoint that changes something: only for a form of this session, sent from one of our own pages, by somebody
    who may (`reading`: a read-only key is enough). Its form may have at most `files` files."""

    async def endpoint(request: Request) -> Response:
        if not is_our_form(request.headers):
            return Response("This form was not sent from here.", 403, media_type="text/plain")
        async with request.form(max_files=files, max_fields=_FIELDS) as sent:
            fields = _texts(sent)
            uploads = {name: await value.read() for name, value in sent.multi_items() if isinstance(value, UploadFile)}

        def act(visit: Visit) -> Response:
            if not visit.desk.signer.csrf_fits(visit.session, fields.get("csrf", [""])[0]):
                return show(visit, "refused.html", 403, reason="token")
            if not (public or visit.session.may_act or (reading and visit.session.scope)):
                return show(visit, "refused.html", 403, reason="scope")
            return handler(replace(visit, uploads=uploads), fields)

        return await run_in_threadpool(_answer, desk, request, act, True)

    return endpoint


def _texts(sent: FormData) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in sent.multi_items():
        if isinstance(value, str):
            fields.setdefault(name, []).append(value)
    return fields


def _answer(desk: Desk, request: Request, handler: Handler, public: bool, passive: bool = False) -> Response:
    now = desk.hub.clock()
    session, fresh = _session(desk, request, now)
    visit = Visit(desk, request, session, now)
    if not session.scope and not public:
        return RedirectResponse(f"/login?next={_quoted(_here(request))}", status_code=303)
    try:
        response = handler(visit)
    except RefusedError as error:
        status = 404 if error.code == "not_found" else 409
        response = show(visit, "refused.html", status, reason=error.code)
    except ConfigError as error:
        response = show(visit, "refused.html", 503, reason=error.code)
    name = cookie_name(visit.secure)
    if (
        fresh is not None
        and not passive
        and not any(put.startswith(f"{name}=") for put in response.headers.getlist("set-cookie"))
    ):
        sign_in(visit, response, fresh)
    return response


def _quoted(path: str) -> str:
    return quote(path, safe="/")


def _session(desk: Desk, request: Request, now: datetime) -> tuple[Session, Session | None]:
    """The session of a request, and the one to write back when its cookie is missing or stale."""
    secure = request.url.scheme == "https"
    known = read_cookie(desk.signer, request.cookies.get(cookie_name(secure), ""), now)
    if desk.hub.settings.console_open and is_at_home(request) and (known is None or not known.key_id):
        found = replace(known or new_session(now), actor="demo", scope="admin")
        return found, (found if known is None else refreshed(found, now))
    if known is None:
        visitor = new_session(now)
        return visitor, visitor
    if known.key_id:
        staff = staff_of(desk.hub, known.key_id, known.sid)
        if staff is None:
            visitor = new_session(now)
            return visitor, visitor
        known = replace(known, actor=staff[0], scope=cast(Scope, staff[1]))
    return known, refreshed(known, now)
