"""Robot certificates, PKCS#12 files, proxies, and delegation as FTS checks it (fts-cta.md 2.4, 10.3)."""

from __future__ import annotations

import re
import stat
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from perdura.clients.tape_x509 import (
    PROXY_CERT_INFO,
    Robot,
    checked,
    from_p12,
    holder_dn,
    load,
    sign_proxy,
    slash_dn,
    store,
)
from perdura.errors import Broken, Rejected
from perdura.local.tape.cli import tape
from perdura.local.tape.fts import delegation
from perdura.local.tape.fts.identity import Identity, deterministic_job_id, from_dn, vo_id
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.problems import Refused
from tests.unit.tape.pki import Pair, authority, certificate, expired, name, robot, rsa_key

DN = "/DC=ch/DC=test/OU=Users/CN=000001/CN=Robot: Perdura"


def our_robot() -> Robot:
    pair = robot()
    return checked([pair.certificate, authority().certificate], pair.key)


def test_the_vectors_of_the_reference_hold() -> None:
    identity = from_dn("/DC=ch/DC=test/OU=Organic Units/OU=Users/CN=dmrobot/CN=000001/CN=Robot: Digital Memory")
    assert identity.delegation_id == "ce3d2791b8e39b68"
    assert str(vo_id(identity.vo)) == "3f60bff0-adfa-571c-8ee8-0f4b5452c06f"
    assert deterministic_job_id(identity.vo, "aip-42:cern:1") == "64eab031-5768-528d-94b2-6f0f0611cefd"


def test_names_are_written_in_slash_form() -> None:
    assert slash_dn(robot().certificate.subject) == DN
    assert our_robot().dn == DN


def test_a_name_that_reads_as_another_one_is_nobodys(tmp_path: Path) -> None:
    """Nothing is escaped in slash form: one unit could end like the name of our robot."""
    subject = name("DC=ch", "DC=test", "OU=Users/CN=000001/CN=Robot: Perdura")
    forged = certificate(subject, rsa_key(9), authority())
    with pytest.raises(ValueError, match="of its own"):
        holder_dn([forged.certificate])
    with pytest.raises(Broken, match="by its name"):
        load(*forged.write(tmp_path, "robot"))
    host = certificate(name("DC=ch", "CN=host/tape.example.org"), rsa_key(9), authority())
    assert holder_dn([host.certificate]) == "/DC=ch/CN=host/tape.example.org"


def test_a_robot_is_loaded_and_checked(tmp_path: Path) -> None:
    files = robot().write(tmp_path, "robot")
    assert 394 < load(*files).days_left(datetime.now(UTC)) < 396


def test_certificates_fts_cannot_work_with_are_refused(tmp_path: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Broken, match="RSA"):
        checked([certificate(name("CN=ec"), curve, authority()).certificate], curve)
    with pytest.raises(Broken, match="1024 bits"):
        checked([robot().certificate], rsa_key(7, 1024))
    with pytest.raises(Broken, match="belong together"):
        checked([robot().certificate], rsa_key(8))
    with pytest.raises(Broken, match="cannot be read"):
        load(str(tmp_path / "none"), str(tmp_path / "none"))
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        robot().key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    certificate_file, _ = robot().write(tmp_path, "robot")
    with pytest.raises(Broken, match="encrypted"):
        load(certificate_file, str(locked))


def test_a_p12_file_becomes_two_files_of_the_right_modes(tmp_path: Path) -> None:
    pair = robot()
    data = pkcs12.serialize_key_and_certificates(
        b"robot", pair.key, pair.certificate, [authority().certificate], serialization.BestAvailableEncryption(b"pw")
    )
    certificate_file, key_file = store(from_p12(data, b"pw"), tmp_path / "secrets")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert load(str(certificate_file), str(key_file)).dn == DN
    with pytest.raises(Rejected, match="password"):
        from_p12(data, b"wrong")


def test_a_p12_file_with_rc2_opens(tmp_path: Path) -> None:
    certificate_file, key_file = robot().write(tmp_path, "robot")
    out = tmp_path / "old.p12"
    command = ["openssl", "pkcs12", "-export", "-legacy", "-in", certificate_file, "-inkey", key_file]
    command += ["-out", str(out), "-passout", "pass:pw", "-certpbe", "PBE-SHA1-RC2-40"]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this openssl makes no RC2 files")
    assert from_p12(out.read_bytes(), b"pw").dn == DN


