"""`make run`: the demo that keeps running. A sandbox places orders now and then; the hub, its API and its console are served."""

from __future__ import annotations

import contextlib
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from rich.console import Console

import scheduler
from api.app import create_app
from console.app import create_console
from domain.errors import ConfigError
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.reconcile import known_orders
from sandbox import Running
from sandbox import start as start_sandbox

from .demo import configure, demo_settings, introduction, place_orders
from .ledgers import ACCOUNTS, call

_EVERY = 3.0
_LOOK = 0.3
screen = Console(stderr=True)


def run_showcase(*, orders: int, seed: int, faults: str, port: int) -> None:
    """Serve until interrupted. ConfigError `port_in_use` when the port is taken."""
    _refuse_taken(port)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-run-")))
        box = stack.enter_context(start_sandbox(seed=seed, faults=faults, mix="full"))
        hub = open_hub(demo_settings(folder, ""))
        stack.callback(close_hub, hub)
        configure(hub, box)
        app = create_app(hub)
        app.mount("/", create_console(hub))
        server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, server_header=False)
        )
        told: list[bool] = []
        signal.signal(signal.SIGTERM, lambda *_: told.append(True))
        thread = threading.Thread(target=server.run, daemon=True, name="site")
        thread.start()
        runner = scheduler.start(hub)
        stack.callback(runner.stop)
        began = time.monotonic()
        call(box, "hub", introduction(box, port))
        place_orders(box, orders, seed)
        screen.print(f"[bold]console[/bold]  http://127.0.0.1:{port}")
        screen.print(f"[bold]API[/bold]      http://127.0.0.1:{port}/docs")
        screen.print("Two sandbox shops and three sandbox warehouses are at work. Ctrl-C stops everything.")
        with contextlib.suppress(KeyboardInterrupt):
            _announce_first(hub, began, told)
            _keep_placing(box, seed, told)
        server.should_exit = True
        thread.join(10)


def _announce_first(hub: Hub, began: float, told: list[bool]) -> None:
    while not told:
        time.sleep(_LOOK)
        for order in known_orders(hub, ACCOUNTS["taobao"]):
            if any(state == "confirmed" for _, state in order.packages):
                seconds = time.monotonic() - began
                screen.print(f"first order confirmed to its shop after {seconds:.1f} s: {order.number}")
                return


def _keep_placing(box: Running, seed: int, told: list[bool]) -> None:
    number, due = 0, time.monotonic() + _EVERY
    while not told:
        time.sleep(_LOOK)
        if time.monotonic() >= due:
            number, due = number + 1, due + _EVERY
            place_orders(box, 2, seed + number)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigError("port_in_use", f"port {port} is taken: choose another with --port") from None
