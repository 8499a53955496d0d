"""The outgoing half: a keep-alive HTTP/1.1 client for callbacks and webhooks to the hub (loopback, plain HTTP)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlsplit

REPLY_LIMIT = 1024 * 1024
Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Poster:
    """Posts with at most `limit` calls open at a time; connections are kept and used again."""

    limit: int = 16
    gate: asyncio.Semaphore | None = None
    idle: dict[tuple[str, int], list[Peer]] = field(default_factory=dict)

    async def post(
        self, url: str, headers: tuple[tuple[str, str], ...], body: bytes, timeout: float
    ) -> tuple[int, bytes]:
        """Send once. Returns (status, body); raises OSError, TimeoutError, EOFError or ValueError when no whole reply came."""
        if self.gate is None:
            self.gate = asyncio.Semaphore(self.limit)
        async with self.gate:
            return await asyncio.wait_for(self.exchange(url, headers, body), timeout)

    async def exchange(self, url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> tuple[int, bytes]:
        """One exchange; a kept connection that went stale is replaced once (news is at-least-once anyway)."""
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        data = (
            f"POST {target} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode()
            + body
        )
        pool = self.idle.setdefault((host, port), [])
        while pool:
            peer = pool.pop()
            if peer[1].is_closing():
                continue
            try:
                return await self.talk(peer, data, pool)
            except (OSError, EOFError):
                peer[1].close()
                break
        return await self.talk(await asyncio.open_connection(host, port), data, pool)

    async def talk(self, peer: Peer, data: bytes, pool: list[Peer]) -> tuple[int, bytes]:
        """Write the request, read the reply, keep the connection if the peer does."""
        reader, writer = peer
        kept = False
        try:
            writer.write(data)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ", 2)[1])
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
            }
            bodiless = status in (204, 304)
            body = b"" if bodiless else await read_body(reader, headers)
            if headers.get("connection", "").lower() != "close" and (
                bodiless or "content-length" in headers or "transfer-encoding" in headers
            ):
                pool.append(peer)
                kept = True
            return status, body
        finally:
            if not kept:
                writer.close()


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """The body by content-length, by chunks, or up to the end of the connection; at most 1 MiB."""
    if "content-length" in headers:
        return await reader.readexactly(min(int(headers["content-length"]), REPLY_LIMIT))
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.read(REPLY_LIMIT)
    parts: list[bytes] = []
    while (size := int((await reader.readline()).split(b";")[0], 16)) and sum(map(len, parts)) < REPLY_LIMIT:
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(parts)
