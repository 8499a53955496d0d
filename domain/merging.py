"""Several orders in one parcel (domain.md §6): who may share one, and which part of its news is whose. Pure.

Quantities and money never move between orders: a merge is a decision to send several fulfilments as one warehouse order,
so taking it back changes no line of any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .order import PackedLine, Parcel, ShippingNews


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One fulfilment that may share a parcel. `owner` is the partner, or the account when it has none; `kinds` are the classes
    and suppliers of its goods; the flags are reasons why it ships alone. `address` and `phone` are as they will be shipped to."""

    owner: str
    channel: str
    buyer: str
    consignee: str
    phone: str
    address: str
    warehouse: str
    carrier: str
    term: str
    currency: str
    kinds: tuple[str, ...] = ()
    ready: bool = True
    paid: bool = True
    shipped: bool = False
    after_sale: bool = False
    cod: bool = False
    abroad: bool = False
    masked: bool = False
    split: bool = False
    ruled: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """One warehouse order for several fulfilments: its code, and (order id, fulfilment id) of each, by fulfilment id."""

    id: int
    code: str
    members: tuple[tuple[int, int], ...]

    @property
    def orders(self) -> frozenset[int]:
        return frozenset(order_id for order_id, _ in self.members)


# In the order in which they are checked; the first that differs names the refusal.
SAME: tuple[tuple[str, str], ...] = (
    ("owner", "merge_owner"),
    ("channel", "merge_channel"),
    ("buyer", "merge_buyer"),
    ("consignee", "merge_consignee"),
    ("phone", "merge_phone"),
    ("address", "merge_address"),
    ("warehouse", "merge_warehouse"),
    ("carrier", "merge_carrier"),
    ("term", "merge_term"),
    ("currency", "merge_currency"),
    ("kinds", "merge_goods"),
)


OBSTACLES = (
    *("merge_shipped", "merge_not_ready", "merge_unpaid", "merge_after_sale", "merge_sealed", "merge_masked"),
    *("merge_split", "merge_no_rule"),
)


def find_obstacle(one: Candidate) -> str:
    """Why this fulfilment ships alone whoever else there is: the code of the first check that fails, "" when none does."""
    sealed = one.cod or one.abroad
    fails = (one.shipped, not one.ready, not one.paid, one.after_sale, sealed, one.masked, one.split, not one.ruled)
    return next((code for code, failed in zip(OBSTACLES, fails, strict=True) if failed), "")


def find_difference(one: Candidate, other: Candidate) -> str:
    """The code of the first thing in which two fulfilments differ that must be equal in one parcel, "" when nothing does."""
    return next((code for name, code in SAME if getattr(one, name) != getattr(other, name)), "")


def merge_text(one: Candidate) -> str:
    """Equal for exactly those candidates between which there is no difference. Holds buyer data: to be hashed, not kept."""
    return "\x1f".join(str(getattr(one, name)) for name, _ in SAME)


# --- news of a shared parcel -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """One member's line in the warehouse order: its line and SKU, how many units it has in all and has not seen leave."""

    line: int
    sku: str
    quantity: int
    left: int


@dataclass(frozen=True, slots=True)
class Member:
    """One fulfilment of a merge by its own code: its lines in (line, SKU) order, and what its known parcels hold by number."""

    code: str
    shares: tuple[Share, ...]
    parcels: Mapping[str, Counter[str]]


def line_offsets(members: Sequence[Member]) -> tuple[int, ...]:
    """How many line numbers of the warehouse order come before each member's own: they count through all members."""
    offsets, total = [], 0
    for member in members:
        offsets.append(total)
        total += len(member.shares)
    return tuple(offsets)


