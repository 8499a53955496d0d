"""Accounts, warehouses, partners, keys, listings, bundles, rulesets: what an operator configures. Settings with secrets
are sealed; everything else is readable."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select, tuple_, update

from .rows import Row, chunks, dialect_insert, insert_rows, rows_of, upsert_rows
from .tables import accounts, api_keys, bundles, listings, partners, rulesets, stock, warehouses
from .vault import Vault

# Asked in every transaction: built once, because building it costs more than running it.
_NEWEST = (accounts.c.updated_at, warehouses.c.updated_at, partners.c.updated_at, rulesets.c.armed_at)
_STAMP = select(
    *(select(func.coalesce(func.max(time), 0)).scalar_subquery() for time in _NEWEST),
    *(select(func.coalesce(func.sum(time % 2_147_483_647), 0)).scalar_subquery() for time in _NEWEST),
)

ACCOUNT_SETTINGS = "accounts.settings"
WAREHOUSE_SETTINGS = "warehouses.settings"


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


def put_key(tx: Connection, row: Row) -> None:
    """Store an API key by its keyed hash; the same hash again changes name, scope and partner."""
    found = tx.execute(select(api_keys.c.id).where(api_keys.c.key_hash == row["key_hash"])).scalar()
    if found is None:
        insert_rows(tx, api_keys, [row])
    else:
        values = {name: row[name] for name in ("name", "scope", "partner_id", "revoked_at")}
        tx.execute(update(api_keys).where(api_keys.c.id == found).values(values))


def find_key(tx: Connection, key_hash: bytes) -> Row | None:
    """The key with this hash if it is not revoked."""
    rows = rows_of(tx, select(api_keys).where(api_keys.c.key_hash == key_hash, api_keys.c.revoked_at.is_(None)))
    return rows[0] if rows else None


def load_listings(tx: Connection, wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], list[Row]]:
    """Listings by (account id, source SKU)."""
    found: dict[tuple[int, str], list[Row]] = {}
    keys = tuple_(listings.c.account_id, listings.c.external_sku)
    for chunk in chunks(sorted(set(wanted)), 400):
        for row in rows_of(tx, select(listings).where(keys.in_(chunk)).order_by(listings.c.sku)):
            found.setdefault((row["account_id"], row["external_sku"]), []).append(row)
    return found


def put_listings(tx: Connection, rows: Sequence[Row]) -> None:
    upsert_rows(tx, listings, rows)


def load_bundles(tx: Connection, skus: Iterable[str]) -> dict[str, tuple[int, list[list[Any]]]]:
    """The newest version of each bundle: sku → (version, [[sku, quantity], …])."""
    found: dict[str, tuple[int, list[list[Any]]]] = {}
    for chunk in chunks(sorted(set(skus))):
        for row in rows_of(tx, select(bundles).where(bundles.c.sku.in_(chunk)).order_by(bundles.c.version)):
            found[row["sku"]] = (row["version"], json.loads(row["components"]))
    return found


def put_bundle(tx: Connection, sku: str, components: Sequence[tuple[str, int]], now: int) -> None:
    """Store a bundle; a changed list becomes the next version, because orders keep the version they were taken with."""
    text = json.dumps([list(part) for part in components])
    version, current = load_bundles(tx, [sku]).get(sku, (0, []))
    if json.dumps(current) != text:
        insert_rows(tx, bundles, [{"sku": sku, "version": version + 1, "components": text, "created_at": now}])


def lock_stock(tx: Connection, skus: Iterable[str]) -> dict[tuple[int, str], Row]:
    """Stock rows of these SKUs, locked in one order everywhere (SKU, warehouse) until the transaction ends."""
    found: dict[tuple[int, str], Row] = {}
    for chunk in chunks(sorted(set(skus))):
        query = (
            select(stock).where(stock.c.sku.in_(chunk)).order_by(stock.c.sku, stock.c.warehouse_id).with_for_update()
        )
        found |= {(row["warehouse_id"], row["sku"]): row for row in rows_of(tx, query)}
    return found


def add_stock(tx: Connection, rows: Sequence[Row]) -> None:
    """Make stock rows; one that somebody else made meanwhile takes our units on top of its own."""
    if rows:
        statement = dialect_insert(tx, stock)
        told = statement.excluded
        more = {"on_hand": stock.c.on_hand + told.on_hand, "reserved": stock.c.reserved + told.reserved}
        tx.execute(statement.on_conflict_do_update(index_elements=["warehouse_id", "sku"], set_=more), rows)


def stock_skus(tx: Connection, warehouse_id: int) -> list[str]:
    """Every SKU a warehouse is known to hold."""
    return list(
        tx.execute(select(stock.c.sku).where(stock.c.warehouse_id == warehouse_id).order_by(stock.c.sku)).scalars()
    )


def armed_ruleset(tx: Connection) -> Row | None:
    rows = rows_of(
        tx, select(rulesets).where(rulesets.c.state == "armed").order_by(rulesets.c.armed_at.desc()).limit(1)
    )
    return rows[0] if rows else None


def directory_stamp(tx: Connection) -> tuple[int, ...]:
    """Changes whenever an account, warehouse, partner or the armed ruleset does: what caches are keyed by. Newest times alone
    would hide a change by a process whose clock is behind, so all times are summed (modulo, to stay in 63 bits)."""
    return tuple(int(value) for value in tx.execute(_STAMP).one())
