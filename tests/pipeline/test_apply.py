"""Configuration: applied twice it changes nothing twice, wrong it changes nothing at all and says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigError
from pipeline.apply import apply_file, apply_values
from pipeline.settings import load_settings
from storage import tables as t

from .build import Shop, config, order, warehouse


def contents(shop: Shop) -> list[list[dict[str, Any]]]:
    return [shop.rows(table) for table in t.metadata.sorted_tables if table is not t.nodes]


def test_applied_twice_it_changes_nothing_twice(shop: Shop) -> None:
    told = config(
        keys=[{"name": "k", "key": "k" * 24, "partner": "acme"}],
        bundles=[{"sku": "SET", "components": [["A", 1], ["B", 2]]}],
    )
    apply_values(shop.hub, told)
    before = contents(shop)
    assert apply_values(shop.hub, told).changed == {}
    assert contents(shop) == before


def test_a_change_is_counted_and_only_it(shop: Shop) -> None:
    assert apply_values(shop.hub, config(partners=[{"name": "acme", "title": "ACME"}])).changed == {"partners": 1}
    assert apply_values(shop.hub, {"warehouses": [warehouse(default_carrier="SF")]}).changed == {"warehouses": 1}


def test_a_first_count_never_undoes_what_is_known_since(shop: Shop) -> None:
    shop.take(order())
    apply_values(shop.hub, config())
    assert (shop.stock()["on_hand"], shop.reserved()) == (100, 2)
    shop.check_books()


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ({"acounts": []}, "acounts"),
        ({"accounts": [{"name": "x"}]}, "channel"),
        ({"accounts": [{"channel": "standard"}]}, "name"),
        ({"accounts": [{"name": "x", "channel": "nope"}]}, "nope"),
        ({"accounts": [{"name": "x", "channel": "taobao", "settings": {"app_key": "k"}}]}, "app_secret"),
        ({"accounts": [{"name": "x", "channel": "standard", "settings": {"oops": 1}}]}, "oops"),
        ({"accounts": [{"name": "x", "channel": "standard", "partner": "who", "settings": {"base_url": ""}}]}, "who"),
        ({"warehouses": [{"name": "w", "kind": "nope"}]}, "nope"),
        ({"warehouses": [{"name": "w"}]}, "kind"),
        ({"warehouses": [warehouse(sender={"name": "x"})]}, "sender"),
        ({"keys": [{"name": "k", "key": "short"}]}, "k"),
        ({"keys": [{"name": "k"}]}, "key"),
        ({"listings": [{"account": "acme", "external_sku": "E"}]}, "sku"),
        ({"listings": [{"account": "who", "external_sku": "E", "sku": "A"}]}, "who"),
        ({"listings": [{"account": "acme", "external_sku": "E", "sku": "A", "quantity": "many"}]}, "quantity"),
        ({"stock": [{"warehouse": "who", "sku": "A"}]}, "who"),
        ({"stock": [{"warehouse": "wh1", "sku": "A", "on_hand": "x"}]}, "on_hand"),
        ({"stock": [{"warehouse": "wh1", "sku": "A", "on_hand": -1}]}, "on_hand"),
        ({"bundles": [{"sku": "S"}]}, "components"),
        ({"partners": [{"name": "p", "contract_from": "soon"}]}, "contract_from"),
        ({"partners": ["acme"]}, "partners"),
        ({"listings": {"a": 1}}, "listings"),
        ({"ruleset": {"file": "no-such-file.json"}}, "no-such-file"),
        ({"keys": [{"name": "k", "key": "k" * 24, "partner": "who"}]}, "who"),
        ({"keys": [{"name": "k", "key": "k" * 24, "scope": "god"}]}, "scope"),
        ({"accounts": [{"name": "x", "channel": "standard", "options": {"max_calls": 0}}]}, "options.max_calls"),
        ({"accounts": [{"name": "x", "channel": "standard", "options": {"max_calls": "4"}}]}, "options.max_calls"),
        ({"warehouses": [warehouse(info={"country": "CN", "max_calls": True})]}, "info.max_calls"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_changed(small_shop: Shop, told: dict[str, Any], names: str) -> None:
    before = contents(small_shop)
    with pytest.raises(ConfigError) as failure:
        apply_values(small_shop.hub, {"partners": [{"name": "new"}]} | told)
    assert names in str(failure.value)
    assert contents(small_shop) == before


def test_a_broken_table_beside_the_file_changes_nothing_either(small_shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text('[[partners]]\nname = "new"\n[csv]\nfiles = ["stock.csv"]\n')
    (tmp_path / "stock.csv").write_text("who,what\n1,2\n")
    before = contents(small_shop)
    with pytest.raises(ConfigError, match=r"stock\.csv"):
        apply_file(small_shop.hub, tmp_path / "hub.toml")
    assert contents(small_shop) == before


def test_tables_beside_the_file_are_applied_with_it(small_shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text('[csv]\nfiles = ["listings.csv", "stock.csv"]\n')
    (tmp_path / "listings.csv").write_text(
        "\ufeffaccount,external_sku,sku,quantity\nacme,000123,D,\n", encoding="utf-8"
    )
    (tmp_path / "stock.csv").write_text("warehouse,sku,on_hand\nwh1,D,7\n")
    assert apply_file(small_shop.hub, tmp_path / "hub.toml").changed == {"listings": 1, "stock": 1}
    assert small_shop.stock("D")["on_hand"] == 7
    assert [row["external_sku"] for row in small_shop.rows(t.listings, t.listings.c.sku == "D")] == ["000123"]


def test_a_secret_comes_from_the_environment(small_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WMS_SECRET", "from-the-environment")
    assert apply_values(small_shop.hub, {"warehouses": [warehouse(secret="env:WMS_SECRET")]}).changed == {
        "warehouses": 1
    }
    monkeypatch.delenv("WMS_SECRET")
    with pytest.raises(ConfigError, match="WMS_SECRET"):
        apply_values(small_shop.hub, {"warehouses": [warehouse(secret="env:WMS_SECRET")]})


def test_an_unreadable_file_is_named(small_shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[[[")
    for name in ("bad.toml", "absent.toml", "absent.csv"):
        with pytest.raises(ConfigError, match=name):
            apply_file(small_shop.hub, tmp_path / name)


def test_a_setting_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="poll_seconds"):
        load_settings({"HUB_POLL_SECONDS": "soon", "HUB_CONFIG": str(tmp_path / "none.toml")})
    (tmp_path / "hub.toml").write_text("[settings]\nspeed = 9\n")
    with pytest.raises(ConfigError, match="speed"):
        load_settings({"HUB_CONFIG": str(tmp_path / "hub.toml")})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text("[settings]\nbatch = 10\nsenders = 4\n")
    told = load_settings({"HUB_CONFIG": str(tmp_path / "hub.toml"), "HUB_BATCH": "20"})
    assert (told.batch, told.senders) == (20, 4)
