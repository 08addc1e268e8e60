"""A door of TLS in front of a server that speaks plain http, for the length of a block."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@contextlib.contextmanager
def tls_front(host: str, port: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """The https URL that leads there, and the certificate by which it is known."""
    certificate, key = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=_welcome, args=(door, context, (host, port)), daemon=True).start()
        yield f"https://127.0.0.1:{door.getsockname()[1]}", certificate
        # Wakes whoever waits for a guest.
        with contextlib.suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)


def _welcome(door: socket.socket, context: ssl.SSLContext, behind: tuple[str, int]) -> None:
    while True:
        try:
            guest, _ = door.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(guest, context, behind), daemon=True).start()


def _serve(guest: socket.socket, context: ssl.SSLContext, behind: tuple[str, int]) -> None:
    with (
        contextlib.suppress(OSError),
        context.wrap_socket(guest, server_side=True) as inside,
        socket.create_connection(behind) as server,
    ):
        # A TLS socket is read by one thread and written by the other.
        back = threading.Thread(target=_pass, args=(server, inside), daemon=True)
        back.start()
        _pass(inside, server)
        back.join()


def _pass(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, secret
