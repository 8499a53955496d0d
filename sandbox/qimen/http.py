"""POST /router/qimen/service as a Qimen WMS answers it. facts/china/qimen.md §1-§5 (2026-11-21, H; failure codes illustrative).

Beyond the fields marked required there, sourcePlatformCode, sourceOrderCode and ownerCode are required, as real WMSs do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from sandbox.catalog import item_id
from sandbox.clock import Clock, cn_stamp, read_cn_stamp
from sandbox.faults import Injector, answer
from sandbox.http11 import XML, Reply, Request
from sandbox.signing import qimen_sign, same

from .news import head_xml, lines_xml, packages_xml
from .wms import Document, Line, Wms
from .xml import BadXml, Node, escape, nodes, read_xml, response, text

PATHS = {"/router/qimen/service", "/router/qmtest"}
SKEW = 600
PERSON = ("name", "mobile", "province", "city", "detailAddress")
REQUIRED = (
    "deliveryOrderCode",
    "orderType",
    "warehouseCode",
    "sourcePlatformCode",
    "createTime",
    "placeOrderTime",
    "operateTime",
    "shopNick",
    "logisticsCode",
    *(f"senderInfo.{name}" for name in PERSON),
)
LINE_REQUIRED = ("ownerCode", "itemCode", "planQty", "actualPrice", "sourceOrderCode")
ABROAD_OPTIONAL = {"province"}


@dataclass(slots=True)
class Service:
    """The Qimen endpoint of one customer id."""

    wms: Wms
    clock: Clock
    injector: Injector
    app_key: str
    secret: str
    customer_id: str

    def handle(self, request: Request) -> Reply:
        """One HTTP call."""
        if request.path not in PATHS or request.method != "POST":
            return Reply(b"not found", 404, "text/plain")
        params = request.params()
        method = params.get("method", "").removeprefix("taobao.qimen.")
        drawn = self.injector.draw(
            "qimen", method, request.body.decode("utf-8", "replace") if self.injector.orders else ""
        )
        return answer(drawn, lambda fault: self.call(method, params, request.body, fault), limited)

    def call(self, method: str, params: dict[str, str], body: bytes, fault: str) -> Reply:
        """Check the sign over the raw body first, then read it and run the method."""
        stamp = read_cn_stamp(params.get("timestamp", ""))
        signed = same(params.get("sign", ""), qimen_sign(params, body, self.secret))
        known = params.get("app_key") == self.app_key and params.get("customerId") == self.customer_id
        if (
            not signed
            or not known
            or params.get("sign_method") != "md5"
            or stamp is None
            or abs(stamp - self.clock.now("qimen")) > SKEW
        ):
            return Reply(response("failure", "sign-check-failure", "Illegal request"), kind=XML)
        run = METHODS.get(method)
        if run is None:
            return Reply(response("failure", "S001", f"不支持的方法:{method}"), kind=XML)
        try:
            node = read_xml(body)
        except BadXml as error:
            return Reply(response("failure", "S002", f"报文错误:{error}"), kind=XML)
        reply = Reply(run(self, node, fault == "callback_first"), kind=XML)
        return reply.later(0.4) if fault == "callback_first" else reply

    def create(self, node: Node, early: bool) -> bytes:
        """deliveryorder.create."""
        result = self.take(node, early)
        if isinstance(result, tuple):
            return response("failure", *result)
        inner = (
            f"<createTime>{cn_stamp(int(result.accepted[0]))}</createTime><deliveryOrderId>{result.ident}</deliveryOrderId>"
            f"<warehouseCode>{result.warehouse}</warehouseCode><logisticsCode>{escape(result.company)}</logisticsCode>"
        )
        return response("success", "0", "ok", inner)

    def batch(self, node: Node, early: bool) -> bytes:
        """deliveryorder.batchcreate: synchronous; only the failed rows are listed, and one failure makes the flag failure."""
        failed = []
        orders = nodes(node, "orders.order")
        for order in orders:
            result = self.take(order, early)
            if isinstance(result, tuple):
                failed.append((text(order, "deliveryOrder.deliveryOrderCode"), result[1]))
        if not orders:
            return response("failure", "S004", "orders不能为空")
        rows = "".join(
            f"<order><deliveryOrderCode>{escape(code)}</deliveryOrderCode><message>{escape(message)}</message></order>"
            for code, message in failed
        )
        if failed:
            return response(
                "failure", "PARTIAL" if len(failed) < len(orders) else "S000", "部分失败", f"<orders>{rows}</orders>"
            )
        return response("success", "0", "ok")

    def take(self, node: Node, early: bool) -> Document | tuple[str, str]:
        """Check one order and hand it to the warehouse."""
        head = node.get("deliveryOrder")
        if not isinstance(head, dict):
            return "S004", "deliveryOrder不能为空"
        problem = check_head(head)
        if problem is not None:
            return problem
        warehouse = text(head, "warehouseCode")
        if warehouse not in self.wms.sites:
            return "S006", f"仓库编码不存在:{warehouse}"
        lines = read_lines(nodes(node, "orderLines.orderLine"))
        if isinstance(lines, tuple):
            return lines
        return self.wms.accept(
            text(head, "deliveryOrderCode"), warehouse, text(head, "logisticsCode"), lines, money_warnings(head), early
        )

    def cancel(self, node: Node, _early: bool) -> bytes:
        """order.cancel: the flag is the verdict."""
        refusal = self.wms.cancel(text(node, "orderCode"), text(node, "warehouseCode"))
        return response("success", "0", "ok") if refusal is None else response("failure", *refusal)

    def find(self, node: Node) -> Document | bytes:
        """The first document of orderCode (or the one of orderId), or the failure to answer."""
        found = self.wms.by_code.get(text(node, "orderCode"), [])
        ident, warehouse = text(node, "orderId"), text(node, "warehouseCode")
        if (found and found[0].kind == "unsafe") or (
            warehouse in self.wms.sites and self.wms.sites[warehouse].kind == "unsafe"
        ):
            return response("failure", "S001", "不支持的方法")
        found = [
            document
            for document in found
            if (not ident or document.ident == ident) and warehouse in {"", document.warehouse}
        ]
        return found[0] if found else response("failure", "S021", f"单据不存在:{text(node, 'orderCode')}")

    def query(self, node: Node, _early: bool) -> bytes:
        """deliveryorder.query: all packages so far, page by page of order lines."""
        if not text(node, "page").isdecimal() or not text(node, "pageSize").isdecimal() or int(text(node, "page")) < 1:
            return response("failure", "S004", "page/pageSize不能为空")
        document = self.find(node)
        if isinstance(document, bytes):
            return document
        page, size = int(text(node, "page")), max(1, min(100, int(text(node, "pageSize"))))
        inner = (
            f"<totalLines>{len(document.lines)}</totalLines>{head_xml(document, document.state, '', 0)}"
            f"{packages_xml(document, range(len(document.packages)))}{lines_xml(document, document.packages, page, size)}"
        )
        return response("success", "0", "ok", inner)

    def process(self, node: Node, _early: bool) -> bytes:
        """orderprocess.query."""
        document = self.find(node)
        if isinstance(document, bytes):
            return document
        steps = "".join(
            f"<process><processStatus>{status}</processStatus><operateTime>{cn_stamp(int(at))}</operateTime></process>"
            for status, at in document.processes
        )
        return response(
            "success",
            "0",
            "ok",
            (
                f"<orderProcess><orderCode>{escape(document.code)}</orderCode><orderId>{document.ident}</orderId><orderType>JYCK</orderType>"
                f"<warehouseCode>{document.warehouse}</warehouseCode><processes>{steps}</processes></orderProcess>"
            ),
        )

    def inventory(self, node: Node, _early: bool) -> bytes:
        """inventory.query: quantity is free stock, lockQuantity what accepted orders hold; unknown items are left out."""
        rows: list[str] = []
        for want in nodes(node, "criteriaList.criteria"):
            sku = self.wms.skus.get(text(want, "itemCode"))
            code = text(want, "warehouseCode")
            if sku is None or text(want, "inventoryType") not in {"", "ZP"}:
                continue
            rows.extend(
                f"<item><warehouseCode>{site}</warehouseCode><itemCode>{sku.code}</itemCode><itemId>{item_id(sku)}</itemId>"
                f"<inventoryType>ZP</inventoryType><quantity>{self.wms.free[site, sku.code]}</quantity>"
                f"<lockQuantity>{self.wms.locked.get((site, sku.code), 0)}</lockQuantity></item>"
                for site in self.wms.sites
                if code in {"", site}
            )
        return response("success", "0", "ok", f"<items>{''.join(rows)}</items>")


METHODS: dict[str, Callable[[Service, Node, bool], bytes]] = {
    "deliveryorder.create": Service.create,
    "deliveryorder.batchcreate": Service.batch,
    "order.cancel": Service.cancel,
    "deliveryorder.query": Service.query,
    "orderprocess.query": Service.process,
    "inventory.query": Service.inventory,
}


def limited() -> Reply:
    """Too many calls: HTTP 429 with Retry-After (the sheet knows no official limit)."""
    return Reply(b"too many requests", 429, "text/plain", (("retry-after", "1"),))


def check_head(head: Node) -> tuple[str, str] | None:
    """The first thing wrong with a delivery order's head."""
    country = text(head, "receiverInfo.countryCode").upper()
    receiver = [f"receiverInfo.{name}" for name in PERSON if country in {"", "CN"} or name not in ABROAD_OPTIONAL]
    for path in (*REQUIRED, *receiver):
        if not text(head, path):
            return "S004", f"{path}不能为空"
    if "*" in text(head, "receiverInfo.mobile") and not text(head, "receiverInfo.oaid"):
        return "S011", "收件人信息已脱敏且缺少oaid"
    return None


