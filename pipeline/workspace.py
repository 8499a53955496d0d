"""One batch at work: the rows a transaction has locked, and the facts around them, loaded with a few queries.

A document changes copies; `keep` makes the change part of the batch, so one that fails leaves no trace in it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection

from domain.facts import Bundle, Facts, Goods, Listing
from domain.merging import Group
from domain.values import maker
from storage import orders as stored
from storage.directory import load_bundles, load_listed
from storage.exceptions import point_exceptions, put_exceptions
from storage.goods import load_goods_rows
from storage.idempotency import put_replies
from storage.inbox import put_made
from storage.locks import lock_identities
from storage.rows import Row, sent_together
from storage.stock import Level, add_stock, level_row, lock_levels, save_stock_moves
from storage.tables import outbox
from storage.times import micros, span

from .bootstrap import Hub
from .contexts import write_contexts
from .directory import Account, Directory, RulesetAsks, Target, read_directory
from .dossier import DETAIL, Dossier, Part, Snapshot, copy_of, load_dossiers, snapshot, write_dossiers
from .lanes import dispatch_jobs
from .limits import Limits, day_of, load_limits, write_limits

_facts = maker(
    Facts,
    (
        *("now", "sender", "listings", "bundles", "warehouses", "available", "backorder", "stale"),
        *("buyer_orders_24h", "buyer_orders_30d", "sender_orders_before", "goods", "planned_today", "waived"),
    ),
)
_NOTHING: Mapping[str, tuple[Listing, ...]] = MappingProxyType({})
_NO_CODES: frozenset[str] = frozenset()
_DAY = span(timedelta(days=1))
_MONTH = 30 * _DAY
MANY_SENT = 1_000
_REMEMBERED = 20_000  # source SKUs


@dataclass(slots=True)
class Workspace:
    """Everything one transaction works on. `available` is ATP by (warehouse name, SKU), kept up to date as orders of the
    batch take from it."""

    hub: Hub
    tx: Connection
    at: datetime
    directory: Directory
    dossiers: dict[int, Dossier] = field(default_factory=dict)
    before: dict[int, Snapshot] = field(default_factory=dict)
    by_external: dict[tuple[int, str], int] = field(default_factory=dict)
    tombstones: set[tuple[int, str]] = field(default_factory=set)
    listings: dict[int, dict[str, tuple[Listing, ...]]] = field(default_factory=dict)
    bundles: dict[str, Bundle] = field(default_factory=dict)
    levels: dict[tuple[int, str], Level] = field(default_factory=dict)
    moved: dict[tuple[int, str], Row] = field(default_factory=dict)
    available: dict[tuple[str, str], int] = field(default_factory=dict)
    backorder: frozenset[str] = frozenset()
    stale: frozenset[tuple[str, str]] = frozenset()
    buyers: dict[tuple[int, bytes], int] = field(default_factory=dict)
    buyers_30d: dict[tuple[int, bytes], int] = field(default_factory=dict)
    buyer_hashes: dict[str, bytes] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    goods: dict[str, Goods] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    loose: list[Row] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    contexts: dict[str, str] = field(default_factory=dict)
    block: int = 4
    drawn: list[int] = field(default_factory=list)
    limited: list[Target] = field(init=False)
    now: int = field(init=False)

    def __post_init__(self) -> None:
        self.now = micros(self.at)
        self.limited = [one for one in self.directory.targets.values() if one.info.capacity is not None]

    def new_id(self) -> int:
        """An id above all before it. Drawn in blocks, each twice the last: what is left over of them is nobody's."""
        if not self.drawn:
            self.block = min(1024, 2 * self.block)
            self.drawn = self.hub.ids.take(self.block)[::-1]
        return self.drawn.pop()

    def dossier(self, order_id: int) -> Dossier:
        """A copy to change. It counts only after `keep`."""
        return copy_of(self.dossiers[order_id])

    def keep(self, dossier: Dossier) -> None:
        """Make a changed copy part of the batch, and its stock moves with it."""
        order = dossier.order
        order_id, account = order["id"], self.directory.accounts[order["account_id"]]
        current = self.dossiers.get(order_id)
        if current is None:
            self._count_new(account, order)
        elif current is not dossier:
            dossier.log[:0] = current.log
            dossier.decisions[:0] = current.decisions
            dossier.after_sale_lines[:0] = current.after_sale_lines
        for warehouse_id, sku, on_hand, reserved in dossier.moves:
            self._move(warehouse_id, sku, on_hand, reserved)
        dossier.moves.clear()
        for warehouse_id, day, count in dossier.slots:
            self.limits.count_slot(warehouse_id, day, count)
        dossier.slots.clear()
        if account.sender.credit_left is not None:
            stored_before = self.before.get(order_id)
            self.limits.count_order(account, stored_before.order if stored_before else None, order)
        self.dossiers[order_id] = dossier
        self.by_external[order["account_id"], order["external_id"]] = order_id

    def facts(
        self,
        account: Account,
        dossier: Dossier,
        *,
        returned: Mapping[Any, int] | None = None,
        slots: Mapping[str, int] | None = None,
    ) -> Facts:
        """What checks and rules may see for one order. `returned` are units its own plan gives back, by (warehouse, SKU);
        `slots` the places in present days that it gives back, by warehouse."""
        available: Mapping[tuple[str, str], int] = self.available
        if returned:
            own = {key: self.available.get(key, 0) + units for key, units in returned.items()}
            available = ChainMap(own, self.available)
        if account.terms.buffers:
            available = _LessBuffer(available, account.terms.buffers)
        sender = account.sender
        if sender.credit_left is not None:
            sender = replace(sender, credit_left=self.limits.credit_left(account, dossier.order))
        day, month = self._others(account, dossier)
        waived = dossier.private.get("waived")
        return _facts(
            self.at,
            sender,
            self.listings.get(account.id, _NOTHING),
            self.bundles,
            self.directory.warehouses,
            available,
            self.backorder,
            self.stale,
            day,
            month,
            self.sent_before(account, dossier) if self.directory.asks.history else MANY_SENT,
            self.goods,
            self._planned_today(slots or {}) if self.limited else {},
            frozenset(waived) if waived else _NO_CODES,
        )

    def _others(self, account: Account, dossier: Dossier) -> tuple[int, int]:
        """A buyer's orders of the last day and of the last 30 besides the one in question, which is among them once it is
        stored."""
        buyer = dossier.order["buyer_hash"]
        if not buyer:
            return 0, 0
        key = (account.id, buyer)
        day, month = self.buyers.get(key, 0), self.buyers_30d.get(key, 0)
        if dossier.new:
            return day, month
        placed = dossier.order["placed_at"]
        return max(0, day - (placed > self.now - _DAY)), max(0, month - (placed > self.now - _MONTH))

    def sent_before(self, account: Account, dossier: Dossier) -> int:
        """How many orders this sender had sent when it sent this one; what was counted then stays."""
        known = dossier.private.get("sent_before")
        count = self.sent.get(account.owner, MANY_SENT) if known is None else int(known)
        return count if dossier.new or known is not None else max(0, count - 1)

    def _planned_today(self, slots: Mapping[str, int]) -> dict[str, int]:
        return {
            target.name: max(
                0, self.limits.planned_on(target.id, day_of(target.info, self.at)) - slots.get(target.name, 0)
            )
            for target in self.limited
        }

    def _count_new(self, account: Account, order: Row) -> None:
        """An order of this batch counts for those that come after it, as if it had been stored before."""
        if self.sent and account.owner in self.sent:
            self.sent[account.owner] = min(MANY_SENT, self.sent[account.owner] + 1)
        if buyer := order["buyer_hash"]:
            key, placed = (account.id, buyer), order["placed_at"]
            if placed > self.now - _DAY:
                self.buyers[key] = self.buyers.get(key, 0) + 1
            if placed > self.now - _MONTH:
                self.buyers_30d[key] = self.buyers_30d.get(key, 0) + 1

    def _move(self, warehouse_id: int, sku: str, on_hand: int, reserved: int) -> None:
        key = (warehouse_id, sku)
        row = self.moved.get(key)
        if row is None:
            level = self.levels.get(key)
            row = self.moved[key] = _empty_stock(warehouse_id, sku) if level is None else level_row(level)
        row["reserved"] = max(0, row["reserved"] + reserved)
        if on_hand:
            row["on_hand"] = max(0, row["on_hand"] + on_hand)
            row["moved_at"] = self.now
        target = self.directory.targets.get(warehouse_id)
        if target is not None:
            self.available[target.name, sku] = free_units(row)


