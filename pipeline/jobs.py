"""The jobs of one worker among many, as functions of the hub and a claim. Each does what is due for its subject and comes
back; each claims again, row by row, what it works on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from storage.due import Wanted
from wire.permit import permitted

from .absorb import absorb
from .bootstrap import Hub
from .clock import counted
from .dispatch import Dispatcher
from .housekeeping import keep_house
from .lanes import ABSORB_PARTS
from .pull import pull_due
from .settle import settle
from .trouble import read_trouble
from .watch import watch_news, watch_stock

# A job with much to do comes back now and then, so that others get their turn.
_LONGEST = 15.0
_PAUSE = 0.5
# What comes close behind is absorbed together: a batch costs some 15 ms of processor time before its first document.
_STAGE = 0.1


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed job. `alive`: whether it is ours for certain."""

    job: Wanted
    alive: Callable[[], bool]


def run_job(hub: Hub, claim: Claim) -> None:
    """Do a claimed job. Nothing goes out of a socket after its lease has run out."""
    with permitted(claim.alive):
        RUNS[claim.job.name](hub, claim)


def _pull(hub: Hub, claim: Claim) -> None:
    pull_due(hub, account_id=claim.job.subject_id, stream=claim.job.part)


def _absorb(hub: Hub, claim: Claim) -> None:
    end, many = counted() + _LONGEST, hub.settings.batch // 2
    while claim.alive() and not hub.stopping.is_set() and counted() < end:
        done = absorb(hub, part=(claim.job.subject_id, ABSORB_PARTS))
        if not done:
            return
        if done < many:
            hub.stopping.wait(_STAGE)


def _dispatch(hub: Hub, claim: Claim) -> None:
    width, end = claim.job.width, counted() + _LONGEST
    with ThreadPoolExecutor(width, thread_name_prefix="send") as pool:
        target = claim.job.subject_id
        dispatcher = Dispatcher(hub, settle, pool, only=target, width=width, permit=claim.alive)
        try:
            while claim.alive() and not hub.stopping.is_set():
                if not _turn(dispatcher, more=counted() < end) and not dispatcher.flying:
                    break
                dispatcher.wait(0.2)
        finally:
            dispatcher.land()


def _turn(dispatcher: Dispatcher, *, more: bool) -> int:
    """One turn; while the database is away, a pause that counts as one: outcomes that are known wait for it."""
    try:
        return dispatcher.turn(more=more)
    except Exception as error:
        if read_trouble(error) is None:
            raise
        time.sleep(_PAUSE)
        return 1


def _news(hub: Hub, claim: Claim) -> None:
    with ThreadPoolExecutor(claim.job.width, thread_name_prefix="ask") as pool:
        watch_news(hub, pool=pool, warehouse_id=claim.job.subject_id)


def _stock(hub: Hub, claim: Claim) -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="ask") as pool:
        watch_stock(hub, pool=pool, warehouse_id=claim.job.subject_id)


def _house(hub: Hub, _claim: Claim) -> None:
    keep_house(hub)


RUNS: Mapping[str, Callable[[Hub, Claim], None]] = {
    "pull": _pull,
    "absorb": _absorb,
    "dispatch": _dispatch,
    "news": _news,
    "stock": _stock,
    "house": _house,
}
