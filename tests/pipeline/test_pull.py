"""A cursor is never ahead of its rows, whatever goes wrong between two pages (P6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from connectors._channel import Document, Page, Session, Since
from domain.errors import ConfigError, HubError, RetryableError
from pipeline.absorb import absorb_all
from pipeline.directory import Account, read_directory
from pipeline.pull import AHEAD, LEASE, pull_due, pull_stream
from storage import tables as t
from storage.cursors import claim_cursors
from storage.database import is_sqlite
from storage.rows import Row
from storage.times import micros, moment, span

from .build import NOW, Shop, encoded, trade

Pull = Callable[[Session, Since], Iterator[Page]]
TIDS = [f"421234567890023400{n}" for n in range(6)]


def document(tid: str, at: int = 0) -> Document:
    told = trade(tid, at)
    version = told["trade_fullinfo_get_response"]["trade"]["modified"]
    return Document(kind="order", external_id=tid, body=encoded(told), version=version)


def page(*tids: str, token: str = "", seen: int | None = None) -> Page:
    seen_to = None if seen is None else NOW + timedelta(minutes=seen)
    return Page(documents=tuple(document(tid) for tid in tids), next=token, seen_to=seen_to)


def account_of(shop: Shop, pull: Pull) -> Account:
    with shop.hub.read() as tx:
        account = read_directory(shop.hub, tx).account("tb")
    return replace(account, channel=replace(account.channel, pull=pull, fetch=None))


def claim(shop: Shop, stream: str = "poll", token: int = 1) -> Row:
    with shop.hub.write() as tx:
        rows = claim_cursors(tx, now=shop.hub.now(), lease=span(LEASE), token=token, limit=9)
    return next(row for row in rows if row["stream"] == stream)


def cursor(shop: Shop, stream: str = "poll") -> Row:
    (row,) = shop.rows(t.cursors, t.cursors.c.stream == stream)
    return row


def read(shop: Shop, pages: Pull) -> int:
    return pull_stream(shop.hub, account_of(shop, pages), claim(shop))


def stored(shop: Shop) -> list[str]:
    return [row["external_id"] for row in shop.rows(t.inbox)]


def test_every_page_moves_the_cursor_with_its_rows(shop: Shop) -> None:
    seen: list[tuple[str, str]] = []

    def pages(_: Session, since: Since) -> Iterator[Page]:
        for n in range(3):
            seen.append((cursor(shop)["page"], ",".join(stored(shop))))
            yield page(TIDS[n], token=f"p{n + 1}", seen=n - 10)

    assert read(shop, pages) == 3
    assert seen == [("", ""), ("p1", TIDS[0]), ("p2", ",".join(TIDS[:2]))]
    row = cursor(shop)
    assert (row["page"], row["failures"], row["lease_until"]) == ("", 0, 0)
    assert row["watermark"] == micros(NOW + timedelta(minutes=-8))
    absorb_all(shop.hub)
    assert len(shop.rows(t.orders)) == 3


@pytest.mark.parametrize("error", [RetryableError("http_503"), RetryableError("truncated")])
def test_a_failing_page_is_asked_for_again_from_where_the_rows_are(shop: Shop, error: HubError) -> None:
    asked: list[str] = []

    def pages(_: Session, since: Since) -> Iterator[Page]:
        asked.append(since.token)
        if not since.token:
            yield page(TIDS[0], token="p1", seen=-10)
            raise error
        yield page(TIDS[1], seen=-5)

    assert read(shop, pages) == 0
    row = cursor(shop)
    assert (row["page"], row["failures"], row["error"]) == ("p1", 1, error.code)
    assert row["due_at"] > shop.hub.now()
    shop.clock.wait(hours=1)
    assert read(shop, pages) == 1
    assert (asked, stored(shop)) == (["", "p1"], TIDS[:2])


def test_a_page_whose_rows_could_not_be_stored_does_not_move_the_cursor(shop: Shop) -> None:
    before = cursor(shop)
    when = f"new.external_id = '{TIDS[1]}'"
    with shop.hub.write() as tx:
        small = is_sqlite(tx)
        if small:
            tx.execute(
                text(f"create trigger full before insert on inbox when {when} begin select raise(abort, ''); end")
            )
        else:
            body = f"begin if {when} then raise exception 'full'; end if; return new; end"
            tx.execute(text(f"create function full_() returns trigger language plpgsql as $${body}$$"))
            tx.execute(text("create trigger full_ before insert on inbox for each row execute function full_()"))

    def pages(_: Session, since: Since) -> Iterator[Page]:
        yield page(*TIDS[:2], token="p1", seen=-1)
        yield page(TIDS[2])

    try:
        with pytest.raises(DatabaseError):
            read(shop, pages)
    finally:
        with shop.hub.write() as tx:
            tx.execute(text("drop trigger full" if small else "drop function full_ cascade"))
    row = cursor(shop)
    assert (row["page"], row["watermark"], stored(shop)) == ("", before["watermark"], [])
    shop.clock.wait(hours=1)
    assert read(shop, pages) == 3


def test_a_token_that_fails_three_times_is_given_up_and_the_window_read_anew(shop: Shop) -> None:
    asked: list[str] = []

    def pages(_: Session, since: Since) -> Iterator[Page]:
        asked.append(since.token)
        if since.token:
            raise RetryableError("unexpected_reply")
        yield page(TIDS[0], token="dead")

    read(shop, pages)
    with shop.hub.write() as tx:
        # As a page left it whose successor could not be read.
        tx.execute(t.cursors.update().where(t.cursors.c.stream == "poll").values(page="dead", failures=0))
    for _ in range(4):
        shop.clock.wait(hours=1)
        row = claim(shop)
        start = micros(NOW - timedelta(hours=1))
        row |= {"window_start": row["window_start"] or start, "window_end": row["window_end"] or micros(NOW)}
        pull_stream(shop.hub, account_of(shop, pages), row)
    assert asked == ["", "dead", "dead", "dead", ""]


def test_the_watermark_is_never_beyond_now_and_five_minutes(shop: Shop) -> None:
    read(shop, lambda *_: iter([page(TIDS[0], seen=60 * 24 * 365 * 70)]))
    assert moment(cursor(shop)["watermark"]) <= shop.clock.at + AHEAD


def test_the_watermark_never_goes_back(shop: Shop) -> None:
    read(shop, lambda *_: iter([page(TIDS[0], seen=-1)]))
    shop.clock.wait(hours=1)
    read(shop, lambda *_: iter([page(TIDS[1], seen=-500)]))
    assert moment(cursor(shop)["watermark"]) == NOW + timedelta(minutes=-1)


def test_the_next_poll_looks_back_over_the_watermark(shop: Shop) -> None:
    starts = []

    def pages(_: Session, since: Since) -> Iterator[Page]:
        starts.append(since.start)
        yield page(TIDS[0], seen=-1)

    read(shop, pages)
    shop.clock.wait(hours=1)
    read(shop, pages)
    assert starts[1] == NOW + timedelta(minutes=-1) - timedelta(minutes=15)
    assert stored(shop) == [TIDS[0]]


def test_a_reader_that_was_overtaken_writes_nothing(shop: Shop) -> None:
    late = claim(shop)

    def pages(_: Session, since: Since) -> Iterator[Page]:
        shop.clock.wait(minutes=10)
        claim(shop, token=2)
        yield page(TIDS[0], token="p1", seen=-1)

    assert pull_stream(shop.hub, account_of(shop, pages), late) == 0
    assert (stored(shop), cursor(shop)["token"], cursor(shop)["page"]) == ([], 2, "")


def test_expired_credentials_stop_the_account_and_tell_a_person_once(shop: Shop) -> None:
    def pages(_: Session, since: Since) -> Iterator[Page]:
        raise ConfigError("session_expired", "authorise again")
        yield page()

    row = claim(shop)
    pull_stream(shop.hub, account_of(shop, pages), row)
    assert shop.open_codes() == ["connection_stopped"]
    shop.clock.wait(days=1)
    assert pull_due(shop.hub) == 0
    assert [r["state"] for r in shop.rows(t.accounts, t.accounts.c.name == "tb")] == ["stopped"]


def test_a_sweep_never_moves_the_watermark(shop: Shop) -> None:
    shop.clock.wait(days=2)
    before = cursor(shop)["watermark"]
    row = claim(shop, "day")
    assert pull_stream(shop.hub, account_of(shop, lambda *_: iter([page(TIDS[0], seen=-1)])), row) == 1
    assert cursor(shop)["watermark"] == before
    assert cursor(shop, "day")["watermark"] == before
