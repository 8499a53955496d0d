"""Money down to the single unit, once: discounts, freight and tax on every line, then units, refunds, fulfilments and
settlement read from those frozen figures (domain.md §5). Integers only; what is spread always sums to what there was.

How totals go to lines (`allocate`):
1. discounts: the shares the source states, if every line has one and they sum to the total; else the stacked
   `discounts` in the source's order, each among its eligible lines on the amount the ones before left; what of the
   total is not itemised (or finds no eligible line) over all lines by what is left;
2. freight: among the lines that need shipping (all, if none does), by weight when each of them has one, else by goods
   paid;
3. tax: as the lines state it when that sums to the total; a total above it (tax on freight) adds the rest by freight,
   or by goods paid; a total below it (tax already inside prices) is spread by the lines' tax;
4. a discount larger than all goods lies on freight, then tax.

The state of a line is never looked at: a cancelled line keeps its share, so that nothing re-spreads the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final, Literal

from .errors import MappingError, RefusedError
from .order import Amounts, Line, Order
from .values import changer

PartFreight = Literal["on_first", "spread"]
# What a line carries: discount, freight, tax, and what is paid for it.
Shares = tuple[int, int, int, int]


def largest_remainder(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """`total` ≥ 0 divided in proportion to `weights` ≥ 0: floors first, then one unit each to the largest remainders,
    ties to the earlier. The sum is always `total`, and a share of `total` ≤ Σ weights never exceeds its weight.
    Weights that are all zero count as equal. Raises ValueError for negatives, and for something to divide among
    nobody."""
    if total < 0 or (weights and min(weights) < 0):
        raise ValueError("totals and weights are not negative: spread a refund as a positive amount")
    if not total:
        return (0,) * len(weights)
    if not weights:
        raise ValueError("nobody to divide among")
    whole = sum(weights)
    if not whole:
        return split_units(total, len(weights))
    shares = [total * weight // whole for weight in weights]
    left = total - sum(shares)
    if left:
        remainders = [total * weight % whole for weight in weights]
        for index in sorted(range(len(shares)), key=remainders.__getitem__, reverse=True)[:left]:
            shares[index] += 1
    return tuple(shares)


def split_units(total: int, n: int) -> tuple[int, ...]:
    """`total` ≥ 0 over `n` ≥ 1 equal units, the larger first: (13201, 3) → (4401, 4400, 4400). Raises ValueError."""
    if total < 0 or n < 1:
        raise ValueError("units split a total that is not negative into at least one")
    each, extra = divmod(total, n)
    return (each + 1,) * extra + (each,) * (n - extra)


def _until(total: int, n: int, k: int) -> int:
    """What the first `k` of `n` units carry: Σ split_units(total, n)[:k], without building them."""
    each, extra = divmod(total, n)
    return each * k + min(k, extra)


def allocate(order: Order) -> Order:
    """The order with `discount`, `freight`, `tax` and `paid` set on every line, as the module says; doing it twice
    changes nothing. Σ discount, freight and tax are the order's, every `paid` ≥ 0; Σ paid is `amounts.paid` exactly
    when the source's own totals agree (which the money check judges). An order without lines is returned as it is.
    Raises MappingError `money` with the path of a negative amount, or of a discount larger than everything there is to
    pay."""
    return _with_lines(order, with_shares(order.lines, shares_of(order))) if order.lines else order


def shares_of(order: Order) -> Sequence[Shares]:
    """What `allocate` sets on each line of an order that has lines, by place; the same errors."""
    _refuse_negatives(order)
    lines = order.lines
    if len(lines) == 1:
        return [_on_one(order.amounts, lines[0])]
    return [
        (discount, freight, tax, line.amount - discount + freight + tax)
        for line, (discount, freight, tax) in zip(lines, _on_several(order), strict=True)
    ]


def with_shares(lines: Sequence[Line], shares: Sequence[Shares]) -> tuple[Line, ...]:
    """The lines with these shares."""
    return tuple([_with_shares(line, *share) for line, share in zip(lines, shares, strict=True)])


_with_shares: Final = changer(Line, "discount", "freight", "tax", "paid")
_with_lines: Final = changer(Order, "lines")


def _on_one(amounts: Amounts, line: Line) -> Shares:
    """Everything there is."""
    paid = line.amount - amounts.discount + amounts.freight + amounts.tax
    if paid < 0:
        raise MappingError("money", "more discount than there is to pay", path="amounts.discount")
    return amounts.discount, amounts.freight, amounts.tax, paid


def _on_several(order: Order) -> Iterable[tuple[int, int, int]]:
    amounts, lines = order.amounts, order.lines
    goods = [line.amount for line in lines]
    discounts: Sequence[int] | None = _stated_shares(order)
    if discounts is None:
        discounts = _stacked(order, goods)
    # Goods given away wholly still carry freight and tax: then by what they would have cost.
    basis = goods
    if amounts.discount:
        left = [amount - discount for amount, discount in zip(goods, discounts, strict=True)]
        basis = left if any(left) else goods
    freights = _spread_freight(amounts.freight, lines, basis)
    taxes = _spread_tax(amounts.tax, lines, basis, freights)
    excess = amounts.discount - sum(discounts)
    if excess:
        fees = [freight + tax for freight, tax in zip(freights, taxes, strict=True)]
        if excess > sum(fees):
            raise MappingError("money", "more discount than there is to pay", path="amounts.discount")
        discounts = [d + e for d, e in zip(discounts, largest_remainder(excess, fees), strict=True)]
    return zip(discounts, freights, taxes, strict=True)


def _refuse_negatives(order: Order) -> None:
    totals = order.amounts
    if totals.freight < 0 or totals.tax < 0 or totals.discount < 0:
        name = next(name for name in ("freight", "tax", "discount") if getattr(totals, name) < 0)
        raise MappingError("money", "negative", path=f"amounts.{name}")
    for line in order.lines:
        if line.amount < 0 or line.tax < 0:
            name = "amount" if line.amount < 0 else "tax"
            raise MappingError("money", "negative", path=f"lines.{order.lines.index(line)}.{name}")
    for index, discount in enumerate(order.discounts):
        if discount.amount < 0:
            raise MappingError("money", "negative", path=f"discounts.{index}.amount")


def _stated_shares(order: Order) -> list[int] | None:
    """What the source itself put on the lines, when it did so for all of them and believably."""
    if order.lines[0].share is None:
        return None
    shares = [line.share for line in order.lines if line.share is not None and 0 <= line.share <= line.amount]
    complete = len(shares) == len(order.lines) and sum(shares) == order.amounts.discount
    return shares if complete else None


def _stacked(order: Order, goods: Sequence[int]) -> Sequence[int]:
    """What each line gets of all discounts."""
    if order.discounts:
        return [sum(column) for column in zip(*_stack(order), strict=True)]
    total = order.amounts.discount
    return largest_remainder(min(total, sum(goods)), goods) if total else [0] * len(goods)


def _stack(order: Order) -> list[tuple[int, ...]]:
    """One row per discount and a last one for what is not itemised; a row holds what each line gets of it."""
    if not order.discounts and not order.amounts.discount:
        return [(0,) * len(order.lines)]
    left = [line.amount for line in order.lines]
    remaining = order.amounts.discount
    rows = []
    for amount, eligible in [*((d.amount, d.lines) for d in order.discounts), (remaining, ())]:
        weights = left
        if eligible:
            among = zip(left, order.lines, strict=True)
            weights = [value if line.external_id in eligible else 0 for value, line in among]
        row = largest_remainder(min(amount, remaining, sum(weights)), weights)
        left = [value - share for value, share in zip(left, row, strict=True)]
        remaining -= sum(row)
        rows.append(row)
    return rows


def _spread_freight(total: int, lines: Sequence[Line], basis: Sequence[int]) -> Sequence[int]:
    if not total:
        return [0] * len(lines)
    heavy = [
        line.weight_grams * line.quantity if line.requires_shipping and line.weight_grams > 0 < line.quantity else 0
        for line in lines
    ]
    if all(heavy):  # nearly always
        return largest_remainder(total, heavy)
    shipped = [line.requires_shipping for line in lines]
    if not any(shipped):
        shipped = [True] * len(lines)
    weighed = all(line.weight_grams > 0 for line, ships in zip(lines, shipped, strict=True) if ships)
    weights = [line.weight_grams * max(line.quantity, 0) for line in lines] if weighed else list(basis)
    weights = [weight if ships else 0 for weight, ships in zip(weights, shipped, strict=True)]
    # Only gifts ship: then each of them carries the same.
    return largest_remainder(total, weights if any(weights) else [int(ships) for ships in shipped])


def _spread_tax(total: int, lines: Sequence[Line], basis: Sequence[int], freights: Sequence[int]) -> Sequence[int]:
    stated = [line.tax for line in lines]
    rest = total - sum(stated)
    if not rest:
        return stated
    if rest < 0:
        return largest_remainder(total, stated)
    weights = freights if any(stated) and any(freights) else basis
    return [tax + more for tax, more in zip(stated, largest_remainder(rest, weights), strict=True)]


def platform_vouchers(order: Order) -> tuple[int, ...]:
    """Per line of an allocated order, the part of its discount that the platform pays to the shop (source `platform`):
    from the stacked discounts, or by the lines' discounts when the source stated only shares. For `settle_line`."""
    if not order.lines:
        return ()
    if _stated_shares(order) is None:
        rows = [row for row, d in zip(_stack(order), order.discounts, strict=False) if d.source == "platform"]
        return tuple(sum(column) for column in zip(*rows, strict=True)) if rows else (0,) * len(order.lines)
    funded = sum(discount.amount for discount in order.discounts if discount.source == "platform")
    return largest_remainder(min(funded, order.amounts.discount), [line.discount for line in order.lines])


