"""How the tests call the three servers: signed by hand, over real loopback connections."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx

from sandbox import Running
from sandbox.signing import qimen_sign, top_sign

FIELDS = "tid,status,modified,created,pay_time,payment,total_fee,post_fee,discount_fee,receiver_name,receiver_mobile,oaid,orders"


def china(moment: datetime) -> str:
    """An aware moment as Taobao and Qimen write it."""
    return (moment.astimezone(UTC) + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class Calls:
    """A client of one running sandbox."""

    box: Running
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10, trust_env=False))

    def control(self, path: str, **data: Any) -> dict[str, Any]:
        """POST to the control API when there is data, else GET."""
        url = f"{self.box.control}/_control/{path}"
        answer = self.client.post(url, json=data) if data else self.client.get(url)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ledger(self, channel: str) -> list[dict[str, Any]]:
        """All rows, page by page."""
        rows: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = self.control(f"ledger?channel={channel}&after={after}&limit=500")
            rows, after = rows + page["rows"], page["next"]
        return rows

    def top_params(self, method: str, **business: str) -> dict[str, str]:
        """A signed form of a TOP call."""
        its = self.box.taobao
        params = {
            "method": f"taobao.{method}",
            "app_key": its["app_key"],
            "session": its["session"],
            "format": "json",
            "v": "2.0",
            "timestamp": china(datetime.now(UTC)),
            "sign_method": "md5",
            **business,
        }
        return {**params, "sign": top_sign(params, its["app_secret"])}

    def top(self, method: str, **business: str) -> dict[str, Any]:
        """One TOP call; the body inside the envelope, or the error_response."""
        body = self.client.post(self.box.taobao["url"], data=self.top_params(method, **business)).json()
        return dict(next(iter(body.values())))

    def trades(self, page: int, size: int, *, has_next: bool = False, **more: str) -> dict[str, Any]:
        """One page of changes of the last hour."""
        now = datetime.now(UTC)
        return self.top(
            "trades.sold.increment.get",
            start_modified=china(now - timedelta(hours=1)),
            end_modified=china(now),
            fields=FIELDS,
            page_no=str(page),
            page_size=str(size),
            use_has_next=str(has_next).lower(),
            **more,
        )

    def graph(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """One GraphQL call."""
        url = f"{self.box.shopify['url']}/admin/api/2026-07/graphql.json"
        headers = {"X-Shopify-Access-Token": self.box.shopify["token"]}
        return dict(self.client.post(url, headers=headers, json={"query": query, "variables": variables}).json())

    def orders(self, first: int, after: str | None = None, query: str | None = None) -> dict[str, Any]:
        """One page of Shopify orders: {pageInfo, nodes}."""
        body = self.graph(
            "query HubOrders($first: Int!) { orders(first: $first) { nodes { id } } }",
            {"first": first, "after": after, "query": query},
        )
        return dict(body["data"]["orders"])

    def qimen(self, method: str, body: str, *, secret: str = "", **query: str) -> str:
        """One Qimen call; the response document as text."""
        its = self.box.qimen
        params = {
            "method": method,
            "timestamp": china(datetime.now(UTC)),
            "format": "xml",
            "app_key": its["app_key"],
            "v": "2.0",
            "sign_method": "md5",
            "customerId": its["customer_id"],
            **query,
        }
        raw = f'<?xml version="1.0" encoding="utf-8"?><request>{body}</request>'.encode()
        params["sign"] = qimen_sign(params, raw, secret or its["secret"])
        answer = self.client.post(
            f"{its['url']}?{urlencode(params)}", content=raw, headers={"content-type": "text/xml"}
        )
        return answer.text


PERSON = (
    "<name>张三</name><mobile>13800000000</mobile><province>浙江省</province><city>杭州市</city>"
    "<detailAddress>1号</detailAddress>"
)


def delivery(code: str, warehouse: str = "WH01", item: str = "SKU-1001", quantity: int = 1) -> str:
    """A deliveryorder.create body of one line."""
    return (
        f"<deliveryOrder><deliveryOrderCode>{code}</deliveryOrderCode><orderType>JYCK</orderType><warehouseCode>{warehouse}</warehouseCode>"
        "<sourcePlatformCode>TB</sourcePlatformCode><createTime>2026-11-20 22:10:00</createTime>"
        "<placeOrderTime>2026-11-20 21:30:05</placeOrderTime><operateTime>2026-11-20 22:10:00</operateTime><shopNick>店</shopNick>"
        f"<logisticsCode>SF</logisticsCode><senderInfo>{PERSON}</senderInfo><receiverInfo>{PERSON}</receiverInfo></deliveryOrder>"
        f"<orderLines><orderLine><orderLineNo>1</orderLineNo><sourceOrderCode>T1</sourceOrderCode><ownerCode>OWNER1</ownerCode>"
        f"<itemCode>{item}</itemCode><planQty>{quantity}</planQty><actualPrice>1.00</actualPrice></orderLine></orderLines>"
    )


def query_order(code: str, warehouse: str = "WH01") -> str:
    """A deliveryorder.query body."""
    return (
        f"<warehouseCode>{warehouse}</warehouseCode><orderCode>{code}</orderCode><page>1</page><pageSize>50</pageSize>"
    )


def is_error(call: Callable[[], object]) -> bool:
    """Did the call end without a usable reply?"""
    try:
        call()
    except (httpx.HTTPError, json.JSONDecodeError):
        return True
    return False
