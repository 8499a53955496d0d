"""deliveryorder.confirm to the hub: signed, at least once, in no order, sometimes lost (then only a query tells).

facts/china/qimen.md §1-§3 (2026-11-21, H): `outBizCode` is the message id, `confirmType` 1 intermediate, 0 final; quantities of a
message are what is in its own parcels (increments; M for delivery orders). A repeated message is byte-equal.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from sandbox.clock import Clock, cn_stamp, iso_ms
from sandbox.faults import Injector
from sandbox.posting import Poster
from sandbox.signing import qimen_sign

from .wms import COURIER_NAMES, Document, Package
from .xml import BadXml, escape, read_xml, text

WAIT = 5.0
MOMENT = 0.03
HEADERS = (("content-type", "text/xml;charset=utf-8"),)


@dataclass(slots=True)
class Message:
    """One confirm: its document, bytes, and the record that the ledger shows."""

    document: Document
    body: bytes
    record: dict[str, object]
    attempts: int = 0


@dataclass(slots=True)
class Newsroom:
    """Sends confirms to {hub}/callbacks/{warehouse name}; what is due before a hub is known waits for it."""

    clock: Clock
    injector: Injector
    poster: Poster
    app_key: str
    secret: str
    customer_id: str
    later: Callable[[float, Callable[[], object]], None]
    backoff: tuple[float, ...] = (0.2, 0.4, 0.8, 1.5, 3.0, 5.0, 5.0, 5.0, 10.0, 10.0, 15.0, 15.0)
    batch: int = 1
    urls: dict[str, str] = field(default_factory=dict)
    gathered: dict[str, list[Message]] = field(default_factory=dict)
    waiting: list[Message] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def aim(self, urls: dict[str, str]) -> None:
        """Callback URL per warehouse code; what waited is sent now."""
        self.urls = urls
        waiting, self.waiting = self.waiting, []
        for message in waiting:
            self.start(message)

    def tell(self, document: Document, packages: list[Package], final: bool, early: bool) -> None:
        """Compose a confirm and send it soon; faults may lose, delay or repeat it (not lose at unsafe ones: nobody could ask)."""
        document.confirms += 1
        biz = f"{document.ident}-{document.confirms}"
        body = confirm_xml(document, packages, biz, final)
        record: dict[str, object] = {
            "biz": biz,
            "type": 0 if final else 1,
            "attempts": 0,
            "answered_at": None,
            "lost": False,
        }
        document.news.append(record)
        self.counts["composed"] += 1
        message = Message(document, body, record)
        if document.kind != "unsafe" and not early and self.injector.news("lost"):
            record["lost"] = True
            self.counts["lost"] += 1
            return
        wait = self.injector.rng.uniform(0.5, 4.0) if not early and self.injector.news("delay") else 0.0
        self.later(wait, lambda: self.start(message))
        if self.injector.news("duplicate"):
            self.counts["duplicated"] += 1
            self.later(wait + self.injector.rng.uniform(0.0, 2.0), lambda: self.start(Message(document, body, record)))

    def start(self, message: Message) -> None:
        """Send in the background, or keep it until a hub is known. With `batch`, messages of one warehouse that come within a
        moment go together."""
        name = message.document.warehouse
        if name not in self.urls:
            self.waiting.append(message)
            return
        if self.batch == 1:
            self.post([message])
            return
        together = self.gathered.setdefault(name, [])
        together.append(message)
        if len(together) == 1:
            self.later(MOMENT, lambda: self.release(name))
        elif len(together) >= self.batch:
            self.release(name)

    def again(self, message: Message) -> None:
        """Once more, by itself: whatever was wrong with its neighbours is not its fault."""
        self.post([message])

    def release(self, name: str) -> None:
        """Send what has gathered for a warehouse."""
        messages = self.gathered.pop(name, [])
        if messages:
            self.post(messages)

    def post(self, messages: list[Message]) -> None:
        """Send in the background."""
        task = asyncio.get_running_loop().create_task(self.send(messages))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def send(self, messages: list[Message]) -> None:
        """One attempt, as deliveryorder.confirm or, for several, deliveryorder.batchconfirm; anything but flag=success is tried
        again with growing pauses, each by itself, then given up."""
        many = len(messages) > 1
        content = batch_xml([message.body for message in messages]) if many else messages[0].body
        query = {
            "method": "deliveryorder.batchconfirm" if many else "deliveryorder.confirm",
            "timestamp": cn_stamp(int(self.clock.now("qimen"))),
            "format": "xml",
            "app_key": self.app_key,
            "v": "2.0",
            "sign_method": "md5",
            "customerId": self.customer_id,
        }
        query["sign"] = qimen_sign(query, content, self.secret)
        url = f"{self.urls[messages[0].document.warehouse]}?{urlencode(query)}"
        try:
            status, body = await self.poster.post(url, HEADERS, content, WAIT)
            done = status == 200 and text(read_xml(body), "flag") == "success"
            last = f"{status} {body[:200].decode('utf-8', 'replace')}" if not done else "200 success"
        except (OSError, EOFError, ValueError, BadXml, asyncio.LimitOverrunError) as error:
            done, last = False, repr(error)
        for message in messages:
            self.note(message, done, last)

    def note(self, message: Message, done: bool, last: str) -> None:
        """What became of an attempt."""
        message.attempts += 1
        message.record["attempts"] = int(str(message.record["attempts"])) + 1
        message.record["last"] = last
        if done:
            self.counts["answered"] += 1
            message.record["answered_at"] = message.record["answered_at"] or iso_ms(self.clock.now())
        elif message.attempts <= len(self.backoff):
            self.counts["retried"] += 1
            self.later(self.backoff[message.attempts - 1], lambda: self.again(message))
        else:
            self.counts["given_up"] += 1


def batch_xml(bodies: list[bytes]) -> bytes:
    """The request document of a deliveryorder.batchconfirm: the same content for each order (facts §5, H)."""
    orders = [body.partition(b"<request>")[2].removesuffix(b"</request>") for body in bodies]
    inner = b"".join(b"<order>" + order + b"</order>" for order in orders)
    return b'<?xml version="1.0" encoding="utf-8"?>\n<request><orders>' + inner + b"</orders></request>"


def confirm_xml(document: Document, packages: list[Package], biz: str, final: bool) -> bytes:
    """The request document of a deliveryorder.confirm."""
    first = document.packages.index(packages[0])
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<request>'
        f"{head_xml(document, 'DELIVERED' if final else 'PARTDELIVERED', biz, 0 if final else 1)}"
        f"{packages_xml(document, range(first, first + len(packages)))}{lines_xml(document, packages)}</request>"
    ).encode()


def head_xml(document: Document, status: str, biz: str, confirm_type: int) -> str:
    """The deliveryOrder element of a confirm or a query answer."""
    at = cn_stamp(int(document.processes[-1][1]))
    biz_xml = f"<outBizCode>{biz}</outBizCode><confirmType>{confirm_type}</confirmType>" if biz else ""
    return (
        f"<deliveryOrder><deliveryOrderCode>{escape(document.code)}</deliveryOrderCode><deliveryOrderId>{document.ident}</deliveryOrderId>"
        f"<warehouseCode>{document.warehouse}</warehouseCode><orderType>JYCK</orderType><status>{status}</status>{biz_xml}"
        f"<orderConfirmTime>{at}</orderConfirmTime><operateTime>{at}</operateTime></deliveryOrder>"
    )


def packages_xml(document: Document, chosen: range) -> str:
    """The packages element with some of the document's parcels."""
    out = []
    for at in chosen:
        package = document.packages[at]
        items = "".join(
            f"<item><itemCode>{escape(line.item)}</itemCode><quantity>{quantity}</quantity>"
            f"<orderLineNo>{escape(line.number)}</orderLineNo></item>"
            for line, quantity in package.items
        )
        out.append(
            f"<package><logisticsCode>{package.company}</logisticsCode><logisticsName>{COURIER_NAMES[package.company]}</logisticsName>"
            f"<expressCode>{package.tracking}</expressCode><packageCode>{document.ident}-P{at + 1}</packageCode>"
            f"<weight>0.50</weight><items>{items}</items></package>"
        )
    return f"<packages>{''.join(out)}</packages>"


def lines_xml(document: Document, packages: list[Package], page: int = 1, size: int = 100) -> str:
    """The orderLines element: per line the plan and what the given parcels hold of it."""
    actual: dict[str, int] = {}
    for package in packages:
        for line, quantity in package.items:
            actual[line.number] = actual.get(line.number, 0) + quantity
    rows = "".join(
        f"<orderLine><orderLineNo>{escape(line.number)}</orderLineNo><orderSourceCode>{escape(line.source)}</orderSourceCode>"
        f"<subSourceCode>{escape(line.sub_source)}</subSourceCode><itemCode>{escape(line.item)}</itemCode><inventoryType>ZP</inventoryType>"
        f"<planQty>{line.quantity}</planQty><actualQty>{actual.get(line.number, 0)}</actualQty></orderLine>"
        for line in document.lines[(page - 1) * size : page * size]
    )
    return f"<orderLines>{rows}</orderLines>"
