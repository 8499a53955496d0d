"""Faults do to a call exactly what they say, and none happen unasked."""

from __future__ import annotations

import time
from functools import partial

import httpx
import pytest

import sandbox

from .calls import Calls, delivery, is_error, query_order
from .conftest import Heard

CREATE = "deliveryorder.create"


def order_fault(calls: Calls, fault: str, **more: object) -> None:
    calls.control("faults", **{"server": "qimen", "method": CREATE, "fault": fault, "count": 1, **more})


@pytest.mark.parametrize(
    ("fault", "happened"),
    [
        ("drop_after_effect", True),
        ("drop_before_effect", False),
        ("truncate", True),
        ("hang_after", True),
        ("hang_before", False),
    ],
)
def test_a_lost_reply_leaves_the_effect_it_names(calls: Calls, fault: str, happened: bool) -> None:
    order_fault(calls, fault)
    code = f"F-{fault}"
    with pytest.raises(httpx.HTTPError):
        calls.qimen(CREATE, delivery(code))
    assert ("<flag>success</flag>" in calls.qimen("deliveryorder.query", query_order(code))) == happened
    assert len(calls.control(f"order?channel=qimen&id={code}")["rows"]) == int(happened)
    assert "<flag>success</flag>" in calls.qimen(CREATE, delivery(f"{code}-next"))


@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        ("error_before", 503, "upstream"),
        ("error_after", 502, "upstream"),
        ("html", 200, "<html>"),
        ("empty", 200, ""),
        ("rate_limit", 429, "many"),
    ],
)
def test_an_answer_can_be_wrong_in_many_ways(calls: Calls, fault: str, status: int, part: str) -> None:
    order_fault(calls, fault)
    answers: list[httpx.Response] = []
    calls.client.event_hooks["response"] = [answers.append]
    body = calls.qimen(CREATE, delivery(f"A-{fault}"))
    calls.client.event_hooks["response"] = []
    assert answers[0].status_code == status
    assert body == "" if not part else part in body
    assert answers[0].headers.get("retry-after") == ("1" if fault == "rate_limit" else None)


def test_a_fault_can_wait_for_one_order(calls: Calls) -> None:
    order_fault(calls, "drop_after_effect", match="X-2")
    assert "<flag>success</flag>" in calls.qimen(CREATE, delivery("X-1"))
    assert is_error(lambda: calls.qimen(CREATE, delivery("X-2")))


def test_each_server_says_too_many_calls_in_its_own_way(calls: Calls) -> None:
    calls.control("faults", server="taobao", method="trades.sold.increment.get", fault="rate_limit")
    calls.control("faults", server="shopify", method="HubOrders", fault="rate_limit")
    assert calls.trades(1, 10)["code"] == 7
    assert calls.graph("query HubOrders { orders }", {"first": 1})["errors"][0]["extensions"]["code"] == "THROTTLED"


def test_a_page_token_can_come_again(calls: Calls) -> None:
    calls.control("place", channel="shopify", count=6, seed="tokens")
    first = calls.orders(2)
    cursor = first["pageInfo"]["endCursor"]
    calls.control("faults", server="shopify", method="HubOrders", fault="repeat_page")
    again = calls.orders(2, cursor)
    assert [node["id"] for node in again["nodes"]] == [node["id"] for node in first["nodes"]]
    assert again["pageInfo"] == {"hasNextPage": True, "endCursor": cursor}
    assert calls.orders(2, cursor)["nodes"] != again["nodes"]


def test_the_shipping_news_can_arrive_before_the_answer(calls: Calls, hub: Heard) -> None:
    calls.control("hub", url=hub.url, warehouses={"WH01": "wh-hz"})
    time.sleep(0.3)
    known = len(hub.messages)
    order_fault(calls, "callback_first")
    heard_at_answer = 0
    begin = time.monotonic()
    calls.qimen(CREATE, delivery("E-1"))
    heard_at_answer = len(hub.messages)
    calls.control("hub", url="")
    assert heard_at_answer > known
    assert time.monotonic() - begin >= 0.35


def test_news_can_be_lost_repeated_and_late(calls: Calls, hub: Heard) -> None:
    calls.control("hub", url=hub.url, warehouses={"WH01": "wh-hz"})
    calls.control("faults", rates={"news": {"lost": 1.0}})
    calls.qimen(CREATE, delivery("L-1"))
    time.sleep(0.3)
    calls.control("faults", rates={"news": {"duplicate": 1.0}})
    calls.qimen(CREATE, delivery("L-2"))
    time.sleep(2.3)
    calls.control("faults", clear=True)
    calls.control("hub", url="")
    told = [body for _, _, body in hub.messages]
    assert sum(b"<deliveryOrderCode>L-1<" in body for body in told) == 0
    assert sum(b"<deliveryOrderCode>L-2<" in body for body in told) == 2
    assert "<status>DELIVERED</status>" in calls.qimen("deliveryorder.query", query_order("L-1"))


def test_a_wrong_clock_makes_good_timestamps_stale(calls: Calls) -> None:
    calls.control("time", taobao=-3600)
    assert calls.trades(1, 10)["sub_code"] == "isv.timestamp-limit-error"
    calls.control("time", offset=0)
    assert "total_results" in calls.trades(1, 10)


def test_a_poisoned_order_is_valid_json_among_good_ones(calls: Calls) -> None:
    ids = calls.control("place", channel="taobao", count=20, seed="poison", mix={"plain": 0.0, "poison": 1e9})["ids"]
    rows = {row["tid_str"]: row for row in calls.trades(1, 100)["trades"]["trade"]}
    assert set(ids) <= set(rows)
    assert any(not isinstance(rows[tid]["payment"], str) for tid in ids)
    assert {row["kind"] for row in calls.ledger("taobao")} >= {"poison"}


def test_refuses_orders_it_does_not_understand(calls: Calls) -> None:
    for path, data in (
        ("faults", {"server": "qimen", "fault": "nonsense"}),
        ("faults", {"profile": "gale"}),
        ("place", {"channel": "x", "count": 1}),
        ("place", {"channel": "taobao", "count": 1, "mix": {"odd": 1}}),
        ("cancel", {"channel": "taobao", "id": "1"}),
    ):
        answer = calls.client.post(f"{calls.box.control}/_control/{path}", json=data)
        assert answer.status_code == 400
        assert answer.json()["error"]


def test_a_storm_strikes_often_and_calm_never() -> None:
    failures = {}
    for profile in ("none", "storm"):
        with sandbox.start(seed="storm", faults=profile, hang_seconds=0.05) as box:
            calls = Calls(box)
            answers = [is_error(partial(calls.qimen, CREATE, delivery(f"S-{at}"))) for at in range(100)]
            hits = calls.control("summary")["faults"]["hits"].get("qimen", {})
            failures[profile] = (sum(answers), sum(hits.values()))
            calls.client.close()
    assert failures["none"] == (0, 0)
    assert failures["storm"][1] >= 8


def test_revoked_credentials_stop_working() -> None:
    with sandbox.start(mix="plain") as box:
        calls = Calls(box)
        for server in ("taobao", "shopify", "qimen"):
            assert calls.control("revoke", server=server)
        assert calls.trades(1, 10)["code"] == 27
        assert "Invalid API key" in calls.graph("query HubOrders { orders }", {"first": 1})["errors"]
        assert "sign-check-failure" in calls.qimen(CREATE, delivery("V-1"))
        calls.client.close()
