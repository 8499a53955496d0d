"""Everything people read exists in both languages, and nothing in the catalogue is left over."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

from console import words
from console.render import minor, span

CONSOLE = Path(words.__file__).parent


def _spoken() -> set[str]:
    told = {text for table in words.TABLES for text in table.values()}
    for path in (CONSOLE / "templates").glob("*.html"):
        with path.open("rb") as file:
            told |= {text for _, _, text, _ in babel_extract(file, ("_",), (), {}) if isinstance(text, str)}
    return told


def test_the_chinese_catalogue_says_everything_once() -> None:
    with (CONSOLE / "locale/zh/LC_MESSAGES/console.po").open("rb") as file:
        catalogue = {str(message.id): str(message.string) for message in read_po(file) if message.id}
    assert set(catalogue) == _spoken()
    assert all(catalogue.values())


def test_a_code_nobody_named_is_still_readable() -> None:
    assert words.title_of(words.PROBLEMS, "something_new") == "something new"


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        ("zh", "en", "zh"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "fr, en;q=0.5", "en"),
        ("xx", "", "en"),
        ("", "de", "en"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_browsers(cookie: str, accept: str, language: str) -> None:
    assert words.choose_language(cookie, accept) == language


def test_amounts_are_shown_exactly_in_their_currency() -> None:
    assert [minor(1234567, "CNY"), minor(500, "JPY"), minor(-1234, "USD"), minor(1234, "KWD")] == [
        "12,345.67",
        "500",
        "-12.34",
        "1.234",
    ]
    assert minor(-34, "USD") == "-0.34"
    assert minor(5, "?") == "5"


def test_durations_have_one_unit() -> None:
    second = 1_000_000
    assert [span(5 * second), span(61 * second), span(7200 * second), span(3 * 86400 * second), span(None)] == [
        "5s",
        "1m",
        "2h",
        "3d",
        "—",
    ]
