"""Addresses that lead inside, in every spelling."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from domain.errors import HubError, RefusedError, RetryableError
from wire.guard import check_address, check_url, resolve

FORMS = [
    "http://127.0.0.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.0.1./",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://100.100.100.200/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://１２７.０.０.１/",
    "http://user@example.com/",
    "http://user:pass@example.com/",
    "http://@example.com/",
    "http://example.com@127.0.0.1/",
    "http:///path",
    "http://",
    "//example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "ftp://example.com/",
    "javascript:alert(1)",
    "example.com",
    "",
    "http://exa mple.com/",
    "http://a\r\nb/",
    "http://%31%32%37.0.0.1/",
    "http://[::1%25lo]/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\\.example.com/",
]


@pytest.mark.parametrize("url", FORMS)
def test_refuses_the_form_when_it_is_saved(url: str) -> None:
    with pytest.raises(RefusedError):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/admin/api?x=1",
        "http://qimen.api.taobao.com:8080/r",
        "https://8.8.8.8/",
        "https://shop.example/@me?x=@",
        "https://[2606:4700::1111]/",
    ],
)
def test_lets_public_addresses_through(url: str) -> None:
    assert str(check_url(url)) == url


def test_private_means_private_and_loopback_only() -> None:
    for good in ("127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fd12::1", "::ffff:10.0.0.1", "100.64.0.1"):
        check_address(ip_address(good), allow_private=True)
        with pytest.raises(RefusedError, match="address_refused"):
            check_address(ip_address(good), allow_private=False)
    for bad in (
        "169.254.169.254",
        "100.100.100.200",
        "fe80::1",
        "0.0.0.1",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "::ffff:169.254.0.1",
    ):
        with pytest.raises(RefusedError, match="address_refused"):
            check_address(ip_address(bad), allow_private=True)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (["10.0.0.1"], RefusedError),
        (["93.184.216.34", "127.0.0.1"], RefusedError),
        (["::ffff:10.0.0.1"], RefusedError),
        (["fe80::1%eth0"], RefusedError),
        ([], RetryableError),
    ],
)
def test_one_bad_answer_of_the_name_server_refuses_the_name(
    monkeypatch: pytest.MonkeyPatch, answers: list[str], error: type[HubError]
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (each, 80)) for each in answers])
    with pytest.raises(error):
        resolve("rebind.example", 80, timeout=1, allow_private=False)


def test_a_slow_name_server_costs_only_the_time_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    import time

    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(5) and [])
    began = time.monotonic()
    with pytest.raises(RetryableError, match="dns_timeout"):
        resolve("slow.example", 80, timeout=0.1, allow_private=False)
    assert time.monotonic() - began < 3
    release.set()
