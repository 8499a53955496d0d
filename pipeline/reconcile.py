"""The hub's own end of a reconciliation: what it knows of one account's orders, page by page, and whether work is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection

from storage.counts import find_unfinished
from storage.exception_lists import list_unread_documents, load_unresolved
from storage.order_lists import list_account_orders
from storage.order_reads import find_pushed_orders, load_fulfilments, load_packages

from .bootstrap import Hub
from .directory import read_directory

_PAGE = 1000


@dataclass(slots=True)
class Known:
    """One order as the hub knows it. `fulfilments` (code, state), `packages` (tracking, state towards the channel)."""

    external_id: str
    number: str
    status: str
    pushed: bool = False
    codes: list[str] = field(default_factory=list)
    fulfilments: list[tuple[str, str]] = field(default_factory=list)
    packages: list[tuple[str, str]] = field(default_factory=list)


def known_orders(hub: Hub, account: str) -> Iterator[Known]:
    """Every order of an account, oldest first."""
    after = 0
    while True:
        with hub.read() as tx:
            account_id = read_directory(hub, tx).account(account).id
            page, after = _page(tx, account_id, after)
        yield from page
        if len(page) < _PAGE:
            return


def unread_documents(hub: Hub, account: str) -> dict[str, str]:
    """Documents of an account that became no order: external id → exception code."""
    with hub.read() as tx:
        account_id = read_directory(hub, tx).account(account).id
        return dict(list_unread_documents(tx, account_id))


def is_quiet(hub: Hub) -> bool:
    """Nothing waits to be absorbed or sent. Parked work and exceptions wait for a person, not for us."""
    with hub.read() as tx:
        return not find_unfinished(tx)


def _page(tx: Connection, account_id: int, after: int) -> tuple[list[Known], int]:
    rows = list_account_orders(tx, account_id, after=after, limit=_PAGE)
    page = {row["id"]: Known(row["external_id"], row["number"], row["status"]) for row in rows}
    for row in load_fulfilments(tx, page):
        page[row["order_id"]].fulfilments.append((row["code"], row["state"]))
    for row in load_packages(tx, page):
        page[row["order_id"]].packages.append((row["tracking"], row["confirm_state"]))
    for order_id, code in load_unresolved(tx, page):
        page[order_id].codes.append(code)
    for order_id in find_pushed_orders(tx, page):
        page[order_id].pushed = True
    return list(page.values()), max(page, default=after)
