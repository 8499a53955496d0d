"""Reading a reply's body: one encoding, a cap on decoded bytes, nothing cut short.

Source: promises.md section 1 (20 MiB decoded) and section 4 rows 6, 7, 9 (2026-11-21, H): 97 KB of gzip can hold 100
MB.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from domain.errors import HubError, RefusedError, RetryableError

ACCEPT_ENCODING = "gzip, deflate"

_PIECE = 65536
_RATIO_FROM = 4 * 2**20  # real pages are repetitive too, but none of 4 MiB shrinks 200 times
_RATIO = 200
_ZLIB_METHOD = 8


def read_body(chunks: Iterable[bytes], encoding: str, length: str, max_bytes: int) -> bytes:
    """The decoded body. `encoding` and `length` are the reply's Content-Encoding and Content-Length ("" when absent).

    Raises RefusedError `encoding_refused` or `decoded_too_large`, RetryableError `truncated`. What httpcore raises for
    a broken connection passes through.
    """
    kind = encoding.strip().lower()
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        raise RefusedError("decoded_too_large", f"more than {max_bytes} bytes")
    if kind in {"", "identity"}:
        return _collect(_counted(chunks, max_bytes), max_bytes)
    if kind in {"gzip", "x-gzip", "deflate"}:
        return _collect(_inflated(_counted(chunks, max_bytes), kind), max_bytes)
    raise RefusedError("encoding_refused", "one of gzip, deflate or none is accepted")


def _collect(pieces: Iterator[bytes], max_bytes: int) -> bytes:
    kept: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise RefusedError("decoded_too_large", f"more than {max_bytes} bytes")
        kept.append(piece)
    return kept[0] if len(kept) == 1 else b"".join(kept)


def _counted(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise RefusedError("decoded_too_large", f"more than {max_bytes} bytes as sent")
        yield chunk


def _inflated(chunks: Iterator[bytes], kind: str) -> Iterator[bytes]:
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) > 1:
            break
    if not first:
        return
    unpacker = zlib.decompressobj(31 if kind != "deflate" else 15 if _has_zlib_header(first) else -15)
    taken, made = len(first), 0
    pending = first
    try:
        while True:
            piece = unpacker.decompress(pending, _PIECE)
            made += len(piece)
            # A chunk is as large as a bomb: only what was used of it counts.
            used = taken - len(unpacker.unconsumed_tail)
            if made > _RATIO_FROM and made > _RATIO * used:
                raise RefusedError("decoded_too_large", "the body is a decompression bomb")
            if piece:
                yield piece
            if unpacker.unused_data:
                raise _bad("bytes after the end")
            pending = unpacker.unconsumed_tail
            if pending or len(piece) == _PIECE:
                continue
            pending = next(chunks, b"")
            taken += len(pending)
            if not pending:
                break
    except zlib.error:
        raise _bad("not what Content-Encoding says") from None
    if not unpacker.eof:
        raise RetryableError("truncated", "the compressed body ends early")


def _has_zlib_header(first: bytes) -> bool:
    # Servers disagree about "deflate": RFC 9110 means zlib, many send the raw stream.
    return len(first) > 1 and first[0] & 0x0F == _ZLIB_METHOD and (first[0] << 8 | first[1]) % 31 == 0


def _bad(detail: str) -> HubError:
    return RefusedError("encoding_refused", detail)
