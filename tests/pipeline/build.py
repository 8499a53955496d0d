"""A furnished hub, the documents that come into it, and short words for what happens to them.

Documents go in through the inbox and come out as stored rows; only the network is left out: a claimed sending is settled
with the outcome that the test names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from domain.errors import HubError
from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from pipeline.archive import read_events
from pipeline.bootstrap import Hub, open_hub
from pipeline.dispatch import claim
from pipeline.dossier import DETAIL, Dossier, load_dossiers
from pipeline.rulesets import approve_version, arm_version, replay_version, write_draft
from pipeline.sending import End, Job, Outcome
from pipeline.settings import Settings
from pipeline.settle import settle
from storage import tables as t
from storage.events import broken_link
from storage.inbox import Arrival, put_arrivals, seal_arrivals
from storage.rows import Row, rows_of
from tests.clocks import FAR_MS

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEYS = f"1 {'11' * 32};search {'22' * 32}"
FIXTURES = Path(__file__).parents[1] / "fixtures"
SKUS = ("A", "B", "C")
Goods = Sequence[tuple[str, int]]


@dataclass(slots=True)
class Clock:
    """A clock that moves a microsecond per look, and as far as a test says."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at

    def wait(self, **span: float) -> None:
        self.at += timedelta(**span)


@dataclass(slots=True)
class Shop:
    """An open hub with a partner intake `acme`, a Taobao shop `tb` and a warehouse `wh1` (and more when asked)."""

    hub: Hub
    clock: Clock

    # --- what comes in -------------------------------------------------------------------------------------------------

    def put(self, *documents: Mapping[str, Any] | bytes, account: str = "acme") -> list[int]:
        """Store order documents, unread. Ids of those that were new."""
        arrivals = [arrival(self.id_of(account), document) for document in documents]
        with self.hub.write() as tx:
            return list(
                put_arrivals(tx, seal_arrivals(self.hub.vault, self.hub.ids.take, arrivals), self.hub.now()).values()
            )

    def take(self, *documents: Mapping[str, Any] | bytes, account: str = "acme") -> Order:
        """Store and absorb; the order of the last document."""
        self.put(*documents, account=account)
        absorb_all(self.hub)
        return self.order(external_id(documents[-1]), account)

    def tell(self, body: bytes, event: str = "", *, warehouse: str = "wh1") -> None:
        """A warehouse's message arrives and is absorbed."""
        told = Arrival(
            source_kind="warehouse",
            source_id=self.id_of(warehouse, t.warehouses),
            kind="shipment",
            external_id=event or f"event-{self.hub.ids()}",
            body=body,
        )
        with self.hub.write() as tx:
            put_arrivals(tx, seal_arrivals(self.hub.vault, self.hub.ids.take, [told]), self.hub.now())
        absorb_all(self.hub)

    # --- what goes out -------------------------------------------------------------------------------------------------

    def claim(self, limit: int = 100) -> list[Job]:
        return claim(self.hub, limit)

    def end(self, jobs: Sequence[Job], end: End = "done", error: HubError | None = None, **told: Any) -> None:
        """Settle claimed sendings, all with this outcome."""
        code = told.pop("code", error.code if error else "")
        settle(self.hub, [Outcome(row=job.row, end=end, error=error, code=code, **told) for job in jobs])

    def push(self, end: End = "done", error: HubError | None = None, **told: Any) -> list[Job]:
        """Claim everything that is due and settle it with one outcome."""
        jobs = self.claim()
        self.end(jobs, end, error, **told)
        return jobs

    # --- what is stored ------------------------------------------------------------------------------------------------

    def id_of(self, name: str, table: Any = t.accounts) -> int:
        with self.hub.read() as tx:
            return int(tx.execute(select(table.c.id).where(table.c.name == name)).scalar_one())

    def rows(self, table: Any, *where: Any) -> list[Row]:
        with self.hub.read() as tx:
            return rows_of(tx, select(table).where(*where).order_by(*table.primary_key))

    def order(self, ident: str, account: str = "acme") -> Order:
        o = t.orders
        with self.hub.read() as tx:
            where = (o.c.external_id == ident, o.c.account_id == self.id_of(account))
            order_id = tx.execute(select(o.c.id).where(*where)).scalar_one()
            return Order(self, load_dossiers(tx, self.hub.vault, [order_id], lock=False)[order_id])

    def reserved(self, sku: str = "A", warehouse: str = "wh1") -> int:
        return int(self.stock(sku, warehouse)["reserved"])

    def stock(self, sku: str = "A", warehouse: str = "wh1") -> Row:
        (row,) = self.rows(t.stock, t.stock.c.sku == sku, t.stock.c.warehouse_id == self.id_of(warehouse, t.warehouses))
        return row

    def open_codes(self) -> list[str]:
        """Codes of every open exception of any subject."""
        return sorted(row["code"] for row in self.rows(t.exceptions, t.exceptions.c.state != "resolved"))

    def check_books(self) -> None:
        """What must hold at any moment: reserved = Σ live unshipped that do not wait, packages fit, chains whole."""
        f, x = t.fulfilments, t.fulfilment_lines
        owed: dict[tuple[int, str], int] = {}
        state = {row["id"]: row for row in self.rows(f)}
        for line in self.rows(x):
            owner = state[line["fulfilment_id"]]
            if owner["state"] not in {"planned", "cancelled", "shipped", "delivered"}:
                key = (owner["warehouse_id"], line["sku"])
                owed[key] = owed.get(key, 0) + line["quantity"] - line["shipped"]
        held = {(r["warehouse_id"], r["sku"]): r["reserved"] for r in self.rows(t.stock) if r["reserved"]}
        assert held == {key: units for key, units in owed.items() if units}
        with self.hub.read() as tx:
            for row in self.rows(t.orders):
                log = read_events(self.hub, tx, row["id"])
                assert broken_link(log, row["id"], row["event_seq"], bytes(row["event_hash"])) is None


