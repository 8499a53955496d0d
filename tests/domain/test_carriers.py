from __future__ import annotations

from domain.carriers import CARRIERS, carrier_name, own_code, spoken_code

# facts/china/qimen.md §4, read 2026-11-21 (H): the document's own list.
QIMEN = "SF EMS EYB ZJS YTO ZTO HTKY UC STO TTKDEX QFKD FAST POSTB GTO YUNDA JD DD AMAZON OTHER".split()


def test_every_code_of_the_qimen_list_is_known_both_ways() -> None:
    assert [own_code(code, "qimen") for code in QIMEN] == QIMEN
    assert [code for code in QIMEN if spoken_code(code, "qimen") != code] == []
    assert {row.qimen for row in CARRIERS.values()} - {""} == set(QIMEN)


def test_a_code_nobody_found_is_not_guessed() -> None:
    assert spoken_code("JTSD", "top") == ""
    assert spoken_code("NOBODY", "qimen") == ""
    assert own_code("NOBODY", "qimen") == "NOBODY"


def test_what_an_account_agreed_on_wins() -> None:
    agreed = {"JTSD": "JT", "SF": "SFEXPRESS"}
    assert [spoken_code(code, "qimen", agreed) for code in ("JTSD", "SF", "ZTO")] == ["JT", "SFEXPRESS", "ZTO"]
    assert [own_code(code, "qimen", agreed) for code in ("JT", "SFEXPRESS", "SF")] == ["JTSD", "SF", "SF"]


def test_names_are_for_people() -> None:
    assert carrier_name("SF") == "顺丰速运"
    assert carrier_name("OTHER", "小城快递") == "小城快递"
    assert carrier_name("X1") == "X1"


def test_no_two_carriers_share_a_foreign_code() -> None:
    for scheme in ("top", "qimen", "shopify", "kuaidi100"):
        spoken = [getattr(row, scheme) for row in CARRIERS.values() if getattr(row, scheme)]
        assert len(spoken) == len(set(spoken)), scheme
