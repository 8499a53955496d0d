"""Ids for the database and numbers for people.

An id is a 63-bit integer that grows with time: 41 bits of milliseconds since 2020-01-01 UTC (until 2089), 10 bits
node, 12 bits counter. An order number is the same integer for people (domain.md §10): spread by a fixed bijection, so
that two neighbours look unrelated and nobody reads a sales volume from them (what an undone number would show is a
time and a counter inside one millisecond, not a volume), in Crockford's base 32 (no I, L, O, U), with the channel's
prefix in front and a check at the end. Unique by construction, as ids are.

- grouped `TB-7F3K9-QWD2M-5XHCT`: prefix, 13 characters of payload, 2 of check;
- plain `TB7F3K9QWD2M5XHCT`: the same without hyphens, the form to store and to search;
- digits: two for each character of the prefix (TB is 2911), 19 of payload, 2 of check, for keypads and old systems.

The check is the number of prefix and payload modulo a prime (1021; 97 for digits), as ISO 7064 does it: it finds every
single wrong character and every swap of two neighbours."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import Literal

from .errors import ConfigError, RefusedError, RetryableError

Style = Literal["grouped", "plain", "digits"]

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_EPOCH_MS = 1_577_836_800_000
_COUNTERS = 1 << 12
_NODES = 1 << 10
_LAST_TICK = (1 << 41) * _COUNTERS
MAX_ID = (1 << 63) - 1


class IdMaker:
    """Makes ids that only grow. `node` (0…1023) must be used by one process at a time; `clock_ms` is Unix
    milliseconds. When the clock steps back, or 4096 ids of one millisecond are used up, it goes on from the last id
    and borrows from the future, so the peak is 4.096 million ids a second. `after` is the highest id this node made
    before: give it at start where the clock may have stepped back in between. `until_ms`: the node is this process's until
    then (Unix milliseconds); no id tells a later time, so that leases of one node that do not overlap never make the same
    id. Thread-safe. Raises ConfigError `node` or `clock`."""

    def __init__(self, node: int, clock_ms: Callable[[], int], *, after: int = 0, until_ms: int | None = None) -> None:
        if not 0 <= node < _NODES:
            raise ConfigError("node", f"a node is 0…{_NODES - 1}, not {node}")
        self._node = node << 12
        self._clock_ms = clock_ms
        # A tick is milliseconds × 4096 + counter: the id without its node.
        self._last = (after >> 22) * _COUNTERS + after % _COUNTERS
        self._lock = Lock()
        self._end = _LAST_TICK
        if until_ms is not None:
            self.extend(until_ms)

    @property
    def last_ms(self) -> int:
        """The time of the last id, or of the one to go on from (Unix milliseconds)."""
        return self._last // _COUNTERS + _EPOCH_MS

    def extend(self, until_ms: int) -> None:
        """The node is this process's until then."""
        self._end = min(_LAST_TICK, (until_ms - _EPOCH_MS) * _COUNTERS)

    def take(self, n: int) -> list[int]:
        """`n` new ids, ascending. Raises ConfigError `clock` when the clock is before 2020 or after 2089, RetryableError
        `node_lost` when the node's lease has run out."""
        if n < 1:
            return []
        now = (self._clock_ms() - _EPOCH_MS) * _COUNTERS
        with self._lock:
            tick = max(now, self._last + 1)
            end = tick + n
            if now < 0 or end > _LAST_TICK:
                raise ConfigError("clock", "ids hold the years 2020 to 2089")
            if end > self._end:
                raise RetryableError("node_lost", "the lease of this process's node number has run out")
            self._last = end - 1
        ids: list[int] = []
        while tick < end:
            # All ids of one millisecond follow each other: ranges are ten times faster than a loop.
            milliseconds, counter = divmod(tick, _COUNTERS)
            size = min(end - tick, _COUNTERS - counter)
            first = milliseconds << 22 | self._node | counter
            ids.extend(range(first, first + size))
            tick += size
        return ids

    def __call__(self) -> int:
        """One new id."""
        return self.take(1)[0]


def made_at(id_: int) -> datetime:
    """When the id was made (aware UTC, to the millisecond; a little later than true where ids were borrowed)."""
    return EPOCH + timedelta(milliseconds=id_ >> 22)


_MASK = MAX_ID
# Odd constants of splitmix64's finaliser, cut to 63 bits: any odd number has an inverse modulo 2**63.
_FACTORS = (0xBF58476D1CE4E5B9 & _MASK, 0x94D049BB133111EB & _MASK)
_INVERSES = tuple(pow(factor, -1, _MASK + 1) for factor in _FACTORS)


def _scatter(x: int) -> int:
    """A bijection of 0…2**63-1: every step (xor with its own high half, an odd factor) can be undone."""
    x ^= x >> 32
    x = x * _FACTORS[0] & _MASK
    x ^= x >> 32
    x = x * _FACTORS[1] & _MASK
    return x ^ x >> 32


