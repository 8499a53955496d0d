"""Tracking goes home exactly once per package, in order, in the form the channel can take."""

from __future__ import annotations

from domain.errors import RefusedError, UnknownOutcomeError
from pipeline.dispatch import send
from pipeline.messages import build_confirmation
from pipeline.review import review

from .build import Order, Shop, confirmed, trade

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
