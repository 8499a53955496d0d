"""An order that changes while its parcel leaves. Found on a real shop (`make live`): the customer moved, the warehouse was asked
to stop, and had shipped to the old address."""

from __future__ import annotations

from .build import Shop, confirmed, order, ship_to


def test_a_parcel_that_left_before_it_could_be_called_back_is_told(shop: Shop) -> None:
    first = shop.take(order())
    shop.push("done", reference="W1")
    moved = shop.take(order(at=1, ship_to=ship_to(street="示例路2号")))
    assert moved.states == ["cancelling"]
    shop.tell(confirmed(first.code, ("SF1", [("A", 2)])))
    moved = moved.again()
    assert moved.states == ["shipped"]
    assert "change_too_late" in moved.codes
    shop.check_books()
    (job,) = [job for job in shop.claim() if job.row["kind"] == "cancel"]
    shop.end([job], "withdrawn")
    assert (moved.again().states, moved.again().sendings("cancel")) == (["shipped"], ["withdrawn"])


def test_a_cancelled_order_that_left_is_not_told_as_a_change(shop: Shop) -> None:
    first = shop.take(order())
    shop.push("done", reference="W1")
    closed = shop.take(order(at=1, status="cancelled"))
    assert closed.states == ["cancelling"]
    shop.tell(confirmed(first.code, ("SF1", [("A", 2)])))
    assert closed.again().codes == ["cancel_too_late"]
