"""Start the other side as a process of its own that cannot outlive the one that started it."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Running:
    """A running sandbox: `info` is its first line (see README), the rest are shortcuts into it."""

    process: subprocess.Popen[bytes]
    info: dict[str, Any]

    @property
    def taobao(self) -> dict[str, Any]:
        """url, app_key, app_secret, session."""
        return dict(self.info["taobao"])

    @property
    def shopify(self) -> dict[str, Any]:
        """url, token, webhook_secret, version."""
        return dict(self.info["shopify"])

    @property
    def qimen(self) -> dict[str, Any]:
        """url, app_key, secret, customer_id, owner_code, warehouses."""
        return dict(self.info["qimen"])

    @property
    def control(self) -> str:
        """Base URL of the control API."""
        return str(self.info["control"])

    def stop(self, seconds: float = 5.0) -> None:
        """Close its stdin and wait; kill it when it does not go by itself. May be called twice."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def start(
    *, seed: int | str = 1, faults: str = "none", mix: str = "full", orders: int = 0, **options: object
) -> Running:
    """Start `python -m sandbox` and wait for its first line.

    `options` are its other flags with underscores: kinds="WH01=rejects,WH04=unsafe", tempo=0.2, hang_seconds=1,
    shopify_restore=100, ship_after="0.05,0.3", taobao_port=8001 … Raises RuntimeError when it does not come up within 20 s.
    """
    flags: dict[str, object] = {
        "seed": seed,
        "faults": faults,
        "mix": mix,
        "orders": orders,
        "parent": os.getpid(),
        **options,
    }
    command = [sys.executable, "-m", "sandbox"]
    for name, value in flags.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    line = _first_line(process)
    if not line:
        running = Running(process, {})
        running.stop()
        raise RuntimeError(f"the sandbox did not start (exit code {process.returncode})")
    return Running(process, json.loads(line))


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    if process.stdout is None:
        return b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(START_SECONDS) else b""
