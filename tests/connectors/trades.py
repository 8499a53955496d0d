"""The fact sheet's trade, whole and with changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from connectors import taobao
from connectors._taobao_order import MAPPING, ZONE
from domain.order import Line, Order
from normalizer.mapping import normalize
from wire.strict_json import parse_value

from .side import sample

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


def read(value: dict[str, Any], now: datetime = NOW) -> Order:
    return normalize(value, MAPPING, zone=ZONE, now=now)


def refund_record() -> dict[str, Any]:
    value = parse_value(sample("taobao/refunds_receive_get.response.json"))
    record: dict[str, Any] = value["refunds_receive_get_response"]["refunds"]["refund"][0]
    return record


def first_line(value: dict[str, Any]) -> Line:
    return read(value).lines[0]
