"""The forms: what a POST changes. Each calls one use case and says what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from starlette.responses import Response

from domain.errors import ConfigError, RefusedError
from pipeline.console_details import exception_detail, order_detail, source_documents, unmask
from pipeline.console_sessions import end_session, log_in
from pipeline.references import exception_id
from pipeline.regroup import merge_orders, reroute_order, unmerge_order
from pipeline.review import (
    Action,
    Reviewed,
    assign,
    cancel_by_number,
    id_of_number,
    replan_orders,
    review,
    send_now,
    snooze,
)

from .answers import THEMES, Visit, go, remember_choice, show, sign_in
from .guard import safe_path
from .pages import find_exceptions, read_view, show_order, show_queue
from .session import Scope, new_session
from .words import LANGUAGES

Fields = Mapping[str, list[str]]
_REVIEWS = ("fix", "release", "retry", "cancel", "dismiss")
_BULK = ("release", "retry", "dismiss")
_BULK_MOST = 100
_NOTE = 500
_SNOOZES = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "1d": timedelta(days=1), "3d": timedelta(days=3)}


def _one(fields: Fields, name: str, otherwise: str = "") -> str:
    return fields.get(name, [otherwise])[0].strip()


def log_in_with_key(visit: Visit, fields: Fields) -> Response:
    after = safe_path(_one(fields, "next", "/"))
    try:
        key_id, actor, scope = log_in(visit.hub, _one(fields, "key"))
    except RefusedError:
        return show(visit, "login.html", 401, after=after, wrong=True, active="")
    response = go(visit, after)
    sign_in(visit, response, new_session(visit.now, key_id=key_id, actor=actor, scope=cast(Scope, scope)))
    return response


def log_out(visit: Visit, fields: Fields) -> Response:
    end_session(visit.hub, visit.session.sid, visit.session.ends_at)
    response = go(visit, "/login")
    sign_in(visit, response, new_session(visit.now))
    return response


def choose(visit: Visit, fields: Fields) -> Response:
    """Language and colours of this browser."""
    response = go(visit, _one(fields, "back", "/"))
    if (language := _one(fields, "lang")) in LANGUAGES:
        remember_choice(visit, response, "lang", language)
    if (theme := _one(fields, "theme")) in THEMES:
        remember_choice(visit, response, "theme", theme)
    return response


def act_on_exception(visit: Visit, fields: Fields) -> Response:
    """Fix, release, retry, cancel, dismiss, assign or snooze one exception, then go on to the next."""
    ref = visit.request.path_params["ref"][:40]
    wanted = _one(fields, "do")
    back, here = _places(fields, ref)
    try:
        row_id = exception_id(ref)
        if wanted in _REVIEWS:
            fixes = read_fixes(fields)
            if wanted == "fix" and not fixes:
                return go(visit, here, tone="warn", code="nothing_to_fix")
            done = _review(visit, row_id, wanted, fixes, _one(fields, "note")[:_NOTE])
            return go(visit, back, code="resolved", more=_told(done))
        if wanted == "assign":
            assign(visit.hub, row_id, _assignee(visit, fields), actor=visit.session.actor)
            return go(visit, here, code="done")
        if wanted == "snooze":
            snooze(visit.hub, row_id, _until(visit.now, _one(fields, "until")), actor=visit.session.actor)
            return go(visit, back, code="done")
        if wanted == "wake":
            snooze(visit.hub, row_id, None, actor=visit.session.actor)
            return go(visit, here, code="done")
    except (RefusedError, ConfigError) as error:
        return go(visit, here, tone="bad", code=error.code, more=error.detail)
    raise RefusedError("not_found", "there is no such action")


def _places(fields: Fields, ref: str) -> tuple[str, str]:
    """Where to go on: to the next exception of the same view when this one is done with, else back to this one."""
    view = {name: _one(fields, f"view.{name}") for name in ("state", "code", "account", "assignee", "q", "after")}
    kept = {name: value for name, value in view.items() if value}
    advance = _one(fields, "advance")
    following = kept | ({"at": advance} if advance else {})
    return f"/exceptions?{urlencode(following)}", f"/exceptions?{urlencode(kept | {'at': ref})}"


def _review(visit: Visit, row_id: int, wanted: str, fixes: list[tuple[str, str]], note: str) -> Reviewed:
    who = visit.session
    return review(visit.hub, row_id, cast(Action, wanted), actor=who.actor, fixes=fixes, note=note, scope=who.scope)


def _told(done: Reviewed) -> str:
    return " ".join((done.number, *done.still_open)).strip()


def read_fixes(fields: Fields) -> list[tuple[str, str]]:
    """The corrections of a form: inputs that differ from what they showed. An input left alone changes nothing, even when
    the order has changed meanwhile."""
    fixes = []
    for name, values in fields.items():
        if name.startswith("fix:"):
            path = name.removeprefix("fix:")
            if values[0].strip() != _one(fields, f"was:{path}"):
                fixes.append((path, values[0].strip()[:512]))
    return fixes


def _assignee(visit: Visit, fields: Fields) -> str:
    who = _one(fields, "assignee")[:60]
    return visit.session.actor if who == "me" else who


def _until(now: datetime, text: str) -> datetime:
    if text not in _SNOOZES:
        raise RefusedError("when", "say until when")
    return now + _SNOOZES[text]


def act_on_many(visit: Visit, fields: Fields) -> Response:
    """One action for every selected exception; each has its own transaction and its own result."""
    wanted, refs = _one(fields, "do"), fields.get("ref", [])[:_BULK_MOST]
    if wanted not in _BULK:
        raise RefusedError("not_found", "there is no such action")
    results = [_try(visit, ref, wanted, _one(fields, "note")[:_NOTE]) for ref in refs]
    view = read_view(visit) | {name: _one(fields, f"view.{name}")[:100] for name in ("state", "code", "account", "q")}
    return show_queue(visit, view, find_exceptions(visit, view), results=results, did=wanted)


def _try(visit: Visit, ref: str, wanted: str, note: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "ref": ref[:40],
        "code": "",
        "order": None,
        "tone": "bad",
        "answer": "",
        "more": "",
        "left": (),
    }
    try:
        row = exception_detail(visit.hub, ref[:40])
        shown |= {"code": row["code"], "order": row["order"]}
        done = _review(visit, exception_id(ref[:40]), wanted, [], note)
    except (RefusedError, ConfigError) as error:
        return shown | {"answer": error.code, "more": error.detail}
    return shown | {"tone": "good", "answer": "resolved", "left": done.still_open}


def act_on_order(visit: Visit, fields: Fields) -> Response:
    """Cancel, release, regroup, send or check an order again, or look closer at what is hidden."""
    number = visit.request.path_params["number"][:64]
    here = f"/orders/{number}"
    wanted = _one(fields, "do")
    if wanted in {"unmask", "documents"}:
        if not visit.session.may_unmask:
            return show(visit, "refused.html", 403, reason="scope")
        if wanted == "unmask":
            return show_order(visit, shown=unmask(visit.hub, number, actor=visit.session.actor))
        return show_order(visit, documents=source_documents(visit.hub, number, actor=visit.session.actor))
    try:
        if wanted == "cancel":
            why = _one(fields, "note")[:_NOTE] or "cancelled by staff"
            cancel_by_number(visit.hub, number, actor=visit.session.actor, why=why)
            return go(visit, here, code="done")
        if wanted == "check":
            replan_orders(visit.hub, [id_of_number(number)], actor=visit.session.actor)
            return go(visit, here, code="done")
        if wanted in {"merge", "unmerge", "reroute", "send_now"}:
            _regroup(visit, number, wanted, _one(fields, "other")[:200])
            return go(visit, here, code="done")
        if wanted == "release":
            return _release(visit, number, here, _one(fields, "note")[:_NOTE])
    except (RefusedError, ConfigError) as error:
        return go(visit, here, tone="bad", code=error.code, more=error.detail)
    raise RefusedError("not_found", "there is no such action")


def _regroup(visit: Visit, number: str, wanted: str, other: str) -> None:
    """Merge with another order (`other` its number), take out of a parcel, send from another warehouse (`other` its name) or
    without waiting."""
    actor = visit.session.actor
    if wanted == "send_now":
        send_now(visit.hub, number, actor=actor)
    elif wanted == "merge":
        merge_orders(visit.hub, number, other, actor=actor)
    elif wanted == "unmerge":
        unmerge_order(visit.hub, number, actor=actor)
    else:
        reroute_order(visit.hub, number, other, actor=actor)


def _release(visit: Visit, number: str, here: str, note: str) -> Response:
    """Release every open exception of the order; the first that cannot be released says so."""
    done: Reviewed | None = None
    for row in order_detail(visit.hub, number)["exceptions"]:
        if row["state"] != "resolved" and (done is None or row["code"] in done.still_open):
            done = _review(visit, exception_id(row["ref"]), "release", [], note)
    if done is None:
        return go(visit, here, tone="warn", code="nothing_to_fix")
    return go(visit, here, code="done", more=" ".join(done.still_open))
