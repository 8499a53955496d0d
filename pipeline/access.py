"""API keys: who calls, and what of the house they may see.

A key is 32 random bytes as text, shown once; only its keyed hash is stored. An unknown, a revoked and a malformed key
cost one hash and one look-up each and get the same answer. Scopes: `partner` sees and changes its own orders and
nothing else; `read` sees everything; `clerk` works on orders and exceptions besides; `admin` changes stock and
listings too. A key of any scope that names a partner sees that partner only. A key fails closed: a partner key whose
partner is gone is no key."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal, get_args

from domain.errors import ConfigError, RefusedError
from storage import directory as stored
from storage.keys import find_key, put_key, revoke_keys
from storage.standing import find_partner_name

from .bootstrap import Hub
from .directory import Directory, read_directory

Scope = Literal["partner", "clerk", "admin", "read"]
PREFIX = "hub_"
_KNOWN_FOR = 2_000_000  # µs a look-up is trusted: a revoked key works no longer than this
_KNOWN_MOST = 10_000
_LONGEST = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls. `partner_id` None: staff, who see every partner; `account_ids` are a partner's accounts, `intake` is the
    one its posted orders go to (None: it has none, so it cannot post)."""

    name: str
    scope: Scope
    partner_id: int | None
    account_ids: frozenset[int]
    intake: int | None

    @property
    def staff(self) -> bool:
        """Whether this caller sees every partner."""
        return self.partner_id is None

    @property
    def actor(self) -> str:
        """How the log names this caller."""
        return f"key:{self.name}"


def make_key(hub: Hub, name: str, scope: Scope, partner: str | None = None) -> str:
    """A new key, in plain text for this once. ConfigError `partner_unknown`, `key_scope`."""
    if scope not in get_args(Scope) or (scope == "partner") != (partner is not None):
        raise ConfigError("key_scope", "partner keys need a partner, other keys have none")
    key = PREFIX + secrets.token_urlsafe(32)
    with hub.write() as tx:
        partners = {row["name"]: row["id"] for row in stored.load_partners(tx)}
        if partner is not None and partner not in partners:
            raise ConfigError("partner_unknown", f"there is no partner {partner}")
        row = {
            "id": hub.ids(),
            "name": name,
            "partner_id": partners[partner] if partner is not None else None,
            "scope": scope,
            "key_hash": hub.vault.search_hash("api_key", key),
            "created_at": hub.now(),
            "revoked_at": None,
        }
        put_key(tx, row)
    return key


def revoke_key(hub: Hub, name: str) -> int:
    """Revoke every key of that name; returns how many. Other processes notice within two seconds."""
    with hub.write() as tx:
        done = revoke_keys(tx, name, now=hub.now())
    hub.memory.pop("callers", None)
    return done


def remembered(hub: Hub, presented: str) -> Caller | None:
    """The caller of a key that was identified a moment ago: no database is asked."""
    known = hub.memory.get("callers", {}).get(_hash(hub, presented))
    return known[0] if known is not None and 0 <= hub.now() - known[1] < _KNOWN_FOR else None


def identify(hub: Hub, presented: str) -> Caller:
    """The caller behind a presented key. RefusedError `unauthenticated`, whatever is wrong with it."""
    found = remembered(hub, presented)
    if found is not None:
        return found
    key_hash = _hash(hub, presented)
    with hub.read() as tx:
        row = find_key(tx, key_hash)
        directory = read_directory(hub, tx)
        alive = row is not None and (row["scope"] != "partner" or find_partner_name(tx, row["partner_id"]) is not None)
    if row is None or not alive:
        raise RefusedError("unauthenticated", "a valid API key is needed")
    caller = _caller(row["name"], row["scope"], row["partner_id"], directory)
    callers = hub.memory.setdefault("callers", {})
    if len(callers) >= _KNOWN_MOST:
        callers.clear()
    callers[key_hash] = (caller, hub.now())
    return caller


def _caller(name: str, scope: Scope, partner_id: int | None, directory: Directory) -> Caller:
    own = sorted(
        (
            account
            for account in directory.accounts.values()
            if partner_id is not None and account.partner_id == partner_id
        ),
        key=lambda account: account.id,
    )
    intake = next((account.id for account in own if account.channel.name == "standard"), None)
    return Caller(
        name=name,
        scope=scope,
        partner_id=partner_id,
        account_ids=frozenset(account.id for account in own),
        intake=intake,
    )


def _hash(hub: Hub, presented: str) -> bytes:
    # A longer text is no key; hashing it must cost no more than hashing one. Lone surrogates cannot be encoded.
    text = presented.encode("utf-8", "replace").decode() if len(presented) <= _LONGEST else ""
    return hub.vault.search_hash("api_key", text)
