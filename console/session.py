"""Who is looking: a signed cookie that names a session, checked against the stored key on every request.

The cookie holds a random id (128 bits), the key's id and two times; it is signed with a key derived from the vault, so it
cannot be made elsewhere and needs no table. What cannot be in a cookie - that a key was revoked, its scope changed, or the
session was ended - is asked of the database each time (promises.md S13)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from itsdangerous import BadData, URLSafeSerializer

from pipeline.bootstrap import Hub

IDLE = timedelta(minutes=30)
ABSOLUTE = timedelta(hours=12)
# A cookie is written again only this often, so that pages opened side by side do not fight over it.
_REFRESH = timedelta(minutes=1)

Scope = Literal["", "read", "clerk", "admin"]
SCOPES: tuple[Scope, ...] = ("", "read", "clerk", "admin")


@dataclass(frozen=True, slots=True)
class Session:
    """One browser. `scope` "" is somebody who has not logged in; `key_id` 0 is nobody's key (visitors and the demo)."""

    sid: str
    key_id: int
    actor: str
    scope: Scope
    born: datetime
    seen: datetime

    @property
    def may_act(self) -> bool:
        return self.scope in {"clerk", "admin"}

    @property
    def may_unmask(self) -> bool:
        return self.scope == "admin"

    @property
    def ends_at(self) -> datetime:
        return self.born + ABSOLUTE


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs cookies and makes CSRF tokens; `secret` is 16 bytes that only the vault's owner has."""

    secret: bytes

    def seal(self, salt: str, value: Any) -> str:
        return str(self._serializer(salt).dumps(value))

    def open(self, salt: str, text: str) -> Any:
        """The value that was sealed, None for anything else."""
        try:
            return self._serializer(salt).loads(text)
        except BadData:
            return None

    def _serializer(self, salt: str) -> URLSafeSerializer:
        return URLSafeSerializer(
            self.secret, salt=f"hub.console.{salt}", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def csrf(self, session: Session) -> str:
        """The token that every form of this session carries: another session's, or an older one's, does not fit."""
        return hmac.new(self.secret, f"csrf|{session.sid}|{session.key_id}".encode(), "sha256").hexdigest()

    def csrf_fits(self, session: Session, token: str) -> bool:
        return token.isascii() and hmac.compare_digest(self.csrf(session), token)


def make_signer(hub: Hub) -> Signer:
    return Signer(hub.vault.search_hash("session", "console"))


def new_session(now: datetime, *, key_id: int = 0, actor: str = "", scope: Scope = "") -> Session:
    """A session nobody had before: made at each log in, so that an id planted in a browser is worth nothing."""
    return Session(secrets.token_hex(16), key_id, actor, scope, now, now)


def write_cookie(signer: Signer, session: Session) -> str:
    return signer.seal("session", [session.sid, str(session.key_id), _seconds(session.born), _seconds(session.seen)])


def read_cookie(signer: Signer, text: str, now: datetime) -> Session | None:
    """The session of a cookie, without name and scope (the database knows them). None when it is not ours or too old."""
    match signer.open("session", text) if text else None:
        case [str(sid), str(key_id), int(born), int(seen)]:
            session = Session(sid, int(key_id), "", "", _moment(born, now), _moment(seen, now))
        case _:
            return None
    return session if session.born <= now < session.ends_at and now - session.seen < IDLE else None


def refreshed(session: Session, now: datetime) -> Session | None:
    """The session with a newer `seen`, None while the cookie is fresh enough."""
    return replace(session, seen=now) if now - session.seen >= _REFRESH else None


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int, now: datetime) -> datetime:
    return datetime.fromtimestamp(seconds, tz=now.tzinfo)
