"""Which warehouses together hold everything, as few of them as possible.

The search goes by increasing number of warehouses, and is exact while it needs to look at no more than EXACT_SETS sets,
which always holds for up to 8 warehouses (255 sets) and 1,500 SKUs. Beyond that it is greedy (the warehouse that covers most
of what is left, then superfluous ones dropped, farthest first): what k warehouses cover is a monotone submodular function
with whole values, so greedy needs at most H(d) = 1 + 1/2 + … + 1/d times the fewest possible, d being the most units one
warehouse can cover (Wolsey 1982, Combinatorica 2:385; 2026-11-21, H)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, islice
from math import comb
from typing import Any

EXACT_SETS = 1_000
_EXACT_CELLS = 400_000
_SWAPS = 2_000

Needs = Mapping[str, int]
Group = tuple[int, ...]
Stock = Sequence[Mapping[str, int]]


def choose_fewest(needs: Needs, stock: Stock, most: int) -> Group:
    """The smallest set of at most `most` rows of `stock` (best rank first) that together cover `needs`, as ascending
    positions; () when there is none, or, above the exact search's limit, when greedy finds none."""
    return next(_smallest(needs, stock, most), ())


def smallest_sets(needs: Needs, stock: Stock, most: int, limit: int) -> tuple[list[Group], bool]:
    """The smallest covering sets in rank order, at most `limit` of them, and whether these are all there are. Above the
    exact search's limit the one set that greedy found, and False."""
    found = list(islice(_smallest(needs, stock, most), limit + 1))
    whole = not found or _affordable(len(_useful(needs, stock)), len(needs), len(found[0]))
    return found[:limit], whole and len(found) <= limit


def improve(group: Group, needs: Needs, stock: Stock, key: Callable[[Group], Any], limit: int) -> Group:
    """A covering set of as many rows as `group` that no single exchange makes better by `key` (smaller is better, None:
    impossible), found with at most `limit` calls of `key`. Never worse than `group`."""
    best, best_key, swaps = group, key(group), 0
    rows = _useful(needs, stock)
    better = True
    while better:
        better = False
        for trial in _exchanges(best, rows):
            swaps += 1
            if swaps > _SWAPS or limit <= 0:
                return best
            if not holds_all(needs, [stock[n] for n in trial]):
                continue
            limit -= 1
            trial_key = key(trial)
            if trial_key is not None and (best_key is None or trial_key < best_key):
                best, best_key, better = trial, trial_key, True
                break
    return best


def holds_all(needs: Needs, rows: Stock) -> bool:
    """Whether these rows together hold every unit."""
    return all(sum(max(0, row.get(sku, 0)) for row in rows) >= units for sku, units in needs.items())


def most_of(needs: Needs, stock: Stock, most: int) -> Group:
    """At most `most` rows that together hold as much as a greedy choice finds (at least 1 - 1/e of the most possible,
    Nemhauser, Wolsey and Fisher 1978, Mathematical Programming 14:265; 2026-11-22, M), as ascending positions."""
    useful = _useful(needs, stock)
    rows = [_capped(needs, stock[n]) for n in useful]
    return tuple(sorted(useful[n] for n in _greedy(rows, tuple(needs.values()), most)))


def _exchanges(group: Group, rows: Sequence[int]) -> Iterator[Group]:
    for place in range(len(group)):
        rest = group[:place] + group[place + 1 :]
        for n in rows:
            if n not in group:
                yield tuple(sorted((*rest, n)))


def _capped(needs: Needs, here: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(max(0, min(here.get(sku, 0), units)) for sku, units in needs.items())


def _useful(needs: Needs, stock: Stock) -> list[int]:
    return [n for n, here in enumerate(stock) if any(here.get(sku, 0) > 0 for sku in needs)]


def _affordable(rows: int, skus: int, size: int) -> bool:
    return size == 1 or sum(comb(rows, n) for n in range(1, size + 1)) <= min(EXACT_SETS, _EXACT_CELLS // skus)


def _smallest(needs: Needs, stock: Stock, most: int) -> Iterator[Group]:
    wanted = tuple(needs.values())
    useful = _useful(needs, stock)
    rows = [_capped(needs, stock[n]) for n in useful]
    if not _covered(rows, wanted):
        return
    for size in range(1, min(most, len(rows)) + 1):
        if not _affordable(len(rows), len(wanted), size):
            group = _thinned(_greedy(rows, wanted, len(rows)), rows, wanted)
            if len(group) <= most:
                yield tuple(useful[n] for n in group)
            return
        found = False
        for chosen in combinations(range(len(rows)), size):
            if _covered([rows[n] for n in chosen], wanted):
                found = True
                yield tuple(useful[n] for n in chosen)
        if found:
            return


def _covered(rows: Sequence[tuple[int, ...]], wanted: tuple[int, ...]) -> bool:
    return all(sum(row[column] for row in rows) >= units for column, units in enumerate(wanted))


def _greedy(rows: Sequence[tuple[int, ...]], wanted: tuple[int, ...], most: int) -> list[int]:
    """Rows by how much they cover of what is left, until nothing more is covered: at most len(rows) rounds."""
    left = list(wanted)
    group: list[int] = []
    while any(left) and len(group) < min(most, len(rows)):
        gain, best = max((sum(map(min, row, left)), -n) for n, row in enumerate(rows) if n not in group)
        if not gain:
            break
        group.append(-best)
        left = [units - min(units, have) for units, have in zip(left, rows[-best], strict=True)]
    return group


def _thinned(group: list[int], rows: Sequence[tuple[int, ...]], wanted: tuple[int, ...]) -> list[int]:
    for n in sorted(group, reverse=True):
        others = [other for other in group if other != n]
        if _covered([rows[other] for other in others], wanted):
            group = others
    return sorted(group)
