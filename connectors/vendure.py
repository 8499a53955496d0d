"""Vendure (self-hosted shop): orders through the admin GraphQL API, parcels as fulfilments.

Facts: global/vendure-medusa-saleor.md and observations of a running Vendure 3.7.3 (sandbox/live/README.md), 2026-11-21, H.
`updatedAt` is no change stamp there: new orders are found by orderPlacedAt, cancels and quantities by updatedAt, everything else by
looking at all open orders again. `after` is exclusive and seconds are compared as text, so each page starts a little before the
last one ended, and doubles are dropped. Only PostgreSQL/MySQL may stamp finer than a second (M): it makes no difference here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field, SecretStr

from domain.carriers import carrier_name
from domain.errors import ConfigError, RefusedError, RetryableError, UnknownOutcomeError
from normalizer.mapping import OrderMapping
from wire.auth import Bearer
from wire.budget import Budget
from wire.records import split_records
from wire.retry import read_with_retries

from ._channel import Capabilities, Channel, Confirmation, Confirmed, Document, Page, Session, Settings, Since
from ._graphql import Answered, send_graphql
from ._vendure_order import MAPPING, SHIPS_AUTHORIZED, all_cancelled

_RECORDS = "data.orders.items"
_MOST_PAGES = 10_000
_REPEATS = 3  # a page that lies within one time comes twice, never three times
_OPEN_STATES = ("PaymentAuthorized", "PaymentSettled", "PartiallyShipped", "Modifying", "ArrangingAdditionalPayment")
_LIVE = frozenset({"Created", "Pending", "Shipped", "Delivered"})
_OUT = frozenset({"Shipped", "Delivered"})
_MS = timedelta(milliseconds=1)
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

_FAULT = "__typename ... on ErrorResult { errorCode message }"
LOGIN = f"""mutation HubLogin($user: String!, $password: String!) {{
  login(username: $user, password: $password, rememberMe: false) {{ {_FAULT} ... on CurrentUser {{ id }} }} }}"""
ORDERS = """query HubOrders($options: OrderListOptions) {
  orders(options: $options) { totalItems items {
    id code type state active createdAt updatedAt orderPlacedAt currencyCode
    subTotalWithTax shippingWithTax totalWithTax couponCodes
    customer { id emailAddress firstName lastName phoneNumber }
    shippingAddress { fullName company streetLine1 streetLine2 city province postalCode countryCode phoneNumber }
    shippingLines { shippingMethod { code name } priceWithTax discountedPriceWithTax }
    surcharges { sku description priceWithTax }
    lines {
      id quantity orderPlacedQuantity unitPriceWithTax linePriceWithTax discountedLinePriceWithTax proratedLinePriceWithTax
      taxRate productVariant { id sku name } fulfillmentLines { quantity fulfillmentId }
    }
    fulfillments { id state method trackingCode lines { orderLineId quantity } }
  } }
}"""
SHIP = f"""mutation HubShip($input: FulfillOrderInput!) {{
  addFulfillmentToOrder(input: $input) {{ {_FAULT} ... on Fulfillment {{ id state method trackingCode }} }} }}"""
SHIPPED = f"""mutation HubShipped($id: ID!) {{
  transitionFulfillmentToState(id: $id, state: "Shipped") {{ {_FAULT} ... on Fulfillment {{ id state }}
    ... on FulfillmentStateTransitionError {{ transitionError fromState toState }} }} }}"""


class VendureSettings(Settings):
    """One shop. `base_url` is the admin API itself (https://shop.example/admin-api); `channel` the vendure-token of a channel, if
    the shop has several. `ship_authorized`: an authorised payment counts as paid."""

    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)
    channel: SecretStr = SecretStr("")
    page_size: int = Field(default=100, ge=1, le=1000)
    ship_authorized: bool = False
    carriers: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a pull stands: the list, the time its next page starts at, and how many of that very time are read already."""

    stage: Literal["open", "placed", "changed"]
    at: datetime
    skip: int = 0

    def token(self) -> str:
        return f"{self.stage}/{self.at:%Y%m%dT%H%M%S.%f}/{self.skip}"

    @property
    def field(self) -> str:
        return "updatedAt" if self.stage == "changed" else "orderPlacedAt"


def _place(token: str) -> _Place:
    try:
        stage, at, skip = token.split("/")
        moment = datetime.strptime(at, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
        for known in ("open", "placed", "changed"):
            if stage == known and int(skip) >= 0:
                return _Place(known, moment, int(skip))
        raise ValueError(stage)
    except ValueError:
        raise ConfigError("cursor_unreadable", "the stored page token is not one of this channel") from None


def pull(session: Session, since: Since) -> Iterator[Page]:
    """Three lists, each by a time that grows: all open orders (their changes leave no stamp), orders placed in the window,
    orders whose updatedAt is in the window. `seen_to` comes with the last page of the last list."""
    place: _Place | None = _place(since.token) if since.token else _Place("open", _BEGINNING)
    seen: set[tuple[str, bytes]] = set()
    before: tuple[str, list[bytes]] = ("", [])
    repeats = 1
    for _ in range(_MOST_PAGES):
        if place is None:
            return
        records = _list(session, place)
        page = (place.stage, [raw for raw, _ in records])
        repeats = repeats + 1 if records and page == before else 1
        before = page
        if repeats >= _REPEATS:
            raise RetryableError("paging_loop", f"the same page {_REPEATS} times")
        fresh = _fresh(records, seen)
        after = _after(place, records, session.settings.page_size, since)
        yield Page(
            documents=fresh,
            next=after.token() if after is not None else "",
            seen_to=None if after is not None else since.end,
        )
        place = after
    raise RetryableError("paging_endless", f"more than {_MOST_PAGES} pages")


def _fresh(records: Sequence[tuple[bytes, Any]], seen: set[tuple[str, bytes]]) -> tuple[Document, ...]:
    documents = []
    for raw, order in records:
        known = order if isinstance(order, Mapping) else {}
        if known.get("orderPlacedAt") is None and known.get("code"):
            continue  # a cart or a draft: not an order yet
        code = known.get("code")
        code = code if isinstance(code, str) else ""
        if (code, raw) not in seen:
            seen.add((code, raw))
            version = max(str(known.get("updatedAt") or ""), str(known.get("orderPlacedAt") or ""))
            documents.append(Document(kind="order", external_id=code, body=raw, version=version))
    return tuple(documents)


def _after(place: _Place, records: Sequence[tuple[bytes, Any]], size: int, since: Since) -> _Place | None:
    """The next place. A full page goes on at its last readable time, floored to what `after` compares; a page that lies within
    one such time is stepped over by half, so that an order leaving it meanwhile hides nobody."""
    stamps = (_stamp_of(order, place.field) for _, order in reversed(records))
    last = next((stamp for stamp in stamps if stamp is not None), None)
    over = place.stage != "open" and last is not None and last > since.end
    if len(records) < size or over:
        following: dict[str, _Place | None] = {
            "open": _Place("placed", since.start),
            "placed": _Place("changed", since.start.replace(microsecond=0)),
            "changed": None,
        }
        return following[place.stage]
    if last is not None:
        floor = last.replace(microsecond=0) if place.stage == "changed" else last
        if floor > place.at:
            return replace(place, at=floor, skip=0)
    return replace(place, skip=place.skip + max(1, size // 2))


def _stamp_of(order: Any, name: str) -> datetime | None:
    try:
        return datetime.fromisoformat(order[name]).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _list(session: Session, place: _Place) -> Sequence[tuple[bytes, Any]]:
    """One page. Fewer orders than the shop itself counts are a failure, never the end of the list."""
    after = (place.at - _MS).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    conditions: dict[str, Any] = {"active": {"eq": False}, place.field: {"after": after}}
    if place.stage == "open":
        conditions["state"] = {"in": list(_OPEN_STATES)}
    options = {
        "filter": conditions,
        "sort": {place.field: "ASC"},
        "take": session.settings.page_size,
        "skip": place.skip,
    }
    answer = _read(session, {"options": options}, records=_RECORDS)
    records = answer.listed()
    total = answer.data["orders"].get("totalItems")
    if type(total) is int and len(records) < min(options["take"], total - place.skip):
        raise RetryableError("count_mismatch", f"{len(records)} orders from {place.skip} on, of {total}")
    return records


def fetch(session: Session, ids: Sequence[str]) -> tuple[Document, ...]:
    """Named orders by code. A code the shop does not know gives no document."""
    found: list[Document] = []
    for at in range(0, len(ids), 100):
        found += _fresh(_named(session, ids[at : at + 100]), set())
    return tuple(found)


def _named(session: Session, codes: Sequence[str]) -> list[tuple[bytes, Any]]:
    options = {"filter": {"code": {"in": list(codes)}}, "take": max(1, len(codes))}
    return split_records(_read(session, {"options": options}).reply.body, _RECORDS)[1]


def _read(session: Session, variables: Mapping[str, Any], *, records: str = "") -> Answered:
    """The list query, tried a few times within seconds."""
    return read_with_retries(
        lambda: _call(session, ORDERS, variables, writes=False, records=records),
        sleep=session.client.sleep,
        clock=session.clock,
    )


def _call(
    session: Session, document: str, variables: Mapping[str, Any], *, writes: bool, records: str = ""
) -> Answered:
    """One call with the kept token. FORBIDDEN is an old token first: log in once more, then believe it. A refused call did
    nothing, so a write may be repeated after it."""
    token = session.memory.get("token") or _login(session)
    try:
        return _send(session, document, variables, token, writes=writes, records=records)
    except ConfigError as error:
        if error.code != "FORBIDDEN":
            raise
    session.memory.pop("token", None)
    return _send(session, document, variables, _login(session), writes=writes, records=records)


def _send(
    session: Session, document: str, variables: Mapping[str, Any], token: str, *, writes: bool, records: str = ""
) -> Answered:
    channel = session.settings.channel.get_secret_value()
    return send_graphql(
        session.client,
        session.settings.base_url,
        document,
        variables,
        writes=writes,
        now=session.clock(),
        auth=Bearer(token) if token else None,
        headers={"vendure-token": channel} if channel else None,
        budget=session.budget,
        records=records,
    )


def _login(session: Session) -> str:
    """A new token, kept in the session's memory. Two threads may log in at once: both tokens are good."""
    settings = session.settings
    variables = {"user": settings.username, "password": settings.password.get_secret_value()}
    answer = _send(session, LOGIN, variables, "", writes=False)
    result = answer.data.get("login")
    token = str(answer.reply.headers.get("vendure-auth-token", ""))
    if isinstance(result, Mapping) and result.get("errorCode"):
        raise ConfigError("login_refused", str(result["errorCode"]))
    if not isinstance(result, Mapping):
        raise RetryableError("unexpected_reply", "the answer to a login is no login")
    if not token:
        raise ConfigError(
            "login_without_token", "the shop sends no vendure-auth-token: its tokenMethod must include bearer"
        )
    session.memory["token"] = token
    return token


def _order(session: Session, code: str) -> Mapping[str, Any]:
    records = _named(session, [code])
    if not records:
        raise RefusedError("order_unknown", code)
    order: Mapping[str, Any] = records[0][1]
    return order


def _parcels(order: Mapping[str, Any], tracking: str) -> list[Mapping[str, Any]]:
    """Live fulfilments with this tracking code: the code alone proves nothing, their units do."""
    found = order.get("fulfillments")
    parcels = found if isinstance(found, list) else []
    return [each for each in parcels if each.get("state") in _LIVE and each.get("trackingCode") == tracking]


def _units(parcels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    units: dict[str, int] = {}
    for parcel in parcels:
        for row in parcel.get("lines") or []:
            line = str(row["orderLineId"])
            units[line] = units.get(line, 0) + int(row["quantity"])
    return units


def _missing(parcel: Confirmation, units: Mapping[str, int]) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for line, count in parcel.lines:
        wanted[line] = wanted.get(line, 0) + count
    return {line: count - units.get(line, 0) for line, count in wanted.items() if count > units.get(line, 0)}


def find(session: Session, parcel: Confirmation) -> Confirmed | None:
    """Confirmed when fulfilments with this code that are Shipped or Delivered hold every unit. A Pending one is not: `confirm`
    then only has to move it."""
    order = _order(session, parcel.order_id)
    out = [each for each in _parcels(order, parcel.tracking) if each.get("state") in _OUT]
    return Confirmed(reference=str(out[-1]["id"])) if out and not _missing(parcel, _units(out)) else None


def confirm(session: Session, parcel: Confirmation) -> Confirmed:
    """Look first, because the shop accepts the same code twice and ships cancelled orders: make a fulfilment for the units
    that this code does not hold yet, then move every Pending one of this code to Shipped."""
    order = _order(session, parcel.order_id)
    _refuse_unshippable(order, session.settings)
    parcels = _parcels(order, parcel.tracking)
    missing = _missing(parcel, _units(parcels))
    if not parcels and not missing:
        raise RefusedError("no_lines", "a parcel that holds no line of the order")
    waiting = [str(each["id"]) for each in parcels if each.get("state") not in _OUT]
    reference = str(parcels[-1]["id"]) if parcels else ""
    if missing:
        reference = _claim(session, parcel, missing)
        waiting.append(reference)
    for ident in waiting:
        _ship(session, ident)
    return Confirmed(reference=reference)


def _claim(session: Session, parcel: Confirmation, units: Mapping[str, int]) -> str:
    """A new fulfilment. "Already fulfilled" also comes for an order that was cancelled since we looked (H, observed): another look
    tells the person which it is, or that the order is being changed just now and may be tried again."""
    try:
        return _add(session, parcel, units)
    except RefusedError:
        _refuse_unshippable(_order(session, parcel.order_id), session.settings)
        raise


def _refuse_unshippable(order: Mapping[str, Any], settings: Any) -> None:
    state = order.get("state")
    if state == "Cancelled" or all_cancelled(order):
        raise RefusedError("order_cancelled", str(order.get("code")))
    if state in {"Modifying", "ArrangingAdditionalPayment"}:
        raise RetryableError("order_being_modified", str(order.get("code")))
    if state == "PaymentAuthorized" and not settings.ship_authorized:
        # The shop would take it and then stay PaymentAuthorized for ever (observed).
        raise RefusedError("payment_not_settled", str(order.get("code")))


def _add(session: Session, parcel: Confirmation, units: Mapping[str, int]) -> str:
    method = session.settings.carriers.get(parcel.carrier) or carrier_name(parcel.carrier, parcel.carrier_name) or "-"
    arguments = [{"name": "method", "value": method}, {"name": "trackingCode", "value": parcel.tracking}]
    lines = [{"orderLineId": line, "quantity": count} for line, count in units.items()]
    given = {"lines": lines, "handler": {"code": "manual-fulfillment", "arguments": arguments}}
    made = _result(session, SHIP, {"input": given}, "addFulfillmentToOrder")
    return str(made["id"])


def _ship(session: Session, ident: str) -> None:
    try:
        moved = _result(session, SHIPPED, {"id": ident}, "transitionFulfillmentToState")
    except _AlreadyThere:
        return
    if moved.get("state") not in _OUT:
        # No error and not shipped either: only looking again tells.
        raise UnknownOutcomeError("not_shipped", f"the fulfilment is {moved.get('state')}")


class _AlreadyThere(RefusedError):
    """The fulfilment is Shipped or Delivered already."""


def _result(session: Session, document: str, variables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The value of a mutation's union. Raises RefusedError with the shop's errorCode, UnknownOutcomeError for neither."""
    result = _call(session, document, variables, writes=True).data.get(name)
    if isinstance(result, Mapping) and result.get("errorCode"):
        detail = str(result.get("transitionError") or result.get("message") or "")[:300]
        if result.get("fromState") in _OUT:
            raise _AlreadyThere(str(result["errorCode"]), detail)
        raise RefusedError(str(result["errorCode"]), detail)
    if not isinstance(result, Mapping) or not result.get("id"):
        raise UnknownOutcomeError("unexpected_reply", f"no {name}")
    return result


def mapping_for(settings: Any) -> OrderMapping:
    """An authorised payment is money only where the shop's owner says so."""
    return SHIPS_AUTHORIZED if settings.ship_authorized else MAPPING


def budget(settings: Any) -> Budget:
    """The server has no limits of its own (H): this only keeps a small shop responsive."""
    del settings
    return Budget(40, 20)


CHANNEL = Channel(
    name="vendure",
    title="Vendure",
    order_prefix="VE",
    settings=VendureSettings,
    mapping=MAPPING,
    mapping_for=mapping_for,
    pull=pull,
    fetch=fetch,
    confirm=confirm,
    find=find,
    budget=budget,
    window=timedelta(days=7),
    overlap=timedelta(minutes=15),
    can=Capabilities(parcels_per_line=1000, partial=True, cancel_after_ship=True, readback=True, repeats="findable"),
)
