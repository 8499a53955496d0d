"""What every channel promises, whoever writes it. A channel brings `tests/fixtures/<name>/`: `settings.json` (valid settings
without base_url, every secret starting with "canary-") and `orders/*.json` (documents as `pull` stores them)."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from connectors._channel import Channel, Confirmation, Session, Since, channels
from domain.errors import HubError, MappingError, RefusedError
from domain.order import LineState, Order, OrderStatus, Payment
from normalizer.mapping import At, normalize
from tests.connectors.side import FIXTURES, answering, new_client, plenty
from wire.strict_json import parse_value

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ALL = sorted(channels().values(), key=lambda channel: channel.name)
ORDERS = [(channel, path) for channel in ALL for path in sorted((FIXTURES / channel.name / "orders").glob("*.json"))]
BAD_BODIES = {
    "empty": b"",
    "blank": b" \n",
    "page": b"<html><body>please log in</body></html>",
    "object": b"{}",
    "list": b"[]",
    "null": b"null",
    "cut": b'{"data": {"orders": {"nodes": [',
    "top error": b'{"error_response":{"code":7,"msg":"call limited"}}',
    "graphql error": b'{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}]}',
    "status in body": b'{"detail":"internal error","status_code":500}',
}

each_channel = pytest.mark.parametrize("channel", ALL, ids=lambda channel: channel.name)
each_order = pytest.mark.parametrize(("channel", "path"), ORDERS, ids=[f"{c.name}-{p.stem}" for c, p in ORDERS])
each_bad_body = pytest.mark.parametrize("body", BAD_BODIES.values(), ids=list(BAD_BODIES))


def given(channel: Channel) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((FIXTURES / channel.name / "settings.json").read_text())
    return values


def opened(channel: Channel, url: str = "https://shop.example.test") -> Any:
    """Valid settings; a channel that is never called has no address."""
    own = channel.settings.model_fields["base_url"]
    address = {} if "" in get_args(own.annotation) else {"base_url": url, "allow_private": True}
    return channel.settings.model_validate({**given(channel), **address})


def account(channel: Channel, url: str, client: Any) -> Session:
    # A channel with a login must not stop at it: what is asked here is what the answers mean.
    memory = {"token": "canary-token"}
    settings = opened(channel, url)
    return Session(account="a", settings=settings, client=client, budget=plenty(), clock=lambda: NOW, memory=memory)


def read(channel: Channel, path: Path) -> Order:
    return normalize(parse_value(path.read_bytes()), channel.mapping, zone=channel.zone, now=NOW)


def parcel(order: Order) -> Confirmation:
    return Confirmation(
        order_id=order.external_id,
        package_key="p1",
        tracking="T1",
        carrier="SF",
        lines=tuple((line.external_id, line.quantity) for line in order.lines),
        whole_order=True,
        shipped_at=NOW,
    )


def test_there_are_channels() -> None:
    assert {"standard", "taobao", "shopify", "vendure"} <= set(channels())


@each_channel
def test_one_slug_everywhere(channel: Channel) -> None:
    assert channels()[channel.name] is channel
    assert (FIXTURES / channel.name / "orders").is_dir() and channel.name.isidentifier() and channel.name.islower()


def test_order_prefixes_tell_channels_apart() -> None:
    prefixes = [channel.order_prefix for channel in ALL]
    assert len(set(prefixes)) == len(prefixes)
    assert all(prefix.isascii() and prefix.isupper() and len(prefix) == 2 for prefix in prefixes)


@each_channel
def test_settings_refuse_what_they_do_not_know(channel: Channel) -> None:
    opened(channel)
    with pytest.raises(ValidationError, match="extra_forbidden"):
        channel.settings.model_validate({**opened(channel).model_dump(), "passwort": "x"})


@each_channel
def test_secrets_are_never_shown(channel: Channel) -> None:
    settings = opened(channel)
    secrets = [value.get_secret_value() for value in dict(settings).values() if isinstance(value, SecretStr)]
    assert all(secret.startswith("canary-") for secret in secrets), "give every secret of settings.json a canary"
    assert secrets or channel.pull is None
    with new_client() as client:
        shown = (
            repr(settings)
            + str(settings)
            + settings.model_dump_json()
            + repr(account(channel, "http://127.0.0.1:9", client))
        )
    assert "canary-" not in shown


@each_channel
def test_settings_cannot_be_changed_in_use(channel: Channel) -> None:
    settings: BaseModel = opened(channel)
    with pytest.raises(ValidationError, match="frozen"):
        settings.base_url = "https://elsewhere.test"  # type: ignore[attr-defined]


@each_channel
def test_what_it_can_do_it_has(channel: Channel) -> None:
    can = channel.can
    if channel.confirm is not None:
        assert can.repeats != "findable" or channel.find is not None
        assert not can.readback or channel.find is not None
    assert channel.find is None or channel.confirm is not None
    hints = channel.webhook is not None and not channel.webhook.carries
    assert not hints or channel.fetch is not None, "a hint is only useful when the order can be read"
    assert can.parcels_per_line >= 1
    assert timedelta(0) < channel.overlap < channel.window


@each_channel
def test_statuses_are_ours_and_some_end(channel: Channel) -> None:
    known = set(get_args(OrderStatus))
    assert set(channel.mapping.statuses.values()) <= known
    assert {"closed", "pending_shipment"} <= set(channel.mapping.statuses.values())


@each_order
def test_every_sample_becomes_an_order(channel: Channel, path: Path) -> None:
    order = read(channel, path)
    assert order.status in get_args(OrderStatus) and order.payment in get_args(Payment)
    assert "unknown_status" not in order.forbids_shipping
    assert order.lines and {line.state for line in order.lines} <= set(get_args(LineState))
    assert order.source_time.tzinfo is UTC and order.placed_at.tzinfo is UTC
    amounts = order.amounts
    assert amounts.goods + amounts.freight + amounts.tax - amounts.discount == amounts.paid
    assert sum(line.amount for line in order.lines) == amounts.goods
    assert all(type(getattr(amounts, field.name)) is int for field in fields(amounts))


@each_order
def test_reading_twice_gives_the_same_order(channel: Channel, path: Path) -> None:
    assert read(channel, path) == read(channel, path)


@each_order
def test_an_unknown_status_is_taken_and_never_ships(channel: Channel, path: Path) -> None:
    mapping = replace(channel.mapping, statuses={})
    order = normalize(parse_value(path.read_bytes()), mapping, zone=channel.zone, now=NOW)
    assert "unknown_status" in order.forbids_shipping and order.status == "pending_payment"


@each_order
def test_a_document_without_a_field_is_an_exception_not_a_crash(channel: Channel, path: Path) -> None:
    """Whatever leaf is missing or of another type: an order, or a MappingError with a code."""
    document = parse_value(path.read_bytes())
    for place in _leaves(document):
        for wrong in _WRONG:
            with suppress(MappingError):
                normalize(_with(document, place, wrong), channel.mapping, zone=channel.zone, now=NOW)


_WRONG: tuple[Any, ...] = (None, "", [], {}, -1, "\ufffd", True)


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, inner in pairs for leaf in _leaves(inner, (*place, key))]
    return [place, *found] if place else found


def _with(value: Any, place: tuple[Any, ...], wrong: Any) -> Any:
    if not place:
        return wrong
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = _with(value[place[0]], place[1:], wrong)
    return copy


@each_channel
def test_every_path_of_the_mapping_is_in_some_sample(channel: Channel) -> None:
    """A path that no sample has is a spelling mistake until a sample shows otherwise."""
    mapping, documents = (
        channel.mapping,
        [parse_value(path.read_bytes()) for _, path in ORDERS if _.name == channel.name],
    )
    missing = [
        path
        for path in _paths(mapping.order, mapping.ship_to, mapping.amounts, mapping.extra)
        if not _in(documents, path)
    ]
    lines = [line for document in documents for line in _found(document, mapping.lines)]
    missing += [path for path in _paths(mapping.line) if not _in(lines, path)]
    assert missing == []


def _paths(*groups: Any) -> list[str]:
    return [at.path for group in groups for at in group.values() if isinstance(at, At) and isinstance(at.path, str)]


def _found(document: Any, lines: Any) -> list[Any]:
    source: Any = lines.path if isinstance(lines, At) else lines
    found = _follow(document, source) if isinstance(source, str) else source(document)
    return list(found or [])


def _in(documents: list[Any], path: str) -> bool:
    parent, _, name = path.rpartition(".")
    holders = [_follow(document, parent) if parent else document for document in documents]
    return any(isinstance(holder, dict) and name in holder for holder in holders)


def _follow(value: Any, path: str) -> Any:
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)] if step.isdigit() and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


@each_bad_body
@each_channel
def test_an_answer_that_is_no_list_never_means_no_orders(channel: Channel, body: bytes) -> None:
    if channel.pull is None:
        return
    with answering(body) as server, new_client() as client:
        since = Since(start=NOW - timedelta(minutes=10), end=NOW)
        session = account(channel, server.url, client)
        with pytest.raises(HubError):
            list(channel.pull(session, since))


@each_bad_body
@each_channel
def test_a_look_that_fails_never_means_not_there(channel: Channel, body: bytes) -> None:
    if channel.find is None:
        return
    order = next(read(channel, path) for known, path in ORDERS if known is channel)
    with answering(body) as server, new_client() as client:
        session = account(channel, server.url, client)
        with pytest.raises(HubError):
            channel.find(session, parcel(order))


@each_channel
def test_a_webhook_without_a_signature_is_refused(channel: Channel) -> None:
    if channel.webhook is None:
        return
    for headers in ({}, {"x-signature": ""}, {"X-Shopify-Hmac-Sha256": "\xff" * 5000}):
        with pytest.raises(RefusedError):
            channel.webhook.verify(headers, b"{}", opened(channel), NOW)


@each_channel
def test_a_budget_can_be_made_from_its_settings(channel: Channel) -> None:
    if channel.budget is not None:
        assert channel.budget(opened(channel)).take(1) == 0
