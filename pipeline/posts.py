"""A partner's post as values: which orders it holds, which reply it got. The order's own content is read by the
absorber; here only its id is, and a batch is taken apart into the exact bytes of its orders."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from domain.errors import MappingError, RefusedError
from normalizer.readers import as_text
from wire.salvage import salvage_records
from wire.strict_json import parse

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
    `too_large`: not looked at, not kept; `whole`: a batch that could not be taken apart."""

    body: bytes
    external_id: str
    error: MappingError | None = None
    malformed: bool = False
    too_large: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    partner_id: int
    account_id: int
    scope: str
    key: str
    digest: bytes
    documents: tuple[Document, ...]
    future: Future[Reply] = field(default_factory=Future)

    @property
    def place(self) -> tuple[int, str, str]:
        return (self.partner_id, self.scope, self.key)


def read_document(body: bytes) -> Document:
    """Find out which order the bytes are about. Only the id is read here; the absorber reads the rest."""
    try:
        return _identify(body, parse(body).value)
    except MappingError as error:
        return Document(body, _unreadable(body), error, malformed=True)


def _identify(body: bytes, value: Any) -> Document:
    if not isinstance(value, dict):
        return Document(body, _unreadable(body), MappingError("not_a_record", "an order is a JSON object"))
    try:
        external_id = as_text(value.get("external_id"))
    except MappingError:
        external_id = ""
    if external_id.strip() and len(external_id) <= _LONGEST_ID:
        return Document(body, external_id)
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
    return read_document(raw) if value is None else _identify(raw, value)