def test_the_command_imports_and_checks(tmp_path: Path) -> None:
    pair = robot()
    encryption = serialization.BestAvailableEncryption(b"pw")
    p12 = tmp_path / "robot.p12"
    p12.write_bytes(pkcs12.serialize_key_and_certificates(b"robot", pair.key, pair.certificate, None, encryption))
    command = ["credentials", "import", str(p12), "--to", str(tmp_path / "secrets")]
    done = CliRunner().invoke(tape, command, input="pw\n")
    assert done.exit_code == 0, done.output
    assert DN in done.output
    files = str(tmp_path / "secrets/robot.pem"), str(tmp_path / "secrets/robot.key")
    checked = CliRunner().invoke(tape, ["credentials", "check", *files])
    assert checked.exit_code == 0, checked.output
    assert re.search(r"RSA 2048, 39\d days left", checked.output)
    Path(files[1]).chmod(0o644)
    assert "chmod 600" in CliRunner().invoke(tape, ["credentials", "check", *files]).output
    assert CliRunner().invoke(tape, ["credentials", "check", files[0], files[0]]).exit_code == 1
    assert CliRunner().invoke(tape, command, input="wrong\n").exit_code == 1
    from_file = CliRunner().invoke(tape, [*command, "--password-file", "-"], input="pw\n")
    assert from_file.exit_code == 0, from_file.output


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "fts.sqlite")
    yield made
    made.close()


@pytest.fixture
def identity() -> Identity:
    return from_dn(DN)


def test_a_proxy_signed_by_us_is_accepted_by_fts(ledger: Ledger, identity: Identity) -> None:
    request = delegation.signing_request(ledger, identity).encode()
    assert delegation.signing_request(ledger, identity).encode() == request
    proxy = sign_proxy(our_robot(), request, timedelta(hours=48))
    leaf = x509.load_pem_x509_certificates(proxy)[0]
    assert holder_dn([leaf]) == DN
    assert leaf.extensions.get_extension_for_oid(PROXY_CERT_INFO).critical
    delegation.accept(ledger, identity, proxy)
    delegation.check(ledger, identity)
    held = ledger.note("proxy", DN)
    assert held is not None
    assert 47 * 3600 < held["expires"] - time.time() < 49 * 3600


def test_submission_needs_a_proxy_that_lasts(ledger: Ledger, identity: Identity) -> None:
    with pytest.raises(Refused, match="No delegation found") as none:
        delegation.check(ledger, identity)
    assert none.value.status == 419
    request = delegation.signing_request(ledger, identity).encode()
    for lifetime, text in ((timedelta(minutes=30), "less than one hour"), (timedelta(minutes=-1), "expired")):
        delegation.accept(ledger, identity, sign_proxy(our_robot(), request, lifetime))
        with pytest.raises(Refused, match=text):
            delegation.check(ledger, identity)


def tampered(request_pem: bytes, *, subject: x509.Name | None = None, signer: int = 3, key: int | None = None) -> bytes:
    """A proxy that is wrong in one respect."""
    csr = x509.load_pem_x509_csr(request_pem)
    own = robot().certificate
    public = csr.public_key() if key is None else rsa_key(key).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([*own.subject, x509.NameAttribute(NameOID.COMMON_NAME, "1")]))
        .issuer_name(own.subject)
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(1)
        .not_valid_before(datetime.now(UTC))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=9))
    )
    proxy = builder.sign(rsa_key(signer), hashes.SHA256())
    return proxy.public_bytes(serialization.Encoding.PEM) + robot().pem


def test_proxies_that_are_wrong_are_refused_in_the_servers_words(ledger: Ledger, identity: Identity) -> None:
    with pytest.raises(Refused, match="No credential cache found"):
        delegation.accept(ledger, identity, b"x")
    request = delegation.signing_request(ledger, identity).encode()
    own = list(robot().certificate.subject)
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "unit")
    cases = {
        "Malformed proxy": b"not a certificate",
        "does not match the stored associated private key": tampered(request, key=9),
        "maybe signed with the wrong private key": tampered(request, signer=9),
        "subject and the issuer of the proxy do not match": tampered(request, subject=name("DC=ch", "CN=other")),
        "Missing trailing Common Name": tampered(request, subject=x509.Name([*own, unit])),
    }
    for text, pem in cases.items():
        with pytest.raises(Refused, match=text) as refused:
            delegation.accept(ledger, identity, pem)
        assert refused.value.status == 400
    with pytest.raises(Refused, match="Malformed proxy"):
        delegation.accept(ledger, identity, tampered(request).partition(robot().pem)[0])


