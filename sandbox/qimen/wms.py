"""The warehouses' state: documents, stock, picking and shipping. No HTTP here.

How a repeated deliveryOrderCode is treated depends on the warehouse's kind (facts/china/qimen.md §3, 2026-11-21: "already exists"
failure is the usual answer, M):
 rejects   failure, the first document stands; deliveryorder.query finds it
 keyed     the same success again, no second document
 findable  a second document, which ships too; deliveryorder.query finds the first
 unsafe    a second document, and there is no query
Failure codes are illustrative: every WMS has its own (facts, "Not found").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from sandbox.catalog import PLENTY, SCARCE_STOCK, Site, Sku
from sandbox.clock import Clock, cn_stamp, iso_ms

TRACKING = {
    "SF": ("SF1", 12),
    "ZTO": ("75", 12),
    "YTO": ("YT8", 12),
    "STO": ("77", 13),
    "YUNDA": ("46", 13),
    "EMS": ("11", 11),
    "JD": ("JDV0", 11),
    "POSTB": ("98", 11),
}
COURIER_NAMES = {
    "SF": "顺丰速运",
    "ZTO": "中通快递",
    "YTO": "圆通速递",
    "STO": "申通快递",
    "YUNDA": "韵达快递",
    "EMS": "EMS",
    "JD": "京东快递",
    "POSTB": "邮政快递包裹",
}
PARTIAL_SHARE = 0.15
DONE = {"DELIVERED", "CANCELED"}


@dataclass(slots=True)
class Line:
    """One line of a document."""

    number: str
    item: str
    quantity: int
    source: str
    sub_source: str


@dataclass(slots=True)
class Package:
    """One parcel: (line, pieces) in it."""

    company: str
    tracking: str
    items: list[tuple[Line, int]]
    at: float


@dataclass(slots=True)
class Document:
    """One accepted delivery order."""

    seq: int
    ident: str
    code: str
    warehouse: str
    kind: str
    source: str
    company: str
    lines: list[Line]
    state: str
    accepted: list[float]
    packages: list[Package] = field(default_factory=list)
    cancels: list[dict[str, str]] = field(default_factory=list)
    refused_creates: list[str] = field(default_factory=list)
    repeats: list[str] = field(default_factory=list)
    news: list[dict[str, object]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    confirms: int = 0
    processes: list[tuple[str, float]] = field(default_factory=list)


Refusal = tuple[str, str]
News = Callable[[Document, list[Package], bool, bool], None]
Later = Callable[[float, Callable[[], object]], None]


@dataclass(slots=True)
class Wms:
    """All warehouses behind one customer id. `news(document, packages, final, early)` tells the hub."""

    seed: str
    clock: Clock
    sites: dict[str, Site]
    skus: dict[str, Sku]
    later: Later
    news: News
    ship_after: tuple[float, float] = (0.05, 0.3)
    documents: list[Document] = field(default_factory=list)
    by_code: dict[str, list[Document]] = field(default_factory=dict)
    free: dict[tuple[str, str], int] = field(default_factory=dict)
    locked: dict[tuple[str, str], int] = field(default_factory=dict)
    paused: bool = False
    parked: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fill the shelves."""
        for site in self.sites:
            for sku in self.skus.values():
                self.free[site, sku.code] = SCARCE_STOCK if sku.scarce else PLENTY

    def now(self) -> float:
        """Epoch seconds on the warehouses' clock."""
        return self.clock.now("qimen")

    def accept(
        self, code: str, warehouse: str, company: str, lines: list[Line], warnings: list[str], early: bool = False
    ) -> Document | Refusal:
        """Take an order: the document, or (code, message) of the refusal. `early` ships before the answer can arrive."""
        site, known = self.sites[warehouse], self.by_code.get(code, [])
        if known and site.kind == "rejects":
            known[0].refused_creates.append(iso_ms(self.now()))
            return "S005", f"单据已存在:{code}"
        if known and site.kind == "keyed":
            known[0].repeats.append(iso_ms(self.now()))
            return known[0]
        refusal = self._reserve(warehouse, lines)
        if refusal is not None:
            return refusal
        seq = len(self.documents) + 1
        document = Document(
            seq,
            f"WMS-DO-{77000 + seq}",
            code,
            warehouse,
            site.kind,
            lines[0].source,
            company,
            lines,
            "ACCEPT",
            [self.now()],
            warnings=warnings,
            processes=[("ACCEPT", self.now())],
        )
        self.documents.append(document)
        self.by_code.setdefault(code, []).append(document)
        rng = Random(f"{self.seed}:{document.ident}:{code}")
        wait = 0.0 if early else rng.uniform(*self.ship_after)
        self.later(wait, lambda: self.ship(document, rng, early))
        return document

    def _reserve(self, warehouse: str, lines: list[Line]) -> Refusal | None:
        need: dict[str, int] = {}
        for line in lines:
            need[line.item] = need.get(line.item, 0) + line.quantity
        for item, quantity in need.items():
            if item not in self.skus:
                return "S003", f"商品编码不存在:{item}"
            if self.free[warehouse, item] < quantity:
                return "S007", f"库存不足:{item}"
        for item, quantity in need.items():
            self.free[warehouse, item] -= quantity
            self.locked[warehouse, item] = self.locked.get((warehouse, item), 0) + quantity
        return None

    def pause(self, paused: bool) -> None:
        """Stop or resume shipping; what was due meanwhile ships at once."""
        self.paused = paused
        if not paused:
            parked, self.parked = self.parked, []
            for action in parked:
                action()

    def ship(self, document: Document, rng: Random, early: bool = False) -> None:
        """Pick and ship what is left of a document: in one parcel, or now and then in two, told in one or two messages."""
        if self.paused:
            self.parked.append(lambda: self.ship(document, rng, early))
            return
        if document.state != "ACCEPT":
            return
        document.processes.append(("PICK", self.now()))
        pieces = sum(line.quantity for line in document.lines)
        if pieces < 2 or rng.random() >= PARTIAL_SHARE:
            self._pack(document, rng, [(line, line.quantity) for line in document.lines])
            self._finish(document, document.packages, early)
            return
        first, second = split(document.lines)
        self._pack(document, rng, first)
        if rng.random() < 0.5:
            self._pack(document, rng, second)
            self._finish(document, document.packages, early)
            return
        document.state = "PARTDELIVERED"
        document.processes.append(("PARTDELIVERED", self.now()))
        self.news(document, document.packages[:], False, early)
        self.later(rng.uniform(*self.ship_after), lambda: self.ship_rest(document, rng, second))

    def ship_rest(self, document: Document, rng: Random, items: list[tuple[Line, int]]) -> None:
        """The second parcel of a document told in two messages."""
        if self.paused:
            self.parked.append(lambda: self.ship_rest(document, rng, items))
            return
        self._pack(document, rng, items)
        self._finish(document, document.packages[-1:], False)

    def _pack(self, document: Document, rng: Random, items: list[tuple[Line, int]]) -> None:
        company = document.company if document.company in TRACKING else rng.choice(("SF", "ZTO", "YTO"))
        prefix, digits = TRACKING[company]
        number = f"{prefix}{document.seq * 10 + len(document.packages):0{digits}d}"
        document.packages.append(Package(company, number, items, self.now()))
        for line, quantity in items:
            self.locked[document.warehouse, line.item] -= quantity

    def _finish(self, document: Document, told: list[Package], early: bool) -> None:
        document.state = "DELIVERED"
        document.processes.append(("DELIVERED", self.now()))
        self.news(document, told[:], True, early)

    def cancel(self, code: str, warehouse: str) -> Refusal | None:
        """None when the order will not ship (also the second time); (code, message) when it is unknown or too late."""
        documents = [document for document in self.by_code.get(code, []) if document.warehouse == warehouse]
        if not documents:
            return "S021", f"单据不存在:{code}"
        for document in documents:
            if document.state == "ACCEPT":
                document.state = "CANCELED"
                document.processes.append(("CANCELED", self.now()))
                for line in document.lines:
                    self.locked[warehouse, line.item] -= line.quantity
                    self.free[warehouse, line.item] += line.quantity
        late = any(document.state != "CANCELED" for document in documents)
        for document in documents:
            document.cancels.append({"at": iso_ms(self.now()), "verdict": "failure" if late else "success"})
        return ("S022", f"单据已出库，无法取消:{code}") if late else None

    def row(self, document: Document) -> dict[str, object]:
        """The ledger row of a document."""
        return {
            "seq": document.seq,
            "id": document.ident,
            "channel": "qimen",
            "code": document.code,
            "source": document.source,
            "sources": sorted({line.source for line in document.lines}),
            "warehouse": document.warehouse,
            "kind": document.kind,
            "state": document.state,
            "company": document.company,
            "accepted_at": iso_ms(document.accepted[0]),
            "lines": [
                {
                    "no": line.number,
                    "sku": line.item,
                    "quantity": line.quantity,
                    "source": line.source,
                    "sub_source": line.sub_source,
                }
                for line in document.lines
            ],
            "packages": [package_row(package) for package in document.packages],
            "cancels": document.cancels,
            "refused_creates": document.refused_creates,
            "repeated_creates": document.repeats,
            "news": document.news,
            "warnings": document.warnings,
            "processes": [{"status": status, "at": cn_stamp(int(at))} for status, at in document.processes],
        }


def package_row(package: Package) -> dict[str, object]:
    """A parcel in the ledger."""
    lines = [{"no": line.number, "sku": line.item, "quantity": quantity} for line, quantity in package.items]
    return {"company": package.company, "tracking": package.tracking, "at": iso_ms(package.at), "lines": lines}


def split(lines: list[Line]) -> tuple[list[tuple[Line, int]], list[tuple[Line, int]]]:
    """Two parcels: by line when there are several, else by piece."""
    if len(lines) > 1:
        return [(lines[0], lines[0].quantity)], [(line, line.quantity) for line in lines[1:]]
    half = lines[0].quantity // 2
    return [(lines[0], half)], [(lines[0], lines[0].quantity - half)]
