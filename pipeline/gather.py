"""Calls that come at the same time share one transaction: the first waits a few milliseconds for company, then all are
handled together and each gets its own answer. Group commit, for anything that is answered only after its commit."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Gather(Generic[Item, Result]):
    """Hands lists of at most `limit` items to `handle`, which returns one result (or an exception) per item, in order. When
    `handle` itself fails, every item of that list gets the failure."""

    def __init__(
        self,
        handle: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        name: str,
        limit: int = 64,
        wait: float = 0.003,
    ) -> None:
        self._handle, self._limit, self._wait, self._name = handle, limit, wait, name
        self._queue: queue.SimpleQueue[tuple[Item, Future[Result]] | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, item: Item) -> Future[Result]:
        """Hand in one item; the future has its result after the commit that holds it."""
        future: Future[Result] = Future()
        self._queue.put((item, future))
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name=self._name)
                self._thread.start()
        return future

    def close(self) -> None:
        """Handle what was handed in, then end the thread; nothing may be handed in afterwards."""
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            self._queue.put(None)
            thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            # Not woken for each: that costs more than handing it in.
            if self._queue.qsize() < self._limit - 1:
                time.sleep(self._wait)
            last = self._fill(batch)
            self._serve(batch)
            if last:
                return

    def _fill(self, batch: list[tuple[Item, Future[Result]]]) -> bool:
        """Add what has come meanwhile, as far as there is room; whether nothing comes any more."""
        while len(batch) < self._limit:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return False
            if item is None:
                return True
            batch.append(item)
        return False

    def _serve(self, batch: Sequence[tuple[Item, Future[Result]]]) -> None:
        try:
            results: Sequence[Result | Exception] = self._handle([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - whoever waits gets it; the thread lives on
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
