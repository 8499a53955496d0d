"""Claim → send → settle: what becomes of an effect that did happen, did not, or may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta
from threading import Barrier
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import Connection

from domain.errors import ConfigError, RefusedError, RetryableError, UnknownOutcomeError
from pipeline import dispatch as dispatching
from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub
from pipeline.dispatch import Dispatcher, claim, dispatch
from pipeline.review import cancel_by_number, review
from pipeline.sending import Job, send
from pipeline.settle import settle
from storage import tables as t
from storage.directory import set_warehouse_state
from storage.outbox import next_due
from tests.wire.loopback import Loopback, Seen, reply
from wire.retry import SCHEDULE
from wire.safe_xml import parse

from .build import NOW, Order, Shop, order, warehouse

UNKNOWN = UnknownOutcomeError("read_timeout")
AGAIN = RetryableError("http_503")


class Wms:
    """A Qimen warehouse in a few lines: `script` says what happens to the next creates - "ok", "lost" (taken, and no answer),
    "drop" (not taken, and no answer), "no" (refused), "busy" (503). It shows what it took after `hidden` looks."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.asked: list[str] = []
        self.script: list[str] = []
        self.hidden = 0
        self.before_create: Any = None

    def __call__(self, seen: Seen, _connection: Any) -> bytes | None:
        method = parse_qs(urlsplit(seen.target).query)["method"][0].split(".", 1)[1]
        root = parse(seen.body)
        code = root.findtext("deliveryOrder/deliveryOrderCode") or root.findtext("orderCode") or ""
        self.asked.append(method)
        if method == "batchcreate":
            return self._create_many([str(each.text) for each in root.iter("deliveryOrderCode")])
        if method == "create":
            return self._create(code)
        if method == "cancel":
            return _answer() if code in self.taken else _answer("S021", "order not found")
        if code not in self.taken or self.hidden > 0:
            self.hidden -= 1
            return _answer("S021", "order not found")
        body = f"<deliveryOrder><deliveryOrderCode>{code}</deliveryOrderCode><deliveryOrderId>W1</deliveryOrderId></deliveryOrder>"
        return _answer(extra=body)

    def _create_many(self, codes: list[str]) -> bytes | None:
        """`script` holds one step for the call ("lost", "drop", "busy"), or one for each order of it ("ok", "no")."""
        if self.before_create is not None:
            self.before_create()
        if self.script and self.script[0] in {"lost", "drop", "busy"}:
            step = self.script.pop(0)
            self.taken += codes if step == "lost" else []
            return reply(503) if step == "busy" else None
        steps = [self.script.pop(0) if self.script else "ok" for _ in codes]
        self.taken += [code for code, step in zip(codes, steps, strict=True) if step == "ok"]
        failed = [code for code, step in zip(codes, steps, strict=True) if step == "no"]
        rows = "".join(
            f"<order><deliveryOrderCode>{code}</deliveryOrderCode><message>unknown item</message></order>"
            for code in failed
        )
        return _answer("PARTIAL", "some failed", extra=f"<orders>{rows}</orders>") if failed else _answer()

    def _create(self, code: str) -> bytes | None:
        if self.before_create is not None:
            self.before_create()
        step = self.script.pop(0) if self.script else "ok"
        if step in {"ok", "lost"}:
            self.taken.append(code)
        if step == "busy":
            return reply(503)
        if step == "no":
            return _answer("S003", "unknown item")
        return _answer(extra="<deliveryOrderId>W1</deliveryOrderId>") if step == "ok" else None


def _answer(code: str = "0", message: str = "ok", *, extra: str = "") -> bytes:
    flag = "success" if code == "0" else "failure"
    body = f"<response><flag>{flag}</flag><code>{code}</code><message>{message}</message>{extra}</response>"
    return reply(200, body.encode(), Content_Type="text/xml")


@contextmanager
def serving(shop: Shop, repeats: str, batch: int = 1) -> Iterator[Wms]:
    wms = Wms()
    with Loopback(wms) as server:
        apply_values(shop.hub, {"warehouses": [warehouse(url=server.url, repeats=repeats, batch=batch)]})
        yield wms


