"""One parcel told to Shopify, or several: fulfilment orders read fresh, one fulfilment per location.

Facts: global/shopify.md §5 (read 2026-11-21): fulfilment rules H; fulfillmentCreate is not idempotent: fulfilments are read before,
and after an unknown outcome. Several mutations in one document run one after the other, each with a result under its alias
(GraphQL specification 6.2.2, 2026-11-22, H); that Shopify counts the cost of each, 10 points, M.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.carriers import carrier_name, spoken_code
from domain.errors import HubError, MappingError, RefusedError, UnknownOutcomeError

from ._channel import Confirmation, Confirmed, Session
from ._shopify_calls import call_admin, read_order, read_orders
from ._shopify_order import nodes_of
from ._shopify_queries import LEFT_BY_ID, SHIP, ship_many

_AT_ONCE = 100  # fulfilments of one operation: 10 points each, of 1,000 that one may cost (M)
_ITEMS_PER_CALL = 512  # fulfillmentOrderLineItems takes at most 512 (H)
_OPEN = frozenset({"OPEN", "IN_PROGRESS"})
_LIVE = frozenset({"SUCCESS", "OPEN", "PENDING"})


def find(session: Session, parcel: Confirmation) -> Confirmed | None:
    """Read the order back: confirmed when live fulfilments with this number hold all of the parcel's units."""
    told = read_order(session, parcel.order_id)
    if told is None:
        return None
    reference, units = _fulfilled(told[1], parcel.tracking)
    missing = [line for line, count in _wanted(parcel).items() if units.get(line, 0) < count]
    return Confirmed(reference=reference) if reference and not missing else None


def _wanted(parcel: Confirmation) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for line, count in parcel.lines:
        wanted[line] = wanted.get(line, 0) + count
    return wanted


def _fulfilled(order: Mapping[str, Any], tracking: str) -> tuple[str, dict[str, int]]:
    """The newest live fulfilment with this number and the units per line that all such fulfilments hold."""
    reference, units = "", dict[str, int]()
    fulfilments = order.get("fulfillments")
    for each in fulfilments if isinstance(fulfilments, list) else []:
        numbers = [info.get("number") for info in each.get("trackingInfo") or [] if isinstance(info, Mapping)]
        if each.get("status") not in _LIVE or tracking not in numbers:
            continue
        reference = str(each.get("id") or "")
        for item in nodes_of(each, "fulfillmentLineItems", cut="too_many_lines"):
            line = str((item.get("lineItem") or {}).get("id") or "")
            units[line] = units.get(line, 0) + int(item.get("quantity") or 0)
    return reference, units


def confirm(session: Session, parcel: Confirmation) -> Confirmed:
    """Read the fulfilment orders fresh (they split, merge and move), pick the parcel's units, and create one fulfilment per
    location. Units that this number already covers are left out, so doing it twice does it once."""
    told = read_order(session, parcel.order_id)
    if told is None:
        raise RefusedError("order_unknown", parcel.order_id)
    reference, places = _left_to_tell(told[1], parcel)
    for groups in places:
        reference = _ship(session, parcel, groups)
    return Confirmed(reference=reference)


def confirm_many(session: Session, parcels: Sequence[Confirmation]) -> list[Confirmed | HubError]:
    """Parcels of different orders: what is left of all orders is read with one query, all fulfilments are created with one
    operation. A parcel whose order could not be read so, or that the whole operation was refused with, goes its own way as with
    `confirm`."""
    try:
        orders = read_orders(session, [parcel.order_id for parcel in parcels], LEFT_BY_ID)
    except HubError as error:
        return [error] * len(parcels)
    ends: dict[int, Confirmed | HubError] = {}
    going: dict[int, list[list[dict[str, Any]]]] = {}
    room = _AT_ONCE
    for at, parcel in enumerate(parcels):
        order = orders.get(parcel.order_id, (b"", None))[1]
        try:
            reference, places = _left_to_tell(order, parcel) if isinstance(order, Mapping) else ("", [])
        except HubError as error:
            ends[at] = error
            continue
        if 0 < len(places) <= room:
            going[at] = places
            room -= len(places)
        else:
            ends[at] = Confirmed(reference=reference) if reference and not places else _alone(session, parcel)
    ends |= _ship_all(session, parcels, going)
    return [ends[at] for at in range(len(parcels))]


def _alone(session: Session, parcel: Confirmation) -> Confirmed | HubError:
    try:
        return confirm(session, parcel)
    except HubError as error:
        return error


