"""Values with some fields changed are as dataclasses.replace makes them."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, replace
from datetime import UTC, datetime

import pytest

from domain.facts import Facts, Sender
from domain.order import Consignee, Line, consignee_values
from domain.values import build, changed, changer, maker

LINE = Line(external_id="1", external_sku="X", quantity=2, unit_price=5, amount=10)


def test_a_changed_value_equals_a_replaced_one_and_the_old_stays() -> None:
    assert changed(LINE, sku="S", paid=10) == replace(LINE, sku="S", paid=10)
    assert hash(changed(Consignee(), city="x")) == hash(Consignee(city="x"))
    assert LINE.sku == ""


def test_a_field_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        changed(LINE, colour="red")


def test_a_built_value_is_the_value_its_class_makes() -> None:
    built = build(Line, external_id="1", external_sku="X", quantity=2, unit_price=5, amount=10)
    assert built == LINE
    assert hash(built) == hash(LINE)
    assert repr(built) == repr(LINE)
    assert type(built) is Line
    assert pickle.loads(pickle.dumps(built)) == LINE  # noqa: S301 - our own bytes
    now, sender = datetime(2026, 1, 1, tzinfo=UTC), Sender(account="a", channel="c")
    facts = build(Facts, now=now, sender=sender)
    assert facts == Facts(now=now, sender=sender)
    assert facts.available is not build(Facts, now=now, sender=sender).available


@pytest.mark.parametrize("made", [build(Consignee, city="x"), changed(Consignee(), city="x")])
def test_a_built_or_changed_value_is_frozen(made: Consignee) -> None:
    with pytest.raises(FrozenInstanceError):
        made.city = "y"  # type: ignore[misc]


@pytest.mark.parametrize("fields", [{"colour": "red"}, {"external_id": "1"}])
def test_a_value_is_not_built_with_fields_too_many_or_too_few(fields: dict[str, str]) -> None:
    with pytest.raises(TypeError):
        build(Line, **fields)


def test_a_value_that_checks_itself_is_not_changed_past_its_check() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        a: int
        b: int = 0

        def __post_init__(self) -> None:
            assert self.a >= 0

    with pytest.raises(TypeError, match=r"dataclasses\.replace"):
        changed(Checked(1), a=-1)


def test_a_maker_takes_its_fields_in_any_order_and_the_rest_has_its_defaults() -> None:
    make = maker(Line, ("quantity", "external_sku", "amount", "external_id", "unit_price"))
    assert make(2, "X", 10, "1", 5) == LINE
    assert type(make(2, "X", 10, "1", 5)) is Line
    with pytest.raises(TypeError):
        maker(Line, ("quantity",))
    with pytest.raises(TypeError):
        maker(Consignee, ("colour",))


def test_a_changer_does_what_changed_does() -> None:
    assert changer(Line, "paid", "sku")(LINE, 10, "S") == changed(LINE, sku="S", paid=10)
    with pytest.raises(TypeError):
        changer(Line, "colour")


def test_a_consignees_values_are_all_of_its_fields_in_their_order() -> None:
    consignee = Consignee(**{one.name: one.name for one in fields(Consignee)})  # type: ignore[arg-type]
    assert list(consignee_values(consignee).items()) == list(asdict(consignee).items())
