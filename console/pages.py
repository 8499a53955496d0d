"""The pages: what a GET shows. None of them changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from domain.errors import RefusedError
from pipeline.console_details import exception_detail, order_detail
from pipeline.console_overview import overview
from pipeline.console_views import Page, account_names, exception_tabs, list_open, list_orders_page
from pipeline.explanation import explain_order, flat
from pipeline.order_view import order_id_of

from . import words
from .answers import Visit, go, show
from .charts import bars
from .guard import safe_path

_VIEW = ("state", "code", "account", "assignee", "q", "after")
ASKED = ("all", "release", "warehouse", "rule", "carrier")
_RULES, _CONDITIONS, _OF_ONE_RULE = 30, 120, 40
_STATES = ("open", "snoozed", "resolved")
ORDER_STATUSES = ("pending_payment", "pending_shipment", "partially_shipped", "shipped", "completed", "closed")


def show_overview(visit: Visit) -> Response:
    seen = overview(visit.hub)
    currency = max(seen["paid"], key=lambda code: seen["paid"][code], default="")
    orders = bars([(hour["at"], hour["orders"]) for hour in seen["hours"]])
    sales = bars([(hour["at"], hour["paid"].get(currency, 0)) for hour in seen["hours"]])
    return show(visit, "overview.html", seen=seen, orders=orders, sales=sales, currency=currency, active="overview")


def show_login(visit: Visit) -> Response:
    after = safe_path(visit.request.query_params.get("next", "/"))
    if visit.session.scope:
        return go(visit, after)
    return show(visit, "login.html", after=after, wrong=False, active="")


def read_view(visit: Visit) -> dict[str, str]:
    """The filters of the exceptions page, from its address."""
    query = visit.request.query_params
    view = {name: query.get(name, "")[:100] for name in _VIEW}
    if view["state"] not in _STATES:
        view["state"] = ""
    return view


def find_exceptions(visit: Visit, view: Mapping[str, str]) -> Page:
    mine = visit.session.actor if view["assignee"] == "me" else view["assignee"]
    return list_open(
        visit.hub,
        state=view["state"] or "open",
        code=view["code"],
        account=view["account"],
        assignee=mine,
        text=view["q"],
        after=view["after"],
    )


def show_exceptions(visit: Visit) -> Response:
    view = read_view(visit)
    at = visit.request.query_params.get("at", "")[:40]
    if visit.request.headers.get("x-part") == "detail" and at:
        return show(visit, "detail.html", **_detail(visit, view, at, []))
    found = find_exceptions(visit, view)
    return show_queue(visit, view, found, at)


def show_queue(visit: Visit, view: Mapping[str, str], found: Page, at: str = "", **more: Any) -> Response:
    """The list with one exception beside it: the one the address names, else the first."""
    chosen = at or (found.rows[0]["ref"] if found.rows else "")
    detail = _detail(visit, view, chosen, found.rows)
    titles = {code: code for code in words.PROBLEMS}
    values: dict[str, Any] = {
        "found": found,
        "asked": bool(at),
        "titles": titles,
        "active": "exceptions",
        "results": None,
    }
    return show(visit, "exceptions.html", **(values | detail | {"accounts": account_names(visit.hub)} | more))


def _detail(visit: Visit, view: Mapping[str, str], at: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    refs = [row["ref"] for row in rows]
    following = refs[refs.index(at) + 1 :] if at in refs else []
    chosen = exception_detail(visit.hub, at) if at else None
    asked = visit.request.query_params.get("then", "")[:40]
    return {"view": view, "chosen": chosen, "advance": following[0] if following else asked}


def find_exception(visit: Visit) -> Response:
    """The address people paste into a chat."""
    ref = visit.request.path_params["ref"][:40]
    return go(visit, "/exceptions" if ref == "bulk" else f"/exceptions?{urlencode({'at': ref})}")


def show_counts(visit: Visit) -> Response:
    """The counts of the tabs, for a page that stays open."""
    tabs = exception_tabs(visit.hub)
    return JSONResponse({"open": tabs["open"], "snoozed": tabs["snoozed"], "codes": dict(tabs["codes"])})


def show_orders(visit: Visit) -> Response:
    query = visit.request.query_params
    view = {name: query.get(name, "")[:100] for name in ("q", "status", "account", "after")}
    if view["status"] not in ORDER_STATUSES:
        view["status"] = ""
    found = list_orders_page(
        visit.hub, text=view["q"], status=view["status"], account=view["account"], after=view["after"]
    )
    if view["q"] and not view["after"] and len(found.rows) == 1:
        return go(visit, f"/orders/{found.rows[0]['number']}")
    names = account_names(visit.hub)
    return show(visit, "orders.html", found=found, view=view, accounts=names, statuses=ORDER_STATUSES, active="orders")


def show_order(visit: Visit, **more: Any) -> Response:
    number = visit.request.path_params["number"][:64]
    order = order_detail(visit.hub, number)
    values: dict[str, Any] = {"order": order, "active": "orders", "shown": None, "documents": None}
    return show(visit, "order.html", **(values | _why(visit, number) | more))


def _why(visit: Visit, number: str) -> dict[str, Any]:
    """The explanation, when the address asks for it; what it asks for fills the form."""
    query = visit.request.query_params
    asked = {name: query.get(name, "")[:200].strip() for name in ("why", "name")}
    told: dict[str, Any] = {"asked": asked, "why": None, "why_fault": "", "seen": []}
    if asked["why"] not in ASKED:
        return told
    instead = f"{asked['why']}={asked['name']}" if asked["why"] not in {"all", "release"} else asked["why"]
    try:
        why = explain_order(visit.hub, order_id_of(visit.hub, number), "" if instead == "all" else instead)
    except RefusedError as error:
        if error.code != "alternative":
            raise
        return told | {"why_fault": error.code}
    return told | {"why": why, "seen": _seen(why["rules"], asked)}


def _seen(rules: list[dict[str, Any]], asked: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rules with their conditions in a row each, no more than fit a page; the one asked for comes first."""
    ordered = sorted(
        rules, key=lambda rule: (asked["why"] != "rule" or rule["rule"] != asked["name"], not rule["matched"])
    )
    found, room = [], _CONDITIONS
    for rule in ordered[:_RULES]:
        rows = list(islice(flat(rule["conditions"]), max(0, min(room, _OF_ONE_RULE))))
        room -= len(rows)
        found.append(rule | {"rows": [{"depth": depth} | dict(node) for depth, node in rows]})
    return found