class _LessBuffer(Mapping[tuple[str, str], int]):
    """ATP as an account with buffers of its own sees it: so many units less in every warehouse, never below zero."""

    __slots__ = ("_all", "_buffers")

    def __init__(self, available: Mapping[tuple[str, str], int], buffers: Mapping[str, int]) -> None:
        self._all, self._buffers = available, buffers

    def __getitem__(self, key: tuple[str, str]) -> int:
        return max(0, self._all[key] - self._buffers.get(key[1], self._buffers.get("*", 0)))

    def __iter__(self) -> Any:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def free_units(row: Mapping[str, Any]) -> int:
    """ATP of one stock row: on hand - reserved - buffer, never below zero."""
    free: int = row["on_hand"] - row["reserved"] - row["buffer"]
    return max(0, free)


def open_workspace(hub: Hub, tx: Connection, at: datetime) -> Workspace:
    return Workspace(hub=hub, tx=tx, at=at, directory=read_directory(hub, tx))


def load_orders(ws: Workspace, order_ids: Iterable[int], part: Part = None, *, in_place: bool = True) -> None:
    """Lock and load these orders, or a `part` of each. Not `in_place`: nobody changes them but in copies (`Workspace.dossier`),
    so how they were need not be copied."""
    wanted = set(order_ids) - ws.dossiers.keys()
    for order_id, dossier in load_dossiers(ws.tx, ws.hub.vault, wanted, part=part).items():
        ws.dossiers[order_id] = dossier
        ws.before[order_id] = snapshot(copy_of(dossier) if in_place else dossier)
        ws.by_external[dossier.order["account_id"], dossier.order["external_id"]] = order_id


