from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors import _taobao_trade, taobao
from connectors._channel import Confirmation, Session, Since
from connectors._taobao_order import MAPPING, ZONE, read_refund
from connectors._top import signed_form, stamp
from domain.errors import ConfigError, HubError, RefusedError, RetryableError, UnknownOutcomeError
from domain.order import Order
from normalizer.mapping import normalize
from tests.wire.loopback import Loopback, reply
from wire.budget import Budget
from wire.strict_json import dump, parse_value

from .side import Side, answering, documents, new_client, sample, session, since
from .trades import DETAIL, NOW, read, settings


def test_reads_every_trade_of_a_window_in_full(side: Side) -> None:
    placed = set(side.place("taobao", 25))
    pages = list(taobao.pull(side.taobao(page_size=10), since()))
    found = documents(pages)
    assert placed <= {document.external_id for document in found}
    assert all(
        document.version == read(parse_value(document.body), now=datetime.now(UTC)).version
        for document in found
        if document.external_id in placed
    )
    assert pages[-1].next == "" and pages[-1].seen_to is not None


def test_seen_to_comes_with_the_last_page_of_a_window_only(side: Side) -> None:
    side.place("taobao", 25)
    now = side.taobao().clock()
    pages = list(
        taobao.pull(side.taobao(page_size=10), Since(start=now - timedelta(minutes=5), end=now + timedelta(seconds=2)))
    )
    assert [page.seen_to is None for page in pages] == [True] * (len(pages) - 1) + [False]


def test_resumes_at_every_page_without_losing_a_trade(side: Side) -> None:
    placed = set(side.place("taobao", 23))
    account, window = side.taobao(page_size=10), since()
    pages = list(taobao.pull(account, window))
    for at, page in enumerate(pages[:-1]):
        before = {document.external_id for document in documents(pages[: at + 1])}
        after = {document.external_id for document in documents(taobao.pull(account, replace(window, token=page.next)))}
        assert placed <= before | after


def test_a_trade_that_changes_while_being_listed_is_not_lost(side: Side) -> None:
    start = side.taobao().clock() - timedelta(minutes=5)
    placed = set(side.place("taobao", 12, kind="touched"))
    found: set[str] = set()
    # A window ends at the moment of reading: what changes leaves it and is in the next. A trade changes twice at most.
    for _ in range(3):
        end = side.taobao().clock()
        window = Since(start=start, end=end)
        found |= {each.external_id for each in documents(taobao.pull(side.taobao(page_size=5), window))}
        start = end - timedelta(seconds=2)
    assert placed <= found


def _listing(pages: dict[str, list[tuple[int, str]]], total: int, *, then: dict[str, list[tuple[int, str]]]) -> Any:
    """A shop whose list shows these (trade, second of its last change) by page, and others once its first page was read."""
    readings = [pages, then]

    def script(seen: Any, _connection: Any) -> bytes:
        form = seen.body.decode()
        if "refunds.receive" in form:
            return reply(200, b'{"refunds_receive_get_response":{"total_results":0}}')
        if "use_has_next=false" in form:
            return reply(200, dump({"trades_sold_increment_get_response": {"total_results": total}}))
        if "increment" not in form:
            tid = int(form.partition("tid=")[2].partition("&")[0])
            return reply(200, sample(DETAIL).replace(b"4212345678900234567", b"%d" % tid))
        number = form.partition("page_no=")[2].partition("&")[0]
        rows = readings[0][number]
        if number == "1":
            readings[:] = readings[-1:]
        told = [{"tid": tid, "modified": f"2026-11-21 11:59:{second}"} for tid, second in rows]
        return reply(
            200, dump({"trades_sold_increment_get_response": {"has_next": number == "1", "trades": {"trade": told}}})
        )

    return script


def _listed(script: Any) -> set[str]:
    with Loopback(script) as server, new_client() as client:
        shop = session(settings(base_url=server.url, allow_private=True, page_size=2), client, now=lambda: NOW)
        pages = list(taobao.pull(shop, Since(start=NOW - timedelta(minutes=10), end=NOW)))
    assert pages[-1].seen_to is not None
    return {each.external_id for each in documents(pages)}


