"""dispatch: claim → send outside any transaction → settle. It talks and decides nothing.

A claim is a lease with a fencing token. What was due is sent; what may have happened is looked up first, or sent again
where the target honours our key, or parked for a person where it can do neither."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeVar

from domain.errors import ConfigError, HubError, RefusedError, RetryableError, UnknownOutcomeError
from storage.fulfilments import mark_pushing
from storage.outbox import claim_outbox, push_state, still_claimed
from storage.rows import Row
from storage.times import span

from .bootstrap import Hub, outside
from .directory import Directory, read_directory
from .dossier import Dossier, load_dossiers
from .messages import build_confirmation, build_shipment
from .sessions import channel_session, warehouse_session

LEASE = timedelta(seconds=60)
_SAFE = timedelta(seconds=25)  # a send may take 30 s: it must start early enough to end inside the lease
_YOUNG = timedelta(seconds=2)
_SLOW = timedelta(seconds=1)
_LOOKS = 2
_GATHER = 0.04  # seconds
_AHEAD = 8  # jobs claimed per sender, so that a turn's commit serves many

_STOPPED = frozenset({"cancelling", "cancelled"})

End = Literal["done", "retry", "refused", "unknown", "parked", "withdrawn", "wait"]


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one sending ended. `code`/`detail` of an error, `reference` the peer's own, `degraded` what could not be said."""

    row: Row
    end: End
    code: str = ""
    detail: str = ""
    reference: str = ""
    degraded: str = ""
    error: HubError | None = None
    looked: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed row with everything needed to send it."""

    row: Row
    dossier: Dossier
    directory: Directory
    claimed_at: int
    claimed_mono: float


Settle = Callable[[Hub, Sequence[Outcome]], None]


@dataclass(slots=True)
class Dispatcher:
    """Sendings under way. A turn never waits for the network: it settles what has come back, in one commit, and claims what
    there is room for. One target never holds more than half of the senders, so one that hangs does not stop the others."""

    hub: Hub
    settle: Settle
    pool: ThreadPoolExecutor
    flying: dict[Future[Outcome | None], Job] = field(default_factory=dict)

    def turn(self) -> int:
        """Settle and claim once; returns how many rows came back or went out."""
        finished = [future for future in self.flying if future.done()]
        for future in finished:
            del self.flying[future]
        outcomes = [outcome for future in finished if (outcome := future.result()) is not None]
        self.settle(self.hub, outcomes)
        jobs = self._claim()
        for job in jobs:
            self.flying[self.pool.submit(send, self.hub, job)] = job
        return len(finished) + len(jobs)

    def land(self) -> None:
        """Settle what has come back and claim nothing more: the way to stop."""
        landed = [outcome for future in self.flying if future.done() and (outcome := future.result()) is not None]
        self.flying.clear()
        self.settle(self.hub, landed)

    def wait(self, seconds: float) -> None:
        """Wait until something has come back, or so long; then a moment for what comes close behind, to share its commit."""
        done = wait(self.flying, timeout=seconds, return_when=FIRST_COMPLETED).done
        if len(done) < len(self.flying):
            wait(self.flying, timeout=_GATHER)

    def _claim(self) -> list[Job]:
        senders = self.hub.settings.senders
        room = senders * _AHEAD - len(self.flying)
        if room < senders:
            return []
        slow = Counter(
            job.row["target_id"] for job in self.flying.values() if self.hub.now() - job.claimed_at > span(_SLOW)
        )
        return claim(self.hub, room, [target for target, held in slow.items() if held >= senders // 2])


def dispatch(hub: Hub, settle: Settle, *, pool: ThreadPoolExecutor) -> int:
    """Send everything that is due now and wait for it; returns how many rows were sent."""
    dispatcher = Dispatcher(hub, settle, pool)
    total = 0
    while True:
        moved = dispatcher.turn()
        total += moved
        if not dispatcher.flying and not moved:
            return total
        dispatcher.wait(1.0)


def claim(hub: Hub, limit: int, skip: Sequence[int] = ()) -> list[Job]:
    """Take work whose time has come, in one short transaction, and load what is to be sent. Targets in `skip`, and stopped
    ones, are left alone."""
    now, mono = hub.now(), time.monotonic()
    (token,) = hub.ids.take(1)
    with hub.write() as tx:
        directory = read_directory(hub, tx)
        stopped = [x.id for x in directory.targets.values() if x.state != "active" or not x.enabled]
        stopped += [x.id for x in directory.accounts.values() if x.state != "active" or not x.enabled]
        rows = claim_outbox(tx, now=now, lease=span(LEASE), token=token, limit=limit, targets=[*stopped, *skip])
        mark_pushing(tx, [row["fulfilment_id"] for row in rows if row["kind"] == "push"], now=now)
    if not rows:
        return []
    with hub.read() as tx:
        dossiers = load_dossiers(tx, hub.vault, {row["order_id"] for row in rows}, lock=False)
    return [Job(row, dossiers[row["order_id"]], directory, now, mono) for row in rows]


def send(hub: Hub, job: Job) -> Outcome | None:
    """Have one effect. None: the claim is not ours any more, somebody else will settle it."""
    outside()
    row = job.row
    if _age(hub, job) > span(_SAFE):
        return Outcome(row=row, end=_again(row), code="claim_too_old")  # given back: nothing was sent
    if not _ours(hub, job):
        return None
    try:
        if row["kind"] == "push":
            return _push(hub, job)
        return _cancel(hub, job) if row["kind"] == "cancel" else _confirm(hub, job)
    except UnknownOutcomeError as error:
        return Outcome(row=row, end="unknown", code=error.code, detail=error.detail, error=error)
    except RetryableError as error:
        return Outcome(row=row, end=_again(row), code=error.code, detail=error.detail, error=error)
    except ConfigError as error:
        return Outcome(row=row, end=_again(row), code=error.code, detail=error.detail, error=error)
    except HubError as error:
        return Outcome(row=row, end="refused", code=error.code, detail=error.detail, error=error)
    except Exception as error:  # noqa: BLE001 - a fault of ours in the middle of a send: it may have happened
        return Outcome(
            row=row, end="unknown", code="internal", detail=type(error).__name__, error=UnknownOutcomeError("internal")
        )


def _ours(hub: Hub, job: Job) -> bool:
    """Asked just before the send. Nobody can take a claim over within its lease, so a young one needs no look; one that has
    waited (a full pool, a process that was frozen) is looked up."""
    if _age(hub, job) < span(_YOUNG):
        return True
    with hub.read() as tx:
        return still_claimed(tx, job.row["id"], job.row["token"])


def _age(hub: Hub, job: Job) -> int:
    return max(hub.now() - job.claimed_at, round((time.monotonic() - job.claimed_mono) * 1_000_000))


def _wanted(hub: Hub, row: Row) -> str:
    """The fulfilment's state while the claim is still ours, else "": asked right before every push, because none may start
    after a cancel was committed, however young the claim is."""
    with hub.read() as tx:
        return push_state(tx, row["id"], row["token"])


def _look(find: Callable[[], Found | None]) -> Found | None:
    """Look whether something happened. A look that is refused tells nothing about what it looked for."""
    outside()
    try:
        return find()
    except RefusedError as error:
        raise RetryableError(f"look_{error.code}", error.detail) from error


def _again(row: Row) -> End:
    """A failed look leaves an unknown outcome unknown; a failed first send certainly did not arrive."""
    return "retry" if row["was"] == "due" else "unknown"


def _push(hub: Hub, job: Job) -> Outcome | None:
    row, dossier = job.row, job.dossier
    fulfilment = dossier.fulfilments[row["fulfilment_id"]]
    target = job.directory.targets[row["target_id"]]
    session = warehouse_session(hub, target)
    stopped = fulfilment["state"] in _STOPPED
    repeats = target.kind.repeats(session.settings)
    if row["was"] == "due":
        if stopped or fulfilment["state"] not in {"pushing", "ready"}:
            return Outcome(row=row, end="withdrawn")
    elif repeats == "unsafe":
        return Outcome(row=row, end="parked", code="outcome_unknown")
    elif repeats == "findable" or stopped:
        found = _look(lambda: target.kind.find(session, fulfilment["code"], fulfilment["warehouse_ref"]))
        if found is not None:
            return Outcome(row=row, end="done", reference=found.reference)
        if row["looks"] + 1 < _LOOKS + (2 if stopped else 0):
            return Outcome(row=row, end="unknown", code="not_found_yet", looked=True)
        if stopped:
            return Outcome(row=row, end="withdrawn", code="never_arrived")
    shipment = build_shipment(dossier, fulfilment, job.directory.accounts[dossier.order["account_id"]])
    state = _wanted(hub, row)
    if not state:
        return None
    if state in _STOPPED:
        end: End = "withdrawn" if row["was"] == "due" else "unknown"
        return Outcome(row=row, end=end, code="stopped")
    accepted = target.kind.send(session, shipment)
    return Outcome(row=row, end="done", reference=accepted.reference)


def _cancel(hub: Hub, job: Job) -> Outcome:
    """A cancel may be asked again: after an unknown answer the question is simply repeated."""
    row = job.row
    fulfilment = job.dossier.fulfilments[row["fulfilment_id"]]
    if fulfilment["state"] != "cancelling":
        return Outcome(row=row, end="withdrawn")
    target = job.directory.targets[row["target_id"]]
    session = warehouse_session(hub, target)
    answer = target.kind.cancel(
        session, fulfilment["code"], fulfilment["warehouse_ref"], "cancelled by the buyer or the shop"
    )
    if answer.cancelled or answer.unknown_order:
        return Outcome(row=row, end="done", detail=answer.detail)
    return Outcome(row=row, end="refused", code="cancel_refused", detail=answer.detail)


def _confirm(hub: Hub, job: Job) -> Outcome:
    row, dossier = job.row, job.dossier
    account = job.directory.accounts[row["target_id"]]
    package = dossier.packages[row["package_id"]]
    earlier = [
        other
        for other in dossier.outbox.values()
        if other["kind"] == "confirm" and other["id"] < row["id"] and other["state"] in {"due", "sending", "unknown"}
    ]
    if earlier:
        return Outcome(row=row, end="wait")
    channel = account.channel
    confirmation = build_confirmation(dossier, package, account)
    if channel.confirm is None or confirmation is None:
        return Outcome(row=row, end="done", degraded="an earlier parcel of the same lines was told already")
    session = channel_session(hub, account, settled_after=timedelta(0))
    if row["was"] != "due":
        if channel.can.repeats == "unsafe" or channel.find is None:
            return Outcome(row=row, end="parked", code="outcome_unknown")
        find = channel.find
        known = _look(lambda: find(session, confirmation))
        if known is not None:
            return Outcome(row=row, end="done", reference=known.reference, degraded=known.degraded)
    try:
        confirmed = channel.confirm(session, confirmation)
    except RefusedError:
        # "Already shipped" may be our own earlier call: only a look tells.
        seen = channel.find(session, confirmation) if channel.find else None
        if seen is None:
            raise
        confirmed = seen
    return Outcome(row=row, end="done", reference=confirmed.reference, degraded=confirmed.degraded)
