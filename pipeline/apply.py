"""Configuration from a file: partners, warehouses, accounts, keys, listings, stock, goods, rules. Applied twice, it changes
nothing twice; a secret may be `env:NAME`."""

from __future__ import annotations

import csv
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from connectors._channel import channels
from domain.errors import ConfigError, RefusedError
from domain.ruleset_life import INSTALLER, read_rails
from outbound._warehouse import warehouses
from rules.language import load as load_ruleset
from storage import directory as stored
from storage.cursors import ensure_cursors
from storage.exceptions import resolve_subject
from storage.goods import load_goods_rows, put_goods_rows
from storage.keys import find_key, put_key
from storage.limits import forget_credit
from storage.rows import Row
from storage.rulesets import count_armed_ever, find_ruleset, put_ruleset, put_ruleset_event
from storage.stock import lock_stock, put_missing_stock, save_stock_terms
from storage.times import maybe_micros, span

from .bootstrap import Hub
from .config_form import check_form, read_moment
from .sessions import check_settings
from .supply import replan_listed, replan_stocked

_ROOMS = (
    "settings",
    "partners",
    "warehouses",
    "accounts",
    "keys",
    "listings",
    "stock",
    "bundles",
    "goods",
    "ruleset",
    "csv",
)


@dataclass(slots=True)
class Applied:
    """How many things a file changed, by kind."""

    changed: dict[str, int]

    def count(self, kind: str, number: int = 1) -> None:
        if number:
            self.changed[kind] = self.changed.get(kind, 0) + number


def apply_file(hub: Hub, path: Path) -> Applied:
    """Apply a TOML file (or a CSV of listings or stock). ConfigError names what is wrong; then nothing is changed."""
    if path.suffix.lower() == ".csv":
        return apply_values(hub, _read_csv(path), path.parent)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("config_file", f"{path.name}: {error}") from None
    return apply_values(hub, values, path.parent)


def apply_values(hub: Hub, values: Mapping[str, Any], folder: Path = Path()) -> Applied:
    """Apply one document in one transaction."""
    unknown = sorted(set(values) - set(_ROOMS))
    if unknown:
        raise ConfigError("config_file", f"no such section: {unknown[0]}")
    values = _resolved(values)
    check_form(values)
    values = _with_tables(values, folder)
    applied = Applied({})
    with hub.write() as tx:
        work = _Work(hub, tx, applied)
        for entry in values.get("partners", ()):
            work.partner(entry)
        for entry in values.get("warehouses", ()):
            work.warehouse(entry)
        for entry in values.get("accounts", ()):
            work.account(entry)
        for entry in values.get("keys", ()):
            work.key(entry)
        work.listings(values.get("listings", ()))
        work.stock(values.get("stock", ()))
        for entry in values.get("bundles", ()):
            stored.put_bundle(tx, entry["sku"], [(part[0], int(part[1])) for part in entry["components"]], hub.now())
        work.goods(values.get("goods", ()))
        if "ruleset" in values:
            work.ruleset(folder / values["ruleset"]["file"])
    _cure(hub, values)
    return applied


