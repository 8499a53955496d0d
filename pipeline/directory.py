"""Who is who, as values: accounts, warehouses, partners and the armed rules, read once per change of configuration."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from connectors._channel import Channel, channels
from domain.errors import ConfigError
from domain.facts import Sender, WarehouseInfo
from normalizer.mapping import OrderMapping
from outbound._warehouse import Warehouse, warehouses
from rules.language import default_ruleset
from rules.language import load as load_ruleset
from rules.ruleset import Ruleset
from storage import directory as stored
from storage.rulesets import find_armed_ruleset
from storage.times import maybe_moment
from storage.vault import Vault

from .bootstrap import Hub
from .config_form import read_minute
from .lanes import calls_of

_RECENT = 1.0
# Three days, as platforms give for ordinary goods; fast-moving and special offers are classes of their own.
_UNPAID_MINUTES = {"*": 4_320, "special_offer": 30, "fast_moving": 15}
# History that costs a query, and the words of the rules' language that ask for it.
_HISTORY = {"buyer_orders_30d": ("orders_30d",), "sender_orders_before": ("orders_before", "first_order")}


@dataclass(frozen=True, slots=True, kw_only=True)
class StockTerms:
    """How an account's orders use stock. `on_order`: units are reserved before they are paid, and at most as long as
    `unpaid_minutes` says, by goods class, "*" for goods of none of them; the shortest counts. `buffers`: units of a SKU
    ("*": of any other) that are never sold to this account, in each warehouse."""

    on_order: bool
    buffers: Mapping[str, int]
    unpaid_minutes: Mapping[str, int]

    def unpaid_for(self, classes: Iterable[str]) -> int:
        """Minutes for which goods of these classes stay reserved without being paid."""
        known = [self.unpaid_minutes[name] for name in classes if name in self.unpaid_minutes]
        return min(known, default=self.unpaid_minutes["*"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One shop (or one partner's intake) with its channel and what it is allowed."""

    id: int
    name: str
    channel: Channel
    partner_id: int | None
    enabled: bool
    state: str
    options: Mapping[str, Any]
    sender: Sender
    mapping: OrderMapping
    terms: StockTerms
    stamp: int

    @property
    def owner(self) -> int:
        """Whose credit its orders use: the partner's, or its own when it has none."""
        return self.id if self.partner_id is None else self.partner_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One warehouse with its kind and what routing knows of it."""

    id: int
    name: str
    kind: Warehouse
    enabled: bool
    state: str
    info: WarehouseInfo
    stamp: int
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class RulesetAsks:
    """What the armed rules make it worth loading: the history they speak of, and the SKUs they give away."""

    history: frozenset[str] = frozenset()
    gifts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A consistent reading of the configuration. `asks` comes from the text of the armed ruleset; `warehouses` are those
    that take orders now, always the same values while the configuration is the same."""

    stamp: tuple[int, ...]
    accounts: Mapping[int, Account]
    targets: Mapping[int, Target]
    ruleset: Ruleset
    asks: RulesetAsks
    warehouses: tuple[WarehouseInfo, ...] = ()
    by_name: Mapping[str, Target] = field(default_factory=dict)

    def calls(self, kind: str, row_id: int, default: int) -> int:
        """How many calls at once an `account` or a `warehouse` gets from all machines together."""
        if kind == "account":
            account = self.accounts.get(row_id)
            return calls_of(account.options.get("max_calls") if account else None, default)
        target = self.targets.get(row_id)
        return calls_of(target.calls if target else None, default)

    def account(self, name: str) -> Account:
        for account in self.accounts.values():
            if account.name == name:
                return account
        raise ConfigError("account_unknown", f"there is no account {name}")

    def target(self, name: str) -> Target:
        target = self.by_name.get(name)
        if target is None:
            raise ConfigError("warehouse_unknown", f"there is no warehouse {name}")
        return target


def read_directory(hub: Hub, tx: Connection, now: int | None = None) -> Directory:
    """The configuration as of this transaction; parsed again only when something changed or a ruleset's moment came. `now`: µs,
    where the caller has looked at the clock already."""
    now = hub.now() if now is None else now
    stamp = stored.directory_stamp(tx, now)
    known = hub.memory.get("directory")
    if not isinstance(known, Directory) or known.stamp != stamp:
        known = hub.memory["directory"] = _read(tx, hub.vault, stamp, now)
    return known


def is_recent(hub: Hub) -> bool:
    """Whether `recent_directory` needs nothing of the database now."""
    known = hub.memory.get("directory")
    return isinstance(known, Directory) and time.monotonic() - hub.memory.get("directory_checked", 0.0) < _RECENT


