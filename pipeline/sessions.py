"""Opened sessions: an account's or a warehouse's settings with its secrets, its budget and the guarded client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

from connectors._channel import Document
from connectors._channel import Session as ChannelSession
from domain.errors import ConfigError
from outbound._warehouse import Session as WarehouseSession
from storage.directory import (
    ACCOUNT_SETTINGS,
    WAREHOUSE_SETTINGS,
    load_account_settings,
    load_warehouse_settings,
)
from storage.inbox import known_versions
from storage.orders import find_finished
from storage.times import moment
from wire.budget import Budget

from .bootstrap import Hub
from .directory import Account, Target
from .lanes import calls_of, share_of

_PLENTY = 1_000_000.0
_MOST_READ = 100_000
_ALONE = 8


def channel_session(
    hub: Hub, account: Account, *, settled_after: timedelta, polls: bool = False, patient: bool = False
) -> ChannelSession:
    """A session for one account. `settled_after`: a stored version this much younger than its arrival need not be read again.
    `polls` says that sweeps read after this session, `patient` that it soon lists everything again itself; where many are read
    with one call nothing is won by waiting."""
    settings, budget = _opened(
        hub, "account", account.id, account.stamp, account.channel.settings, account.channel.budget
    )

    many = account.channel.batch is not None and account.channel.batch(settings) > 1

    def known(versions: Sequence[tuple[str, str, Any]]) -> frozenset[str]:
        return _known(hub, account.id, versions, settled_after, polls=polls, patient=patient and not many)

    return ChannelSession(
        account=account.name,
        settings=settings,
        client=hub.private_client if settings.allow_private else hub.client,
        budget=budget,
        clock=hub.clock,
        known=known,
        memory=hub.memory.setdefault(f"channel:{account.id}:{account.stamp}", {}),
        at_once=share_of(calls_of(account.options.get("max_calls"), hub.settings.calls)) if hub.shared else _ALONE,
    )


def warehouse_session(hub: Hub, target: Target) -> WarehouseSession:
    """A session for one warehouse."""
    settings, budget = _opened(hub, "warehouse", target.id, target.stamp, target.kind.settings, target.kind.budget)
    return WarehouseSession(
        warehouse=target.name,
        settings=settings,
        client=hub.private_client if settings.allow_private else hub.client,
        budget=budget,
        clock=hub.clock,
    )


def check_settings(kind: type[BaseModel], values: Mapping[str, Any], name: str) -> None:
    """ConfigError that names the field when settings do not fit their kind."""
    try:
        kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ConfigError("settings", f"{name}: {'.'.join(str(p) for p in first['loc'])}: {first['msg']}") from None


def _opened(hub: Hub, what: str, row_id: int, stamp: int, kind: type[BaseModel], budget_of: Any) -> tuple[Any, Budget]:
    """Settings and budget, opened once per change of their row."""
    key = f"session:{what}:{row_id}"
    known = hub.memory.get(key)
    if known is not None and known[0] == stamp:
        return known[1], known[2]
    of_account = what == "account"
    place = ACCOUNT_SETTINGS if of_account else WAREHOUSE_SETTINGS
    with hub.read() as tx:
        sealed = load_account_settings(tx, row_id) if of_account else load_warehouse_settings(tx, row_id)
    values = hub.vault.open_json(place, row_id, sealed)
    check_settings(kind, values, key)
    settings = kind.model_validate(values)
    budget = budget_of(settings) if budget_of else Budget(_PLENTY, _PLENTY)
    hub.memory[key] = (stamp, settings, budget)
    return settings, budget


def remember_read(hub: Hub, account_id: int, documents: Sequence[Document], asked_at: int) -> None:
    """When this process last asked for these versions (µs), stored anew or dropped as known: what `known` trusts first."""
    read: dict[str, tuple[str, int]] = hub.memory.setdefault(f"read:{account_id}", {})
    if len(read) > _MOST_READ:
        read.clear()
    read.update((document.external_id, (document.version, asked_at)) for document in documents)


def _known(
    hub: Hub,
    account_id: int,
    versions: Sequence[tuple[str, str, Any]],
    settled_after: timedelta,
    *,
    polls: bool,
    patient: bool,
) -> frozenset[str]:
    """Ids that need not be read now. A version read well after it was made hides nothing newer behind the same stamp; one
    read too early is read once more when it has settled, and not at every poll until then. The inbox tells what is known, this
    process since when, if it was the one that asked. A poll leaves the second look at a finished order to the sweeps, and one that
    comes again before a version has settled reads it only then: once instead of twice."""
    read: dict[str, tuple[str, int]] = hub.memory.get(f"read:{account_id}", {})
    with hub.read() as tx:
        stored = known_versions(tx, account_id, [external_id for external_id, _, _ in versions])
    known = {told: read[told] if read.get(told, ("", 0))[0] == last[0] else last for told, last in stored.items()}
    settled_by = hub.clock() - settled_after
    sure: set[str] = set()
    early: list[str] = []
    for external_id, version, stamped in versions:
        last, read_at = known.get(external_id, ("", 0))
        if settled_by < stamped:
            if patient or last == version:
                sure.add(external_id)
        elif last == version and moment(read_at) - settled_after >= stamped:
            sure.add(external_id)
        elif last == version:
            early.append(external_id)
    if polls and early:
        with hub.read() as tx:
            sure |= find_finished(tx, account_id, early)
    return frozenset(sure)