def read_lines(found: list[Node]) -> list[Line] | tuple[str, str]:
    """The order lines, or the first thing wrong with them."""
    if not found:
        return "S004", "orderLines不能为空"
    lines = []
    for at, node in enumerate(found, 1):
        for name in LINE_REQUIRED:
            if not text(node, name):
                return "S004", f"orderLine[{at}].{name}不能为空"
        quantity = text(node, "planQty")
        if not quantity.isascii() or not quantity.isdigit() or int(quantity) < 1:
            return "S004", f"orderLine[{at}].planQty错误"
        lines.append(
            Line(
                text(node, "orderLineNo") or str(at),
                text(node, "itemCode"),
                int(quantity),
                text(node, "sourceOrderCode"),
                text(node, "subSourceOrderCode"),
            )
        )
    if len({line.number for line in lines}) != len(lines):
        return "S004", "orderLineNo重复"
    return lines


def money_warnings(head: Node) -> list[str]:
    """The sheet's money rule, noted in the ledger when broken (a WMS would seldom refuse for it)."""
    names = ("totalAmount", "itemAmount", "discountAmount", "freight", "arAmount", "gotAmount")
    try:
        total, item, discount, freight, due, got = (Decimal(text(head, name) or "0") for name in names)
    except InvalidOperation:
        return ["money_not_a_number"]
    ruled = any(text(head, name) for name in names)
    return ["money_rule"] if ruled and not total == due + got == item - discount + freight else []