def find_orders(ws: Workspace, keys: Iterable[tuple[int, str]], also: Iterable[int] = (), part: Part = None) -> None:
    """Lock and load the orders that exist of these (account id, external id), their tombstones, and the orders `also` by id, or
    a `part` of each: all at once, because locks are taken in one order. They are changed in copies only."""
    keys = sorted(set(keys))
    lock_identities(ws.tx, keys)
    found = stored.find_orders(ws.tx, keys)
    ws.tombstones |= stored.find_tombstones(ws.tx, keys)
    load_orders(ws, [*also, *found], part, in_place=False)


def load_goods(ws: Workspace, wanted: Iterable[tuple[int, str]], skus: Iterable[str] = ()) -> None:
    """Load listings of (account id, source SKU), their bundles, and lock the stock of every SKU concerned."""
    wanted, skus = set(wanted), set(skus)
    _load_limits(ws, {account_id for account_id, _ in wanted}, plans=bool(wanted or skus))
    if not wanted and not skus:
        return
    ours = _take_listings(ws, wanted) | skus | ws.directory.asks.gifts
    for sku, (version, components) in load_bundles(ws.tx, ours).items():
        ws.bundles[sku] = Bundle(sku=sku, version=version, components=tuple((part[0], part[1]) for part in components))
        ours |= {part[0] for part in components}
    for sku, row in load_goods_rows(ws.tx, ours).items():
        told = {name: row[name] for name in ("weight_grams", "volume_ml", "supplier")}
        ws.goods[sku] = Goods(sku=sku, classes=frozenset(row["classes"]), **told)
        ws.titles[sku] = row["title"]
    _take_stock(ws, lock_levels(ws.tx, ours))