def _ship_all(
    session: Session, parcels: Sequence[Confirmation], going: Mapping[int, Sequence[list[dict[str, Any]]]]
) -> dict[int, Confirmed | HubError]:
    """Create the fulfilments of these parcels, by their index, one for each location."""
    if not going:
        return {}
    named = {
        f"f{at}p{n}" if n else f"f{at}": (at, groups) for at, left in going.items() for n, groups in enumerate(left)
    }
    variables = {name: _input(session, parcels[at], groups) for name, (at, groups) in named.items()}
    try:
        data = call_admin(session, ship_many(list(named)), variables, writes=True).data
    except RefusedError:
        # Some of it may have been carried out; `confirm` reads before it tells.
        return {at: _alone(session, parcels[at]) for at in going}
    except HubError as error:
        return dict.fromkeys(going, error)
    ends: dict[int, Confirmed | HubError] = {}
    for name, (at, _) in named.items():
        end = _end(data.get(name))
        # Of two locations one may say no: the parcel is not told, and telling it again leaves out what is covered. What may have
        # happened is looked up before anybody is asked.
        if at not in ends or isinstance(end, UnknownOutcomeError) or isinstance(ends[at], Confirmed):
            ends[at] = end
    return ends


def _end(result: Any) -> Confirmed | HubError:
    try:
        return Confirmed(reference=_made(result))
    except HubError as error:
        return error


def _left_to_tell(order: Mapping[str, Any], parcel: Confirmation) -> tuple[str, list[list[dict[str, Any]]]]:
    """The reference of what this number already covers ("" nothing), and per location what is still to be told."""
    reference, done = _fulfilled(order, parcel.tracking)
    wanted = {line: count - done.get(line, 0) for line, count in _wanted(parcel).items() if count > done.get(line, 0)}
    if wanted:
        return reference, by_location(order, wanted)
    if not reference:
        raise RefusedError("no_lines", "a parcel that holds no line of the order")
    return reference, []


def by_location(order: Mapping[str, Any], wanted: Mapping[str, int]) -> list[list[dict[str, Any]]]:
    """`lineItemsByFulfillmentOrder` per location: units are taken from open fulfilment orders in the order given. Raises
    RefusedError `not_fulfillable` when fewer units are open than the parcel holds."""
    left, places = dict(wanted), dict[str, list[dict[str, Any]]]()
    for entry in _whole(order, "fulfillmentOrders"):
        if entry.get("status") not in _OPEN:
            continue
        items = []
        for item in _whole(entry, "lineItems"):
            line, open_units = str((item.get("lineItem") or {}).get("id") or ""), item.get("remainingQuantity")
            take = min(left.get(line, 0), open_units if type(open_units) is int else 0)
            if take > 0:
                left[line] -= take
                items.append({"id": item.get("id"), "quantity": take})
        place = ((entry.get("assignedLocation") or {}).get("location") or {}).get("id") or entry.get("id")
        for at in range(0, len(items), _ITEMS_PER_CALL):
            group = {
                "fulfillmentOrderId": entry.get("id"),
                "fulfillmentOrderLineItems": items[at : at + _ITEMS_PER_CALL],
            }
            places.setdefault(str(place), []).append(group)
    short = {line: count for line, count in left.items() if count > 0}
    if short:
        raise RefusedError("not_fulfillable", f"no open fulfilment order holds {short}")
    return list(places.values())


def _whole(record: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    try:
        return nodes_of(record, name, cut="too_many_fulfillment_orders")
    except MappingError as error:
        raise RefusedError(error.code, error.detail) from error


def tracking_info(settings: Any, parcel: Confirmation) -> dict[str, str]:
    """Company and number; a carrier Shopify does not know goes as free text, with our link if the account has one."""
    known = spoken_code(parcel.carrier, "shopify", settings.carriers)
    info = {"number": parcel.tracking, "company": known or carrier_name(parcel.carrier, parcel.carrier_name)}
    if not known and settings.tracking_url:
        info["url"] = settings.tracking_url.replace("{tracking}", parcel.tracking)
    return info


def _ship(session: Session, parcel: Confirmation, groups: Sequence[Mapping[str, Any]]) -> str:
    variables = {"fulfillment": _input(session, parcel, groups)}
    return _made(call_admin(session, SHIP, variables, writes=True).data.get("fulfillmentCreate"))


def _input(session: Session, parcel: Confirmation, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    info, notify = tracking_info(session.settings, parcel), session.settings.notify_customer
    return {"lineItemsByFulfillmentOrder": groups, "trackingInfo": info, "notifyCustomer": notify}


def _made(result: Any) -> str:
    """The id of the fulfilment a result tells of."""
    if not isinstance(result, Mapping):
        raise UnknownOutcomeError("unexpected_reply", "no fulfillmentCreate")
    if result.get("userErrors"):
        told = "; ".join(str(each.get("message")) for each in result["userErrors"] if isinstance(each, Mapping))
        raise RefusedError("user_error", told[:300])
    made = result.get("fulfillment")
    if not isinstance(made, Mapping) or not made.get("id"):
        raise UnknownOutcomeError("unexpected_reply", "neither a fulfilment nor an error")
    if made.get("status", "SUCCESS") not in _LIVE:
        # No error and not shipped either: only looking again tells.
        raise UnknownOutcomeError("not_shipped", f"the fulfilment is {made['status']}")
    return str(made["id"])
