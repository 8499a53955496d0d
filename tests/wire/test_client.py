"""What the guarded client sends, and what it makes of each status."""

from __future__ import annotations

import time
from collections.abc import Generator
from datetime import datetime, timedelta

import httpx
import pytest

from domain.errors import ConfigError, HubError, MappingError, RefusedError, RetryableError, UnknownOutcomeError
from tests.wire.loopback import NOW, Loopback, answering, call, client, closing, reply
from wire.auth import Basic, Bearer, HeaderToken
from wire.budget import Budget
from wire.client import Reply

# -- what is sent ------------------------------------------------------------------------------------------------------


def test_sends_what_was_asked_and_returns_the_whole_reply() -> None:
    with Loopback(answering(reply(201, b'{"id": 1.50}', X_Request_Id="7"))) as server, client() as wire:
        got = wire.send(
            "POST",
            server.url + "/orders?a=1",
            params={"b": "中 文&"},
            form={"k": "v=&中"},
            headers={"X-Ref": "r1"},
            writes=True,
        )
    seen = server.seen[0]
    assert (seen.method, seen.target) == ("POST", "/orders?a=1&b=%E4%B8%AD+%E6%96%87%26")
    assert seen.body == b"k=v%3D%26%E4%B8%AD"
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded;charset=utf-8"
    assert seen.headers["x-ref"] == "r1"
    assert seen.headers["user-agent"].startswith("order-hub/")
    assert (got.status, got.headers["x-request-id"], str(got.json()["id"])) == (201, "7", "1.50")
    assert (got.sent_at, got.received_at) == (NOW, NOW)


def test_reuses_one_connection_and_keeps_no_cookies() -> None:
    with Loopback(answering(reply(200, b"{}", Set_Cookie="account=a"))) as server, client() as wire:
        for _ in range(3):
            wire.send("GET", server.url, writes=False)
    assert server.connections == 1
    assert all("cookie" not in seen.headers for seen in server.seen)


def test_notices_a_connection_that_was_closed_while_idle() -> None:
    with Loopback(closing(reply(200, b"{}"))) as server, client() as wire:
        for _ in range(3):
            assert wire.send("POST", server.url, writes=True, content=b"{}").status == 200
            time.sleep(0.02)
    assert server.connections == 3


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (Bearer("t0ken"), "authorization", "Bearer t0ken"),
        (HeaderToken("X-Shopify-Access-Token", "shpat"), "x-shopify-access-token", "shpat"),
        (Basic("ck", "密"), "authorization", "Basic Y2s65a+G"),
    ],
)
def test_says_who_we_are(auth: httpx.Auth, name: str, value: str) -> None:
    with Loopback(answering(reply())) as server, client() as wire:
        wire.send("GET", server.url, auth=auth, writes=False)
    assert server.seen[0].headers[name] == value
    assert value not in repr(auth)


def test_an_auth_flow_may_answer_a_challenge_but_not_for_ever() -> None:
    class Stubborn(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            while True:
                request.headers["x-try"] = "again"
                yield request

    with Loopback(answering(reply(401))) as server, client() as wire, pytest.raises(ConfigError):
        wire.send("GET", server.url, auth=Stubborn(), writes=False)
    assert len(server.seen) == 3


@pytest.mark.parametrize("token", ["", "a\r\nX-Evil: 1", "tök", "a\x00"])
def test_a_malformed_token_blames_the_settings(token: str) -> None:
    with pytest.raises(ConfigError, match="credentials_malformed"):
        Bearer(token)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Ref": "SF1\r\nX-Evil: 1"},
        {"X-Ref": "a\nb"},
        {"X\r\nA": "b"},
        {"X-Ref": "中"},
        {"Host": "x"},
        {"content-length": "1"},
    ],
)
def test_refuses_headers_that_are_not_one_header(headers: dict[str, str]) -> None:
    with Loopback(answering(reply())) as server, client() as wire, pytest.raises(RefusedError, match="header_refused"):
        wire.send("GET", server.url, headers=headers, writes=False)
    assert server.connections == 0


