"""Time as the three servers see it: real time plus an offset per server, and the two ways they write it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate
from functools import lru_cache

SERVERS = ("taobao", "shopify", "qimen")
CHINA = timezone(timedelta(hours=8))


@dataclass(slots=True)
class Clock:
    """`offsets` in seconds per server; the control API sets them to play a wrong clock."""

    offsets: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SERVERS, 0.0))

    def now(self, server: str = "") -> float:
        """Epoch seconds on that server's clock; with "" the true time."""
        return time.time() + self.offsets.get(server, 0.0)

    def http_date(self, server: str) -> str:
        """The value of the Date header."""
        return _http_date(int(self.now(server)))


@lru_cache(maxsize=64)
def _http_date(epoch: int) -> str:
    return formatdate(epoch, usegmt=True)


@lru_cache(maxsize=4096)
def cn_stamp(epoch: int) -> str:
    """`yyyy-MM-dd HH:mm:ss` in GMT+8, the way TOP and Qimen write time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(epoch + 28800))


@lru_cache(maxsize=4096)
def utc_stamp(epoch: int) -> str:
    """ISO 8601 with Z and whole seconds, the way Shopify's GraphQL writes time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def iso_ms(epoch: float) -> str:
    """ISO 8601 UTC with milliseconds, for the ledger."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_cn_stamp(text: str) -> int | None:
    """Epoch seconds of a GMT+8 stamp; None when it is not one."""
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=CHINA).timestamp()) if len(text) == 19 else None
    except ValueError:
        return None


def read_utc_stamp(text: str) -> int | None:
    """Epoch seconds (rounded down) of an ISO stamp with a zone; None when it is not one."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int(moment.timestamp()) if moment.tzinfo is not None else None
