"""Which jobs there are on many machines, and how many calls an account or a warehouse gets at once from all of them.

A lane is one account or one warehouse; its limit is `max_calls` of the account's options or the warehouse's info, else the
setting `calls`. Jobs of a lane say how many calls they make at once, and run together only as far as that fits. A job takes
half a lane, so that reading and sending, or two senders on two machines, find room side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from storage.due import Wanted
from storage.inbox import part_of

# So many workers can absorb side by side; documents are spread over the parts by their ids.
ABSORB_PARTS = 4
_SHARDS = ("0", "1")


def absorb_jobs(inbox_ids: Iterable[int] | None = None) -> list[Wanted]:
    """The jobs that absorb these documents, or all of them."""
    parts = range(ABSORB_PARTS) if inbox_ids is None else sorted({part_of(each, ABSORB_PARTS) for each in inbox_ids})
    return [Wanted(f"absorb:{part}", "absorb", f"absorb:{part}", part) for part in parts]


def house_job() -> Wanted:
    """The job that sweeps up."""
    return Wanted("house", "house", "house")


def pull_job(account_id: int, stream: str, calls: int) -> Wanted:
    """The job that reads one stream of one account; `calls` as `calls_of`."""
    return _in_lane("pull", "account", account_id, stream, calls)


def dispatch_jobs(kind: str, target_id: int, calls: int, *, all_shards: bool = False) -> list[Wanted]:
    """The jobs that send to one `account` or `warehouse`: one that is woken, or as many as its lane holds."""
    shards = _SHARDS if all_shards and calls > 1 else _SHARDS[:1]
    return [_in_lane("dispatch", kind, target_id, shard, calls) for shard in shards]


def ask_job(name: str, warehouse_id: int, calls: int) -> Wanted:
    """The job that asks one warehouse: `news` or `stock`."""
    return _in_lane(name, "warehouse", warehouse_id, "", calls)


def calls_of(told: Any, default: int) -> int:
    """How many calls at once a lane allows: what was configured, if it is a number above zero."""
    return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else default


def share_of(calls: int) -> int:
    """How many calls at once one job of a lane makes."""
    return max(1, calls // 2)


def _in_lane(name: str, kind: str, subject_id: int, part: str, calls: int) -> Wanted:
    key = ":".join(filter(None, (name, str(subject_id), part)))
    width = share_of(calls)
    return Wanted(key, name, f"{kind}:{subject_id}", subject_id, part, width, calls // width)
