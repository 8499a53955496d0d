from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import MappingError
from outbound import qimen
from outbound._qimen_news import cut_news, read_news
from tests.connectors.side import Side, sample
from wire.safe_xml import build

from .shipments import at, goods, tree, wait_until_shipped


def test_asks_for_news_and_reads_them(side: Side) -> None:
    place, parcel = at(side), goods(side)
    assert qimen.news(place, parcel.code, "") is None
    qimen.send(place, parcel)
    told = wait_until_shipped(place, parcel.code)
    assert (told.state, told.reference) == ("shipped", parcel.code)
    assert all(each.carrier == "SF" and each.tracking for each in told.parcels)
    packed = [line for each in told.parcels for line in each.lines]
    assert sum(line.quantity for line in packed) == 2 and {line.line_ref for line in packed} == {"1"}


def test_the_same_news_asked_twice_is_one_event(side: Side) -> None:
    place, parcel = at(side), goods(side)
    qimen.send(place, parcel)
    assert wait_until_shipped(place, parcel.code).event_id == wait_until_shipped(place, parcel.code).event_id


def test_reads_a_final_confirm() -> None:
    (told,) = read_news(sample("qimen/deliveryorder_confirm.request.xml"))
    assert (told.reference, told.event_id, told.state, told.final) == ("HUB-DO-0001", "WMS-DO-77001-1", "shipped", True)
    (parcel,) = told.parcels
    assert (parcel.tracking, parcel.carrier, parcel.weight_grams, parcel.package_code) == (
        "SF1234567890123",
        "SF",
        520,
        "PKG-1",
    )
    assert [(line.line_ref, line.sku, line.quantity) for line in parcel.lines] == [("1", "SKU-1001-RED-L", 2)]
    assert told.source_time == datetime(2026, 11, 21, 7, 0, tzinfo=UTC)


def test_an_intermediate_confirm_is_not_the_end() -> None:
    (told,) = read_news(sample("qimen/deliveryorder_confirm.partial.request.xml"))
    assert (told.state, told.final) == ("picking", False)
    assert told.parcels[0].lines[0].line_ref == "2"  # the item code stands on one line only


def confirm(**changes: Any) -> bytes:
    value = tree(sample("qimen/deliveryorder_confirm.request.xml"))
    head = {**value["deliveryOrder"], **changes}
    packages = {"package": [{**each, "items": {"item": each["items"]}} for each in value["packages"]]}
    return build("request", {"deliveryOrder": head, "packages": packages})


def test_delivered_but_intermediate_is_not_the_end() -> None:
    (told,) = read_news(confirm(confirmType="1"))
    assert (told.state, told.final) == ("picking", False)


@pytest.mark.parametrize(
    ("status", "state", "final"),
    [
        ("ACCEPT", "accepted", False),
        ("EXCEPTION", "exception", False),
        ("CANCELED", "cancelled", True),
        ("REJECT", "rejected", True),
        ("CANCELEDFAIL", "", False),
        ("CLOSED", "", False),
        ("NEVER_SEEN", "", False),
    ],
)
def test_a_status_is_told_and_never_guessed(status: str, state: str, final: bool) -> None:
    (told,) = read_news(confirm(status=status))
    assert (told.state, told.final, told.source_status) == (state, final, status)


def test_one_parcel_without_items_holds_what_the_lines_say() -> None:
    value = tree(sample("qimen/deliveryorder_confirm.request.xml"))
    (package,) = value["packages"]
    bare = {k: v for k, v in package.items() if k != "items"}
    lines = {
        "orderLine": [
            {"orderLineNo": "1", "itemCode": "A", "actualQty": "2"},
            {"orderLineNo": "2", "itemCode": "B", "actualQty": "0"},
        ]
    }
    (told,) = read_news(
        build("request", {"deliveryOrder": value["deliveryOrder"], "packages": {"package": bare}, "orderLines": lines})
    )
    assert [(line.line_ref, line.quantity) for line in told.parcels[0].lines] == [("1", 2)]


def test_an_item_on_two_lines_without_a_number_is_not_guessed() -> None:
    items = {"item": {"itemCode": "A", "quantity": "1"}}
    lines = {"orderLine": [{"orderLineNo": "1", "itemCode": "A"}, {"orderLineNo": "2", "itemCode": "A"}]}
    head = {"deliveryOrderCode": "X", "status": "DELIVERED"}
    package = {"package": {"logisticsCode": "SF", "expressCode": "T", "items": items}}
    (told,) = read_news(build("request", {"deliveryOrder": head, "packages": package, "orderLines": lines}))
    assert told.parcels[0].lines[0].line_ref == ""


def test_reads_a_batch_confirm_order_by_order() -> None:
    orders = [
        {"deliveryOrder": {"deliveryOrderCode": code, "status": "DELIVERED", "outBizCode": f"B{code}"}}
        for code in ("A", "B")
    ]
    told = read_news(build("request", {"orders": {"order": orders}}))
    assert [(each.reference, each.event_id) for each in told] == [("A", "BA"), ("B", "BB")]


def test_reads_progress_reported_or_asked() -> None:
    (reported,) = read_news(sample("qimen/orderprocess_report.request.xml"))
    asked = read_news(sample("qimen/orderprocess_query.response.xml"))
    assert (reported.state, reported.detail) == ("picking", "拣货完成")
    assert [each.state for each in asked] == ["accepted", "picking"]
    assert reported.event_id == asked[1].event_id


