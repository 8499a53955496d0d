"""absorb: stored documents become orders, packages and states. It decides and talks to nobody.

Documents are taken in batches. One that fails becomes one exception and harms nobody else; a transaction that fails is
halved until the culprit is alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from domain.errors import HubError, MappingError, RetryableError
from domain.order import Order, ShippingNews
from storage.exceptions import load_open_subjects, save_documents, save_resolutions
from storage.fulfilments import find_fulfilments, find_tracking_owners
from storage.inbox import claim_documents, due_documents, load_documents, open_body, settle_documents
from storage.rows import Row
from wire.strict_json import Parsed

from .bootstrap import Hub
from .directory import Directory, read_directory
from .dossier import DETAIL
from .extracts import needs_of
from .merged_news import take_merged_news
from .merging import find_groups
from .reading import read_order, read_parsed
from .take_news import take_news
from .take_order import known_buyer, take_order
from .trouble import read_trouble
from .workspace import (
    Workspace,
    count_history,
    exception_row,
    find_orders,
    load_goods,
    open_workspace,
    write_workspace,
)

# How a document ends that reads well.
_CURED = frozenset({"done", "stale"})


@dataclass(slots=True)
class Read:
    """One document of the batch, read or not."""

    row: Row
    order: Order | None = None
    news: tuple[ShippingNews, ...] = ()
    error: HubError | None = None
    again: bool = False
    owners: Mapping[str, set[int]] = field(default_factory=dict)


def absorb(hub: Hub, *, limit: int | None = None, part: tuple[int, int] = (0, 1)) -> int:
    """Absorb documents that wait (of one part of the inbox), one batch; returns how many came to an end."""
    with hub.read() as tx:
        ids = due_documents(tx, limit or hub.settings.batch, part)
    return _absorb(hub, ids) if ids else 0


def absorb_these(hub: Hub, ids: Sequence[int]) -> int:
    """Absorb these stored documents, in one transaction; those that somebody else has are left to him."""
    return _absorb(hub, ids)


def absorb_all(hub: Hub, *, batches: int = 10_000) -> int:
    """Absorb until nothing waits (bounded)."""
    total = 0
    for _ in range(batches):
        done = absorb(hub)
        total += done
        if not done:
            break
    return total


def _absorb(hub: Hub, ids: Sequence[int]) -> int:
    read, stamp = _read_ahead(hub, ids)
    try:
        with hub.write() as tx:
            ws = open_workspace(hub, tx, hub.clock())
            rows = claim_documents(tx, ids, {row_id: document.row for row_id, document in read.items()})
            absorb_rows(ws, rows, read=read if stamp == ws.directory.stamp else {}, parts=True)
            write_workspace(ws)
            return len(rows)
    except Exception as error:
        if read_trouble(error) is not None:
            raise  # the database itself is in trouble: nothing is wrong with any document
        if len(ids) == 1:
            return _quarantine(hub, ids[0], error)
        middle = len(ids) // 2
        return _absorb(hub, ids[:middle]) + _absorb(hub, ids[middle:])


def _read_ahead(hub: Hub, ids: Sequence[int]) -> tuple[dict[int, Read], tuple[int, ...]]:
    """Documents read before the transaction that writes: reading needs no lock, and writers wait for each other."""
    with hub.read() as tx:
        directory, rows = read_directory(hub, tx), load_documents(tx, ids)
    at = hub.clock()
    return {row["id"]: read_one(hub, directory, at, row) for row in rows}, directory.stamp


def absorb_rows(
    ws: Workspace,
    rows: Sequence[Row],
    *,
    again: bool = False,
    read: Mapping[int, Read] | None = None,
    parsed: Mapping[int, Parsed] = MappingProxyType({}),
    stored: bool = True,
    parts: bool = False,
) -> dict[int, int]:
    """Absorb claimed documents inside the caller's transaction; returns order ids by inbox id. The caller writes the
    workspace. `read` are those of them that were read ahead with the same configuration; `parsed` is what the strict reader
    made of those that just came, by inbox id. Not `stored`: rows that are to be stored when all is done, and tell then how
    they ended. `parts`: of an order only what its documents need is loaded, because nobody looks at it afterwards."""
    ahead = read or {}
    documents = [
        ahead.get(row["id"]) or read_one(ws.hub, ws.directory, ws.at, row, again=again, parsed=parsed.get(row["id"]))
        for row in rows
    ]
    _load(ws, documents, parts=parts)
    ended: list[Row] = []
    orders: dict[int, int] = {}
    for document in documents:
        order_id, state, error = _apply(ws, document)
        if order_id is not None:
            orders[document.row["id"]] = order_id
        ended.append({"id": document.row["id"], "state": state, "order_id": order_id, "error": error})
        document.order = None  # given back while it is still in the processor's cache
    for document, end in zip(documents, ended, strict=True):
        document.row.update(end)
    if stored:
        settle_documents(ws.tx, ended)
    # A first version has no exception from before it.
    followed = [document for document in documents if document.again or document.row["seq"] > 1]
    if followed:
        _point_to_newest(ws, [each for each in followed if each.row["state"] == "exception"])
        _clear_cured(ws, [each for each in followed if each.row["state"] in _CURED])
    return orders


def reabsorb(hub: Hub, inbox_ids: Sequence[int]) -> dict[int, int]:
    """Read stored documents once more - after a correction, a new mapping or a new listing. Returns order ids by inbox id."""
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        orders = absorb_rows(ws, load_documents(tx, inbox_ids), again=True)
        write_workspace(ws)
        return orders


def read_one(
    hub: Hub, directory: Directory, at: datetime, row: Row, *, again: bool = False, parsed: Parsed | None = None
) -> Read:
    """Read one document; what is wrong with it is told, not raised. `parsed`: what the strict reader made of its bytes, where
    that is known."""
    document = Read(row, again=again)
    try:
        if row["source_kind"] == "account":
            account = directory.accounts[row["source_id"]]
            if parsed is None:
                document.order = read_order(account, open_body(hub.vault, row), at)
            else:
                document.order = read_parsed(account, parsed, at)
            if document.order.external_id != row["external_id"]:
                raise MappingError("id_mismatch", "the document names another order", path="external_id")
        else:
            document.news = directory.targets[row["source_id"]].kind.read_news(open_body(hub.vault, row))
    except HubError as error:
        document.error = error
    except Exception as error:  # noqa: BLE001 - a document nobody foresaw is one exception, never a stopped batch
        document.error = MappingError("unreadable", type(error).__name__)
    return document


def _load(ws: Workspace, read: Sequence[Read], *, parts: bool) -> None:
    """All facts for the batch, with a few queries; locks in one order: orders, outbox, stock."""
    orders = [(document.row["source_id"], document.order) for document in read if document.order is not None]
    news = [item for document in read for item in document.news]
    codes = find_fulfilments(ws.tx, (item.reference for item in news)) if news else {}
    ws.codes |= codes
    unknown = {item.reference for item in news} - codes.keys()
    ws.groups |= find_groups(ws.tx, unknown) if unknown else {}
    shared = {order_id for group in ws.groups.values() for order_id in group.orders}
    told = shared.union(codes.values())
    needs = needs_of(orders, told, shared)
    keys = [(account_id, order.external_id) for account_id, order in orders]
    find_orders(ws, keys, also=told, part=needs.part_of if parts else None)
    skus = {line["sku"] for order_id in told for line in ws.dossiers[order_id].fulfilment_lines.values()}
    if needs.over:
        orders = [pair for pair, key in zip(orders, keys, strict=True) if key not in needs.over]
    wanted = {(account_id, line.external_sku) for account_id, order in orders for line in order.lines}
    if ws.by_external:
        stored = [ws.by_external.get((account_id, order.external_id)) for account_id, order in orders]
        plans = [ws.dossiers[order_id].fulfilment_lines for order_id in stored if order_id is not None]
        skus |= {line["sku"] for plan in plans for line in plan.values()}
    load_goods(ws, wanted, skus)
    hashed = ((account_id, known_buyer(ws, order)) for account_id, order in orders)
    buyers = ((account_id, buyer) for account_id, buyer in hashed if buyer)
    count_history(ws, buyers, (account_id for account_id, _ in orders))
    if news:
        owners = find_tracking_owners(ws.tx, (parcel.tracking for item in news for parcel in item.parcels))
        for document in read:
            document.owners = owners


def _apply(ws: Workspace, document: Read) -> tuple[int | None, str, str | None]:
    if document.error is None:
        try:
            if document.order is not None:
                account = ws.directory.accounts[document.row["source_id"]]
                again = document.again and _is_current(ws, document)
                order_id, state = take_order(ws, account, document.order, document.row["id"], again=again)
                return order_id, state, None
            return _apply_news(ws, document)
        except RetryableError:
            raise  # nothing is wrong with the document: the whole batch comes again
        except HubError as error:
            document.error = error
    _except(ws, document.row, document.error)
    return None, "exception", document.error.code


def _is_current(ws: Workspace, document: Read) -> bool:
    """Whether the stored order was made from this very document: only then reading it again is no older version."""
    known = ws.by_external.get((document.row["source_id"], document.row["external_id"]))
    return known is not None and ws.dossiers[known].order["inbox_id"] == document.row["id"]


def _apply_news(ws: Workspace, document: Read) -> tuple[int | None, str, str | None]:
    order_id: int | None = None
    for news in document.news:
        group = ws.groups.get(news.reference)
        if group is not None:
            order_id = take_merged_news(ws, group, news, document.owners)
            _own(document, news, group.orders)
            continue
        found = _order_of(ws, news.reference)
        if found is None:
            raise MappingError("tracking_unknown_order", f"no fulfilment has the code {news.reference[:60]!r}")
        order_id = found
        dossier = ws.dossier(order_id)
        take_news(ws, dossier, news, document.owners)
        ws.keep(dossier)
        _own(document, news, {order_id})
    return order_id, "done", None


def _own(document: Read, news: ShippingNews, order_ids: Iterable[int]) -> None:
    """What comes later in this batch knows whose these parcels are."""
    for parcel in news.parcels:
        owners = document.owners
        if isinstance(owners, dict):
            owners.setdefault(parcel.tracking, set()).update(order_ids)


def _order_of(ws: Workspace, code: str) -> int | None:
    if (known := ws.codes.get(code)) is not None:
        return known
    for order_id, dossier in ws.dossiers.items():
        if any(row["code"] == code for row in dossier.fulfilments.values()):
            return order_id
    return None


def _subject(row: Row) -> str:
    return f"document:{row['source_kind']}:{row['source_id']}:{row['kind']}:{row['external_id']}"


def _except(ws: Workspace, row: Row, error: HubError) -> None:
    account = ws.directory.accounts.get(row["source_id"]) if row["source_kind"] == "account" else None
    ws.loose.append(
        exception_row(
            ws,
            error.code,
            _subject(row),
            _told(row, error),
            account_id=account.id if account else None,
            partner_id=account.partner_id if account else None,
            inbox_id=row["id"],
        )
    )


def _told(row: Row, error: HubError) -> dict[str, Any]:
    path = error.path if isinstance(error, MappingError) else ""
    return {
        "problems": [{"path": path, "detail": error.detail, "candidates": []}],
        "external_id": row["external_id"],
        "document": row["kind"],
    }


def _clear_cured(ws: Workspace, cured: Sequence[Read]) -> None:
    """A document that reads well again resolves the exceptions of its earlier versions - never those of a later one."""
    newest: dict[str, int] = {}
    for document in cured:
        subject = _subject(document.row)
        newest[subject] = max(newest.get(subject, 0), document.row["id"])
    open_rows = [row for row in load_open_subjects(ws.tx, newest) if (row["inbox_id"] or 0) <= newest[row["subject"]]]
    for row in open_rows:
        row |= {
            "state": "resolved",
            "resolved_at": ws.now,
            "resolved_by": "hub",
            "resolution": "the document reads well now",
        }
    save_resolutions(ws.tx, open_rows)


def _point_to_newest(ws: Workspace, failed: Sequence[Read]) -> None:
    """A later version with the same fault: the open exception is about it now, so that a retry reads what the source said
    last."""
    latest = {(_subject(each.row), each.error.code): each for each in failed if each.error and each.row["seq"] > 1}
    moved = []
    for row in load_open_subjects(ws.tx, {subject for subject, _ in latest}):
        document = latest.get((row["subject"], row["code"]))
        if document is not None and document.error is not None and (row["inbox_id"] or 0) < document.row["id"]:
            told = _told(document.row, document.error)
            moved.append(
                row | {"inbox_id": document.row["id"], "detail": ws.hub.vault.seal_json(DETAIL, row["id"], told)}
            )
    save_documents(ws.tx, moved)


def _quarantine(hub: Hub, inbox_id: int, error: Exception) -> int:
    """A document whose transaction fails by itself becomes an exception with its reason."""
    if isinstance(error, RetryableError):
        raise error
    known = error if isinstance(error, HubError) else MappingError("unabsorbable", type(error).__name__)
    with hub.write() as tx:
        ws = open_workspace(hub, tx, hub.clock())
        rows = claim_documents(tx, [inbox_id])
        for row in rows:
            _except(ws, row, known)
            settle_documents(tx, [{"id": row["id"], "state": "exception", "order_id": None, "error": known.code}])
        write_workspace(ws)
        return len(rows)
