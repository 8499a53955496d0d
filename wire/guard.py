"""Which addresses may be called. Checked when a URL is saved and again, on the resolved address, when connecting.

Source: promises.md section 4 row 58 and section 6 (2026-11-21, H). `allow_private` is the operator's explicit word for
one account (a warehouse in the same building, the sandbox). It opens private and loopback ranges only: link-local,
cloud metadata, multicast and reserved addresses have no warehouse behind them and stay closed.
"""

from __future__ import annotations

import re
import socket
import threading
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

from domain.errors import RefusedError, RetryableError

Address = IPv4Address | IPv6Address

# Alibaba Cloud serves metadata inside the carrier range, AWS inside the private IPv6 range.
_METADATA = frozenset({ip_address("100.100.100.200"), ip_address("fd00:ec2::254")})
_THIS_NETWORK = IPv4Network("0.0.0.0/8")  # Linux connects 0.0.0.0 to loopback
_CARRIER = IPv4Network("100.64.0.0/10")
_NAT64 = IPv6Network("64:ff9b::/96")
_ENDS_IN_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$")
_AUTHORITY = re.compile(r"^[^:/?#]*://|[?#].*$", re.DOTALL)
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_MOST_LOOKUPS = 64
_lookups = threading.BoundedSemaphore(_MOST_LOOKUPS)


@lru_cache(maxsize=2048)
def check_url(url: str, *, allow_private: bool = False) -> httpx.URL:
    """The parsed URL, if its form is harmless; for use when a URL is saved and before each call. Opens no socket, looks
    up no name.

    Raises RefusedError `url_refused`: other schemes than http/https, user info, no host, fragments of numbers that
    resolvers read as addresses (0x7f000001, 2130706433, 127.1), addresses that `check_address` refuses.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise RefusedError("url_refused", "not a URL") from None
    if parsed.scheme not in {"http", "https"}:
        raise RefusedError("url_refused", "only http and https")
    if parsed.userinfo or "@" in _AUTHORITY.sub("", url, count=1).partition("/")[0] or "\\" in url:
        raise RefusedError("url_refused", "user name or password in the address")
    host = parsed.raw_host.decode("ascii", "replace")
    literal = read_address(host)
    if literal is not None:
        check_address(literal, allow_private=allow_private)
    elif not _HOST_NAME.fullmatch(host) or _ENDS_IN_NUMBER.search(host):
        raise RefusedError("url_refused", "host name")
    return parsed


def read_address(host: str) -> Address | None:
    """The address if `host` is a canonical literal, else None (also for the forms only resolvers understand)."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def check_address(address: Address, *, allow_private: bool) -> None:
    """Raises RefusedError `address_refused` unless we may connect to this address."""
    inner = _embedded(address)
    if inner is not None:
        if not allow_private:
            raise RefusedError("address_refused", "an address inside an address")
        address = inner
    closed = (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.is_reserved and not address.is_loopback)
        or address in _METADATA
        or (isinstance(address, IPv4Address) and address in _THIS_NETWORK)
        or (isinstance(address, IPv6Address) and (address.is_site_local or address.scope_id is not None))
    )
    if closed:
        raise RefusedError("address_refused", "link-local, metadata, multicast or reserved")
    if allow_private:
        return
    if not address.is_global or address.is_private or (isinstance(address, IPv4Address) and address in _CARRIER):
        raise RefusedError("address_refused", "private or loopback")


def resolve(host: str, port: int, *, timeout: float, allow_private: bool) -> list[str]:
    """All addresses of `host`, each checked; at most `timeout` seconds.

    One refused address refuses the name: a name that is half inside is an attack or a mistake. Raises RefusedError
    `address_refused`, RetryableError `dns` or `dns_timeout`. The caller connects to what is returned, never to the name
    again, so a second answer of the name server changes nothing.
    """
    literal = read_address(host)
    if literal is not None:
        check_address(literal, allow_private=allow_private)
        return [str(literal)]
    if _ENDS_IN_NUMBER.search(host):
        raise RefusedError("url_refused", "host name")
    found = _look_up(host, port, timeout)
    for each in found:
        address = read_address(each)
        if address is None:
            raise RefusedError("address_refused", "unreadable address")
        check_address(address, allow_private=allow_private)
    return found


def _look_up(host: str, port: int, timeout: float) -> list[str]:
    """`getaddrinfo` has no time-out of its own, hence the thread; the number of threads that may hang is bounded."""
    if not _lookups.acquire(timeout=timeout):
        raise RetryableError("dns_timeout", "too many look-ups")
    answer: list[str] = []
    failed: list[str] = []

    def ask() -> None:
        try:
            for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                text = str(entry[4][0])
                if text not in answer:
                    answer.append(text)
        except (OSError, UnicodeError) as error:
            failed.append(type(error).__name__)
        finally:
            _lookups.release()

    worker = threading.Thread(target=ask, name="look-up", daemon=True)
    worker.start()
    worker.join(timeout)
    if worker.is_alive():
        raise RetryableError("dns_timeout", host)
    if failed or not answer:
        raise RetryableError("dns", host)
    return answer


def _embedded(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
