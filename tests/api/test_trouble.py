"""When the database is in trouble nobody hears a success, and everybody hears when to come again."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pipeline import views
from tests.api.house import House, order


def test_a_database_that_is_gone_is_a_503_and_comes_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert house.post(order(), "k").status_code == 201
    real = house.hub.engine.dialect.do_execute

    def gone(*_: Any) -> None:
        module: Any = house.hub.engine.dialect.dbapi
        raise module.OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(house.hub.engine.dialect, "do_execute", gone)
        patch.setattr(house.hub.engine.dialect, "do_executemany", gone)
        replies = [
            house.post(order("PO-2"), "k2"),
            house.call("GET", "/v1/orders"),
            house.call("GET", "/readyz", key=None),
            house.call("GET", "/v1/orders", key="nobody"),
        ]
        for reply in replies:
            assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable"), reply.text
            assert reply.headers["retry-after"]
            assert "refused" not in reply.text
        assert house.call("GET", "/healthz", key=None).status_code == 200
    assert house.hub.engine.dialect.do_execute == real
    assert house.post(order("PO-2"), "k2").status_code == 201
    assert house.orders() == 2


def test_a_full_disk_is_a_507_and_nothing_is_acknowledged(small_house: House) -> None:
    house = small_house
    with house.hub.engine.connect() as connection:
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    from sqlalchemy import event

    def limit(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages + 8}")

    event.listen(house.hub.engine, "checkout", limit)
    house.hub.engine.pool.dispose()
    replies = [house.post(order(f"PO-{n}", seller_memo="x" * 4000), f"k{n}") for n in range(60)]
    full = [reply for reply in replies if reply.status_code != 201]
    assert full
    assert {(reply.status_code, reply.json()["code"]) for reply in full} == {(507, "disk_full")}
    event.remove(house.hub.engine, "checkout", limit)
    with house.hub.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    house.hub.engine.pool.dispose()
    kept = [reply.json()["external_id"] for reply in replies if reply.status_code == 201]
    shown = house.call("GET", "/v1/orders", params={"limit": 200}).json()["orders"]
    assert sorted(row["external_id"] for row in shown) == sorted(kept)
    assert house.post(order("PO-59", seller_memo="x" * 4000), "k59").status_code == 201


def test_a_fault_of_ours_is_a_500_without_a_trace(
    small_house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("13800138000")

    monkeypatch.setattr(views, "order_row", broken)
    small_house.post(order(), "k")
    reply = small_house.call("GET", "/v1/orders")
    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert "13800138000" not in reply.text + caplog.text
    assert "KeyError" in caplog.text
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_postgres_names_a_full_disk() -> None:
    from sqlalchemy import exc

    from pipeline.trouble import read_trouble

    found = read_trouble(exc.OperationalError("", {}, psycopg.errors.DiskFull("x")))
    assert found is not None
    assert found.code == "disk_full"
    assert read_trouble(KeyError()) is None