def test_ignores_proxies_and_netrc_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(answering(reply())) as proxy, Loopback(answering(reply())) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with client() as wire:
            wire.send("GET", server.url, writes=False)
    assert (proxy.connections, len(server.seen)) == (0, 1)


# -- what a status means -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "writes", "kind", "code"),
    [
        (401, False, ConfigError, "credentials_refused"),
        (403, True, ConfigError, "credentials_refused"),
        (429, True, RetryableError, "rate_limited"),
        (500, False, RetryableError, "http_500"),
        (500, True, UnknownOutcomeError, "http_500"),
        (503, True, UnknownOutcomeError, "http_503"),
        (408, False, RetryableError, "http_408"),
        (408, True, UnknownOutcomeError, "http_408"),
        (409, False, RetryableError, "http_409"),
        (409, True, RetryableError, "http_409"),
        (425, True, RetryableError, "http_425"),
        (404, False, RefusedError, "http_404"),
        (422, True, RefusedError, "http_422"),
        (302, True, RefusedError, "redirect_refused"),
        (303, True, UnknownOutcomeError, "http_303"),
        (304, False, RefusedError, "redirect_refused"),
    ],
)
def test_names_each_status_by_what_to_do_next(status: int, writes: bool, kind: type[HubError], code: str) -> None:
    with pytest.raises(kind) as caught:
        call(answering(reply(status, b"" if status == 304 else b"{}")), writes=writes)
    assert caught.value.code == code


def test_a_refusal_quotes_the_body_without_control_characters_and_secrets() -> None:
    body = b"no order for token s3cret-t0ken\x00\r\nnext line " + b"x" * 900
    with pytest.raises(RefusedError) as caught:
        call(answering(reply(400, body)), auth=Bearer("s3cret-t0ken"))
    assert caught.value.detail.startswith("no order for token *** next line xxx")
    assert len(caught.value.detail) == 300


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", NOW + timedelta(seconds=120)),
        ("Sat, 21 Nov 2026 10:05:00 GMT", NOW + timedelta(minutes=5)),
        ("Fri, 20 Nov 2026 10:05:00 GMT", NOW),
        ("99999999999999999999", NOW + timedelta(hours=24)),
        ("Sat, 21 Nov 2099 10:05:00 GMT", NOW + timedelta(hours=24)),
        ("-5", None),
        ("soon", None),
        ("\u0661\u0662".encode().decode("latin-1"), None),
    ],
)
def test_honours_retry_after_within_a_day(value: str, expected: datetime | None) -> None:
    with pytest.raises(RetryableError) as caught:
        call(answering(reply(429, b"", Retry_After=value)))
    assert caught.value.not_before == expected


def test_a_rate_limit_also_holds_the_budget() -> None:
    budget = Budget(10, 1, clock=lambda: NOW)
    with pytest.raises(RetryableError, match="rate_limited"):
        call(answering(reply(429, b"", Retry_After="60")), budget=budget)
    with pytest.raises(RetryableError, match="budget_exhausted") as caught:
        budget.take()
    assert caught.value.not_before == NOW + timedelta(seconds=60)


def test_a_judge_may_turn_a_200_into_the_error_it_means() -> None:
    def judge(got: Reply) -> HubError | None:
        return RetryableError("call_limited") if "error_response" in got.json() else None

    with pytest.raises(RetryableError, match="call_limited"):
        call(answering(reply(200, b'{"error_response":{"code":7}}')), judge=judge, writes=True)
    assert call(answering(reply(200, b'{"ok":1}')), judge=judge).status == 200


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"", RetryableError, "empty_reply"),
        (b" \n", RetryableError, "empty_reply"),
        (b"<html>Please log in</html>", RetryableError, "auth_or_maintenance"),
        (b"{", MappingError, "json"),
    ],
)
def test_an_unreadable_200_is_never_no_orders(body: bytes, kind: type[HubError], code: str) -> None:
    with pytest.raises(kind) as caught:
        call(answering(reply(200, body))).json()
    assert caught.value.code == code
    with pytest.raises(UnknownOutcomeError) as unknown:
        call(answering(reply(200, body)), writes=True).json()
    assert unknown.value.code == code
