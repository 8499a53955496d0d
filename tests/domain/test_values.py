"""Values with some fields changed are as dataclasses.replace makes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from domain.order import Consignee, Line
from domain.values import changed

LINE = Line(external_id="1", external_sku="X", quantity=2, unit_price=5, amount=10)


def test_a_changed_value_equals_a_replaced_one_and_the_old_stays() -> None:
    assert changed(LINE, sku="S", paid=10) == replace(LINE, sku="S", paid=10)
    assert hash(changed(Consignee(), city="x")) == hash(Consignee(city="x"))
    assert LINE.sku == ""


def test_a_field_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        changed(LINE, colour="red")


def test_a_value_that_checks_itself_is_not_changed_past_its_check() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        a: int
        b: int = 0

        def __post_init__(self) -> None:
            assert self.a >= 0

    with pytest.raises(TypeError, match=r"dataclasses\.replace"):
        changed(Checked(1), a=-1)
