"""Two documents as real sources send them, and the exact orders they are."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.order import Amounts, Consignee, Line, Order
from normalizer.coverage import unmapped
from normalizer.mapping import normalize
from tests.normalizer.mappings import NOW, SHANGHAI, SHOPIFY, TAOBAO, shopify_order, taobao_trade


def test_a_taobao_trade_is_exactly_this_order() -> None:
    assert normalize(taobao_trade(), TAOBAO, zone=SHANGHAI, now=NOW) == Order(
        external_id="4212345678900234567",
        version="2026-11-20T14:02:41.000000+00:00",
        source_time=datetime(2026, 11, 20, 14, 2, 41, tzinfo=UTC),
        placed_at=datetime(2026, 11, 20, 13, 30, 5, tzinfo=UTC),
        paid_at=datetime(2026, 11, 20, 13, 31, 10, tzinfo=UTC),
        status="pending_shipment",
        source_status="WAIT_SELLER_SEND_GOODS",
        payment="paid",
        currency="CNY",
        amounts=Amounts(goods=21000, freight=800, discount=1260, paid=20540),
        consignee=Consignee(
            name="张**", phone="138****0000", country="CN", province="浙江省", city="杭州市", district="余杭区",
            town="仓前街道", street="***", postcode="000000", token="1oExampleOaid1oExampleOaid1oExampleOaid==",
        ),
        lines=(
            Line(
                external_id="4212345678901234567", external_sku="SKU-1001-RED-L", quantity=2, unit_price=9900,
                amount=18000, title="示例T恤", listing_id="612345678901", share=1080,
            ),
            Line(
                external_id="4212345678902234567", external_sku="SKU-2002", quantity=1, unit_price=3000, amount=3000,
                title="示例袜子", listing_id="612345678902", share=180,
                state="after_sale",
            ),
        ),
        buyer_id="AAExampleOpenUid0001",
        buyer_message="请发顺丰",
        seller_memo="老客户",
        seller_flag="1",
        extra=(("shipping_type", "express"),),
    )  # fmt: skip


def test_a_shopify_order_is_exactly_this_order() -> None:
    assert normalize(shopify_order(), SHOPIFY, zone=UTC, now=NOW) == Order(
        external_id="5678901234567",
        version="2026-01-31T09:05:12Z",
        source_time=datetime(2026, 1, 31, 9, 5, 12, tzinfo=UTC),
        placed_at=datetime(2026, 1, 31, 9, 0, tzinfo=UTC),
        status="pending_shipment",
        source_status="UNFULFILLED",
        payment="paid",
        currency="USD",
        amounts=Amounts(goods=5000, freight=500, tax=497, paid=5997),
        consignee=Consignee(
            name="Mary Major", phone="+15125550123", country="US", province="TX", city="Austin",
            street="12 Elm St, Apt 3", postcode="78701", email="mary@example.com",
        ),
        lines=(
            Line(
                external_id="gid://shopify/LineItem/111", external_sku="SKU-RED-M", quantity=2, unit_price=2500,
                amount=5000, title="T-shirt - red / M", tax=413,
            ),
        ),
        buyer_message="Leave at door",
        tags=("vip",),
        extra=(("name", "#1001"),),
    )  # fmt: skip


def test_the_coverage_report_names_what_a_mapping_never_read() -> None:
    left = unmapped(taobao_trade(), TAOBAO)
    assert {"type", "receiver_country"} & left == {"type"}
    assert {"orders.order.*.divide_order_fee", "orders.order.*.sku_id", "timeout_action_time"} <= left
    assert not {path for path in left if path.startswith("promotion_details")}
    assert (
        not {"tid_str", "orders.order.*.num", "orders.order.*.refund_status", "receiver_mobile", "forbid_consign"}
        & left
    )


def test_whole_objects_that_a_field_reads_are_covered() -> None:
    left = unmapped(shopify_order(), SHOPIFY)
    assert "tags" not in left
    assert "lineItems.nodes.*.taxLines.*.priceSet.shopMoney.amount" not in left
    assert "lineItems.nodes.*.taxLines.*.rate" in left
    assert "shippingAddress.address1" not in left
    assert "fulfillmentOrders.nodes.*.id" in left


def test_coverage_survives_documents_that_cannot_be_read() -> None:
    trade = taobao_trade()
    trade["payment"], trade["orders"] = "x", {"order": [1]}
    assert "type" in unmapped(trade, TAOBAO)
    assert "colour" in unmapped({"colour": "red"}, TAOBAO)
