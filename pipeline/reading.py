"""From stored bytes to values: the strict reader, then the channel's mapping. Pure but for the opening of the seal."""

from __future__ import annotations

from datetime import datetime

from domain.errors import MappingError
from domain.order import Order
from domain.values import changed
from normalizer.mapping import normalize
from storage.inbox import load_documents, open_body
from wire.loose_json import parse_loosely
from wire.strict_json import Parsed, parse

from .corrections import apply_corrections
from .directory import Account
from .dossier import Dossier
from .workspace import Workspace


def read_order(account: Account, body: bytes, now: datetime) -> Order:
    """One order document of this account's channel as the canonical order. MappingError says where and why not."""
    return read_parsed(account, _parse(account, body, now), now)


def read_parsed(account: Account, parsed: Parsed, now: datetime) -> Order:
    """The same for a document that the strict reader has read."""
    if not isinstance(parsed.value, dict):
        raise MappingError("not_a_record", "an order is a JSON object")
    order = normalize(parsed.value, account.mapping, zone=account.channel.zone, now=now)
    return changed(order, notes=(*order.notes, *parsed.flags)) if parsed.flags else order


def _parse(account: Account, body: bytes, now: datetime) -> Parsed:
    try:
        return parse(body)
    except MappingError as error:
        raise (_about_money(account, body, now) if error.code == "number" else None) or error from None


def _about_money(account: Account, body: bytes, now: datetime) -> MappingError | None:
    """NaN, Infinity or 1e999 where an amount should be is a fault of money (promises.md §4 row 14), with the path to it."""
    try:
        value = parse_loosely(body)
        if isinstance(value, dict):
            normalize(value, account.mapping, zone=account.channel.zone, now=now)
    except MappingError as error:
        return error if error.code == "money" else None
    return None


def newest_content(ws: Workspace, dossier: Dossier, account: Account) -> Order:
    """What the source said last about a stored order, with what a person corrected."""
    (row,) = load_documents(ws.tx, [dossier.order["inbox_id"]])
    order = read_order(account, open_body(ws.hub.vault, row), ws.at)
    return apply_corrections(order, dossier.private.get("corrections", []))
