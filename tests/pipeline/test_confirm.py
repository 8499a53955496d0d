"""Tracking goes home exactly once per package, in order, in the form the channel can take."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

from domain.errors import RefusedError, UnknownOutcomeError
from pipeline.apply import apply_values
from pipeline.dispatch import dispatch
from pipeline.messages import build_confirmation
from pipeline.review import review
from pipeline.sending import send
from pipeline.settle import settle
from tests.wire.loopback import Loopback, Seen, reply
from wire.strict_json import dump

from .build import Order, Shop, confirmed, trade

MARK = b"\r\n-S-\r\n"
YES = b'{"logistics_offline_send_response":{"shipping":{"is_success":true},"request_id":"r"}}'
UNKNOWN = UnknownOutcomeError("read_timeout")


def shipped(shop: Shop, *parcels: tuple[str, list[tuple[str, int]]], goods: tuple[tuple[str, int], ...]) -> Order:
    order_ = shop.take(trade(goods=goods), account="tb")
    shop.push("done")
    shop.tell(confirmed(order_.code, *parcels))
    return order_.again()


def test_one_confirmation_per_package(shop: Shop) -> None:
    order_ = shipped(shop, ("SF1", [("A", 2)]), goods=(("A", 2),))
    assert (order_.status, order_.sendings("confirm")) == ("shipped", ["due"])
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])), "told again")
    assert order_.again().sendings("confirm") == ["due"]
    shop.push("done")
    order_ = order_.again()
    assert (order_.status, order_.parcels[0]["confirm_state"]) == ("completed", "confirmed")
    assert shop.claim() == []


def test_a_partner_intake_has_nothing_to_confirm(shop: Shop) -> None:
    from .build import order

    order_ = shop.take(order())
    shop.push("done")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    assert (order_.again().sendings("confirm"), order_.again().status) == ([], "completed")


def test_a_later_parcel_waits_for_the_earlier_one(shop: Shop) -> None:
    shipped(shop, ("SF1", [("A", 1)]), ("SF2", [("B", 1)]), goods=(("A", 1), ("B", 1)))
    first, second = sorted(shop.claim(), key=lambda job: job.row["id"])
    (outcome,) = send(shop.hub, [second])
    assert outcome.end == "wait"
    shop.end([second], "wait")
    assert shop.claim() == []
    shop.end([first], "done")
    shop.clock.wait(seconds=1)
    (again,) = shop.claim()
    assert (again.row["id"], again.row["attempts"]) == (second.row["id"], 1)


def test_the_confirmation_names_lines_and_units_of_its_parcel_only(shop: Shop) -> None:
    order_ = shipped(shop, ("SF1", [("A", 2)]), ("SF2", [("B", 1)]), goods=(("A", 2), ("B", 1)))
    account = shop.claim()[0].directory.account("tb")
    told = [build_confirmation(order_.dossier, parcel, account) for parcel in order_.parcels]
    lines = [one.lines for one in told if one is not None]
    oids = [row["external_id"] for row in order_.dossier.lines.values()]
    assert lines == [((oids[0], 2),), ((oids[1], 1),)]
    assert [one.whole_order for one in told if one is not None] == [False, False]


def test_a_channel_with_one_number_per_line_hears_of_its_first_parcel_only(shop: Shop) -> None:
    order_ = shipped(shop, ("SF1", [("A", 1)]), ("SF2", [("A", 1)]), goods=(("A", 2),))
    first, second = sorted(shop.claim(), key=lambda job: job.row["id"])
    shop.end([first], "done")
    shop.end([second], "wait")
    shop.clock.wait(seconds=1)
    (again,) = shop.claim()
    (outcome,) = send(shop.hub, [again])
    assert (outcome.end, bool(outcome.degraded)) == ("done", True)
    shop.end([again], "done", degraded=outcome.degraded)
    order_ = order_.again()
    assert [row["confirm_state"] for row in order_.parcels] == ["confirmed", "degraded"]
    assert order_.status == "completed"


def test_when_the_first_parcel_was_refused_the_second_is_told_instead(shop: Shop) -> None:
    order_ = shipped(shop, ("SF1", [("A", 1)]), ("SF2", [("A", 1)]), goods=(("A", 2),))
    first, second = sorted(shop.claim(), key=lambda job: job.row["id"])
    shop.end([first], "refused", RefusedError("B60", "malformed number"))
    shop.end([second], "wait")
    order_ = order_.again()
    told = build_confirmation(order_.dossier, order_.parcels[1], second.directory.account("tb"))
    assert told is not None
    assert told.tracking == "SF2"


def test_a_refused_confirmation_is_work_for_a_person_who_may_retry(shop: Shop) -> None:
    order_ = shipped(shop, ("SF1", [("A", 1)]), goods=(("A", 1),))
    shop.push("refused", RefusedError("B60", "malformed number"))
    order_ = order_.again()
    assert (order_.codes, order_.status, shop.claim()) == (["confirm_refused"], "shipped", [])
    review(shop.hub, order_.exception("confirm_refused"), "retry", actor="ann")
    shop.push("done")
    assert (order_.again().status, order_.again().codes) == ("completed", [])


def test_an_unknown_confirmation_is_looked_up_and_not_repeated(shop: Shop) -> None:
    order_ = shipped(shop, ("SF1", [("A", 1)]), goods=(("A", 1),))
    shop.push("unknown", UNKNOWN)
    shop.clock.wait(minutes=1)
    (job,) = shop.claim()
    assert (job.row["was"], order_.again().status) == ("unknown", "shipped")


def test_no_confirmation_without_a_number(shop: Shop) -> None:
    order_ = shipped(shop, ("", [("A", 1)]), goods=(("A", 1),))
    assert (order_.sendings("confirm"), shop.claim()) == ([], [])


def test_two_refused_parcels_are_both_told_again(shop: Shop) -> None:
    order_ = shipped(shop, ("SF1", [("A", 1)]), ("SF2", [("B", 1)]), goods=(("A", 1), ("B", 1)))
    shop.push("refused", RefusedError("B60", "malformed number"))
    order_ = order_.again()
    assert (order_.sendings("confirm"), order_.codes) == (["refused", "refused"], ["confirm_refused"])
    review(shop.hub, order_.exception("confirm_refused"), "retry", actor="ann")
    assert order_.again().sendings("confirm") == ["due", "due"]


class Top:
    """TOP of a few lines, for many calls in one request: it remembers what was told, and of what it said yes."""

    def __init__(self, *, lost: bool = False, deaf: str = "") -> None:
        self.told: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self.lost, self.deaf = lost, deaf

    def script(self, seen: Seen, _connection: Any) -> bytes | None:
        first, *calls = seen.body.split(MARK)
        public = dict(parse_qsl(first.removeprefix(b"#PUBLIC#").decode()))
        if seen.target.startswith("/router/rest"):
            public, calls = dict(parse_qsl(seen.body.decode())), [seen.body]
        self.asked.append(public["method"].rpartition(".")[0])
        fields = [dict(parse_qsl(call.decode())) for call in calls]
        if public["method"].endswith("send"):
            self.told += [
                (oid, call["out_sid"])
                for call in fields
                if call["tid"] != self.deaf
                for oid in call.get("sub_tid", f"{call['tid'][:-1]}1").split(",")
            ]
            if self.lost:
                return None
            return reply(200, MARK.join([YES] * len(fields)), Content_Type="application/json")
        return reply(200, MARK.join(self.trade(call["tid"]) for call in fields))

    def trade(self, tid: str) -> bytes:
        shown = dict(self.told)
        orders = [{"oid": oid, "invoice_no": shown.get(oid, "")} for oid in (f"{tid[:-1]}1", f"{tid[:-1]}2")]
        trade_ = {"tid": tid, "modified": "2026-11-21 10:00:00", "orders": {"order": orders}}
        return dump({"trade_fullinfo_get_response": {"trade": trade_}})


@contextmanager
def several_to_confirm(
    shop: Shop, top: Top, count: int, then: tuple[tuple[str, list[tuple[str, int]]], ...] = ()
) -> Iterator[list[Order]]:
    """`count` orders of one parcel each, and with `then` one more of these parcels."""
    with Loopback(top.script) as server:
        given = {
            "base_url": f"{server.url}/router/rest",
            "app_key": "1",
            "app_secret": "s",
            "session": "x",
            "batch": 10,
        }
        shop_ = {"name": "tb", "channel": "taobao", "settings": given | {"allow_private": True}}
        apply_values(shop.hub, {"accounts": [shop_]})
        tids = [f"42123456789000{at}0" for at in range(count)]
        orders = [shop.take(trade(tid, goods=(("A", 1),)), account="tb") for tid in tids]
        if then:
            goods = tuple(each for _, some in then for each in some)
            orders.append(shop.take(trade("4212345678900090", goods=goods), account="tb"))
        shop.push("done")
        for at, order_ in enumerate(orders[:count]):
            shop.tell(confirmed(order_.code, (f"SF100000000000{at}", [("A", 1)])))
        if then:
            shop.tell(confirmed(orders[-1].code, *then))
        yield orders


def turn(shop: Shop) -> None:
    with ThreadPoolExecutor(4) as pool:
        dispatch(shop.hub, settle, pool=pool)
    shop.clock.wait(hours=1)


def ends(orders: list[Order]) -> list[tuple[str, list[str]]]:
    return [(order_.again().status, order_.again().sendings("confirm")) for order_ in orders]


def test_first_confirmations_to_one_shop_share_a_call(shop: Shop) -> None:
    top = Top()
    with several_to_confirm(shop, top, 3) as orders:
        turn(shop)
        assert top.asked == ["taobao.logistics.offline", "taobao.trade.fullinfo"]
        assert ends(orders) == [("completed", ["done"])] * 3
        assert len(set(top.told)) == len(top.told) == 3


def test_an_unknown_call_of_several_confirmations_is_looked_up_and_told_to_nobody_twice(shop: Shop) -> None:
    top = Top(lost=True)
    with several_to_confirm(shop, top, 3) as orders:
        turn(shop)
        assert ends(orders) == [("shipped", ["unknown"])] * 3
        turn(shop)
        assert ends(orders) == [("completed", ["done"])] * 3
        assert len(top.told) == 3


def test_what_a_shop_took_no_notice_of_is_unknown_and_its_neighbours_are_done(shop: Shop) -> None:
    top = Top(deaf="4212345678900010")
    with several_to_confirm(shop, top, 3) as orders:
        turn(shop)
        assert ends(orders) == [("completed", ["done"]), ("shipped", ["unknown"]), ("completed", ["done"])]


def test_a_parcel_that_has_to_wait_does_not_keep_the_others(shop: Shop) -> None:
    top = Top()
    with several_to_confirm(
        shop, top, 2, then=(("SF2000000000001", [("A", 1)]), ("SF2000000000002", [("B", 1)]))
    ) as orders:
        turn(shop)
        assert ends(orders) == [("completed", ["done"])] * 2 + [("shipped", ["done", "due"])]
        turn(shop)
        assert ends(orders)[-1] == ("completed", ["done", "done"])
        assert len(top.told) == len(set(top.told)) == 4