def turn(shop: Shop) -> None:
    """One round of the dispatcher, a day after the last: everything that waits is due."""
    with ThreadPoolExecutor(4) as pool:
        dispatch(shop.hub, settle, pool=pool)
    shop.clock.wait(days=1)


def rounds(shop: Shop, order_: Order, number: int = 4) -> Order:
    for _ in range(number):
        turn(shop)
    return order_.again()


# --- several orders in one call ------------------------------------------------------------------------------------------


def several(shop: Shop) -> list[Order]:
    ids = ("PO-1", "PO-2", "PO-3")
    shop.put(*(order(ident) for ident in ids))
    absorb_all(shop.hub)
    return [shop.order(ident) for ident in ids]


def test_first_pushes_to_one_warehouse_share_a_call(shop: Shop) -> None:
    with serving(shop, "findable", batch=2) as wms:
        orders = [rounds(shop, each, 1) for each in several(shop)]
        assert sorted(wms.asked) == ["batchcreate", "create"]
        assert [each.states for each in orders] == [["accepted"]] * 3
        assert sorted(wms.taken) == sorted(each.code for each in orders)


def test_a_warehouse_that_cannot_be_asked_gets_its_orders_one_by_one(shop: Shop) -> None:
    with serving(shop, "unsafe", batch=50) as wms:
        for each in several(shop):
            rounds(shop, each, 1)
        assert wms.asked == ["create"] * 3


def test_one_refused_order_of_a_call_is_refused_alone_and_the_others_are_looked_up(shop: Shop) -> None:
    with serving(shop, "findable", batch=50) as wms:
        wms.script = ["ok", "no", "ok"]
        orders = [rounds(shop, each, 2) for each in several(shop)]
        assert sorted(each.states for each in orders) == [["accepted"], ["accepted"], ["rejected"]]
        assert wms.asked == ["batchcreate", "query", "query"]
        assert len(wms.taken) == 2


@pytest.mark.parametrize("step", ["lost", "drop", "busy"])
def test_a_lost_answer_to_a_call_leaves_every_order_of_it_sent_once(shop: Shop, step: str) -> None:
    with serving(shop, "findable", batch=50) as wms:
        wms.script = [step]
        orders = [rounds(shop, each, 4) for each in several(shop)]
        assert [each.states for each in orders] == [["accepted"]] * 3
        assert sorted(wms.taken) == sorted(each.code for each in orders)


def test_an_order_cancelled_after_the_claim_stays_behind_and_its_neighbours_go(shop: Shop) -> None:
    with serving(shop, "findable", batch=50) as wms:
        gone, *others = several(shop)
        jobs = shop.claim()
        cancel_by_number(shop.hub, gone.number, actor="desk", why="buyer")
        settle(shop.hub, send(shop.hub, jobs))
        assert sorted(wms.taken) == sorted(each.code for each in others)
        assert rounds(shop, gone, 4).status == "closed"


def test_an_order_that_cannot_be_written_does_not_hold_up_its_neighbours(shop: Shop) -> None:
    with serving(shop, "findable", batch=50) as wms:
        shop.put(order("PO-1"), order("PO-2", buyer_message="\x01 bell"), order("PO-3"))
        absorb_all(shop.hub)
        settle(shop.hub, send(shop.hub, shop.claim()))
        assert len(wms.taken) >= 2


# --- three outcomes, three kinds of warehouse, over real HTTP -----------------------------------------------------------


@pytest.mark.parametrize("repeats", ["keyed", "findable", "unsafe"])
@pytest.mark.parametrize(
    ("script", "state", "creates"), [(["ok"], "accepted", 1), (["no"], "rejected", 1), (["busy", "ok"], "accepted", 2)]
)
def test_a_clear_answer_means_the_same_everywhere(
    small_shop: Shop, repeats: str, script: list[str], state: str, creates: int
) -> None:
    with serving(small_shop, repeats) as wms:
        wms.script = list(script)
        order_ = rounds(small_shop, small_shop.take(order()), 2)
        if repeats == "unsafe" and "busy" in script:
            # A 503 may come after the effect: who can neither repeat nor look asks a person.
            assert (wms.asked.count("create"), order_.codes) in [(1, ["outcome_unknown"]), (2, [])]
            return
        assert order_.part["state"] in {state, "unknown"}
        assert wms.asked.count("create") <= creates


