"""What can go wrong, as data: the faults, how often each happens per profile, and the one-shot orders from the control API.

A fault that strikes a call has two sides: did the call take effect, and what does the caller see.
Faults on news (callbacks, webhooks) and on documents (poison) are rates only; the senders and the generators read them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from .http11 import HTML, Reply

PAGE = "<html><head><title>系统维护中</title></head><body><h1>系统维护中，请稍后再试</h1></body></html>".encode()


@dataclass(frozen=True, slots=True)
class Fault:
    """`effect`: the call is carried out. `action`: what the caller sees. `seconds`: range of an added delay."""

    name: str
    effect: bool
    action: str
    status: int = 200
    seconds: tuple[float, float] = (0.0, 0.0)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("error_before", False, "status", 503),
        Fault("error_after", True, "status", 502),
        Fault("drop_before_effect", False, "drop"),
        Fault("drop_after_effect", True, "drop"),
        Fault("truncate", True, "truncate"),
        Fault("hang_before", False, "hang"),
        Fault("hang_after", True, "hang"),
        Fault("html", False, "html"),
        Fault("empty", False, "empty"),
        Fault("empty_after", True, "empty"),
        Fault("rate_limit", False, "limit"),
        Fault("slow", True, "slow", seconds=(0.2, 1.5)),
        Fault("repeat_page", True, "own"),
        Fault("callback_first", True, "own"),
    )
}
NEWS = ("duplicate", "delay", "lost")
OUTAGE = Fault("outage", False, "status", 503)
OUTAGE_DROP = Fault("outage", False, "drop")

Rates = dict[str, dict[str, float]]
_CALLS = {
    "error_before": 4,
    "error_after": 2,
    "drop_before_effect": 2,
    "drop_after_effect": 3,
    "truncate": 2,
    "hang_before": 0.3,
    "hang_after": 0.5,
    "html": 1,
    "empty": 1,
    "empty_after": 0.5,
    "rate_limit": 3,
    "slow": 3,
}
_OWN: Rates = {"shopify": {"repeat_page": 1.0}, "qimen": {"callback_first": 3.0}, "taobao": {}}


def _rates(total: float, duplicate: float, delay: float, lost: float, poison: float) -> Rates:
    rates: Rates = {}
    for server, own in _OWN.items():
        weights = {**_CALLS, **own}
        rates[server] = {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    return {**rates, "news": {"duplicate": duplicate, "delay": delay, "lost": lost}, "documents": {"poison": poison}}


PROFILES: dict[str, Rates] = {
    "none": {"taobao": {}, "shopify": {}, "qimen": {}, "news": {}, "documents": {}},
    "some": _rates(0.035, 0.03, 0.03, 0.01, 0.005),
    "storm": _rates(0.18, 0.10, 0.10, 0.04, 0.02),
}
# seconds between two outages (mean) and how long one lasts, per server; profiles not named here have none
BURSTS = {"storm": (25.0, (2.0, 5.0))}


@dataclass(slots=True)
class OneShot:
    """A fault ordered for the next `count` calls of `method` on `server` whose text holds `match`."""

    server: str
    method: str
    fault: Fault
    count: int
    match: str = ""
    seconds: float | None = None


@dataclass(slots=True)
class Injector:
    """Draws the fault of each call. Under profile `none` only ordered faults happen."""

    rng: Random
    now: Callable[[], float]
    hang_seconds: float = 5.0
    profile: str = "none"
    rates: Rates = field(default_factory=lambda: PROFILES["none"])
    orders: list[OneShot] = field(default_factory=list)
    outages: dict[str, tuple[float, float]] = field(default_factory=dict)
    hits: dict[str, dict[str, int]] = field(default_factory=dict)
    calls: dict[str, dict[str, int]] = field(default_factory=dict)

    def use(self, profile: str) -> None:
        """Switch to a profile; ordered one-shots stay. Raises KeyError for an unknown name."""
        self.rates = {group: dict(rates) for group, rates in PROFILES[profile].items()}
        self.profile = profile
        self.outages.clear()

    def draw(self, server: str, method: str, text: str = "") -> tuple[Fault, float] | None:
        """The fault that strikes this call and the seconds it adds, or None. `text` is searched by one-shots with a `match`."""
        counted = self.calls.setdefault(server, {})
        counted[method] = counted.get(method, 0) + 1
        found = self._ordered(server, method, text) or self._outage(server) or self._chance(server)
        if found is not None:
            self.hit(server, found[0].name)
        return found

    def hit(self, server: str, name: str) -> None:
        """Count a fault that happened."""
        hits = self.hits.setdefault(server, {})
        hits[name] = hits.get(name, 0) + 1

    def strikes(self, server: str, name: str) -> bool:
        """Does this fault strike one call of several in one request?"""
        rate = self.rates.get(server, {}).get(name, 0.0)
        struck = rate > 0 and self.rng.random() < rate
        if struck:
            self.hit(server, name)
        return struck

    def news(self, name: str) -> bool:
        """Does this fault strike the next message to the hub?"""
        rate = self.rates.get("news", {}).get(name, 0.0)
        struck = rate > 0 and self.rng.random() < rate
        if struck:
            self.hit("news", name)
        return struck

    def _ordered(self, server: str, method: str, text: str) -> tuple[Fault, float] | None:
        for shot in self.orders:
            if shot.server == server and shot.method in {method, "*"} and shot.match in text:
                shot.count -= 1
                if shot.count <= 0:
                    self.orders.remove(shot)
                return shot.fault, self._seconds(shot.fault) if shot.seconds is None else shot.seconds
        return None

    def _outage(self, server: str) -> tuple[Fault, float] | None:
        burst = BURSTS.get(self.profile)
        if burst is None:
            return None
        now = self.now()
        begin, end = self.outages.get(server, (0.0, 0.0))
        if now > end:
            begin = now + self.rng.expovariate(1 / burst[0])
            self.outages[server] = (begin, begin + self.rng.uniform(*burst[1]))
            return None
        return (OUTAGE if self.rng.random() < 0.5 else OUTAGE_DROP, 0.0) if begin <= now else None

    def _chance(self, server: str) -> tuple[Fault, float] | None:
        rates = self.rates.get(server)
        if not rates:
            return None
        left = self.rng.random()
        for name, rate in rates.items():
            left -= rate
            if left < 0:
                return FAULTS[name], self._seconds(FAULTS[name])
        return None

    def _seconds(self, fault: Fault) -> float:
        return self.hang_seconds if fault.action == "hang" else self.rng.uniform(*fault.seconds)


def answer(drawn: tuple[Fault, float] | None, run: Callable[[str], Reply], limited: Callable[[], Reply]) -> Reply:
    """Carry out a call under the fault that struck it. `run` gets the fault's name, for the faults a server plays itself."""
    if drawn is None:
        return run("")
    fault, seconds = drawn
    if fault.action == "own":
        return run(fault.name)
    reply = run("") if fault.effect else Reply(b"")
    if fault.action == "status":
        return Reply(b'{"message":"upstream error"}', fault.status)
    if fault.action in {"drop", "truncate"}:
        return reply.broken(fault.action)
    if fault.action == "hang":
        return Reply(b"", delay=seconds, cut="drop")
    if fault.action == "html":
        return Reply(PAGE, kind=HTML)
    if fault.action == "empty":
        return Reply(b"", kind=reply.kind)
    return limited() if fault.action == "limit" else reply.later(seconds)


def read_order(data: dict[str, object]) -> OneShot:
    """A one-shot from its JSON form. Raises KeyError for an unknown fault, ValueError for a wrong value."""
    seconds = data.get("seconds")
    return OneShot(
        server=str(data["server"]),
        method=str(data.get("method", "*")).removeprefix("taobao.qimen."),
        fault=FAULTS[str(data["fault"])],
        count=int(str(data.get("count", 1))),
        match=str(data.get("match", "")),
        seconds=None if seconds is None else float(str(seconds)),
    )
