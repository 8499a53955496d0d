"""A partner's post as values: which orders it holds, which reply it got. The order's own content is read by the
absorber; here only its id is, and a batch is taken apart into the exact bytes of its orders."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from domain.errors import MappingError, RefusedError
from domain.values import maker
from normalizer.readers import as_text
from wire.salvage import salvage_records
from wire.strict_json import Parsed, parse

from .access import Caller

ONE, MANY = "POST /v1/orders", "POST /v1/orders:batch"
MAX_ORDERS, MAX_ORDER_BYTES = 500, 2**20
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """What a post is answered: always these bytes. `replayed`: an earlier post with the same key was answered so."""

    status: int
    body: bytes
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """One order as posted. `error`: why its bytes or its id are no use; `malformed`: not even JSON (400, not 422);
    `too_large`: not looked at, not kept; `whole`: a batch that could not be taken apart; `parsed`: what the strict reader
    makes of the bytes, where it is known already."""

    body: bytes
    external_id: str
    error: MappingError | None = None
    malformed: bool = False
    too_large: bool = False
    whole: bool = False
    parsed: Parsed | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """What one request asks for: `place` is what its reply is kept under, `digest` what tells it from another request with the
    same key, `size` the bytes of its body."""

    partner_id: int
    account_id: int
    scope: str
    key: str
    digest: bytes
    documents: tuple[Document, ...]
    place: tuple[int, str, str]
    size: int


_readable = maker(Document, ("body", "external_id", "parsed"))
_parsed = maker(Parsed, ("value",))


def read_post(caller: Caller, key: str, body: bytes, *, many: bool = False) -> Post:
    """A post with its documents taken apart. RefusedError `no_intake` (the caller may not post), `batch_empty`,
    `batch_too_large`."""
    if caller.partner_id is None or caller.intake is None or caller.scope != "partner":
        raise RefusedError("no_intake", "this key belongs to no partner that may post orders")
    scope = MANY if many else ONE
    return Post(
        partner_id=caller.partner_id,
        account_id=caller.intake,
        scope=scope,
        key=key,
        digest=hashlib.sha256(body).digest(),
        documents=read_batch(body) if many else (read_document(body),),
        place=(caller.partner_id, scope, key),
        size=len(body),
    )


def read_document(body: bytes) -> Document:
    """Find out which order the bytes are about. Only the id is read here; the absorber reads the rest."""
    try:
        parsed = parse(body)
    except MappingError as error:
        return Document(body, _unreadable(body), error, malformed=True)
    return _identify(body, parsed.value, parsed)


def _identify(body: bytes, value: Any, parsed: Parsed | None = None) -> Document:
    if not isinstance(value, dict):
        return Document(body, _unreadable(body), MappingError("not_a_record", "an order is a JSON object"))
    try:
        external_id = as_text(value.get("external_id"))
    except MappingError:
        external_id = ""
    if external_id.strip() and len(external_id) <= _LONGEST_ID:
        return _readable(body, external_id, parsed)
    error = MappingError("id", f"text of 1 to {_LONGEST_ID} characters, not only blanks", path="external_id")
    return Document(body, _unreadable(body), error)


def _unreadable(body: bytes) -> str:
    return f"unreadable-{hashlib.sha256(body).hexdigest()[:32]}"


def read_batch(body: bytes) -> tuple[Document, ...]:
    """The orders of `{"orders": [...]}` with their exact bytes. One that is no JSON of ours does not harm the others."""
    try:
        _, records = salvage_records(body, "orders")
    except MappingError as error:
        return (Document(body, _unreadable(body), error, malformed=error.code != "records_missing", whole=True),)
    if not records:
        raise RefusedError("batch_empty", "orders is an empty list")
    if len(records) > MAX_ORDERS:
        raise RefusedError("batch_too_large", f"{len(records)} orders, at most {MAX_ORDERS} in one batch")
    return tuple(_one_of(raw, value) for raw, value in records)


def _one_of(raw: bytes, value: Any) -> Document:
    if len(raw) > MAX_ORDER_BYTES:
        return Document(raw, "", too_large=True)
    if value is None:
        return read_document(raw)
    # What reading these bytes alone would give. Where characters may have been replaced, which is told per order, they are
    # read once more.
    return _identify(raw, value, None if b"\\u" in raw else _parsed(value))
