"""The hub's own end of a reconciliation: what it knows of one account's orders, page by page, and whether work is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, exists, select

from storage import tables as t
from storage.rows import load_rows

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
    x, i = t.exceptions, t.inbox
    with hub.read() as tx:
        account_id = read_directory(hub, tx).account(account).id
        query = (
            select(i.c.external_id, x.c.code)
            .join(x, x.c.inbox_id == i.c.id)
            .where(x.c.account_id == account_id, x.c.order_id.is_(None), x.c.state != "resolved")
        )
        return {row[0]: row[1] for row in tx.execute(query)}


def is_quiet(hub: Hub) -> bool:
    """Nothing waits to be absorbed or sent. Parked work and exceptions wait for a person, not for us."""
    busy = ("due", "sending", "unknown", "waiting")
    with hub.read() as tx:
        unread = tx.execute(select(exists().where(t.inbox.c.state == "new"))).scalar()
        unsent = tx.execute(select(exists().where(t.outbox.c.state.in_(busy)))).scalar()
    return not unread and not unsent


def _page(tx: Connection, account_id: int, after: int) -> tuple[list[Known], int]:
    o = t.orders
    columns = (o.c.id, o.c.external_id, o.c.number, o.c.status)
    query = select(*columns).where(o.c.account_id == account_id, o.c.id > after).order_by(o.c.id).limit(_PAGE)
    page = {row.id: Known(row.external_id, row.number, row.status) for row in tx.execute(query)}
    for row in load_rows(tx, t.fulfilments, t.fulfilments.c.order_id, page):
        page[row["order_id"]].fulfilments.append((row["code"], row["state"]))
    for row in load_rows(tx, t.packages, t.packages.c.order_id, page):
        page[row["order_id"]].packages.append((row["tracking"], row["confirm_state"]))
    for row in load_rows(tx, t.exceptions, t.exceptions.c.order_id, page):
        if row["state"] != "resolved":
            page[row["order_id"]].codes.append(row["code"])
    for row in load_rows(tx, t.outbox, t.outbox.c.order_id, page):
        if row["kind"] == "push" and row["state"] == "done":
            page[row["order_id"]].pushed = True
    return list(page.values()), max(page, default=after)