@pytest.mark.parametrize("step", ["lost", "drop"])
def test_a_keyed_warehouse_is_told_again(small_shop: Shop, step: str) -> None:
    with serving(small_shop, "keyed") as wms:
        wms.script = [step]
        order_ = rounds(small_shop, small_shop.take(order()), 2)
        assert (order_.states, wms.asked) == (["accepted"], ["create", "create"])
        assert len(set(wms.taken)) == 1


def test_a_findable_warehouse_is_looked_at_and_not_told_again(shop: Shop) -> None:
    with serving(shop, "findable") as wms:
        wms.script = ["lost"]
        order_ = rounds(shop, shop.take(order()))
        assert (order_.states, order_.codes, len(wms.taken)) == (["accepted"], [], 1)
        assert wms.asked == ["create", "query"]


def test_looks_twice_before_sending_again(small_shop: Shop) -> None:
    with serving(small_shop, "findable") as wms:
        wms.script = ["drop"]
        order_ = rounds(small_shop, small_shop.take(order()))
        assert (order_.states, wms.asked) == (["accepted"], ["create", "query", "query", "create"])


def test_looks_twice_again_after_the_second_unknown_outcome(small_shop: Shop) -> None:
    with serving(small_shop, "findable") as wms:
        wms.script = ["drop", "drop"]
        order_ = rounds(small_shop, small_shop.take(order()), 6)
        once = ["create", "query", "query"]
        assert (order_.states, wms.asked) == (["accepted"], [*once, *once, "create"])


def test_what_shows_up_late_is_still_found(small_shop: Shop) -> None:
    with serving(small_shop, "findable") as wms:
        wms.script, wms.hidden = ["lost"], 1
        order_ = rounds(small_shop, small_shop.take(order()))
        assert (order_.states, len(wms.taken)) == (["accepted"], 1)


@pytest.mark.parametrize("step", ["lost", "drop"])
def test_an_unsafe_warehouse_is_never_told_again_by_itself(shop: Shop, step: str) -> None:
    with serving(shop, "unsafe") as wms:
        wms.script = [step]
        order_ = rounds(shop, shop.take(order()))
        assert (order_.states, order_.codes, wms.asked) == (["unknown"], ["outcome_unknown"], ["create"])
        assert order_.sendings("push") == ["parked"]
        assert shop.reserved() == 2


def test_a_person_who_has_looked_may_send_to_an_unsafe_warehouse_again(small_shop: Shop) -> None:
    with serving(small_shop, "unsafe") as wms:
        wms.script = ["drop"]
        order_ = rounds(small_shop, small_shop.take(order()), 2)
        review(small_shop.hub, order_.exception("outcome_unknown"), "retry", actor="ann", note="not there")
        order_ = rounds(small_shop, order_, 1)
        assert (order_.states, order_.codes, wms.asked) == (["accepted"], [], ["create", "create"])
        small_shop.check_books()


def test_no_push_starts_after_a_cancel_was_committed(shop: Shop) -> None:
    with serving(shop, "findable") as wms:
        order_ = shop.take(order())
        (job,) = claim(shop.hub, 10)
        cancel_by_number(shop.hub, order_.number, actor="acme", why="no longer wanted")
        outcome = next(iter(send(shop.hub, [job])), None)
        assert wms.asked == []
        assert outcome is not None
        settle(shop.hub, [outcome])
        order_ = order_.again()
        assert (order_.status, order_.states) == ("closed", ["cancelled"])
        assert (shop.reserved(), shop.claim()) == (0, [])


