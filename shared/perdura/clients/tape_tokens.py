"""Tokens of the AIP gateway: a signed claim of path, methods and expiry; no store is needed (fts-cta.md 8)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass

PREFIX = b"perdura-gateway-1."
LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token opens: one path, for these methods, until `expires` (epoch seconds), for `subject`."""

    path: str
    methods: frozenset[str]
    expires: int
    subject: str


def mint(secret: str, path: str, methods: Collection[str], expires: int, subject: str) -> str:
    """A token for that claim."""
    claim = {"p": path, "m": sorted(methods), "e": expires, "s": subject, "n": secrets.token_hex(4)}
    body = base64.urlsafe_b64encode(json.dumps(claim, separators=(",", ":")).encode()).rstrip(b"=")
    return (body + b"." + _signature(secret, body)).decode()


def read(secret: str, token: str, now: float) -> Claim | None:
    """The claim of a token; None when it is malformed, not ours, or expired."""
    if len(token) > LONGEST or not token.isascii():
        return None
    body, _, signature = token.encode().partition(b".")
    if not hmac.compare_digest(signature, _signature(secret, body)):
        return None
    try:
        claim = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
        found = Claim(str(claim["p"]), frozenset(claim["m"]), int(claim["e"]), str(claim["s"]))
    except (ValueError, KeyError, TypeError):
        return None
    return found if found.expires > now else None


def _signature(secret: str, body: bytes) -> bytes:
    digest = hmac.new(secret.encode(), PREFIX + body, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=")
