"""Mail of notifications, against a real SMTP server: one digest, over TLS that is checked, with a password."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from sqlalchemy import Engine, text

from perdura.runtime import notifications
from tests.conftest import free_port
from tests.contract.test_notifications import Surroundings, fail, subscribe

pytestmark = pytest.mark.stack
PASSWORD = "a password"


class Mailbox(Message):
    """Keeps what was delivered, with its envelope."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[EmailMessage] = []
        self.envelopes: list[tuple[str | None, list[str]]] = []

    async def handle_DATA(self, server: object, session: Session, envelope: Envelope) -> str:
        """Take a mail."""
        parsed = message_from_bytes(envelope.content or b"", policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.mails.append(parsed)
        self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        return "250 taken"

    def handle_message(self, message: object) -> None:
        """Nothing more."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path / "mail.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def server(certificate: Path) -> Iterator[tuple[Mailbox, int]]:
    """A mail server that takes mail only over TLS and from who knows the password."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    box, port = Mailbox(), free_port()

    def check(_server: object, _session: object, _envelope: object, _mechanism: str, data: object) -> AuthResult:
        known = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
        return AuthResult(success=known, handled=known)

    controller = Controller(
        box, hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True, authenticator=check,
        auth_required=True, auth_require_tls=True, auth_exclude_mechanism=["LOGIN"],
    )  # fmt: skip
    controller.start()
    yield box, port
    controller.stop()


def _surroundings(database: Engine, port: int, password: str = PASSWORD) -> Surroundings:
    return Surroundings(
        database, smtp_host="127.0.0.1", smtp_port=port, smtp_starttls=True, smtp_user="perdura",
        smtp_password=SecretStr(password), mail_from="perdura@example.org",
    )  # fmt: skip


def _last_error(database: Engine) -> str | None:
    with database.connect() as connection:
        error: str | None = connection.execute(text("SELECT last_error FROM subscription")).scalar_one()
        return error


def test_a_flood_of_failures_is_one_mail(
    database: Engine, server: tuple[Mailbox, int], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    box, port = server
    subscribe(database, "Ada <ada@example.org>", way="email")
    for number in range(120):
        fail(database, f"Letter {number}\r\nBcc: eve@example.org")
    surroundings = _surroundings(database, port)
    assert notifications.tick(surroundings) == 1  # type: ignore[arg-type]
    assert notifications.tick(surroundings) == 0  # type: ignore[arg-type]
    assert box.envelopes == [("perdura@example.org", ["ada@example.org"])]
    (mail,) = box.mails
    assert (mail["Subject"], mail["To"], mail["Auto-Submitted"]) == (
        "[Perdura] 120 failed", "Ada <ada@example.org>", "auto-generated",
    )  # fmt: skip
    assert parsedate_to_datetime(mail["Date"]).tzinfo is not None
    assert mail["Message-ID"].endswith("@example.org>")
    body = mail.get_content()
    assert "no-space: Full." in body
    assert "and 70 more" in body
    fail(database, "Tide tables")
    with database.begin() as connection:
        connection.execute(text("UPDATE subscription SET next_at = clock_timestamp()"))
    assert notifications.tick(surroundings) == 1  # type: ignore[arg-type]
    assert box.mails[1]["Subject"] == "[Perdura] failed: Tide tables"


def test_a_server_whose_certificate_is_not_trusted_gets_no_password(
    database: Engine, server: tuple[Mailbox, int]
) -> None:
    box, port = server
    subscribe(database, "ada@example.org", way="email")
    fail(database)
    assert notifications.tick(_surroundings(database, port)) == 0  # type: ignore[arg-type]
    assert box.mails == []
    assert _last_error(database) == "SSLCertVerificationError"


def test_a_wrong_password_is_told_and_nothing_is_lost(
    database: Engine, server: tuple[Mailbox, int], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    box, port = server
    subscribe(database, "ada@example.org", way="email")
    fail(database)
    assert notifications.tick(_surroundings(database, port, "wrong")) == 0  # type: ignore[arg-type]
    assert _last_error(database) == "SMTPAuthenticationError"
    with database.begin() as connection:
        connection.execute(text("UPDATE subscription SET next_at = clock_timestamp()"))
    assert notifications.tick(_surroundings(database, port)) == 1  # type: ignore[arg-type]
    assert len(box.mails) == 1