def test_a_resend_does_not_start_after_a_cancel_either(small_shop: Shop) -> None:
    with serving(small_shop, "keyed") as wms:
        wms.script = ["drop"]
        order_ = rounds(small_shop, small_shop.take(order()), 1)
        (job,) = claim(small_shop.hub, 10)
        cancel_by_number(small_shop.hub, order_.number, actor="acme", why="no longer wanted")
        outcome = next(iter(send(small_shop.hub, [job])), None)
        assert outcome is not None
        settle(small_shop.hub, [outcome])
        small_shop.clock.wait(days=1)
        order_ = rounds(small_shop, order_, 6)
        assert (wms.asked.count("create"), order_.status, order_.states) == (1, "closed", ["cancelled"])


def test_a_cancel_during_the_push_waits_for_its_answer_and_then_asks(shop: Shop) -> None:
    with serving(shop, "findable") as wms:
        order_ = shop.take(order())
        wms.before_create = lambda: cancel_by_number(shop.hub, order_.number, actor="acme", why="no longer wanted")
        turn(shop)
        order_ = rounds(shop, order_, 1)
        assert wms.asked == ["create", "cancel"]
        assert (order_.status, order_.states, shop.reserved()) == ("closed", ["cancelled"], 0)


def test_a_cancel_while_a_push_is_unknown_ends_when_it_is_proved_absent(small_shop: Shop) -> None:
    with serving(small_shop, "findable") as wms:
        wms.script = ["drop"]
        order_ = rounds(small_shop, small_shop.take(order()), 1)
        cancel_by_number(small_shop.hub, order_.number, actor="acme", why="no longer wanted")
        order_ = rounds(small_shop, order_, 6)
        assert (wms.asked.count("create"), order_.status, small_shop.reserved()) == (1, "closed", 0)


def test_a_cancel_while_a_push_is_unknown_asks_once_it_is_found(small_shop: Shop) -> None:
    with serving(small_shop, "findable") as wms:
        wms.script = ["lost"]
        order_ = rounds(small_shop, small_shop.take(order()), 1)
        cancel_by_number(small_shop.hub, order_.number, actor="acme", why="no longer wanted")
        order_ = rounds(small_shop, order_, 3)
        assert (wms.asked, order_.status) == (["create", "query", "cancel"], "closed")


def test_a_cancel_at_an_unsafe_warehouse_asks_when_nobody_looks_any_more(small_shop: Shop) -> None:
    with serving(small_shop, "unsafe") as wms:
        wms.script = ["lost"]
        order_ = rounds(small_shop, small_shop.take(order()), 1)
        cancel_by_number(small_shop.hub, order_.number, actor="acme", why="no longer wanted")
        order_ = rounds(small_shop, order_, 3)
        assert wms.asked == ["create", "cancel"]
        assert (order_.status, order_.states, small_shop.reserved()) == ("closed", ["cancelled"], 0)


# --- claims ------------------------------------------------------------------------------------------------------------


def test_a_claim_that_was_taken_over_is_settled_by_nobody_but_its_holder(shop: Shop) -> None:
    order_ = shop.take(order())
    (late,) = shop.claim()
    shop.clock.wait(seconds=61)
    (job,) = shop.claim()
    assert job.row["was"] == "sending"
    shop.end([late], "refused")
    assert order_.again().states == ["pushing"]
    shop.end([job], "done", reference="W1")
    shop.end([late], "refused")
    assert (order_.again().states, order_.again().codes) == (["accepted"], [])


def test_a_claim_is_nobody_elses_within_its_lease(shop: Shop) -> None:
    shop.take(order())
    assert len(shop.claim()) == 1
    shop.clock.wait(seconds=59)
    assert shop.claim() == []


def test_a_frozen_sender_sends_nothing_when_it_wakes(shop: Shop) -> None:
    shop.take(order())
    (job,) = shop.claim()
    shop.clock.wait(seconds=90)
    outcome = next(iter(send(shop.hub, [job])), None)
    assert outcome is not None
    assert (outcome.end, outcome.code) == ("retry", "claim_too_old")


