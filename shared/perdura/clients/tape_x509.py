"""X.509 as grid services use it: slash names, proxies (RFC 3820), robot certificates and what to check of them.

A proxy is a short-lived certificate signed with our certificate's key; FTS acts with it (fts-cta.md 2.4, 10.3).
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from perdura.errors import Broken, Rejected

PROXY_CERT_INFO = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
INHERIT_ALL = bytes.fromhex("300c300a06082b06010505071501")
"""ProxyCertInfo with the policy language "inherit all" (1.3.6.1.5.5.7.21.1)."""
SMALLEST_KEY = 2048
CERTIFICATE, KEY, NOW = "robot.pem", "robot.key", "robot.now"
PAIR = re.compile(r"robot\.[0-9a-f]{16}")
"""Name of a folder that holds a certificate and its key."""
LINK_TO_BE = re.compile(r"robot\.(pem|key|now)\.[0-9a-f]{16}")
"""Name that a link has before it is put in its place."""
NEXT_PART = re.compile(r"/[^/=]*=")
"""What makes one part of a name in slash form look like two: nothing in it is escaped."""
SHORT_NAMES = {
    NameOID.COMMON_NAME: "CN", NameOID.ORGANIZATIONAL_UNIT_NAME: "OU", NameOID.ORGANIZATION_NAME: "O",
    NameOID.COUNTRY_NAME: "C", NameOID.DOMAIN_COMPONENT: "DC", NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST", NameOID.EMAIL_ADDRESS: "emailAddress",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot certificate with its chain (own certificate first) and its key."""

    chain: tuple[x509.Certificate, ...]
    key: rsa.RSAPrivateKey

    @property
    def certificate(self) -> x509.Certificate:
        """The robot's own certificate."""
        return self.chain[0]

    @property
    def dn(self) -> str:
        """Its name in slash form."""
        return slash_dn(self.certificate.subject)

    @property
    def expires_at(self) -> datetime:
        """When the first certificate of the chain expires."""
        return min(certificate.not_valid_after_utc for certificate in self.chain)

    def days_left(self, now: datetime) -> float:
        """Days until then; negative afterwards."""
        return (self.expires_at - now).total_seconds() / 86400


def slash_dn(name: x509.Name) -> str:
    """A name as grid services write it: `/DC=ch/CN=…`; raises ValueError for one that would read as another name."""
    for each in name:
        if NEXT_PART.search(str(each.value)):
            raise ValueError("a part of the certificate's name holds what looks like a part of its own")
    return "".join(f"/{SHORT_NAMES.get(each.oid, each.oid.dotted_string)}={each.value!s}" for each in name)


def is_proxy(certificate: x509.Certificate) -> bool:
    """True for an RFC 3820 proxy."""
    return any(extension.oid == PROXY_CERT_INFO for extension in certificate.extensions)


def holder_dn(chain: Sequence[x509.Certificate]) -> str:
    """The name of the end entity behind a presented chain (leaf first), whose leaf the TLS front end verified.

    Every proxy is followed to the certificate that issued it, by name and signature: whatever else a client presents
    beside it (the public certificate of a robot, for example) says nothing of who it is. Where that certificate is not
    in the chain, the numbers that proxies append are cut off the issuer's name.
    """
    holder = chain[0]
    for _ in chain:
        if not is_proxy(holder):
            return slash_dn(holder.subject)
        issuer = next((each for each in chain if each is not holder and _issued(holder, each)), None)
        if issuer is None:
            break
        holder = issuer
    dn = slash_dn(holder.issuer)
    while (last := dn.rpartition("/CN=")[2]).isdigit():
        dn = dn.removesuffix(f"/CN={last}")
    return dn


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def load(certificate_file: str, key_file: str) -> Robot:
    """Read and check a robot certificate and its key (PEM); raises Broken with what is wrong."""
    try:
        chain = tuple(x509.load_pem_x509_certificates(Path(certificate_file).read_bytes()))
        key = serialization.load_pem_private_key(Path(key_file).read_bytes(), None)
    except TypeError as error:
        raise Broken(
            "the private key is encrypted; store it unencrypted, mode 0600", code="tape-certificate"
        ) from error
    except (OSError, ValueError) as error:
        message = f"the robot certificate cannot be read: {error}"
        raise Broken(message, code="tape-certificate") from error
    return checked(chain, key)


