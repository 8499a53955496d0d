"""No canary of a buyer or of an operator's secrets is in any byte of the database (P22)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError, RefusedError
from pipeline.absorb import absorb_all
from pipeline.apply import apply_values
from pipeline.bootstrap import close_hub, open_hub
from pipeline.review import review
from pipeline.settings import Settings
from storage import tables as t

from .build import KEYS, Clock, Shop, config, confirmed, order, ship_to, trade, warehouse

CANARIES = (
    "黄鹂鸣",
    "13912345678",
    "翠柳街88号",
    "canary-remark",
    "canary-memo",
    "canary-buyer",
    "canary-secret",
    "canary-app-secret",
    "canary-session",
    "canary-api-key-0000000000",
    "canary-detail",
    "13987654321",
)


def whole_life(shop: Shop) -> None:
    """Everything that touches a buyer's data: reading, failing, pushing, shipping, correcting, settling with a reply."""
    hub = shop.hub
    apply_values(hub, {"keys": [{"name": "k", "key": "canary-api-key-0000000000", "partner": "acme"}]})
    apply_values(hub, {"warehouses": [warehouse(secret="canary-secret")]})
    place = ship_to(name="黄鹂鸣", phone="13912345678", street="翠柳街88号")
    remarks: dict[str, Any] = {
        "buyer_message": "canary-remark",
        "seller_memo": "canary-memo",
        "buyer_id": "canary-buyer",
    }
    order_ = shop.take(order(ship_to=place, **remarks))
    shop.put(order("broken", ship_to=place, totals={"paid": "NaN"}))
    absorb_all(hub)
    review(hub, order_.exception("hold_remark"), "release", actor="ann")
    shop.push("done", reference="W1", detail="canary-detail")
    shop.tell(confirmed(order_.code, ("SF1", [("A", 2)])))
    second = shop.take(order("PO-2", ship_to=place | {"phone": "1"}))
    review(hub, second.exception("phone_invalid"), "fix", actor="ann", fixes=[("consignee.phone", "13987654321")])
    shop.push("refused", RefusedError("S003", "canary-detail"))
    told: dict[str, Any] = {
        "receiver_name": "黄鹂鸣",
        "receiver_mobile": "13912345678",
        "receiver_address": "翠柳街88号",
    }
    shop.take(trade(**told), account="tb")


def needles() -> list[bytes]:
    return [form for text in CANARIES for form in (text.encode(), text.encode("utf-16-le"), ascii(text)[1:-1].encode())]


def test_no_byte_of_the_sqlite_file_or_its_log_shows_a_canary(sqlite_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=sqlite_url, data_folder=tmp_path, key=KEYS)
    hub = open_hub(settings, clock=Clock(), migrated=True)
    apply_values(hub, config())
    whole_life(Shop(hub, Clock()))
    files = sorted(path for path in tmp_path.iterdir() if path.is_file())
    assert {path.name for path in files} >= {"hub.db", "hub.db-wal"}
    content = b"".join(path.read_bytes() for path in files)
    assert b"example.com" not in content
    assert [needle for needle in needles() if needle in content] == []
    close_hub(hub)


def test_no_column_of_any_table_shows_a_canary(shop: Shop) -> None:
    whole_life(shop)
    found: list[tuple[str, str]] = []
    for table in t.metadata.sorted_tables:
        for row in shop.rows(table):
            found += [(table.name, name) for name, value in row.items() if shows(value)]
    assert found == []


def shows(value: Any) -> bool:
    content = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
    return any(needle in content for needle in needles())


def test_no_event_names_a_buyer(small_shop: Shop) -> None:
    whole_life(small_shop)
    for row in small_shop.rows(t.events):
        assert not shows(row["detail"])


def test_with_the_wrong_key_nothing_opens_and_the_fault_is_named(sqlite_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=sqlite_url, data_folder=tmp_path, key=KEYS)
    hub = open_hub(settings, clock=Clock(), migrated=True)
    apply_values(hub, config())
    shop = Shop(hub, Clock())
    shop.take(order())
    close_hub(hub)
    other = open_hub(settings.model_copy(update={"key": KEYS.replace("11", "33")}), clock=Clock(), migrated=True)
    with pytest.raises(ConfigError, match="vault_key"):
        Shop(other, Clock()).order("PO-1")
    close_hub(other)


def test_a_hub_does_not_open_with_a_key_file_that_others_can_read(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEYS)
    (tmp_path / "keys").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_hub(Settings(database_url=sqlite_url, data_folder=tmp_path), migrated=True)