def recent_directory(hub: Hub) -> Directory:
    """The configuration as it was at most a second ago: for what arrives from outside many times a second."""
    with hub.memory.setdefault("directory_turn", threading.Lock()):  # of those that come together one looks
        known = hub.memory.get("directory")
        if is_recent(hub) and isinstance(known, Directory):
            return known
        with hub.read() as tx:
            known = read_directory(hub, tx)
        hub.memory["directory_checked"] = time.monotonic()
        return known


def _read(tx: Connection, vault: Vault, stamp: tuple[int, ...], now: int) -> Directory:
    partners = {row["id"]: row for row in stored.load_partners(tx)}
    targets = {row["id"]: _target(row) for row in stored.load_warehouses(tx)}
    armed = find_armed_ruleset(tx, now)
    return Directory(
        stamp=stamp,
        accounts={row["id"]: _account(vault, row, partners.get(row["partner_id"])) for row in stored.load_accounts(tx)},
        targets=targets,
        ruleset=load_ruleset(armed["document"].encode()) if armed else default_ruleset(),
        asks=read_asks(armed["document"]) if armed else RulesetAsks(),
        warehouses=tuple(each.info for each in targets.values() if each.enabled and each.state == "active"),
        by_name={each.name: each for each in targets.values()},
    )


def read_asks(document: str) -> RulesetAsks:
    """What a ruleset's text speaks of: history fields by name, and every `sku` inside what a rule does."""
    rules = json.loads(document).get("rules", [])
    effects = [rule.get("then") for rule in rules if isinstance(rule, Mapping)]
    history = frozenset(name for name, words in _HISTORY.items() if any(word in document for word in words))
    return RulesetAsks(history, frozenset(_skus_in(effects)))


def _skus_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        told = value.get("sku")
        yield from [told] if isinstance(told, str) else []
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _skus_in(entry)


def _account(vault: Vault, row: Mapping[str, Any], partner: Mapping[str, Any] | None) -> Account:
    channel = channels().get(row["channel"])
    if channel is None:
        raise ConfigError("channel_unknown", f"account {row['name']}: there is no channel {row['channel']}")
    options = row["options"] | (partner["options"] if partner else {})
    sender = Sender(
        account=row["name"],
        channel=row["channel"],
        partner=partner["name"] if partner else "",
        active=row["enabled"] and (partner is None or partner["active"]),
        contract_from=maybe_moment(partner["contract_from"]) if partner else None,
        contract_to=maybe_moment(partner["contract_to"]) if partner else None,
        allowed_skus=_names(options.get("allowed_skus")),
        allowed_regions=tuple(options["allowed_regions"]) if options.get("allowed_regions") else None,
        allowed_warehouses=_names(options.get("allowed_warehouses")),
        credit_left=options.get("credit_limit"),
        credit_currency=options.get("credit_currency", ""),
        cod_allowed=bool(options.get("cod_allowed", False)),
    )
    return Account(
        id=row["id"],
        name=row["name"],
        channel=channel,
        partner_id=row["partner_id"],
        enabled=row["enabled"],
        state=row["state"],
        options=options,
        sender=sender,
        mapping=_mapping(vault, row, channel),
        terms=StockTerms(
            on_order=options.get("reserve") == "on_order",
            buffers=options.get("stock_buffers") or {},
            unpaid_minutes=_UNPAID_MINUTES | (options.get("unpaid_minutes") or {}),
        ),
        stamp=row["updated_at"],
    )


def _mapping(vault: Vault, row: Mapping[str, Any], channel: Channel) -> OrderMapping:
    if channel.mapping_for is None:
        return channel.mapping
    values = vault.open_json(stored.ACCOUNT_SETTINGS, row["id"], row["settings"])
    return channel.mapping_of(channel.settings.model_validate(values))


def _names(values: list[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def _target(row: Mapping[str, Any]) -> Target:
    kind = warehouses().get(row["kind"])
    if kind is None:
        raise ConfigError("warehouse_kind_unknown", f"warehouse {row['name']}: there is no kind {row['kind']}")
    info = row["info"]
    return Target(
        id=row["id"],
        name=row["name"],
        kind=kind,
        enabled=row["enabled"],
        state=row["state"],
        info=WarehouseInfo(
            name=row["name"],
            country=info.get("country", "CN"),
            province=info.get("province", ""),
            city=info.get("city", ""),
            priority=int(info.get("priority", 0)),
            regions=tuple(info["regions"]) if info.get("regions") else None,
            carriers=tuple(info.get("carriers", ())),
            accepts_tokens=bool(info.get("accepts_tokens", kind.accepts_tokens)),
            capacity=info.get("capacity"),
            cut_off=read_minute(info["cut_off"]) if info.get("cut_off") else None,
            utc_offset=info.get("utc_offset", 480),
            parcel_cost=info.get("parcel_cost", 0),
            suppliers=tuple(info["suppliers"]) if info.get("suppliers") is not None else None,
        ),
        stamp=row["updated_at"],
        calls=info.get("max_calls"),
    )