def checked(chain: Sequence[x509.Certificate], key: object) -> Robot:
    """A robot, if FTS can work with it: RSA of 2048 bits or more, key and certificate belong together; raises Broken.

    With an elliptic-curve certificate FTS silently makes proxies of 576 bits (fts-cta.md 2.4).
    """
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Broken("FTS needs an RSA certificate; this key is of another kind", code="tape-certificate")
    if key.key_size < SMALLEST_KEY:
        raise Broken(f"the RSA key has {key.key_size} bits; {SMALLEST_KEY} are needed", code="tape-certificate")
    if not chain or chain[0].public_key() != key.public_key():
        raise Broken("certificate and private key do not belong together", code="tape-certificate")
    try:
        slash_dn(chain[0].subject)
    except ValueError as error:
        raise Broken(f"FTS cannot know this certificate by its name: {error}", code="tape-certificate") from error
    return Robot(tuple(chain), key)


def from_p12(data: bytes, password: bytes | None) -> Robot:
    """The robot in a PKCS#12 file, also one with RC2 encryption; raises Rejected or Broken."""
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(data, password)
    except ValueError as error:
        message = "the PKCS#12 file cannot be opened: wrong password, or not PKCS#12"
        raise Rejected(message, code="bad-p12") from error
    if certificate is None:
        raise Rejected("the PKCS#12 file holds no certificate", code="bad-p12")
    return checked([certificate, *others], key)


def store(robot: Robot, directory: Path) -> tuple[Path, Path]:
    """Write `robot.pem` and `robot.key` (mode 0600) below a directory; gives back their paths.

    Both change at once, whenever the process may be killed: they are links through `robot.now`, which names the folder
    that holds the pair.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in robot.chain)
    key = robot.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made = directory / f"robot.{secrets.token_hex(8)}"
    _written(made, pem, key)
    paths = directory / CERTIFICATE, directory / KEY
    if not (directory / NOW).is_symlink():
        if all(path.exists() for path in paths):
            kept = directory / f"robot.{secrets.token_hex(8)}"
            _written(kept, *(path.read_bytes() for path in paths))
            _linked(directory / NOW, kept.name)
        else:
            _linked(directory / NOW, made.name)
    for path in paths:
        _linked(path, f"{NOW}/{path.name}")
    _linked(directory / NOW, made.name)
    _tidy(directory, made)
    return paths


def _tidy(directory: Path, made: Path) -> None:
    """Remove the pairs before, and what a killed import left; nothing that `store` did not make."""
    for each in list(directory.iterdir()):
        if LINK_TO_BE.fullmatch(each.name) and each.is_symlink():
            each.unlink(missing_ok=True)
        elif PAIR.fullmatch(each.name) and each.is_dir() and not each.is_symlink() and each != made:
            with suppress(OSError):
                for name in (CERTIFICATE, KEY):
                    (each / name).unlink(missing_ok=True)
                each.rmdir()


def _written(directory: Path, pem: bytes, key: bytes) -> None:
    directory.mkdir(mode=0o700)
    for name, data in ((CERTIFICATE, pem), (KEY, key)):
        with open(directory / name, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _linked(link: Path, target: str) -> None:
    """Let a link name another file, at once."""
    fresh = link.with_name(f"{link.name}.{secrets.token_hex(8)}")
    fresh.symlink_to(target)
    fresh.replace(link)


def sign_proxy(robot: Robot, request_pem: bytes, lifetime: timedelta, now: datetime | None = None) -> bytes:
    """A proxy for the key of a PKCS#10 request, followed by our chain, as PEM; raises Broken for a bad request."""
    now = now or datetime.now(UTC)
    try:
        request = x509.load_pem_x509_csr(request_pem)
    except ValueError as error:
        raise Broken("FTS sent no certificate request", code="fts-bad-request") from error
    number = int(time.time())
    own = robot.certificate
    subject = x509.Name([*own.subject, x509.NameAttribute(NameOID.COMMON_NAME, str(number))])
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, content_commitment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    proxy = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(own.subject)
        .public_key(request.public_key())
        .serial_number(number)
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(min(now + lifetime, own.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.UnrecognizedExtension(PROXY_CERT_INFO, INHERIT_ALL), critical=True)
        .sign(robot.key, hashes.SHA256())
    )
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (proxy, *robot.chain))
