"""HTTPS to a pinned address: the name is what is proved, not the address."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.errors import RetryableError
from wire.client import Client, Limits


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def shop(certificate: Path) -> Iterator[tuple[int, list[str | None], list[bytes]]]:
    """Port, server names asked for, and what arrived inside TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names: list[str | None] = []
    arrived: list[bytes] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as secure:
                    if got := secure.recv(65536):
                        arrived.append(got)
                        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1]), names, arrived
        listener.shutdown(socket.SHUT_RDWR)


def to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: object, **kw: object) -> object:
        if host.endswith(".example"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        return real(host, port, *rest, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_the_name_goes_into_sni_and_is_what_the_certificate_must_prove(
    shop: tuple[int, list[str | None], list[bytes]], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, names, arrived = shop
    to_loopback(monkeypatch)
    trust = ssl.create_default_context(cafile=certificate)
    with Client(allow_private=True, tls=trust, limits=Limits(read=2, total=3)) as wire:
        assert wire.send("GET", f"https://shop.example:{port}/", writes=False).status == 200
        with pytest.raises(RetryableError, match="connect_failed"):
            wire.send("POST", f"https://other.example:{port}/", writes=True, headers={"X-Token": "secret"})
    assert names == ["shop.example", "other.example"]
    assert len(arrived) == 1


def test_an_unknown_authority_gets_no_request(
    shop: tuple[int, list[str | None], list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _, arrived = shop
    to_loopback(monkeypatch)
    with (
        Client(allow_private=True, limits=Limits(read=2, total=3)) as wire,
        pytest.raises(RetryableError, match="connect_failed"),
    ):
        wire.send("POST", f"https://shop.example:{port}/", writes=True)
    assert arrived == []