def _with_tables(values: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """The document with the CSV files it names read into it, so that all of it is one transaction."""
    for name in values.get("csv", {}).get("files", ()):
        told = _resolved(_read_csv(folder / str(name)))
        values = {**values, **{room: [*values.get(room, ()), *rows] for room, rows in told.items()}}
    check_form(values)
    return values


def _cure(hub: Hub, values: Mapping[str, Any]) -> None:
    """Orders that waited for what a file brought are looked at again."""
    listed: dict[str, list[str]] = {}
    for entry in values.get("listings", ()):
        listed.setdefault(entry["account"], []).append(str(entry["external_sku"]))
    with hub.read() as tx:
        accounts = {row["name"]: row["id"] for row in stored.load_accounts(tx)}
    for account, skus in listed.items():
        replan_listed(hub, accounts[account], skus, actor="apply")
    stocked = [str(entry["sku"]) for room in ("stock", "goods") for entry in values.get(room, ())]
    if stocked:
        replan_stocked(hub, stocked, actor="apply")


@dataclass(slots=True)
class _Work:
    hub: Hub
    tx: Any
    applied: Applied

    def partner(self, entry: Mapping[str, Any]) -> None:
        known = {row["name"]: row for row in stored.load_partners(self.tx)}.get(entry["name"])
        now = self.hub.now()
        row: Row = {
            "id": known["id"] if known else self.hub.ids(),
            "name": entry["name"],
            "title": entry.get("title", entry["name"]),
            "active": bool(entry.get("active", True)),
            "contract_from": maybe_micros(read_moment(entry.get("contract_from"))),
            "contract_to": maybe_micros(read_moment(entry.get("contract_to"))),
            "options": dict(entry.get("options", {})),
            "created_at": known["created_at"] if known else now,
            "updated_at": now,
        }
        if known and {k: known[k] for k in row if k != "updated_at"} == {k: row[k] for k in row if k != "updated_at"}:
            return
        stored.put_partner(self.tx, row)
        forget_credit(self.tx, row["id"])
        self.applied.count("partners")

    def warehouse(self, entry: Mapping[str, Any]) -> None:
        kind = warehouses().get(entry["kind"])
        if kind is None:
            raise ConfigError("warehouse_kind_unknown", f"{entry['name']}: there is no kind {entry['kind']}")
        secret = dict(entry.get("settings", {}))
        check_settings(kind.settings, secret, f"warehouses.{entry['name']}")
        known = {row["name"]: row for row in stored.load_warehouses(self.tx)}.get(entry["name"])
        now = self.hub.now()
        row: Row = {
            "id": known["id"] if known else self.hub.ids(),
            "name": entry["name"],
            "kind": entry["kind"],
            "info": dict(entry.get("info", {})),
            "enabled": bool(entry.get("enabled", True)),
            "stock_due_at": known["stock_due_at"] if known else now,
            "created_at": known["created_at"] if known else now,
            "updated_at": now,
        }
        if known and self._same(known, row, stored.WAREHOUSE_SETTINGS, secret):
            return
        stored.put_warehouse(self.tx, self.hub.vault, row, secret)
        resolve_subject(self.tx, f"warehouse:{row['id']}", now=now, by="apply", how="configured again")
        self.applied.count("warehouses")

    def account(self, entry: Mapping[str, Any]) -> None:
        channel = channels().get(entry["channel"])
        if channel is None:
            raise ConfigError("channel_unknown", f"{entry['name']}: there is no channel {entry['channel']}")
        secret = dict(entry.get("settings", {}))
        check_settings(channel.settings, secret, f"accounts.{entry['name']}")
        known = {row["name"]: row for row in stored.load_accounts(self.tx)}.get(entry["name"])
        partners = {row["name"]: row["id"] for row in stored.load_partners(self.tx)}
        partner = entry.get("partner")
        if partner and partner not in partners:
            raise ConfigError("partner_unknown", f"{entry['name']}: there is no partner {partner}")
        now = self.hub.now()
        row: Row = {
            "id": known["id"] if known else self.hub.ids(),
            "name": entry["name"],
            "channel": entry["channel"],
            "partner_id": partners[partner] if partner else None,
            "options": dict(entry.get("options", {})),
            "enabled": bool(entry.get("enabled", True)),
            "created_at": known["created_at"] if known else now,
            "updated_at": now,
        }
        if not (known and self._same(known, row, stored.ACCOUNT_SETTINGS, secret)):
            stored.put_account(self.tx, self.hub.vault, row, secret)
            for owner in {row["id"], row["partner_id"], known["partner_id"] if known else None} - {None}:
                forget_credit(self.tx, owner)
            resolve_subject(self.tx, f"account:{row['id']}", now=now, by="apply", how="configured again")
            self.applied.count("accounts")
        back = span(timedelta(seconds=self.hub.settings.first_look_back_seconds))
        hour = span(timedelta(hours=1))
        due = {"poll": now, "day": now + hour, "week": now + 24 * hour}
        if channel.pull is not None:
            ensure_cursors(self.tx, row["id"], watermark=now - back, due=due)

    def key(self, entry: Mapping[str, Any]) -> None:
        partners = {row["name"]: row["id"] for row in stored.load_partners(self.tx)}
        text = str(entry["key"])
        if len(text) < 20:
            raise ConfigError("key_too_short", f"keys.{entry['name']}: a key has at least 20 characters")
        key_hash = self.hub.vault.search_hash("api_key", text)
        found = find_key(self.tx, key_hash)
        row: Row = {
            "id": found["id"] if found else self.hub.ids(),
            "name": entry["name"],
            "partner_id": _known(partners, entry["partner"], "partner") if entry.get("partner") else None,
            "scope": entry.get("scope", "partner"),
            "key_hash": key_hash,
            "created_at": found["created_at"] if found else self.hub.now(),
            "revoked_at": None,
        }
        put_key(self.tx, row)
        self.applied.count("keys", 0 if found else 1)

    def listings(self, entries: Iterable[Mapping[str, Any]]) -> None:
        accounts = {row["name"]: row["id"] for row in stored.load_accounts(self.tx)}
        rows: list[Row] = [
            {
                "account_id": _known(accounts, entry["account"], "account"),
                "external_sku": str(entry["external_sku"]),
                "sku": str(entry["sku"]),
                "quantity": int(entry.get("quantity") or 1),
                "listed": str(entry.get("listed", True)).lower() not in {"false", "0", "no"},
                "floor_price": int(entry["floor_price"]) if entry.get("floor_price") else None,
                "updated_at": self.hub.now(),
            }
            for entry in entries
        ]
        known = stored.load_listings(self.tx, ((row["account_id"], row["external_sku"]) for row in rows))
        same = {(*key, row["sku"]): {**row, "updated_at": 0} for key, found in known.items() for row in found}
        fresh = [
            row
            for row in rows
            if same.get((row["account_id"], row["external_sku"], row["sku"])) != {**row, "updated_at": 0}
        ]
        stored.put_listings(self.tx, fresh)
        self.applied.count("listings", len(fresh))

    def stock(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """First counts only: what is on hand later comes from the warehouse or the stock API, and a file applied again must
        not undo it. Buffer and back-order are brought up to date."""
        names = {row["name"]: row["id"] for row in stored.load_warehouses(self.tx)}
        rows: list[Row] = [
            {
                "warehouse_id": _known(names, entry["warehouse"], "warehouse"),
                "sku": str(entry["sku"]),
                "on_hand": int(entry.get("on_hand") or 0),
                "reserved": 0,
                "buffer": int(entry.get("buffer") or 0),
                "backorder": str(entry.get("backorder", False)).lower() in {"true", "1", "yes"},
                "source_time": 0,
                "moved_at": 0,
                "updated_at": self.hub.now(),
            }
            for entry in entries
        ]
        known = lock_stock(self.tx, [row["sku"] for row in rows])
        kept = [(row, known.get((row["warehouse_id"], row["sku"]))) for row in rows]
        fresh = [
            row
            for row, old in kept
            if old is None or (old["buffer"], old["backorder"]) != (row["buffer"], row["backorder"])
        ]
        put_missing_stock(self.tx, fresh)
        save_stock_terms(self.tx, fresh)
        self.applied.count("stock", len(fresh))

    def goods(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """What is known of our SKUs; what a file leaves out is nothing, except over the API. A CSV parts classes by blanks."""
        rows: list[Row] = [
            {
                "sku": str(entry["sku"]),
                "title": str(entry.get("title") or ""),
                "weight_grams": int(entry.get("weight_grams") or 0),
                "volume_ml": int(entry.get("volume_ml") or 0),
                "supplier": str(entry.get("supplier") or ""),
                "classes": sorted(set(_words(entry.get("classes") or ()))),
            }
            for entry in entries
        ]
        known = load_goods_rows(self.tx, [row["sku"] for row in rows])
        fresh = [row for row in rows if {**known.get(row["sku"], {}), **row} != known.get(row["sku"])]
        put_goods_rows(self.tx, [row | {"updated_at": self.hub.now()} for row in fresh])
        self.applied.count("goods", len(fresh))

    def ruleset(self, path: Path) -> None:
        """The very first ruleset of an installation is armed at once: there is nothing to try it on. Any later one is stored
        as a draft, to be replayed, approved and armed by people."""
        try:
            document = path.read_bytes()
            ruleset = load_ruleset(document)
        except (OSError, RefusedError) as error:
            raise ConfigError("ruleset_invalid", str(error)) from None
        known = find_ruleset(self.tx, ruleset.version)
        if known:
            if known["digest"] != ruleset.digest:
                raise ConfigError(
                    "ruleset_version", f"version {ruleset.version} exists with other rules: give it a new one"
                )
            return
        now = self.hub.now()
        first = count_armed_ever(self.tx) == 0
        row: Row = {"id": self.hub.ids(), "version": ruleset.version, "document": document.decode("utf-8-sig")}
        row |= {"digest": ruleset.digest, "created_at": now, "rails": read_rails({})}
        if first:
            put_ruleset(self.tx, row | {"author": INSTALLER, "state": "armed", "armed_at": now, "armed_from": now})
        else:
            put_ruleset(self.tx, row | {"author": "config", "state": "validated"})
        event = {"id": self.hub.ids(), "version": ruleset.version, "at": now, "actor": "apply", "detail": {}}
        put_ruleset_event(self.tx, event | {"kind": "armed_first" if first else "drafted"})
        self.applied.count("ruleset" if first else "ruleset_draft")

    def _same(self, known: Row, row: Row, place: str, secret: Mapping[str, Any]) -> bool:
        kept = {name: known[name] for name in row if name != "updated_at"}
        told = {name: row[name] for name in row if name != "updated_at"}
        same = kept == told and known["state"] == "active"
        return same and bool(self.hub.vault.open_json(place, known["id"], known["settings"]) == dict(secret))


def _words(told: Any) -> list[str]:
    return told.split() if isinstance(told, str) else list(told)


def _known(names: Mapping[str, int], name: str, what: str) -> int:
    if name not in names:
        raise ConfigError(f"{what}_unknown", f"there is no {what} {name}")
    return names[name]


def _resolved(value: Any) -> Any:
    """The same document with every `env:NAME` replaced."""
    if isinstance(value, Mapping):
        return {key: _resolved(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(entry) for entry in value]
    if isinstance(value, str) and value.startswith("env:"):
        found = os.environ.get(value[4:])
        if found is None:
            raise ConfigError("secret_missing", f"the environment has no {value[4:]}")
        return found
    return value


def _read_csv(path: Path) -> dict[str, Any]:
    """A CSV of listings (account, external_sku, sku, …), stock (warehouse, sku, on_hand, …) or goods (sku, weight_grams, …),
    told by its header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("config_file", f"{path.name}: {error}") from None
    header = set(rows[0]) if rows else set()
    if {"account", "external_sku", "sku"} <= header:
        return {"listings": rows}
    if {"warehouse", "sku"} <= header:
        return {"stock": rows}
    if "sku" in header and header & {"title", "weight_grams", "volume_ml", "supplier", "classes"}:
        return {"goods": rows}
    raise ConfigError("config_file", f"{path.name}: the header names neither listings nor stock nor goods")