@dataclass(slots=True)
class Order:
    """One stored order, read when it was asked for."""

    shop: Shop
    dossier: Dossier

    @property
    def id(self) -> int:
        return self.dossier.id

    @property
    def number(self) -> str:
        return str(self.dossier.order["number"])

    @property
    def status(self) -> str:
        return str(self.dossier.order["status"])

    @property
    def codes(self) -> list[str]:
        """Codes of its open exceptions."""
        return sorted(row["code"] for row in self.dossier.exceptions.values())

    @property
    def parts(self) -> list[Row]:
        """Its fulfilments, oldest first."""
        return [row for _, row in sorted(self.dossier.fulfilments.items())]

    @property
    def states(self) -> list[str]:
        return [row["state"] for row in self.parts]

    @property
    def part(self) -> Row:
        """Its newest fulfilment."""
        return self.parts[-1]

    @property
    def code(self) -> str:
        return str(self.part["code"])

    @property
    def parcels(self) -> list[Row]:
        return [row for _, row in sorted(self.dossier.packages.items())]

    def sendings(self, kind: str) -> list[str]:
        """States of its outbox rows of a kind, oldest first."""
        return [row["state"] for _, row in sorted(self.dossier.outbox.items()) if row["kind"] == kind]

    def outbox(self, kind: str) -> Row:
        """Its newest outbox row of a kind."""
        return [row for _, row in sorted(self.dossier.outbox.items()) if row["kind"] == kind][-1]

    def exception(self, code: str) -> int:
        return int(next(row["id"] for row in self.dossier.exceptions.values() if row["code"] == code))

    def detail(self, code: str) -> dict[str, Any]:
        row = next(row for row in self.dossier.exceptions.values() if row["code"] == code)
        found: dict[str, Any] = self.shop.hub.vault.open_json(DETAIL, row["id"], row["detail"])
        return found

    @property
    def events(self) -> list[str]:
        return [row["kind"] for row in self.shop.rows(t.events, t.events.c.order_id == self.id)]

    def again(self) -> Order:
        """As it is stored now."""
        with self.shop.hub.read() as tx:
            return Order(self.shop, load_dossiers(tx, self.shop.hub.vault, [self.id], lock=False)[self.id])


