"""Errors are named by what to do next, so that a caller never has to read a message to decide."""

from __future__ import annotations

from datetime import datetime


class HubError(Exception):
    """Anything this product raises on purpose. `code` is stable; `detail` is for people and holds no secrets."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class ConfigError(HubError):
    """Stop this account and tell a person: credentials, permission, settings."""


class RetryableError(HubError):
    """The same call may succeed later. `not_before` is what the peer asked for (aware UTC), if it did."""

    def __init__(self, code: str, detail: str = "", *, not_before: datetime | None = None) -> None:
        super().__init__(code, detail)
        self.not_before = not_before


class RefusedError(HubError):
    """Understood and refused: never again by itself."""


class MappingError(RefusedError):
    """A document cannot be read. `path` is where (dotted), `detail` why."""

    def __init__(self, code: str, detail: str = "", *, path: str = "") -> None:
        super().__init__(code, f"{path}: {detail}" if path else detail)
        self.path = path


class UnknownOutcomeError(HubError):
    """It may have happened: look first, never repeat blindly."""
