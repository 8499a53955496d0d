"""Trying what is configured: can every account be read and every warehouse be asked? Nothing is changed on either side."""

from __future__ import annotations

from datetime import timedelta

from connectors._channel import Since
from domain.errors import HubError

from .bootstrap import Hub, outside
from .directory import Account, Target, read_directory
from .sessions import channel_session, warehouse_session

_PROBE = "HUB-CHECK-0"


def check_connections(hub: Hub) -> dict[str, str]:
    """`ok`, `not polled` or the error's code and detail, by `account:NAME` and `warehouse:NAME`."""
    with hub.read() as tx:
        directory = read_directory(hub, tx)
    outside()
    results = {f"account:{account.name}": _try_account(hub, account) for account in directory.accounts.values()}
    return results | {f"warehouse:{target.name}": _try_target(hub, target) for target in directory.targets.values()}


def _try_account(hub: Hub, account: Account) -> str:
    if account.channel.pull is None:
        return "ok"
    now = hub.clock()
    try:
        session = channel_session(hub, account, settled_after=timedelta(0))
        next(iter(account.channel.pull(session, Since(start=now - timedelta(seconds=1), end=now))), None)
    except HubError as error:
        return f"{error.code}: {error.detail}"
    return "ok"


def _try_target(hub: Hub, target: Target) -> str:
    try:
        target.kind.find(warehouse_session(hub, target), _PROBE, "")
    except HubError as error:
        return f"{error.code}: {error.detail}"
    return "ok"