def arrival(account_id: int, document: Mapping[str, Any] | bytes) -> Arrival:
    """An order document as its channel's pull would store it."""
    trade = {} if isinstance(document, bytes) else document.get("trade_fullinfo_get_response", {}).get("trade", {})
    return Arrival(
        source_kind="account",
        source_id=account_id,
        kind="order",
        external_id=external_id(document),
        body=document if isinstance(document, bytes) else encoded(document),
        version=str(trade.get("modified", "")),
    )


def external_id(document: Mapping[str, Any] | bytes) -> str:
    if isinstance(document, bytes):
        return "broken"
    if "trade_fullinfo_get_response" in document:
        return str(document["trade_fullinfo_get_response"]["trade"]["tid_str"])
    return str(document["external_id"])


def encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def order(ident: str = "PO-1", at: int = 0, *, goods: Goods = (("A", 2),), **changes: Any) -> dict[str, Any]:
    """A good order of the standard API, 10.00 a piece, to 杭州; `at` counts its versions (minutes after it was placed)."""
    lines = [
        {"line_id": str(n), "sku": f"EXT-{sku}", "quantity": units, "unit_price": "10.00"}
        for n, (sku, units) in enumerate(goods, 1)
    ]
    told: dict[str, Any] = {
        "external_id": ident,
        "placed_at": "2026-11-21T10:00:00Z",
        "updated_at": f"2026-11-21T{10 + at // 60:02}:{at % 60:02}:00Z",
        "currency": "CNY",
        "payment": {"status": "paid"},
        "totals": {"paid": f"{10 * sum(units for _, units in goods)}.00"},
        "ship_to": ship_to(),
        "lines": lines,
    }
    return told | changes


def ship_to(**changes: str) -> dict[str, str]:
    place = {"country": "CN", "province": "浙江省", "city": "杭州市", "district": "余杭区", "street": "示例路1号"}
    return {"name": "张三", "phone": "13800138000", **place, **changes}


def trade(
    tid: str = "4212345678900234567", at: int = 0, *, goods: Goods = (("A", 2),), **changes: Any
) -> dict[str, Any]:
    """A paid Taobao trade in plain text, 10.00 a piece, no freight, no discount; oids end in the line's number."""
    told = json.loads((FIXTURES / "taobao/orders/paid_with_refund.json").read_text())
    head = told["trade_fullinfo_get_response"]["trade"]
    model = head["orders"]["order"][0]
    head |= {
        "tid": int(tid),
        "tid_str": tid,
        "modified": f"2026-11-21 {18 + at // 60:02}:{at % 60:02}:00",
        "post_fee": "0.00",
        "discount_fee": "0.00",
        "payment": f"{10 * sum(units for _, units in goods)}.00",
        "buyer_message": "",
        "seller_memo": "",
        "seller_flag": 0,
        "receiver_name": "李四",
        "receiver_mobile": "13800138001",
        "receiver_address": "示例路2号",
        "receiver_zip": "310000",
        "oaid": "",
    }
    head["orders"]["order"] = [
        _trade_line(model, f"{tid[:-1]}{n}", sku, units) for n, (sku, units) in enumerate(goods, 1)
    ]
    head |= changes
    return dict(told)


def _trade_line(model: Mapping[str, Any], oid: str, sku: str, units: int) -> dict[str, Any]:
    money = {"total_fee": f"{10 * units}.00", "divide_order_fee": f"{10 * units}.00", "payment": f"{10 * units}.00"}
    cleared = {"discount_fee": "0.00", "part_mjz_discount": "0.00", "refund_status": "NO_REFUND"}
    goods = {"oid": int(oid), "oid_str": oid, "outer_sku_id": f"EXT-{sku}", "num": units, "price": "10.00"}
    return deepcopy(dict(model)) | goods | money | cleared