def _take_listings(ws: Workspace, wanted: set[tuple[int, str]]) -> set[str]:
    """Load the listings of (account id, source SKU); returns the SKUs they name."""
    found: dict[tuple[int, str], tuple[Listing, ...]] = {}
    for account_id, external_sku, sku, quantity, listed, floor_price, _ in load_listed(ws.tx, wanted):
        key, listing = (account_id, external_sku), _listing(external_sku, sku, quantity, listed, floor_price)
        found[key] = (*found[key], listing) if key in found else (listing,)
    for (account_id, external_sku), listings in found.items():
        ws.listings.setdefault(account_id, {})[external_sku] = listings
    if ws.hub.shared:  # only there is anything asked ahead
        _remember_listed(ws.hub, wanted, found)
    return {listing.sku for listings in found.values() for listing in listings}


def _take_stock(ws: Workspace, levels: Iterable[Level]) -> None:
    """What locked rows say about what may be sold."""
    limit = round(ws.hub.settings.stale_seconds * 1_000_000)
    oldest = ws.now - limit if limit else 0
    names = {target_id: target.name for target_id, target in ws.directory.targets.items()}
    endless: set[str] = set()
    stale: set[tuple[str, str]] = set()
    known, available = ws.levels, ws.available
    for level in levels:
        warehouse_id, sku, on_hand, reserved, buffer, backorder, source_time, _, _ = level
        key = (warehouse_id, sku)
        # Rows of this batch stay: earlier orders have moved them, and they are locked since they were first read.
        if key in known or key in ws.moved:
            continue
        known[key] = level
        if backorder:
            endless.add(sku)
        name = names.get(warehouse_id)
        if name is not None:
            free = on_hand - reserved - buffer
            available[name, sku] = max(0, free)
            if 0 < source_time < oldest:
                stale.add((name, sku))
    ws.backorder |= endless
    ws.stale |= stale


@lru_cache(maxsize=8192)
def _listing(external_sku: str, sku: str, quantity: int, listed: bool, floor_price: int | None) -> Listing:
    return Listing(external_sku=external_sku, sku=sku, quantity=quantity, listed=listed, floor_price=floor_price)


def _remember_listed(
    hub: Hub, wanted: Iterable[tuple[int, str]], found: Mapping[tuple[int, str], tuple[Listing, ...]]
) -> None:
    memory = hub.memory.setdefault("listed", {})
    if len(memory) > _REMEMBERED:
        memory.clear()
    memory.update({key: tuple([listing.sku for listing in found.get(key, ())]) for key in wanted})


def remembered_skus(hub: Hub, wanted: Iterable[tuple[int, str]], asks: RulesetAsks) -> set[str] | None:
    """The SKUs that `load_goods` will ask for, if nothing has changed since this process asked for these listings last; None
    where it never did. A guess, for what is asked ahead."""
    memory: dict[tuple[int, str], tuple[str, ...]] = hub.memory.get("listed", {})
    told = [memory.get(key) for key in wanted]
    if None in told:
        return None
    return {sku for skus in told if skus for sku in skus} | asks.gifts


def _load_limits(ws: Workspace, accounts: Iterable[int], *, plans: bool) -> None:
    orders = {order_id: dossier.order for order_id, dossier in ws.dossiers.items()}
    owners = {row["account_id"] for row in orders.values()} | set(accounts)
    load_limits(ws.tx, ws.limits, ws.directory, owners, orders, ws.at, plans=plans)


def count_history(ws: Workspace, buyers: Iterable[tuple[int, bytes]], accounts: Iterable[int]) -> None:
    """How many orders these buyers (account id, buyer hash) placed in the last 24 hours; and what else of history the armed
    rules ask for: 30 days, and how many orders these accounts' senders ever sent."""
    buyers, asked = set(buyers), ws.directory.asks.history
    ws.buyers |= stored.count_buyers(ws.tx, buyers, since=buyers_since(ws.now))
    if "buyer_orders_30d" in asked:
        ws.buyers_30d |= stored.count_buyers(ws.tx, buyers, since=ws.now - _MONTH)
    if "sender_orders_before" in asked:
        for owner in {ws.directory.accounts[each].owner for each in accounts} - ws.sent.keys():
            own = [account.id for account in ws.directory.accounts.values() if account.owner == owner]
            ws.sent[owner] = stored.count_sent(ws.tx, own, most=MANY_SENT)


