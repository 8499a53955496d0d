"""Documents in the order of their last change: the index behind every list call."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

Entry = tuple[int, int]  # (epoch seconds of the change, document id)


@dataclass(slots=True)
class TimeIndex:
    """Sorted (second, id) pairs. One id may stand twice: a list that still shows an older version of a document does that."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, second: int, ident: int) -> None:
        """Show the document under this second."""
        insort(self.entries, (second, ident))

    def move(self, old: int, new: int, ident: int) -> None:
        """The document changed: it stands under `new` from now on."""
        at = bisect_left(self.entries, (old, ident))
        if at < len(self.entries) and self.entries[at] == (old, ident):
            del self.entries[at]
        insort(self.entries, (new, ident))

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Positions [low, high) of the entries with first <= second <= last."""
        return bisect_left(self.entries, (first, 0)), bisect_left(self.entries, (last + 1, 0))

    def after(self, entry: Entry) -> int:
        """Position of the first entry behind `entry`."""
        return bisect_left(self.entries, (entry[0], entry[1] + 1))
