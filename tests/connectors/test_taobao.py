from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors import taobao
from connectors._channel import Confirmation, Session, Since
from connectors._taobao_order import MAPPING, ZONE, read_refund
from connectors._top import judge, meaning, signed_form, stamp
from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from domain.order import Line, Order
from normalizer.mapping import normalize
from tests.wire.loopback import Loopback, reply
from wire.strict_json import dump, parse_value

from .side import Side, answering, documents, new_client, sample, session, since

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
DETAIL = "taobao/trade_fullinfo_get.response.json"


def settings(**given: Any) -> taobao.TaobaoSettings:
    return taobao.TaobaoSettings(**{"app_key": "k", "app_secret": "s3cret-s3cret", "session": "6100", **given})


def trade(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = parse_value(sample(DETAIL))
    value["trade_fullinfo_get_response"]["trade"].update(changes)
    return value


def line(at: int, **changes: Any) -> dict[str, Any]:
    value = trade()
    value["trade_fullinfo_get_response"]["trade"]["orders"]["order"][at].update(changes)
    return value


def read(value: dict[str, Any]) -> Order:
    return normalize(value, MAPPING, zone=ZONE, now=NOW)


def refund_record() -> dict[str, Any]:
    value = parse_value(sample("taobao/refunds_receive_get.response.json"))
    record: dict[str, Any] = value["refunds_receive_get_response"]["refunds"]["refund"][0]
    return record


def first_line(value: dict[str, Any]) -> Line:
    return read(value).lines[0]


# --- reading -------------------------------------------------------------------------------------------------------------


def test_reads_a_trade_with_its_money_conserved() -> None:
    order = read(trade())
    amounts = order.amounts
    assert (amounts.goods, amounts.freight, amounts.discount, amounts.paid) == (21000, 800, 1260, 20540)
    assert amounts.goods + amounts.freight - amounts.discount == amounts.paid
    assert [each.share for each in order.lines] == [1080, 180]
    assert order.placed_at == datetime(2026, 11, 20, 13, 30, 5, tzinfo=UTC)
    assert (order.version, order.external_id) == ("2026-11-20 22:02:41", "4212345678900234567")
    assert order.consignee.masked and order.consignee.token.startswith("1oExample")


def test_the_order_id_is_exact_without_its_text_twin() -> None:
    value = trade()
    del value["trade_fullinfo_get_response"]["trade"]["tid_str"]
    assert read(value).external_id == "4212345678900234567"


def test_freight_of_a_single_line_trade_is_not_counted_twice() -> None:
    """order.payment includes freight there; only divide_order_fee and total_fee are used."""
    value = trade(payment="177.20", discount_fee="10.80", total_fee="198.00")
    orders = value["trade_fullinfo_get_response"]["trade"]["orders"]["order"]
    orders[:] = [{**orders[0], "payment": "177.20"}]
    amounts = read(value).amounts
    assert (amounts.goods, amounts.freight, amounts.discount, amounts.paid) == (18000, 800, 1080, 17720)


def test_a_payment_that_does_not_add_up_stays_visible() -> None:
    amounts = read(trade(payment="205.41")).amounts
    assert amounts.goods + amounts.freight - amounts.discount != amounts.paid


def test_without_divide_order_fee_the_trade_total_is_the_discount() -> None:
    value = trade()
    for each in value["trade_fullinfo_get_response"]["trade"]["orders"]["order"]:
        del each["divide_order_fee"]
    order = read(value)
    assert order.amounts.discount == 1260
    assert [each.share for each in order.lines] == [None, None]


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"status": "PAID_FORBID_CONSIGN"}, ("paid_forbid_consign",)),
        ({"forbid_consign": 1}, ("forbid_consign",)),
        ({"top_hold": "1"}, ("top_hold",)),
        ({"ofp_hold": True}, ("ofp_hold",)),
        ({"team_buy_hold": 1}, ("team_buy_hold",)),
        ({"top_hold": False, "forbid_consign": "0"}, ()),
        ({"step_trade_status": "FRONT_PAID_FINAL_NOPAID"}, ("presale_balance_unpaid",)),
    ],
)
def test_names_every_do_not_ship_flag(changes: dict[str, Any], flags: tuple[str, ...]) -> None:
    assert read(trade(**changes)).forbids_shipping == flags


def test_an_unknown_status_may_not_ship() -> None:
    assert "unknown_status" in read(trade(status="SOMETHING_NEW")).forbids_shipping


def test_a_deposit_is_not_a_payment() -> None:
    order = read(trade(step_trade_status="FRONT_PAID_FINAL_NOPAID", status="WAIT_BUYER_PAY"))
    assert (order.payment, order.status) == ("unpaid", "pending_payment")