def test_a_claim_too_old_to_finish_is_given_back_unsent(shop: Shop) -> None:
    order_ = shop.take(order())
    (job,) = shop.claim()
    shop.clock.wait(seconds=30)
    outcome = next(iter(send(shop.hub, [job])), None)
    assert outcome is not None
    settle(shop.hub, [outcome])
    assert (order_.again().states, order_.again().sendings("push")) == (["ready"], ["due"])


def test_claims_of_two_workers_never_overlap(pg_shop: Shop) -> None:
    pg_shop.put(*(order(f"PO-{n}") for n in range(40)))
    pg_shop.take(order("PO-LAST"))
    gate = Barrier(4)

    def work(_: int) -> list[int]:
        gate.wait()
        return [job.row["id"] for _ in range(4) for job in claim(pg_shop.hub, 5)]

    with ThreadPoolExecutor(4) as pool:
        claimed = [row_id for part in pool.map(work, range(4)) for row_id in part]
    assert len(claimed) == len(set(claimed)) == 41


def test_a_stopped_warehouse_is_left_alone_until_it_is_applied_again(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("retry", ConfigError("sign-check-failure", "the warehouse does not accept our signature"))
    assert shop.open_codes() == ["connection_stopped"]
    shop.clock.wait(hours=1)
    assert shop.claim() == []
    apply_values(shop.hub, {"warehouses": [warehouse()]})
    assert len(shop.claim()) == 1
    assert order_.again().states == ["pushing"]


def test_a_stopped_warehouse_is_one_exception_however_many_pushes_fail(shop: Shop) -> None:
    shop.put(order("PO-1"))
    shop.take(order("PO-2"))
    shop.push("retry", ConfigError("sign-check-failure"))
    assert shop.open_codes() == ["connection_stopped"]


# --- the schedule --------------------------------------------------------------------------------------------------------


def test_tries_again_by_the_schedule_and_parks_when_it_is_exhausted(shop: Shop) -> None:
    order_ = shop.take(order())
    for pause in SCHEDULE:
        (job,) = shop.claim()
        shop.end([job], "retry", AGAIN)
        due = order_.again().outbox("push")["due_at"] - shop.hub.now()
        assert 0 <= due <= pause / timedelta(microseconds=1)
        shop.clock.wait(seconds=pause.total_seconds())
    shop.push("retry", AGAIN)
    order_ = order_.again()
    assert (order_.sendings("push"), order_.codes, shop.claim()) == (["parked"], ["send_exhausted"], [])
    review(shop.hub, order_.exception("send_exhausted"), "retry", actor="ann")
    assert len(shop.claim()) == 1
    shop.check_books()


def test_a_peer_that_names_a_time_is_not_asked_earlier(shop: Shop) -> None:
    order_ = shop.take(order())
    not_before = shop.clock.at + timedelta(hours=3)
    shop.push("retry", RetryableError("http_429", not_before=not_before))
    shop.clock.wait(hours=2, minutes=59)
    assert shop.claim() == []
    shop.clock.wait(minutes=2)
    assert len(shop.claim()) == 1
    assert order_.again().codes == []


def test_our_own_refusals_use_no_attempt_up(shop: Shop) -> None:
    order_ = shop.take(order())
    for _ in range(20):
        shop.push("retry", RetryableError("breaker_open"))
        shop.clock.wait(seconds=5)
    assert (order_.again().sendings("push"), order_.again().codes) == (["due"], [])


def test_an_unknown_outcome_that_stays_unknown_is_parked_for_a_person(shop: Shop) -> None:
    order_ = shop.take(order())
    for _ in range(len(SCHEDULE) + 1):
        shop.push("unknown", UNKNOWN)
        shop.clock.wait(days=2)
    order_ = order_.again()
    assert (order_.states, order_.codes, order_.sendings("push")) == (["unknown"], ["outcome_unknown"], ["parked"])


def test_a_refused_push_waits_for_a_person_and_goes_out_under_a_new_code(shop: Shop) -> None:
    order_ = shop.take(order())
    shop.push("refused", RefusedError("S003", "unknown item"))
    order_ = order_.again()
    assert (order_.states, order_.codes, shop.claim()) == (["rejected"], ["warehouse_rejected"], [])
    first = order_.code
    review(shop.hub, order_.exception("warehouse_rejected"), "retry", actor="ann")
    order_ = order_.again()
    assert (order_.states, order_.codes) == (["cancelled", "ready"], [])
    assert order_.code != first
    assert shop.reserved() == 2
    shop.check_books()


def test_a_second_settlement_of_the_same_sending_changes_nothing(shop: Shop) -> None:
    order_ = shop.take(order())
    jobs = shop.push("done", reference="W1")
    events = order_.again().events
    shop.end(jobs, "unknown", UNKNOWN)
    assert (order_.again().states, order_.again().events) == (["accepted"], events)


def test_the_delay_window_keeps_a_release_cheap_to_cancel(shop: Shop) -> None:
    shop.hub.settings = shop.hub.settings.model_copy(update={"delay_seconds": 600.0})
    order_ = shop.take(order())
    assert (order_.states, shop.claim()) == (["ready"], [])
    shop.clock.wait(minutes=11)
    assert len(shop.claim()) == 1


def test_no_network_call_happens_inside_a_transaction(shop: Shop) -> None:
    shop.take(order())
    (job,) = shop.claim()
    with shop.hub.write(), pytest.raises(AssertionError, match="inside a transaction"):
        send(shop.hub, [job])


@pytest.fixture
def looks(small_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Dispatcher, list[int | None]]]:
    """A dispatcher on SQLite that sends nothing, and what each of its looks at the outbox found."""
    found: list[int | None] = []

    def look(tx: Connection, *, only: int | None = None) -> int | None:
        found.append(next_due(tx, only=only))
        return found[-1]

    monkeypatch.setattr(dispatching, "next_due", look)
    small_shop.hub.clock = lambda: NOW
    with ThreadPoolExecutor(1) as pool:
        yield Dispatcher(small_shop.hub, settle, pool), found


