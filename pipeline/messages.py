"""What is sent, built from stored rows at the moment of sending: shipments for warehouses, confirmations for channels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from connectors._channel import Confirmation
from domain.allocation import split_units
from domain.order import Consignee
from outbound._warehouse import Shipment, ShipmentLine
from storage.rows import Row
from storage.times import maybe_moment, moment

from .directory import Account
from .dossier import Dossier
from .gifts import FIRST, own_lines
from .take_news import line_ref

_TOLD = frozenset({"confirmed", "degraded", "due"})


def build_shipment(dossier: Dossier, fulfilment: Row, account: Account) -> Shipment:
    """One fulfilment as its warehouse has to know it; money of the parts of an order sums to the order."""
    order, private = dossier.order, dossier.private
    rows = sorted(dossier.lines_of(fulfilment["id"]), key=lambda row: (row["line"], row["sku"]))
    lines = tuple(_shipment_line(dossier, fulfilment, row, rows) for row in rows)
    goods = sum(line.amount for line in lines)
    discount = sum(line.discount for line in lines)
    return Shipment(
        code=fulfilment["code"],
        order_number=order["number"],
        source_order=order["external_id"],
        channel=account.channel.name,
        shop=str(account.options.get("shop_name", account.name)),
        currency=order["currency"],
        placed_at=moment(order["placed_at"]),
        paid_at=maybe_moment(order["paid_at"]),
        created_at=moment(fulfilment["created_at"]),
        consignee=Consignee(**private.get("ship_to", private["consignee"])),
        lines=lines,
        goods=goods,
        discount=discount,
        freight=fulfilment["freight"],
        total=goods - discount + fulfilment["freight"],
        cod=order["payment"] == "cod",
        carrier=fulfilment["carrier"],
        buyer_id=private["buyer_id"],
        buyer_message=private["buyer_message"],
        seller_memo=private["seller_memo"],
        split=len(dossier.live()) > 1,
        extra=tuple((pair[0], pair[1]) for pair in private["extra"]),
    )


def build_merged_shipment(code: str, parts: Sequence[tuple[Dossier, Row, Account]]) -> Shipment:
    """One warehouse order for several fulfilments, in their order: line numbers count through all of them, money is their
    sum, and what can be said only once (shop, order number, consignee) is the first one's. The same parts give the same."""
    shipments = [build_shipment(*part) for part in parts]
    first = shipments[0]
    lines = [line for each in shipments for line in each.lines]
    return replace(
        first,
        code=code,
        lines=tuple(replace(line, ref=str(number)) for number, line in enumerate(lines, 1)),
        goods=sum(each.goods for each in shipments),
        discount=sum(each.discount for each in shipments),
        freight=sum(each.freight for each in shipments),
        total=sum(each.total for each in shipments),
        buyer_message=_joined(each.buyer_message for each in shipments),
        seller_memo=_joined(each.seller_memo for each in shipments),
        split=False,
    )


def _joined(texts: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(text for text in texts if text))


def build_confirmation(dossier: Dossier, package: Row, account: Account) -> Confirmation | None:
    """One parcel for its channel. A channel that takes one number per line hears of a line with its first parcel only;
    None when an earlier parcel has told everything this one could."""
    units = {line: count for line, count in package_units(dossier, package["id"]).items() if line < FIRST}
    if account.channel.can.parcels_per_line == 1:
        told = _told_lines(dossier, package)
        units = {line: quantity for line, quantity in units.items() if line not in told}
    if not units:
        return None
    everything = {
        number: row["quantity"]
        for number, row in own_lines(dossier).items()
        if row["state"] != "cancelled" and row["requires_shipping"]
    }
    parcels = {package_id for package_id, line, _ in dossier.package_lines if line < FIRST}
    return Confirmation(
        order_id=dossier.order["external_id"],
        package_key=f"{dossier.order['number']}/{package['tracking']}",
        tracking=package["tracking"],
        carrier=package["carrier"],
        carrier_name=package["carrier_name"],
        lines=tuple((dossier.lines[line]["external_id"], quantity) for line, quantity in sorted(units.items())),
        whole_order=units == everything and len(parcels) == 1,
        shipped_at=moment(package["shipped_at"]),
    )


def package_units(dossier: Dossier, package_id: int) -> dict[int, int]:
    """Order-line units in a parcel: a bundle counts by the component that completes it, so that the units told to the
    channel over all parcels sum to what was ordered."""
    units: dict[int, int] = {}
    earlier = [p for p in dossier.packages if p < package_id]
    for line in {key[1] for key in dossier.package_lines if key[0] == package_id}:
        before = _whole_units(dossier, line, earlier) if earlier else 0
        after = _whole_units(dossier, line, (*earlier, package_id))
        if after > before:
            units[line] = after - before
    return units


def _whole_units(dossier: Dossier, line: int, packages: Iterable[int]) -> int:
    row = dossier.lines[line]
    per_unit = {p[0]: p[1] for p in json.loads(row["components"])} if row["components"] else {row["sku"]: 1}
    ids = set(packages)
    sent = dict.fromkeys(per_unit, 0)
    for (package_id, number, sku), packed in dossier.package_lines.items():
        if number == line and package_id in ids and sku in sent:
            sent[sku] += packed["quantity"]
    return min((sent[sku] // count for sku, count in per_unit.items()), default=0)


def _told_lines(dossier: Dossier, package: Row) -> set[int]:
    earlier = (p for p in dossier.packages.values() if p["id"] < package["id"] and p["confirm_state"] in _TOLD)
    return {key[1] for row in earlier for key in dossier.package_lines if key[0] == row["id"]}


def _shipment_line(dossier: Dossier, fulfilment: Row, row: Row, rows: list[Row]) -> ShipmentLine:
    line = dossier.lines[row["line"]]
    amount, discount = _money_of(dossier, fulfilment, row, line)
    return ShipmentLine(
        ref=line_ref(row["line"], row["sku"], rows),
        sku=row["sku"],
        quantity=row["quantity"],
        title=line["title"],
        source_order=dossier.order["external_id"],
        source_line=line["external_id"],
        unit_price=line["unit_price"],
        amount=amount,
        discount=discount,
    )


def _money_of(dossier: Dossier, fulfilment: Row, row: Row, line: Row) -> tuple[int, int]:
    """Goods value and discount of these units. The line's figures go to its SKU, of a bundle to its first component, unit by
    unit in the order of the fulfilments, so the parts sum to the line."""
    parts = json.loads(line["components"]) if line["components"] else [[line["sku"], 1]]
    if row["sku"] != parts[0][0]:
        return 0, 0
    total = max(1, line["quantity"] * parts[0][1])
    before = sum(
        other["quantity"]
        for key, other in dossier.fulfilment_lines.items()
        if key[1:] == (row["line"], row["sku"])
        and key[0] < fulfilment["id"]
        and dossier.fulfilments[key[0]]["state"] != "cancelled"
    )
    start, end = min(before, total), min(before + row["quantity"], total)
    amounts, discounts = split_units(line["amount"], total), split_units(line["discount"], total)
    return sum(amounts[start:end]), sum(discounts[start:end])