def test_cash_on_delivery_needs_no_pay_time() -> None:
    assert read(trade(type="cod", pay_time="")).payment == "cod"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"refund_status": "NO_REFUND"}, "open"),
        ({"refund_status": "CLOSED"}, "open"),
        ({"refund_status": "WAIT_SELLER_AGREE"}, "after_sale"),
        ({"refund_status": "SELLER_REFUSE_BUYER"}, "after_sale"),
        ({"refund_status": "SOMETHING_NEW"}, "after_sale"),
        ({"refund_status": "SUCCESS"}, "cancelled"),
        ({"refund_status": "SUCCESS", "status": "TRADE_CLOSED"}, "cancelled"),
        ({"refund_status": "SUCCESS", "invoice_no": "SF1"}, "shipped"),
        ({"status": "WAIT_BUYER_CONFIRM_GOODS", "refund_status": "WAIT_SELLER_AGREE"}, "shipped"),
    ],
)
def test_the_refund_decides_the_line_until_it_ships(changes: dict[str, Any], state: str) -> None:
    assert first_line(line(0, **changes)).state == state


def test_without_a_seller_code_the_platform_code_is_there_to_be_mapped() -> None:
    assert first_line(line(0, outer_sku_id="", outer_iid="")).external_sku == "4876543210987"


def test_reads_a_refund_record() -> None:
    record = refund_record()
    trade_id, sale = read_refund(record, NOW)
    assert (trade_id, sale.external_id, sale.amount) == ("4212345678900234567", "331234567890123456", 2820)
    assert (sale.kind, sale.state, sale.lines) == ("refund", "requested", (("4212345678902234567", 1),))


def test_a_partial_refund_claims_no_units() -> None:
    record = refund_record()
    assert read_refund({**record, "refund_fee": "5.00"}, NOW)[1].lines == (("4212345678902234567", 0),)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("SELLER_REFUSE_BUYER", "refused"),
        ("CLOSED", "withdrawn"),
        ("SUCCESS", "refunded"),
        ("SOMETHING_NEW", "requested"),
    ],
)
def test_a_refund_status_becomes_an_after_sale_state(status: str, state: str) -> None:
    sale = read_refund({**refund_record(), "status": status}, NOW)[1]
    assert (sale.state, sale.source_status) == (state, status)


def test_a_refused_detail_is_one_exception_with_the_words_of_the_platform() -> None:
    with pytest.raises(MappingError, match=r"refused_by_source.*isv\.trade-not-exist"):
        read({"error_response": {"code": 15, "sub_code": "isv.trade-not-exist", "sub_msg": "交易不存在"}})


# --- judging -------------------------------------------------------------------------------------------------------------

ERRORS = [
    (7, "isv.access-limited-by-app-api-access-count", RetryableError, RetryableError),
    (7, "accesscontrol.limited-by-api-access-count", RetryableError, RetryableError),
    (15, "isp.top-remote-connection-timeout", RetryableError, UnknownOutcomeError),
    (15, "isp.anything-new", RetryableError, UnknownOutcomeError),
    (25, "", ConfigError, ConfigError),
    (26, "isv.missing-session", ConfigError, ConfigError),
    (27, "invalid-sessionkey", ConfigError, ConfigError),
    (29, "isv.appkey-not-exists", ConfigError, ConfigError),
    (15, "isv.session-expired", ConfigError, ConfigError),
    (15, "isv.permission-api-package-limit", ConfigError, ConfigError),
    (41, "isv.timestamp-limit-error", ConfigError, ConfigError),
    (40, "isv.missing-parameter:tid", RefusedError, RefusedError),
    (15, "isv.request-replay-error", RetryableError, UnknownOutcomeError),
    (15, "B150", RetryableError, RetryableError),
    (15, "isv.logistics-offline-service-error:B150", RetryableError, RetryableError),
    (15, "B60", RefusedError, RefusedError),
    (9999, "never.seen", RefusedError, RefusedError),
]


@pytest.mark.parametrize(("code", "sub_code", "on_read", "on_write"), ERRORS)
def test_an_error_says_what_to_do_next(
    code: int, sub_code: str, on_read: type[HubError], on_write: type[HubError]
) -> None:
    body = dump({"error_response": {"code": code, "msg": "m", "sub_code": sub_code, "sub_msg": "s", "request_id": "r"}})
    assert type(judge(body, writes=False, now=NOW)) is on_read
    assert type(judge(body, writes=True, now=NOW)) is on_write


@pytest.mark.parametrize("body", [b"", b"  ", b"<html>login</html>", b"{}", b"[]", b'{"a":1}', b"null"])
def test_nothing_readable_is_never_no_orders(body: bytes) -> None:
    assert isinstance(judge(body, writes=False, now=NOW), RetryableError)
    assert isinstance(judge(body, writes=True, now=NOW), UnknownOutcomeError)


def test_waits_as_long_as_the_ban_says() -> None:
    error = judge(sample("taobao/error.rate_limit.json"), writes=False, now=NOW)
    assert isinstance(error, RetryableError)
    assert error.not_before == NOW + timedelta(seconds=1)


def test_a_lost_session_stops_the_account() -> None:
    assert isinstance(judge(sample("taobao/error.session.json"), writes=False, now=NOW), ConfigError)


def test_the_sub_code_counts_more_than_the_number() -> None:
    assert meaning(7, "isp.unknown-error") == "platform"


