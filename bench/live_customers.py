"""What customers and staff of the real shop do: order, pay now or later, change their minds, move house."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.live import graphql as g
from sandbox.live.shop import Address, Customer, Shop, Variant

from .live_judge import Fate, Wish

NEW_TOWN = "Llanfairpwll"
_PAYMENTS = "query($options: OrderListOptions!) { orders(options: $options) { items { payments { id } } } }"
_LATEST = 60.0
_TOWNS = (
    ("London", "SW1A 1AA", "020 7946 0958"),
    ("Manchester", "M1 1AE", "0161 496 0123"),
    ("Edinburgh", "EH1 1YZ", "0131 496 0456"),
    ("Cardiff", "CF10 1EP", "029 2018 0789"),
    ("Belfast", "BT1 5GS", "028 9649 6012"),
)
_NAMES = (("Ann", "Lee"), ("Seán", "O'Neill"), ("Zoë", "Smith-Jones"), ("Idris", "ap Rhys"), ("明", "王"))
_STREETS = ("1 High St", "Flat 2, 14 King's Road", "Unit <5>, Mill & Sons Yard", "Rose Cottage, Nant y Glyn")


@dataclass(frozen=True, slots=True)
class _Turn:
    """What happens to an order `after` so many seconds (None: once its parcel has left). `pays`: at once, at the till."""

    fate: Fate
    after: float | None
    pays: bool = True


# The shop moves no stamp when a payment is settled: the hub must notice all the same.
_TURNS = (
    _Turn("edit", 0.7),
    _Turn("cancel", 0.0),
    _Turn("cancel", 0.0),
    _Turn("cancel", 0.5),
    _Turn("cancel", 1.5),
    _Turn("cancel", 3.0),
    _Turn("cancel", None),
    _Turn("ship", 1.0, pays=False),
    _Turn("ship", 2.5, pays=False),
    _Turn("ship", 5.0, pays=False),
)


@dataclass(frozen=True, slots=True)
class _Later:
    """Something to do with a placed order at a monotonic time; `act` answers False for "not yet"."""

    at: float
    act: Callable[[], bool]


def shop_around(shop: Shop, variants: list[Variant], orders: int, rng: random.Random) -> list[Wish]:
    """Place the orders one after another; ten of them take a turn meanwhile. Returns what every customer wants in the end."""
    turns = dict(zip(rng.sample(range(orders), min(orders, len(_TURNS))), _TURNS, strict=False))
    wishes: list[Wish] = []
    later: list[_Later] = []
    for number in range(orders):
        turn = turns.get(number)
        wish = _place(shop, variants, number, rng, turn)
        wishes.append(wish)
        if turn is not None:
            later.append(_Later(time.monotonic() + (turn.after or 0.0), _action(shop, wish, turn)))
        later = _due(later)
    end = time.monotonic() + _LATEST
    while later and time.monotonic() < end:
        time.sleep(0.1)
        later = _due(later)
    return wishes


def _place(shop: Shop, variants: list[Variant], number: int, rng: random.Random, turn: _Turn | None) -> Wish:
    units = {variant: rng.randint(1, 3) for variant in rng.sample(variants, rng.randint(1, 3))}
    customer, address = _customer(number, rng)
    lines = [(variant.id, count) for variant, count in units.items()]
    code = shop.place(lines, customer, address, settle=turn is None or turn.pays)
    fate: Fate = turn.fate if turn else "ship"
    wanted = {variant.sku: count for variant, count in units.items()}
    return Wish(code, wanted, fate, NEW_TOWN if fate == "edit" else address.city)


def _action(shop: Shop, wish: Wish, turn: _Turn) -> Callable[[], bool]:
    def act() -> bool:
        if turn.after is None and shop.order(wish.code).state != "Shipped":
            return False
        if turn.fate == "cancel":
            shop.cancel(wish.code)
        elif turn.fate == "edit":
            shop.edit_address(wish.code, street_line1="2 Ffordd Newydd", city=wish.town, postal_code="LL61 5UJ")
        else:
            _settle(shop, wish.code)
        return True

    return act


def _settle(shop: Shop, code: str) -> None:
    """Staff take the money that was only authorised."""
    found = shop.admin(_PAYMENTS, options={"filter": {"code": {"eq": code}}, "take": 1})["orders"]["items"]
    for payment in found[0]["payments"]:
        g.unwrap(shop.admin(g.SETTLE, id=payment["id"]), "settlePayment")


def _due(later: list[_Later]) -> list[_Later]:
    """Do what is due; returns what is left."""
    now = time.monotonic()
    return [each for each in later if each.at > now or not each.act()]


def _customer(number: int, rng: random.Random) -> tuple[Customer, Address]:
    first, last = rng.choice(_NAMES)
    town, postcode, phone = rng.choice(_TOWNS)
    address = Address(f"{first} {last}", rng.choice(_STREETS), town, postcode, "GB", phone_number=phone)
    return Customer(first, last, f"customer{number}@example.test", phone), address