@pytest.mark.parametrize("bad", ["expired", "read-only", "junk"])
def test_an_import_that_cannot_be_used_leaves_what_was_there(tmp_path: Path, bad: str) -> None:
    secrets = tmp_path / "secrets"
    encryption = serialization.BestAvailableEncryption(b"pw")
    pair = expired() if bad == "expired" else robot()
    p12 = tmp_path / "robot.p12"
    made = pkcs12.serialize_key_and_certificates(b"robot", pair.key, pair.certificate, None, encryption)
    p12.write_bytes(b"\x00junk" if bad == "junk" else made)
    if bad == "read-only":
        secrets.write_text("no directory")
    else:
        robot().write(secrets, "robot")
    before = secrets.read_bytes() if secrets.is_file() else (secrets / "robot.pem").read_bytes()
    target = secrets / "below" if bad == "read-only" else secrets
    result = CliRunner().invoke(tape, ["credentials", "import", str(p12), "--to", str(target)], input="pw\n")
    assert result.exit_code == 1
    assert "Error: " in result.output
    assert not result.exc_info or result.exc_info[0] is SystemExit, "no traceback"
    assert (secrets.read_bytes() if secrets.is_file() else (secrets / "robot.pem").read_bytes()) == before


@pytest.mark.parametrize(
    ("options", "status"),
    [(["--fts-port", "99999"], 2), (["--drives", "0"], 2), (["--drive-rate", "-5"], 2), (["--buffer-bytes", "0"], 2),
     (["--state", "damaged"], 1)],
)  # fmt: skip
def test_a_library_that_cannot_be_run_says_why(
    tmp_path: Path, options: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERDURA_TAPE_TOKEN", "secret")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "fts.sqlite").write_text("no database")
    result = CliRunner().invoke(tape, ["serve", *options], obj=tmp_path / "home")
    assert result.exit_code == status
    assert "Error: " in result.output


def proxy_of(pair: Pair) -> x509.Certificate:
    """A proxy that its holder made of a certificate."""
    csr = x509.CertificateSigningRequestBuilder().subject_name(name("O=Dummy")).sign(rsa_key(5), hashes.SHA256())
    made = sign_proxy(
        checked([pair.certificate], pair.key), csr.public_bytes(serialization.Encoding.PEM), timedelta(hours=1)
    )
    return x509.load_pem_x509_certificates(made)[0]


def test_a_proxy_stands_for_who_issued_it_whatever_is_presented_beside_it() -> None:
    stranger = certificate(name("DC=ch", "DC=test", "OU=Users", "CN=mallory"), rsa_key(9), authority())
    own = proxy_of(stranger)
    assert holder_dn([own, robot().certificate, stranger.certificate]) == "/DC=ch/DC=test/OU=Users/CN=mallory"
    assert holder_dn([own, robot().certificate]) == "/DC=ch/DC=test/OU=Users/CN=mallory"
    mine = proxy_of(robot())
    assert holder_dn([mine, stranger.certificate, robot().certificate, authority().certificate]) == DN
    twice = proxy_of(Pair(mine, rsa_key(5)))
    assert holder_dn([twice, mine, robot().certificate]) == DN
    assert holder_dn([twice]) == DN


def test_an_import_leaves_everything_alone_that_is_not_its_own(tmp_path: Path) -> None:
    theirs = [
        "robot.backup/old.key",
        "robot.p12.real",
        "robot.csr",
        "robot.0123456789abcdef/notes",
        "elsewhere/robot.pem",
    ]
    for each in theirs:
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_text("precious")
    (tmp_path / "robot.p12").symlink_to("robot.p12.real")
    (tmp_path / "robot.fedcba9876543210").symlink_to("elsewhere")
    (tmp_path / "robot.pem.0123456789abcdef").write_text("precious")
    for _ in range(2):
        store(our_robot(), tmp_path)
    assert {(tmp_path / each).read_text() for each in (*theirs, "robot.p12", "robot.pem.0123456789abcdef")} == {
        "precious"
    }
    assert (tmp_path / "robot.fedcba9876543210" / "robot.pem").read_text() == "precious"
    folders = {each.name for each in tmp_path.iterdir() if each.is_dir() and not each.is_symlink()}
    assert len(folders - {"robot.backup", "robot.0123456789abcdef", "elsewhere"}) == 1, "the pair before is gone"


def test_certificate_and_key_are_a_pair_whenever_an_import_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = checked([certificate(name("CN=new"), rsa_key(9), authority()).certificate], rsa_key(9))
    real = Path.replace
    for survived in range(4):
        place = tmp_path / str(survived)
        certificate_file, key_file = robot().write(place, "robot")
        left = iter(range(survived))

        def killed(self: Path, target: Path, left: Iterator[int] = left) -> Path:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return real(self, target)

        monkeypatch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            store(new, place)
        assert load(certificate_file, key_file).dn == DN
        monkeypatch.setattr(Path, "replace", real)
        for _ in range(2):
            assert store(new, place) == (Path(certificate_file), Path(key_file))
            assert load(certificate_file, key_file).dn == "/CN=new"
        assert stat.S_IMODE(Path(key_file).stat().st_mode) == 0o600
        assert len(list(place.iterdir())) == 4, "no older key is left anywhere"
