"""Settings of one process: a TOML file (`hub.toml`, or the one named by HUB_CONFIG), overridden by the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.errors import ConfigError

_NAMES = {
    "DATABASE_URL": "database_url",
    "HUB_DATA": "data_folder",
    "HUB_KEY": "key",
    "HUB_KEY_FILE": "key_file",
    "HUB_POLL_SECONDS": "poll_seconds",
    "HUB_LOOK_BACK_SECONDS": "look_back_seconds",
    "HUB_RETRY_SCALE": "retry_scale",
    "HUB_BATCH": "batch",
    "HUB_SENDERS": "senders",
    "HUB_CALLS": "calls",
    "HUB_JOBS": "jobs",
    "HUB_LEASE_SECONDS": "lease_seconds",
    "HUB_DELAY_SECONDS": "delay_seconds",
    "HUB_CONSOLE_OPEN": "console_open",
    "HUB_STOCK_SECONDS": "stock_seconds",
    "HUB_NEWS_SECONDS": "news_seconds",
    "HUB_STALE_SECONDS": "stale_seconds",
    "HUB_ARCHIVE_DAYS": "archive_days",
}


class Settings(BaseModel):
    """What an operator may set. Seconds are real seconds; `retry_scale` multiplies every retry delay of ours (never a
    peer's Retry-After); `delay_seconds` is the window in which a released order may still be cancelled cheaply;
    `stale_seconds` is the age from which a warehouse's stock snapshot is not sold from any more (0: never);
    `archive_days` after its last change an order that ended is archived. On PostgreSQL: `calls` is how many calls one
    account or warehouse gets at once from all machines together, `jobs` how many jobs one process runs side by side,
    `lease_seconds` how long a claim lasts without a sign of life."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_folder: Path = Path("data")
    database_url: str = ""
    key: str = Field(default="", repr=False)
    key_file: Path | None = None
    poll_seconds: float = Field(default=30.0, ge=0.05, le=86_400)
    look_back_seconds: float = Field(default=900.0, ge=0, le=7 * 86_400)
    first_look_back_seconds: float = Field(default=7 * 86_400.0, ge=0, le=90 * 86_400)
    retry_scale: float = Field(default=1.0, gt=0, le=100)
    batch: int = Field(default=200, ge=1, le=2_000)
    senders: int = Field(default=16, ge=1, le=256)
    calls: int = Field(default=8, ge=1, le=256)
    jobs: int = Field(default=16, ge=2, le=256)
    lease_seconds: float = Field(default=60.0, ge=2, le=600)
    delay_seconds: float = Field(default=0.0, ge=0, le=86_400)
    stock_seconds: float = Field(default=300.0, ge=0.05, le=86_400)
    news_seconds: float = Field(default=600.0, ge=0.05, le=86_400)
    stale_seconds: float = Field(default=0.0, ge=0, le=30 * 86_400)
    archive_days: float = Field(default=7.0, ge=0, le=3_650)
    console_open: bool = False

    @property
    def url(self) -> str:
        return self.database_url or f"sqlite:///{(self.data_folder / 'hub.db').absolute()}"

    @property
    def look_back(self) -> timedelta:
        return timedelta(seconds=self.look_back_seconds)

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)

    @property
    def poll_every(self) -> timedelta:
        return timedelta(seconds=self.poll_seconds)


def as_environment(settings: Settings) -> dict[str, str]:
    """The same settings for another process."""
    told = {name: getattr(settings, field) for name, field in _NAMES.items()} | {"DATABASE_URL": settings.url}
    return {name: str(value) for name, value in told.items() if value not in {None, ""}}


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the file if there is one, then the environment. ConfigError `settings` names the value that is wrong."""
    environment = os.environ if environment is None else environment
    path = Path(environment.get("HUB_CONFIG", "hub.toml"))
    values: dict[str, object] = {}
    if path.is_file():
        try:
            values = dict(tomllib.loads(path.read_text()).get("settings", {}))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError("settings", f"{path}: {error}") from None
    values |= {field: environment[name] for name, field in _NAMES.items() if environment.get(name)}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError("settings", f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
