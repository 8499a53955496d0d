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

from sqlalchemy import Connection

from domain.errors import HubError
from storage.fulfilments import mark_pushing
from storage.outbox import claim_outbox, next_due
from storage.rows import Row
from storage.times import span
from wire.permit import permitted

from .bootstrap import Hub
from .clock import counted
from .directory import read_directory
from .dossier import Dossier, Extract, extract, load_dossiers
from .merging import gather
from .sending import Job, Outcome, again, orders_of, parts_of, send
from .sessions import channel_session, warehouse_session
from .trouble import read_trouble

_SLOW = timedelta(seconds=1)
_GATHER = 0.04  # seconds
_AHEAD = 8  # calls claimed per sender, so that a turn's commit serves many
_TOGETHER = 12  # at most so many times as many jobs, as far as they go out together

# While the database is away a stopping process tries to settle again, so many times, so many seconds apart.
_LANDINGS = 20
_LANDING_PAUSE = 0.5

_NEEDED = {
    "push": extract(
        orders="number currency placed_at paid_at payment private",
        order_lines="external_id title sku quantity unit_price amount discount components",
        fulfilments="code state carrier warehouse_ref freight created_at",
        fulfilment_lines="quantity",
        opened=True,
    ),
    "confirm": extract(
        orders="number",
        order_lines="external_id sku state quantity requires_shipping components",
        packages="tracking carrier carrier_name confirm_state shipped_at",
        package_lines="quantity",
        outbox="kind state",
    ),
}

Settle = Callable[[Hub, Sequence[Outcome]], None]


