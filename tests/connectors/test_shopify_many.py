"""Several orders read, or told a parcel, with one operation: the same ends as one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from connectors import _shopify_ship, shopify
from connectors._channel import Confirmation, Confirmed, Session
from connectors._shopify_calls import read_orders
from connectors._shopify_ship import confirm, confirm_many, find
from domain.errors import HubError, RefusedError, RetryableError, UnknownOutcomeError
from tests.wire.loopback import Loopback, reply
from wire.strict_json import dump, parse_value

from .shop_orders import NOW, node, settings
from .side import Side, documents, new_client, running, session, since


@pytest.fixture(scope="module")
def side() -> Iterator[Side]:
    with running() as side:
        yield side


def parcel(side: Side, ident: str, tracking: str) -> Confirmation:
    rows = side.row("shopify", ident)["lines"]
    return told(ident, tracking, tuple((row["id"], row["quantity"]) for row in rows))


def told(ident: str, tracking: str, lines: tuple[tuple[str, int], ...]) -> Confirmation:
    return Confirmation(
        order_id=ident,
        package_key=tracking,
        tracking=tracking,
        carrier="SF",
        lines=lines,
        whole_order=True,
        shipped_at=NOW,
    )


def told_of(side: Side, ident: str) -> set[str]:
    return {each["tracking"] for each in side.row("shopify", ident)["shipments"]}


def test_fetches_the_same_orders_together_as_one_by_one(side: Side) -> None:
    placed = side.place("shopify", 7)
    one_by_one = shopify.fetch(side.shopify(), [*placed, "gid://shopify/Order/1"])
    assert shopify.fetch(side.shopify(batch=3), [*placed, "gid://shopify/Order/1"]) == one_by_one
    assert [document.external_id for document in one_by_one] == placed


def test_tells_several_parcels_with_two_calls(side: Side) -> None:
    placed = side.place("shopify", 8)
    account = side.shopify(batch=10)
    parcels = [parcel(side, ident, f"SF1{at}") for at, ident in enumerate(placed)]
    ends = confirm_many(account, parcels)
    assert {type(end) for end in ends} == {Confirmed}
    assert ends == [find(account, each) for each in parcels]
    assert [told_of(side, each.order_id) for each in parcels] == [{each.tracking} for each in parcels]
    shipments = [len(side.row("shopify", ident)["shipments"]) for ident in placed]
    assert confirm_many(account, parcels) == ends
    assert [len(side.row("shopify", ident)["shipments"]) for ident in placed] == shipments


def test_each_parcel_has_an_end_of_its_own(side: Side) -> None:
    good, other, third = side.place("shopify", 3)
    account = side.shopify(batch=10)
    confirm(account, parcel(side, other, "SF2"))
    unknown = told("gid://shopify/Order/1", "SF4", (("gid://shopify/LineItem/1", 1),))
    nothing = replace(parcel(side, third, "SF5"), lines=())
    ends = confirm_many(account, [parcel(side, good, "SF3"), parcel(side, other, "SF9"), unknown, nothing])
    assert [type(end) for end in ends] == [Confirmed, RefusedError, RefusedError, RefusedError]
    assert [told_of(side, ident) for ident in (good, other, third)] == [{"SF3"}, {"SF2"}, set()]


def test_two_locations_are_told_in_the_same_operation(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shopify_ship, "_alone", lambda *_: pytest.fail("a parcel was told by itself"))
    account = side.shopify(batch=50)
    placed = side.place("shopify", 80)
    two = [ident for ident in placed if places(account, ident) == 2]
    one = [ident for ident in placed if ident not in two][:2]
    parcels = [parcel(side, ident, f"SF8{at}") for at, ident in enumerate([*two, *one])]
    assert two and {type(end) for end in confirm_many(account, parcels)} == {Confirmed}
    assert [len(side.row("shopify", each.order_id)["shipments"]) for each in parcels] == [2] * len(two) + [1, 1]
    assert all(find(account, each) is not None for each in parcels)


def test_a_lost_answer_is_unknown_for_every_parcel_and_then_found(side: Side) -> None:
    account = side.shopify(batch=10)
    placed = [ident for ident in side.place("shopify", 12) if places(account, ident) == 1][:3]
    parcels = [parcel(side, ident, f"SF6{at}") for at, ident in enumerate(placed)]
    side.fault("shopify", "HubShipMany", "drop_after_effect")
    assert {type(end) for end in confirm_many(account, parcels)} == {UnknownOutcomeError}
    assert all(find(account, each) is not None for each in parcels)


def places(account: Session, ident: str) -> int:
    order = parse_value(shopify.fetch(account, [ident])[0].body)
    return len({each["assignedLocation"]["location"]["id"] for each in order["fulfillmentOrders"]["nodes"]})


def test_a_throttled_operation_did_nothing(side: Side) -> None:
    account = side.shopify(batch=10)
    placed = [ident for ident in side.place("shopify", 12) if places(account, ident) == 1][:3]
    side.fault("shopify", "HubShipMany", "rate_limit")
    ends = confirm_many(account, [parcel(side, ident, "SF7") for ident in placed])
    assert {type(end) for end in ends} == {RetryableError}
    assert [told_of(side, ident) for ident in placed] == [set()] * 3


def test_what_costs_too_much_at_once_is_read_in_halves(side: Side) -> None:
    placed = side.place("shopify", 120)
    assert list(read_orders(side.shopify(), placed)) == placed


def order(number: int) -> dict[str, Any]:
    line, entry = f"gid://shopify/LineItem/{number}", f"gid://shopify/FulfillmentOrder/{number}"
    items = [{"id": f"{entry}-1", "remainingQuantity": 1, "totalQuantity": 1, "lineItem": {"id": line}}]
    place = {"location": {"id": "gid://shopify/Location/1"}}
    orders = {"nodes": [{"id": entry, "status": "OPEN", "assignedLocation": place, "lineItems": {"nodes": items}}]}
    return node(id=f"gid://shopify/Order/{number}", fulfillments=[], fulfillmentOrders=orders)


def made(number: int) -> dict[str, Any]:
    return {"fulfillment": {"id": f"gid://shopify/Fulfillment/{number}", "status": "SUCCESS"}, "userErrors": []}


NO = {"fulfillment": None, "userErrors": [{"field": [], "message": "not in an open state"}]}


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        ({"data": {"f0": made(1), "f1": made(2)}}, [Confirmed, Confirmed]),
        ({"data": {"f0": made(1), "f1": NO}}, [Confirmed, RefusedError]),
        ({"data": {"f0": made(1)}}, [Confirmed, UnknownOutcomeError]),
        ({"data": {"f0": made(1), "f1": {"fulfillment": None}}}, [Confirmed, UnknownOutcomeError]),
        (
            {"data": {"f1": made(1), "f0": {"fulfillment": {"id": "1", "status": "ERROR"}}}},
            [UnknownOutcomeError, Confirmed],
        ),
        (
            {"data": {"f0": made(1), "f1": None}, "errors": [{"extensions": {"code": "INTERNAL_SERVER_ERROR"}}]},
            [UnknownOutcomeError, UnknownOutcomeError],
        ),
    ],
)
def test_only_a_result_of_its_own_confirms_a_parcel(answer: Any, ends: list[type[HubError]]) -> None:
    bodies = [dump({"data": {"nodes": [order(1), order(2)]}}), dump(answer)]
    with serving(bodies) as server, new_client() as client:
        assert [type(end) for end in confirm_many(account_of(server, client), parcels_of(2))] == ends


@pytest.mark.parametrize(
    ("results", "end"),
    [
        ([made(1), made(2)], Confirmed),
        ([made(1), NO], RefusedError),
        ([NO, made(2)], RefusedError),
        ([NO, None], UnknownOutcomeError),
        ([None, NO], UnknownOutcomeError),
        ([made(1), None], UnknownOutcomeError),
    ],
)
def test_a_parcel_from_two_locations_is_told_when_both_are(results: list[Any], end: type[HubError]) -> None:
    halves = [order(1)["fulfillmentOrders"]["nodes"][0], order(2)["fulfillmentOrders"]["nodes"][0]]
    halves[1] |= {"assignedLocation": {"location": {"id": "gid://shopify/Location/2"}}}
    both = order(1) | {"fulfillmentOrders": {"nodes": halves}}
    lines = (("gid://shopify/LineItem/1", 1), ("gid://shopify/LineItem/2", 1))
    parcels = [told("gid://shopify/Order/1", "SF1", lines), told("gid://shopify/Order/3", "SF3", lines[:0])]
    bodies = [
        dump({"data": {"nodes": [both, order(3)]}}),
        dump({"data": {"f0": results[0], "f0p1": results[1]}}),
    ]
    with serving(bodies) as server, new_client() as client:
        assert [type(each) for each in confirm_many(account_of(server, client), parcels)] == [end, RefusedError]


def test_an_operation_refused_as_a_whole_is_tried_parcel_by_parcel() -> None:
    shipped = order(1)
    bodies = [
        dump({"data": {"nodes": [order(1), order(2)]}}),
        dump({"errors": [{"message": "invalid value", "extensions": {"code": "INVALID_VARIABLE"}}]}),
        dump({"data": {"order": shipped}}),
        dump({"data": {"fulfillmentCreate": made(1)}}),
        dump({"data": {"order": order(2)}}),
        dump({"data": {"fulfillmentCreate": NO}}),
    ]
    with serving(bodies) as server, new_client() as client:
        ends = confirm_many(account_of(server, client), parcels_of(2))
    assert [type(end) for end in ends] == [Confirmed, RefusedError]


def test_nodes_that_are_not_one_for_each_id_are_no_answer() -> None:
    with serving([dump({"data": {"nodes": [order(1)]}})]) as server, new_client() as client:
        ends = confirm_many(account_of(server, client), parcels_of(2))
    assert {type(end) for end in ends} == {RetryableError}


def test_an_unreadable_order_among_good_ones_is_a_document_of_its_own() -> None:
    body = dump({"data": {"nodes": [order(1), order(2)]}}).replace(b'"gid://shopify/Order/2"', b"NaN")
    with serving([body]) as server, new_client() as client:
        found = shopify.fetch(account_of(server, client), ["gid://shopify/Order/1", "gid://shopify/Order/2"])
    assert [document.external_id for document in found] == ["gid://shopify/Order/1", "gid://shopify/Order/2"]
    assert b"NaN" in found[1].body


def serving(bodies: list[bytes]) -> Loopback:
    left = list(bodies)
    return Loopback(lambda _seen, _connection: reply(200, left.pop(0) if len(left) > 1 else left[0]))


def account_of(server: Loopback, client: Any) -> Session:
    return session(settings(base_url=server.url, allow_private=True, batch=10), client)


def parcels_of(count: int) -> list[Confirmation]:
    return [
        told(f"gid://shopify/Order/{n}", f"SF{n}", ((f"gid://shopify/LineItem/{n}", 1),)) for n in range(1, count + 1)
    ]


def test_a_list_of_changes_reads_only_what_is_not_known(side: Side) -> None:
    placed = side.place("shopify", 9)
    account = side.shopify(batch=4, page_size=5)
    found = {each.external_id: each for each in documents(shopify.pull(account, since()))}
    assert set(placed) <= set(found)
    whole = {each.external_id: each for each in documents(shopify.pull(side.shopify(page_size=5), since()))}
    assert {ident: found[ident] for ident in placed} == {ident: whole[ident] for ident in placed}
    asked: list[tuple[str, str, Any]] = []

    def known(versions: Any) -> frozenset[str]:
        asked.extend(versions)
        return frozenset(placed[:8])

    again = {each.external_id for each in documents(shopify.pull(replace(account, known=known), since()))}
    assert again & set(placed) == {placed[8]}
    assert {(ident, version) for ident, version, _ in asked} >= {(ident, found[ident].version) for ident in placed}


def test_a_listed_row_without_an_id_is_a_document_of_its_own() -> None:
    row = {"id": None, "updatedAt": "2026-11-22T07:00:00Z"}
    page = {"orders": {"pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": [row, {"id": order(1)["id"]}]}}
    bodies = [dump({"data": page}), dump({"data": {"nodes": [order(1)]}})]
    with serving(bodies) as server, new_client() as client:
        found = documents(shopify.pull(account_of(server, client), since()))
    assert [each.external_id for each in found] == ["", "gid://shopify/Order/1"]
    assert parse_value(found[0].body) == row
