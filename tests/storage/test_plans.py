"""No question that is asked again and again walks a table that grows, and no index is kept that no question needs.

Every statement below is run and the database asked how it would find the rows. On PostgreSQL, where small tables are
always walked, walking is made expensive first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event

from storage import (
    archives,
    counts,
    due,
    exception_lists,
    exceptions,
    fulfilments,
    idempotency,
    inbox,
    limits,
    merges,
    nodes,
    order_lists,
    order_reads,
    orders,
    outbox,
    replays,
    rows,
)
from storage import tables as t
from storage.asking import _PLANS, Question
from storage.database import is_sqlite
from storage.lines import _numbered

from .conftest import NOW, Store

Ask = Callable[[Connection], object]
GROWS = {"orders", "order_lines", "fulfilments", "fulfilment_lines", "packages", "package_lines", "inbox", "outbox"}
GROWS |= {"events", "decisions", "exceptions", "archives", "idempotency"}
WHO = [(7, b"h" * 16), (8, b"i" * 16)]
LATEST = [("account", 7, "order", "a"), ("account", 7, "order", "b")]


def changed(**told: Any) -> Ask:
    plain = {
        "after": (5, 6),
        "partner_id": None,
        "status": "",
        "account_ids": None,
        "ids": None,
        "window": 9,
        "limit": 9,
    }
    return lambda tx: order_lists.list_changed_orders(tx, **(plain | told))


def plain(about: Callable[[Connection], list[Question]]) -> Ask:
    """The very questions that go to the driver as they are, told by SQLAlchemy, where they can be heard."""
    return lambda tx: [tx.execute(each.query, dict(each.values)).all() for each in about(tx)]


def newest(**told: Any) -> Ask:
    plain: dict[str, Any] = {"before": 9, "status": "", "account_id": None, "ids": None, "window": 9, "limit": 9}
    return lambda tx: order_lists.list_newest_orders(tx, **(plain | told))


def excepted(state: str, **told: Any) -> Ask:
    return lambda tx: exception_lists.list_exceptions(tx, state, **({"after": 5, "limit": 9} | told))


def found(text: str, tail: bytes | None = None, partner: int | None = None) -> Ask:
    return lambda tx: order_lists.find_order_ids(
        tx, text, account_ids=[7, 8], tail_hash=tail, limit=9, partner_id=partner
    )


# name of the question: how it is asked, and the indexes it is there for
QUESTIONS: dict[str, tuple[Ask, set[str]]] = {
    # pages
    "orders by last change": (changed(), {"ix_orders_updated"}),
    "orders of a status by last change": (changed(status="closed"), {"ix_orders_updated"}),
    "a partner's orders by last change": (changed(partner_id=3), {"ix_orders_partner"}),
    "newest orders": (newest(), set()),
    "newest orders of a status": (newest(status="closed"), set()),
    "newest orders of an account": (newest(account_id=7), set()),
    "newest orders among some": (newest(ids=[1, 2]), set()),
    "an account's orders": (lambda tx: order_lists.list_account_orders(tx, 7, after=5, limit=9), set()),
    "search": (found("PO-1"), {"uq_orders_identity", "ix_packages_tracking"}),
    "search by phone": (found("1234", b"t" * 16), {"ix_orders_tail"}),
    "a partner's search": (found("1234", b"t" * 16, 3), {"ix_orders_tail"}),
    "open exceptions": (excepted("open"), {"ix_exceptions_state"}),
    "open exceptions of a code": (excepted("open", code="x"), {"ix_exceptions_state"}),
    "resolved exceptions": (excepted("resolved", newest_first=True, window=9, code="x"), {"ix_exceptions_state"}),
    "an order's exceptions": (lambda tx: exception_lists.list_order_exceptions(tx, 1, 9), {"ix_exceptions_order"}),
    "stuck orders": (lambda tx: exception_lists.find_stuck_orders(tx, [1, 2]), {"ix_exceptions_order"}),
    "documents that wait for a person": (
        lambda tx: exception_lists.list_unread_documents(tx, 7),
        {"ix_exceptions_order"},
    ),
    "warehouses of a page": (lambda tx: order_reads.load_warehouses_of(tx, [1, 2]), {"ix_fulfilments_order"}),
    "an order's decisions": (lambda tx: order_reads.load_newest_decisions(tx, 1, 3), {"ix_decisions_order"}),
    "pushed orders": (lambda tx: order_reads.find_pushed_orders(tx, [1, 2]), {"ix_outbox_order"}),
    # figures
    "open exceptions, counted": (lambda tx: counts.count_exceptions(tx, "open", 9), {"ix_exceptions_state"}),
    "exceptions by code": (lambda tx: counts.count_exceptions_by_code(tx, "open", 9), {"ix_exceptions_state"}),
    "a partner's exceptions by code": (
        lambda tx: counts.count_exceptions_by_code(tx, "open", 9, partner_id=3),
        {"ix_exceptions_state"},
    ),
    "orders by status": (lambda tx: counts.count_orders_by_status(tx, 9), {"ix_orders_updated"}),
    "a partner's orders by status": (
        lambda tx: counts.count_orders_by_status(tx, 9, partner_id=3),
        {"ix_orders_partner"},
    ),
    "orders by hour": (lambda tx: counts.count_orders_by_time(tx, since_id=5, span=9, limit=9), set()),
    "work by warehouse": (lambda tx: counts.count_warehouse_work(tx, 9), {"ix_outbox_work"}),
    "documents that wait": (lambda tx: counts.count_new_documents(tx, 9), {"ix_inbox_new"}),
    "effects that are due": (lambda tx: counts.count_due_effects(tx, now=NOW, limit=9), {"ix_outbox_work"}),
    "anything unfinished": (
        plain(lambda _: [counts.UNFINISHED]),
        {"ix_inbox_new", "ix_outbox_work", "ix_outbox_waiting"},
    ),
    # work
    "documents to absorb": (plain(lambda _: [inbox.about_due(9)]), {"ix_inbox_new"}),
    "a part of them": (plain(lambda _: [inbox.about_due(9, (1, 4))]), {"ix_inbox_new"}),
    "documents by id": (plain(lambda tx: inbox.about_claims(tx, [1, 2])), set()),
    "older versions that wait": (plain(lambda tx: [inbox.about_older(tx, [1, 2])]), {"uq_inbox_identity"}),
    "versions of documents": (plain(lambda tx: inbox.about_latest(tx, LATEST)), {"uq_inbox_identity"}),
    "kept replies": (plain(lambda tx: idempotency.about_replies(tx, [(7, "s", "a"), (7, "s", "b")])), set()),
    "replies to forget": (lambda tx: idempotency.delete_expired_replies(tx, now=NOW), {"ix_idempotency_expires_at"}),
    "orders by identity": (plain(lambda tx: orders.about_orders(tx, [(7, "a"), (8, "b")])), {"uq_orders_identity"}),
    "finished orders": (plain(lambda tx: orders.about_finished(tx, 7, ["a", "b"])), {"uq_orders_identity"}),
    "orders of buyers": (plain(lambda tx: orders.about_buyers(tx, WHO, since=NOW)), {"ix_orders_buyer"}),
    "orders ever sent": (lambda tx: orders.count_sent(tx, [7, 8], most=9), set()),
    "reservations that end": (lambda tx: orders.list_reservations_due(tx, now=NOW, limit=9), {"ix_orders_reserved"}),
    "lines that wait for a listing": (
        lambda tx: orders.list_waiting_for_listings(tx, ["x"], ["A"], account_id=7, after=(0, 0), limit=9),
        {"ix_exceptions_state"},
    ),
    "lines that wait for stock": (
        lambda tx: orders.list_waiting_for_stock(tx, ["x"], ["A"], after=(0, 0), limit=9),
        {"ix_exceptions_state"},
    ),
    "parts that wait for stock": (
        lambda tx: orders.list_waiting_parts(tx, ["A"], after=(0, 0), limit=9),
        {"ix_fulfilments_waiting"},
    ),
    "a claim of the outbox": (
        plain(lambda tx: [outbox.about_claim(tx, now=NOW, limit=9, targets=[4], only=None)]),
        {"ix_outbox_work"},
    ),
    "a claim for one target": (
        plain(lambda tx: [outbox.about_claim(tx, now=NOW, limit=9, targets=[], only=4)]),
        {"ix_outbox_target"},
    ),
    "the next effect": (plain(lambda _: [outbox.about_next()]), {"ix_outbox_work"}),
    "the next effect of one target": (plain(lambda _: [outbox.about_next(4)]), {"ix_outbox_target"}),
    "whose claims": (plain(lambda tx: [outbox.about_tokens(tx, [1, 2])]), set()),
    "what is claimed": (plain(lambda tx: [outbox.about_pushes(tx, [1, 2], 7)]), set()),
    "targets with work": (lambda tx: due.list_due_targets(tx, now=NOW), {"ix_outbox_target"}),
    "is a document waiting": (due.is_inbox_waiting, {"ix_inbox_new"}),
    "warehouses to ask": (lambda tx: due.list_due_news(tx, now=NOW), {"ix_fulfilments_news"}),
    "fulfilments to ask about": (
        lambda tx: fulfilments.claim_news_due(tx, now=NOW, again=NOW, limit=9),
        {"ix_fulfilments_news"},
    ),
    "is a fulfilment to be asked about": (
        lambda tx: fulfilments.any_news_due(tx, now=NOW),
        {"ix_fulfilments_news"},
    ),
    "fulfilments by code": (plain(lambda tx: fulfilments.about_codes(tx, ["a", "b"])), {"uq_fulfilments_code"}),
    "owners of tracking numbers": (
        plain(lambda tx: fulfilments.about_numbers(tx, ["a", "b"])),
        {"ix_packages_tracking"},
    ),
    "what waits or travels with others": (plain(lambda tx: [merges.about_marked(tx, [1, 2])]), set()),
    "who waits to travel together": (lambda tx: merges.load_waiting(tx, b"k"), {"ix_fulfilments_merge_key"}),
    "who travels together": (lambda tx: merges.load_members(tx, [1, 2]), {"ix_fulfilments_merge"}),
    "orders with goods in one parcel": (lambda tx: merges.list_mates(tx, 1), {"ix_fulfilments_merge"}),
    "what is open about a subject": (
        plain(lambda tx: exceptions.about_subjects(tx, ["a", "b"])),
        {"uq_exceptions_open"},
    ),
    "resolving a subject": (
        lambda tx: exceptions.resolve_subject(tx, "a", now=NOW, by="x", how="y"),
        {"uq_exceptions_open"},
    ),
    "resolving a code": (
        lambda tx: exceptions.resolve_code(tx, "a", "c", now=NOW, by="x", how="y"),
        {"uq_exceptions_open"},
    ),
    "pointing at a newer document": (
        lambda tx: exceptions.point_exceptions(tx, [{"subject": "a", "code": "c", "id": 1, "inbox_id": 2}]),
        {"uq_exceptions_open"},
    ),
    "orders that can be cured": (
        lambda tx: exceptions.list_curable_orders(tx, ["x"], account_id=None, limit=9),
        {"ix_exceptions_state"},
    ),
    "what was snoozed": (lambda tx: exceptions.wake_exceptions(tx, now=NOW), {"ix_exceptions_state"}),
    "orders over their credit": (lambda tx: limits.list_exceeded(tx, limit=9), {"ix_exceptions_state"}),
    # Once after every change of a limit: all orders of these accounts are read.
    "credit in use": (lambda tx: limits.sum_open_orders(tx, accounts=[7, 8], currency="CNY"), {"ix_orders_buyer"}),
    "the newest id": (nodes.newest_id, set()),
    "decisions, newest first": (lambda tx: replays.list_decisions(tx, before=9, since=0, limit=9), set()),
    # dossiers
    "outbox of orders": (
        lambda tx: list(rows.load_rows(tx, t.outbox, t.outbox.c.order_id, [1, 2])),
        {"ix_outbox_order"},
    ),
    "lines of orders": (lambda tx: list(rows.load_rows(tx, t.order_lines, t.order_lines.c.order_id, [1, 2])), set()),
    "fulfilments of orders": (lambda tx: order_reads.load_fulfilments(tx, [1, 2]), {"ix_fulfilments_order"}),
    "packages of orders": (lambda tx: order_reads.load_packages(tx, [1, 2]), {"ix_packages_order"}),
    "exceptions of orders": (lambda tx: exception_lists.load_unresolved(tx, [1, 2]), {"ix_exceptions_order"}),
    # archives
    "orders to archive": (
        lambda tx: archives.list_changed(tx, after=(5, 6), until=NOW, limit=9),
        {"ix_orders_updated"},
    ),
    "news of orders": (lambda tx: archives._news(tx, [1, 2]), {"ix_inbox_news"}),
    "archived orders": (lambda tx: archives.list_archived(tx, before=9, limit=9), set()),
}
# Indexes that are there so that something cannot happen twice; all but these must have a question.
PROMISES = {"uq_packages_fulfilment", "uq_outbox_key"}
_NAMES = {
    "orders_1": "uq_orders_identity",
    "uq_orders_account_id_external_id": "uq_orders_identity",
    "inbox_1": "uq_inbox_identity",
    "uq_inbox_source_kind_source_id_kind_external_id_seq": "uq_inbox_identity",
    "fulfilments_1": "uq_fulfilments_code",
    "packages_1": "uq_packages_fulfilment",
    "uq_packages_fulfilment_id_tracking": "uq_packages_fulfilment",
    "outbox_1": "uq_outbox_key",
}


@contextmanager
def listened(tx: Connection) -> Iterator[list[tuple[str, Any]]]:
    """Statements that run meanwhile, with their values."""
    heard: list[tuple[str, Any]] = []

    def hear(_c: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
        heard.append((statement, values[0] if many else values))

    event.listen(tx, "before_cursor_execute", hear)
    yield heard
    event.remove(tx, "before_cursor_execute", hear)


def plan_of(tx: Connection, statement: str, values: Any) -> str:
    word = "EXPLAIN QUERY PLAN " if is_sqlite(tx) else "EXPLAIN "
    cursor = tx.connection.cursor()
    try:
        cursor.execute(word + statement, values)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())
    finally:
        cursor.close()


def kept_plan(tx: Connection, statement: str) -> str:
    """The plan for any values: of those at hand the server sees how few they are, and what they say."""
    cursor = tx.connection.cursor()
    try:
        cursor.execute(f"EXPLAIN (GENERIC_PLAN) {_numbered(statement)[0].decode()}")
        return "\n".join(str(row[0]) for row in cursor.fetchall())
    finally:
        cursor.close()


def walked(plan: str) -> set[str]:
    """Tables that are read from end to end: not by an index, not by their key, and not in the order of their key up to a
    limit that is given (which a plan does not tell from the former on SQLite)."""
    return set(re.findall(r"(?:Seq Scan on|SCAN) (\w+)(?! (?:EXISTS )?USING)", plan))


def used(plan: str) -> set[str]:
    names = re.findall(r"INDEX (\w+)|Index (?:Only )?Scan (?:Backward )?using (\w+)|Bitmap Index Scan on (\w+)", plan)
    told = {next(filter(None, found)).removeprefix("sqlite_autoindex_") for found in names}
    return {_NAMES.get(name, name) for name in told}


# Newest first up to a limit, without a filter: the walk ends with the page.
_BY_KEY = {"newest orders", "the newest id", "orders to archive"}


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_walks_a_table_that_grows(store: Store, name: str) -> None:
    ask, indexes = QUESTIONS[name]
    with store.write() as tx:
        if not is_sqlite(tx):
            tx.exec_driver_sql("set local enable_seqscan = off")
        with listened(tx) as heard:
            ask(tx)
        plans = [plan_of(tx, statement, values) for statement, values in heard if "pg_" not in statement]
    found = {table for plan in plans for table in walked(plan)} & GROWS
    assert not found or name in _BY_KEY, plans
    if is_sqlite(tx):  # where no statistics decide
        assert indexes <= set().union(*map(used, plans)), plans


def test_every_index_of_a_table_that_grows_has_a_question() -> None:
    kept = {str(index.name) for name in GROWS for index in t.metadata.tables[name].indexes}
    uniques = {name for name in _NAMES.values() if not name.startswith("orders_")}
    needed = set().union(*(indexes for _, indexes in QUESTIONS.values()))
    assert kept | (uniques - PROMISES) == needed


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_plan_that_is_kept_for_any_values_walks_a_table_that_grows(pg_store: Store, name: str) -> None:
    with pg_store.write() as tx:
        for setting, value in _PLANS.items():
            tx.exec_driver_sql(f"set local {setting} = {value}")
        with listened(tx) as heard:
            QUESTIONS[name][0](tx)
        plans = [kept_plan(tx, statement) for statement, _ in heard if "pg_" not in statement]
    assert name in _BY_KEY or not {table for plan in plans for table in walked(plan)} & GROWS, plans


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("versions of documents", "external_id"),
        ("orders by identity", "external_id"),
        ("orders of buyers", "buyer_hash"),
    ],
)
def test_a_key_is_looked_up_by_all_of_it_before_the_server_has_counted_rows(
    pg_store: Store, name: str, column: str
) -> None:
    with pg_store.write() as tx:
        for setting, value in _PLANS.items():
            tx.exec_driver_sql(f"set local {setting} = {value}")
        with listened(tx) as heard:
            QUESTIONS[name][0](tx)
        (plan,) = [kept_plan(tx, statement) for statement, _ in heard]
    assert [line for line in plan.splitlines() if "Index Cond" in line and column in line], plan
    assert "Filter" not in plan


@pytest.mark.parametrize("name", ["versions of documents", "orders by identity"])
def test_a_key_is_looked_up_by_all_of_it_in_a_database_that_counts_no_rows(sqlite_store: Store, name: str) -> None:
    with sqlite_store.write() as tx:
        with listened(tx) as heard:
            QUESTIONS[name][0](tx)
        (plan,) = [plan_of(tx, statement, values) for statement, values in heard]
    searched = re.findall(r"SEARCH (?:inbox|orders)\w* .*", plan)
    assert searched, plan
    assert all("external_id=?" in line or "rowid=?" in line for line in searched), plan
