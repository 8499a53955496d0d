"""What every warehouse target promises, whoever writes it. A target brings `tests/fixtures/<name>/`: `settings.json` (as for
channels) and `news/*` (bodies that `read_news` understands)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import SecretStr, ValidationError

from domain.errors import HubError, RefusedError, UnknownOutcomeError
from domain.states import FulfilmentState
from outbound._warehouse import Session, Warehouse, warehouses
from tests.connectors.side import FIXTURES, answering, new_client, plenty
from tests.outbound.shipments import shipment

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ALL = sorted(warehouses().values(), key=lambda warehouse: warehouse.name)
NEWS = [(warehouse, path) for warehouse in ALL for path in sorted((FIXTURES / warehouse.name / "news").iterdir())]
BAD_BODIES = {
    "empty": b"",
    "blank": b" \n",
    "page": b"<html><body>please log in</body></html>",
    "object": b"{}",
    "null": b"null",
    "cut": b"<response><flag>succ",
    "bomb": b'<!DOCTYPE a [<!ENTITY b "c">]><response><flag>success</flag></response>',
}

each_warehouse = pytest.mark.parametrize("warehouse", ALL, ids=lambda warehouse: warehouse.name)
each_news = pytest.mark.parametrize(("warehouse", "path"), NEWS, ids=[f"{w.name}-{p.name}" for w, p in NEWS])
each_bad_body = pytest.mark.parametrize("body", BAD_BODIES.values(), ids=list(BAD_BODIES))


def opened(warehouse: Warehouse, url: str = "https://wms.example.test") -> Any:
    values = json.loads((FIXTURES / warehouse.name / "settings.json").read_text())
    return warehouse.settings.model_validate({**values, "base_url": url, "allow_private": True})


def place(warehouse: Warehouse, url: str, client: Any) -> Session:
    return Session(warehouse="w", settings=opened(warehouse, url), client=client, budget=plenty(), clock=lambda: NOW)


def test_there_are_warehouses() -> None:
    assert "qimen" in warehouses()


@each_warehouse
def test_one_slug_everywhere(warehouse: Warehouse) -> None:
    assert warehouses()[warehouse.name] is warehouse
    assert (FIXTURES / warehouse.name).is_dir() and warehouse.name.isidentifier() and warehouse.name.islower()


@each_warehouse
def test_settings_refuse_what_they_do_not_know_and_hide_their_secrets(warehouse: Warehouse) -> None:
    settings = opened(warehouse)
    secrets = [value.get_secret_value() for value in dict(settings).values() if isinstance(value, SecretStr)]
    assert secrets and all(secret.startswith("canary-") for secret in secrets)
    assert "canary-" not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(ValidationError, match="extra_forbidden"):
        warehouse.settings.model_validate({**settings.model_dump(), "passwort": "x"})


@each_warehouse
def test_it_says_how_it_takes_repetition(warehouse: Warehouse) -> None:
    assert warehouse.repeats(opened(warehouse)) in {"keyed", "findable", "unsafe"}


@each_bad_body
@each_warehouse
def test_an_unreadable_answer_to_a_send_may_have_happened(warehouse: Warehouse, body: bytes) -> None:
    with answering(body) as server, new_client() as client, pytest.raises(UnknownOutcomeError):
        warehouse.send(place(warehouse, server.url, client), shipment())


@each_bad_body
@each_warehouse
def test_an_unreadable_answer_to_a_cancel_is_no_verdict(warehouse: Warehouse, body: bytes) -> None:
    with answering(body) as server, new_client() as client, pytest.raises(UnknownOutcomeError):
        warehouse.cancel(place(warehouse, server.url, client), "HUB-1", "", "")


@each_bad_body
@each_warehouse
def test_a_look_that_fails_never_means_not_there(warehouse: Warehouse, body: bytes) -> None:
    with answering(body) as server, new_client() as client:
        session = place(warehouse, server.url, client)
        with pytest.raises(HubError):
            warehouse.find(session, "HUB-1", "")
        if warehouse.news is not None:
            with pytest.raises(HubError):
                warehouse.news(session, "HUB-1", "")
        if warehouse.stock is not None:
            with pytest.raises(HubError):
                warehouse.stock(session, ["A"])


@each_news
def test_news_speak_of_our_states(warehouse: Warehouse, path: Path) -> None:
    told = warehouse.read_news(path.read_bytes())
    assert told
    for each in told:
        assert each.reference and each.event_id
        assert each.state == "" or each.state in get_args(FulfilmentState)
        assert all(line.quantity > 0 for parcel in each.parcels for line in parcel.lines)


@each_news
def test_the_same_body_is_always_the_same_event(warehouse: Warehouse, path: Path) -> None:
    assert warehouse.read_news(path.read_bytes()) == warehouse.read_news(path.read_bytes())


@each_warehouse
def test_an_unsigned_callback_is_refused_and_the_refusal_says_nothing(warehouse: Warehouse) -> None:
    if warehouse.callback is None:
        return
    with pytest.raises(RefusedError) as raised:
        warehouse.callback.verify({}, {}, b"", opened(warehouse), NOW)
    _, _, body = warehouse.callback.reply(raised.value)
    assert b"canary" not in body and body != warehouse.callback.reply(None)[2]
