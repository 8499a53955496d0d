"""Accounts, warehouses, partners, listings, bundles: what an operator configures. Settings with secrets
are sealed; everything else is readable."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, delete, func, not_, select, tuple_, update

from .asking import Question, ask, ask_rows
from .many import among, among_pairs, bind_pairs, bind_values
from .rows import Row, chunks, insert_rows, rows_of, upsert_rows
from .rulesets import IN_FORCE
from .tables import accounts, bundles, listings, partners, warehouses
from .vault import Vault

# Asked in every transaction: built once, because building it costs more than running it.
_NEWEST = (accounts.c.updated_at, warehouses.c.updated_at, partners.c.updated_at)
_STAMP = select(
    *(select(func.coalesce(func.max(time), 0)).scalar_subquery() for time in _NEWEST),
    *(select(func.coalesce(func.sum(time % 2_147_483_647), 0)).scalar_subquery() for time in _NEWEST),
    func.coalesce(IN_FORCE.scalar_subquery(), 0),
)

ACCOUNT_SETTINGS = "accounts.settings"
WAREHOUSE_SETTINGS = "warehouses.settings"

# A listing in the order of the table's columns: account id, source SKU, SKU, quantity, listed, floor price, updated at (µs).
Listed = tuple[int, str, str, int, bool, int | None, int]


def load_accounts(tx: Connection) -> list[Row]:
    """Every account with `options` read; settings stay sealed."""
    return [
        row | {"options": json.loads(row["options"])} for row in rows_of(tx, select(accounts).order_by(accounts.c.id))
    ]


def load_warehouses(tx: Connection) -> list[Row]:
    return [
        row | {"info": json.loads(row["info"])} for row in rows_of(tx, select(warehouses).order_by(warehouses.c.id))
    ]


def load_partners(tx: Connection) -> list[Row]:
    return [
        row | {"options": json.loads(row["options"])} for row in rows_of(tx, select(partners).order_by(partners.c.id))
    ]


def load_account_settings(tx: Connection, account_id: int) -> bytes:
    """The sealed settings of an account that is there."""
    return bytes(tx.execute(select(accounts.c.settings).where(accounts.c.id == account_id)).scalar_one())


def load_warehouse_settings(tx: Connection, warehouse_id: int) -> bytes:
    """The sealed settings of a warehouse that is there."""
    return bytes(tx.execute(select(warehouses.c.settings).where(warehouses.c.id == warehouse_id)).scalar_one())


def put_account(tx: Connection, vault: Vault, row: Row, secret: Mapping[str, Any]) -> None:
    """Store an account: `row` has id, name, channel, partner_id, options (a dict), enabled, created_at, updated_at."""
    sealed = vault.seal_json(ACCOUNT_SETTINGS, row["id"], secret)
    full = row | {"settings": sealed, "options": json.dumps(row["options"], sort_keys=True, ensure_ascii=False)}
    upsert_rows(tx, accounts, [full | {"state": "active", "state_reason": ""}], keep=("created_at", "name"))


def put_warehouse(tx: Connection, vault: Vault, row: Row, secret: Mapping[str, Any]) -> None:
    """Store a warehouse: `row` has id, name, kind, info (a dict), enabled, stock_due_at, created_at, updated_at."""
    sealed = vault.seal_json(WAREHOUSE_SETTINGS, row["id"], secret)
    full = row | {"settings": sealed, "info": json.dumps(row["info"], sort_keys=True, ensure_ascii=False)}
    upsert_rows(
        tx, warehouses, [full | {"state": "active", "state_reason": ""}], keep=("created_at", "name", "stock_due_at")
    )


def put_partner(tx: Connection, row: Row) -> None:
    full = row | {"options": json.dumps(row["options"], sort_keys=True, ensure_ascii=False)}
    upsert_rows(tx, partners, [full], keep=("created_at", "name"))


def set_account_state(tx: Connection, account_id: int, state: str, reason: str, now: int) -> bool:
    """Stop or restart an account; True when that changed something."""
    where = (accounts.c.id == account_id, accounts.c.state != state)
    return (
        tx.execute(update(accounts).where(*where).values(state=state, state_reason=reason, updated_at=now)).rowcount
        == 1
    )


def set_warehouse_state(tx: Connection, warehouse_id: int, state: str, reason: str, now: int) -> bool:
    where = (warehouses.c.id == warehouse_id, warehouses.c.state != state)
    return (
        tx.execute(update(warehouses).where(*where).values(state=state, state_reason=reason, updated_at=now)).rowcount
        == 1
    )


@cache
def _listings_of(dialect: str) -> Select[Any]:
    return (
        select(listings)
        .where(among_pairs(dialect, listings.c.account_id, listings.c.external_sku))
        .order_by(listings.c.sku)
    )


def load_listings(tx: Connection, wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], list[Row]]:
    """Listings by (account id, source SKU)."""
    found: dict[tuple[int, str], list[Row]] = {}
    for question in about_listings(tx, wanted):
        for row in ask_rows(tx, question):
            found.setdefault((row["account_id"], row["external_sku"]), []).append(row)
    return found


def load_listed(tx: Connection, wanted: Iterable[tuple[int, str]]) -> list[Listed]:
    """The same as they come, by SKU."""
    return [listed for question in about_listings(tx, wanted) for listed in ask(tx, question)]


def about_listings(tx: Connection, wanted: Iterable[tuple[int, str]]) -> list[Question]:
    """What `load_listings` asks."""
    query = _listings_of(tx.dialect.name)
    return [Question(query, bind_pairs(tx, chunk)) for chunk in chunks(sorted(set(wanted)))]


def put_listings(tx: Connection, rows: Sequence[Row]) -> None:
    upsert_rows(tx, listings, rows)


def delete_other_listings(tx: Connection, account_id: int, rows: Sequence[Row]) -> int:
    """Take away what the source SKUs of `rows` (external_sku, sku) were mapped to besides; returns how many listings."""
    x, removed = listings, 0
    for chunk in chunks(sorted(rows, key=lambda row: (row["external_sku"], row["sku"])), 200):
        skus = {row["external_sku"] for row in chunk}
        where = (x.c.account_id == account_id, x.c.external_sku.in_(sorted(skus)))
        given = [(row["external_sku"], row["sku"]) for row in rows if row["external_sku"] in skus]
        kept = tuple_(x.c.external_sku, x.c.sku).in_(given)
        removed += tx.execute(delete(x).where(*where, not_(kept))).rowcount
    return removed


@cache
def _bundles_of(dialect: str) -> Select[Any]:
    return select(bundles).where(among(dialect, bundles.c.sku)).order_by(bundles.c.version)


def load_bundles(tx: Connection, skus: Iterable[str]) -> dict[str, tuple[int, list[list[Any]]]]:
    """The newest version of each bundle: sku → (version, [[sku, quantity], …])."""
    found: dict[str, tuple[int, list[list[Any]]]] = {}
    for question in about_bundles(tx, skus):
        for row in ask_rows(tx, question):
            found[row["sku"]] = (row["version"], json.loads(row["components"]))
    return found


def about_bundles(tx: Connection, skus: Iterable[str]) -> list[Question]:
    """What `load_bundles` asks."""
    query = _bundles_of(tx.dialect.name)
    return [Question(query, bind_values(tx, chunk)) for chunk in chunks(sorted(set(skus)))]


def put_bundle(tx: Connection, sku: str, components: Sequence[tuple[str, int]], now: int) -> None:
    """Store a bundle; a changed list becomes the next version, because orders keep the version they were taken with."""
    text = json.dumps([list(part) for part in components])
    version, current = load_bundles(tx, [sku]).get(sku, (0, []))
    if json.dumps(current) != text:
        insert_rows(tx, bundles, [{"sku": sku, "version": version + 1, "components": text, "created_at": now}])


def directory_stamp(tx: Connection, now: int) -> tuple[int, ...]:
    """Changes whenever an account, warehouse or partner does, or the ruleset in force at `now` (µs) is another: what caches
    are keyed by. Newest times alone would hide a change by a process whose clock is behind, so all times are summed (modulo,
    to stay in 63 bits)."""
    (told,) = ask(tx, about_directory(now))
    return tuple([int(value) for value in told])


def about_directory(now: int) -> Question:
    """What `directory_stamp` asks."""
    return Question(_STAMP, {"now": now})
