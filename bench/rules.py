"""How long 30 rules over all phases take on one order, against the same 30 conditions written by hand in Python.

`rules` is the evaluation alone: every rule tested, effects combined. `decide` adds planning (warehouses, parts, carriers).
All figures are medians over orders of one process, taken in turns of 500, so that the machine's other work hits all alike."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter_ns

from domain.decision import TraceStep
from domain.facts import Facts, Goods, Sender, WarehouseInfo
from domain.order import Amounts, Consignee, Line, Order
from rules.combine import CarrierChoice, combine_holds, combine_merging, combine_route, combine_split, matching
from rules.decide import decide
from rules.language import load
from rules.ruleset import PartView, Ruleset
from rules.screen import rules_to_test

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
PART = PartView("hz", 2, 900, 2000, 12900, frozenset({"fragile"}), "")
LISTS = {"fragile": frozenset({"G1", "G2"}), "risky": frozenset({"650000", "659001", "54"})}
_CHUNK = 500
_MOST_PERCENT = 300


@dataclass(frozen=True, slots=True)
class Report:
    """Microseconds per order. `value` is the evaluation without trace, `floor` the same conditions by hand in the same
    run, `ratio` their quotient; `good` says that it is at most 3. `traced` is the evaluation that also says why."""

    bench: str
    orders: int
    rules: int
    value: float
    floor: float
    ratio: float
    traced: float
    decide: float
    decide_traced: float
    good: bool

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def run_rules(*, orders: int = 10_000, seed: int = 1) -> Report:
    """Measure over `orders` made-up orders."""
    ruleset = load(Path(__file__).with_name("rules.json").read_bytes())
    made, facts = make_orders(orders, seed), make_facts()
    for order in made[:200]:  # the floor must do the same work, and caches should be as warm as after a morning
        by_hand, ours = evaluate_by_hand(order, facts), evaluate(order, facts, ruleset, trace=False)
        assert ours == by_hand == evaluate(order, facts, ruleset, trace=True), order
    tasks: dict[str, Callable[[Order], object]] = {
        "value": lambda order: evaluate(order, facts, ruleset, trace=False),
        "floor": lambda order: evaluate_by_hand(order, facts),
        "traced": lambda order: evaluate(order, facts, ruleset, trace=True),
        "decide": lambda order: decide(order, facts, ruleset, trace=False),
        "decide_traced": lambda order: decide(order, facts, ruleset, trace=True),
    }
    taken: dict[str, list[int]] = {name: [] for name in tasks}
    for start_at in range(0, orders, _CHUNK):
        for name, task in tasks.items():
            for order in made[start_at : start_at + _CHUNK]:
                start = perf_counter_ns()
                task(order)
                taken[name].append(perf_counter_ns() - start)
    told = {name: round(median(times) / 1000, 2) for name, times in taken.items()}
    ratio = round(told["value"] / told["floor"], 2)
    good = ratio * 100 <= _MOST_PERCENT
    return Report(bench="rules", orders=orders, rules=len(BY_HAND), ratio=ratio, good=good, **told)


def evaluate(order: Order, facts: Facts, ruleset: Ruleset, *, trace: bool) -> list[str]:
    """Every rule of every phase tested and the effects combined, as `decide` does; the ids of the rules that match."""
    steps: list[TraceStep] | None = [] if trace else None
    rules = rules_to_test(ruleset, order, facts, trace=trace)
    holds = matching(rules["hold"], order, facts, steps)
    approvals = matching(rules["approve"], order, facts, steps)
    combine_holds([rule.hold for rule in holds if rule.hold], [], facts.waived, steps)
    gifts = matching(rules["gift"], order, facts, steps)
    merges = matching(rules["merge"], order, facts, steps)
    combine_merging(merges, order)
    splits = matching(rules["split"], order, facts, steps)
    combine_split(splits)
    routes = matching(rules["route"], order, facts, steps)
    combine_route(routes)
    choice = CarrierChoice(rules["carrier"], order, facts, trace)
    names = choice(PART)
    if steps is not None:
        steps += choice.steps()
    schedules = matching(rules["schedule"], order, facts, steps)
    tags = matching(rules["tag"], order, facts, steps)
    carriers = [rule.id for rule in ruleset.carriers if rule.carriers[0] in names]
    matched = [*holds, *approvals, *gifts, *merges, *splits, *routes]
    return [rule.id for rule in matched] + carriers + [rule.id for rule in (*schedules, *tags)]


def make_orders(count: int, seed: int) -> list[Order]:
    """Orders of one to five lines of everyday shops."""
    chance = random.Random(seed)
    return [_make_order(n, chance) for n in range(count)]


def _make_order(number: int, chance: random.Random) -> Order:
    lines = tuple(_make_line(k, chance) for k in range(chance.choice((1, 1, 1, 2, 2, 3, 5))))
    goods = sum(line.amount for line in lines)
    return Order(
        external_id=str(number),
        version="1",
        source_time=NOW,
        status="pending_shipment",
        source_status="WAIT_SELLER_SEND_GOODS",
        payment=chance.choice(("paid", "paid", "paid", "cod")),
        currency="CNY",
        amounts=Amounts(goods=goods, freight=500, paid=goods + 500),
        consignee=Consignee(
            name="n", country="CN", region=chance.choice(("440305", "330106", "310115", "659001", "110105", "540102"))
        ),
        lines=lines,
        placed_at=NOW - timedelta(minutes=chance.randrange(4000)),
        paid_at=NOW - timedelta(minutes=chance.randrange(2000)),
        seller_flag=chance.choice(("", "", "0", "1")),
        buyer_message=chance.choice(("", "", "", "请尽快发货")),
        tags=chance.choice(((), (), ("vip",))),
    )


def _make_line(number: int, chance: random.Random) -> Line:
    quantity, price = chance.choice((1, 1, 2, 6)), chance.choice((990, 4900, 12900, 89900))
    sku = f"{chance.choice('ABCG')}{chance.randrange(1, 4)}"
    return Line(
        external_id=str(number),
        external_sku=sku,
        sku=sku,
        quantity=quantity,
        unit_price=price,
        amount=price * quantity,
        paid=price * quantity,
        title="商品",
    )


def make_facts() -> Facts:
    """Three warehouses with stock of everything."""
    skus = [f"{letter}{n}" for letter in "ABCG" for n in range(1, 4)] + ["GIFT-1", "GIFT-2"]
    kinds = {"A": frozenset[str](), "B": frozenset({"cold"}), "C": frozenset({"liquid"}), "G": frozenset({"fragile"})}
    goods = {sku: Goods(sku=sku, weight_grams=450, volume_ml=1000, classes=kinds[sku[0]]) for sku in skus}
    names = {"hz": "3301", "gz": "4401", "bj": "1101"}
    return Facts(
        now=NOW,
        sender=Sender(account="tb-main", channel="taobao", partner="acme", credit_left=500000, credit_currency="CNY"),
        warehouses=tuple(
            WarehouseInfo(name=name, province=city[:2], city=city, carriers=("SF", "ZTO"))
            for name, city in names.items()
        ),
        available={(name, sku): 1000 for name in names for sku in skus},
        buyer_orders_24h=2,
        buyer_orders_30d=5,
        sender_orders_before=40,
        goods=goods,
    )


# --- the floor ------------------------------------------------------------------------------------------------------


def _live(order: Order) -> list[Line]:
    return [line for line in order.lines if line.state != "cancelled"]


def _within(order: Order, prefixes: frozenset[str]) -> bool:
    region = order.consignee.region
    return region in prefixes or region[:2] in prefixes or region[:4] in prefixes


def _has_class(order: Order, facts: Facts, name: str) -> bool:
    return any(line.sku in facts.goods and name in facts.goods[line.sku].classes for line in _live(order))


def _weight(order: Order, facts: Facts) -> int:
    return sum((line.weight_grams or facts.goods[line.sku].weight_grams) * line.quantity for line in _live(order))


_RISKY, _FAR = frozenset({"65", "659001", "54"}), frozenset({"65", "54", "63"})
_SOUTH, _EAST, _NORTH = frozenset({"44", "45", "46"}), frozenset({"31", "32", "33"}), frozenset({"11", "12", "13"})
_SINGLE_DAY = (datetime(2026, 11, 10, 16, tzinfo=UTC), datetime(2026, 11, 11, 16, tzinfo=UTC))
_CLOCK = timedelta(hours=8)

BY_HAND: dict[str, Callable[[Order, Facts], bool]] = {
    "remark": lambda o, f: bool(o.buyer_message.strip() or o.seller_memo.strip()),
    "flag": lambda o, f: bool(o.seller_flag) and o.seller_flag != "0",
    "risky-cod": lambda o, f: o.payment == "cod" and _within(o, _RISKY),
    "many-units": lambda o, f: any(line.quantity >= 50 for line in _live(o)),
    "daily-buyer": lambda o, f: f.buyer_orders_24h > 5,
    "large": lambda o, f: o.amounts.paid >= 500000 and o.currency == "CNY",
    "over-credit": lambda o, f: f.sender.credit_left is not None and f.sender.credit_left < 0,
    "trusted": lambda o, f: "vip" in o.tags and o.amounts.paid < 50000,
    "gift-over-199": lambda o, f: sum(line.amount for line in _live(o)) >= 19900,
    "gift-single-day": lambda o, f: _SINGLE_DAY[0] <= o.placed_at <= _SINGLE_DAY[1],
    "gift-three": lambda o, f: sum(1 for line in _live(o) if line.sku in {"A1", "A2"}) >= 2,
    "seal-cold": lambda o, f: _has_class(o, f, "cold"),
    "merge": lambda o, f: f.sender.channel in {"taobao", "tmall"},
    "split-classes": lambda o, f: True,
    "split-value": lambda o, f: o.amounts.goods > 200000,
    "split-weight": lambda o, f: _weight(o, f) > 20000,
    "south": lambda o, f: _within(o, _SOUTH),
    "east": lambda o, f: _within(o, _EAST),
    "north": lambda o, f: _within(o, _NORTH),
    "fragile": lambda o, f: any(line.sku in LISTS["fragile"] for line in _live(o)),
    "part-heavy": lambda o, f: PART.weight_grams >= 20000,
    "part-valuable": lambda o, f: PART.value >= 100000 and o.currency == "CNY",
    "far": lambda o, f: _within(o, _FAR),
    "usual": lambda o, f: o.payment != "cod",
    "wait": lambda o, f: o.payment == "paid" and o.amounts.paid < 5000,
    "weekend": lambda o, f: (f.now + _CLOCK).isoweekday() in {6, 7},
    "tag-vip": lambda o, f: f.buyer_orders_30d >= 10,
    "tag-multi": lambda o, f: len(_live(o)) > 1,
    "tag-new": lambda o, f: f.sender_orders_before == 0,
    "tag-old": lambda o, f: o.paid_at is not None and f.now - o.paid_at >= timedelta(minutes=1440),
}


def evaluate_by_hand(order: Order, facts: Facts) -> list[str]:
    """What the 30 conditions are in plain Python."""
    return [name for name, test in BY_HAND.items() if test(order, facts)]
