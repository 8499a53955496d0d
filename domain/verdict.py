"""What the acceptance checks say about an order (domain.md §3): every check, every time, with every problem it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Check = Literal["sender", "listing", "stock", "consignee", "money", "payment"]
CHECKS: tuple[Check, ...] = ("sender", "listing", "stock", "consignee", "money", "payment")


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a check does not pass. `code` is stable (domain.md §3), `path` says where in the canonical order
    (`lines.2.sku`), `detail` is for people, `candidates` are values a person may choose from - never chosen for them."""

    code: str
    path: str = ""
    detail: str = ""
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of one check. `waiting` says that time or the source will cure it (unpaid), so nobody need act."""

    check: Check
    problems: tuple[Problem, ...] = ()
    waiting: bool = False

    @property
    def passed(self) -> bool:
        return not self.problems and not self.waiting