@dataclass(slots=True)
class Dispatcher:
    """Sendings under way. A turn never waits for the network: it claims what there is room for and, while that is on its way,
    settles in one commit what has come back. One target never holds more than half of the senders, so one that hangs does not
    stop the others.

    `only` sends to one target, `width` calls at once; nothing goes out while `permit` says no."""

    hub: Hub
    settle: Settle
    pool: ThreadPoolExecutor
    flying: dict[Future[list[Outcome]], list[Job]] = field(default_factory=dict)
    only: int | None = None
    width: int = 0
    permit: Callable[[], bool] = lambda: True
    together: int = 1  # jobs per call, as of the last claim
    looked: int | None = None  # the number of commits before the last look
    due: int | None = None  # when, as of that look, the next row needs attention (µs)

    def turn(self, *, more: bool = True) -> int:
        """Claim and settle once (only settle unless `more`); returns how many calls came back or went out."""
        back = [future for future in self.flying if future.done()]
        begun = 0
        try:
            if more and not self.hub.stopping.is_set() and self.permit():
                begun = self._begin()
        finally:
            # What has come back is settled whatever became of the claim.
            finished = self._settle(back) if back else 0
        return finished + begun

    def _begin(self) -> int:
        jobs = self._claim()
        calls = build_calls(self.hub, jobs)
        if calls:
            self.together = max(1, min(_TOGETHER, len(jobs) // len(calls)))
        for jobs in calls:
            self.flying[self.pool.submit(self._send, jobs)] = jobs
        return len(calls)

    def land(self) -> None:
        """The way to stop: what is on the wire is awaited and settled, what has not begun is given back unsent."""
        unsent = [
            Outcome(row=job.row, end=again(job.row), code="given_back")
            for future, jobs in self.flying.items()
            if future.cancel()
            for job in jobs
        ]
        wait(self.flying)
        for left in reversed(range(_LANDINGS)):
            try:
                self._settle([*self.flying], unsent)
                return
            except Exception as error:
                if not left or read_trouble(error) is None:
                    raise
                time.sleep(_LANDING_PAUSE)

    def _send(self, jobs: Sequence[Job]) -> list[Outcome]:
        with permitted(self.permit):
            return send(self.hub, jobs)

    def _settle(self, finished: Sequence[Future[list[Outcome]]], more: Sequence[Outcome] = ()) -> int:
        """Settle what has come back; returns how many calls. While the database is away nothing is forgotten: a sending whose
        outcome is known must not become one that may have happened."""
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
        self.looked = None  # a target that was slow may have room again
        for future in futures:
            del self.flying[future]

    def wait(self, seconds: float) -> None:
        """Wait until something has come back, or so long; then a moment for what comes close behind, to share its commit."""
        done = wait(self.flying, timeout=seconds, return_when=FIRST_COMPLETED).done
        if len(done) < len(self.flying):
            wait(self.flying, timeout=_GATHER)

    def _claim(self) -> list[Job]:
        senders = self.width or self.hub.settings.senders
        most = senders * _AHEAD * self.together
        # What has come back makes room before it is settled, but only once: while nothing can be settled, no more goes out.
        room = min(
            most - sum(len(jobs) for future, jobs in self.flying.items() if not future.done()),
            2 * most - sum(map(len, self.flying.values())),
        )
        if room < senders or not self._is_due():
            return []
        jobs = self._take(room, senders)
        if not jobs:
            # What is due is somebody else's, stopped or slow: not looked for at every tick.
            self.due = self.hub.now() + span(_SLOW)
        return jobs

    def _is_due(self) -> bool:
        """Whether a claim may find anything. A look takes no turn at writing, which whoever has something to write waits for; and
        there is none while nobody has committed anything and nothing that was seen has become due."""
        commits, now = self.hub.commits(), self.hub.now()
        if commits is None or commits != self.looked:
            with self.hub.read() as tx:
                self.looked, self.due = commits, next_due(tx, only=self.only)
        return self.due is not None and self.due <= now

    def _take(self, room: int, senders: int) -> list[Job]:
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
        mark_pushing(tx, [part for row in rows if row["kind"] == "push" for part in parts_of(row)], now=now)
    if not rows:
        return []
    with hub.read() as tx:
        dossiers = _load_sent(hub, tx, rows)
    return [
        Job(row, dossiers[row["order_id"]], directory, now, mono, {order: dossiers[order] for order in orders_of(row)})
        for row in rows
    ]


def _load_sent(hub: Hub, tx: Connection, rows: Sequence[Row]) -> dict[int, Dossier]:
    """The orders of claimed rows, as far as they are needed to say what is said about them."""
    wanted: dict[int, Extract | None] = {}
    for row in rows:
        part = None if "group" in row else _NEEDED.get(row["kind"])
        for order in orders_of(row):
            wanted[order] = part if wanted.get(order, part) is part else None
    loaded: dict[int, Dossier] = {}
    for part in (*_NEEDED.values(), None):
        ids = [order for order, needed in wanted.items() if needed is part]
        loaded |= load_dossiers(tx, hub.vault, ids, lock=False, part=part)
    return loaded


def build_calls(hub: Hub, jobs: Sequence[Job]) -> list[list[Job]]:
    """What goes out together: first pushes to a warehouse, or first confirmations to a shop, that takes several in one call. All
    else goes by itself."""
    calls: list[list[Job]] = []
    together: dict[tuple[str, int], list[Job]] = {}
    sizes: dict[tuple[str, int], int] = {}
    for job in jobs:
        key = (job.row["kind"], job.row["target_id"])
        if key not in sizes:
            sizes[key] = _batch(hub, job)
        # Where an unknown outcome is a person's work, one lost answer must not make fifty.
        size = sizes[key] if job.row["was"] == "due" else 1
        call = together.get(key) if size > 1 else None
        if call is None or len(call) >= size:
            call = []
            calls.append(call)
            if size > 1:
                together[key] = call
        call.append(job)
    return calls


def _batch(hub: Hub, job: Job) -> int:
    """How many first sendings of its kind to its target go together."""
    try:
        if job.row["kind"] == "push":
            target = job.directory.targets[job.row["target_id"]]
            if target.kind.send_many is None or target.kind.batch is None:
                return 1
            ours = warehouse_session(hub, target).settings
            return 1 if target.kind.repeats(ours) == "unsafe" else target.kind.batch(ours)
        if job.row["kind"] == "confirm":
            account = job.directory.accounts[job.row["target_id"]]
            if account.channel.confirm_many is None or account.channel.batch is None:
                return 1
            theirs = channel_session(hub, account, settled_after=timedelta(0)).settings
            return 1 if account.channel.can.repeats == "unsafe" else account.channel.batch(theirs)
    except HubError:
        pass  # the send itself will say what is wrong
    return 1
