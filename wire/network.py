"""The sockets themselves: resolve, check, pin, and keep every operation inside the call's total time.

httpcore's time-outs are per operation, so a peer that drips one byte a second in its headers would never meet one. The
deadline therefore sits in the stream, below the protocol. The stream also knows the one fact that decides between
"again" and "look first": whether any byte of a request may have left.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from domain.errors import RefusedError, RetryableError

from .guard import resolve
from .permit import may_speak

_MOST_ADDRESSES = 3


class Call(threading.local):
    """What is true of the call this thread is making: `deadline` on the monotonic clock, `sent` once a byte may have
    left.
    """

    def __init__(self) -> None:
        self.deadline = float("inf")
        self.sent = False


class GuardedBackend(httpcore.NetworkBackend):
    """Connects only to checked addresses. The name stays in Host and SNI; the socket goes to the address that was
    checked.
    """

    def __init__(self, call: Call, *, allow_private: bool) -> None:
        self._call = call
        self._allow_private = allow_private
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Try the name's addresses in order within `timeout`; the last failure is raised."""
        end = min(self._call.deadline, time.monotonic() + (timeout if timeout is not None else float("inf")))
        found = resolve(host, port, timeout=_left(end, httpcore.ConnectTimeout), allow_private=self._allow_private)
        failure: Exception = httpcore.ConnectError("no address")
        for address in found[:_MOST_ADDRESSES]:
            try:
                stream = self._inner.connect_tcp(
                    address, port, _left(end, httpcore.ConnectTimeout), local_address, socket_options
                )
                return _Stream(stream, self._call)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        """Never: a path is not an address anybody may give us."""
        raise RefusedError("address_refused", "unix socket")

    def sleep(self, seconds: float) -> None:
        """Required by the interface; used by httpcore only for its own retries, which are off."""
        time.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, call: Call) -> None:
        self._inner = inner
        self._call = call

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _least(timeout, _left(self._call.deadline, httpcore.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        limit = _least(timeout, _left(self._call.deadline, httpcore.WriteTimeout))
        if not may_speak():
            if self._call.sent:
                raise httpcore.WriteError("the claim has run out")  # half a request is out: nobody can tell
            raise RetryableError("claim_lost", "the claim has run out")
        self._call.sent = True
        self._inner.write(buffer, limit)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        limit = _least(timeout, _left(self._call.deadline, httpcore.ConnectTimeout))
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, limit), self._call)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(end: float, late: Callable[[str], Exception]) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise late("total time is over")
    return left


def _least(timeout: float | None, left: float) -> float | None:
    if left == float("inf"):
        return timeout
    return left if timeout is None else min(timeout, left)
