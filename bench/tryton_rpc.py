"""Tryton's JSON-RPC: values that JSON has no word for are tagged, and an error is an answer with status 200.

Source: trytond 8.2.1 itself (its protocols/jsonrpc.py and dispatcher.py), observed 2026-11-22 (H)."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

CALL_SECONDS = 120.0


class TrytonError(Exception):
    """Tryton could not be installed or started, or refused a call."""


def tag(value: Any) -> dict[str, Any]:
    """Decimal, date or datetime (naive, UTC) as Tryton writes it in JSON. TypeError for anything else."""
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, datetime):
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return {"__class__": "datetime"} | {name: getattr(value, name) for name in names}
    if isinstance(value, date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    raise TypeError(f"Tryton has no tag for {type(value).__name__}")


def untag(value: dict[str, Any]) -> Any:
    """The way back, for `json.loads(object_hook=…)`; objects without a tag we know stay as they are."""
    given = {name: part for name, part in value.items() if name != "__class__"}
    match value.get("__class__"):
        case "Decimal":
            return Decimal(value["decimal"])
        case "datetime":
            return datetime(**given)  # noqa: DTZ001 - Tryton's times are naive UTC
        case "date":
            return date(**given)
        case _:
            return value


def build_call(method: str, *params: Any) -> bytes:
    """The body of one call."""
    return json.dumps({"id": 0, "method": method, "params": params}, default=tag).encode()


def read_result(status: int, body: bytes) -> Any:
    """What a call returned. TrytonError for any status but 200 and for an error inside a 200."""
    if status != 200:
        raise TrytonError(f"Tryton answered {status}: {body[:200].decode(errors='replace')}")
    told = json.loads(body, object_hook=untag)
    if "error" in told:
        raise TrytonError(f"Tryton refused: {json.dumps(told['error'], default=str)[:500]}")
    return told["result"]


class Session:
    """A logged-in user on one connection. `context` goes with every call of a model."""

    def __init__(self, port: int, database: str) -> None:
        self.port, self.path = port, f"/{database}/rpc/"
        self.context: dict[str, Any] = {}
        self.user = 0
        self._headers = {"content-type": "application/json"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)

    def login(self, name: str, password: str) -> None:
        """Log in and take over the user's company as the context. TrytonError when refused."""
        self.user, token, *_ = self.call("common.db.login", name, {"password": password}, "en")
        told = base64.b64encode(f"{name}:{self.user}:{token}".encode()).decode()
        self._headers["authorization"] = f"Session {told}"
        self.context = self.call("model.res.user.get_preferences", True, {})

    def call(self, method: str, *params: Any) -> Any:
        """One call, as it is."""
        self._connection.request("POST", self.path, build_call(method, *params), self._headers)
        answer = self._connection.getresponse()
        return read_result(answer.status, answer.read())

    def ask(self, model: str, method: str, *params: Any) -> Any:
        """A method of a model, such as `create`, with the context behind its parameters."""
        return self.call(f"model.{model}.{method}", *params, self.context)

    def find(self, model: str, *domain: Any) -> list[int]:
        """Ids by Tryton's search language, in order of id."""
        found: list[int] = self.ask(model, "search", list(domain), 0, None, [["id", "ASC"]])
        return found

    def headers(self) -> Mapping[str, str]:
        """What a prepared call of this user needs."""
        return dict(self._headers)

    def close(self) -> None:
        """Let go of the connection; the session itself ends by itself."""
        self._connection.close()