def test_nobody_looks_again_before_something_is_committed_or_due(
    small_shop: Shop, looks: tuple[Dispatcher, list[int | None]]
) -> None:
    dispatcher, found = looks
    assert [dispatcher.turn() for _ in range(3)] == [0, 0, 0] and found == [None]
    order_ = small_shop.take(order())
    (claimed,) = small_shop.claim()
    small_shop.end([claimed], "retry", AGAIN)
    later = order_.again().outbox("push")["due_at"]
    assert [dispatcher.turn() for _ in range(3)] == [0, 0, 0] and found == [None, later]
    small_shop.hub.clock = lambda: NOW + timedelta(hours=1)
    assert dispatcher.turn() == 1
    wait(dispatcher.flying)
    dispatcher.turn()


def test_what_is_due_and_nobody_may_send_is_not_claimed_for_at_every_turn(
    small_shop: Shop, looks: tuple[Dispatcher, list[int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher, _ = looks
    small_shop.take(order())
    with small_shop.hub.write() as tx:
        set_warehouse_state(tx, small_shop.id_of("wh1", t.warehouses), "stopped", "told so", small_shop.hub.now())
    claims: list[int] = []

    def count(hub: Hub, limit: int, skip: Sequence[int]) -> list[Job]:
        claims.append(limit)
        return claim(hub, limit, skip)

    monkeypatch.setattr(dispatching, "claim", count)
    assert [dispatcher.turn() for _ in range(3)] == [0, 0, 0] and len(claims) == 1
    small_shop.hub.clock = lambda: NOW + timedelta(seconds=2)
    assert dispatcher.turn() == 0 and len(claims) == 2  # in case what stood in the way went without a word
    with small_shop.hub.write() as tx:
        set_warehouse_state(tx, small_shop.id_of("wh1", t.warehouses), "active", "", small_shop.hub.now())
    assert dispatcher.turn() == 1 and len(claims) == 3
    wait(dispatcher.flying)
    dispatcher.turn()
