"""Templates and how values look in them. Everything is escaped; what is not text is made here as `Markup`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from domain.errors import MappingError
from domain.money import from_minor

from . import words

_FOLDER = Path(__file__).parent
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def environment(language: str) -> Environment:
    """The templates in one language."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    told = words.translations(language)
    made.install_gettext_translations(told, newstyle=True)  # type: ignore[attr-defined]

    def named(table: Mapping[str, str], prefix: str = "") -> Any:
        return lambda code: told.gettext(words.title_of(table, str(code).removeprefix(prefix)))

    made.filters |= {
        "problem": named(words.PROBLEMS),
        "state": named(words.STATES),
        "check": named(words.CHECKS),
        "event": named(words.EVENTS),
        "field": named(words.FIELDS, "consignee."),
        "answer": named(words.ANSWERS),
        "difference": named(words.DIFFERENCES),
        "why_not": named(words.WHY_NOT),
        "change": named(words.CHANGES),
        "rail": named(words.RAILS),
        "rule_event": named(words.RULE_EVENTS),
        "money": money,
        "minor": minor,
        "when": when,
        "ago": ago,
        "span": span,
        "gravity": words.gravity,
        "person": lambda actor: str(actor).removeprefix("key:"),
        "tone": tone,
    }
    made.globals |= {"link": link, "asset": asset}
    return made


def render(language: str, template: str, values: Mapping[str, Any]) -> str:
    return environment(language).get_template(template).render(values)


def minor(amount: int, currency: str) -> str:
    """Major units as text; minor units as they are when the currency is unknown."""
    try:
        text = from_minor(amount, currency)
    except MappingError:
        return str(amount)
    units, point, fraction = text.partition(".")
    return f"{int(units):,}{point}{fraction}" if units != "-0" else text


def money(amount: int, currency: str) -> Markup:
    """An amount never stands without its currency."""
    return Markup('<span class="num">{}</span> <small>{}</small>').format(minor(amount, currency), currency or "?")


def moment(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def when(value: int | None, style: str = "short") -> Markup:
    """A time in UTC; the page's script puts it into the viewer's zone."""
    if value is None:
        return Markup("—")
    at = moment(value)
    text = at.strftime("%m-%d %H:%M" if style == "short" else "%Y-%m-%d %H:%M:%S")
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" data-style="{}">{} UTC</time>').format(stamp, style, text)


def span(micros: int | None) -> str:
    """A duration in one unit, short: 45s, 12m, 7h, 3d."""
    if micros is None:
        return "—"
    seconds = max(0, micros // 1_000_000)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


@pass_context
def ago(context: Context, value: int | None) -> Markup:
    """How long ago, with the moment itself as the title."""
    if value is None:
        return Markup("—")
    stamp = moment(value).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" data-style="ago">{}</time>').format(stamp, span(context["now"] - value))


def tone(state: str) -> str:
    """Which of five colours a state has."""
    if state in {
        "shipped",
        "delivered",
        "completed",
        "confirmed",
        "done",
        "paid",
        "active",
        "resolved",
        "accepted",
        "armed",
    }:
        return "good"
    if state in {"exception", "rejected", "unknown", "refused", "stopped", "parked", "returned"}:
        return "bad"
    if state in {
        "held",
        "pending_payment",
        "partially_shipped",
        "unpaid",
        "cancelling",
        "snoozed",
        "degraded",
        "stale",
    }:
        return "warn"
    if state in {"ready", "pushing", "picking", "pending_shipment", "due", "sending", "open", "replayed", "approved"}:
        return "info"
    return "calm"


@pass_context
def link(context: Context, path: str, **changes: Any) -> str:
    """A path with the view's own filters, changed; empty values are left out."""
    view: Mapping[str, Any] = context.get("view") or {}
    query = {name: value for name, value in {**view, **changes}.items() if value not in ("", None)}
    return f"{path}?{urlencode(query)}" if query else path


@cache
def asset(name: str) -> str:
    """The address of a file of ours; it changes when the file does, so browsers may keep it."""
    stamp = int((_FOLDER / "static" / name).stat().st_mtime)
    return f"/static/{name}?v={stamp:x}"