def test_a_trade_that_changes_and_stays_in_the_window_hides_no_other() -> None:
    """Where the shop's clock is behind ours: of 1, 2 | 3 the last page is read, then 3 changes and comes first, and what was the
    last of the unread page stands on the page that was read: 3, 1 | 2."""
    first = {"2": [(3, "00")], "1": [(3, "07"), (1, "02")]}
    assert _listed(_listing(first, 3, then=first | {"2": [(2, "01")]})) == {"1", "2", "3"}


def test_two_versions_of_a_trade_on_two_pages_do_not_stop_the_reading() -> None:
    """A list that shows an old version of a trade beside the new one shows it in every reading."""
    always = {"2": [(3, "00")], "1": [(3, "07"), (1, "02")]}
    assert _listed(_listing(always, 3, then=always)) == {"1", "3"}


@pytest.mark.parametrize(
    "then",
    [
        {"2": [(3, "07")], "1": [(3, "07"), (1, "02")]},  # one page sent twice
        {"2": [(3, "08")], "1": [(3, "09"), (1, "02")]},  # changed anew, and hides another anew
        {"2": [], "1": [(3, "07"), (1, "02")]},
    ],
)
def test_a_list_that_stays_short_is_not_believed(then: dict[str, list[tuple[int, str]]]) -> None:
    first = {"2": [(3, "00")], "1": [(3, "07"), (1, "02")]}
    with pytest.raises(RetryableError, match="2 rows of 3"):
        _listed(_listing(first, 3, then=then))


def test_one_refused_detail_does_not_stop_its_page() -> None:
    """A list row whose detail TOP refuses: its neighbours flow, it becomes one document that cannot be read."""
    row = {"tid": 1, "status": "WAIT_SELLER_SEND_GOODS", "modified": "2026-11-21 11:59:00"}
    good = {**row, "tid": 4212345678900234567}
    refused = dump({"error_response": {"code": 15, "msg": "m", "sub_code": "isv.trade-not-exist", "sub_msg": "no"}})

    def script(seen: Any, _connection: Any) -> bytes:
        form = seen.body.decode()
        if "refunds.receive" in form:
            return reply(200, b'{"refunds_receive_get_response":{"total_results":0}}')
        if "use_has_next=false" in form:
            return reply(200, b'{"trades_sold_increment_get_response":{"total_results":2}}')
        if "increment" in form:
            listed = {"has_next": False, "trades": {"trade": [row, good]}}
            return reply(200, dump({"trades_sold_increment_get_response": listed}))
        return reply(200, refused if "tid=1&" in form or form.endswith("tid=1") else sample(DETAIL))

    with Loopback(script) as server, new_client() as client:
        account = session(settings(base_url=server.url, allow_private=True), client, now=lambda: NOW)
        found = documents(taobao.pull(account, Since(start=NOW - timedelta(minutes=10), end=NOW)))
    assert sorted(document.external_id for document in found) == ["1", "4212345678900234567"]
    assert next(document for document in found if document.external_id == "1").body == refused


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", RetryableError),
        (b"<html>maintenance</html>", RetryableError),
        (b'{"trades_sold_increment_get_response":{}}', RetryableError),
        (b'{"refunds_receive_get_response":{"total_results":3}}', RetryableError),
        (b'{"error_response":{"code":7,"msg":"call limited"}}', RetryableError),
        (b'{"error_response":{"code":27,"msg":"Invalid session"}}', ConfigError),
    ],
)
def test_a_list_that_is_no_list_fails_the_pull(body: bytes, error: type[HubError]) -> None:
    with answering(body) as server, new_client() as client:
        account = session(settings(base_url=server.url, allow_private=True), client, now=lambda: NOW)
        with pytest.raises(error):
            list(taobao.pull(account, Since(start=NOW - timedelta(minutes=10), end=NOW)))


def test_one_rate_limited_detail_is_read_again(side: Side) -> None:
    (tid,) = side.place("taobao")
    side.fault("taobao", "trade.fullinfo.get", "rate_limit")
    assert [document.external_id for document in taobao.fetch(side.taobao(), [tid])] == [tid]


