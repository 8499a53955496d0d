"""The GraphQL documents sent to Shopify (Admin API 2026-07; facts global/shopify.md §2, §3, §5 and its validated samples, read
2026-11-21, H). `Fulfillment.fulfillmentLineItems`: shopify.dev object page Fulfillment (H)."""

from __future__ import annotations

from collections.abc import Sequence

_BAG = "{ shopMoney { amount currencyCode } }"

ORDER_FIELDS = f"""
fragment HubOrderFields on Order {{
  id legacyResourceId name number poNumber confirmationNumber sourceName sourceIdentifier
  createdAt processedAt updatedAt cancelledAt cancelReason closedAt test tags note
  email phone customerLocale currencyCode presentmentCurrencyCode taxesIncluded
  displayFinancialStatus displayFulfillmentStatus
  customAttributes {{ key value }}
  totalPriceSet {_BAG} currentTotalPriceSet {_BAG} subtotalPriceSet {_BAG}
  totalTaxSet {_BAG} totalShippingPriceSet {_BAG} totalDiscountsSet {_BAG} totalTipReceivedSet {_BAG}
  shippingAddress {{
    name firstName lastName company address1 address2 city province provinceCode zip country countryCodeV2 phone
  }}
  shippingLines(first: 5) {{ nodes {{ id title code source carrierIdentifier isRemoved discountedPriceSet {_BAG} }} }}
  lineItems(first: 50) {{
    pageInfo {{ hasNextPage endCursor }}
    nodes {{
      id sku name title variantTitle quantity currentQuantity unfulfilledQuantity requiresShipping isGiftCard
      originalUnitPriceSet {_BAG} discountedTotalSet {_BAG} priceAfterAllDiscountsBeforeTaxesSet {_BAG}
      variant {{ id barcode }}
    }}
  }}
  fulfillmentOrders(first: 10) {{
    pageInfo {{ hasNextPage }}
    nodes {{
      id status requestStatus fulfillAt fulfillBy
      assignedLocation {{ name location {{ id }} }}
      deliveryMethod {{ methodType }}
      fulfillmentHolds {{ reason reasonNotes }}
      lineItems(first: 50) {{
        pageInfo {{ hasNextPage }}
        nodes {{ id remainingQuantity totalQuantity sku lineItem {{ id }} }}
      }}
    }}
  }}
}}
"""

ORDERS = f"""
query HubOrders($first: Int!, $after: String, $query: String) {{
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {{
    pageInfo {{ hasNextPage endCursor }}
    nodes {{ ...HubOrderFields }}
  }}
}}
{ORDER_FIELDS}"""

# The same operation name: it is the same list, of less.
CHANGES = """
query HubOrders($first: Int!, $after: String, $query: String) {
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    pageInfo { hasNextPage endCursor }
    nodes { id updatedAt }
  }
}
"""

_SHIPPED = """
    fulfillments(first: 50) {
      id status createdAt trackingInfo { company number url }
      fulfillmentLineItems(first: 50) { nodes { quantity lineItem { id } } }
    }"""

ORDER = f"""
query HubOrder($id: ID!) {{
  order(id: $id) {{
    ...HubOrderFields{_SHIPPED}
  }}
}}
{ORDER_FIELDS}"""

ORDERS_BY_ID = f"""
query HubOrdersById($ids: [ID!]!) {{
  nodes(ids: $ids) {{
    ... on Order {{
    ...HubOrderFields{_SHIPPED}
    }}
  }}
}}
{ORDER_FIELDS}"""

# What a parcel needs to know of its order: what is open, and what is told already. Under the same name: it is the same question.
LEFT_BY_ID = f"""
query HubOrdersById($ids: [ID!]!) {{
  nodes(ids: $ids) {{
    ... on Order {{
    id
    fulfillmentOrders(first: 10) {{
      pageInfo {{ hasNextPage }}
      nodes {{
        id status
        assignedLocation {{ location {{ id }} }}
        lineItems(first: 50) {{ pageInfo {{ hasNextPage }} nodes {{ id remainingQuantity lineItem {{ id }} }} }}
      }}
    }}{_SHIPPED}
    }}
  }}
}}
"""

_SHIP = """fulfillmentCreate(fulfillment: $%s) {
    fulfillment { id status createdAt trackingInfo { company number url } }
    userErrors { field message }
  }"""

SHIP = f"""
mutation HubShip($fulfillment: FulfillmentInput!) {{
  {_SHIP % "fulfillment"}
}}
"""


def ship_many(names: Sequence[str]) -> str:
    """One document that creates a fulfilment for each name, which is its variable and its result's alias."""
    variables = ", ".join(f"${name}: FulfillmentInput!" for name in names)
    fields = "\n  ".join(f"{name}: {_SHIP % name}" for name in names)
    return f"mutation HubShipMany({variables}) {{\n  {fields}\n}}\n"
