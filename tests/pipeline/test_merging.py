"""Orders of one buyer leave in one parcel, and each is told about its own goods exactly once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from domain.errors import RefusedError, RetryableError, UnknownOutcomeError
from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from pipeline.messages import build_merged_shipment
from pipeline.order_view import order_view
from pipeline.regroup import merge_orders, reroute_order, unmerge_order
from pipeline.review import cancel_by_number, review
from pipeline.sending import Job, Outcome, send
from pipeline.settle import settle
from storage import tables as t
from storage.fulfilments import claim_news_due

from .build import Order, Shop, config, confirmed, furnish, order, reported, trade, warehouse
from .together import check_units, merge_rows, merging, take_two


@pytest.fixture
def shop(shop: Shop) -> Shop:
    merging(shop.hub)
    return shop


@pytest.fixture
def small_shop(small_shop: Shop) -> Shop:
    merging(small_shop.hub)
    return small_shop


@pytest.fixture
def pg_shop(pg_shop: Shop) -> Shop:
    merging(pg_shop.hub)
    return pg_shop


def go(shop: Shop) -> list[Job]:
    """The window ends, and everything that waited is claimed."""
    shop.clock.wait(hours=2, minutes=1)
    return shop.claim()


def cancel(shop: Shop, order_: Order) -> None:
    cancel_by_number(shop.hub, order_.number, actor="acme", why="no longer wanted")


def lines_of(job: Job) -> list[tuple[str, str, str, int]]:
    """(number, source order, SKU, units) of what a push sends."""
    parts = [(d, f, job.directory.accounts[d.order["account_id"]]) for d, f in job.parts]
    shipment = build_merged_shipment(job.code, parts)
    return [(line.ref, line.source_order, line.sku, line.quantity) for line in shipment.lines]


# --- waiting -----------------------------------------------------------------------------------------------------------


def test_a_push_waits_until_the_window_ends(shop: Shop) -> None:
    one, two = take_two(shop)
    assert (one.states, two.states) == (["ready"], ["ready"])
    assert one.part["merge_key"] == two.part["merge_key"] is not None
    assert shop.claim() == []
    shop.clock.wait(hours=1, minutes=59)
    assert shop.claim() == []
    assert merge_rows(shop) == []
    assert order_view(shop.hub, one.id)["fulfilments"][0]["ships_with"] == [two.number]


def test_two_orders_of_one_buyer_are_one_push_with_the_lines_of_both(shop: Shop) -> None:
    one, two = take_two(shop)
    jobs = [job for job in go(shop) if job.group]
    (job,) = jobs
    assert lines_of(job) == [("1", "PO-1", "A", 2), ("2", "PO-2", "A", 1), ("3", "PO-2", "B", 3)]
    assert job.code.startswith("MG-")
    assert (one.again().states, two.again().states) == (["pushing"], ["pushing"])
    assert sorted([one.again().sendings("push"), two.again().sendings("push")]) == [["sending"], ["waiting"]]
    shop.end([job], "done", reference="W9")
    for each in (one.again(), two.again()):
        assert (each.states, each.sendings("push"), each.part["warehouse_ref"]) == (["accepted"], ["done"], "W9")
        assert "merged_push" in each.events
    assert [row["state"] for row in merge_rows(shop)] == ["pushed"]
    assert order_view(shop.hub, two.id)["fulfilments"][0]["ships_with"] == [one.number]
    check_units(shop)


def test_money_of_the_shared_push_is_the_sum_and_of_each_order_what_it_was(small_shop: Shop) -> None:
    one, two = take_two(small_shop)
    before = [(row["goods"], row["freight"], row["paid"]) for row in small_shop.rows(t.orders)]
    (job,) = [job for job in go(small_shop) if job.group]
    parts = [(d, f, job.directory.accounts[d.order["account_id"]]) for d, f in job.parts]
    shipment = build_merged_shipment(job.code, parts)
    own = [one.dossier.order, two.dossier.order]
    assert shipment.goods == sum(row["goods"] for row in own)
    assert shipment.total == shipment.goods - shipment.discount + shipment.freight
    assert [(row["goods"], row["freight"], row["paid"]) for row in small_shop.rows(t.orders)] == before


@pytest.mark.parametrize(
    "change",
    [
        {"buyer_id": "b2"},
        {"ship_to": order()["ship_to"] | {"street": "示例路2号"}},
        {"ship_to": order()["ship_to"] | {"phone": "13800138009"}},
        {"extra": {"delivery_note": "before noon"}},
    ],
)
def test_what_differs_in_a_buyer_a_place_or_a_term_stays_apart(small_shop: Shop, change: dict[str, Any]) -> None:
    one = small_shop.take(order("PO-1", buyer_id="b1"))
    two = small_shop.take(order("PO-2", **({"buyer_id": "b1"} | change)))
    assert one.part["merge_key"] != two.part["merge_key"]
    assert [job.group for job in go(small_shop)] == [None, None]
    assert merge_rows(small_shop) == []


def test_accounts_of_one_partner_share_a_parcel_and_of_two_partners_do_not(small_shop: Shop) -> None:
    told = config()
    accounts = [{"name": n, "channel": "standard", "partner": p, "settings": {"base_url": ""}} for n, p in
                (("acme", "acme"), ("acme2", "acme"), ("zeta", "zeta"))]  # fmt: skip
    told |= {"accounts": accounts, "partners": [{"name": "acme"}, {"name": "zeta"}]}
    told["listings"] = [{"account": a["name"], "external_sku": "EXT-A", "sku": "A"} for a in accounts]
    shop = furnish(small_shop.hub, told)
    merging(shop.hub)
    keys = [shop.take(order("PO-1"), account=name).part["merge_key"] for name in ("acme", "acme2", "zeta")]
    assert keys[0] == keys[1] != keys[2]


def test_cash_on_delivery_masked_and_abroad_never_wait(small_shop: Shop) -> None:
    told = config()
    told["partners"] = [{"name": "acme", "options": {"cod_allowed": True}}]
    shop = furnish(small_shop.hub, told)
    merging(shop.hub)
    assert shop.take(order("PO-1", payment={"status": "cod"})).part["merge_key"] is None
    masked = shop.take(trade(receiver_name="李**", receiver_mobile="138****8001", receiver_address="***"), account="tb")
    assert all(row["merge_key"] is None for row in masked.parts)
    assert len(shop.claim()) == 1


@pytest.mark.parametrize("minutes", [None, 0, 60])
def test_without_a_rule_a_window_or_time_left_nobody_waits(small_shop: Shop, minutes: int | None) -> None:
    merging(small_shop.hub, minutes)
    one = small_shop.take(order("PO-1"))
    assert one.part["merge_key"] is None
    assert len(small_shop.claim()) == 1


def test_a_rule_that_goes_away_lets_what_waits_go(small_shop: Shop) -> None:
    one = small_shop.take(order("PO-1"))
    merging(small_shop.hub, None)
    one = small_shop.take(order("PO-1", at=5, seller_memo=""))
    assert (one.part["merge_key"], len(small_shop.claim())) == (None, 1)


# --- leaving before the push -----------------------------------------------------------------------------------------------


def test_one_cancelled_before_the_push_leaves_and_the_other_goes_alone(shop: Shop) -> None:
    one, two = take_two(shop)
    cancel(shop, one)
    jobs = [job for job in go(shop) if job.row["order_id"] == two.id]
    assert [(job.group, job.code) for job in jobs] == [(None, two.code)]
    assert (one.again().status, two.again().states) == ("closed", ["pushing"])
    check_units(shop)


def test_one_that_moves_house_leaves_and_the_others_go_on(small_shop: Shop) -> None:
    one, two = take_two(small_shop)
    three = small_shop.take(order("PO-3", buyer_id="b1"))
    small_shop.take(order("PO-2", at=5, buyer_id="b1", goods=(("A", 1), ("B", 3)),
                    ship_to=order()["ship_to"] | {"street": "别路9号"}))  # fmt: skip
    grouped = {frozenset(d.id for d, _ in job.parts) for job in go(small_shop)}
    assert frozenset({one.id, three.id}) in grouped
    assert all(two.id not in each for each in grouped if len(each) > 1)
    check_units(small_shop)


def test_merging_and_taking_out_again_changes_no_row(shop: Shop) -> None:
    tables = (t.orders, t.order_lines, t.fulfilments, t.fulfilment_lines, t.outbox, t.stock)
    ignored = {"revision", "updated_at", "event_seq", "event_hash", "private"}

    def rows() -> list[list[dict[str, Any]]]:
        return [[{k: v for k, v in row.items() if k not in ignored} for row in shop.rows(table)] for table in tables]

    one, two = take_two(shop)
    merged = rows()
    unmerge_order(shop.hub, two.number, actor="ann")
    apart = rows()
    merge_orders(shop.hub, one.number, two.number, actor="ann")
    assert rows() == merged
    unmerge_order(shop.hub, two.number, actor="ann")
    assert [[{k: v for k, v in row.items() if k != "due_at"} for row in table] for table in rows()] == [
        [{k: v for k, v in row.items() if k != "due_at"} for row in table] for table in apart
    ]
    shop.take(order("PO-2", at=5, buyer_id="b1", goods=(("A", 1), ("B", 3))))
    assert two.again().part["merge_key"] is None
    check_units(shop)


# --- outcomes ----------------------------------------------------------------------------------------------------------


def test_an_unknown_outcome_is_unknown_for_all_until_it_is_found(shop: Shop) -> None:
    one, two = take_two(shop)
    (job,) = [job for job in go(shop) if job.group]
    shop.end([job], "unknown", UnknownOutcomeError("read_timeout"))
    assert (one.again().states, two.again().states) == (["unknown"], ["unknown"])
    shop.clock.wait(minutes=1)
    (again,) = [each for each in shop.claim() if each.group]
    assert (again.row["was"], again.code, again.group) == ("unknown", job.code, job.group)
    shop.end([again], "done")
    assert (one.again().states, two.again().states) == (["accepted"], ["accepted"])
    check_units(shop)


def test_what_surely_did_not_arrive_goes_out_again_under_the_same_code(shop: Shop) -> None:
    one, two = take_two(shop)
    (job,) = [job for job in go(shop) if job.group]
    shop.end([job], "retry", RetryableError("http_429"))
    assert sorted(one.again().sendings("push") + two.again().sendings("push")) == ["due", "due"]
    assert (one.again().states, two.again().states) == (["ready"], ["ready"])
    shop.clock.wait(minutes=1)
    (again,) = [each for each in shop.claim() if each.group]
    assert (again.code, lines_of(again)) == (job.code, lines_of(job))
    assert len(merge_rows(shop)) == 1


def test_other_goods_never_go_out_under_a_used_code(small_shop: Shop) -> None:
    one, two = take_two(small_shop)
    three = small_shop.take(order("PO-3", buyer_id="b1"))
    (job,) = [job for job in go(small_shop) if job.group]
    small_shop.end([job], "retry", RetryableError("http_429"))
    cancel(small_shop, three)
    small_shop.clock.wait(minutes=1)
    (again,) = [each for each in small_shop.claim() if each.group]
    assert again.code != job.code
    assert {d.id for d, _ in again.parts} == {one.id, two.id}
    assert sorted(row["state"] for row in merge_rows(small_shop)) == ["dissolved", "sealed"]


def test_a_refused_push_is_refused_for_all(small_shop: Shop) -> None:
    one, two = take_two(small_shop)
    (job,) = [job for job in go(small_shop) if job.group]
    small_shop.end([job], "refused", RefusedError("S003"))
    for each in (one.again(), two.again()):
        assert (each.states, each.codes) == (["rejected"], ["warehouse_rejected"])
    review(small_shop.hub, one.again().exception("warehouse_rejected"), "retry", actor="ann")
    assert one.again().states == ["cancelled", "ready"]
    check_units(small_shop)


def test_a_push_nobody_can_look_for_is_one_question_to_a_person(shop: Shop) -> None:
    apply_values(shop.hub, {"warehouses": [warehouse(repeats="unsafe")]})
    one, two = take_two(shop)
    (job,) = [job for job in go(shop) if job.group]
    shop.end([job], "parked", code="outcome_unknown")
    assert [each.again().codes for each in (one, two)] == [["outcome_unknown"]] * 2
    review(shop.hub, two.again().exception("outcome_unknown"), "retry", actor="ann", note="not there")
    assert [each.again().codes for each in (one, two)] == [[], []]
    (again,) = [each for each in shop.claim() if each.group]
    assert again.code == job.code
    check_units(shop)


# --- cancels and races with the push -----------------------------------------------------------------------------------------


def test_a_member_cancelled_before_the_send_stops_it_and_the_other_goes_out_anew(shop: Shop) -> None:
    one, two = take_two(shop)
    (job,) = [job for job in go(shop) if job.group]
    cancel(shop, two)
    assert (two.again().states, two.again().sendings("cancel")) == (["cancelling"], ["waiting"])
    (outcome,) = send(shop.hub, [job])
    assert (outcome.end, outcome.code) == ("withdrawn", "stopped")
    settle(shop.hub, [outcome])
    assert (two.again().status, two.again().states) == ("closed", ["cancelled"])
    assert (one.again().states, one.again().sendings("push")) == (["ready"], ["due"])
    (alone,) = shop.claim()
    assert (alone.group, alone.code) == (None, one.code)
    assert [row["state"] for row in merge_rows(shop)] == ["dissolved"]
    check_units(shop)


def test_after_the_push_a_yes_cancels_the_parcel_and_plans_the_others_anew(shop: Shop) -> None:
    one, two = take_two(shop)
    shop.end(go(shop), "done")
    cancel(shop, two)
    assert (one.again().states, two.again().states) == (["accepted"], ["cancelling"])
    (asked,) = shop.claim()
    assert (asked.row["kind"], asked.code[:3]) == ("cancel", "MG-")
    shop.end([asked], "done")
    assert (two.again().status, two.again().states) == ("closed", ["cancelled"])
    assert one.again().states == ["cancelled", "ready"]
    assert "unmerged" in one.again().events
    assert [job.code for job in shop.claim()] == [one.again().code]
    assert [row["state"] for row in merge_rows(shop)] == ["dissolved"]
    check_units(shop)


def test_after_the_push_a_no_is_the_answer_to_whoever_asked(small_shop: Shop) -> None:
    one, two = take_two(small_shop)
    small_shop.end(go(small_shop), "done")
    cancel(small_shop, two)
    small_shop.push("refused", code="cancel_refused", detail="packed")
    assert (one.again().states, one.again().codes) == (["accepted"], [])
    assert (two.again().states, two.again().codes) == (["accepted"], ["cancel_refused"])
    check_units(small_shop)


def test_both_cancelled_is_both_closed_and_nothing_goes_out(small_shop: Shop) -> None:
    one, two = take_two(small_shop)
    small_shop.end(go(small_shop), "done")
    cancel(small_shop, one)
    cancel(small_shop, two)
    small_shop.push("done")
    small_shop.push("done")
    assert [(each.again().status, each.again().states) for each in (one, two)] == [("closed", ["cancelled"])] * 2
    assert small_shop.claim() == []
    check_units(small_shop)


def test_an_edit_after_the_push_calls_the_parcel_back_and_both_go_out_apart(small_shop: Shop) -> None:
    one, two = take_two(small_shop)
    small_shop.end(go(small_shop), "done")
    moved = order("PO-1", at=9, buyer_id="b1", ship_to=order()["ship_to"] | {"street": "别路9号"})
    assert small_shop.take(moved).states[0] == "cancelling"
    small_shop.push("done")
    assert (two.again().states, two.again().codes) == (["cancelled", "ready"], [])
    assert one.again().states[0] == "cancelled"
    check_units(small_shop)


def test_an_edit_during_a_push_that_did_not_happen_is_planned_as_it_is_now(shop: Shop) -> None:
    one, two = take_two(shop)
    jobs = go(shop)
    shop.take(order("PO-1", at=9, buyer_id="b1", goods=(("A", 3),)))
    assert one.again().states[0] == "cancelling"
    shop.end(jobs, "retry", RetryableError("http_429"))
    one, two = one.again(), two.again()
    assert (one.states[0], one.states[-1], one.codes) == ("cancelled", "ready", [])
    assert (two.states, two.codes) == (["ready"], [])
    live = {row["id"] for row in one.dossier.live()}
    assert sum(row["quantity"] for key, row in one.dossier.fulfilment_lines.items() if key[0] in live) == 3
    check_units(shop)


# --- news --------------------------------------------------------------------------------------------------------------


def shipped(shop: Shop) -> tuple[Order, Order, str]:
    one, two = take_two(shop)
    jobs = go(shop)
    shop.end(jobs, "done")
    return one, two, next(job.code for job in jobs if job.group)


def test_each_order_gets_its_own_part_of_the_parcel_and_confirms_it_once(shop: Shop) -> None:
    one, two, code = shipped(shop)
    for _ in range(2):  # told twice
        shop.tell(confirmed(code, ("SF1", [("A", 3), ("B", 3)])))
    for each, units in ((one.again(), {"A": 2}), (two.again(), {"A": 1, "B": 3})):
        assert (each.states, each.codes, [p["tracking"] for p in each.parcels]) == (["shipped"], [], ["SF1"])
        held: Counter[str] = Counter()
        for row in each.dossier.package_lines.values():
            held[row["sku"]] += row["quantity"]
        assert held == units
        assert each.status == "completed"
    check_units(shop)


def test_two_parcels_are_shared_out_by_what_each_holds(small_shop: Shop) -> None:
    one, two, code = shipped(small_shop)
    small_shop.tell(confirmed(code, ("SF1", [("A", 3)]), final=False, status="PARTDELIVERED"))
    assert (one.again().states, two.again().states) == (["shipped"], ["picking"])
    small_shop.tell(confirmed(code, ("SF2", [("B", 3)])))
    assert [p["tracking"] for p in one.again().parcels] == ["SF1"]
    assert [p["tracking"] for p in two.again().parcels] == ["SF1", "SF2"]
    assert (two.again().states, two.again().codes) == (["shipped"], [])
    check_units(small_shop)


def test_a_number_of_a_stranger_is_a_conflict_and_of_a_mate_is_not(small_shop: Shop) -> None:
    one, two, code = shipped(small_shop)
    stranger = small_shop.order("PO-0")
    small_shop.tell(confirmed(stranger.code, ("SF9", [("A", 2)])))
    small_shop.tell(confirmed(code, ("SF9", [("A", 3), ("B", 3)])))
    assert [each.again().codes for each in (one, two)] == [["tracking_duplicate"]] * 2
    assert one.again().parcels == []


def test_too_much_is_told_to_one_person_about_one_order(small_shop: Shop) -> None:
    one, two, code = shipped(small_shop)
    small_shop.tell(confirmed(code, ("SF1", [("A", 4), ("B", 3)])))
    assert sorted([one.again().codes, two.again().codes]) == [[], ["over_ship"]]
    check_units(small_shop)


def test_a_final_message_without_an_orders_goods_is_short_for_it_until_they_are_told(small_shop: Shop) -> None:
    one, two, code = shipped(small_shop)
    small_shop.tell(confirmed(code, ("SF1", [("B", 3)])))
    assert (one.again().codes, two.again().codes) == (["short_ship"], ["short_ship"])
    small_shop.tell(confirmed(code, ("SF1", [("B", 3)]), ("SF2", [("A", 3)])))
    assert (one.again().codes, one.again().states) == ([], ["shipped"])
    assert two.again().codes == []
    check_units(small_shop)


def test_news_proves_that_a_push_with_an_unknown_outcome_arrived_for_all(shop: Shop) -> None:
    one, two = take_two(shop)
    jobs = go(shop)
    (job,) = [job for job in jobs if job.group]
    shop.end([each for each in jobs if not each.group], "done")
    shop.end([job], "unknown", UnknownOutcomeError("read_timeout"))
    shop.tell(reported(job.code, "ACCEPT"))
    for each in (one.again(), two.again()):
        assert (each.states, each.sendings("push")) == (["accepted"], ["done"])
    shop.clock.wait(days=1)
    assert shop.claim() == []


def test_progress_and_a_signature_are_everybodys(small_shop: Shop) -> None:
    one, two, code = shipped(small_shop)
    small_shop.tell(reported(code, "PICK"))
    assert [each.again().states for each in (one, two)] == [["picking"]] * 2
    small_shop.tell(confirmed(code, ("SF1", [("A", 3), ("B", 3)])))
    small_shop.tell(reported(code, "SIGN"))
    assert [each.again().states for each in (one, two)] == [["delivered"]] * 2


def test_the_warehouse_is_asked_about_one_order_once(small_shop: Shop) -> None:
    _, _, code = shipped(small_shop)
    small_shop.clock.wait(hours=1)
    with small_shop.hub.write() as tx:
        rows = claim_news_due(tx, now=small_shop.hub.now(), again=small_shop.hub.now() + 1, limit=9)
    assert Counter(row["code"] for row in rows)[code] == 2


# --- a person ----------------------------------------------------------------------------------------------------------


def test_a_merge_by_hand_names_the_first_check_that_fails(shop: Shop) -> None:
    one, two = take_two(shop)
    other = shop.take(order("PO-5", buyer_id="b9"))
    for number, code in ((other.number, "merge_buyer"), (one.number, "merge_same"), ("PA-0", "not_found")):
        with pytest.raises(RefusedError, match=code):
            merge_orders(shop.hub, one.number, number, actor="ann")
    shop.end(go(shop), "done")
    with pytest.raises(RefusedError, match="merge_not_ready"):
        merge_orders(shop.hub, one.number, two.number, actor="ann")
    with pytest.raises(RefusedError, match="already_pushed"):
        unmerge_order(shop.hub, one.number, actor="ann")
    late = shop.take(order("PO-6", buyer_id="b1"))
    with pytest.raises(RefusedError, match="not_merged"):
        unmerge_order(shop.hub, late.number, actor="ann")


def test_an_order_is_sent_from_another_warehouse_by_hand(small_shop: Shop) -> None:
    told = config()
    told["warehouses"] = [warehouse(), warehouse("wh2"), warehouse("wh3")]
    told["stock"] = [{"warehouse": name, "sku": "A", "on_hand": 9} for name in ("wh1", "wh2")]
    shop = furnish(small_shop.hub, told)
    merging(shop.hub)
    one = shop.take(order("PO-1"))
    here = next(row["name"] for row in shop.rows(t.warehouses) if row["id"] == one.part["warehouse_id"])
    there = {"wh1": "wh2", "wh2": "wh1"}[here]
    reroute_order(shop.hub, one.number, there, actor="ann")
    assert one.again().part["warehouse_id"] == shop.id_of(there, t.warehouses)
    assert one.again().states == ["cancelled", "ready"]
    shop.take(order("PO-1", at=9, seller_memo=""))
    assert one.again().part["warehouse_id"] == shop.id_of(there, t.warehouses)
    for name, code in (("wh3", "reroute_impossible"), ("wh9", "warehouse_unknown")):
        with pytest.raises(RefusedError, match=code):
            reroute_order(shop.hub, one.number, name, actor="ann")
    assert one.again().states == ["cancelled", "ready"]
    reroute_order(shop.hub, one.number, "", actor="ann")
    assert one.again().part["warehouse_id"] == shop.id_of(here, t.warehouses)
    shop.end(go(shop), "done")
    with pytest.raises(RefusedError, match="already_pushed"):
        reroute_order(shop.hub, one.number, there, actor="ann")
    shop.check_books()


# --- races -------------------------------------------------------------------------------------------------------------


def test_two_absorbers_at_the_same_time_make_one_parcel(shop: Shop) -> None:
    for n in range(4):
        gate = Barrier(2)

        def take(which: int, gate: Barrier = gate, n: int = n) -> None:
            shop.put(order(f"PO-{n}-{which}", buyer_id=f"b{n}"))
            gate.wait()
            absorb_all(shop.hub)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(take, range(2)))
    assert [len(job.parts) for job in go(shop)] == [2] * 4
    check_units(shop)


def test_two_claims_of_one_parcel_have_one_winner(pg_shop: Shop) -> None:
    for n in range(6):
        for which in range(2):
            pg_shop.take(order(f"PO-{n}-{which}", buyer_id=f"b{n}"))
    pg_shop.clock.wait(hours=3)
    gate = Barrier(2)

    def claims(_: int) -> list[Job]:
        gate.wait()
        found = []
        for _turn in range(12):
            found += pg_shop.claim(limit=3)
            pg_shop.clock.wait(milliseconds=60)
        return found

    with ThreadPoolExecutor(2) as pool:
        jobs = [job for part in pool.map(claims, range(2)) for job in part]
    sent = Counter(fulfilment["id"] for job in jobs for _, fulfilment in job.parts)
    assert len(sent) == 12
    assert set(sent.values()) == {1}
    assert all(row["state"] == "pushing" for row in pg_shop.rows(t.fulfilments))


def test_a_claim_and_a_members_cancel_at_the_same_instant_have_one_winner(shop: Shop) -> None:
    for n in range(6):
        placed: dict[str, Any] = {"placed_at": f"{shop.clock.at:%Y-%m-%dT%H:%M:%SZ}", "buyer_id": f"b{n}"}
        pair = [shop.take(order(f"PO-{n}-{which}", **placed)) for which in range(2)]
        shop.clock.wait(hours=5)
        gate = Barrier(2)

        def claims(gate: Barrier = gate) -> list[Job]:
            gate.wait()
            return shop.claim()

        def stop(gate: Barrier = gate, order_: Order = pair[n % 2]) -> None:
            gate.wait()
            cancel(shop, order_)

        with ThreadPoolExecutor(2) as pool:
            claimed, stopped = pool.submit(claims), pool.submit(stop)
            stopped.result()
            jobs = claimed.result()
        for _ in range(3):
            settle(shop.hub, [outcome for job in jobs for outcome in _stopped(shop, job)])
            shop.clock.wait(seconds=1)
            jobs = shop.claim()
        assert pair[n % 2].again().status == "closed"
        assert pair[1 - n % 2].again().states == ["pushing"]
    check_units(shop)


def _stopped(shop: Shop, job: Job) -> list[Outcome]:
    """What the fence right before the send says, when it stops it."""
    stopped = [d for d, _ in job.parts if shop.rows(t.orders, t.orders.c.id == d.id)[0]["cancelled_at"] is not None]
    return send(shop.hub, [job]) if stopped else []
