"""Limits that orders share: a warehouse's fulfilments per day, an owner's credit. Both are counted in rows that stay locked
from the moment a transaction reads them, so two transactions never use the same room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from domain.facts import WarehouseInfo
from storage import limits as stored
from storage.rows import Row

from .directory import Account, Directory

_OVER = frozenset({"completed", "closed"})


@dataclass(slots=True)
class Limits:
    """What one transaction knows of limits. `used` is credit by owner, `counted` what each order adds to it; `planned` are
    fulfilments by (warehouse, day), `added` what this transaction changes of them."""

    used: dict[int, int] = field(default_factory=dict)
    counted: dict[int, int] = field(default_factory=dict)
    spent: set[int] = field(default_factory=set)
    planned: dict[tuple[int, int], int] | None = None
    added: Counter[tuple[int, int]] = field(default_factory=Counter)

    def credit_left(self, account: Account, order: Row) -> int | None:
        """Minor units this order may come to: the limit less what the owner's other open orders use."""
        limit = account.sender.credit_left
        if limit is None:
            return None
        return limit - self.used.get(account.owner, 0) + self.counted.get(order["id"], 0)

    def count_order(self, account: Account, before: Row | None, order: Row) -> None:
        """Let an order count as it is now; `before` is how it was stored."""
        if account.sender.credit_left is None:
            return
        old = self.counted.get(order["id"])
        if old is None:
            old = 0 if before is None else counted_value(account, before)
        new = self.counted[order["id"]] = counted_value(account, order)
        if new != old:
            self.used[account.owner] = self.used.get(account.owner, 0) + new - old
            self.spent.add(account.owner)

    def count_slot(self, warehouse_id: int, day: int, count: int) -> None:
        self.added[warehouse_id, day] += count

    def planned_on(self, warehouse_id: int, day: int) -> int:
        """Fulfilments of that warehouse and day, those of this transaction included."""
        return max(0, (self.planned or {}).get((warehouse_id, day), 0) + self.added[warehouse_id, day])


def counted_value(account: Account, order: Row) -> int:
    """What a stored order uses of its owner's credit, minor units: all of it until it is completed or closed; nothing while
    it is stopped because the credit is exceeded, or when it is in another currency."""
    stopped = stored.NOT_COUNTED in order["verdicts"] or order["currency"] != account.sender.credit_currency
    return 0 if stopped or order["status"] in _OVER else int(order["paid"])


def load_limits(
    tx: Connection,
    limits: Limits,
    directory: Directory,
    accounts: Iterable[int],
    dossiers: Mapping[int, Row],
    at: datetime,
    *,
    plans: bool,
) -> None:
    """Lock and load what these accounts have left and, when anything may be planned, the warehouses too. Comes after orders
    and outbox, before stock."""
    told = (directory.accounts.get(account_id) for account_id in set(accounts))
    owners = {a.owner: a for a in told if a is not None and a.sender.credit_left is not None}
    fresh = owners.keys() - limits.used.keys()
    if fresh:
        for owner, known in stored.lock_credits(tx, fresh).items():
            limits.used[owner] = _count_open(tx, directory, owners[owner]) if known is None else known
            if known is None:
                limits.spent.add(owner)
    for order_id, order in dossiers.items():
        account = directory.accounts.get(order["account_id"])
        if account is not None and account.sender.credit_left is not None:
            limits.counted.setdefault(order_id, counted_value(account, order))
    if plans and limits.planned is None:
        days = [(t.id, day_of(t.info, at)) for t in directory.targets.values() if t.info.capacity is not None]
        limits.planned = stored.lock_capacity(tx, days) if days else {}


def _count_open(tx: Connection, directory: Directory, account: Account) -> int:
    own = [each.id for each in directory.accounts.values() if each.owner == account.owner]
    return stored.sum_open_orders(tx, accounts=own, currency=account.sender.credit_currency)


def write_limits(tx: Connection, limits: Limits) -> None:
    stored.save_credits(tx, [(owner, limits.used[owner]) for owner in limits.spent])
    stored.add_planned(tx, [(*key, count) for key, count in limits.added.items()])


def day_of(info: WarehouseInfo, at: datetime) -> int:
    """The day of a warehouse's own clock that an order of this moment counts for, as a proleptic ordinal."""
    local = at + timedelta(minutes=info.utc_offset)
    late = info.cut_off is not None and local.hour * 60 + local.minute >= info.cut_off
    return local.toordinal() + late


def curable(tx: Connection, directory: Directory, *, most: int) -> list[int]:
    """Orders stopped because the credit was exceeded, for which there is room now; the oldest first."""
    rows = stored.list_exceeded(tx, limit=most)
    used = stored.load_credits(tx, {directory.accounts[row["account_id"]].owner for row in rows})
    ids: list[int] = []
    for row in rows:
        account = directory.accounts[row["account_id"]]
        limit = account.sender.credit_left
        room = None if limit is None else limit - used.get(account.owner, 0)
        if room is None or (row["paid"] <= room and row["currency"] == account.sender.credit_currency):
            used[account.owner] = used.get(account.owner, 0) + row["paid"]
            ids.append(row["order_id"])
    return ids
