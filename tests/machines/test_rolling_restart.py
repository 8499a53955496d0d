"""API processes that share one listening socket are restarted one after the other while partners post."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.machines import Machine, machine_settings, start_machine
from pipeline.access import make_key
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.reconcile import known_orders
from pipeline.settings import Settings
from tests.api.house import order

_TRIES = 50


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path) -> Settings:
    return machine_settings(tmp_path, postgres_url)


@pytest.fixture
def hub(settings: Settings) -> Iterator[Hub]:
    opened = open_hub(settings, migrated=True)
    yield opened
    close_hub(opened)


class Partner(threading.Thread):
    """Posts one order after the other, each until it is answered, until it is told to stop. Keeps what was not a yes."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(daemon=True)
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20, trust_env=False
        )
        self.enough = threading.Event()
        self.accepted: list[str] = []
        self.answers: list[Any] = []

    def run(self) -> None:
        with self.client:
            while not self.enough.is_set():
                self.post(f"PO-{len(self.accepted)}")

    def post(self, name: str) -> None:
        body = json.dumps(order(name)).encode()
        for _ in range(_TRIES):
            try:
                reply = self.client.post("/v1/orders", content=body, headers={"Idempotency-Key": name})
            except httpx.TransportError as error:
                self.answers.append(type(error).__name__)  # a connection kept alive that the old process closed
                continue
            if reply.status_code < 300:
                self.accepted.append(name)
                return
            self.answers.append(reply.status_code)
        raise AssertionError(self.answers)


def wait_for(partner: Partner, more: int) -> None:
    target = len(partner.accepted) + more
    while len(partner.accepted) < target:
        assert partner.is_alive(), partner.answers
        partner.enough.wait(0.01)


def test_partners_lose_nothing_while_every_api_process_is_restarted(hub: Hub, settings: Settings) -> None:
    apply_values(
        hub,
        {
            "partners": [{"name": "acme"}],
            "accounts": [{"name": "acme", "channel": "standard", "partner": "acme", "settings": {"base_url": ""}}],
        },
    )
    key = make_key(hub, "acme", "partner", "acme")
    started: list[Machine] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            started.append(start_machine(settings, listener=listener))
            partner = Partner(f"http://127.0.0.1:{listener.getsockname()[1]}", key)
            partner.start()
            wait_for(partner, 5)
            started.append(start_machine(settings, listener=listener))
            assert started[0].stop() == 0
            wait_for(partner, 5)
            started.append(start_machine(settings, listener=listener))
            assert started[1].stop() == 0
            wait_for(partner, 5)
            partner.enough.set()
            partner.join(20)
        finally:
            for machine in started:
                machine.stop()
    stored = sorted(each.external_id for each in known_orders(hub, "acme"))
    assert stored == sorted(partner.accepted)
    assert not [answer for answer in partner.answers if isinstance(answer, int)], (
        "no request was answered with an error"
    )