def _paid_parts(line: Line) -> tuple[int, int, int]:
    """Goods, tax and freight that were really paid on an allocated line; they sum to `line.paid`. A discount beyond the
    goods is taken off the freight, then off the tax."""
    excess = max(line.discount - line.amount, 0)
    off_freight = min(excess, line.freight)
    return max(line.amount - line.discount, 0), line.tax - (excess - off_freight), line.freight - off_freight


def refundable(line: Line, units: int, refunded_units: int, *, shipped: bool, received_units: int | None = None) -> int:
    """Minor units to give back for the next `units` of an allocated line after `refunded_units`: goods and tax of
    exactly those units, and before shipping their freight. Unit 0 carries the larger cents, as in `split_units`, so
    refunding all units of an unshipped line, in any steps, is `line.paid`. Raises RefusedError `refund_exceeds` beyond
    the quantity or, once goods are required back, beyond `received_units`."""
    end = refunded_units + units
    if units < 1 or refunded_units < 0 or end > line.quantity:
        raise RefusedError("refund_exceeds", f"units {refunded_units}+{units} of {line.quantity}")
    if received_units is not None and end > received_units:
        raise RefusedError("refund_exceeds", f"units {refunded_units}+{units}, {received_units} came back")
    goods, tax, freight = _paid_parts(line)
    paid = (goods, tax) if shipped else (goods, tax, freight)
    return sum(_until(part, line.quantity, end) - _until(part, line.quantity, refunded_units) for part in paid)


