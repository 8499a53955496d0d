"""Ways to read a list page by page, as generators over a `fetch` callable. They know how lists lie; they know no
channel.

Common rules: pages are bounded; the same page or token three times is `paging_loop`; a page that is no list is an
error, never "no orders" (promises.md section 3 and section 4 rows 9-12, 43-48; live-servers.md "what these servers
did", 2026-11-21, H). Every error raised here is a RetryableError, because the cursor has not moved: **move the
watermark only when the generator has ended.**
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

from domain.errors import RefusedError, RetryableError

R = TypeVar("R")
T = TypeVar("T", bound=Hashable)

_REPEATS = 3
_MOST_PAGES = 10_000


@dataclass(frozen=True, slots=True)
class Batch(Generic[R]):
    """One page: its `records`, the `token` (or page number, offset, address) that fetched it, the `next` one (None: the
    end).
    """

    records: Sequence[R]
    token: Any
    next: Any


def windows(start: datetime, end: datetime, span: timedelta, overlap: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Consecutive (from, to) pairs that cover [`start` - `overlap`, `end`], oldest first, none longer than `span`.

    Neighbours share `overlap` as well, so it does not matter whether the source includes its bounds. `span` must exceed
    `overlap`.
    """
    if span <= overlap or overlap < timedelta(0):
        raise ValueError("span must exceed overlap, and overlap is not negative")
    begin = start - overlap
    while begin < end:
        stop = min(begin + span, end)
        yield begin, stop
        if stop >= end:
            return
        begin = stop - overlap


def cursor(
    fetch: Callable[[T | None], tuple[Sequence[R], T | None]],
    *,
    start: T | None = None,
    max_pages: int = _MOST_PAGES,
    empty_pages: int = 1,
) -> Iterator[Batch[R]]:
    """Follow opaque tokens: `fetch(token)` gives records and the next token (None or "" ends).

    `empty_pages` says how many empty pages in a row that promise more are believed. Raises RetryableError
    `paging_loop`, `paging_empty`, `paging_endless` or `page_unreadable`.
    """
    guard = _Guard(max_pages)
    token, empty = start, 0
    while True:
        records, following = fetch(token)
        guard.see(token, records)
        following = following or None
        empty = 0 if records else empty + 1
        if following is not None and empty > empty_pages:
            raise RetryableError("paging_empty", "empty pages that promise more")
        yield Batch(records, token, following)
        if following is None:
            return
        token = following


def page_number(
    fetch: Callable[[int], tuple[Sequence[R], bool | None, int | None]],
    *,
    size: int,
    start: int = 1,
    max_pages: int = _MOST_PAGES,
) -> Iterator[Batch[R]]:
    """Count pages up from `start`: `fetch(page)` gives records, whether more follow, and the total; None for what it
    does not say.

    The end is what the source says (more, else total), and only without either a page shorter than `size`. Raises
    RetryableError `count_mismatch` when fewer records than the total came or an empty page promises more twice, and as
    `cursor`.
    """
    guard = _Guard(max_pages)
    page, got, empty = start, 0, 0
    while True:
        records, more, total = fetch(page)
        guard.see(page, records)
        got += len(records)
        empty = 0 if records else empty + 1
        if more is None:
            more = got < total and bool(records) if total is not None else len(records) >= size
        if more and empty > 1:
            raise RetryableError("count_mismatch", "empty pages that promise more")
        if not more and total is not None and got < total:
            raise RetryableError("count_mismatch", f"{got} of {total}")
        yield Batch(records, page, page + 1 if more else None)
        if not more:
            return
        page += 1


