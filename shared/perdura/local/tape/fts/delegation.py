"""Delegated proxies: a signing request per user, and the checks of what comes back (fts-cta.md 2.4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from perdura.clients.tape_x509 import SHORT_NAMES
from perdura.local.tape import clock
from perdura.local.tape.clock import moment
from perdura.local.tape.fts.identity import Identity
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.problems import Refused, problem
from perdura.local.tape.http import Request, Response, as_json

HOUR = 3600
KNOWS_EMPTY_LIST = re.compile(r"fts-.+/(\d+)\.(\d+)")
COULD_NOT = "Could not process the proxy: "


def handle(ledger: Ledger, identity: Identity, delegation_id: str, rest: list[str], asked: Request) -> Response:
    """Answer a request below `/delegation/{id}`; raises Refused."""
    if identity.method != "certificate" and (rest or asked.method == "DELETE"):
        raise Refused(403, "Certificate required")
    if identity.delegation_id != delegation_id:
        raise Refused(403, "The requested ID and the credentials ID do not match")
    match (asked.method, rest):
        case ("GET", []):
            return _view(ledger, identity, asked)
        case ("DELETE", []):
            if ledger.note("proxy", identity.dn) is None:
                raise Refused(404, "Delegated credentials not found")
            ledger.keep_note("proxy", identity.dn, None)
            return Response(204)
        case ("GET", ["request"]):
            pem = signing_request(ledger, identity)
            return Response(200, pem.encode(), {"Content-Type": "text/plain", "X-Delegation-ID": delegation_id})
        case ("PUT" | "POST", ["credential"]):
            accept(ledger, identity, asked.content())
            return Response(201)
        case (_, [] | ["request"] | ["credential"]):
            return problem(405, "The method is not allowed for the requested URL.")
    return problem(404, "The requested URL was not found on the server.")


def check(ledger: Ledger, identity: Identity) -> None:
    """Refuse a submission whose user has no proxy that lasts for an hour (419)."""
    held = ledger.note("proxy", identity.dn)
    if held is None:
        raise Refused(419, f'No delegation found for "{identity.dn}"')
    left = held["expires"] - clock.now()
    if left < 0:
        raise Refused(419, f"The delegated credentials expired {int(-left)} seconds ago ({identity.delegation_id})")
    if left < HOUR:
        raise Refused(419, f"The delegated credentials has less than one hour left ({identity.delegation_id})")


def _view(ledger: Ledger, identity: Identity, asked: Request) -> Response:
    held = ledger.note("proxy", identity.dn)
    if held is not None:
        return as_json({"termination_time": moment(held["expires"]), "voms_attrs": [""]})
    agent = KNOWS_EMPTY_LIST.search(asked.headers.get("user-agent", ""))
    return as_json([] if agent and (int(agent[1]), int(agent[2])) >= (3, 12) else None)


def signing_request(ledger: Ledger, identity: Identity) -> str:
    """The PKCS#10 request of a user: the same one every time, its key stays here."""
    held = ledger.note("signing-request", identity.dn)
    if held is None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Dummy")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        held = {"request": pem, "key": private.decode()}
        ledger.keep_note("signing-request", identity.dn, held)
    return str(held["request"])


def accept(ledger: Ledger, identity: Identity, pem: bytes) -> None:
    """Check a proxy and its chain as the real server does (expiry is not checked) and keep it; raises Refused."""
    held = ledger.note("signing-request", identity.dn)
    if held is None:
        raise Refused(400, "No credential cache found")
    try:
        proxy, signer, *others = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise Refused(400, COULD_NOT + "Malformed proxy") from error
    ours = x509.load_pem_x509_csr(held["request"].encode()).public_key()
    if proxy.public_key() != ours:
        raise Refused(400, COULD_NOT + "The proxy does not match the stored associated private key")
    issuer, subject = list(signer.subject), list(proxy.subject)
    if subject[: len(issuer)] != issuer or len(subject) != len(issuer) + 1:
        text = f"The subject and the issuer of the proxy do not match: {_comma(subject)} != {_comma(issuer)}"
        raise Refused(400, COULD_NOT + text)
    if subject[-1].oid != NameOID.COMMON_NAME:
        raise Refused(400, COULD_NOT + "Missing trailing Common Name in the proxy")
    key = signer.public_key()
    try:
        if not isinstance(key, rsa.RSAPublicKey) or proxy.signature_hash_algorithm is None:
            raise InvalidSignature
        key.verify(proxy.signature, proxy.tbs_certificate_bytes, padding.PKCS1v15(), proxy.signature_hash_algorithm)
    except InvalidSignature as error:
        text = "Failed to verify the proxy, maybe signed with the wrong private key?"
        raise Refused(400, COULD_NOT + text) from error
    expires = min(c.not_valid_after_utc for c in (proxy, signer, *others))
    document = {"expires": expires.timestamp(), "pem": pem.decode(), "since": datetime.now(UTC).isoformat()}
    ledger.keep_note("proxy", identity.dn, document)


def _comma(name: list[x509.NameAttribute[str | bytes]]) -> str:
    return ", ".join(f"{SHORT_NAMES.get(a.oid, a.oid.dotted_string)}={a.value!s}" for a in name)
