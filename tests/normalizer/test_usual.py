"""The quick way of reading a document says what the plain way says, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.goods import documents
from connectors import shopify, standard, taobao, vendure
from connectors._channel import Channel
from domain.errors import MappingError
from normalizer.bulk import MAX_PLANS
from normalizer.mapping import At, OrderMapping, fixed, normalize
from normalizer.plain import read_plainly
from normalizer.readers import as_money, as_quantity, as_time, read_text_time, read_time
from normalizer.usual import read_usual
from tests.normalizer.mappings import SHANGHAI, SHOPIFY, TAOBAO, shopify_order, taobao_trade
from wire.strict_json import parse_value

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2027, 1, 1, tzinfo=UTC)
CHANNELS: tuple[Channel, ...] = (standard.CHANNEL, taobao.CHANNEL, shopify.CHANNEL, vendure.CHANNEL)


def _samples() -> Iterator[tuple[OrderMapping, tzinfo, dict[str, Any]]]:
    for channel in CHANNELS:
        for path in sorted((FIXTURES / channel.name / "orders").glob("*.json")):
            yield channel.mapping, channel.zone, parse_value(path.read_bytes())
    for _, _, body in documents(5, 3):
        yield standard.MAPPING, ZoneInfo("UTC"), parse_value(body)
    yield TAOBAO, SHANGHAI, taobao_trade()
    yield SHOPIFY, UTC, shopify_order()


SAMPLES = tuple(_samples())
ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            None, "", " ", "x", "0", "-1", "1.5", "12.345", "1e3", 0, 1, -1, 7, 10**9, 10**16, True, False,
            Decimal("1.50"), Decimal(12), Decimal("1e3"), [], {}, ["a"], [None], [{}], {"a": "b"}, ("t",), "王 ",
            "2026-11-20", "2026-11-20T10:00:00Z", "2026-11-20 10:00:00", "2029-01-01T00:00:00Z", "1999-12-31T00:00:00Z",
            "1999-12-31T20:00:00-08:00", "USD", "JPY", "usd", "RMB", "paid", "cod", "cancelled", "x" * 201, "closed",
        ]
    ),
    st.text(max_size=4),
    st.integers(-5, 5),
)  # fmt: skip
DROPPED = object()


@st.composite
def _changed_documents(draw: st.DrawFn) -> tuple[OrderMapping, tzinfo, Any]:
    mapping, zone, document = draw(st.sampled_from(SAMPLES))
    copy = json.loads(json.dumps(document, default=str))
    for _ in range(draw(st.integers(1, 3))):
        value = draw(st.one_of(st.just(DROPPED), ODD))
        places = list(_places(copy))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        if value is not DROPPED:
            holder[key] = value
        elif isinstance(holder, dict):
            holder.pop(key, None)
    return mapping, zone, copy


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, inner in items:
        yield value, key
        yield from _places(inner)
    if not items and isinstance(value, dict):
        yield value, "id"


def _outcome(read: Callable[[], object]) -> Any:
    try:
        return repr(read())  # which tells True from 1, and one Decimal from another
    except MappingError as error:
        return (error.code, error.path, error.detail)
    except Exception as error:  # noqa: BLE001 - what no way of reading foresees is the same for both
        return type(error)


@settings(max_examples=600, deadline=None)
@given(_changed_documents())
def test_the_quick_way_says_what_the_plain_way_says_or_nothing(case: tuple[OrderMapping, tzinfo, Any]) -> None:
    mapping, zone, document = case
    plain = _outcome(lambda: read_plainly(document, mapping.compiled, zone, NOW))
    quick = _outcome(lambda: read_usual(document, mapping.usual, zone, NOW))
    assert quick in {"None", plain}
    assert _outcome(lambda: normalize(document, mapping, zone=zone, now=NOW)) == plain


@pytest.mark.parametrize(("mapping", "zone", "document"), SAMPLES)
def test_documents_as_sources_send_them_are_read_the_quick_way(
    mapping: OrderMapping, zone: tzinfo, document: dict[str, Any]
) -> None:
    quick = read_usual(document, mapping.usual, zone, NOW)
    assert quick is not None
    assert repr(quick) == repr(read_plainly(document, mapping.compiled, zone, NOW))


def test_lines_may_state_their_amount_and_no_price() -> None:
    mapping = OrderMapping(
        order={
            "external_id": At("id"),
            "source_time": At("at", as_time),
            "placed_at": At("at", as_time),
            "currency": fixed("CNY"),
            "payment": fixed("paid"),
        },
        ship_to={},
        lines=At("lines"),
        line={
            "external_id": At("id"),
            "external_sku": At("sku"),
            "quantity": At("n", as_quantity),
            "amount": At("a", as_money),
        },
        amounts={"paid": At("paid", as_money)},
        status=At("state"),
        statuses={"on": "pending_shipment"},
    )
    line = {"id": "1", "sku": "X", "n": 3, "a": "10.00"}
    document = {"id": "7", "at": "2026-11-20T10:00:00Z", "state": "on", "paid": "10.00", "lines": [line]}
    quick = read_usual(document, mapping.usual, UTC, NOW)
    assert quick is not None
    assert quick == read_plainly(document, mapping.compiled, UTC, NOW)
    assert quick.lines[0].unit_price == 333


def test_what_is_remembered_of_combinations_is_bounded() -> None:
    mapping, zone, document = SAMPLES[0]
    for number in range(2 * MAX_PLANS):
        odd = {f"k{place}": (1, "x")[number >> place & 1] for place in range(9)}
        read_usual(document | {"external_id": "x", "tags": [], "totals": odd} | odd, mapping.usual, zone, NOW)
    assert all(len(plans.by_types) <= MAX_PLANS for kit in mapping.usual.kits.values() for plans in kit)


ZONES = [
    ZoneInfo(name) for name in ("UTC", "Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")
]
MOMENTS = st.datetimes(datetime(1999, 12, 30), datetime(2040, 1, 1))  # noqa: DTZ001 - local times of several zones
TAILS = st.sampled_from(["", "Z", "z", " Z", "+08:00", "-0330", " +0800", "+24:00", ".5", ".123456Z", "+8", "Zx", "\n"])


@settings(max_examples=400, deadline=None)
@given(MOMENTS, st.sampled_from(["T", " ", "t"]), TAILS, st.sampled_from(ZONES), st.booleans())
def test_a_time_made_of_its_day_is_the_time_read_whole(
    moment: datetime, between: str, tail: str, zone: tzinfo, near_a_change: bool
) -> None:
    if near_a_change:  # the night of a change of clocks: 2026-03-29 in Berlin, 2026-10-25 back
        moment = datetime(2026, 3, 29) + timedelta(seconds=moment.second * 300 + moment.minute)  # noqa: DTZ001
    text = f"{moment:%Y-%m-%d}{between}{moment:%H:%M:%S}{tail}"
    assert _outcome(lambda: read_text_time(text, zone)) == _outcome(lambda: read_time(text, zone))