def lines_of(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The order lines of a trade document, to change them."""
    found: list[dict[str, Any]] = told["trade_fullinfo_get_response"]["trade"]["orders"]["order"]
    return found


def confirmed(code: str, *parcels: tuple[str, Goods], final: bool = True, status: str = "DELIVERED") -> bytes:
    """A Qimen deliveryorder.confirm: parcels of (tracking, goods) as this message holds them."""
    packages = "".join(
        f"<package><logisticsCode>SF</logisticsCode><expressCode>{tracking}</expressCode><items>"
        + "".join(f"<item><itemCode>{sku}</itemCode><quantity>{units}</quantity></item>" for sku, units in goods)
        + "</items></package>"
        for tracking, goods in parcels
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><request><deliveryOrder>'
        f"<deliveryOrderCode>{code}</deliveryOrderCode><deliveryOrderId>W-{code}</deliveryOrderId>"
        f"<status>{status}</status><confirmType>{0 if final else 1}</confirmType>"
        f"<operateTime>2026-11-21 21:00:00</operateTime></deliveryOrder><packages>{packages}</packages></request>"
    ).encode()


def reported(code: str, status: str) -> bytes:
    """A Qimen orderprocess.report."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><request><order><orderCode>{code}</orderCode></order><process>'
        f"<processStatus>{status}</processStatus><operateTime>2026-11-21 21:00:00</operateTime></process></request>"
    ).encode()


def warehouse(
    name: str = "wh1", *, url: str = "http://127.0.0.1:9", info: Any = None, **changes: Any
) -> dict[str, Any]:
    """The configuration of a Qimen warehouse."""
    settings = json.loads((FIXTURES / "qimen/settings.json").read_text())
    told = {"base_url": url, "allow_private": True, "calls_per_second": 5000, **changes}
    return {
        "name": name,
        "kind": "qimen",
        "info": info or {"country": "CN", "carriers": ["SF"]},
        "settings": settings | told,
    }


def config(**changes: Any) -> dict[str, Any]:
    """A partner with an intake, a Taobao shop, one warehouse, three articles of 100 pieces."""
    settings = json.loads((FIXTURES / "taobao/settings.json").read_text())
    told: dict[str, Any] = {
        "partners": [{"name": "acme"}],
        "warehouses": [warehouse()],
        "accounts": [
            {"name": "acme", "channel": "standard", "partner": "acme", "settings": {"base_url": ""}},
            {"name": "tb", "channel": "taobao", "settings": settings},
        ],
        "listings": [{"account": a, "external_sku": f"EXT-{sku}", "sku": sku} for a in ("acme", "tb") for sku in SKUS],
        "stock": [{"warehouse": "wh1", "sku": sku, "on_hand": 100} for sku in SKUS],
    }
    return told | changes


def open_empty(url: str, folder: Path) -> Hub:
    """A hub on a migrated database, with a clock that tests set."""
    hub = open_hub(Settings(database_url=url, data_folder=folder, key=KEYS), clock=Clock(), migrated=True)
    hub.ids.extend(FAR_MS)
    return hub


def furnish(hub: Hub, told: Mapping[str, Any] | None = None) -> Shop:
    """Empty every table but the running processes, set the clock back, and configure anew."""
    hub.settings = Settings(database_url=hub.settings.database_url, data_folder=hub.settings.data_folder, key=KEYS)
    hub.clock, hub.memory = Clock(), {}
    with hub.write() as tx:
        for table in t.metadata.sorted_tables:
            if table is not t.nodes:
                tx.execute(table.delete())
    apply_values(hub, config() if told is None else told)
    return Shop(hub, hub.clock)


def arm(hub: Hub, *rules: Mapping[str, Any], **more: Any) -> str:
    """Put a ruleset of these rules in force from this moment on, as two people do it. Its version."""
    version = f"armed-{hub.ids()}"
    write_draft(hub, encoded({"version": version, "rules": list(rules), **more}), actor="ann")
    replay_version(hub, version, actor="ann", last=1)
    approve_version(hub, version, actor="bo", override="a test")
    arm_version(hub, version, actor="bo")
    return version