def last_page_first(
    count_fetch: Callable[[], int],
    page_fetch: Callable[[int], Sequence[R]],
    size: int,
    *,
    key: Callable[[R], Hashable] = repr,
    max_pages: int = _MOST_PAGES,
) -> Iterator[Batch[R]]:
    """Count first, then read pages N, N-1 … 1, for lists sorted newest first whose records leave while being read
    (Taobao increments).

    A record that changes leaves the window and moves the older ones towards page 1, which is still to come: seen twice,
    never missed. If fewer distinct records than counted came, the count is asked again; still fewer is
    `count_mismatch`. Source: facts taobao.md section 4 (2026-11-21, H).
    """
    total = count_fetch()
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise RetryableError("page_unreadable", "no total")
    pages = -(-total // size)
    guard = _Guard(max_pages)
    if pages > max_pages:
        raise RetryableError("paging_endless", f"{pages} pages")
    seen: set[Hashable] = set()
    for page in range(pages, 0, -1):
        records = page_fetch(page)
        guard.see(page, records)
        seen.update(key(record) for record in records)
        if page == 1 and len(seen) < total and len(seen) < count_fetch():
            raise RetryableError("count_mismatch", f"{len(seen)} of {total}")
        yield Batch(records, page, page - 1 or None)


def link_header(
    fetch: Callable[[str], tuple[Sequence[R], str]], first: str, *, max_pages: int = _MOST_PAGES
) -> Iterator[Batch[R]]:
    """Follow `rel="next"` of the Link header (RFC 8288): `fetch(url)` gives records and the header's value ("" when
    absent).

    The scheme and host of `first` are kept (servers behind proxies print a wrong scheme, and our credentials must not
    travel to a host the reply names): a link to another host is RefusedError `link_refused`. Otherwise raises as
    `cursor`.
    """

    def step(url: str | None) -> tuple[Sequence[R], str | None]:
        records, header = fetch(url or first)
        target = next_link(header)
        return records, _same_host(first, url or first, target) if target else None

    return cursor(step, start=first, max_pages=max_pages)


def next_link(header: str) -> str | None:
    """The target of `rel="next"` in a Link header's value, None if there is none. Never raises."""
    rest = header[:16384]
    while "<" in rest:
        target, _, rest = rest.partition("<")[2].partition(">")
        parameters = rest.partition("<")[0]
        for each in parameters.replace(",", ";").split(";"):
            name, _, value = each.partition("=")
            if name.strip().lower() == "rel" and "next" in value.strip().strip('"').lower().split():
                return target.strip()
    return None


def offset_stable(
    fetch: Callable[[int], tuple[Sequence[R], int | None]],
    *,
    size: int,
    key: Callable[[R], Hashable] = repr,
    passes: int = 4,
    max_pages: int = _MOST_PAGES,
) -> Iterator[Batch[R]]:
    """Read a list by offset, again and again until two passes see the same records: offsets move when records come and
    go.

    `fetch(offset)` gives up to `size` records and the total if known. Only records not yet seen are yielded. One page
    that is not full is stable by itself. Raises RetryableError `paging_unstable` after `passes`, and as `cursor`.
    """
    before: set[Hashable] | None = None
    seen: set[Hashable] = set()
    for _ in range(passes):
        now: set[Hashable] = set()
        pages = 0
        for batch in _offset_pass(fetch, size, max_pages):
            pages += 1
            now.update(key(record) for record in batch.records)
            fresh = [record for record in batch.records if key(record) not in seen]
            seen.update(key(record) for record in fresh)
            if fresh:
                yield Batch(fresh, batch.token, batch.next)
        if pages == 1 or now == before:
            return
        before = now
    raise RetryableError("paging_unstable", f"{passes} passes saw different records")


def _offset_pass(
    fetch: Callable[[int], tuple[Sequence[R], int | None]], size: int, max_pages: int
) -> Iterator[Batch[R]]:
    guard = _Guard(max_pages)
    offset = 0
    while True:
        records, total = fetch(offset)
        guard.see(offset, records)
        if not records and total is not None and offset < total:
            raise RetryableError("count_mismatch", f"{offset} of {total}")
        following = offset + len(records)
        more = bool(records) and (following < total if total is not None else len(records) >= size)
        yield Batch(records, offset, following if more else None)
        if not more:
            return
        offset = following


class _Guard:
    """Counts pages, and stops when a token or the content of a page comes for the third time."""

    def __init__(self, max_pages: int) -> None:
        self._max_pages = max_pages
        self._pages = 0
        self._tokens: Counter[Hashable] = Counter()
        self._last: Sequence[Any] | None = None
        self._same = 1

    def see(self, token: Hashable, records: object) -> None:
        if not isinstance(records, (list, tuple)):
            raise RetryableError("page_unreadable", "a list of records is due")
        self._pages += 1
        if self._pages > self._max_pages:
            raise RetryableError("paging_endless", f"more than {self._max_pages} pages")
        self._tokens[token] += 1
        self._same = self._same + 1 if records and records == self._last else 1
        self._last = records
        if self._tokens[token] >= _REPEATS or self._same >= _REPEATS:
            raise RetryableError("paging_loop", "the same page three times")


def _same_host(first: str, current: str, target: str) -> str:
    origin, found = urlsplit(first), urlsplit(urljoin(current, target))
    if found.hostname != origin.hostname or (found.port is not None and found.port != origin.port):
        raise RefusedError("link_refused", "the next page is on another host")
    return urlunsplit((origin.scheme, origin.netloc, found.path, found.query, ""))
