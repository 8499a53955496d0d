"""dispatch: claim → send outside any transaction → settle. It talks and decides nothing.

A claim is a lease with a fencing token. What was due is sent; what may have happened is looked up first, or sent again
where the target honours our key, or parked for a person where it can do neither."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeVar

from connectors._channel import Document
from domain.errors import ConfigError, HubError, RefusedError, RetryableError, UnknownOutcomeError
from domain.merging import Group
from outbound._warehouse import Accepted, Shipment
from storage.fulfilments import mark_pushing
from storage.merges import member_states
from storage.outbox import claim_outbox, push_states, still_claimed
from storage.rows import Row
from storage.times import span
from wire.permit import permitted

from .bootstrap import Hub, outside
from .clock import counted
from .directory import Directory, read_directory
from .dossier import Dossier, load_dossiers
from .merging import gather
from .messages import build_confirmation, build_merged_shipment, build_shipment
from .sessions import channel_session, warehouse_session
from .trouble import read_trouble

# Of a claim's length: a send must start within the first part and may take half of it (30 of 60 s), so it ends inside the claim.
_SAFE = 25 / 60
_YOUNG = timedelta(seconds=2)
_SLOW = timedelta(seconds=1)
_LOOKS = 2
_GATHER = 0.04  # seconds
_AHEAD = 8  # jobs claimed per sender, so that a turn's commit serves many

# While the database is away a stopping process tries to settle again, so many times, so many seconds apart.
_LANDINGS = 20
_LANDING_PAUSE = 0.5

_STOPPED = frozenset({"cancelling", "cancelled"})
_SENDABLE = frozenset({"ready", "pushing"})

End = Literal["done", "retry", "refused", "unknown", "parked", "withdrawn", "wait"]


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one sending ended. `code`/`detail` of an error, `reference` the peer's own, `degraded` what could not be said,
    `document` the order as its source showed it afterwards."""

    row: Row
    end: End
    code: str = ""
    detail: str = ""
    reference: str = ""
    degraded: str = ""
    error: HubError | None = None
    looked: bool = False
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed row with everything needed to send it; `mates` are the orders of a warehouse order for several."""

    row: Row
    dossier: Dossier
    directory: Directory
    claimed_at: int
    claimed_mono: float
    mates: Mapping[int, Dossier] = field(default_factory=dict)

    @property
    def group(self) -> Group | None:
        found: Group | None = self.row.get("group")
        return found

    @property
    def fulfilment(self) -> Row:
        return self.dossier.fulfilments[self.row["fulfilment_id"]]

    @property
    def code(self) -> str:
        """What the warehouse knows it by."""
        return self.group.code if self.group else str(self.fulfilment["code"])

    @property
    def parts(self) -> list[tuple[Dossier, Row]]:
        """Every fulfilment it is about, with its order."""
        if self.group is None:
            return [(self.dossier, self.fulfilment)]
        return [(self.mates[order], self.mates[order].fulfilments[part]) for order, part in self.group.members]


Settle = Callable[[Hub, Sequence[Outcome]], None]


@dataclass(slots=True)
class Dispatcher:
    """Sendings under way. A turn never waits for the network: it settles what has come back, in one commit, and claims what
    there is room for. One target never holds more than half of the senders, so one that hangs does not stop the others.

    `only` sends to one target, `width` calls at once; nothing goes out while `permit` says no."""

    hub: Hub
    settle: Settle
    pool: ThreadPoolExecutor
    flying: dict[Future[list[Outcome]], list[Job]] = field(default_factory=dict)
    only: int | None = None
    width: int = 0
    permit: Callable[[], bool] = lambda: True

    def turn(self, *, more: bool = True) -> int:
        """Settle and claim once (only settle unless `more`); returns how many rows came back or went out."""
        finished = self._settle()
        open_to_more = more and not self.hub.stopping.is_set() and self.permit()
        calls = build_calls(self.hub, self._claim()) if open_to_more else []
        for jobs in calls:
            self.flying[self.pool.submit(self._send, jobs)] = jobs
        return finished + len(calls)

    def land(self) -> None:
        """The way to stop: what is on the wire is awaited and settled, what has not begun is given back unsent."""
        unsent = [
            Outcome(row=job.row, end=_again(job.row), code="given_back")
            for future, jobs in self.flying.items()
            if future.cancel()
            for job in jobs
        ]
        wait(self.flying)
        for left in reversed(range(_LANDINGS)):
            try:
                self._settle(unsent)
                return
            except Exception as error:
                if not left or read_trouble(error) is None:
                    raise
                time.sleep(_LANDING_PAUSE)

    def _send(self, jobs: Sequence[Job]) -> list[Outcome]:
        with permitted(self.permit):
            return send(self.hub, jobs)

    def _settle(self, more: Sequence[Outcome] = ()) -> int:
        """Settle what has come back; returns how many. While the database is away nothing is forgotten: a sending whose
        outcome is known must not become one that may have happened."""
        finished = [future for future in self.flying if future.done()]
        outcomes = [outcome for future in finished if not future.cancelled() for outcome in future.result()]
        try:
            self.settle(self.hub, [*outcomes, *more])
        except Exception as error:
            if read_trouble(error) is None:
                self._forget(finished)
            raise
        self._forget(finished)
        return len(finished)

    def _forget(self, futures: Sequence[Future[list[Outcome]]]) -> None:
        for future in futures:
            del self.flying[future]

    def wait(self, seconds: float) -> None:
        """Wait until something has come back, or so long; then a moment for what comes close behind, to share its commit."""
        done = wait(self.flying, timeout=seconds, return_when=FIRST_COMPLETED).done
        if len(done) < len(self.flying):
            wait(self.flying, timeout=_GATHER)

    def _claim(self) -> list[Job]:
        senders = self.width or self.hub.settings.senders
        room = senders * _AHEAD - sum(map(len, self.flying.values()))
        if room < senders:
            return []
        if self.only is not None:
            return claim(self.hub, room, only=self.only)
        slow = Counter(
            jobs[0].row["target_id"]
            for jobs in self.flying.values()
            if self.hub.now() - jobs[0].claimed_at > span(_SLOW)
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


def claim(hub: Hub, limit: int, skip: Sequence[int] = (), *, only: int | None = None) -> list[Job]:
    """Take work whose time has come (of one target, if `only` names it), in one short transaction, and load what is to be
    sent. Targets in `skip`, and stopped ones, are left alone."""
    now, mono = hub.now(), counted()
    (token,) = hub.ids.take(1)
    with hub.write() as tx:
        directory = read_directory(hub, tx)
        stopped = [x.id for x in directory.targets.values() if x.state != "active" or not x.enabled]
        stopped += [x.id for x in directory.accounts.values() if x.state != "active" or not x.enabled]
        left_alone, lease = [*stopped, *skip], span(hub.settings.lease)
        rows = claim_outbox(tx, now=now, lease=lease, token=token, limit=limit, targets=left_alone, only=only)
        rows = gather(hub, tx, rows, now=now)
        mark_pushing(tx, [part for row in rows if row["kind"] == "push" for part in _parts_of(row)], now=now)
    if not rows:
        return []
    with hub.read() as tx:
        dossiers = load_dossiers(tx, hub.vault, {order for row in rows for order in orders_of(row)}, lock=False)
    return [
        Job(row, dossiers[row["order_id"]], directory, now, mono, {order: dossiers[order] for order in orders_of(row)})
        for row in rows
    ]


def orders_of(row: Row) -> set[int]:
    """The orders a claimed row is about."""
    return {row["order_id"], *row["group"].orders} if "group" in row else {row["order_id"]}


def _parts_of(row: Row) -> list[int]:
    return [part for _, part in row["group"].members] if "group" in row else [row["fulfilment_id"]]


def build_calls(hub: Hub, jobs: Sequence[Job]) -> list[list[Job]]:
    """What goes out together: first pushes to a warehouse that takes several orders in one call. All else goes by itself."""
    calls: list[list[Job]] = []
    together: dict[int, list[Job]] = {}
    for job in jobs:
        size = _batch(hub, job)
        call = together.get(job.row["target_id"]) if size > 1 else None
        if call is None or len(call) >= size:
            call = []
            calls.append(call)
            if size > 1:
                together[job.row["target_id"]] = call
        call.append(job)
    return calls


def _batch(hub: Hub, job: Job) -> int:
    if job.row["kind"] != "push" or job.row["was"] != "due":
        return 1
    kind = job.directory.targets[job.row["target_id"]].kind
    if kind.send_many is None or kind.batch is None:
        return 1
    try:
        settings = warehouse_session(hub, job.directory.targets[job.row["target_id"]]).settings
        # Where an unknown outcome is a person's work, one lost answer must not make fifty of it.
        return 1 if kind.repeats(settings) == "unsafe" else kind.batch(settings)
    except HubError:
        return 1  # the send itself will say what is wrong


def send(hub: Hub, jobs: Sequence[Job]) -> list[Outcome]:
    """Have one effect, or the pushes of one call. A row without an outcome is not ours any more, somebody else settles it."""
    outside()
    lease = span(hub.settings.lease)
    if any(_age(hub, job) > lease * _SAFE for job in jobs):
        # Given back: nothing was sent.
        return [Outcome(row=job.row, end=_again(job.row), code="claim_too_old") for job in jobs]
    ours = [job for job in jobs if _ours(hub, job)]
    # Asked by the socket before every write: a process frozen after all the looks still says nothing when it wakes.
    with permitted(lambda: all(_age(hub, job) < lease for job in ours)):
        if len(ours) > 1:
            return _told_for_all(ours, lambda: _push_many(hub, ours))
        return [outcome for job in ours for outcome in _told_for_all([job], lambda: _one(hub, ours[0]))]


def _one(hub: Hub, job: Job) -> list[Outcome]:
    kind = job.row["kind"]
    outcome = _push(hub, job) if kind == "push" else _cancel(hub, job) if kind == "cancel" else _confirm(hub, job)
    return [] if outcome is None else [outcome]


def _told_for_all(jobs: Sequence[Job], call: Callable[[], list[Outcome]]) -> list[Outcome]:
    """The outcomes of a call, whatever it raises."""
    try:
        return call()
    except HubError as error:
        return [_failed(job.row, error) for job in jobs]
    except Exception as error:  # noqa: BLE001 - a fault of ours in the middle of a send: it may have happened
        unknown = UnknownOutcomeError("internal", type(error).__name__)
        return [_failed(job.row, unknown) for job in jobs]


def _failed(row: Row, error: HubError) -> Outcome:
    end: End = "refused"
    if isinstance(error, UnknownOutcomeError):
        end = "unknown"
    elif isinstance(error, (RetryableError, ConfigError)):
        end = _again(row)
    return Outcome(row=row, end=end, code=error.code, detail=error.detail, error=error)


def _ours(hub: Hub, job: Job) -> bool:
    """Asked just before the send. Nobody can take a claim over within its lease, so a young one needs no look; one that has
    waited (a full pool, a process that was frozen) is looked up."""
    if _age(hub, job) < span(_YOUNG):
        return True
    with hub.read() as tx:
        return still_claimed(tx, job.row["id"], job.row["token"])


def _age(hub: Hub, job: Job) -> int:
    return max(hub.now() - job.claimed_at, round((counted() - job.claimed_mono) * 1_000_000))


def _wanted(hub: Hub, rows: Sequence[Row]) -> dict[int, str]:
    """The fulfilments' states by row id, as far as the claims are still ours: asked right before every push, because none may
    start after a cancel was committed, however young the claim is. Of several fulfilments one that is stopped stops all."""
    with hub.read() as tx:
        states = push_states(tx, [row["id"] for row in rows], rows[0]["token"])
        for row in rows:
            if "group" in row and row["id"] in states:
                stopped = [each for each in member_states(tx, _parts_of(row)) if each in _STOPPED]
                states[row["id"]] = stopped[0] if stopped else states[row["id"]]
        return states


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
    row, fulfilment = job.row, job.fulfilment
    target = job.directory.targets[row["target_id"]]
    session = warehouse_session(hub, target)
    states = {part["state"] for _, part in job.parts}
    stopped = bool(states & _STOPPED)
    repeats = target.kind.repeats(session.settings)
    if row["was"] == "due":
        if not states <= _SENDABLE:
            return Outcome(row=row, end="withdrawn")
    elif repeats == "unsafe":
        return Outcome(row=row, end="parked", code="outcome_unknown")
    elif repeats == "findable" or stopped:
        found = _look(lambda: target.kind.find(session, job.code, fulfilment["warehouse_ref"]))
        if found is not None:
            return Outcome(row=row, end="done", reference=found.reference)
        if row["looks"] + 1 < _LOOKS + (2 if stopped else 0):
            return Outcome(row=row, end="unknown", code="not_found_yet", looked=True)
        if stopped:
            return Outcome(row=row, end="withdrawn", code="never_arrived")
    shipment = _shipment(job)
    state = _wanted(hub, [row]).get(row["id"], "")
    if not state:
        return None
    if state in _STOPPED:
        end: End = "withdrawn" if row["was"] == "due" else "unknown"
        return Outcome(row=row, end=end, code="stopped")
    accepted = target.kind.send(session, shipment)
    return Outcome(row=row, end="done", reference=accepted.reference)


def _shipment(job: Job) -> Shipment:
    parts = [(dossier, part, job.directory.accounts[dossier.order["account_id"]]) for dossier, part in job.parts]
    return build_merged_shipment(job.code, parts) if job.group else build_shipment(*parts[0])


def _push_many(hub: Hub, jobs: Sequence[Job]) -> list[Outcome]:
    """First pushes of several fulfilments in one call. One that was stopped meanwhile stays behind, its neighbours go."""
    target = jobs[0].directory.targets[jobs[0].row["target_id"]]
    session = warehouse_session(hub, target)
    outcomes: list[Outcome] = []
    going: list[tuple[Row, Shipment]] = []
    for job in jobs:
        try:
            going.append((job.row, _shipment(job)))
        except HubError as error:
            outcomes.append(_failed(job.row, error))
    states = _wanted(hub, [row for row, _ in going]) if going else {}
    outcomes += [
        Outcome(row=row, end="withdrawn", code="stopped")
        for row, _ in going
        if row["id"] in states and states[row["id"]] not in _SENDABLE
    ]
    going = [(row, shipment) for row, shipment in going if states.get(row["id"]) in _SENDABLE]
    if not going or target.kind.send_many is None:
        return outcomes
    send_many, rows = target.kind.send_many, [row for row, _ in going]
    answers = _answers(lambda: send_many(session, [shipment for _, shipment in going]), len(going))
    for row, answer in zip(rows, answers, strict=True):
        outcomes.append(
            _failed(row, answer)
            if isinstance(answer, HubError)
            else Outcome(row=row, end="done", reference=answer.reference)
        )
    return outcomes


def _answers(call: Callable[[], Sequence[Accepted | HubError]], count: int) -> Sequence[Accepted | HubError]:
    """One answer each; what the call raises is everybody's, because those that stayed behind have theirs already."""
    try:
        return call()
    except HubError as error:
        return [error] * count
    except Exception as error:  # noqa: BLE001 - a fault of ours in the middle of a send: it may have happened
        return [UnknownOutcomeError("internal", type(error).__name__)] * count


def _cancel(hub: Hub, job: Job) -> Outcome:
    """A cancel may be asked again: after an unknown answer the question is simply repeated."""
    row = job.row
    fulfilment = job.fulfilment
    if fulfilment["state"] != "cancelling":
        return Outcome(row=row, end="withdrawn")
    target = job.directory.targets[row["target_id"]]
    session = warehouse_session(hub, target)
    answer = target.kind.cancel(session, job.code, fulfilment["warehouse_ref"], "cancelled by the buyer or the shop")
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
    return Outcome(
        row=row,
        end="done",
        reference=confirmed.reference,
        degraded=confirmed.degraded,
        document=confirmed.document,
    )