def freight_of_partial_amount(line: Line, amount: int, refunded_amount: int = 0) -> int:
    """Freight that goes back with a partial refund of `amount` minor units of goods and tax before shipping, when
    `refunded_amount` went back before [004-45]: in proportion, rounded down over the running total, so that steps that
    add up to everything return the whole freight. Raises RefusedError `refund_exceeds` above what was paid."""
    goods, tax, freight = _paid_parts(line)
    paid, end = goods + tax, refunded_amount + amount
    if amount < 0 or refunded_amount < 0 or end > paid:
        raise RefusedError("refund_exceeds", f"amount {refunded_amount}+{amount} of {paid}")
    return freight * end // paid - freight * refunded_amount // paid if paid else 0


def settle_line(*, paid: int, voucher: int, refund: int, returned: Fraction | None = None) -> int:
    """What the shop is owed for one line [004-46]: gross - refund - (refund ÷ paid) × voucher, gross = paid + voucher.
    `paid` and `refund` are goods and tax without freight, `voucher` the platform-funded part of its discount; the
    voucher taken back is rounded half up, and a full refund settles to exactly 0. A line paid wholly by voucher has no
    refund to measure by: `returned` is then the share of its units that came back. Raises RefusedError
    `refund_exceeds`."""
    if min(paid, voucher, refund) < 0 or refund > paid:
        raise RefusedError("refund_exceeds", f"refund {refund} of {paid}")
    share = Fraction(refund, paid) if paid else (returned or Fraction(0))
    if not 0 <= share <= 1:
        raise RefusedError("refund_exceeds", f"returned share {share}")
    return paid + voucher - refund - int(share * voucher + Fraction(1, 2))


