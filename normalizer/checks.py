"""The six acceptance checks of domain.md §3. All of them run every time, and each gives all its problems.

An order that its source already calls shipped, completed or closed passes stock and payment: nothing will be shipped
for it, so neither can be wrong; the other checks still speak, because reports and settlement read the order too. An
order of which nothing is shipped (virtual goods) needs no consignee."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from domain.allocation import Shares
from domain.facts import Facts, Sender, WarehouseInfo
from domain.money import EXPONENTS
from domain.order import Consignee, Order
from domain.values import changer
from domain.verdict import CHECKS, Check, Problem, Verdict

from .consignees import check_consignee
from .goods import check_listing, check_stock

_OVER: Final = frozenset({"shipped", "completed", "closed"})


def check(order: Order, facts: Facts, shares: Sequence[Shares] | None = None) -> tuple[Order, tuple[Verdict, ...]]:
    """The order with what the checks found out (our SKUs and frozen bundle parts on its lines; region, official
    division names and a clean phone on its consignee) and one verdict per check, in the order of
    `domain.verdict.CHECKS`. Pure: `facts.now` is the only clock. Problems whose code a person has waived
    (`facts.waived`) are left out. `shares`: what the lines carry, where they do not say it yet; they say it then."""
    ships = True in [line.requires_shipping for line in order.lines]
    consignee, address_problems = check_consignee(order.consignee, facts.sender) if ships else (order.consignee, ())
    lines, listing_problems = check_listing(order, facts, shares)
    if consignee is not order.consignee or lines is not order.lines:
        order = _with_findings(order, consignee, lines)
    over = order.status in _OVER
    allowed = _allowed_warehouses(facts)
    near = [info for info in allowed if info.regions is None or not consignee.region or covers(info.regions, consignee)]
    if ships and allowed and not near and not over:
        detail = f"no warehouse delivers to {consignee.region}"
        address_problems = (*address_problems, Problem("out_of_delivery_range", "consignee.region", detail))
    stock = () if over else check_stock(order, facts, _able(near or allowed, consignee))
    payment, waiting = _NOTHING_TO_PAY if over else _check_payment(order, facts.sender)
    sender, money = _check_sender(order, facts, allowed), _check_money(order)
    if not (address_problems or listing_problems or stock or payment or waiting or sender or money):
        return order, PASSED
    return order, (
        _verdict("sender", sender, facts),
        _verdict("listing", listing_problems, facts),
        _verdict("stock", stock, facts),
        _verdict("consignee", address_problems, facts),
        _verdict("money", money, facts),
        _verdict("payment", payment, facts, waiting=waiting),
    )


def covers(regions: tuple[str, ...] | None, consignee: Consignee) -> bool:
    """Whether a list of division-code prefixes or ISO codes includes where the consignee is; None includes
    everything. Whole codes count as their prefix ("330000" is all of 浙江省)."""
    if regions is None:
        return True
    place, country = consignee.region, consignee.country
    if place in regions or country in regions:
        return True
    # IE-C and IE-CW are two places: only a Chinese code has prefixes
    return place.isdigit() and any(place.startswith(_prefix(region)) for region in regions)


def _prefix(region: str) -> str:
    while len(region) > 2 and region.isdigit() and region.endswith("00"):
        region = region[:-2]
    return region


_PASSED: Final[dict[Check, Verdict]] = {name: Verdict(name) for name in CHECKS}
# What `check` says of an order without a fault: these very values, so that comparing with them costs nothing.
PASSED: Final = tuple(_PASSED.values())
_NOTHING_TO_PAY: Final[tuple[Sequence[Problem], bool]] = (), False
_with_findings: Final = changer(Order, "consignee", "lines")


def _verdict(name: Check, problems: Sequence[Problem], facts: Facts, *, waiting: bool = False) -> Verdict:
    if not problems and not waiting:
        return _PASSED[name]
    if facts.waived:
        problems = [problem for problem in problems if problem.code not in facts.waived]
        waiting = waiting and bool(problems)
    return Verdict(name, tuple(problems), waiting)


def _allowed_warehouses(facts: Facts) -> Sequence[WarehouseInfo]:
    names = facts.sender.allowed_warehouses
    return facts.warehouses if names is None else [info for info in facts.warehouses if info.name in names]


def _able(warehouses: Sequence[WarehouseInfo], consignee: Consignee) -> Sequence[WarehouseInfo]:
    """Those that can use a privacy token, when the address is only that."""
    return [info for info in warehouses if info.accepts_tokens] if consignee.masked else warehouses


def _check_sender(order: Order, facts: Facts, allowed: Sequence[WarehouseInfo]) -> Sequence[Problem]:
    sender = facts.sender
    problems: list[Problem] = []
    if not sender.active:
        problems.append(Problem("sender_inactive", "sender", f"{sender.account} is not active"))
    if sender.contract_from is not None and facts.now < sender.contract_from:
        problems.append(Problem("sender_inactive", "sender", f"the contract begins {sender.contract_from.isoformat()}"))
    if sender.contract_to is not None and facts.now > sender.contract_to:
        problems.append(Problem("sender_inactive", "sender", f"the contract ended {sender.contract_to.isoformat()}"))
    if sender.allowed_skus is not None:
        for index, line in enumerate(order.lines):
            if line.sku and line.state != "cancelled" and line.sku not in sender.allowed_skus:
                problems.append(Problem("sender_not_allowed", f"lines.{index}.sku", f"{line.sku} is not allowed"))
    if (
        sender.allowed_regions is not None
        and order.consignee.region
        and not covers(sender.allowed_regions, order.consignee)
    ):
        problems.append(
            Problem("sender_not_allowed", "consignee.region", f"{order.consignee.region} is not an allowed region")
        )
    if sender.allowed_warehouses is not None and facts.warehouses and not allowed:
        problems.append(Problem("sender_not_allowed", "sender", "none of the warehouses is allowed"))
    if sender.credit_left is not None and order.status not in _OVER and order.amounts.paid > 0:
        problems.extend(_check_credit(order, sender, sender.credit_left))
    return problems


def _check_credit(order: Order, sender: Sender, left: int) -> Iterable[Problem]:
    if order.currency != sender.credit_currency:
        detail = f"the credit is in {sender.credit_currency or 'no currency'}, the order in {order.currency}"
        yield Problem("credit_exceeded", "currency", detail)
    elif order.amounts.paid > left:
        yield Problem("credit_exceeded", "amounts.paid", f"{order.amounts.paid} of {left} left")


def _check_money(order: Order) -> Sequence[Problem]:
    amounts = order.amounts
    problems: list[Problem] = []
    if order.currency not in EXPONENTS:
        problems.append(Problem("currency_unknown", "currency", f"{order.currency[:20]!r} is no currency"))
    goods = sum([line.amount for line in order.lines])
    if goods != amounts.goods:
        problems.append(
            Problem("money_mismatch", "amounts.goods", f"lines sum to {goods}, the source says {amounts.goods}")
        )
    paid = goods + amounts.freight + amounts.tax - amounts.discount
    if paid != amounts.paid:
        detail = f"lines {goods} + freight {amounts.freight} + tax {amounts.tax} - discount {amounts.discount} = {paid}"
        problems.append(Problem("money_mismatch", "amounts.paid", f"{detail}, the source says {amounts.paid}"))
    return problems


def _forbidden(order: Order) -> Iterable[Problem]:
    for reason in order.forbids_shipping:
        yield Problem("platform_forbids_shipping", "forbids_shipping", reason)
    for index, line in enumerate(order.lines):
        if line.state == "after_sale":
            detail = f"line {line.external_id} has an open after-sale"
            yield Problem("platform_forbids_shipping", f"lines.{index}.state", detail)


def _check_payment(order: Order, sender: Sender) -> tuple[Sequence[Problem], bool]:
    """The problems, and whether waiting cures them: only when being unpaid is the only one."""
    problems: list[Problem] = []
    if order.forbids_shipping or "after_sale" in [line.state for line in order.lines]:
        problems += _forbidden(order)
    if order.payment == "cod":
        if not sender.cod_allowed:
            problems.append(Problem("unpaid", "payment", "cash on delivery is not allowed for this account"))
        return problems, False
    unknown = "unknown_status" in order.forbids_shipping
    if order.payment == "unpaid" or (order.status == "pending_payment" and not unknown):
        problems.append(Problem("unpaid", "payment", f"the source says {order.source_status}"))
        return problems, len(problems) == 1
    return problems, False
