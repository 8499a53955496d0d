"""Having one effect, or the pushes and confirmations of one call: what is asked right before, and what the answer means.

What was due is sent; what may have happened is looked up first, or sent again where the target honours our key, or parked for
a person where it can do neither."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Literal, TypeVar

from connectors._channel import Confirmation, Confirmed, Document
from connectors._channel import Session as ChannelSession
from domain.errors import ConfigError, HubError, RefusedError, RetryableError, UnknownOutcomeError
from domain.merging import Group
from outbound._warehouse import Shipment
from storage.merges import member_states
from storage.outbox import push_states, still_claimed
from storage.rows import Row
from storage.times import span
from wire.permit import permitted

from .bootstrap import Hub, outside
from .clock import counted
from .directory import Directory
from .dossier import Dossier
from .messages import build_confirmation, build_merged_shipment, build_shipment
from .sessions import channel_session, warehouse_session

# Of a claim's length: a send must start within the first part and may take half of it (30 of 60 s), so it ends inside the claim.
_SAFE = 25 / 60
_YOUNG = timedelta(seconds=2)
_LOOKS = 2

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


def orders_of(row: Row) -> set[int]:
    """The orders a claimed row is about."""
    return {row["order_id"], *row["group"].orders} if "group" in row else {row["order_id"]}


def parts_of(row: Row) -> list[int]:
    return [part for _, part in row["group"].members] if "group" in row else [row["fulfilment_id"]]


def send(hub: Hub, jobs: Sequence[Job]) -> list[Outcome]:
    """Have one effect, or the pushes of one call. A row without an outcome is not ours any more, somebody else settles it."""
    outside()
    lease = span(hub.settings.lease)
    if any(_age(hub, job) > lease * _SAFE for job in jobs):
        # Given back: nothing was sent.
        return [Outcome(row=job.row, end=again(job.row), code="claim_too_old") for job in jobs]
    ours = _ours(hub, jobs)
    # Asked by the socket before every write: a process frozen after all the looks still says nothing when it wakes.
    claims = {(job.claimed_at, job.claimed_mono) for job in ours}
    with permitted(lambda: all(_since(hub, *claim) < lease for claim in claims)):
        if len(ours) > 1:
            many = _push_many if ours[0].row["kind"] == "push" else _confirm_many
            return _told_for_all(ours, lambda: many(hub, ours))
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
        end = again(row)
    return Outcome(row=row, end=end, code=error.code, detail=error.detail, error=error)


def _ours(hub: Hub, jobs: Sequence[Job]) -> list[Job]:
    """Asked just before the send. Nobody can take a claim over within its lease, so a young one needs no look; those that have
    waited (a full pool, a process that was frozen) are looked up."""
    old = [(int(job.row["id"]), int(job.row["token"])) for job in jobs if _age(hub, job) >= span(_YOUNG)]
    if not old:
        return list(jobs)
    with hub.read() as tx:
        lost = {row_id for row_id, _ in old} - still_claimed(tx, old)
    return [job for job in jobs if job.row["id"] not in lost]


def _age(hub: Hub, job: Job) -> int:
    return _since(hub, job.claimed_at, job.claimed_mono)


def _since(hub: Hub, claimed_at: int, claimed_mono: float) -> int:
    """Microseconds since a claim, by whichever clock says more."""
    return max(hub.now() - claimed_at, round((counted() - claimed_mono) * 1_000_000))


def _wanted(hub: Hub, rows: Sequence[Row]) -> dict[int, str]:
    """The fulfilments' states by row id, as far as the claims are still ours: asked right before every push, because none may
    start after a cancel was committed, however young the claim is. Of several fulfilments one that is stopped stops all."""
    with hub.read() as tx:
        states = push_states(tx, [row["id"] for row in rows], rows[0]["token"])
        for row in rows:
            if "group" in row and row["id"] in states:
                stopped = [each for each in member_states(tx, parts_of(row)) if each in _STOPPED]
                states[row["id"]] = stopped[0] if stopped else states[row["id"]]
        return states


def _look(find: Callable[[], Found | None]) -> Found | None:
    """Look whether something happened. A look that is refused tells nothing about what it looked for."""
    outside()
    try:
        return find()
    except RefusedError as error:
        raise RetryableError(f"look_{error.code}", error.detail) from error


def again(row: Row) -> End:
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


def _answers(call: Callable[[], Sequence[Found | HubError]], count: int) -> Sequence[Found | HubError]:
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


def _confirmation(job: Job) -> Confirmation | Outcome:
    """What is to be told, or why nothing is."""
    row, dossier = job.row, job.dossier
    account = job.directory.accounts[row["target_id"]]
    earlier = [
        other
        for other in dossier.outbox.values()
        if other["kind"] == "confirm" and other["id"] < row["id"] and other["state"] in {"due", "sending", "unknown"}
    ]
    if earlier:
        return Outcome(row=row, end="wait")
    confirmation = build_confirmation(dossier, dossier.packages[row["package_id"]], account)
    if account.channel.confirm is None or confirmation is None:
        return Outcome(row=row, end="done", degraded="an earlier parcel of the same lines was told already")
    return confirmation


def _confirm(hub: Hub, job: Job) -> Outcome:
    told = _confirmation(job)
    if isinstance(told, Outcome):
        return told
    row, account = job.row, job.directory.accounts[job.row["target_id"]]
    channel = account.channel
    session = channel_session(hub, account, settled_after=timedelta(0))
    if row["was"] != "due":
        if channel.can.repeats == "unsafe" or channel.find is None:
            return Outcome(row=row, end="parked", code="outcome_unknown")
        find = channel.find
        known = _look(lambda: find(session, told))
        if known is not None:
            return _confirmed(row, known)
    try:
        return _confirmed(row, channel.confirm(session, told) if channel.confirm else Confirmed())
    except RefusedError as error:
        return _refused(job, session, told, error)


def _confirm_many(hub: Hub, jobs: Sequence[Job]) -> list[Outcome]:
    """First confirmations of several orders' parcels to one account, in one call."""
    account = jobs[0].directory.accounts[jobs[0].row["target_id"]]
    session = channel_session(hub, account, settled_after=timedelta(0))
    outcomes: list[Outcome] = []
    going: list[tuple[Job, Confirmation]] = []
    for job in jobs:
        try:
            told = _confirmation(job)
        except HubError as error:
            outcomes.append(_failed(job.row, error))
            continue
        if isinstance(told, Outcome):
            outcomes.append(told)
        else:
            going.append((job, told))
    confirm_many = account.channel.confirm_many
    if not going or confirm_many is None:
        return outcomes
    answers = _answers(lambda: confirm_many(session, [told for _, told in going]), len(going))
    for (job, told), answer in zip(going, answers, strict=True):
        outcomes += _told_for_all([job], partial(_ended, job, session, told, answer))
    return outcomes


def _ended(job: Job, session: ChannelSession, told: Confirmation, answer: Confirmed | HubError) -> list[Outcome]:
    if isinstance(answer, RefusedError):
        return [_refused(job, session, told, answer)]
    return [_failed(job.row, answer) if isinstance(answer, HubError) else _confirmed(job.row, answer)]


def _refused(job: Job, session: ChannelSession, told: Confirmation, error: RefusedError) -> Outcome:
    """ "Already shipped" may be our own earlier call: only a look tells. Raises the refusal if it is one."""
    find = job.directory.accounts[job.row["target_id"]].channel.find
    seen = find(session, told) if find else None
    if seen is None:
        raise error
    return _confirmed(job.row, seen)


def _confirmed(row: Row, told: Confirmed) -> Outcome:
    return Outcome(row=row, end="done", reference=told.reference, degraded=told.degraded, document=told.document)