def settle_order(lines: Iterable[int], *, freight: int, freight_refunded: int) -> int:
    """What the shop is owed for one order: Σ `settle_line` + the freight that was not refunded. Raises RefusedError
    `refund_exceeds` when more freight went back than was paid."""
    if not 0 <= freight_refunded <= freight:
        raise RefusedError("refund_exceeds", f"freight {freight_refunded} of {freight}")
    return sum(lines) + freight - freight_refunded


def line_units(line: Line, pieces: int) -> int | Fraction:
    """Units of an order line that `pieces` of what a warehouse ships stand for. Every component piece of a bundle
    counts the same: of a bundle of 2 A + 1 B, 2 A are 2/3 of one unit. Without components one piece is one unit."""
    per_unit = sum(component.quantity for component in line.components)
    units = Fraction(pieces, per_unit or 1)
    return int(units) if units.denominator == 1 else units


def part_amounts(
    order: Order, parts: Sequence[Sequence[tuple[int, int | Fraction]]], freight: PartFreight
) -> tuple[Amounts, ...]:
    """The money of each part of an allocated order; a part is (index in `order.lines`, units) and a fraction of a unit
    is a bundle shipped from several places (`line_units`). Parts take the units of a line in their order, so a part is
    worth exactly its units, and parts that cover all lines sum to the order's line figures in goods, discount,
    freight, tax and paid. `on_first` moves all their freight to the first part - a label for the carrier's side only:
    a refused parcel is refunded by `refundable`, from the lines' own shares, so it never makes another parcel
    freight-free [002-8…10]. Raises RefusedError `part_exceeds` when parts hold more than a line, or nothing of one."""
    taken: list[int | Fraction] = [0] * len(order.lines)
    sums = []
    for part in parts:
        worth = [0] * 6
        for index, units in part:
            if not 0 <= index < len(taken) or units <= 0 or taken[index] + units > order.lines[index].quantity:
                raise RefusedError("part_exceeds", f"line {index}, {units} units")
            line, start = order.lines[index], taken[index]
            taken[index] = end = start + units
            steps = zip(_worth_until(line, end), _worth_until(line, start), strict=True)
            worth = [value + after - before for value, (after, before) in zip(worth, steps, strict=True)]
        sums.append(worth)
    if freight == "on_first" and sums:
        for column in (2, 5):
            total = sum(worth[column] for worth in sums)
            for worth in sums:
                worth[column] = 0
            sums[0][column] = total
    return tuple(_amounts(worth) for worth in sums)


def _worth_until(line: Line, end: int | Fraction) -> list[int]:
    """What the units of a line before `end` carry: goods, tax, freight paid; then the same of what discounts took off.
    Inside a unit every one is rounded down on its own, so all six only grow and no part can become negative."""
    whole = int(end)
    before = _worth_of_units(line, whole)
    if whole == end:
        return before
    after = _worth_of_units(line, whole + 1)
    return [low + int((high - low) * (end - whole)) for low, high in zip(before, after, strict=True)]


def _worth_of_units(line: Line, k: int) -> list[int]:
    totals, parts = (line.amount, line.tax, line.freight), _paid_parts(line)
    paid = [_until(part, line.quantity, k) for part in parts]
    full = [_until(total, line.quantity, k) for total in totals]
    return [*paid, *(total - part for total, part in zip(full, paid, strict=True))]


def _amounts(worth: Sequence[int]) -> Amounts:
    goods, tax, freight, off_goods, off_tax, off_freight = worth
    discount = off_goods + off_tax + off_freight
    return Amounts(
        goods=goods + off_goods,
        freight=freight + off_freight,
        tax=tax + off_tax,
        discount=discount,
        paid=goods + tax + freight,
    )
