"""Several TOP calls in one request: the same documents, proofs and refusals as one by one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from connectors import _taobao_trade, taobao
from connectors._channel import Confirmation, Confirmed
from domain.errors import ConfigError, HubError, RefusedError, RetryableError, UnknownOutcomeError
from tests.wire.loopback import Loopback, reply

from .side import Side, documents, new_client, running, session, since

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
MARK = b"\r\n-S-\r\n"


@pytest.fixture(scope="module")
def side() -> Iterator[Side]:
    with running() as side:
        yield side


def parcel(side: Side, tid: str, tracking: str, carrier: str = "SF") -> Confirmation:
    rows = side.row("taobao", tid)["lines"]
    lines = tuple((row["id"], row["quantity"]) for row in rows)
    return told(tid, tracking, lines, carrier)


def told(tid: str, tracking: str, lines: tuple[tuple[str, int], ...], carrier: str = "SF") -> Confirmation:
    return Confirmation(
        order_id=tid,
        package_key=tracking,
        tracking=tracking,
        carrier=carrier,
        lines=lines,
        whole_order=True,
        shipped_at=NOW,
    )


def test_reads_the_same_trades_together_as_one_by_one(side: Side) -> None:
    placed = set(side.place("taobao", 23))
    window = since()
    one_by_one = documents(taobao.pull(side.taobao(), window))
    together = documents(taobao.pull(side.taobao(batch=10), window))
    assert placed <= {document.external_id for document in together}

    def read(found: Any) -> dict[str, Any]:
        return {each.external_id: (each.version, each.body.partition(b',"request_id"')[0]) for each in found}

    assert read(together) == read(one_by_one)


@pytest.mark.parametrize("method", ["md5", "hmac", "hmac-sha256"])
def test_tells_several_parcels_and_proves_each(side: Side, method: str) -> None:
    tids = side.place("taobao", 4)
    parcels = [parcel(side, tid, f"SF20000000{len(method):02}{at:03}") for at, tid in enumerate(tids)]
    ends = _taobao_trade.confirm_many(side.taobao(batch=10, sign_method=method), parcels)
    for tid, parcel_, end in zip(tids, parcels, ends, strict=True):
        assert isinstance(end, Confirmed)
        assert end.document is not None
        assert parcel_.tracking.encode() in end.document.body
        assert [each["tracking"] for each in side.row("taobao", tid)["shipments"]] == [parcel_.tracking]


def test_each_parcel_has_an_end_of_its_own(side: Side) -> None:
    good, shipped, other, foreign = side.place("taobao", 4)
    account = side.taobao(batch=10)
    _taobao_trade.confirm(account, parcel(side, shipped, "SF3000000000001"))
    _taobao_trade.confirm(account, parcel(side, other, "SF3000000000002"))
    ends = _taobao_trade.confirm_many(
        account,
        [
            parcel(side, good, "SF3000000000003"),
            parcel(side, shipped, "SF3000000000001"),
            parcel(side, other, "SF3000000000009"),
            parcel(side, foreign, "JT0000000000001", carrier="JTSD"),
        ],
    )
    assert [type(end) for end in ends] == [Confirmed, Confirmed, RefusedError, RefusedError]
    assert [len(side.row("taobao", tid)["shipments"]) for tid in (good, shipped, other, foreign)] == [1, 1, 1, 0]


def test_a_lost_answer_is_unknown_for_every_parcel_and_then_found(side: Side) -> None:
    tids = side.place("taobao", 3)
    account = side.taobao(batch=10)
    parcels = [parcel(side, tid, f"SF400000000000{at}") for at, tid in enumerate(tids)]
    side.fault("taobao", "logistics.offline.send", "drop_after_effect")
    assert {type(end) for end in _taobao_trade.confirm_many(account, parcels)} == {UnknownOutcomeError}
    assert all(_taobao_trade.find(account, each) is not None for each in parcels)


def test_a_lost_proof_is_read_one_by_one(side: Side) -> None:
    tids = side.place("taobao", 3)
    parcels = [parcel(side, tid, f"SF500000000000{at}") for at, tid in enumerate(tids)]
    side.fault("taobao", "trade.fullinfo.get", "error_before", count=4)
    assert {type(end) for end in _taobao_trade.confirm_many(side.taobao(batch=10), parcels)} == {Confirmed}


def test_an_account_that_may_not_is_told_so(side: Side) -> None:
    account = side.taobao(batch=10, app_secret="canary-wrong")
    ends = _taobao_trade.confirm_many(account, [told("1", "SF1", (("1", 1),)), told("2", "SF2", (("2", 1),))])
    assert {type(end) for end in ends} == {ConfigError}


def answers(*bodies: bytes) -> Loopback:
    left = list(bodies)
    return Loopback(lambda _seen, _connection: reply(200, left.pop(0), Content_Type="application/json"))


YES = b'{"logistics_offline_send_response":{"shipping":{"is_success":true},"request_id":"r"}}'
LIMIT = b'{"error_response":{"code":7,"msg":"App Call Limited","sub_code":"accesscontrol.limited-by-app-access-count",'
LIMIT += b'"sub_msg":"This ban will last for 2 more seconds"}}'


def trade(tid: str, tracking: str) -> bytes:
    line = b'{"oid":' + tid.encode() + b',"invoice_no":"' + tracking.encode() + b'"}'
    return b'{"trade_fullinfo_get_response":{"trade":{"tid":' + tid.encode() + b',"orders":{"order":[' + line + b"]}}}}"


@pytest.mark.parametrize(
    ("sent", "proved", "ends"),
    [
        (YES + MARK + YES, trade("1", "SF1") + MARK + trade("2", "SF2"), [Confirmed, Confirmed]),
        (YES + MARK + LIMIT, trade("1", "SF1"), [Confirmed, RetryableError]),
        (YES + MARK + b"<html>", trade("1", "SF1"), [Confirmed, UnknownOutcomeError]),
        (YES + MARK + b"", trade("1", "SF1"), [Confirmed, UnknownOutcomeError]),
        (YES + MARK + YES, trade("1", "SF1") + MARK + trade("2", ""), [Confirmed, UnknownOutcomeError]),
        (YES, b"", [UnknownOutcomeError, UnknownOutcomeError]),
        (YES + MARK + YES + MARK + YES, b"", [UnknownOutcomeError, UnknownOutcomeError]),
        (LIMIT, b"", [RetryableError, RetryableError]),
        (b"<html>busy</html>", b"", [UnknownOutcomeError, UnknownOutcomeError]),
    ],
)
def test_only_an_answer_of_its_own_confirms_a_parcel(sent: bytes, proved: bytes, ends: list[type[HubError]]) -> None:
    parcels = [told("1", "SF1", (("1", 1),)), told("2", "SF2", (("2", 1),))]
    with answers(sent, proved) as server, new_client() as client:
        account = session(_settings(f"{server.url}/router/rest"), client)
        assert [type(end) for end in _taobao_trade.confirm_many(account, parcels)] == ends


def test_calls_share_what_they_have_in_common() -> None:
    seen: list[Any] = []

    def script(request: Any, _connection: Any) -> bytes:
        seen.append(request)
        return reply(200, trade("1", "") + MARK + trade("2", ""), Content_Type="application/json")

    with Loopback(script) as server, new_client() as client:
        found = taobao.fetch(session(_settings(f"{server.url}/router/rest"), client), ["1", "2"])
    assert [each.external_id for each in found] == ["1", "2"]
    (request,) = seen
    public, *calls = request.body.split(MARK)
    assert request.target.startswith("/router/batch?")
    assert dict(parse_qsl(public.removeprefix(b"#PUBLIC#").decode()))["method"] == "taobao.trade.fullinfo.get"
    assert calls == [b"tid=1", b"tid=2"]


def test_an_address_without_a_sister_for_many_is_called_one_by_one() -> None:
    assert taobao.batch(_settings("http://127.0.0.1:1/other")) == 1
    assert taobao.batch(_settings("http://127.0.0.1:1/router/rest")) == 10


def _settings(url: str) -> taobao.TaobaoSettings:
    given: dict[str, Any] = {"app_key": "1", "app_secret": "s", "session": "x"}
    return taobao.TaobaoSettings(base_url=url, allow_private=True, batch=10, **given)
