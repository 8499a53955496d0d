from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._top import build_form, judge, meaning, signed_form, without_request_id
from domain.errors import ConfigError, HubError, RefusedError, RetryableError, UnknownOutcomeError
from wire.strict_json import dump

from .side import sample
from .trades import NOW, settings

ERRORS = [
    (7, "isv.access-limited-by-app-api-access-count", RetryableError, RetryableError),
    (7, "accesscontrol.limited-by-api-access-count", RetryableError, RetryableError),
    (15, "isp.top-remote-connection-timeout", RetryableError, UnknownOutcomeError),
    (15, "isp.anything-new", RetryableError, UnknownOutcomeError),
    (25, "", ConfigError, ConfigError),
    (26, "isv.missing-session", ConfigError, ConfigError),
    (27, "invalid-sessionkey", ConfigError, ConfigError),
    (29, "isv.appkey-not-exists", ConfigError, ConfigError),
    (15, "isv.session-expired", ConfigError, ConfigError),
    (15, "isv.permission-api-package-limit", ConfigError, ConfigError),
    (41, "isv.timestamp-limit-error", ConfigError, ConfigError),
    (40, "isv.missing-parameter:tid", RefusedError, RefusedError),
    (15, "isv.request-replay-error", RetryableError, UnknownOutcomeError),
    (15, "B150", RetryableError, RetryableError),
    (15, "isv.logistics-offline-service-error:B150", RetryableError, RetryableError),
    (15, "B60", RefusedError, RefusedError),
    (9999, "never.seen", RefusedError, RefusedError),
]


@pytest.mark.parametrize(("code", "sub_code", "on_read", "on_write"), ERRORS)
def test_an_error_says_what_to_do_next(
    code: int, sub_code: str, on_read: type[HubError], on_write: type[HubError]
) -> None:
    body = dump({"error_response": {"code": code, "msg": "m", "sub_code": sub_code, "sub_msg": "s", "request_id": "r"}})
    assert type(judge(body, writes=False, now=NOW)) is on_read
    assert type(judge(body, writes=True, now=NOW)) is on_write


@pytest.mark.parametrize("body", [b"", b"  ", b"<html>login</html>", b"{}", b"[]", b'{"a":1}', b"null"])
def test_nothing_readable_is_never_no_orders(body: bytes) -> None:
    assert isinstance(judge(body, writes=False, now=NOW), RetryableError)
    assert isinstance(judge(body, writes=True, now=NOW), UnknownOutcomeError)


def test_waits_as_long_as_the_ban_says() -> None:
    error = judge(sample("taobao/error.rate_limit.json"), writes=False, now=NOW)
    assert isinstance(error, RetryableError)
    assert error.not_before == NOW + timedelta(seconds=1)


def test_a_lost_session_stops_the_account() -> None:
    assert isinstance(judge(sample("taobao/error.session.json"), writes=False, now=NOW), ConfigError)


def test_the_sub_code_counts_more_than_the_number() -> None:
    assert meaning(7, "isp.unknown-error") == "platform"


def test_signs_only_what_it_sends() -> None:
    form = signed_form(settings(sign_method="md5"), "m", {"a": "", "b": "1"}, NOW)
    assert "a" not in form and form["timestamp"] == "2026-11-21 12:00:00"
    assert re.fullmatch(r"[0-9A-F]{32}", form["sign"])


def test_settings_keep_their_secrets() -> None:
    assert "s3cret" not in repr(settings()) and "6100" not in repr(settings())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"r":{"trade":{"tid":1},"request_id":"16b0"}}', b'{"r":{"trade":{"tid":1}}}'),
        (b'{"r":{"trade":{"tid":1},"request_id":"x-9_a.b"}}\n', b'{"r":{"trade":{"tid":1}}}'),
        (b'{"r":{"request_id":"16b0","trade":{"tid":1}}}', None),
        (b'{"r":{"trade":{"tid":1,"request_id":"16b0"}},"more":1}', None),
        (rb'{"r":{"memo":",\"request_id\":\"16b0\"}}', None),
    ],
)
def test_only_the_id_of_the_answer_itself_is_no_part_of_what_it_says(body: bytes, says: bytes | None) -> None:
    assert without_request_id(body) == (body if says is None else says)


@given(
    st.dictionaries(
        st.sampled_from(["tid", "sub_tid", "out_sid", "fields"]),
        st.text(st.characters(codec="utf-8"), max_size=12),
        max_size=4,
    )
)
def test_a_form_is_what_the_library_makes_of_it(values: dict[str, str]) -> None:
    kept = {name: value for name, value in values.items() if value}
    assert build_form(values) == urlencode(kept).encode()
