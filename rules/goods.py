"""What is known of the goods on a line: the line's own word first, then the SKU's, then its components'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from domain.facts import Goods
from domain.order import Line, Order

Known = Mapping[str, Goods]


def live_lines(order: Order) -> list[Line]:
    """The lines that are not cancelled."""
    return [line for line in order.lines if line.state != "cancelled"]


def line_skus(line: Line) -> tuple[str, ...]:
    """Our SKUs on a line: its own and its components'."""
    parts = tuple(component.sku for component in line.components)
    return (line.sku, *parts) if line.sku else parts


def unit_weight(line: Line, known: Known) -> int:
    """Grams of one unit sold; 0 when nobody knows."""
    if line.weight_grams:
        return line.weight_grams
    own = known.get(line.sku)
    if own is not None and own.weight_grams:
        return own.weight_grams
    return sum(known[part.sku].weight_grams * part.quantity for part in line.components if part.sku in known)


def unit_volume(line: Line, known: Known) -> int:
    """Millilitres of one unit sold; 0 when nobody knows."""
    own = known.get(line.sku)
    if own is not None and own.volume_ml:
        return own.volume_ml
    return sum(known[part.sku].volume_ml * part.quantity for part in line.components if part.sku in known)


def line_classes(line: Line, known: Known) -> frozenset[str]:
    """The classes of a line's goods and of all their components."""
    return _classes((line,), known)


def order_classes(order: Order, known: Known) -> frozenset[str]:
    """The classes of everything on the order that is not cancelled."""
    return _classes(live_lines(order), known)


def line_supplier(line: Line, known: Known) -> str:
    """Whose goods they are; "" when they are ours, of several suppliers, or unknown."""
    names = {known[sku].supplier for sku in line_skus(line) if sku in known} - {""}
    return names.pop() if len(names) == 1 else ""


def order_suppliers(order: Order, known: Known) -> frozenset[str]:
    """The suppliers of everything on the order that is not cancelled, ourselves left out."""
    skus = [sku for line in live_lines(order) for sku in line_skus(line)]
    return frozenset({known[sku].supplier for sku in skus if sku in known} - {""})


def _classes(lines: Iterable[Line], known: Known) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for line in lines:
        goods = known.get(line.sku)
        if goods is not None and goods.classes:
            found = found | goods.classes if found else goods.classes
        for part in line.components:
            goods = known.get(part.sku)
            if goods is not None and goods.classes:
                found = found | goods.classes if found else goods.classes
    return found