def buyers_since(now: int) -> int:
    """From when on a buyer's orders count as recent (µs)."""
    return now - _DAY


def count_stored_history(ws: Workspace) -> None:
    """The same for the orders that are loaded, when they are about to be decided again."""
    orders = [dossier.order for dossier in ws.dossiers.values()]
    buyers = ((row["account_id"], row["buyer_hash"]) for row in orders if row["buyer_hash"])
    count_history(ws, buyers, (row["account_id"] for row in orders))


def write_workspace(ws: Workspace, *, documents: Iterable[Row] = (), replies: Sequence[Row] = ()) -> None:
    """Write every kept change: dossiers, stock, exceptions of documents that became no order; and `documents` that are not stored
    yet, and replies to posts."""
    pairs = [(dossier, ws.before.get(order_id)) for order_id, dossier in sorted(ws.dossiers.items())]
    write_contexts(ws)
    with sent_together(ws.tx, len(pairs)):
        put_made(ws.tx, documents)
        write_dossiers(ws.tx, ws.hub.vault, pairs, ws.now)
        _write_stock(ws)
        write_limits(ws.tx, ws.limits)
        put_exceptions(ws.tx, ws.loose)
        # The same fault in a newer version of a document: the open exception points at what came last.
        point_exceptions(ws.tx, ws.loose)
        put_replies(ws.tx, replies)
    if ws.hub.shared:
        _wake_senders(ws)


def _wake_senders(ws: Workspace) -> None:
    """What has become due is sent as soon as this is committed."""
    targets: set[tuple[str, int]] = set()
    for order_id, dossier in ws.dossiers.items():
        before = ws.before[order_id].rows[outbox] if order_id in ws.before else {}
        for key, row in dossier.outbox.items():
            known = before.get(key)
            if row["state"] == "due" and row["due_at"] <= ws.now and (known is None or known["state"] != "due"):
                targets.add((row["target_kind"], row["target_id"]))
    for kind, target_id in sorted(targets):
        calls = ws.directory.calls(kind, target_id, ws.hub.settings.calls)
        ws.hub.wake(dispatch_jobs(kind, target_id, calls))


def exception_row(ws: Workspace, code: str, subject: str, detail: Mapping[str, Any], **places: int | None) -> Row:
    """A new open exception. `places`: account_id, partner_id, order_id, inbox_id, outbox_id."""
    row_id = ws.new_id()
    row: Row = dict.fromkeys(("account_id", "partner_id", "order_id", "inbox_id", "outbox_id"), None) | places
    return row | {
        "id": row_id,
        "code": code,
        "subject": subject,
        "state": "open",
        "detail": ws.hub.vault.seal_json(DETAIL, row_id, dict(detail)),
        "assignee": "",
        "snoozed_until": None,
        "opened_at": ws.now,
        "resolved_at": None,
        "resolved_by": "",
        "resolution": "",
    }


def _write_stock(ws: Workspace) -> None:
    rows = [ws.moved[key] for key in sorted(ws.moved, key=_by_sku)]
    for row in rows:
        row["updated_at"] = ws.now
    add_stock(ws.tx, [{name: row[name] for name in row if name != "missing"} for row in rows if "missing" in row])
    save_stock_moves(ws.tx, [row for row in rows if "missing" not in row])


_by_sku = itemgetter(1, 0)


def _empty_stock(warehouse_id: int, sku: str) -> Row:
    return {
        "warehouse_id": warehouse_id,
        "sku": sku,
        "on_hand": 0,
        "reserved": 0,
        "buffer": 0,
        "backorder": False,
        "source_time": 0,
        "moved_at": 0,
        "updated_at": 0,
        "missing": True,
    }
