"""Who asks: distinguished names, virtual organisations, delegation ids and rights (fts-cta.md 2.3, 2.5)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from perdura.clients.tape_x509 import holder_dn

BASE_ID = uuid.UUID("01874efb-4735-4595-bc9c-591aef8240c9")
"""Namespace of VO ids, the same on every FTS server."""
EVERYBODY: Mapping[str, str] = {"transfer": "vo", "datamanagement": "all"}
EVERYTHING: Mapping[str, str] = dict.fromkeys(("transfer", "deleg", "config", "datamanagement", "admin"), "all")


@dataclass(frozen=True, slots=True)
class Identity:
    """One user. `levels` maps a right to `all`, `vo` or `` (own resources only); a right not there is denied."""

    dn: str
    method: str = "certificate"
    vos: tuple[str, ...] = ()
    delegation_id: str | None = None
    levels: Mapping[str, str] = field(default_factory=lambda: EVERYBODY)
    root: bool = False
    certificate: str | None = None
    scopes: tuple[str, ...] = ()
    token_id: str | None = None
    """The name under which the service keeps the token of the request."""

    @property
    def anonymous(self) -> bool:
        """True for a request without valid credentials."""
        return self.method == "unauthenticated"

    @property
    def vo(self) -> str:
        """The VO its jobs belong to."""
        return self.vos[0]

    def may_see(self, vo: str, right: str = "transfer") -> bool:
        """True when a resource of that VO is open to this user."""
        level = self.levels.get(right)
        return level == "all" or (level == "vo" and vo in self.vos)


ANONYMOUS = Identity("anon", "unauthenticated", levels={})


def from_dn(dn: str, *, host_dn: str | None = None, certificate: str | None = None, config: bool = False) -> Identity:
    """The user of a certificate: with no VOMS attributes its VO is virtual and named like its delegation id."""
    root = dn == host_dn
    levels = EVERYTHING if root else {**EVERYBODY, "config": "all"} if config else EVERYBODY
    delegation_id = short_sha1(dn)
    return Identity(dn, "certificate", (delegation_id,), delegation_id, levels, root, certificate)


def from_token(
    subject: str, issuer: str, vos: tuple[str, ...], scopes: tuple[str, ...] = (), *, token: str = ""
) -> Identity:
    """The user of a bearer token. It may do everything, whatever `whoami` says (fts-cta.md 2.5)."""
    levels = dict.fromkeys(EVERYTHING, "all")
    return Identity(
        subject, "oauth2", vos, short_sha1(issuer + subject), levels, scopes=scopes, token_id=short_sha1(token)
    )


def short_sha1(text: str) -> str:
    """The first 16 digits of a SHA-1, the form of the service's names for users and tokens."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]


def vo_id(vo: str) -> uuid.UUID:
    """The namespace of a VO's deterministic job ids."""
    return uuid.uuid5(BASE_ID, vo)


def deterministic_job_id(vo: str, sid: str) -> str:
    """The id of the job that a VO submits under `sid` (fts-cta.md 2.8)."""
    return str(uuid.uuid5(vo_id(vo), sid))


def from_chain(chain: tuple[bytes, ...], host_dn: str | None) -> Identity:
    """The user of a TLS connection."""
    certificates = [x509.load_der_x509_certificate(der) for der in chain]
    pem = certificates[0].public_bytes(Encoding.PEM).decode()
    return from_dn(holder_dn(certificates), host_dn=host_dn, certificate=pem)


def whoami(identity: Identity) -> dict[str, Any]:
    """The answer of `GET /whoami`."""
    document: dict[str, Any] = {
        "user_dn": identity.dn,
        "dn": [identity.dn],
        "base_id": str(BASE_ID),
        "voms_cred": list(identity.scopes),
        "vos": list(identity.vos),
        "vos_id": [str(vo_id(vo)) for vo in identity.vos],
        "roles": [],
        "level": [] if identity.anonymous else dict(EVERYBODY if identity.method == "oauth2" else identity.levels),
        "delegation_id": identity.delegation_id,
        "method": identity.method,
        "is_root": identity.root,
    }
    if identity.method == "oauth2":
        document |= {
            "oauth2_scope": " ".join(identity.scopes),
            "wlcg_profile": True,
            "get_granted_level_for": {},
            "get_granted_level_for_overriden": {},
        }
    return document