def test_progress_never_says_shipped() -> None:
    order, process = {"orderCode": "X"}, {"processStatus": "DELIVERED", "operateTime": "2026-11-21 13:20:00"}
    (told,) = read_news(build("request", {"order": order, "process": process}))
    assert (told.state, told.source_status) == ("", "DELIVERED")


@pytest.mark.parametrize(
    ("tree_", "code"),
    [
        ({"deliveryOrder": {"status": "DELIVERED"}}, "id"),
        ({"order": {"orderId": "1"}, "process": {"processStatus": "PICK"}}, "id"),
        ({"items": {"item": {}}}, "unknown_message"),
        ({"deliveryOrder": {"deliveryOrderCode": "X", "operateTime": "yesterday"}}, "time"),
        (
            {
                "deliveryOrder": {"deliveryOrderCode": "X"},
                "packages": {"package": {"items": {"item": {"itemCode": "A", "quantity": "-1"}}}},
            },
            "qty",
        ),
    ],
)
def test_unreadable_news_are_an_exception_with_its_reason(tree_: Any, code: str) -> None:
    with pytest.raises(MappingError) as raised:
        read_news(build("request", tree_))
    assert raised.value.code == code


def batch_of(*confirms: str) -> bytes:
    return f'<?xml version="1.0" encoding="utf-8"?><request><orders>{"".join(confirms)}</orders></request>'.encode()


def one(code: str, units: str = "1") -> str:
    head = f"<deliveryOrder><deliveryOrderCode>{code}</deliveryOrderCode><status>DELIVERED</status></deliveryOrder>"
    item = f"<items><item><itemCode>A</itemCode><quantity>{units}</quantity></item></items>"
    package = f"<package><expressCode>SF{code}</expressCode>{item}</package>"
    return f"<order>{head}<packages>{package}</packages></order>"


def test_a_batch_confirm_is_cut_into_one_document_for_each_order() -> None:
    body = batch_of(one("DO1"), one("DO2", "2"), one("DO3"))
    pieces = cut_news(body)
    assert [piece for piece, _ in pieces] == [one("DO1").encode(), one("DO2", "2").encode(), one("DO3").encode()]
    assert tuple(news for _, each in pieces for news in each) == read_news(body)
    assert all(read_news(piece) == each for piece, each in pieces)


@pytest.mark.parametrize(
    "body",
    [
        one("DO1").encode(),
        batch_of(one("DO1")),
        batch_of(one("DO1"), one("DO2").replace("<order>", "<order >")),
        batch_of(one("DO1"), "<!-- <order></order> -->", one("DO2")),
        batch_of(one("DO1"), one("DO2").replace("<packages>", "<note><order>x</order></note><packages>")),
        batch_of(one("DO1"), f"<![CDATA[{one('DO3')}]]>"),
        batch_of(one("DO1").replace("<packages>", "<?x </order> ?><packages>"), one("DO2")),
        batch_of(one("DO1"), one("DO2")).replace(b"<request>", b"<request xmlns:x='u'>"),
    ],
)
def test_what_cannot_be_cut_for_certain_stays_whole(body: bytes) -> None:
    assert cut_news(body) == [(body, read_news(body))]


def outcome(read: Callable[[bytes], Any], body: bytes) -> tuple[Any, tuple[str, ...]]:
    """What is read of a message, or code and path of what is wrong with it."""
    try:
        return read(body), ()
    except MappingError as error:
        return (), (error.code, error.path)


# What may stand between and inside the orders of a message, and change where one of them ends or what is read of it.
_TURNS = (
    *(
        "<order>",
        "</order>",
        "<order >",
        "</order >",
        "<order a='1'>",
        "<order/>",
        "<orders>",
        "</orders>",
        "<x:order>",
    ),
    *("<!-- </order> -->", "<![CDATA[<order>]]>", "<?x </order> ?>", "<?x <order> ?>", " xmlns='u'", " xmlns:x='u'"),
    *(
        "&lt;order&gt;",
        "&#60;",
        "]]>",
        "<orderLines><orderLine/></orderLines>",
        "<deliveryOrder/>",
        "\r\n",
        " ",
        "é",
        "\x00",
    ),
)


@given(
    st.lists(st.sampled_from([one("DO1"), one("DO2", "2"), one("DO3", "many"), one(""), one("示例")]), max_size=4),
    st.lists(st.tuples(st.integers(0, 1200), st.sampled_from(_TURNS)), max_size=3),
)
@settings(max_examples=300)
def test_a_message_is_cut_only_into_what_is_read_of_it(confirms: list[str], turns: list[tuple[int, str]]) -> None:
    text = batch_of(*confirms).decode()
    for near, turn in turns:
        # Between two tags mostly: inside of one nearly everything is no XML any more.
        place = text.find("<", near % len(text)) if near % 3 else near % len(text)
        text = text[:place] + turn + text[place:]
    body = text.encode()
    (told, wrong), (pieces, also_wrong) = outcome(read_news, body), outcome(cut_news, body)
    assert wrong == also_wrong
    if wrong:
        return
    assert tuple(news for _, each in pieces for news in each) == told
    assert all(read_news(piece) == each for piece, each in pieces)
    rest = body
    for piece, _ in pieces:
        _, found, rest = rest.partition(piece)
        assert found == piece
    assert turns or len(pieces) == max(1, len(confirms))


def test_an_unreadable_confirm_among_others_is_the_whole_messages_fault() -> None:
    with pytest.raises(MappingError):
        cut_news(batch_of(one("DO1"), one("DO2", "many")))
