"""One GraphQL call over loopback, and the documents the shop driver sends (Vendure 3.7.3, admin and shop API)."""

from __future__ import annotations

import json
from http.client import HTTPResponse
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from .install import ShopError

CALL_SECONDS = 30.0
TOKEN_HEADER = "vendure-auth-token"
FAULT = "__typename ... on ErrorResult { errorCode message }"

LOGIN = f"""mutation($user: String!, $password: String!) {{
  login(username: $user, password: $password, rememberMe: true) {{ {FAULT} ... on CurrentUser {{ id }} }} }}"""
VARIANTS = """query($skip: Int!, $take: Int!) { productVariants(options: {skip: $skip, take: $take, sort: {id: ASC}}) {
  totalItems items { id sku name priceWithTax currencyCode stockLevels { stockOnHand stockAllocated } } } }"""
ADD_ITEM = f"""mutation($id: ID!, $quantity: Int!) {{
  addItemToOrder(productVariantId: $id, quantity: $quantity) {{ {FAULT} ... on Order {{ id code }} }} }}"""
SET_CUSTOMER = f"""mutation($input: CreateCustomerInput!) {{
  setCustomerForOrder(input: $input) {{ {FAULT} ... on Order {{ id }} }} }}"""
SET_ADDRESS = f"""mutation($input: CreateAddressInput!) {{
  setOrderShippingAddress(input: $input) {{ {FAULT} ... on Order {{ id }} }} }}"""
SHIPPING_METHODS = "{ eligibleShippingMethods { id code priceWithTax } }"
SET_SHIPPING = f"""mutation($ids: [ID!]!) {{
  setOrderShippingMethod(shippingMethodId: $ids) {{ {FAULT} ... on Order {{ id }} }} }}"""
APPLY_COUPON = f"""mutation($code: String!) {{
  applyCouponCode(couponCode: $code) {{ {FAULT} ... on Order {{ id }} }} }}"""
TO_PAYMENT = f"""mutation {{ transitionOrderToState(state: "ArrangingPayment") {{ {FAULT} ... on Order {{ id }} }} }}"""
PAY = f"""mutation {{ addPaymentToOrder(input: {{method: "standard-payment", metadata: {{}}}}) {{
  {FAULT} ... on Order {{ id code state payments {{ id }} }} }} }}"""
SETTLE = f"mutation($id: ID!) {{ settlePayment(id: $id) {{ {FAULT} ... on Payment {{ id state }} }} }}"
NOTE = "mutation($input: AddNoteToOrderInput!) { addNoteToOrder(input: $input) { id } }"
CANCEL = f"""mutation($input: CancelOrderInput!) {{
  cancelOrder(input: $input) {{ {FAULT} ... on Order {{ id state }} }} }}"""
TRANSITION = f"""mutation($id: ID!, $state: String!) {{
  transitionOrderToState(id: $id, state: $state) {{ {FAULT} ... on Order {{ id state }}
    ... on OrderStateTransitionError {{ transitionError fromState toState }} }} }}"""
MODIFY = f"""mutation($input: ModifyOrderInput!) {{
  modifyOrder(input: $input) {{ {FAULT} ... on Order {{ id state }} }} }}"""
FULFIL = f"""mutation($input: FulfillOrderInput!) {{
  addFulfillmentToOrder(input: $input) {{ {FAULT} ... on Fulfillment {{ id state method trackingCode }} }} }}"""
FULFILMENT_STATE = f"""mutation($id: ID!, $state: String!) {{
  transitionFulfillmentToState(id: $id, state: $state) {{ {FAULT} ... on Fulfillment {{ id state }}
    ... on FulfillmentStateTransitionError {{ transitionError }} }} }}"""
PROMOTION = f"""mutation($input: CreatePromotionInput!) {{
  createPromotion(input: $input) {{ {FAULT} ... on Promotion {{ id }} }} }}"""
ORDERS = """query($options: OrderListOptions!) { orders(options: $options) { totalItems items {
  id code state createdAt updatedAt orderPlacedAt currencyCode subTotalWithTax shippingWithTax totalWithTax
  shippingAddress { fullName company streetLine1 streetLine2 city province postalCode countryCode phoneNumber }
  lines { id quantity orderPlacedQuantity productVariant { sku } }
  fulfillments { id state method trackingCode lines { orderLineId quantity } } } } }"""


# A proxy of this machine has no business with a shop on loopback.
_opener = build_opener(ProxyHandler({}))


def call(url: str, document: str, variables: dict[str, Any], token: str) -> tuple[Any, str]:
    """POST one document; returns (data, token to use from now on). Raises ShopError for top-level `errors`, OSError when no
    whole answer came."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    asked = json.dumps({"query": document, "variables": variables}).encode()
    status, text, next_token = _post(Request(url, asked, headers))  # noqa: S310 - the shop's own loopback address
    try:
        body = json.loads(text)
    except ValueError as fault:
        raise ShopError(f"the shop answered {status} without JSON: {text[:200].decode(errors='replace')}") from fault
    if body.get("errors"):
        first = body["errors"][0]
        raise ShopError(str(first.get("message")), str(first.get("extensions", {}).get("code", "")))
    return body["data"], next_token or token


def _post(request: Request) -> tuple[int, bytes, str]:
    """Status, body and token header of the answer, whatever its status."""
    try:
        answer: HTTPResponse | HTTPError = _opener.open(request, timeout=CALL_SECONDS)
    except HTTPError as refused:
        answer = refused
    with answer:
        return int(answer.status or 0), answer.read(), answer.headers.get(TOKEN_HEADER) or ""


def unwrap(data: Any, field: str) -> Any:
    """The value of a mutation's union; Vendure says 200 and means no, so an `errorCode` becomes ShopError."""
    value = data[field]
    if isinstance(value, dict) and "errorCode" in value:
        more = value.get("transitionError") or value["message"]
        raise ShopError(f"{field}: {value['errorCode']}: {more}", str(value["errorCode"]))
    return value