def test_a_rate_limit_that_lasts_fails_the_page(side: Side) -> None:
    (tid,) = side.place("taobao")
    side.fault("taobao", "trade.fullinfo.get", "rate_limit", 100)
    hurried = Budget(1000, 1000, sleep=lambda _seconds: None)
    with new_client() as client, pytest.raises(RetryableError) as raised:
        taobao.fetch(replace(side.taobao(), client=client, budget=hurried), [tid])
    assert raised.value.not_before is not None


def test_what_is_stored_already_is_not_read_again(side: Side) -> None:
    side.place("taobao", 5)
    account = replace(side.taobao(), known=lambda versions: frozenset(tid for tid, _, _ in versions))
    assert [each for each in documents(taobao.pull(account, since())) if each.kind == "order"] == []


def test_a_refund_brings_its_record_and_its_trade(side: Side) -> None:
    (tid,) = side.place("taobao")
    side.control("refund", channel="taobao", id=tid, status="WAIT_SELLER_AGREE")
    quiet = replace(side.taobao(), known=lambda versions: frozenset(tid for tid, _, _ in versions))
    assert {each.kind for each in documents(taobao.pull(quiet, since()))} == {"order"}
    account = replace(quiet, takes=frozenset({"order", "after_sale"}))
    found = documents(taobao.pull(account, since()))
    refund = next(
        each
        for each in found
        if each.kind == "after_sale" and read_refund(parse_value(each.body), account.clock())[0] == tid
    )
    assert refund.version
    order = read_now(next(each.body for each in found if each.kind == "order" and each.external_id == tid), account)
    assert "after_sale" in {each.state for each in order.lines}


def read_now(body: bytes, account: Session) -> Order:
    return normalize(parse_value(body), MAPPING, zone=ZONE, now=account.clock())


def test_fetches_named_trades(side: Side) -> None:
    ids = side.place("taobao", 3)
    assert [document.external_id for document in taobao.fetch(side.taobao(), ids)] == ids


def test_a_page_token_of_another_channel_is_refused() -> None:
    with new_client() as client, pytest.raises(ConfigError):
        list(taobao.pull(session(settings(), client), since(token="open/2026/0")))


def test_a_window_too_wide_for_the_list_is_a_setting_to_change() -> None:
    body = b'{"refunds_receive_get_response":{"total_results":99999}}'
    with answering(body) as server, new_client() as client:
        account = session(settings(base_url=server.url, allow_private=True), client, now=lambda: NOW)
        with pytest.raises(ConfigError, match="window_too_wide"):
            list(taobao.pull(account, Since(start=NOW - timedelta(minutes=10), end=NOW)))


def parcel(
    side: Side, tid: str, tracking: str, *, lines: int = 0, carrier: str = "SF", whole: bool = True
) -> Confirmation:
    rows = side.row("taobao", tid)["lines"]
    named = rows[:lines] if lines else rows
    return Confirmation(
        order_id=tid,
        package_key=tracking,
        tracking=tracking,
        carrier=carrier,
        lines=tuple((row["id"], row["quantity"]) for row in named),
        whole_order=whole,
        shipped_at=NOW,
    )


def several(side: Side) -> str:
    return next(tid for tid in side.place("taobao", 60) if len(side.row("taobao", tid)["lines"]) > 1)


def test_confirms_a_whole_order_and_finds_it(side: Side) -> None:
    (tid,) = side.place("taobao")
    account, told = side.taobao(), parcel(side, tid, "SF1000000000001")
    assert _taobao_trade.find(account, told) is None
    assert _taobao_trade.confirm(account, told).reference
    assert _taobao_trade.find(account, told) is not None
    assert [each["tracking"] for each in side.row("taobao", tid)["shipments"]] == ["SF1000000000001"]


def test_confirms_part_by_part_with_sub_orders(side: Side) -> None:
    tid = several(side)
    account = side.taobao()
    first = parcel(side, tid, "SF1000000000002", lines=1, whole=False)
    _taobao_trade.confirm(account, first)
    rows = side.row("taobao", tid)["lines"][1:]
    rest = replace(first, tracking="SF1000000000003", lines=tuple((row["id"], row["quantity"]) for row in rows))
    assert _taobao_trade.find(account, rest) is None
    _taobao_trade.confirm(account, rest)
    assert len(side.row("taobao", tid)["shipments"]) == 2