def _gather(x: int) -> int:
    # 63 bits shifted by 32 leave the high half untouched, so the same step undoes itself.
    x ^= x >> 32
    x = x * _INVERSES[1] & _MASK
    x ^= x >> 32
    x = x * _INVERSES[0] & _MASK
    return x ^ x >> 32


_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
# A prefix may be any letter: the four that Crockford leaves out come after the others.
_PREFIX_VALUES = {**_VALUES, "I": 32, "L": 33, "O": 34, "U": 35}
_PREFIX = re.compile(r"[0-9A-Z]{1,6}")
_READ_ALOUD = str.maketrans("ILO", "110")

_PRIME, _DIGIT_PRIME = 1021, 97
_GROUPED = re.compile(r"([0-9A-Z]{1,6})[- ]([0-9A-TV-Z]{5})[- ]([0-9A-TV-Z]{5})[- ]([0-9A-TV-Z]{5})")
_PLAIN = re.compile(r"([0-9A-Z]{1,6})([0-9A-TV-Z]{15})")
_DIGITS = re.compile(r"((?:[0-9]{2}){1,6})([0-9]{19})([0-9]{2})")


@lru_cache(maxsize=1024)
def _prefix_sums(prefix: str) -> tuple[str, int, int]:
    """A checked prefix: its digits, and what it adds to the check modulo each prime."""
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError("number_prefix", f"one to six of A-Z and 0-9, not {prefix[:20]!r}")
    # Both sums start with a 1, so that a leading zero counts.
    value = 1
    for character in prefix:
        value = value * 32 + _PREFIX_VALUES[character]
    digits = "".join(f"{int(character, 36):02}" for character in prefix)
    return digits, value * 32**13 % _PRIME, int(f"1{digits}") * 10**19 % _DIGIT_PRIME


def order_number(id_: int, prefix: str, style: Style = "grouped") -> str:
    """The number people see for an id (0…2**63-1), with a prefix of one to six of A-Z and 0-9 that names the channel.
    See the module for the styles. Raises ConfigError `number_prefix`, ValueError for an integer that is no id."""
    if not 0 <= id_ <= MAX_ID:
        raise ValueError("an id has 63 bits")
    prefix_digits, addend, digit_addend = _prefix_sums(prefix)
    payload = _scatter(id_)
    if style == "digits":
        return f"{prefix_digits}{payload:019}{(digit_addend + payload) % _DIGIT_PRIME:02}"
    one, two, check = _ALPHABET, _PAIRS, (addend + payload) % _PRIME
    grouped = (
        f"{prefix}-{one[payload >> 60]}{two[payload >> 50 & 1023]}{two[payload >> 40 & 1023]}"
        f"-{two[payload >> 30 & 1023]}{two[payload >> 20 & 1023]}{one[payload >> 15 & 31]}"
        f"-{one[payload >> 10 & 31]}{two[payload & 1023]}{two[check]}"
    )
    return grouped.replace("-", "") if style == "plain" else grouped


def read_order_number(text: str) -> tuple[str, int]:
    """(prefix, id) of an order number in any of the styles, as a person types it: any letter case, I and L for 1, O
    for 0, spaces for the hyphens, all hyphens or none. Raises RefusedError `number_check`."""
    typed = text.strip().upper() if text.isascii() and len(text) <= 64 else ""
    digits = _DIGITS.fullmatch(typed)
    if digits:
        return _read_digits(*digits.groups())
    match = _GROUPED.fullmatch(typed) or _PLAIN.fullmatch(typed)
    if match is None:
        raise RefusedError("number_check", "not an order number")
    prefix, *groups = match.groups()
    value = 0
    for character in "".join(groups).translate(_READ_ALOUD):
        value = value * 32 + _VALUES[character]
    payload, check = divmod(value, 1024)
    if payload > MAX_ID or check != (_prefix_sums(prefix)[1] + payload) % _PRIME:
        raise RefusedError("number_check", "mistyped: the check does not fit")
    return prefix, _gather(payload)


def _read_digits(prefix_digits: str, body: str, check: str) -> tuple[str, int]:
    codes = [int(prefix_digits[i : i + 2]) for i in range(0, len(prefix_digits), 2)]
    payload = int(body)
    expected = (int(f"1{prefix_digits}") * 10**19 + payload) % _DIGIT_PRIME
    if payload > MAX_ID or max(codes) >= 36 or int(check) != expected:
        raise RefusedError("number_check", "mistyped: the check does not fit")
    return "".join("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[code] for code in codes), _gather(payload)


def parse_order_number(text: str) -> str:
    """The plain form of an order number typed in any style: what to store and to search by. Raises RefusedError
    `number_check` (every single wrong character and every swap of two neighbours is found)."""
    prefix, id_ = read_order_number(text)
    return order_number(id_, prefix, "plain")