def share_news(news: ShippingNews, members: Sequence[Member]) -> tuple[ShippingNews, ...]:
    """The same news for each member, in their order, about its own lines only: every unit told of is in exactly one of them.

    A unit belongs to the member whose line number it carries; without a usable number to the first member that has that SKU
    left; units nobody has left go to the last member that was given some of the SKU, else to the first that sells it, else to
    the first of all, where they are too many. A parcel without a list holds what every member has left. A number told
    before means what it meant then, while it is told with the same goods."""
    left = [{(share.line, share.sku): share.left for share in member.shares} for member in members]
    told: list[list[Parcel]] = [[] for _ in members]
    for parcel in news.parcels:
        for index, part in _parts(parcel, members, left):
            told[index].append(part)
    return tuple(
        replace(news, reference=member.code, parcels=tuple(parcels))
        for member, parcels in zip(members, told, strict=True)
    )


def _parts(
    parcel: Parcel, members: Sequence[Member], left: list[dict[tuple[int, str], int]]
) -> list[tuple[int, Parcel]]:
    holders = [index for index, member in enumerate(members) if parcel.tracking in member.parcels]
    if holders:
        return _told_before(parcel, members, holders)
    if not parcel.lines:
        return _everything_left(parcel, left)
    given: dict[int, list[PackedLine]] = {}
    for packed in parcel.lines:
        for index, line in _owners(packed, members, left):
            given.setdefault(index, []).append(line)
    return [(index, replace(parcel, lines=tuple(lines))) for index, lines in sorted(given.items())]


def _told_before(parcel: Parcel, members: Sequence[Member], holders: Sequence[int]) -> list[tuple[int, Parcel]]:
    """Nothing new for anybody, or the same number with other goods: then the first holder is told all of it and objects."""
    had: Counter[str] = Counter()
    for index in holders:
        had.update(members[index].parcels[parcel.tracking])
    told = count_units(parcel.lines)
    if told and told != had:
        return [(holders[0], replace(parcel, lines=tuple(replace(line, line_ref="") for line in parcel.lines)))]
    return [(index, replace(parcel, lines=())) for index in holders]


def _everything_left(parcel: Parcel, left: list[dict[tuple[int, str], int]]) -> list[tuple[int, Parcel]]:
    holders = [index for index, units in enumerate(left) if any(units.values())]
    for index in holders:
        left[index] = dict.fromkeys(left[index], 0)
    return [(index, parcel) for index in holders or [0]]


def _owners(
    packed: PackedLine, members: Sequence[Member], left: list[dict[tuple[int, str], int]]
) -> list[tuple[int, PackedLine]]:
    named = _named(packed, members)
    if named is not None:
        index, number = named
        share = members[index].shares[number]
        left[index][share.line, share.sku] -= min(packed.quantity, left[index][share.line, share.sku])
        return [(index, replace(packed, line_ref=str(number + 1)))]
    units, found = packed.quantity, []
    for index, own in enumerate(left):
        taken = _take(own, packed.sku, units)
        if taken:
            found.append([index, taken])
            units -= taken
    if units:
        if found:
            found[-1][1] += units
        else:
            found.append([_seller(packed.sku, members), units])
    return [(index, replace(packed, line_ref="", quantity=taken)) for index, taken in found]


def _named(packed: PackedLine, members: Sequence[Member]) -> tuple[int, int] | None:
    """(member, its line) of a line number of the warehouse order; None without one, or when it stands for another SKU."""
    if not packed.line_ref.isascii() or not packed.line_ref.isdigit():
        return None
    number = int(packed.line_ref) - 1
    for index, (member, offset) in enumerate(zip(members, line_offsets(members), strict=True)):
        if offset <= number < offset + len(member.shares):
            own = number - offset
            return (index, own) if member.shares[own].sku == packed.sku else None
    return None


def _take(own: dict[tuple[int, str], int], sku: str, units: int) -> int:
    taken = 0
    for key, left in own.items():
        if key[1] == sku and units > taken:
            part = min(left, units - taken)
            own[key] = left - part
            taken += part
    return taken


def _seller(sku: str, members: Sequence[Member]) -> int:
    return next((index for index, member in enumerate(members) if any(share.sku == sku for share in member.shares)), 0)


def count_units(lines: Iterable[PackedLine]) -> Counter[str]:
    """Units by SKU."""
    counted: Counter[str] = Counter()
    for line in lines:
        counted[line.sku] += line.quantity
    return counted
