"""What two decisions do differently, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from domain.decision import Decision, Gift, Hold, Part, PartLine
from rules.difference import differences

from .samples import NOW

ONE = Part("w1", (PartLine(0, "A", 2),), "SF", cost=500)
BASE = Decision("v1", holds=(), parts=(ONE,), tags=("t",))


def kinds(after: Decision, before: Decision = BASE) -> dict[str, tuple[object, object]]:
    return {one.kind: (one.before, one.after) for one in differences(before, after)}


def test_the_same_effects_under_another_name_are_no_difference() -> None:
    assert kinds(replace(BASE, ruleset="v2", trace=())) == {}


def test_another_warehouse_is_told_once() -> None:
    assert kinds(replace(BASE, parts=(replace(ONE, warehouse="w2"),))) == {"warehouse": (["w1"], ["w2"])}


def test_each_kind_has_its_own_name() -> None:
    split = (replace(ONE, lines=(PartLine(0, "A", 1),)), replace(ONE, lines=(PartLine(0, "A", 1),)))
    assert kinds(replace(BASE, parts=split)).keys() == {"warehouse", "split", "cost"}
    assert kinds(replace(BASE, parts=(replace(ONE, carrier="ZTO"),))) == {"carrier": ([["w1", "SF"]], [["w1", "ZTO"]])}
    assert kinds(replace(BASE, parts=(replace(ONE, cost=400),))) == {"cost": (500, 400)}
    assert kinds(replace(BASE, holds=(Hold("hold_a", "1"),))) == {"hold": ([], ["hold_a"]), "exception": (False, True)}
    assert kinds(replace(BASE, tags=())) == {"tag": (["t"], [])}
    assert kinds(replace(BASE, gifts=(Gift("1", "G", 1),))) == {"gift": ([], [["G", 1]])}
    assert kinds(replace(BASE, not_before=NOW)) == {"release": ("", NOW.isoformat())}
    moved = (replace(ONE, lines=(PartLine(0, "A", 1),)),)
    assert kinds(replace(BASE, parts=moved)).keys() == {"goods"}