def test_a_repeated_confirmation_is_looked_up_not_refused(side: Side) -> None:
    (tid,) = side.place("taobao")
    account, told = side.taobao(), parcel(side, tid, "SF1000000000004")
    _taobao_trade.confirm(account, told)
    _taobao_trade.confirm(account, told)
    assert len(side.row("taobao", tid)["shipments"]) == 1


def test_a_line_shipped_under_another_number_is_refused(side: Side) -> None:
    (tid,) = side.place("taobao")
    account, told = side.taobao(), parcel(side, tid, "SF1000000000005")
    _taobao_trade.confirm(account, told)
    with pytest.raises(RefusedError):
        _taobao_trade.confirm(account, replace(told, tracking="SF1000000000006"))


def test_a_lost_answer_is_unknown_and_then_found(side: Side) -> None:
    (tid,) = side.place("taobao")
    account, told = side.taobao(), parcel(side, tid, "SF1000000000007")
    side.fault("taobao", "logistics.offline.send", "drop_after_effect")
    with pytest.raises(UnknownOutcomeError):
        _taobao_trade.confirm(account, told)
    assert _taobao_trade.find(account, told) is not None


def test_a_carrier_without_a_code_is_a_question_for_a_person(side: Side) -> None:
    (tid,) = side.place("taobao")
    with pytest.raises(RefusedError, match="carrier_unknown"):
        _taobao_trade.confirm(side.taobao(), parcel(side, tid, "JT0000000000001", carrier="JTSD"))
    _taobao_trade.confirm(side.taobao(carriers={"JTSD": "OTHER"}), parcel(side, tid, "JT0000000000001", carrier="JTSD"))


def test_more_than_fifty_lines_go_in_several_calls() -> None:
    forms: list[str] = []

    def script(seen: Any, _connection: Any) -> bytes:
        forms.append(seen.body.decode())
        if "fullinfo" in forms[-1]:
            lines = [{"oid": number, "invoice_no": "SF1"} for number in range(120)]
            return reply(200, dump({"trade_fullinfo_get_response": {"trade": {"orders": {"order": lines}}}}))
        return reply(200, sample("taobao/logistics_offline_send.response.json"))

    told = Confirmation(
        order_id="1",
        package_key="p",
        tracking="SF1",
        carrier="SF",
        lines=tuple((str(number), 1) for number in range(120)),
        whole_order=False,
        shipped_at=NOW,
    )
    with Loopback(script) as server, new_client() as client:
        _taobao_trade.confirm(session(settings(base_url=server.url, allow_private=True), client), told)
    sent = [form for form in forms if "fullinfo" not in form]
    assert [form.count("%2C") + 1 for form in sent] == [50, 50, 20]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"logistics_offline_send_response":{"shipping":{"is_success":false}}}', RefusedError),
        (b'{"logistics_offline_send_response":{"request_id":"1"}}', UnknownOutcomeError),
        (b"<html>busy</html>", UnknownOutcomeError),
        (b"", UnknownOutcomeError),
    ],
)
def test_only_a_plain_yes_is_a_confirmation(body: bytes, error: type[HubError]) -> None:
    told = Confirmation(
        order_id="1", package_key="p", tracking="SF1", carrier="SF", lines=(("1", 1),), whole_order=True, shipped_at=NOW
    )
    with answering(body) as server, new_client() as client, pytest.raises(error):
        _taobao_trade.confirm(session(settings(base_url=server.url, allow_private=True), client), told)


def test_times_are_told_in_china() -> None:
    assert stamp(datetime(2026, 11, 20, 18, 0, tzinfo=UTC)) == "2026-11-21 02:00:00"


def test_the_fixture_of_the_request_is_what_is_sent() -> None:
    wanted = json.loads(sample("taobao/logistics_offline_send.request.json"))
    form = signed_form(
        settings(), "taobao.logistics.offline.send", {k: v for k, v in wanted.items() if k != "_note"}, NOW
    )
    assert {name: form[name] for name in ("tid", "sub_tid", "is_split", "company_code", "out_sid")} == {
        name: value for name, value in wanted.items() if name != "_note"
    }