def test_signs_only_what_it_sends() -> None:
    form = signed_form(settings(sign_method="md5"), "m", {"a": "", "b": "1"}, NOW)
    assert "a" not in form and form["timestamp"] == "2026-11-21 12:00:00"
    assert re.fullmatch(r"[0-9A-F]{32}", form["sign"])


def test_settings_keep_their_secrets() -> None:
    assert "s3cret" not in repr(settings()) and "6100" not in repr(settings())


# --- pulling -------------------------------------------------------------------------------------------------------------


def test_reads_every_trade_of_a_window_in_full(side: Side) -> None:
    placed = set(side.place("taobao", 25))
    pages = list(taobao.pull(side.taobao(page_size=10), since()))
    found = documents(pages)
    assert placed <= {document.external_id for document in found}
    assert all(
        document.version == read(parse_value(document.body)).version
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
    placed = set(side.place("taobao", 12, kind="touched"))
    window = Since(start=side.taobao().clock() - timedelta(minutes=5), end=side.taobao().clock() + timedelta(minutes=1))
    found = documents(taobao.pull(side.taobao(page_size=5), window))
    assert placed <= {document.external_id for document in found}


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


def test_a_rate_limit_on_one_detail_fails_the_page(side: Side) -> None:
    side.place("taobao", 3)
    side.fault("taobao", "trade.fullinfo.get", "rate_limit")
    with pytest.raises(RetryableError) as raised:
        list(taobao.pull(side.taobao(), since()))
    assert raised.value.not_before is not None


def test_what_is_stored_already_is_not_read_again(side: Side) -> None:
    side.place("taobao", 5)
    account = replace(side.taobao(), known=lambda versions: frozenset(tid for tid, _, _ in versions))
    assert [each for each in documents(taobao.pull(account, since())) if each.kind == "order"] == []


def test_a_refund_brings_its_record_and_its_trade(side: Side) -> None:
    (tid,) = side.place("taobao")
    side.control("refund", channel="taobao", id=tid, status="WAIT_SELLER_AGREE")
    account = replace(side.taobao(), known=lambda versions: frozenset(tid for tid, _, _ in versions))
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


# --- confirming ----------------------------------------------------------------------------------------------------------


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
    assert taobao.find(account, told) is None
    assert taobao.confirm(account, told).reference
    assert taobao.find(account, told) is not None
    assert [each["tracking"] for each in side.row("taobao", tid)["shipments"]] == ["SF1000000000001"]


def test_confirms_part_by_part_with_sub_orders(side: Side) -> None:
    tid = several(side)
    account = side.taobao()
    first = parcel(side, tid, "SF1000000000002", lines=1, whole=False)
    taobao.confirm(account, first)
    rows = side.row("taobao", tid)["lines"][1:]
    rest = replace(first, tracking="SF1000000000003", lines=tuple((row["id"], row["quantity"]) for row in rows))
    assert taobao.find(account, rest) is None
    taobao.confirm(account, rest)
    assert len(side.row("taobao", tid)["shipments"]) == 2


def test_a_repeated_confirmation_is_looked_up_not_refused(side: Side) -> None:
    (tid,) = side.place("taobao")
    account, told = side.taobao(), parcel(side, tid, "SF1000000000004")
    taobao.confirm(account, told)
    taobao.confirm(account, told)
    assert len(side.row("taobao", tid)["shipments"]) == 1


def test_a_line_shipped_under_another_number_is_refused(side: Side) -> None:
    (tid,) = side.place("taobao")
    account, told = side.taobao(), parcel(side, tid, "SF1000000000005")
    taobao.confirm(account, told)
    with pytest.raises(RefusedError):
        taobao.confirm(account, replace(told, tracking="SF1000000000006"))


def test_a_lost_answer_is_unknown_and_then_found(side: Side) -> None:
    (tid,) = side.place("taobao")
    account, told = side.taobao(), parcel(side, tid, "SF1000000000007")
    side.fault("taobao", "logistics.offline.send", "drop_after_effect")
    with pytest.raises(UnknownOutcomeError):
        taobao.confirm(account, told)
    assert taobao.find(account, told) is not None


def test_a_carrier_without_a_code_is_a_question_for_a_person(side: Side) -> None:
    (tid,) = side.place("taobao")
    with pytest.raises(RefusedError, match="carrier_unknown"):
        taobao.confirm(side.taobao(), parcel(side, tid, "JT0000000000001", carrier="JTSD"))
    taobao.confirm(side.taobao(carriers={"JTSD": "OTHER"}), parcel(side, tid, "JT0000000000001", carrier="JTSD"))


def test_more_than_fifty_lines_go_in_several_calls() -> None:
    forms: list[str] = []

    def script(seen: Any, _connection: Any) -> bytes:
        forms.append(seen.body.decode())
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
        taobao.confirm(session(settings(base_url=server.url, allow_private=True), client), told)
    assert [form.count("%2C") + 1 for form in forms] == [50, 50, 20]


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
        taobao.confirm(session(settings(base_url=server.url, allow_private=True), client), told)


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
