"""A throw-away public key infrastructure: CA, host, robots, and proxies in every state of disrepair."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    def write(self, directory: Path, name: str) -> tuple[str, str]:
        """Write `name.pem` and `name.key`; gives back their paths."""
        directory.mkdir(exist_ok=True)
        pem, key = directory / f"{name}.pem", directory / f"{name}.key"
        pem.write_bytes(self.pem)
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key.chmod(0o600)
        return str(pem), str(key)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def name(*parts: str) -> x509.Name:
    """`name("DC=ch", "CN=robot")`."""
    kinds = {"DC": NameOID.DOMAIN_COMPONENT, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "CN": NameOID.COMMON_NAME,
             "O": NameOID.ORGANIZATION_NAME}  # fmt: skip
    pairs = (part.split("=", 1) for part in parts)
    return x509.Name([x509.NameAttribute(kinds[kind], value) for kind, value in pairs])


def certificate(
    subject: x509.Name, key: Any, issuer: Pair | None = None, *, ca: bool = False, days: float = 395
) -> Pair:
    """A certificate signed by `issuer`, or by itself."""
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if ca:
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    else:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(signed_by, critical=False)
    return Pair(builder.sign(signer, hashes.SHA256()), key)


@cache
def authority() -> Pair:
    return certificate(name("DC=ch", "DC=test", "CN=Test CA"), rsa_key(1), ca=True)


@cache
def host() -> Pair:
    return certificate(name("DC=ch", "DC=test", "OU=computers", "CN=localhost"), rsa_key(2), authority())


@cache
def robot(common_name: str = "Robot: Perdura") -> Pair:
    subject = name("DC=ch", "DC=test", "OU=Users", "CN=000001", f"CN={common_name}")
    return certificate(subject, rsa_key(3), authority())


@cache
def expired() -> Pair:
    """The robot's certificate of last year."""
    subject = name("DC=ch", "DC=test", "OU=Users", "CN=000001", "CN=Robot: Perdura")
    return certificate(subject, rsa_key(3), authority(), days=-0.5)


@cache
def ending() -> Pair:
    """The robot's certificate in its last hour."""
    subject = name("DC=ch", "DC=test", "OU=Users", "CN=000001", "CN=Robot: Perdura")
    return certificate(subject, rsa_key(3), authority(), days=0.03)


def tls_directory(directory: Path) -> Path:
    """`ca.pem`, `host.pem` and `host.key`, as `perdura tape serve --tls-dir` wants them."""
    host().write(directory, "host")
    (directory / "ca.pem").write_bytes(authority().pem)
    return directory
